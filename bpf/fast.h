/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_FAST_H
#define DEMARC_BPF_FAST_H

/*
 * What every packet of a known flow pays: headers, one lookup, a few compares. Only plain TCP and UDP in
 * linear memory; everything else goes through the full parser first.
 */

#ifdef HOOK_XDP
#include "extra.h"
#include "parse.h"
#include "tcp.h"
#else
#include "classify.h"
#include "conntrack.h"
#include "output.h"
#include "reject.h"
#include "wire.h"
#endif

/* What the slow path need not do again. */
enum slow_known {
	SLOW_PARSED = 1 << 0, /* it is in the scratch packet */
	SLOW_ABSENT = 1 << 1, /* there is no record */
};

/* What the fast path compares, beside the key. */
struct fast {
	__u64 mac_hi; /* destination MAC and two bytes of the source */
	__u32 mac_lo;
	struct tcp_seg seg; /* TCP */
	__u8 later;	    /* a fragment without it */
	int parsed;	    /* SLOW_PARSED or not, < 0: cannot be */
};

#define FAST_WRONG 0xffffffff

struct ipv4_words {
	__u8 ver_ihl, tos;
	__u16 len, id, off;
	__u8 ttl, proto;
	__u16 sum;
	__u32 src, dst;
};
struct ipv6_words {
	__u32 ver;
	__u16 len;
	__u8 proto, hops;
	__u32 addr[8];
};
struct l4_words {
	__u16 sport, dport;
	__u32 seq, ack;
	__u8 off, flags;
	__u16 window;
};

/*
 * vlan, proto and family in one store: the hash reads the key by 32-bit words, and a load that spans several
 * narrower stores waits until they have left the store buffer.
 */
static __always_inline void key_word(struct flow_key *k, __u32 vlan, __u32 proto, __u32 family)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	*(__u32 *)&k->vlan = vlan | proto << 16 | family << 24;
#else
	*(__u32 *)&k->vlan = vlan << 16 | proto << 8 | family;
#endif
}

#ifdef HOOK_XDP

/* Queries and their answers: here there is no full parser behind it. */
static __always_inline int fast_icmp(const __u8 *b, void *end, __u32 size, struct flow_key *k,
				     struct fast *m)
{
	if ((void *)(b + 8) > end || size < 8)
		return -1;
	if ((k->family == 6 ? icmp6_kind(*b) : icmp4_kind(*b)) != ICMP_QUERY)
		return -1;
	icmp_ports(k, ICMP_QUERY, b);
	m->seg = (struct tcp_seg){};
	return 0;
}

#endif

/* `size` is what the IP header leaves for the segment. */
static __always_inline int fast_l4(void *l4, void *end, __u8 proto, __u32 size, struct flow_key *k,
				   struct fast *m)
{
	struct l4_words *h = l4;
	struct tcp_seg *s = &m->seg;

	if (size == FAST_WRONG)
		return -1;
	if (proto == PROTO_TCP) {
		if ((void *)(h + 1) > end)
			return -1;
		s->off = h->off >> 4 << 2;
		if (s->off < 20 || s->off > size)
			return -1;
		s->flags = h->flags;
		s->seq = bpf_ntohl(h->seq);
		s->ack = bpf_ntohl(h->ack);
		s->win = bpf_ntohs(h->window);
		s->len = size - s->off;
#ifdef HOOK_XDP
	} else if (proto == (k->family == 6 ? PROTO_ICMPV6 : PROTO_ICMP)) {
		return fast_icmp(l4, end, size, k, m);
#endif
	} else if (proto != PROTO_UDP || l4 + 8 > end) {
		return -1;
	} else {
		__u32 len = bpf_ntohs(*(__u16 *)&h->seq);

		if (len < 8 || len > size)
			return -1;
		*s = (struct tcp_seg){}; /* clang moves it around calls, read or not */
	}
	*(__u32 *)&k->sport = *(__u32 *)&h->sport;
	return 0;
}

/* What the IP header leaves; more than any frame has when its length is wrong. `counted`: it counts itself. */
static __always_inline __u32 fast_size(ctx_t *ctx, __u16 field, __u32 at, __u32 counted)
{
	__u32 size = bpf_ntohs(field), room = ctx_len(ctx) - at;

	if (!size && ctx_len(ctx) > IP_BIG)
		return room;
	size -= counted;
	return size <= room ? size : FAST_WRONG;
}

/* What is in the IP header at `l3` and behind it. */
static __always_inline int fast_ip(ctx_t *ctx, __u32 l3, __u16 type, __u32 vlan, struct flow_key *k,
				   struct fast *m)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ipv4_words *ip = data + l3;
	struct ipv6_words *ip6 = data + l3;

	if ((void *)(ip + 1) > end)
		return -1;
	k->ifindex = ctx_port(ctx);
	if (type == bpf_htons(ETHERTYPE_IPV4)) {
		if (ip->ver_ihl != 0x45 || (ip->off & bpf_htons(0x3fff)))
			return -1;
		key_word(k, vlan, ip->proto, 4);
		k->addr[0] = ip->src;
		k->addr[1] = ip->dst;
		return fast_l4(ip + 1, end, ip->proto, fast_size(ctx, ip->len, l3 + 20, 20), k, m);
	}
	if (type != bpf_htons(ETHERTYPE_IPV6) || (void *)(ip6 + 1) > end ||
	    (ip6->ver & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
		return -1;
	key_word(k, vlan, ip6->proto, 6);
	__builtin_memcpy(k->addr, ip6->addr, 32);
	return fast_l4(ip6 + 1, end, ip6->proto, fast_size(ctx, ip6->len, l3 + 40, 0), k, m);
}

/* 1: the record is valid for frames with these addresses now; with FLOW_VARIES: for some of them. */
static __always_inline int fast_current(struct flow_rec *f, struct fast *m, __u64 now)
{
	return f->gen == dp_globals.gen && *(__u64 *)f->dmac == m->mac_hi &&
	       *(__u32 *)(f->smac + 2) == m->mac_lo && !rec_idle(f, now);
}

/* The addresses of a frame with room for an IPv4 header; returns the EtherType, network order. 0: it has none. */
static __always_inline __u16 fast_eth(ctx_t *ctx, struct fast *m)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + ETH_SIZE + sizeof(struct ipv4_words) > end)
		return 0;
	m->mac_hi = *(__u64 *)data;
	m->mac_lo = *(__u32 *)(data + 8);
	return *(__u16 *)(data + 12);
}

#ifndef HOOK_XDP

static __always_inline int fast_parse(ctx_t *ctx, struct flow_key *k, struct fast *m)
{
	return fast_ip(ctx, ETH_SIZE, fast_eth(ctx, m), ctx_vlan(ctx), k, m);
}

static __always_inline void key_to_pkt(const struct flow_key *k, const struct fast *m)
{
	struct pkt *p = pkt_get();

	if (!p)
		return;
	p->seg = m->seg;
	if (k->family == 6)
		p->key = *k;
	else
		__builtin_memcpy(&p->key, k, FLOW_KEY4_SIZE);
}

/* 1: the record is valid for this very frame, whatever its TCP flags and DSCP are. */
static __always_inline int fast_valid(struct flow_rec *f, struct fast *m, __u64 now)
{
	return !(f->flags & FLOW_VARIES) && fast_current(f, m, now);
}

/* The `fact` of a frame that fast_parse() took: bytes of its headers. */
static __always_inline __u32 fast_fact(ctx_t *ctx)
{
	__u8 ip[10], flags = 0;
	__u32 v6, dscp;

	if (ctx_load(ctx, ETH_SIZE, ip, sizeof(ip)) < 0)
		return POLICY_NO_FACT;
	v6 = ip[0] >> 4 == 6;
	dscp = v6 ? load16(ip) >> 6 : ip[1] >> 2;
	if ((v6 ? ip[6] : ip[9]) == PROTO_TCP &&
	    ctx_load(ctx, ETH_SIZE + (v6 ? 40 : 20) + 13, &flags, 1) < 0)
		return POLICY_NO_FACT;
	return fact_of(flags, dscp);
}

/* 1: no rule tells the frame from those that a record with this `fact` was made for. */
__noinline int fact_holds(ctx_t *ctx, __u32 parsed, __u32 fact)
{
	struct pkt *p = stage_begin(ctx);

	if (!p || fact == POLICY_NO_FACT)
		return 0;
	return fact == (parsed ? fact_of(p->flags_seen, p->dscp_seen) : fast_fact(ctx));
}

/* A packet of a control connection; key and segment are in the scratch packet. */
static __always_inline void fast_help(ctx_t *ctx, struct flow_rec *f, int plain)
{
	struct pkt *p = pkt_get();

	if (!p)
		return;
	if (plain) {
		p->l4_off = ETH_SIZE + (p->key.family == 6 ? 40 : 20);
		p->frag = FRAG_NONE;
		p->trace = 0;
	}
	nat_view(&p->view, &p->key, f->nat_addr, f->nat_port, f->flags);
	helper_run(ctx, f->net);
}

/* Over the rate, or invalid: seen at the port, but no packet of the flow. */
static __always_inline int fast_drop(ctx_t *ctx, __u32 reason, __u64 wire)
{
	count_drops(reason, wire_pkts(wire));
	drop_told(ctx, reason, 0);
	count_port(ctx_port(ctx), wire_pkts(wire), wire_bytes(wire), 0, 0, wire_pkts(wire));
	return TC_ACT_SHOT;
}

static __always_inline int fast_go(ctx_t *ctx, struct flow_rec *f, __u64 now, int parsed)
{
	__u64 wire = wire_of(ctx, parsed);

	if ((f->flags & FLOW_METER) && !meters_pass(f->meters, wire, now))
		return fast_drop(ctx, DROP_METER, wire);
	__sync_fetch_and_add(&f->pkts, wire_pkts(wire));
	__sync_fetch_and_add(&f->bytes, wire_bytes(wire));
	if (f->flags & FLOW_DROP) { /* not touched: it expires a second after it was made */
		if (f->reason == DROP_REJECT)
			return reject_again(ctx, f->rule, (__u32)parsed);
		count_drops(f->reason, wire_pkts(wire));
		drop_told(ctx, f->reason, f->rule);
		return TC_ACT_SHOT;
	}
	f->last = (__u32)now;
	return send_by_record(ctx, f);
}

#endif
#endif
