/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_ABI_BOUNDS_H
#define DEMARC_ABI_BOUNDS_H

/*
 * Sizes that the datapath programs and user space must agree on. Raising one that shapes a map value
 * changes the ABI: bump ABI_VERSION with it.
 */

#define ABI_VERSION 7

#define ABI_PORT_ADDRS 32	/* fixed IPs and allowed address pairs of one port */
#define ABI_PORT_ACLS 4		/* lists of one port and direction */
#define ABI_PORT_SGS 8		/* security groups of one port */
#define ABI_SG_RULES 256	/* rules of one security group */
#define ABI_NET_MEMBERS 64	/* ports that one broadcast reaches */
#define ABI_PORT_CLASSIFIERS 64 /* classifiers, of all chains, that start at one port */
#define ABI_CHAIN_HOPS 16
#define ABI_PATH_POLICERS 2 /* native: each takes a meter of the record, as do the two ports */
#define ABI_PATH_MIRRORS 1
#define ABI_PSEUDO_PORT 0x40000000 /* port numbers from here on have no interface */
#define ABI_HOP_PAIRS 16
#define ABI_CHAINS 1024
#define ABI_PATHS 4096
#define ABI_FDB 65536  /* learned MACs */
#define ABI_FRAGS 4096 /* fragmented datagrams in flight */
#define ABI_TRACE_STEPS 64
#define ABI_IPV6_EXT                                                                               \
	8 /* extension headers looked at; RFC 8504 section 5.3 lets a node bound them */

#endif
