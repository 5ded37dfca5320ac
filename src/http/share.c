/* SPDX-License-Identifier: Apache-2.0 */
#include "http/share.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/impl.h"

/*
 * Whose turn it is. A record of TLS holds more than a thousand tiny messages, so what bounds a connection's turn is time. What is left when it is
 * over waits, and the socket is not read: TCP holds the sender back. Those that have something left go on at the end of the next turn, in
 * their order, and have a time together, too: many of them make others wait no longer than a few. Front's thread.
 */

#define TURN_NS (200 * NS_PER_US)  /* of one connection's input in a turn of the loop */
#define LEFT_NS (1 * NS_PER_MS)	   /* of all that have something left from turns before */
#define TOOK_MAX_NS (10 * TURN_NS) /* of a turn: the rest is what other processes took from us */
#define SPENT_MS 20		   /* how often those that have spent their share are looked at */

/* ---- a node's account ---- */

static int64_t spent_at(const struct share *s, int64_t now_ns)
{
	return MAX_OF(s->spent_ns - (now_ns - s->at_ns) / SHARE_PART, (int64_t)0);
}

void share_take(struct share *s, int64_t now_ns, int64_t took_ns)
{
	*s = (struct share){ now_ns, spent_at(s, now_ns) + took_ns };
}

bool share_is_spent(const struct share *s, int64_t now_ns)
{
	return spent_at(s, now_ns) > SHARE_ADVANCE_NS;
}

/* ---- who waits ---- */

static void list_add(struct turn_list *l, struct conn *c)
{
	c->turn_in = l;
	c->turn_next = NULL;
	c->turn_prev = l->last;
	if (l->last)
		l->last->turn_next = c;
	else
		l->first = c;
	l->last = c;
}

void turn_forget(struct conn *c)
{
	struct turn_list *l = c->turn_in;

	if (!l)
		return;
	c->turn_in = NULL;
	if (c->turn_prev)
		c->turn_prev->turn_next = c->turn_next;
	else
		l->first = c->turn_next;
	if (c->turn_next)
		c->turn_next->turn_prev = c->turn_prev;
	else
		l->last = c->turn_prev;
}

/* Once per connection: it is a fault of the node, or an attack, and says nothing more by being repeated. */
static void tell(struct conn *c)
{
	if (c->was_held_back)
		return;
	c->was_held_back = true;
	log_limited(LOG_WARN_, "node_held_back", "node=%s peer=%s reason=\"too many messages\"",
		    LOGQ(c->cn), c->peer);
}

void turn_begin(struct conn *c)
{
	c->front->turns.since_ns = clock_mono_ns();
}

bool turn_is_over(const struct conn *c)
{
	return clock_mono_ns() - c->front->turns.since_ns >= TURN_NS;
}

void turn_leave(struct conn *c)
{
	if (!c->turn_in)
		list_add(&c->front->turns.left, c);
}

void turn_end(struct conn *c)
{
	struct turns *t = &c->front->turns;
	int64_t now;

	if (c->state != CONN_WS)
		return;
	now = clock_mono_ns();
	share_take(&c->share, now, MIN_OF(now - t->since_ns, TOOK_MAX_NS));
	if (!share_is_spent(&c->share, now))
		return;
	tell(c);
	turn_forget(c);
	list_add(&t->spent, c);
}

/* ---- turns ---- */

/* Each once: one that has still something left is at the end again. */
static void go_on(struct turn_list *l, int64_t from_ns)
{
	struct conn *last = l->last, *c;

	do {
		c = l->first;
		if (!c || clock_mono_ns() - from_ns >= LEFT_NS)
			return;
		turn_forget(c);
		conn_go_on(c);
	} while (c != last);
}

static void forgive(struct turns *t, int64_t now)
{
	for (struct conn *c = t->spent.first, *next; c; c = next) {
		next = c->turn_next;
		if (share_is_spent(&c->share, now))
			continue;
		turn_forget(c);
		list_add(&t->left, c);
	}
}

static void on_spin(uv_idle_t *handle)
{
	/* its being active is all: while something is left, the loop does not sleep */
}

static void spin(struct turns *t)
{
	if (t->left.first)
		(void)uv_idle_start(&t->spin, on_spin); /* fails without a callback only */
	else
		(void)uv_idle_stop(&t->spin);
}

static void on_timer(uv_timer_t *handle)
{
	struct front *f = handle->data;

	forgive(&f->turns, clock_mono_ns());
	spin(&f->turns);
}

void turns_turn(struct front *f)
{
	struct turns *t = &f->turns;

	if (t->left.first)
		go_on(&t->left, clock_mono_ns());
	spin(t);
	if (t->spent.first && !uv_is_active((uv_handle_t *)&t->timer))
		(void)uv_timer_start(&t->timer, on_timer, SPENT_MS, 0);
}

void turns_init(struct front *f)
{
	struct turns *t = &f->turns;

	*t = (struct turns){ 0 };
	(void)uv_timer_init(f->loop, &t->timer); /* cannot fail, nor can this */
	(void)uv_idle_init(f->loop, &t->spin);
	t->timer.data = t->spin.data = f;
}
