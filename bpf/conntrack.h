/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_CONNTRACK_H
#define DEMARC_BPF_CONNTRACK_H

/*
 * Connections. A connection over one segment (port P to port Q) is two flow records: (P, tuple) and its
 * partner (Q, reversed tuple), each holding the same state. Whichever is found makes the packet part of the
 * connection, so that one of them may be evicted, or its path moved, without cutting it.
 */

#include "half_open.h"
#include "helper.h"
#include "lone.h"
#include "maps_def.h"
#include "nat_stage.h"
#include "parse.h"
#include "partner.h"
#include "table.h"
#include "tcp.h"
#include "wire.h"

static const __u32 ct_timeout[CT_SLOTS] = {
#define X(name, text, seconds) [CT_##name] = seconds,
	CT_TABLE(X)
#undef X
};

MAP(ct_conf, BPF_MAP_TYPE_ARRAY, __u32, struct ct_conf, 1);

static __always_inline struct ct_conf *ct_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&ct_conf, &zero);
}

static __always_inline __u32 timeout_of(__u32 state)
{
	struct ct_conf *c = ct_settings();
	__u32 s;

	__asm__ volatile("%0 &= 15" : "+r"(state)); /* clang would prove it useless and drop it */
	s = c ? c->timeout_s[state] : 0;
	return (s ? s : ct_timeout[state]) * dp_globals.hz;
}

static __always_inline __u8 next_state(struct pkt *p, __u8 state)
{
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

static __always_inline void set_state(struct flow_rec *f, __u8 state)
{
	f->state = state;
	f->timeout = timeout_of(state);
}

/* The low bits of a clock. */
static __always_inline __u32 now_us(void)
{
	return (__u32)(bpf_ktime_get_ns() / 1000);
}

/*
 * Round trips of the handshake. Until ESTABLISHED nothing else needs `ack_max`: it holds when the direction sent its
 * SYN, the last one (Karn: which one was answered cannot be told).
 */
static __always_inline void tcp_round_trip(struct flow_rec *f, struct flow_rec *o, __u8 from, __u8 to)
{
	if (to == CT_SYN_SENT) {
		f->ack_max = now_us();
		return;
	}
	if (!o || from == to)
		return;
	if (to == CT_SYN_RECV) {
		f->ack_max = now_us();
		o->rtt_us = f->ack_max - o->ack_max;
	} else if (from == CT_SYN_RECV) {
		o->rtt_us = now_us() - o->ack_max;
		o->ack_max = f->seq_end;
	}
}

/*
 * From the fast path, p->key and p->seg set: a TCP segment that may change the state, or is beyond the limits that the
 * record knows. Returns 1 when the slow path has to decide, 0 when it goes its way, -enum drop_reason.
 */
__noinline int tcp_advance(__u32 len)
{
	struct pkt *p = pkt_get();
	struct flow_rec *f, *o;
	__u8 state, reply;
	int v;

	if (!p || (p->seg.flags & TCP_SYN))
		return 1;
	f = flow_find(&p->key);
	if (!f || (f->conn & CONN_LONE))
		return 1;
	o = partner_find(&p->rkey, &p->key, f);
	if (o && (o->flags & FLOW_DROP))
		o = 0;
	if (f->tcp_bits & TCPW_COOKIE)
		return 1;
	reply = !(f->conn & CONN_OPENER);
	if ((f->flags & FLOW_SEQ) && !reply)
		p->seg.ack += f->seq_add;
	v = tcp_judge(f, o, &p->seg, reply);
	if (v == TCP_BAD)
		return -DROP_CT_INVALID;
	state = (__u8)v;
	if (v < 0 || state == f->state)
		return 0;
	tcp_round_trip(f, o, f->state, state);
	limit_leave(reply ? o : f, f->state, state, reply);
	set_state(f, state);
	if (o)
		set_state(o, state);
	return 0;
}

/* The record of this very tuple, before anything is decided; p->had when it is of a living connection. */
__noinline int stage_flow(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct flow_rec *f = 0, *other;

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
	flow_had(p, f);
	p->had = rec_fresh(f, p->jiffies);
	if (!p->had) { /* idle in this direction only? */
		other = partner_find(&p->rkey, &p->key, f);
		p->had = other && rec_fresh(other, p->jiffies);
	}
	if (p->had)
		nat_load(p, f);
	if (!p->had)
		TRACE0(p, FLOW_MISS);
	else if (f->gen == dp_globals.gen)
		TRACE2(p, FLOW_HIT, f->out, f->path);
	else
		TRACE2(p, FLOW_STALE, f->out, f->path);
	return STAGE_NEXT;
}

/* The option at p->buf[at], of n bytes in all. Returns its size, 0: no more. */
__noinline __u32 tcp_option(__u32 at, __u32 n)
{
	struct pkt *p = pkt_get();
	const __u8 *b;
	__u32 size;

	if (!p || n > 40 || at >= n)
		return 0;
	b = p->buf + (at & 63);
	if (b[0] < 2)
		return b[0];
	size = b[1];
	if (at + 1 >= n || size < 2 || size > n - at)
		return 0;
	if (b[0] == 2 && size == 4)
		p->seg.mss = load16(b + 2);
	if (b[0] == 3 && size == 3) {
		p->seg.scaled = 1;
		p->seg.wscale = b[2] > 14 ? 14 : b[2];
	}
	if (b[0] == 4 && size == 2)
		p->seg.sack_ok = 1;
	return size;
}

/* The options of a SYN: RFC 9293 section 3.2, RFC 7323 section 2.2, RFC 2018 section 2. */
__noinline int tcp_options(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	__u32 n, at = 0, size;

	if (!p)
		return 0;
	n = p->seg.off - 21u; /* one less: one compare tells the verifier of 6.1 that it is 1..40 */
	if (n > 39)
		return 0;
	__asm__ volatile("" : "+r"(n));
	n++;
	if (ctx_load_any(ctx, p->l4_off + 20u, p->buf, n) < 0)
		return 0;
	for (int i = 0; i < 40; i++) {
		size = tcp_option(at, n);
		if (!size)
			return 0;
		at += size;
	}
	return 0;
}

/* Whether a firewall is on the segment may change during a connection; windows that were not followed stay unknown. */
static __always_inline void tcp_guard(struct flow_rec *f, const struct pkt *p)
{
	if (!p->stateful)
		f->tcp_bits |= TCPW_FREE | TCPW_LIBERAL;
	else
		f->tcp_bits &= ~TCPW_FREE;
	if (p->liberal)
		f->tcp_bits |= TCPW_LIBERAL;
}

/* A segment of a connection whose own record is gone. */
static __always_inline int tcp_track_lost(struct pkt *p, struct flow_rec *o, __u8 state)
{
	__u8 next = tcp_next_state(state, p->reply, p->tcp_flags);

	if (o && (o->tcp_bits & TCPW_COOKIE))
		return -DROP_CT_INVALID;
	if (p->stateful && (next == T_IV || !tcp_flags_legal(p->tcp_flags)))
		return -DROP_CT_INVALID;
	p->state = next < CT_N ? next : state;
	if (o && !p->trace)
		o->tcp_bits |= TCPW_LIBERAL;
	return STAGE_NEXT;
}

/* The server has answered the SYN that a cookie led to: both directions are known, and how their numbers differ. */
static __always_inline void cookie_spliced(struct pkt *p, struct flow_rec *f, struct flow_rec *o,
					   __u32 add)
{
	tcp_start(f, &p->seg);
	f->wscale = 0;
	f->tcp_bits &= ~TCPW_SCALED;
	tcp_note_synack(f, &p->seg);
	f->ack_max = o->seq_end;
	f->seq_max = f->seq_end + o->win;
	f->seq_add = add;
	o->ack = f->seq_end;
	o->room = o->win;
	o->seq_max = tcp_room_end(f);
	o->ack_max = f->seq_end;
	o->tcp_bits = (o->tcp_bits & ~TCPW_COOKIE) | TCPW_ACKED;
	o->seq_add = -add;
	o->flags |= FLOW_SEQ;
}

/* Between the cookie and the server's answer. */
static __always_inline int cookie_track(struct pkt *p, struct flow_rec *f, struct flow_rec *o)
{
	__u16 main = p->seg.flags & TCP_MAIN;
	__u32 add;

	if (!p->reply) {
		p->cookie = COOKIE_SYN;
		return main == TCP_ACK ? STAGE_NEXT : -DROP_CT_INVALID;
	}
	if (!o || !(main & TCP_ACK) || p->seg.ack != o->seq_end || p->seg.len)
		return -DROP_CT_INVALID;
	if (main == (TCP_SYN | TCP_ACK)) {
		add = o->seq_add - p->seg.seq;
		p->cookie = COOKIE_SPLICE;
		p->state = CT_ESTABLISHED;
		p->peer_win = o->win;
		if (!p->trace)
			cookie_spliced(p, f, o, add);
	} else if (main == (TCP_RST | TCP_ACK)) {
		add = o->seq_add + 1 - p->seg.seq;
		p->state = CT_CLOSE;
	} else {
		return -DROP_CT_INVALID;
	}
	p->seq_add = add;
	p->rec_flags |= FLOW_SEQ;
	return STAGE_NEXT;
}

static __always_inline int tcp_track_known(struct pkt *p, struct flow_rec *o, __u8 state)
{
	struct flow_rec *f = 0;
	int v;

	if (p->had)
		f = flow_find(&p->key);
	if (!f)
		return tcp_track_lost(p, o, state);
	if (p->trace) {
		p->rec = *f;
		f = &p->rec;
	}
	if (o && p->trace) {
		p->prec = *o;
		o = &p->prec;
	}
	tcp_guard(f, p);
	if (o)
		tcp_guard(o, p);
	p->state = state;
	if (f->tcp_bits & TCPW_COOKIE)
		return cookie_track(p, f, o);
	if (f->seq_add) {
		p->seq_add = f->seq_add;
		p->rec_flags |= FLOW_SEQ;
		if (!p->reply)
			p->seg.ack += f->seq_add;
	}
	v = tcp_judge(f, o, &p->seg, p->reply);
	if (v == TCP_BAD)
		return -DROP_CT_INVALID;
	p->state = v < 0 ? state : (__u8)v;
	if (v >= 0 && !p->trace) {
		tcp_round_trip(f, o, state, p->state);
		limit_leave(p->reply ? o : f, state, p->state, p->reply);
	}
	return STAGE_NEXT;
}

/* RFC 9293 section 3.10.7.1 and 3.10.7.2: what can be neither the start of a connection nor the middle of one. */
static __always_inline int tcp_may_open(__u8 flags)
{
	return tcp_flags_legal(flags) && !(flags & (TCP_RST | TCP_FIN)) &&
	       (flags & (TCP_SYN | TCP_ACK)) != (TCP_SYN | TCP_ACK);
}

static __always_inline void ct_policy(struct pkt *p)
{
	struct ct_conf *c = ct_settings();

	p->liberal = (c && (c->flags & CT_LIBERAL)) ||
		     ((p->port_flags | p->out_flags) & PORT_TCP_LIBERAL);
	p->strict = c && (c->flags & CT_STRICT);
}

static __always_inline int tcp_track(ctx_t *ctx, struct pkt *p, struct flow_rec *o, __u8 state)
{
	__u8 next;

	ct_policy(p);
	if (p->frag == FRAG_LATER) {
		p->state = state;
		return STAGE_NEXT;
	}
	if (p->tcp_flags & TCP_SYN)
		tcp_options(ctx);
	if (p->known)
		return tcp_track_known(p, o, state);
	if (p->stateful && !tcp_may_open(p->tcp_flags))
		return -DROP_CT_INVALID;
	p->midway = p->stateful && p->strict && !(p->tcp_flags & TCP_SYN);
	next = tcp_next_state(CT_NONE, 0, p->tcp_flags);
	p->state = next < CT_N ? next : CT_NONE;
	return STAGE_NEXT;
}

/* Did a control connection announce it, or is it one? */
static __always_inline void ct_related(struct pkt *p, const struct flow_rec *other)
{
	if (!p->known)
		p->related = expects_any(p) && expect_take(p->len);
	else if (p->had)
		p->related = !!(p->had_conn & CONN_RELATED);
	else if (other)
		p->related = !!(other->conn & CONN_RELATED);
	helper_assign(p, p->port_flags | p->out_flags);
}

static __always_inline void ct_told(struct pkt *p, int v, __u8 state)
{
	if (v < 0)
		TRACE1(p, CT_INVALID, state);
	else if (p->related && !p->known)
		TRACE0(p, CT_RELATED);
	else if (!p->known)
		TRACE0(p, CT_NEW);
	else if (p->reply)
		TRACE1(p, CT_REPLY, p->state);
	else
		TRACE1(p, CT_EST, p->state);
}

/*
 * TCP follows both directions: the record that is missing is made with the first answer, or with the opener's second segment. Returns the partner
 * of the packet's record, if any. Other protocols do with `other`.
 */
static __always_inline struct flow_rec *ct_both(struct pkt *p, struct flow_rec *other)
{
	if (p->key.proto != PROTO_TCP)
		return other;
	if (!p->had && !p->seen && other && (other->conn & CONN_LONE)) {
		p->wkey = p->rkey;
		p->vkey = p->key;
		if (partner_make())
			flow_had_now(p);
	} else if (p->had && !other && (p->had_conn & CONN_LONE)) {
		p->wkey = p->key;
		p->vkey = p->rkey;
		partner_make();
		other = flow_find(&p->rkey);
		p->rseen = other != 0;
	}
	return other;
}

/* p->out is known: is the packet part of a connection, and of which side? */
__noinline int stage_conntrack(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct flow_rec *other;
	__u8 state = CT_NONE;
	int v = STAGE_NEXT;

	if (!p)
		return -DROP_INTERNAL;
	p->stateful = ((p->port_flags | p->out_flags) & PORT_SECURITY) || p->native_firewall;
	pkt_partner(p);
	other = flow_find(&p->rkey);
	p->rlooked = 1;
	p->rseen = other != 0;
	if (other && !p->had &&
	    (!rec_fresh(other, p->jiffies) || tcp_reopens(p->tcp_flags, other->state)))
		other = 0;
	if (other && (other->flags & FLOW_DROP))
		other = 0;
	if (other && ((other->flags | p->nat.flags) & FLOW_NAT) && !nat_leads_back(p, other))
		return -DROP_NAT_PORTS;
	other = ct_both(p, other);
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
	if (p->key.proto == PROTO_TCP)
		v = tcp_track(ctx, p, other, state);
	else
		p->state = next_state(p, state);
	ct_related(p, other);
	ct_told(p, v, state);
	return v;
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
	if (!f) {
		p->vkey = p->inner;
		if (lone_find())
			f = flow_find(&p->inner);
	}
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
	nat_load(p, f);
	TRACE1(p, FLOW_RELATED, p->out);
	return STAGE_NEXT;
}

/* ---- writing records ---- */

/* What the first packet that was seen tells about its direction. */
static __always_inline void tcp_open(struct pkt *p, struct flow_rec *r)
{
	tcp_guard(r, p);
	r->seq_add = p->seq_add;
	/* What answers acknowledge is not seen on this segment; on one past native functions only, it is. */
	if (p->one_way && (p->path || !p->entry))
		r->tcp_bits |= TCPW_FREE | TCPW_LIBERAL;
	if (p->counted)
		r->tcp_bits |= TCPW_COUNTED;
	if (p->cookie == COOKIE_SYN) {
		r->tcp_bits |= TCPW_KNOWN | TCPW_COOKIE;
		r->seq_end = r->seq_max = p->seg.seq;
		r->win = p->seg.win;
		r->seq_add = p->seg.ack - 1;
		return;
	}
	if (!p->known && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		tcp_start(r, &p->seg);
		if (p->frag)
			r->tcp_bits |= TCPW_LIBERAL;
		tcp_round_trip(r, 0, CT_NONE, p->state);
		return;
	}
	r->tcp_bits |= TCPW_LIBERAL;
	if (p->frag != FRAG_LATER)
		tcp_note(r, &p->seg);
}

static __always_inline void record_finish(struct pkt *p, struct flow_rec *r)
{
	if (p->key.proto == PROTO_TCP)
		tcp_open(p, r);
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
	if (p->related)
		r->conn |= CONN_RELATED;
	if (p->had_conn & CONN_ENTRY)
		r->conn |= p->path ? CONN_ENTRY : 0;
	if ((p->had_conn & CONN_FIRST) || (r->conn & CONN_ENTRY))
		r->conn |= CONN_FIRST;
	r->reason = 0;
	r->rule = p->rule;
	nat_record(r, p);
}

/* The record was of a connection before this one. */
static __always_inline void record_restart(struct flow_rec *f, const struct flow_rec *r)
{
	f->seq_end = r->seq_end;
	f->seq_max = r->seq_max;
	f->ack_max = r->ack_max;
	f->win = r->win;
	f->room = r->room;
	f->wscale = r->wscale;
	f->tcp_bits = r->tcp_bits;
	f->ack = r->ack;
	f->retrans = r->retrans;
	f->tcp_seen = r->tcp_seen;
	f->seq_add = r->seq_add;
	f->rtt_us = 0;
}

/* Everything but the counters; the generation, 0 until then, last: a full barrier, so that no other CPU uses a half-written record. */
static __always_inline void record_overwrite(struct flow_rec *f, const struct flow_rec *r)
{
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
	f->nat_port = r->nat_port;
	for (int i = 0; i < 4; i++)
		f->nat_addr[i] = r->nat_addr[i];
	f->rule = r->rule;
	f->fact = r->fact;
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

static __always_inline void flow_counted(struct flow_rec *f, __u64 wire)
{
	__sync_fetch_and_add(&f->pkts, wire_pkts(wire));
	__sync_fetch_and_add(&f->bytes, wire_bytes(wire));
}

/* The record will stand for another connection: what it counts goes on. */
static __always_inline void record_ends(struct pkt *p, const struct flow_rec *f)
{
	__u16 drop = p->rec.flags & FLOW_DROP;

	if ((drop && (f->flags & FLOW_DROP)) || (p->known && !drop))
		return;
	flow_gone(&p->key, f, drop ? FLOW_EVENT_FORCED : FLOW_EVENT_REPLACED);
}

/* Returns 0 when another CPU has made the record of this very packet's flow at the same time. */
static __always_inline int record_put(struct pkt *p)
{
	struct flow_rec *f = 0;

	if (p->seen)
		f = flow_find(&p->key);
	if (!f) {
		p->rec.pkts = wire_pkts(p->wire);
		p->rec.bytes = wire_bytes(p->wire);
		if (!flow_insert(&p->key, &p->rec, BPF_NOEXIST))
			return 1;
		f = flow_find(&p->key); /* made by another CPU since, from a packet of the same flow: that one stands */
		if (f)
			flow_counted(f, p->wire);
		return 0;
	}
	__sync_lock_test_and_set(&f->gen, 0); /* before anything of it changes */
	flow_account(p->key.ifindex, f);
	record_ends(p, f);
	if (!p->known || !p->had)
		record_restart(f, &p->rec);
	record_overwrite(f, &p->rec);
	flow_counted(f, p->wire);
	return 1;
}

/*
 * The partner waits for its first packet with generation 0: the slow path then completes it. < 0: another connection has the tuple of a
 * translated one since it was chosen.
 */
static __always_inline int partner_put(struct pkt *p)
{
	struct flow_rec *o = 0;
	struct flow_rec *r = &p->prec;

	if (p->rseen)
		o = flow_find(&p->rkey);

	if (o && !(o->flags & FLOW_DROP) && p->partner) {
		set_state(o, p->state);
		if (p->reply)
			o->conn = (o->conn | CONN_REPLIED) & ~CONN_LONE;
		if (o->out == p->in.ifindex && o->path == p->path)
			return STAGE_NEXT;
		flow_account(p->rkey.ifindex, o);
		__sync_lock_test_and_set(&o->gen, 0);
		o->out = p->in.ifindex;
		o->out_vlan = p->in.vlan;
		o->path = p->path;
		o->chain = p->chain;
		o->hop = (__u8)p->hop;
		o->dir = !p->dir;
		return STAGE_NEXT;
	}
	if (o && p->nat_stale && !nat_take_stale(p))
		return -DROP_NAT_PORTS;
	if (o) {
		flow_gone(&p->rkey, o, FLOW_EVENT_END);
		flow_account(p->rkey.ifindex, o);
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->last = (__u32)p->jiffies;
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
	if (p->key.proto == PROTO_TCP)
		r->tcp_bits = p->rec.tcp_bits & (TCPW_LIBERAL | TCPW_FREE | TCPW_COOKIE);
	r->conn = CONN_RESERVED | (p->reply ? CONN_OPENER : 0) |
		  (p->rec.conn & (CONN_FIRST | CONN_RELATED));
	if (p->nat.flags)
		nat_record_back(r, p);
	if (!flow_insert(&p->rkey, r, o ? BPF_ANY : BPF_NOEXIST))
		return STAGE_NEXT;
	if (p->nat.flags)
		return -DROP_NAT_PORTS;
	o = flow_find(&p->rkey);
	if (o) /* made by another CPU since: both records are of one connection */
		p->rec.created_ns = o->created_ns;
	return STAGE_NEXT;
}

/* 1: the partner is made when it is needed. */
static __always_inline int partner_waits(const struct pkt *p)
{
	if (p->reply || p->rseen || p->cookie || p->related || p->steered || p->path)
		return 0;
	if (p->nat.flags || p->nat_in || p->nat_out || (p->rec_flags & (FLOW_SEQ | FLOW_HELPER)))
		return 0;
	return !p->known || (p->had_conn & CONN_LONE);
}

__noinline int stage_store(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	int v;

	if (!p)
		return -DROP_INTERNAL;
	if (p->midway && !p->cookie) /* a cookie that came back opens one all the same */
		return -DROP_CT_INVALID;
	if (p->trace || p->unrecorded)
		return STAGE_NEXT;
	p->rec_flags |= p->nat.flags;
	record_build(p);
	p->rec.gen = p->gen;
	record_finish(p, &p->rec);
	p->stored = 1;
	if (!p->known && conn_take(p->key.family)) /* forwarded, not remembered */
		return p->nat.flags ? -DROP_NAT_FULL : STAGE_NEXT;
	if (partner_waits(p)) {
		p->rec.conn |= CONN_LONE;
	} else {
		v = partner_put(p);
		if (v)
			return v;
	}
	if (record_put(p) && !p->known)
		__sync_fetch_and_add(&dp_globals.n_made, 1);
	if (p->nat.flags && !p->known)
		flow_opens(&p->key, &p->rec);
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
	r->last = (__u32)p->jiffies;
	r->created_ns = p->now;
	mac_copy(r->dmac, p->dmac);
	mac_copy(r->smac, p->smac);
	r->flags = FLOW_DROP | (p->rec_flags & FLOW_VARIES);
	if ((p->port_flags & PORT_XDP) && reason != DROP_REJECT) /* what is answered is the tc program's */
		r->flags |= FLOW_XDP;
	r->fact = p->fact;
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
