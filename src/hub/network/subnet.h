/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_SUBNET_H
#define DEMARC_HUB_NETWORK_SUBNET_H

/* A subnet as address allocation sees it. Worker threads, in the request's transaction. */

#include "hub/network/net.h"
#include "model/ipam.h"

#define NETWORK_SUBNETS_MAX 32 /* subnets of one network */

struct subnet {
	const char *id; /* arena */
	struct ip_cidr cidr;
	bool slaac; /* addresses are made from MACs (ipv6_address_mode slaac, dhcpv6-stateless) */
	struct ip_pool pools[IPAM_POOLS_MAX];
	size_t n_pools;
	char alloc_next[IPAM_KEY_SIZE]; /* cursor; "": not begun */
};

struct subnets {
	struct subnet *all; /* arena, by creation */
	size_t len;
};

WARN_UNUSED int subnets_load(struct req *r, const char *network_id, struct subnets *ret, struct err *e);
const struct subnet *subnets_find(const struct subnets *s, const char *id);

#endif
