/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_PARTNER_H
#define DEMARC_BPF_PARTNER_H

/*
 * A connection over one segment is two records, each of which leads to the other: by its tuple as it leaves, that is after
 * translation, turned round.
 */

#include "maps_def.h"
#include "nat.h"

static __always_inline int nat_is_both(__u16 flags)
{
	return (flags & FLOW_NAT) == FLOW_NAT;
}

static __always_inline void key_set_src(struct flow_key *k, const __u32 *addr)
{
	k->addr[0] = addr[0];
	if (k->family == 6)
		for (int i = 1; i < 4; i++)
			k->addr[i] = addr[i];
}

static __always_inline void key_set_dst(struct flow_key *k, const __u32 *addr)
{
	if (k->family == 6)
		for (int i = 0; i < 4; i++)
			k->addr[i + 4] = addr[i];
	else
		k->addr[1] = addr[0];
}

/* k, which is a tuple turned round, becomes the one of its translation turned round. */
static __always_inline void key_translate_back(struct flow_key *k, const __u32 *addr, __u16 port,
					       __u16 flags)
{
	if (nat_is_both(flags)) {
		k->addr[1] = addr[0];
		k->dport = port;
		k->addr[0] = addr[1];
		k->sport = (__u16)addr[2];
	} else if (flags & FLOW_NAT_SRC) {
		key_set_dst(k, addr);
		k->dport = port;
	} else if (flags & FLOW_NAT_DST) {
		key_set_src(k, addr);
		k->sport = port;
	}
}

/* The key of the partner of f, whose key is k. */
static __always_inline void key_partner(struct flow_key *to, const struct flow_key *k,
					const struct flow_rec *f)
{
	key_reverse(to, k);
	to->ifindex = f->out;
	to->vlan = f->out_vlan;
	if (f->flags & FLOW_NAT)
		key_translate_back(to, f->nat_addr, f->nat_port, f->flags);
}

/* A translated tuple may have become another connection's since. */
static __always_inline struct flow_rec *partner_find(struct flow_key *scratch,
						     const struct flow_key *k, const struct flow_rec *f)
{
	struct flow_rec *o;

	key_partner(scratch, k, f);
	o = flow_find(scratch);
	if (o && ((f->flags | o->flags) & FLOW_NAT) && o->created_ns != f->created_ns)
		return 0;
	return o;
}

/* Addresses, ports and protocol; not the port of the datapath. */
static __always_inline int tuple_same(const struct flow_key *a, const struct flow_key *b)
{
	__u32 diff = (a->sport ^ b->sport) | (a->dport ^ b->dport) | (a->proto ^ b->proto) |
		     (a->family ^ b->family) | (a->addr[0] ^ b->addr[0]) | (a->addr[1] ^ b->addr[1]);

	if (a->family == 6)
		for (int i = 2; i < 8; i++)
			diff |= a->addr[i] ^ b->addr[i];
	return !diff;
}

#endif
