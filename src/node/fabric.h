/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_FABRIC_H
#define DEMARC_NODE_FABRIC_H

/*
 * Networks, ports and security groups of the intent, written to the datapath. Idempotent.
 * Thread: the loop's.
 */

#include "node/node.h"
#include "node/vnic.h"

struct server;

/* What of a NIC a provider network is. */
struct nic_part {
	const char *nic;     /* logical name; "": none */
	vlan_id vlan, outer; /* 0: no tag; outer: a service tag around the other */
};
struct nic_part fabric_nic_part(const Demarc__V1__Network *net);

WARN_UNUSED int fabric_open(struct node *n, struct err *e);
void fabric_close(struct node *n);
/* Writes everything; removes from the datapath what the intent does not name when all could be written. */
void fabric_pass(struct node *n);
/* A function is about to end for good or for a new run; a deleted port leaves the datapath. */
void fabric_server_down(struct node *n, struct server *s);
/* Slots of `old` that `want` does not have: out of the datapath before the interface goes. */
void fabric_detached(struct node *n, const struct vnics *old, const struct vnics *want);
/* Completes s->seen with what the datapath holds for each vNIC; true when nothing differs. */
bool fabric_verify(struct node *n, struct server *s);
/* Network that the datapath has a port in: its id, or "". Borrowed. */
const char *fabric_network_of(struct node *n, const char *port_id);
/* What was found of the NIC that cfg.nics[i] names; NULL: it was not asked for yet. Borrowed. */
const struct dp_nic *fabric_nic(const struct node *n, size_t i);
/* Where a port is for the datapath: host interface, or NIC and VLAN of an uplink. False: unknown or without number. */
bool fabric_port_place(struct node *n, const char *port_id, ifindex *ret, vlan_id *ret_vlan);
/* The port whose host interface this is, or NULL. Borrowed. */
const char *fabric_port_at(struct node *n, ifindex index);

#endif
