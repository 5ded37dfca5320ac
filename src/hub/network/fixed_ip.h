/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_FIXED_IP_H
#define DEMARC_HUB_NETWORK_FIXED_IP_H

/* Fixed addresses of ports: rows of port_ip, and the cursor and free list of each subnet. In the request's transaction. */

#include "base/types.h"
#include "hub/network/net.h"

#define PORT_FIXED_IPS_MAX 8

/* The port row is there and has no addresses. wanted: the request's list of {subnet_id, ip_address} (either may be missing), or NULL:
 * one address of each family that the network has, lowest free first; [] gives none. */
WARN_UNUSED int fixed_ips_assign(struct req *r, const char *port_id, const char *network_id,
				 struct mac mac, const json_t *wanted, struct err *e);
/* Replaces the port's addresses: what stays keeps its row. wanted is a list. Returns 1 when something changed. */
WARN_UNUSED int fixed_ips_replace(struct req *r, const char *port_id, const char *network_id,
				  struct mac mac, const json_t *wanted, struct err *e);
/* Gives all back. network_id: where they are from. */
WARN_UNUSED int fixed_ips_release(struct req *r, const char *port_id, const char *network_id,
				  struct err *e);

#endif
