/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "dp/observe.h"
#include "drop.h"
#include "sim/node.h"

/* A datapath that forwards nothing: which port is in which network, and what each chain's path is, is kept and read back. */

struct port {
	ifindex index;
	vlan_id vlan;
	uint16_t net;
	bool named;
};

struct path {
	uint16_t chain;
	uint32_t id;
	uint64_t content;
	bool named;
};

struct dp {
	struct port *ports;
	struct path *paths;
	size_t n_ports, n_paths;
	uint32_t newest_path;
};

struct dp *sim_dp_new(void)
{
	return calloc(1, sizeof(struct dp));
}

/* ---- ports ---- */

static struct port *port_find(const struct dp *dp, ifindex index, vlan_id vlan)
{
	for (size_t i = 0; i < dp->n_ports; i++)
		if (dp->ports[i].index.num == index.num && dp->ports[i].vlan.id == vlan.id)
			return &dp->ports[i];
	return NULL;
}

int dp_port_set(struct dp *dp, const struct dp_port *p, struct err *e)
{
	struct port *v = port_find(dp, p->ifindex, p->vlan);

	if (!v) {
		struct port *grown = realloc(dp->ports, (dp->n_ports + 1) * sizeof(*grown));

		if (!grown)
			return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a port");
		dp->ports = grown;
		v = &grown[dp->n_ports++];
	}
	*v = (struct port){ p->ifindex, p->vlan, p->net, true };
	return 0;
}

static void port_drop(struct dp *dp, size_t i)
{
	dp->ports[i] = dp->ports[--dp->n_ports];
}

int dp_port_del(struct dp *dp, ifindex port, struct err *e)
{
	(void)e;
	for (size_t i = dp->n_ports; i-- > 0;)
		if (dp->ports[i].index.num == port.num)
			port_drop(dp, i);
	return 0;
}

uint16_t dp_port_net(struct dp *dp, ifindex port)
{
	const struct port *v = port_find(dp, port, (vlan_id){ 0 });

	return v ? v->net : 0;
}

/* A simulated node has no NIC, hence no port behind two tags. */
vlan_id dp_pair_vlan(struct dp *dp, ifindex nic, vlan_id outer, vlan_id inner)
{
	(void)dp;
	(void)nic;
	(void)outer;
	(void)inner;
	return (vlan_id){ 0 };
}

int dp_nic_hook(struct dp *dp, ifindex nic, enum dp_hook want, struct dp_nic *ret, struct err *e)
{
	(void)dp;
	(void)nic;
	(void)want;
	(void)e;
	*ret = (struct dp_nic){ .known = true };
	(void)str_copy(ret->driver, sizeof(ret->driver), STR("simulated"));
	return 0;
}

/* ---- chains ---- */

static void add(uint64_t *h, uint64_t v)
{
	*h = (*h ^ v) * 0x100000001b3ULL; /* FNV-1a, a number at a time */
}

static void add_cidr(uint64_t *h, const struct ip_cidr *c)
{
	add(h, c->addr.family);
	add(h, c->prefix_len);
	for (size_t i = 0; i < sizeof(c->addr.b); i++)
		add(h, c->addr.b[i]);
}

static void add_hop(uint64_t *h, const struct dp_hop *hop)
{
	add(h, hop->n_pairs);
	add(h, hop->drop);
	for (size_t i = 0; i < hop->n_pairs; i++) {
		const struct dp_pair *p = &hop->pairs[i];

		add(h, (uint64_t)p->in.num << 32 | (uint32_t)p->out.num);
		add(h, (uint64_t)p->weight << 16 | p->native << 8 | p->transparent);
	}
}

static void add_classifier(uint64_t *h, const struct dp_classifier *c)
{
	add(h, (uint64_t)c->family << 16 | c->proto << 8 | c->has_sport << 1 | c->has_dport);
	add(h, (uint64_t)c->sport_min << 48 | (uint64_t)c->sport_max << 32 |
		       (uint64_t)c->dport_min << 16 | c->dport_max);
	add_cidr(h, &c->src);
	add_cidr(h, &c->dst);
	add(h, (uint64_t)c->src_port.num << 32 | (uint32_t)c->dst_port.num);
	add(h, (uint64_t)c->src_vlan.id << 16 | c->dst_vlan.id);
}

static uint64_t content_of(const struct dp_path *p)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	add(&h, p->symmetric);
	add(&h, p->n_hops);
	for (size_t i = 0; i < p->n_hops; i++)
		add_hop(&h, &p->hops[i]);
	for (size_t i = 0; i < p->n_classifiers; i++)
		add_classifier(&h, &p->classifiers[i]);
	return h;
}

static struct path *path_get(struct dp *dp, uint16_t chain)
{
	struct path *grown;

	for (size_t i = 0; i < dp->n_paths; i++)
		if (dp->paths[i].chain == chain)
			return &dp->paths[i];
	grown = realloc(dp->paths, (dp->n_paths + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	dp->paths = grown;
	grown[dp->n_paths] = (struct path){ .chain = chain };
	return &grown[dp->n_paths++];
}

int dp_chain_set(struct dp *dp, const struct dp_path *p, enum dp_flip_mode mode,
		 struct dp_flip_result *r, struct err *e)
{
	uint64_t content = content_of(p);
	struct path *path = path_get(dp, p->chain);
	bool flips;

	(void)mode;
	if (!path)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a path");
	flips = path->id == 0 || path->content != content;
	if (flips)
		path->id = ++dp->newest_path;
	path->content = content;
	path->named = true;
	r->path = path->id;
	if (flips)
		r->flip_ns = (uint64_t)clock_mono_ns();
	return flips;
}

static void path_drop(struct dp *dp, size_t i)
{
	dp->paths[i] = dp->paths[--dp->n_paths];
}

int dp_chain_del(struct dp *dp, uint16_t chain, struct err *e)
{
	(void)e;
	for (size_t i = dp->n_paths; i-- > 0;)
		if (dp->paths[i].chain == chain)
			path_drop(dp, i);
	return 0;
}

int dp_path_collect(struct dp *dp, struct dp_path_info *ret, size_t max, struct err *e)
{
	size_t n = MIN_OF(dp->n_paths, max);

	(void)e;
	for (size_t i = 0; i < n; i++)
		ret[i] = (struct dp_path_info){ dp->paths[i].id, dp->paths[i].chain, true, 0 };
	return (int)n;
}

/* ---- a pass ---- */

void dp_mark(struct dp *dp)
{
	for (size_t i = 0; i < dp->n_ports; i++)
		dp->ports[i].named = false;
	for (size_t i = 0; i < dp->n_paths; i++)
		dp->paths[i].named = false;
}

int dp_sweep(struct dp *dp, struct err *e)
{
	(void)e;
	for (size_t i = dp->n_ports; i-- > 0;)
		if (!dp->ports[i].named)
			port_drop(dp, i);
	for (size_t i = dp->n_paths; i-- > 0;)
		if (!dp->paths[i].named)
			path_drop(dp, i);
	return 0;
}

/* ---- taken, and not kept: nothing reads it back ---- */

int dp_net_set(struct dp *dp, const struct dp_net *n, struct err *e)
{
	(void)dp;
	(void)n;
	(void)e;
	return 0;
}

int dp_sg_set(struct dp *dp, uint32_t sg, const struct dp_sg_rule *rules, size_t n_rules,
	      const struct ip_addr *members, size_t n_members, struct err *e)
{
	(void)dp;
	(void)sg;
	(void)rules;
	(void)n_rules;
	(void)members;
	(void)n_members;
	(void)e;
	return 0;
}

int dp_acl_set(struct dp *dp, uint32_t id, const struct dp_acl_rule *rules, size_t n, struct err *e)
{
	(void)dp;
	(void)id;
	(void)rules;
	(void)n;
	(void)e;
	return 0;
}

int dp_addr_group_set(struct dp *dp, uint32_t id, const struct ip_cidr *v, size_t n, struct err *e)
{
	(void)dp;
	(void)id;
	(void)v;
	(void)n;
	(void)e;
	return 0;
}

int dp_meter_set(struct dp *dp, const struct dp_meter *m, struct err *e)
{
	(void)dp;
	(void)m;
	(void)e;
	return 0;
}

int dp_age(struct dp *dp, struct err *e)
{
	(void)dp;
	(void)e;
	return 0;
}

/* ---- figures: as many as a node has ---- */

static const char *const drop_names[] = {
#define X(name, id, text) id,
	DROP_TABLE(X)
#undef X
};

size_t dp_n_drop_reasons(void)
{
	return ARRAY_LEN(drop_names);
}

const char *dp_drop_reason_name(size_t reason)
{
	return reason < ARRAY_LEN(drop_names) ? drop_names[reason] : "unknown";
}

int dp_drop_totals(struct dp *dp, uint64_t *ret, size_t n, struct err *e)
{
	(void)dp;
	(void)e;
	memset(ret, 0, n * sizeof(*ret));
	return 0;
}

int dp_totals(struct dp *dp, struct dp_port_stats *ret, struct err *e)
{
	(void)dp;
	(void)e;
	*ret = (struct dp_port_stats){ .rx_pkts = (uint64_t)clock_mono_ns() >> 10 };
	return 0;
}

void dp_table_figures(struct dp *dp, struct dp_table_figures *ret)
{
	(void)dp;
	*ret = (struct dp_table_figures){ 0 };
}

void dp_losses(struct dp *dp, struct dp_losses *ret)
{
	(void)dp;
	*ret = (struct dp_losses){ 0 };
}
