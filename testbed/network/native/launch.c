/* launch: becomes COMMAND only after it has written itself into a testbed's journal and entered its cgroup.
 *
 *   launch JOURNAL CGROUP_PROCS NETNS_PID NAME COMMAND [ARG...]
 *
 * CGROUP_PROCS is the path of the cgroup's cgroup.procs, or "-" for none; NETNS_PID is a process whose network namespace
 * is entered, or 0. The process keeps its pid, so that the one that started it knows it.
 */
#define _GNU_SOURCE
#include <sched.h>

#include "journal.h"

int main(int argc, char **argv)
{
	program = "launch";
	if (argc < 6) {
		fprintf(stderr, "usage: launch JOURNAL CGROUP_PROCS NETNS_PID NAME COMMAND [ARG...]\n");
		return 126;
	}
	write_journal(argv[1], argv[4]);
	if (strcmp(argv[2], "-") != 0)
		write_once(argv[2], 0, "0");
	if (strcmp(argv[3], "0") != 0) {
		char path[64];
		snprintf(path, sizeof path, "/proc/%s/ns/net", argv[3]);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
			fail("cannot enter", path);
		close(fd);
	}
	execvp(argv[5], argv + 5);
	fprintf(stderr, "launch: cannot run %s: %s\n", argv[5], strerror(errno));
	return errno == ENOENT ? 127 : 126;
}
