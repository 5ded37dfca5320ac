/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_MODEL_FRAME_H
#define DEMARC_MODEL_FRAME_H

/*
 * Builds one Ethernet frame from a description, with right lengths and checksums, for trace.
 * IPv4, IPv6; TCP, UDP, ICMP, ICMPv6, ARP request, or a bare IP packet of another protocol. Pure. Thread: any.
 * Source: RFC 791, 8200, 9293, 768, 792, 4443, 826; IEEE 802.1Q.
 */

#include "base/err.h"
#include "base/types.h"

#define FRAME_EXT_MAX 4
#define FRAME_SIZE_MAX 160 /* bytes: 14 + 4 + 40 + 4 * 8 + 20 and a payload of at most 32 */

struct frame_spec {
	struct mac src_mac, dst_mac;
	struct ip_addr src, dst; /* the same family */
	bool arp;		 /* ARP request: who has dst, tell src (IPv4) */
	l4_proto proto;		 /* IANA */
	uint16_t sport, dport;	 /* host order */
	bool has_icmp;		 /* type and code are given; else an echo request */
	uint8_t icmp_type, icmp_code;
	uint8_t dscp;			   /* 0..63 */
	uint8_t n_ext, ext[FRAME_EXT_MAX]; /* IPv6 extension headers in order: frame_extensions() */
	uint8_t tcp_flags;    /* RFC 9293 3.1: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32 */
	uint8_t payload_size; /* bytes, 0..32 */
};

/* Returns the frame's size in bytes. Faults: BAD_REQUEST (families differ, ARP over IPv6, extension headers over IPv4). */
WARN_UNUSED int frame_build(const struct frame_spec *f, uint8_t ret[static FRAME_SIZE_MAX],
			    struct err *e);
/* "S", "SA", "SYN,ACK", "0x12" -> flags. -EINVAL. */
WARN_UNUSED int frame_tcp_flags(struct str s, uint8_t *ret);
/*
 * "hopopt,ipv6-opts,ipv6-route,ipv6-frag" -> f->ext. Options are padding, the route has no segments left, the fragment is all of the packet.
 * -EINVAL: another name, or more than FRAME_EXT_MAX. Source: RFC 8200 section 4, RFC 6946.
 */
WARN_UNUSED int frame_extensions(struct str s, struct frame_spec *f);
/* "tcp", "icmpv6", "6" … -EINVAL. The names Neutron takes in security group rules. */
WARN_UNUSED int l4_proto_parse(struct str s, l4_proto *ret);
const char *l4_proto_name(l4_proto p); /* NULL when it has none here */

#endif
