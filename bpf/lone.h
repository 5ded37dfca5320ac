/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_LONE_H
#define DEMARC_BPF_LONE_H

/*
 * A connection that is neither steered nor translated begins with one record, its opener's: most of what a scan or a flood opens is never
 * answered. An answer that leaves for the opener's port finds that record by the tuple (bpf/conntrack.h). One that would take another
 * way because it has no record of its own asks here, by the opener's address, then by the MAC that it is for.
 */

#include "maps_def.h"

/* Notes a record as it was. */
static __always_inline void flow_had(struct pkt *p, const struct flow_rec *f)
{
	p->had_out = f->out;
	p->had_vlan = f->out_vlan;
	p->had_path = f->path;
	p->had_chain = f->chain;
	p->had_hop = f->hop;
	p->had_dir = f->dir;
	p->had_conn = f->conn;
	p->had_state = f->state;
	p->had_set_mac = !!(f->flags & FLOW_SET_DMAC);
	mac_copy(p->had_mac, f->out_mac);
	p->created_ns = f->created_ns;
}

/* The record has just been made. */
static __always_inline void flow_had_now(struct pkt *p)
{
	struct flow_rec *f = flow_find(&p->key);

	if (!f)
		return;
	flow_had(p, f);
	p->seen = p->had = 1;
}

/* The partner, with key p->vkey, of the lone record p->wkey: waits with generation 0. Returns 1 when there is one now. */
__noinline int partner_make(void)
{
	struct pkt *p = pkt_get();
	struct flow_rec *f, *r;

	if (!p)
		return 0;
	f = flow_find(&p->wkey);
	if (!f || !(f->conn & CONN_LONE) || (f->flags & FLOW_DROP) || rec_idle(f, p->jiffies))
		return 0;
	r = &p->prec;
	__builtin_memset(r, 0, sizeof(*r));
	r->last = f->last;
	r->created_ns = f->created_ns;
	r->state = f->state;
	r->timeout = f->timeout;
	r->out = p->wkey.ifindex;
	r->out_vlan = p->wkey.vlan;
	r->net = f->net;
	r->dir = !f->dir;
	r->tcp_bits = f->tcp_bits & (TCPW_LIBERAL | TCPW_FREE);
	r->conn = CONN_RESERVED | (f->conn & (CONN_FIRST | CONN_RELATED));
	flow_insert(&p->vkey, r, BPF_NOEXIST);
	f->conn &= ~CONN_LONE;
	return 1;
}

/* Not where conntrack has looked already: a flood of what is denied pays nothing for it. */
static __always_inline int partner_made_at(struct pkt *p, __u32 ifindex, __u16 vlan)
{
	if (p->rlooked && ifindex == p->out && vlan == p->out_vlan)
		return 0;
	key_reverse(&p->wkey, &p->vkey);
	p->wkey.ifindex = ifindex;
	p->wkey.vlan = vlan;
	return partner_make();
}

/* Makes the record p->vkey when it is the partner of a lone one. Returns 1 when it did. */
__noinline int lone_find(void)
{
	struct pkt *p = pkt_get();
	struct addr_rec *a;
	struct fdb_rec *to;

	if (!p)
		return 0;
	p->addr.net = p->net;
	p->addr.family = p->vkey.family;
	p->addr.ip[0] = p->vkey.family == 6 ? p->vkey.addr[4] : p->vkey.addr[1];
	for (int i = 1; i < 4; i++)
		p->addr.ip[i] = p->vkey.family == 6 ? p->vkey.addr[i + 4] : 0;
	a = bpf_map_lookup_elem(&addrs, &p->addr);
	if (a && partner_made_at(p, a->ifindex, 0))
		return 1;
	p->fdb.net = p->net;
	mac_copy(p->fdb.mac, p->dmac);
	to = bpf_map_lookup_elem(&fdb, &p->fdb);
	if (!to)
		to = bpf_map_lookup_elem(&fdb_learned, &p->fdb);
	return to && partner_made_at(p, to->ifindex, to->vlan);
}

/* For a packet without a record: one that it should have had. 1: it has one now. */
static __always_inline int lone_answered(struct pkt *p)
{
	if (p->seen || !p->flow)
		return 0;
	p->vkey = p->key;
	if (!lone_find())
		return 0;
	flow_had_now(p);
	return 1;
}

/* 1: the stages are gone through again, with the record that there is now. */
static __always_inline int lone_again(struct pkt *p, __u32 reason)
{
	if (p->frag)
		return 0;
	switch (reason) {
	case DROP_CT_INVALID:
	case DROP_SG_EGRESS:
	case DROP_SG_INGRESS:
	case DROP_L2_UNKNOWN:
		return lone_answered(p);
	}
	return 0;
}

#endif
