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
#include "model/overlay.h"
#include "node/fabric.h"
#include "node/server_spec.h"
#include "node/watch.h"

#define UNDERLAY_ID                                                                                \
	"underlay:" /* and the NIC's name: the network of a NIC that carries tunnels only */
#define ID_SIZE (UUID_STR_SIZE + IP_STR_SIZE + 8) /* with the key of a logical port */
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

/* A tunnel that is not there, told once for each reason. */
struct complaint {
	struct complaint *next;
	char id[ID_SIZE];
	char text[ERR_MSG_SIZE];
	bool again; /* in this pass */
	bool tried; /* once more */
};

struct overlay {
	struct way *ways;
	struct complaint *complaints;
	struct nl *nl; /* notifications */
	struct watch *watch;
	bool stale; /* routes or neighbours have changed */
};

/* A far end: a node's, or one that is no node. */
struct far {
	const Demarc__V1__Vtep *at;
	const Demarc__V1__ForeignVtep *foreign; /* NULL: a node's */
	const Demarc__V1__OvnPort *port; /* one of it; NULL: all others, and what is flooded */
};

static const enum dp_tunnel_type dp_types[OVERLAY_N] = {
	[OVERLAY_VXLAN] = DP_TUNNEL_VXLAN,	 [OVERLAY_GENEVE] = DP_TUNNEL_GENEVE,
	[OVERLAY_GRE] = DP_TUNNEL_GRE,		 [OVERLAY_VXLAN_GPE] = DP_TUNNEL_VXLAN_GPE,
	[OVERLAY_NVGRE] = DP_TUNNEL_NVGRE,	 [OVERLAY_MPLS_UDP] = DP_TUNNEL_MPLS_UDP,
	[OVERLAY_MPLS_GRE] = DP_TUNNEL_MPLS_GRE, [OVERLAY_MPLS] = DP_TUNNEL_MPLS,
};

/* ---- complaints ---- */

static void tunnel_id(char ret[static ID_SIZE], const char *network_id, const char *address)
{
	(void)snprintf(ret, ID_SIZE, "%s/%s", network_id, address);
}

static struct complaint *complaint_get(struct overlay *o, const char *id)
{
	struct complaint *c = o->complaints;

	while (c && strcmp(c->id, id) != 0)
		c = c->next;
	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	(void)str_copy(c->id, sizeof(c->id), str_of(id));
	c->next = o->complaints;
	o->complaints = c;
	return c;
}

static struct complaint *complain(struct node *n, const char *network_id, const char *address)
{
	char id[ID_SIZE];
	struct complaint *c;

	tunnel_id(id, network_id, address);
	c = complaint_get(n->overlay, id);
	if (c)
		c->again = true;
	return c;
}

/* address "": of the node's own end. */
static void refused(struct node *n, const char *network_id, const char *address, const struct err *e)
{
	struct complaint *c = complain(n, network_id, address);

	if (!c || strcmp(c->text, e->msg) == 0)
		return;
	(void)str_copy(c->text, sizeof(c->text), str_of(e->msg));
	log_limited(LOG_WARN_, "tunnel_refused", "network=%s remote=%s error=\"%s\"", network_id,
		    *address ? address : "-", e->msg);
	node_event(n, "tunnel_refused", "warning", "network", network_id, "tunnel to %s: %s",
		   *address ? address : "any other end", e->msg);
}

/* A tunnel's ends and number may be those of one that goes with the next sweep: one more pass before anything is said. True: it was asked for. */
static bool once_more(struct node *n, const char *network_id, const char *address)
{
	struct complaint *c = complain(n, network_id, address);

	if (!c || c->tried)
		return false;
	c->tried = true;
	node_kick_fabric(n);
	return true;
}

static void complaints_free(struct overlay *o, bool all)
{
	for (struct complaint **p = &o->complaints; *p;) {
		struct complaint *c = *p;

		if (!all && c->again) {
			c->again = false;
			p = &c->next;
			continue;
		}
		*p = c->next;
		free(c);
	}
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
	n->overlay->watch = watch_start(n->loop, nl_fd(n->overlay->nl), on_routes, n);
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
	complaints_free(n->overlay, true);
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
		struct nic_part part = fabric_nic_part(o->network);
		const char *nic = *part.nic ? config_nic_device(&n->cfg, part.nic) : NULL;

		if (nic && !part.vlan.id && strcmp(nic, device) == 0)
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

static ifindex port_of(struct node *n, const char *network_id, const struct far *f)
{
	char id[ID_SIZE];
	uint32_t number;

	if (f->port)
		(void)snprintf(id, sizeof(id), "%s/%s#%u", network_id, f->at->address, f->port->key);
	else
		tunnel_id(id, network_id, f->at->address);
	number = local_number(n->local, LOCAL_TUNNEL, id);
	return (ifindex){ number ? OVERLAY_PORT_BASE + (int)number : 0 };
}

/* A MAC of a port here that is about to leave for another node is that port's until the sweep; the far end is learned meanwhile. */
static bool set_macs(struct node *n, const char *network_id, const struct dp_tunnel *t,
		     const struct far *f)
{
	const ProtobufCBinaryData *macs = f->port ? &f->port->macs : &f->at->macs;
	struct err e = { 0 };
	bool good = true;

	for (size_t at = 0; at + sizeof(struct mac) <= macs->len; at += sizeof(struct mac)) {
		struct mac mac;

		memcpy(mac.b, macs->data + at, sizeof(mac.b));
		if (dp_fdb_set(n->dp, t->net, &mac, t->port, &e) < 0 && e.fault != FAULT_CONFLICT) {
			refused(n, network_id, f->at->address, &e);
			good = false;
		}
	}
	return good;
}

/* RFC 8300: what a path is when nobody has said so. */
static void set_nsh(struct dp_tunnel *t, const Demarc__V1__Nsh *v)
{
	t->nsh_path = v && v->path ? v->path : t->id;
	t->nsh_index = (uint8_t)(v && v->index ? v->index : OVERLAY_NSH_INDEX_MAX);
	t->nsh_md_type = (uint8_t)(v && v->md_type ? v->md_type : 1);
	if (!v || !v->context.len || v->context.len > sizeof(t->nsh_context))
		return;
	memcpy(t->nsh_context, v->context.data, v->context.len);
	t->nsh_context_len = t->nsh_md_type == 2 ? (uint8_t)v->context.len : 0;
}

static void set_foreign(struct dp_tunnel *t, const Demarc__V1__ForeignVtep *f)
{
	t->no_flood = f->no_flood;
	t->ovn_in_port = (uint16_t)f->ovn_ingress_port;
	t->ovn_out_port = (uint16_t)f->ovn_egress_port;
	for (; t->n_labels < f->n_labels && t->n_labels < ARRAY_LEN(t->labels); t->n_labels++)
		t->labels[t->n_labels] = f->labels[t->n_labels];
}

/* Only what is for the port goes there: the tunnel to all of them floods. */
static void set_ovn_port(struct dp_tunnel *t, const Demarc__V1__OvnPort *p)
{
	t->no_flood = true;
	t->ovn_from = t->ovn_out_port = (uint16_t)p->key;
}

static int check_tunnel(const struct dp_tunnel *t, const struct overlay_type *type,
			const struct way *w, const char *type_name, struct err *e)
{
	char via[IP_STR_SIZE];

	if (!t->port.num)
		return err_set(e, FAULT_QUOTA, NULL, "more tunnels than there are numbers for");
	if (!type)
		return err_set(e, FAULT_NOT_IMPLEMENTED, NULL,
			       "this release of the node knows no tunnels of type '%.32s': update it",
			       type_name);
	if ((type->flags & OVERLAY_ON_LINK) && !ip_eq(w->route.via, w->remote))
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "%s has no IP header, so its ends are on one link, and this one is behind %s: take %s-udp",
			       type->name, ip_format(w->route.via, via), type->name);
	return 0;
}

/* False: nothing is to be swept in this pass. */
static bool set_tunnel(struct node *n, const intent_object *o, const struct far *f, const struct way *w)
{
	const Demarc__V1__Overlay *overlay = o->network->overlay;
	const char *type_name = f->foreign ? f->foreign->type : overlay->type;
	const struct overlay_type *type = overlay_type_find(type_name);
	struct dp_tunnel t = { .port = port_of(n, o->id, f),
			       .net = (uint16_t)local_number(n->local, LOCAL_NETWORK, o->id),
			       .type = type ? dp_types[type->kind] : DP_TUNNEL_NONE,
			       .id = f->foreign ? f->foreign->id : overlay->id,
			       .local = w->local,
			       .remote = w->remote,
			       .underlay = w->route.index,
			       .underlay_mtu = (uint16_t)MIN_OF(w->mtu, (unsigned)UINT16_MAX),
			       .smac = w->smac,
			       .dmac = w->dmac };
	struct err e = { 0 };

	if (type && (type->flags & OVERLAY_NSH))
		set_nsh(&t, overlay->nsh);
	if (f->foreign)
		set_foreign(&t, f->foreign);
	if (f->port)
		set_ovn_port(&t, f->port);
	if (check_tunnel(&t, type, w, type_name, &e) == 0 && attach_nic(n, w, &e) &&
	    dp_tunnel_set(n->dp, &t, &e) == 0)
		return set_macs(n, o->id, &t, f);
	if (e.fault != FAULT_CONFLICT || !once_more(n, o->id, f->at->address))
		refused(n, o->id, f->at->address, &e);
	/* What will not be otherwise in the next pass does not keep the sweep from what is left of earlier ones. */
	return e.fault == FAULT_CONFLICT || e.fault == FAULT_BAD_REQUEST ||
	       e.fault == FAULT_NOT_IMPLEMENTED;
}

struct pass {
	struct nl_link *links;
	int n_links;
	bool good;
};

static void pass_far(struct node *n, const intent_object *o, struct ip_addr local,
		     const struct far *f, struct pass *p)
{
	struct ip_addr remote = { 0 };
	struct err e = { 0 };
	struct way *w;

	(void)!ip_parse(str_of(f->at->address), &remote); /* was checked when it came */
	if (local.family != remote.family) {
		(void)!err_set(&e, FAULT_BAD_REQUEST, NULL,
			       "it is an address of IPv%d and this node's VTEP is one of IPv%d: both must be of one family",
			       remote.family, local.family);
		refused(n, o->id, f->at->address, &e);
		return;
	}
	w = way_get(n->overlay, local, remote);
	if (!w)
		return;
	if (!w->wanted)
		way_refresh(n, w, p->links, p->n_links);
	w->wanted = true;
	if (w->known)
		p->good &= set_tunnel(n, o, f, w);
	else if (clock_mono_ns() - n->started_ns < SETTLE_NS)
		p->good = false;
}

static void pass_foreign(struct node *n, const intent_object *o, struct ip_addr local,
			 const Demarc__V1__ForeignVtep *v, struct pass *p)
{
	struct far f = { .at = v->at, .foreign = v };

	pass_far(n, o, local, &f, p);
	for (size_t i = 0; i < v->n_ovn_ports; i++) {
		f.port = v->ovn_ports[i];
		pass_far(n, o, local, &f, p);
	}
}

static void pass_network(struct node *n, const intent_object *o, struct pass *p)
{
	const Demarc__V1__Overlay *overlay = o->network->overlay;
	struct ip_addr local;
	struct err e = { 0 };

	if (!overlay || overlay->n_remotes + overlay->n_foreign == 0)
		return;
	if (ip_parse(str_of(overlay->local), &local) < 0) {
		(void)!err_set(&e, FAULT_BAD_REQUEST, NULL,
			       "this node has no VTEP: demarc node set NODE --vtep ADDRESS");
		refused(n, o->id, "", &e);
		return;
	}
	for (size_t i = 0; i < overlay->n_remotes; i++)
		pass_far(n, o, local, &(struct far){ .at = overlay->remotes[i] }, p);
	for (size_t i = 0; i < overlay->n_foreign; i++)
		pass_foreign(n, o, local, overlay->foreign[i], p);
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
	complaints_free(n->overlay, false);
	free(p.links);
	return p.good;
}

static bool has_ovn_port(const Demarc__V1__ForeignVtep *f, struct str key)
{
	uint64_t number;

	if (!key.len)
		return true;
	if (str_to_u64(key, OVERLAY_OVN_PORT_MAX, &number) < 0)
		return false;
	for (size_t i = 0; i < f->n_ovn_ports; i++)
		if (f->ovn_ports[i]->key == number)
			return true;
	return false;
}

static bool keep_tunnel(void *ctx, const char *id)
{
	struct node *n = ctx;
	struct str key, rest, network = str_cut(str_of(id), '/', &rest),
			      address = str_cut(rest, '#', &key);
	char network_id[UUID_STR_SIZE] = "";
	const Demarc__V1__Network *net;

	(void)str_copy(network_id, sizeof(network_id), network);
	net = intent_network(n->intent, network_id);
	for (size_t i = 0; net && net->overlay && i < net->overlay->n_remotes; i++)
		if (str_eq_c(address, net->overlay->remotes[i]->address))
			return true;
	for (size_t i = 0; net && net->overlay && i < net->overlay->n_foreign; i++)
		if (str_eq_c(address, net->overlay->foreign[i]->at->address))
			return has_ovn_port(net->overlay->foreign[i], key);
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
