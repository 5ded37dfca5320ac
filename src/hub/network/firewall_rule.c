/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/firewall.h"

#include <string.h>

#include "base/json.h"
#include "hub/network/address_group.h"
#include "model/frame.h"
#include "model/tcp_flags.h"

static const char *const actions[] = { "allow", "deny", "reject", NULL };

#define OPTIONAL (ATTR_RW | ATTR_FILTER | ATTR_NULLABLE)

/* Ports are given as numbers or text; the text is what is stored. */
static const struct attr attrs[] = {
	NET_ATTR_ID,
	NET_ATTR_NAME,
	NET_ATTR_DESCRIPTION,
	NET_ATTR_PROJECT,
	{ "shared", "shared", ATTR_BOOL, ATTR_RW | ATTR_FILTER | ATTR_ADMIN, .dflt = "false" },
	{ "enabled", "enabled", ATTR_BOOL, ATTR_RW | ATTR_FILTER, .dflt = "true" },
	{ "action", "action", ATTR_ENUM, ATTR_RW | ATTR_FILTER | ATTR_SORT, .choices = actions,
	  .dflt = "\"deny\"" },
	{ "ip_version", "ip_version", ATTR_INT, ATTR_RW | ATTR_FILTER, 4, 6, .dflt = "4" },
	{ "protocol", "protocol", ATTR_STR, OPTIONAL },
	{ "source_ip_address", "source_ip_address", ATTR_STR, OPTIONAL },
	{ "destination_ip_address", "destination_ip_address", ATTR_STR, OPTIONAL },
	{ "source_port", NULL, ATTR_ANY, ATTR_RW | ATTR_NULLABLE },
	{ "destination_port", NULL, ATTR_ANY, ATTR_RW | ATTR_NULLABLE },
	{ "source_port_text", "source_port", ATTR_STR, ATTR_HIDDEN },
	{ "destination_port_text", "destination_port", ATTR_STR, ATTR_HIDDEN },
	{ "source_firewall_group_id", NULL, ATTR_ANY, ATTR_RW | ATTR_NULLABLE },
	{ "destination_firewall_group_id", NULL, ATTR_ANY, ATTR_RW | ATTR_NULLABLE },
	{ "demarc:source_address_group_id", "source_address_group_id", ATTR_UUID, OPTIONAL },
	{ "demarc:destination_address_group_id", "destination_address_group_id", ATTR_UUID, OPTIONAL },
	{ "demarc:icmp_type", "icmp_type", ATTR_INT, OPTIONAL, 0, 255 },
	{ "demarc:icmp_code", "icmp_code", ATTR_INT, OPTIONAL, 0, 255 },
	{ "demarc:tcp_flags", "tcp_flags", ATTR_STR, OPTIONAL, .max = 64 },
	{ "demarc:dscp", "dscp", ATTR_INT, OPTIONAL, 0, 63 },
	{ "demarc:vlan", "vlan", ATTR_INT, OPTIONAL, 1, 4094 },
	{ "firewall_policy_id", NULL, ATTR_ANY, 0 },
	{ "position", NULL, ATTR_ANY, 0 },
	NET_ATTR_REVISION,
	NET_ATTR_TIMES,
	{ 0 },
};

/* Everything below checks `now`, the row as it will be, and writes canonical values into `out`, what is stored of it. */

static int check_protocol(json_t *out, const json_t *now, l4_proto *ret, struct err *e)
{
	const char *s = json_str(now, "protocol");
	char lower[32];

	ret->num = 0;
	if (!s || !*s || str_eq_nocase(str_of(s), STR("any")))
		return json_object_set_new(out, "protocol", json_null());
	if (str_copy(lower, sizeof(lower), str_of(s)) < 0)
		return neutron_err(e, NEUTRON_FW_RULE_PROTOCOL, "protocol", lower);
	for (char *c = lower; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	if (l4_proto_parse(str_of(lower), ret) < 0)
		return neutron_err(e, NEUTRON_FW_RULE_PROTOCOL, "protocol", lower);
	/* 0 means any to the datapath, and no packet that it classifies has it. */
	return json_object_set_new(out, "protocol", ret->num ? json_string(lower) : json_null());
}

/* A bare address stays bare, as FWaaS shows it. */
static int check_address(json_t *out, const json_t *now, const char *name, struct err *e)
{
	const char *s = json_str(now, name);
	char text[CIDR_STR_SIZE];
	struct ip_addr a;
	struct ip_cidr c;

	if (!s)
		return 0;
	if (ip_parse(str_of(s), &a) == 0) {
		(void)ip_format(a, text);
	} else if (cidr_parse(str_of(s), &c) == 0) {
		a = c.addr = cidr_network(c);
		(void)cidr_format(c, text);
	} else {
		return neutron_err(e, NEUTRON_INVALID_FOR, name, name,
				   "it is not a valid IP address or subnet");
	}
	if (a.family != json_int(now, "ip_version", 4))
		return neutron_err(e, NEUTRON_FW_RULE_FAMILY, name, name);
	return json_object_set_new(out, name, json_string(text));
}

static bool has_ports(l4_proto p)
{
	static const uint8_t nums[] = { 6, 17, 33, 132, 136 };

	return memchr(nums, p.num, sizeof(nums)) != NULL;
}

static bool is_icmp(l4_proto p)
{
	return p.num == 1 || p.num == 58;
}

/* "80", 80 or "80:90". */
static int check_port(struct req *r, json_t *out, const char *name, const char *text_name,
		      const json_t *v, struct err *e)
{
	const char *s = json_is_integer(v) ? net_json_text(r, v) : json_string_value(v);
	struct str last, first = str_cut(str_of(s), ':', &last);
	uint64_t min, max;

	if (!s || !*s)
		return json_is_null(v) || s ?
			       json_object_set_new(out, text_name, json_null()) :
			       neutron_err(e, NEUTRON_FW_RULE_PORT_VALUE, name, net_json_text(r, v));
	if (str_to_u64(first, 65535, &min) < 0 ||
	    (strchr(s, ':') ? str_to_u64(last, 65535, &max) < 0 || max < min : 0))
		return neutron_err(e, NEUTRON_FW_RULE_PORT_VALUE, name, net_json_text(r, v));
	return json_object_set_new(out, text_name, json_string(s));
}

static int check_ports(struct req *r, json_t *out, const json_t *now, l4_proto proto, struct err *e)
{
	static const char *const names[][2] = { { "source_port", "source_port_text" },
						{ "destination_port", "destination_port_text" } };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const json_t *given = json_object_get(out, names[i][0]);
		int rc = given ? check_port(r, out, names[i][0], names[i][1], given, e) : 0;
		const char *text = json_str(given ? out : now, names[i][1]);

		if (rc < 0)
			return rc;
		if (text && is_icmp(proto))
			return neutron_err(e, NEUTRON_FW_RULE_ICMP, names[i][0],
					   "Source port, destination port");
		if (text && !has_ports(proto))
			return neutron_err(e, NEUTRON_FW_RULE_PORTS, names[i][0]);
	}
	return 0;
}

static int refuse(struct err *e, const char *field, const char *why)
{
	return neutron_err(e, NEUTRON_INVALID_FOR, field, field, why);
}

/* What only packets of one protocol have. */
static int check_headers(const json_t *now, l4_proto proto, struct err *e)
{
	const char *flags = json_str(now, "demarc:tcp_flags");
	bool type = json_is_integer(json_object_get(now, "demarc:icmp_type")),
	     code = json_is_integer(json_object_get(now, "demarc:icmp_code"));
	uint8_t mask, value;

	if (type && !is_icmp(proto))
		return refuse(e, "demarc:icmp_type", "it needs the protocol icmp");
	if (code && !type)
		return refuse(e, "demarc:icmp_code", "it needs demarc:icmp_type");
	if (flags && proto.num != 6)
		return refuse(e, "demarc:tcp_flags", "it needs the protocol tcp");
	if (flags && tcp_flags_parse(str_of(flags), &mask, &value) < 0)
		return refuse(e, "demarc:tcp_flags",
			      "it must be flags joined by ',', '!' before those that must not be set: 'syn,!ack'");
	return 0;
}

static int check_groups(struct req *r, const json_t *now, struct err *e)
{
	static const char *const names[][3] = {
		{ "demarc:source_address_group_id", "source_ip_address", "source_firewall_group_id" },
		{ "demarc:destination_address_group_id", "destination_ip_address",
		  "destination_firewall_group_id" },
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		CLEANUP(json_freep) json_t *group = NULL;
		const char *id = json_str(now, names[i][0]);
		const json_t *fwg = json_object_get(now, names[i][2]);
		int rc;

		if (fwg && !json_is_null(fwg))
			return refuse(e, names[i][2],
				      "rules name addresses or address groups, not firewall groups");
		if (id && json_str(now, names[i][1]))
			return refuse(e, names[i][0], "an address is given as well");
		rc = id ? rest_need(r, &address_group_resource, id, &group, e) : 0;
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int check(struct req *r, json_t *out, const json_t *now, struct err *e)
{
	l4_proto proto;
	int rc = 0;

	if (json_int(now, "ip_version", 4) == 5)
		return refuse(e, "ip_version", "it must be 4 or 6");
	rc = check_protocol(out, now, &proto, e);
	if (rc == 0)
		rc = check_address(out, now, "source_ip_address", e);
	if (rc == 0)
		rc = check_address(out, now, "destination_ip_address", e);
	if (rc == 0)
		rc = check_ports(r, out, now, proto, e);
	if (rc == 0)
		rc = check_headers(now, proto, e);
	return rc < 0 ? rc : check_groups(r, now, e);
}

static int check_create(struct req *r, json_t *row, struct err *e)
{
	return check(r, row, row, e);
}

/* A rule that others use stays shared. */
static int check_unshare(struct req *r, const json_t *old, const json_t *changes, struct err *e)
{
	int64_t one;
	int rc;

	if (!json_bool(old, "shared", false) || json_bool(changes, "shared", true))
		return 0;
	rc = db_get_int(r->db, &one, e,
			"SELECT 1 FROM firewall_policy_rule m JOIN firewall_policy p ON p.id = m.policy_id "
			"WHERE m.rule_id = ? AND (p.shared = 1 OR p.project_id <> ?)",
			"ss", json_str(old, "id"), json_str(old, "project_id"));
	return rc > 0 ? neutron_err(e, NEUTRON_FW_RULE_IN_USE, "shared", json_str(old, "id")) : rc;
}

static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	CLEANUP(json_freep) json_t *now = json_copy((json_t *)old);
	int rc = net_begin(r, old, "update_firewall_rule", e);

	if (rc < 0)
		return rc;
	if (!now || json_object_update(now, changes) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	rc = check(r, changes, now, e);
	return rc < 0 ? rc : check_unshare(r, old, changes, e);
}

static int updated(struct req *r, const json_t *old, json_t *row, struct err *e)
{
	return firewall_rule_changed(r, json_str(row, "id"), e);
}

static int deleting(struct req *r, const json_t *row, struct err *e)
{
	const char *id = json_str(row, "id");
	int64_t one;
	int rc = net_begin(r, row, "delete_firewall_rule", e);

	if (rc == 0)
		rc = db_get_int(r->db, &one, e,
				"SELECT 1 FROM firewall_policy_rule WHERE rule_id = ? LIMIT 1", "s",
				id);
	return rc > 0 ? neutron_err(e, NEUTRON_FW_RULE_IN_USE, NULL, id) : rc;
}

static void begin_row(json_t *row)
{
	static const char *const none[] = { "source_firewall_group_id",
					    "destination_firewall_group_id", "position" };

	for (size_t i = 0; i < ARRAY_LEN(none); i++)
		(void)json_object_set_new(row, none[i], json_null());
	(void)json_object_set(row, "source_port", json_object_get(row, "source_port_text"));
	(void)json_object_set(row, "destination_port", json_object_get(row, "destination_port_text"));
	(void)json_object_set_new(row, "firewall_policy_id", json_array());
}

/* A rule may be in many policies; it has a position when it is in one. */
static void add_policy(json_t *row, const char *policy, int64_t ord)
{
	json_t *list = json_object_get(row, "firewall_policy_id");

	(void)json_array_append_new(list, json_string_nocheck(policy));
	(void)json_object_set_new(row, "position",
				  json_array_size(list) == 1 ? json_integer(ord) : json_null());
}

static int expand_page(struct req *r, json_t *rows, struct err *e)
{
	CLEANUP(json_freep) json_t *ids = net_ids(rows);
	CLEANUP(db_donep) struct db_rows *q = NULL;
	struct net_page p;
	json_t *row;
	size_t i;
	int rc = net_page_begin(&p, rows, e);

	if (rc < 0)
		return rc;
	json_array_foreach(rows, i, row)
		begin_row(row);
	rc = db_query(r->db, &q, e,
		      "WITH page AS MATERIALIZED (SELECT value AS id FROM json_each(?)) "
		      "SELECT m.rule_id, m.policy_id, m.ord FROM page CROSS JOIN firewall_policy_rule m ON m.rule_id = page.id "
		      "ORDER BY m.rule_id, m.policy_id",
		      "j", ids);
	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		row = net_page_row(&p, db_text(q, 0));
		if (row)
			add_policy(row, db_text(q, 1), db_int(q, 2));
	}
	net_page_done(&p);
	return rc;
}

static const struct rest_filter filters[] = {
	{ "source_port", "source_port = ?" },
	{ "destination_port", "destination_port = ?" },
	{ "firewall_policy_id", "id IN (SELECT rule_id FROM firewall_policy_rule WHERE policy_id = ?)" },
	{ 0 },
};

const struct resource firewall_rule_resource = {
	.service = "network",
	.singular = "firewall_rule",
	.plural = "firewall_rules",
	.table = "firewall_rule",
	.policy = "network:firewall_rule",
	.attrs = attrs,
	.dflt_sort = "created_us,id",
	.visible_sql = "project_id = :project OR shared = 1",
	.not_found = "Firewall rule %s could not be found.",
	.check_create = check_create,
	.check_update = check_update,
	.updated = updated,
	.deleting = deleting,
	.expand_page = expand_page,
	.filters = filters,
};
