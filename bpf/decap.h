/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_DECAP_H
#define DEMARC_BPF_DECAP_H

/*
 * Frames from the far end of a tunnel: found by their outer header, stripped of it, and from then on frames of the
 * tunnel's port. What is not for a tunnel's local address is left alone.
 */

#include "encap.h"
#include "held.h"
#include "maps_def.h"
#include "tunnel_parse.h"

#if defined(__bpf__) && !defined(HOOK_XDP)
#include "underlay.h"
#endif

#define ECN_ECT1 1 /* RFC 3168 section 5 */
#define ECN_ECT0 2
#define ECN_CE 3

#ifdef __bpf__

/*
 * The inner packet learns of congestion on the way, and of ECT(1), which an L4S queue may have written (RFC 9331): RFC 6040 figure 4.
 * Returns the ECN field that it gets, 0: its own, or a drop.
 */
static __always_inline int ecn_merge(ctx_t *ctx, __u32 inner, __u8 outer_tos)
{
	__u8 b[4];
	__u8 ecn;

	if (!(outer_tos & ECN_ECT1)) /* ECT(1) or CE */
		return 0;
	if (ctx_load(ctx, inner + 12, b, 4) < 0)
		return 0;
	if (b[0] == 0x08 && b[1] == 0)
		ecn = b[3] & ECN_CE;
	else if (b[0] == 0x86 && b[1] == 0xdd)
		ecn = b[3] >> 4 & ECN_CE;
	else
		return 0;
	if ((outer_tos & ECN_CE) == ECN_CE)
		return ecn ? ECN_CE : -DROP_ECN;
	return ecn == ECN_ECT0 ? ECN_ECT1 : 0;
}

/* The IP header is at l3. */
static __noinline int ecn_mark(ctx_t *ctx, __u32 l3, __u32 ecn)
{
	__u8 b[4], was[2];

	if (ctx_load(ctx, l3 - 2, b, 4) < 0)
		return 0;
	if (b[0] == 0x86) {
		b[3] = (__u8)((b[3] & ~(ECN_CE << 4)) | ecn << 4);
		return ctx_store(ctx, l3 + 1, b + 3, 1);
	}
	was[0] = b[2];
	was[1] = b[3];
	b[3] = (__u8)((b[3] & ~ECN_CE) | ecn);
	if (ctx_l3_sum(ctx, l3 + 10, *(__u16 *)was, *(__u16 *)(b + 2)) < 0)
		return -1;
	return ctx_store(ctx, l3 + 1, b + 3, 1);
}

/* Some logical ports of OVN have a tunnel of their own beside the one to where they are: answers go where they came from. */
static __always_inline struct tunnel_rec *tunnel_of_port(struct tunnel_frame *t, struct tunnel_rec *any)
{
	struct tunnel_rec *r;

	if (t->key.type != TUNNEL_GENEVE || !t->path)
		return any;
	t->key.type = TUNNEL_OVN_PORT;
	t->key.local[0] = t->path;
	t->key.local[1] = t->key.local[2] = t->key.local[3] = 0;
	r = bpf_map_lookup_elem(&tunnels, &t->key);
	return r ? r : any;
}

static __always_inline struct tunnel_rec *tunnel_of(struct tunnel_frame *t)
{
	struct tunnel_rec *r = bpf_map_lookup_elem(&tunnels, &t->key);

	if (r)
		return tunnel_of_port(t, r);
	if (t->key.type != TUNNEL_GRE)
		return r;
	t->key.type = TUNNEL_NVGRE; /* the same header, another reading of the key */
	t->key.id >>= 8;
	return bpf_map_lookup_elem(&tunnels, &t->key);
}

/* The port of the tunnel whose frames these are, on this interface; 0: of none. */
static __always_inline __u32 tunnel_port(struct tunnel_frame *t, __u32 underlay)
{
	__u32 port = 0, writes;

#pragma nounroll
	for (int i = 0; i < 2; i++) { /* bpf/held.h */
		struct tunnel_rec *r;

		writes = writes_now();
		r = tunnel_of(t);
		port = r && r->underlay == underlay && (!r->path || r->path == t->path) ? r->port : 0;
		if (writes_now() == writes)
			break;
	}
	return port;
}

/* Does anybody here end tunnels at this address? */
static __always_inline int is_vtep(struct tunnel_frame *t)
{
	struct addr_key k = {};

	k.family = t->key.family;
	for (int i = 0; i < 4; i++)
		k.ip[i] = t->key.local[i];
	return bpf_map_lookup_elem(&vteps, &k) != 0;
}

#ifndef HOOK_XDP

/*
 * Makes the kernel take the frame for `type` (network order). bpf_skb_adjust_room() shrinks nothing but IP, and segments are cut by what the
 * kernel takes a packet for; no helper says so directly. But taking a tag out of a frame makes the kernel read what follows
 * it (vlan_set_encap_proto()): so a tag goes in, the type is written behind it, and it comes out again.
 */
__noinline int call_it(ctx_t *ctx, __u32 type)
{
	__u16 tag = bpf_htons(VLAN_TPID_CUSTOMER), is = (__u16)type;

	/* The first one goes into the frame when the second one is put beside it. */
	if (bpf_skb_vlan_push(ctx, tag, 1) < 0 || bpf_skb_vlan_push(ctx, tag, 1) < 0)
		return -1;
	if (ctx_store(ctx, 16, &is, 2) < 0 || bpf_skb_vlan_pop(ctx) < 0 || bpf_skb_vlan_pop(ctx) < 0)
		return -1;
	return ctx->protocol == is ? 0 : -1;
}

/*
 * A segmentation offload packet of IPv6 out of an IPv4 tunnel, or the other way round. Datagrams that come whole through UDP are lost: the
 * kernel goes on taking the packet for a tunnel's (SKB_GSO_UDP_TUNNEL, which no helper takes away), and would look for its
 * header in front of each datagram. A wire brings none: only a virtual underlay that offloads segmentation of tunnels.
 */
static __always_inline int set_inner(ctx_t *ctx, const struct tunnel_frame *t)
{
	__u8 b[12];
	__u16 type;

	if (!ctx->gso_size)
		return 0;
	if (ctx_load(ctx, 12, b, 12) < 0)
		return -1;
	if (t->proto == PROTO_UDP && (b[0] == 0x08 ? b[11] : b[8]) == PROTO_UDP)
		return -1;
	__builtin_memcpy(&type, b, 2);
	return ctx->protocol == type ? 0 : call_it(ctx, type);
}

/* Removes `size` bytes in front. The kernel wants a whole outer IP header to be left: small frames are longer for a moment. */
static __always_inline int strip(ctx_t *ctx, __u32 size)
{
	__u8 eth[ETH_SIZE];
	__u32 len = ctx->len, left = len - size - ETH_SIZE, pad = left < 40 ? 40 - left : 0;

	if (ctx_load(ctx, size, eth, ETH_SIZE) < 0)
		return -1;
	if (pad && bpf_skb_change_tail(ctx, len + pad, 0) < 0)
		return -1;
	if (bpf_skb_adjust_room(ctx, -(int)size, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO) < 0)
		return -1;
	if (pad && bpf_skb_change_tail(ctx, len - size, 0) < 0)
		return -1;
	return ctx_store(ctx, 0, eth, ETH_SIZE);
}

/* The number of the tunnel's port, after its header is gone; 0: no tunnel's frame; -enum drop_reason. */
__noinline int decap(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct tunnel_frame *t;
	__u32 port;
	int v, mark;

	if (!p)
		return 0;
	t = &p->tunnel;
	__builtin_memset(t, 0, sizeof(*t));
	v = tunnel_outer(ctx, ETH_SIZE, t);
	if ((v && t->proto != PROTO_ICMP && t->proto != PROTO_ICMPV6) || !is_vtep(t))
		return 0;
	if (v) {
		underlay_told(ctx);
		return 0;
	}
	v = tunnel_inner(ctx, t);
	if (v)
		return v < 0 ? v : 0;
	t->key.vlan = ctx_vlan(ctx);
	port = tunnel_port(t, ctx->ifindex);
	if (!port)
		return -DROP_TUNNEL_UNKNOWN;
	if (ctx->len < t->inner + ETH_SIZE)
		return -DROP_MALFORMED;
	mark = ecn_merge(ctx, t->inner, t->tos);
	if (mark < 0)
		return mark;
	if (ctx->vlan_present && bpf_skb_vlan_pop(ctx) < 0)
		return -DROP_REDIRECT;
	ctx->cb[2] = 0;
	if (t->proto == PROTO_MPLS && call_it(ctx, bpf_htons(ETHERTYPE_IPV4)) < 0)
		return -DROP_REDIRECT;
	if (strip(ctx, t->inner) < 0 || set_inner(ctx, t) < 0)
		return -DROP_REDIRECT;
	if (mark)
		ecn_mark(ctx, ETH_SIZE, (__u32)mark);
	return (int)port;
}

#endif
#endif
#endif
