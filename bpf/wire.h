/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_WIRE_H
#define DEMARC_BPF_WIRE_H

/*
 * What is counted and metered: frames as the wire has them. A segmentation offload packet is several there, each with the headers, as the kernel
 * counts for its output queues (qdisc_pkt_len_init()); XDP and the far end see them so, too. Packets in the upper half, bytes of them in the lower.
 */

#include "ctx.h"
#include "pkt.h"

static __always_inline __u32 wire_pkts(__u64 wire)
{
	return (__u32)(wire >> 32);
}

static __always_inline __u32 wire_bytes(__u64 wire)
{
	return (__u32)wire;
}

#ifndef HOOK_XDP

/* Of a segmentation offload packet; its segments repeat `head` bytes. Who writes to a tap leaves their number to whoever needs it. */
static __always_inline __u64 wire_of_segments(ctx_t *ctx, __u32 head)
{
	__u32 len = ctx->len, size = ctx->gso_size, n = ctx->gso_segs;

	if (!size || head >= len)
		return WIRE_ONE | len;
	if (!n)
		n = (len - head + size - 1) / size;
	return (__u64)n << 32 | (len + (n - 1) * head);
}

/* Headers of a plain packet: bpf/fast.h has found no options, and no extension headers. */
static __noinline __u64 wire_of_plain(ctx_t *ctx)
{
	__u32 l4 = ETH_SIZE + 40;
	__u8 b[10], off = 0;

	if (ctx_load(ctx, ETH_SIZE, b, sizeof(b)) < 0)
		return WIRE_ONE | ctx->len;
	if (b[0] >> 4 == 4) {
		l4 = ETH_SIZE + 20;
		b[6] = b[9];
	}
	if (b[6] == PROTO_UDP)
		return wire_of_segments(ctx, l4 + 8);
	if (ctx_load(ctx, l4 + 12, &off, 1) < 0)
		return WIRE_ONE | ctx->len;
	return wire_of_segments(ctx, l4 + (off >> 4) * 4u);
}

/* What the parser has found. */
static __always_inline __u64 wire_of_parsed(ctx_t *ctx, const struct pkt *p)
{
	__u32 head = p->l4_off;

	if (!ctx->gso_size || p->kind != PKT_IP)
		return WIRE_ONE | ctx->len;
	if (p->key.proto == PROTO_TCP)
		head += p->seg.off;
	else if (p->key.proto == PROTO_UDP)
		head += 8;
	return wire_of_segments(ctx, head);
}

/* Of a packet in the fast path; `parsed`: the parser has seen it. */
static __always_inline __u64 wire_of(ctx_t *ctx, int parsed)
{
	struct pkt *p;

	if (!ctx->gso_size)
		return WIRE_ONE | ctx->len;
	if (!parsed)
		return wire_of_plain(ctx);
	p = pkt_get();
	return p ? p->wire : WIRE_ONE | ctx->len;
}

#endif
#endif
