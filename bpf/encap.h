/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_ENCAP_H
#define DEMARC_BPF_ENCAP_H

/*
 * Putting an outer header in front of a frame: one copy of a prebuilt template, of which lengths, ECN, checksum and source port
 * are filled in by offsets, whatever the encapsulation. Source: RFC 6040 (ECN), RFC 6864 (identification), RFC 6438 (flow label).
 */

#include "maps_def.h"
#include "vlan.h"

#define TCP_MSS_OPTION 2
#define TCP_OPTIONS_MAX 20
#define PTB4_QUOTE 28 /* IP header and 64 bits: RFC 792 */
#define PTB6_QUOTE                                                                                 \
	96 /* RFC 4443 asks for as much as fits in 1280 bytes; the transport header is what is needed */

static __always_inline void store16(__u8 *b, __u32 v)
{
	b[0] = (__u8)(v >> 8);
	b[1] = (__u8)v;
}

static __always_inline __u32 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* TOS or traffic class of the IP packet in the frame at `eth`; 0 for others. */
static __always_inline __u8 inner_tos(ctx_t *ctx, __u32 eth)
{
	__u8 b[4];

	if (ctx_load(ctx, eth + 12, b, 4) < 0)
		return 0;
	if (b[0] == 0x08 && b[1] == 0)
		return b[3];
	if (b[0] == 0x86 && b[1] == 0xdd)
		return (__u8)(b[2] << 4 | b[3] >> 4);
	return 0;
}

/* `total`: bytes of the outer IP packet. A segmentation offload packet is cut later, by who then sets the lengths. */
static __always_inline void encap_patch(__u8 *b, const struct encap_rec *e, __u32 total, __u32 tos,
					__u32 entropy)
{
	__u32 l4 = ENCAP_IP + 20;

	if (!e->family)
		return;
	if (!(e->flags & ENCAP_TOS))
		tos &= 3;
	if (total > 0xffff)
		total = 0xffff;
	if (e->family == 4) {
		store16(b + ENCAP_IP + 2, total);
		b[ENCAP_IP + 1] |= (__u8)tos;
		store16(b + ENCAP_IP + 10, ~fold(e->sum + total + tos));
	} else {
		l4 = ENCAP_IP + 40;
		b[ENCAP_IP] |= (__u8)(tos >> 4);
		b[ENCAP_IP + 1] |= (__u8)(tos << 4);
		store16(b + ENCAP_IP + 2, entropy);
		store16(b + ENCAP_IP + 4, total - 40);
	}
	if (e->flags & ENCAP_UDP) {
		store16(b + l4, 0xc000 | (entropy & 0x3fff));
		store16(b + l4 + 4, total - (l4 - ENCAP_IP));
	}
}

#ifndef HOOK_XDP

#define PMTU_S 600 /* RFC 1191 section 6.3, RFC 8201 section 4: then a larger packet tries again */

/* What a router said is looked at again when a packet is larger, and when a connection opens. */
static __always_inline __u32 encap_mtu(struct encap_rec *e)
{
	if (e->mtu != e->mtu_link &&
	    (__s32)((__u32)bpf_jiffies64() - e->lowered) > (__s32)(PMTU_S * dp_globals.hz))
		e->mtu = e->mtu_link;
	return e->mtu;
}

/* Read once: clang would keep the field's address instead of its value. 0: no segmentation offload packet. */
static __always_inline __u32 gso_size(ctx_t *ctx)
{
	__u32 gso = ctx->gso_size;

	__asm__ volatile("" : "+r"(gso));
	return gso;
}

/*
 * Bytes of the largest IP packet that the frame is on a wire, as far as nobody can make it smaller; 0: TCP, whose segments are cut to fit.
 * Datagrams of a UDP segmentation offload packet have a size that their sender chose.
 */
static __always_inline __u32 wire_size(ctx_t *ctx, __u32 gso)
{
	__u8 b[12];

	if (!gso)
		return ctx->len - ETH_SIZE;
	if (ctx_load(ctx, 12, b, 12) < 0)
		return 0;
	if (b[0] == 0x08 && b[11] == PROTO_UDP)
		return (b[2] & 0xf) * 4u + 8 + gso;
	if (b[0] == 0x86 && b[8] == PROTO_UDP)
		return 40 + 8 + gso;
	return 0;
}

/* As wire_size(), of a TCP segment: those of an offload packet fit where its sender knows the link, but not where a router has said less. */
static __always_inline __u32 segment_size(ctx_t *ctx, __u32 gso)
{
	__u8 b[3], off;
	__u32 head = 40;

	if (ctx_load(ctx, 12, b, 3) < 0)
		return 0;
	if (b[0] == 0x08)
		head = (b[2] & 0xf) * 4u;
	if (ctx_load(ctx, ETH_SIZE + head + 12, &off, 1) < 0)
		return 0;
	return head + (off >> 4) * 4u + gso;
}

/* 1: the frame, of wire_size() `wire`, does not fit into the tunnel. */
static __always_inline int encap_over(ctx_t *ctx, struct encap_rec *e, __u32 gso, __u32 wire)
{
	if (!wire && e->mtu != e->mtu_link)
		wire = segment_size(ctx, gso);
	return wire > e->mtu && wire > encap_mtu(e);
}

/*
 * Room of `size` bytes in front. A segmentation offload packet has to know what it is from now on. Without an outer IP header there is
 * nothing to know: the kernel copies all that is before the inner one in front of each segment, as a long MAC header.
 * fixed: its segments keep their size; the kernel takes UDP no other way.
 */
static __always_inline int encap_room(ctx_t *ctx, const struct encap_rec *e, __u32 size, int fixed)
{
	__u64 flags = BPF_F_ADJ_ROOM_ENCAP_L2(ETH_SIZE) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH;
	__u8 eth[ETH_SIZE];

	if (!ctx->gso_size || !e->family)
		return (int)bpf_skb_change_head(ctx, size, 0);
	flags |= e->family == 4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
	flags |= e->flags & ENCAP_UDP ? BPF_F_ADJ_ROOM_ENCAP_L4_UDP : BPF_F_ADJ_ROOM_ENCAP_L4_GRE;
	if (fixed || ctx->gso_size + 100u <= e->mtu)
		flags |= BPF_F_ADJ_ROOM_FIXED_GSO;
	if (ctx_load(ctx, 0, eth, ETH_SIZE) < 0)
		return -1;
	if (bpf_skb_adjust_room(ctx, (int)size, BPF_ADJ_ROOM_MAC, flags))
		return -1;
	return ctx_store(ctx, size, eth, ETH_SIZE);
}

/* 1: the frame does not fit into the tunnel of `slot`. */
__noinline int encap_too_big(ctx_t *ctx, __u32 slot)
{
	struct encap_rec *e = bpf_map_lookup_elem(&encaps, &slot);
	__u32 gso = gso_size(ctx);

	return e && encap_over(ctx, e, gso, wire_size(ctx, gso));
}

/* Sends the untagged frame through the tunnel of `slot`. Returns what the program returns, or -enum drop_reason. */
__noinline int encap_send(ctx_t *ctx, __u32 slot, __u32 entropy)
{
	struct pkt *p = stage_begin(ctx);
	struct encap_rec *e = bpf_map_lookup_elem(&encaps, &slot);
	__u32 size, total, gso, wire;

	if (!p || !e || !e->ifindex)
		return -DROP_NO_OUTPUT;
	gso = gso_size(ctx);
	wire = wire_size(ctx, gso);
	if (encap_over(ctx, e, gso, wire))
		return -DROP_MTU;
	if (!e->family && gso + 40u > e->mtu) /* nobody would make its segments smaller */
		return -DROP_MTU;
	size = e->size;
	if (size < ABI_ENCAP_MIN || size > ABI_ENCAP_MAX)
		return -DROP_INTERNAL;
	total = ctx->len + size - ENCAP_IP;
	__builtin_memcpy(p->outer, e->hdr, ABI_ENCAP_MAX);
	encap_patch(p->outer, e, total, inner_tos(ctx, 0), entropy);
	if (encap_room(ctx, e, size, wire != 0) < 0)
		return -DROP_REDIRECT;
	__asm__ volatile("" : "+r"(size));
	if (size < ABI_ENCAP_MIN || size > ABI_ENCAP_MAX || ctx_store(ctx, 0, p->outer, size) < 0)
		return -DROP_REDIRECT;
	if (e->vlan && bpf_skb_vlan_push(ctx, bpf_htons(VLAN_TPID_CUSTOMER), e->vlan) < 0)
		return -DROP_REDIRECT;
	return (int)bpf_redirect(e->ifindex, 0);
}

/* ---- MTU ---- */

/* A SYN asks for segments that the tunnel carries whole: RFC 9293 section 3.7.1, RFC 4821. */
__noinline int mss_clamp(ctx_t *ctx, __u32 slot)
{
	struct encap_rec *e = bpf_map_lookup_elem(&encaps, &slot);
	__u32 off, end, mss, was;
	__u8 b[4];

	if (!e || ctx_load(ctx, 12, b, 3) < 0)
		return 0;
	if (b[0] == 0x08)
		off = ETH_SIZE + (b[2] & 0xf) * 4u;
	else
		off = ETH_SIZE + 40;
	mss = encap_mtu(e) - (b[0] == 0x08 ? 40 : 60);
	if (ctx_load(ctx, off + 12, b, 2) < 0 || !(b[1] & TCP_SYN))
		return 0;
	end = off + (b[0] >> 4) * 4u;
	for (__u32 i = off + 20, n = 0; n < TCP_OPTIONS_MAX && i + 4 <= end; n++) {
		if (ctx_load(ctx, i, b, 4) < 0 || !b[0])
			return 0;
		if (b[0] == TCP_MSS_OPTION && b[1] == 4) {
			was = (__u32)(b[2] << 8 | b[3]);
			if (was <= mss)
				return 0;
			bpf_l4_csum_replace(ctx, off + 16, bpf_htons((__u16)was),
					    bpf_htons((__u16)mss), 2);
			store16(b + 2, mss);
			ctx_store(ctx, i + 2, b + 2, 2);
			return 1;
		}
		if (b[0] != 1 && b[1] < 2)
			return 0;
		i += b[0] == 1 ? 1u : b[1];
	}
	return 0;
}

/* The kernel adds: clang would unroll a loop and spill what it loaded onto a stack that 6.1 has no room for. n: by 4. */
static __always_inline __u32 sum_bytes(__u8 *b, __u32 n)
{
	return bpf_ntohs((__u16)fold((__u32)bpf_csum_diff(0, 0, (__be32 *)b, n, 0)));
}

/* The answer is from whom the packet was for, as from a router on the way: b holds 14 + 20 + 8 + 28 bytes. */
static __always_inline int ptb4(ctx_t *ctx, __u8 *b, __u32 mtu)
{
	__u8 *ip = b + ETH_SIZE, *icmp = ip + 20;

	if (ctx_load(ctx, ETH_SIZE, icmp + 8, PTB4_QUOTE) < 0)
		return -1;
	if ((icmp[8] & 0xf) != 5 || !(icmp[8 + 6] & 0x40)) /* may be fragmented: then it is only dropped */
		return -1;
	__builtin_memset(ip, 0, 28);
	ip[0] = 0x45;
	store16(ip + 2, 20 + 8 + PTB4_QUOTE);
	ip[8] = 64;
	ip[9] = PROTO_ICMP;
	__builtin_memcpy(ip + 12, icmp + 8 + 16, 4);
	__builtin_memcpy(ip + 16, icmp + 8 + 12, 4);
	store16(ip + 10, ~fold(sum_bytes(ip, 20)));
	icmp[0] = 3; /* RFC 1191: fragmentation needed */
	icmp[1] = 4;
	store16(icmp + 6, mtu);
	store16(icmp + 2, ~fold(fold(sum_bytes(icmp, 8 + PTB4_QUOTE))));
	return ETH_SIZE + 20 + 8 + PTB4_QUOTE;
}

static __always_inline int ptb6(ctx_t *ctx, __u8 *b, __u32 mtu)
{
	__u8 *ip = b + ETH_SIZE, *icmp = ip + 40;
	__u32 sum;

	if (ctx_load(ctx, ETH_SIZE, icmp + 8, PTB6_QUOTE) < 0)
		return -1;
	__builtin_memset(ip, 0, 48);
	ip[0] = 0x60;
	store16(ip + 4, 8 + PTB6_QUOTE);
	ip[6] = PROTO_ICMPV6;
	ip[7] = 64;
	__builtin_memcpy(ip + 8, icmp + 8 + 24, 16);
	__builtin_memcpy(ip + 24, icmp + 8 + 8, 16);
	icmp[0] = 2; /* RFC 4443 section 3.2 */
	store16(icmp + 6, mtu);
	sum = sum_bytes(ip + 8, 32) + 8 + PTB6_QUOTE + PROTO_ICMPV6;
	store16(icmp + 2, ~fold(fold(sum + sum_bytes(icmp, 8 + PTB6_QUOTE))));
	return ETH_SIZE + 40 + 8 + PTB6_QUOTE;
}

#define ANEW_CUT 512 /* a packet whose checksum is further behind gets no answer */

/*
 * The frame becomes one of `size` bytes for an answer to be written into, and the kernel forgets that the sender left a checksum to the hardware
 * (CHECKSUM_PARTIAL): what sends the answer would finish it where it was, in the middle of the answer. It does so when that place
 * is cut off in front (skb_postpull_rcsum()); before Linux 6.2 only with the next cut.
 */
__noinline int frame_anew(ctx_t *ctx, __u32 size)
{
	if (bpf_skb_change_tail(ctx, ANEW_CUT, 0) < 0 ||
	    bpf_skb_change_tail(ctx, size + ANEW_CUT + 4, 0) < 0)
		return -1;
	if (bpf_skb_adjust_room(ctx, -ANEW_CUT, BPF_ADJ_ROOM_MAC, 0) < 0)
		return -1;
	return (int)bpf_skb_adjust_room(ctx, -4, BPF_ADJ_ROOM_MAC, 0);
}

/* Turns the frame into "packet too big" for its sender; one for each jiffy and CPU. Size of the answer, or < 0. */
__noinline int too_big_build(ctx_t *ctx, __u32 mtu)
{
	struct pkt *p = stage_begin(ctx);
	__u8 *b;
	int size;

	if (!p || p->ptb_jiffies == bpf_jiffies64())
		return -1;
	b = p->outer;
	if (ctx_load(ctx, 6, b, 6) < 0 || ctx_load(ctx, 0, b + 6, 6) < 0 ||
	    ctx_load(ctx, 12, b + 12, 2) < 0)
		return -1;
	size = b[12] == 0x08 ? ptb4(ctx, b, mtu) : b[12] == 0x86 ? ptb6(ctx, b, mtu) : -1;
	if (size < 0 || frame_anew(ctx, (__u32)size) < 0)
		return -1;
	p->ptb_jiffies = bpf_jiffies64();
	if (size == ETH_SIZE + 48 + PTB6_QUOTE)
		return ctx_store(ctx, 0, b, ETH_SIZE + 48 + PTB6_QUOTE);
	return ctx_store(ctx, 0, b, ETH_SIZE + 28 + PTB4_QUOTE);
}

/* A frame that does not fit into the tunnel of `slot`. */
__noinline int too_big(ctx_t *ctx, __u32 slot)
{
	struct encap_rec *e = bpf_map_lookup_elem(&encaps, &slot);
	struct port_key k = { .ifindex = ctx_port(ctx), .vlan = ctx_vlan(ctx) };
	struct port_rec *port = bpf_map_lookup_elem(&ports, &k);

	count_drop(DROP_MTU);
	if (!e || !port || (port->flags & PORT_TUNNEL) || too_big_build(ctx, e->mtu) < 0)
		return TC_ACT_SHOT;
	if (k.vlan && vlan_put(ctx, k.vlan) < 0)
		return TC_ACT_SHOT;
	if (port->flags & (PORT_UPLINK | PORT_NO_PEER))
		return (int)bpf_redirect(k.ifindex, 0);
	bpf_skb_change_type(ctx, PACKET_HOST);
	return (int)bpf_redirect_peer(k.ifindex, 0);
}

#endif
#endif
