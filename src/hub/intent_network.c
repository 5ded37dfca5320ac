/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/intent_build.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/types.h"

/* Networks with their subnets, and ports with their addresses. */

#define NETWORKS_HERE "(SELECT network_id FROM port WHERE node_id = ?)"

/* ---- networks ---- */

/* Two tags are in a member of their own: a node that does not know it makes a network without a NIC, not one on another VLAN. */
static int tags_fill(struct intent_build *b, struct db_rows *q, Demarc__V1__Network *n)
{
	Demarc__V1__TagPair *t = ARENA_NEW(b->arena, Demarc__V1__TagPair);

	if (!t)
		return -ENOMEM;
	demarc__v1__tag_pair__init(t);
	t->physical_network = intent_text(b, q, 3);
	t->inner = (uint32_t)db_int(q, 4);
	t->outer = (uint32_t)db_int(q, 5);
	n->tags = t;
	return 0;
}

static int network_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	Demarc__V1__Object *o = intent_object_add(b, "network", db_text(q, 0));
	Demarc__V1__Network *n = ARENA_NEW(b->arena, Demarc__V1__Network);

	(void)ctx;
	(void)e;
	if (!o || !n)
		return -ENOMEM;
	demarc__v1__network__init(n);
	n->name = intent_text(b, q, 1);
	n->mtu = (uint32_t)db_int(q, 2);
	if (!db_is_null(q, 5)) {
		if (tags_fill(b, q, n) < 0)
			return -ENOMEM;
	} else if (!db_is_null(q, 3)) { /* without a NIC the number is an overlay's: intent_overlay.c */
		n->physical_network = intent_text(b, q, 3);
		n->segmentation_id = (uint32_t)db_int(q, 4);
	}
	o->body_case = DEMARC__V1__OBJECT__BODY_NETWORK;
	o->network = n;
	return arena_failed(b->arena) ? -ENOMEM : 0;
}

static int dns_fill(struct intent_build *b, struct db_rows *q, int col, Demarc__V1__Subnet *s)
{
	CLEANUP(json_freep) json_t *list = db_json(q, col);
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		if (!json_is_string(v))
			continue;
		if (INTENT_APPEND(b, s->n_dns, s->dns, intent_dup(b, json_string_value(v))) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int routes_fill(struct intent_build *b, struct db_rows *q, int col, Demarc__V1__Subnet *s)
{
	CLEANUP(json_freep) json_t *list = db_json(q, col);
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		Demarc__V1__Route *r = ARENA_NEW(b->arena, Demarc__V1__Route);
		if (!r)
			return -ENOMEM;
		demarc__v1__route__init(r);
		r->destination = intent_dup(b, json_str(v, "destination"));
		r->nexthop = intent_dup(b, json_str(v, "nexthop"));
		if (INTENT_APPEND(b, s->n_host_routes, s->host_routes, r) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int subnet_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	size_t first = *(const size_t *)ctx;
	Demarc__V1__Object *o = intent_find(&b->objects, first, db_text(q, 0));
	Demarc__V1__Subnet *s = ARENA_NEW(b->arena, Demarc__V1__Subnet);

	(void)e;
	if (!s)
		return -ENOMEM;
	if (!o)
		return 0;
	demarc__v1__subnet__init(s);
	s->id = intent_text(b, q, 1);
	s->cidr = intent_text(b, q, 2);
	s->gateway_ip = intent_text(b, q, 3);
	if (dns_fill(b, q, 4, s) < 0 || routes_fill(b, q, 5, s) < 0)
		return -ENOMEM;
	return INTENT_APPEND(b, o->network->n_subnets, o->network->subnets, s);
}

int intent_build_networks(struct intent_build *b, struct err *e)
{
	struct db_rows *q = NULL;
	size_t first = b->objects.n;
	int rc = db_query(b->db, &q, e,
			  "SELECT id, name, mtu, physical_network, segmentation_id, outer_segmentation_id FROM network "
			  "WHERE id IN " NETWORKS_HERE " ORDER BY id",
			  "s", b->node_id);

	if (rc >= 0)
		rc = intent_each(b, q, network_row, NULL, e);
	if (rc < 0 || b->objects.n == first)
		return rc;
	rc = db_query(b->db, &q, e,
		      "SELECT network_id, id, cidr, gateway_ip, dns_nameservers, host_routes FROM subnet "
		      "WHERE network_id IN " NETWORKS_HERE " ORDER BY network_id, id",
		      "s", b->node_id);
	if (rc >= 0)
		rc = intent_each(b, q, subnet_row, &first, e);
	return rc < 0 ? rc : intent_build_overlays(b, first, e);
}

/* ---- ports ---- */

static int pairs_fill(struct intent_build *b, struct db_rows *q, int col, Demarc__V1__Port *p)
{
	CLEANUP(json_freep) json_t *list = db_json(q, col);
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		Demarc__V1__AddressPair *pair = ARENA_NEW(b->arena, Demarc__V1__AddressPair);
		if (!pair)
			return -ENOMEM;
		demarc__v1__address_pair__init(pair);
		pair->mac = intent_dup(b, json_str(v, "mac_address"));
		pair->cidr = intent_dup(b, json_str(v, "ip_address"));
		if (INTENT_APPEND(b, p->n_allowed_address_pairs, p->allowed_address_pairs, pair) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int words_fill(struct intent_build *b, struct db_rows *q, int col, size_t *n, char ***words)
{
	CLEANUP(json_freep) json_t *list = db_json(q, col);
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
		if (INTENT_APPEND(b, *n, *words, intent_dup(b, json_string_value(v))) < 0)
			return -ENOMEM;
	return 0;
}

static int limits_fill(struct intent_build *b, struct db_rows *q, int col, Demarc__V1__Port *p)
{
	CLEANUP(json_freep) json_t *limits = db_json(q, col);
	Demarc__V1__ConnectionLimits *l;

	if (json_object_size(limits) == 0)
		return 0;
	l = ARENA_NEW(b->arena, Demarc__V1__ConnectionLimits);
	if (!l)
		return -ENOMEM;
	demarc__v1__connection_limits__init(l);
	l->half_open = (uint32_t)json_int(limits, "half_open", 0);
	l->source_half_open = (uint32_t)json_int(limits, "source_half_open", 0);
	l->source_rate = (uint32_t)json_int(limits, "source_rate", 0);
	l->syn_cookies = json_bool(limits, "syn_cookies", false);
	p->connection_limits = l;
	return 0;
}

static int port_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	Demarc__V1__Object *o = intent_object_add(b, "port", db_text(q, 0));
	Demarc__V1__Port *p = ARENA_NEW(b->arena, Demarc__V1__Port);
	struct str owner = str_of(db_text(q, 6));

	(void)ctx;
	(void)e;
	if (!o || !p)
		return -ENOMEM;
	demarc__v1__port__init(p);
	p->name = intent_text(b, q, 1);
	p->network_id = intent_text(b, q, 2);
	p->mac = intent_text(b, q, 3);
	p->admin_up = db_int(q, 4) != 0;
	p->server_id = str_starts(owner, STR("compute:")) ? intent_text(b, q, 5) : intent_dup(b, "");
	p->uplink = str_eq_c(owner, "network:uplink");
	p->port_security = db_int(q, 7) != 0;
	p->storm_pps = (uint64_t)db_int(q, 11);
	if (pairs_fill(b, q, 8, p) < 0 || limits_fill(b, q, 12, p) < 0 ||
	    words_fill(b, q, 9, &p->n_guards, &p->guards) < 0 ||
	    words_fill(b, q, 10, &p->n_helpers, &p->helpers) < 0)
		return -ENOMEM;
	o->body_case = DEMARC__V1__OBJECT__BODY_PORT;
	o->port = p;
	return arena_failed(b->arena) ? -ENOMEM : 0;
}

static int ip_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	size_t first = *(const size_t *)ctx;
	Demarc__V1__Object *o = intent_find(&b->objects, first, db_text(q, 0));
	Demarc__V1__FixedIp *f = ARENA_NEW(b->arena, Demarc__V1__FixedIp);
	struct ip_cidr net;

	if (!f)
		return -ENOMEM;
	if (!o)
		return 0;
	if (cidr_parse(str_of(db_text(q, 3)), &net) < 0)
		return err_set(e, FAULT_INTERNAL, "cidr", "subnet %s has no valid CIDR", db_text(q, 1));
	demarc__v1__fixed_ip__init(f);
	f->subnet_id = intent_text(b, q, 1);
	f->ip = intent_text(b, q, 2);
	f->prefix_len = net.prefix_len;
	return INTENT_APPEND(b, o->port->n_fixed_ips, o->port->fixed_ips, f);
}

static int port_group_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	size_t first = *(const size_t *)ctx;
	Demarc__V1__Object *o = intent_find(&b->objects, first, db_text(q, 0));

	(void)e;
	if (!o)
		return 0;
	return INTENT_APPEND(b, o->port->n_security_group_ids, o->port->security_group_ids,
			     intent_text(b, q, 1));
}

int intent_build_ports(struct intent_build *b, struct err *e)
{
	struct db_rows *q = NULL;
	size_t first = b->objects.n;
	int rc = db_query(
		b->db, &q, e,
		"SELECT id, name, network_id, mac_address, admin_state_up, device_id, device_owner, "
		"port_security_enabled, allowed_address_pairs, guards, helpers, storm_pps, connection_limits FROM port WHERE node_id = ? ORDER BY id",
		"s", b->node_id);

	if (rc >= 0)
		rc = intent_each(b, q, port_row, NULL, e);
	if (rc < 0 || b->objects.n == first)
		return rc;
	rc = db_query(b->db, &q, e,
		      "SELECT a.port_id, a.subnet_id, a.ip, s.cidr FROM port p JOIN port_ip a ON a.port_id = p.id "
		      "JOIN subnet s ON s.id = a.subnet_id WHERE p.node_id = ? ORDER BY a.port_id, a.ord, a.ip",
		      "s", b->node_id);
	if (rc >= 0)
		rc = intent_each(b, q, ip_row, &first, e);
	if (rc < 0)
		return rc;
	rc = db_query(b->db, &q, e,
		      "SELECT g.port_id, g.security_group_id FROM port p JOIN port_security_group g ON g.port_id = p.id "
		      "WHERE p.node_id = ? ORDER BY g.port_id, g.security_group_id",
		      "s", b->node_id);
	if (rc >= 0)
		rc = intent_each(b, q, port_group_row, &first, e);
	if (rc >= 0)
		rc = intent_build_port_acls(b, first, e);
	return rc < 0 ? rc : intent_build_port_qos(b, first, e);
}
