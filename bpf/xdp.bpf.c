/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * The datapath at XDP: the fast path in front of the tc program of a NIC, over the same records. It serves what is known to be forwarded to
 * another NIC or to be dropped; everything else goes on to the tc program, which decides, and makes the records. So there is one semantics,
 * and a NIC may have this program or not.
 */

#define HOOK_XDP

#include "encap.h"
#include "fast.h"
#include "telemetry.h"

#define TAG_SIZE 4
#define OUTER_PATCHED                                                                              \
	60 /* bytes that encap_patch() may touch; with the frame inside, all are longer */

/* `tag`: size of the VLAN tag that is still in the frame. The NIC must not have taken it out: src/dp/nic.c sees to that. */
static __always_inline int xdp_parse(ctx_t *ctx, struct flow_key *k, struct fast *m, __u32 *tag)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u16 type = fast_eth(ctx, m);
	__u16 *vlan = data + ETH_SIZE;
	__u32 id;

	*tag = 0;
	if (type != bpf_htons(VLAN_TPID_CUSTOMER))
		return fast_ip(ctx, ETH_SIZE, type, 0, k, m);
	if ((void *)(vlan + 2) > end)
		return -1;
	*tag = TAG_SIZE;
	id = bpf_ntohs(vlan[0]) & 0xfff;
	if (!id) /* a priority alone: IEEE 802.1Q section 9.6 */
		return -1;
	return fast_ip(ctx, ETH_SIZE + TAG_SIZE, vlan[1], id, k, m);
}

/* Somebody looks at frames like this one: the tc program shows them. */
static __always_inline int is_watched(ctx_t *ctx, struct flow_rec *f)
{
	__u32 on = dp_globals.analytics, port = dp_globals.capture_port;

	if ((on & ANALYTICS_DROPS) && (f->flags & (FLOW_DROP | FLOW_METER)))
		return 1;
	return (on & ANALYTICS_CAPTURE) && (port == ctx_port(ctx) || port == f->out);
}

/* What the record puts behind the MACs. */
static __always_inline __u32 tags_out(const struct flow_rec *f)
{
	return f->flags & FLOW_PUSH_VLAN ? TAG_SIZE : 0;
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

/* MACs and tags in front of what is at l3. */
static __always_inline int xdp_head(ctx_t *ctx, const struct flow_rec *f, const struct fast *m, __u32 l3)
{
	__u32 tags = tags_out(f);
	void *eth = ctx_at(ctx, l3 - ETH_SIZE - tags, ETH_SIZE + TAG_SIZE);

	if (!eth)
		return -1;
	*(__u64 *)eth = m->mac_hi;
	*(__u32 *)(eth + 8) = m->mac_lo;
	if (f->flags & FLOW_SET_DMAC)
		__builtin_memcpy(eth, f->out_mac, 6);
	if (tags) {
		*(__u16 *)(eth + 12) = bpf_htons(VLAN_TPID_CUSTOMER);
		*(__u16 *)(eth + 14) = bpf_htons(f->out_vlan);
	}
	return 0;
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
				    __u32 proto, const struct encap_rec *e)
{
	__u32 l3 = ETH_SIZE + tags_out(f), out = f->out;

	if (e)
		l3 += outer_size(e);
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
 * is made first. The tc program, which counts as this one does, never sees a tag in the frame.
 */
static __always_inline int xdp_serve(ctx_t *ctx, struct flow_rec *f, const struct flow_key *k,
				     const struct fast *m, __u64 now, __u32 tag)
{
	__u32 len = ctx_len(ctx) - tag, outer = 0;
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
	grow = (int)(outer + tags_out(f)) - (int)tag;
	if (grow && bpf_xdp_adjust_head(ctx, -grow) < 0)
		return XDP_PASS;
	if ((f->flags & FLOW_TCP) && tcp_plain(f, &m->seg))
		return grow && bpf_xdp_adjust_head(ctx, grow) < 0 ? XDP_ABORTED : XDP_PASS;
	if ((f->flags & FLOW_METER) && !meters_pass(f->meters, len, now)) {
		count_drop(DROP_METER);
		count_port(k->ifindex, 1, len, 0, 0, 1);
		return XDP_DROP;
	}
	__sync_fetch_and_add(&f->pkts, 1);
	__sync_fetch_and_add(&f->bytes, len);
	f->last = (__u32)now;
	return xdp_send(ctx, f, m, k->proto, e);
}

SEC("xdp")
int dp_xdp(ctx_t *ctx)
{
	struct flow_rec *f;
	struct flow_key k;
	struct fast m;
	__u32 tag;
	__u64 now;

	if (xdp_parse(ctx, &k, &m, &tag))
		return XDP_PASS;
	f = flow_find(&k);
	if (!f || (f->flags & (FLOW_XDP | FLOW_NOT_XDP)) != FLOW_XDP)
		return XDP_PASS;
	now = bpf_jiffies64();
	if (!fast_current(f, &m, now) || is_watched(ctx, f))
		return XDP_PASS;
	return xdp_serve(ctx, f, &k, &m, now, tag);
}

char dp_license[] SEC("license") = "Dual BSD/GPL";
