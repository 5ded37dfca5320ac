/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_CTX_H
#define DEMARC_BPF_CTX_H

/*
 * The packet as the stages see it. Only this file knows the hook: a stage compiles for another one (XDP,
 * or user space for fuzzing) when the ctx_*() functions exist for it.
 */

#ifdef __bpf__

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

/* After <linux/bpf.h>, which declares the types that they use. */
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "sum.h"

#define PACKET_HOST 0 /* <linux/if_packet.h> */
#define PACKET_OTHERHOST 3

#ifdef HOOK_XDP

typedef struct xdp_md ctx_t;

/* In 64 bits: the two are pointers to the verifier, although the context says they are not. */
static __always_inline __u32 ctx_len(ctx_t *c)
{
	__u64 from = c->data, len = c->data_end;

	__asm__ volatile("%0 -= %1" : "+r"(len) : "r"(from));
	return (__u32)len;
}

static __always_inline __u32 ctx_port(ctx_t *c)
{
	return c->ingress_ifindex;
}

/* No frame is longer; tells the verifier where an offset ends. */
#define CTX_FAR 0x3fff

/* `len` bytes of the frame at `off`; 0: it ends before. */
static __always_inline void *ctx_at(ctx_t *c, __u64 off, __u32 len)
{
	void *at = (void *)(long)c->data, *end = (void *)(long)c->data_end;

	if (off > CTX_FAR)
		return 0;
	__asm__ volatile("%0 &= 0x3fff"
			 : "+r"(off)); /* clang would prove it useless, and compare another copy than it adds */
	at += off;
	return at + len > end ? 0 : at;
}

/* `len` is a constant. Copied by words, since the machines that this runs on do not mind where a word begins. */
static __always_inline int ctx_load(ctx_t *c, __u32 off, void *to, __u32 len)
{
	void *at = ctx_at(c, off, len);

	if (!at)
		return -1;
	if (len % 4)
		__builtin_memcpy(to, __builtin_assume_aligned(at, 2), len);
	else
		__builtin_memcpy(to, __builtin_assume_aligned(at, 4), len);
	return 0;
}

static __always_inline int ctx_store(ctx_t *c, __u32 off, const void *from, __u32 len)
{
	void *at = ctx_at(c, off, len);

	if (!at)
		return -1;
	if (len % 4)
		__builtin_memcpy(__builtin_assume_aligned(at, 2), from, len);
	else
		__builtin_memcpy(__builtin_assume_aligned(at, 4), from, len);
	return 0;
}

/* `len` may be any. */
static __always_inline int ctx_load_any(ctx_t *c, __u32 off, void *to, __u32 len)
{
	return (int)bpf_xdp_load_bytes(c, off, to, len);
}

/* `flags` as for bpf_skb_store_bytes(); here they mean nothing. */
static __always_inline int ctx_store_any(ctx_t *c, __u32 off, void *from, __u32 len, __u64 flags)
{
	return (int)bpf_xdp_store_bytes(c, off, from, len);
}

/* The frame gets another length. */
static __always_inline int ctx_resize(ctx_t *c, __u32 len)
{
	return (int)bpf_xdp_adjust_tail(c, (int)len - (int)ctx_len(c));
}

/* It is for the NIC itself. Such frames do not get far enough to be asked about: bpf/xdp_first.h. */
static __always_inline int ctx_to_host(ctx_t *c)
{
	return 0;
}

/* There is no sum of the whole frame. */
static __always_inline int ctx_store_unsummed(ctx_t *c, __u32 off, const void *from, __u32 len)
{
	return ctx_store(c, off, from, len);
}

/* As bpf_l3_csum_replace() does it to two bytes. */
static __always_inline int ctx_l3_sum(ctx_t *c, __u32 at, __u16 from, __u16 to)
{
	__u16 *sum = ctx_at(c, at, 2);

	if (!sum)
		return -1;
	*sum = ~sum16_add(sum16_add(~*sum, ~from), to);
	return 0;
}

/* As bpf_l4_csum_replace() does it, with those of its flags that are used here. */
static __always_inline int ctx_l4_sum(ctx_t *c, __u32 at, __u32 from, __u32 to, __u64 flags)
{
	__u16 *sum = ctx_at(c, at, 2);
	__u64 diff = to;

	if (!sum)
		return -1;
	if ((flags & BPF_F_MARK_MANGLED_0) && !*sum)
		return 0;
	if (flags & BPF_F_HDR_FIELD_MASK)
		diff += (__u32)~from;
	*sum = ~sum_fold16(sum_fold32(diff + (__u32) ~(__u32)*sum));
	if ((flags & BPF_F_MARK_MANGLED_0) && !*sum)
		*sum = 0xffff;
	return 0;
}

#else

typedef struct __sk_buff ctx_t;

/* Copies `len` bytes at `off`; < 0 when the packet ends before. */
static __always_inline int ctx_load(ctx_t *c, __u32 off, void *to, __u32 len)
{
	return bpf_skb_load_bytes(c, off, to, len);
}

static __always_inline int ctx_load_any(ctx_t *c, __u32 off, void *to, __u32 len)
{
	return bpf_skb_load_bytes(c, off, to, len);
}

static __always_inline int ctx_store(ctx_t *c, __u32 off, const void *from, __u32 len)
{
	return bpf_skb_store_bytes(c, off, from, len, 0);
}

static __always_inline int ctx_store_any(ctx_t *c, __u32 off, void *from, __u32 len, __u64 flags)
{
	return bpf_skb_store_bytes(c, off, from, len, flags);
}

static __always_inline int ctx_resize(ctx_t *c, __u32 len)
{
	return (int)bpf_skb_change_tail(c, len, 0);
}

static __always_inline int ctx_to_host(ctx_t *c)
{
	return c->pkt_type == PACKET_HOST;
}

/* What no checksum in the packet makes up for: the frame's own sum has to hear of it. */
static __always_inline int ctx_store_unsummed(ctx_t *c, __u32 off, const void *from, __u32 len)
{
	return bpf_skb_store_bytes(c, off, from, len, BPF_F_RECOMPUTE_CSUM);
}

/* Two bytes under the checksum at `at` change. */
static __always_inline int ctx_l3_sum(ctx_t *c, __u32 at, __u16 from, __u16 to)
{
	return bpf_l3_csum_replace(c, at, from, to, 2);
}

/* `flags` as for the kernel's function. */
static __always_inline int ctx_l4_sum(ctx_t *c, __u32 at, __u32 from, __u32 to, __u64 flags)
{
	return bpf_l4_csum_replace(c, at, from, to, flags);
}

static __always_inline __u32 ctx_len(ctx_t *c)
{
	return c->len;
}

/* The port that the frame came from; a tunnel's when it was in one. dp_ingress() writes it. */
static __always_inline __u32 ctx_port(ctx_t *c)
{
	return c->cb[1];
}

/* The VLAN of that port, 0: none. A pair of tags has a number: abi/qinq.h. dp_ingress() writes it. */
static __always_inline __u16 ctx_vlan(ctx_t *c)
{
	return (__u16)c->cb[2];
}

#endif

#else /* user space: the parser under a fuzzer */

#include <endian.h>
#include <linux/types.h>
#include <stdint.h>
#include <string.h>

#undef __always_inline
#undef __noinline
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define bpf_ntohs(x) be16toh(x)
#define bpf_htons(x) htobe16(x)
#define bpf_ntohl(x) be32toh(x)
#define bpf_htonl(x) htobe32(x)

typedef struct {
	const __u8 *data;
	__u32 len;
} ctx_t;

static inline int ctx_load(ctx_t *c, __u32 off, void *to, __u32 len)
{
	if (off > c->len || len > c->len - off)
		return -1;
	memcpy(to, c->data + off, len);
	return 0;
}

static inline __u32 ctx_len(ctx_t *c)
{
	return c->len;
}

#endif

#endif
