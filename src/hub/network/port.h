/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_PORT_H
#define DEMARC_HUB_NETWORK_PORT_H

/* Ports for other modules of the hub. Worker threads, inside the request's write transaction. */

#include "hub/network/net.h"

#define PORT_GROUPS_MAX 8		   /* security groups of one port, as the datapath holds */
#define PORT_PAIRS_MAX 24		   /* allowed address pairs of one port */
#define PORT_OWNER_UPLINK "network:uplink" /* names a node's NIC on a provider network */

/* Gives the port to a server on a node (node_id NULL: not placed yet): device_id, device_owner "compute:<az>". The node is touched,
 * and what reads the group's member addresses. Repeating it is no error. Faults: NOT_FOUND, IN_USE (another device has it). */
WARN_UNUSED int port_bind(struct req *r, const char *port_id, const char *server_id,
			  const char *node_id, const char *az, struct err *e);
/* Takes it back; the port stays. No error when it is bound to nothing or not there. */
WARN_UNUSED int port_unbind(struct req *r, const char *port_id, struct err *e);

#endif
