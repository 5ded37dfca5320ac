/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_SG_H
#define DEMARC_BPF_SG_H

/*
 * Security groups. Rules speak about the direction that opens a connection: egress rules of the opener's
 * port, ingress rules of the other. The packet in hand may be a reply that is checked again after the rules
 * changed; p->sg_* then holds the opener's view. No rule, no passage.
 */

#include "maps_def.h"
#include "parse.h"
#include "spoof.h"

/* Puts the opener's tuple into p->sg_*; `egress` says whose remote it is. */
static __always_inline void sg_view(struct pkt *p, int egress)
{
	/* The remote of an egress rule is the opener's destination, of an ingress rule its source. */
	int dst = egress ? !p->reply : p->reply;

	for (int i = 0; i < 4; i++)
		p->sg_remote[i] = 0;
	if (p->key.family == 6) {
		for (int i = 0; i < 4; i++)
			p->sg_remote[i] = dst ? p->key.addr[i + 4] : p->key.addr[i];
	} else {
		p->sg_remote[0] = dst ? p->key.addr[1] : p->key.addr[0];
	}
	p->sg_sport = bpf_ntohs(p->reply ? p->key.dport : p->key.sport);
	p->sg_dport = bpf_ntohs(p->reply ? p->key.sport : p->key.dport);
	p->sg_type = p->icmp_type;
	p->sg_code = p->icmp_code;
	if (p->reply && p->icmp == ICMP_QUERY) { /* the request that this answers */
		p->sg_type = icmp_request(p->key.proto, p->icmp_type);
		p->sg_code = 0;
	}
}

static __always_inline int sg_rule_matches(struct pkt *p, const struct sg_rule *r, __u32 egress)
{
	__u32 diff = (r->flags & SG_RULE_EGRESS) ^ egress;

	if (r->family)
		diff |= r->family ^ p->key.family;
	if (r->proto)
		diff |= r->proto ^ p->key.proto;
	for (int i = 0; i < 4; i++)
		diff |= (p->sg_remote[i] ^ r->ip[i]) & r->mask[i];
	if (diff)
		return 0;
	if ((r->flags & SG_RULE_PORTS) && (p->sg_dport < r->min || p->sg_dport > r->max))
		return 0;
	if ((r->flags & SG_RULE_TYPE) && p->sg_type != r->min)
		return 0;
	if ((r->flags & SG_RULE_CODE) && p->sg_code != r->max)
		return 0;
	if (!r->remote_sg)
		return 1;
	p->sgm.sg = r->remote_sg;
	p->sgm.family = p->key.family;
	for (int i = 0; i < 4; i++)
		p->sgm.ip[i] = p->sg_remote[i];
	return bpf_map_lookup_elem(&sg_members, &p->sgm) != 0;
}

/* 1: a rule of group `sg` allows the packet. */
__noinline int sg_group_allows(__u32 sg, __u32 egress)
{
	struct pkt *p = pkt_get();
	struct sg_rec *g = bpf_map_lookup_elem(&sgs, &sg);

	if (!p || !g)
		return 0;
	for (__u32 i = 0; i < ABI_SG_RULES; i++) {
		if (i >= g->n_rules)
			return 0;
		if (sg_rule_matches(p, &g->rules[i], egress)) {
			TRACE2(p, SG_RULE, i, sg);
			return 1;
		}
	}
	return 0;
}

/* 1: the port is unsecured, or one of its groups allows it. */
__noinline int sg_port_allows(__u32 ifindex, __u32 vlan, __u32 egress)
{
	struct port_key k = { .ifindex = ifindex, .vlan = (__u16)vlan };
	struct port_rec *port = bpf_map_lookup_elem(&ports, &k);
	struct pkt *p = pkt_get();

	if (!port || !p)
		return 0;
	if (!(port->flags & PORT_SECURITY))
		return 1;
	sg_view(p, egress != 0);
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

__noinline int stage_sg(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct port_rec *q;
	int secured;

	if (!p)
		return -DROP_INTERNAL;
	q = bpf_map_lookup_elem(&ports, &p->outk);
	if (!q)
		return -DROP_NO_OUTPUT;
	secured = (p->port_flags & PORT_SECURITY) || (q->flags & PORT_SECURITY);
	if (!secured) {
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
		if (!sg_port_allows(p->out, p->out_vlan, 1))
			return -DROP_SG_EGRESS;
		return sg_port_allows(p->in.ifindex, p->in.vlan, 0) ? STAGE_NEXT : -DROP_SG_INGRESS;
	}
	if (!sg_port_allows(p->in.ifindex, p->in.vlan, 1))
		return -DROP_SG_EGRESS;
	return sg_port_allows(p->out, p->out_vlan, 0) ? STAGE_NEXT : -DROP_SG_INGRESS;
}

#endif
