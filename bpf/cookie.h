/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_COOKIE_H
#define DEMARC_BPF_COOKIE_H

/*
 * Limits of new connections toward a port, and SYN cookies when too many are half open. Source: RFC 4987 section 3.6.
 *
 *	client                  here                        server
 *	SYN x            ->     nothing is kept
 *	                 <-     SYN-ACK c, x+1, window 0
 *	ACK x+1, c+1     ->     is c ours? records           -> SYN x
 *	                                                     <- SYN-ACK s, x+1
 *	                 <-     ACK c+1, x+1, window w
 *	                        ACK x+1, s+1                 ->
 *	                 <->    +(c-s) toward the client     <->
 *
 * The window of 0 keeps the client from sending data before there is a server. What the cookie cannot hold (window scale,
 * SACK, timestamps) is not negotiated. The client's ACKs repeat the SYN until the server answers.
 */

#include "flood.h"
#include "half_open.h"
#include "maps_def.h"
#include "output.h"
#include "tcp.h"

struct iphdr;
struct ipv6hdr;
struct tcphdr;

#define COOKIE_TTL 64 /* IANA's recommended default */
/* Offsets in p->buf: IP header, the TCP header as it is, as it will be. */
#define BUF_TCP 40
#define BUF_NEW 100

static __always_inline void put16(__u8 *b, __u16 v)
{
	b[0] = (__u8)(v >> 8);
	b[1] = (__u8)v;
}

static __always_inline void put32(__u8 *b, __u32 v)
{
	put16(b, (__u16)(v >> 16));
	put16(b + 2, (__u16)v);
}

/* Headers without options or extensions: what has others gets no cookie. */
static __always_inline int cookie_plain(const struct pkt *p)
{
	return p->l4_off == ETH_SIZE + (p->key.family == 6 ? 40 : 20) && !p->frag && !p->seg.len;
}

/* p->nseg as a header of `size` bytes to p->buf[BUF_NEW]; `back`: toward where the packet came from. */
static __always_inline void cookie_header(struct pkt *p, __u32 size, __u32 back)
{
	__u8 *b = p->buf + BUF_NEW;
	__u16 sport = bpf_ntohs(p->key.sport), dport = bpf_ntohs(p->key.dport);

	put16(b, back ? dport : sport);
	put16(b + 2, back ? sport : dport);
	put32(b + 4, p->nseg.seq);
	put32(b + 8, p->nseg.ack);
	b[12] = (__u8)(size / 4 << 4);
	b[13] = (__u8)p->nseg.flags;
	put16(b + 14, p->nseg.win);
	b[16] = p->buf[BUF_TCP + 16]; /* the checksum is corrected by the difference */
	b[17] = p->buf[BUF_TCP + 17];
	put16(b + 18, 0);
	put32(b + 20, 0x02040000u | p->nseg.mss);
}

/* Length and hop limit of the IP header for a segment of `size` bytes. */
static __always_inline int cookie_ip(ctx_t *ctx, struct pkt *p, __u32 size)
{
	__u8 b[4];
	__u16 from, to;

	if (p->key.family == 6) {
		put16(b, (__u16)size);
		b[2] = PROTO_TCP;
		b[3] = COOKIE_TTL;
		return ctx_store(ctx, ETH_SIZE + 4, b, 4);
	}
	if (ctx_load(ctx, ETH_SIZE + 2, &from, 2) < 0)
		return -1;
	to = bpf_htons((__u16)(size + 20));
	if (ctx_l3_sum(ctx, ETH_SIZE + 10, from, to) < 0 || ctx_store(ctx, ETH_SIZE + 2, &to, 2) < 0)
		return -1;
	if (ctx_load(ctx, ETH_SIZE + 8, &from, 2) < 0)
		return -1;
	to = bpf_htons(COOKIE_TTL << 8 | PROTO_TCP);
	if (ctx_l3_sum(ctx, ETH_SIZE + 10, from, to) < 0)
		return -1;
	return ctx_store(ctx, ETH_SIZE + 8, &to, 2);
}

/*
 * The segment in the packet becomes p->nseg, without payload. The checksum is changed by differences only, so that one that
 * the sender left to the hardware stays valid.
 */
__noinline int cookie_rewrite(ctx_t *ctx, __u32 back)
{
	struct pkt *p = stage_begin(ctx);
	__u32 n, size, at;
	__s64 diff;

	if (!p)
		return -1;
	n = p->seg.off & 60;
	size = p->nseg.mss ? 24 : 20;
	at = p->l4_off + 16u;
	if (n < 20 || ctx_load_any(ctx, p->l4_off, p->buf + BUF_TCP, n) < 0)
		return -1;
	cookie_header(p, size, back);
	diff = bpf_csum_diff((__be32 *)(p->buf + BUF_TCP), n, (__be32 *)(p->buf + BUF_NEW), size, 0);
	if (diff < 0 || ctx_resize(ctx, p->l4_off + size) < 0)
		return -1;
	if (ctx_store_any(ctx, p->l4_off, p->buf + BUF_NEW, size, BPF_F_RECOMPUTE_CSUM) < 0 ||
	    ctx_l4_sum(ctx, at, 0, (__u32)diff, 0) < 0)
		return -1;
	if (size != n && ctx_l4_sum(ctx, at, bpf_htons((__u16)n), bpf_htons((__u16)size),
				    BPF_F_PSEUDO_HDR | 2) < 0)
		return -1;
	p->seg.off = (__u8)size;
	return cookie_ip(ctx, p, size);
}

/* Exchanges the MACs and the IP addresses: checksums are the same. */
__noinline int cookie_swap(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	__u32 at, n;

	if (!p)
		return -1;
	at = p->key.family == 6 ? ETH_SIZE + 8 : ETH_SIZE + 12;
	n = p->key.family == 6 ? 16 : 4;
	if (ctx_load(ctx, 0, p->buf, 12) < 0 || ctx_store(ctx, 0, p->buf + 6, 6) < 0 ||
	    ctx_store(ctx, 6, p->buf, 6) < 0)
		return -1;
	if (ctx_load_any(ctx, at, p->buf, n) < 0 || ctx_load_any(ctx, at + n, p->buf + 16, n) < 0 ||
	    ctx_store_any(ctx, at, p->buf + 16, n, 0) < 0)
		return -1;
	return ctx_store_any(ctx, at + n, p->buf, n, 0);
}

/* IP and TCP headers to p->buf for the kernel's cookie functions. */
static __always_inline int cookie_load(ctx_t *ctx, struct pkt *p, __u32 n)
{
	if (n < 20 || n > 60 || ctx_load_any(ctx, p->l4_off, p->buf + BUF_TCP, n) < 0)
		return -1;
	return ctx_load_any(ctx, ETH_SIZE, p->buf, p->key.family == 6 ? 40 : 20);
}

__noinline int cookie_answer(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	__u32 n;
	__s64 c;

	if (!p)
		return -DROP_INTERNAL;
	n = p->seg.off & 60;
	if (!cookie_plain(p) || cookie_load(ctx, p, n) < 0)
		return -DROP_HALF_OPEN;
	TRACE0(p, LIMIT_COOKIE);
	if (p->key.family == 6)
		c = bpf_tcp_raw_gen_syncookie_ipv6((struct ipv6hdr *)p->buf,
						   (struct tcphdr *)(p->buf + BUF_TCP), n);
	else
		c = bpf_tcp_raw_gen_syncookie_ipv4((struct iphdr *)p->buf,
						   (struct tcphdr *)(p->buf + BUF_TCP), n);
	if (c < 0)
		return -DROP_HALF_OPEN;
	p->nseg.seq = (__u32)c;
	p->nseg.ack = p->seg.seq + 1;
	p->nseg.flags = TCP_SYN | TCP_ACK;
	p->nseg.win = 0;
	p->nseg.mss = (__u16)(c >> 32);
	if (!p->trace && (cookie_rewrite(ctx, 1) < 0 || cookie_swap(ctx) < 0))
		return -DROP_REDIRECT;
	return send_back(ctx, p);
}

/* 1: the headers in p->buf bring back a cookie of ours. */
static __always_inline int cookie_check(struct pkt *p)
{
	if (p->key.family == 6)
		return !bpf_tcp_raw_check_syncookie_ipv6((struct ipv6hdr *)p->buf,
							 (struct tcphdr *)(p->buf + BUF_TCP));
	return !bpf_tcp_raw_check_syncookie_ipv4((struct iphdr *)p->buf,
						 (struct tcphdr *)(p->buf + BUF_TCP));
}

static __always_inline int cookie_valid(ctx_t *ctx, struct pkt *p)
{
	return cookie_plain(p) && cookie_load(ctx, p, 20) == 0 && cookie_check(p);
}

/* A flood from forged sources must not cost a record of each where nobody asks for it. */
static __always_inline int limits_sources(const struct limit_rec *l)
{
	return l->source_rate || l->source_half_open;
}

/* What is counted of the packet's source, if anything is yet. */
static __always_inline struct source_rec *source_find(struct pkt *p, struct limit_rec *l)
{
	if (!limits_sources(l))
		return 0;
	source_key_of(&p->source, &p->rkey);
	return bpf_map_lookup_elem(&sources, &p->source);
}

/* One more connection of the source `s`: -enum drop_reason when it has too many. */
static __always_inline int source_check(struct pkt *p, struct limit_rec *l, struct source_rec *s,
					int is_syn)
{
	__u64 second = p->jiffies / (dp_globals.hz | 1);

	if (!s)
		return STAGE_NEXT;
	if (s->second != second) {
		s->second = second;
		s->n_new = 0;
	}
	if (l->source_rate && s->n_new >= l->source_rate)
		return -DROP_SOURCE_RATE;
	if (is_syn && l->source_half_open && half_open_count(&s->count, p->jiffies) >= l->source_half_open)
		return -DROP_HALF_OPEN;
	return STAGE_NEXT;
}

static __always_inline void source_count(struct pkt *p, struct limit_rec *l, struct source_rec *s,
					 int is_syn)
{
	struct source_rec fresh = {};

	if (!limits_sources(l))
		return;
	if (!s) {
		fresh.second = p->jiffies / (dp_globals.hz | 1);
		fresh.n_new = 1;
		fresh.count.epoch = p->jiffies / (LIMIT_EPOCH_S * dp_globals.hz + 1);
		fresh.count.now = is_syn;
		bpf_map_update_elem(&sources, &p->source, &fresh, BPF_ANY);
		return;
	}
	__sync_fetch_and_add(&s->n_new, 1);
	if (is_syn)
		half_open_add(&s->count, 1);
}

/* What is within the limits: the tc program counts it, for it is who makes a record. */
static __always_inline int limit_passes(struct pkt *p, struct limit_rec *l, struct source_rec *s,
					int is_syn)
{
#ifdef HOOK_XDP
	p->act = XDP_PASS;
	return STAGE_DONE;
#else
	if (!p->trace)
		source_count(p, l, s, is_syn);
	return STAGE_NEXT;
#endif
}

static __always_inline int limit_syn(ctx_t *ctx, struct pkt *p, struct limit_rec *l)
{
	struct source_rec *s = source_find(p, l);
	int v = source_check(p, l, s, 1), full;

	if (v == -DROP_SOURCE_RATE)
		return v;
	full = l->half_open && half_open_count(&l->count, p->jiffies) >= l->half_open;
	if (!v && !full) {
		if (limit_passes(p, l, s, 1))
			return STAGE_DONE;
	} else if (!v) {
		v = -DROP_HALF_OPEN;
		if (!p->trace)
			source_count(p, l, s, 1);
	}
	if (v && !(l->flags & LIMIT_COOKIES))
		return v;
	if (p->trace)
		return v ? cookie_answer(ctx) : STAGE_NEXT;
	half_open_add(&l->count, 1);
	if (v) {
		l->cookie_last = p->jiffies;
		__sync_fetch_and_add(&l->n_cookies, 1);
		flood_note(p);
		return cookie_answer(ctx);
	}
	p->counted = 1;
	return STAGE_NEXT;
}

/* What is no SYN, and belongs to no connection. */
static __always_inline int limit_other(struct pkt *p, struct limit_rec *l)
{
	struct source_rec *s = source_find(p, l);
	int v = source_check(p, l, s, 0);

	return v ? v : limit_passes(p, l, s, 0);
}

/* An ACK without a connection, while cookies are out. */
static __always_inline int limit_ack(ctx_t *ctx, struct pkt *p, struct limit_rec *l)
{
	int v;

	if (!cookie_valid(ctx, p))
		return half_open_count(&l->count, p->jiffies) >= l->half_open ? -DROP_SYN_COOKIE :
										STAGE_NEXT;
	v = limit_other(p, l);
	if (v || p->trace)
		return v;
	half_open_add(&l->count, -1);
	__sync_fetch_and_add(&l->n_opened, 1);
	p->cookie = COOKIE_SYN;
	p->state = CT_SYN_SENT;
	return STAGE_NEXT;
}

/* New connections that policy allows. */
__noinline int stage_limits(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct limit_rec *l;
	__u8 main;

	if (!p)
		return -DROP_INTERNAL;
	if (p->known || !(p->out_flags & PORT_LIMITED))
		return STAGE_NEXT;
	l = bpf_map_lookup_elem(&limits, &p->outk);
	if (!l)
		return STAGE_NEXT;
	main = p->tcp_flags & TCP_MAIN;
	if (main == TCP_SYN)
		return limit_syn(ctx, p, l);
	if (main == TCP_ACK && (l->flags & LIMIT_COOKIES) && l->cookie_last &&
	    p->jiffies - l->cookie_last < LIMIT_COOKIE_S * dp_globals.hz)
		return limit_ack(ctx, p, l);
	return limit_other(p, l);
}

#ifndef HOOK_XDP

/*
 * The kernel's cookie is a hash plus the index of the client's MSS in a table (net/ipv4/syncookies.c, net/ipv6/syncookies.c).
 * The check does not tell the index, but numbers below the cookie are cookies as well, as many as the index.
 */
static __always_inline __u16 cookie_mss(ctx_t *ctx, struct pkt *p)
{
	int v6 = p->key.family == 6;
	__u16 mss = v6 ? 1220 : 536;

	if (cookie_load(ctx, p, 20) < 0)
		return mss;
	for (__u32 i = 1; i < 4; i++) {
		put32(p->buf + BUF_TCP + 8, p->seg.ack - i);
		if (!cookie_check(p))
			break;
		mss = i == 1 ? (v6 ? 1420 : 1300) : i == 2 ? 1440 : v6 ? 8940 : 1460;
	}
	return mss;
}

/* The client's ACK becomes the SYN that the server has not had. */
static __always_inline int cookie_to_server(ctx_t *ctx, struct pkt *p)
{
	p->nseg.seq = p->seg.seq - 1;
	p->nseg.ack = 0;
	p->nseg.flags = TCP_SYN;
	p->nseg.win = p->seg.win;
	p->nseg.mss = cookie_mss(ctx, p);
	return cookie_rewrite(ctx, 0) < 0 ? -DROP_REDIRECT : STAGE_NEXT;
}

/* The server's SYN-ACK: an ACK goes back to it, and the client hears how much it may send. */
static __always_inline int cookie_splice(ctx_t *ctx, struct pkt *p)
{
	p->nseg.seq = p->seg.ack;
	p->nseg.ack = p->seg.seq + 1;
	p->nseg.flags = TCP_ACK;
	p->nseg.win = p->peer_win;
	p->nseg.mss = 0;
	if (cookie_rewrite(ctx, 1) < 0 || cookie_swap(ctx) < 0)
		return -DROP_REDIRECT;
	bpf_clone_redirect(ctx, p->in.ifindex, 0);
	p->nseg.seq = p->seg.seq + 1;
	p->nseg.ack = p->seg.ack;
	p->nseg.win = p->seg.win;
	if (cookie_swap(ctx) < 0 || cookie_rewrite(ctx, 0) < 0)
		return -DROP_REDIRECT;
	return STAGE_NEXT;
}

/* Before the frame is sent: makes of it what a connection opened by a cookie needs. */
__noinline int stage_cookie(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);

	if (!p)
		return -DROP_INTERNAL;
	if (p->trace)
		return STAGE_NEXT;
	if (!cookie_plain(p))
		return -DROP_SYN_COOKIE;
	return p->cookie == COOKIE_SYN ? cookie_to_server(ctx, p) : cookie_splice(ctx, p);
}

#endif
#endif
