/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "hub/chain/chain.h"
#include "hub/site/site.h"

/* Chains as they are: the order that was asked for, beside what the node says of each hop; and the report of each change. */

#define CHANGES_LIMIT 256

/* What the node said of the group, or NULL. */
static const json_t *hop_seen(const json_t *status, const char *group_id)
{
	json_t *hop;
	size_t i;

	json_array_foreach(json_object_get(status, "hops"), i, hop) {
		const char *id = json_str(hop, "group_id");

		if (id && strcmp(id, group_id) == 0)
			return hop;
	}
	return NULL;
}

static json_t *or_null(const json_t *obj, const char *key)
{
	json_t *v = json_object_get(obj, key);

	return v ? json_incref(v) : json_null();
}

/* Names of the servers behind a group's pairs. */
static int hop_servers(struct req *r, const char *group_id, json_t *names, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(
		r->db, &q, e,
		"SELECT coalesce(s.name, pp.name) FROM sfc_port_pair pp LEFT JOIN server_vif v ON v.port_id = pp.ingress "
		"LEFT JOIN server s ON s.id = v.server_id WHERE pp.group_id = ? ORDER BY pp.ord",
		"s", group_id);

	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		(void)json_array_append_new(names, json_string(db_text(q, 0)));
	return rc;
}

static int add_hops(struct req *r, const char *chain_id, const json_t *status, json_t *hops,
		    json_t *names, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e,
			  "SELECT g.id, g.name, g.on_failure FROM sfc_chain_group c JOIN sfc_port_pair_group g ON g.id = c.group_id "
			  "WHERE c.chain_id = ? ORDER BY c.ord",
			  "s", chain_id);

	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		const json_t *seen = hop_seen(status, db_text(q, 0));
		json_t *servers = json_array();

		rc = hop_servers(r, db_text(q, 0), servers, e);
		(void)json_array_append_new(names, json_string(db_text(q, 1)));
		(void)json_array_append_new(
			hops, json_pack("{s:I, s:s, s:s, s:o, s:o, s:o, s:s, s:o}", "number",
					(json_int_t)json_array_size(hops) + 1, "group_id",
					db_text(q, 0), "name", db_text(q, 1), "in_path",
					or_null(seen, "in_path"), "reason", or_null(seen, "reason"),
					"healthy_pairs", or_null(seen, "healthy_pairs"),
					"on_failure", db_text(q, 2), "servers", servers));
		if (rc < 0)
			break;
	}
	return rc < 0 ? rc : 0;
}

/* The node's word counts for the change that it is about; until then the chain is changing. */
static const char *state_of(const json_t *chain, const json_t *status)
{
	const char *wanted = json_str(chain, "demarc:change_id"),
		   *has = json_str(status, "change_id"), *held = json_str(status, "held_change_id"),
		   *state = json_str(status, "state");

	if (!json_str(chain, "node_id"))
		return "unplaced";
	if (!state)
		return "pending";
	if (wanted && has && strcmp(wanted, has) != 0 && !(held && strcmp(held, wanted) == 0))
		return "changing";
	return state;
}

static int chain_json(struct req *r, const json_t *chain, json_t **ret, struct err *e)
{
	const json_t *status = json_object_get(chain, "demarc:status"),
		     *params = json_object_get(chain, "chain_parameters");
	json_t *hops = json_array(), *names = json_array();
	const char *node = NULL;
	int rc = add_hops(r, json_str(chain, "id"), status, hops, names, e);

	if (rc == 0 && json_str(chain, "node_id"))
		rc = db_get_text(r->db, r->arena, &node, e, "SELECT name FROM node WHERE id = ?",
				 "s", json_str(chain, "node_id"));
	*ret = json_pack(
		"{s:O, s:O, s:O, s:s, s:o, s:O, s:s?, s:O, s:b, s:o, s:O, s:o, s:o, s:o, s:o, s:o}",
		"id", json_object_get(chain, "id"), "name", json_object_get(chain, "name"),
		"project_id", json_object_get(chain, "project_id"), "state", state_of(chain, status),
		"reason", or_null(status, "reason"), "node_id", json_object_get(chain, "node_id"),
		"node_name", node, "mode", json_object_get(chain, "demarc:mode"), "symmetric",
		(int)json_bool(params, "symmetric", false), "path", or_null(status, "path"),
		"change_id", json_object_get(chain, "demarc:change_id"), "confirmed_change_id",
		or_null(status, "change_id"), "held_change_id", or_null(status, "held_change_id"),
		"flows_draining", json_integer(json_int(status, "draining", 0)), "hop_names", names,
		"hops", hops);
	if (rc >= 0 && !*ret)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	return rc < 0 ? rc : 0;
}

static int add_chain(struct req *r, const char *id, json_t *list, struct err *e)
{
	CLEANUP(json_freep) json_t *chain = NULL;
	json_t *shown = NULL;
	int rc = rest_load(r, &port_chain_resource, id, &chain, e);

	if (rc == 1)
		rc = chain_json(r, chain, &shown, e);
	if (shown)
		(void)json_array_append_new(list, shown);
	return rc < 0 ? rc : 0;
}

int chain_status_list(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *list = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e,
			  "SELECT id FROM sfc_port_chain WHERE ?1 OR project_id = ?2 ORDER BY chain_serial",
			  "bs", (int)r->auth.is_admin, r->auth.project_id ? r->auth.project_id : "");

	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		rc = add_chain(r, arena_strdup(r->arena, db_text(q, 0)), list, e);
		if (rc < 0)
			break;
	}
	if (rc >= 0)
		req_reply(r, json_pack("{s:O}", "chains", list));
	return rc < 0 ? rc : 0;
}

int chain_status_show(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *chain = NULL;
	json_t *shown = NULL;
	int rc = rest_need(r, &port_chain_resource, req_param(r, "id"), &chain, e);

	if (rc == 0)
		rc = chain_json(r, chain, &shown, e);
	if (shown)
		req_reply(r, json_pack("{s:o}", "chain", shown));
	return rc;
}

/* ---- changes ---- */

#define CHANGE_SQL                                                                                                         \
	"SELECT id, chain_id, what, mode, status, reason, requested_us, confirmed_us, flipped_us, build_us, flows_moved, " \
	"flows_kept, flows_draining, path, hops FROM chain_change "

static json_t *int_or_null(struct db_rows *q, int col)
{
	return db_is_null(q, col) ? json_null() : json_integer(db_int(q, col));
}

/* Confirmed on the hub's clock, from the request to the node's word: what a client waits for. */
static json_t *duration_ms(struct db_rows *q)
{
	return db_is_null(q, 7) ? json_null() :
				  json_real((double)(db_int(q, 7) - db_int(q, 6)) / 1000.0);
}

static json_t *change_json(struct db_rows *q)
{
	json_t *hops = db_json(q, 14);

	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
		"id", db_text(q, 0), "chain_id", db_text(q, 1), "what", db_text(q, 2), "mode",
		db_text(q, 3), "status", db_text(q, 4), "reason", db_text(q, 5), "requested_at",
		site_time(db_int(q, 6)), "confirmed_at", site_time(db_int(q, 7)), "flipped_at",
		site_time(db_int(q, 8)), "duration_ms", duration_ms(q), "build_us", int_or_null(q, 9),
		"flows_moved", int_or_null(q, 10), "flows_kept", int_or_null(q, 11), "draining",
		int_or_null(q, 12), "path", int_or_null(q, 13), "hops", hops ? hops : json_array());
}

int chain_change_list(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *chain = NULL, *list = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = rest_need(r, &port_chain_resource, req_param(r, "id"), &chain, e);

	if (rc == 0)
		rc = db_query(r->db, &q, e,
			      CHANGE_SQL "WHERE chain_id = ? ORDER BY requested_us DESC LIMIT ?",
			      "si", json_str(chain, "id"), (int64_t)CHANGES_LIMIT);
	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		(void)json_array_append_new(list, change_json(q));
	if (rc >= 0)
		req_reply(r, json_pack("{s:O}", "changes", list));
	return rc < 0 ? rc : 0;
}

int chain_change_show(struct req *r, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	const char *id = req_param(r, "id");
	int rc = db_query(r->db, &q, e, CHANGE_SQL "WHERE id = ?1 AND (?2 OR project_id = ?3)", "sbs",
			  id, (int)r->auth.is_admin, r->auth.project_id ? r->auth.project_id : "");

	if (rc >= 0)
		rc = db_step(q, e);
	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, NULL, "Change %.64s could not be found.", id);
	if (rc == 1)
		req_reply(r, json_pack("{s:o}", "change", change_json(q)));
	return rc < 0 ? rc : 0;
}
