/* A libqb client that checks what it measures: ipc_client SERVICE CALLS MESSAGES SIZE WINDOW
 *
 * First CALLS calls, one after the other; then MESSAGES requests without a response, each of which comes back as an event, with at
 * most WINDOW on their way. Every byte that comes back is compared. Prints: microseconds a call (p50, p99), messages a second. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <qb/qbipcc.h>

#define CALL 1
#define SEND 2
#define LARGEST 1048576

static char request[LARGEST], answer[LARGEST];

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static int ascending(const void *left, const void *right)
{
	double difference = *(const double *)left - *(const double *)right;

	return (difference > 0) - (difference < 0);
}

/* The message of a number: a header, the number, then bytes that depend on it. */
static void fill(int32_t id, uint32_t number, int32_t size)
{
	memset(request, number & 0x7f, size);
	memcpy(request, &id, sizeof id);
	memcpy(request + 8, &size, sizeof size);
	memcpy(request + 16, &number, sizeof number);
}

static void check(uint32_t number, int32_t size, ssize_t length)
{
	fill(0, number, size);
	if (length != size + 8 || memcmp(answer + 24, request + 16, size - 16) != 0) {
		fprintf(stderr, "message %u came back wrong: %zd bytes\n", number, length);
		exit(1);
	}
}

int main(int count, char **arguments)
{
	int calls = atoi(arguments[2]), messages = atoi(arguments[3]), size = atoi(arguments[4]), window = atoi(arguments[5]);
	double *times = calloc(calls + 1, sizeof *times), start;
	qb_ipcc_connection_t *connection = qb_ipcc_connect(arguments[1], LARGEST);
	uint32_t sent = 0, received = 0;

	if (connection == NULL) {
		perror("qb_ipcc_connect");
		return 1;
	}
	for (int index = 0; index < calls; index++) {
		struct iovec vector = { request, size };

		fill(CALL, index, size);
		start = now();
		ssize_t length = qb_ipcc_sendv_recv(connection, &vector, 1, answer, sizeof answer, -1);
		times[index] = now() - start;
		check(index, size, length);
	}
	qsort(times, calls, sizeof *times, ascending);
	start = now();
	while (received < (uint32_t)messages) {
		while (sent < (uint32_t)messages && sent - received < (uint32_t)window) {
			fill(SEND, sent, size);
			if (qb_ipcc_send(connection, request, size) != size)
				break;
			sent++;
		}
		ssize_t length = qb_ipcc_event_recv(connection, answer, sizeof answer, 1000);
		if (length == -EAGAIN || length == -ETIMEDOUT)
			continue;
		if (length < 0) {
			fprintf(stderr, "event: %s\n", strerror(-length));
			return 1;
		}
		check(received++, size, length);
	}
	double seconds = now() - start;
	printf("%.2f %.2f %.0f\n", times[calls / 2] * 1e6, times[calls * 99 / 100] * 1e6, messages / seconds);
	qb_ipcc_disconnect(connection);
	return 0;
}
