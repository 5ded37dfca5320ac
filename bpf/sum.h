/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_SUM_H
#define DEMARC_BPF_SUM_H

/* Sums of 16-bit words in one's complement: RFC 1071, and their corrections: RFC 1624. */

static __always_inline __u32 sum_fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (__u32)((sum & 0xffffffff) + (sum >> 32));
}

static __always_inline __u16 sum_fold16(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)((sum & 0xffff) + (sum >> 16));
}

static __always_inline __u16 sum16_add(__u16 a, __u16 b)
{
	__u32 sum = (__u32)a + b;

	return (__u16)(sum + (sum >> 16));
}

#endif
