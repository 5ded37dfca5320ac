/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_FRAG_H
#define DEMARC_BPF_FRAG_H

/*
 * Later fragments carry no ports: they take those of the first fragment of their datagram, which is
 * remembered for FRAG_HOLD_NS. A later fragment that comes before the first one is dropped on a secured port
 * (no rule can be checked) and travels with ports 0 elsewhere.
 */

#include "maps_def.h"
#include "parse.h"

#define FRAG_HOLD_NS                                                                               \
	30000000000ULL /* RFC 791: a datagram waits at most 30 s for its rest; Linux as well */

static __always_inline void frag_key_of(struct pkt *p)
{
	struct frag_key *k = &p->fragk;

	k->ifindex = p->key.ifindex;
	k->vlan = p->key.vlan;
	k->id = p->frag_id;
	k->proto = p->key.proto;
	k->family = p->key.family;
	for (int i = 0; i < 8; i++)
		k->addr[i] = p->key.addr[i];
}

/* Runs after stage_parse, before the record is looked up. */
static __always_inline int frag_ports(struct pkt *p)
{
	struct frag_rec fresh = {}, *f;

	if (!p->frag)
		return STAGE_NEXT;
	frag_key_of(p);
	if (p->frag == FRAG_FIRST) {
		fresh.sport = p->key.sport;
		fresh.dport = p->key.dport;
		fresh.icmp_type = p->icmp_type;
		fresh.icmp_code = p->icmp_code;
		fresh.seen_ns = p->now;
		if (!p->trace)
			bpf_map_update_elem(&frags, &p->fragk, &fresh, BPF_ANY);
		return STAGE_NEXT;
	}
	f = bpf_map_lookup_elem(&frags, &p->fragk);
	if (f && p->now - f->seen_ns <= FRAG_HOLD_NS) {
		p->key.sport = f->sport;
		p->key.dport = f->dport;
		p->icmp_type = f->icmp_type;
		p->icmp_code = f->icmp_code;
		if (p->key.proto == PROTO_ICMP || p->key.proto == PROTO_ICMPV6)
			parse_icmp_type(p);
		TRACE3(p, PARSE_FRAG, p->frag_id, bpf_ntohs(f->sport), bpf_ntohs(f->dport));
		return STAGE_NEXT;
	}
	p->in.ifindex = p->key.ifindex;
	p->in.vlan = p->key.vlan;
	{
		struct port_rec *port = bpf_map_lookup_elem(&ports, &p->in);

		if (port && (port->flags & PORT_SECURITY))
			return -DROP_FRAGMENT;
	}
	return STAGE_NEXT;
}

#endif
