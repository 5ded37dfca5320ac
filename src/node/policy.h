/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_POLICY_H
#define DEMARC_NODE_POLICY_H

/*
 * Address groups and lists of rules of the intent, and stateless security groups, which are lists too, written to the datapath. Idempotent; equal content costs a comparison.
 * Thread: the loop's.
 */

#include "node/node.h"

/* Writes all of them. False when one could not be written: nothing is swept then. */
bool policy_pass(struct node *n);
/* Completes a port with its security groups and lists. A list that is not there (yet) is an empty one, which denies. */
void policy_port(struct node *n, const Demarc__V1__Port *p, struct dp_port *ret);
/* The address group that holds the members of a security group; 0: the datapath's own list of them does. */
uint32_t policy_members(struct node *n, const char *sg_id);
/* Forgets numbers that the intent does not name. */
void policy_prune(struct node *n);
/* A security group that the node made for itself and still needs. */
bool policy_keeps_group(struct node *n, const char *id);

/* The intent's rule as the datapath takes it. Numbers of groups are given by `l` on first sight. */
void policy_rule(struct local *l, const Demarc__V1__AclRule *r, struct dp_acl_rule *ret);
/* What the datapath knows a rule by: the first 32 bits of its UUID, which is random. 0: not a UUID. */
uint32_t policy_rule_number(const char *id);
/* The rule of the intent that has the number: its UUID, or "". Returns ret. */
char *policy_rule_id(struct node *n, uint32_t number, char ret[static UUID_STR_SIZE]);
/* Rows of an address and its prefix length: CIDRs into ret, which has room for all. Returns how many. */
size_t policy_cidrs(ProtobufCBinaryData rows, uint8_t family, struct ip_cidr *ret);

#endif
