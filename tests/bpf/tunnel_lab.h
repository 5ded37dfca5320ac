/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_TESTS_BPF_TUNNEL_LAB_H
#define DEMARC_TESTS_BPF_TUNNEL_LAB_H

/* One tunnel from a NIC to a neighbour, of any type, and frames as its far end would send them. */

#include "lab.h"

#define TUNNEL_ID 4242

/* The ends of the underlay. */
struct tunnel_ends {
	ifindex port, nic;
	uint16_t vlan;
	uint8_t near[6], far[6]; /* MACs: of the NIC itself, of the neighbour */
};

/* RFC 8300 section 2.5.1: class 0xfff6, type 7, 5 bytes and 3 of padding. */
extern const uint8_t tunnel_tlv[12];

void link_mac(int index, uint8_t ret[6]);
struct dp_tunnel tunnel_of(const struct tunnel_ends *e, uint16_t net, enum dp_tunnel_type type, bool v6);
/* Bytes in front of the inner frame; the sizes that the RFCs give. */
size_t tunnel_head(enum dp_tunnel_type t, bool v6);
/* `in` from the far end: with the header of what went there, `out`, its ends exchanged. */
struct frame tunnel_answer(const struct tunnel_ends *e, const struct frame *out, size_t head,
			   const struct frame *in, bool v6);

/* What a byte of an outer header makes a frame be dropped for. Offsets count from the outer L4 header. */
struct tunnel_wrong {
	const char *what;
	enum dp_tunnel_type type;
	int at;
	uint8_t value;
	enum drop_reason reason;
};
extern const struct tunnel_wrong tunnel_wrongs[];
extern const size_t n_tunnel_wrongs;
void tunnel_spoil(struct frame *f, const struct tunnel_wrong *w, bool v6);

#endif
