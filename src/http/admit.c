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
 * Connections wait in two queues, one for clients that call themselves nodes and one for all others. A turn of the loop
 * spends a bounded time on the handshakes of each: so the API keeps its share. When more nodes wait than can be served in
 * queue_ms, the next ones are told in the clear, before any TLS, when to come back: slots are given out at the rate at which
 * handshakes can be done, so that the queue neither runs empty nor over. A loop that lags far behind turns them away earlier. Front's thread.
 */

/* Of handshakes in a turn of the loop: what a request may wait behind a storm. Each kind has its own, so that neither waits for the other. */
#define NODES_TURN_NS (4 * NS_PER_MS)
#define OTHERS_TURN_NS (2 * NS_PER_MS)
#define HELLOS_NS (3 * NS_PER_MS) /* of taking and turning away clients */
#define QUEUE_MIN 64u
#define STRAIN_FULL 5.0	 /* lag.h: what comes waits 100 ms for its turn */
#define OTHERS_MAX 2048u /* clients without ALPN of a node that wait; more are closed */
#define SHAKING_OLD_NS (5 * NS_PER_S) /* one that takes longer makes room for others */
#define ONE_FIRST_NS (2 * NS_PER_MS)  /* a handshake, before any has been measured */
#define ONE_WEIGHT 16		      /* of the past */
#define LOOP_SHARE 0.85		      /* of a front's time that handshakes may have */
#define SLOT_MAX_NS (60 * NS_PER_S)   /* beyond it: anywhere in the second half of it */
#define TICKETS_NS (1 * NS_PER_MS)    /* of giving tickets in a turn of the loop */
#define PEEK_BYTES 1024		      /* of a ClientHello; ALPN comes in the first few hundred */

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

static struct admit_kind *kind_of(const struct conn *c)
{
	return c->is_node ? &c->front->admit.nodes : &c->front->admit.others;
}

/* ---- come-back times ---- */

/* Handshakes a second. What a client makes us wait for is not in it, what other processes take from us is: the lag of the loop (lag.h) would count that twice. */
static double rate_of(const struct admit *a)
{
	return LOOP_SHARE * (double)NS_PER_S / (double)a->one_ns;
}

static uint32_t come_back_ms(struct admit *a, int64_t now)
{
	int64_t drained_ns = (int64_t)((double)a->nodes.n / rate_of(a) / 2 * (double)NS_PER_S);
	uint32_t random;

	a->next_slot_ns = MAX_OF(a->next_slot_ns, now + drained_ns);
	if (a->next_slot_ns - now > SLOT_MAX_NS) {
		random_bytes(&random, sizeof(random));
		return (uint32_t)(SLOT_MAX_NS / NS_PER_MS / 2) +
		       random % (uint32_t)(SLOT_MAX_NS / NS_PER_MS / 2);
	}
	a->next_slot_ns += (int64_t)((double)NS_PER_S / rate_of(a));
	return (uint32_t)((a->next_slot_ns - now) / NS_PER_MS) + 1;
}

/* What the client has sent is taken, so that the close is no reset. */
static void turn_away(struct front *f, int fd)
{
	uint32_t ms = come_back_ms(&f->admit, clock_mono_ns());
	char text[192];
	int n = snprintf(text, sizeof(text),
			 "HTTP/1.1 503 Service Unavailable\r\nRetry-After: %u\r\nX-Retry-After-Ms: %u\r\n"
			 "Content-Length: 0\r\nConnection: close\r\n\r\n",
			 (ms + 999) / 1000, ms);

	f->admit.n_refused++;
	(void)recv(fd, f->scratch, sizeof(f->scratch), MSG_DONTWAIT); /* both only help */
	(void)send(fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A loop whose turns are far too long has enough to do with whom it has: only so many may wait that it does not run out of them. */
unsigned admit_room(double rate, unsigned queue_ms, double strain)
{
	unsigned max = (unsigned)(rate * queue_ms / 1000);

	return strain >= STRAIN_FULL ? QUEUE_MIN : MAX_OF(max, QUEUE_MIN);
}

static bool nodes_full(const struct front *f)
{
	return f->admit.nodes.n >=
	       admit_room(rate_of(&f->admit), f->server->c.queue_ms, lag_strain(&f->lag));
}

/* A ClientHello (RFC 8446 section 4.1.2) whose ALPN (RFC 7301) lists the WebSocket's protocol. Believing a liar costs nothing but a
 * place in the other queue. */
static bool calls_itself_node(const struct front *f, const char *bytes, size_t size)
{
	struct str name = str_of(f->server->c.ws_protocol);
	char entry[64] = { (char)name.len };

	if (!name.len || str_copy(entry + 1, sizeof(entry) - 1, name) < 0 || size < 6 ||
	    bytes[0] != 0x16 || bytes[5] != 1)
		return false;
	return memmem(bytes, size, entry, 1 + name.len) != NULL;
}

static int64_t hello_time(struct admit *a, int64_t from_ns)
{
	int64_t now = clock_mono_ns();

	a->hellos_ns += now - from_ns;
	return now;
}

/* 1: a node, 0: another, -EAGAIN: nothing has come, other < 0: gone. */
static int peek(const struct front *f, int fd)
{
	char bytes[PEEK_BYTES];
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);

	if (n == 0)
		return -ECONNRESET;
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	return calls_itself_node(f, bytes, (size_t)n);
}

bool admit_may_take(struct front *f)
{
	return f->admit.hellos_ns < HELLOS_NS;
}

bool admit_turns_away(struct front *f, int fd, int64_t *since_ns)
{
	bool away = nodes_full(f) && peek(f, fd) == 1;

	if (away)
		turn_away(f, fd);
	*since_ns = hello_time(&f->admit, *since_ns);
	return away;
}

static void take_hello(struct conn *c)
{
	struct front *f = c->front;
	int rc = peek(f, c->fd);

	if (rc == -EAGAIN)
		return;
	c->is_node = rc == 1;
	if (rc < 0 || (rc == 0 && f->admit.others.n >= OTHERS_MAX)) {
		conn_drop(c);
	} else if (c->is_node && nodes_full(f)) {
		turn_away(f, c->fd);
		conn_drop(c);
	} else {
		c->state = CONN_QUEUED;
		queue_add(kind_of(c), c);
	}
}

void admit_hello(struct conn *c)
{
	int64_t start_ns = clock_mono_ns();

	if (!admit_may_take(c->front)) /* the poll stays ready */
		return;
	take_hello(c);
	(void)hello_time(&c->front->admit, start_ns);
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

static bool may_spend(const struct front *f, const struct admit_kind *k)
{
	return k->spent_ns < (k == &f->admit.nodes ? NODES_TURN_NS : OTHERS_TURN_NS);
}

static void start_waiting(struct front *f, struct admit_kind *k, int64_t now)
{
	while (k->first && may_spend(f, k) && has_room(f, k, now))
		conn_start_tls(queue_take(k));
	k->spent_ns = 0;
}

static bool may_start(const struct front *f, const struct admit_kind *k)
{
	return k->n && k->n_shaking < f->server->c.n_handshakes;
}

/*
 * A ticket costs a quarter of a handshake, and while a storm lasts it is one that somebody else waits for: nodes get theirs when it
 * is over. One that leaves before comes back with the ticket that it had.
 */
static void give_tickets(struct front *f, int64_t now)
{
	struct admit *a = &f->admit;
	unsigned n = a->owed.n_shaking; /* each once: who has something to send stays in the list */

	if (now - a->crowd_ns < f->server->c.quiet_ms * NS_PER_MS || f->stopping)
		return;
	for (struct conn *c; n-- && (c = a->owed.shake_first) && clock_mono_ns() - now < TICKETS_NS;) {
		admit_owes(c, false);
		conn_give_ticket(c);
	}
}

/* A ticket that dies while its connection lives would make the end of a quiet day a storm of full handshakes. */
static void owe_renewals(struct front *f, int64_t now)
{
	struct admit *a = &f->admit;

	for (struct conn *c; (c = a->held.shake_first) &&
			     now - c->shake_ns >= f->server->c.ticket_renew_ms * NS_PER_MS;)
		admit_owes(c, true);
}

void admit_turn(struct front *f)
{
	struct admit *a = &f->admit;
	int64_t now = clock_mono_ns();
	bool waits;

	start_waiting(f, &a->others, now);
	start_waiting(f, &a->nodes, now);
	a->hellos_ns = 0;
	/* Who waits for room is woken by who leaves: that comes with an event, or by time. */
	waits = may_start(f, &a->nodes) || may_start(f, &a->others);
	spin(f, waits);
	owe_renewals(f, now);
	if (waits)
		a->crowd_ns = now;
	else if (a->owed.shake_first)
		give_tickets(f, now);
}

bool admit_may_step(const struct conn *c)
{
	return may_spend(c->front, kind_of(c));
}

void admit_stepped(struct conn *c, int64_t ns)
{
	c->shake_spent_ns += ns;
	kind_of(c)->spent_ns += ns;
}

void admit_done(struct conn *c)
{
	struct front *f = c->front;
	struct admit *a = &f->admit;

	a->one_ns += (MAX_OF(c->shake_spent_ns, (int64_t)1000) - a->one_ns) / ONE_WEIGHT;
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

static void hold(struct conn *c, bool held)
{
	if (held == c->is_held)
		return;
	c->is_held = held;
	if (held)
		shake_add(&c->front->admit.held, c);
	else
		shake_remove(&c->front->admit.held, c);
}

void admit_holds(struct conn *c)
{
	hold(c, true);
}

void admit_owes(struct conn *c, bool owed)
{
	if (owed == c->is_owed)
		return;
	hold(c, false);
	c->is_owed = owed;
	if (owed)
		shake_add(&c->front->admit.owed, c);
	else
		shake_remove(&c->front->admit.owed, c);
}

void admit_forget(struct conn *c)
{
	if (c->state == CONN_QUEUED)
		queue_remove(kind_of(c), c);
	admit_shaking(c, false);
	admit_owes(c, false);
	hold(c, false);
}

void admit_init(struct front *f)
{
	struct admit *a = &f->admit;

	*a = (struct admit){ .one_ns = ONE_FIRST_NS };
	(void)uv_idle_init(f->loop, &a->spin); /* cannot fail */
	a->spin.data = f;
}

void admit_end(struct front *f, void (*closed)(uv_handle_t *handle))
{
	uv_close((uv_handle_t *)&f->admit.spin, closed);
}
