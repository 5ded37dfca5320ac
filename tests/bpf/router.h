/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_TESTS_BPF_ROUTER_H
#define DEMARC_TESTS_BPF_ROUTER_H

/*
 * The kernel as a router with nftables, in the node's namespace, to compare with: 10.0.1.0/24 and fd00:1::/64 behind one port,
 * 10.0.2.0/24 and fd00:2::/64 behind the other; its own addresses there end with 254.
 */

#include "frame.h"
#include "net.h"

#define ROUTER_HOSTS 4
struct router_side {
	struct tport port;
	uint8_t mac[6];			 /* the router's */
	const char *hosts[ROUTER_HOSTS]; /* neighbours with the port's MAC; NULL: no more */
};
struct router {
	struct router_side client, server;
};

/* The ports, with r->*.hosts set, then the rules of nft(8). UDP to port 9 may not be dropped, tracked or translated by them. */
void router_make(struct router *r, int client, const uint8_t client_mac[6], int server,
		 const uint8_t server_mac[6], const char *rules);
void router_free(struct router *r);

/*
 * Sends a frame from the client's (or server's) side, after giving it the MACs of that way; true when it comes out on the other
 * side, then in *ret. What was sent before it has come out, or never will.
 */
bool router_passes(struct router *r, bool client, struct frame *f, struct frame *ret);

#endif
