/* One link of the relay: its two directions, each with a queue, a server, losses and a flight, and the air that several
 * may share. What is said in relay.c of the order in which a packet meets them is done here.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "heap.h"

enum { ETHERNET = 14, FRAME = 2048, AT_ONCE = 32, TAP_QUEUE = 4000, QUANTUM = 1500 };
enum { LATE = 100000 }; /* ns after which the relay was kept from running */

struct packet {
	struct packet *next;
	int64_t due; /* when it is delivered; until it has been served, before when it cannot have been */
	int length;
	unsigned char frame[];
};

struct fifo {
	struct packet *head, **tail;
};

/* Serves one packet at a time. */
struct server {
	double left; /* bits of the packet that are still to be served at `since` */
	int64_t since, done; /* done: NEVER if idle, then idle from `since` on */
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

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct heap work; /* what directions and airs have to do */

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
	p->due = (now > p->due ? now : p->due) + (late > 0 ? late : 0);
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
			d->server = (struct server){.since = done, .done = NEVER};
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

/* Returns false if the TAP is gone. All that was due at `now` has happened. The relay should have run at `held`; if that
 * is over, it was kept from it. When a packet came meanwhile is not known: it is served as if it had come at once, or as
 * soon as the link was free of those before it, else a link would be idle and then lose what overfills its queue. It is
 * delivered as if it had come only now: never early. */
static bool receive(struct link *l, int side, int64_t held, int64_t now)
{
	struct direction *d = &l->direction[side];
	unsigned char frame[FRAME];
	int64_t came = d->air || held > now ? now : held;
	advance(d, now);
	bool fits = true;
	for (int i = 0; i < AT_ONCE || (fits && i < TAP_QUEUE); i++) {
		ssize_t length = read(l->tap[side], frame, sizeof frame);
		if (length < 0) {
			if (errno != EAGAIN && errno != EINTR)
				return false;
			break;
		}
		int size = (int)length - ETHERNET;
		if (size <= 0 || d->is.rate <= 0)
			continue;
		fits = d->backlog + size <= d->is.limit;
		struct packet *p = fits || now_ns() > now + LATE ? malloc(sizeof *p + length) : NULL;
		if (!p) {
			d->dropped++;
			continue;
		}
		p->length = (int)length;
		p->due = now + (int64_t)(8e9 * size / d->is.rate);
		memcpy(p->frame, frame, length);
		fifo_push(&d->queue, p);
		d->backlog += size;
		if (d->server.done == NEVER)
			serve(&d->server, d->is.rate, p, d->server.since > came ? d->server.since : came);
		if (d->server.done <= now)
			advance(d, now);
		if (!fits)
			break; /* it is later than `now`: there will be room for this one when the rest is read */
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

/* All that was due at `now` has happened. */
static void change(struct direction *d, const struct parameters *to, int64_t now)
{
	advance(d, now);
	change_rate(&d->server, d->is.rate, to->rate, now);
	d->is = *to;
	settle(d);
}
