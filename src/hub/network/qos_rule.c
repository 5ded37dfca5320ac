/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/qos.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/session.h"

/* Rules of QoS policies: one table and one resource for each kind, the same handlers for all. */

#define RATE_MAX INT32_MAX

static const char *const directions[] = { "egress", "ingress", NULL };
static const char *const rate_directions[] = { "egress", "ingress", "any", NULL };

#define RULE_POLICY                                                                                \
	{                                                                                          \
		"qos_policy_id", "policy_id", ATTR_UUID, 0                                         \
	}

static const struct attr bandwidth_attrs[] = {
	NET_ATTR_ID,
	RULE_POLICY,
	{ "max_kbps", "max_kbps", ATTR_INT, ATTR_REQUIRED | ATTR_RW, 1, RATE_MAX },
	{ "max_burst_kbps", "max_burst_kbps", ATTR_INT, ATTR_RW, 0, RATE_MAX, .dflt = "0" },
	{ "direction", "direction", ATTR_ENUM, ATTR_RW, .choices = directions, .dflt = "\"egress\"" },
	{ 0 },
};

static const struct attr rate_attrs[] = {
	NET_ATTR_ID,
	RULE_POLICY,
	{ "max_kpps", "max_kpps", ATTR_INT, ATTR_REQUIRED | ATTR_RW, 1, RATE_MAX },
	{ "max_burst_kpps", "max_burst_kpps", ATTR_INT, ATTR_RW, 0, RATE_MAX, .dflt = "0" },
	{ "direction", "direction", ATTR_ENUM, ATTR_RW, .choices = rate_directions, .dflt = "\"egress\"" },
	{ 0 },
};

static const struct attr dscp_attrs[] = {
	NET_ATTR_ID,
	RULE_POLICY,
	{ "dscp_mark", "dscp_mark", ATTR_INT, ATTR_REQUIRED | ATTR_RW, 0, 56 },
	{ 0 },
};

/* ---- checks ---- */

/* Source: neutron-lib constants VALID_DSCP_MARKS: the code points of RFC 2474, 2597, 3246 and 5865. */
static int check_mark(const json_t *now, struct err *e)
{
	static const uint8_t valid[] = { 0,  8,	 10, 12, 14, 16, 18, 20, 22, 24, 26,
					 28, 30, 32, 34, 36, 38, 40, 44, 46, 48, 56 };
	int64_t mark = json_int(now, "dscp_mark", 0);

	if (memchr(valid, (int)mark, sizeof(valid)))
		return 0;
	return neutron_err(e, NEUTRON_INVALID_FOR, "dscp_mark", "dscp_mark",
			   "it is not a DSCP code point in use");
}

/* One rule of a kind for each direction; "any" is both. */
static int check_free(struct req *r, const struct resource *res, const json_t *now, const char *id,
		      struct err *e)
{
	const char *direction = json_str(now, "direction"),
		   *policy = json_str(now, "qos_policy_id"), *other;
	const char *sql = arena_printf(
		r->arena, "SELECT id FROM %s WHERE policy_id = ?1 AND id <> ?2 %s LIMIT 1", res->table,
		direction ? "AND (direction = ?3 OR direction = 'any' OR ?3 = 'any')" : "AND ?3 = ''");
	int rc = db_get_text(r->db, r->arena, &other, e, sql, "sss", policy, id,
			     direction ? direction : "");

	return rc > 0 ? neutron_err(e, NEUTRON_QOS_CONFLICT, "direction", res->singular, policy, other) :
			rc;
}

static int check(struct req *r, const json_t *now, const char *id, struct err *e)
{
	const struct resource *res = r->route->resource;
	int rc = json_object_get(now, "dscp_mark") ? check_mark(now, e) : 0;

	return rc < 0 ? rc : check_free(r, res, now, id, e);
}

static int check_create(struct req *r, json_t *row, struct err *e)
{
	(void)json_object_set_new(row, "qos_policy_id", json_string(req_param(r, "policy_id")));
	return check(r, row, "", e);
}

static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	CLEANUP(json_freep) json_t *now = json_copy((json_t *)old);

	if (!now || json_object_update(now, changes) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	return check(r, now, json_str(old, "id"), e);
}

#define RULE_RESOURCE(kind, table_attrs)                                                                      \
	{                                                                                                     \
		.service = "network", .singular = kind "_rule", .plural = kind "_rules",                      \
		.table = "qos_" kind "_rule", .policy = "network:qos_rule", .attrs = (table_attrs),           \
		.visible_sql =                                                                                \
			"policy_id IN (SELECT id FROM qos_policy WHERE project_id = :project OR shared = 1)", \
		.not_found = "QoS rule %s could not be found.", .check_create = check_create,                 \
		.check_update = check_update,                                                                 \
	}

const struct resource qos_bandwidth_limit_resource = RULE_RESOURCE("bandwidth_limit", bandwidth_attrs);
const struct resource qos_packet_rate_limit_resource = RULE_RESOURCE("packet_rate_limit", rate_attrs);
const struct resource qos_dscp_marking_resource = RULE_RESOURCE("dscp_marking", dscp_attrs);

/* ---- handlers ---- */

static int need_policy(struct req *r, const char *rule, struct err *e)
{
	CLEANUP(json_freep) json_t *policy = NULL;
	int rc = rest_need(r, &qos_policy_resource, req_param(r, "policy_id"), &policy, e);

	return rc < 0 || !rule ? rc : net_begin(r, policy, rule, e);
}

/* The rule is one of the policy in the path. */
static int need_rule(struct req *r, const char *rule, struct err *e)
{
	CLEANUP(json_freep) json_t *row = NULL;
	const char *id = req_param(r, "id"), *policy = req_param(r, "policy_id");
	int rc = need_policy(r, rule, e);

	if (rc == 0)
		rc = rest_load(r, r->route->resource, id, &row, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || strcmp(json_str(row, "qos_policy_id"), policy) != 0)
		return neutron_err(e, NEUTRON_QOS_RULE_NOT_FOUND, NULL, id, policy);
	return 0;
}

static int changed(struct req *r, struct err *e)
{
	const char *id = req_param(r, "policy_id");
	int rc = db_exec(r->db, e,
			 "UPDATE qos_policy SET revision_number = revision_number + 1, updated_us = ? WHERE id = ?",
			 "is", clock_wall_us(), id);

	return rc < 0 ? rc : intent_nodes_of_qos(r->db, id, net_touch, r, e);
}

int qos_rule_list(struct req *r, struct err *e)
{
	const struct resource *res = r->route->resource;
	CLEANUP(db_donep) struct db_rows *q = NULL;
	CLEANUP(json_freep) json_t *list = json_array();
	int rc = need_policy(r, NULL, e);

	if (rc == 0)
		rc = db_query(r->db, &q, e,
			      arena_printf(r->arena, "SELECT id FROM %s WHERE policy_id = ? ORDER BY id",
					   res->table),
			      "s", req_param(r, "policy_id"));
	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		json_t *row = NULL;

		rc = rest_need(r, res, db_text(q, 0), &row, e);
		if (rc == 0)
			(void)json_array_append_new(list, row);
	}
	if (rc == 0)
		req_reply(r, json_pack("{s:O}", res->plural, list));
	return rc;
}

int qos_rule_show(struct req *r, struct err *e)
{
	int rc = need_rule(r, NULL, e);

	return rc < 0 ? rc : rest_show(r, e);
}

int qos_rule_create(struct req *r, struct err *e)
{
	int rc = need_policy(r, "create_policy_rule", e);

	if (rc == 0)
		rc = rest_create(r, e);
	return rc < 0 ? rc : changed(r, e);
}

int qos_rule_update(struct req *r, struct err *e)
{
	int rc = need_rule(r, "update_policy_rule", e);

	if (rc == 0)
		rc = rest_update(r, e);
	return rc < 0 ? rc : changed(r, e);
}

int qos_rule_delete(struct req *r, struct err *e)
{
	int rc = need_rule(r, "delete_policy_rule", e);

	if (rc == 0)
		rc = rest_delete(r, e);
	return rc < 0 ? rc : changed(r, e);
}

/* ---- types ---- */

static const struct resource *const types[] = { &qos_bandwidth_limit_resource,
						&qos_dscp_marking_resource,
						&qos_packet_rate_limit_resource };

/* "bandwidth_limit" of "bandwidth_limit_rule". */
static json_t *type_name(const struct resource *res)
{
	return json_stringn(res->singular, strlen(res->singular) - strlen("_rule"));
}

int qos_types_list(struct req *r, struct err *e)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		(void)json_array_append_new(list, json_pack("{s:o}", "type", type_name(types[i])));
	req_reply(r, json_pack("{s:o}", "rule_types", list));
	return 0;
}

static json_t *parameter_json(const struct attr *at)
{
	json_t *values = json_array();

	for (const char *const *c = at->choices; c && *c; c++)
		(void)json_array_append_new(values, json_string(*c));
	if (at->choices)
		return json_pack("{s:s, s:s, s:o}", "parameter_name", at->name, "parameter_type",
				 "choices", "parameter_values", values);
	json_decref(values);
	return json_pack("{s:s, s:s, s:{s:I, s:I}}", "parameter_name", at->name, "parameter_type",
			 "range", "parameter_values", "start", (json_int_t)at->min, "end",
			 (json_int_t)at->max);
}

int qos_type_show(struct req *r, struct err *e)
{
	const char *wanted = req_param(r, "type");

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		CLEANUP(json_freep) json_t *name = type_name(types[i]);
		json_t *parameters = json_array();

		for (const struct attr *at = types[i]->attrs; at->name; at++)
			if (at->flags & ATTR_UPDATE)
				(void)json_array_append_new(parameters, parameter_json(at));
		if (strcmp(json_string_value(name), wanted) != 0) {
			json_decref(parameters);
			continue;
		}
		req_reply(r, json_pack("{s:{s:O, s:[{s:s, s:o}]}}", "rule_type", "type", name, "drivers",
				       "name", "demarc", "supported_parameters", parameters));
		return 0;
	}
	return neutron_err(e, NEUTRON_QOS_TYPE_NOT_FOUND, NULL, wanted);
}
