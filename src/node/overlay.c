/* SPDX-License-Identifier: Apache-2.0 */
#include "node/overlay.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "node/server_spec.h"
#include "node/watch.h"

#define UNDERLAY_ID                                                                                \
	"underlay:" /* and the NIC's name: the network of a NIC that carries tunnels only */
#define ID_SIZE (UUID_STR_SIZE + IP_STR_SIZE)
/* A new agent knows no way yet, while the tunnels of the one before carry traffic: so long nothing is swept for it. */
#define SETTLE_NS (10 * NS_PER_S)

/* How the far end is reached. What is known stays when the kernel forgets a neighbour. */
struct way {
	struct way *next;
	struct ip_addr local, remote;
	struct nl_route route;
	char device[IF_NAMESIZE];
	struct mac smac, dmac;
	unsigned mtu;
	bool known, wanted;
};

struct overlay {
	struct way *ways;
	struct nl *nl; /* notifications */
	struct watch *watch;
	bool stale; /* routes or neighbours have changed */
};

static const struct {
	const char *name;
	enum dp_tunnel_type type;
} types[] = {
	{ "vxlan", DP_TUNNEL_VXLAN },
	{ "gre", DP_TUNNEL_GRE },
	{ "geneve", DP_TUNNEL_GENEVE },
};

static bool refused(const char *network_id, const struct err *e)
{
	log_limited(LOG_WARN_, "tunnel_refused", "network=%s error=\"%s\"", network_id, e->msg);
	return false;
}

/* ---- ways ---- */

static void on_routes(void *ctx)
{
	struct node *n = ctx;

	if (nl_drain(n->overlay->nl) > 0)
		n->overlay->stale = true;
}

int overlay_open(struct node *n, struct err *e)
{
	int r;

	n->overlay = calloc(1, sizeof(*n->overlay));
	if (!n->overlay)
		return err_set(e, FAULT_NO_MEMORY, NULL, "overlay");
	r = nl_open(&n->overlay->nl, e);
	if (r == 0)
		r = nl_watch_routes(n->overlay->nl, e);
	if (r < 0)
		return r;
	n->overlay->watch = watch_start(&n->loop, nl_fd(n->overlay->nl), on_routes, n);
	return n->overlay->watch ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "watch of routes");
}

static void ways_free(struct overlay *o, bool all)
{
	for (struct way **p = &o->ways; *p;) {
		struct way *w = *p;

		if (!all && w->wanted) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		free(w);
	}
}

void overlay_close(struct node *n)
{
	if (!n->overlay)
		return;
	watch_stop(n->overlay->watch);
	nl_close(n->overlay->nl);
	ways_free(n->overlay, true);
	free(n->overlay);
	n->overlay = NULL;
}

static struct way *way_get(struct overlay *o, struct ip_addr local, struct ip_addr remote)
{
	struct way *w = o->ways;

	while (w && !(ip_eq(w->local, local) && ip_eq(w->remote, remote)))
		w = w->next;
	if (w)
		return w;
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->local = local;
	w->remote = remote;
	w->next = o->ways;
	o->ways = w;
	return w;
}

static const struct nl_link *link_at(const struct nl_link *links, int n, ifindex index)
{
	for (int i = 0; i < n; i++)
		if (links[i].index.num == index.num)
			return &links[i];
	return NULL;
}

/* Asks the kernel. False: it does not know (yet), and *w is as it was. */
static bool way_find(struct node *n, struct way *w, const struct nl_link *links, int n_links,
		     struct err *e)
{
	struct nl_route route;
	const struct nl_link *l;
	struct mac mac;

	if (nl_route_get(n->nl, &w->local, &w->remote, &route, e) < 0)
		return false;
	l = link_at(links, n_links, route.index);
	if (!l || nl_neigh_get(n->nl, route.index, &route.via, &mac, e) <= 0)
		(void)!err_set(e, FAULT_UNAVAILABLE, NULL, "its next hop does not answer");
	else if (mac_is_zero(mac) || mac_is_zero(l->mac))
		(void)!err_set(e, FAULT_BAD_REQUEST, NULL, "the way to it is no Ethernet");
	else {
		w->route = route;
		w->smac = l->mac;
		w->dmac = mac;
		w->mtu = route.mtu ? MIN_OF(route.mtu, l->mtu) : l->mtu;
		memcpy(w->device, l->name, sizeof(w->device));
		w->known = true;
		return true;
	}
	(void)!nl_neigh_use(n->nl, route.index, &route.via, NULL);
	return false;
}

static void way_refresh(struct node *n, struct way *w, const struct nl_link *links, int n_links)
{
	struct err e = { 0 };
	char text[IP_STR_SIZE];

	if (way_find(n, w, links, n_links, &e))
		(void)!nl_neigh_use(n->nl, w->route.index, &w->route.via,
				    NULL); /* the datapath's packets do not keep it */
	else if (!w->known)
		log_limited(LOG_WARN_, "vtep_unreachable", "address=%s error=\"%s\"",
			    ip_format(w->remote, text), e.msg);
}

void overlay_tick(struct node *n)
{
	CLEANUP(free_voidp) struct nl_link *links = NULL;
	bool changed = false;
	int n_links;

	if (!n->overlay->stale)
		return;
	n->overlay->stale = false;
	n_links = nl_links(n->nl, &links, NULL);
	for (struct way *w = n->overlay->ways; w; w = w->next) {
		struct way now = *w;

		if (way_find(n, &now, links, n_links, NULL))
			changed |= !w->known || w->route.index.num != now.route.index.num ||
				   !mac_eq(w->dmac, now.dmac) || !mac_eq(w->smac, now.smac) ||
				   w->mtu != now.mtu;
	}
	if (changed)
		node_kick_fabric(n);
}

/* ---- the NIC ---- */

/* A flat network on the NIC has attached it already. */
static bool has_network(struct node *n, const char *device)
{
	const intent_object *o;

	for (size_t pos = 0; (o = intent_next(n->intent, "network", &pos));) {
		const Demarc__V1__Network *net = o->network;
		const char *nic = *net->physical_network ?
					  config_nic_device(&n->cfg, net->physical_network) :
					  NULL;

		if (nic && !net->segmentation_id && strcmp(nic, device) == 0)
			return true;
	}
	return false;
}

static bool attach_nic(struct node *n, const struct way *w, struct err *e)
{
	char id[sizeof(UNDERLAY_ID) + IF_NAMESIZE];
	struct dp_net net = { .mtu = (uint16_t)MIN_OF(w->mtu, (unsigned)UINT16_MAX),
			      .uplink = w->route.index };
	struct dp_port port = { .ifindex = w->route.index, .flags = DP_PORT_UPLINK };

	if (has_network(n, w->device))
		return true;
	(void)snprintf(id, sizeof(id), UNDERLAY_ID "%s", w->device);
	net.net = port.net = (uint16_t)local_number(n->local, LOCAL_NETWORK, id);
	if (!net.net)
		return err_set(e, FAULT_QUOTA, NULL, "more networks than the datapath can hold") == 0;
	return dp_net_set(n->dp, &net, e) == 0 && dp_port_set(n->dp, &port, e) == 0;
}

bool overlay_keeps_network(struct node *n, const char *id)
{
	struct str device = str_of(id);

	if (!str_starts(device, STR(UNDERLAY_ID)))
		return false;
	for (const struct way *w = n->overlay->ways; w; w = w->next)
		if (w->known && strcmp(w->device, id + strlen(UNDERLAY_ID)) == 0)
			return true;
	return false;
}

/* ---- tunnels ---- */

static ifindex port_of(struct node *n, const char *network_id, const char *address)
{
	char id[ID_SIZE];
	uint32_t number;

	(void)snprintf(id, sizeof(id), "%s/%s", network_id, address);
	number = local_number(n->local, LOCAL_TUNNEL, id);
	return (ifindex){ number ? OVERLAY_PORT_BASE + (int)number : 0 };
}

static enum dp_tunnel_type type_of(const Demarc__V1__Overlay *o)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (strcmp(types[i].name, o->type) == 0)
			return types[i].type;
	return DP_TUNNEL_NONE;
}

/* A MAC of a port here that is about to leave for another node is that port's until the sweep; the far end is learned meanwhile. */
static bool set_macs(struct node *n, const char *network_id, const struct dp_tunnel *t,
		     const Demarc__V1__Vtep *v)
{
	struct err e = { 0 };
	bool good = true;

	for (size_t at = 0; at + sizeof(struct mac) <= v->macs.len; at += sizeof(struct mac)) {
		struct mac mac;

		memcpy(mac.b, v->macs.data + at, sizeof(mac.b));
		if (dp_fdb_set(n->dp, t->net, &mac, t->port, &e) < 0 && e.fault != FAULT_CONFLICT)
			good = refused(network_id, &e);
	}
	return good;
}

static bool set_tunnel(struct node *n, const intent_object *o, const Demarc__V1__Vtep *v,
		       const struct way *w)
{
	const Demarc__V1__Overlay *overlay = o->network->overlay;
	struct dp_tunnel t = { .port = port_of(n, o->id, v->address),
			       .net = (uint16_t)local_number(n->local, LOCAL_NETWORK, o->id),
			       .type = type_of(overlay),
			       .id = overlay->id,
			       .local = w->local,
			       .remote = w->remote,
			       .underlay = w->route.index,
			       .underlay_mtu = (uint16_t)MIN_OF(w->mtu, (unsigned)UINT16_MAX),
			       .smac = w->smac,
			       .dmac = w->dmac };
	struct err e = { 0 };

	if (!t.port.num)
		(void)!err_set(&e, FAULT_QUOTA, NULL, "more tunnels than there are numbers for");
	else if (!t.type)
		(void)!err_set(&e, FAULT_NOT_IMPLEMENTED, NULL,
			       "this node knows no tunnels of type '%.32s'", overlay->type);
	else if (attach_nic(n, w, &e) && dp_tunnel_set(n->dp, &t, &e) == 0)
		return set_macs(n, o->id, &t, v);
	return refused(o->id, &e);
}

struct pass {
	struct nl_link *links;
	int n_links;
	bool good;
};

static void pass_network(struct node *n, const intent_object *o, struct pass *p)
{
	const Demarc__V1__Overlay *overlay = o->network->overlay;
	struct ip_addr local, remote;

	if (!overlay || overlay->n_remotes == 0)
		return;
	if (ip_parse(str_of(overlay->local), &local) < 0) {
		log_limited(LOG_WARN_, "no_vtep", "network=%s remotes=%zu", o->id, overlay->n_remotes);
		return;
	}
	for (size_t i = 0; i < overlay->n_remotes; i++) {
		const Demarc__V1__Vtep *v = overlay->remotes[i];
		struct way *w;

		(void)!ip_parse(str_of(v->address), &remote); /* was checked when it came */
		w = local.family == remote.family ? way_get(n->overlay, local, remote) : NULL;
		if (!w)
			continue;
		if (!w->wanted)
			way_refresh(n, w, p->links, p->n_links);
		w->wanted = true;
		if (w->known)
			p->good &= set_tunnel(n, o, v, w);
		else if (clock_mono_ns() - n->started_ns < SETTLE_NS)
			p->good = false;
	}
}

bool overlay_pass(struct node *n)
{
	const intent_object *o;
	struct pass p = { .good = true };

	for (struct way *w = n->overlay->ways; w; w = w->next)
		w->wanted = false;
	p.n_links = nl_links(n->nl, &p.links, NULL);
	for (size_t pos = 0; (o = intent_next(n->intent, "network", &pos));)
		pass_network(n, o, &p);
	ways_free(n->overlay, false);
	free(p.links);
	return p.good;
}

static bool keep_tunnel(void *ctx, const char *id)
{
	struct node *n = ctx;
	struct str address, network = str_cut(str_of(id), '/', &address);
	char network_id[UUID_STR_SIZE] = "";
	const Demarc__V1__Network *net;

	(void)str_copy(network_id, sizeof(network_id), network);
	net = intent_network(n->intent, network_id);
	for (size_t i = 0; net && net->overlay && i < net->overlay->n_remotes; i++)
		if (str_eq_c(address, net->overlay->remotes[i]->address))
			return true;
	return false;
}

void overlay_prune(struct node *n)
{
	local_prune(n->local, LOCAL_TUNNEL, keep_tunnel, n);
}

const char *overlay_remote_at(struct node *n, ifindex port)
{
	const char *id = port.num > OVERLAY_PORT_BASE ?
				 local_id_find(n->local, LOCAL_TUNNEL,
					       (uint32_t)(port.num - OVERLAY_PORT_BASE)) :
				 NULL;

	return id && strchr(id, '/') ? strchr(id, '/') + 1 : NULL;
}
