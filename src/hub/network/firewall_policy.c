/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/firewall.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/session.h"

static const struct attr attrs[] = {
	NET_ATTR_ID,
	NET_ATTR_NAME,
	NET_ATTR_DESCRIPTION,
	NET_ATTR_PROJECT,
	{ "shared", "shared", ATTR_BOOL, ATTR_RW | ATTR_FILTER | ATTR_ADMIN, .dflt = "false" },
	{ "audited", "audited", ATTR_BOOL, ATTR_RW | ATTR_FILTER, .dflt = "false" },
	{ "firewall_rules", NULL, ATTR_LIST, ATTR_RW, .max = FIREWALL_RULES_MAX, .dflt = "[]" },
	NET_ATTR_REVISION,
	NET_ATTR_TIMES,
	{ 0 },
};

/* ---- the list of rules ---- */

/* Each an id, once, of a rule that the caller sees. One query whatever their number. */
static int rules_check(struct req *r, const json_t *list, struct err *e)
{
	const char *id = NULL, *project = r->auth.project_id ? r->auth.project_id : "";
	int rc = db_get_text(
		r->db, r->arena, &id, e,
		"SELECT value FROM json_each(?1) WHERE type <> 'text' OR NOT EXISTS "
		"(SELECT 1 FROM firewall_rule WHERE id = value AND (?2 OR shared = 1 OR project_id = ?3)) LIMIT 1",
		"jbs", list, (int)r->auth.is_admin, project);

	if (rc > 0)
		return neutron_err(e, NEUTRON_FW_RULE_NOT_FOUND, "firewall_rules", id ? id : "null");
	if (rc == 0)
		rc = db_get_text(r->db, r->arena, &id, e,
				 "SELECT value FROM json_each(?) GROUP BY value HAVING count(*) > 1 LIMIT 1",
				 "j", list);
	if (rc > 0)
		return neutron_err(e, NEUTRON_INVALID_FOR, "firewall_rules", "firewall_rules",
				   arena_printf(r->arena, "rule %s is in the list twice", id));
	return rc;
}

static int rules_store(struct req *r, const char *id, const json_t *list, struct err *e)
{
	int rc = db_exec(r->db, e, "DELETE FROM firewall_policy_rule WHERE policy_id = ?", "s", id);

	if (rc >= 0)
		rc = db_exec(r->db, e,
			     "INSERT INTO firewall_policy_rule (policy_id, rule_id, ord) "
			     "SELECT ?, value, key + 1 FROM json_each(?)",
			     "sj", id, list);
	return rc < 0 ? rc : 0;
}

/* Whoever sees a shared policy sees its rules. */
static int check_shared(struct req *r, const json_t *policy, struct err *e)
{
	const char *id = json_str(policy, "id"), *rule = NULL;
	int rc;

	if (!json_bool(policy, "shared", false))
		return 0;
	rc = db_get_text(r->db, r->arena, &rule, e,
			 "SELECT m.rule_id FROM firewall_policy_rule m JOIN firewall_rule f ON f.id = m.rule_id "
			 "WHERE m.policy_id = ? AND f.shared = 0 LIMIT 1",
			 "s", id);
	return rc > 0 ? neutron_err(e, NEUTRON_FW_RULE_NOT_SHARED, "firewall_rules", id, rule) : rc;
}

/* ---- hooks ---- */

static int check_create(struct req *r, json_t *row, struct err *e)
{
	return rules_check(r, json_object_get(row, "firewall_rules"), e);
}

static int created(struct req *r, json_t *row, struct err *e)
{
	int rc = rules_store(r, json_str(row, "id"), json_object_get(row, "firewall_rules"), e);

	return rc < 0 ? rc : check_shared(r, row, e);
}

/* A policy that others use stays shared. */
static int check_unshare(struct req *r, const json_t *old, const json_t *changes, struct err *e)
{
	const char *id = json_str(old, "id");
	int64_t one;
	int rc;

	if (!json_bool(old, "shared", false) || json_bool(changes, "shared", true))
		return 0;
	rc = db_get_int(r->db, &one, e,
			"SELECT 1 FROM firewall_group WHERE (ingress_policy_id = ?1 OR egress_policy_id = ?1) "
			"AND (shared = 1 OR project_id <> ?2)",
			"ss", id, json_str(old, "project_id"));
	return rc > 0 ? neutron_err(e, NEUTRON_FW_POLICY_IN_USE, "shared", id) : rc;
}

/* Other rules are not what was audited. */
static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	const json_t *rules = json_object_get(changes, "firewall_rules");
	int rc = net_begin(r, old, "update_firewall_policy", e);

	if (rc == 0)
		rc = check_unshare(r, old, changes, e);
	if (rc < 0 || !rules)
		return rc;
	if (!json_object_get(changes, "audited"))
		(void)json_object_set_new(changes, "audited", json_false());
	rc = rules_check(r, rules, e);
	return rc < 0 ? rc : rules_store(r, json_str(old, "id"), rules, e);
}

static int updated(struct req *r, const json_t *old, json_t *row, struct err *e)
{
	int rc = check_shared(r, row, e);

	return rc < 0 ? rc : intent_nodes_of_policy(r->db, json_str(row, "id"), net_touch, r, e);
}

static int deleting(struct req *r, const json_t *row, struct err *e)
{
	const char *id = json_str(row, "id");
	int64_t one;
	int rc = net_begin(r, row, "delete_firewall_policy", e);

	if (rc == 0)
		rc = db_get_int(r->db, &one, e,
				"SELECT 1 FROM firewall_group WHERE ingress_policy_id = ?1 OR egress_policy_id = ?1",
				"s", id);
	return rc > 0 ? neutron_err(e, NEUTRON_FW_POLICY_IN_USE, NULL, id) : rc;
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
		(void)json_object_set_new(row, "firewall_rules", json_array());
	rc = db_query(r->db, &q, e,
		      "SELECT policy_id, rule_id FROM firewall_policy_rule "
		      "WHERE policy_id IN (SELECT value FROM json_each(?)) ORDER BY policy_id, ord",
		      "j", ids);
	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		row = net_page_row(&p, db_text(q, 0));
		(void)json_array_append_new(json_object_get(row, "firewall_rules"),
					    json_string_nocheck(db_text(q, 1)));
	}
	net_page_done(&p);
	return rc;
}

const struct resource firewall_policy_resource = {
	.service = "network",
	.singular = "firewall_policy",
	.plural = "firewall_policies",
	.table = "firewall_policy",
	.policy = "network:firewall_policy",
	.attrs = attrs,
	.dflt_sort = "created_us,id",
	.visible_sql = "project_id = :project OR shared = 1",
	.not_found = "Firewall policy %s could not be found.",
	.check_create = check_create,
	.created = created,
	.check_update = check_update,
	.updated = updated,
	.deleting = deleting,
	.expand_page = expand_page,
};

/* ---- actions ---- */

static const char *body_text(const struct req *r, const char *name)
{
	const char *s = json_str(r->body, name);

	return s && *s ? s : NULL;
}

static int begin_action(struct req *r, const char *rule, json_t **ret_policy, struct err *e)
{
	int rc = rest_need(r, &firewall_policy_resource, req_param(r, "id"), ret_policy, e);

	if (rc == 0)
		rc = net_begin(r, *ret_policy, rule, e);
	if (rc == 0 && !body_text(r, "firewall_rule_id"))
		return neutron_err(e, NEUTRON_FW_RULE_MISSING, "firewall_rule_id");
	return rc;
}

/* Answers with the bare policy, as neutron-fwaas does. */
static int end_action(struct req *r, struct err *e)
{
	const char *id = req_param(r, "id");
	int rc = db_exec(r->db, e,
			 "UPDATE firewall_policy SET audited = 0, revision_number = revision_number + 1, updated_us = ? "
			 "WHERE id = ?",
			 "is", clock_wall_us(), id);

	if (rc >= 0)
		rc = intent_nodes_of_policy(r->db, id, net_touch, r, e);
	if (rc >= 0)
		rc = rest_show(r, e);
	if (rc == 0)
		req_reply(r, json_incref(json_object_get(r->reply, "firewall_policy")));
	return rc < 0 ? rc : 0;
}

/* Where a rule of the policy stands. Fault: the rule is not in it. */
static int rule_position(struct req *r, const char *policy, const char *rule, const char *field,
			 int64_t *ret, struct err *e)
{
	int rc = db_get_int(r->db, ret, e,
			    "SELECT ord FROM firewall_policy_rule WHERE policy_id = ? AND rule_id = ?",
			    "ss", policy, rule);

	return rc == 0 ? neutron_err(e, NEUTRON_FW_RULE_NOT_IN, field, rule, policy) : rc;
}

/* insert_before wins over insert_after; without both the rule becomes the first. */
static int insert_position(struct req *r, const char *policy, int64_t *ret, struct err *e)
{
	const char *before = body_text(r, "insert_before"), *after = body_text(r, "insert_after");
	int rc = 0;

	*ret = 1;
	if (before)
		rc = rule_position(r, policy, before, "insert_before", ret, e);
	else if (after)
		rc = rule_position(r, policy, after, "insert_after", ret, e);
	if (rc >= 0 && after && !before)
		(*ret)++;
	return rc < 0 ? rc : 0;
}

static int check_insert(struct req *r, const char *policy, const char *rule, struct err *e)
{
	CLEANUP(json_freep) json_t *row = NULL;
	int64_t there, n;
	int rc = rest_need(r, &firewall_rule_resource, rule, &row, e);

	if (rc == 0)
		rc = db_get_int(r->db, &there, e,
				"SELECT 1 FROM firewall_policy_rule WHERE policy_id = ? AND rule_id = ?",
				"ss", policy, rule);
	if (rc > 0)
		return neutron_err(e, NEUTRON_FW_RULE_TWICE, "firewall_rule_id", rule, policy);
	if (rc == 0)
		rc = db_get_int(r->db, &n, e,
				"SELECT count(*) FROM firewall_policy_rule WHERE policy_id = ?",
				"s", policy);
	if (rc > 0 && n >= FIREWALL_RULES_MAX)
		return err_set(e, FAULT_QUOTA, "firewall_rule_id",
			       "Quota exceeded for resources: ['firewall_rules']: a policy has at most %d.",
			       FIREWALL_RULES_MAX);
	return rc < 0 ? rc : 0;
}

static int shift(struct req *r, const char *policy, int64_t from, int64_t by, struct err *e)
{
	int rc = db_exec(r->db, e,
			 "UPDATE firewall_policy_rule SET ord = ord + ? WHERE policy_id = ? AND ord >= ?",
			 "isi", by, policy, from);

	return rc < 0 ? rc : 0;
}

int firewall_policy_insert(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *policy = NULL;
	const char *id = req_param(r, "id"), *rule = body_text(r, "firewall_rule_id");
	int64_t at;
	int rc = begin_action(r, "insert_rule", &policy, e);

	if (rc == 0)
		rc = check_insert(r, id, rule, e);
	if (rc == 0)
		rc = insert_position(r, id, &at, e);
	if (rc == 0)
		rc = shift(r, id, at, 1, e);
	if (rc == 0)
		rc = db_exec(r->db, e,
			     "INSERT INTO firewall_policy_rule (policy_id, rule_id, ord) VALUES (?, ?, ?)",
			     "ssi", id, rule, at);
	if (rc >= 0)
		rc = check_shared(r, policy, e);
	return rc < 0 ? rc : end_action(r, e);
}

int firewall_policy_remove(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *policy = NULL;
	const char *id = req_param(r, "id"), *rule = body_text(r, "firewall_rule_id");
	int64_t at;
	int rc = begin_action(r, "remove_rule", &policy, e);

	if (rc == 0)
		rc = rule_position(r, id, rule, "firewall_rule_id", &at, e);
	if (rc >= 0)
		rc = db_exec(r->db, e,
			     "DELETE FROM firewall_policy_rule WHERE policy_id = ? AND rule_id = ?",
			     "ss", id, rule);
	if (rc >= 0)
		rc = shift(r, id, at, -1, e);
	return rc < 0 ? rc : end_action(r, e);
}

int firewall_rule_changed(struct req *r, const char *rule_id, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_exec(r->db, e,
			 "UPDATE firewall_policy SET audited = 0, revision_number = revision_number + 1 WHERE id IN "
			 "(SELECT policy_id FROM firewall_policy_rule WHERE rule_id = ?)",
			 "s", rule_id);

	if (rc >= 0)
		rc = db_query(r->db, &q, e,
			      "SELECT policy_id FROM firewall_policy_rule WHERE rule_id = ?", "s",
			      rule_id);
	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		const char *id = arena_strdup(r->arena, db_text(q, 0));

		rc = intent_nodes_of_policy(r->db, id, net_touch, r, e);
	}
	return rc;
}
