/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_VNIC_H
#define DEMARC_NODE_VNIC_H

/*
 * The vNICs of one function: veth pairs from the node's namespace into the function's.
 *
 * vNIC i of the server is eth<i> with ifindex i + 2 inside (1 is lo), whatever happened before: a detached slot
 * stays empty. The host end has the name and the ifindex that the node keeps for the port.
 * vnics_wire() may wait for the kernel (deleting a veth does): call it from a worker. vnics_verify() only reads.
 */

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/types.h"
#include "node/nl.h"

#define VNICS_MAX 64	   /* vNICs of one server */
#define VNIC_ADDRS_MAX 16  /* fixed IPs of one port */
#define VNIC_ROUTES_MAX 16 /* host routes of one port */
#define VNIC_FIRST_INDEX 2

struct vnic_route {
	struct ip_cidr dst; /* family 0: default */
	struct ip_addr via;
};

struct vnic {
	bool present; /* false: an empty slot */
	char port_id[UUID_STR_SIZE];
	char host_name[IF_NAMESIZE];
	ifindex host_index;
	struct mac mac;
	unsigned mtu;
	bool up;
	bool xdp; /* takes frames from XDP programs */
	size_t n_addrs;
	struct ip_cidr addrs[VNIC_ADDRS_MAX];
	size_t n_routes;
	struct vnic_route routes[VNIC_ROUTES_MAX];
};

/* What is behind the slots in use is zero, and costs no memory in a struct that came from calloc(). */
struct vnics {
	size_t n; /* slots */
	struct vnic slot[VNICS_MAX];
};

#define VNIC_DIFFS_MAX 8
struct vnic_diff {
	const char *attribute; /* static */
	char wanted[64], found[64];
};
struct vnic_observed {
	bool found;
	char name[IF_NAMESIZE];
	struct mac mac;
	ifindex index;
	bool link_up;
	size_t n_addrs;
	struct ip_cidr addrs[VNIC_ADDRS_MAX];
	size_t n_diffs;
	struct vnic_diff diffs[VNIC_DIFFS_MAX];
};

/* Makes the interfaces of both namespaces be like `w`. Idempotent; interfaces that are right are not touched.
 * Addresses that the function gave itself stay: only those of `old`, the wiring before, are taken off. */
WARN_UNUSED int vnics_wire(const char *netns_path, const struct vnics *w, const struct vnics *old,
			   struct err *e);
/* Deletes the host ends, hence the pairs. */
WARN_UNUSED int vnics_unwire(const struct vnics *w, struct err *e);
/* Reads back what the function has. `in` is a handle opened inside. ret has w->n rows. Returns how many slots differ. */
WARN_UNUSED int vnics_verify(struct nl *in, const struct vnics *w, struct vnic_observed *ret,
			     struct err *e);
/* Appends a difference; ignored when there are too many. */
void vnic_diff_add(struct vnic_observed *o, const char *attribute, const char *wanted,
		   const char *found);
/* Same wiring: nothing to do. */
bool vnics_equal(const struct vnics *a, const struct vnics *b);
/* Touches slots in use only. */
void vnics_copy(struct vnics *to, const struct vnics *from);
void vnics_clear(struct vnics *v);

#endif
