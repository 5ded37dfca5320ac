/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_GUARD_H
#define DEMARC_NODE_GUARD_H

/* First-hop guards, storm control, limits of connections and helpers of ports; settings of connection tracking. Thread: the loop's. */

#include "node/node.h"

/* Completes the port. False when its storm meter could not be written (logged). */
bool guard_port(struct node *n, const char *port_id, const Demarc__V1__Port *p, struct dp_port *d);
/* A number that guard_port() uses: "storm:" and the port's id. */
bool guard_keeps_meter(struct node *n, const char *id);

#endif
