/* changer: sends the kernel messages of traffic control, each at its instant, and says when it did.
 *
 *   changer <CHANGES >RECORDS
 *
 * A change is int64 AT, uint32 NUMBER, uint32 LENGTH and so many bytes of parts; a part is uint32 PID, uint32 LENGTH and so
 * many bytes of messages for NETLINK_ROUTE, which are sent in the network namespace of that process. What one instant has
 * is done in the order in which it came. NUMBER 0xffffffff forgets all that waits.
 * A record is int64 DONE, uint32 NUMBER, uint16 ERROR, uint16 LENGTH and so many bytes of the kernel's words. A refused
 * change has one for each refusal, before that which says when it was done. Forgetting has one too, behind those of all
 * that was done before. The messages bear the number of their change. Times are of CLOCK_MONOTONIC, in ns; all is in
 * native order.
 *
 * It ends with its input. SCHED_FIFO where permitted, so that a busy machine does not make changes late; not on a single
 * processor, where it would keep the kernel from moving packets: there it
 * only goes before others.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST = 1 << 16, SOON = 2000000, ENOUGH = 4096 };
static const uint32_t FORGET = 0xffffffff;

struct header {
	int64_t at;
	uint32_t number, length;
};

struct part {
	uint32_t pid, length;
};

struct record {
	int64_t at;
	uint32_t number;
	uint16_t error, length;
};

struct change {
	struct header header;
	uint64_t order;
	unsigned char *parts;
};

struct place {
	uint32_t pid;
	int socket;
};

struct text {
	char *bytes;
	size_t size, room;
};

static struct change *heap;
static struct place *places;
static size_t heap_size, heap_room, place_count;
static struct text fresh, out; /* records: whose refusals may still be unread, and ready to be written */
static uint64_t count;
static int answering;

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "changer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *resized(void *array, size_t size)
{
	if (!(array = realloc(array, size)))
		die("no memory");
	return array;
}

static int before(const struct change *a, const struct change *b)
{
	return a->header.at != b->header.at ? a->header.at < b->header.at : a->order < b->order;
}

static void push(struct change added)
{
	if (heap_size == heap_room)
		heap = resized(heap, (heap_room = heap_room ? 2 * heap_room : 64) * sizeof *heap);
	size_t i = heap_size++;
	for (; i > 0 && before(&added, &heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = added;
}

static struct change pop(void)
{
	struct change first = heap[0], last = heap[--heap_size];
	size_t i = 0, child;
	for (; (child = 2 * i + 1) < heap_size; i = child) {
		if (child + 1 < heap_size && before(&heap[child + 1], &heap[child]))
			child++;
		if (!before(&heap[child], &last))
			break;
		heap[i] = heap[child];
	}
	heap[i] = last;
	return first;
}

/* The socket in the namespace of a process, -1 and errno if there is none. */
static int socket_at(uint32_t pid)
{
	static int home = -1;
	for (size_t i = 0; i < place_count; i++)
		if (places[i].pid == pid)
			return places[i].socket;
	char path[64];
	snprintf(path, sizeof path, "/proc/%u/ns/net", pid);
	if (home < 0 && (home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) < 0)
		die("cannot open /proc/self/ns/net");
	int there = open(path, O_RDONLY | O_CLOEXEC), one = 1;
	if (there < 0)
		return -1;
	int made = setns(there, CLONE_NEWNET) == 0 ? socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE) : -1, failed = errno;
	close(there);
	if (setns(home, CLONE_NEWNET) != 0)
		die("cannot return home");
	errno = failed;
	if (made < 0)
		return -1;
	setsockopt(made, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
	setsockopt(made, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
	epoll_ctl(answering, EPOLL_CTL_ADD, made, &(struct epoll_event){.events = EPOLLIN, .data.fd = made});
	places = resized(places, (place_count + 1) * sizeof *places);
	places[place_count++] = (struct place){pid, made};
	return made;
}

static void add(struct text *to, struct record record, const char *words)
{
	if (to->size + sizeof record + record.length > to->room)
		to->bytes = resized(to->bytes, to->room = 2 * (to->size + sizeof record + record.length));
	memcpy(to->bytes + to->size, &record, sizeof record);
	memcpy(to->bytes + to->size + sizeof record, words, record.length);
	to->size += sizeof record + record.length;
}

/* Tells what the kernel has refused: it answers nothing else, and names the change by the number of the message. */
static void tell_refusals(int from)
{
	union {
		struct nlmsghdr header;
		char bytes[8192];
	} answer;
	for (ssize_t got; (got = recv(from, &answer, sizeof answer, MSG_DONTWAIT)) > 0;) {
		unsigned left = got;
		for (struct nlmsghdr *message = &answer.header; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
			struct nlmsgerr *said = NLMSG_DATA(message);
			if (message->nlmsg_type != NLMSG_ERROR || said->error == 0)
				continue;
			struct record record = {0, message->nlmsg_seq, -said->error, 0};
			char *end = (char *)message + message->nlmsg_len, *at = (char *)(said + 1), *words = at;
			while (message->nlmsg_flags & NLM_F_ACK_TLVS && at + NLA_HDRLEN <= end) {
				struct nlattr *attribute = (struct nlattr *)at;
				if (attribute->nla_len < NLA_HDRLEN || at + attribute->nla_len > end)
					break;
				if (attribute->nla_type == NLMSGERR_ATTR_MSG) {
					words = at + NLA_HDRLEN;
					record.length = strnlen(words, attribute->nla_len - NLA_HDRLEN);
				}
				at += NLA_ALIGN(attribute->nla_len);
			}
			add(&out, record, words);
		}
	}
}

static void apply(struct change change)
{
	for (uint32_t at = 0; at + sizeof(struct part) <= change.header.length;) {
		struct part part;
		memcpy(&part, change.parts + at, sizeof part);
		at += sizeof part;
		if (part.length > change.header.length - at)
			break;
		int to = socket_at(part.pid);
		if (to < 0 || send(to, change.parts + at, part.length, 0) != (ssize_t)part.length)
			add(&out, (struct record){0, change.header.number, errno, 0}, "");
		at += part.length;
	}
	add(&fresh, (struct record){now_ns(), change.header.number, 0, 0}, "");
	free(change.parts);
}

/* Takes whole changes out of what was read; returns how many bytes they were. */
static size_t take(const unsigned char *bytes, size_t size)
{
	size_t taken = 0;
	for (struct header header; size - taken >= sizeof header;) {
		memcpy(&header, bytes + taken, sizeof header);
		if (header.length > LONGEST) {
			errno = EMSGSIZE;
			die("not understood");
		}
		if (size - taken < sizeof header + header.length)
			break;
		const unsigned char *parts = bytes + taken + sizeof header;
		taken += sizeof header + header.length;
		if (header.number == FORGET) {
			while (heap_size > 0)
				free(heap[--heap_size].parts);
			add(&fresh, (struct record){now_ns(), FORGET, 0, 0}, "");
			continue;
		}
		struct change change = {header, count++, memcpy(resized(NULL, header.length + 1), parts, header.length)};
		for (struct part part; parts + sizeof part <= bytes + taken; parts += sizeof part + part.length) {
			memcpy(&part, parts, sizeof part);
			socket_at(part.pid); /* now, not at its instant */
		}
		push(change);
	}
	return taken;
}

int main(void)
{
	static unsigned char in[2 * LONGEST];
	size_t in_size = 0;
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	fcntl(1, F_SETFL, fcntl(1, F_GETFL) | O_NONBLOCK);
	mlockall(MCL_CURRENT | MCL_FUTURE);
	prctl(PR_SET_TIMERSLACK, 1);
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1) /* before the prober, behind the relay */
		sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 45});
	else
		setpriority(PRIO_PROCESS, 0, -20);
	answering = epoll_create1(EPOLL_CLOEXEC);
	for (int64_t now = now_ns();; now = now_ns()) {
		int waits = heap_size > 0;
		int64_t wait = waits && heap[0].header.at > now ? heap[0].header.at - now : 0;
		int unwritten = fresh.size + out.size > (waits && wait < SOON ? ENOUGH : 0); /* changes go before records */
		struct pollfd polled[] = {{0, POLLIN, 0}, {unwritten ? 1 : -1, POLLOUT, 0}, {answering, POLLIN, 0}};
		int ready = ppoll(polled, 3, waits ? &(struct timespec){wait / 1000000000, wait % 1000000000} : NULL, NULL);
		if (ready < 0)
			die("cannot wait");
		if (polled[2].revents) {
			struct epoll_event events[64];
			for (int i = epoll_wait(answering, events, 64, 0); i-- > 0;)
				tell_refusals(events[i].data.fd);
		}
		for (size_t at = 0; at < fresh.size; at += sizeof(struct record))
			add(&out, *(struct record *)(fresh.bytes + at), "");
		fresh.size = 0;
		if (polled[1].revents) {
			ssize_t put = write(1, out.bytes, out.size);
			if (put < 0 && errno != EAGAIN)
				return 0;
			if (put > 0)
				memmove(out.bytes, out.bytes + put, out.size -= put);
		}
		if (polled[0].revents) {
			ssize_t got = read(0, in + in_size, sizeof in - in_size);
			if (got <= 0)
				return 0;
			size_t taken = take(in, in_size += got);
			memmove(in, in + taken, in_size -= taken);
		}
		now = ready ? now_ns() : now + wait;
		while (heap_size > 0 && heap[0].header.at <= now)
			apply(pop());
	}
}
