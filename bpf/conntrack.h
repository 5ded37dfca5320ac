/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_CONNTRACK_H
#define DEMARC_BPF_CONNTRACK_H

/*
 * Connections. A connection over one segment (port P to port Q) is two flow records: (P, tuple) and its
 * partner (Q, reversed tuple), each holding the same state. Whichever is found makes the packet part of the
 * connection, so that one of them may be evicted, or its path moved, without cutting it.
 */

#include "maps_def.h"
#include "table.h"

enum tcp_event {
	TCP_EV_SYN,
	TCP_EV_SYNACK,
	TCP_EV_FIN,
	TCP_EV_ACK,
	TCP_EV_RST,
	TCP_EV_OTHER,
	TCP_EV_N
};

#define CT_SLOTS 16 /* a power of two, so that a mask bounds the index in the verifier's eyes */
_Static_assert(CT_N <= CT_SLOTS, "more states than slots");
#define KEEP 0xff
#define T_NO CT_NONE
#define T_SS CT_SYN_SENT
#define T_SR CT_SYN_RECV
#define T_ES CT_ESTABLISHED
#define T_FW CT_FIN_WAIT
#define T_CW CT_CLOSE_WAIT
#define T_LA CT_LAST_ACK
#define T_TW CT_TIME_WAIT
#define T_CL CT_CLOSE

/*
 * Next state by direction, event and state, as Linux conntrack moves (net/netfilter/nf_conntrack_proto_tcp.c
 * documents why); a segment that state cannot expect leaves it alone. From NONE a connection that is already
 * under way is picked up, because a function can be inserted in front of it.
 */
static const __u8 tcp_next[2][8][CT_SLOTS] = {
	/*		NO    SS    SR    ES    FW    CW    LA    TW    CL */
	{
		[TCP_EV_SYN] = { T_SS, T_SS, KEEP, KEEP, KEEP, KEEP, KEEP, T_SS, T_SS },
		[TCP_EV_SYNACK] = { T_ES, T_SR, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP },
		[TCP_EV_FIN] = { T_FW, KEEP, T_FW, T_FW, T_LA, T_LA, T_LA, T_TW, KEEP },
		[TCP_EV_ACK] = { T_ES, KEEP, T_ES, T_ES, T_CW, T_CW, T_TW, T_TW, KEEP },
		[TCP_EV_RST] = { T_CL, T_CL, T_CL, T_CL, T_CL, T_CL, T_CL, T_CL, T_CL },
		[TCP_EV_OTHER] = { T_ES, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP },
	},
	{
		[TCP_EV_SYN] = { T_SS, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, T_SS, T_SS },
		[TCP_EV_SYNACK] = { T_ES, T_SR, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP },
		[TCP_EV_FIN] = { T_FW, KEEP, T_FW, T_FW, T_LA, T_LA, T_LA, T_TW, KEEP },
		[TCP_EV_ACK] = { T_ES, KEEP, T_SR, T_ES, T_CW, T_CW, T_TW, T_TW, KEEP },
		[TCP_EV_RST] = { T_CL, T_CL, T_CL, T_CL, T_CL, T_CL, T_CL, T_CL, T_CL },
		[TCP_EV_OTHER] = { T_ES, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP, KEEP },
	},
};

static const __u32 ct_timeout[CT_SLOTS] = {
#define X(name, text, seconds) [CT_##name] = seconds,
	CT_TABLE(X)
#undef X
};

static __always_inline __u32 timeout_of(__u32 state)
{
	__asm__ volatile("%0 &= 15" : "+r"(state)); /* clang would prove it useless and drop it */
	return ct_timeout[state] * dp_globals.hz;
}

static __always_inline __u32 tcp_event_of(__u8 flags)
{
	if (flags & TCP_RST)
		return TCP_EV_RST;
	if (flags & TCP_SYN)
		return flags & TCP_ACK ? TCP_EV_SYNACK : TCP_EV_SYN;
	if (flags & TCP_FIN)
		return TCP_EV_FIN;
	return flags & TCP_ACK ? TCP_EV_ACK : TCP_EV_OTHER;
}

static __always_inline __u8 tcp_next_state(__u32 state, __u32 reply, __u8 flags)
{
	__u32 event = tcp_event_of(flags), at;
	__u8 next;

	if (state > CT_CLOSE)
		state = CT_NONE;
	at = ((reply ? 8 : 0) + event) * CT_SLOTS + state;
	__asm__ volatile("%0 &= 255" : "+r"(at)); /* as in timeout_of() */
	next = ((const __u8 *)tcp_next)[at];
	return next == KEEP ? (__u8)state : next;
}

static __always_inline __u8 next_state(struct pkt *p, __u8 state)
{
	if (p->key.proto == PROTO_TCP)
		return tcp_next_state(state, p->reply, p->tcp_flags);
	if (p->key.proto == PROTO_UDP)
		return p->reply || state == CT_UDP_REPLIED ? CT_UDP_REPLIED : CT_UDP_NEW;
	if (p->key.proto == PROTO_ICMP || p->key.proto == PROTO_ICMPV6)
		return CT_ICMP;
	return CT_GENERIC;
}

static __always_inline int rec_fresh(const struct flow_rec *f, __u64 now)
{
	return !(f->flags & FLOW_DROP) && !rec_idle(f, now);
}

/* A SYN on a connection that is over opens a new one: RFC 9293 section 3.6.1. */
static __always_inline int tcp_reopens(__u8 flags, __u8 state)
{
	return (flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN &&
	       (state == CT_TIME_WAIT || state == CT_CLOSE);
}

static __always_inline void set_state(struct flow_rec *f, __u8 state)
{
	f->state = state;
	f->timeout = timeout_of(state);
}

/*
 * From the fast path, p->key set: a TCP segment that may change the state. Returns 1 when it opens a new
 * connection (and the slow path has to decide), else 0 after both records were moved on.
 */
__noinline int tcp_advance(__u32 flags)
{
	struct pkt *p = pkt_get();
	struct flow_rec *f, *other;
	__u8 next;

	if (!p)
		return 1;
	f = flow_find(&p->key);
	if (!f || tcp_reopens((__u8)flags, f->state))
		return 1;
	next = tcp_next_state(f->state, !(f->conn & CONN_OPENER), (__u8)flags);
	if (next == f->state)
		return 0;
	set_state(f, next);
	key_reverse(&p->rkey, &p->key);
	p->rkey.ifindex = f->out;
	p->rkey.vlan = f->out_vlan;
	other = flow_find(&p->rkey);
	if (other && !(other->flags & FLOW_DROP))
		set_state(other, next);
	return 0;
}

/* The record of this very tuple, before anything is decided; p->had when it is of a living connection. */
__noinline int stage_flow(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct flow_rec *f, *other;

	if (!p)
		return -DROP_INTERNAL;
	if (!p->flow)
		return STAGE_NEXT;
	f = flow_find(&p->key);
	p->seen = f != 0;
	if (!f || (f->flags & FLOW_DROP) || tcp_reopens(p->tcp_flags, f->state)) {
		TRACE0(p, FLOW_MISS);
		return STAGE_NEXT;
	}
	p->had_out = f->out;
	p->had_vlan = f->out_vlan;
	p->had_path = f->path;
	p->had_chain = f->chain;
	p->had_hop = f->hop;
	p->had_dir = f->dir;
	p->had_conn = f->conn;
	p->had_state = f->state;
	p->created_ns = f->created_ns;
	p->had = rec_fresh(f, p->jiffies);
	if (!p->had) { /* idle in this direction only? */
		key_reverse(&p->rkey, &p->key);
		p->rkey.ifindex = p->had_out;
		p->rkey.vlan = p->had_vlan;
		other = flow_find(&p->rkey);
		p->had = other && rec_fresh(other, p->jiffies);
	}
	if (!p->had)
		TRACE0(p, FLOW_MISS);
	else if (f->gen == dp_globals.gen)
		TRACE2(p, FLOW_HIT, f->out, f->path);
	else
		TRACE2(p, FLOW_STALE, f->out, f->path);
	return STAGE_NEXT;
}

/* p->out is known: is the packet part of a connection, and of which side? */
__noinline int stage_conntrack(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct flow_rec *other;
	__u8 state = CT_NONE;

	if (!p)
		return -DROP_INTERNAL;
	key_reverse(&p->rkey, &p->key);
	p->rkey.ifindex = p->out;
	p->rkey.vlan = p->out_vlan;
	other = flow_find(&p->rkey);
	p->rseen = other != 0;
	if (other && !p->had &&
	    (!rec_fresh(other, p->jiffies) || tcp_reopens(p->tcp_flags, other->state)))
		other = 0;
	if (other && (other->flags & FLOW_DROP))
		other = 0;
	p->partner = other != 0;
	if (other)
		p->checked = other->gen == p->gen && other->path == p->path &&
			     other->out == p->in.ifindex && other->out_vlan == p->in.vlan;
	if (p->had) {
		p->known = 1;
		p->reply = !(p->had_conn & CONN_OPENER);
		state = p->had_state;
	} else if (other) {
		p->known = 1;
		p->reply = !!(other->conn & CONN_OPENER);
		p->created_ns = other->created_ns;
		state = other->state;
	} else {
		p->created_ns = p->now;
	}
	p->state = next_state(p, state);
	if (!p->known)
		TRACE0(p, CT_NEW);
	else if (p->reply)
		TRACE1(p, CT_REPLY, p->state);
	else
		TRACE1(p, CT_EST, p->state);
	return STAGE_NEXT;
}

/* An ICMP error goes where the reply to the packet inside it would go. */
__noinline int stage_related(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct flow_rec *f;
	struct port_rec *q;

	if (!p)
		return -DROP_INTERNAL;
	if (p->icmp != ICMP_ERROR || p->multicast)
		return STAGE_NEXT;
	f = flow_find(&p->inner);
	if (!f || !rec_fresh(f, p->jiffies))
		return STAGE_NEXT;
	p->outk.ifindex = f->out;
	p->outk.vlan = f->out_vlan;
	q = bpf_map_lookup_elem(&ports, &p->outk);
	if (!q || (!f->path && q->net != p->net)) /* the port was re-wired since */
		return STAGE_NEXT;
	p->known = 1;
	p->out = f->out;
	p->out_vlan = f->out_vlan;
	p->set_mac = !!(f->flags & FLOW_SET_DMAC);
	mac_copy(p->mac, f->out_mac);
	TRACE1(p, FLOW_RELATED, p->out);
	return STAGE_NEXT;
}

/* ---- writing records ---- */

static __always_inline void record_finish(struct pkt *p, struct flow_rec *r)
{
	r->created_ns = p->created_ns;
	r->path = p->path;
	r->chain = p->chain;
	r->hop = (__u8)p->hop;
	r->dir = p->dir;
	r->net = p->net;
	r->state = p->state;
	r->timeout = timeout_of(p->state);
	r->conn = (p->reply ? CONN_REPLIED : CONN_OPENER) | (p->had_conn & CONN_REPLIED) |
		  (p->entry && !p->reply ? CONN_ENTRY : 0);
	if (p->had_conn & CONN_ENTRY)
		r->conn |= p->path ? CONN_ENTRY : 0;
	r->reason = 0;
	r->rule = p->rule;
}

/* Everything but the counters; the generation last, so that no other CPU uses a half-written record. */
static __always_inline void record_overwrite(struct flow_rec *f, const struct flow_rec *r)
{
	__sync_lock_test_and_set(&f->gen, 0); /* a full barrier, as is the one at the end */
	f->last = r->last;
	f->out = r->out;
	mac_copy(f->dmac, r->dmac);
	mac_copy(f->smac, r->smac);
	f->timeout = r->timeout;
	f->flags = r->flags;
	f->state = r->state;
	mac_copy(f->out_mac, r->out_mac);
	f->encap = r->encap;
	f->mirror = r->mirror;
	f->dscp = r->dscp;
	for (int i = 0; i < FLOW_METERS; i++)
		f->meters[i] = r->meters[i];
	f->rule = r->rule;
	f->created_ns = r->created_ns;
	f->path = r->path;
	f->chain = r->chain;
	f->out_vlan = r->out_vlan;
	f->dir = r->dir;
	f->conn = r->conn;
	f->reason = r->reason;
	f->net = r->net;
	f->hop = r->hop;
	__sync_lock_test_and_set(&f->gen, r->gen);
}

static __always_inline void record_put(struct pkt *p)
{
	struct flow_rec *f = 0;

	if (p->seen)
		f = flow_find(&p->key);
	if (!f) {
		p->rec.pkts = 1;
		p->rec.bytes = p->len;
		flow_insert(&p->key, &p->rec, BPF_ANY);
		return;
	}
	flow_account(p->key.ifindex, f);
	record_overwrite(f, &p->rec);
	__sync_fetch_and_add(&f->pkts, 1);
	__sync_fetch_and_add(&f->bytes, p->len);
}

/* The partner waits for its first packet with generation 0: the slow path then completes it. */
static __always_inline void partner_put(struct pkt *p)
{
	struct flow_rec *o = 0;
	struct flow_rec *r = &p->prec;

	if (p->rseen)
		o = flow_find(&p->rkey);

	if (o && !(o->flags & FLOW_DROP) && p->partner) {
		set_state(o, p->state);
		if (p->reply)
			o->conn |= CONN_REPLIED;
		if (o->out == p->in.ifindex && o->path == p->path)
			return;
		flow_account(p->rkey.ifindex, o);
		__sync_lock_test_and_set(&o->gen, 0);
		o->out = p->in.ifindex;
		o->out_vlan = p->in.vlan;
		o->path = p->path;
		o->chain = p->chain;
		o->hop = (__u8)p->hop;
		o->dir = !p->dir;
		return;
	}
	if (o)
		flow_account(p->rkey.ifindex, o);
	__builtin_memset(r, 0, sizeof(*r));
	r->last = p->jiffies;
	r->created_ns = p->created_ns;
	r->state = p->state;
	r->timeout = timeout_of(p->state);
	r->out = p->in.ifindex;
	r->out_vlan = p->in.vlan;
	r->path = p->path;
	r->chain = p->chain;
	r->net = p->net;
	r->hop = (__u8)p->hop;
	r->dir = !p->dir;
	r->conn = CONN_RESERVED | (p->reply ? CONN_OPENER : 0);
	flow_insert(&p->rkey, r, BPF_ANY);
}

__noinline int stage_store(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	int v;

	if (!p)
		return -DROP_INTERNAL;
	if (p->trace || p->unrecorded)
		return STAGE_NEXT;
	v = record_build(p);
	if (v)
		return v;
	p->rec.gen = p->gen;
	record_finish(p, &p->rec);
	p->stored = 1;
	if (!p->known) {
		if (conn_take(p->key.family))
			return STAGE_NEXT; /* forwarded, not remembered */
		__sync_fetch_and_add(&dp_globals.n_made, 1);
	}
	record_put(p);
	partner_put(p);
	return STAGE_NEXT;
}

/* Remembers for a second that policy drops this flow. */
__noinline int record_denied(__u32 reason)
{
	struct pkt *p = pkt_get();
	struct flow_rec *r;

	if (!p || p->trace)
		return 0;
	r = &p->rec;
	__builtin_memset(r, 0, sizeof(*r));
	r->gen = p->gen;
	r->last = p->jiffies;
	r->created_ns = p->now;
	mac_copy(r->dmac, p->dmac);
	mac_copy(r->smac, p->smac);
	r->flags = FLOW_DROP;
	r->state = CT_DENIED;
	r->timeout = timeout_of(CT_DENIED);
	r->reason = (__u8)reason;
	r->net = p->net;
	r->rule = p->rule;
	p->created_ns = p->now;
	if (!conn_take(p->key.family))
		record_put(p);
	return 0;
}

#endif
