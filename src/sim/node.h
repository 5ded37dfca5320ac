/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_SIM_NODE_H
#define DEMARC_SIM_NODE_H

/*
 * One simulated node: the agent's own (src/node: channel, certificate, intent, passes, functions, chains, statuses, reports), on a machine that
 * is not there. What it is not, by file:
 *
 *   machine.c   node/machine.h, node/probe.h: namespaces, vNICs and processes that only take their time, and fail as often as is asked for
 *   datapath.c  dp/dp.h: ports and chains are remembered
 *   absent.c    the rest of the agent: images are there, nothing is exported, watched or captured, no NIC, no overlay, no shell
 *   identity.c  certificates and keys in files, as enrolment leaves them; TLS of a loop with many nodes
 *
 * Thread: the worker's loop.
 */

#include "node/node.h"
#include "sim/sim.h"

struct sim_function;

struct sim_node {
	struct node n;
	struct link_identity identity;
	const struct sim *sim;
	const struct fleet_node *who;
	struct sim_slot *slot;
	struct sim_shared *shared;
	struct dial_tls *tls, *next_tls; /* next: of the next connection; NULL: the same */
	char *cert;			 /* what tls was made of, when it is not who->cert */
	struct sim_function *functions;	 /* what the machine knows */
	uint64_t hub_revision;
	unsigned index, moves, n_turns, next_pid;
	struct link_pace pace;
};

static inline struct sim_node *sim_node_of(const struct node *n)
{
	return CONTAINER_OF(n, struct sim_node, n);
}

/* machine.c */
extern const struct machine sim_machine;
/* A container of the node ends. False: none runs. */
bool machine_kill_one(struct sim_node *s);

/* datapath.c */
struct dp *sim_dp_new(void); /* NULL: no memory */

/* identity.c */
/* Files in n.cfg.state_dir, tls, identity; the first call of a process makes what all its nodes share. */
WARN_UNUSED int identity_make(struct sim_node *s, struct err *e);
struct dial_tls *identity_tls(void *ctx); /* as of struct link_here; ctx: &s->n */
int identity_reload(void *ctx, const struct link_client_config *c, struct err *e);
/* The hub has issued a certificate and the agent has taken it: the next run must know it, too. */
void identity_keep(struct sim_node *s);

#endif
