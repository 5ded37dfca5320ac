/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_HELPER_H
#define DEMARC_BPF_HELPER_H

/*
 * Control connections that announce others: FTP (RFC 959 PORT and 227, RFC 2428 EPRT and 229), TFTP (RFC 1350), SIP with SDP
 * (RFC 3261, RFC 8866). What is expected comes from the peer of the control connection, to the host that announced it: an
 * address in the text cannot open another one's ports. Each message is read alone, its first ABI_HELPER_BYTES.
 */

#include "expect.h"
#include "maps_def.h"

MAP(expects, BPF_MAP_TYPE_LRU_HASH, struct expect_key, struct expect_rec, ABI_EXPECTS);
MAP(helper_scans, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct helper_scan, 1);

#define PORT_FTP 21
#define PORT_TFTP 69
#define PORT_SIP 5060

enum helper_kind {
	HELPER_NONE,
	HELPER_FTP_TUPLE, /* six numbers with commas */
	HELPER_FTP_BARS,  /* |family|address|port| */
	HELPER_TFTP,
	HELPER_SIP,
};

/* Which helper flag of a port a connection needs; 0: it announces nothing. */
static __always_inline __u16 helper_of(__u8 proto, __u16 port)
{
	if (proto == PROTO_TCP && port == PORT_FTP)
		return PORT_HELP_FTP;
	if (proto == PROTO_UDP && port == PORT_TFTP)
		return PORT_HELP_TFTP;
	return port == PORT_SIP && (proto == PROTO_UDP || proto == PROTO_TCP) ? PORT_HELP_SIP : 0;
}

/* The record being made is of a control connection that a port with these flags has a helper for. */
static __always_inline void helper_assign(struct pkt *p, __u16 flags)
{
	__u16 server = bpf_ntohs(p->reply ? p->view.sport : p->view.dport);

	if (flags & helper_of(p->key.proto, server))
		p->rec_flags |= FLOW_HELPER;
}

static __always_inline void expect_key_of(struct expect_key *e, const struct pkt *p)
{
	int v6 = p->key.family == 6;

	e->net = p->net;
	e->proto = p->key.proto;
	e->family = p->key.family;
	e->dport = p->view.dport;
	e->pad = 0;
	for (int i = 0; i < 4; i++) {
		e->src[i] = v6 || !i ? p->view.addr[i] : 0;
		e->dst[i] = v6 ? p->view.addr[i + 4] : i ? 0 : p->view.addr[1];
	}
}

static __always_inline int expects_any(const struct pkt *p)
{
	return p->jiffies / (dp_globals.hz | 1) <= dp_globals.expects_until;
}

/* 1: the packet opens a connection that was announced; it is no longer expected then. */
__noinline int expect_take(__u32 len)
{
	struct pkt *p = pkt_get();
	struct expect_rec *r;

	if (!p)
		return 0;
	expect_key_of(&p->expect, p);
	r = bpf_map_lookup_elem(&expects, &p->expect);
	if (!r || p->jiffies > r->until)
		return 0;
	if (!p->trace)
		bpf_map_delete_elem(&expects, &p->expect);
	return 1;
}

/* ---- reading a message ---- */

static __always_inline void helper_port(struct helper_scan *s, __u32 port)
{
	__u32 n = s->n_ports;

	if (!port || port > 65535 || n >= ABI_HELPER_PORTS)
		return;
	s->port[n] = (__u16)port;
	s->n_ports = n + 1;
}

/* h1,h2,h3,h4,p1,p2: any other character ends the list, and the sixth number is followed by one. */
static __always_inline void scan_tuple(struct helper_scan *s, __u8 c)
{
	if (s->digits && s->number < 256) {
		s->count++;
		if (s->count <= 4)
			s->address = s->address << 8 | s->number;
		else
			s->values = s->values << 8 | s->number;
	}
	if (c == ',' && s->digits && s->number < 256)
		return;
	if (s->count == 6 && s->digits)
		helper_port(s, s->values & 0xffff);
	s->count = 0;
	s->values = 0;
	if (!s->n_ports)
		s->address = 0;
}

/* The port is the number between the third bar and the fourth. */
static __always_inline void scan_bars(struct helper_scan *s, __u8 c)
{
	if (c != '|')
		return;
	if (s->count == 3 && s->digits)
		helper_port(s, s->number);
	s->count++;
}

/* m=<media> <port> ...: the second word of a media line. RTP's port, and the next one for RTCP (RFC 3550 section 11). */
static __always_inline void scan_sdp(struct helper_scan *s, __u8 c)
{
	if (c == '\n') {
		s->line = 0;
		s->count = 0;
		return;
	}
	if (s->line == 0) {
		s->line = c == 'm' ? 1 : 3;
	} else if (s->line == 1) {
		s->line = c == '=' ? 2 : 3;
	} else if (s->line == 2 && (c == ' ' || c == '/')) {
		if (s->count == 1 && s->digits && s->number) {
			helper_port(s, s->number);
			helper_port(s, s->number + 1);
		}
		s->count++;
	}
}

/* One character. The loop wants its context on the stack, where the scan has no room. */
static long scan_step(__u32 i, void *unused)
{
	struct helper_scan *s;
	__u32 zero = 0;
	__u8 c;

	s = bpf_map_lookup_elem(&helper_scans, &zero);
	if (!s || i >= s->len || s->at + i >= ABI_HELPER_BYTES)
		return 1;
	c = s->b[(s->at + i) & 2047];
	if (c >= '0' && c <= '9' && s->digits < 6) {
		s->number = s->number * 10 + c - '0';
		s->digits++;
		if (s->kind != HELPER_SIP || s->line == 2)
			return 0;
	}
	if (s->kind == HELPER_SIP)
		scan_sdp(s, c);
	else if (s->kind == HELPER_FTP_TUPLE)
		scan_tuple(s, c);
	else
		scan_bars(s, c);
	s->number = 0;
	s->digits = 0;
	return s->kind != HELPER_SIP && (s->n_ports || c == '\n');
}

static __always_inline __u32 upper32(const __u8 *b)
{
	return ((__u32)b[0] << 24 | (__u32)b[1] << 16 | (__u32)b[2] << 8 | b[3]) & ~0x20202020U;
}

#define WORD_PORT 0x504f5254U
#define WORD_EPRT 0x45505254U

/* What the first bytes of the payload are. The letters' case does not matter, and digits are as they are. */
static __always_inline __u32 ftp_kind(const __u8 *b, int from_server)
{
	__u32 word = upper32(b);

	if (from_server && b[0] == '2' && b[1] == '2' && b[2] == '7')
		return HELPER_FTP_TUPLE;
	if (from_server && b[0] == '2' && b[1] == '2' && b[2] == '9')
		return HELPER_FTP_BARS;
	if (!from_server && word == WORD_PORT)
		return HELPER_FTP_TUPLE;
	return !from_server && word == WORD_EPRT ? HELPER_FTP_BARS : HELPER_NONE;
}

static __always_inline __u32 helper_kind(const struct helper_scan *s, const struct pkt *p,
					 __u16 sport, __u16 dport)
{
	if (p->key.proto == PROTO_TCP && (sport == PORT_FTP || dport == PORT_FTP))
		return ftp_kind(s->b, sport == PORT_FTP);
	if (p->key.proto == PROTO_UDP && dport == PORT_TFTP && !s->b[0] &&
	    (s->b[1] == 1 || s->b[1] == 2))
		return HELPER_TFTP;
	return sport == PORT_SIP || dport == PORT_SIP ? HELPER_SIP : HELPER_NONE;
}

/* The peer may open a connection to `port` (network order) of the packet's sender. */
__noinline int expect_put(__u32 net, __u32 proto, __u32 port)
{
	struct pkt *p = pkt_get();
	struct expect_rec r = {};
	struct expect_key *e;
	int v6;

	if (!p)
		return 0;
	e = &p->expect;
	v6 = p->key.family == 6;
	e->net = (__u16)net;
	e->proto = (__u8)proto;
	e->family = p->key.family;
	e->dport = (__u16)port;
	e->pad = 0;
	for (int i = 0; i < 4; i++) {
		e->src[i] = v6 ? p->view.addr[i + 4] : i ? 0 : p->view.addr[1];
		e->dst[i] = v6 || !i ? p->view.addr[i] : 0;
	}
	r.until = bpf_jiffies64() + EXPECT_S * dp_globals.hz;
	dp_globals.expects_until = (__u32)(r.until / (dp_globals.hz | 1)) + 1;
	bpf_map_update_elem(&expects, e, &r, BPF_ANY);
	return 0;
}

static __always_inline void helper_expect(struct helper_scan *s, struct pkt *p, __u32 net)
{
	__u32 proto = s->kind == HELPER_SIP ? PROTO_UDP : p->key.proto;

	/* An address in the text that is not the sender's: RFC 2577, the bounce attack. */
	if (s->kind == HELPER_FTP_TUPLE &&
	    (p->key.family != 4 || bpf_htonl(s->address) != p->view.addr[0]))
		return;
	for (__u32 i = 0; i < ABI_HELPER_PORTS; i++)
		if (i < s->n_ports)
			expect_put(net, proto, bpf_htons(s->port[i]));
}

/* Payload of p to the scan; < 0: there is none. Options and extension headers are the parser's business. */
static __always_inline int helper_load(ctx_t *ctx, struct pkt *p, struct helper_scan *s)
{
	__u32 off = p->l4_off + (p->key.proto == PROTO_TCP ? p->seg.off : 8u), n = ctx_len(ctx);

	if (off + 4 > n || p->frag == FRAG_LATER)
		return -1;
	n -= off;
	if (n > ABI_HELPER_BYTES)
		n = ABI_HELPER_BYTES;
	s->len = n;
	s->at = 0;
	s->number = s->digits = s->count = s->values = s->address = s->line = s->n_ports = 0;
	if (n < 4 || n > ABI_HELPER_BYTES)
		return -1;
	return ctx_load_any(ctx, off, s->b, n);
}

/* A packet of a control connection, parsed into the scratch packet; `net` is the network it is in. */
__noinline int helper_run(ctx_t *ctx, __u32 net)
{
	struct pkt *p = stage_begin(ctx);
	struct helper_scan *s;
	__u32 zero = 0;

	s = bpf_map_lookup_elem(&helper_scans, &zero);
	if (!p || !s || p->trace || helper_load(ctx, p, s) < 0)
		return 0;
	s->kind = helper_kind(s, p, bpf_ntohs(p->view.sport), bpf_ntohs(p->view.dport));
	if (!s->kind)
		return 0;
	if (s->kind == HELPER_TFTP)
		return expect_put(net, PROTO_UDP, p->view.sport);
	if (s->kind != HELPER_SIP) { /* behind the command */
		s->at = 4;
		s->len -= 4;
	}
	bpf_loop(ABI_HELPER_BYTES, scan_step, &zero, 0);
	helper_expect(s, p, net);
	return 0;
}

#endif
