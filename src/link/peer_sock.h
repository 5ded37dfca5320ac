/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_PEER_SOCK_H
#define DEMARC_LINK_PEER_SOCK_H

/*
 * A TCP connection between two machines of which neither listens: each end makes its own, established, from what a third party told both
 * (addresses, ports, first sequence numbers), by the kernel's TCP_REPAIR. No packet is sent before somebody writes. Needs CAP_NET_ADMIN
 * in the namespace's user namespace. The end that writes first is made last: a segment that finds no socket is answered by a reset.
 * Packets have a TTL of 1: they do not leave the link.
 * Source: include/uapi/linux/tcp.h, net/ipv4/tcp.c (do_tcp_setsockopt).
 */

#include "base/err.h"
#include "base/types.h"

struct peer_end {
	struct ip_addr ip;
	uint16_t port; /* host order */
	uint32_t seq;  /* of its first byte */
};

/* Whether kernel and privileges are there. Fault UNAVAILABLE. */
WARN_UNUSED int peer_sock_probe(struct err *e);
/* A socket of this address with a port of its own, not connected, and its end. Returns the descriptor. */
WARN_UNUSED int peer_sock_bind(struct ip_addr ip, struct peer_end *ret, struct err *e);
/* Connected from here on; blocking. Fault BAD_REQUEST: the other end is not a host's unicast address of the same family. */
WARN_UNUSED int peer_sock_connect(int fd, const struct peer_end *own, const struct peer_end *other,
				  struct err *e);

#endif
