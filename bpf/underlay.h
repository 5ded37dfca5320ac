/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_UNDERLAY_H
#define DEMARC_BPF_UNDERLAY_H

/*
 * What routers between the ends of a tunnel say about its size: RFC 1191, RFC 8201. The ends are this host's addresses, but no socket of it has sent what
 * the router speaks of, so its stack learns nothing. Nobody proves that he is on the way; so what is said has to be about a packet that a
 * tunnel may have sent, counts down to what every link must carry, and is forgotten (encap_mtu()).
 */

#include "encap.h"
#include "maps_def.h"
#include "parse.h"
#include "tunnel_parse.h"

#define MTU4_MIN 576 /* every host takes as much: RFC 791 section 3.1 */
#define MTU6_MIN 1280

/* An error, and the packet in it, whose addresses are in p->buf. */
struct told {
	__u32 mtu, size; /* that fits, of the packet */
	__u32 ifindex;
	__u16 vlan;
	__u16 dport; /* UDP */
	__u8 family, proto;
};

/* Routers from before RFC 1191 do not say how much fits: the next lower size of its section 7.1. */
static __always_inline __u32 told_plateau(__u32 size)
{
	if (size > 8166)
		return 8166;
	if (size > 4352)
		return 4352;
	if (size > 2002)
		return 2002;
	return size > 1492 ? 1492 : size > 1006 ? 1006 : MTU4_MIN;
}

/* The packet in the error is one that a tunnel sends: not in fragments, its checksum is 0 (UDP). */
static __always_inline int told_quote(ctx_t *ctx, struct pkt *p, __u32 at, struct told *u)
{
	__u32 head = u->family == 6 ? 40 : 20;
	__u8 *b = p->outer;

	if (u->family == 6) {
		if (ctx_load(ctx, at, b, 40) < 0 || b[0] >> 4 != 6)
			return -1;
		u->size = load16(b + 4) + 40u;
		u->proto = b[6];
		__builtin_memcpy(p->buf, b + 8, 32);
	} else {
		if (ctx_load(ctx, at, b, 20) < 0 || b[0] != 0x45 || load16(b + 6) != 0x4000)
			return -1;
		u->size = load16(b + 2);
		u->proto = b[9];
		__builtin_memcpy(p->buf, b + 12, 8);
	}
	if (u->proto != PROTO_UDP)
		return u->proto == PROTO_GRE ? 0 : -1;
	if (ctx_load(ctx, at + head, b, 8) < 0 || load16(b) < 0xc000 || load16(b + 6))
		return -1;
	u->dport = load16(b + 2);
	return 0;
}

static __always_inline int told_is_about(struct pkt *p, const struct encap_rec *e, const struct told *u)
{
	const __u8 *l4 = e->hdr + ENCAP_IP + (e->family == 6 ? 40 : 20);
	__u8 diff = 0;

	if (e->ifindex != u->ifindex || e->vlan != u->vlan || e->family != u->family)
		return 0;
	if (e->family == 6)
		for (int i = 0; i < 32; i++)
			diff |= e->hdr[ENCAP_IP + 8 + i] ^ p->buf[i];
	else
		for (int i = 0; i < 8; i++)
			diff |= e->hdr[ENCAP_IP + 12 + i] ^ p->buf[i];
	if (diff || u->size > e->mtu_link + e->size)
		return 0;
	if (u->proto == PROTO_GRE)
		return e->flags & ENCAP_GRE;
	return (e->flags & ENCAP_UDP) && load16(l4 + 2) == u->dport;
}

/* All tunnels between the two ends take the same way. */
static long told_slot(__u32 i, struct told *u)
{
	struct encap_rec *e = bpf_map_lookup_elem(&encaps, &i);
	struct pkt *p = pkt_get();
	__u32 mtu;

	if (!e || !p || !told_is_about(p, e, u))
		return 0;
	mtu = u->mtu - e->size;
	if (mtu > encap_mtu(e))
		return 0;
	e->lowered = (__u32)bpf_jiffies64();
	e->mtu = (__u16)mtu;
	return 0;
}

/* "Fragmentation needed" or "packet too big" to an address where tunnels end, whose headers are in p->tunnel. One for each jiffy and CPU. */
__noinline int underlay_told(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct told u = {};
	__u8 b[8];

	if (!p || p->told_jiffies == bpf_jiffies64() || ctx_load(ctx, p->tunnel.l4, b, 8) < 0)
		return 0;
	u.family = p->tunnel.key.family;
	u.ifindex = ctx->ifindex;
	u.vlan = ctx_vlan(ctx);
	if (u.family == 6 ? b[0] != 2 || b[1] : b[0] != 3 || b[1] != 4)
		return 0;
	u.mtu = u.family == 6 ? load32(b + 4) : load16(b + 6);
	if (told_quote(ctx, p, p->tunnel.l4 + 8u, &u) < 0)
		return 0;
	if (u.family == 4 && !u.mtu)
		u.mtu = told_plateau(u.size);
	if (u.mtu >= u.size) /* it would have fitted */
		return 0;
	if (u.mtu < (u.family == 6 ? MTU6_MIN : MTU4_MIN))
		u.mtu = u.family == 6 ? MTU6_MIN : MTU4_MIN;
	p->told_jiffies = bpf_jiffies64();
	bpf_loop(ABI_ENCAPS, told_slot, &u, 0);
	return 0;
}

#endif
