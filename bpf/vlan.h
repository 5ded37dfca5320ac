/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_VLAN_H
#define DEMARC_BPF_VLAN_H

/*
 * Tags. The kernel takes the first one off before the program runs, so that a frame with one tag reads like one without. The
 * second one of a port behind two is taken off here; from then on ctx_vlan() names the pair. What is inside a VLAN that is a port by
 * itself is its users' business: one more tag crosses as it is.
 * Source: IEEE 802.1Q-2018 section 9.5 and table 9-1. Outer tags of either type are taken, service tags are sent.
 */

#include "held.h"
#include "maps_def.h"
#include "parse.h"

MAP_LAZY(stacks, struct stack_key, __u32, ABI_STACKS);
MAP(stack_tags, BPF_MAP_TYPE_ARRAY, __u32, struct stack_rec, ABI_STACKS);

#ifndef HOOK_XDP

/* Behind what the kernel took off there is another tag. */
static __always_inline int vlan_inside(ctx_t *ctx)
{
	return ctx->protocol == bpf_htons(VLAN_TPID_CUSTOMER) ||
	       ctx->protocol == bpf_htons(VLAN_TPID_SERVICE);
}

/* BPF_PROG_TEST_RUN leaves the first tag in the frame. */
static __always_inline int vlan_lift(ctx_t *ctx)
{
	__u8 b[4];

	if (ctx->vlan_present)
		return 0;
	if (ctx_load(ctx, 12, b, sizeof(b)) < 0 || bpf_skb_vlan_pop(ctx) < 0)
		return -1;
	return (int)bpf_skb_vlan_push(ctx, *(__u16 *)b, load16(b + 2));
}

/* < 0: it is no port's. */
static __always_inline int stack_number(struct stack_key *k)
{
	int n = -1;

#pragma nounroll
	for (int i = 0; i < 2; i++) { /* bpf/held.h */
		__u32 writes = writes_now(), *number = bpf_map_lookup_elem(&stacks, k);

		n = number ? *number & (VLAN_STACK - 1) : -1;
		if (writes_now() == writes)
			break;
	}
	return n;
}

/* Of a frame with vlan_inside(): says which port's it is, and takes the tags of a port behind two off. */
__noinline int vlan_stack(ctx_t *ctx)
{
	struct stack_key k = { .ifindex = ctx->ifindex };
	struct port_key port = { .ifindex = ctx->ifindex };
	__u32 vlan;
	int number;
	__u8 b[6]; /* type, tag, type */

	if (vlan_lift(ctx) < 0)
		return 0;
	k.outer = ctx->vlan_tci & 0xfff;
	ctx->cb[2] = k.outer;
	if (ctx_load(ctx, 12, b, sizeof(b)) < 0 || !is_tag(load16(b)))
		return 0;
	k.inner = load16(b + 2) & 0xfff;
	number = stack_number(&k);
	if (is_tag(load16(b + 4))) {
		port.vlan = k.outer;
		if (number >= 0 || bpf_map_lookup_elem(&ports, &port))
			ctx->cb[2] = VLAN_DEEP;
		return 0;
	}
	if (number < 0)
		return 0;
	vlan = VLAN_STACK | number;
	if (bpf_skb_vlan_pop(ctx) < 0 || bpf_skb_vlan_pop(ctx) < 0)
		return 0;
	ctx->cb[2] = vlan;
	return 0;
}

__noinline int stack_put(ctx_t *ctx, __u32 vlan)
{
	__u32 i = vlan & ~VLAN_STACK;
	struct stack_rec *s = bpf_map_lookup_elem(&stack_tags, &i);

	if (!s || !s->k.ifindex || bpf_skb_vlan_push(ctx, bpf_htons(VLAN_TPID_CUSTOMER), s->k.inner) < 0)
		return -1;
	return (int)bpf_skb_vlan_push(ctx, bpf_htons(VLAN_TPID_SERVICE), s->k.outer);
}

/* Puts the tag, or both, of an egress port on. */
static __always_inline int vlan_put(ctx_t *ctx, __u16 vlan)
{
	if (vlan & VLAN_STACK)
		return stack_put(ctx, vlan);
	return (int)bpf_skb_vlan_push(ctx, bpf_htons(VLAN_TPID_CUSTOMER), vlan);
}

/* Takes off what vlan_put() put on. */
static __always_inline void vlan_take(ctx_t *ctx, __u16 vlan)
{
	bpf_skb_vlan_pop(ctx);
	if (vlan & VLAN_STACK)
		bpf_skb_vlan_pop(ctx);
}

#endif
#endif
