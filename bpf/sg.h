/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_SG_H
#define DEMARC_BPF_SG_H

/*
 * Security groups. Rules speak about the direction that opens a connection: egress rules of the opener's
 * port, ingress rules of the other. The packet in hand may be a reply that is checked again after the rules
 * changed; p->sg_* then holds the opener's view. No rule, no passage.
 */

#include "classify.h"
#include "maps_def.h"
#include "parse.h"
#include "spoof.h"
#include "way.h"

/* The opener's tuple into the scratch; a reply to an ICMP query stands for the query. */
static __always_inline void sg_view(struct pkt *p, struct policy_scratch *s)
{
	policy_view(p, s, p->reply);
	if (p->reply && p->icmp == ICMP_QUERY)
		s->view.dport = (__u16)(icmp_request(p->key.proto, p->icmp_type) << 8);
}

/* 1: a rule of group `sg` allows the packet. */
static __always_inline int sg_group_allows(__u32 sg, __u32 egress)
{
	struct pkt *p = pkt_get();

	if (!p || policy_verdict(POLICY_SG(sg, egress), p->key.family == 6) != POLICY_PERMIT)
		return 0;
	TRACE2(p, SG_RULE, p->rule, sg);
	return 1;
}

/* 1: the port is unsecured, or one of its groups allows it. */
__noinline int sg_port_allows(__u32 ifindex, __u32 vlan, __u32 egress)
{
	struct port_key k = { .ifindex = ifindex, .vlan = (__u16)vlan };
	struct port_rec *port = bpf_map_lookup_elem(&ports, &k);
	struct policy_scratch *s;
	struct pkt *p = pkt_get();

	if (!port || !p)
		return 0;
	if (!(port->flags & PORT_SECURITY))
		return 1;
	s = policy_get();
	if (!s)
		return 0;
	sg_view(p, s);
	for (int i = 0; i < ABI_PORT_SGS && i < port->n_sgs; i++)
		if (sg_group_allows(port->sgs[i], egress))
			return 1;
	TRACE1(p, SG_NONE, ifindex);
	return 0;
}

/* DHCP of a client and the control messages of IPv6: a port cannot get an address without them. */
static __always_inline int sg_exempt(struct pkt *p)
{
	__u16 s = p->key.sport, d = p->key.dport;

	if (p->icmp == ICMP_CONTROL)
		return 1;
	if (p->key.proto != PROTO_UDP || p->frag == FRAG_LATER)
		return 0;
	return (s == DHCP_CLIENT && d == DHCP_SERVER_PORT) ||
	       (s == DHCP_SERVER_PORT && d == DHCP_CLIENT) ||
	       (s == DHCP6_CLIENT && d == DHCP6_SERVER_PORT) ||
	       (s == DHCP6_SERVER_PORT && d == DHCP6_CLIENT);
}

/* The same for the ingress port (side 0) or the output port of the packet. */
__noinline int sg_side_allows(__u32 side, __u32 egress)
{
	struct policy_scratch *s;
	struct pkt *p = pkt_get();

	if (!p || side > 1)
		return 0;
	if (!((side ? p->out_flags : p->port_flags) & PORT_SECURITY))
		return 1;
	s = policy_get();
	if (!s)
		return 0;
	sg_view(p, s);
	for (int i = 0; i < ABI_PORT_SGS && i < p->n_sgs[side]; i++)
		if (sg_group_allows(p->sgs[side][i], egress))
			return 1;
	TRACE1(p, SG_NONE, side ? p->out : p->in.ifindex);
	return 0;
}

static __always_inline int stage_sg(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);

	if (!p)
		return -DROP_INTERNAL;
	if (!((p->port_flags | p->out_flags) & PORT_SECURITY)) {
		TRACE0(p, SG_OFF);
		return STAGE_NEXT;
	}
	if (sg_exempt(p)) {
		TRACE0(p, SG_EXEMPT);
		return STAGE_NEXT;
	}
	if (p->related || (p->checked && !p->trace))
		return STAGE_NEXT;
	if (p->reply) { /* the opener is behind the output port */
		if (!sg_side_allows(1, 1))
			return -DROP_SG_EGRESS;
		return sg_side_allows(0, 0) ? STAGE_NEXT : -DROP_SG_INGRESS;
	}
	if (way_allows(p))
		return STAGE_NEXT;
	p->looks = 0;
	if (!sg_side_allows(0, 1))
		return -DROP_SG_EGRESS;
	if (!sg_side_allows(1, 0))
		return -DROP_SG_INGRESS;
	way_allowed();
	return STAGE_NEXT;
}

#endif
