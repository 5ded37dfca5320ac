/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "hub/site/site.h"

/*
 * Verified bindings: what was declared of a port's vNIC beside what its node read back from the function. A report that
 * belongs to an older version of the port than the node is to have now says nothing about the binding: verified is null.
 */

#define BINDING_SQL                                                                                                                        \
	"SELECT p.id, p.name, p.network_id, n.name, p.mac_address, p.device_id, s.name, p.node_id, d.name, v.idx, v.tag, "                 \
	"p.verified, p.differences, p.observed, p.checked_us, p.status, "                                                                  \
	"p.seen_version >= coalesce((SELECT version FROM intent_object o WHERE o.node_id = p.node_id AND o.kind = 'port' AND "             \
	"o.id = p.id AND o.deleted = 0), 0) FROM port p JOIN network n ON n.id = p.network_id LEFT JOIN server_vif v ON v.port_id = p.id " \
	"LEFT JOIN server s ON s.id = v.server_id LEFT JOIN node d ON d.id = p.node_id "

static int wanted_addresses(struct req *r, const char *port_id, json_t *list, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e,
			  "SELECT i.ip || substr(s.cidr, instr(s.cidr, '/')) FROM port_ip i JOIN subnet s ON s.id = i.subnet_id "
			  "WHERE i.port_id = ? ORDER BY i.ord",
			  "s", port_id);

	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		(void)json_array_append_new(list, json_string(db_text(q, 0)));
	return rc;
}

static json_t *text_or_null(struct db_rows *q, int col)
{
	const char *s = db_text(q, col);

	return s && *s ? json_string(s) : json_null();
}

static int binding_json(struct req *r, struct db_rows *q, json_t **ret, struct err *e)
{
	CLEANUP(json_freep) json_t *addresses = json_array();
	bool fresh = !db_is_null(q, 11) && db_int(q, 16) != 0;
	json_t *observed = db_json(q, 13), *differences = db_json(q, 12);
	const char *tag = db_text(q, 10);
	int rc = wanted_addresses(r, db_text(q, 0), addresses, e);

	*ret = json_pack(
		"{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:{s:o, s:s, s:O, s:s, s:s?}}",
		"port_id", db_text(q, 0), "port_name", db_text(q, 1), "network_id", db_text(q, 2),
		"network_name", db_text(q, 3), "server_id", text_or_null(q, 5), "server_name",
		text_or_null(q, 6), "node_id", text_or_null(q, 7), "node_name", text_or_null(q, 8),
		"status", db_text(q, 15), "verified",
		fresh ? json_boolean(db_int(q, 11) != 0) : json_null(), "differences",
		differences ? differences : json_array(), "observed", observed ? observed : json_null(),
		"checked_at", site_time(db_int(q, 14)), "wanted", "name",
		db_is_null(q, 9) ? json_null() : json_sprintf("eth%lld", (long long)db_int(q, 9)),
		"mac", db_text(q, 4), "addresses", addresses, "network_id", db_text(q, 2), "tag", tag);
	if (rc == 0 && !*ret)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	return rc;
}

int binding_of_port(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *port = NULL;
	CLEANUP(db_donep) struct db_rows *q = NULL;
	json_t *binding = NULL;
	int rc = rest_need(r, &port_resource, req_param(r, "id"), &port, e);

	if (rc == 0)
		rc = db_query(r->db, &q, e, BINDING_SQL "WHERE p.id = ?", "s", json_str(port, "id"));
	if (rc >= 0)
		rc = db_step(q, e);
	if (rc == 1)
		rc = binding_json(r, q, &binding, e);
	if (binding)
		req_reply(r, json_pack("{s:o}", "binding", binding));
	return rc;
}

/* The caller sees its project's servers, an admin all. */
static int need_server(struct req *r, const char *id, int64_t *ret_healthy, struct err *e)
{
	int rc = db_get_int(r->db, ret_healthy, e,
			    "SELECT healthy FROM server WHERE id = ?1 AND (?2 OR project_id = ?3)",
			    "sbs", id, (int)r->auth.is_admin,
			    r->auth.project_id ? r->auth.project_id : "");

	return rc == 0 ? err_set(e, FAULT_NOT_FOUND, NULL, "Server %.64s could not be found.", id) : rc;
}

int bindings_of_server(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *list = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	const char *id = req_param(r, "id");
	int64_t healthy = 0;
	int rc = need_server(r, id, &healthy, e);

	if (rc >= 0)
		rc = db_query(r->db, &q, e, BINDING_SQL "WHERE v.server_id = ? ORDER BY v.idx", "s", id);
	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		json_t *binding = NULL;

		rc = binding_json(r, q, &binding, e);
		if (binding)
			(void)json_array_append_new(list, binding);
		if (rc < 0)
			break;
	}
	if (rc >= 0)
		req_reply(r, json_pack("{s:O, s:b}", "bindings", list, "healthy", (int)healthy));
	return rc < 0 ? rc : 0;
}
