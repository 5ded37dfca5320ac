/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_PORT_ADDRESS_H
#define DEMARC_HUB_NETWORK_PORT_ADDRESS_H

/* What a port says about addresses besides its fixed ones: MAC, allowed address pairs, security groups. */

#include "base/types.h"
#include "hub/network/net.h"

/* A random MAC below fa:16:3e that is free on the network. */
WARN_UNUSED int port_mac_make(struct req *r, const char *network_id, struct mac *ret, struct err *e);
/* MAC_IN_USE when another port of the network has it. except_id: the port itself, or "". */
WARN_UNUSED int port_mac_check(struct req *r, const char *network_id, const char *mac,
			       const char *except_id, struct err *e);
/* Checks and completes a list of {"ip_address", "mac_address"}: canonical text, mac_address defaults to the port's. */
WARN_UNUSED int port_pairs_check(struct req *r, json_t *list, const char *mac, struct err *e);
/* Replaces the port's security groups by a list of ids that the caller sees. */
WARN_UNUSED int port_groups_set(struct req *r, const char *port_id, const json_t *ids, struct err *e);
WARN_UNUSED int port_groups_count(struct req *r, const char *port_id, struct err *e);
/* Nodes whose rules count the port's addresses as members of its groups, while it is on that node and network. */
WARN_UNUSED int port_touch_members(struct req *r, const char *port_id, const char *node_id,
				   const char *network_id, struct err *e);

#endif
