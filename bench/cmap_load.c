/*
 * Load on the configuration map through the distribution's libcmap.
 *
 *   cmap_load get KEY VALUE SECONDS     asks for a string again and again
 *   cmap_load notify KEY SECONDS        sets a number again and again; a second connection tracks it, and the next number follows
 *                                       when the notification of the last one is here
 *
 * Every answer must be VALUE, every notification the number that was set; anything else ends the program with status 1. One line of
 * JSON on standard output.
 */
#include <corosync/cmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST = 16384, SAMPLES = 4 << 20, PATIENCE_SECONDS = 30 };

static float *samples;
static size_t count;
static uint64_t seen;

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

static cmap_handle_t connection(void)
{
	double give_up = now() + PATIENCE_SECONDS;
	cmap_handle_t handle;
	cs_error_t error;

	while ((error = cmap_initialize(&handle)) == CS_ERR_TRY_AGAIN && now() < give_up) {
		usleep(1000);
	}
	if (error != CS_OK) {
		fail("cmap_initialize", error);
	}
	return handle;
}

static void get(cmap_handle_t handle, const char *key, const char *wanted)
{
	static char value[LONGEST];
	size_t length = sizeof(value);
	cmap_value_types_t type;
	cs_error_t error = cmap_get(handle, key, value, &length, &type);

	if (error != CS_OK) {
		fail("cmap_get", error);
	}
	if (type != CMAP_VALUETYPE_STRING || length != strlen(wanted) + 1 || memcmp(value, wanted, length) != 0) {
		fail("a value is wrong", (int)type);
	}
}

static void notified(cmap_handle_t handle, cmap_track_handle_t track, int32_t event, const char *key, struct cmap_notify_value new_value,
		     struct cmap_notify_value old_value, void *user_data)
{
	(void)handle, (void)track, (void)key, (void)old_value, (void)user_data;
	if (event == CMAP_TRACK_DELETE) {
		return;
	}
	if (new_value.type != CMAP_VALUETYPE_UINT64 || new_value.len != sizeof(seen)) {
		fail("a notification has another type", (int)new_value.type);
	}
	memcpy(&seen, new_value.data, sizeof(seen));
}

static void notify(cmap_handle_t setter, cmap_handle_t tracker, const char *key)
{
	uint64_t number = count + 1;
	cs_error_t error = cmap_set_uint64(setter, key, number);

	if (error != CS_OK) {
		fail("cmap_set", error);
	}
	if ((error = cmap_dispatch(tracker, CS_DISPATCH_ONE)) != CS_OK) {
		fail("cmap_dispatch", error);
	}
	if (seen != number) {
		fail("a notification tells another number", (int)seen);
	}
}

int main(int argc, char **argv)
{
	int asks = argc == 5 && strcmp(argv[1], "get") == 0;
	cmap_handle_t handle, tracker = 0;
	cmap_track_handle_t track;
	cs_error_t error;

	if (!asks && !(argc == 4 && strcmp(argv[1], "notify") == 0)) {
		fprintf(stderr, "usage: cmap_load get KEY VALUE SECONDS | cmap_load notify KEY SECONDS\n");
		return 2;
	}
	samples = malloc(SAMPLES * sizeof(*samples));
	if (samples == NULL) {
		fail("out of memory", 0);
	}
	handle = connection();
	if (!asks) {
		tracker = connection();
		error = cmap_track_add(tracker, argv[2], CMAP_TRACK_ADD | CMAP_TRACK_MODIFY, notified, NULL, &track);
		if (error != CS_OK) {
			fail("cmap_track_add", error);
		}
	}
	double start = now(), last = start, end = start + atof(argv[argc - 1]);
	do {
		if (asks) {
			get(handle, argv[2], argv[3]);
		} else {
			notify(handle, tracker, argv[2]);
		}
		double at = now();
		samples[count++] = (float)((at - last) * 1e6);
		last = at;
	} while (last < end && count < SAMPLES);
	qsort(samples, count, sizeof(*samples), compare);
	printf("{\"mode\": \"%s\", \"requests\": %zu, \"per_second\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", argv[1], count,
	       count / (last - start), (double)samples[count / 2], (double)samples[count * 99 / 100]);
	if (!asks) {
		cmap_finalize(tracker);
		if ((error = cmap_delete(handle, argv[2])) != CS_OK) {
			fail("cmap_delete", error);
		}
	}
	cmap_finalize(handle);
	free(samples);
	return 0;
}
