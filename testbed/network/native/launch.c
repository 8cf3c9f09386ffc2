/* launch: becomes COMMAND only after it has written itself into a testbed's journal and entered its cgroup.
 *
 *   launch JOURNAL CGROUP_PROCS NETNS_PID NAME COMMAND [ARG...]
 *
 * CGROUP_PROCS is the path of the cgroup's cgroup.procs, or "-" for none; NETNS_PID is a process whose network namespace
 * is entered, or 0. The process keeps its pid, so that the one that started it knows it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail(const char *what, const char *on)
{
	fprintf(stderr, "launch: %s %s: %s\n", what, on, strerror(errno));
	_exit(126);
}

static void write_once(const char *path, int flags, const char *text)
{
	int fd = open(path, flags | O_WRONLY | O_CLOEXEC);
	size_t length = strlen(text);
	if (fd < 0 || write(fd, text, length) != (ssize_t)length)
		fail("cannot write to", path);
	close(fd);
}

/* Field 22 of /proc/PID/stat, counted behind the command's name, which may hold spaces and brackets. */
static unsigned long long start_time(void)
{
	char text[1024];
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (length <= 0)
		fail("cannot read", "/proc/self/stat");
	close(fd);
	text[length] = 0;
	char *at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		fail("cannot understand", "/proc/self/stat");
	return strtoull(at, NULL, 10);
}

int main(int argc, char **argv)
{
	if (argc < 6) {
		fprintf(stderr, "usage: launch JOURNAL CGROUP_PROCS NETNS_PID NAME COMMAND [ARG...]\n");
		return 126;
	}
	char name[64], record[256];
	snprintf(name, sizeof name, "%s", argv[4]);
	for (char *c = name; *c; c++)
		if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
			*c = '?';
	snprintf(record, sizeof record, "\n{\"kind\":\"process\",\"pid\":%d,\"start\":%llu,\"name\":\"%s\"}\n",
		(int)getpid(), start_time(), name);
	write_once(argv[1], O_APPEND, record);
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
