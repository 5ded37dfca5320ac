/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_SIM_DRIVERS_H
#define DEMARC_SIM_DRIVERS_H

/*
 * What stands in for the agent's machine: functions that start after a moment, chains that are in force when their functions are well
 * (chain_evaluate(), the agent's own), ports that are as they should be. Defines what channel.c and report.c expect of the
 * rest of src/node.
 */

#include "node/node.h"
#include "sim/sim.h"

struct sim_function {
	char id[UUID_STR_SIZE];
	int64_t up_at_ns, started_us;
	bool seen;
};

struct sim_node {
	struct node n; /* of which only what channel.c and report.c use is filled */
	struct link_identity identity;
	const struct fleet_node *who;
	struct sim_slot *slot;
	struct sim_shared *shared;
	struct dial_tls *tls;
	struct sim_function *functions;
	size_t n_functions, cap;
	uint64_t hub_revision;
	int64_t next_flush_ns;
	unsigned index, moves, n_turns;
	struct link_pace pace;
};

/* Looks at the intent: new functions start, old ones go. */
void drivers_intent(struct sim_node *s);
/* When something will change by itself; INT64_MAX: nothing will. */
int64_t drivers_next_ns(const struct sim_node *s);
/* The hub's word and what is held, compared. */
void sim_note(struct sim_node *s);

#endif
