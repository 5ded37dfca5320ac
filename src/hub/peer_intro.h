/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_PEER_INTRO_H
#define DEMARC_HUB_PEER_INTRO_H

/*
 * Nodes that are being introduced to each other: the giver was asked, the taker waits for what it says. Few, and for a short time; who finds no
 * room gets its image from the hub. Pure; the caller has the lock and the clock.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define PEER_INTROS_MAX 256
#define PEER_INTRO_MS 5000 /* for the giver's answer; the taker waits no longer (node/peer.c) */

struct peer_intro {
	uint64_t id;	       /* as the giver is asked by; even. 0: free */
	uint64_t taker, giver; /* serials of their sessions */
	uint64_t request;      /* of the taker's question */
	int64_t since_ns;
	char giver_id[40];
};

struct peer_intros {
	uint64_t next_id;
	struct peer_intro rows[PEER_INTROS_MAX];
};

/* The id; 0: no room. What is in `i` but id and since_ns is copied. */
WARN_UNUSED uint64_t peer_intro_add(struct peer_intros *t, const struct peer_intro *i, int64_t now_ns);
/* The giver has answered: the row is free from here on. false: nobody waits for that, or it is not the one who was asked. */
WARN_UNUSED bool peer_intro_take(struct peer_intros *t, uint64_t id, uint64_t giver, int64_t now_ns,
				 struct peer_intro *ret);

#endif
