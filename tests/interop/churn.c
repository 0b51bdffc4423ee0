/*
 * churn COUNT KILLED: connects COUNT times to the cpg and the cmap service in turn, and leaves in every manner there is. Of each
 * hundred connections KILLED end by SIGKILL at one of several places, in a process of their own; the others finalize. Prints one
 * line: how many connections were let in.
 */

#include <corosync/cmap.h>
#include <corosync/cpg.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void delivered(cpg_handle_t handle, const struct cpg_name *group, uint32_t node, uint32_t pid, void *message, size_t length)
{
}

static void changed(cpg_handle_t handle, const struct cpg_name *group, const struct cpg_address *members, size_t member_count,
		    const struct cpg_address *left, size_t left_count, const struct cpg_address *joined, size_t joined_count)
{
}

static void require(const char *what, cs_error_t status)
{
	if (status != CS_OK) {
		fprintf(stderr, "%s: status %d\n", what, status);
		exit(1);
	}
}

/* Joins a group of its own process, so that no two members of one process meet there, and says something. */
static cpg_handle_t use_cpg(int number)
{
	static char text[5000];
	cpg_callbacks_t callbacks = {.cpg_deliver_fn = delivered, .cpg_confchg_fn = changed};
	struct iovec vector = {.iov_base = text, .iov_len = number % sizeof(text)};
	struct cpg_name group;
	cpg_handle_t handle;
	cs_error_t status;

	group.length = snprintf(group.value, sizeof(group.value), "churn %d", number % 7);
	require("cpg_initialize", cpg_initialize(&handle, &callbacks));
	/* This process's last connection may not have left this group yet: CS_ERR_TRY_AGAIN. */
	while ((status = cpg_join(handle, &group)) == CS_ERR_TRY_AGAIN)
		usleep(1000);
	require("cpg_join", status);
	for (int i = number % 4; i > 0; i--)
		cpg_mcast_joined(handle, CPG_TYPE_AGREED, &vector, 1);
	return handle;
}

static cmap_handle_t use_cmap(int number)
{
	cmap_handle_t handle;
	cmap_iter_handle_t iteration;
	uint32_t position;

	require("cmap_initialize", cmap_initialize(&handle));
	require("cmap_get_uint32", cmap_get_uint32(handle, "nodelist.local_node_pos", &position));
	if (number % 3 == 0)
		require("cmap_iter_init", cmap_iter_init(handle, "totem.", &iteration));
	return handle;
}

static void killed(int number)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		if (number % 2)
			use_cpg(number);
		else
			use_cmap(number);
		kill(getpid(), SIGKILL);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFSIGNALED(status)) {
		fprintf(stderr, "a child failed: %s\n", strerror(errno));
		exit(1);
	}
}

int main(int argc, char **argv)
{
	int count = atoi(argv[1]), share = atoi(argv[2]);

	for (int number = 0; number < count; number++) {
		if (number % 100 < share)
			killed(number);
		else if (number % 2)
			require("cpg_finalize", cpg_finalize(use_cpg(number)));
		else
			require("cmap_finalize", cmap_finalize(use_cmap(number)));
	}
	printf("%d\n", count);
	return 0;
}
