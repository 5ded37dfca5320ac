/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_ABI_EXPECT_H
#define DEMARC_ABI_EXPECT_H

/* Connections that a control connection has announced: map `expects`. Any source port matches; each is used once. */

#include "maps.h"

#define ABI_EXPECTS 4096 /* the oldest give way */
#define EXPECT_S 180

struct expect_key {
	__u16 net;
	__u8 proto;
	__u8 family;
	__u16 dport;
	__u16 pad;
	__u32 src[4], dst[4];
};
ABI_SIZE(struct expect_key, 40);

struct expect_rec {
	__u64 until; /* jiffies */
};

#define ABI_HELPER_BYTES                                                                           \
	1472 /* of a control message that are read: a datagram that fits the usual MTU */
#define ABI_HELPER_PORTS 4 /* that one message announces */

/* Where the scan of one message stands; one per CPU. */
struct helper_scan {
	__u32 kind; /* enum helper_kind */
	__u32 len, at;
	__u32 number;  /* in hand, decimal */
	__u32 digits;  /* of it */
	__u32 count;   /* FTP: numbers or separators so far; SIP: words of the line */
	__u32 values;  /* FTP: the last two of the six */
	__u32 address; /* FTP: the first four */
	__u32 line;    /* SIP: 0 at its start, 1 after `m`, 2 in a media line, 3 in another */
	__u32 n_ports;
	__u16 port[ABI_HELPER_PORTS]; /* host order */
	__u8 b[2048];
};

#endif
