/* relay: joins pairs of TAP devices, each pair a link, and gives each direction its rate, queue, delay, jitter, loss.
 *
 *   relay SOCKET
 *
 * It listens on a unix socket (SOCK_SEQPACKET, mode 0600); each request is one packet of text and has one answer:
 *
 *   add LINK PID_A TAP_A PID_B TAP_B SEED     make the TAPs in those processes' network namespaces  -> ok
 *   set LINK DIRECTION RATE DELAY JITTER LOSS QUEUE     bit/s, ns, ns, 0 to 1, bytes; 0 is A to B     -> ok
 *   get LINK        -> ok and for each direction RATE DELAY JITTER LOSS QUEUE BYTES PACKETS DROPPED LOST BACKLOG
 *   hello           -> ok realtime | ok ordinary
 *
 * A request that cannot be done is answered "error REASON". Sizes are counted at the IP layer: frame less 14 bytes.
 * A packet waits in the queue (tail drop, bytes), is served for size / rate, may then be lost, is delayed, is delivered.
 * When the rate changes, what is left of the packet being served and all that wait are served at the new rate. No packet
 * overtakes another. It lives until it is killed; SIGTERM lets it close its TAPs side by side, for each takes a while.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CLOSERS = 32, ETHERNET = 14, FRAME = 2048, LINKS = 4096, CLIENTS = 64, AT_ONCE = 32 };
static const int64_t NEVER = INT64_MAX;

struct packet {
	struct packet *next;
	int64_t due; /* when it is delivered */
	int length;
	unsigned char frame[];
};

struct fifo {
	struct packet *head, **tail;
};

struct direction {
	double rate, loss; /* bit/s; 0 to 1 */
	int64_t delay, jitter, limit; /* ns, ns, bytes */
	struct fifo queue, flight; /* waiting or being served; under way */
	int64_t backlog; /* bytes in the queue, the packet being served among them */
	double left; /* bits of the first packet in the queue that are still to be served at `since` */
	int64_t since, last_due, next; /* next: when this direction must be looked at again */
	uint64_t random, bytes, packets, dropped, lost;
	int out; /* the TAP it delivers to */
	int at; /* place in the heap, -1 if none */
};

struct link {
	bool used;
	int tap[2];
	struct direction direction[2]; /* 0: from tap[0] to tap[1] */
};

static struct link *links;
static struct direction *heap[2 * LINKS];
static int heap_size, poller, timer, listener, clients;
static bool realtime;
static volatile sig_atomic_t ending;

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static double uniform(struct direction *d)
{
	return (splitmix(&d->random) >> 11) * 0x1p-53;
}

/* The heap of directions by `next`. */

static void place(struct direction *d, int i)
{
	heap[i] = d;
	d->at = i;
}

static void reschedule(struct direction *d, int64_t next)
{
	d->next = next;
	if (d->at < 0) {
		if (next == NEVER)
			return;
		place(d, heap_size++);
	}
	int i = d->at;
	while (i > 0 && heap[(i - 1) / 2]->next > next) {
		place(heap[(i - 1) / 2], i);
		i = (i - 1) / 2;
	}
	for (;;) {
		int child = 2 * i + 1;
		if (child + 1 < heap_size && heap[child + 1]->next < heap[child]->next)
			child++;
		if (child >= heap_size || heap[child]->next >= next)
			break;
		place(heap[child], i);
		i = child;
	}
	place(d, i);
}

static void fifo_push(struct fifo *f, struct packet *p)
{
	p->next = NULL;
	*(f->head ? f->tail : &f->head) = p;
	f->tail = &p->next;
}

static struct packet *fifo_pop(struct fifo *f)
{
	struct packet *p = f->head;
	f->head = p->next;
	return p;
}

/* When the packet at the head of the queue has been served. */
static int64_t served_at(const struct direction *d)
{
	return d->queue.head ? d->since + (int64_t)ceil(d->left * 1e9 / d->rate) : NEVER;
}

static void serve_next(struct direction *d, int64_t from)
{
	if (d->queue.head) {
		d->left = 8.0 * (d->queue.head->length - ETHERNET);
		d->since = from;
	}
}

/* Brings a direction up to the time `now`: serves, loses, delivers. */
static void advance(struct direction *d, int64_t now)
{
	for (int64_t done; (done = served_at(d)) <= now;) {
		struct packet *p = fifo_pop(&d->queue);
		int size = p->length - ETHERNET;
		d->backlog -= size;
		serve_next(d, done);
		if (d->loss > 0 && uniform(d) < d->loss) {
			d->lost++;
			free(p);
			continue;
		}
		int64_t late = d->delay;
		if (d->jitter > 0)
			late += (int64_t)((2 * uniform(d) - 1) * d->jitter);
		p->due = done + (late > 0 ? late : 0);
		if (p->due < d->last_due)
			p->due = d->last_due;
		d->last_due = p->due;
		fifo_push(&d->flight, p);
	}
	while (d->flight.head && d->flight.head->due <= now) {
		struct packet *p = fifo_pop(&d->flight);
		if (write(d->out, p->frame, p->length) == p->length) {
			d->bytes += p->length - ETHERNET;
			d->packets++;
		} else {
			d->dropped++;
		}
		free(p);
	}
	int64_t next = served_at(d);
	if (d->flight.head && d->flight.head->due < next)
		next = d->flight.head->due;
	reschedule(d, next);
}

/* Returns false if the TAP is gone. */
static bool receive(struct link *l, int side, int64_t now)
{
	struct direction *d = &l->direction[side];
	unsigned char frame[FRAME];
	advance(d, now); /* else a packet could be served from before it came */
	for (int i = 0; i < AT_ONCE; i++) {
		ssize_t length = read(l->tap[side], frame, sizeof frame);
		if (length < 0)
			return errno == EAGAIN || errno == EINTR;
		int size = (int)length - ETHERNET;
		if (size <= 0 || d->rate <= 0)
			continue;
		struct packet *p = d->backlog + size > d->limit ? NULL : malloc(sizeof *p + length);
		if (!p) {
			d->dropped++;
			continue;
		}
		p->length = (int)length;
		memcpy(p->frame, frame, length);
		bool idle = !d->queue.head;
		fifo_push(&d->queue, p);
		d->backlog += size;
		if (idle)
			serve_next(d, now);
	}
	return true;
}

/* Requests. */

static int tap_in(int pid, const char *name)
{
	char path[64];
	struct ifreq request = {0};
	snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there = open(path, O_RDONLY | O_CLOEXEC), tap = -1;
	if (home >= 0 && there >= 0 && setns(there, CLONE_NEWNET) == 0) {
		tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
		request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL;
		snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
		if (tap >= 0 && ioctl(tap, TUNSETIFF, &request) < 0) {
			int error = errno;
			close(tap);
			errno = error;
			tap = -1;
		}
		int error = errno;
		if (setns(home, CLONE_NEWNET) != 0)
			abort();
		errno = error;
	}
	int error = errno;
	if (home >= 0)
		close(home);
	if (there >= 0)
		close(there);
	errno = error;
	return tap;
}

static uint64_t tag(int link, int side)
{
	return 1ULL << 32 | (uint64_t)link << 1 | side;
}

static int answer(char *into, size_t room, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(into, room, format, arguments);
	va_end(arguments);
	return length;
}

static int add(int number, int pid_a, const char *tap_a, int pid_b, const char *tap_b, uint64_t seed, char *out, size_t room)
{
	struct link *l = &links[number];
	if (l->used)
		return answer(out, room, "error link %d is there already", number);
	if ((l->tap[0] = tap_in(pid_a, tap_a)) < 0)
		return answer(out, room, "error cannot make %s: %s", tap_a, strerror(errno));
	if ((l->tap[1] = tap_in(pid_b, tap_b)) < 0) {
		int length = answer(out, room, "error cannot make %s: %s", tap_b, strerror(errno));
		close(l->tap[0]);
		return length;
	}
	for (int side = 0; side < 2; side++) {
		struct direction *d = &l->direction[side];
		memset(d, 0, sizeof *d);
		d->at = -1;
		d->next = NEVER;
		d->out = l->tap[!side];
		d->random = seed * 2 + side;
		struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag(number, side)};
		epoll_ctl(poller, EPOLL_CTL_ADD, l->tap[side], &event);
	}
	l->used = true;
	return answer(out, room, "ok");
}

static int request(char *text, char *out, size_t room)
{
	char tap_a[IFNAMSIZ], tap_b[IFNAMSIZ], rest;
	int number, side, pid_a, pid_b;
	unsigned long long seed;
	double rate, loss;
	long long delay, jitter, limit;
	if (strcmp(text, "hello") == 0)
		return answer(out, room, "ok %s", realtime ? "realtime" : "ordinary");
	if (sscanf(text, "%*s %d", &number) == 1 && (number < 0 || number >= LINKS))
		return answer(out, room, "error links are numbered 0 to %d", LINKS - 1);
	if (sscanf(text, "add %d %d %15s %d %15s %llu %c", &number, &pid_a, tap_a, &pid_b, tap_b, &seed, &rest) == 6)
		return add(number, pid_a, tap_a, pid_b, tap_b, seed, out, room);
	if (sscanf(text, "set %d %d %lf %lld %lld %lf %lld %c", &number, &side, &rate, &delay, &jitter, &loss, &limit, &rest) == 7) {
		if (!links[number].used || side < 0 || side > 1)
			return answer(out, room, "error no link %d, direction %d", number, side);
		if (!(rate >= 1 && rate <= 1e12) || delay < 0 || delay > 3600000000000LL || jitter < 0 || jitter > 3600000000000LL
			|| !(loss >= 0 && loss <= 1) || limit < 0)
			return answer(out, room, "error a value is out of range");
		struct direction *d = &links[number].direction[side];
		int64_t now = now_ns();
		advance(d, now);
		if (d->queue.head && now > d->since) {
			d->left -= (now - d->since) * d->rate / 1e9;
			d->left = d->left > 0 ? d->left : 0;
			d->since = now;
		}
		d->rate = rate, d->delay = delay, d->jitter = jitter, d->loss = loss, d->limit = limit;
		advance(d, now);
		return answer(out, room, "ok");
	}
	if (sscanf(text, "get %d %c", &number, &rest) == 1) {
		if (!links[number].used)
			return answer(out, room, "error no link %d", number);
		int length = answer(out, room, "ok");
		for (int i = 0; i < 2; i++) {
			struct direction *d = &links[number].direction[i];
			advance(d, now_ns());
			length += answer(out + length, room - length, " %.17g %lld %lld %.17g %lld %llu %llu %llu %llu %lld", d->rate,
				(long long)d->delay, (long long)d->jitter, d->loss, (long long)d->limit, (unsigned long long)d->bytes,
				(unsigned long long)d->packets, (unsigned long long)d->dropped, (unsigned long long)d->lost,
				(long long)d->backlog);
		}
		return length;
	}
	return answer(out, room, "error not understood");
}

static void serve(int client)
{
	char text[512], out[1024];
	ssize_t length = recv(client, text, sizeof text - 1, MSG_DONTWAIT | MSG_TRUNC);
	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (length <= 0) {
		close(client);
		clients--;
		return;
	}
	int size;
	if (length >= (ssize_t)sizeof text || memchr(text, 0, length)) {
		size = answer(out, sizeof out, "error not understood");
	} else {
		text[length] = 0;
		size = request(text, out, sizeof out);
	}
	send(client, out, size, MSG_DONTWAIT | MSG_NOSIGNAL); /* a client that does not listen loses its answer */
}

static void welcome(void)
{
	int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (client < 0)
		return;
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = client};
	if (clients >= CLIENTS || epoll_ctl(poller, EPOLL_CTL_ADD, client, &event) != 0) {
		close(client);
		return;
	}
	clients++;
}

static void end(int signal)
{
	(void)signal;
	ending = 1;
}

static void *close_share(void *first)
{
	for (int i = (int)(intptr_t)first; i < LINKS; i += CLOSERS)
		for (int side = 0; links[i].used && side < 2; side++)
			close(links[i].tap[side]);
	return NULL;
}

/* Closing a TAP waits for the kernel to forget it; many waits at once take hardly longer than one. */
static void close_all(void)
{
	pthread_t closers[CLOSERS];
	int started = 0;
	while (started < CLOSERS && pthread_create(&closers[started], NULL, close_share, (void *)(intptr_t)started) == 0)
		started++;
	for (int i = 0; i < started; i++)
		pthread_join(closers[i], NULL);
}

static void die(const char *what)
{
	fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
	exit(1);
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path) {
		fprintf(stderr, "usage: relay SOCKET\n");
		return 2;
	}
	strcpy(address.sun_path, argv[1]);
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	links = calloc(LINKS, sizeof *links);
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = end}, NULL);
	prctl(PR_SET_TIMERSLACK, 1);
	realtime = sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 50}) == 0;
	mlockall(MCL_CURRENT | MCL_FUTURE);

	poller = epoll_create1(EPOLL_CLOEXEC);
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	umask(0177);
	if (!links || poller < 0 || timer < 0 || listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0
		|| listen(listener, 16) != 0)
		die(argv[1]);
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = timer};
	epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event);
	event.data.u64 = listener;
	epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);

	int64_t armed = NEVER;
	sigset_t terminate; /* let in only while waiting, so that it is never missed */
	sigemptyset(&terminate);
	sigaddset(&terminate, SIGTERM);
	sigprocmask(SIG_BLOCK, &terminate, NULL);
	for (;;) {
		int64_t next = heap_size ? heap[0]->next : NEVER;
		if (next != armed) {
			struct itimerspec at = {0};
			if (next != NEVER) {
				at.it_value.tv_sec = next / 1000000000;
				at.it_value.tv_nsec = next % 1000000000;
			}
			timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
			armed = next;
		}
		struct epoll_event events[64];
		sigset_t none;
		sigemptyset(&none);
		if (ending)
			break;
		int count = epoll_pwait(poller, events, 64, -1, &none);
		for (int i = 0; i < count; i++) {
			uint64_t which = events[i].data.u64;
			if (which >> 32) {
				int number = (which & 0xffffffff) >> 1, side = which & 1;
				int64_t now = now_ns();
				if (!receive(&links[number], side, now))
					epoll_ctl(poller, EPOLL_CTL_DEL, links[number].tap[side], NULL);
				advance(&links[number].direction[side], now);
			} else if ((int)which == timer) {
				uint64_t expirations;
				if (read(timer, &expirations, sizeof expirations) > 0)
					armed = NEVER;
			} else if ((int)which == listener) {
				welcome();
			} else {
				serve((int)which);
			}
		}
		int64_t now = now_ns();
		while (heap_size && heap[0]->next <= now)
			advance(heap[0], now);
	}
	close_all();
	return 0;
}
