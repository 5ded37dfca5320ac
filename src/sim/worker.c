/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "link/dial.h"
#include "node/chains.h"
#include "node/channel.h"
#include "node/machine.h"
#include "node/report.h"
#include "sim/group.h"
#include "sim/slow.h"

/* One worker: its nodes on one loop. */

#define TURN_MS 20
#define ON_THEIR_WAY_MAX 150u /* of a process, where nodes come at a rate */
#define LOOK_TURNS 10u	      /* a node is looked at in one of so many turns */
#define CALM_TURNS 100u	      /* one whose functions were well */

struct worker {
	struct sim *sim;
	uv_loop_t loop;
	uv_timer_t turn;
	uv_poll_t orders;
	int fd;
	struct sim_node **nodes;
	size_t first, n, n_started;
	size_t n_arrived; /* all before it have been connected */
	unsigned rate;
	int64_t since_ns;
	unsigned n_turns;
};

static _Noreturn void die(const struct err *e)
{
	fprintf(stderr, "demarc-sim: %s\n", e->msg);
	_exit(1);
}

/* ---- one node ---- */

static void on_up(void *ctx)
{
	channel_ops.up(ctx);
	release_up(sim_node_of(ctx));
}

/* Which change the watched port shows: its name ends with the change's number. */
static uint32_t change_of(const struct sim_node *s)
{
	const Demarc__V1__Port *p = intent_port(s->n.intent, s->who->port);
	const char *dash = p ? strrchr(p->name, '-') : NULL;
	uint64_t number = 0;

	return dash && str_to_u64(str_of(dash + 1), UINT32_MAX, &number) == 0 ? (uint32_t)number : 0;
}

/* The hub's word and what is held, compared. */
static void note(struct sim_node *s)
{
	struct sim_slot *slot = s->slot;
	uint32_t held = change_of(s);
	bool agrees = s->n.link && link_client_is_up(s->n.link) && s->n.said_hello &&
		      intent_revision(s->n.intent) >= s->hub_revision;

	if (held != slot->held) {
		slot->held_ns = clock_mono_ns();
		slot->held = held;
	}
	slot->revision = intent_revision(s->n.intent);
	if (agrees && slot->state != SIM_STEADY)
		slot->steady_ns = clock_mono_ns();
	slot->state = agrees ? SIM_STEADY : s->n.said_hello ? SIM_CONNECTED : SIM_DOWN;
}

static void note_hello(struct sim_node *s, const Demarc__V1__HubHello *h)
{
	s->hub_revision = h->resync ? UINT64_MAX : h->intent_revision;
	s->slot->n_up++;
	s->slot->n_resumed += dial_resumed(s->tls);
	s->slot->n_resyncs += h->resync;
}

static void note_intent(struct sim_node *s, const Demarc__V1__Intent *m)
{
	if (intent_revision(s->n.intent) < m->revision) {
		s->slot->n_refused++;
		return;
	}
	s->slot->n_intents++;
	s->hub_revision = s->hub_revision == UINT64_MAX ? m->revision :
							  MAX_OF(s->hub_revision, m->revision);
	group_note(s->shared, s->n.intent, s->slot);
}

static void on_frame(void *ctx, const Demarc__V1__Frame *f)
{
	struct sim_node *s = sim_node_of(ctx);
	bool was_new = s->n.on_next;

	s->shared->n_frames++;
	if (f->body_case == DEMARC__V1__FRAME__BODY_HUB_HELLO)
		note_hello(s, f->hub_hello);
	if (f->body_case == DEMARC__V1__FRAME__BODY_REPORT_ACK)
		s->slot->report_acked = f->report_ack->seq;
	channel_ops.frame(ctx, f);
	if (f->body_case == DEMARC__V1__FRAME__BODY_INTENT)
		note_intent(s, f->intent);
	if (!was_new && s->n.on_next)
		identity_keep(s);
	s->slot->n_renewed += was_new && !s->n.on_next;
	note(s);
}

static void on_down(void *ctx, const char *reason)
{
	struct sim_node *s = sim_node_of(ctx);

	if (s->n.said_hello)
		s->slot->n_down++;
	s->slot->state = SIM_DOWN;
	channel_ops.down(ctx, reason);
}

/* Node i calls from 127.x.y.z; another one after each move. 127.0.0.1 is the hub. */
static struct sockaddr_in source_of(const struct sim_node *s)
{
	uint32_t host = (s->index + s->moves * 7919u) % 60000u + 256u;
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010000u + host) };

	return a;
}

static void node_start(struct worker *w, struct sim_node *s)
{
	static const struct link_client_ops ops = { on_up, on_frame, on_down };
	struct sockaddr_in source = source_of(s), hub = { .sin_family = AF_INET,
							  .sin_port = htons((uint16_t)w->sim->port),
							  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct link_here here = { .tls = identity_tls,
				  .reload = identity_reload,
				  .hub = (struct sockaddr *)&hub,
				  .source = (struct sockaddr *)&source,
				  .size = sizeof(hub),
				  .pace = &s->pace,
				  .encode = s->slot->mixed ? release_encode : NULL };
	char url[128];
	const char *urls[SIM_HUB_URLS_MAX];
	struct link_client_config c = { .hub_urls = urls,
					.n_hub_urls = w->sim->o.n_hub_urls,
					.here = &here };
	struct err e = { 0 };

	(void)snprintf(url, sizeof(url), "https://%s:%d", w->sim->host, w->sim->port);
	for (size_t k = 0; k < c.n_hub_urls; k++)
		urls[k] = url;
	if (link_client_start(&w->loop, &c, &ops, &s->n, &s->n.link, &e) < 0)
		die(&e);
}

static struct sim_node *node_new(struct worker *w, size_t i)
{
	struct sim_node *s = calloc(1, sizeof(*s));
	struct sim *sim = w->sim;
	struct err e = { 0 };

	if (!s)
		_exit(1);
	s->who = &sim->fleet.nodes[i];
	s->slot = &sim->shared->slots[i];
	s->shared = sim->shared;
	s->sim = sim;
	s->index = (unsigned)i;
	node_init(&s->n, &w->loop, &sim_machine, s->who->id);
	(void)str_copy(s->n.boot_id, sizeof(s->n.boot_id), str_of(s->who->id));
	(void)snprintf(s->n.cfg.state_dir, sizeof(s->n.cfg.state_dir), "%.200s/%.40s",
		       sim->o.scratch, s->who->id);
	if (dir_make(s->n.cfg.state_dir, 0700, &e) < 0 || identity_make(s, &e) < 0 ||
	    node_open_state(&s->n, &e) < 0)
		die(&e);
	s->n.dp = sim_dp_new();
	if (!s->n.dp)
		_exit(1);
	return s;
}

/* ---- time ---- */

static bool is_whole(struct node *n)
{
	for (const struct server *v = n->servers; v; v = v->next)
		if (!server_healthy(v, NULL, 0))
			return false;
	for (const struct chain_rec *c = chains_first(n); c; c = c->next)
		if (c->state != DEMARC__V1__CHAIN_STATE__CHAIN_ACTIVE)
			return false;
	return true;
}

static void look(struct sim_node *s, unsigned turn)
{
	s->slot->report_sent = reports_last_seq(&s->n);
	s->slot->has_ticket = dial_has_ticket(s->tls);
	/* Whether it is connected at the moment has no part in it; before it was, it had nothing to be well. */
	if (!s->slot->whole || turn % CALM_TURNS < LOOK_TURNS)
		s->slot->whole = s->slot->steady_ns && is_whole(&s->n);
}

/* Nodes that have been started and never were connected: the first ones that are still on their way, up to `most`. */
static size_t n_on_their_way(struct worker *w, size_t most)
{
	size_t n = 0;

	while (w->n_arrived < w->n_started && w->nodes[w->n_arrived]->slot->n_up)
		w->n_arrived++;
	for (size_t i = w->n_arrived; i < w->n_started && n < most; i++)
		n += !w->nodes[i]->slot->n_up;
	return n;
}

/*
 * Real nodes have a processor each. On one that is loaded, more at a time than this process can serve would all be too late: the hub
 * gives up each handshake after some seconds, so none would ever end.
 */
static void start_more(struct worker *w, int64_t now)
{
	size_t due = w->rate ? (size_t)((double)w->rate * (double)(now - w->since_ns) / 1e9) + 1 : w->n;
	size_t room = w->rate ? ON_THEIR_WAY_MAX - n_on_their_way(w, ON_THEIR_WAY_MAX) : w->n;

	while (room-- && w->n_started < MIN_OF(due, w->n)) {
		struct sim_node *s = w->nodes[w->n_started++];

		node_begin(&s->n, s->index % sim_machine.tick_ms);
		node_start(w, s);
	}
}

static void on_turn(uv_timer_t *t)
{
	struct worker *w = t->data;
	int64_t now = clock_mono_ns();

	if (w->since_ns && w->n_started < w->n)
		start_more(w, now);
	w->n_turns++;
	for (size_t i = 0; i < w->n_started; i++) {
		slow_turn(w->nodes[i], now);
		if ((i + w->n_turns) % LOOK_TURNS == 0)
			look(w->nodes[i], w->n_turns);
	}
}

/* ---- orders ---- */

/* The same ones each time. */
static bool is_among(size_t i, unsigned percent)
{
	return (i * 37u) % 100 < percent;
}

static void drop(struct worker *w, unsigned percent)
{
	for (size_t i = 0; i < w->n_started; i++)
		if (is_among(i, percent))
			link_client_hang_up(w->nodes[i]->n.link, "simulated loss of the link");
}

/* The old connection is left as it is to the hub: it hears nothing more of it. */
static void move_all(struct worker *w)
{
	for (size_t i = 0; i < w->n_started; i++) {
		struct sim_node *s = w->nodes[i];

		link_client_stop(s->n.link);
		s->n.said_hello = false;
		s->slot->state = SIM_DOWN;
		s->slot->n_down++;
		s->moves++;
		node_start(w, s);
	}
}

static void obey(struct worker *w, const struct worker_order *o)
{
	switch (o->verb) {
	case WORK_CONNECT:
		w->rate = o->number;
		w->since_ns = clock_mono_ns();
		return;
	case WORK_DROP:
		drop(w, 100);
		return;
	case WORK_FLAP:
		drop(w, o->number);
		return;
	case WORK_MOVE:
		move_all(w);
		return;
	case WORK_SLOW:
		for (size_t i = 0; i < w->n; i++)
			slow_set(w->nodes[i], is_among(i, o->number));
		return;
	case WORK_KILL:
		for (size_t i = 0; i < w->n_started; i++)
			if (is_among(i, o->number) && machine_kill_one(w->nodes[i]))
				w->nodes[i]->slot->whole = false;
		return;
	case WORK_MIX:
		for (size_t i = 0; i < w->n; i++)
			w->nodes[i]->slot->mixed = is_among(i, o->number);
		return;
	case WORK_QUIT:
		_exit(0);
	}
}

static void on_orders(uv_poll_t *p, int status, int events)
{
	struct worker *w = p->data;
	struct worker_order o;

	(void)status;
	(void)events;
	if (read(w->fd, &o, sizeof(o)) != sizeof(o))
		_exit(0); /* the parent has ended */
	obey(w, &o);
	w->sim->shared->n_obeyed++;
}

_Noreturn void worker_main(struct sim *sim, size_t first, size_t n, int fd)
{
	struct worker w = { .sim = sim, .first = first, .n = n, .fd = fd };

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)mallopt(M_MMAP_THRESHOLD, 65536); /* tables of which little is used cost what is used */
	log_init("demarc-sim", LOG_ERROR_);
	w.nodes = calloc(n, sizeof(struct sim_node *));
	if (!w.nodes || uv_loop_init(&w.loop) < 0)
		_exit(1);
	for (size_t i = 0; i < n; i++)
		w.nodes[i] = node_new(&w, first + i);
	(void)uv_timer_init(&w.loop, &w.turn);
	w.turn.data = w.orders.data = &w;
	(void)uv_timer_start(&w.turn, on_turn, TURN_MS, TURN_MS);
	if (uv_poll_init(&w.loop, &w.orders, fd) < 0 ||
	    uv_poll_start(&w.orders, UV_READABLE, on_orders) < 0)
		_exit(1);
	sim->shared->n_ready++;
	(void)uv_run(&w.loop, UV_RUN_DEFAULT);
	_exit(0);
}
