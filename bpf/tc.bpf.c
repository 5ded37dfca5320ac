/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * The datapath at tc ingress: one program on the host side of every function's veth and on every NIC.
 * docs/DATAPATH.md draws the stages.
 */

#include "acl.h"
#include "arp.h"
#include "chain.h"
#include "conntrack.h"
#include "cookie.h"
#include "ctx.h"
#include "decap.h"
#include "fast.h"
#include "first.h"
#include "first_hop.h"
#include "frag.h"
#include "l2.h"
#include "list.h"
#include "lone.h"
#include "maps_def.h"
#include "nat_stage.h"
#include "nd.h"
#include "output.h"
#include "parse.h"
#include "pkt.h"
#include "police.h"
#include "port.h"
#include "reject.h"
#include "sg.h"
#include "spoof.h"
#include "vlan.h"
#include "walk.h"

/* The token makes a mark that some packet happens to carry harmless; there is none unless a trace runs. */
static __always_inline int is_trace(ctx_t *ctx)
{
	return dp_globals.trace_token && ctx->mark == dp_globals.trace_token;
}

static __always_inline void trace_parsed(struct pkt *p)
{
	if (p->kind == PKT_IP) {
		TRACE3(p, PARSE_IP, p->key.family, p->key.proto, p->len);
		TRACE2(p, PARSE_PORTS, bpf_ntohs(p->key.sport), bpf_ntohs(p->key.dport));
	} else if (p->kind == PKT_OTHER) {
		TRACE2(p, PARSE_OTHER, p->ethertype, p->len);
	}
}

/* Everything the frame says about itself, into the scratch packet. */
__noinline int stage_parse(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	int v;

	if (!p)
		return -DROP_INTERNAL;
	pkt_begin(p, ctx_port(ctx), ctx_vlan(ctx));
	p->trace = is_trace(ctx);
	if (p->trace && ctx->cb[0])
		p->key.vlan = (__u16)ctx->cb[0];
	p->len = ctx_len(ctx);
	p->wire = WIRE_ONE | p->len;
	if (p->key.vlan == VLAN_DEEP)
		return -DROP_VLAN_STACK;
	v = parse_packet(ctx, p);
	if (v)
		return v;
	p->wire = wire_of_parsed(ctx, p);
	trace_parsed(p);
	return p->frag ? frag_ports(ctx) : STAGE_NEXT;
}

/* Ends the packet; a verdict of policy on a flow is remembered. p->reject: an answer is due. */
__noinline int packet_drop(ctx_t *ctx, __u32 reason)
{
	struct pkt *p = stage_begin(ctx);

	if (reason >= DROP_N)
		reason = DROP_INTERNAL;
	if (!p)
		return TC_ACT_SHOT;
	if (reason == DROP_ACL && p->reject)
		reason = reject_reason(p);
	else
		p->reject = 0;
	TRACE1(p, OUT_DROP, reason);
	if (p->trace)
		return TC_ACT_SHOT;
	count_drops(reason, wire_pkts(p->wire));
	drop_told(ctx, reason, p->rule);
	if (reason == DROP_REJECT_LIMIT) /* what follows may be answered */
		reason = DROP_REJECT;
	else if (!p->allowed && reason != DROP_REJECT && reason != DROP_METER)
		flood_note(p);
	drop_remember(p, reason);
	return TC_ACT_SHOT;
}

/* What is steered and tracked: IP unicast. */
static __always_inline int run_ip(ctx_t *ctx)
{
	struct pkt *p = pkt_get();
	int v;

	if (!p)
		return -DROP_INTERNAL;
	RUN_IF(!p->absent, stage_flow);
	return run_way(ctx);
}

/* Something was replaced or removed while the stages ran: bpf/held.h. An announced connection was taken from those that are waited for. */
static __always_inline int may_ask_again(struct pkt *p)
{
	return was_written(p) && !p->asked && !p->frag && !(p->related && !p->known);
}

static __always_inline int run_record(ctx_t *ctx)
{
	struct pkt *p = pkt_get();
	int v;

	if (!p)
		return -DROP_INTERNAL;
	RUN_IF(p->nat_out || p->nat.flags, stage_nat_out);
	v = run_rules(ctx);
	if (v)
		return v;
	if (may_ask_again(p))
		return STAGE_AGAIN;
	p->allowed = 1;
	RUN_IF(p->meters_of[0] || p->meters_of[1] || p->mirrors_of[0] || p->mirrors_of[1] ||
		       p->marks || (p->rec_flags & FLOW_METER),
	       stage_qos);
	RUN(stage_store);
	if (p->rec_flags & FLOW_HELPER)
		helper_run(ctx, p->net);
	RUN_IF(p->cookie, stage_cookie);
	return STAGE_NEXT;
}

/* The stages in order. */
static __always_inline int run_stages(ctx_t *ctx, int parsed)
{
	struct pkt *p;
	int v;

	if (parsed < 0)
		return parsed;
	if (!(parsed & SLOW_PARSED))
		RUN(stage_parse);
	p = pkt_get();
	if (!p)
		return -DROP_INTERNAL;
	p->absent = !!(parsed & SLOW_ABSENT);
	RUN(port_of);
	p = pkt_get();
	if (!p)
		return -DROP_INTERNAL;
	if (p->guards || is_dhcp(p))
		RUN(stage_guard);
	RUN_IF(!(p->port_flags & PORT_SECURITY), stage_learn);
	p = pkt_get();
	if (!p)
		return -DROP_INTERNAL;
	if (p->kind == PKT_ARP)
		RUN(stage_arp);
	if (p->icmp == ICMP_CONTROL)
		RUN(stage_nd);
	if (p->multicast)
		return stage_flood(ctx);
	if (!p->flow) {
		RUN(stage_related);
		RUN(stage_l2);
	} else {
		v = run_ip(ctx);
		if (v)
			return v;
	}
	if (!p->out)
		return stage_flood(ctx);
	if (p->flow) {
		v = run_record(ctx);
		if (v)
			return v;
	} else if (p->kind == PKT_IP && !p->known) { /* an ICMP error about a connection is as free as that */
		RUN(stage_acl);
	}
	return stage_send(ctx);
}

/*
 * Not inlined: the fast path keeps its registers. `parsed`: enum slow_known, < 0 when it was and is to be dropped. What is dropped may be an answer
 * whose record was not made yet, or was decided by what was another's by then; then once more.
 */
__noinline int slow_path(ctx_t *ctx, int parsed)
{
	struct pkt *p;
	int v = 0;

	p = pkt_get();
	if (!p)
		return TC_ACT_SHOT;
	p->asked = 0;
#pragma nounroll
	for (int i = 0; i < 3; i++) {
		v = run_stages(ctx, parsed);
		p = pkt_get();
		if (!p)
			return TC_ACT_SHOT;
		if (v >= 0 && v != STAGE_AGAIN)
			return p->act;
		if (parsed < 0 || (v < 0 && !may_ask_again(p) && !lone_again(p, (__u32)-v)))
			break;
		p->asked |= was_written(p);
		parsed = 0;
		__asm__ volatile(""
				 : "+r"(i)); /* else clang counts in a bit, which the verifier does not follow */
	}
	packet_drop(ctx, (__u32)-v);
	return p->reject ? reject_send(ctx) : TC_ACT_SHOT;
}

/* The record of a packet that only the full parser understands: options, extension headers, ICMP. */
static __always_inline struct flow_rec *find_parsed(ctx_t *ctx, struct fast *m)
{
	struct pkt *p;

	m->parsed = stage_parse(ctx);
	if (m->parsed)
		return 0;
	m->parsed = 1;
	p = pkt_get();
	if (!p || !p->flow)
		return 0;
	m->mac_hi = *(__u64 *)p->dmac;
	m->mac_lo = *(__u32 *)(p->smac + 2);
	m->seg = p->seg;
	if (p->frag == FRAG_LATER)
		m->later = 1;
	return flow_find(&p->key);
}

/* A flooded copy for a tunnel comes to its NIC with this mark; functions cannot set one, their namespace ends it. */
static __always_inline int is_copy(ctx_t *ctx)
{
	return dp_globals.n_tunnels && (ctx->mark & ENCAP_MARK_MASK) == ENCAP_MARK;
}

static __always_inline int tunnel_copy(ctx_t *ctx)
{
	__u32 slot = ctx->mark & ~ENCAP_MARK_MASK;

	ctx->mark = 0;
	return tunnel_out(ctx, slot, slot);
}

/*
 * A frame without a record, as fast_parse() took it, into the scratch packet: what stage_parse() would make of it. 0: that has to look itself.
 */
static __always_inline int plain_first(ctx_t *ctx, const struct flow_key *k, const struct fast *m)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv4_words *ip = data + ETH_SIZE;
	struct ipv6_words *ip6 = data + ETH_SIZE;
	struct pkt *p = pkt_get();

	if (!p || (void *)(ip + 1) > end || k->vlan == VLAN_DEEP || (((const __u8 *)&m->mac_hi)[6] & 1))
		return 0;
	pkt_begin(p, k->ifindex, k->vlan);
	if (k->family == 6) {
		if ((void *)(ip6 + 1) > end)
			return 0;
		p->key = *k;
		p->dscp_seen = (__u8)(bpf_ntohl(ip6->ver) >> 22 & 0x3f);
		p->hop_limit = ip6->hops;
		p->ethertype = ETHERTYPE_IPV6;
		p->l4_off = ETH_SIZE + sizeof(*ip6);
	} else {
		__builtin_memcpy(&p->key, k, FLOW_KEY4_SIZE);
		p->dscp_seen = ip->tos >> 2;
		p->hop_limit = ip->ttl;
		p->frag_id = bpf_ntohs(ip->id);
		p->ethertype = ETHERTYPE_IPV4;
		p->l4_off = ETH_SIZE + sizeof(*ip);
	}
	*(__u64 *)p->dmac = m->mac_hi;
	*(__u32 *)(p->smac + 2) = m->mac_lo;
	p->multicast = p->dmac[0] & 1;
	p->l3_off = ETH_SIZE;
	p->kind = PKT_IP;
	p->flow = !p->multicast;
	p->len = ctx_len(ctx);
	if (k->proto == PROTO_TCP) {
		p->seg.seq = m->seg.seq;
		p->seg.ack = m->seg.ack;
		p->seg.len = m->seg.len;
		p->seg.win = m->seg.win;
		p->seg.off = m->seg.off;
		p->seg.flags = m->seg.flags;
		p->tcp_flags = p->flags_seen = (__u8)m->seg.flags;
	}
	p->wire = wire_of_parsed(ctx, p);
	return SLOW_PARSED;
}

static __always_inline int trace_frame(ctx_t *ctx)
{
	if (vlan_inside(ctx))
		vlan_stack(ctx);
	return slow_path(ctx, 0);
}

SEC("tc")
int dp_ingress(ctx_t *ctx)
{
	struct flow_rec *f = 0;
	struct flow_key k;
	struct fast m;
	__u64 now;
	int plain, v;

	m.later = 0;
	m.parsed = 0;
	ctx->cb[1] = ctx->ifindex;
	ctx->cb[2] = ctx->vlan_present ? ctx->vlan_tci & 0xfff : 0;
	if (ctx->mark) {
		if (is_trace(ctx))
			return trace_frame(ctx);
		if (is_copy(ctx))
			return tunnel_copy(ctx);
	}
	if (dp_globals.n_tunnels && ctx->pkt_type == PACKET_HOST) {
		v = decap(ctx);
		if (v < 0)
			return fast_drop(ctx, (__u32)-v, WIRE_ONE | ctx->len);
		if (v)
			ctx->cb[1] = (__u32)v;
	}
	capture(ctx, ctx_port(ctx), PACKET_FROM_PORT);
	plain = !fast_parse(ctx, &k, &m);
	if (!plain && vlan_inside(ctx)) {
		vlan_stack(ctx);
		plain = !fast_parse(ctx, &k, &m);
	}
	f = plain ? flow_find(&k) : find_parsed(ctx, &m);
	if (!f) {
		if (plain)
			m.parsed = plain_first(ctx, &k, &m);
		return slow_path(ctx, m.parsed < 0 ? m.parsed : m.parsed | SLOW_ABSENT);
	}
	now = bpf_jiffies64();
	if (!fast_current(f, &m, now))
		return slow_path(ctx, m.parsed);
	if ((f->flags & FLOW_VARIES) && !fact_holds(ctx, m.parsed, f->fact))
		return slow_path(ctx, m.parsed);
	if ((f->flags & FLOW_TCP) && !m.later && ((f->flags & FLOW_SEQ) || tcp_plain(f, &m.seg))) {
		if (plain)
			key_to_pkt(&k, &m);
		v = tcp_advance(ctx->len);
		if (v > 0)
			return slow_path(ctx, m.parsed);
		if (v < 0)
			return fast_drop(ctx, (__u32)-v, wire_of(ctx, m.parsed));
	}
	if (f->flags & FLOW_HELPER) {
		if (plain)
			key_to_pkt(&k, &m);
		fast_help(ctx, f, plain);
	}
	return fast_go(ctx, f, now, m.parsed);
}

char dp_license[] SEC("license") = "Dual BSD/GPL";
