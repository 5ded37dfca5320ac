/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_ABI_NAT_H
#define DEMARC_ABI_NAT_H

/*
 * Address translation. Which rule is meant is found by the tables of abi/policy.h, two for each list: what they hand back is the key of
 * a target. What a connection got is in its records: see nat_to() in bpf/partner.h.
 */

#include "maps.h"

#define ABI_NAT_RULES 1024    /* of one list */
#define ABI_NAT_TARGETS 65536 /* of all lists */
#define NAT_PROBES 128	      /* ports that are tried for one connection */

#define FLOW_NAT (FLOW_NAT_SRC | FLOW_NAT_DST)

enum nat_flag {
	NAT_KEEP = 1 << 0,  /* the rule says: not translated */
	NAT_PORTS = 1 << 1, /* `min`, `max` are given */
};

struct nat_target_key {
	__u32 number;
	__u32 table; /* NAT_TABLE() */
};
/* What a rule's `of` is: the list, and whether its rules translate destinations. */
#define NAT_TABLE(list, dst) ((__u32)(list) << 1 | !!(dst))

struct nat_target {
	__u32 addr[4];
	__u32 rule; /* the caller's number */
	__u16 min, max; /* host order. Source: the ports to take one from; destination: min is the first */
	__u16 base;  /* destination: the port that becomes `min` */
	__u16 flags; /* enum nat_flag */
};
ABI_SIZE(struct nat_target, 28);

#endif
