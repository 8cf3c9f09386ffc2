/* How the programs of a testbed write themselves into its journal before they do anything. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *program; /* who complains */

static void fail(const char *what, const char *on)
{
	fprintf(stderr, "%s: %s %s: %s\n", program, what, on, strerror(errno));
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

/* Writes the calling process into the journal; returns its start time. */
static unsigned long long write_journal(const char *journal, const char *name)
{
	char clean[64], record[256];
	unsigned long long start = start_time();
	snprintf(clean, sizeof clean, "%s", name);
	for (char *c = clean; *c; c++)
		if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
			*c = '?';
	snprintf(record, sizeof record, "\n{\"kind\":\"process\",\"pid\":%d,\"start\":%llu,\"name\":\"%s\"}\n",
		(int)getpid(), start, clean);
	write_once(journal, O_APPEND, record);
	return start;
}
