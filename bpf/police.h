/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_POLICE_H
#define DEMARC_BPF_POLICE_H

/*
 * What the policy of ports and the native functions of a chain add to the record of a flow: meters, a mirror, a DSCP; or
 * the verdict that it is dropped. Decided on the first packet; bpf/extra.h carries it out for every packet.
 */

#include "acl.h"
#include "extra.h"
#include "helper.h"
#include "maps_def.h"
#include "sg.h"

static __always_inline void meter_add(struct pkt *p, __u16 id)
{
	__u32 n = *(volatile __u16 *)&p->n_meters; /* else clang counts beside it, and the check is lost */

	__asm__ volatile("" : "+r"(n));
	if (!id || n >= FLOW_METERS)
		return;
	p->meters[n] = id;
	p->n_meters = (__u16)(n + 1);
	p->rec_flags |= FLOW_METER;
}

static __always_inline void mirror_add(struct pkt *p, __u16 slot)
{
	if (!slot)
		return;
	p->mirror = slot;
	p->rec_flags |= FLOW_MIRROR;
}

/* The limits and marks of both ports of the segment. */
__noinline int stage_qos(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);

	if (!p)
		return -DROP_INTERNAL;
	meter_add(p, p->meters_of[0]);
	mirror_add(p, p->mirrors_of[0]);
	if (p->marks & PORT_DSCP_SET) {
		p->dscp = p->marks & 0x3f;
		p->rec_flags |= FLOW_DSCP;
	}
	meter_add(p, p->meters_of[1]);
	mirror_add(p, p->mirrors_of[1]);
	if ((p->rec_flags & FLOW_METER) && !p->trace && !meters_pass(p->meters, p->wire, p->jiffies))
		return -DROP_METER;
	return STAGE_NEXT;
}

static __always_inline void native_helper(struct pkt *p, __u32 port)
{
	struct port_key k = { .ifindex = port };
	struct port_rec *q = bpf_map_lookup_elem(&ports, &k);

	if (q)
		helper_assign(p, q->flags);
}

/* The connection's opener entered by one port of the function and left by the other. */
static __always_inline int native_firewall(struct pkt *p, __u32 enter, __u32 leave)
{
	native_helper(p, enter);
	native_helper(p, leave);
	if (p->related || (p->checked && !p->trace))
		return STAGE_NEXT;
	if (p->reply)
		return sg_port_allows(leave, 0, 0) && sg_port_allows(enter, 0, 1) ? STAGE_NEXT :
										    -DROP_FIREWALL;
	return sg_port_allows(enter, 0, 0) && sg_port_allows(leave, 0, 1) ? STAGE_NEXT : -DROP_FIREWALL;
}

static __always_inline int native_limits(struct pkt *p, __u32 enter, __u32 kind)
{
	struct port_key k = { .ifindex = enter };
	struct port_rec *q = bpf_map_lookup_elem(&ports, &k);

	if (!q)
		return -DROP_CHAIN_EMPTY;
	if (kind == NATIVE_POLICER)
		meter_add(p, q->meter_to);
	else
		mirror_add(p, q->mirror);
	return STAGE_NEXT;
}

/* Native function i of those that chain_to_hop() met on the way. */
static __always_inline int native_one(ctx_t *ctx, __u32 i)
{
	struct pkt *p = stage_begin(ctx);
	struct native_visit *n;

	if (!p || i >= ABI_CHAIN_HOPS)
		return -DROP_INTERNAL;
	n = &p->natives[i];
	TRACE3(p, NATIVE, n->kind, n->enter, n->leave);
	switch (n->kind) {
	case NATIVE_ACL:
	case NATIVE_FIREWALL: /* stateless groups and the lists of its ports */
		if (!acl_port_allows(n->enter, 0, 0) || !acl_port_allows(n->leave, 0, 1))
			return -DROP_ACL;
		return n->kind == NATIVE_ACL ? STAGE_NEXT : native_firewall(p, n->enter, n->leave);
	case NATIVE_POLICER:
	case NATIVE_MIRROR:
		return native_limits(p, n->enter, n->kind);
	}
	return STAGE_NEXT;
}

__noinline int stage_native(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	int v;

	if (!p)
		return -DROP_INTERNAL;
	for (__u32 i = 0; i < ABI_CHAIN_HOPS; i++) {
		if (i >= p->n_natives)
			break;
		v = native_one(ctx, i);
		if (v)
			return v;
	}
	return STAGE_NEXT;
}

#endif
