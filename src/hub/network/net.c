/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/net.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "hub/session.h"

int net_own(struct req *r, const json_t *row, const char *rule, struct err *e)
{
	const char *project = json_str(row, "project_id");

	if (r->auth.is_admin ||
	    (project && r->auth.project_id && strcmp(project, r->auth.project_id) == 0))
		return 0;
	return neutron_err(e, NEUTRON_NOT_ALLOWED, NULL, rule);
}

int net_if_match(struct req *r, const json_t *row, struct err *e)
{
	struct str match = http_header(r->http, "if-match"), rest, key;
	char current[24], wanted[24];

	if (match.len == 0)
		return 0;
	key = str_cut(match, '=', &rest);
	(void)snprintf(current, sizeof(current), "%" PRId64, json_int(row, "revision_number", 0));
	(void)str_copy(wanted, sizeof(wanted), rest);
	if (!str_eq(str_trim(key), STR("revision_number")))
		return err_set(e, FAULT_BAD_REQUEST, "If-Match",
			       "Unsupported If-Match: use revision_number=N");
	if (!str_eq_c(str_trim(rest), current))
		return neutron_err(e, NEUTRON_REVISION, "If-Match", wanted, current);
	return 0;
}

int net_begin(struct req *r, const json_t *row, const char *rule, struct err *e)
{
	int rc = net_own(r, row, rule, e);

	return rc < 0 ? rc : net_if_match(r, row, e);
}

json_t *net_ids(const json_t *rows)
{
	json_t *ids = json_array(), *row;
	size_t i;

	json_array_foreach(rows, i, row)
		(void)json_array_append(ids, json_object_get(row, "id"));
	return ids;
}

int net_page_begin(struct net_page *p, json_t *rows, struct err *e)
{
	json_t *row;
	size_t i;

	p->rows = rows;
	p->by_id = json_object();
	json_array_foreach(rows, i, row) {
		const char *id = json_str(row, "id");

		if (id && json_object_set(p->by_id, id, row) < 0) {
			net_page_done(p);
			return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
		}
	}
	return p->by_id ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
}

void net_page_done(struct net_page *p)
{
	json_decref(p->by_id);
	p->by_id = NULL;
}

json_t *net_page_row(const struct net_page *p, const char *id)
{
	return json_object_get(p->by_id, id);
}

void net_touch(void *req, const char *node_id)
{
	if (node_id)
		req_touch_node(req, node_id);
}

int net_touch_network(struct req *r, const char *network_id, struct err *e)
{
	return intent_nodes_of_network(r->db, network_id, net_touch, r, e);
}

/* Rules may name address groups that the node did not need before. */
static void touch_groups(void *req, const char *node_id)
{
	req_touch_node_parts(req, node_id, INTENT_GROUPS | INTENT_ADDRESSES);
}

int net_touch_group(struct req *r, const char *group_id, struct err *e)
{
	return intent_nodes_of_group(r->db, group_id, touch_groups, r, e);
}

int net_touch_remote(struct req *r, const char *group_id, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e,
			  "SELECT DISTINCT security_group_id FROM security_group_rule WHERE remote_group_id = ?",
			  "s", group_id);

	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		const char *id = arena_strdup(r->arena, db_text(q, 0));

		rc = net_touch_group(r, id, e);
	}
	return rc;
}

const char *net_json_text(struct req *r, const json_t *j)
{
	CLEANUP(free_charp) char *text = j ? json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	const char *s = text ? arena_strdup(r->arena, text) : NULL;

	return s ? s : "null";
}
