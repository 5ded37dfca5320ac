/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_TUNNEL_PARSE_H
#define DEMARC_BPF_TUNNEL_PARSE_H

/*
 * Outer headers of tunnels, read with ctx_load() only, so that they compile in user space. A function returns 0 when the frame is what it
 * looks for, 1 when it is something else, -DROP_TUNNEL when it is a tunnel's and wrong.
 */

#include "parse.h"
#include "pkt.h"

#define PROTO_GRE 47
#define PROTO_MPLS 137 /* of t->proto only: MPLS directly over Ethernet */
#define ETHERTYPE_MPLS 0x8847

/* RFC 3032 section 5: the ends are the neighbours. */
static __always_inline int tunnel_ether(ctx_t *c, __u32 l3, struct tunnel_frame *t)
{
	__u8 b[12];

	if (ctx_load(c, 0, b, sizeof(b)) < 0)
		return 1;
	__builtin_memcpy(t->key.local, b, 6);
	__builtin_memcpy(t->key.remote, b + 6, 6);
	t->proto = PROTO_MPLS;
	t->l4 = (__u16)l3;
	return 0;
}

/*
 * RFC 791 without options and fragments, or RFC 8200 without extension headers: what tunnels send. `l3`: behind the tags
 * that are still in the frame.
 */
static __always_inline int tunnel_outer(ctx_t *c, __u32 l3, struct tunnel_frame *t)
{
	__u8 b[40];
	__u32 l4;

	if (ctx_load(c, l3 - 2, b, 2) < 0)
		return 1;
	if (load16(b) == ETHERTYPE_IPV4) {
		if (ctx_load(c, l3, b, 20) < 0 || b[0] != 0x45 || (load16(b + 6) & 0x3fff))
			return 1;
		t->key.family = 4;
		t->proto = b[9];
		t->tos = b[1];
		__builtin_memcpy(t->key.remote, b + 12, 4);
		__builtin_memcpy(t->key.local, b + 16, 4);
		l4 = l3 + 20;
		if (load16(b + 2) + l3 > ctx_len(c))
			return 1;
	} else if (load16(b) == ETHERTYPE_IPV6) {
		if (ctx_load(c, l3, b, 40) < 0 || b[0] >> 4 != 6)
			return 1;
		t->key.family = 6;
		t->proto = b[6];
		t->tos = (__u8)(b[0] << 4 | b[1] >> 4);
		__builtin_memcpy(t->key.remote, b + 8, 16);
		__builtin_memcpy(t->key.local, b + 24, 16);
		l4 = l3 + 40;
		if (load16(b + 4) + l4 > ctx_len(c))
			return 1;
	} else {
		return load16(b) == ETHERTYPE_MPLS ? tunnel_ether(c, l3, t) : 1;
	}
	t->l4 = (__u16)l4;
	return t->proto == PROTO_UDP || t->proto == PROTO_GRE ? 0 : 1;
}

/* RFC 7348 section 5: only the I bit counts, what is reserved is ignored. */
static __always_inline int tunnel_vxlan(const __u8 *h, struct tunnel_frame *t)
{
	if (!(h[0] & 0x08))
		return -DROP_TUNNEL;
	t->key.type = TUNNEL_VXLAN;
	t->key.id = (__u32)h[4] << 16 | (__u32)h[5] << 8 | h[6];
	t->inner = t->l4 + 16u;
	return 0;
}

/* RFC 8300 section 2: version, length, metadata type, payload; index 0 means the packet has been everywhere. */
static __always_inline int tunnel_nsh(ctx_t *c, __u32 off, struct tunnel_frame *t)
{
	__u8 b[8];
	__u32 words;

	if (ctx_load(c, off, b, 8) < 0)
		return -DROP_TUNNEL;
	words = b[1] & 0x3f;
	if (b[0] >> 6 || (b[2] & 0xf) < 1 || (b[2] & 0xf) > 2 || b[3] != 3)
		return -DROP_TUNNEL;
	if ((b[2] & 0xf) == 1 ? words != 6 : words < 2)
		return -DROP_TUNNEL;
	if (!b[7] || !((b[0] & 0xf) << 2 | b[1] >> 6))
		return -DROP_TUNNEL;
	t->path = (__u32)b[4] << 24 | (__u32)b[5] << 16 | (__u32)b[6] << 8 | b[7];
	t->inner = off + words * 4;
	return 0;
}

/* draft-ietf-nvo3-vxlan-gpe section 3: version 0, I and P; NSH is what we carry. */
static __always_inline int tunnel_gpe(ctx_t *c, const __u8 *h, struct tunnel_frame *t)
{
	if ((h[0] & 0x3c) != 0x0c || h[3] != 4)
		return -DROP_TUNNEL;
	t->key.type = TUNNEL_VXLAN_GPE;
	t->key.id = (__u32)h[4] << 16 | (__u32)h[5] << 8 | h[6];
	return tunnel_nsh(c, t->l4 + 16u, t);
}

/* The one critical option that is known, alone: what OVN puts into every frame (abi/tunnel.h). Where a frame goes, MACs decide. */
static __always_inline int geneve_critical(ctx_t *c, const __u8 *h, struct tunnel_frame *t)
{
	__u8 b[6];

	if ((h[0] & 0x3f) != GENEVE_OVN_WORDS || ctx_load(c, t->l4 + 16u, b, sizeof(b)) < 0)
		return -DROP_TUNNEL;
	if (load16(b) != GENEVE_OVN_CLASS || b[2] != GENEVE_OVN_TYPE || (b[3] & 0x1f) != 1)
		return -DROP_TUNNEL;
	t->path = load16(b + 4) & GENEVE_OVN_IN_MAX;
	return 0;
}

/* RFC 8926 section 3.4: options are skipped, but not critical ones. */
static __always_inline int tunnel_geneve(ctx_t *c, const __u8 *h, struct tunnel_frame *t)
{
	if (h[0] >> 6 || load16(h + 2) != 0x6558)
		return -DROP_TUNNEL;
	if ((h[1] & 0x40) && geneve_critical(c, h, t) < 0)
		return -DROP_TUNNEL;
	t->key.type = TUNNEL_GENEVE;
	t->key.id = (__u32)h[4] << 16 | (__u32)h[5] << 8 | h[6];
	t->inner = t->l4 + 16u + (h[0] & 0x3f) * 4u;
	return 0;
}

/* RFC 3032 section 2.1: to the bottom of the stack; a TTL of 0 has come too far. */
static __always_inline int tunnel_labels(ctx_t *c, __u32 off, __u8 type, struct tunnel_frame *t)
{
	__u8 b[4];

	t->key.type = type;
	for (int i = 0; i <= ABI_LABELS; i++) {
		if (ctx_load(c, off, b, 4) < 0 || !b[3])
			return -DROP_TUNNEL;
		off += 4;
		if (!(b[2] & 1))
			continue;
		t->key.id = (__u32)b[0] << 12 | (__u32)b[1] << 4 | b[2] >> 4;
		t->inner = off;
		return 0;
	}
	return -DROP_TUNNEL;
}

/* RFC 2784 and 2890: version 0; checksum and sequence number are skipped, reserved bits are errors. */
static __always_inline int tunnel_gre(ctx_t *c, struct tunnel_frame *t)
{
	__u32 off = t->l4 + 4u;
	__u8 b[4];
	__u16 flags, proto;

	if (ctx_load(c, t->l4, b, 4) < 0)
		return -DROP_TUNNEL;
	flags = load16(b);
	proto = load16(b + 2);
	if (proto != 0x6558 && proto != 0x8847)
		return 1;
	if (flags & 0x4fff)
		return -DROP_TUNNEL;
	if (flags & 0x8000)
		off += 4;
	if (flags & 0x2000) {
		if (ctx_load(c, off, b, 4) < 0)
			return -DROP_TUNNEL;
		t->key.id = (__u32)b[0] << 24 | (__u32)b[1] << 16 | (__u32)b[2] << 8 | b[3];
		off += 4;
	}
	if (flags & 0x1000)
		off += 4;
	if (proto == 0x8847)
		return tunnel_labels(c, off, TUNNEL_MPLS_GRE, t);
	t->key.type = TUNNEL_GRE;
	t->inner = off;
	return 0;
}

static __always_inline int tunnel_udp(ctx_t *c, struct tunnel_frame *t)
{
	__u8 b[16];
	__u16 port;

	if (ctx_load(c, t->l4, b, 8) < 0)
		return 1;
	port = load16(b + 2);
	if (port == PORT_MPLS)
		return tunnel_labels(c, t->l4 + 8u, TUNNEL_MPLS_UDP, t);
	if (port != PORT_VXLAN && port != PORT_VXLAN_GPE && port != PORT_GENEVE)
		return 1;
	if (ctx_load(c, t->l4, b, 16) < 0)
		return -DROP_TUNNEL;
	if (port == PORT_VXLAN)
		return tunnel_vxlan(b + 8, t);
	return port == PORT_GENEVE ? tunnel_geneve(c, b + 8, t) : tunnel_gpe(c, b + 8, t);
}

/* After tunnel_outer(): which tunnel, and where its frame begins. */
static __always_inline int tunnel_inner(ctx_t *c, struct tunnel_frame *t)
{
	if (t->proto == PROTO_MPLS)
		return tunnel_labels(c, t->l4, TUNNEL_MPLS, t);
	return t->proto == PROTO_UDP ? tunnel_udp(c, t) : tunnel_gre(c, t);
}

#endif
