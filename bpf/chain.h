/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_CHAIN_H
#define DEMARC_BPF_CHAIN_H

/*
 * Service chains. Where a packet is in a chain is known from the port it comes from: an `out` port of hop k
 * means "between k and k + 1, forward", an `in` port "between k - 1 and k, reverse". Paths are immutable; the
 * chain's pointer says which one new flows take, and below which id flows must move.
 */

#include "lone.h"
#include "maps_def.h"

static __always_inline __u32 mix32(__u32 h)
{
	h ^= h >> 16; /* finalizer of MurmurHash3: every input bit reaches every output bit */
	h *= 0x85ebca6b;
	h ^= h >> 13;
	h *= 0xc2b2ae35;
	return h ^ h >> 16;
}

/* The same for both directions of a flow. */
__noinline __u32 flow_hash(void)
{
	struct pkt *p = pkt_get();
	struct flow_key *k;
	__u32 s, d, words;

	if (!p)
		return 0;
	k = &p->view;
	s = k->sport;
	d = k->dport;
	words = key_words(k->family);

	for (__u32 i = 0; i < 4; i++) {
		if (i >= words)
			break;
		s = mix32(s ^ k->addr[i]);
		d = mix32(d ^ (words == 4 ? k->addr[i + 4] : k->addr[1]));
	}
	return mix32(s + d + k->proto);
}

/* -log2(h / 2^32) in 16.16 fixed point, error below 0.01; never 0. Global: verified once, not per pair. */
__noinline __u32 neg_log2(__u32 h)
{
	__u32 msb = 0, f, curve;

	h |= 1;
	for (__u32 step = 16; step; step >>= 1) {
		if (h >> (msb + step))
			msb += step;
	}
	f = msb >= 16 ? h >> (msb - 16) : h << (16 - msb);
	f &= 0xffff;
	/* log2(1 + f) is close to f + 0.344 f (1 - f) */
	curve = (__u32)(((__u64)f * (0x10000 - f) >> 16) * 22544 >> 16);
	return ((32 - msb) << 16) - f - curve;
}

static __always_inline struct path_hop *hop_find(__u32 path, __u32 hop)
{
	struct path_hop_key k = { .path = path, .hop = hop };

	return bpf_map_lookup_elem(&path_hops, &k);
}

/*
 * Weighted rendezvous hashing: the pair with the greatest weight / -log(u) wins. Adding or removing a pair
 * moves only the flows that the new or the lost pair gets, and no table has to be kept. A global function,
 * like the next one, so that the verifier does not multiply their loops.
 */
__noinline __u32 pair_choose(__u32 path, __u32 hop)
{
	struct path_hop *h = hop_find(path, hop);
	__u32 hash = flow_hash(), pick = 0;
	__u64 best = 0;

	if (!h)
		return ABI_HOP_PAIRS;
	for (__u32 i = 0; i < ABI_HOP_PAIRS; i++) {
		__u64 score;

		if (i >= h->n_pairs)
			break;
		score = ((__u64)h->pairs[i].weight << 40) /
			neg_log2(mix32(hash ^ mix32(h->pairs[i].in)));
		if (score > best) {
			best = score;
			pick = i;
		}
	}
	return pick;
}

/* The pair that already serves the flow, or ABI_HOP_PAIRS. */
__noinline __u32 pair_pinned(__u32 path, __u32 hop, __u32 side)
{
	struct path_hop *h = hop_find(path, hop);
	struct pkt *p = pkt_get();

	if (!h || !p || !p->had)
		return ABI_HOP_PAIRS;
	for (__u32 i = 0; i < ABI_HOP_PAIRS; i++) {
		if (i >= h->n_pairs)
			break;
		if ((side == SIDE_IN ? h->pairs[i].in : h->pairs[i].out) == p->had_out)
			return i;
	}
	return ABI_HOP_PAIRS;
}

#define CHAIN_GOES_ON 1 /* the hop was native: the next one is the packet's */

static __always_inline int native_visit(struct pkt *p, const struct hop_pair *pair, __u32 hop, __u32 side)
{
	__u32 n = p->n_natives;

	if (n >= ABI_CHAIN_HOPS)
		return -DROP_INTERNAL;
	p->natives[n].kind = pair->native;
	p->natives[n].enter = side == SIDE_IN ? pair->in : pair->out;
	p->natives[n].leave = side == SIDE_IN ? pair->out : pair->in;
	p->n_natives = n + 1;
	p->native_firewall |= pair->native == NATIVE_FIREWALL;
	TRACE3(p, CHAIN_NATIVE, hop + 1, p->path, pair->native);
	return CHAIN_GOES_ON;
}

/* Sends the packet to one side of hop `hop` of p->path. */
__noinline int chain_to_hop(__u32 hop, __u32 side)
{
	struct pkt *p = pkt_get();
	struct path_hop *h;
	struct hop_pair *pair;
	__u32 i;

	if (!p)
		return -DROP_INTERNAL;
	h = hop_find(p->path, hop);
	if (!h)
		return -DROP_CHAIN_EMPTY;
	if (h->drop)
		return -DROP_CHAIN_CLOSED;
	if (!h->n_pairs)
		return -DROP_CHAIN_EMPTY;
	i = pair_pinned(p->path, hop, side);
	if (i >= ABI_HOP_PAIRS)
		i = pair_choose(p->path, hop);
	if (i >= ABI_HOP_PAIRS)
		return -DROP_INTERNAL;
	pair = &h->pairs[i];
	if (pair->native)
		return native_visit(p, pair, hop, side);
	p->out = side == SIDE_IN ? pair->in : pair->out;
	p->out_vlan = 0;
	p->set_mac = !pair->transparent;
	mac_copy(p->mac, side == SIDE_IN ? pair->in_mac : pair->out_mac);
	TRACE3(p, CHAIN_HOP, hop + 1, p->path, p->out);
	if (p->set_mac)
		TRACE1(p, CHAIN_MAC, p->out);
	return STAGE_NEXT;
}

/* Towards the WAN from hop `hop` on, through native functions to the first one with interfaces. */
__noinline int chain_forward(__u32 hop, __u32 n_hops)
{
	int v;

	for (__u32 i = 0; i < ABI_CHAIN_HOPS; i++) {
		if (hop >= n_hops)
			break;
		v = chain_to_hop(hop, SIDE_IN);
		if (v != CHAIN_GOES_ON)
			return v;
		hop++;
	}
	return CHAIN_GOES_ON;
}

/* Towards the LAN: `hop` is the number of hops still before the packet. */
__noinline int chain_reverse(__u32 hop)
{
	int v;

	for (__u32 i = 0; i < ABI_CHAIN_HOPS; i++) {
		if (!hop)
			break;
		v = chain_to_hop(hop - 1, SIDE_OUT);
		if (v != CHAIN_GOES_ON)
			return v;
		hop--;
	}
	return CHAIN_GOES_ON;
}

static __always_inline int chain_end(struct pkt *p, int v, __u32 hop)
{
	if (v != CHAIN_GOES_ON)
		return v;
	TRACE2(p, CHAIN_END, p->path, hop);
	return STAGE_NEXT;
}

/* Which path the packet follows: its own while it may, else the current one. 0: outside the chain. */
static __always_inline __u32 path_pick(struct pkt *p, union chain_ptr *c)
{
	__u32 path = p->had_path;
	struct path_rec *rec;

	if (!p->had || path < c->floor)
		return c->path;
	if (!path)
		return 0;
	rec = bpf_map_lookup_elem(&paths, &path);
	return rec && rec->chain == p->chain ? path : c->path;
}

/* A packet from a port of a hop. */
static __always_inline int chain_transit(struct pkt *p, struct port_chain *pc, union chain_ptr *c)
{
	struct path_port_key k = {};
	struct path_port *at;
	struct path_rec *path;
	__u32 hop;

	k.ifindex = p->in.ifindex;
	k.path = path_pick(p, c);
	if (!k.path)
		k.path = c->path;
	at = bpf_map_lookup_elem(&path_ports, &k);
	if (!at) {
		k.path = c->path;
		at = bpf_map_lookup_elem(&path_ports, &k);
	}
	if (!at) { /* its hop was removed: what is still inside leaves by the last path that had it */
		k.path = pc->last_path;
		at = bpf_map_lookup_elem(&path_ports, &k);
	}
	path = bpf_map_lookup_elem(&paths, &k.path);
	if (!at || !path) {
		p->chain = 0;
		return STAGE_NEXT;
	}
	hop = at->hop;
	p->path = k.path;
	p->one_way = !path->symmetric;
	p->dir = at->side == SIDE_IN ? DIR_REVERSE : DIR_FORWARD;
	if (at->side == SIDE_BOTH && p->had)
		p->dir = p->had_dir;
	TRACE3(p, CHAIN_FROM, hop + 1, p->path, p->dir);
	p->hop = p->dir == DIR_FORWARD ? hop + 1 : hop;
	if (p->dir == DIR_FORWARD)
		return chain_end(p, chain_forward(hop + 1, path->n_hops), hop + 1);
	return chain_end(p, path->symmetric ? chain_reverse(hop) : CHAIN_GOES_ON, hop + 1);
}

static __always_inline int classifier_matches(struct pkt *p, const struct classifier *c)
{
	__u16 sport = bpf_ntohs(p->view.sport), dport = bpf_ntohs(p->view.dport);
	__u32 diff = 0;

	if (c->family)
		diff |= c->family ^ p->key.family;
	if (c->proto)
		diff |= c->proto ^ p->key.proto;
	if (c->has_sport)
		diff |= sport < c->sport_min || sport > c->sport_max;
	if (c->has_dport)
		diff |= dport < c->dport_min || dport > c->dport_max;
	if (diff)
		return 0;
	if (p->key.family == 6) {
		for (int i = 0; i < 4; i++) {
			diff |= (p->view.addr[i] ^ c->src[i]) & c->src_mask[i];
			diff |= (p->view.addr[i + 4] ^ c->dst[i]) & c->dst_mask[i];
		}
		return !diff;
	}
	diff |= (p->view.addr[0] ^ c->src[0]) & c->src_mask[0];
	diff |= (p->view.addr[1] ^ c->dst[0]) & c->dst_mask[0];
	return !diff;
}

/* Finds the first classifier of the ingress port that matches: sets p->chain and p->dir. */
__noinline int stage_classify(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct port_classifiers *pc;

	if (!p)
		return -DROP_INTERNAL;
	p->chain = 0;
	pc = bpf_map_lookup_elem(&port_class, &p->in);
	if (!pc)
		return STAGE_NEXT;
	for (__u32 i = 0; i < ABI_PORT_CLASSIFIERS; i++) {
		struct classifier *c = &pc->c[i];

		if (i >= pc->n)
			break;
		if (!classifier_matches(p, c))
			continue;
		p->chain = c->chain;
		p->dir = c->dir;
		TRACE3(p, CLASS_HIT, c->index, c->chain, c->dir);
		return STAGE_NEXT;
	}
	TRACE0(p, CLASS_MISS);
	return STAGE_NEXT;
}

/* A packet from outside, p->chain and p->dir set by its classifier. */
static __always_inline int chain_enter(struct pkt *p, union chain_ptr *c)
{
	struct path_rec *path;
	__u32 id = path_pick(p, c);

	if (!id) {
		TRACE1(p, CLASS_KEPT, p->chain);
		p->chain = 0;
		return STAGE_NEXT;
	}
	path = bpf_map_lookup_elem(&paths, &id);
	if (!path)
		return -DROP_INTERNAL;
	p->path = id;
	p->entry = 1;
	p->one_way = !path->symmetric;
	if (!path->n_hops) { /* nothing in it at present; the flow is the chain's all the same */
		TRACE2(p, CHAIN_END, id, 0);
		return STAGE_NEXT;
	}
	p->hop = p->dir == DIR_FORWARD ? 0 : path->n_hops;
	if (p->dir == DIR_FORWARD)
		return chain_end(p, chain_forward(0, path->n_hops), path->n_hops);
	return chain_end(p, chain_reverse(path->n_hops), path->n_hops);
}

/* Sets p->out for a steered packet; leaves it 0 for one that goes by its destination MAC. */
__noinline int stage_chain(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct port_chain *pc;
	union chain_ptr *c, now;
	__u32 id;

	if (!p)
		return -DROP_INTERNAL;
	pc = bpf_map_lookup_elem(&port_chain, &p->in.ifindex);
	p->steered = pc || p->chain;
	if (pc)
		p->chain = pc->chain;
	barrier(); /* else clang selects between two addresses, one of them of a value that may be NULL */
	id = p->chain;
	if (!id)
		return STAGE_NEXT;
	c = bpf_map_lookup_elem(&chains, &id);
	if (!c)
		return STAGE_NEXT;
	now.word = *(volatile __u64 *)&c->word; /* path and floor of the same instant */
	if (pc)
		return chain_transit(p, pc, &now);
	if (!now.path)
		return STAGE_NEXT;
	lone_answered(p); /* an answer stays outside, like what it answers */
	return chain_enter(p, &now);
}

#endif
