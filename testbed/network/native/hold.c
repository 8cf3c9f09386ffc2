/* hold: holds network namespaces, each by a small process of its own that does nothing else.
 *
 *   hold JOURNAL NAME... >HOLDERS
 *
 * Each process writes itself into the testbed's journal under its name, then makes its namespace, then writes the line
 * "NUMBER PID START" (which name, counted from 0, and who holds it); the output ends when all have. All of them end with
 * this program, and this program when its standard input does, which is when the one that started it has gone.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

#include "journal.h"

static void hold(const char *journal, const char *name, int number, pid_t parent)
{
	char line[64];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	unsigned long long start = write_journal(journal, name);
	if (unshare(CLONE_NEWNET) != 0)
		fail("cannot make a network namespace for", name);
	int length = snprintf(line, sizeof line, "%d %d %llu\n", number, (int)getpid(), start);
	if (write(STDOUT_FILENO, line, length) != length)
		_exit(1);
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	char rest;
	pid_t self = getpid();
	program = "hold";
	if (argc < 2) {
		fprintf(stderr, "usage: hold JOURNAL NAME...\n");
		return 126;
	}
	for (int i = 2; i < argc; i++) {
		pid_t child = fork();
		if (child == 0)
			hold(argv[1], argv[i], i - 2, self);
		if (child < 0)
			fail("cannot start a process for", argv[i]);
	}
	close(STDOUT_FILENO);
	close(STDERR_FILENO);
	while (read(STDIN_FILENO, &rest, 1) > 0 || errno == EINTR)
		errno = 0;
	return 0;
}
