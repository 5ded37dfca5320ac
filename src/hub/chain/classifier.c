/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/chain/classifier.h"
#include "base/json.h"
#include "hub/chain/chain.h"

#define PORT_ATTR(name)                                                                               \
	{                                                                                             \
		name, name, ATTR_INT, ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE, INT32_MIN, INT32_MAX \
	}

static const struct attr attrs[] = {
	NET_ATTR_ID,
	{ "name", "name", ATTR_STR, ATTR_RW | ATTR_FILTER | ATTR_SORT | ATTR_NULLABLE, .dflt = "\"\"" },
	{ "description", "description", ATTR_STR, ATTR_RW | ATTR_FILTER | ATTR_NULLABLE, .dflt = "\"\"" },
	NET_ATTR_PROJECT,
	{ "ethertype", "ethertype", ATTR_STR, ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE,
	  .dflt = "\"IPv4\"" },
	{ "protocol", "protocol", ATTR_STR, ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE },
	PORT_ATTR("source_port_range_min"),
	PORT_ATTR("source_port_range_max"),
	PORT_ATTR("destination_port_range_min"),
	PORT_ATTR("destination_port_range_max"),
	{ "source_ip_prefix", "source_ip_prefix", ATTR_STR, ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE },
	{ "destination_ip_prefix", "destination_ip_prefix", ATTR_STR,
	  ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE },
	{ "logical_source_port", "logical_source_port", ATTR_UUID,
	  ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE },
	{ "logical_destination_port", "logical_destination_port", ATTR_UUID,
	  ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE },
	{ "l7_parameters", "l7_parameters", ATTR_OBJ, ATTR_CREATE | ATTR_NULLABLE, .max = 8 },
	{ "chain_id", "chain_id", ATTR_STR, ATTR_HIDDEN },
	{ 0 },
};

static const struct {
	const char *name;
	uint8_t num;
} protocols[] = { { "tcp", 6 }, { "udp", 17 }, { "icmp", 1 } };

static int check_ethertype(json_t *row, struct err *e)
{
	const char *s = json_str(row, "ethertype");

	if (!s || str_eq_nocase(str_of(s), STR("IPv4")))
		return json_object_set_new(row, "ethertype", json_string("IPv4"));
	if (str_eq_nocase(str_of(s), STR("IPv6")))
		return json_object_set_new(row, "ethertype", json_string("IPv6"));
	return neutron_err(e, NEUTRON_CLASSIFIER_ETHERTYPE, "ethertype", s);
}

static int check_protocol(json_t *row, struct err *e)
{
	const char *s = json_str(row, "protocol");

	if (!s)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
		if (str_eq_nocase(str_of(s), str_of(protocols[i].name)))
			return json_object_set_new(row, "protocol", json_string(protocols[i].name));
	return neutron_err(e, NEUTRON_CLASSIFIER_PROTOCOL, "protocol", s);
}

/* "source" or "destination": a minimum alone is a range of one, as in networking-sfc. */
static int check_range(struct req *r, json_t *row, const char *min_name, const char *max_name,
		       struct err *e)
{
	const json_t *min = json_object_get(row, min_name), *max = json_object_get(row, max_name);
	const char *proto = json_str(row, "protocol");
	const json_t *both[] = { min, max };

	if (!json_is_integer(min) && !json_is_integer(max))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(both); i++)
		if (json_is_integer(both[i]) &&
		    (json_integer_value(both[i]) < 0 || json_integer_value(both[i]) > 65535))
			return neutron_err(e, NEUTRON_CLASSIFIER_PORT_VALUE,
					   i ? max_name : min_name, net_json_text(r, both[i]));
	if (!proto || strcmp(proto, "icmp") == 0)
		return neutron_err(e, NEUTRON_CLASSIFIER_NEEDS_PROTOCOL, "protocol");
	if (!json_is_integer(min) || !json_is_integer(max)) {
		const char *missing = json_is_integer(min) ? max_name : min_name;

		return json_object_set(row, missing, (json_t *)(json_is_integer(min) ? min : max));
	}
	if (json_integer_value(min) > json_integer_value(max))
		return neutron_err(e, NEUTRON_CLASSIFIER_PORT_RANGE, min_name,
				   net_json_text(r, min), net_json_text(r, max));
	return 0;
}

static int check_prefix(struct req *r, json_t *row, const char *name, struct err *e)
{
	const char *s = json_str(row, name), *type = json_str(row, "ethertype");
	struct ip_cidr c;
	char text[CIDR_STR_SIZE];

	if (!s)
		return 0;
	if (!strchr(s, '/') || cidr_parse(str_of(s), &c) < 0)
		return neutron_err(e, NEUTRON_INVALID_FOR, name, name,
				   arena_printf(r->arena, "'%s' is not a valid IP subnet", s));
	if (c.addr.family != (strcmp(type, "IPv6") == 0 ? IP_V6 : IP_V4))
		return neutron_err(e, NEUTRON_CLASSIFIER_PREFIX, name, s, type);
	c.addr = cidr_network(c);
	return json_object_set_new(row, name, json_string(cidr_format(c, text)));
}

static int check_port(struct req *r, const json_t *row, const char *name, struct err *e)
{
	CLEANUP(json_freep) json_t *port = NULL;
	const char *id = json_str(row, name);
	int rc = id ? rest_need(r, &port_resource, id, &port, e) : 0;

	if (rc < 0 && e && e->fault == FAULT_NOT_FOUND)
		return neutron_err(e, NEUTRON_CLASSIFIER_PORT_NOT_FOUND, name, id);
	return rc < 0 || !port ? rc : net_own(r, port, "create_flow_classifier", e);
}

static struct port_range range_of(const json_t *row, const char *min, const char *max)
{
	return (struct port_range){ (uint16_t)json_int(row, min, 0),
				    (uint16_t)json_int(row, max, 65535) };
}

static struct ip_cidr prefix_of(const json_t *row, const char *name)
{
	const char *s = json_str(row, name);
	struct ip_cidr c = { 0 };

	if (s && cidr_parse(str_of(s), &c) < 0)
		return (struct ip_cidr){ 0 };
	return c;
}

struct classifier classifier_of(const json_t *row)
{
	const char *proto = json_str(row, "protocol"), *type = json_str(row, "ethertype");
	struct classifier c = {
		.family = type && strcmp(type, "IPv6") == 0 ? IP_V6 : IP_V4,
		.sport = range_of(row, "source_port_range_min", "source_port_range_max"),
		.dport = range_of(row, "destination_port_range_min", "destination_port_range_max"),
		.src = prefix_of(row, "source_ip_prefix"),
		.dst = prefix_of(row, "destination_ip_prefix"),
		.src_port = json_str(row, "logical_source_port"),
		.dst_port = json_str(row, "logical_destination_port"),
	};

	for (size_t i = 0; proto && i < ARRAY_LEN(protocols); i++)
		if (strcmp(proto, protocols[i].name) == 0)
			c.proto.num = protocols[i].num;
	return c;
}

#define CONFLICT_SQL                                                                                                     \
	"SELECT json_object('id', id, 'ethertype', ethertype, 'protocol', protocol, 'source_port_range_min', "           \
	"source_port_range_min, 'source_port_range_max', source_port_range_max, 'destination_port_range_min', "          \
	"destination_port_range_min, 'destination_port_range_max', destination_port_range_max, 'source_ip_prefix', "     \
	"source_ip_prefix, 'destination_ip_prefix', destination_ip_prefix, 'logical_source_port', logical_source_port, " \
	"'logical_destination_port', logical_destination_port, 'chain_id', chain_id) FROM sfc_flow_classifier "

/* "+": the index of what follows is better than that of these. */
enum conflict_among { AMONG_PROJECT, AMONG_CHAINS };
#define IN_PROJECT "WHERE +project_id = ?1 AND id <> ?2"
#define IN_CHAINS "WHERE +chain_id <> ?1 AND id <> ?2"
#define BY_PORT " AND (logical_source_port IS NULL OR logical_source_port = ?3)"
#define BY_SOURCE                                                                                  \
	" AND (source_ip_prefix IS NULL OR source_ip_prefix IN (SELECT value FROM json_each(?3)))"

/* The first classifier of the query's rows that wants a packet of row's. *ret: new reference or NULL. */
static int find_conflict(const json_t *row, struct db_rows *q, json_t **ret, struct err *e)
{
	const struct classifier mine = classifier_of(row);
	int rc;

	*ret = NULL;
	while ((rc = db_step(q, e)) == 1) {
		CLEANUP(json_freep) json_t *other = db_json(q, 0);
		const struct classifier theirs = classifier_of(other);

		if (classifier_conflicts(&mine, &theirs)) {
			*ret = MOVE_PTR(other);
			return 0;
		}
	}
	return rc;
}

/* JSON: the prefix and all that contain it. */
static json_t *prefixes_around(struct ip_cidr c)
{
	json_t *all = json_array();
	char text[CIDR_STR_SIZE];

	for (unsigned len = c.prefix_len + 1u; len-- > 0;) {
		c.prefix_len = (uint8_t)len;
		c.addr = cidr_network(c);
		(void)json_array_append_new(all, json_string(cidr_format(c, text)));
	}
	return all;
}

/*
 * The rows of `where` (one argument, which no index serves) that may want a packet of row's. All of them would be too many to look at
 * where there are thousands of sites: those that leave from another port, or come from elsewhere than this one host, stay out.
 */
static int conflict_query(struct req *r, const json_t *row, enum conflict_among among,
			  const char *arg, struct db_rows **ret, struct err *e)
{
	static const char *const all[] = { CONFLICT_SQL IN_PROJECT, CONFLICT_SQL IN_CHAINS };
	static const char *const by_port[] = {
		CONFLICT_SQL IN_PROJECT BY_PORT,
		CONFLICT_SQL IN_CHAINS BY_PORT,
	};
	static const char *const by_source[] = {
		CONFLICT_SQL IN_PROJECT BY_SOURCE,
		CONFLICT_SQL IN_CHAINS BY_SOURCE,
	};
	const struct classifier c = classifier_of(row);
	const char *id = json_str(row, "id");

	if (c.src_port)
		return db_query(r->db, ret, e, by_port[among], "sss", arg, id, c.src_port);
	if (c.src.addr.family && c.src.prefix_len == (c.src.addr.family == IP_V6 ? 128 : 32)) {
		CLEANUP(json_freep) json_t *around = prefixes_around(c.src);

		return db_query(r->db, ret, e, by_source[among], "ssj", arg, id, around);
	}
	return db_query(r->db, ret, e, all[among], "ss", arg, id);
}

static int check_conflict(struct req *r, const json_t *row, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	CLEANUP(json_freep) json_t *other = NULL;
	int rc = conflict_query(r, row, AMONG_PROJECT, json_str(row, "project_id"), &q, e);

	if (rc >= 0)
		rc = find_conflict(row, q, &other, e);
	if (other)
		return neutron_err(e, NEUTRON_CLASSIFIER_CONFLICT, NULL, json_str(other, "id"));
	return rc;
}

int classifier_chain_conflict(struct req *r, const json_t *row, const char *chain_id, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	CLEANUP(json_freep) json_t *other = NULL;
	int rc = conflict_query(r, row, AMONG_CHAINS, chain_id, &q, e);

	if (rc >= 0)
		rc = find_conflict(row, q, &other, e);
	if (other)
		return neutron_err(e, NEUTRON_CHAIN_CLASSIFIER_CONFLICT, "flow_classifiers",
				   json_str(row, "id"), json_str(other, "id"),
				   json_str(other, "chain_id"));
	return rc;
}

/* null is the empty text, as in networking-sfc. */
static void texts_from_null(json_t *row)
{
	static const char *const texts[] = { "name", "description" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (json_is_null(json_object_get(row, texts[i])))
			(void)json_object_set_new(row, texts[i], json_string(""));
}

static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	texts_from_null(changes);
	return net_own(r, old, "update_flow_classifier", e);
}

static int check_create(struct req *r, json_t *row, struct err *e)
{
	int rc = check_ethertype(row, e);

	if (rc == 0)
		rc = check_protocol(row, e);
	if (rc == 0)
		rc = check_range(r, row, "source_port_range_min", "source_port_range_max", e);
	if (rc == 0)
		rc = check_range(r, row, "destination_port_range_min", "destination_port_range_max", e);
	if (rc == 0)
		rc = check_prefix(r, row, "source_ip_prefix", e);
	if (rc == 0)
		rc = check_prefix(r, row, "destination_ip_prefix", e);
	if (rc == 0)
		rc = check_port(r, row, "logical_source_port", e);
	if (rc == 0)
		rc = check_port(r, row, "logical_destination_port", e);
	if (rc < 0)
		return rc;
	texts_from_null(row);
	if (json_object_size(json_object_get(row, "l7_parameters")))
		return neutron_err(e, NEUTRON_INVALID_FOR, "l7_parameters", "l7_parameters",
				   "no parameter is supported");
	if (!json_is_object(json_object_get(row, "l7_parameters")))
		(void)json_object_set_new(row, "l7_parameters", json_object());
	return check_conflict(r, row, e);
}

static int deleting(struct req *r, const json_t *row, struct err *e)
{
	if (json_str(row, "chain_id"))
		return neutron_err(e, NEUTRON_CLASSIFIER_IN_USE, NULL, json_str(row, "id"));
	return net_own(r, row, "delete_flow_classifier", e);
}

const struct resource flow_classifier_resource = {
	.service = "network",
	.singular = "flow_classifier",
	.plural = "flow_classifiers",
	.table = "sfc_flow_classifier",
	.policy = "network:flow_classifier",
	.attrs = attrs,
	.dflt_sort = "name,id",
	.not_found = "Flow Classifier %s not found.",
	.check_create = check_create,
	.check_update = check_update,
	.deleting = deleting,
};
