/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_NAT_REWRITE_H
#define DEMARC_BPF_NAT_REWRITE_H

/*
 * What a record says about addresses and ports, done to a packet. Checksums are corrected by differences (RFC 1624), so that one that
 * is left to the hardware stays so, and a wrong one stays wrong.
 */

#include "maps_def.h"
#include "partner.h"

static __always_inline __u32 l4_sum_at(__u8 proto)
{
	return proto == PROTO_TCP ? 16 : proto == PROTO_UDP ? 6 : 2;
}

/* The pseudo header is part of it. */
static __always_inline int l4_sums_addresses(__u8 proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_ICMPV6;
}

/* Where the L4 header is, and what: the parser knows unless fast_parse() took the packet. 0: there is none. */
static __always_inline __u32 nat_l4(const struct pkt *p, __u8 *proto, int plain, __u32 at)
{
	if (plain && (*proto == PROTO_TCP || *proto == PROTO_UDP))
		return at;
	*proto = p->key.proto;
	return p->frag == FRAG_LATER ? 0 : p->l4_off;
}

/* An ICMP query's identifier is the port of who asks. */
static __always_inline int nat_asks(__u8 type)
{
	return type == 8 || type == 13 || type == 15 || type == 17 || type == 128;
}

/* `ports` as in the first 4 bytes of TCP and UDP. */
static __always_inline __u32 nat_ports(__u32 ports, const struct flow_rec *f)
{
	__u16 b[2];

	__builtin_memcpy(b, &ports, 4);
	if (f->flags & FLOW_NAT_SRC)
		b[0] = f->nat_port;
	if (nat_is_both(f->flags))
		b[1] = (__u16)f->nat_addr[2];
	else if (f->flags & FLOW_NAT_DST)
		b[1] = f->nat_port;
	__builtin_memcpy(&ports, b, 4);
	return ports;
}

static __always_inline int nat_ports_rewrite(ctx_t *ctx, const struct flow_rec *f, __u32 l4,
					     __u32 at, __u64 flags)
{
	__u32 from, to;

	if (ctx_load(ctx, l4, &from, 4) < 0)
		return -1;
	to = nat_ports(from, f);
	if (from == to)
		return 0;
	if (ctx_l4_sum(ctx, at, from, to, 4 | flags) < 0)
		return -1;
	return ctx_store(ctx, l4, &to, 4);
}

static __always_inline int nat_id_rewrite(ctx_t *ctx, const struct flow_rec *f, __u32 l4, __u8 type)
{
	__u16 side = nat_asks(type) ? FLOW_NAT_SRC : FLOW_NAT_DST, from, to = f->nat_port;

	if (!(f->flags & side))
		return 0;
	if (nat_is_both(f->flags) && side == FLOW_NAT_DST)
		to = (__u16)f->nat_addr[2];
	if (ctx_load(ctx, l4 + 4, &from, 2) < 0)
		return -1;
	if (from == to)
		return 0;
	if (ctx_l4_sum(ctx, l4 + 2, from, to, 2) < 0)
		return -1;
	return ctx_store(ctx, l4 + 4, &to, 2);
}

/* `diff`: by how much the addresses have grown. */
static __always_inline int nat_l4_rewrite(ctx_t *ctx, const struct flow_rec *f, __u8 proto,
					  __u32 l4, __u32 diff)
{
	/* A UDP checksum of 0 is none: RFC 768, RFC 6935. */
	__u64 flags = proto == PROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 at = l4 + l4_sum_at(proto);
	struct pkt *p = pkt_get();

	if (l4_sums_addresses(proto) && ctx_l4_sum(ctx, at, 0, diff, BPF_F_PSEUDO_HDR | flags) < 0)
		return -1;
	if (proto == PROTO_TCP || proto == PROTO_UDP)
		return nat_ports_rewrite(ctx, f, l4, at, flags);
	if (!p || p->icmp != ICMP_QUERY)
		return 0;
	return nat_id_rewrite(ctx, f, l4, p->icmp_type);
}

static __always_inline int nat_rewrite4(ctx_t *ctx, const struct flow_rec *f, __u32 l3)
{
	__u32 w[5], diff, l4, src, dst;
	__u16 *half = (__u16 *)w;
	struct pkt *p = pkt_get();
	__u8 proto;

	if (!p || ctx_load(ctx, l3, w, sizeof(w)) < 0)
		return -1;
	proto = ((__u8 *)w)[9];
	l4 = nat_l4(p, &proto, ((__u8 *)w)[0] == 0x45 && !(half[3] & bpf_htons(0x3fff)), l3 + 20);
	src = f->flags & FLOW_NAT_SRC ? f->nat_addr[0] : w[3];
	dst = !(f->flags & FLOW_NAT_DST) ? w[4] : f->nat_addr[nat_is_both(f->flags)];
	diff = sum_fold32((__u64)~w[3] + src + (__u64)(__u32)~w[4] + dst);
	half[5] = ~sum_fold16((__u16)~half[5] + (__u32)sum_fold16(diff));
	w[3] = src;
	w[4] = dst;
	if (ctx_store(ctx, l3 + 10, half + 5, 10) < 0)
		return -1;
	return l4 ? nat_l4_rewrite(ctx, f, proto, l4, diff) : 0;
}

static __always_inline int nat_rewrite6(ctx_t *ctx, const struct flow_rec *f, __u32 l3)
{
	__u32 w[10], l4, src = f->flags & FLOW_NAT_SRC;
	struct pkt *p = pkt_get();
	__u64 sum = 0;
	__u8 proto;

	if (!p || ctx_load(ctx, l3, w, sizeof(w)) < 0)
		return -1;
	proto = ((__u8 *)w)[6];
	l4 = nat_l4(p, &proto, 1, l3 + 40);
	for (int i = 0; i < 4; i++) {
		__u32 to = f->nat_addr[i];

		sum += (__u64)(__u32) ~(src ? w[2 + i] : w[6 + i]) + to;
		w[2 + i] = src ? to : w[2 + i];
		w[6 + i] = src ? w[6 + i] : to;
	}
	if (ctx_store_unsummed(ctx, l3 + 8, w + 2, 32) < 0)
		return -1;
	return l4 ? nat_l4_rewrite(ctx, f, proto, l4, sum_fold32(sum)) : 0;
}

/* A packet of the flow of f, either family, whose IP header is at l3. < 0: it can not be changed. */
static __noinline int nat_rewrite(ctx_t *ctx, const struct flow_rec *f, __u32 l3)
{
	__u8 type[2];

	if (ctx_load(ctx, l3 - 2, type, 2) < 0)
		return -1;
	return type[0] == 0x08 ? nat_rewrite4(ctx, f, l3) : nat_rewrite6(ctx, f, l3);
}

#ifndef HOOK_XDP

/* ---- ICMP errors: RFC 5508 section 4 ---- */

/*
 * n bytes at `off` become p->buf[0..n-1]; p->nat_diff grows by the difference. Returns 1 when the packet ends before. n is 2, 4 or 16.
 */
static __always_inline int nat_patch(ctx_t *ctx, struct pkt *p, __u32 off, __u32 n)
{
	__s64 diff;
	__u32 was[4] = {};

	if (ctx_load(ctx, off, was, n) < 0)
		return 1;
	if (n < 4) { /* bpf_csum_diff() takes words */
		__builtin_memset(p->buf + n, 0, 4 - n);
		diff = bpf_csum_diff(was, 4, (__be32 *)p->buf, 4, p->nat_diff);
	} else {
		diff = bpf_csum_diff(was, n, (__be32 *)p->buf, n, p->nat_diff);
	}
	p->nat_diff = (__u32)diff;
	return bpf_skb_store_bytes(ctx, off, p->buf, n,
				   p->key.family == 6 ? BPF_F_RECOMPUTE_CSUM : 0) < 0 ?
		       -1 :
		       0;
}

/* Adds `diff` to the checksum at `off` inside the quoted packet, if the quote has it. */
__noinline int nat_patch_sum(ctx_t *ctx, __u32 off, __u32 diff, __u32 udp)
{
	struct pkt *p = stage_begin(ctx);
	__u16 was, now;

	if (!p)
		return -1;
	if (ctx_load(ctx, off, &was, 2) < 0 || (udp && !was))
		return 0;
	now = ~sum_fold16((__u16)~was + (__u32)sum_fold16(diff));
	if (udp && !now)
		now = 0xffff;
	__builtin_memcpy(p->buf, &now, 2);
	return nat_patch(ctx, p, off, 2) < 0 ? -1 : 0;
}

/* One address of the IP header at `off` becomes that of p->nat; IPv4's header checksum with it. `which`: enum flow_flag of p->nat. */
__noinline int nat_patch_addr(ctx_t *ctx, __u32 l3, __u32 dst, __u32 which)
{
	struct pkt *p = stage_begin(ctx);
	__u32 had, n;
	int v;

	if (!p)
		return -1;
	had = p->nat_diff;
	p->nat_diff = 0;
	if (p->key.family == 6) {
		for (int i = 0; i < 4; i++)
			((__u32 *)p->buf)[i] = p->nat.addr[i];
		v = nat_patch(ctx, p, l3 + (dst ? 24 : 8), 16);
	} else {
		n = which == FLOW_NAT_DST && nat_is_both(p->nat.flags);
		*(__u32 *)p->buf = p->nat.addr[n & 1];
		v = nat_patch(ctx, p, l3 + (dst ? 16 : 12), 4);
	}
	p->nat_grown = p->nat_diff;
	p->nat_diff = sum_fold32((__u64)had + p->nat_grown);
	if (v)
		return -1;
	return p->key.family == 6 ? 0 : nat_patch_sum(ctx, l3 + 10, p->nat_grown, 0);
}

/* One port, or the identifier, of the quoted packet. */
__noinline int nat_patch_port(ctx_t *ctx, __u32 dst, __u32 which)
{
	struct pkt *p = stage_begin(ctx);
	__u32 off, had;
	__u16 port;
	__u8 type;

	if (!p)
		return -1;
	off = p->inner_l4;
	port = which == FLOW_NAT_DST && nat_is_both(p->nat.flags) ? (__u16)p->nat.addr[2] : p->nat.port;
	if (p->inner.proto == PROTO_ICMP || p->inner.proto == PROTO_ICMPV6) {
		if (ctx_load(ctx, off, &type, 1) < 0 || nat_asks(type) == !!dst)
			return 0;
		off += 4;
	} else if (p->inner.proto == PROTO_TCP || p->inner.proto == PROTO_UDP) {
		off += dst ? 2 : 0;
	} else {
		return 0;
	}
	had = p->nat_diff;
	p->nat_diff = 0;
	__builtin_memcpy(p->buf, &port, 2);
	if (nat_patch(ctx, p, off, 2))
		return -1;
	p->nat_grown = sum_fold32((__u64)p->nat_grown + p->nat_diff);
	p->nat_diff = sum_fold32((__u64)had + p->nat_diff);
	return 0;
}

/* One end of the quoted packet, which went the other way: its source is what the record does to destinations. */
static __always_inline int nat_patch_inner(ctx_t *ctx, struct pkt *p, __u32 which)
{
	__u32 dst = which == FLOW_NAT_SRC, sum;
	__u8 proto = p->inner.proto;
	__u32 l4 = p->inner_l4;

	if (nat_patch_addr(ctx, p->l4_off + 8u, dst, which) < 0)
		return -1;
	if (!l4)
		return 0;
	if (!l4_sums_addresses(proto))
		p->nat_grown = 0;
	if (nat_patch_port(ctx, dst, which) < 0)
		return -1;
	if (proto != PROTO_TCP && proto != PROTO_UDP && proto != PROTO_ICMP && proto != PROTO_ICMPV6)
		return 0;
	sum = p->nat_grown;
	return nat_patch_sum(ctx, l4 + l4_sum_at(proto), sum, proto == PROTO_UDP);
}

/* p->nat is of the record that the reply to the quoted packet would have. The error comes from, or goes to, who has the address now. */
__noinline int nat_error(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	int v6;

	if (!p)
		return -1;
	v6 = p->key.family == 6;
	p->nat_diff = 0;
	if ((p->nat.flags & FLOW_NAT_DST) && nat_patch_inner(ctx, p, FLOW_NAT_DST) < 0)
		return -1;
	if ((p->nat.flags & FLOW_NAT_SRC) && nat_patch_inner(ctx, p, FLOW_NAT_SRC) < 0)
		return -1;
	if (v6) { /* the pseudo header of the error itself */
		if ((p->nat.flags & FLOW_NAT_DST) && nat_patch_addr(ctx, ETH_SIZE, 1, FLOW_NAT_DST) < 0)
			return -1;
		if ((p->nat.flags & FLOW_NAT_SRC) && nat_patch_addr(ctx, ETH_SIZE, 0, FLOW_NAT_SRC) < 0)
			return -1;
		return bpf_l4_csum_replace(ctx, p->l4_off + 2u, 0, p->nat_diff, BPF_F_PSEUDO_HDR) < 0;
	}
	if (bpf_l4_csum_replace(ctx, p->l4_off + 2u, 0, p->nat_diff, 0) < 0)
		return -1;
	if ((p->nat.flags & FLOW_NAT_DST) && nat_patch_addr(ctx, ETH_SIZE, 1, FLOW_NAT_DST) < 0)
		return -1;
	return p->nat.flags & FLOW_NAT_SRC ? nat_patch_addr(ctx, ETH_SIZE, 0, FLOW_NAT_SRC) : 0;
}

#endif
#endif
