/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_WAY_H
#define DEMARC_BPF_WAY_H

/*
 * What the ports and the table of MACs said about the last first packets of each CPU. New connections between the same two stations ask them
 * once per generation, not each time: five lookups.
 *
 * A way holds for the generation that was read before anything that it was made of, and no longer, as a flow's record does: what changes
 * a port, a MAC's place or a group bumps the generation afterwards (src/dp/port.c). Of a packet it depends on nothing but what is compared:
 * port, VLAN, both MACs, and for anti-spoofing the source address. So it is for TCP and UDP only, DHCP aside: of others anti-spoofing
 * reads more. What was learned is not in it, since that ends without a bump.
 */

#include "held.h"
#include "maps_def.h"
#include "policy.h"
#include "spoof.h"

/* A packet whose anti-spoofing depends on nothing but what a way has. */
static __always_inline int way_plain(const struct pkt *p)
{
	__u16 port = p->key.sport;

	if (!p->flow || p->frag || p->trace)
		return 0;
	if (p->key.proto == PROTO_TCP)
		return 1;
	return p->key.proto == PROTO_UDP && port != DHCP_CLIENT && port != DHCP_SERVER_PORT &&
	       port != DHCP6_CLIENT && port != DHCP6_SERVER_PORT;
}

static __always_inline struct way *way_of(struct pkt *p)
{
	return &p->ways[(p->in.ifindex ^ p->dmac[5] ^ p->smac[5]) & (WAYS - 1)];
}

/* 1: it was made of what the packet would ask, and that stands. */
static __always_inline int way_holds(const struct way *w, const struct pkt *p)
{
	__u64 diff = (w->gen ^ p->gen) | (w->in.ifindex ^ p->in.ifindex) | (w->in.vlan ^ p->in.vlan);

	diff |= *(const __u64 *)w->dmac ^ *(const __u64 *)p->dmac;
	diff |= *(const __u32 *)(w->smac + 2) ^ *(const __u32 *)(p->smac + 2);
	if (!(w->port_flags & PORT_SECURITY))
		return !diff;
	diff |= (w->family ^ p->key.family) | (w->src[0] ^ p->key.addr[0]);
	if (p->key.family == 6)
		for (int i = 1; i < 4; i++)
			diff |= w->src[i] ^ p->key.addr[i];
	return !diff;
}

/* ---- what the groups of both ports said ---- */

/* Of p->looks: not in the flow's key, or not known. */
#define WAY_FICKLE (POLICY_LOOKS_KNOWN | 1 << PDIM_FLAGS | 1 << PDIM_DSCP)

/* 1: the groups of the way have allowed a connection that their rules do not tell from one that the packet opens. */
static __always_inline int way_verdict(const struct way *w, const struct pkt *p)
{
	__u32 looks = w->looks, src = 0, dst = 0, other = w->proto ^ p->key.proto;

	if (w->allowed != p->key.family)
		return 0;
	if (p->key.family == 6) {
		for (int i = 0; i < 4; i++) {
			src |= w->addr[i] ^ p->key.addr[i];
			dst |= w->addr[i + 4] ^ p->key.addr[i + 4];
		}
	} else {
		src = w->addr[0] ^ p->key.addr[0];
		dst = w->addr[1] ^ p->key.addr[1];
	}
	if (looks & 1 << PDIM_SRC)
		other |= src;
	if (looks & 1 << PDIM_DST)
		other |= dst;
	if (looks & 1 << PDIM_SPORT)
		other |= w->sport ^ p->key.sport;
	if (looks & 1 << PDIM_DPORT)
		other |= w->dport ^ p->key.dport;
	return !other;
}

/* In place of the ingress port: 1 when it is known what it would say, which is to go on. So far the output is in p->outk only. */
static __always_inline int way_begin(ctx_t *ctx, struct pkt *p)
{
	struct way *w = way_of(p);

	if (!way_plain(p) || !way_holds(w, p))
		return 0;
	if ((w->port_flags & PORT_UPLINK) && !p->in.vlan && ctx_to_host(ctx))
		return 0; /* not the network's: stage_port() knows */
	p->net = w->net;
	p->port_flags = w->port_flags;
	p->guards = w->guards;
	p->marks = w->marks;
	p->nat_in = w->nat_in;
	p->meters_of[0] = w->meters_of[0];
	p->mirrors_of[0] = w->mirrors_of[0];
	p->n_sgs[0] = w->n_sgs[0];
	__builtin_memcpy(p->sgs, w->sgs, sizeof(p->sgs));
	p->out_flags = w->out_flags;
	p->out_encap = w->out_encap;
	p->nat_out = w->nat_out;
	mac_copy(p->out_port_mac, w->out_port_mac);
	p->meters_of[1] = w->meters_of[1];
	p->mirrors_of[1] = w->mirrors_of[1];
	p->n_sgs[1] = w->n_sgs[1];
	p->outk.ifindex = w->out;
	p->outk.vlan = w->out_vlan;
	p->way = WAY_BEGUN;
	p->like_allowed = (__u8)way_verdict(w, p);
	return 1;
}

/* In place of the table of MACs and the output port. 0: they have to be asked, of a packet that is steered or translated. */
static __always_inline int way_leads(struct pkt *p)
{
	if (p->way != WAY_BEGUN || p->out || p->nat.flags)
		return 0;
	p->out = p->outk.ifindex;
	p->out_vlan = p->outk.vlan;
	p->way = WAY_LED;
	return 1;
}

/* What way_holds() compares, in short. */
static __always_inline __u32 way_short(const struct pkt *p)
{
	__u32 id = p->gen ^ p->in.ifindex ^ *(const __u32 *)(p->dmac + 2) ^
		   *(const __u32 *)(p->smac + 2) << 8;

	return p->port_flags & PORT_SECURITY ? id ^ p->key.addr[0] ^ p->key.addr[3] << 16 : id;
}

/* Written a moment ago, and good: many sources behind one port take turns, and none would find its own. */
#define WAY_HOLD(hz) ((hz) / 16)
static __always_inline int way_is_taken(const struct way *w, const struct pkt *p)
{
	return w->gen == p->gen && (__u32)p->jiffies - w->taken < WAY_HOLD(dp_globals.hz);
}

/* Both were asked, and the packet goes on. Noted the second time in a row: stations that change with each connection pay nothing for it. */
static __always_inline void way_note(struct pkt *p)
{
	struct way *w = way_of(p);
	__u32 id = way_short(p);

	if (!way_plain(p) || p->nat.flags || was_written(p))
		return;
	if (w->wanted != id) {
		w->wanted = id;
		return;
	}
	if (way_is_taken(w, p))
		return;
	w->taken = (__u32)p->jiffies;
	w->gen = 0; /* none, while it is written */
	barrier();
	w->in = p->in;
	mac_copy(w->dmac, p->dmac);
	mac_copy(w->smac, p->smac);
	w->family = p->key.family;
	__builtin_memcpy(w->src, p->key.addr, sizeof(w->src));
	w->net = p->net;
	w->port_flags = p->port_flags;
	w->guards = p->guards;
	w->marks = p->marks;
	w->nat_in = p->nat_in;
	w->out = p->out;
	w->out_vlan = p->out_vlan;
	w->out_flags = p->out_flags;
	w->out_encap = p->out_encap;
	w->nat_out = p->nat_out;
	mac_copy(w->out_port_mac, p->out_port_mac);
	for (int i = 0; i < 2; i++) {
		w->meters_of[i] = p->meters_of[i];
		w->mirrors_of[i] = p->mirrors_of[i];
		w->n_sgs[i] = p->n_sgs[i];
	}
	__builtin_memcpy(w->sgs, p->sgs, sizeof(w->sgs));
	w->allowed = 0;
	barrier();
	w->gen = p->gen;
}

/* That is so: p->rule is the rule that did. */
static __always_inline int way_allows(struct pkt *p)
{
	struct way *w = way_of(p);

	if (!p->like_allowed || p->way != WAY_LED || p->reply || p->nat.flags)
		return 0;
	p->rule = w->rule;
	p->rule_of = w->rule_of;
	return 1;
}

/* They have just allowed it, by what p->looks says. */
__noinline int way_allowed(void)
{
	struct pkt *p = pkt_get();
	struct way *w;

	if (!p || p->way != WAY_LED || p->reply || p->nat.flags || (p->looks & WAY_FICKLE))
		return 0;
	w = way_of(p);
	w->looks = p->looks;
	w->proto = p->key.proto;
	w->sport = p->key.sport;
	w->dport = p->key.dport;
	__builtin_memcpy(w->addr, p->key.addr, sizeof(w->addr));
	w->rule = p->rule;
	w->rule_of = p->rule_of;
	w->allowed = p->key.family;
	return 0;
}

#endif
