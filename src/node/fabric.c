/* SPDX-License-Identifier: Apache-2.0 */
#include "node/fabric.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "node/chains.h"
#include "node/guard.h"
#include "node/lease.h"
#include "node/native.h"
#include "node/overlay.h"
#include "node/policy.h"
#include "node/qos.h"
#include "node/server.h"
#include "node/server_spec.h"

struct fabric {
	bool incomplete; /* something could not be written in this pass: nothing is swept */
	struct {
		bool known;
		struct dp_nic nic;
	} nics[CONFIG_NICS_MAX]; /* as cfg.nics */
};

int fabric_open(struct node *n, struct err *e)
{
	n->fabric = calloc(1, sizeof(*n->fabric));
	return n->fabric ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "fabric");
}

void fabric_close(struct node *n)
{
	if (!n->fabric)
		return;
	free(n->fabric);
	n->fabric = NULL;
}

static void failed(struct node *n, const char *what, const char *id, const struct err *e)
{
	n->fabric->incomplete = true;
	log_limited(LOG_WARN_, "datapath_refused", "%s=%s error=\"%s\"", what, id, e->msg);
}

/* ---- networks ---- */

struct nic_part fabric_nic_part(const Demarc__V1__Network *net)
{
	if (net->tags)
		return (struct nic_part){ .nic = net->tags->physical_network,
					  .vlan = { (uint16_t)net->tags->inner },
					  .outer = { (uint16_t)net->tags->outer } };
	return (struct nic_part){ .nic = net->physical_network,
				  .vlan = { (uint16_t)net->segmentation_id } };
}

static ifindex nic_of(struct node *n, const Demarc__V1__Network *net)
{
	const char *nic = fabric_nic_part(net).nic;
	const char *device = *nic ? config_nic_device(&n->cfg, nic) : NULL;

	return (ifindex){ device ? (int)if_nametoindex(device) : 0 };
}

static void nic_up(struct node *n, ifindex nic)
{
	struct err e = { 0 };

	if (nl_link_flags(n->nl, nic, IFF_UP | IFF_PROMISC, IFF_UP | IFF_PROMISC, &e) < 0)
		log_limited(LOG_WARN_, "nic_refused", "ifindex=%d error=\"%s\"", nic.num, e.msg);
}

const struct dp_nic *fabric_nic(const struct node *n, size_t i)
{
	return i < n->cfg.n_nics && n->fabric->nics[i].known ? &n->fabric->nics[i].nic : NULL;
}

/* XDP or tc, by what the NIC can do; told when it is not what it was. */
static void nic_hook(struct node *n, const char *name, ifindex nic)
{
	struct dp_nic now, *was;
	struct err e = { 0 };
	size_t i = 0;

	while (i < n->cfg.n_nics && strcmp(n->cfg.nics[i].name, name) != 0)
		i++;
	if (i == n->cfg.n_nics)
		return;
	if (dp_nic_hook(n->dp, nic, n->cfg.nics[i].hook, &now, &e) < 0) {
		log_limited(LOG_WARN_, "nic_refused", "ifindex=%d error=\"%s\"", nic.num, e.msg);
		return;
	}
	was = &n->fabric->nics[i].nic;
	if (!n->fabric->nics[i].known || was->xdp != now.xdp || strcmp(was->reason, now.reason) != 0)
		log_info("nic_hook",
			 "nic=%s device=%s driver=%s hook=%s offload=%d hints=0x%x reason=%s", name,
			 n->cfg.nics[i].device, *now.driver ? now.driver : "-", now.xdp ? "xdp" : "tc",
			 (now.xdp_features & DP_NIC_XDP_HW) != 0, now.hints, LOGQ(now.reason));
	*was = now;
	n->fabric->nics[i].known = true;
}

/* The port of the API that stands for the network's NIC, or NULL. */
static const intent_object *uplink_port(struct node *n, const char *network_id)
{
	const intent_object *o;

	for (size_t pos = 0; (o = intent_next(n->intent, "port", &pos));)
		if (o->port->uplink && strcmp(o->port->network_id, network_id) == 0)
			return o;
	return NULL;
}

static void set_uplink(struct node *n, const char *id, uint16_t net, const Demarc__V1__Network *pb,
		       ifindex nic)
{
	const intent_object *port = uplink_port(n, id);
	struct nic_part part = fabric_nic_part(pb);
	struct dp_port p = { .ifindex = nic,
			     .net = net,
			     .flags = DP_PORT_UPLINK,
			     .vlan = part.vlan,
			     .outer_vlan = part.outer };
	struct err e = { 0 };

	nic_up(n, nic);
	nic_hook(n, part.nic, nic);
	if (port) {
		policy_port(n, port->port, &p);
		n->fabric->incomplete |= !guard_port(n, port->id, port->port, &p);
		n->fabric->incomplete |= !qos_port(n, port->id, port->port, &p);
	}
	if (dp_port_set(n->dp, &p, &e) < 0)
		failed(n, "network", id, &e);
}

static void set_network(struct node *n, const intent_object *o)
{
	const Demarc__V1__Network *pb = o->network;
	struct nic_part part = fabric_nic_part(pb);
	struct dp_net d = { .net = (uint16_t)local_number(n->local, LOCAL_NETWORK, o->id),
			    .mtu = (uint16_t)network_mtu(pb),
			    .uplink = nic_of(n, pb),
			    .uplink_vlan = part.vlan };
	struct err e = { 0 };

	if (*part.nic && !d.uplink.num)
		log_limited(LOG_WARN_, "nic_absent", "network=%s physical_network=%s", o->id, part.nic);
	if (!d.net || dp_net_set(n->dp, &d, &e) < 0)
		failed(n, "network", o->id, &e);
	else if (d.uplink.num)
		set_uplink(n, o->id, d.net, pb, d.uplink);
}

/* ---- security groups ---- */

static void rule_of(struct node *n, const Demarc__V1__SecurityRule *r, struct dp_sg_rule *ret)
{
	*ret = (struct dp_sg_rule){
		.id = policy_rule_number(r->id),
		.egress = r->egress,
		.family = (uint8_t)r->family,
		.proto = (uint8_t)r->protocol,
		.has_ports = r->has_ports,
		.port_min = (uint16_t)r->port_min,
		.port_max = (uint16_t)r->port_max,
	};
	if (*r->remote_cidr)
		(void)!cidr_parse(str_of(r->remote_cidr), &ret->remote); /* was checked when it came */
	if (*r->remote_group_id) {
		ret->remote_group = policy_members(n, r->remote_group_id);
		if (!ret->remote_group)
			ret->remote_sg = local_number(n->local, LOCAL_SG, r->remote_group_id);
	}
	if (*r->remote_address_group_id)
		ret->remote_group =
			local_number(n->local, LOCAL_ADDRESS_GROUP, r->remote_address_group_id);
}

static void set_group(struct node *n, const intent_object *o)
{
	const Demarc__V1__SecurityGroup *g = o->security_group;
	CLEANUP(free_voidp) struct dp_sg_rule *rules = calloc(g->n_rules + 1, sizeof(*rules));
	CLEANUP(free_voidp) struct ip_addr *members = calloc(g->n_member_ips + 1, sizeof(*members));
	struct err e = { 0 };

	if (!rules || !members)
		return;
	for (size_t i = 0; i < g->n_rules; i++)
		rule_of(n, g->rules[i], &rules[i]);
	for (size_t i = 0; i < g->n_member_ips; i++)
		(void)!ip_parse(str_of(g->member_ips[i]), &members[i]);
	if (dp_sg_set(n->dp, local_number(n->local, LOCAL_SG, o->id), rules, g->n_rules, members,
		      g->n_member_ips, &e) < 0)
		failed(n, "security_group", o->id, &e);
}

/* ---- ports ---- */

static void add_addr(struct dp_port *d, struct ip_cidr ip, struct mac mac, bool own)
{
	if (d->n_addrs < DP_PORT_ADDRS_MAX)
		d->addrs[d->n_addrs++] = (struct dp_addr){ .ip = ip, .mac = mac, .own = own };
}

static void add_addrs(const Demarc__V1__Port *p, struct dp_port *d)
{
	for (size_t i = 0; i < p->n_fixed_ips; i++) {
		struct ip_cidr c;

		if (ip_parse(str_of(p->fixed_ips[i]->ip), &c.addr) < 0)
			continue;
		c.prefix_len = ip_max_prefix(&c.addr);
		add_addr(d, c, d->mac, true);
	}
	for (size_t i = 0; i < p->n_allowed_address_pairs; i++) {
		const Demarc__V1__AddressPair *a = p->allowed_address_pairs[i];
		struct ip_cidr c;
		struct mac mac = d->mac;

		if (cidr_parse(str_of(a->cidr), &c) < 0) {
			if (ip_parse(str_of(a->cidr), &c.addr) < 0)
				continue;
			c.prefix_len = ip_max_prefix(&c.addr);
		}
		if (*a->mac)
			(void)!mac_parse(str_of(a->mac), &mac);
		add_addr(d, c, mac, false);
	}
}

static void set_port(struct node *n, const char *id, const Demarc__V1__Port *p)
{
	struct dp_port d = { .ifindex = native_port_index(n, id),
			     .net = (uint16_t)local_number_find(n->local, LOCAL_NETWORK, p->network_id) };
	struct err e = { 0 };

	if (!d.net || !d.ifindex.num) {
		n->fabric->incomplete = true;
		return;
	}
	(void)!mac_parse(str_of(p->mac), &d.mac);
	d.flags = (uint16_t)((p->port_security ? DP_PORT_SECURITY : 0) |
			     (p->admin_up ? 0 : DP_PORT_ADMIN_DOWN) |
			     (config_wants_xdp(&n->cfg) ? DP_PORT_XDP_OUT : 0));
	add_addrs(p, &d);
	policy_port(n, p, &d);
	n->fabric->incomplete |= !guard_port(n, id, p, &d);
	n->fabric->incomplete |= d.ifindex.num >= DP_PSEUDO_PORT ? !native_port(n, id, p, &d) :
								   !qos_port(n, id, p, &d);
	if (dp_port_set(n->dp, &d, &e) < 0)
		failed(n, "port", id, &e);
}

static void set_server_ports(struct node *n, const struct server *s)
{
	if (!server_is_wired(s)) {
		const Demarc__V1__Server *pb = intent_server(n->intent, s->id);

		/* Its interfaces come (back) soon: its flow records are not to be swept meanwhile. */
		if (pb && pb->power == DEMARC__V1__POWER__POWER_RUNNING)
			n->fabric->incomplete = true;
		return;
	}
	for (size_t i = 0; i < s->wired.n; i++) {
		const struct vnic *v = &s->wired.slot[i];
		const Demarc__V1__Port *p = v->present ? intent_port(n->intent, v->port_id) : NULL;

		/* A port that changes from a container to a native function, or back, has another number then. */
		if (p && native_port_index(n, v->port_id).num == v->host_index.num)
			set_port(n, v->port_id, p);
	}
}

/* ---- interfaces that nobody wants ---- */

static bool host_end_wanted(struct node *n, const struct nl_link *l)
{
	for (const struct server *s = n->servers; s; s = s->next) {
		if (s->job)
			return true; /* being made or taken away right now: another pass looks again */
		for (size_t i = 0; i < s->want.n; i++)
			if (s->want.slot[i].present && strcmp(s->want.slot[i].host_name, l->name) == 0)
				return true;
		for (size_t i = 0; i < s->wired.n; i++)
			if (s->wired.slot[i].present && strcmp(s->wired.slot[i].host_name, l->name) == 0)
				return true;
	}
	return false;
}

static void sweep_links(struct node *n)
{
	CLEANUP(free_voidp) struct nl_link *links = NULL;
	int count = nl_links(n->nl, &links, NULL);

	for (int i = 0; i < count; i++) {
		const struct nl_link *l = &links[i];

		if (l->index.num > LOCAL_PORT_BASE && strcmp(l->kind, "veth") == 0 &&
		    strncmp(l->name, "dm", 2) == 0 && !host_end_wanted(n, l)) {
			log_info("interface_swept", "name=%s", l->name);
			(void)!nl_link_del(n->nl, l->index, NULL);
		}
	}
}

/* ---- passes ---- */

static bool keep_object(void *ctx, const char *id, const char *kind)
{
	struct node *n = ctx;

	return intent_find(n->intent, kind, id) != NULL;
}
static bool keep_network(void *ctx, const char *id)
{
	return keep_object(ctx, id, "network") || overlay_keeps_network(ctx, id);
}
static bool keep_port(void *ctx, const char *id)
{
	return keep_object(ctx, id, "port");
}
static bool keep_sg(void *ctx, const char *id)
{
	struct node *n = ctx;
	const intent_object *o;

	if (keep_object(ctx, id, "security_group") || policy_keeps_group(n, id))
		return true;
	/* Named by a port or a rule before it came itself. */
	for (size_t pos = 0; (o = intent_next(n->intent, "port", &pos));)
		for (size_t i = 0; i < o->port->n_security_group_ids; i++)
			if (strcmp(o->port->security_group_ids[i], id) == 0)
				return true;
	return false;
}

void fabric_pass(struct node *n)
{
	struct fabric *f = n->fabric;
	const intent_object *o;
	struct err e = { 0 };

	f->incomplete = n->frozen;
	natives_pass(n);
	dp_mark(n->dp);
	lease_pass(n);
	for (size_t pos = 0; (o = intent_next(n->intent, "network", &pos));)
		set_network(n, o);
	f->incomplete |= !overlay_pass(n);
	f->incomplete |= !policy_pass(n);
	for (size_t pos = 0; (o = intent_next(n->intent, "security_group", &pos));)
		set_group(n, o);
	for (const struct server *s = n->servers; s; s = s->next)
		set_server_ports(n, s);
	natives_verify(n);
	chains_name_all(n);
	if (!f->incomplete) {
		if (dp_sweep(n->dp, &e) < 0)
			log_limited(LOG_WARN_, "datapath_sweep", "error=\"%s\"", e.msg);
		local_prune(n->local, LOCAL_NETWORK, keep_network, n);
		local_prune(n->local, LOCAL_PORT, keep_port, n);
		local_prune(n->local, LOCAL_SG, keep_sg, n);
		policy_prune(n);
		qos_prune(n);
		overlay_prune(n);
	}
	if (!n->frozen)
		sweep_links(n);
}

/* The interface of a port; native functions leave nothing that has to go before the sweep. */
static void del_port(struct node *n, const char *id)
{
	uint32_t number = local_number_find(n->local, LOCAL_PORT, id);
	struct err e = { 0 };

	if (number && dp_port_del(n->dp, (ifindex){ LOCAL_PORT_BASE + (int)number }, &e) < 0)
		failed(n, "port", id, &e);
}

void fabric_server_down(struct node *n, struct server *s)
{
	const struct vnics *v = s->wired.n ? &s->wired : &s->want;

	for (size_t i = 0; i < v->n; i++)
		if (v->slot[i].present && !intent_port(n->intent, v->slot[i].port_id))
			del_port(n, v->slot[i].port_id);
}

void fabric_detached(struct node *n, const struct vnics *old, const struct vnics *want)
{
	for (size_t i = 0; i < old->n; i++) {
		bool stays = !old->slot[i].present;

		for (size_t k = 0; k < want->n && !stays; k++)
			stays = want->slot[k].present &&
				strcmp(want->slot[k].port_id, old->slot[i].port_id) == 0;
		if (!stays)
			del_port(n, old->slot[i].port_id);
	}
}

/* ---- looking ---- */

const char *fabric_network_of(struct node *n, const char *port_id)
{
	bool known = local_number_find(n->local, LOCAL_PORT, port_id) != 0;
	uint16_t net = known ? dp_port_net(n->dp, native_port_index(n, port_id)) : 0;
	const char *id = net ? local_id_find(n->local, LOCAL_NETWORK, net) : NULL;

	return id ? id : "";
}

bool fabric_verify(struct node *n, struct server *s)
{
	bool good = true;

	for (size_t i = 0; i < s->want.n; i++) {
		const struct vnic *v = &s->want.slot[i];
		const Demarc__V1__Port *p = v->present ? intent_port(n->intent, v->port_id) : NULL;
		const char *found = v->present ? fabric_network_of(n, v->port_id) : "";

		if (!p || strcmp(found, p->network_id) == 0)
			continue;
		vnic_diff_add(&s->seen[i], "network", p->network_id, *found ? found : "none");
		good = false;
	}
	return good;
}

bool fabric_port_place(struct node *n, const char *port_id, ifindex *ret, vlan_id *ret_vlan)
{
	const Demarc__V1__Port *p = intent_port(n->intent, port_id);
	const Demarc__V1__Network *net = p ? intent_network(n->intent, p->network_id) : NULL;
	struct nic_part part;

	if (!p)
		return false;
	*ret_vlan = (vlan_id){ 0 };
	if (!p->uplink) {
		*ret = native_port_index(n, port_id);
		return ret->num != 0;
	}
	if (!net)
		return false;
	part = fabric_nic_part(net);
	*ret = nic_of(n, net);
	*ret_vlan = part.outer.id ? dp_pair_vlan(n->dp, *ret, part.outer, part.vlan) : part.vlan;
	return ret->num != 0 && (ret_vlan->id || !part.vlan.id);
}

const char *fabric_port_at(struct node *n, ifindex index)
{
	const intent_object *o;

	if (index.num >= DP_PSEUDO_PORT)
		return local_id_find(n->local, LOCAL_PORT, (uint32_t)(index.num - DP_PSEUDO_PORT));
	if (index.num > LOCAL_PORT_BASE)
		return local_id_find(n->local, LOCAL_PORT, (uint32_t)(index.num - LOCAL_PORT_BASE));
	for (size_t pos = 0; (o = intent_next(n->intent, "port", &pos));) {
		const Demarc__V1__Network *net =
			o->port->uplink ? intent_network(n->intent, o->port->network_id) : NULL;

		if (net && nic_of(n, net).num == index.num)
			return o->id;
	}
	return NULL;
}
