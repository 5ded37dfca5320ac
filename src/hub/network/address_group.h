/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_ADDRESS_GROUP_H
#define DEMARC_HUB_NETWORK_ADDRESS_GROUP_H

/* Named sets of addresses, for rules of security groups and firewalls. Worker threads. Source: Neutron API, "Address groups". */

#include "hub/network/net.h"

#define ADDRESS_GROUP_MAX 10000 /* addresses of one group */

extern const struct resource address_group_resource;

/* PUT …/add_addresses and …/remove_addresses: all or nothing. */
WARN_UNUSED int address_group_add(struct req *r, struct err *e);
WARN_UNUSED int address_group_remove(struct req *r, struct err *e);

#endif
