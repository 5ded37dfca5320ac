/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_FAST_H
#define DEMARC_BPF_FAST_H

/*
 * What every packet of a known flow pays: headers, one lookup, a few compares. Only plain TCP and UDP in
 * linear memory; everything else goes through the full parser first.
 */

#include "conntrack.h"
#include "output.h"

/* What the fast path compares, beside the key. */
struct fast {
	__u64 mac_hi; /* destination MAC and two bytes of the source */
	__u32 mac_lo;
	__u8 tcp_flags;
};

struct eth_words {
	__u64 hi;
	__u32 lo;
	__u16 type;
} __attribute__((packed));

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

static __always_inline int fast_l4(void *l4, void *end, struct flow_key *k, struct fast *m)
{
	struct l4_words *h = l4;

	if (k->proto == PROTO_TCP) {
		if ((void *)(h + 1) > end)
			return -1;
		m->tcp_flags = h->flags;
	} else {
		if (k->proto != PROTO_UDP || l4 + 8 > end)
			return -1;
		m->tcp_flags = 0;
	}
	k->sport = h->sport;
	k->dport = h->dport;
	return 0;
}

static __always_inline int fast_parse(ctx_t *ctx, struct flow_key *k, struct fast *m)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct eth_words *eth = data;
	struct ipv4_words *ip = (void *)(eth + 1);
	struct ipv6_words *ip6 = (void *)(eth + 1);

	if ((void *)(ip + 1) > end)
		return -1;
	m->mac_hi = eth->hi;
	m->mac_lo = eth->lo;
	k->ifindex = ctx->ifindex;
	k->vlan = ctx_vlan(ctx);
	if (eth->type == bpf_htons(ETHERTYPE_IPV4)) {
		if (ip->ver_ihl != 0x45 || (ip->off & bpf_htons(0x3fff)))
			return -1;
		k->proto = ip->proto;
		k->family = 4;
		k->addr[0] = ip->src;
		k->addr[1] = ip->dst;
		return fast_l4(ip + 1, end, k, m);
	}
	if (eth->type != bpf_htons(ETHERTYPE_IPV6) || (void *)(ip6 + 1) > end)
		return -1;
	k->proto = ip6->proto;
	k->family = 6;
	__builtin_memcpy(k->addr, ip6->addr, 32);
	return fast_l4(ip6 + 1, end, k, m);
}

static __always_inline void key_to_pkt(const struct flow_key *k)
{
	struct pkt *p = pkt_get();

	if (!p)
		return;
	if (k->family == 6)
		p->key = *k;
	else
		__builtin_memcpy(&p->key, k, FLOW_KEY4_SIZE);
}

/* 1: the record is valid for this very frame. */
static __always_inline int fast_valid(struct flow_rec *f, struct fast *m, __u64 now)
{
	return f->gen == dp_globals.gen && *(__u64 *)f->dmac == m->mac_hi &&
	       *(__u32 *)(f->smac + 2) == m->mac_lo &&
	       (now - f->last_ns) >> ABI_TICK_SHIFT <= f->timeout;
}

static __always_inline int fast_go(ctx_t *ctx, struct flow_rec *f, __u64 now)
{
	__sync_fetch_and_add(&f->pkts, 1);
	__sync_fetch_and_add(&f->bytes, ctx->len);
	if (f->flags & FLOW_DROP) { /* not touched: it expires a second after it was made */
		count_drop(f->reason);
		return TC_ACT_SHOT;
	}
	f->last_ns = now;
	return send_by_record(ctx, f);
}

#endif
