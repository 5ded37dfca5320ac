/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_FIRST_H
#define DEMARC_BPF_FIRST_H

/*
 * What decides whether a first packet opens a flow: the stages up to the limits of new connections. They compile for both hooks. The tc
 * program goes on from here; XDP (bpf/xdp_first.h) ends what is refused.
 */

#include "acl.h"
#include "chain.h"
#include "conntrack.h"
#include "cookie.h"
#include "flood.h"
#include "held.h"
#include "l2.h"
#include "nat_stage.h"
#include "pkt.h"
#include "police.h"
#include "sg.h"
#include "way.h"

#define RUN(stage)                                                                                 \
	do {                                                                                       \
		v = stage(ctx);                                                                    \
		if (v)                                                                             \
			return v;                                                                  \
	} while (0)

/* What most packets need not go through. */
#define RUN_IF(condition, stage)                                                                   \
	do {                                                                                       \
		if (condition)                                                                     \
			RUN(stage);                                                                \
	} while (0)

/* An empty scratch packet. */
static __always_inline void pkt_begin(struct pkt *p, __u32 ifindex, __u16 vlan)
{
	__builtin_memset(p, 0, __builtin_offsetof(struct pkt, scratch));
	p->now = bpf_ktime_get_coarse_ns();
	p->jiffies = bpf_jiffies64();
	p->writes = writes_now();
	p->key.ifindex = ifindex;
	p->key.vlan = vlan;
}

static __always_inline int is_policy(__u32 reason)
{
	return reason == DROP_SG_EGRESS || reason == DROP_SG_INGRESS || reason == DROP_FIREWALL ||
	       reason == DROP_ACL || reason == DROP_REJECT;
}

/*
 * A verdict of policy on a flow is remembered. A connection outlives its packets that some rule about TCP flags or DSCP denies.
 */
static __always_inline void drop_remember(struct pkt *p, __u32 reason)
{
	if (p->flow && p->net && is_policy(reason) && !(p->had && (p->rec_flags & FLOW_VARIES)))
		record_denied(reason);
	else
		count_port(p->key.ifindex, wire_pkts(p->wire), wire_bytes(p->wire), 0, 0,
			   wire_pkts(p->wire));
}

/* Where does it go? Of what is steered and tracked: IP unicast. */
static __always_inline int run_way(ctx_t *ctx)
{
	struct pkt *p = pkt_get();
	int v;

	if (!p)
		return -DROP_INTERNAL;
	RUN_IF(p->nat_in || p->nat.flags, stage_nat_in);
	RUN_IF(dp_globals.chained, stage_classify);
	RUN_IF(dp_globals.chained, stage_chain);
	RUN_IF(p->nat.flags, stage_nat_route);
	p = pkt_get();
	if (!p)
		return -DROP_INTERNAL;
	RUN_IF(!way_leads(p), stage_l2);
	return STAGE_NEXT;
}

/* May it go there? */
static __always_inline int run_rules(ctx_t *ctx)
{
	struct pkt *p = pkt_get();
	int v;

	if (!p)
		return -DROP_INTERNAL;
	RUN(stage_conntrack);
	RUN_IF((p->port_flags & PORT_ACL_FROM) || (p->out_flags & PORT_ACL_TO), stage_acl);
	RUN_IF(p->n_natives, stage_native);
	RUN(stage_sg);
	RUN_IF(p->out_flags & PORT_LIMITED, stage_limits);
	return STAGE_NEXT;
}

#endif
