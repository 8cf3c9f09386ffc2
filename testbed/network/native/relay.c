/* relay: joins pairs of TAP devices, each pair a link, and gives each direction its rate, queue, delay, jitter, loss.
 *
 *   relay SOCKET
 *
 * It listens on a unix socket (SOCK_SEQPACKET, mode 0600); each request is one packet of text and has one answer:
 *
 *   add LINK PID_A TAP_A PID_B TAP_B SEED     make the TAPs in those processes' network namespaces  -> ok
 *   air LINK AIR RATE                         both directions share the AIR with others; bit/s, all together  -> ok
 *   set LINK DIRECTION RATE DELAY JITTER LOSS BURST QUEUE
 *                   bit/s, ns, ns, 0 to 1, packets lost in a row (0: each on its own), bytes; 0 is A to B  -> ok
 *   get LINK        -> ok and for each direction RATE DELAY JITTER LOSS BURST QUEUE BYTES PACKETS DROPPED LOST BACKLOG
 *   plan CHANGES    each a `struct change` as it lies in memory; all are taken, or none is  -> ok
 *   done            -> ok and a `struct applied` for each change applied since the last answer, RECORDS at the most
 *   cancel          forget what is planned and not applied  -> ok
 *   hello           -> ok realtime | ok ordinary
 *
 * A request that cannot be done is answered "error REASON". Sizes are counted at the IP layer: frame less 14 bytes.
 * A packet waits in the queue (tail drop, bytes), is served for size / rate, where the air is shared waits for its turn
 * there (still a part of the backlog that the queue bounds) and is served for size / the air's rate, may then be lost, is
 * delayed, is delivered. When the rate changes, what is left of the packet being served and all that wait are served at
 * the new rate. No packet overtakes another. Plans belong to the connection that made them and are forgotten with it.
 * It lives until it is killed; SIGTERM lets it close its TAPs side by side, for each takes a while.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <malloc.h>
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
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "link.h"

enum { CLOSERS = 32, LINKS = 4096, CLIENTS = 64, EVENTS = 64 };
enum { PAUSE = 100000, BEAT = 1000000, AWAKE = 1000000000 }; /* ns */
enum { MESSAGE = 65536, PLANS = 1000000, RECORDS = 4000 };

struct change {
	int64_t number, when; /* ns of CLOCK_MONOTONIC */
	int32_t link, direction;
	struct parameters to;
};

struct applied {
	int64_t number, when;
};

struct plan {
	struct timed timed;
	struct change change;
	struct plan *next_free;
};

static struct link *links;
static struct air *airs;
static struct heap planned;
static struct plan *plans, *free_plan; /* the first `plans_used` are planned or free */
static int plans_used;
static struct applied *applied; /* a ring */
static uint64_t applied_first, applied_end, plan_count;
static int poller, listener, clients, planner = -1; /* planner: the client whose plans these are */
static bool realtime;
static volatile sig_atomic_t ending;

static struct timed *next_to_happen(void)
{
	static struct timed nothing = {.when = INT64_MAX};
	struct timed *a = work.count ? work.items[0] : &nothing, *b = planned.count ? planned.items[0] : &nothing;
	return b->when < a->when ? b : a;
}

/* Lets everything happen, in its order, that should have until now. */
static void catch_up(int64_t now)
{
	for (struct timed *t; (t = next_to_happen())->when <= now;)
		t->happen(t, now);
}

/* Changes. */

static bool is_direction(int link, int direction)
{
	return link >= 0 && link < LINKS && links[link].used && direction >= 0 && direction <= 1;
}

static void plan_due(struct timed *timed, int64_t now)
{
	struct plan *p = (struct plan *)timed;
	(void)now;
	take_first(&planned);
	change(&links[p->change.link].direction[p->change.direction], &p->change.to, timed->when);
	applied[applied_end++ % PLANS] = (struct applied){p->change.number, now_ns()};
	p->next_free = free_plan;
	free_plan = p;
}

static void cancel(void)
{
	planned.count = plans_used = 0;
	free_plan = NULL;
}

/* Requests. */

/* The queue with limits is ours: the kernel's before it must not be the first to be full. */
static void lengthen(const char *tap)
{
	struct ifreq request = {.ifr_qlen = TAP_QUEUE};
	int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", tap);
	if (any >= 0) {
		ioctl(any, SIOCSIFTXQLEN, &request);
		close(any);
	}
}

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
		if (tap >= 0)
			lengthen(request.ifr_name);
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
		d->timed = (struct timed){.when = NEVER, .happen = direction_due, .at = -1};
		d->server.done = NEVER;
		d->out = l->tap[!side];
		d->random = seed * 2 + side;
		struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag(number, side)};
		epoll_ctl(poller, EPOLL_CTL_ADD, l->tap[side], &event);
	}
	l->used = true;
	return answer(out, room, "ok");
}

static int share(int number, int which, double rate, char *out, size_t room)
{
	if (!is_direction(number, 0) || which < 0 || which >= LINKS || !(rate >= 1 && rate <= 1e12))
		return answer(out, room, "error no link %d, or a value is out of range", number);
	struct air *a = &airs[which];
	struct direction *both = links[number].direction;
	int64_t now = now_ns();
	catch_up(now);
	if (both[0].air || both[0].is.rate > 0 || both[1].is.rate > 0)
		return answer(out, room, "error link %d is in use", number);
	if (a->rate == 0)
		*a = (struct air){.timed = {.when = NEVER, .happen = air_served, .at = -1}, .server.done = NEVER};
	change_rate(&a->server, a->rate, rate, now);
	a->rate = rate;
	reschedule(&work, &a->timed, a->server.done);
	both[0].air = both[1].air = a;
	return answer(out, room, "ok");
}

static int plan(int client, const char *changes, size_t length, char *out, size_t room)
{
	size_t count = length / sizeof(struct change);
	int64_t now = now_ns();
	struct change c;
	if (length % sizeof c != 0)
		return answer(out, room, "error not understood");
	if (client != planner && (planned.count || applied_first != applied_end))
		return answer(out, room, "error another connection has changes planned");
	if (planned.count + (applied_end - applied_first) + count > PLANS)
		return answer(out, room, "error more than %d changes would be planned", PLANS);
	for (size_t i = 0; i < count; i++) {
		memcpy(&c, changes + i * sizeof c, sizeof c);
		if (!is_direction(c.link, c.direction))
			return answer(out, room, "error no link %d, direction %d", c.link, c.direction);
		if (!sound(&c.to))
			return answer(out, room, "error a value is out of range");
	}
	for (size_t i = 0; i < count; i++) {
		struct plan *p = free_plan ? free_plan : &plans[plans_used++];
		if (p == free_plan)
			free_plan = p->next_free;
		memcpy(&p->change, changes + i * sizeof c, sizeof c);
		p->timed = (struct timed){.order = plan_count++, .happen = plan_due, .at = -1};
		reschedule(&planned, &p->timed, p->change.when > now ? p->change.when : now);
	}
	planner = client;
	return answer(out, room, "ok");
}

/* Answers `done`: what cannot be sent is kept. */
static void tell_done(int client)
{
	static char out[3 + RECORDS * sizeof(struct applied)];
	uint64_t count = client == planner ? applied_end - applied_first : 0;
	count = count < RECORDS ? count : RECORDS;
	memcpy(out, "ok ", 3);
	for (uint64_t i = 0; i < count; i++)
		memcpy(out + 3 + i * sizeof *applied, &applied[(applied_first + i) % PLANS], sizeof *applied);
	if (send(client, out, 3 + count * sizeof *applied, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		applied_first += count;
}

static int request(char *text, char *out, size_t room)
{
	char tap_a[IFNAMSIZ], tap_b[IFNAMSIZ], rest;
	int number, side, pid_a, pid_b, which;
	unsigned long long seed;
	struct parameters to;
	double rate;
	long long delay, jitter, limit;
	if (strcmp(text, "hello") == 0)
		return answer(out, room, "ok %s", realtime ? "realtime" : "ordinary");
	if (sscanf(text, "%*s %d", &number) == 1 && (number < 0 || number >= LINKS))
		return answer(out, room, "error links are numbered 0 to %d", LINKS - 1);
	if (sscanf(text, "add %d %d %15s %d %15s %llu %c", &number, &pid_a, tap_a, &pid_b, tap_b, &seed, &rest) == 6)
		return add(number, pid_a, tap_a, pid_b, tap_b, seed, out, room);
	if (sscanf(text, "air %d %d %lf %c", &number, &which, &rate, &rest) == 3)
		return share(number, which, rate, out, room);
	if (sscanf(text, "set %d %d %lf %lld %lld %lf %lf %lld %c", &number, &side, &to.rate, &delay, &jitter, &to.loss, &to.burst,
		    &limit, &rest) == 8) {
		to.delay = delay, to.jitter = jitter, to.limit = limit;
		if (!is_direction(number, side))
			return answer(out, room, "error no link %d, direction %d", number, side);
		if (!sound(&to))
			return answer(out, room, "error a value is out of range");
		int64_t now = now_ns();
		catch_up(now);
		change(&links[number].direction[side], &to, now);
		return answer(out, room, "ok");
	}
	if (sscanf(text, "get %d %c", &number, &rest) == 1) {
		if (!links[number].used)
			return answer(out, room, "error no link %d", number);
		int length = answer(out, room, "ok");
		int64_t now = now_ns();
		catch_up(now);
		for (int i = 0; i < 2; i++) {
			struct direction *d = &links[number].direction[i];
			advance(d, now);
			length += answer(out + length, room - length, " %.17g %lld %lld %.17g %.17g %lld %llu %llu %llu %llu %lld", d->is.rate,
				(long long)d->is.delay, (long long)d->is.jitter, d->is.loss, d->is.burst, (long long)d->is.limit,
				(unsigned long long)d->bytes, (unsigned long long)d->packets, (unsigned long long)d->dropped,
				(unsigned long long)d->lost, (long long)d->backlog);
		}
		return length;
	}
	return answer(out, room, "error not understood");
}

static void dismiss(int client)
{
	close(client);
	clients--;
	if (client == planner) {
		cancel();
		applied_first = applied_end;
		planner = -1;
	}
}

static void attend(int client)
{
	static char text[MESSAGE];
	char out[1024];
	ssize_t length = recv(client, text, sizeof text - 1, MSG_DONTWAIT | MSG_TRUNC);
	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (length <= 0) {
		dismiss(client);
		return;
	}
	int size;
	if (length >= (ssize_t)sizeof text) {
		size = answer(out, sizeof out, "error not understood");
	} else if (length >= 5 && memcmp(text, "plan ", 5) == 0) {
		size = plan(client, text + 5, length - 5, out, sizeof out);
	} else if (memchr(text, 0, length)) {
		size = answer(out, sizeof out, "error not understood");
	} else {
		text[length] = 0;
		if (strcmp(text, "done") == 0) {
			tell_done(client);
			return;
		}
		if (strcmp(text, "cancel") == 0) {
			if (client == planner)
				cancel();
			size = answer(out, sizeof out, "ok");
		} else {
			size = request(text, out, sizeof out);
		}
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

/* How many of EVENTS there are, as soon as one is or at the time `next`; negative, with errno, as epoll_pwait2. Whoever was
 * kept from running until after `next` is told of a timeout alone: what has come meanwhile must be seen with it. */
static int wait_until(int64_t next, struct epoll_event *events, const sigset_t *signals)
{
	int64_t now = now_ns(), wait = next > now ? next - now : 0;
	struct timespec timeout = {wait / 1000000000, wait % 1000000000}, none = {0};
	int count = epoll_pwait2(poller, events, EVENTS, next == NEVER ? NULL : &timeout, signals);
	return count == 0 && wait && now_ns() > next + LATE ? epoll_pwait2(poller, events, EVENTS, &none, signals) : count;
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
	airs = calloc(LINKS, sizeof *airs);
	plans = calloc(PLANS, sizeof *plans);
	applied = calloc(PLANS, sizeof *applied);
	work.items = calloc(3 * LINKS, sizeof *work.items);
	planned.items = calloc(PLANS, sizeof *planned.items);
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = end}, NULL);
	prctl(PR_SET_TIMERSLACK, 1);
	realtime = sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 50}) == 0;
	mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
	mallopt(M_TRIM_THRESHOLD, INT32_MAX); /* what was faulted in once stays */

	poller = epoll_create1(EPOLL_CLOEXEC);
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	umask(0177);
	if (!links || !airs || !plans || !applied || !work.items || !planned.items || poller < 0 || listener < 0
		|| bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 16) != 0)
		die(argv[1]);
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = listener};
	epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);

	sigset_t terminate, none; /* SIGTERM is let in only while waiting, so that it is never missed */
	sigemptyset(&none);
	sigemptyset(&terminate);
	sigaddset(&terminate, SIGTERM);
	sigprocmask(SIG_BLOCK, &terminate, NULL);
	int64_t polled = now_ns(), ran = polled, used = ran - AWAKE; /* its last turn's beginning and end; the last packet's coming */
	while (!ending) {
		struct epoll_event events[EVENTS];
		int64_t next = next_to_happen()->when, now;
		if (ran - used < AWAKE && next > ran + BEAT)
			next = ran + BEAT; /* so that it knows since when it was kept from running */
		if (next < ran + PAUSE)
			next = ran + PAUSE; /* what is due until then happens together: to sleep and wake is most of the work */
		if (ran > polled + LATE)
			next = polled; /* it was kept from running in the middle of its turn, or had much to do */
		int count = wait_until(next, events, &none);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			die("cannot wait (Linux before 5.11 lacks epoll_pwait2)");
		polled = now_ns();
		for (int i = 0; i < count; i++) {
			uint64_t which = events[i].data.u64;
			now = now_ns();
			catch_up(now); /* else a packet could be served from before it came */
			if (which >> 32) {
				int number = (which & 0xffffffff) >> 1, side = which & 1;
				used = now;
				if (!receive(&links[number], side, next, now))
					epoll_ctl(poller, EPOLL_CTL_DEL, links[number].tap[side], NULL);
			} else if ((int)which == listener) {
				welcome();
			} else {
				attend((int)which);
			}
		}
		ran = now_ns();
		catch_up(ran);
	}
	close_all();
	return 0;
}
