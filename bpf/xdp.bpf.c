/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * The datapath at XDP: the fast path in front of the tc program of a NIC, over the same records. It serves what is known to be forwarded to
 * another NIC or to be dropped; everything else goes on to the tc program, which decides, and makes the records. So there is one semantics,
 * and a NIC may have this program or not. In a flood, first packets that the stages refuse end here, too: bpf/xdp_first.h.
 */

#define HOOK_XDP

#include "decap.h"
#include "encap.h"
#include "fast.h"
#include "telemetry.h"
#include "xdp_first.h"

#define OUTER_PATCHED                                                                              \
	60 /* bytes that encap_patch() may touch; with the frame inside, all are longer */

/* What is in front of the frame that a record is about, or in it: tags, an outer header. */
struct fore {
	__u32 cut; /* its bytes */
	int mark;  /* ECN field that it gets; 0: its own */
};

static __always_inline int is_tag_type(__u16 type)
{
	return type == bpf_htons(VLAN_TPID_CUSTOMER) || type == bpf_htons(VLAN_TPID_SERVICE);
}

/*
 * What begins at a place that is not the same for all frames, into the scratch packet. A function by itself to the verifier: what follows is
 * not walked once for each way through the headers.
 */
__noinline int xdp_ip(ctx_t *ctx, __u32 l3, __u32 vlan)
{
	struct pkt *p = stage_begin(ctx);
	__u64 at = l3;
	struct fast m;
	__u16 *type;

	if (!p || at < ETH_SIZE || at > CTX_FAR)
		return -1;
	__asm__ volatile("%0 &= 0x3fff" : "+r"(at)); /* as in ctx_at() */
	type = ctx_at(ctx, at - 2, 2);
	if (!type || fast_ip(ctx, (__u32)at, *type, vlan, &p->key, &m))
		return -1;
	p->seg = m.seg;
	return 0;
}

/* What xdp_ip() found, with the addresses at `eth`. */
static __always_inline int from_pkt(ctx_t *ctx, __u32 eth, struct flow_key *k, struct fast *m)
{
	struct pkt *p = pkt_get();
	void *at = ctx_at(ctx, eth, ETH_SIZE);

	if (!p || !at)
		return -1;
	m->mac_hi = *(__u64 *)at;
	m->mac_lo = *(__u32 *)(at + 8);
	m->seg = p->seg;
	*k = p->key;
	return 0;
}

/* Behind one tag there is another one. Only those of a port behind two are read. */
static __always_inline int xdp_stack(ctx_t *ctx, __u32 outer, struct flow_key *k, struct fast *m)
{
	struct stack_key s = { .ifindex = ctx_port(ctx), .outer = (__u16)outer };
	__u16 *inner = ctx_at(ctx, ETH_SIZE + TAG_SIZE, TAG_SIZE);
	__u32 *number;

	if (!inner)
		return -1;
	s.inner = bpf_ntohs(*inner) & 0xfff;
	number = bpf_map_lookup_elem(&stacks, &s);
	if (!number || xdp_ip(ctx, ETH_SIZE + 2 * TAG_SIZE, VLAN_STACK | *number))
		return -1;
	return from_pkt(ctx, 0, k, m);
}

/* Tags are still in the frame. The NIC must not have taken them out: src/dp/nic.c sees to that. */
static __always_inline int xdp_parse(ctx_t *ctx, struct flow_key *k, struct fast *m, struct fore *o)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u16 type = fast_eth(ctx, m);
	__u16 *vlan = data + ETH_SIZE;
	__u32 id;

	o->cut = 0;
	o->mark = 0;
	if (!is_tag_type(type))
		return fast_ip(ctx, ETH_SIZE, type, 0, k, m);
	if ((void *)(vlan + 2) > end)
		return -1;
	id = bpf_ntohs(vlan[0]) & 0xfff;
	if (!id) /* a priority alone: IEEE 802.1Q section 9.6 */
		return -1;
	if (is_tag_type(vlan[1])) {
		o->cut = 2 * TAG_SIZE;
		return xdp_stack(ctx, id, k, m);
	}
	o->cut = TAG_SIZE;
	return fast_ip(ctx, ETH_SIZE + TAG_SIZE, vlan[1], id, k, m);
}

/* ---- out of a tunnel ---- */

/* `plain`: the headers are in the key. */
static __always_inline int may_be_tunnel(const struct flow_key *k, int plain)
{
	__u16 port;

	if (!dp_globals.n_tunnels)
		return 0;
	if (!plain)
		return 1;
	port = bpf_ntohs(k->dport);
	return k->proto == PROTO_UDP && (port == PORT_VXLAN || port == PORT_VXLAN_GPE ||
					 port == PORT_GENEVE || port == PORT_MPLS);
}

/* The outer header, behind one tag at most. 0: it is a tunnel's of this host; 1: it is not; -1: the tc program decides. */
static __always_inline int xdp_outer(ctx_t *ctx, struct tunnel_frame *t, struct tunnel_rec **ret)
{
	__u32 l3 = ETH_SIZE;
	__u8 b[6];
	int v;

	*ret = 0;
	if (ctx_load(ctx, 12, b, 4) < 0)
		return 1;
	if (is_tag(load16(b))) {
		t->key.vlan = load16(b + 2) & 0xfff;
		l3 += TAG_SIZE;
	}
	if (tunnel_outer(ctx, l3, t))
		return 1;
	v = tunnel_inner(ctx, t);
	if (!v)
		*ret = tunnel_of(t);
	if (!*ret)
		return is_vtep(t) ? -1 : 1;
	if (ctx_load(ctx, 0, b, 6) < 0)
		return 1;
	return mac_same(b, (*ret)->mac) ? 0 : 1;
}

#define INSIDE_BITS 16

/*
 * As decap() does it, but nothing is changed yet. Offset of the frame inside, whose headers are in the scratch packet, and above
 * INSIDE_BITS the ECN field that it gets; 0: it is none for this host's tunnels; -1: the tc program decides.
 */
__noinline int xdp_inside(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct tunnel_rec *r;
	struct tunnel_frame *t;
	int v;

	if (!p)
		return -1;
	t = &p->tunnel;
	__builtin_memset(t, 0, sizeof(*t));
	p->writes = writes_now();
	v = xdp_outer(ctx, t, &r);
	if (v)
		return v < 0 ? -1 : 0;
	if (!r || r->underlay != ctx_port(ctx) || (r->path && r->path != t->path))
		return -1;
	v = ecn_merge(ctx, t->inner, t->tos);
	if (v < 0 || t->inner >> INSIDE_BITS || xdp_ip(ctx, t->inner + ETH_SIZE, 0))
		return -1;
	p->key.ifindex = r->port;
	if (was_written(p))
		return -1;
	return (int)(t->inner | (__u32)v << INSIDE_BITS);
}

#define VXLAN4_INNER (ETH_SIZE + 20 + 8 + 8)

/*
 * What nearly all tunnels send: VXLAN over IPv4, without a tag, by an end that is known, and no word of congestion. 1: the key is that of the
 * frame inside; 0: it is something else, and nothing has changed; -1: the tc program decides.
 */
static __always_inline int xdp_vxlan4(ctx_t *ctx, struct flow_key *k, struct fast *m, struct fore *o)
{
	__u8 *b = ctx_at(ctx, 0, VXLAN4_INNER + ETH_SIZE);
	struct tunnel_key t = { .type = TUNNEL_VXLAN, .family = 4 };
	__u32 writes = writes_now(), port;
	struct tunnel_rec *r;

	if (!b || (b[ETH_SIZE + 1] & ECN_ECT1) || !(b[ETH_SIZE + 28] & 0x08))
		return 0;
	t.id = bpf_ntohl(*(__u32 *)(b + ETH_SIZE + 32)) >> 8;
	t.remote[0] = k->addr[0];
	t.local[0] = k->addr[1];
	r = bpf_map_lookup_elem(&tunnels, &t);
	if (!r || r->underlay != k->ifindex || r->path || *(__u32 *)b != *(__u32 *)r->mac ||
	    *(__u16 *)(b + 4) != *(__u16 *)(r->mac + 4))
		return 0;
	port = r->port;
	if (writes_now() != writes) /* bpf/held.h: the long way looks once more */
		return 0;
	m->mac_hi = *(__u64 *)(b + VXLAN4_INNER);
	m->mac_lo = *(__u32 *)(b + VXLAN4_INNER + 8);
	if (fast_ip(ctx, VXLAN4_INNER + ETH_SIZE, *(__u16 *)(b + VXLAN4_INNER + 12), 0, k, m))
		return -1;
	k->ifindex = port;
	o->cut = VXLAN4_INNER;
	return 1;
}

/* -1: the tc program decides. */
static __always_inline int xdp_decap(ctx_t *ctx, struct flow_key *k, struct fast *m, struct fore *o,
				     int plain)
{
	int v = 0;

	if (plain && !o->cut && k->family == 4 && k->dport == bpf_htons(PORT_VXLAN))
		v = xdp_vxlan4(ctx, k, m, o);
	if (v)
		return v < 0 ? -1 : 0;
	v = xdp_inside(ctx);
	if (v <= 0)
		return v < 0 || !plain ? -1 : 0;
	o->cut = (__u32)v & ((1 << INSIDE_BITS) - 1);
	o->mark = v >> INSIDE_BITS;
	return from_pkt(ctx, o->cut, k, m);
}

/* ---- what the record orders ---- */

/* Somebody looks at frames like this one: the tc program shows them. */
static __always_inline int is_watched(const struct flow_key *k, struct flow_rec *f)
{
	__u32 on = dp_globals.analytics, port = dp_globals.capture_port;

	if ((on & ANALYTICS_DROPS) && (f->flags & (FLOW_DROP | FLOW_METER)))
		return 1;
	return (on & ANALYTICS_CAPTURE) && (port == k->ifindex || port == f->out);
}

/* What the record puts behind the MACs. */
static __always_inline __u32 tags_out(const struct flow_rec *f)
{
	if (!(f->flags & FLOW_PUSH_VLAN))
		return 0;
	return f->out_vlan & VLAN_STACK ? 2 * TAG_SIZE : TAG_SIZE;
}

/* What the rewriting of ICMP reads in the scratch packet. */
static __always_inline void icmp_to_pkt(ctx_t *ctx, __u32 l3, __u32 proto)
{
	__u32 l4 = l3 + (proto == PROTO_ICMP ? 20 : 40);
	struct pkt *p = pkt_get();
	__u8 b[2];

	if (!p || ctx_load(ctx, l4, b, 2) < 0)
		return;
	p->key.proto = (__u8)proto;
	p->frag = FRAG_NONE;
	p->icmp = ICMP_QUERY;
	p->icmp_type = b[0];
	p->l4_off = (__u16)l4;
}

/* Not inlined: plain flows keep their registers. */
static __noinline int xdp_rewrite(ctx_t *ctx, const struct flow_rec *f, __u32 l3, __u32 proto)
{
	if (proto == PROTO_ICMP || proto == PROTO_ICMPV6)
		icmp_to_pkt(ctx, l3, proto);
	if ((f->flags & FLOW_NAT) && nat_rewrite(ctx, f, l3) < 0)
		return -1;
	return f->flags & FLOW_DSCP ? dscp_set(ctx, f->dscp, l3) : 0;
}

/* Into the 8 bytes at `b`, in front of the type. As stack_put() does it. */
static __noinline int xdp_stack_put(ctx_t *ctx, __u32 off, __u32 vlan)
{
	__u32 i = vlan & ~VLAN_STACK;
	struct stack_rec *s = bpf_map_lookup_elem(&stack_tags, &i);
	__u16 *b = ctx_at(ctx, off, 2 * TAG_SIZE);

	if (!b || !s || !s->k.ifindex)
		return -1;
	b[0] = bpf_htons(VLAN_TPID_SERVICE);
	b[1] = bpf_htons(s->k.outer);
	b[2] = bpf_htons(VLAN_TPID_CUSTOMER);
	b[3] = bpf_htons(s->k.inner);
	return 0;
}

/* MACs and tags in front of what is at l3. */
static __always_inline int xdp_head(ctx_t *ctx, const struct flow_rec *f, const struct fast *m, __u32 l3)
{
	__u32 tags = tags_out(f), at = l3 - ETH_SIZE - tags;
	void *eth = ctx_at(ctx, at, ETH_SIZE + TAG_SIZE);

	if (!eth)
		return -1;
	*(__u64 *)eth = m->mac_hi;
	*(__u32 *)(eth + 8) = m->mac_lo;
	if (f->flags & FLOW_SET_DMAC)
		__builtin_memcpy(eth, f->out_mac, 6);
	if (tags == TAG_SIZE) {
		*(__u16 *)(eth + 12) = bpf_htons(VLAN_TPID_CUSTOMER);
		*(__u16 *)(eth + 14) = bpf_htons(f->out_vlan);
	}
	return tags > TAG_SIZE ? xdp_stack_put(ctx, at + 12, f->out_vlan) : 0;
}

/* Of a frame of `len` bytes that fits into the tunnel of `slot`. */
static __always_inline struct encap_rec *encap_of(__u32 slot, __u32 len)
{
	struct encap_rec *e = bpf_map_lookup_elem(&encaps, &slot);

	if (!e || !e->ifindex || len - ETH_SIZE > e->mtu)
		return 0;
	return e->size < ABI_ENCAP_MIN || e->size > ABI_ENCAP_MAX ? 0 : e;
}

/* What a tunnel puts in front, its NIC's tag among it. */
static __always_inline __u32 outer_size(const struct encap_rec *e)
{
	return e->size + (e->vlan ? TAG_SIZE : 0);
}

/* The NIC's tag, into the room in front of the header. */
static __always_inline int outer_tag(ctx_t *ctx, const struct encap_rec *e)
{
	__u16 tag[2] = { bpf_htons(VLAN_TPID_CUSTOMER), bpf_htons(e->vlan) };

	return ctx_store(ctx, 0, e->hdr, 12) < 0 ? -1 : ctx_store(ctx, 12, tag, sizeof(tag));
}

/* The header of the tunnel, into the room in front of the frame. */
static __noinline int xdp_encap(ctx_t *ctx, const struct encap_rec *e, __u32 entropy)
{
	__u32 at = e->vlan ? TAG_SIZE : 0, size = e->size, total = ctx_len(ctx) - at - ENCAP_IP;
	__u8 *b;

	__asm__ volatile("" : "+r"(size));
	if (size < ABI_ENCAP_MIN || size > ABI_ENCAP_MAX ||
	    bpf_xdp_store_bytes(ctx, at, (void *)e->hdr, size) < 0)
		return -1;
	b = ctx_at(ctx, at, OUTER_PATCHED);
	if (!b)
		return -1;
	encap_patch(b, e, total, inner_tos(ctx, at + size), entropy);
	return e->vlan ? outer_tag(ctx, e) : 0;
}

/* The frame has the length that it leaves with. */
static __always_inline int xdp_send(ctx_t *ctx, const struct flow_rec *f, const struct fast *m,
				    __u32 proto, const struct encap_rec *e, int mark)
{
	__u32 l3 = ETH_SIZE + tags_out(f), out = f->out;

	if (e)
		l3 += outer_size(e);
	if (mark)
		ecn_mark(ctx, l3, (__u32)mark);
	if ((f->flags & (FLOW_NAT | FLOW_DSCP)) && xdp_rewrite(ctx, f, l3, proto) < 0)
		goto refused;
	if (xdp_head(ctx, f, m, l3) < 0)
		goto refused;
	if (e) {
		if (xdp_encap(ctx, e, (__u32)(f->created_ns >> 8)) < 0)
			goto refused;
		out = e->ifindex;
	}
	return (int)bpf_redirect(out, 0);
refused:
	count_drop(DROP_REDIRECT);
	return XDP_DROP;
}

static __always_inline int xdp_drop(struct flow_rec *f, __u32 len)
{
	__sync_fetch_and_add(&f->pkts, 1);
	__sync_fetch_and_add(&f->bytes, len);
	count_drop(f->reason);
	return XDP_DROP;
}

/*
 * What cannot be done here passes on as it came, before it is counted, and before TCP has learned from it. So the room in front
 * is made first; what is too much goes last, which cannot fail. The tc program, which counts as this one does, sees neither tags nor
 * an outer header.
 */
static __always_inline int xdp_serve(ctx_t *ctx, struct flow_rec *f, const struct flow_key *k,
				     const struct fast *m, __u64 now, const struct fore *o)
{
	__u32 len = ctx_len(ctx) - o->cut, outer = 0;
	struct encap_rec *e = 0;
	int grow;

	if (f->flags & FLOW_DROP)
		return xdp_drop(f, len);
	if (f->flags & FLOW_ENCAP) {
		e = encap_of(f->encap, len);
		if (!e)
			return XDP_PASS;
		outer = outer_size(e);
	}
	grow = (int)(outer + tags_out(f)) - (int)o->cut;
	if (grow > 0 && bpf_xdp_adjust_head(ctx, -grow) < 0)
		return XDP_PASS;
	if ((f->flags & FLOW_TCP) && tcp_plain(f, &m->seg))
		return grow > 0 && bpf_xdp_adjust_head(ctx, grow) < 0 ? XDP_ABORTED : XDP_PASS;
	if ((f->flags & FLOW_METER) && !meters_pass(f->meters, WIRE_ONE | len, now)) {
		count_drop(DROP_METER);
		count_port(k->ifindex, 1, len, 0, 0, 1);
		return XDP_DROP;
	}
	__sync_fetch_and_add(&f->pkts, 1);
	__sync_fetch_and_add(&f->bytes, len);
	f->last = (__u32)now;
	if (grow < 0 && bpf_xdp_adjust_head(ctx, -grow) < 0)
		return XDP_ABORTED;
	return xdp_send(ctx, f, m, k->proto, e, o->mark);
}

SEC("xdp")
int dp_xdp(ctx_t *ctx)
{
	struct flow_rec *f;
	struct flow_key k;
	struct fast m;
	struct fore o;
	__u64 now;
	int plain = !xdp_parse(ctx, &k, &m, &o);

	if (!plain) { /* clang keeps what was never written in registers, and spills it */
		k = (struct flow_key){};
		m = (struct fast){};
	}
	if (may_be_tunnel(&k, plain))
		plain = !xdp_decap(ctx, &k, &m, &o, plain);
	if (!plain)
		return xdp_first(ctx);
	f = flow_find(&k);
	if (!f)
		return k.ifindex == ctx_port(ctx) ? xdp_first(ctx) : XDP_PASS; /* not out of tunnels */
	if ((f->flags & (FLOW_XDP | FLOW_NOT_XDP)) != FLOW_XDP)
		return XDP_PASS;
	now = bpf_jiffies64();
	if (!fast_current(f, &m, now) || is_watched(&k, f))
		return XDP_PASS;
	return xdp_serve(ctx, f, &k, &m, now, &o);
}

char dp_license[] SEC("license") = "Dual BSD/GPL";
