/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/identity/identity.h"

#include <string.h>

#include "base/json.h"

/* Source: identity v3, "Assign role to user on project / domain / system", "List role assignments". */

struct target {
	const char *kind, *id, *user_id;
};

static bool path_has(const struct req *r, const char *name)
{
	return strstr(r->route->path, name) != NULL;
}

/* User and target of the path; both must exist. */
static int target_of(struct req *r, struct target *t, struct err *e)
{
	CLEANUP(json_freep) json_t *user = NULL;
	CLEANUP(json_freep) json_t *row = NULL;
	int rc;

	t->user_id = req_param(r, "user_id");
	rc = rest_need(r, &user_resource, t->user_id, &user, e);
	if (rc < 0)
		return rc;
	if (path_has(r, "{project_id}")) {
		*t = (struct target){ "project", req_param(r, "project_id"), t->user_id };
		return rest_need(r, &project_resource, t->id, &row, e);
	}
	if (path_has(r, "{domain_id}")) {
		*t = (struct target){ "domain", req_param(r, "domain_id"), t->user_id };
		return rest_need(r, &domain_resource, t->id, &row, e);
	}
	*t = (struct target){ "system", "all", t->user_id };
	return 0;
}

static int target_and_role(struct req *r, struct target *t, struct err *e)
{
	CLEANUP(json_freep) json_t *role = NULL;
	int rc = target_of(r, t, e);

	return rc < 0 ? rc : rest_need(r, &role_resource, req_param(r, "role_id"), &role, e);
}

int assignment_put(struct req *r, struct err *e)
{
	struct target t;
	int rc = target_and_role(r, &t, e);

	if (rc == 0)
		rc = db_exec(r->db, e,
			     "INSERT OR IGNORE INTO assignment (user_id, target_kind, target_id, role_id) VALUES (?, ?, ?, ?)",
			     "ssss", t.user_id, t.kind, t.id, req_param(r, "role_id"));
	return rc < 0 ? rc : auth_changed(r, e);
}

static int not_assigned(struct req *r, const struct target *t, struct err *e)
{
	return err_set(e, FAULT_NOT_FOUND, NULL,
		       "Could not find role assignment with role: %.40s, user: %.40s, %s: %.40s.",
		       req_param(r, "role_id"), t->user_id, t->kind, t->id);
}

int assignment_check(struct req *r, struct err *e)
{
	struct target t;
	int64_t n = 0;
	int rc = target_and_role(r, &t, e);

	if (rc == 0)
		rc = db_get_int(r->db, &n, e,
				"SELECT count(*) FROM assignment WHERE user_id = ? AND target_kind = ? AND target_id = ? AND role_id = ?",
				"ssss", t.user_id, t.kind, t.id, req_param(r, "role_id"));
	if (rc < 0)
		return rc;
	return n ? 0 : not_assigned(r, &t, e);
}

int assignment_delete(struct req *r, struct err *e)
{
	struct target t;
	int rc = target_and_role(r, &t, e);

	if (rc == 0)
		rc = db_exec(r->db, e,
			     "DELETE FROM assignment WHERE user_id = ? AND target_kind = ? AND target_id = ? AND role_id = ?",
			     "ssss", t.user_id, t.kind, t.id, req_param(r, "role_id"));
	if (rc < 0)
		return rc;
	return rc ? auth_changed(r, e) : not_assigned(r, &t, e);
}

static json_t *reply_with(struct req *r, const char *name, json_t *rows)
{
	const char *target = arena_memdup(r->arena, r->http->target.ptr, r->http->target.len);

	return json_pack("{s:o,s:{s:s+,s:n,s:n}}", name, rows, "links", "self", req_base_url(r),
			 target ? target : "", "next", "previous");
}

int assignment_roles(struct req *r, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	CLEANUP(json_freep) json_t *rows = json_array();
	struct target t;
	int rc = target_of(r, &t, e);

	if (rc == 0)
		rc = db_query(r->db, &q, e,
			      "SELECT r.id, r.name, r.description FROM assignment a JOIN role r ON r.id = a.role_id"
			      " WHERE a.user_id = ? AND a.target_kind = ? AND a.target_id = ? ORDER BY r.name",
			      "sss", t.user_id, t.kind, t.id);
	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		json_t *row = json_pack("{s:s,s:s,s:s?,s:n,s:{}}", "id", db_text(q, 0), "name",
					db_text(q, 1), "description", db_text(q, 2), "domain_id",
					"options");

		if (!row || add_self_link(r, &role_resource, row, e) < 0 ||
		    json_array_append_new(rows, row) < 0)
			return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a list");
	}
	if (rc < 0)
		return rc;
	req_reply(r, reply_with(r, "roles", MOVE_PTR(rows)));
	return 0;
}

/* ---- GET /role_assignments ---- */

static const struct {
	const char *query, *condition;
} filters[] = {
	{ "user.id", " AND a.user_id = ?" },
	{ "role.id", " AND a.role_id = ?" },
	{ "scope.project.id", " AND a.target_kind = 'project' AND a.target_id = ?" },
	{ "scope.domain.id", " AND a.target_kind = 'domain' AND a.target_id = ?" },
};

static json_t *named(const char *id, const char *name, const char *domain_id,
		     const char *domain_name, bool names)
{
	json_t *o = json_pack("{s:s}", "id", id);

	if (names && name)
		json_object_set_new(o, "name", json_string(name));
	if (names && domain_id)
		json_object_set_new(o, "domain",
				    json_pack("{s:s,s:s?}", "id", domain_id, "name", domain_name));
	return o;
}

static json_t *assignment_row(struct req *r, struct db_rows *q, bool names)
{
	const char *kind = db_text(q, 7), *id = db_text(q, 8);
	json_t *scope = strcmp(kind, "system") == 0 ?
				json_pack("{s:{s:b}}", "system", "all", 1) :
				json_pack("{s:o}", kind,
					  named(id, db_text(q, 9),
						strcmp(kind, "project") == 0 ? db_text(q, 10) : NULL,
						db_text(q, 11), names));
	const char *where = strcmp(kind, "system") == 0 ?
				    "/identity/v3/system" :
				    arena_printf(r->arena, "/identity/v3/%ss/%s", kind, id);

	return json_pack("{s:o,s:o,s:o,s:{s:s+++++}}", "user",
			 named(db_text(q, 0), db_text(q, 1), db_text(q, 2), db_text(q, 3), names),
			 "role", named(db_text(q, 4), db_text(q, 5), NULL, NULL, names), "scope",
			 scope, "links", "assignment", req_base_url(r), where ? where : "",
			 "/users/", db_text(q, 0), "/roles/", db_text(q, 4));
}

static void assignment_sql(struct req *r, struct strbuf *sql, struct db_arg *args, size_t *n_args)
{
	strbuf_adds(
		sql,
		"SELECT u.id, u.name, d.id, d.name, r.id, r.name, NULL, a.target_kind, a.target_id, coalesce(p.name, x.name),"
		" pd.id, pd.name FROM assignment a JOIN user u ON u.id = a.user_id JOIN domain d ON d.id = u.domain_id"
		" JOIN role r ON r.id = a.role_id LEFT JOIN project p ON a.target_kind = 'project' AND p.id = a.target_id"
		" LEFT JOIN domain pd ON pd.id = p.domain_id"
		" LEFT JOIN domain x ON a.target_kind = 'domain' AND x.id = a.target_id WHERE 1 = 1");
	for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
		const char *value = req_query(r, filters[i].query);

		if (!value)
			continue;
		strbuf_adds(sql, filters[i].condition);
		args[(*n_args)++] = (struct db_arg){ .kind = DB_ARG_TEXT, .s = value };
	}
	if (req_query(r, "scope.system"))
		strbuf_adds(sql, " AND a.target_kind = 'system'");
	if (req_query(r, "group.id"))
		strbuf_adds(sql, " AND 0");
	strbuf_adds(sql, " ORDER BY u.name, a.target_kind, a.target_id, r.name");
}

int assignment_list(struct req *r, struct err *e)
{
	CLEANUP(strbuf_done) struct strbuf sql = { 0 };
	CLEANUP(db_donep) struct db_rows *q = NULL;
	CLEANUP(json_freep) json_t *rows = json_array();
	struct db_arg args[ARRAY_LEN(filters)];
	const char *text = req_query(r, "include_names");
	/* As keystone reads it: the bare word is true. */
	bool names = text && strcmp(text, "0") != 0 && strcasecmp(text, "false") != 0;
	size_t n_args = 0;
	int rc;

	assignment_sql(r, &sql, args, &n_args);
	rc = sql.error ? err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a statement") :
			 db_queryv(r->db, &q, e, strbuf_cstr(&sql), args, n_args);
	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		if (json_array_append_new(rows, assignment_row(r, q, names)) < 0)
			return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a list");
	if (rc < 0)
		return rc;
	req_reply(r, reply_with(r, "role_assignments", MOVE_PTR(rows)));
	return 0;
}
