/*
 * A member of a process group that writes down everything libcpg tells it, for transcripts to be compared between nodes.
 *
 *   participant GROUP [timed]
 *
 * Standard input: "send FIRST COUNT SIZE" multicasts COUNT messages numbered from FIRST, of SIZE bytes each (at least 8); its end
 * finalizes the connection. Standard output, a line an event (participant.py writes the same):
 *
 *   message NODE:PID NUMBER SIZE
 *   members NODE:PID ... | left NODE:PID:REASON ... | joined NODE:PID:REASON ...
 *   ring NODE.SEQUENCE NODE ...
 *   lost ERROR        the connection failed with that number; exit status 3
 *
 * With "timed" each line begins with the seconds of the monotonic clock, and the ring at the time of the join is told too.
 * A message whose bytes do not follow from its number ends the program with status 1.
 */
#include <corosync/cpg.h>
#include <inttypes.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST = 60000, BATCH = 32, LOST = 3 };

static unsigned char content[LARGEST];
static uint64_t number, left_to_send;
static size_t size = 8;
static int timed;

static void stamp(void)
{
	struct timespec now;
	if (timed) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		printf("%lld.%09ld ", (long long)now.tv_sec, now.tv_nsec);
	}
}

static void lost(cs_error_t error)
{
	stamp();
	printf("lost %d\n", error);
	fflush(stdout);
	exit(LOST);
}

static unsigned char pattern(uint64_t of)
{
	return (unsigned char)(of * 7 + 3);
}

static void deliver(cpg_handle_t handle, const struct cpg_name *group, uint32_t node, uint32_t pid, void *data, size_t length)
{
	const unsigned char *bytes = data;
	uint64_t its_number;
	(void)handle;
	(void)group;
	if (length < sizeof its_number) {
		printf("damaged %u:%u of %zu bytes\n", node, pid, length);
		exit(1);
	}
	memcpy(&its_number, bytes, sizeof its_number);
	for (size_t i = sizeof its_number; i < length; i++) {
		if (bytes[i] != pattern(its_number)) {
			printf("damaged %u:%u %" PRIu64 " at %zu\n", node, pid, its_number, i);
			exit(1);
		}
	}
	stamp();
	printf("message %u:%u %" PRIu64 " %zu\n", node, pid, its_number, length);
}

static void addresses(const char *word, const struct cpg_address *list, size_t count, int with_reason)
{
	printf("%s", word);
	for (size_t i = 0; i < count; i++) {
		printf(" %u:%u", list[i].nodeid, list[i].pid);
		if (with_reason) {
			printf(":%u", list[i].reason);
		}
	}
}

static void configuration_changed(cpg_handle_t handle, const struct cpg_name *group, const struct cpg_address *members, size_t member_count,
				  const struct cpg_address *left, size_t left_count, const struct cpg_address *joined, size_t joined_count)
{
	(void)handle;
	(void)group;
	stamp();
	addresses("members", members, member_count, 0);
	addresses(" | left", left, left_count, 1);
	addresses(" | joined", joined, joined_count, 1);
	printf("\n");
}

static void ring_changed(cpg_handle_t handle, struct cpg_ring_id ring, uint32_t count, const uint32_t *nodes)
{
	(void)handle;
	stamp();
	printf("ring %u.%" PRIu64, ring.nodeid, (uint64_t)ring.seq);
	for (uint32_t i = 0; i < count; i++) {
		printf(" %u", nodes[i]);
	}
	printf("\n");
}

static void send_some(cpg_handle_t handle)
{
	for (int i = 0; i < BATCH && left_to_send > 0; i++) {
		struct iovec vector = {.iov_base = content, .iov_len = size};
		memset(content, pattern(number), size);
		memcpy(content, &number, sizeof number);
		cs_error_t error = cpg_mcast_joined(handle, CPG_TYPE_AGREED, &vector, 1);
		if (error == CS_ERR_TRY_AGAIN) {
			return;
		}
		if (error != CS_OK) {
			lost(error);
		}
		number++;
		left_to_send--;
	}
}

static int read_command(void)
{
	char line[128];
	ssize_t length = read(STDIN_FILENO, line, sizeof line - 1);
	if (length <= 0) {
		return 0;
	}
	line[length] = 0;
	if (sscanf(line, "send %" SCNu64 " %" SCNu64 " %zu", &number, &left_to_send, &size) != 3 || size < sizeof number || size > LARGEST) {
		fprintf(stderr, "participant: unknown command: %s\n", line);
		exit(2);
	}
	return 1;
}

int main(int argc, char **argv)
{
	cpg_handle_t handle;
	cpg_model_v1_data_t model = {
		.cpg_deliver_fn = deliver, .cpg_confchg_fn = configuration_changed, .cpg_totem_confchg_fn = ring_changed};
	struct cpg_name group;
	int descriptor;
	cs_error_t error;

	timed = argc == 3 && strcmp(argv[2], "timed") == 0;
	if (argc != 2 + timed || strlen(argv[1]) > CPG_MAX_NAME_LENGTH) {
		fprintf(stderr, "usage: participant GROUP [timed]\n");
		return 2;
	}
	model.flags = timed ? CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF : 0;
	while ((error = cpg_model_initialize(&handle, CPG_MODEL_V1, (cpg_model_data_t *)&model, NULL)) == CS_ERR_TRY_AGAIN) {
		usleep(20000);
	}
	if (error != CS_OK || (error = cpg_fd_get(handle, &descriptor)) != CS_OK) {
		lost(error);
	}
	group.length = strlen(argv[1]);
	memcpy(group.value, argv[1], group.length);
	while ((error = cpg_join(handle, &group)) == CS_ERR_TRY_AGAIN) {
		usleep(20000);
	}
	if (error != CS_OK) {
		lost(error);
	}
	for (;;) {
		struct pollfd waiting[2] = {{.fd = descriptor, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
		poll(waiting, 2, left_to_send > 0 ? 1 : -1);
		if (waiting[0].revents != 0) {
			error = cpg_dispatch(handle, CS_DISPATCH_ALL);
			if (error != CS_OK && error != CS_ERR_TRY_AGAIN) {
				lost(error);
			}
			fflush(stdout);
		}
		if (left_to_send == 0 && waiting[1].revents != 0 && !read_command()) {
			break;
		}
		send_some(handle);
	}
	cpg_finalize(handle);
	return 0;
}
