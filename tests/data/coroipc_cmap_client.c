/* A C program against libcmap: a thousand gets, then every event of a tracker, in order. Exit status 0 when all was right. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <corosync/cmap.h>

#define GETS 1000
#define EVENTS 2000
#define EVENT_SIZE 16000

static uint32_t next_event;
static int wrong;

static void changed(cmap_handle_t handle, cmap_track_handle_t track, int32_t event, const char *key,
                    struct cmap_notify_value new_value, struct cmap_notify_value old_value, void *data)
{
	uint32_t number = UINT32_MAX;

	if (new_value.len == EVENT_SIZE)
		memcpy(&number, new_value.data, sizeof number);
	if (number != next_event || strcmp(key, "test.a") || event != CMAP_TRACK_MODIFY)
		wrong = 1;
	next_event++;
}

int main(void)
{
	cmap_handle_t handle;
	cmap_track_handle_t track;
	uint32_t version;
	cs_error_t error = cmap_initialize(&handle);

	if (error != CS_OK) {
		printf("initialize: %d\n", error);
		return 1;
	}
	for (int index = 0; index < GETS; index++) {
		error = cmap_get_uint32(handle, "totem.version", &version);
		if (error != CS_OK || version != 2) {
			printf("get %d: %d\n", index, error);
			return 1;
		}
	}
	if (cmap_get_uint32(handle, "no.such.key", &version) != CS_ERR_NOT_EXIST)
		return 1;
	error = cmap_track_add(handle, "test.", CMAP_TRACK_MODIFY | CMAP_TRACK_PREFIX, changed, NULL, &track);
	while (error == CS_OK && next_event < EVENTS && !wrong)
		error = cmap_dispatch(handle, CS_DISPATCH_ONE);
	if (error != CS_OK || wrong) {
		printf("event %u: %d\n", next_event, error);
		return 1;
	}
	if (cmap_get_uint32(handle, "totem.version", &version) != CS_OK || cmap_finalize(handle) != CS_OK)
		return 1;
	printf("%d gets, %u events\n", GETS + 1, next_event);
	return 0;
}
