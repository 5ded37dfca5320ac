/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_FIREWALL_H
#define DEMARC_HUB_NETWORK_FIREWALL_H

/*
 * FWaaS v2: rules, policies (ordered lists of rules) and groups (ports with a policy for each direction). Worker threads.
 * Source: Neutron API, "FWaaS v2.0"; neutron-fwaas user guide.
 *
 * What differs, and is documented in docs/FIREWALL.md: rules are stateless, and have the attributes "demarc:*" besides the standard ones.
 */

#include "hub/network/net.h"

#define FIREWALL_RULES_MAX 10000 /* of one policy */
#define FIREWALL_PORTS_MAX 4096	 /* of one group */

extern const struct resource firewall_rule_resource, firewall_policy_resource, firewall_group_resource;

/* PUT …/insert_rule and …/remove_rule */
WARN_UNUSED int firewall_policy_insert(struct req *r, struct err *e);
WARN_UNUSED int firewall_policy_remove(struct req *r, struct err *e);
/* Policies that a rule is in: another revision, no longer audited, and their nodes are touched. The intent is compiled again for
 * another revision only. */
WARN_UNUSED int firewall_rule_changed(struct req *r, const char *rule_id, struct err *e);

#endif
