/* SPDX-License-Identifier: Apache-2.0 */
#include "node/server_spec.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "node/oci.h"

#define MTU_DEFAULT 1500

unsigned network_mtu(const Demarc__V1__Network *net)
{
	return net && net->mtu ? net->mtu : MTU_DEFAULT;
}

uint64_t server_spec_disk_limit(const Demarc__V1__Server *s)
{
	return s->disk_gb ? (uint64_t)s->disk_gb << 30 : OCI_DEFAULT_LIMIT;
}

void server_spec_run(const Demarc__V1__Server *s, char *ret, size_t size)
{
	(void)snprintf(ret, size, "%s %u %u %s", s->image->sha512, s->vcpus, s->memory_mb, s->hostname);
}

static const Demarc__V1__Subnet *subnet_of(const Demarc__V1__Network *net, const char *id)
{
	for (size_t i = 0; net && i < net->n_subnets; i++)
		if (strcmp(net->subnets[i]->id, id) == 0)
			return net->subnets[i];
	return NULL;
}

static bool owns(const struct vnic *v, const struct ip_addr *a)
{
	for (size_t i = 0; i < v->n_addrs; i++)
		if (ip_eq(v->addrs[i].addr, *a))
			return true;
	return false;
}

static void add_route(struct vnic *v, struct ip_cidr dst, struct ip_addr via)
{
	if (v->n_routes < VNIC_ROUTES_MAX && !owns(v, &via))
		v->routes[v->n_routes++] = (struct vnic_route){ dst, via };
}

/* The default route of a family goes by the first vNIC whose subnet has a gateway that is not this function. */
static void add_default(struct vnic *v, const Demarc__V1__Subnet *sub, bool have[2])
{
	struct ip_addr via;
	bool *had;

	if (!*sub->gateway_ip || ip_parse(str_of(sub->gateway_ip), &via) < 0 || owns(v, &via))
		return;
	had = &have[via.family == IP_V6];
	if (*had)
		return;
	*had = true;
	add_route(v, (struct ip_cidr){ 0 }, via);
}

static void add_routes(struct vnic *v, const Demarc__V1__Port *p, const Demarc__V1__Network *net,
		       bool have[2])
{
	for (size_t i = 0; i < p->n_fixed_ips; i++) {
		const Demarc__V1__Subnet *sub = subnet_of(net, p->fixed_ips[i]->subnet_id);

		if (!sub)
			continue;
		add_default(v, sub, have);
		for (size_t k = 0; k < sub->n_host_routes; k++) {
			struct ip_cidr dst;
			struct ip_addr via;

			if (cidr_parse(str_of(sub->host_routes[k]->destination), &dst) == 0 &&
			    ip_parse(str_of(sub->host_routes[k]->nexthop), &via) == 0 &&
			    dst.addr.family == via.family)
				add_route(v, dst, via);
		}
	}
}

static uint8_t prefix_of(const Demarc__V1__FixedIp *f, const Demarc__V1__Network *net,
			 const struct ip_addr *a)
{
	const Demarc__V1__Subnet *sub = subnet_of(net, f->subnet_id);
	struct ip_cidr c;

	if (f->prefix_len)
		return (uint8_t)f->prefix_len;
	return sub && cidr_parse(str_of(sub->cidr), &c) == 0 ? c.prefix_len : ip_max_prefix(a);
}

static void fill_vnic(struct node *n, const char *port_id, const Demarc__V1__Port *p, bool have[2],
		      struct vnic *v)
{
	const Demarc__V1__Network *net = intent_network(n->intent, p->network_id);

	v->present = true;
	(void)str_copy(v->port_id, sizeof(v->port_id), str_of(port_id));
	local_port_name(port_id, v->host_name);
	v->host_index = local_port_index(n->local, port_id);
	(void)!mac_parse(str_of(p->mac), &v->mac); /* was checked when it came */
	v->mtu = network_mtu(net);
	v->up = p->admin_up;
	v->xdp = config_wants_xdp(&n->cfg);
	for (size_t i = 0; i < p->n_fixed_ips && v->n_addrs < VNIC_ADDRS_MAX; i++) {
		struct ip_cidr *c = &v->addrs[v->n_addrs];

		if (ip_parse(str_of(p->fixed_ips[i]->ip), &c->addr) < 0)
			continue;
		c->prefix_len = prefix_of(p->fixed_ips[i], net, &c->addr);
		v->n_addrs++;
	}
	add_routes(v, p, net, have);
}

bool server_spec_vnics(struct node *n, const Demarc__V1__Server *s, struct vnics *ret,
		       char *ret_missing, size_t size)
{
	bool have_default[2] = { false, false };

	vnics_clear(ret);
	for (size_t i = 0; i < s->n_vifs && i < VNICS_MAX; i++) {
		const char *id = s->vifs[i]->port_id;
		const Demarc__V1__Port *p = *id ? intent_port(n->intent, id) : NULL;

		ret->n = i + 1;
		if (!*id)
			continue;
		if (!p) {
			(void)snprintf(ret_missing, size, "port %s of vNIC %zu is not known here",
				       id, i);
			return false;
		}
		fill_vnic(n, id, p, have_default, &ret->slot[i]);
	}
	return true;
}

static size_t nics_of(struct node *n, const Demarc__V1__Server *s, struct meta_nic *nics)
{
	for (size_t i = 0; i < s->n_vifs && i < VNICS_MAX; i++) {
		const char *id = s->vifs[i]->port_id;
		const Demarc__V1__Port *p = *id ? intent_port(n->intent, id) : NULL;

		nics[i] = (struct meta_nic){ .id = p ? id : NULL, .tag = s->vifs[i]->tag, .port = p };
		if (p)
			nics[i].network = intent_network(n->intent, p->network_id);
	}
	return MIN_OF(s->n_vifs, (size_t)VNICS_MAX);
}

int server_spec_docs(struct node *n, const char *id, const Demarc__V1__Server *s,
		     struct meta_docs *ret, struct err *e)
{
	struct meta_nic nics[VNICS_MAX] = { 0 };
	size_t n_nics = nics_of(n, s, nics);

	return meta_build(id, s, nics, n_nics, ret, e);
}

void server_spec_resolv(struct node *n, const Demarc__V1__Server *s, char *ret, size_t size)
{
	size_t len = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < s->n_vifs; i++) {
		const Demarc__V1__Port *p = intent_port(n->intent, s->vifs[i]->port_id);
		const Demarc__V1__Network *net = p ? intent_network(n->intent, p->network_id) : NULL;

		for (size_t k = 0; net && k < net->n_subnets; k++)
			for (size_t d = 0; d < net->subnets[k]->n_dns; d++) {
				int r = snprintf(ret + len, size - len, "nameserver %s\n",
						 net->subnets[k]->dns[d]);

				if (r < 0 || (size_t)r >= size - len) {
					ret[len] = '\0';
					return;
				}
				len += (size_t)r;
			}
	}
}
