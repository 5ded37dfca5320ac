/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_L2_H
#define DEMARC_BPF_L2_H

/* Forwarding by destination MAC inside one network, and flooding over its member list. */

#include "acl.h"
#include "held.h"
#include "lone.h"
#include "maps_def.h"
#include "output.h"
#include "sg.h"
#include "way.h"

/* A member that somebody unknown can be behind. Steered functions are not: nothing floods into a chain. */
static __always_inline int is_sink(const struct member *m)
{
	return !(m->flags & (PORT_SECURITY | PORT_ADMIN_DOWN)) &&
	       !bpf_map_lookup_elem(&port_chain, &m->ifindex);
}

static __always_inline int is_ingress(struct pkt *p, const struct member *m)
{
	return m->ifindex == p->in.ifindex && m->vlan == p->in.vlan;
}

/* Number of sinks besides the ingress port; the last one is put in p->out. */
__noinline int l2_sinks(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct net_rec *net;
	__u32 id, n = 0;

	if (!p)
		return 0;
	id = p->net;
	net = bpf_map_lookup_elem(&nets, &id);
	if (!net)
		return 0;
	for (__u32 i = 0; i < ABI_NET_MEMBERS; i++) {
		struct member *m = &net->members[i];

		if (i >= net->n_members)
			break;
		if (is_ingress(p, m) || !is_sink(m) || (m->flags & p->port_flags & PORT_TUNNEL))
			continue;
		p->out = m->ifindex;
		p->out_vlan = m->vlan;
		n++;
	}
	return (int)n;
}

#define REWIRE_GRACE_NS 2000000000ULL

/*
 * A function taken out of a wired chain still has packets in it, for a port that has just left the network.
 * Between unsecured function ports they reach it for a moment longer.
 */
static __always_inline int l2_just_left(struct pkt *p, struct port_rec *q)
{
	if ((p->port_flags & (PORT_UPLINK | PORT_SECURITY)) || (q->flags & PORT_SECURITY))
		return 0;
	return q->prev_net == p->net && p->now < q->moved_ns + REWIRE_GRACE_NS;
}

/* Where the connection went so far, when that is still in this network. */
static __always_inline int l2_pinned(struct pkt *p)
{
	struct port_key k = { .ifindex = p->had_out, .vlan = p->had_vlan };
	struct port_rec *q;

	if (!p->had || p->had_out == p->in.ifindex)
		return 0;
	q = bpf_map_lookup_elem(&ports, &k);
	return q && (q->net == p->net || l2_just_left(p, q));
}

static __always_inline int l2_unknown(ctx_t *ctx, struct pkt *p)
{
	int n;

	lone_answered(p);
	if (l2_pinned(p)) {
		p->out = p->had_out;
		p->out_vlan = p->had_vlan;
		TRACE1(p, L2_PINNED, p->out);
		return STAGE_NEXT;
	}
	n = l2_sinks(ctx);
	if (n <= 0)
		return -DROP_L2_UNKNOWN;
	if (n == 1) {
		TRACE1(p, L2_SOLE, p->out);
		return STAGE_NEXT;
	}
	p->out = 0; /* flood */
	p->out_vlan = 0;
	TRACE0(p, L2_FLOOD);
	return STAGE_NEXT;
}

/* Leaves p->out 0 when the frame has to be flooded. */
__noinline int stage_l2(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct fdb_rec *to;
	struct port_rec *q;
	int v, lasting = 0;

	if (!p)
		return -DROP_INTERNAL;
	if (!p->out) {
		p->fdb.net = p->net;
		mac_copy(p->fdb.mac, p->dmac);
		to = bpf_map_lookup_elem(&fdb, &p->fdb);
		if (to) {
			lasting = 1;
			TRACE1(p, L2_PORT, to->ifindex);
		} else {
			to = learned_find(p);
			if (to)
				TRACE2(p, L2_LEARNED, to->ifindex, to->vlan);
		}
		if (to) {
			p->out = to->ifindex;
			p->out_vlan = to->vlan;
			if (p->out == p->in.ifindex && p->out_vlan == p->in.vlan)
				return -DROP_L2_HAIRPIN;
		} else {
			v = l2_unknown(ctx, p);
			if (v || !p->out)
				return v;
		}
	}
	p->outk.ifindex = p->out;
	p->outk.vlan = p->out_vlan;
	q = bpf_map_lookup_elem(&ports, &p->outk);
	if (!q)
		return -DROP_NO_OUTPUT;
	port_output(p, q);
	p->nat_out = q->nat;
	if (q->flags & PORT_ADMIN_DOWN)
		return -DROP_OUT_DOWN;
	/* An error about no known connection is nobody's business where rules apply. */
	if (p->icmp == ICMP_ERROR && !p->known && ((p->port_flags | q->flags) & PORT_SECURITY))
		return -DROP_ICMP_ERROR;
	if (lasting)
		way_note(p);
	return STAGE_NEXT;
}

#ifndef HOOK_XDP

/*
 * A copy for a tunnel gets its header at the ingress of the NIC, since there is no way to take it off again here. Between tunnels
 * nothing is flooded: each far end has its own tunnels to the others.
 */
static __always_inline int flood_tunnel(ctx_t *ctx, __u32 port)
{
	struct port_key k = { .ifindex = port };
	struct port_rec *q = bpf_map_lookup_elem(&ports, &k);
	struct encap_rec *e;
	struct pkt *p = pkt_get();
	__u32 slot, mark = ctx->mark;

	if (!q || !p)
		return 0;
	slot = q->encap;
	e = bpf_map_lookup_elem(&encaps, &slot);
	if (!e || !e->ifindex)
		return 0;
	ctx->mark = ENCAP_MARK | slot;
	if (!bpf_clone_redirect(ctx, e->ifindex, BPF_F_INGRESS))
		count_port(port, 0, 0, wire_pkts(p->wire), wire_bytes(p->wire), 0);
	ctx->mark = mark;
	return 0;
}

/* Each mirror hears of a frame once, however many of its ports the frame passes. */
static __always_inline void flood_mirror(ctx_t *ctx, struct pkt *p, __u16 slot)
{
	if (!slot || slot == p->mirrors_of[0] || slot == p->mirrors_of[1])
		return;
	p->mirrors_of[1] = slot;
	mirror_copy(ctx, slot);
}

/* The limit of what goes to a member; a copy that is over it is counted at its meter. */
static __always_inline int flood_within(ctx_t *ctx, struct pkt *p, const struct member *m)
{
	struct port_key k = { .ifindex = m->ifindex, .vlan = m->vlan };
	struct port_rec *q = bpf_map_lookup_elem(&ports, &k);

	if (!q)
		return 1;
	if (q->meter_to && !meter_pass(q->meter_to, p->wire, p->jiffies))
		return 0;
	flood_mirror(ctx, p, q->mirror);
	return 1;
}

/* Member i of the packet's network. 0: past the last one. A row that is another network's by now is looked up again: bpf/held.h. */
static __always_inline int member_of(struct pkt *p, __u32 i, struct member *m)
{
	__u32 id = p->net;
	int is = 0;

	if (i >= ABI_NET_MEMBERS)
		return 0;
#pragma nounroll
	for (int n = 0; n < 2; n++) {
		struct net_rec *net = bpf_map_lookup_elem(&nets, &id);

		if (!net)
			return 0;
		is = i < net->n_members;
		*m = net->members[i];
		barrier();
		if (*(volatile __u16 *)&net->net == p->net)
			return is;
	}
	return 0;
}

/* One copy to member i of the network. Returns 1 past the last member. */
__noinline int flood_one(ctx_t *ctx, __u32 i)
{
	struct pkt *p = stage_begin(ctx);
	struct port_chain *pc;
	struct member m;

	if (!p || !member_of(p, i, &m))
		return 1;
	if (is_ingress(p, &m) || (m.flags & PORT_ADMIN_DOWN))
		return 0;
	if ((m.flags & PORT_NAT) && p->flow) /* addresses inside are not told outside */
		return 0;
	pc = bpf_map_lookup_elem(&port_chain, &m.ifindex);
	if (pc && (pc->transparent || !p->multicast))
		return 0;
	if (((m.flags & PORT_SECURITY) && !p->multicast) || (m.flags & p->port_flags & PORT_TUNNEL))
		return 0;
	if (p->kind == PKT_IP && (m.flags & PORT_SECURITY) && !sg_exempt(p) &&
	    !sg_port_allows(m.ifindex, m.vlan, 0))
		return 0;
	if (p->kind == PKT_IP && (m.flags & PORT_ACL_TO) && !sg_exempt(p) &&
	    !acl_port_allows(m.ifindex, m.vlan, 0))
		return 0;
	TRACE2(p, FLOOD_TO, m.ifindex, m.vlan);
	if (p->trace || !flood_within(ctx, p, &m))
		return 0;
	if (m.flags & PORT_TUNNEL)
		return flood_tunnel(ctx, m.ifindex);
	if (m.vlan && vlan_put(ctx, m.vlan) < 0)
		return 0;
	capture(ctx, m.ifindex, PACKET_TO_PORT);
	if (!bpf_clone_redirect(ctx, m.ifindex, 0))
		count_port(m.ifindex, 0, 0, wire_pkts(p->wire), wire_bytes(p->wire), 0);
	if (m.vlan)
		vlan_take(ctx, m.vlan);
	return 0;
}

#endif

/* Under XDP the meter gives nothing: what passes is counted by the tc program. */
static __always_inline int flood_storm(struct pkt *p)
{
	struct port_rec *q = bpf_map_lookup_elem(&ports, &p->in);
#ifdef HOOK_XDP
	struct meter_rec *m;
	__u32 id;

	if (!q || !q->storm)
		return 0;
	id = q->storm;
	m = bpf_map_lookup_elem(&meters, &id);
	return m && meter_empty(m, p->wire, p->jiffies);
#else
	return q && q->storm && !p->trace && !meter_pass(q->storm, p->wire, p->jiffies);
#endif
}

/* -enum drop_reason, or STAGE_NEXT: the port may send to many now. */
static __always_inline int flood_may(struct pkt *p)
{
	struct port_chain *pc = bpf_map_lookup_elem(&port_chain, &p->in.ifindex);

	if (pc && pc->transparent)
		return -DROP_CHAIN_BCAST;
	return flood_storm(p) ? -DROP_STORM : STAGE_NEXT;
}

#ifndef HOOK_XDP

static __always_inline int flood_allowed(struct pkt *p)
{
	int v = flood_may(p);

	if (v)
		return v;
	if (p->meters_of[0] && !p->trace && !meter_pass(p->meters_of[0], p->wire, p->jiffies))
		return -DROP_METER;
	if (p->kind == PKT_IP && !sg_exempt(p) && !sg_port_allows(p->in.ifindex, p->in.vlan, 1))
		return -DROP_SG_EGRESS;
	if (p->kind == PKT_IP && (p->port_flags & PORT_ACL_FROM) && !sg_exempt(p) &&
	    !acl_port_allows(p->in.ifindex, p->in.vlan, 1))
		return -DROP_ACL;
	return STAGE_NEXT;
}

/* What the port of a frame orders beside copies, in the order of send_extra(). The tag comes off. */
static __always_inline int flood_extra(ctx_t *ctx, struct pkt *p)
{
	__u16 slot = p->mirrors_of[0];

	p->mirrors_of[1] = 0;
	if (slot)
		mirror_copy(ctx, slot);
	if (ctx->vlan_present)
		bpf_skb_vlan_pop(ctx);
	if (p->marks & PORT_DSCP_SET)
		return dscp_set(ctx, p->marks & ~PORT_DSCP_SET, ETH_SIZE);
	return 0;
}

__noinline int stage_flood(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	__u16 in_vlan;
	int v;

	if (!p)
		return -DROP_INTERNAL;
	v = flood_allowed(p);
	if (v)
		return v;
	in_vlan = p->in.vlan;
	if (!p->trace) {
		count_port(p->in.ifindex, wire_pkts(p->wire), wire_bytes(p->wire), 0, 0, 0);
		if (flood_extra(ctx, p) < 0)
			return -DROP_REDIRECT;
	}
	for (__u32 i = 0; i < ABI_NET_MEMBERS; i++)
		if (flood_one(ctx, i))
			break;
	p->act = TC_ACT_STOLEN;
	if ((p->port_flags & PORT_UPLINK) && !in_vlan) {
		TRACE0(p, FLOOD_HOST); /* the node may have its own address on an untagged NIC */
		p->act = TC_ACT_OK;
	}
	return STAGE_DONE;
}

#endif
#endif
