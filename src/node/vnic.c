/* SPDX-License-Identifier: Apache-2.0 */
#include "node/vnic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dp/dp.h"
#include "node/netns.h"

#define METADATA_ADDR "169.254.169.254" /* EC2 and OpenStack metadata service */

static void inside_name(size_t slot, char ret[static IF_NAMESIZE])
{
	(void)snprintf(ret, IF_NAMESIZE, "eth%u", (unsigned)slot);
}

static ifindex inside_index(size_t slot)
{
	return (ifindex){ (int)slot + VNIC_FIRST_INDEX };
}

static const struct nl_link *by_name(const struct nl_link *l, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(l[i].name, name) == 0)
			return &l[i];
	return NULL;
}

static const struct nl_link *by_index(const struct nl_link *l, int n, ifindex index)
{
	for (int i = 0; i < n; i++)
		if (l[i].index.num == index.num)
			return &l[i];
	return NULL;
}

/* ---- wiring ---- */

struct wiring {
	struct nl *host, *in;
	int netns; /* fd, borrowed */
	const struct vnics *want, *old;
	struct nl_link *links_host, *links_in; /* snapshots */
	int n_host, n_in;
	struct nl_addr *addrs;
	int n_addrs;
};

static void wiring_done(struct wiring *w)
{
	nl_close(w->host);
	nl_close(w->in);
	free(w->links_host);
	free(w->links_in);
	free(w->addrs);
}

static int snapshot(struct wiring *w, struct err *e)
{
	free(w->links_host);
	free(w->links_in);
	free(w->addrs);
	w->links_host = w->links_in = NULL;
	w->addrs = NULL;
	w->n_host = nl_links(w->host, &w->links_host, e);
	if (w->n_host < 0)
		return w->n_host;
	w->n_in = nl_links(w->in, &w->links_in, e);
	if (w->n_in < 0)
		return w->n_in;
	w->n_addrs = nl_addrs(w->in, &w->addrs, e);
	return w->n_addrs < 0 ? w->n_addrs : 0;
}

/* The veth inside at the slot's place with the wanted host end beside it. */
static bool pair_is_there(const struct wiring *w, size_t slot)
{
	const struct vnic *v = &w->want->slot[slot];
	const struct nl_link *host = by_name(w->links_host, w->n_host, v->host_name);
	const struct nl_link *in = by_index(w->links_in, w->n_in, inside_index(slot));

	return v->present && host && host->index.num == v->host_index.num && in &&
	       mac_eq(in->mac, v->mac);
}

/* Removes pairs of this function that are in the way: a slot now empty, or a wrong index or MAC. */
static int clear_slot(struct wiring *w, size_t slot, bool *ret_changed, struct err *e)
{
	const struct vnic *v = &w->want->slot[slot];
	const struct nl_link *in = by_index(w->links_in, w->n_in, inside_index(slot));
	const struct nl_link *host = v->present ? by_name(w->links_host, w->n_host, v->host_name) : NULL;
	int r = 0;

	if (pair_is_there(w, slot))
		return 0;
	if (!host && v->present)
		host = by_index(w->links_host, w->n_host, v->host_index);
	if (in) {
		*ret_changed = true;
		r = nl_link_del(w->in, in->index, e);
	}
	if (r == 0 && host) {
		*ret_changed = true;
		r = nl_link_del(w->host, host->index, e);
	}
	return r;
}

/* Links inside whose slot does not exist any more. */
static int clear_extra(struct wiring *w, struct err *e)
{
	for (int i = 0; i < w->n_in; i++) {
		const struct nl_link *l = &w->links_in[i];

		if (strcmp(l->kind, "veth") != 0 || l->index.num < VNIC_FIRST_INDEX + (int)w->want->n)
			continue;
		/* The function may have made veths of its own; ours are known by their index. */
		if (l->index.num < VNIC_FIRST_INDEX + VNICS_MAX) {
			int r = nl_link_del(w->in, l->index, e);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int host_end_quiet(const struct vnic *v, struct err *e)
{
	char name[96];

	/* The host has no business on this wire: no address, no ARP, no router solicitations. */
	(void)snprintf(name, sizeof(name), "ipv6/conf/%s/disable_ipv6", v->host_name);
	return netns_sysctl(name, "1", e);
}

static int make_pair(struct wiring *w, size_t slot, struct err *e)
{
	const struct vnic *v = &w->want->slot[slot];
	char name[IF_NAMESIZE];
	struct nl_veth veth = {
		.name = v->host_name,
		.index = v->host_index,
		.peer_netns = w->netns,
		.peer_name = name,
		.peer_index = inside_index(slot),
		.peer_mac = v->mac,
		.mtu = v->mtu,
	};
	int r;

	inside_name(slot, name);
	r = nl_veth_new(w->host, &veth, e);
	return r < 0 ? r : host_end_quiet(v, e);
}

static bool addr_listed(const struct vnic *v, const struct ip_cidr *c)
{
	for (size_t i = 0; i < v->n_addrs; i++)
		if (ip_eq(v->addrs[i].addr, c->addr) && v->addrs[i].prefix_len == c->prefix_len)
			return true;
	return false;
}

static bool addr_there(const struct wiring *w, ifindex index, const struct ip_cidr *c)
{
	for (int i = 0; i < w->n_addrs; i++)
		if (w->addrs[i].index.num == index.num && ip_eq(w->addrs[i].addr.addr, c->addr) &&
		    w->addrs[i].addr.prefix_len == c->prefix_len)
			return true;
	return false;
}

static int set_addrs(struct wiring *w, size_t slot, struct err *e)
{
	const struct vnic *v = &w->want->slot[slot];
	ifindex index = inside_index(slot);
	int r = 0;

	for (int i = 0; r == 0 && i < w->n_addrs; i++)
		if (w->addrs[i].index.num == index.num && !addr_listed(v, &w->addrs[i].addr) &&
		    addr_listed(&w->old->slot[slot], &w->addrs[i].addr))
			r = nl_addr_del(w->in, index, w->addrs[i].addr, e);
	for (size_t i = 0; r == 0 && i < v->n_addrs; i++)
		if (!addr_there(w, index, &v->addrs[i]))
			r = nl_addr_add(w->in, index, v->addrs[i], e);
	return r;
}

static int take_xdp(const struct wiring *w, ifindex in, struct err *e)
{
	CLEANUP(netns_leave) struct netns_visit visit = NETNS_VISIT_NONE;
	int r = netns_enter(&visit, w->netns, e);

	if (r < 0)
		return r;
	r = dp_take_xdp(in);
	return r ? err_errno(e, r, "GRO on vNIC %d", in.num) : 0;
}

static int set_slot(struct wiring *w, size_t slot, struct err *e)
{
	const struct vnic *v = &w->want->slot[slot];
	ifindex in = inside_index(slot);
	unsigned up = v->up ? IFF_UP : 0;
	const struct nl_link *host = by_name(w->links_host, w->n_host, v->host_name);
	const struct nl_link *peer = by_index(w->links_in, w->n_in, in);
	int r = set_addrs(w, slot, e);

	if (r == 0 && (!host || host->mtu != v->mtu))
		r = nl_link_mac_mtu(w->host, v->host_index, (struct mac){ 0 }, v->mtu, e);
	if (r == 0 && (!peer || peer->mtu != v->mtu))
		r = nl_link_mac_mtu(w->in, in, (struct mac){ 0 }, v->mtu, e);
	if (r == 0 && (!peer || (peer->flags & IFF_UP) != up))
		r = nl_link_flags(w->in, in, up, IFF_UP, e);
	if (r == 0)
		r = nl_link_flags(w->host, v->host_index, up | IFF_NOARP, IFF_UP | IFF_NOARP, e);
	if (r == 0 && v->xdp)
		r = take_xdp(w, in, e);
	for (size_t i = 0; r == 0 && v->up && i < v->n_routes; i++)
		r = nl_route_set(w->in, in, v->routes[i].dst, v->routes[i].via, e);
	return r;
}

static int set_lo(struct wiring *w, struct err *e)
{
	struct ip_cidr metadata = { .prefix_len = 32 };
	int r = nl_link_flags(w->in, (ifindex){ 1 }, IFF_UP, IFF_UP, e);

	if (r < 0)
		return r;
	if (ip_parse(STR(METADATA_ADDR), &metadata.addr) < 0)
		return err_set(e, FAULT_INTERNAL, NULL, "metadata address");
	return nl_addr_add(w->in, (ifindex){ 1 }, metadata, e);
}

static int make_missing(struct wiring *w, struct err *e)
{
	bool changed = false;
	int r = clear_extra(w, e);

	for (size_t i = 0; r == 0 && i < w->want->n; i++)
		r = clear_slot(w, i, &changed, e);
	if (r == 0 && changed)
		r = snapshot(w, e);
	for (size_t i = 0; r == 0 && i < w->want->n; i++)
		if (w->want->slot[i].present && !pair_is_there(w, i))
			r = make_pair(w, i, e);
	return r;
}

int vnics_wire(const char *netns_path, const struct vnics *want, const struct vnics *old, struct err *e)
{
	CLEANUP(wiring_done) struct wiring w = { .want = want, .old = old, .netns = -1 };
	CLEANUP(close_fdp) int fd = -1;
	int r = netns_open(netns_path, &fd, e);

	w.netns = fd;
	if (r == 0)
		r = nl_open(&w.host, e);
	if (r == 0)
		r = nl_open_in(fd, &w.in, e);
	if (r == 0)
		r = snapshot(&w, e);
	if (r == 0)
		r = make_missing(&w, e);
	if (r == 0)
		r = snapshot(&w, e);
	if (r == 0)
		r = set_lo(&w, e);
	for (size_t i = 0; r == 0 && i < want->n; i++)
		if (want->slot[i].present)
			r = set_slot(&w, i, e);
	return r;
}

int vnics_unwire(const struct vnics *want, struct err *e)
{
	CLEANUP(nl_closep) struct nl *nl = NULL;
	CLEANUP(free_voidp) struct nl_link *links = NULL;
	int r = nl_open(&nl, e);
	int n = r < 0 ? r : nl_links(nl, &links, e);

	for (size_t i = 0; n >= 0 && i < want->n; i++) {
		const struct nl_link *l =
			want->slot[i].present ? by_name(links, n, want->slot[i].host_name) : NULL;

		if (l && (r = nl_link_del(nl, l->index, e)) < 0)
			return r;
	}
	return n < 0 ? n : 0;
}

/* ---- reading back ---- */

static void observe_addrs(const struct nl_addr *a, int n, ifindex index, struct vnic_observed *o)
{
	for (int i = 0; i < n; i++)
		if (a[i].index.num == index.num && !a[i].link_local && o->n_addrs < VNIC_ADDRS_MAX)
			o->addrs[o->n_addrs++] = a[i].addr;
}

static void compare_addrs(const struct vnic *v, struct vnic_observed *o)
{
	for (size_t i = 0; i < v->n_addrs; i++) {
		char text[CIDR_STR_SIZE];
		bool there = false;

		for (size_t k = 0; k < o->n_addrs; k++)
			there |= ip_eq(o->addrs[k].addr, v->addrs[i].addr) &&
				 o->addrs[k].prefix_len == v->addrs[i].prefix_len;
		if (!there)
			vnic_diff_add(o, "address", cidr_format(v->addrs[i], text), "absent");
	}
}

static void compare_number(struct vnic_observed *o, const char *attribute, unsigned wanted, unsigned found)
{
	char w[16], f[16];

	if (wanted == found)
		return;
	(void)snprintf(w, sizeof(w), "%u", wanted);
	(void)snprintf(f, sizeof(f), "%u", found);
	vnic_diff_add(o, attribute, w, f);
}

static void observe_slot(const struct vnics *w, size_t slot, const struct nl_link *l,
			 struct vnic_observed *o)
{
	const struct vnic *v = &w->slot[slot];
	char name[IF_NAMESIZE], a[MAC_STR_SIZE], b[MAC_STR_SIZE];

	inside_name(slot, name);
	o->found = true;
	o->index = l->index;
	o->mac = l->mac;
	o->link_up = (l->flags & IFF_UP) && l->carrier;
	memcpy(o->name, l->name, sizeof(o->name));
	if (strcmp(l->name, name) != 0)
		vnic_diff_add(o, "name", name, l->name);
	if (!mac_eq(l->mac, v->mac))
		vnic_diff_add(o, "mac", mac_format(v->mac, a), mac_format(l->mac, b));
	compare_number(o, "ifindex", (unsigned)inside_index(slot).num, (unsigned)l->index.num);
	compare_number(o, "mtu", v->mtu, l->mtu);
	if (o->link_up != v->up)
		vnic_diff_add(o, "link", v->up ? "up" : "down", o->link_up ? "up" : "down");
}

/* The interface of a slot: by index, as that is what a function cannot change; by name when it was remade. */
static const struct nl_link *slot_link(const struct nl_link *links, int n, size_t slot)
{
	const struct nl_link *l = by_index(links, n, inside_index(slot));
	char name[IF_NAMESIZE];

	inside_name(slot, name);
	return l ? l : by_name(links, n, name);
}

int vnics_verify(struct nl *in, const struct vnics *w, struct vnic_observed *ret, struct err *e)
{
	CLEANUP(free_voidp) struct nl_link *links = NULL;
	CLEANUP(free_voidp) struct nl_addr *addrs = NULL;
	int n = nl_links(in, &links, e);
	int n_addrs = n < 0 ? n : nl_addrs(in, &addrs, e);
	int n_bad = 0;

	if (n_addrs < 0)
		return n_addrs;
	for (size_t i = 0; i < w->n; i++) {
		struct vnic_observed *o = &ret[i];
		const struct nl_link *l = slot_link(links, n, i);

		memset(o, 0, sizeof(*o));
		if (!w->slot[i].present)
			continue;
		if (l) {
			observe_slot(w, i, l, o);
			observe_addrs(addrs, n_addrs, l->index, o);
			compare_addrs(&w->slot[i], o);
		} else {
			vnic_diff_add(o, "interface", "present", "absent");
		}
		n_bad += o->n_diffs > 0;
	}
	return n_bad;
}
