/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/identity/identity.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"

/* ---- the token's body. Source: identity v3, "Authentication and token management" ---- */

static const char *const target_kinds
	[] = { [SCOPE_NONE] = "", [SCOPE_PROJECT] = "project", [SCOPE_DOMAIN] = "domain", [SCOPE_SYSTEM] = "system" };

static json_t *domain_ref(struct req *r, const char *id, struct err *e)
{
	const char *name = NULL;
	int rc = db_get_text(r->db, r->arena, &name, e, "SELECT name FROM domain WHERE id = ?", "s", id);

	return rc < 0 ? NULL : json_pack("{s:s,s:s}", "id", id, "name", name ? name : id);
}

static int add_roles(struct req *r, const struct token *t, json_t *body, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	json_t *roles = json_array();
	int rc = db_query(r->db, &q, e,
			  "SELECT r.id, r.name FROM assignment a JOIN role r ON r.id = a.role_id"
			  " WHERE a.user_id = ? AND a.target_kind = ? AND a.target_id = ? ORDER BY r.name",
			  "sss", t->user_id, target_kinds[t->scope], t->scope_id);

	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		json_array_append_new(roles, json_pack("{s:s,s:s}", "id", db_text(q, 0), "name",
						       db_text(q, 1)));
	json_object_set_new(body, "roles", roles);
	return rc;
}

static int add_scope(struct req *r, const struct token *t, const struct req_auth *who, json_t *body,
		     struct err *e)
{
	json_t *domain;

	if (t->scope == SCOPE_NONE)
		return 0;
	if (t->scope == SCOPE_SYSTEM) {
		json_object_set_new(body, "system", json_pack("{s:b}", "all", 1));
		return add_roles(r, t, body, e);
	}
	domain = domain_ref(r, who->domain_id, e);
	if (!domain)
		return err_wrap(e, "the token's domain");
	if (t->scope == SCOPE_DOMAIN) {
		json_object_set_new(body, "domain", domain);
	} else {
		json_object_set_new(body, "project",
				    json_pack("{s:s,s:s,s:o}", "id", who->project_id, "name",
					      who->project_name, "domain", domain));
		json_object_set_new(body, "is_domain", json_false());
	}
	return add_roles(r, t, body, e);
}

static json_t *audit_ids(const struct token *t)
{
	static const struct uuid none;
	char id[AUDIT_ID_SIZE];
	json_t *ids = json_pack("[s]", audit_id_format(t->audit_id, id));

	if (!uuid_eq(t->parent_audit_id, none))
		json_array_append_new(ids, json_string(audit_id_format(t->parent_audit_id, id)));
	return ids;
}

static json_t *methods_of(const struct token *t)
{
	json_t *list = json_array();

	if (t->methods & METHOD_PASSWORD)
		json_array_append_new(list, json_string("password"));
	if (t->methods & METHOD_TOKEN)
		json_array_append_new(list, json_string("token"));
	return list;
}

static int reply_token(struct req *r, const struct token *t, const struct req_auth *who, struct err *e)
{
	char expires[TIME_STR_SIZE], issued[TIME_STR_SIZE];
	json_t *domain = domain_ref(r, who->user_domain_id, e);
	CLEANUP(json_freep) json_t *body = NULL;
	int rc;

	if (!domain)
		return err_wrap(e, "the user's domain");
	body = json_pack("{s:o,s:{s:s,s:s,s:o,s:n},s:o,s:s,s:s}", "methods", methods_of(t), "user",
			 "id", who->user_id, "name", who->user_name, "domain", domain,
			 "password_expires_at", "audit_ids", audit_ids(t), "expires_at",
			 time_format_us(t->expires_us, expires), "issued_at",
			 time_format_us(t->issued_us, issued));
	if (!body)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a token");
	rc = add_scope(r, t, who, body, e);
	if (rc < 0)
		return rc;
	if (t->scope != SCOPE_NONE && !req_query(r, "nocatalog"))
		json_object_set_new(body, "catalog", catalog(r, who->project_id));
	req_reply(r, json_pack("{s:O}", "token", body));
	return 0;
}

/* ---- handlers ---- */

int token_create(struct req *r, struct err *e)
{
	struct req_auth who = { 0 };
	char text[TOKEN_TEXT_SIZE];
	struct token t;
	int rc = login(r, &t, e);

	if (rc == 0)
		rc = auth_subject(r, &t, &who, e);
	if (rc == 0)
		rc = reply_token(r, &t, &who, e);
	if (rc < 0)
		return rc;
	token_sign(r->hub->token_keys, &t, text);
	http_reply_header(r->http, &r->out, "X-Subject-Token", text);
	http_reply_header(r->http, &r->out, "Vary", "X-Auth-Token");
	return 0;
}

/* The token in question; its own user and an admin may ask. Anything invalid is "not found" here. */
static int subject_token(struct req *r, struct token *t, struct req_auth *who, struct err *e)
{
	struct str text = str_trim(http_header(r->http, "x-subject-token"));
	int rc;

	if (text.len == 0)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "The header X-Subject-Token is missing.");
	rc = auth_check_token(r, text, t, who, e);
	if (rc < 0)
		return err_set(e, FAULT_NOT_FOUND, NULL, "Could not find token.");
	if (!r->auth.is_admin && strcmp(who->user_id, r->auth.user_id) != 0)
		return err_set(e, FAULT_FORBIDDEN, NULL,
			       "You are not authorized to perform the requested action: identity:validate_token.");
	return 0;
}

int token_show(struct req *r, struct err *e)
{
	struct req_auth who = { 0 };
	struct token t;
	int rc = subject_token(r, &t, &who, e);
	struct str text = str_trim(http_header(r->http, "x-subject-token"));
	const char *copy;

	if (rc == 0)
		rc = reply_token(r, &t, &who, e);
	if (rc < 0)
		return rc;
	copy = arena_memdup(r->arena, text.ptr, text.len);
	http_reply_header(r->http, &r->out, "X-Subject-Token", copy ? copy : "");
	http_reply_header(r->http, &r->out, "Vary", "X-Auth-Token");
	return 0;
}

int token_revoke(struct req *r, struct err *e)
{
	struct req_auth who = { 0 };
	struct token t;
	int rc = subject_token(r, &t, &who, e);

	return rc < 0 ? rc : auth_revoke(r, REVOKE_AUDIT, who.audit_id, e);
}

static json_t *collection(struct req *r, const char *name, json_t *rows)
{
	const char *target = arena_memdup(r->arena, r->http->target.ptr, r->http->target.len);

	return json_pack("{s:o,s:{s:s+,s:n,s:n}}", name, rows, "links", "self", req_base_url(r),
			 target ? target : "", "next", "previous");
}

int auth_catalog(struct req *r, struct err *e)
{
	req_reply(r, collection(r, "catalog", catalog(r, r->auth.project_id)));
	return 0;
}

static int projects_of(struct req *r, const char *user_id, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	CLEANUP(json_freep) json_t *rows = json_array();
	int rc = db_query(
		r->db, &q, e,
		"SELECT id, name, domain_id, description, enabled, parent_id FROM project WHERE enabled = 1 AND id IN"
		" (SELECT target_id FROM assignment WHERE user_id = ? AND target_kind = 'project') ORDER BY name, id",
		"s", user_id);

	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		char *self = arena_printf(r->arena, "%s/identity/v3/projects/%s", req_base_url(r),
					  db_text(q, 0));

		json_array_append_new(
			rows, json_pack("{s:s,s:s,s:s,s:s,s:b,s:s?,s:b,s:[],s:{},s:{s:s}}", "id",
					db_text(q, 0), "name", db_text(q, 1), "domain_id",
					db_text(q, 2), "description", db_text(q, 3), "enabled",
					(int)db_int(q, 4), "parent_id", db_text(q, 5), "is_domain",
					0, "tags", "options", "links", "self", self ? self : ""));
	}
	if (rc < 0)
		return rc;
	req_reply(r, collection(r, "projects", MOVE_PTR(rows)));
	return 0;
}

int auth_projects(struct req *r, struct err *e)
{
	return projects_of(r, r->auth.user_id, e);
}

int user_projects(struct req *r, struct err *e)
{
	return projects_of(r, req_param(r, "user_id"), e);
}

int auth_domains(struct req *r, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	CLEANUP(json_freep) json_t *rows = json_array();
	int rc = db_query(
		r->db, &q, e,
		"SELECT id, name, description, enabled FROM domain WHERE enabled = 1 AND id IN"
		" (SELECT target_id FROM assignment WHERE user_id = ? AND target_kind = 'domain') ORDER BY name, id",
		"s", r->auth.user_id);

	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		json_array_append_new(rows, json_pack("{s:s,s:s,s:s,s:b}", "id", db_text(q, 0),
						      "name", db_text(q, 1), "description",
						      db_text(q, 2), "enabled", (int)db_int(q, 3)));
	if (rc < 0)
		return rc;
	req_reply(r, collection(r, "domains", MOVE_PTR(rows)));
	return 0;
}

int auth_system(struct req *r, struct err *e)
{
	json_t *rows = json_array();
	int64_t n = 0;
	int rc = db_get_int(
		r->db, &n, e,
		"SELECT count(*) FROM assignment WHERE user_id = ? AND target_kind = 'system' AND target_id = 'all'",
		"s", r->auth.user_id);

	if (rc >= 0 && n > 0)
		json_array_append_new(rows, json_pack("{s:b}", "all", 1));
	if (rc < 0) {
		json_decref(rows);
		return rc;
	}
	req_reply(r, collection(r, "system", rows));
	return 0;
}
