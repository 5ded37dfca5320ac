/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/qos.h"

#include "base/json.h"
#include "hub/session.h"

static const struct attr attrs[] = {
	NET_ATTR_ID,
	NET_ATTR_NAME,
	NET_ATTR_DESCRIPTION,
	NET_ATTR_PROJECT,
	{ "shared", "shared", ATTR_BOOL, ATTR_RW | ATTR_FILTER, .dflt = "false" },
	{ "is_default", "is_default", ATTR_BOOL, ATTR_RW | ATTR_FILTER, .dflt = "false" },
	{ "rules", NULL, ATTR_ANY, 0 },
	NET_ATTR_TAGS,
	NET_ATTR_REVISION,
	NET_ATTR_TIMES,
	{ 0 },
};

int qos_check(struct req *r, const json_t *row, struct err *e)
{
	CLEANUP(json_freep) json_t *policy = NULL;
	const char *id = json_str(row, "qos_policy_id");

	return id ? rest_need(r, &qos_policy_resource, id, &policy, e) : 0;
}

int qos_default(struct req *r, json_t *row, struct err *e)
{
	const char *id;
	int rc;

	if (json_object_get(row, "qos_policy_id"))
		return qos_check(r, row, e);
	rc = db_get_text(r->db, r->arena, &id, e,
			 "SELECT id FROM qos_policy WHERE project_id = ? AND is_default = 1", "s",
			 json_str(row, "project_id"));
	return rc > 0 ? json_object_set_new(row, "qos_policy_id", json_string(id)) : rc;
}

/* ---- hooks ---- */

/* A project has one default policy. */
static int check_default(struct req *r, const json_t *now, const char *id, struct err *e)
{
	const char *other;
	int rc;

	if (!json_bool(now, "is_default", false))
		return 0;
	rc = db_get_text(r->db, r->arena, &other, e,
			 "SELECT id FROM qos_policy WHERE project_id = ? AND is_default = 1 AND id <> ?",
			 "ss", json_str(now, "project_id"), id);
	return rc > 0 ? neutron_err(e, NEUTRON_QOS_DEFAULT, "is_default", other) : rc;
}

static int check_create(struct req *r, json_t *row, struct err *e)
{
	return check_default(r, row, "", e);
}

/* What others use stays shared. */
static int check_unshare(struct req *r, const json_t *old, const json_t *changes, struct err *e)
{
	const char *user, *id = json_str(old, "id"), *project = json_str(old, "project_id");
	int rc;

	if (!json_bool(old, "shared", false) || json_bool(changes, "shared", true))
		return 0;
	rc = db_get_text(
		r->db, r->arena, &user, e,
		"SELECT 'network ' || id FROM network WHERE qos_policy_id = ?1 AND project_id <> ?2 UNION ALL "
		"SELECT 'port ' || id FROM port WHERE qos_policy_id = ?1 AND project_id <> ?2 LIMIT 1",
		"ss", id, project);
	return rc > 0 ? neutron_err(e, NEUTRON_QOS_IN_USE, "shared", id, user) : rc;
}

static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	CLEANUP(json_freep) json_t *now = json_copy((json_t *)old);
	int rc = net_begin(r, old, "update_policy", e);

	if (rc < 0)
		return rc;
	if (!now || json_object_update(now, changes) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	rc = check_default(r, now, json_str(old, "id"), e);
	return rc < 0 ? rc : check_unshare(r, old, changes, e);
}

static int deleting(struct req *r, const json_t *row, struct err *e)
{
	const char *id = json_str(row, "id"), *user;
	int rc = net_begin(r, row, "delete_policy", e);

	if (rc == 0)
		rc = db_get_text(r->db, r->arena, &user, e,
				 "SELECT 'network ' || id FROM network WHERE qos_policy_id = ?1 UNION ALL "
				 "SELECT 'port ' || id FROM port WHERE qos_policy_id = ?1 LIMIT 1",
				 "s", id);
	return rc > 0 ? neutron_err(e, NEUTRON_QOS_IN_USE, NULL, id, user) : rc;
}

static json_t *limit_json(struct db_rows *q, const char *rate, const char *burst)
{
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}", "id", db_text(q, 1), "qos_policy_id",
			 db_text(q, 0), "type", db_text(q, 2), rate, (json_int_t)db_int(q, 3),
			 burst, (json_int_t)db_int(q, 4), "direction", db_text(q, 5));
}

static json_t *rule_json(struct db_rows *q)
{
	const char *type = db_text(q, 2);

	if (strcmp(type, "bandwidth_limit") == 0)
		return limit_json(q, "max_kbps", "max_burst_kbps");
	if (strcmp(type, "packet_rate_limit") == 0)
		return limit_json(q, "max_kpps", "max_burst_kpps");
	return json_pack("{s:s, s:s, s:s, s:I}", "id", db_text(q, 1), "qos_policy_id",
			 db_text(q, 0), "type", type, "dscp_mark", (json_int_t)db_int(q, 3));
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
		(void)json_object_set_new(row, "rules", json_array());
	rc = db_query(r->db, &q, e,
		      "WITH page AS MATERIALIZED (SELECT value AS id FROM json_each(?)) "
		      "SELECT policy_id, id, 'bandwidth_limit', max_kbps, max_burst_kbps, direction "
		      "FROM qos_bandwidth_limit_rule WHERE policy_id IN page UNION ALL "
		      "SELECT policy_id, id, 'packet_rate_limit', max_kpps, max_burst_kpps, direction "
		      "FROM qos_packet_rate_limit_rule WHERE policy_id IN page UNION ALL "
		      "SELECT policy_id, id, 'dscp_marking', dscp_mark, 0, '' FROM qos_dscp_marking_rule "
		      "WHERE policy_id IN page ORDER BY 1, 3, 6",
		      "j", ids);
	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		row = net_page_row(&p, db_text(q, 0));
		if (row)
			(void)json_array_append_new(json_object_get(row, "rules"), rule_json(q));
	}
	net_page_done(&p);
	return rc;
}

static const struct rest_filter filters[] = {
	{ "tags", NET_TAGS_SQL("qos_policy") },
	{ 0 },
};

const struct resource qos_policy_resource = {
	.service = "network",
	.singular = "policy",
	.plural = "policies",
	.table = "qos_policy",
	.policy = "network:qos_policy",
	.attrs = attrs,
	.dflt_sort = "created_us,id",
	.visible_sql = "project_id = :project OR shared = 1",
	.not_found = "QoS policy %s could not be found.",
	.check_create = check_create,
	.check_update = check_update,
	.deleting = deleting,
	.expand_page = expand_page,
	.filters = filters,
};
