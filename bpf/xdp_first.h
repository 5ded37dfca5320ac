/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_XDP_FIRST_H
#define DEMARC_BPF_XDP_FIRST_H

/*
 * First packets under XDP, where many are refused: the tc program's own stages are asked, up to the limits of new connections. What they refuse
 * ends here, counted and remembered as the tc program does it; what they answer with a SYN cookie goes back; anything else passes on as it
 * came, and nothing was counted for it.
 */

#include "arp.h"
#include "first.h"
#include "first_hop.h"
#include "port.h"
#include "telemetry.h"

#define TAG_SIZE 4

/* What the stages have no part in, or would do twice. */
static __always_inline int first_is_other(struct pkt *p)
{
	if (p->frag || p->icmp == ICMP_CONTROL || is_tag(p->ethertype))
		return 1;
	if (!p->flow)
		return !p->multicast;
	return expects_any(p) || flow_find(&p->key);
}

/* What the tc program asks of a port: STAGE_NEXT when the frame may come from it. */
static __always_inline int first_port(ctx_t *ctx)
{
	struct pkt *p;
	int v;

	RUN(port_of);
	p = pkt_get();
	if (!p)
		return -DROP_INTERNAL;
	RUN_IF(p->guards || is_dhcp(p), stage_guard);
	RUN_IF(!(p->port_flags & PORT_SECURITY), stage_learn);
	return STAGE_NEXT;
}

/* Of a connection that there is, or of one whose first record was lone, the tc program knows more. */
static __always_inline int first_rules(ctx_t *ctx)
{
	struct pkt *p = pkt_get();
	int v;

	if (!p)
		return -DROP_INTERNAL;
	RUN_IF(p->nat_out || p->nat.flags, stage_nat_out);
	p = pkt_get();
	if (!p)
		return -DROP_INTERNAL;
	pkt_partner(p);
	return flow_find(&p->rkey) ? STAGE_DONE : run_rules(ctx);
}

/* Global, as the stages are: the verifier does not multiply its ways with those of what follows. */
__noinline int first_parse(ctx_t *ctx, __u32 vlan)
{
	struct pkt *p = stage_begin(ctx);

	if (!p)
		return STAGE_DONE;
	pkt_begin(p, ctx_port(ctx), (__u16)vlan);
	if (parse_packet(ctx, p) || first_is_other(p))
		return STAGE_DONE;
	p->absent = 1;
	return STAGE_NEXT;
}

/* STAGE_SENT, -enum drop_reason, or another value: the tc program decides. */
static __always_inline int first_ask(ctx_t *ctx, __u32 vlan)
{
	struct pkt *p;
	int v;

	if (first_parse(ctx, vlan))
		return STAGE_DONE;
	v = first_port(ctx);
	p = pkt_get();
	if (v || !p)
		return v;
	if (p->multicast)
		return p->kind == PKT_ARP && arp_owner(ctx, p) ? STAGE_DONE : flood_may(p);
	v = run_way(ctx);
	p = pkt_get();
	if (v || !p)
		return v;
	if (p->seen)
		return STAGE_DONE;
	return p->out ? first_rules(ctx) : flood_may(p);
}

static __always_inline int first_drop(struct pkt *p, __u32 reason)
{
	if (p->reject || was_written(p) || lone_again(p, reason))
		return XDP_PASS;
	count_drop(reason);
	drop_remember(p, reason);
	return XDP_DROP;
}

/* The frame has no tag, as the tc program sees it; `vlan` is the port's. */
static __always_inline int first_untagged(ctx_t *ctx, __u32 vlan)
{
	int v = first_ask(ctx, vlan);
	struct pkt *p = pkt_get();

	if (!p)
		return XDP_PASS;
	if (v == STAGE_SENT)
		return p->act;
	return v >= 0 ? XDP_PASS : first_drop(p, (__u32)-v);
}

/* The MACs move on over the tag. */
static __always_inline int first_untag(ctx_t *ctx)
{
	__u32 macs[3];

	if (ctx_load(ctx, 0, macs, sizeof(macs)) < 0 || bpf_xdp_adjust_head(ctx, TAG_SIZE) < 0)
		return -1;
	return ctx_store(ctx, 0, macs, sizeof(macs));
}

static __always_inline int first_retag(ctx_t *ctx, __u32 tci)
{
	__u32 head[4];

	if (ctx_load(ctx, 0, head, 12) < 0 || bpf_xdp_adjust_head(ctx, -TAG_SIZE) < 0)
		return -1;
	head[3] = bpf_htonl(VLAN_TPID_CUSTOMER << 16 | tci);
	return ctx_store(ctx, 0, head, sizeof(head));
}

/* The MACs, and of a tag what tells the port. 0: many frames like this one are refused. */
static __always_inline int first_flooded(ctx_t *ctx, __u32 *tci)
{
	struct flood_key k = {};
	__u8 b[ETH_SIZE + TAG_SIZE];

	if (ctx_load(ctx, 0, b, sizeof(b)) < 0)
		return -1;
	*tci = load16(b + 12) == VLAN_TPID_CUSTOMER ? load16(b + 14) : 0;
	flood_key_of(&k, ctx_port(ctx), *tci & 0xfff, b);
	return flood_is_on(&k) ? 0 : -1;
}

/* A frame without a record. */
static __noinline int xdp_first(ctx_t *ctx)
{
	__u32 tci;
	int v;

	if (dp_globals.analytics & (ANALYTICS_DROPS | ANALYTICS_CAPTURE))
		return XDP_PASS; /* somebody looks */
	if (first_flooded(ctx, &tci) < 0 || (tci && !(tci & 0xfff)) || (tci && first_untag(ctx) < 0))
		return XDP_PASS;
	v = first_untagged(ctx, tci & 0xfff);
	return tci && v != XDP_DROP && first_retag(ctx, tci) < 0 ? XDP_ABORTED : v;
}

#endif
