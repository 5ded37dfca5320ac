/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_ABI_TUNNEL_H
#define DEMARC_ABI_TUNNEL_H

/*
 * A tunnel is a port with a number from ABI_PSEUDO_PORT on. What leaves by it gets a prebuilt outer header (`encaps`), what
 * comes from its far end is found in `tunnels` by what the outer header says.
 */

#include "maps.h"

#define ABI_ENCAPS 1024 /* slots; 0 is unused */
#define ABI_ENCAP_MAX 160
#define ABI_ENCAP_MIN 18 /* Ethernet and one label */
#define ABI_LABELS 4	 /* of one MPLS stack */

/* Row: constant, name, outer protocol. All carry Ethernet frames. */
#define TUNNEL_TABLE(X)                                                                            \
	X(VXLAN, "vxlan", "UDP port 4789; RFC 7348")                                               \
	X(VXLAN_GPE, "vxlan_gpe", "UDP port 4790, then NSH; draft-ietf-nvo3-vxlan-gpe, RFC 8300")  \
	X(GRE, "gre", "IP protocol 47, transparent Ethernet bridging, key; RFC 2784, RFC 2890")    \
	X(NVGRE, "nvgre", "IP protocol 47, virtual subnet and flow id in the key; RFC 7637")       \
	X(GENEVE, "geneve", "UDP port 6081; RFC 8926")                                             \
	X(MPLS_UDP, "mpls_udp", "UDP port 6635, label stack; RFC 7510, RFC 4448")                  \
	X(MPLS_GRE, "mpls_gre", "IP protocol 47, label stack; RFC 4023, RFC 4448")                 \
	X(MPLS, "mpls", "EtherType 0x8847, label stack, no IP header; RFC 3032, RFC 4448")

enum tunnel_type {
	TUNNEL_NONE,
#define X(name, text, what) TUNNEL_##name,
	TUNNEL_TABLE(X)
#undef X
		TUNNEL_N
};

#define PORT_VXLAN 4789
#define PORT_VXLAN_GPE 4790
#define PORT_GENEVE 6081
#define PORT_MPLS 6635

/*
 * Geneve's option of Open Virtual Network: a bit of 0, 15 bits of ingress port, 16 of egress port (ovn-architecture(7), "Tunnel
 * Encapsulations"). Critical, and in every frame.
 */
#define GENEVE_OVN_CLASS 0x0102
#define GENEVE_OVN_TYPE 0x80
#define GENEVE_OVN_WORDS 2 /* with its header */
#define GENEVE_OVN_IN_MAX 0x7fff

/*
 * Type of a key by which frames of one logical port of OVN are known: VNI, far end and VLAN are those of a geneve tunnel that is there, too,
 * `local` is the port.
 */
#define TUNNEL_OVN_PORT 0xff

struct tunnel_key {
	__u8 type;
	__u8 family; /* of the outer addresses; 0: MPLS over Ethernet, they are MACs */
	__u16 vlan;  /* of the underlay */
	__u32 id;    /* VNI, GRE key, virtual subnet, bottom label */
	__u32 local[4], remote[4];
};
ABI_SIZE(struct tunnel_key, 40);
struct tunnel_rec {
	__u32 port;
	__u32 underlay; /* the only interface that its frames come from */
	__u32 path;  /* NSH: service path << 8 | index that the far end sends; 0: it sends none */
	__u8 mac[6]; /* the NIC's: an XDP program is not told which frames are to it */
	__u16 pad;
};
ABI_SIZE(struct tunnel_rec, 20);

enum encap_flag {
	ENCAP_UDP = 1 << 0,
	ENCAP_GRE = 1 << 1,
	ENCAP_TOS = 1 << 2, /* the outer DSCP is the inner one */
};

/* Value of 192 bytes. */
struct encap_rec {
	__u32 ifindex; /* of the underlay; 0: the slot is free */
	__u16 vlan;    /* of the underlay */
	__u16 size;    /* of hdr */
	__u16 mtu; /* of an inner IP packet; less than mtu_link while a router on the way says so */
	__u8 family;	/* of the outer header; 0: there is no IP in it */
	__u8 flags;	/* enum encap_flag */
	__u16 sum;	/* IPv4 header without length, TOS and checksum; not folded in */
	__u16 mtu_link; /* by the underlay's own MTU */
	__u32 lowered;	/* jiffies when `mtu` was, low bits */
	__u32 spare[3];
	__u8 hdr[ABI_ENCAP_MAX]; /* Ethernet, IP, UDP or GRE, ...; lengths, TOS, checksum and source port are 0 */
};
ABI_SIZE(struct encap_rec, 192);

#define ENCAP_IP 14 /* offset of the outer IP header: the VLAN tag is out of band */

/* skb->mark of a copy that is on its way through a tunnel, in the low bits the slot. */
#define ENCAP_MARK 0xdec00000u
#define ENCAP_MARK_MASK 0xfff00000u

#endif
