/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_BENCH_SOURCE_H
#define DEMARC_BENCH_SOURCE_H

/* What the packet source and its program share. */

#include <linux/types.h>

#define BENCH_IFINDEX_MAX 4096

/* Flow i is source port 1024 + i % 32768, destination port 5000 + i / 32768; backwards: the other way round. */
#define BENCH_SPORT 1024
#define BENCH_SPORTS 32768
#define BENCH_DPORT 5000

/* --vxlan: what stands in front of each frame, from the far end of the tunnel of DemarcNicOut (systems.py). */
#define BENCH_OUTER 50
#define BENCH_VNI 42
#define BENCH_NEAR 0x0a090001 /* 10.9.0.1; host order */
#define BENCH_FAR 0x0a090002

struct bench_source {
	__u32 ifindex;		    /* of the interface that the frames leave through */
	__u32 first, n_flows, next; /* flows first..n_flows - 1, over and over */
	__u32 saddr, daddr;	    /* network byte order */
	__u32 seq, ack;		    /* TCP; host order */
	__u8 smac[6], dmac[6];
	__u8 proto, tcp_flags;
	__u8 backwards;
	__u8 spoof; /* a source address of its own for each packet, out of saddr/8: a flood */
	__u64 n_sent;
	__u8 outer[BENCH_OUTER];
	__u8 outer_size; /* 0: none */
	__u8 pad[5];
	__u64 last_ns, active_ns; /* time spent sending: a test run sleeps before and after */
};

#endif
