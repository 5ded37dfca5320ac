/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "hub/session.h"
#include "hub/site/site.h"
#include "model/overlay.h"

static const struct attr attrs[] = {
	{ "id", "id", ATTR_UUID, ATTR_FILTER | ATTR_SORT },
	{ "name", "name", ATTR_STR, ATTR_UPDATE | ATTR_FILTER | ATTR_SORT, 1, 63 },
	{ "site_id", "site_id", ATTR_UUID, ATTR_FILTER },
	{ "site_name", NULL, ATTR_ANY, 0 },
	{ "state", NULL, ATTR_ANY, 0 },
	{ "enabled", "enabled", ATTR_BOOL, ATTR_UPDATE | ATTR_FILTER },
	{ "revoked", "revoked", ATTR_BOOL, ATTR_FILTER },
	{ "release", "release", ATTR_STR, ATTR_FILTER | ATTR_SORT },
	{ "features", "features", ATTR_LIST, 0 },
	{ "inventory", "inventory", ATTR_OBJ, 0 },
	{ "address", "address", ATTR_STR, ATTR_FILTER },
	{ "vtep", "vtep", ATTR_IP, ATTR_UPDATE | ATTR_FILTER | ATTR_NULLABLE },
	{ "boot_id", "boot_id", ATTR_STR, 0 },
	{ "intent_revision", "intent_revision", ATTR_INT, 0 },
	{ "acked_revision", "acked_revision", ATTR_INT, 0 },
	{ "in_step", NULL, ATTR_ANY, 0 },
	{ "status", "status", ATTR_OBJ, 0 },
	{ "last_seen_at", "last_seen_us", ATTR_TIME_S, ATTR_SORT },
	{ "certificate_serial", "cert_serial", ATTR_STR, ATTR_FILTER },
	{ "certificate_expires_at", "cert_expires_us", ATTR_TIME_S, ATTR_SORT },
	{ "created_at", "created_us", ATTR_TIME_S, ATTR_SORT },
	{ "updated_at", "updated_us", ATTR_TIME_S, ATTR_SORT },
	{ 0 },
};

/* Where tunnels of other nodes end: one host's own address, and one node's. */
static int check_vtep(struct req *r, const json_t *old, const char *vtep, struct err *e)
{
	struct ip_addr a;
	int64_t one;
	int rc;

	if (!vtep)
		return 0;
	if (ip_parse(str_of(vtep), &a) < 0 || !overlay_is_vtep(&a))
		return err_set(e, FAULT_BAD_REQUEST, "vtep",
			       "'%.64s' is not the address of one host.", vtep);
	rc = db_get_int(r->db, &one, e, "SELECT 1 FROM node WHERE vtep = ? AND id <> ?", "ss", vtep,
			json_str(old, "id"));
	if (rc > 0)
		return err_set(e, FAULT_CONFLICT, "vtep", "Another node has the VTEP %s.", vtep);
	if (rc == 0)
		rc = db_get_int(r->db, &one, e, "SELECT 1 FROM remote_vtep WHERE ip_address = ?",
				"s", vtep);
	return rc > 0 ? err_set(e, FAULT_CONFLICT, "vtep", "%s is a remote VTEP, and no node's.", vtep) :
			rc;
}

static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	const char *name = json_str(changes, "name");
	int64_t one;
	int rc = check_vtep(r, old, json_str(changes, "vtep"), e);

	if (rc < 0 || !name)
		return rc;
	rc = db_get_int(r->db, &one, e, "SELECT 1 FROM node WHERE name = ? AND id <> ?", "ss", name,
			json_str(old, "id"));
	return rc > 0 ? err_set(e, FAULT_CONFLICT, "name", "A node named %s exists.", name) : rc;
}

/* What is gone with a node: its uplinks lose their NIC, chains and tokens forget it. Servers are not lost silently. */
static int forget(struct req *r, const char *id, struct err *e)
{
	static const char *const sql[] = {
		"UPDATE port SET node_id = NULL, status = 'DOWN' WHERE node_id = ?",
		"UPDATE sfc_port_chain SET node_id = NULL, status = NULL WHERE node_id = ?",
		"DELETE FROM enrol_token WHERE node_id = ?1 AND uses_max = 1",
		"DELETE FROM enrol_token WHERE for_node_id = ?",
		"DELETE FROM enrol_use WHERE node_id = ?",
	};
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(sql); i++)
		rc = db_exec(r->db, e, sql[i], "s", id);
	return rc < 0 ? rc : 0;
}

/* Deletion revokes: the certificate is refused in the next handshake, and the connection is closed. */
static int deleting(struct req *r, const json_t *row, struct err *e)
{
	const char *id = json_str(row, "id");
	int64_t n;
	int rc = db_get_int(r->db, &n, e, "SELECT count(*) FROM server WHERE node_id = ?", "s", id);

	if (rc > 0 && n > 0)
		return err_set(e, FAULT_IN_USE, NULL, "Node %s has %lld server(s): delete them first.",
			       json_str(row, "name"), (long long)n);
	if (rc >= 0)
		rc = forget(r, id, e);
	if (rc >= 0)
		rc = node_refuse(r, id, e);
	if (rc >= 0)
		rc = audit(r->db, NULL, "node_deleted", NULL, e, "%s deleted the node %s",
			   audit_who(r), json_str(row, "name"));
	return rc < 0 ? rc : 0;
}

static int expand(struct req *r, json_t *row, struct err *e)
{
	const char *id = json_str(row, "id"), *site = NULL;
	bool up = session_is_up(r->hub, id), seen = json_str(row, "last_seen_at") != NULL;
	int rc = db_get_text(r->db, r->arena, &site, e, "SELECT name FROM site WHERE id = ?", "s",
			     json_str(row, "site_id"));

	json_object_set_new(row, "site_name", site ? json_string(site) : json_null());
	json_object_set_new(row, "state",
			    json_string(json_is_true(json_object_get(row, "revoked")) ? "revoked" :
					up					      ? "up" :
					seen					      ? "down" :
											"enrolled"));
	json_object_set_new(row, "in_step",
			    json_boolean(json_int(row, "intent_revision", 0) ==
					 json_int(row, "acked_revision", -1)));
	return rc < 0 ? rc : 0;
}

const struct resource node_resource = {
	.service = "demarc",
	.singular = "node",
	.plural = "nodes",
	.table = "node",
	.policy = "demarc:node",
	.attrs = attrs,
	.dflt_sort = "name",
	.visible_sql = "1",
	.not_found = "Node %s could not be found.",
	.by_name = true,
	.check_update = check_update,
	.deleting = deleting,
	.expand = expand,
};
