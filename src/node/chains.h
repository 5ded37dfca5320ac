/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_CHAINS_H
#define DEMARC_NODE_CHAINS_H

/*
 * Port chains: what chain.c decides, put into the datapath, and what came of it. A change is one new path and one
 * pointer flip; nothing here waits. Thread: the loop's.
 */

#include "node/chain.h"
#include "node/node.h"

struct chain_hop_status {
	char group_id[UUID_STR_SIZE], name[64];
	bool in_path, drop;
	char reason[256];
	size_t n_healthy;
	char healthy[CHAIN_PAIRS_MAX][UUID_STR_SIZE];
};

struct chain_rec {
	struct chain_rec *next;
	char id[UUID_STR_SIZE];
	intent_object *in_force; /* owned copy of the object whose path is current, or NULL */
	Demarc__V1__ChainState state;
	char reason[256], held_change[65];
	uint64_t tried_version; /* newest version that was put to the datapath or held */
	int64_t received_ns;	/* when that version came */
	uint32_t path;
	int64_t flipped_us;
	uint64_t build_us, n_moved, n_kept, n_draining;
	size_t n_hops;
	struct chain_hop_status hops[CHAIN_HOPS_MAX];
	bool seen; /* in the pass */
};

/* Reads from the local state which chains are in force. */
WARN_UNUSED int chains_open(struct node *n, struct err *e);
void chains_close(struct node *n);
/* Evaluates every chain and flips those that changed; removes those that the intent has no more. */
void chains_apply(struct node *n);
/* As above, for the sweep: every chain is named to the datapath, changed or not. */
void chains_name_all(struct node *n);
/* Asks the datapath which paths still carry flows; call about once a second. */
void chains_collect(struct node *n);
const struct chain_rec *chains_first(const struct node *n);
/* The other port of the pair in a chain that has the port: where a function that forwards a frame as it is would let it out. NULL: none. */
const char *chains_pair_partner(const struct node *n, const char *port_id);
const char *chain_of_number(const struct node *n, uint16_t chain); /* id, or NULL */

#endif
