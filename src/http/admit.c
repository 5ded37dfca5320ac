/* SPDX-License-Identifier: Apache-2.0 */
#include "http/impl.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/types.h"

/*
 * Admission: a handshake costs a hundred times what a message does, and after an outage every node wants one at the same instant.
 *
 * Connections wait in two queues, one for clients that call themselves nodes and one for all others, and are served by turns:
 * so the API keeps its share. A turn of the loop spends a bounded time on handshakes. When more nodes wait than can be served in
 * queue_ms, the next ones are told in the clear, before any TLS, when to come back: slots are given out at the rate at which
 * handshakes are being done, so that the queue neither runs empty nor over. Front's thread.
 */

#define TURN_NS (4 * NS_PER_MS) /* twice this is what a request may wait behind a storm */
#define QUEUE_MIN 64u
#define OTHERS_MAX 2048u /* clients without ALPN of a node that wait; more are closed */
#define SHAKING_OLD_NS (2 * NS_PER_S) /* one that takes longer makes room for others */
#define WINDOW_NS (200 * NS_PER_MS)
#define WINDOW_MIN 16u	 /* handshakes; fewer say nothing */
#define RATE_FIRST 500.0 /* before anything is known */
#define RATE_MIN 20.0
#define SPREAD 1.1 /* slots come a little faster than they can be served: nobody always comes */
#define SLOT_MAX_NS (60 * NS_PER_S) /* beyond it: anywhere in the second half of it */
#define PEEK_BYTES 1024		    /* of a ClientHello; ALPN comes in the first few hundred */

/* ---- queues ---- */

static void queue_add(struct admit_kind *q, struct conn *c)
{
	c->queue_next = NULL;
	if (q->last)
		q->last->queue_next = c;
	else
		q->first = c;
	q->last = c;
	q->n++;
}

static struct conn *queue_take(struct admit_kind *q)
{
	struct conn *c = q->first;

	if (!c)
		return NULL;
	q->first = c->queue_next;
	if (!q->first)
		q->last = NULL;
	q->n--;
	return c;
}

/* Seldom: a connection is not read from while it waits. */
static void queue_remove(struct admit_kind *q, struct conn *c)
{
	struct conn *before = NULL;

	for (struct conn *at = q->first; at; before = at, at = at->queue_next) {
		if (at != c)
			continue;
		if (before)
			before->queue_next = c->queue_next;
		else
			q->first = c->queue_next;
		if (q->last == c)
			q->last = before;
		q->n--;
		return;
	}
}

static struct admit_kind *kind_of(struct conn *c)
{
	return c->is_node ? &c->front->admit.nodes : &c->front->admit.others;
}

/* ---- come-back times ---- */

static void measure(struct admit *a, int64_t now)
{
	int64_t dt = now - a->window_ns;
	double rate;

	if (!a->nodes.n && !a->others.n)
		a->window_busy = false;
	if (dt < WINDOW_NS)
		return;
	if (a->window_done >= WINDOW_MIN) {
		/* Idle at times: then the time that one takes tells, less what else the loop has to do. */
		rate = a->window_busy ? (double)a->window_done * (double)NS_PER_S / (double)dt :
					0.7 * (double)a->window_done * (double)NS_PER_S /
						(double)MAX_OF(a->window_spent_ns, (int64_t)1);
		a->rate = MAX_OF((a->rate + rate) / 2, RATE_MIN);
	}
	a->window_ns = now;
	a->window_spent_ns = 0;
	a->window_done = 0;
	a->window_busy = true;
}

static uint32_t come_back_ms(struct admit *a, int64_t now)
{
	int64_t drained_ns = (int64_t)((double)a->nodes.n / a->rate / 2 * (double)NS_PER_S);
	uint32_t random;

	a->next_slot_ns = MAX_OF(a->next_slot_ns, now + drained_ns);
	if (a->next_slot_ns - now > SLOT_MAX_NS) {
		random_bytes(&random, sizeof(random));
		return (uint32_t)(SLOT_MAX_NS / NS_PER_MS / 2) +
		       random % (uint32_t)(SLOT_MAX_NS / NS_PER_MS / 2);
	}
	a->next_slot_ns += (int64_t)((double)NS_PER_S / (a->rate * SPREAD));
	return (uint32_t)((a->next_slot_ns - now) / NS_PER_MS) + 1;
}

/* What the client has sent is taken, so that the close is no reset. */
static void turn_away(struct conn *c)
{
	struct front *f = c->front;
	uint32_t ms = come_back_ms(&f->admit, clock_mono_ns());
	char text[192];
	int n = snprintf(text, sizeof(text),
			 "HTTP/1.1 503 Service Unavailable\r\nRetry-After: %u\r\nX-Retry-After-Ms: %u\r\n"
			 "Content-Length: 0\r\nConnection: close\r\n\r\n",
			 (ms + 999) / 1000, ms);

	f->admit.n_refused++;
	(void)recv(c->fd, f->scratch, sizeof(f->scratch), MSG_DONTWAIT); /* both only help */
	(void)send(c->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	conn_drop(c);
}

static bool queue_is_full(const struct conn *c)
{
	const struct admit *a = &c->front->admit;
	unsigned max = (unsigned)(a->rate * c->server->c.queue_ms / 1000);

	return c->is_node ? a->nodes.n >= MAX_OF(max, QUEUE_MIN) : a->others.n >= OTHERS_MAX;
}

/* A ClientHello (RFC 8446 section 4.1.2) whose ALPN (RFC 7301) lists the WebSocket's protocol. Believing a liar costs nothing but a
 * place in the other queue. */
static bool calls_itself_node(const struct conn *c, const char *bytes, size_t size)
{
	const char *name = c->server->c.ws_protocol;
	char entry[64];

	if (!name || strlen(name) >= sizeof(entry) || size < 6 || bytes[0] != 0x16 || bytes[5] != 1)
		return false;
	entry[0] = (char)strlen(name);
	memcpy(entry + 1, name, strlen(name));
	return memmem(bytes, size, entry, 1 + strlen(name)) != NULL;
}

void admit_hello(struct conn *c)
{
	char bytes[PEEK_BYTES];
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		conn_drop(c);
		return;
	}
	if (n < 0)
		return;
	c->is_node = calls_itself_node(c, bytes, (size_t)n);
	if (queue_is_full(c) && c->is_node) {
		turn_away(c);
	} else if (queue_is_full(c)) {
		conn_drop(c);
	} else {
		c->state = CONN_QUEUED;
		queue_add(kind_of(c), c);
	}
}

/* ---- turns ---- */

static void on_spin(uv_idle_t *handle)
{
	/* its being active is all */
}

static void spin(struct front *f, bool on)
{
	struct admit *a = &f->admit;

	if (on == a->spins)
		return;
	a->spins = on;
	if (on)
		(void)uv_idle_start(&a->spin, on_spin); /* fails without a callback only */
	else
		(void)uv_idle_stop(&a->spin);
}

/* Room for one more in TLS; who has been at it for too long goes. */
static bool has_room(struct front *f, struct admit_kind *k, int64_t now)
{
	if (k->n_shaking < f->server->c.n_handshakes)
		return true;
	if (now - k->shake_first->shake_ns < SHAKING_OLD_NS)
		return false;
	conn_drop(k->shake_first);
	return true;
}

/* By turns, so that neither kind starves the other. */
static struct conn *next_waiting(struct front *f, int64_t now)
{
	struct admit *a = &f->admit;
	struct admit_kind *kinds[] = { &a->nodes, &a->others };
	struct conn *c = NULL;

	a->others_turn = !a->others_turn;
	for (unsigned i = 0; !c && i < ARRAY_LEN(kinds); i++) {
		struct admit_kind *k = kinds[(i + a->others_turn) % ARRAY_LEN(kinds)];
		if (k->first && has_room(f, k, now))
			c = queue_take(k);
	}
	return c;
}

static bool may_start(const struct front *f, const struct admit_kind *k)
{
	return k->n && k->n_shaking < f->server->c.n_handshakes;
}

void admit_turn(struct front *f)
{
	struct admit *a = &f->admit;
	int64_t now = clock_mono_ns();
	struct conn *c;

	measure(a, now);
	a->spent_ns = 0;
	while (admit_may_step(f) && (c = next_waiting(f, now)))
		conn_start_tls(c);
	/* Who waits for room is woken by who leaves: that comes with an event, or by time. */
	spin(f, may_start(f, &a->nodes) || may_start(f, &a->others));
}

bool admit_may_step(struct front *f)
{
	return f->admit.spent_ns < TURN_NS;
}

void admit_stepped(struct front *f, int64_t ns)
{
	f->admit.spent_ns += ns;
	f->admit.window_spent_ns += ns;
}

void admit_done(struct front *f)
{
	f->admit.window_done++;
	f->n_since_trim++;
	f->shaken_ns = clock_mono_ns();
}

static void shake_add(struct admit_kind *k, struct conn *c)
{
	c->shake_ns = clock_mono_ns();
	c->shake_next = NULL;
	c->shake_prev = k->shake_last;
	if (k->shake_last)
		k->shake_last->shake_next = c;
	else
		k->shake_first = c;
	k->shake_last = c;
	k->n_shaking++;
}

static void shake_remove(struct admit_kind *k, struct conn *c)
{
	if (c->shake_prev)
		c->shake_prev->shake_next = c->shake_next;
	else
		k->shake_first = c->shake_next;
	if (c->shake_next)
		c->shake_next->shake_prev = c->shake_prev;
	else
		k->shake_last = c->shake_prev;
	k->n_shaking--;
}

void admit_shaking(struct conn *c, bool on)
{
	if (on == c->is_shaking)
		return;
	c->is_shaking = on;
	if (on)
		shake_add(kind_of(c), c);
	else
		shake_remove(kind_of(c), c);
}

void admit_forget(struct conn *c)
{
	if (c->state == CONN_QUEUED)
		queue_remove(kind_of(c), c);
	admit_shaking(c, false);
}

void admit_init(struct front *f)
{
	struct admit *a = &f->admit;

	*a = (struct admit){ .rate = RATE_FIRST, .window_ns = clock_mono_ns() };
	(void)uv_idle_init(f->loop, &a->spin); /* cannot fail */
	a->spin.data = f;
}

void admit_end(struct front *f, void (*closed)(uv_handle_t *handle))
{
	uv_close((uv_handle_t *)&f->admit.spin, closed);
}
