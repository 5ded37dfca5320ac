/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_MODEL_SNIFF_H
#define DEMARC_MODEL_SNIFF_H

/*
 * What the first bytes of a frame say, for a person: addresses, ports, flags. Takes what is there and stops where it ends; no input is an
 * error. Pure. Thread: any. Source: RFC 791, 8200, 9293, 768, 792, 4443, 826; IEEE 802.1Q.
 */

#include <stddef.h>

#include "base/types.h"

struct sniffed {
	struct mac dst_mac, src_mac;
	uint16_t ethertype;	 /* after VLAN tags; 0: the frame ends before it */
	uint16_t vlan;		 /* of the outer tag in the frame; 0: none */
	struct ip_addr src, dst; /* IP, or of an ARP packet; family 0: none */
	uint8_t proto;
	bool has_ports; /* sport and dport were there */
	bool has_icmp;	/* icmp_type and icmp_code were there */
	uint16_t sport, dport;
	uint8_t tcp_flags;
	uint8_t icmp_type, icmp_code;
};

void sniff(const uint8_t *head, size_t size, struct sniffed *ret);

/* Which frames are wanted; zeroes match all. */
struct sniff_filter {
	uint8_t family, proto;
	struct ip_cidr addr, src, dst; /* family 0: any; addr: either end */
	uint16_t port;		       /* either end; 0: any */
};
bool sniff_matches(const struct sniff_filter *f, const struct sniffed *s);

#endif
