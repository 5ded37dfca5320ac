/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_NAT_STAGE_H
#define DEMARC_BPF_NAT_STAGE_H

/*
 * Address and port translation, decided on the first packet of a connection: destinations by the rules of the port it comes from,
 * before anything else looks at them; sources by those of the port it goes to, after everything else has. Rules, classifiers and chains
 * see the addresses inside, in both directions. bpf/nat_rewrite.h does what the record says.
 *
 * A translated connection has its external tuple alone: the partner's record, which is found by it, is what reserves it.
 * Source: RFC 3022, RFC 4787, RFC 5382, RFC 5508.
 */

#include "chain.h"
#include "classify.h"
#include "partner.h"

MAP_LAZY(nat_targets, struct nat_target_key, struct nat_target, ABI_NAT_TARGETS);

static __always_inline int nat_has_ports(__u8 proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP;
}

static __always_inline void nat_load(struct pkt *p, const struct flow_rec *f)
{
	p->nat.flags = f->flags & FLOW_NAT;
	p->nat.port = f->nat_port;
	for (int i = 0; i < 4; i++)
		p->nat.addr[i] = f->nat_addr[i];
}

static __always_inline void nat_view(struct flow_key *view, const struct flow_key *k,
				     const __u32 *addr, __u16 port, __u16 flags)
{
	*view = *k;
	if (nat_is_both(flags)) {
		view->addr[1] = addr[1];
		view->dport = (__u16)addr[2];
	} else if (flags & FLOW_NAT_DST) {
		key_set_dst(view, addr);
		view->dport = port;
	}
}

/* The first rule of a list that matches what the packet is by now; NULL: it is not to be translated. */
static __always_inline struct nat_target *nat_rule(struct pkt *p, __u32 list, __u32 dst)
{
	struct policy_scratch *s = policy_get();
	struct nat_target_key k;
	struct nat_target *t;
	__u32 rule = p->rule, of = p->rule_of, v;

	if (!s)
		return 0;
	policy_view(p, s, 0);
	v = policy_verdict(POLICY_NAT(list, dst), p->key.family == 6);
	k.number = p->rule;
	k.table = p->rule_of;
	p->rule = rule;
	p->rule_of = of;
	if (v != POLICY_PERMIT)
		return 0;
	t = bpf_map_lookup_elem(&nat_targets, &k);
	return t && !(t->flags & NAT_KEEP) ? t : 0;
}

static __always_inline int nat_set_dst(struct pkt *p, const struct nat_target *t)
{
	__u16 port = p->key.dport;

	if ((t->flags & NAT_PORTS) && nat_has_ports(p->key.proto))
		port = bpf_htons((__u16)(t->min + (bpf_ntohs(port) - t->base)));
	for (int i = 0; i < 4; i++)
		p->nat.addr[i] = t->addr[i];
	p->nat.port = port;
	p->nat.flags = FLOW_NAT_DST;
	TRACE2(p, NAT_DST, t->rule, bpf_ntohs(port));
	return STAGE_NEXT;
}

/* Before classifiers: what is the destination? */
__noinline int stage_nat_in(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct nat_target *t;

	if (!p)
		return -DROP_INTERNAL;
	if (!p->had && p->nat_in && !p->unrecorded) {
		t = nat_rule(p, p->nat_in, 1);
		if (t && p->frag == FRAG_LATER && nat_has_ports(p->key.proto) && !p->key.dport)
			return -DROP_FRAGMENT;
		if (t)
			nat_set_dst(p, t);
	}
	if (p->nat.flags & FLOW_NAT_DST)
		nat_view(&p->view, &p->key, p->nat.addr, p->nat.port, p->nat.flags);
	return STAGE_NEXT;
}

/* The frame's destination MAC is that of whoever has the address outside: it becomes that of who has it inside. */
static __always_inline void nat_to_mac(struct pkt *p, __u32 out, __u16 vlan, const __u8 *mac)
{
	if (!p->out) {
		p->out = out;
		p->out_vlan = vlan;
	}
	if (p->set_mac)
		return;
	p->set_mac = 1;
	mac_copy(p->mac, mac);
}

static __always_inline struct addr_rec *nat_owner(struct pkt *p)
{
	int v6 = p->key.family == 6;

	p->addr.net = p->net;
	p->addr.family = p->key.family;
	for (int i = 0; i < 4; i++)
		p->addr.ip[i] = v6 ? p->view.addr[i + 4] : i ? 0 : p->view.addr[1];
	return bpf_map_lookup_elem(&addrs, &p->addr);
}

/*
 * Where a translated destination is: the port that has the address, or who opened the connection. Others are found as ever, by the MAC
 * in the frame.
 */
__noinline int stage_nat_route(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct addr_rec *a;
	struct port_key k = {};
	struct port_rec *q;

	if (!p)
		return -DROP_INTERNAL;
	if (!(p->nat.flags & FLOW_NAT_DST))
		return STAGE_NEXT;
	a = nat_owner(p);
	if (a) {
		nat_to_mac(p, a->ifindex, 0, a->mac);
	} else if (p->had && p->had_set_mac) {
		k.ifindex = p->had_out;
		k.vlan = p->had_vlan;
		q = bpf_map_lookup_elem(&ports, &k);
		if (p->out || (q && q->net == p->net))
			nat_to_mac(p, k.ifindex, k.vlan, p->had_mac);
	}
	if (p->out == p->in.ifindex && p->out_vlan == p->in.vlan)
		return -DROP_L2_HAIRPIN;
	return STAGE_NEXT;
}

/* ---- sources ---- */

enum nat_tuple { NAT_FREE, NAT_OURS, NAT_STALE, NAT_TAKEN };

static __always_inline void pkt_partner(struct pkt *p)
{
	key_reverse(&p->rkey, &p->key);
	p->rkey.ifindex = p->out;
	p->rkey.vlan = p->out_vlan;
	if (p->nat.flags & FLOW_NAT)
		key_translate_back(&p->rkey, p->nat.addr, p->nat.port, p->nat.flags);
}

/* 1: the record with key p->rkey leads back to the packet in hand. */
static __always_inline int nat_leads_back(struct pkt *p, const struct flow_rec *o)
{
	key_partner(&p->wkey, &p->rkey, o);
	return tuple_same(&p->wkey, &p->key);
}

/* Who has the tuple that p->nat gives. */
__noinline int nat_tuple(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct flow_rec *o, *q;

	if (!p)
		return NAT_TAKEN;
	pkt_partner(p);
	o = flow_find(&p->rkey);
	if (!o)
		return NAT_FREE;
	p->nat_was_ns = o->created_ns;
	if (o->flags & FLOW_DROP)
		return NAT_STALE;
	if (nat_leads_back(p, o))
		return NAT_OURS;
	if (!rec_idle(o, p->jiffies))
		return NAT_TAKEN;
	q = flow_find(&p->wkey); /* alive in the other direction? */
	return q && q->created_ns == o->created_ns && !rec_idle(q, p->jiffies) ? NAT_TAKEN : NAT_STALE;
}

/* The same for every destination, as far as it is free there: RFC 4787 section 4.1. */
static __always_inline __u32 nat_seed(const struct pkt *p)
{
	__u32 h = p->key.sport | (__u32)p->key.proto << 16;

	for (int i = 0; i < 4; i++)
		h = mix32(h ^ (p->key.family == 6 || !i ? p->key.addr[i] : 0));
	return h;
}

/* A small range is tried from one end to the other, a large one here and there. */
static __always_inline __u32 nat_candidate(__u32 seed, __u32 i, __u32 min, __u32 size)
{
	__u32 at = size <= NAT_PROBES ? seed + i : mix32(seed + i);

	return min + at % (size ? size : 1);
}

/*
 * A source that no other connection has toward the same destination: its own when that is in the range and free. Returns STAGE_NEXT or
 * -DROP_NAT_PORTS.
 */
__noinline int nat_allocate(ctx_t *ctx, __u32 min, __u32 size)
{
	struct pkt *p = stage_begin(ctx);
	__u32 seed, port;
	int v;

	if (!p)
		return -DROP_INTERNAL;
	port = bpf_ntohs(p->key.sport);
	seed = nat_seed(p);
	p->nat.port = p->key.sport;
	v = size && port - min >= size ? NAT_TAKEN : nat_tuple(ctx);
	for (__u32 i = 0; i < NAT_PROBES; i++) {
		if (v != NAT_TAKEN || i >= size)
			break;
		p = pkt_get();
		if (!p)
			return -DROP_INTERNAL;
		p->nat.port = bpf_htons((__u16)nat_candidate(seed, i, min, size));
		v = nat_tuple(ctx);
	}
	p = pkt_get();
	if (!p || v == NAT_TAKEN)
		return -DROP_NAT_PORTS;
	p->nat_stale = v == NAT_STALE;
	return STAGE_NEXT;
}

/*
 * The ports that one may stand for another: privileged ones stay among themselves (RFC 4787 section 4.2.2), an ICMP identifier is any.
 * Protocols without ports, and those whose checksum covers more than can be corrected here (SCTP), have only their own.
 */
static __always_inline __u32 nat_range(const struct pkt *p, __u32 *min)
{
	__u32 port = bpf_ntohs(p->key.sport);

	*min = 0;
	if (p->icmp == ICMP_QUERY)
		return 65536;
	if (!nat_has_ports(p->key.proto))
		return 0;
	*min = port < 512 ? 1 : port < 1024 ? 600 : 1024;
	return (port < 512 ? 512u : port < 1024 ? 1024u : 65536u) - *min;
}

/* Source and destination are translated. */
static __always_inline int nat_make_both(struct pkt *p)
{
	if (p->key.family == 6)
		return -DROP_NAT_TWICE;
	p->nat.addr[1] = p->nat.addr[0];
	p->nat.addr[2] = p->nat.port;
	return STAGE_NEXT;
}

static __always_inline int nat_source(ctx_t *ctx, struct pkt *p, const __u32 *addr, __u32 min, __u32 size)
{
	int v = p->nat.flags & FLOW_NAT_DST ? nat_make_both(p) : STAGE_NEXT;

	if (v)
		return v;
	p->nat.flags |= FLOW_NAT_SRC;
	p->nat.addr[0] = addr[0];
	if (p->key.family == 6)
		for (int i = 1; i < 4; i++)
			p->nat.addr[i] = addr[i];
	return nat_allocate(ctx, min, size);
}

static __always_inline int nat_by_rule(ctx_t *ctx, struct pkt *p, struct nat_target *t)
{
	__u32 min, size = nat_range(p, &min), rule = t->rule;
	int v;

	if ((t->flags & NAT_PORTS) && size) {
		min = t->min;
		size = t->max - min + 1u;
	}
	v = nat_source(ctx, p, t->addr, min, size);
	if (!v)
		TRACE2(p, NAT_SRC, rule, bpf_ntohs(p->nat.port));
	return v;
}

/* Only the destination is translated: nobody else may have the tuple that comes out. */
static __always_inline int nat_alone(ctx_t *ctx, struct pkt *p)
{
	__u32 min, size;
	int v = nat_tuple(ctx);

	if (v != NAT_TAKEN) {
		p->nat_stale = v == NAT_STALE;
		return STAGE_NEXT;
	}
	size = nat_range(p, &min);
	return nat_source(ctx, p, p->key.addr, min, size);
}

/* The output becomes the port that has the destination. Returns STAGE_NEXT or -enum drop_reason. */
static __always_inline int nat_turn(struct pkt *p, const struct addr_rec *a)
{
	struct port_rec *q;

	p->out = p->outk.ifindex = a->ifindex;
	p->out_vlan = p->outk.vlan = 0;
	p->set_mac = 1;
	mac_copy(p->mac, a->mac);
	q = bpf_map_lookup_elem(&ports, &p->outk);
	if (!q)
		return -DROP_NO_OUTPUT;
	port_output(p, q);
	return q->flags & PORT_ADMIN_DOWN ? -DROP_OUT_DOWN : STAGE_NEXT;
}

/*
 * From inside to an outside address that stands for a port of this network: RFC 4787 section 6. It turns round here, and comes from an
 * outside address as well, so that the answer passes here, too.
 */
__noinline int nat_hairpin(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct nat_target *t;
	struct addr_rec *a;

	if (!p)
		return -DROP_INTERNAL;
	t = nat_rule(p, p->nat_out, 1);
	if (!t)
		return STAGE_NEXT;
	nat_set_dst(p, t);
	nat_view(&p->view, &p->key, p->nat.addr, p->nat.port, p->nat.flags);
	a = nat_owner(p);
	if (a && a->ifindex != p->in.ifindex)
		return nat_turn(p, a);
	p->nat.flags = 0; /* who has it is behind the outside, or nowhere */
	p->view = p->key;
	return STAGE_NEXT;
}

/* p->out is known, and everything that rules look at: what is the source? */
__noinline int stage_nat_out(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct nat_target *t = 0;
	int v;

	if (!p)
		return -DROP_INTERNAL;
	if (p->had) {
		if (p->nat.flags)
			TRACE0(p, NAT_KEPT);
		return STAGE_NEXT;
	}
	if (p->unrecorded)
		return STAGE_NEXT;
	if (p->nat_out && !p->nat.flags && !p->path) {
		v = nat_hairpin(ctx);
		if (v)
			return v;
		p = pkt_get();
		if (!p)
			return -DROP_INTERNAL;
	}
	if (p->nat_out)
		t = nat_rule(p, p->nat_out, 0);
	if (t)
		return nat_by_rule(ctx, p, t);
	return p->nat.flags ? nat_alone(ctx, p) : STAGE_NEXT;
}

/* ---- records ---- */

/* Nobody has taken the tuple since nat_tuple() looked. */
static __always_inline int nat_take_stale(struct pkt *p)
{
	struct flow_rec *o = flow_find(&p->rkey);

	if (!o)
		return 1;
	return __sync_val_compare_and_swap(&o->created_ns, p->nat_was_ns, p->created_ns) == p->nat_was_ns;
}

static __always_inline void nat_record(struct flow_rec *r, const struct pkt *p)
{
	r->nat_port = p->nat.port;
	for (int i = 0; i < 4; i++)
		r->nat_addr[i] = p->nat.addr[i];
}

static __always_inline void nat_copy_src(__u32 *to, const struct flow_key *k)
{
	for (int i = 0; i < 4; i++)
		to[i] = k->family == 6 || !i ? k->addr[i] : 0;
}

static __always_inline void nat_copy_dst(__u32 *to, const struct flow_key *k)
{
	for (int i = 0; i < 4; i++)
		to[i] = k->family == 6 ? k->addr[i + 4] : i ? 0 : k->addr[1];
}

/* The other direction gets back what this one had. */
static __always_inline void nat_record_back(struct flow_rec *r, const struct pkt *p)
{
	__u16 flags = p->nat.flags;

	if (flags & FLOW_NAT_SRC) {
		r->flags |= FLOW_NAT_DST | FLOW_SET_DMAC;
		mac_copy(r->out_mac, p->smac);
		nat_copy_src(r->nat_addr, &p->key);
		r->nat_port = p->key.sport;
	}
	if (!(flags & FLOW_NAT_DST))
		return;
	r->flags |= FLOW_NAT_SRC;
	if (nat_is_both(flags)) {
		r->nat_addr[1] = r->nat_addr[0];
		r->nat_addr[2] = r->nat_port;
		r->nat_addr[0] = p->key.addr[1];
	} else {
		nat_copy_dst(r->nat_addr, &p->key);
	}
	r->nat_port = p->key.dport;
}

#endif
