/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_ARP_H
#define DEMARC_BPF_ARP_H

/*
 * ARP requests for a fixed IP of a port are answered here, so that they wake nobody up. Source: RFC 826.
 *
 *   0      2      4   5   6      8           14        18          24        28
 *   | htype| ptype|hl |pl | oper | sender MAC| sender IP| target MAC| target IP|
 */

#include "held.h"
#include "maps_def.h"
#include "output.h"

static __always_inline void arp_reply_build(struct pkt *p, const __u8 *mac)
{
	__u8 *b = p->buf; /* Ethernet header, then the request that was loaded at 14 */

	mac_copy(b, p->smac);
	mac_copy(b + 6, mac);
	b[12] = 0x08;
	b[13] = 0x06;
	b[21] = 2;
	mac_copy(b + 32, b + 22);
	mac_copy(b + 22, mac);
	for (int i = 0; i < 4; i++) {
		__u8 asker = b[28 + i];

		b[28 + i] = b[38 + i];
		b[38 + i] = asker;
	}
}

static __always_inline int arp_is_request(const __u8 *arp)
{
	return arp[0] == 0 && arp[1] == 1 && arp[2] == 8 && arp[3] == 0 && arp[4] == 6 &&
	       arp[5] == 4 && arp[6] == 0 && arp[7] == 1;
}

/* The other port that a request, which is read into p->buf, asks for. */
static __always_inline struct addr_rec *arp_owner(ctx_t *ctx, struct pkt *p)
{
	struct addr_rec *a;

	if (ctx_load(ctx, ETH_SIZE, p->buf + ETH_SIZE, 28) < 0 || !arp_is_request(p->buf + ETH_SIZE))
		return 0;
	p->addr.net = p->net;
	p->addr.family = 4;
	__builtin_memcpy(&p->addr.ip[0], p->buf + 38, 4);
	a = bpf_map_lookup_elem(&addrs, &p->addr);
	return a && a->ifindex != p->in.ifindex ? a : 0;
}

#ifndef HOOK_XDP

__noinline int stage_arp(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct addr_rec *a;

	if (!p)
		return -DROP_INTERNAL;
	if (p->kind != PKT_ARP)
		return STAGE_NEXT;
	TRACE1(p, PARSE_ARP, p->len);
	if (p->len < ETH_SIZE + 28)
		return -DROP_MALFORMED;
	a = arp_owner(ctx, p);
	if (!a)
		goto pass;
	TRACE1(p, ARP_REPLY, a->ifindex);
	arp_reply_build(p, a->mac);
	if (was_written(p))
		goto pass; /* who has it answers */
	if (!p->trace && ctx_store(ctx, 0, p->buf, 42) < 0)
		return -DROP_REDIRECT;
	return send_back(ctx, p);
pass:
	TRACE0(p, ARP_PASS);
	return STAGE_NEXT;
}

#endif
#endif
