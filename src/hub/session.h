/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_SESSION_H
#define DEMARC_HUB_SESSION_H

/*
 * Connected nodes, and the intent compiler's entry points.
 *
 * intent_compile() runs in the transaction of an API change: it builds every object that concerns the node from rows, compares with
 * intent_object, writes what differs with version = ++node.intent_revision, and leaves tombstones. Level-triggered: calling it once too
 * often changes nothing; a lost wake-up is repaired at the next heartbeat, when the node says which revision it holds.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "demarc.pb-c.h"
#include "http/server.h"
#include "store/db.h"

struct hub;
struct sessions;

WARN_UNUSED int sessions_new(struct hub *h, struct sessions **ret, struct err *e);
void sessions_free(struct sessions *s);
/* For http_config; ctx is the struct hub. */
extern const struct http_ws_ops session_ws_ops;
WARN_UNUSED int session_front_starts(void *ctx, unsigned front, uv_loop_t *loop, struct err *e);
void session_front_ends(void *ctx, unsigned front);

/* Kinds of objects that are compiled together; a change names those that it can concern. */
enum intent_parts {
	INTENT_NETWORKS = 1,
	INTENT_PORTS = 2,
	INTENT_GROUPS = 4,
	INTENT_SERVERS = 8,
	INTENT_CHAINS = 16,
	INTENT_ADDRESSES = 32,
	INTENT_ACLS = 64,
	INTENT_TELEMETRY = 128,
	INTENT_ALL = 255,
};
/* Worker threads: compile one node's intent inside the open write transaction. Returns 1 when something changed, 0 when not. */
WARN_UNUSED int intent_compile(struct db *db, const char *node_id, struct err *e);
/* Those parts of it alone: for changes that concern thousands of nodes. */
WARN_UNUSED int intent_compile_parts(struct db *db, const char *node_id, unsigned parts, struct err *e);
/*
 * An event for each network of the node (network_id NULL: all of them) that needs more than its release can do: it keeps the intent, and carries
 * nothing for the network. In the open write transaction.
 */
WARN_UNUSED int intent_tell_unsupported(struct db *db, const char *node_id, const char *network_id,
					struct err *e);
/* Nodes on networks whose tunnel ends changed in this transaction; forgets that they did. Before intent_compile(). */
WARN_UNUSED int intent_nodes_of_overlays(struct db *db, void (*fn)(void *ctx, const char *node_id),
					 void *ctx, struct err *e);
/* Nodes whose intent holds the network / security group / image …: calls fn for each (usually req_touch_node). */
WARN_UNUSED int intent_nodes_of_network(struct db *db, const char *network_id,
					void (*fn)(void *ctx, const char *node_id), void *ctx,
					struct err *e);
WARN_UNUSED int intent_nodes_of_group(struct db *db, const char *security_group_id,
				      void (*fn)(void *ctx, const char *node_id), void *ctx,
				      struct err *e);
/* Nodes with rules that name a group of the port as remote group, and that the port's addresses reach (intent_group.c). */
WARN_UNUSED int intent_nodes_of_member(struct db *db, const char *port_id, const char *node_id,
				       const char *network_id,
				       void (*fn)(void *ctx, const char *node_id), void *ctx,
				       struct err *e);
WARN_UNUSED int intent_nodes_of_policy(struct db *db, const char *firewall_policy_id,
				       void (*fn)(void *ctx, const char *node_id), void *ctx,
				       struct err *e);
/* Of an address group. */
WARN_UNUSED int intent_nodes_of_addresses(struct db *db, const char *address_group_id,
					  void (*fn)(void *ctx, const char *node_id), void *ctx,
					  struct err *e);
/* Of a QoS policy: nodes with a port that has it, or whose network has it. */
WARN_UNUSED int intent_nodes_of_qos(struct db *db, const char *qos_policy_id,
				    void (*fn)(void *ctx, const char *node_id), void *ctx,
				    struct err *e);
WARN_UNUSED int intent_nodes_of_chain_port(struct db *db, const char *port_id,
					   void (*fn)(void *ctx, const char *node_id), void *ctx,
					   struct err *e);

/* Any thread: the node has something new to be told. */
void session_wake(struct hub *h, const char *node_id);
/* Any thread: closes the node's connection (revoked, deleted). */
void session_drop(struct hub *h, const char *node_id, const char *reason);
bool session_is_up(struct hub *h, const char *node_id);
/* Worker threads: asks the node and waits for its answer (console log, trace, status). Faults: UNAVAILABLE (not connected, or too many wait), TIMEOUT. The
 * caller frees *ret with demarc__v1__frame__free_unpacked(*ret, NULL). */
WARN_UNUSED int session_call(struct hub *h, const char *node_id, const Demarc__V1__Call *call,
			     unsigned timeout_ms, Demarc__V1__Frame **ret, struct err *e);

#endif
