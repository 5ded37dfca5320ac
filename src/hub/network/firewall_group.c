/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/firewall.h"

#include <string.h>

#include "base/json.h"

static const struct attr attrs[] = {
	NET_ATTR_ID,
	NET_ATTR_NAME,
	NET_ATTR_DESCRIPTION,
	NET_ATTR_PROJECT,
	{ "shared", "shared", ATTR_BOOL, ATTR_RW | ATTR_FILTER | ATTR_ADMIN, .dflt = "false" },
	{ "admin_state_up", "admin_state_up", ATTR_BOOL, ATTR_RW | ATTR_FILTER, .dflt = "true" },
	{ "ingress_firewall_policy_id", "ingress_policy_id", ATTR_UUID,
	  ATTR_RW | ATTR_FILTER | ATTR_NULLABLE },
	{ "egress_firewall_policy_id", "egress_policy_id", ATTR_UUID,
	  ATTR_RW | ATTR_FILTER | ATTR_NULLABLE },
	{ "ports", NULL, ATTR_LIST, ATTR_RW, .max = FIREWALL_PORTS_MAX, .dflt = "[]" },
	{ "status", NULL, ATTR_ANY, 0 },
	NET_ATTR_REVISION,
	NET_ATTR_TIMES,
	{ 0 },
};

static int touch(struct req *r, const char *group, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e,
			  "SELECT DISTINCT p.node_id FROM firewall_group_port m JOIN port p ON p.id = m.port_id "
			  "WHERE m.group_id = ? AND p.node_id IS NOT NULL",
			  "s", group);

	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		net_touch(r, db_text(q, 0));
	return rc;
}

/* ---- ports ---- */

static int port_check(struct req *r, const json_t *item, const char *project, const char *group,
		      struct err *e)
{
	CLEANUP(json_freep) json_t *port = NULL;
	const char *id = json_string_value(item), *owner;
	int64_t one;
	int rc = rest_need(r, &port_resource, id ? id : net_json_text(r, item), &port, e);

	if (rc < 0)
		return rc;
	owner = json_str(port, "project_id");
	if (!owner || strcmp(owner, project) != 0)
		return neutron_err(e, NEUTRON_FW_PORT_PROJECT, "ports", id, owner ? owner : "");
	rc = db_get_int(r->db, &one, e,
			"SELECT 1 FROM firewall_group_port WHERE port_id = ? AND group_id <> ?",
			"ss", id, group);
	return rc > 0 ? neutron_err(e, NEUTRON_FW_PORT_IN_USE, "ports", id) : rc;
}

static int ports_store(struct req *r, const json_t *row, struct err *e)
{
	const json_t *list = json_object_get(row, "ports");
	const char *id = json_str(row, "id"), *project = json_str(row, "project_id");
	json_t *item;
	size_t i;
	int rc = db_exec(r->db, e, "DELETE FROM firewall_group_port WHERE group_id = ?", "s", id);

	json_array_foreach(list, i, item) {
		if (rc >= 0)
			rc = port_check(r, item, project, id, e);
		if (rc >= 0)
			rc = db_exec(r->db, e,
				     "INSERT OR IGNORE INTO firewall_group_port (port_id, group_id) VALUES (?, ?)",
				     "ss", json_string_value(item), id);
	}
	return rc < 0 ? rc : 0;
}

/* ---- policies ---- */

static int check_policies(struct req *r, const json_t *now, struct err *e)
{
	static const char *const names[] = { "ingress_firewall_policy_id", "egress_firewall_policy_id" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		CLEANUP(json_freep) json_t *policy = NULL;
		const char *id = json_str(now, names[i]);
		int rc = id ? rest_need(r, &firewall_policy_resource, id, &policy, e) : 0;

		if (rc < 0)
			return rc;
		if (policy && json_bool(now, "shared", false) && !json_bool(policy, "shared", false))
			return neutron_err(e, NEUTRON_FW_POLICY_NOT_SHARED, names[i], id);
	}
	return 0;
}

/* ---- hooks ---- */

static int check_create(struct req *r, json_t *row, struct err *e)
{
	return check_policies(r, row, e);
}

static int created(struct req *r, json_t *row, struct err *e)
{
	int rc = ports_store(r, row, e);

	return rc < 0 ? rc : touch(r, json_str(row, "id"), e);
}

/* Touched before and after: a port that leaves concerns its node. */
static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	CLEANUP(json_freep) json_t *now = json_copy((json_t *)old);
	int rc = net_begin(r, old, "update_firewall_group", e);

	if (rc < 0)
		return rc;
	if (!now || json_object_update(now, changes) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	rc = check_policies(r, now, e);
	if (rc == 0)
		rc = touch(r, json_str(old, "id"), e);
	if (rc == 0 && json_object_get(changes, "ports"))
		rc = ports_store(r, now, e);
	return rc;
}

static int updated(struct req *r, const json_t *old, json_t *row, struct err *e)
{
	return touch(r, json_str(row, "id"), e);
}

/* ---- how a group is shown ---- */

static void add_port(json_t *row, const char *port, bool lacking)
{
	(void)json_array_append_new(json_object_get(row, "ports"), json_string_nocheck(port));
	if (lacking)
		(void)json_object_set_new(row, "status", json_string("ERROR"));
}

/* ERROR: a node that holds a port of it has said that it knows no such rules. */
static void set_status(json_t *row)
{
	bool policy = json_str(row, "ingress_firewall_policy_id") ||
		      json_str(row, "egress_firewall_policy_id");
	const char *status = "ACTIVE";

	if (!json_bool(row, "admin_state_up", true))
		status = "DOWN";
	else if (!policy || json_array_size(json_object_get(row, "ports")) == 0)
		status = "INACTIVE";
	else if (json_str(row, "status"))
		return;
	(void)json_object_set_new(row, "status", json_string(status));
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
		(void)json_object_set_new(row, "ports", json_array());
	rc = db_query(r->db, &q, e,
		      "SELECT m.group_id, m.port_id, n.release <> '' AND NOT EXISTS "
		      "(SELECT 1 FROM json_each(n.features) WHERE value = 'acl') "
		      "FROM firewall_group_port m JOIN port p ON p.id = m.port_id LEFT JOIN node n ON n.id = p.node_id "
		      "WHERE m.group_id IN (SELECT value FROM json_each(?)) ORDER BY m.group_id, m.port_id",
		      "j", ids);
	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		row = net_page_row(&p, db_text(q, 0));
		if (row)
			add_port(row, db_text(q, 1), db_int(q, 2) != 0);
	}
	net_page_done(&p);
	json_array_foreach(rows, i, row)
		set_status(row);
	return rc;
}

/* As in FWaaS, a group that filters is not deleted: its ports are taken out first. */
static int deleting(struct req *r, const json_t *row, struct err *e)
{
	CLEANUP(json_freep) json_t *rows = json_pack("[o]", json_copy((json_t *)row));
	const char *status, *id = json_str(row, "id");
	int rc = net_begin(r, row, "delete_firewall_group", e);

	if (rc == 0)
		rc = expand_page(r, rows, e);
	if (rc < 0)
		return rc;
	status = json_str(json_array_get(rows, 0), "status");
	if (!status || strcmp(status, "ACTIVE") == 0)
		return neutron_err(e, NEUTRON_FW_GROUP_IN_USE, NULL, id);
	return touch(r, id, e);
}

static const struct rest_filter filters[] = {
	{ "ports", "id IN (SELECT group_id FROM firewall_group_port WHERE port_id = ?)" },
	{ 0 },
};

const struct resource firewall_group_resource = {
	.service = "network",
	.singular = "firewall_group",
	.plural = "firewall_groups",
	.table = "firewall_group",
	.policy = "network:firewall_group",
	.attrs = attrs,
	.dflt_sort = "created_us,id",
	.visible_sql = "project_id = :project OR shared = 1",
	.not_found = "Firewall group %s could not be found.",
	.check_create = check_create,
	.created = created,
	.check_update = check_update,
	.updated = updated,
	.deleting = deleting,
	.expand_page = expand_page,
	.filters = filters,
};
