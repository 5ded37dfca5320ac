/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_ABI_QINQ_H
#define DEMARC_ABI_QINQ_H

/*
 * Ports behind two VLAN tags (IEEE 802.1ad, "QinQ"). Wherever a VLAN is kept, in keys, records and members, such a port has
 * VLAN_STACK | the number of its pair of tags. Only double-tagged frames are looked up in `stacks`.
 */

#include "maps.h"

#define ABI_STACKS 1024	  /* numbers; 0 is unused */
#define VLAN_STACK 0x8000 /* no VLAN id: those have 12 bits */
#define VLAN_DEEP 0xffff  /* a stack of more than two tags */

#define VLAN_TPID_CUSTOMER 0x8100 /* IEEE 802.1Q: C-TAG */
#define VLAN_TPID_SERVICE 0x88a8  /* S-TAG */

struct stack_key {
	__u32 ifindex;
	__u16 outer, inner; /* VLAN ids */
};
ABI_SIZE(struct stack_key, 8);

/* By number. */
struct stack_rec {
	struct stack_key k; /* ifindex 0: the number is free */
};

#endif
