/* What is to happen when: a heap of things that bear their own place in it. */
#include <stdbool.h>
#include <stdint.h>

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
