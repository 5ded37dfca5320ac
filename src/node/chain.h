/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_CHAIN_H
#define DEMARC_NODE_CHAIN_H

/*
 * Which functions a chain really goes through, given what is healthy. Pure.
 *
 * A hop whose pairs are all unhealthy is held back, bypassed or dropped:
 *  - part of the path in force and now without a healthy pair: its own policy (bypass, or drop);
 *  - new, or with none of the pairs it had: the whole change waits, the path in force stays;
 *  - no path in force yet: its own policy, at once.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "demarc.pb-c.h"

#define CHAIN_HOPS_MAX 16
#define CHAIN_PAIRS_MAX 16

struct chain_hop {
	const Demarc__V1__Hop *hop;
	bool in_path, drop;
	size_t n_pairs;
	const Demarc__V1__Pair *pairs[CHAIN_PAIRS_MAX]; /* healthy ones, in order */
	char reason[256];				/* why not in the path, or why it drops */
};

struct chain_view {
	bool held; /* hops[] is then of the chain in force */
	char held_reason[256];
	bool degraded; /* a hop is bypassed or drops, or lacks a pair */
	size_t n_hops;
	struct chain_hop hops[CHAIN_HOPS_MAX];
};

/* Whether a port pair can carry traffic; when not, writes why. */
typedef bool (*chain_healthy_fn)(void *ctx, const Demarc__V1__Pair *pair, char *ret_why, size_t size);

/* wanted: as the intent has it. in_force: the chain whose path is current, or NULL. Both are borrowed by *ret. */
void chain_evaluate(const Demarc__V1__Chain *wanted, const Demarc__V1__Chain *in_force,
		    chain_healthy_fn healthy, void *ctx, struct chain_view *ret);

#endif
