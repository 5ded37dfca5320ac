/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_EXTRA_H
#define DEMARC_BPF_EXTRA_H

/* What a record orders beside the redirect. Only flows with a flag of FLOW_EXTRA get here. */

#include "maps_def.h"
#include "nat_rewrite.h"
#include "wire.h"

/* One CPU refills for each jiffy; the others see `last` moved on. */
static __always_inline void meter_refill(struct meter_rec *m, __u64 now)
{
	__u64 last = m->last, passed = now - last;
	__s64 had;

	if (!passed || __sync_val_compare_and_swap(&m->last, last, now) != last)
		return;
	if (passed > METER_REFILL_MAX)
		passed = METER_REFILL_MAX;
	had = __sync_fetch_and_add(&m->bytes, passed * m->byte_rate) + passed * m->byte_rate;
	if (had > (__s64)m->byte_burst)
		__sync_fetch_and_add(&m->bytes, m->byte_burst - had);
	had = __sync_fetch_and_add(&m->pkts, passed * m->pkt_rate) + passed * m->pkt_rate;
	if (had > (__s64)m->pkt_burst)
		__sync_fetch_and_add(&m->pkts, m->pkt_burst - had);
}

/* 1: nothing is left, and what came was refused. */
static __always_inline int meter_empty(struct meter_rec *m, __u64 wire, __u64 now)
{
	meter_refill(m, now);
	if ((!m->byte_rate || m->bytes > 0) && (!m->pkt_rate || m->pkts > 0))
		return 0;
	__sync_fetch_and_add(&m->n_dropped, wire_pkts(wire));
	return 1;
}

/* 1: within the rate. */
static __always_inline int meter_pass(__u32 id, __u64 wire, __u64 now)
{
	struct meter_rec *m = bpf_map_lookup_elem(&meters, &id);

	if (!m)
		return 1;
	if (meter_empty(m, wire, now))
		return 0;
	if (m->byte_rate)
		__sync_fetch_and_add(&m->bytes, -(__s64)wire_bytes(wire) * METER_UNIT);
	if (m->pkt_rate)
		__sync_fetch_and_add(&m->pkts, -(__s64)wire_pkts(wire) * METER_UNIT);
	return 1;
}

static __always_inline int meters_pass(const __u16 *ids, __u64 wire, __u64 now)
{
	for (int i = 0; i < FLOW_METERS; i++) {
		if (!ids[i])
			return 1;
		if (!meter_pass(ids[i], wire, now))
			return 0;
	}
	return 1;
}

/* RFC 2474 section 3; the two bits of ECN stay. The IP header is at l3. */
static __noinline int dscp_set(ctx_t *ctx, __u32 dscp, __u32 l3)
{
	__u8 b[2];
	__u16 type, from, to;

	if (ctx_load(ctx, l3 - 2, &type, 2) < 0 || ctx_load(ctx, l3, b, 2) < 0)
		return -1;
	from = *(__u16 *)b;
	if (type == bpf_htons(ETHERTYPE_IPV4)) {
		b[1] = (__u8)(dscp << 2 | (b[1] & 3));
		to = *(__u16 *)b;
		if (ctx_l3_sum(ctx, l3 + 10, from, to) < 0)
			return -1;
	} else if (type == bpf_htons(ETHERTYPE_IPV6)) {
		b[0] = (__u8)((b[0] & 0xf0) | (dscp >> 2 & 0xf));
		b[1] = (__u8)((b[1] & 0x3f) | dscp << 6);
	} else {
		return 0;
	}
	return ctx_store(ctx, l3, b, 2);
}

#ifndef HOOK_XDP

__noinline int mirror_copy(ctx_t *ctx, __u32 slot)
{
	struct mirror_rec *m = bpf_map_lookup_elem(&mirrors, &slot);

	if (m && m->ifindex)
		bpf_clone_redirect(ctx, m->ifindex, 0);
	return 0;
}

/* Behind a SYN cookie the client knows other numbers than the server: bpf/cookie.h. */
__noinline int seq_translate(ctx_t *ctx, __u32 at, __u32 add)
{
	__u32 l4, from, to;
	__u16 type;
	__u8 b[10];

	if (ctx_load(ctx, 12, &type, 2) < 0 || ctx_load(ctx, ETH_SIZE, b, sizeof(b)) < 0)
		return -1;
	if (type == bpf_htons(ETHERTYPE_IPV4) && b[9] == PROTO_TCP)
		l4 = ETH_SIZE + (b[0] & 0xf) * 4u;
	else if (type == bpf_htons(ETHERTYPE_IPV6) && b[6] == PROTO_TCP)
		l4 = ETH_SIZE + 40;
	else
		return -1;
	if (ctx_load(ctx, l4 + at, &from, 4) < 0)
		return -1;
	to = bpf_htonl(bpf_ntohl(from) + add);
	if (bpf_l4_csum_replace(ctx, l4 + 16, from, to, 4) < 0)
		return -1;
	return bpf_skb_store_bytes(ctx, l4 + at, &to, 4, BPF_F_RECOMPUTE_CSUM);
}

/* Before addresses and tags are set: the mirror sees the frame as it came. < 0: it can not be sent. */
static __always_inline int send_extra(ctx_t *ctx, const struct flow_rec *f)
{
	if (f->flags & FLOW_MIRROR)
		mirror_copy(ctx, f->mirror);
	if ((f->flags & FLOW_SEQ) && seq_translate(ctx, f->conn & CONN_OPENER ? 8 : 4, f->seq_add) < 0)
		return -1;
	if ((f->flags & FLOW_NAT) && nat_rewrite(ctx, f, ETH_SIZE) < 0)
		return -1;
	if ((f->flags & FLOW_DSCP) && dscp_set(ctx, f->dscp, ETH_SIZE) < 0)
		return -1;
	return 0;
}

#endif
#endif
