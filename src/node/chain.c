/* SPDX-License-Identifier: Apache-2.0 */
#include "node/chain.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

static const Demarc__V1__Hop *hop_find(const Demarc__V1__Chain *c, const char *group_id)
{
	for (size_t i = 0; c && i < c->n_hops; i++)
		if (strcmp(c->hops[i]->group_id, group_id) == 0)
			return c->hops[i];
	return NULL;
}

static bool has_pair(const Demarc__V1__Hop *h, const char *pair_id)
{
	for (size_t i = 0; i < h->n_pairs; i++)
		if (strcmp(h->pairs[i]->id, pair_id) == 0)
			return true;
	return false;
}

/* Whether the hop is the one in force: the same group with at least one of its pairs. */
static bool hop_in_force(const Demarc__V1__Chain *in_force, const Demarc__V1__Hop *h)
{
	const Demarc__V1__Hop *old = hop_find(in_force, h->group_id);

	if (!old)
		return false;
	for (size_t i = 0; i < h->n_pairs; i++)
		if (has_pair(old, h->pairs[i]->id))
			return true;
	return h->n_pairs == 0;
}

static void evaluate_hop(const Demarc__V1__Hop *h, chain_healthy_fn healthy, void *ctx,
			 struct chain_hop *ret)
{
	ret->hop = h;
	for (size_t i = 0; i < h->n_pairs && i < CHAIN_PAIRS_MAX; i++)
		if (healthy(ctx, h->pairs[i], ret->reason, sizeof(ret->reason)))
			ret->pairs[ret->n_pairs++] = h->pairs[i];
	if (h->n_pairs == 0)
		(void)str_copy(ret->reason, sizeof(ret->reason),
			       STR("it has no port pair on this node"));
	ret->in_path = ret->n_pairs > 0;
	if (ret->n_pairs == h->n_pairs)
		ret->reason[0] = h->n_pairs ? '\0' : ret->reason[0];
}

static void apply_policy(struct chain_hop *h)
{
	switch (h->hop->on_failure) {
	case DEMARC__V1__ON_FAILURE__ON_FAILURE_BYPASS:
		h->in_path = false;
		return;
	case DEMARC__V1__ON_FAILURE__ON_FAILURE_DROP:
	case _DEMARC__V1__ON_FAILURE_IS_INT_SIZE:
		break;
	}
	h->in_path = h->drop =
		true; /* what a newer hub means by another value, nobody here knows: fail closed */
}

static void evaluate(const Demarc__V1__Chain *c, chain_healthy_fn healthy, void *ctx,
		     struct chain_view *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < c->n_hops && i < CHAIN_HOPS_MAX; i++)
		evaluate_hop(c->hops[i], healthy, ctx, &ret->hops[ret->n_hops++]);
}

/* The first hop that makes the whole change wait, or NULL. */
static const struct chain_hop *hop_waited_for(const struct chain_view *v,
					      const Demarc__V1__Chain *in_force)
{
	for (size_t i = 0; i < v->n_hops; i++)
		if (v->hops[i].n_pairs == 0 && v->hops[i].hop->n_pairs > 0 &&
		    !hop_in_force(in_force, v->hops[i].hop))
			return &v->hops[i];
	return NULL;
}

void chain_evaluate(const Demarc__V1__Chain *wanted, const Demarc__V1__Chain *in_force,
		    chain_healthy_fn healthy, void *ctx, struct chain_view *ret)
{
	const struct chain_hop *waits;
	char reason[sizeof(ret->held_reason)];

	evaluate(wanted, healthy, ctx, ret);
	waits = in_force && in_force != wanted ? hop_waited_for(ret, in_force) : NULL;
	if (waits) {
		const char *name = *waits->hop->name ? waits->hop->name : waits->hop->group_id;

		(void)snprintf(reason, sizeof(reason), "waiting for hop %.60s: %.160s", name,
			       waits->reason);
		evaluate(in_force, healthy, ctx, ret);
		ret->held = true;
		memcpy(ret->held_reason, reason, sizeof(reason));
	}
	for (size_t i = 0; i < ret->n_hops; i++) {
		if (ret->hops[i].n_pairs == 0)
			apply_policy(&ret->hops[i]);
		ret->degraded |= ret->hops[i].n_pairs < ret->hops[i].hop->n_pairs ||
				 ret->hops[i].n_pairs == 0;
	}
}
