/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_ABI_LIMIT_H
#define DEMARC_ABI_LIMIT_H

/* Limits of new connections toward a port, and what is counted for them: maps `limits` and `sources`. */

#include "maps.h"

#define ABI_SOURCES 16384 /* sources that are counted at a time; the least recently seen give way */
#define LIMIT_EPOCH_S 4
#define LIMIT_COOKIE_S                                                                             \
	60 /* a cookie is taken for as long after the last one was given: Linux's are valid for 2 minutes */

/* Connections opened in this epoch and in the one before, less those that were completed. */
struct half_open {
	__u64 epoch; /* jiffies / (LIMIT_EPOCH_S * hz) */
	__s32 now, before;
};

enum limit_flag { LIMIT_COOKIES = 1 << 0 };

struct limit_rec {
	__u32 half_open;	/* connections not completed yet; 0: not limited */
	__u32 source_half_open; /* of one source */
	__u32 source_rate;	/* new connections of one source, a second */
	__u32 flags;		/* enum limit_flag */
	struct half_open count;
	__u64 cookie_last; /* jiffies of the last cookie; 0: none */
	__u64 n_cookies;   /* given */
	__u64 n_opened;	   /* by a cookie that came back */
};
ABI_SIZE(struct limit_rec, 56);

struct source_key {
	__u32 ifindex; /* of the port that is protected */
	__u16 vlan;
	__u16 family;
	__u32 addr[2]; /* IPv6: the first 64 bits, which one host can use as it likes */
};
struct source_rec {
	struct half_open count;
	__u64 second; /* jiffies / hz */
	__u32 n_new;  /* in it */
	__u32 pad;
};

/* Answers to what rules reject, of one port: map `rejects`. As Linux bounds its own (icmp_msgs_per_sec, icmp_msgs_burst). */
#define ABI_REJECTS                                                                                \
	1024 /* ports; the least recently answered gives way, and has a full burst when it comes back */
#define REJECT_RATE 1000 /* a second */
#define REJECT_BURST 50
struct reject_rec {
	__u64 last; /* jiffies */
	__s64 left; /* answers * hz */
};

#endif
