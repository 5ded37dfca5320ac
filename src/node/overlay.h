/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_OVERLAY_H
#define DEMARC_NODE_OVERLAY_H

/*
 * Networks that reach other nodes: a tunnel for each network and remote end, and the MACs behind it. The kernel's routes and
 * neighbours say how the far end is reached; when they change, so do the tunnels' headers.
 * Thread: the loop's.
 */

#include "node/node.h"

#define OVERLAY_PORT_BASE                                                                          \
	(DP_PSEUDO_PORT + (1 << 21)) /* tunnels' numbers, behind those of native ports */

WARN_UNUSED int overlay_open(struct node *n, struct err *e);
void overlay_close(struct node *n);
/* Writes the tunnels of all networks. False: something could not be written, nothing is to be swept. */
bool overlay_pass(struct node *n);
void overlay_prune(struct node *n);
/* Call about once a second: asks for a pass when a way has changed. */
void overlay_tick(struct node *n);
/* A network that the node made for itself, of a NIC that carries tunnels only. */
bool overlay_keeps_network(struct node *n, const char *id);
/* Address of the far end of the tunnel that has this port, or NULL. Borrowed. */
const char *overlay_remote_at(struct node *n, ifindex port);

#endif
