/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_OUTPUT_H
#define DEMARC_BPF_OUTPUT_H

/*
 * Handing the frame over. Into a function: bpf_redirect_peer(), which skips the host-side veth's queue; the
 * packet type was computed against that veth's MAC and is set right here. To a NIC or a tap: egress.
 */

#include "analytics.h"
#include "encap.h"
#include "extra.h"
#include "maps_def.h"
#include "vlan.h"

#ifdef HOOK_XDP

/*
 * A reply made here leaves by where the packet came from. Every driver with XDP knows XDP_TX, but a veth leaves such frames lying until its
 * peer is woken by something else (veth_xdp_flush()), unless the peer has an XDP program of its own.
 */
static __always_inline int send_back(ctx_t *ctx, struct pkt *p)
{
	p->act = p->port_flags & PORT_XDP_OUT ? (int)bpf_redirect(p->in.ifindex, 0) : XDP_TX;
	count_port(p->in.ifindex, 1, p->len, 1, ctx_len(ctx), 0);
	return STAGE_SENT;
}

#else

static __always_inline int send_peer(ctx_t *ctx, __u32 ifindex, __u32 type)
{
	if (ctx->pkt_type != type)
		bpf_skb_change_type(ctx, type);
	return (int)bpf_redirect_peer(ifindex, 0);
}

/* Drops the tag of the ingress VLAN and puts those of the egress VLAN (0: none). */
static __always_inline int retag(ctx_t *ctx, __u16 vlan)
{
	if (ctx->vlan_present && bpf_skb_vlan_pop(ctx) < 0)
		return -1;
	return vlan ? vlan_put(ctx, vlan) : 0;
}

static __always_inline int tunnel_out(ctx_t *ctx, __u32 slot, __u32 entropy)
{
	int v = encap_send(ctx, slot, entropy);

	if (v >= 0)
		return v;
	if (v == -DROP_MTU)
		return too_big(ctx, slot);
	count_drop((__u32)-v);
	return TC_ACT_SHOT;
}

/* The record's verdict on the frame: the tail of the fast path and of the slow one. */
static __always_inline int send_by_record(ctx_t *ctx, struct flow_rec *f)
{
	__u32 out = f->out;
	__u16 flags = f->flags;

	if ((flags & FLOW_NAT) && (flags & FLOW_ENCAP) && encap_too_big(ctx, f->encap))
		return too_big(ctx, f->encap); /* about the packet as its sender knows it */
	if ((flags & FLOW_EXTRA) && send_extra(ctx, f) < 0)
		goto refused;
	if ((flags & FLOW_SET_DMAC) && ctx_store(ctx, 0, f->out_mac, 6) < 0)
		goto refused;
	capture(ctx, out, PACKET_TO_PORT);
	if ((ctx->vlan_present || (flags & FLOW_PUSH_VLAN)) &&
	    retag(ctx, flags & FLOW_PUSH_VLAN ? f->out_vlan : 0) < 0)
		goto refused;
	if (flags & FLOW_ENCAP) {
		if ((flags & FLOW_TCP) && (f->state == CT_SYN_SENT || f->state == CT_SYN_RECV))
			mss_clamp(ctx, f->encap);
		return tunnel_out(ctx, f->encap, (__u32)(f->created_ns >> 8));
	}
	if (!(flags & FLOW_PEER))
		return (int)bpf_redirect(out, 0);
	return send_peer(ctx, out, flags & FLOW_TO_HOST ? PACKET_HOST : PACKET_OTHERHOST);
refused:
	count_drop(DROP_REDIRECT);
	return TC_ACT_SHOT;
}

/* Out of the port that the frame came from; one VLAN tag is still on it, of two none. < 0: it can not be sent. */
static __always_inline int answer_out(ctx_t *ctx, struct pkt *p)
{
	struct port_rec *q;

	if ((p->in.vlan & VLAN_STACK) && vlan_put(ctx, p->in.vlan) < 0)
		return -DROP_REDIRECT;
	if (p->port_flags & PORT_TUNNEL) {
		q = bpf_map_lookup_elem(&ports, &p->in);
		p->act = q ? tunnel_out(ctx, q->encap, 0) : TC_ACT_SHOT;
	} else if (p->port_flags & (PORT_UPLINK | PORT_NO_PEER)) {
		p->act = (int)bpf_redirect(p->in.ifindex, 0);
	} else {
		p->act = send_peer(ctx, p->in.ifindex, PACKET_HOST);
	}
	return STAGE_DONE;
}

/* A reply made here goes back to who asked. */
static __always_inline int send_back(ctx_t *ctx, struct pkt *p)
{
	__u32 len = ctx_len(ctx);
	int v;

	p->act = TC_ACT_REDIRECT;
	TRACE2(p, OUT_PORT, p->in.ifindex, p->in.vlan);
	if (p->trace)
		return STAGE_DONE;
	v = answer_out(ctx, p);
	if (v >= 0)
		count_port(p->in.ifindex, 1, p->len, 1, len, 0);
	return v;
}

#endif

/* Builds p->rec from what the stages decided about a frame with an output port. */
static __always_inline void record_build(struct pkt *p)
{
	struct flow_rec *r = &p->rec;
	__u16 flags = p->rec_flags;

	/* Out of a tunnel the kernel takes the frame for the outer protocol until a device has received it again. */
	if (!((p->out_flags & (PORT_UPLINK | PORT_NO_PEER)) || (p->port_flags & PORT_TUNNEL)))
		flags |= FLOW_PEER;
	if (p->out_flags & PORT_TUNNEL) {
		flags = (flags & ~FLOW_PEER) | FLOW_ENCAP;
		p->encap = p->out_encap;
	}
	if (p->set_mac && !mac_same(p->mac, p->dmac))
		flags |= FLOW_SET_DMAC;
	if (mac_same(p->set_mac ? p->mac : p->dmac, p->out_port_mac))
		flags |= FLOW_TO_HOST;
	if (p->out_vlan)
		flags |= FLOW_PUSH_VLAN;
	if (p->key.proto == PROTO_TCP)
		flags |= FLOW_TCP;
	if ((p->port_flags & PORT_XDP) && (p->out_flags & PORT_XDP_OUT))
		flags |= FLOW_XDP;
	__builtin_memset(r, 0, sizeof(*r));
	r->last = (__u32)p->jiffies;
	r->out = p->out;
	r->out_vlan = p->out_vlan;
	r->flags = flags;
	mac_copy(r->dmac, p->dmac);
	mac_copy(r->smac, p->smac);
	mac_copy(r->out_mac, p->mac);
	r->encap = p->encap;
	r->mirror = p->mirror;
	r->dscp = p->dscp;
	r->fact = p->fact;
	for (int i = 0; i < FLOW_METERS; i++)
		r->meters[i] = p->meters[i];
}

#ifndef HOOK_XDP

/* Frames without a record: non-IP unicast, neighbour discovery, ICMP errors. */
__noinline int stage_send(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);

	if (!p)
		return -DROP_INTERNAL;
	if (!p->stored)
		record_build(p);
	TRACE2(p, OUT_PORT, p->out, p->out_vlan);
	p->act = TC_ACT_REDIRECT;
	if (p->trace)
		return STAGE_DONE;
	if (!p->stored) {
		count_port(p->in.ifindex, wire_pkts(p->wire), wire_bytes(p->wire), 0, 0, 0);
		count_port(p->out, 0, 0, wire_pkts(p->wire), wire_bytes(p->wire), 0);
	}
	if (p->icmp == ICMP_ERROR && p->nat.flags && nat_error(ctx) < 0)
		return -DROP_REDIRECT;
	p->act = send_by_record(ctx, &p->rec);
	return STAGE_DONE;
}

#endif
#endif
