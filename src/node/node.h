/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_NODE_H
#define DEMARC_NODE_NODE_H

/*
 * The node: what its parts share. One thread, the loop's, owns all of it; workers get copies.
 *
 * A pass (node_kick()) is level-triggered and idempotent: it compares the intent with what is there and takes the next
 * step of each thing that differs. Steps that wait for the kernel or the runtime are jobs in workers; the end of a job
 * kicks the next pass. Chains come first in a pass and need no job, so that a change never waits for a build.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/types.h"
#include "dp/dp.h"
#include "link/link.h"
#include "node/config.h"
#include "node/image.h"
#include "node/intent.h"
#include "node/local.h"
#include "node/nl.h"
#include "node/resync.h"
#include "node/runtime.h"
#include "node/ticket.h"

struct chains;
struct exports;
struct fabric;
struct leases;
struct machine;
struct overlay;
struct peers;
struct reports;
struct server;
struct streams;
struct watching;
struct capture;

struct node {
	uv_loop_t *loop;
	const struct machine *machine; /* node/machine.h */
	struct config cfg;
	char id[UUID_STR_SIZE];
	char boot_id[UUID_STR_SIZE], run_id[UUID_STR_SIZE];
	int64_t started_ns;
	int lock_fd; /* one agent for one state directory */

	struct intent *intent;
	bool frozen; /* the stored intent was damaged: nothing is removed until the hub has sent it again */
	int64_t intent_ns; /* when the newest intent came; 0: not in this run */
	struct local *local;
	struct dp *dp;
	struct nl *nl, *nl_watch;
	struct watch *link_watch;
	struct runtime rt;
	struct images *images;
	struct peers *peers; /* node/peer.h; NULL: a node that has none */
	struct fabric *fabric;
	struct overlay *overlay;
	struct leases *leases;
	struct server *servers;
	struct chains *chains;
	struct reports *reports;
	struct exports *exports;
	struct streams *streams;   /* NULL: none yet */
	struct watching *watching; /* NULL: nobody watches drops */
	struct capture *capture;   /* NULL: nobody captures */
	struct link_client *link;
	struct link_identity *identity; /* what enrolment and the hub left; NULL: no channel */
	bool on_next;	   /* the connection uses a certificate that was not seen to work */
	bool said_hello;   /* the hub, on this connection */
	unsigned n_failed; /* attempts in a row without that */
	uint64_t next_request;
	struct ticket_file ticket;
	struct resync resync; /* of the intent */

	uv_timer_t pass_timer, tick_timer;
	uv_signal_t sigterm, sigint;
	bool fabric_dirty, stopping;
	unsigned full_ms; /* until a pass writes everything */
};

/* Start without a link, as it stands in cfg. node_close() stops the agent and leaves functions and datapath alone. */
WARN_UNUSED int node_open(struct node *n, const struct config *cfg, const char *node_id, struct err *e);
void node_close(struct node *n);
/*
 * What node_open() does but for the machine's part, for programs that are many nodes: a zeroed node; state_dir in n->cfg before
 * node_open_state(); n->dp, n->nl, exports and overlay before node_begin(), which makes the first pass and ticks, the first time after after_ms.
 */
void node_init(struct node *n, uv_loop_t *loop, const struct machine *m, const char *node_id);
WARN_UNUSED int node_open_state(struct node *n, struct err *e);
void node_begin(struct node *n, unsigned after_ms);
/* Writes what the node has decided for itself, where that has changed. */
void node_save(struct node *n);
/* A pass as soon as the loop turns; cheap to call often. */
void node_kick(struct node *n);
/* Networks, ports, groups or interfaces changed: the next pass writes them all to the datapath. */
void node_kick_fabric(struct node *n);
/* Applies an intent message (durably) and kicks. Faults as of intent_apply(). */
WARN_UNUSED int node_intent(struct node *n, const Demarc__V1__Intent *m, struct err *e);
/* What of it is valid, after node_intent() has refused it. */
WARN_UNUSED int node_intent_rest(struct node *n, const Demarc__V1__Intent *m, struct err *e);
/* About "server", "chain", "image" ... and its id: the hub shows it to the project that owns it. */
void node_event(struct node *n, const char *kind, const char *severity, const char *what,
		const char *id, const char *fmt, ...) PRINTF_LIKE(6, 7);
/* Takes away everything of the node except its identity and intent: containers, namespaces, interfaces, pins, mounts. */
WARN_UNUSED int node_purge(const struct config *cfg, const char *node_id, struct err *e);
/* Writes the default pin directory where the configuration has none. */
void node_pin_dir(const struct config *cfg, const char *node_id, char *ret, size_t size);

#endif
