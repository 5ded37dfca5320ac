/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_NL_H
#define DEMARC_NODE_NL_H

/*
 * rtnetlink, as much of it as ports need: links, veth pairs, addresses, routes.
 *
 * A handle belongs to the network namespace in which it was opened, whatever the thread does later.
 * Thread: one at a time per handle. Calls block for one round trip to the kernel.
 * Source: rtnetlink(7).
 */

#include <net/if.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/types.h"

struct nl;

/* Opens in the calling thread's namespace. */
WARN_UNUSED int nl_open(struct nl **ret, struct err *e);
/* Opens in the namespace of `netns_fd`; the thread is back in its own one when this returns. */
WARN_UNUSED int nl_open_in(int netns_fd, struct nl **ret, struct err *e);
void nl_close(struct nl *nl);
DEFINE_CLEANUP(struct nl *, nl_close)
/* Subscribes to link and address changes; the fd gets readable on each. */
WARN_UNUSED int nl_watch(struct nl *nl, struct err *e);
/* Subscribes to changes of routes and neighbours, as above. */
WARN_UNUSED int nl_watch_routes(struct nl *nl, struct err *e);
int nl_fd(const struct nl *nl);
/* Reads and forgets what has come in; for use with nl_watch(). Returns how many messages there were. */
int nl_drain(struct nl *nl);
/* Whether a request on this handle has met notifications and passed them over since the last call: what was read may be old. */
bool nl_passed_over(struct nl *nl);

struct nl_link {
	ifindex index;
	char name[IF_NAMESIZE];
	char kind[16]; /* "veth", "" */
	struct mac mac;
	unsigned flags; /* IFF_* */
	unsigned mtu;	/* bytes */
	bool carrier;
};
#define NL_LINKS_MAX 4096
/* All links of the namespace; the caller frees *ret. Returns how many. */
WARN_UNUSED int nl_links(struct nl *nl, struct nl_link **ret, struct err *e);

struct nl_addr {
	ifindex index;
	struct ip_cidr addr;
	bool link_local;
};
WARN_UNUSED int nl_addrs(struct nl *nl, struct nl_addr **ret, struct err *e);

struct nl_veth {
	const char *name; /* host end */
	ifindex index;
	int peer_netns; /* fd */
	const char *peer_name;
	ifindex peer_index;
	struct mac peer_mac;
	unsigned mtu; /* bytes, both ends */
};
/* Makes the pair, both ends down, the host end NOARP. -EEXIST when a name or an index is taken. */
WARN_UNUSED int nl_veth_new(struct nl *nl, const struct nl_veth *v, struct err *e);
WARN_UNUSED int nl_link_del(struct nl *nl, ifindex index, struct err *e); /* absent is success */
WARN_UNUSED int nl_link_flags(struct nl *nl, ifindex index, unsigned flags, unsigned change,
			      struct err *e);
WARN_UNUSED int nl_link_mac_mtu(struct nl *nl, ifindex index, struct mac mac, unsigned mtu,
				struct err *e);
WARN_UNUSED int nl_addr_add(struct nl *nl, ifindex index, struct ip_cidr addr, struct err *e);
WARN_UNUSED int nl_addr_del(struct nl *nl, ifindex index, struct ip_cidr addr, struct err *e);
/* dst with family 0: the default route of via's family. The gateway need not be on-link by an address. */
WARN_UNUSED int nl_route_set(struct nl *nl, ifindex index, struct ip_cidr dst, struct ip_addr via,
			     struct err *e);

struct nl_route {
	ifindex index;	    /* leaves by */
	struct ip_addr via; /* next hop: the gateway, or dst itself */
	unsigned mtu;	    /* bytes, of the route; 0: that of the link */
};
/* What the kernel would do with a packet from src to dst. -ENETUNREACH and its like when it would do nothing. */
WARN_UNUSED int nl_route_get(struct nl *nl, const struct ip_addr *src, const struct ip_addr *dst,
			     struct nl_route *ret, struct err *e);
/* 1: *ret is the neighbour's MAC; 0: not known (any more). */
WARN_UNUSED int nl_neigh_get(struct nl *nl, ifindex index, const struct ip_addr *addr,
			     struct mac *ret, struct err *e);
/* Has the kernel find the neighbour out, or make sure that it is still there. */
WARN_UNUSED int nl_neigh_use(struct nl *nl, ifindex index, const struct ip_addr *addr, struct err *e);

#endif
