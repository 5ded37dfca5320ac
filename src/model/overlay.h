/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_MODEL_OVERLAY_H
#define DEMARC_MODEL_OVERLAY_H

/*
 * Kinds of tunnels that networks can be made of: one row each, for the hub's API and intent and for the node. A name is the API's
 * provider:network_type and the intent's Overlay.type. Pure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/types.h"

/* Row: constant, name, least and greatest id, bytes between the underlay's IP header and the inner one with it, flags. */
#define OVERLAY_TABLE(X)                                                                                   \
	X(VXLAN, "vxlan", 1, 0xffffff, 8 + 8, 0)   /* RFC 7348 */                                          \
	X(GENEVE, "geneve", 1, 0xffffff, 8 + 8, 0) /* RFC 8926, without options */                         \
	X(GRE, "gre", 1, UINT32_MAX, 8, 0)	   /* RFC 2890, with a key */                              \
	X(VXLAN_GPE, "vxlan-gpe", 1, 0xffffff, 8 + 8 + 24, OVERLAY_NSH) /* RFC 8300, metadata of type 1 */ \
	X(NVGRE, "nvgre", 4096, 0xfffffe, 8, 0) /* RFC 7637 3.2: lower ones are reserved */                \
	X(MPLS_UDP, "mpls-udp", 16, 0xfffff, 8 + 4,                                                        \
	  0) /* RFC 7510; RFC 3032 2.1: labels below 16 are reserved */                                    \
	X(MPLS_GRE, "mpls-gre", 16, 0xfffff, 4 + 4, 0)	 /* RFC 4023 */                                    \
	X(MPLS, "mpls", 16, 0xfffff, 4, OVERLAY_ON_LINK) /* RFC 3032, 4448 */

enum overlay_flag {
	OVERLAY_NSH = 1 << 0,	  /* has a service path and index */
	OVERLAY_ON_LINK = 1 << 1, /* no IP header: both ends are on one link */
};

/* In a node's hello: all kinds of this table, pairs of VLAN tags, ends that are no nodes. */
#define OVERLAY_FEATURE "encapsulations"

#define OVERLAY_LABELS_MAX 4	      /* above the label that is the network's; abi/tunnel.h */
#define OVERLAY_NSH_PATH_MAX 0xffffff /* RFC 8300 2.3 */
#define OVERLAY_NSH_INDEX_MAX 255     /* of a path's beginning; 0 is dropped by everybody */

#define OVERLAY_OVN_PORT_MAX                                                                       \
	0x7fff /* key of a logical port: ovn-architecture(7), "Tunnel Encapsulations" */
#define OVERLAY_OVN_PORTS_MAX                                                                      \
	256 /* of one hypervisor; each takes one of the 1023 headers that a node has (ABI_ENCAPS) */

enum overlay_kind {
	OVERLAY_NONE,
#define X(id, name, min, max, size, flags) OVERLAY_##id,
	OVERLAY_TABLE(X)
#undef X
		OVERLAY_N
};

struct overlay_type {
	enum overlay_kind kind;
	const char *name;
	uint32_t id_min, id_max;
	unsigned size;	/* bytes of UDP, GRE, labels and so on */
	unsigned flags; /* enum overlay_flag */
};

/* The row of a name; NULL: no tunnel's, or NULL given. */
const struct overlay_type *overlay_type_find(const char *name);
/* What of the underlay's MTU an inner IP packet lacks, with an outer header of IPv4. nsh_context: bytes of it. */
int overlay_overhead(const struct overlay_type *t, unsigned nsh_context);
/* Tunnels can end there: the address of one host, beyond its own link. */
bool overlay_is_vtep(const struct ip_addr *a);

#endif
