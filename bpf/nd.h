/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_ND_H
#define DEMARC_BPF_ND_H

/*
 * Neighbour solicitations for a fixed IP of a port are answered here. Source: RFC 4861 sections 4.3, 4.4,
 * 7.2.4; RFC 4862 section 5.4.3 for the solicitation that comes from ::.
 *
 * The advertisement is always 86 bytes:
 *   0 Ethernet | 14 IPv6 | 54 type code checksum flags | 62 target | 78 option 2, length 1, MAC
 */

#include "held.h"
#include "maps_def.h"
#include "output.h"
#include "parse.h"

#define NA_SIZE 86
#define NA_SOLICITED 0x40
#define NA_OVERRIDE 0x20

/* Ones' complement sum over the pseudo header and the 32 bytes of ICMPv6. */
static __always_inline __u16 na_checksum(const __u8 *b)
{
	__u32 sum = 32 + PROTO_ICMPV6;

	for (int i = 22; i < NA_SIZE; i += 2)
		sum += load16(b + i);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

/* p->buf holds the solicitation's first 78 bytes. */
static __always_inline void na_build(struct pkt *p, const __u8 *mac, int dad)
{
	__u8 *b = p->buf;
	__u16 sum;

	mac_copy(b, p->smac);
	mac_copy(b + 6, mac);
	b[18] = 0;
	b[19] = 32;
	b[21] = 255;
	if (dad) { /* to all nodes: ff02::1 */
		__builtin_memset(b + 38, 0, 16);
		b[38] = 0xff;
		b[39] = 2;
		b[53] = 1;
		b[0] = b[1] = 0x33;
		b[2] = b[3] = b[4] = 0;
		b[5] = 1;
	} else {
		__builtin_memcpy(b + 38, b + 22, 16);
	}
	__builtin_memcpy(b + 22, b + 62, 16);
	b[54] = 136;
	b[55] = b[56] = b[57] = 0;
	b[58] = dad ? NA_OVERRIDE : NA_SOLICITED | NA_OVERRIDE;
	b[59] = b[60] = b[61] = 0;
	b[78] = 2;
	b[79] = 1;
	mac_copy(b + 80, mac);
	sum = na_checksum(b);
	b[56] = (__u8)(sum >> 8);
	b[57] = (__u8)sum;
}

static __always_inline int nd_is_solicitation(struct pkt *p)
{
	return p->kind == PKT_IP && p->key.proto == PROTO_ICMPV6 && p->icmp_type == 135 &&
	       p->icmp_code == 0 && p->hop_limit == 255 && p->l4_off == ETH_SIZE + 40 && !p->frag;
}

__noinline int stage_nd(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct addr_rec *a;

	if (!p)
		return -DROP_INTERNAL;
	if (!nd_is_solicitation(p))
		return STAGE_NEXT;
	if (ctx_load(ctx, 0, p->buf, 78) < 0)
		return -DROP_MALFORMED;
	p->addr.net = p->net;
	p->addr.family = 6;
	__builtin_memcpy(p->addr.ip, p->buf + 62, 16);
	a = bpf_map_lookup_elem(&addrs, &p->addr);
	if (!a || a->ifindex == p->in.ifindex) {
		TRACE0(p, ND_PASS);
		return STAGE_NEXT;
	}
	TRACE1(p, ND_REPLY, a->ifindex);
	na_build(p, a->mac, !(p->key.addr[0] | p->key.addr[1] | p->key.addr[2] | p->key.addr[3]));
	if (was_written(p))
		return STAGE_NEXT; /* who has it answers */
	if (p->trace)
		return send_back(ctx, p);
	if (ctx_len(ctx) != NA_SIZE && bpf_skb_change_tail(ctx, NA_SIZE, 0) < 0)
		return -DROP_REDIRECT;
	if (ctx_store(ctx, 0, p->buf, NA_SIZE) < 0)
		return -DROP_REDIRECT;
	return send_back(ctx, p);
}

#endif
