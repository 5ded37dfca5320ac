/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_FRAG_H
#define DEMARC_BPF_FRAG_H

/*
 * Later fragments carry no ports: they take those of the first fragment of their datagram, which is remembered for
 * FRAG_HOLD_NS, and with them its flow and verdict. A later fragment that comes before the first one is dropped on a
 * secured port (no rule can be checked) and travels with ports 0 elsewhere.
 *
 * A fragment that overlaps another one ends its datagram (RFC 5722, RFC 8200 section 4.5; RFC 1858 and RFC 3128 for
 * IPv4): the ends could put it together in another way than the one that was checked. What passed is remembered as
 * pieces, which grow together while fragments come in order.
 */

#include "maps_def.h"
#include "parse.h"

#define FRAG_HOLD_NS                                                                               \
	30000000000ULL	/* RFC 791: a datagram waits at most 30 s for its rest; Linux as well */
#define FRAG_TCP_MIN 20 /* no later fragment of a segment begins before: RFC 1858 section 3.2 */

static __always_inline void frag_key_of(struct pkt *p)
{
	struct frag_key *k = &p->fragk;

	k->ifindex = p->key.ifindex;
	k->vlan = p->key.vlan;
	k->id = p->frag_id;
	k->proto = p->key.family == 6 ? 0 : p->key.proto;
	k->family = p->key.family;
	for (int i = 0; i < 8; i++)
		k->addr[i] = p->key.addr[i];
}

static __always_inline int frag_complete(const struct frag_rec *f)
{
	return (f->flags & FRAG_TOTAL) && f->n == 1 && !f->piece[0].from && f->piece[0].to == f->total;
}

static __always_inline int frag_kill(struct frag_rec *f)
{
	f->flags |= FRAG_DEAD;
	return -DROP_FRAG_OVERLAP;
}

/* The last fragment says how long the datagram is; nothing may be beyond it, nor disagree. */
static __always_inline int frag_end(struct frag_rec *f, __u32 to, int more)
{
	if (f->flags & FRAG_TOTAL)
		return to <= f->total && (more || to == f->total);
	if (more)
		return 1;
	for (int i = 0; i < FRAG_PIECES; i++)
		if (i < f->n && f->piece[i].to > to)
			return 0;
	f->flags |= FRAG_TOTAL;
	f->total = (__u16)to;
	return 1;
}

/* Adds bytes `from` to `to` - 1 of a datagram whose first fragment has passed. */
static __always_inline int frag_add(struct frag_rec *f, __u32 from, __u32 to, int more)
{
	int at = -1;

	if (f->flags & FRAG_DEAD)
		return -DROP_FRAG_OVERLAP;
	if (from == f->last_from && to == f->last_to) /* the network doubled it: once is enough */
		return -DROP_FRAG_OVERLAP;
	if (!frag_end(f, to, more))
		return frag_kill(f);
	for (int i = 0; i < FRAG_PIECES; i++) {
		if (i >= f->n)
			break;
		if (from < f->piece[i].to && to > f->piece[i].from)
			return frag_kill(f);
		if (f->piece[i].to == from)
			at = i;
	}
	f->last_from = (__u16)from;
	f->last_to = (__u16)to;
	if (at < 0) {
		at = f->n;
		if (at >= FRAG_PIECES)
			return -DROP_FRAGMENT;
		f->piece[at & (FRAG_PIECES - 1)].from = (__u16)from;
		f->n = (__u16)(at + 1);
	}
	f->piece[at & (FRAG_PIECES - 1)].to = (__u16)to;
	return STAGE_NEXT;
}

/* Joins two pieces that touch; one call for each fragment is enough. */
static __always_inline void frag_join(struct frag_rec *f)
{
	__u32 last = f->n - 1u;

	for (int i = 0; i < FRAG_PIECES - 1; i++) {
		for (int j = i + 1; j < FRAG_PIECES; j++) {
			if (j >= f->n)
				break;
			if (f->piece[i].to == f->piece[j].from)
				f->piece[i].to = f->piece[j].to;
			else if (f->piece[j].to == f->piece[i].from)
				f->piece[i].from = f->piece[j].from;
			else
				continue;
			f->piece[j] = f->piece[last & (FRAG_PIECES - 1)];
			f->n = (__u16)last;
			return;
		}
	}
}

static __always_inline int frag_first(struct pkt *p, struct frag_rec *f)
{
	struct frag_rec fresh = {};

	if (f && p->now - f->seen_ns <= FRAG_HOLD_NS && !frag_complete(f))
		return p->trace ? STAGE_NEXT : frag_add(f, p->frag_from, p->frag_to, p->frag_more);
	fresh.sport = p->key.sport;
	fresh.dport = p->key.dport;
	fresh.icmp_type = p->key.proto == PROTO_TCP ? p->tcp_flags : p->icmp_type;
	fresh.icmp_code = p->icmp_code;
	fresh.proto = p->key.proto;
	fresh.seen_ns = p->now;
	fresh.n = 1;
	fresh.piece[0].to = fresh.last_to = (__u16)p->frag_to;
	if (!p->trace)
		bpf_map_update_elem(&frags, &p->fragk, &fresh, BPF_ANY);
	return STAGE_NEXT;
}

static __always_inline int frag_orphan(struct pkt *p)
{
	struct port_rec *port;

	p->in.ifindex = p->key.ifindex;
	p->in.vlan = p->key.vlan;
	port = bpf_map_lookup_elem(&ports, &p->in);
	return port && (port->flags & PORT_SECURITY) ? -DROP_FRAGMENT : STAGE_NEXT;
}

/* Runs after stage_parse, before the record is looked up, once for each packet. */
__noinline int frag_ports(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct frag_rec *f;
	int v;

	if (!p)
		return -DROP_INTERNAL;
	frag_key_of(p);
	TRACE3(p, PARSE_PIECE, p->frag_id, p->frag_from, p->frag_to);
	f = bpf_map_lookup_elem(&frags, &p->fragk);
	if (p->frag == FRAG_FIRST)
		return frag_first(p, f);
	if (p->key.proto == PROTO_TCP && p->frag_from < FRAG_TCP_MIN)
		return -DROP_FRAG_TINY;
	if (!f || p->now - f->seen_ns > FRAG_HOLD_NS)
		return frag_orphan(p);
	if (!p->trace) {
		v = frag_add(f, p->frag_from, p->frag_to, p->frag_more);
		if (v)
			return v;
		frag_join(f);
	}
	p->key.proto = f->proto;
	p->key.sport = f->sport;
	p->key.dport = f->dport;
	if (p->key.proto == PROTO_TCP)
		p->flags_seen = f->icmp_type;
	p->icmp_type = f->icmp_type;
	p->icmp_code = f->icmp_code;
	if (p->key.proto == PROTO_ICMP || p->key.proto == PROTO_ICMPV6)
		parse_icmp_type(p);
	TRACE3(p, PARSE_FRAG, p->frag_id, bpf_ntohs(f->sport), bpf_ntohs(f->dport));
	return STAGE_NEXT;
}

#endif
