/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_ABI_METER_H
#define DEMARC_ABI_METER_H

/* Token buckets of the map `meters`, and targets of the map `mirrors`. Index 0 of both is unused. */

#include "maps.h"

#define ABI_METERS 4096
#define ABI_MIRRORS 256

/* Tokens are 1/1024 byte or packet, rates are per jiffy: 1 kbit/s at 1000 Hz still is 128 a jiffy. */
#define METER_UNIT 1024
#define METER_REFILL_MAX 65536 /* jiffies at once: keeps the products small */

/*
 * One bucket of bytes, one of packets. A packet passes while both hold something, and may leave a debt: so a
 * segmentation offload packet larger than the burst is not lost for ever.
 */
struct meter_rec {
	__s64 bytes; /* tokens */
	__s64 pkts;
	__u64 last;	  /* jiffies of the last refill */
	__u64 byte_rate;  /* tokens per jiffy; 0: not limited */
	__u64 byte_burst; /* tokens */
	__u64 pkt_rate;
	__u64 pkt_burst;
	__u64 n_dropped;
};
ABI_SIZE(struct meter_rec, 64);

struct mirror_rec {
	__u32 ifindex; /* 0: free */
};

#endif
