/* prober: sends packets over links as it is told, and says when each was sent and received.
 *
 *   prober <PLAN >RECORDS
 *
 * The plan is lines of text: first the directions, numbered from 0 (whole ones, and halves of which the other end is on
 * another machine, where another prober has it), then the streams of those that are sent here, then the end:
 *
 *   direction PID_FROM ADDRESS_FROM INTERFACE PID_TO ADDRESS_TO PACKETS
 *   sender PID_FROM ADDRESS_FROM INTERFACE ADDRESS_TO PORT PACKETS
 *   receiver PID_TO ADDRESS_TO PORT PACKETS
 *   stream DIRECTION FIRST COUNT SIZE START GAP TOGETHER LEEWAY
 *                       packet numbers; IP bytes; ns from the beginning; ns for each packet; how many are sent in one go;
 *                       ns that a packet may be late before all that follow are put off, for to make up for it would
 *                       overfill the queue
 *   begin TIME                                        CLOCK_MONOTONIC in ns; without it, at once; if it is past when all
 *                                                     is ready, nothing is sent, and the exit status is 3
 *   end TIME                                          ns from the beginning: how long to listen
 *
 * The records are, for each direction and packet in order, two 64-bit integers: when it was sent and when it was received,
 * CLOCK_MONOTONIC in ns, 0 for not: sent just before the kernel was asked to, received when the packet came out of the
 * link, by the kernel's own stamp. One thread sends and one receives, SCHED_FIFO where permitted, so that a busy machine does
 * not pass for a slow link; not on a single processor, where they would keep the kernel from moving the packets.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
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

enum { HEADERS = 28, LARGEST = 1500, AT_ONCE = 32 };
enum { LATE = 3 }; /* exit status */
static const uint32_t MARK = 0x7e57bed1;

struct direction {
	int from, to; /* sockets; -1: on another machine */
	uint32_t packets;
	int64_t (*times)[2];
};

struct sending {
	int64_t at, leeway;
	uint32_t direction, number, size;
};

static struct direction *directions;
static struct sending *sendings;
static size_t direction_count, sending_count, expected_count, received_count;
static int64_t beginning, end;
static _Atomic int64_t shift; /* by how much the plan was put off */

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static void die(const char *what, const char *on)
{
	fprintf(stderr, "prober: %s %s: %s\n", what, on, strerror(errno));
	exit(1);
}

static void *grown(void *array, size_t count, size_t size)
{
	if (count & (count - 1))
		return array;
	if (!(array = reallocarray(array, count ? 2 * count : 1, size)))
		die("no memory for", "the plan");
	return array;
}

static int socket_in(int pid, const char *address, int port, const char *interface, int home)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
	int there = open(path, O_RDONLY | O_CLOEXEC), large = 16 << 20, on = 1;
	if (there < 0 || setns(there, CLONE_NEWNET) != 0)
		die("cannot enter", path);
	close(there);
	int made = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port)};
	if (made < 0 || inet_pton(AF_INET, address, &own.sin_addr) != 1 || bind(made, (struct sockaddr *)&own, sizeof own) != 0)
		die("cannot bind to", address);
	setsockopt(made, SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof large);
	setsockopt(made, SOL_SOCKET, SO_SNDBUFFORCE, &large, sizeof large);
	setsockopt(made, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
	if (interface && setsockopt(made, SOL_SOCKET, SO_BINDTODEVICE, interface, strlen(interface)) != 0)
		die("cannot bind to", interface);
	if (setns(home, CLONE_NEWNET) != 0)
		die("cannot return", "home");
	return made;
}

static void real_time(int priority)
{
	prctl(PR_SET_TIMERSLACK, 1);
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		pthread_setschedparam(pthread_self(), SCHED_FIFO, &(struct sched_param){.sched_priority = priority});
}

static void prepare(struct mmsghdr *headers, struct iovec *parts, uint32_t (*packets)[LARGEST / 4])
{
	memset(headers, 0, AT_ONCE * sizeof *headers);
	for (int i = 0; i < AT_ONCE; i++) {
		packets[i][0] = MARK;
		parts[i] = (struct iovec){packets[i], LARGEST};
		headers[i].msg_hdr.msg_iov = &parts[i];
		headers[i].msg_hdr.msg_iovlen = 1;
	}
}

/* When a packet came, by the kernel's stamp, which is in real time; `now` is the same instant on both clocks. */
static int64_t came_at(struct msghdr *header, int64_t now, int64_t now_real)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec t;
			memcpy(&t, CMSG_DATA(c), sizeof t);
			return t.tv_sec * 1000000000LL + t.tv_nsec - now_real + now;
		}
	return now;
}

static void *receive(void *nothing)
{
	static uint32_t packets[AT_ONCE][LARGEST / 4];
	static char stamps[AT_ONCE][CMSG_SPACE(sizeof(struct timespec))] __attribute__((aligned(sizeof(size_t))));
	struct mmsghdr headers[AT_ONCE];
	struct iovec parts[AT_ONCE];
	int poller = epoll_create1(EPOLL_CLOEXEC);
	prepare(headers, parts, packets);
	real_time(40); /* before the sender, behind the relay */
	for (size_t i = 0; i < direction_count; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
		if (directions[i].to >= 0)
			epoll_ctl(poller, EPOLL_CTL_ADD, directions[i].to, &event);
	}
	while (now_ns() < beginning + end + shift && received_count < expected_count) {
		struct epoll_event events[64];
		int count = epoll_wait(poller, events, 64, 20);
		for (int i = 0; i < count; i++) {
			struct direction *d = &directions[events[i].data.u64];
			for (int k = 0; k < AT_ONCE; k++) {
				headers[k].msg_hdr.msg_control = stamps[k];
				headers[k].msg_hdr.msg_controllen = sizeof stamps[k];
			}
			int came = recvmmsg(d->to, headers, AT_ONCE, MSG_DONTWAIT, NULL);
			int64_t now = now_ns(), now_real = clock_ns(CLOCK_REALTIME);
			for (int k = 0; k < came; k++) {
				uint32_t mark = packets[k][0], number = packets[k][1];
				if (headers[k].msg_len >= 8 && mark == MARK && number < d->packets && !d->times[number][1]) {
					d->times[number][1] = came_at(&headers[k].msg_hdr, now, now_real);
					received_count++;
				}
			}
		}
	}
	return nothing;
}

static void *transmit(void *nothing)
{
	static uint32_t packets[AT_ONCE][LARGEST / 4];
	struct mmsghdr headers[AT_ONCE];
	struct iovec parts[AT_ONCE];
	prepare(headers, parts, packets);
	real_time(30);
	for (size_t i = 0; i < sending_count;) {
		struct sending *s = &sendings[i];
		struct direction *d = &directions[s->direction];
		int64_t at = beginning + s->at + shift, now = now_ns();
		struct timespec until = {at / 1000000000, at % 1000000000};
		int count = 0;
		for (; count < AT_ONCE && i + count < sending_count; count++) {
			if (s[count].at != s->at || s[count].direction != s->direction)
				break;
			packets[count][1] = s[count].number;
			parts[count].iov_len = s[count].size - HEADERS;
		}
		if (at > now)
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		else if (now - at > s->leeway)
			shift += now - at;
		now = now_ns();
		int sent = sendmmsg(d->from, headers, count, 0);
		for (int k = 0; k < sent; k++)
			d->times[s[k].number][0] = now;
		i += sent > 0 ? sent : 1; /* what could not be sent is left out */
	}
	return nothing;
}

static int by_time(const void *a, const void *b)
{
	const struct sending *x = a, *y = b;
	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	if (x->direction != y->direction)
		return x->direction < y->direction ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static struct direction *new_direction(int from, int to, uint32_t packets)
{
	directions = grown(directions, direction_count, sizeof *directions);
	struct direction *d = &directions[direction_count++];
	*d = (struct direction){from, to, packets, calloc(packets, sizeof *d->times)};
	if (!d->times)
		die("no memory for", "the plan");
	expected_count += to >= 0 ? packets : 0;
	return d;
}

static void lead(struct direction *d, const char *to, int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t length = sizeof address;
	if ((d->to >= 0 ? getsockname(d->to, (struct sockaddr *)&address, &length) != 0 : inet_pton(AF_INET, to, &address.sin_addr) != 1)
		|| connect(d->from, (struct sockaddr *)&address, sizeof address) != 0)
		die("cannot reach", to);
}

int main(void)
{
	char line[256], from[64], to[64], interface[32];
	int pid_from, pid_to, port, home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	unsigned direction, first, count, size, together, packets;
	long long start, gap, leeway, time;
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "direction %d %63s %31s %d %63s %u", &pid_from, from, interface, &pid_to, to, &packets) == 6) {
			int sends = socket_in(pid_from, from, 0, interface, home);
			lead(new_direction(sends, socket_in(pid_to, to, 0, NULL, home), packets), to, 0);
		} else if (sscanf(line, "sender %d %63s %31s %63s %d %u", &pid_from, from, interface, to, &port, &packets) == 6) {
			lead(new_direction(socket_in(pid_from, from, 0, interface, home), -1, packets), to, port);
		} else if (sscanf(line, "receiver %d %63s %d %u", &pid_to, to, &port, &packets) == 4) {
			new_direction(-1, socket_in(pid_to, to, port, NULL, home), packets);
		} else if (sscanf(line, "stream %u %u %u %u %lld %lld %u %lld", &direction, &first, &count, &size, &start, &gap, &together,
				   &leeway) == 8 && together > 0 && direction < direction_count && size >= HEADERS + 8 && size <= LARGEST
			&& directions[direction].from >= 0 && (uint64_t)first + count <= directions[direction].packets) {
			for (unsigned i = 0; i < count; i++) {
				sendings = grown(sendings, sending_count, sizeof *sendings);
				sendings[sending_count++] = (struct sending){start + i / together * together * gap, leeway, direction, first + i, size};
			}
		} else if (sscanf(line, "begin %lld", &time) == 1) {
			beginning = time;
		} else if (sscanf(line, "end %lld", &time) == 1) {
			end = time;
		} else {
			errno = EINVAL;
			die("not understood:", line);
		}
	}
	qsort(sendings, sending_count, sizeof *sendings, by_time);
	mlockall(MCL_CURRENT | MCL_FUTURE);
	if (!beginning)
		beginning = now_ns() + 20000000;
	else if (beginning < now_ns())
		return LATE;
	pthread_t receiver, transmitter;
	if (pthread_create(&receiver, NULL, receive, NULL) != 0 || pthread_create(&transmitter, NULL, transmit, NULL) != 0)
		die("cannot start", "threads");
	pthread_join(transmitter, NULL);
	pthread_join(receiver, NULL);
	for (size_t i = 0; i < direction_count; i++)
		if (fwrite(directions[i].times, sizeof *directions[i].times, directions[i].packets, stdout) != directions[i].packets)
			die("cannot write", "the records");
	return fflush(stdout) != 0;
}
