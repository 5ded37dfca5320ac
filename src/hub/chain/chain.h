/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_CHAIN_CHAIN_H
#define DEMARC_HUB_CHAIN_CHAIN_H

/*
 * Service function chains (networking-sfc) and their changes. Worker threads, in the request's write transaction.
 *
 * Decisions beyond networking-sfc: a port is in at most one pair, a pair in at most one group, a group in at most one
 * chain, because a packet that leaves a function can only be continued in the one chain that sent it there, whatever
 * the function did to its headers. All functions of a chain are on one node.
 */

#include "hub/network/net.h"

extern const struct resource port_pair_resource, port_pair_group_resource, flow_classifier_resource;

/* Records a change of the chain (row of chain_change), points the chain at it, names it in the answer's header X-Demarc-Change-Id,
 * sets the chain's node and touches it. what: a sentence. Faults: BAD_REQUEST when its ports are on different nodes. */
WARN_UNUSED int chain_changed(struct req *r, const char *chain_id, const char *what, struct err *e);
/* The group's chain, or NULL. *ret_id: arena. Returns 1 when there is one. */
WARN_UNUSED int chain_of_group(struct req *r, const char *group_id, const char **ret_id, struct err *e);
/* The port got another node: chains that hold it follow, and their nodes are touched. */
WARN_UNUSED int chain_port_moved(struct req *r, const char *port_id, struct err *e);
/* Touches the chain's node. */
WARN_UNUSED int chain_touch(struct req *r, const char *chain_id, struct err *e);
/* Checks and completes {"correlation", …}: null and "None" are null. choices end with NULL. */
WARN_UNUSED int chain_check_correlation(struct req *r, json_t *params, const char *field,
					const char *dflt, struct err *e);

#endif
