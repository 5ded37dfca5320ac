/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_TCP_H
#define DEMARC_BPF_TCP_H

/*
 * TCP as a firewall between its ends sees it: which segments can belong to the connection, and what state they bring
 * it to. Source: G. van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (SANE 2000), with the bounds that
 * Linux conntrack uses:
 *
 *	I    seq <= what the receiver has room for       else the segment is invalid
 *	III  ack <= what the receiver has sent           else the segment is invalid
 *	II   seq + len >= what was sent - the receiver's largest window
 *	IV   ack >= what the receiver sent - the sender's largest window
 *	     below those it is an old segment: it passes, and nothing is learned from it
 *
 * A record holds what its own direction sent and acknowledged, and its partner's limits as it last looked them up; both
 * only grow, so that a segment within them needs no second lookup.
 */

#include "ct.h"
#include "maps_def.h"

enum tcp_event {
	TCP_EV_SYN,
	TCP_EV_SYNACK,
	TCP_EV_FIN,
	TCP_EV_ACK,
	TCP_EV_RST,
	TCP_EV_OTHER,
	TCP_EV_N
};

#define T_IG                                                                                       \
	0xfe /* passes, changes nothing: who is out of step, the ends or we, shows in the answer */
#define T_IV 0xff /* invalid */
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
 * documents why). From NONE a connection that is already under way is picked up, because a function can be
 * inserted in front of it. A SYN of the replier while SYN_SENT is a simultaneous open: the SYN-ACKs follow.
 */
static const __u8 tcp_next[2][8][CT_SLOTS] = {
	/*		NO    SS    SR    ES    FW    CW    LA    TW    CL */
	{
		[TCP_EV_SYN] = { T_SS, T_SS, T_IG, T_IG, T_IG, T_IG, T_IG, T_SS, T_SS },
		[TCP_EV_SYNACK] = { T_ES, T_SR, T_SR, T_IV, T_IV, T_IV, T_IV, T_IV, T_IV },
		[TCP_EV_FIN] = { T_FW, T_IV, T_FW, T_FW, T_LA, T_LA, T_LA, T_TW, T_CL },
		[TCP_EV_ACK] = { T_ES, T_IV, T_ES, T_ES, T_CW, T_CW, T_TW, T_TW, T_CL },
		[TCP_EV_RST] = { T_CL, T_CL, T_CL, T_CL, T_CL, T_CL, T_CL, T_CL, T_CL },
		[TCP_EV_OTHER] = { T_IV, T_IV, T_IV, T_IV, T_IV, T_IV, T_IV, T_IV, T_IV },
	},
	{
		[TCP_EV_SYN] = { T_IV, T_SS, T_IV, T_IV, T_IV, T_IV, T_IV, T_SS, T_SS },
		[TCP_EV_SYNACK] = { T_IV, T_SR, T_IG, T_IG, T_IG, T_IG, T_IG, T_IG, T_IG },
		[TCP_EV_FIN] = { T_IV, T_IV, T_FW, T_FW, T_LA, T_LA, T_LA, T_TW, T_CL },
		[TCP_EV_ACK] = { T_IV, T_IG, T_SR, T_ES, T_CW, T_CW, T_TW, T_TW, T_CL },
		[TCP_EV_RST] = { T_CL, T_CL, T_CL, T_CL, T_CL, T_CL, T_CL, T_CL, T_CL },
		[TCP_EV_OTHER] = { T_IV, T_IV, T_IV, T_IV, T_IV, T_IV, T_IV, T_IV, T_IV },
	},
};

#define TCP_MAIN (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)

/* Combinations of those four (and URG) that some standard gives a meaning: RFC 9293 section 3.10.7. */
static __always_inline int tcp_flags_legal(__u8 flags)
{
	switch (flags & (TCP_MAIN | TCP_URG)) {
	case TCP_SYN:
	case TCP_SYN | TCP_URG:
	case TCP_SYN | TCP_ACK:
	case TCP_RST:
	case TCP_RST | TCP_ACK:
	case TCP_FIN | TCP_ACK:
	case TCP_FIN | TCP_ACK | TCP_URG:
	case TCP_ACK:
	case TCP_ACK | TCP_URG:
		return 1;
	}
	return 0;
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

	if (state > CT_CLOSE)
		state = CT_NONE;
	at = ((reply ? 8 : 0) + event) * CT_SLOTS + state;
	__asm__ volatile("%0 &= 255" : "+r"(at)); /* clang would prove it useless and drop it */
	return ((const __u8 *)tcp_next)[at];
}

/* A SYN on a connection that is over opens a new one: RFC 9293 section 3.6.1. */
static __always_inline int tcp_reopens(__u8 flags, __u8 state)
{
	return (flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN &&
	       (state == CT_TIME_WAIT || state == CT_CLOSE);
}

/* ---- sequence numbers ---- */

static __always_inline int seq_after(__u32 a, __u32 b)
{
	return (__s32)(b - a) < 0;
}

/* Numbers half the space away are neither before nor after: for a limit they are too much. */
static __always_inline int seq_beyond(__u32 a, __u32 limit)
{
	return (__s32)(a - limit - 1) >= 0;
}

/* SYN and FIN take a number each. */
static __always_inline __u32 tcp_seg_end(const struct tcp_seg *s)
{
	return s->seq + s->len + !!(s->flags & TCP_SYN) + !!(s->flags & TCP_FIN);
}

/* A window of none still leaves room for a probe: RFC 9293 section 3.8.6.1. */
static __always_inline __u32 tcp_room_end(const struct flow_rec *f)
{
	__u32 room = f->room;

	return f->ack + (room ? room << (f->wscale & 15) : 1);
}

static __always_inline __u32 tcp_win_max(const struct flow_rec *f)
{
	__u32 win = f->win;

	return win ? win << (f->wscale & 15) : 1;
}

/* `bytes` in the record's units, rounded up. */
static __always_inline __u16 tcp_units(__u32 bytes, __u8 wscale)
{
	__u32 units = (bytes + (1U << (wscale & 15)) - 1) >> (wscale & 15);

	return units > 0xffff ? 0xffff : (__u16)units;
}

/* The right edge of the window only moves right: RFC 9293 section 3.8.6.2.1 has receivers not shrink it. */
static __always_inline void tcp_note_ack(struct flow_rec *f, const struct tcp_seg *s)
{
	__u32 had = tcp_room_end(f), edge = s->ack + ((__u32)s->win << (f->wscale & 15));

	if (s->win > f->win)
		f->win = s->win;
	if (!(f->tcp_bits & TCPW_ACKED) || (!seq_after(had, edge) && !seq_after(f->ack, s->ack))) {
		f->ack = s->ack;
		f->room = s->win;
		f->tcp_bits |= TCPW_ACKED;
		return;
	}
	if (seq_after(s->ack, f->ack))
		f->ack = s->ack;
	if (seq_after(edge, had))
		had = edge;
	f->room = tcp_units(had - f->ack, f->wscale);
}

/*
 * Segments of one direction come by two processors at once, when a sender goes on in the softirq of an acknowledgement. What one has noted must not be
 * lost to the other: an acknowledgement of it would be of data that was never sent.
 */
static __always_inline void tcp_sent(struct flow_rec *f, __u32 end)
{
	__u32 had = f->seq_end, was;

	for (int i = 0; i < 3 && seq_after(end, had); i++) {
		was = __sync_val_compare_and_swap(&f->seq_end, had, end);
		if (was == had)
			return;
		had = was;
	}
}

/* What a valid segment tells about its sender. */
static __always_inline void tcp_note(struct flow_rec *f, const struct tcp_seg *s)
{
	__u32 end = tcp_seg_end(s);

	if (!(f->tcp_bits & TCPW_KNOWN)) {
		f->seq_end = end;
		f->tcp_bits |= TCPW_KNOWN;
	} else if (seq_after(end, f->seq_end)) {
		tcp_sent(f, end);
	} else if (end != s->seq && f->retrans != 0xffff) {
		f->retrans++;
	}
	if (s->flags & ~(TCP_PART | f->tcp_seen))
		f->tcp_seen |= (__u8)s->flags;
	if ((s->flags & TCP_ACK) &&
	    (s->ack != f->ack || s->win != f->room || !(f->tcp_bits & TCPW_ACKED)))
		tcp_note_ack(f, s);
}

#define TCP_FAR                                                                                    \
	0x3fffffffU /* the limits of the record may be old: what is far below them could be above by now */

/* From the fast path: 0 when the segment is all right and was noted, 1 when tcp_advance() has to look at it. */
static __always_inline int tcp_plain(struct flow_rec *f, const struct tcp_seg *s)
{
	__u8 bits;

	if (f->state != CT_ESTABLISHED || (s->flags & (TCP_MAIN | TCP_PART)) != TCP_ACK)
		return 1;
	bits = f->tcp_bits & (TCPW_LIBERAL | TCPW_RESYN);
	if (bits != TCPW_LIBERAL &&
	    (bits || f->seq_max - s->seq - s->len > TCP_FAR || f->ack_max - s->ack > TCP_FAR))
		return 1;
	tcp_note(f, s);
	return 0;
}

/* ---- the whole judgement, with both records ---- */

#define TCP_OK 0
#define TCP_PASS 1 /* let it through, believe nothing */
#define TCP_BAD -1
#define TCP_SAME -2 /* of tcp_judge(): no new state */

/* A SYN or SYN-ACK says where its direction starts. RFC 7323 section 2.2: its window is never scaled. */
static __always_inline void tcp_start(struct flow_rec *f, const struct tcp_seg *s)
{
	f->seq_end = tcp_seg_end(s);
	f->seq_max = f->seq_end;
	f->win = s->win;
	f->room = 0;
	f->ack = 0;
	f->wscale = s->wscale & 15;
	f->tcp_bits = (f->tcp_bits & (TCPW_LIBERAL | TCPW_FREE | TCPW_COUNTED)) | TCPW_KNOWN |
		      (s->scaled ? TCPW_SCALED : 0);
	f->tcp_seen |= (__u8)s->flags;
}

/* Scaling is used when both SYNs had the option. The windows of the SYNs themselves become units of it. */
static __always_inline void tcp_agree_scale(struct flow_rec *f, struct flow_rec *o)
{
	if (!(f->tcp_bits & o->tcp_bits & TCPW_SCALED)) {
		f->wscale = o->wscale = 0;
		f->tcp_bits &= ~TCPW_SCALED;
		o->tcp_bits &= ~TCPW_SCALED;
		return;
	}
	f->win = tcp_units(f->win, f->wscale);
	o->win = tcp_units(o->win, o->wscale);
}

static __always_inline void tcp_note_synack(struct flow_rec *f, const struct tcp_seg *s)
{
	f->ack = s->ack;
	f->room = tcp_units(s->win, f->wscale);
	f->tcp_bits |= TCPW_ACKED;
}

/* RFC 5961 section 3.2. TCP_PASS: the receiver may answer with a challenge; the connection lives on. */
static __always_inline int tcp_rst_check(const struct flow_rec *f, const struct flow_rec *o,
					 const struct tcp_seg *s)
{
	if (!(o->tcp_bits & TCPW_ACKED) || (!s->seq && f->state != CT_ESTABLISHED))
		return TCP_OK;
	if (seq_after(o->ack, s->seq))
		return TCP_BAD;
	if (f->state != CT_ESTABLISHED || s->seq == o->ack || s->seq == f->seq_end)
		return TCP_OK;
	return TCP_PASS;
}

#define TCP_ACK_WINDOW 66000U /* what may be acknowledged late, at least */

/* Bounds I to IV. f sent the segment, o's side will receive it; both are known. */
static __always_inline int tcp_bounds(struct flow_rec *f, struct flow_rec *o, const struct tcp_seg *s)
{
	__u32 seq = s->seq, end = tcp_seg_end(s), ack = s->ack, limit = f->seq_max;
	__u32 win = tcp_win_max(o), late = tcp_win_max(f);
	int rst = s->flags & TCP_RST, old;

	if (!(s->flags & TCP_ACK) || (rst && !ack))
		ack = o->seq_end;
	if (rst && !seq && f->state == CT_SYN_SENT)
		seq = end = f->seq_end;
	if ((o->tcp_bits & TCPW_ACKED) && seq_after(tcp_room_end(o), limit))
		limit = tcp_room_end(o);
	if (late < TCP_ACK_WINDOW)
		late = TCP_ACK_WINDOW;
	if (seq_beyond(ack, o->seq_end))
		return TCP_BAD;
	old = !seq_after(end, f->seq_end - win - 1) || !seq_after(ack, o->seq_end - late - 1);
	if (seq_beyond(seq, limit)) { /* some send more than they were allowed; by a window at most */
		if (old || end - limit + 1 > win)
			return TCP_BAD;
		tcp_sent(f, end);
		return TCP_PASS;
	}
	if (old)
		return TCP_PASS;
	if (seq_after(end, limit))
		o->win = tcp_units(win + end - limit, o->wscale);
	f->seq_max = limit;
	f->ack_max = o->seq_end;
	return TCP_OK;
}

/* The only answer to a SYN is a reset: it must acknowledge the SYN. RFC 9293 section 3.10.7.3. */
static __always_inline int tcp_refused(const struct flow_rec *o, const struct tcp_seg *s)
{
	if (!(s->flags & TCP_ACK) || !s->ack || !(o->tcp_bits & TCPW_KNOWN) ||
	    (o->tcp_bits & TCPW_LIBERAL))
		return TCP_OK;
	if (seq_beyond(s->ack, o->seq_end))
		return TCP_BAD;
	return seq_after(s->ack, o->seq_end - TCP_ACK_WINDOW - 1) ? TCP_OK : TCP_PASS;
}

static __always_inline void tcp_free(struct flow_rec *f, struct flow_rec *o)
{
	f->tcp_bits |= TCPW_LIBERAL;
	if (o)
		o->tcp_bits |= TCPW_LIBERAL;
}

/* A SYN with other numbers, before the connection is there; not while both open at once. */
static __always_inline int tcp_may_restart(const struct flow_rec *f, const struct flow_rec *o, __u32 reply)
{
	const struct flow_rec *r = reply ? f : o;

	if (f->state != CT_SYN_SENT)
		return f->state == CT_SYN_RECV;
	return !r || !(r->tcp_bits & TCPW_KNOWN) || (r->tcp_seen & TCP_ACK);
}

/* The windows; a SYN starts its direction. Sets what is known when it returns TCP_OK. */
__noinline int tcp_window(struct flow_rec *f, struct flow_rec *o, struct tcp_seg *s, __u32 reply)
{
	int fresh, v;

	if (!f || !s)
		return TCP_BAD;
	fresh = !(f->tcp_bits & TCPW_KNOWN);
	if (fresh && (s->flags & TCP_RST))
		return o ? tcp_refused(o, s) : TCP_OK;
	if (!o || (fresh && !(s->flags & TCP_SYN)) || (s->flags & TCP_PART))
		tcp_free(f, o);
	if ((s->flags & TCP_SYN) &&
	    (fresh || (seq_after(tcp_seg_end(s), f->seq_end) && tcp_may_restart(f, o, reply)))) {
		tcp_start(f, s);
		if (o && (o->tcp_bits & TCPW_KNOWN))
			tcp_agree_scale(f, o);
		if (!(s->flags & TCP_ACK))
			return TCP_OK;
	}
	if (o && !(o->tcp_bits & TCPW_KNOWN) && !(f->tcp_bits & TCPW_LIBERAL) &&
	    seq_beyond(s->seq, f->seq_max) && s->seq != o->ack)
		return TCP_BAD;
	if (!o || ((f->tcp_bits | o->tcp_bits) & TCPW_LIBERAL) || !(o->tcp_bits & TCPW_KNOWN)) {
		if (!(s->flags & TCP_SYN))
			tcp_note(f, s);
		return TCP_OK;
	}
	v = tcp_bounds(f, o, s);
	if (v)
		return v;
	if (!(s->flags & TCP_SYN))
		tcp_note(f, s);
	else if (s->flags & TCP_ACK)
		tcp_note_synack(f, s);
	return TCP_OK;
}

/*
 * The SYN of a restarted client passes a connection that we hold for alive. When the server takes it up with a
 * SYN-ACK, we are the ones who are wrong, and both start again. Until the client sends something else, its limits hold what
 * its SYN said: where it ends, and its window.
 */
static __always_inline void tcp_resync_note(struct flow_rec *f, const struct tcp_seg *s)
{
	f->tcp_bits |= TCPW_RESYN;
	f->ack_max = tcp_seg_end(s);
	f->seq_max = s->win | (__u32)s->wscale << 16 | (__u32)s->scaled << 24;
}

static __always_inline void tcp_resync_forget(struct flow_rec *f, const struct flow_rec *o)
{
	f->tcp_bits &= ~TCPW_RESYN;
	f->seq_max = o && (o->tcp_bits & TCPW_ACKED) ? tcp_room_end(o) : f->seq_end;
	f->ack_max = o ? o->seq_end : f->ack;
}

/* 1: the SYN-ACK answers such a SYN; f, its sender, is not known yet. */
static __always_inline int tcp_resync(struct flow_rec *f, struct flow_rec *o, const struct tcp_seg *s)
{
	struct tcp_seg syn = {};

	if (!o || !(o->tcp_bits & TCPW_RESYN) || s->ack != o->ack_max)
		return 0;
	syn.seq = o->ack_max - 1;
	syn.flags = TCP_SYN;
	syn.win = (__u16)o->seq_max;
	syn.wscale = (__u8)(o->seq_max >> 16);
	syn.scaled = (__u8)(o->seq_max >> 24);
	o->tcp_bits &= ~TCPW_LIBERAL;
	tcp_start(o, &syn);
	f->tcp_bits &= ~(TCPW_LIBERAL | TCPW_KNOWN | TCPW_ACKED);
	return 1;
}

/*
 * One segment of a known connection: f is its record, o the partner's or NULL. Returns the state that the connection is
 * in after it; TCP_SAME when the segment is forwarded but not believed, TCP_BAD when it is invalid. Both change nothing.
 */
__noinline int tcp_judge(struct flow_rec *f, struct flow_rec *o, struct tcp_seg *s, __u32 reply)
{
	__u32 event;
	__u8 next;
	int v;

	if (!f || !s)
		return TCP_BAD;
	event = tcp_event_of((__u8)s->flags);
	next = tcp_next_state(f->state, reply, (__u8)s->flags);
	if (f->tcp_bits & TCPW_FREE) {
		tcp_note(f, s);
		return next < CT_N ? next : TCP_SAME;
	}
	if (next == T_IV || !tcp_flags_legal((__u8)s->flags))
		return TCP_BAD;
	if (event == TCP_EV_SYNACK && !reply && f->state == CT_SYN_SENT && o &&
	    (!(o->tcp_bits & TCPW_KNOWN) || (o->tcp_seen & TCP_ACK)))
		return TCP_BAD; /* there was no SYN to answer */
	if (event == TCP_EV_ACK && next == T_IG)
		f->ack = s->ack; /* of a half-open server: the client resets what it asks for, RFC 9293 figure 9 */
	if ((f->tcp_bits & TCPW_RESYN) && event != TCP_EV_SYN)
		tcp_resync_forget(f, o);
	if (next == T_IG && event == TCP_EV_SYN)
		tcp_resync_note(f, s);
	if (next == T_IG && event == TCP_EV_SYNACK && tcp_resync(f, o, s))
		return tcp_window(f, o, s, reply) ? TCP_SAME : CT_SYN_RECV;
	if (next == T_IG)
		return TCP_SAME;
	if (event == TCP_EV_RST && o && (o->tcp_bits & TCPW_RESYN) && (s->flags & TCP_ACK) &&
	    s->ack == o->ack_max)
		return next; /* the restarted client's SYN is refused */
	if (event == TCP_EV_RST && o) {
		v = tcp_rst_check(f, o, s);
		if (v == TCP_PASS && !((f->tcp_bits | o->tcp_bits) & TCPW_LIBERAL) &&
		    tcp_bounds(f, o, s) < 0)
			return TCP_BAD;
		if (v)
			return v < 0 ? TCP_BAD : TCP_SAME;
	}
	v = tcp_window(f, o, s, reply);
	return v < 0 ? TCP_BAD : v ? TCP_SAME : next;
}

#endif
