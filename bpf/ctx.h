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

#else

typedef struct __sk_buff ctx_t;

/* Copies `len` bytes at `off`; < 0 when the packet ends before. */
static __always_inline int ctx_load(ctx_t *c, __u32 off, void *to, __u32 len)
{
	return bpf_skb_load_bytes(c, off, to, len);
}

static __always_inline int ctx_store(ctx_t *c, __u32 off, const void *from, __u32 len)
{
	return bpf_skb_store_bytes(c, off, from, len, 0);
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
