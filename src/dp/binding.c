/* SPDX-License-Identifier: Apache-2.0 */

/* Addresses that hosts behind ports were given: the datapath learns them, this reads them out and puts them back. */

#include "dp/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "guard.h"

_Static_assert(DP_BINDINGS_MAX == ABI_BINDINGS, "sizes differ");

int dp_bindings_limit(struct dp *dp, uint32_t per_port, struct err *e)
{
	if (per_port > DP_BINDINGS_MAX)
		return err_set(e, FAULT_BAD_REQUEST, "max_bindings",
			       "a port has at most %d addresses", DP_BINDINGS_MAX);
	__atomic_store_n(&dp->g->bindings_max, per_port, __ATOMIC_RELAXED);
	return 0;
}

/* False: it has ended, or is the place of a MAC. */
static bool binding_of(const struct addr_key *k, const struct binding *b, uint64_t now,
		       struct dp_binding *ret)
{
	uint8_t len = (uint8_t)(k->family >> 8);

	if (k->family == BINDING_MAC || b->until_ns <= now)
		return false;
	*ret = (struct dp_binding){ .port = { (int)b->ifindex },
				    .vlan = { b->vlan },
				    .net = k->net,
				    .claimed = b->flags & BINDING_CLAIMED };
	ret->addr.addr.family = (uint8_t)k->family;
	memcpy(ret->addr.addr.b, k->ip, ret->addr.addr.family == IP_V6 ? 16 : 4);
	ret->addr.prefix_len = len ? len : ip_max_prefix(&ret->addr.addr);
	memcpy(ret->mac.b, b->mac, 6);
	ret->left_s = DP_BINDING_FOR_EVER;
	if (b->until_ns != UINT64_MAX)
		ret->left_s = (uint32_t)((b->until_ns - now) / 1000000000);
	return true;
}

int dp_bindings(struct dp *dp, struct dp_binding **ret, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_BINDINGS, sizeof(struct addr_key), &keys, e), len = 0;
	struct dp_binding *v;

	if (n < 0)
		return n;
	v = calloc((size_t)n + 1, sizeof(*v));
	if (!v)
		return err_set(e, FAULT_NO_MEMORY, NULL, "bindings");
	for (int i = 0; i < n; i++) {
		const struct addr_key *k = (struct addr_key *)keys + i;
		struct binding b;

		if (!dp_get(dp, M_BINDINGS, k, &b) && binding_of(k, &b, kernel_ns(), &v[len]))
			len++;
	}
	*ret = v;
	return len;
}

/* The MAC is held where it has an address for longest. */
static int hold(struct dp *dp, uint16_t net, const struct binding *b, struct err *e)
{
	struct addr_key k = { .net = net, .family = BINDING_MAC };
	struct binding old;

	memcpy(k.ip, b->mac, 6);
	if (!dp_get(dp, M_BINDINGS, &k, &old) && old.until_ns >= b->until_ns)
		return 0;
	return dp_put(dp, M_BINDINGS, &k, b, e);
}

int dp_binding_restore(struct dp *dp, const struct dp_binding *in, struct err *e)
{
	struct binding b = { .ifindex = (__u32)in->port.num,
			     .vlan = in->vlan.id,
			     .flags = in->claimed ? BINDING_CLAIMED : 0,
			     .until_ns = UINT64_MAX };
	struct addr_key k = { .net = in->net, .family = in->addr.addr.family };
	struct binding old;
	uint64_t now = kernel_ns();
	int r;

	if (in->addr.prefix_len != ip_max_prefix(&in->addr.addr)) {
		if (k.family != IP_V6 || !in->addr.prefix_len || in->addr.prefix_len > BINDING_PREFIX_MAX)
			return err_set(e, FAULT_BAD_REQUEST, "addr",
				       "a delegated prefix is of IPv6 and has 1 to %d bits",
				       BINDING_PREFIX_MAX);
		k.family = (__u16)BINDING_PREFIX(in->addr.prefix_len);
	}
	ip_words(&in->addr.addr, k.ip);
	memcpy(b.mac, in->mac.b, 6);
	if (in->left_s != DP_BINDING_FOR_EVER)
		b.until_ns = now + in->left_s * 1000000000ULL;
	if (!dp_get(dp, M_BINDINGS, &k, &old) && old.until_ns > now)
		return 0;
	r = dp_put(dp, M_BINDINGS, &k, &b, e);
	if (!r)
		r = hold(dp, in->net, &b, e);
	if (!r && k.family >> 8)
		__atomic_fetch_or(&dp->g->prefix_lens, 1ULL << (in->addr.prefix_len - 1),
				  __ATOMIC_RELAXED);
	return r;
}
