/*
 * Load on a process group through the distribution's libcpg: throughput, round trips, and a witness that checks content.
 *
 *   cpg_load throughput GROUP SIZE SECONDS   send as fast as the daemon takes it, deliver everything, then say "stop"
 *   cpg_load latency GROUP SIZE COUNT        send one, wait for its delivery, and again
 *   cpg_load witness GROUP                   deliver until a sender says "stop"
 *
 * Every message bears its sender's counter and a pattern that follows from it; a gap, a repeat or a wrong byte ends the program
 * with status 1. One line of JSON on standard output; "order" is a hash over (sender, counter) of everything delivered, and
 * "rotations" the tokens that this node received while it sent.
 */
#include <corosync/cmap.h>
#include <corosync/cpg.h>
#include <inttypes.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STOP = 1, HEADER = 16, SENDERS = 64, BATCH = 64, PATIENCE_SECONDS = 30 };

/* Repeat a request that a daemon has no time for while its ring forms. */
#define PERSIST(what, call)                                                                                                     \
	do {                                                                                                                    \
		double give_up = now() + PATIENCE_SECONDS;                                                                      \
		while ((error = (call)) == CS_ERR_TRY_AGAIN && now() < give_up) {                                               \
			usleep(1000);                                                                                           \
		}                                                                                                               \
		if (error != CS_OK) {                                                                                           \
			fail(what, error);                                                                                      \
		}                                                                                                               \
	} while (0)

struct sender {
	uint32_t node;
	uint32_t pid;
	uint64_t next;
};

static struct sender senders[SENDERS];
static int sender_count;
static uint64_t delivered, delivered_bytes, own_delivered, order = 14695981039346656037ULL;
static uint32_t own_node, own_pid;
static int joined, stopped;
static double first_at, last_at;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what, int error)
{
	fprintf(stderr, "cpg_load: %s: error %d\n", what, error);
	exit(1);
}

static void mix(uint64_t value)
{
	for (int i = 0; i < 8; i++) {
		order = (order ^ ((value >> (8 * i)) & 0xff)) * 1099511628211ULL;
	}
}

static void fill(unsigned char *message, size_t size, uint64_t counter, uint32_t flags)
{
	memcpy(message, &counter, 8);
	memcpy(message + 8, &flags, 4);
	memset(message + 12, 0, 4);
	if (size > HEADER) {
		memset(message + HEADER, (int)(counter * 7 + 3) & 0xff, size - HEADER);
	}
}

static struct sender *find(uint32_t node, uint32_t pid)
{
	for (int i = 0; i < sender_count; i++) {
		if (senders[i].node == node && senders[i].pid == pid) {
			return &senders[i];
		}
	}
	if (sender_count == SENDERS) {
		fail("too many senders", 0);
	}
	senders[sender_count].node = node;
	senders[sender_count].pid = pid;
	senders[sender_count].next = 0;
	return &senders[sender_count++];
}

static void deliver(cpg_handle_t handle, const struct cpg_name *group, uint32_t node, uint32_t pid, void *data, size_t size)
{
	const unsigned char *message = data;
	uint64_t counter;
	uint32_t flags;
	(void)handle;
	(void)group;
	if (size < HEADER) {
		fail("a message is too short", (int)size);
	}
	memcpy(&counter, message, 8);
	memcpy(&flags, message + 8, 4);
	struct sender *sender = find(node, pid);
	if (counter != sender->next++) {
		fail("a message is missing or repeated", (int)counter);
	}
	unsigned char expected = (unsigned char)(counter * 7 + 3);
	for (size_t i = HEADER; i < size; i += (size > 4096 ? 509 : 1)) {
		if (message[i] != expected) {
			fail("a message has a wrong byte", (int)i);
		}
	}
	if (size > HEADER && message[size - 1] != expected) {
		fail("a message has a wrong last byte", (int)size);
	}
	last_at = now();
	if (delivered++ == 0) {
		first_at = last_at;
	}
	delivered_bytes += size;
	mix(((uint64_t)node << 32) | pid);
	mix(counter);
	if (node == own_node && pid == own_pid) {
		own_delivered++;
	}
	if (flags & STOP) {
		stopped = 1;
	}
}

static void confchg(cpg_handle_t handle, const struct cpg_name *group, const struct cpg_address *members, size_t member_count,
		    const struct cpg_address *left, size_t left_count, const struct cpg_address *in, size_t in_count)
{
	(void)handle;
	(void)group;
	(void)members;
	(void)member_count;
	(void)left;
	(void)left_count;
	for (size_t i = 0; i < in_count; i++) {
		if (in[i].nodeid == own_node && in[i].pid == own_pid) {
			joined = 1;
		}
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void wait_and_dispatch(cpg_handle_t handle, int fd, int timeout_ms)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	if (poll(&poll_fd, 1, timeout_ms) > 0) {
		cs_error_t error = cpg_dispatch(handle, CS_DISPATCH_ALL);
		if (error != CS_OK) {
			fail("cpg_dispatch", error);
		}
	}
}

/* The daemon's count of tokens received: one a rotation. */
static uint64_t tokens_received(cmap_handle_t statistics)
{
	uint64_t value = 0;
	cs_error_t error;
	PERSIST("cmap_get of stats.srp.orf_token_rx", cmap_get_uint64(statistics, "stats.srp.orf_token_rx", &value));
	return value;
}

static void report(const char *mode, double seconds)
{
	printf("{\"mode\": \"%s\", \"messages\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"seconds\": %.6f, \"order\": \"%016" PRIx64 "\"", mode,
	       delivered, delivered_bytes, seconds, order);
}

int main(int argc, char **argv)
{
	cpg_handle_t handle;
	cpg_callbacks_t callbacks = {.cpg_deliver_fn = deliver, .cpg_confchg_fn = confchg};
	struct cpg_name group;
	int fd;
	cs_error_t error;

	if (argc < 3) {
		fprintf(stderr, "usage: cpg_load throughput|latency|witness GROUP [SIZE SECONDS|COUNT]\n");
		return 2;
	}
	own_pid = (uint32_t)getpid();
	if (strlen(argv[2]) > CPG_MAX_NAME_LENGTH) {
		fail("the group's name is too long", (int)strlen(argv[2]));
	}
	PERSIST("cpg_initialize", cpg_initialize(&handle, &callbacks));
	PERSIST("cpg_local_get", cpg_local_get(handle, &own_node));
	PERSIST("cpg_fd_get", cpg_fd_get(handle, &fd));
	group.length = strlen(argv[2]);
	memcpy(group.value, argv[2], group.length);
	PERSIST("cpg_join", cpg_join(handle, &group));
	while (!joined) {
		wait_and_dispatch(handle, fd, 1000);
	}
	if (strcmp(argv[1], "witness") == 0) {
		fprintf(stderr, "ready\n");
		while (!stopped) {
			wait_and_dispatch(handle, fd, 1000);
		}
		report("witness", last_at - first_at);
		printf("}\n");
		cpg_finalize(handle);
		return 0;
	}
	if (argc < 5) {
		fail("SIZE and SECONDS or COUNT are needed", 0);
	}
	size_t size = strtoul(argv[3], NULL, 10);
	double amount = atof(argv[4]);
	unsigned char *message = malloc(size < HEADER ? HEADER : size);
	struct iovec iov = {.iov_base = message, .iov_len = size < HEADER ? HEADER : size};
	uint64_t sent = 0;
	if (message == NULL || amount <= 0) {
		fail("SIZE or the amount is not usable", 0);
	}
	if (strcmp(argv[1], "latency") == 0) {
		size_t count = amount < 1 ? 1 : (size_t)amount;
		double *samples = malloc(count * sizeof(double));
		for (size_t i = 0; i < count; i++) {
			fill(message, iov.iov_len, sent, i + 1 == count ? STOP : 0);
			double start = now();
			while ((error = cpg_mcast_joined(handle, CPG_TYPE_AGREED, &iov, 1)) == CS_ERR_TRY_AGAIN) {
				wait_and_dispatch(handle, fd, 1);
			}
			if (error != CS_OK) {
				fail("cpg_mcast_joined", error);
			}
			sent++;
			while (own_delivered < sent) {
				wait_and_dispatch(handle, fd, 1000);
			}
			samples[i] = now() - start;
		}
		qsort(samples, count, sizeof(double), compare);
		report("latency", last_at - first_at);
		printf(", \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n", samples[count / 2] * 1e6, samples[count * 99 / 100] * 1e6,
		       samples[count - 1] * 1e6);
	} else {
		cmap_handle_t statistics;
		PERSIST("cmap_initialize_map", cmap_initialize_map(&statistics, CMAP_MAP_STATS));
		uint64_t tokens = tokens_received(statistics);
		double start = now();
		double end = start + amount;
		while (now() < end) {
			for (int i = 0; i < BATCH; i++) {
				fill(message, iov.iov_len, sent, 0);
				error = cpg_mcast_joined(handle, CPG_TYPE_AGREED, &iov, 1);
				if (error == CS_ERR_TRY_AGAIN) {
					wait_and_dispatch(handle, fd, 1);
					break;
				}
				if (error != CS_OK) {
					fail("cpg_mcast_joined", error);
				}
				sent++;
			}
			wait_and_dispatch(handle, fd, 0);
		}
		while (own_delivered < sent) {
			wait_and_dispatch(handle, fd, 1000);
		}
		double seconds = now() - start;
		tokens = tokens_received(statistics) - tokens;
		cmap_finalize(statistics);
		fill(message, iov.iov_len, sent, STOP);
		while ((error = cpg_mcast_joined(handle, CPG_TYPE_AGREED, &iov, 1)) == CS_ERR_TRY_AGAIN) {
			wait_and_dispatch(handle, fd, 1);
		}
		uint64_t counted = delivered;
		while (!stopped) {
			wait_and_dispatch(handle, fd, 1000);
		}
		report("throughput", seconds);
		printf(", \"per_second\": %.1f, \"megabytes_per_second\": %.3f, \"rotations\": %" PRIu64 "}\n", counted / seconds,
		       counted * iov.iov_len / seconds / 1e6, tokens);
	}
	free(message);
	cpg_finalize(handle);
	return 0;
}
