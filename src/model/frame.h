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

#define FRAME_SIZE_MAX 128 /* bytes: 14 + 4 + 40 + 20 and a payload of at most 32 */

struct frame_spec {
	struct mac src_mac, dst_mac;
	struct ip_addr src, dst; /* the same family */
	bool arp;		 /* ARP request: who has dst, tell src (IPv4) */
	l4_proto proto;		 /* IANA */
	uint16_t sport, dport;	 /* host order; ICMP: type, code */
	uint8_t tcp_flags;	 /* RFC 9293 3.1: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32 */
	uint8_t payload_size;	 /* bytes, 0..32 */
};

/* Returns the frame's size in bytes. Faults: BAD_REQUEST (families differ, ARP over IPv6). */
WARN_UNUSED int frame_build(const struct frame_spec *f, uint8_t ret[static FRAME_SIZE_MAX],
			    struct err *e);
/* "S", "SA", "SYN,ACK", "0x12" -> flags. -EINVAL. */
WARN_UNUSED int frame_tcp_flags(struct str s, uint8_t *ret);
/* "tcp", "icmpv6", "6" … -EINVAL. The names Neutron takes in security group rules. */
WARN_UNUSED int l4_proto_parse(struct str s, l4_proto *ret);
const char *l4_proto_name(l4_proto p); /* NULL when it has none here */

#endif
