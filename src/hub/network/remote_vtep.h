/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_REMOTE_VTEP_H
#define DEMARC_HUB_NETWORK_REMOTE_VTEP_H

/*
 * Ends of tunnels that are no nodes: a router, a switch, a gateway of another cloud. Each node with a port on the network makes a tunnel to them.
 * networking-l2gw spreads the same facts (address, number, MACs, flood) over three resources, because there a gateway of its own is between.
 */

#include "hub/network/net.h"

#define REMOTE_VTEP_MACS_MAX 1024 /* of one end; what is not listed is learned */

extern const struct resource remote_vtep_resource;

#endif
