/* SPDX-License-Identifier: Apache-2.0 */
#include "model/ipam.h"

static bool step_back(struct ip_addr *a)
{
	for (int i = (a->family == IP_V4 ? 4 : 16) - 1; i >= 0; i--)
		if (a->b[i]--)
			return true;
	return false;
}

bool ipam_is_canonical(struct ip_cidr c)
{
	return ip_eq(cidr_network(c), c.addr);
}

bool ipam_after(struct ip_addr a, struct ip_addr *ret)
{
	if (!ip_add(&a, 1))
		return false;
	*ret = a;
	return true;
}

void ipam_hosts(struct ip_cidr c, struct ip_addr *ret_first, struct ip_addr *ret_last)
{
	struct ip_addr first = cidr_network(c), last = cidr_last(c);

	if (c.prefix_len + 1 < ip_max_prefix(&c.addr)) {
		(void)ipam_after(first, &first);
		if (c.addr.family == IP_V4)
			(void)step_back(&last);
	}
	*ret_first = first;
	*ret_last = last;
}

size_t ipam_default_pools(struct ip_cidr c, struct ip_addr gateway, struct ip_pool ret[static 2])
{
	struct ip_pool all;
	size_t n = 0;

	ipam_hosts(c, &all.first, &all.last);
	if (!gateway.family || ip_cmp(gateway, all.first) < 0 || ip_cmp(gateway, all.last) > 0) {
		ret[0] = all;
		return 1;
	}
	if (ip_cmp(all.first, gateway) < 0) {
		ret[n].first = all.first;
		ret[n].last = gateway;
		(void)step_back(&ret[n++].last);
	}
	if (ip_cmp(gateway, all.last) < 0) {
		ret[n].last = all.last;
		(void)ipam_after(gateway, &ret[n++].first);
	}
	return n;
}

static bool pools_meet(const struct ip_pool *a, const struct ip_pool *b)
{
	return ip_cmp(a->first, b->last) <= 0 && ip_cmp(b->first, a->last) <= 0;
}

static enum ipam_pool_fault check_one(struct ip_cidr c, struct ip_addr gateway, const struct ip_pool *p)
{
	struct ip_addr first, last;

	if (p->first.family != c.addr.family || p->last.family != c.addr.family ||
	    ip_cmp(p->first, p->last) > 0)
		return IPAM_POOL_INVALID;
	ipam_hosts(c, &first, &last);
	if (ip_cmp(p->first, first) < 0 || ip_cmp(p->last, last) > 0)
		return IPAM_POOL_OUTSIDE;
	if (gateway.family && ip_cmp(gateway, p->first) >= 0 && ip_cmp(gateway, p->last) <= 0)
		return IPAM_POOL_HAS_GATEWAY;
	return IPAM_POOL_OK;
}

enum ipam_pool_fault ipam_check_pools(struct ip_cidr c, struct ip_addr gateway,
				      const struct ip_pool *pools, size_t n, size_t *ret_index,
				      size_t *ret_other)
{
	for (size_t i = 0; i < n; i++) {
		enum ipam_pool_fault f = check_one(c, gateway, &pools[i]);

		*ret_index = *ret_other = i;
		if (f != IPAM_POOL_OK)
			return f;
		for (size_t k = 0; k < i; k++) {
			*ret_other = k;
			if (pools_meet(&pools[i], &pools[k]))
				return IPAM_POOL_OVERLAPS;
		}
	}
	return IPAM_POOL_OK;
}

bool ipam_in_pools(const struct ip_pool *pools, size_t n, struct ip_addr a)
{
	for (size_t i = 0; i < n; i++)
		if (ip_cmp(a, pools[i].first) >= 0 && ip_cmp(a, pools[i].last) <= 0)
			return true;
	return false;
}

bool ipam_next(const struct ip_pool *pools, size_t n, struct ip_addr from, struct ip_addr *ret)
{
	bool found = false;

	for (size_t i = 0; i < n; i++) {
		struct ip_addr a = pools[i].first;

		if (from.family && ip_cmp(from, a) > 0)
			a = from;
		if (ip_cmp(a, pools[i].last) > 0 || (found && ip_cmp(a, *ret) >= 0))
			continue;
		*ret = a;
		found = true;
	}
	return found;
}

/* last - first + 1, or UINT64_MAX when it does not fit. */
static uint64_t pool_size(const struct ip_pool *p)
{
	size_t size = p->first.family == IP_V4 ? 4 : 16;
	unsigned __int128 a = 0, b = 0;

	for (size_t i = 0; i < size; i++) {
		a = a << 8 | p->first.b[i];
		b = b << 8 | p->last.b[i];
	}
	b -= a;
	return b >= UINT64_MAX ? UINT64_MAX : (uint64_t)b + 1;
}

uint64_t ipam_size(const struct ip_pool *pools, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t size = pool_size(&pools[i]);

		sum = sum > UINT64_MAX - size ? UINT64_MAX : sum + size;
	}
	return sum;
}

const char *ipam_key(struct ip_addr a, char buf[static IPAM_KEY_SIZE])
{
	hex_of(a.b, a.family == IP_V4 ? 4 : 16, buf);
	return buf;
}

int ipam_of_key(struct str key, uint8_t family, struct ip_addr *ret)
{
	struct ip_addr a = { .family = family };
	int rc = str_from_hex(key, a.b, family == IP_V4 ? 4 : 16);

	if (rc == 0)
		*ret = a;
	return rc;
}

struct ip_addr ipam_eui64(struct ip_cidr prefix, struct mac mac)
{
	struct ip_addr a = cidr_network(prefix);
	const uint8_t id[8] = { mac.b[0] ^ 2, mac.b[1], mac.b[2], 0xff,
				0xfe,	      mac.b[3], mac.b[4], mac.b[5] };

	for (size_t i = 0; i < sizeof(id); i++)
		a.b[8 + i] = id[i];
	return a;
}
