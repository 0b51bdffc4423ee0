/*
 * Load on the configuration map through the distribution's libcmap: one program that asks for a string again and again.
 *
 *   cmap_load KEY VALUE SECONDS
 *
 * Every answer must be VALUE; anything else ends the program with status 1. One line of JSON on standard output.
 */
#include <corosync/cmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST = 16384, SAMPLES = 4 << 20, PATIENCE_SECONDS = 30 };

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what, int error)
{
	fprintf(stderr, "cmap_load: %s: error %d\n", what, error);
	exit(1);
}

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static char value[LONGEST];
	cmap_handle_t handle;
	cmap_value_types_t type;
	cs_error_t error;
	size_t count = 0;

	if (argc != 4) {
		fprintf(stderr, "usage: cmap_load KEY VALUE SECONDS\n");
		return 2;
	}
	float *samples = malloc(SAMPLES * sizeof(*samples));
	if (samples == NULL) {
		fail("out of memory", 0);
	}
	double give_up = now() + PATIENCE_SECONDS;
	while ((error = cmap_initialize(&handle)) == CS_ERR_TRY_AGAIN && now() < give_up) {
		usleep(1000);
	}
	if (error != CS_OK) {
		fail("cmap_initialize", error);
	}
	double start = now(), last = start, end = start + atof(argv[3]);
	do {
		size_t length = sizeof(value);
		if ((error = cmap_get(handle, argv[1], value, &length, &type)) != CS_OK) {
			fail("cmap_get", error);
		}
		if (type != CMAP_VALUETYPE_STRING || length != strlen(argv[2]) + 1 || memcmp(value, argv[2], length) != 0) {
			fail("a value is wrong", (int)type);
		}
		double at = now();
		samples[count++] = (float)((at - last) * 1e6);
		last = at;
	} while (last < end && count < SAMPLES);
	qsort(samples, count, sizeof(*samples), compare);
	printf("{\"mode\": \"get\", \"requests\": %zu, \"per_second\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", count,
	       count / (last - start), (double)samples[count / 2], (double)samples[count * 99 / 100]);
	free(samples);
	cmap_finalize(handle);
	return 0;
}
