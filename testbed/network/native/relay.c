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

enum { CLOSERS = 32, ETHERNET = 14, FRAME = 2048, LINKS = 4096, CLIENTS = 64, AT_ONCE = 32 };
enum { MESSAGE = 65536, PLANS = 1000000, QUANTUM = 1500, RECORDS = 4000, TAP_QUEUE = 4000 };
static const int64_t NEVER = INT64_MAX;

/* Something that happens at an instant. */
struct timed {
	int64_t when;
	uint64_t order; /* among those of one instant */
	void (*happen)(struct timed *self, int64_t now);
	int at; /* place in its heap, -1 if none */
};

struct heap {
	struct timed **items; /* the first is the next to happen */
	int count;
};

struct packet {
	struct packet *next;
	int64_t due; /* when it is delivered */
	int length;
	unsigned char frame[];
};

struct fifo {
	struct packet *head, **tail;
};

/* Serves one packet at a time. */
struct server {
	double left; /* bits of the packet that are still to be served at `since` */
	int64_t since, done; /* done: NEVER if idle */
};

struct parameters {
	double rate; /* bit/s; 0: not set yet */
	int64_t delay, jitter; /* ns */
	double loss, burst; /* 0 to 1; packets lost in a row, 0: each is lost on its own */
	int64_t limit; /* bytes */
};

struct direction {
	struct timed timed;
	struct parameters is;
	struct server server;
	struct fifo queue, waiting, flight; /* waiting or being served; the same of the air; under way */
	int64_t backlog; /* bytes in the queue and waiting for the air, those being served among them */
	int64_t last_due;
	struct air *air; /* NULL: its own */
	struct direction *following; /* whose turn it is next in the air */
	int credit; /* bytes that it may still send in its turn */
	bool bad; /* the state of the Gilbert-Elliott chain */
	int out; /* the TAP it delivers to */
	uint64_t random, bytes, packets, dropped, lost;
};

/* What several directions share, by deficit round-robin (Shreedhar and Varghese, 1995). */
struct air {
	struct timed timed;
	double rate; /* bit/s; 0: not there */
	struct server server;
	struct direction *turn, *last; /* those with a packet waiting; the first is being served */
};

struct link {
	bool used;
	int tap[2];
	struct direction direction[2]; /* 0: from tap[0] to tap[1] */
};

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
static struct heap work, planned;
static struct plan *plans, *free_plan; /* the first `plans_used` are planned or free */
static int plans_used;
static struct applied *applied; /* a ring */
static uint64_t applied_first, applied_end, plan_count;
static int poller, listener, clients, planner = -1; /* planner: the client whose plans these are */
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

/* Heaps. */

static bool before(const struct timed *a, const struct timed *b)
{
	return a->when != b->when ? a->when < b->when : a->order < b->order;
}

static void place(struct heap *h, struct timed *t, int i)
{
	h->items[i] = t;
	t->at = i;
}

/* Puts in its place the `t` whose place may be `i`. */
static void sift(struct heap *h, struct timed *t, int i)
{
	while (i > 0 && before(t, h->items[(i - 1) / 2])) {
		place(h, h->items[(i - 1) / 2], i);
		i = (i - 1) / 2;
	}
	for (;;) {
		int child = 2 * i + 1;
		if (child + 1 < h->count && before(h->items[child + 1], h->items[child]))
			child++;
		if (child >= h->count || !before(h->items[child], t))
			break;
		place(h, h->items[child], i);
		i = child;
	}
	place(h, t, i);
}

static void reschedule(struct heap *h, struct timed *t, int64_t when)
{
	if (t->at >= 0 && t->when == when)
		return;
	t->when = when;
	if (t->at < 0 && when == NEVER)
		return;
	sift(h, t, t->at < 0 ? h->count++ : t->at);
}

static void take_first(struct heap *h)
{
	h->items[0]->at = -1;
	if (--h->count)
		sift(h, h->items[h->count], 0);
}

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

/* Packets. */

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

static int size_of(const struct packet *p)
{
	return p->length - ETHERNET;
}

static void predict(struct server *s, double rate)
{
	s->done = s->since + (int64_t)ceil(s->left * 1e9 / rate);
}

static void serve(struct server *s, double rate, const struct packet *p, int64_t from)
{
	s->left = 8.0 * size_of(p);
	s->since = from;
	predict(s, rate);
}

static void change_rate(struct server *s, double old, double rate, int64_t now)
{
	if (s->done == NEVER)
		return;
	if (now > s->since) {
		s->left = fmax(0, s->left - (now - s->since) * old / 1e9);
		s->since = now;
	}
	predict(s, rate);
}

/* Whether a packet that has used the link is lost. With bursts: the chain of Gilbert (1960), where all is lost in the bad
 * state; its mean loss is loss, its mean stay in the bad state burst packets. */
static bool is_lost(struct direction *d)
{
	double loss = d->is.loss, burst = d->is.burst;
	if (loss <= 0)
		return d->bad = false;
	if (loss >= 1)
		return true;
	if (burst == 0)
		return uniform(d) < loss;
	return d->bad = uniform(d) < (d->bad ? 1 - 1 / burst : loss / (burst * (1 - loss)));
}

/* A packet has used the link. */
static void depart(struct direction *d, struct packet *p, int64_t now)
{
	d->backlog -= size_of(p);
	if (is_lost(d)) {
		d->lost++;
		free(p);
		return;
	}
	int64_t late = d->is.delay;
	if (d->is.jitter > 0)
		late += (int64_t)((2 * uniform(d) - 1) * d->is.jitter);
	p->due = now + (late > 0 ? late : 0);
	if (p->due < d->last_due)
		p->due = d->last_due;
	d->last_due = p->due;
	fifo_push(&d->flight, p);
}

static void deliver(struct direction *d, struct packet *p)
{
	if (write(d->out, p->frame, p->length) == p->length) {
		d->bytes += size_of(p);
		d->packets++;
	} else {
		d->dropped++;
	}
	free(p);
}

/* That a packet has been served need not be seen before one could be delivered, unless the air waits for it. */
static void settle(struct direction *d)
{
	int64_t due = d->flight.head ? d->flight.head->due : NEVER, served = d->server.done;
	if (!d->air && served != NEVER)
		served = d->flight.head ? NEVER : served + (d->is.delay > d->is.jitter ? d->is.delay - d->is.jitter : 0);
	reschedule(&work, &d->timed, due < served ? due : served);
}

/* The air. */

static void air_serve_next(struct air *a, int64_t from)
{
	struct direction *d = a->turn;
	if (!d) {
		a->server.done = NEVER;
	} else {
		for (; d->credit < size_of(d->waiting.head); d = a->turn) {
			d->credit += QUANTUM;
			a->last->following = d;
			a->last = d;
			a->turn = d->following;
			d->following = NULL;
		}
		d->credit -= size_of(d->waiting.head);
		serve(&a->server, a->rate, d->waiting.head, from);
	}
	reschedule(&work, &a->timed, a->server.done);
}

static void air_enter(struct direction *d, struct packet *p, int64_t now)
{
	struct air *a = d->air;
	bool in_turn = d->waiting.head;
	fifo_push(&d->waiting, p);
	if (in_turn)
		return;
	d->credit = QUANTUM;
	d->following = NULL;
	*(a->turn ? &a->last->following : &a->turn) = d;
	a->last = d;
	if (a->server.done == NEVER)
		air_serve_next(a, now);
}

static void air_served(struct timed *timed, int64_t now)
{
	struct air *a = (struct air *)timed;
	struct direction *d = a->turn;
	int64_t done = a->server.done;
	(void)now;
	depart(d, fifo_pop(&d->waiting), done);
	settle(d);
	if (!d->waiting.head)
		a->turn = d->following;
	air_serve_next(a, done);
}

/* Brings a direction up to the time `now`: serves, loses, delivers. */
static void advance(struct direction *d, int64_t now)
{
	for (int64_t done; (done = d->server.done) <= now;) {
		struct packet *p = fifo_pop(&d->queue);
		if (d->queue.head)
			serve(&d->server, d->is.rate, d->queue.head, done);
		else
			d->server.done = NEVER;
		if (d->air)
			air_enter(d, p, done);
		else
			depart(d, p, done);
	}
	while (d->flight.head && d->flight.head->due <= now)
		deliver(d, fifo_pop(&d->flight));
	settle(d);
}

static void direction_due(struct timed *timed, int64_t now)
{
	struct direction *d = (struct direction *)timed;
	advance(d, d->air ? timed->when : now); /* what shares an air must come to it in order */
}

/* Returns false if the TAP is gone. All that was due at `now` has happened. */
static bool receive(struct link *l, int side, int64_t now)
{
	struct direction *d = &l->direction[side];
	unsigned char frame[FRAME];
	advance(d, now);
	for (int i = 0; i < AT_ONCE; i++) {
		ssize_t length = read(l->tap[side], frame, sizeof frame);
		if (length < 0) {
			if (errno != EAGAIN && errno != EINTR)
				return false;
			break;
		}
		int size = (int)length - ETHERNET;
		if (size <= 0 || d->is.rate <= 0)
			continue;
		struct packet *p = d->backlog + size > d->is.limit ? NULL : malloc(sizeof *p + length);
		if (!p) {
			d->dropped++;
			continue;
		}
		p->length = (int)length;
		memcpy(p->frame, frame, length);
		fifo_push(&d->queue, p);
		d->backlog += size;
		if (d->server.done == NEVER)
			serve(&d->server, d->is.rate, p, now);
	}
	settle(d);
	return true;
}

/* Changes. */

static bool sound(const struct parameters *p)
{
	static const int64_t hour = 3600000000000LL;
	bool attainable = p->loss == 1 || p->loss <= p->burst * (1 - p->loss) * (1 + 1e-9); /* by the chain */
	return p->rate >= 1 && p->rate <= 1e12 && p->delay >= 0 && p->delay <= hour && p->jitter >= 0 && p->jitter <= hour
		&& p->loss >= 0 && p->loss <= 1 && p->limit >= 0
		&& (p->burst == 0 || (p->burst >= 1 && p->burst <= 1e9 && attainable));
}

static bool is_direction(int link, int direction)
{
	return link >= 0 && link < LINKS && links[link].used && direction >= 0 && direction <= 1;
}

/* All that was due at `now` has happened. */
static void change(struct direction *d, const struct parameters *to, int64_t now)
{
	advance(d, now);
	change_rate(&d->server, d->is.rate, to->rate, now);
	d->is = *to;
	settle(d);
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
	while (!ending) {
		struct epoll_event events[64];
		int64_t next = next_to_happen()->when, now = now_ns(), wait = next > now ? next - now : 0;
		struct timespec timeout = {wait / 1000000000, wait % 1000000000};
		int count = epoll_pwait2(poller, events, 64, next == NEVER ? NULL : &timeout, &none);
		if (count < 0 && errno != EINTR)
			die("cannot wait (Linux before 5.11 lacks epoll_pwait2)");
		for (int i = 0; i < count; i++) {
			uint64_t which = events[i].data.u64;
			now = now_ns();
			catch_up(now); /* else a packet could be served from before it came */
			if (which >> 32) {
				int number = (which & 0xffffffff) >> 1, side = which & 1;
				if (!receive(&links[number], side, now))
					epoll_ctl(poller, EPOLL_CTL_DEL, links[number].tap[side], NULL);
			} else if ((int)which == listener) {
				welcome();
			} else {
				attend((int)which);
			}
		}
		catch_up(now_ns());
	}
	close_all();
	return 0;
}
