/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "base/json.h"
#include "hub/network/address_group.h"
#include "hub/network/security_group.h"
#include "model/frame.h"

static const char *const directions[] = { "ingress", "egress", NULL };

#define ANY_INT INT32_MIN, INT32_MAX /* Neutron words the range itself */

static const struct attr attrs[] = {
	NET_ATTR_ID,
	NET_ATTR_DESCRIPTION,
	NET_ATTR_PROJECT,
	{ "security_group_id", "security_group_id", ATTR_UUID, ATTR_REQUIRED | ATTR_CREATE | ATTR_FILTER },
	{ "direction", "direction", ATTR_ENUM, ATTR_REQUIRED | ATTR_CREATE | ATTR_FILTER,
	  .choices = directions },
	{ "ethertype", "ethertype", ATTR_STR, ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE,
	  .dflt = "\"IPv4\"" },
	{ "protocol", "protocol", ATTR_STR, ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE },
	{ "port_range_min", "port_range_min", ATTR_INT, ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE,
	  ANY_INT },
	{ "port_range_max", "port_range_max", ATTR_INT, ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE,
	  ANY_INT },
	{ "remote_ip_prefix", "remote_ip_prefix", ATTR_STR, ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE },
	{ "remote_group_id", "remote_group_id", ATTR_UUID, ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE },
	{ "remote_address_group_id", "remote_address_group_id", ATTR_UUID,
	  ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE },
	NET_ATTR_REVISION,
	NET_ATTR_TIMES,
	{ 0 },
};

#define PROTOCOLS                                                                                                 \
	"[None, 'ah', 'dccp', 'egp', 'esp', 'gre', 'icmp', 'icmpv6', 'igmp', 'ipip', 'ipv6-encap', 'ipv6-frag', " \
	"'ipv6-icmp', 'ipv6-nonxt', 'ipv6-opts', 'ipv6-route', 'ospf', 'pgm', 'rsvp', 'sctp', 'tcp', 'udp', 'udplite', 'vrrp']"

static int check_ethertype(json_t *row, uint8_t *ret_family, struct err *e)
{
	const char *s = json_str(row, "ethertype");

	*ret_family = 0;
	if (!s || str_eq_nocase(str_of(s), STR("IPv4")))
		*ret_family = IP_V4;
	else if (str_eq_nocase(str_of(s), STR("IPv6")))
		*ret_family = IP_V6;
	else
		return neutron_err(e, NEUTRON_INVALID_FOR, "ethertype", "ethertype",
				   "it must be IPv4 or IPv6");
	return json_object_set_new(row, "ethertype",
				   json_string(*ret_family == IP_V4 ? "IPv4" : "IPv6"));
}

static bool is_v6_only(uint8_t num)
{
	static const uint8_t nums[] = { 41, 43, 44, 58, 59, 60 };

	return memchr(nums, num, sizeof(nums)) != NULL;
}

/* Names and numbers are stored as given, but ICMP of IPv6 always as "ipv6-icmp". *ret 0: any. */
static int check_protocol(struct req *r, json_t *row, uint8_t family, l4_proto *ret, struct err *e)
{
	const json_t *v = json_object_get(row, "protocol");
	const char *s = json_is_integer(v) ? net_json_text(r, v) : json_string_value(v);

	ret->num = 0;
	if (!v || json_is_null(v) || (s && (!*s || str_eq_nocase(str_of(s), STR("any")))))
		return json_object_set_new(row, "protocol", json_null());
	if (!s || l4_proto_parse(str_of(s), ret) < 0)
		return neutron_err(e, NEUTRON_RULE_PROTOCOL, "protocol", net_json_text(r, v), PROTOCOLS);
	if (family == IP_V6 && ret->num == 1)
		ret->num = 58;
	if (family == IP_V4 && is_v6_only(ret->num))
		return neutron_err(e, NEUTRON_RULE_PROTOCOL_FAMILY, "protocol", "IPv4", s);
	if (ret->num == 58)
		s = "ipv6-icmp";
	return json_object_set_new(row, "protocol", json_string(s));
}

static bool has_ports(l4_proto p)
{
	static const uint8_t nums[] = { 6, 17, 33, 132, 136 };

	return memchr(nums, p.num, sizeof(nums)) != NULL;
}

static int check_icmp(struct req *r, const json_t *min, const json_t *max, struct err *e)
{
	static const char *const names[][2] = { { "port_range_min", "type" },
						{ "port_range_max", "code" } };
	const json_t *values[] = { min, max };

	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		int64_t v = json_integer_value(values[i]);

		if (json_is_integer(values[i]) && (v < 0 || v > 255))
			return neutron_err(e, NEUTRON_RULE_ICMP_VALUE, names[i][0], names[i][0],
					   names[i][1], net_json_text(r, values[i]));
	}
	if (!json_is_integer(min) && json_is_integer(max))
		return neutron_err(e, NEUTRON_RULE_ICMP_TYPE, "port_range_max", net_json_text(r, max));
	return 0;
}

static int check_port_value(struct req *r, const json_t *v, const char *field, struct err *e)
{
	if (json_is_integer(v) && (json_integer_value(v) < 0 || json_integer_value(v) > 65535))
		return neutron_err(e, NEUTRON_RULE_PORT_VALUE, field, net_json_text(r, v));
	return 0;
}

static int check_range(struct req *r, const json_t *row, l4_proto p, struct err *e)
{
	const json_t *min = json_object_get(row, "port_range_min"),
		     *max = json_object_get(row, "port_range_max");
	int rc;

	if (!json_is_integer(min) && !json_is_integer(max))
		return 0;
	if (json_is_null(json_object_get(row, "protocol")))
		return neutron_err(e, NEUTRON_RULE_NEEDS_PROTOCOL, "protocol");
	if (p.num == 1 || p.num == 58)
		return check_icmp(r, min, max, e);
	if (!has_ports(p))
		return neutron_err(e, NEUTRON_RULE_PORTS_OTHER, "port_range_min",
				   json_str(row, "protocol"));
	rc = check_port_value(r, min, "port_range_min", e);
	if (rc == 0)
		rc = check_port_value(r, max, "port_range_max", e);
	if (rc < 0)
		return rc;
	if (!json_is_integer(min) || !json_is_integer(max) ||
	    json_integer_value(min) > json_integer_value(max))
		return neutron_err(e, NEUTRON_RULE_PORT_RANGE, "port_range_min");
	if (json_integer_value(min) == 0)
		return neutron_err(e, NEUTRON_RULE_PORT_VALUE, "port_range_min", "0");
	return 0;
}

static int check_prefix(json_t *row, uint8_t family, struct err *e)
{
	const char *s = json_str(row, "remote_ip_prefix");
	struct ip_cidr c;
	char text[CIDR_STR_SIZE];

	if (!s)
		return 0;
	if (cidr_parse(str_of(s), &c) < 0) {
		if (ip_parse(str_of(s), &c.addr) < 0)
			return neutron_err(e, NEUTRON_RULE_PREFIX, "remote_ip_prefix", s);
		c.prefix_len = ip_max_prefix(&c.addr);
	}
	if (c.addr.family != family)
		return neutron_err(e, NEUTRON_RULE_PREFIX_FAMILY, "remote_ip_prefix",
				   json_str(row, "ethertype"), s);
	c.addr = cidr_network(c);
	return json_object_set_new(row, "remote_ip_prefix", json_string(cidr_format(c, text)));
}

static int check_remote(struct req *r, json_t *row, uint8_t family, struct err *e)
{
	static const char *const names[] = { "remote_ip_prefix", "remote_group_id",
					     "remote_address_group_id" };
	const char *group = json_str(row, "remote_group_id"),
		   *addresses = json_str(row, "remote_address_group_id");
	CLEANUP(json_freep) json_t *found = NULL;
	int n = 0, rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		n += json_str(row, names[i]) != NULL;
	if (n > 1)
		return neutron_err(e, NEUTRON_RULE_TWO_REMOTES,
				   group ? "remote_group_id" : "remote_address_group_id");
	if (group)
		rc = rest_need(r, &security_group_resource, group, &found, e);
	else if (addresses)
		rc = rest_need(r, &address_group_resource, addresses, &found, e);
	else
		rc = check_prefix(row, family, e);
	return rc < 0 ? rc : 0;
}

static int64_t int_or(const json_t *row, const char *name)
{
	return json_int(row, name, -1);
}

/* Text columns compare as '' when NULL, numbers as -1. */
static int check_duplicate(struct req *r, const json_t *row, struct err *e)
{
	static const char *const names[] = { "protocol", "remote_ip_prefix", "remote_group_id",
					     "remote_address_group_id" };
	const char *text[ARRAY_LEN(names)], *id;
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!(text[i] = json_str(row, names[i])))
			text[i] = "";
	rc = db_get_text(r->db, r->arena, &id, e,
			 "SELECT id FROM security_group_rule WHERE security_group_id = ? AND direction = ? AND ethertype = ? AND "
			 "coalesce(protocol, '') = ? AND coalesce(remote_ip_prefix, '') = ? AND coalesce(remote_group_id, '') = ? "
			 "AND coalesce(remote_address_group_id, '') = ? "
			 "AND coalesce(port_range_min, -1) = ? AND coalesce(port_range_max, -1) = ?",
			 "sssssssii", json_str(row, "security_group_id"), json_str(row, "direction"),
			 json_str(row, "ethertype"), text[0], text[1], text[2], text[3],
			 int_or(row, "port_range_min"), int_or(row, "port_range_max"));
	return rc > 0 ? neutron_err(e, NEUTRON_RULE_EXISTS, NULL, id) : rc;
}

static int check_group(struct req *r, json_t *row, struct err *e)
{
	const char *id = json_str(row, "security_group_id");
	CLEANUP(json_freep) json_t *group = NULL;
	int64_t n;
	int rc = rest_need(r, &security_group_resource, id, &group, e);

	if (rc < 0)
		return rc;
	/* A rule belongs to its group's project, whoever adds it. */
	(void)json_object_set(row, "project_id", json_object_get(group, "project_id"));
	rc = db_get_int(r->db, &n, e,
			"SELECT count(*) FROM security_group_rule WHERE security_group_id = ?", "s",
			id);
	if (rc > 0 && n >= SECURITY_RULES_MAX)
		return err_set(e, FAULT_QUOTA, "security_group_id",
			       "Quota exceeded for resources: ['security_group_rule'].");
	return rc < 0 ? rc : 0;
}

static int check_create(struct req *r, json_t *row, struct err *e)
{
	uint8_t family = IP_V4;
	l4_proto proto;
	int rc = check_group(r, row, e);

	if (rc == 0)
		rc = check_ethertype(row, &family, e);
	if (rc == 0)
		rc = check_protocol(r, row, family, &proto, e);
	if (rc == 0)
		rc = check_range(r, row, proto, e);
	if (rc == 0)
		rc = check_remote(r, row, family, e);
	return rc < 0 ? rc : check_duplicate(r, row, e);
}

static int created(struct req *r, json_t *row, struct err *e)
{
	return net_touch_group(r, json_str(row, "security_group_id"), e);
}

static int deleting(struct req *r, const json_t *row, struct err *e)
{
	int rc = net_begin(r, row, "delete_security_group_rule", e);

	return rc < 0 ? rc : net_touch_group(r, json_str(row, "security_group_id"), e);
}

const struct resource security_group_rule_resource = {
	.service = "network",
	.singular = "security_group_rule",
	.plural = "security_group_rules",
	.table = "security_group_rule",
	.policy = "network:security_group_rule",
	.attrs = attrs,
	.dflt_sort = "created_us,id",
	.not_found = "Security group rule %s does not exist",
	.check_create = check_create,
	.created = created,
	.deleting = deleting,
};
