/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_PEER_H
#define DEMARC_NODE_PEER_H

/*
 * Images from other nodes of the site, and for them: the agent's side. The hub introduces both ends (proto/demarc.proto, PeerAsk), the agent
 * makes its end of the connection (link/peer_sock.h), and a process without privileges does the rest (link/peer.h). Whatever does
 * not work is the hub's to send, as without this; what was taken is checked as if the hub had sent it.
 *
 * Limits: one image is taken at a time, PEER_GIVES_MAX are given. A node that does not answer is waited for PEER_ANSWER_MS, one that gives
 * less than PEER_LEAST_BYTES in PEER_LOOK_MS is given up, as is any after PEER_TAKE_MS.
 * Thread: the loop's.
 */

#include "node/node.h"

#define PEER_FEATURE "peer-copy"
#define PEER_GIVES_MAX 2
#define PEER_ASKS_MAX 4		     /* nodes that are asked for one image */
#define PEER_ANSWER_MS 6000	     /* for the hub and the other node */
#define PEER_LOOK_MS 10000	     /* at what has come */
#define PEER_LEAST_BYTES (2u << 20)  /* in that time */
#define PEER_TAKE_MS (5 * 60 * 1000) /* for one image, of whatever size */
#define PEER_GIVE_MS (PEER_TAKE_MS + PEER_ANSWER_MS)
#define PEER_RATE_MB                                                                               \
	10 /* a second, for each node that takes, unless the configuration says otherwise */
#define PEER_RATE_MAX 100000u /* MB */

/* Reads cfg.peer_copy; where the kernel has no such connections it is off, and the log says so. Fault BAD_REQUEST. */
WARN_UNUSED int peers_open(struct node *n, struct err *e);
void peers_close(struct node *n); /* ends the processes; the loop has to run before their memory goes */
bool peers_are_on(const struct node *n);
/* The hub's hello: whether it introduces nodes. */
void peers_link_up(struct node *n, const Demarc__V1__HubHello *h);
/* PeerGive, PeerTake. */
void peers_frame(struct node *n, const Demarc__V1__Frame *f);
void peers_tick(struct node *n);

#endif
