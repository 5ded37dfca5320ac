/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_ABI_GUARD_H
#define DEMARC_ABI_GUARD_H

/* First-hop security of ports without fixed addresses: what port_rec.guards asks for, and who was given which address. */

#include "maps.h"

#define ABI_BINDINGS 16384
#define BINDINGS_DEFAULT 1024 /* addresses that the hosts behind one port may have */

enum guard_flag {
	GUARD_RA = 1 << 0,   /* no router advertisements or redirects come from here: RFC 6105 */
	GUARD_DHCP = 1 << 1, /* no DHCP server is behind this port */
	GUARD_SOURCE = 1 << 2, /* only addresses given by DHCP, or claimed first by DAD: RFC 7513, RFC 6620 */
};

enum binding_flag { BINDING_CLAIMED = 1 << 0 /* by its user (RFC 6620), not leased */ };

/*
 * Key: struct addr_key, whose family says what is bound: 4 or 6, an address; 6 and a length, a prefix that was delegated to a router (RFC 8415 section
 * 6.3); BINDING_MAC, the MAC itself, held at the port where its addresses are.
 */
#define BINDING_MAC 1
#define BINDING_PREFIX(len) (6 | (len) << 8)
#define BINDING_PREFIX_MAX 64 /* longer ones are not read */

/* Addresses and prefixes of one port: `binding_counts`. */
struct binding_count {
	__u32 n;      /* some of them may have ended since */
	__u32 second; /* of jiffies, when they were counted one by one */
};

struct binding {
	__u32 ifindex;
	__u16 vlan;
	__u8 mac[6];
	__u32 flags;	/* enum binding_flag */
	__u64 until_ns; /* monotonic; ~0: for ever */
};
ABI_SIZE(struct binding, 24);

#endif
