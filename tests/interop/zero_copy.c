/*
 * A program of libcpg's zero-copy buffers. It writes what every call returned and what was delivered, so that two daemons can be
 * compared by its output. Nothing in it waits except for its own events.
 */

#include <corosync/cpg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST 1047552

static int events;

static void delivered(cpg_handle_t handle, const struct cpg_name *group, uint32_t node, uint32_t pid, void *message, size_t length)
{
	const unsigned char *bytes = message;
	size_t wrong = 0;

	for (size_t i = 1; i < length; i++)
		wrong += bytes[i] != bytes[0];
	printf("delivered %zu bytes of %c to %.*s, %zu wrong\n", length, length ? bytes[0] : '-', (int)group->length, group->value, wrong);
	events++;
}

static void changed(cpg_handle_t handle, const struct cpg_name *group, const struct cpg_address *members, size_t member_count,
		    const struct cpg_address *left, size_t left_count, const struct cpg_address *joined, size_t joined_count)
{
	printf("changed: %zu members, %zu left, %zu joined\n", member_count, left_count, joined_count);
	events++;
}

static void report(const char *call, cs_error_t status)
{
	printf("%s: %d\n", call, status);
}

static void wait_for_one(cpg_handle_t handle)
{
	int before = events;

	while (events == before) {
		cs_error_t status = cpg_dispatch(handle, CS_DISPATCH_ONE);

		if (status != CS_OK) {
			report("dispatch", status);
			exit(1);
		}
	}
}

static void multicast(cpg_handle_t handle, void *buffer, size_t length)
{
	cs_error_t status = cpg_zcb_mcast_joined(handle, CPG_TYPE_AGREED, buffer, length);

	report("mcast", status);
	if (status == CS_OK)
		wait_for_one(handle);
}

int main(void)
{
	cpg_callbacks_t callbacks = {.cpg_deliver_fn = delivered, .cpg_confchg_fn = changed};
	struct cpg_name group = {.length = 4, .value = "zero"};
	cpg_handle_t handle;
	void *small, *large;

	report("initialize", cpg_initialize(&handle, &callbacks));
	report("allocate", cpg_zcb_alloc(handle, 1000, &small));
	memset(small, 's', 1000);
	multicast(handle, small, 10);
	report("join", cpg_join(handle, &group));
	wait_for_one(handle);
	multicast(handle, small, 10);
	multicast(handle, small, 0);
	memset(small, 't', 1000);
	multicast(handle, small, 1000);
	report("allocate", cpg_zcb_alloc(handle, LARGEST, &large));
	memset(large, 'l', LARGEST);
	multicast(handle, large, LARGEST);
	multicast(handle, large, 1048577);
	report("free", cpg_zcb_free(handle, small));
	multicast(handle, large, 5);
	report("free", cpg_zcb_free(handle, large));
	report("allocate", cpg_zcb_alloc(handle, 1, &small));
	report("finalize", cpg_finalize(handle));
	return 0;
}
