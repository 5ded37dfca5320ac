/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_SIM_GROUP_H
#define DEMARC_SIM_GROUP_H

/* The security group that every node has a port in: one rule more concerns all of them. */

#include "node/intent.h"
#include "sim/sim.h"

/* It is there, with all nodes and without the rules of earlier runs. Before the nodes connect. */
WARN_UNUSED int group_ready(struct sim *s, struct err *e);
/* Adds the rule of the next round; shared->group_asked_ns says when. */
WARN_UNUSED int group_change(struct sim *s, struct err *e);
/* Of a node: which round's rule its intent has. */
void group_note(const struct sim_shared *m, const struct intent *in, struct sim_slot *slot);

#endif
