/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/intent_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/types.h"
#include "model/group.h"

/*
 * Security groups: those of the node's ports with their rules, and those that such a rule names as remote group with their
 * members at this site and on the node's overlays (fixed IPs and allowed address pairs). A group may be both.
 */

#define GROUPS_HERE                                                                                \
	"(SELECT g.security_group_id FROM port_security_group g JOIN port p ON p.id = g.port_id "  \
	"WHERE p.node_id = ?)"
#define REMOTE_GROUPS                                                                              \
	"(SELECT remote_group_id FROM security_group_rule WHERE remote_group_id IS NOT NULL AND "  \
	"security_group_id IN " GROUPS_HERE ")"
#define WITHIN_REACH                                                                               \
	"(p.node_id IN (SELECT id FROM node WHERE site_id = ?2) OR (p.node_id IS NOT NULL AND "    \
	"p.network_id IN (SELECT h.network_id FROM port h JOIN overlay_network o ON o.id = "       \
	"h.network_id WHERE h.node_id = ?1)))"
/* Ports in a remote group, bound to a node of this site or on an overlay that this node is on. Arguments: node, site. */
#define MEMBERS                                                                                    \
	" FROM port_security_group m JOIN port p ON p.id = m.port_id WHERE m.security_group_id "   \
	"IN " REMOTE_GROUPS " AND " WITHIN_REACH

static const struct {
	const char *name;
	uint8_t number;
} protocols[] = {
	/* IANA Assigned Internet Protocol Numbers, under the names that Neutron takes. */
	{ "tcp", 6 },	      { "udp", 17 },	   { "icmp", 1 },	 { "ipv6-icmp", 58 },
	{ "icmpv6", 58 },     { "sctp", 132 },	   { "gre", 47 },	 { "esp", 50 },
	{ "ah", 51 },	      { "igmp", 2 },	   { "ospf", 89 },	 { "vrrp", 112 },
	{ "dccp", 33 },	      { "egp", 8 },	   { "pgm", 113 },	 { "rsvp", 46 },
	{ "udplite", 136 },   { "ipip", 4 },	   { "ipv6-encap", 41 }, { "ipv6-frag", 44 },
	{ "ipv6-nonxt", 59 }, { "ipv6-opts", 60 }, { "ipv6-route", 43 },
};

int intent_protocol(const char *text, unsigned family, uint32_t *ret)
{
	uint64_t number;

	*ret = 0;
	if (!text || !*text || strcmp(text, "any") == 0)
		return 0;
	if (str_to_u64(str_of(text), 255, &number) == 0) {
		*ret = (uint32_t)number;
	} else {
		size_t i = 0;
		while (i < ARRAY_LEN(protocols) && strcmp(protocols[i].name, text) != 0)
			i++;
		if (i == ARRAY_LEN(protocols))
			return -EINVAL;
		*ret = protocols[i].number;
	}
	if (family == 6 && *ret == 1)
		*ret = 58;
	return 0;
}

static int group_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	Demarc__V1__Object *o = intent_object_add(b, "security_group", db_text(q, 0));

	(void)ctx;
	(void)e;
	if (!o)
		return -ENOMEM;
	o->security_group = ARENA_NEW(b->arena, Demarc__V1__SecurityGroup);
	if (!o->security_group)
		return -ENOMEM;
	demarc__v1__security_group__init(o->security_group);
	o->security_group->stateless = db_int(q, 1) == 0;
	o->body_case = DEMARC__V1__OBJECT__BODY_SECURITY_GROUP;
	return 0;
}

/* Columns 5 and 6. Neutron: for ICMP the range holds type and code; a missing code means any. */
static void rule_ports(struct db_rows *q, Demarc__V1__SecurityRule *r)
{
	bool icmp = r->protocol == 1 || r->protocol == 58;
	bool min = !db_is_null(q, 5), max = !db_is_null(q, 6);

	r->has_ports = min || (max && !icmp);
	if (!r->has_ports)
		return;
	r->port_min = min ? (uint32_t)db_int(q, 5) : 0;
	if (max)
		r->port_max = (uint32_t)db_int(q, 6);
	else
		r->port_max = icmp ? 256 : 65535;
}

static int rule_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	size_t first = *(const size_t *)ctx;
	Demarc__V1__Object *o = intent_find(&b->objects, first, db_text(q, 0));
	Demarc__V1__SecurityRule *r = ARENA_NEW(b->arena, Demarc__V1__SecurityRule);

	if (!r)
		return -ENOMEM;
	if (!o)
		return 0;
	demarc__v1__security_rule__init(r);
	r->id = intent_text(b, q, 1);
	r->egress = str_eq_c(str_of(db_text(q, 2)), "egress");
	r->family = str_eq_nocase(str_of(db_text(q, 3)), STR("IPv6")) ? 6 : 4;
	if (intent_protocol(db_text(q, 4), r->family, &r->protocol) < 0)
		return err_set(e, FAULT_INTERNAL, "protocol",
			       "security group rule %s has an unknown protocol", r->id);
	rule_ports(q, r);
	r->remote_cidr = intent_text(b, q, 7);
	r->remote_group_id = intent_text(b, q, 8);
	r->remote_address_group_id = intent_text(b, q, 9);
	return INTENT_APPEND(b, o->security_group->n_rules, o->security_group->rules, r);
}

static int member_ip_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	size_t first = *(const size_t *)ctx;
	Demarc__V1__Object *o = intent_find(&b->objects, first, db_text(q, 0));

	(void)e;
	if (!o)
		return 0;
	return INTENT_APPEND(b, o->security_group->n_member_ips, o->security_group->member_ips,
			     intent_text(b, q, 1));
}

static int member_pairs_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	size_t first = *(const size_t *)ctx;
	Demarc__V1__Object *o = intent_find(&b->objects, first, db_text(q, 0));
	CLEANUP(json_freep) json_t *list = db_json(q, 1);
	json_t *v;
	size_t i;

	(void)e;
	if (!o)
		return 0;
	json_array_foreach(list, i, v) {
		const char *ip = json_str(v, "ip_address");
		Demarc__V1__SecurityGroup *g = o->security_group;
		int rc = 0;

		if (ip && strchr(ip, '/'))
			rc = INTENT_APPEND(b, g->n_member_cidrs, g->member_cidrs, intent_dup(b, ip));
		else if (ip)
			rc = INTENT_APPEND(b, g->n_member_ips, g->member_ips, intent_dup(b, ip));
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int text_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Returns how many are left: each once. */
static size_t texts_sort(char **v, size_t n)
{
	size_t len = 0;

	if (n)
		qsort(v, n, sizeof(*v), text_cmp);
	for (size_t i = 0; i < n; i++)
		if (len == 0 || strcmp(v[len - 1], v[i]) != 0)
			v[len++] = v[i];
	return len;
}

/* More than a node takes is refused to whoever asked for it: an intent with such a group would be refused by the node. */
static int members_sort(const char *id, Demarc__V1__SecurityGroup *g, struct err *e)
{
	g->n_member_ips = texts_sort(g->member_ips, g->n_member_ips);
	g->n_member_cidrs = texts_sort(g->member_cidrs, g->n_member_cidrs);
	if (g->n_member_ips + g->n_member_cidrs <= GROUP_MEMBERS_MAX)
		return 0;
	return err_set(e, FAULT_CONFLICT, "remote_group_id",
		       "Security group %s would have %zu addresses where a rule names it as remote_group_id; %d is the most. "
		       "Let that rule name a remote_ip_prefix, or spread the ports over more groups.",
		       id, g->n_member_ips + g->n_member_cidrs, GROUP_MEMBERS_MAX);
}

static int build_members(struct intent_build *b, size_t first, struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(b->db, &q, e,
			  "SELECT m.security_group_id, a.ip FROM port_security_group m JOIN port p ON p.id = m.port_id "
			  "JOIN port_ip a ON a.port_id = p.id WHERE m.security_group_id IN " REMOTE_GROUPS
			  " AND " WITHIN_REACH,
			  "ss", b->node_id, b->site_id);

	if (rc >= 0)
		rc = intent_each(b, q, member_ip_row, &first, e);
	if (rc < 0)
		return rc;
	rc = db_query(b->db, &q, e,
		      "SELECT m.security_group_id, p.allowed_address_pairs" MEMBERS
		      " AND p.allowed_address_pairs <> '[]'",
		      "ss", b->node_id, b->site_id);
	if (rc >= 0)
		rc = intent_each(b, q, member_pairs_row, &first, e);
	for (size_t i = first; rc >= 0 && i < b->objects.n; i++) {
		Demarc__V1__Object *o = b->objects.items[i];

		rc = members_sort(o->id, o->security_group, e);
	}
	return rc;
}

int intent_build_groups(struct intent_build *b, struct err *e)
{
	struct db_rows *q = NULL;
	size_t first = b->objects.n;
	int rc = db_query(b->db, &q, e,
			  "SELECT id, stateful FROM security_group WHERE id IN " GROUPS_HERE
			  " OR id IN " REMOTE_GROUPS " ORDER BY id",
			  "ss", b->node_id, b->node_id);

	if (rc >= 0)
		rc = intent_each(b, q, group_row, NULL, e);
	if (rc < 0 || b->objects.n == first)
		return rc;
	rc = db_query(b->db, &q, e,
		      "SELECT security_group_id, id, direction, ethertype, protocol, port_range_min, port_range_max, "
		      "remote_ip_prefix, remote_group_id, remote_address_group_id FROM security_group_rule WHERE security_group_id IN " GROUPS_HERE
		      " ORDER BY security_group_id, id",
		      "s", b->node_id);
	if (rc >= 0)
		rc = intent_each(b, q, rule_row, &first, e);
	return rc < 0 ? rc : build_members(b, first, e);
}
