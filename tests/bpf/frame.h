/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_TESTS_BPF_FRAME_H
#define DEMARC_TESTS_BPF_FRAME_H

/* Frames from a description, with right lengths and checksums. */

#include "net.h"

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_PSH 8
#define TCP_ACK 16
#define TCP_URG 32

struct desc {
	const uint8_t *smac, *dmac;
	int vlan;	       /* 0: untagged */
	const char *src, *dst; /* IPv4 or IPv6 text */
	uint8_t proto;	       /* 6, 17, 1, 58 */
	uint16_t sport, dport; /* ICMP query: sport is the identifier */
	uint8_t flags;	       /* TCP */
	uint32_t tcp_seq, tcp_ack;
	uint16_t tcp_win;
	const uint8_t *opts; /* TCP: n_opts bytes, a multiple of 4 */
	size_t n_opts;
	uint8_t type, code; /* ICMP */
	size_t payload;	    /* bytes after the L4 header */
	uint32_t seq;	    /* first four bytes of the payload, when there are four */
	uint16_t frag;	    /* IPv4: flags and offset as in the header */
	uint16_t ip_id;
	uint8_t ttl; /* 0: 64 */
};

void frame_build(struct frame *f, const struct desc *d);
/* Puts a tag in front of what is there. */
void frame_tag(struct frame *f, unsigned int tpid, unsigned int vlan);
void frame_arp(struct frame *f, const uint8_t *smac, const uint8_t *dmac, int op,
	       const uint8_t *sha, const char *spa, const char *tpa);
/* Neighbour solicitation (135) or advertisement (136) with a link-layer option of `opt` (NULL: none). */
void frame_nd(struct frame *f, const uint8_t *smac, const uint8_t *dmac, const char *src,
	      const char *dst, int type, const char *target, const uint8_t *opt);
/* ICMP "port unreachable" about `about`, from `src` to `dst`. */
void frame_icmp_error(struct frame *f, const uint8_t *smac, const uint8_t *dmac, const char *src,
		      const char *dst, const struct frame *about);
/* What a stack leaves of the checksum of a frame_build() frame of TCP or UDP when its NIC makes it: the sum of the pseudo header. */
void frame_unfinish(struct frame *f);
uint32_t frame_seq(const struct frame *f);  /* of a frame_build() UDP frame */
bool frame_icmp6_ok(const struct frame *f); /* checksum */
bool frame_sums_ok(const struct frame *f);  /* of IP, and TCP or UDP; no IP options, no VLAN */

#endif
