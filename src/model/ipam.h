/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_MODEL_IPAM_H
#define DEMARC_MODEL_IPAM_H

/*
 * Address arithmetic of subnets and allocation pools. Pure: the caller keeps what is allocated.
 *
 * Allocation gives the lowest free address of the pools without looking at the allocated ones: below the
 * cursor everything is allocated except what the caller's free list holds; above it nothing has been handed
 * out, save addresses that clients asked for by number, which the caller's store refuses and skips once.
 * Thread: any.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/types.h"

#define IPAM_POOLS_MAX 32
#define IPAM_KEY_SIZE 33 /* 32 hex digits and NUL */

struct ip_pool {
	struct ip_addr first, last; /* both included */
};

enum ipam_pool_fault {
	IPAM_POOL_OK,
	IPAM_POOL_INVALID,  /* inverted, or of the other family */
	IPAM_POOL_OUTSIDE,  /* leaves the usable hosts of the subnet */
	IPAM_POOL_OVERLAPS, /* another pool: *ret_other */
	IPAM_POOL_HAS_GATEWAY,
};

/* "10.0.0.5/24" is not canonical: host bits must be zero. */
bool ipam_is_canonical(struct ip_cidr c);
/* The lowest and highest address a host may have. IPv4: without network and broadcast address, except in a
 * /31 and /32 (RFC 3021); IPv6: without the subnet-router anycast address (RFC 4291 2.6.1), except /127 and /128. */
void ipam_hosts(struct ip_cidr c, struct ip_addr *ret_first, struct ip_addr *ret_last);
/* The pools of a subnet that gave none: all hosts, split around the gateway (family 0: none). Returns 0..2. */
size_t ipam_default_pools(struct ip_cidr c, struct ip_addr gateway, struct ip_pool ret[static 2]);
/* Checks pools in order; *ret_index is the pool that fails, *ret_other the one it overlaps. gateway family 0: none. */
enum ipam_pool_fault ipam_check_pools(struct ip_cidr c, struct ip_addr gateway,
				      const struct ip_pool *pools, size_t n, size_t *ret_index,
				      size_t *ret_other);
bool ipam_in_pools(const struct ip_pool *pools, size_t n, struct ip_addr a);
/* The lowest address >= from that is in a pool; pools need no order. from.family 0: from the start. false: none. */
bool ipam_next(const struct ip_pool *pools, size_t n, struct ip_addr from, struct ip_addr *ret);
/* The address after a; false at the end of the family. */
bool ipam_after(struct ip_addr a, struct ip_addr *ret);
/* How many addresses the pools hold, at most UINT64_MAX. */
uint64_t ipam_size(const struct ip_pool *pools, size_t n);
/* A text key that sorts as the addresses do, and back. */
const char *ipam_key(struct ip_addr a, char buf[static IPAM_KEY_SIZE]);
WARN_UNUSED int ipam_of_key(struct str key, uint8_t family, struct ip_addr *ret);
/* RFC 4291 appendix A: the interface identifier of a MAC in a /64. */
struct ip_addr ipam_eui64(struct ip_cidr prefix, struct mac mac);

#endif
