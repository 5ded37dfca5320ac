/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_REJECT_H
#define DEMARC_BPF_REJECT_H

/*
 * What a rule rejects is answered to its sender, from whom the packet was for, as nftables does on a bridge: TCP by a reset (RFC 9293
 * section 3.10.7.1), UDP by "port unreachable", anything else by "administratively prohibited" (RFC 1812 section 5.2.7.1, RFC 4443 section
 * 3.1). The answer goes back out of the port that the packet came from and passes no rule.
 *
 * Nothing is said about what must not be answered (RFC 1122 section 3.2.2, RFC 4443 section 2.4): resets, ICMP that is no query, fragments but
 * the first, what is for many or from no single host. Nor about TCP behind IP options or extension headers.
 */

#include "encap.h"
#include "limit.h"
#include "maps_def.h"
#include "output.h"

#define REJECT_QUOTE 96 /* of the packet: its headers, and some more */
#define REJECT_TTL 64
#define REJECT_RESET_SIZE 20

MAP(rejects, BPF_MAP_TYPE_LRU_HASH, struct port_key, struct reject_rec, ABI_REJECTS);

/* The port of p->in has an answer left. One CPU refills for each jiffy, as in bpf/extra.h. */
__noinline int reject_take(void)
{
	struct pkt *p = pkt_get();
	struct reject_rec fresh = {}, *r;
	__s64 hz = dp_globals.hz, had;
	__u64 now = bpf_jiffies64(), last, passed;

	if (!p)
		return 0;
	r = bpf_map_lookup_elem(&rejects, &p->in);
	if (!r) {
		fresh.last = now;
		fresh.left = REJECT_BURST * hz;
		bpf_map_update_elem(&rejects, &p->in, &fresh, BPF_NOEXIST);
		r = bpf_map_lookup_elem(&rejects, &p->in);
		if (!r)
			return 0;
	}
	last = r->last;
	passed = now - last;
	if (passed && __sync_val_compare_and_swap(&r->last, last, now) == last) {
		if (passed > (__u64)hz)
			passed = (__u64)hz;
		had = __sync_fetch_and_add(&r->left, passed * REJECT_RATE) + passed * REJECT_RATE;
		if (had > REJECT_BURST * hz)
			__sync_fetch_and_add(&r->left, REJECT_BURST * hz - had);
	}
	if (r->left < hz)
		return 0;
	__sync_fetch_and_add(&r->left, -hz);
	return 1;
}

/* An address of many, of none, or of the host itself. */
static __always_inline int reject_no_host(const struct pkt *p, const __u32 *a)
{
	__u32 first = bpf_ntohl(a[0]);

	if (p->key.family == 4)
		return first >> 28 >= 14 || first >> 24 == 0 || first >> 24 == 127;
	return first >> 24 == 0xff || !(a[0] | a[1] | a[2] | (bpf_ntohl(a[3]) >> 1));
}

/* 1: the packet gets no answer, whatever the rule says. */
static __always_inline int reject_silent(const struct pkt *p)
{
	if (p->kind != PKT_IP || p->multicast || p->frag == FRAG_LATER)
		return 1;
	if (reject_no_host(p, p->key.addr) || reject_no_host(p, p->key.addr + key_words(p->key.family)))
		return 1;
	if (p->key.proto == PROTO_TCP)
		return (p->tcp_flags & TCP_RST) ||
		       p->l4_off != ETH_SIZE + (p->key.family == 6 ? 40 : 20);
	return p->icmp && p->icmp != ICMP_QUERY;
}

static __always_inline __u32 reject_code(const struct pkt *p)
{
	if (p->key.family == 6)
		return p->key.proto == PROTO_UDP ? 4 : 1;
	return p->key.proto == PROTO_UDP ? 3 : 13;
}

/* What the drop of a rejected packet counts as; p->reject says from now on whether it is answered. */
static __always_inline __u32 reject_reason(struct pkt *p)
{
	p->reject = 0;
	if (reject_silent(p)) {
		TRACE0(p, REJECT_SILENT);
		return DROP_REJECT;
	}
	if (p->key.proto == PROTO_TCP)
		TRACE0(p, REJECT_RESET);
	else
		TRACE2(p, REJECT_ICMP, p->key.family == 6 ? 1 : 3, reject_code(p));
	if (p->trace)
		return DROP_REJECT;
	p->reject = (__u8)reject_take();
	return p->reject ? DROP_REJECT : DROP_REJECT_LIMIT;
}

/* Ethernet and IP headers of the answer, with `size` bytes behind them. */
static __always_inline int reject_head(ctx_t *ctx, struct pkt *p, __u32 size, __u8 proto)
{
	__u8 *b = p->outer, *ip = b + ETH_SIZE;

	if (ctx_load(ctx, 6, b, 6) < 0 || ctx_load(ctx, 0, b + 6, 6) < 0 ||
	    ctx_load(ctx, 12, b + 12, 2) < 0)
		return -1;
	__builtin_memset(ip, 0, 40);
	if (p->key.family == 6) {
		ip[0] = 0x60;
		store16(ip + 4, size);
		ip[6] = proto;
		ip[7] = REJECT_TTL;
		__builtin_memcpy(ip + 8, p->key.addr + 4, 16);
		__builtin_memcpy(ip + 24, p->key.addr, 16);
		return ETH_SIZE + 40;
	}
	ip[0] = 0x45;
	store16(ip + 2, 20 + size);
	ip[6] = 0x40; /* an identification of 0 says nothing: RFC 6864 section 4.1 */
	ip[8] = REJECT_TTL;
	ip[9] = proto;
	__builtin_memcpy(ip + 12, p->key.addr + 1, 4);
	__builtin_memcpy(ip + 16, p->key.addr, 4);
	store16(ip + 10, ~fold(sum_bytes(ip, 20)));
	return ETH_SIZE + 20;
}

/* Of the pseudo header; it is the same for both directions. */
static __always_inline __u32 reject_pseudo(struct pkt *p, __u32 size, __u32 proto)
{
	__u8 *addr = p->outer + ETH_SIZE + (p->key.family == 6 ? 8 : 12);

	if (p->key.family == 6)
		return fold(sum_bytes(addr, 32) + size + proto);
	return fold(sum_bytes(addr, 8) + size + proto);
}

/* Builds a reset in p->outer; its size, or < 0. The numbers are the packet's own: p->seg may hold those behind a SYN cookie. */
__noinline int reject_reset(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	__u8 *t, *h;
	__u32 end;

	if (!p || reject_head(ctx, p, REJECT_RESET_SIZE, PROTO_TCP) < 0)
		return -1;
	h = p->buf;
	if (ctx_load(ctx, p->l4_off, h, 14) < 0)
		return -1;
	t = p->outer + ETH_SIZE + (p->key.family == 6 ? 40 : 20);
	__builtin_memset(t, 0, REJECT_RESET_SIZE);
	__builtin_memcpy(t, h + 2, 2);
	__builtin_memcpy(t + 2, h, 2);
	t[12] = REJECT_RESET_SIZE / 4 << 4;
	t[13] = TCP_RST;
	if (h[13] & TCP_ACK) {
		__builtin_memcpy(t + 4, h + 8, 4);
	} else {
		end = (__u32)load16(h + 4) << 16 | load16(h + 6);
		end += p->seg.len + !!(h[13] & TCP_SYN) + !!(h[13] & TCP_FIN);
		store16(t + 8, end >> 16);
		store16(t + 10, end);
		t[13] |= TCP_ACK;
	}
	store16(t + 16, ~fold(sum_bytes(t, REJECT_RESET_SIZE) +
			      reject_pseudo(p, REJECT_RESET_SIZE, PROTO_TCP)));
	return (int)(t + REJECT_RESET_SIZE - p->outer);
}

/* How much of the packet an ICMP error has in it: not the padding of a short frame. 0: too little. */
static __always_inline __u32 reject_quoted(ctx_t *ctx, struct pkt *p)
{
	__u8 h[6];
	__u32 n;

	if (ctx_load(ctx, ETH_SIZE, h, sizeof(h)) < 0)
		return 0;
	n = p->key.family == 6 ? load16(h + 4) + 40u : load16(h + 2);
	if (n < 28)
		return 0;
	return n > REJECT_QUOTE ? REJECT_QUOTE : n;
}

/* Builds an ICMP error in p->outer; its size, or < 0. */
__noinline int reject_icmp(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	__u32 n, v6, sum;
	__u8 *t;

	if (!p)
		return -1;
	v6 = p->key.family == 6;
	n = reject_quoted(ctx, p);
	if (!n || reject_head(ctx, p, 8 + n, v6 ? PROTO_ICMPV6 : PROTO_ICMP) < 0)
		return -1;
	t = p->outer + ETH_SIZE + (v6 ? 40 : 20);
	__builtin_memset(t, 0, 8 + REJECT_QUOTE);
	__asm__ volatile("" : "+r"(n)); /* else clang moves the check in front of the call */
	if (n < 28 || n > REJECT_QUOTE || ctx_load(ctx, ETH_SIZE, t + 8, n) < 0)
		return -1;
	t[0] = v6 ? 1 : 3;
	t[1] = (__u8)reject_code(p);
	sum = sum_bytes(t, 8 + REJECT_QUOTE);
	if (v6)
		sum += reject_pseudo(p, 8 + n, PROTO_ICMPV6);
	store16(t + 2, ~fold(sum));
	return (int)(ETH_SIZE + (v6 ? 40 : 20) + 8 + n);
}

/* Sends the answer to the packet, which is no more. Returns what the program returns. */
__noinline int reject_send(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	__u32 size;
	int v;

	if (!p)
		return TC_ACT_SHOT;
	v = p->key.proto == PROTO_TCP ? reject_reset(ctx) : reject_icmp(ctx);
	if (v < 0 || frame_anew(ctx, (__u32)v) < 0)
		return TC_ACT_SHOT;
	size = (__u32)v;
	__asm__ volatile("" : "+r"(size));
	if (size < ETH_SIZE || size > ABI_ENCAP_MAX || ctx_store(ctx, 0, p->outer, size) < 0)
		return TC_ACT_SHOT;
	if (answer_out(ctx, p) < 0)
		return TC_ACT_SHOT;
	count_port(p->in.ifindex, 0, 0, 1, size, 0);
	return p->act;
}

int stage_parse(ctx_t *ctx);

/* One more packet of a flow whose record says that it is rejected; `parsed`: the scratch packet is of it. */
__noinline int reject_again(ctx_t *ctx, __u32 rule, __u32 parsed)
{
	struct pkt *p = stage_begin(ctx);
	struct port_rec *port;
	__u32 reason = DROP_REJECT;

	if (!p || (!parsed && stage_parse(ctx)))
		return TC_ACT_SHOT;
	p->in.ifindex = p->key.ifindex;
	p->in.vlan = p->key.vlan;
	p->reject = 0;
	port = bpf_map_lookup_elem(&ports, &p->in);
	if (port) {
		p->port_flags = port->flags;
		reason = reject_reason(p);
	}
	count_drop(reason);
	drop_told(ctx, reason, rule);
	return p->reject ? reject_send(ctx) : TC_ACT_SHOT;
}

#endif
