/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_NATIVE_H
#define DEMARC_NODE_NATIVE_H

/*
 * Native functions: servers whose image has a kind and no file. They are stages of the datapath, so they have neither
 * process nor interface; their ports have numbers from DP_PSEUDO_PORT on. What one does is the policy of its ports:
 *
 *   acl       lists (firewall groups) of both ports
 *   firewall  security groups of both ports, and their lists
 *   policer   limits (QoS policies): what enters by a port is held to its ingress limit and the other port's egress limit
 *   mirror    a copy of every packet to the port that the server's metadata names as NATIVE_MIRROR_KEY
 *
 * Thread: the loop's.
 */

#include "node/node.h"

struct server;

#define NATIVE_MIRROR_KEY "demarc:mirror_to"

bool native_is(const Demarc__V1__Server *pb);
/* enum dp_native_kind of the function that the port belongs to; DP_NATIVE_NONE: none, or of a kind that this node does not know. */
uint8_t native_kind_of_port(struct node *n, const char *port_id);
/* What the datapath calls the port, whatever it belongs to; 0: no number is left. */
ifindex native_port_index(struct node *n, const char *port_id);
/* Completes the port of a native function, whose own limits and marks are in *d. False: it could not be written in full. */
bool native_port(struct node *n, const char *port_id, const Demarc__V1__Port *p, struct dp_port *d);

/* Brings every native function up or down, as the intent has it: before its ports are written. */
void natives_pass(struct node *n);
/* The step of one. Its container of before, if it had one, must be gone. */
void native_step(struct server *s, const Demarc__V1__Server *pb);
void native_down(struct server *s);
/* Looks whether the datapath has what is wanted; a difference is repaired by the pass that this asks for. */
void native_verify(struct server *s);
void natives_verify(struct node *n);
/* Instead of a console log. Caller frees; NULL: no memory. */
char *native_console(const struct server *s);

#endif
