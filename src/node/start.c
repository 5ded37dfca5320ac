/* SPDX-License-Identifier: Apache-2.0 */
#include "node/start.h"

#include <limits.h>

#include "base/cleanup.h"
#include "node/job.h"

static struct server *server_of(struct node *n, const char *port_id)
{
	const Demarc__V1__Port *p = intent_port(n->intent, port_id);

	return p && *p->server_id ? server_find(n, p->server_id) : NULL;
}

typedef void (*hop_fn)(struct server *s, unsigned position, unsigned *state);

/* Each function of a chain, in the chain's order; one with two ports comes twice. */
static void each_hop(struct node *n, const Demarc__V1__Chain *c, hop_fn fn, unsigned *state)
{
	for (unsigned i = 0; i < c->n_hops; i++)
		for (size_t k = 0; k < c->hops[i]->n_pairs; k++) {
			const Demarc__V1__Pair *p = c->hops[i]->pairs[k];
			struct server *s = server_of(n, p->ingress_port_id),
				      *other = server_of(n, p->egress_port_id);

			if (s)
				fn(s, i, state);
			if (other && other != s)
				fn(other, i, state);
		}
}

/* A function of several chains has the place that is nearest to the front, in all of them: so two never wait for each other. */
static void find_place(struct server *s, unsigned position, unsigned *state)
{
	(void)state;
	s->place = MIN_OF(s->place, position);
}

/* It may be running soon. What has failed before is tried again without anybody waiting for it. */
static bool on_its_way(const struct server *s)
{
	return s->wanted && s->phase != SERVER_UP && s->backoff_ns == 0 && (s->job || s->start_due);
}

static void find_first(struct server *s, unsigned position, unsigned *first)
{
	(void)position;
	if (on_its_way(s))
		*first = MIN_OF(*first, s->place);
}

static void hold(struct server *s, unsigned position, unsigned *first)
{
	(void)position;
	s->held |= s->start_due && *first < s->place && clock_mono_ns() - s->due_ns < START_WAIT_NS;
}

void starts_order(struct node *n)
{
	const intent_object *o;

	for (struct server *s = n->servers; s; s = s->next) {
		s->place = UINT_MAX;
		s->held = false;
		if (s->start_due && !s->due_ns)
			s->due_ns = clock_mono_ns();
	}
	for (size_t pos = 0; (o = intent_next(n->intent, "chain", &pos));)
		each_hop(n, o->chain, find_place, NULL);
	for (size_t pos = 0; (o = intent_next(n->intent, "chain", &pos));) {
		unsigned first = UINT_MAX;

		each_hop(n, o->chain, find_first, &first);
		each_hop(n, o->chain, hold, &first);
	}
}

static bool starts(const struct server *s)
{
	return s->job && (s->job->kind == JOB_PREPARE || s->job->kind == JOB_START);
}

/* Nearer to the front of a chain; of two, the one that has been prepared. */
static bool is_before(const struct server *a, const struct server *b)
{
	return a->place != b->place ? a->place < b->place : a->phase > b->phase;
}

struct server *starts_next(struct node *n)
{
	struct server *best = NULL;
	unsigned under_way = 0;

	for (struct server *s = n->servers; s; s = s->next) {
		under_way += starts(s);
		if (s->start_due && !(s->held && s->phase == SERVER_PREPARED) &&
		    (!best || is_before(s, best)))
			best = s;
	}
	return under_way < STARTS_MAX ? best : NULL;
}
