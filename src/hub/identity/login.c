/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/identity/identity.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/identity/password.h"

#define LOGIN_WAIT_MS 5 /* about one password's time */

/* Source: identity v3, "Password authentication", "Token authentication", with and without scope. */

static int refuse(struct err *e)
{
	return err_set(e, FAULT_UNAUTHENTICATED, NULL,
		       "The request you have made requires authentication.");
}

static int malformed(const char *field, const char *what, struct err *e)
{
	return err_set(e, FAULT_BAD_REQUEST, field, "Invalid input for %s. Reason: %s.", field, what);
}

/* {"id": …} or {"name": …} to the id of an enabled domain. 1 found, 0 not. */
static int find_domain(struct req *r, const json_t *domain, const char **ret, struct err *e)
{
	const char *id = json_str(domain, "id"), *name = json_str(domain, "name");

	if (id) {
		*ret = id;
		return 1;
	}
	if (!name)
		return malformed("auth.domain", "a domain needs an id or a name", e);
	return db_get_text(r->db, r->arena, ret, e, "SELECT id FROM domain WHERE name = ?", "s", name);
}

/* The user of a password: *ret_hash is NULL when there is no such user. */
static int find_user(struct req *r, const json_t *user, const char **ret_id, const char **ret_hash,
		     struct err *e)
{
	const char *id = json_str(user, "id"), *name = json_str(user, "name"), *domain = NULL;
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc;

	*ret_id = *ret_hash = NULL;
	if (!id && !name)
		return malformed("auth.identity.password.user",
				 "a user needs an id, or a name and a domain", e);
	if (!id) {
		if (!json_is_object(json_object_get(user, "domain")))
			return malformed("auth.identity.password.user.domain",
					 "a user's name needs its domain", e);
		rc = find_domain(r, json_object_get(user, "domain"), &domain, e);
		if (rc <= 0)
			return rc;
	}
	rc = id ? db_query(r->db, &q, e, "SELECT id, password_hash FROM user WHERE id = ?", "s", id) :
		  db_query(r->db, &q, e,
			   "SELECT id, password_hash FROM user WHERE domain_id = ? AND name = ?",
			   "ss", domain, name);
	if (rc >= 0)
		rc = db_step(q, e);
	if (rc == 1) {
		*ret_id = arena_strdup(r->arena, db_text(q, 0));
		*ret_hash = arena_strdup(r->arena, db_text(q, 1));
	}
	return rc < 0 ? rc : 0;
}

static int by_password(struct req *r, const json_t *identity, struct token *t, struct err *e)
{
	const json_t *user = json_object_get(json_object_get(identity, "password"), "user");
	const char *password = json_str(user, "password"), *id, *hash;
	int rc;

	if (!json_is_object(user))
		return malformed("auth.identity.password.user", "it is required", e);
	if (!password)
		return malformed("auth.identity.password.user.password", "it is required", e);
	rc = find_user(r, user, &id, &hash, e);
	if (rc < 0)
		return rc;
	/* A storm of logins waits at the end of the queue, not on the workers that serve the others. */
	if (!password_enter(LOGIN_WAIT_MS)) {
		r->again = true;
		return err_set(e, FAULT_UNAVAILABLE, NULL, "Too many logins at once.");
	}
	rc = password_check(password, hash, e);
	password_leave();
	if (rc <= 0)
		return rc < 0 ? rc : refuse(e);
	str_copy(t->user_id, sizeof(t->user_id), str_of(id));
	t->methods |= METHOD_PASSWORD;
	return 0;
}

/* A token for another scope lives no longer than the first one did. */
static int by_token(struct req *r, const json_t *identity, struct token *t, struct err *e)
{
	const char *id = json_str(json_object_get(identity, "token"), "id");
	static const struct uuid none;
	struct req_auth who = { 0 };
	struct token from;
	int rc;

	if (!id)
		return malformed("auth.identity.token.id", "it is required", e);
	rc = auth_check_token(r, str_of(id), &from, &who, e);
	if (rc < 0)
		return rc;
	memcpy(t->user_id, from.user_id, sizeof(t->user_id));
	t->methods |= from.methods | METHOD_TOKEN;
	t->expires_us = from.expires_us;
	t->parent_audit_id = uuid_eq(from.parent_audit_id, none) ? from.audit_id : from.parent_audit_id;
	return 0;
}

static const struct method {
	const char *name;
	int (*fn)(struct req *r, const json_t *identity, struct token *t, struct err *e);
} methods[] = {
	{ "password", by_password },
	{ "token", by_token },
};

static int check_methods(struct req *r, const json_t *identity, struct token *t, struct err *e)
{
	const json_t *names = json_object_get(identity, "methods");
	char first[TOKEN_ID_SIZE] = "";

	if (!json_is_array(names) || json_array_size(names) == 0)
		return malformed("auth.identity.methods", "a list of methods is required", e);
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		const struct method *m = methods;
		int rc;

		while (m < methods + ARRAY_LEN(methods) && (!name || strcmp(m->name, name) != 0))
			m++;
		if (m == methods + ARRAY_LEN(methods))
			return refuse(e);
		rc = m->fn(r, identity, t, e);
		if (rc < 0)
			return rc;
		/* Several methods must mean one user. */
		if (i && strcmp(first, t->user_id) != 0)
			return refuse(e);
		memcpy(first, t->user_id, sizeof(first));
	}
	return 0;
}

static int scope_to_project(struct req *r, const json_t *project, struct token *t, struct err *e)
{
	const char *id = json_str(project, "id"), *name = json_str(project, "name"), *domain;
	int rc = 1;

	if (!id) {
		if (!name || !json_is_object(json_object_get(project, "domain")))
			return malformed("auth.scope.project",
					 "a project needs an id, or a name and a domain", e);
		rc = find_domain(r, json_object_get(project, "domain"), &domain, e);
		if (rc == 1)
			rc = db_get_text(r->db, r->arena, &id, e,
					 "SELECT id FROM project WHERE domain_id = ? AND name = ?",
					 "ss", domain, name);
	}
	if (rc <= 0 || str_copy(t->scope_id, sizeof(t->scope_id), str_of(id)) < 0)
		return rc < 0 ? rc : refuse(e);
	t->scope = SCOPE_PROJECT;
	return 0;
}

static int scope_to_domain(struct req *r, const json_t *domain, struct token *t, struct err *e)
{
	const char *id;
	int rc = find_domain(r, domain, &id, e);

	if (rc <= 0 || str_copy(t->scope_id, sizeof(t->scope_id), str_of(id)) < 0)
		return rc < 0 ? rc : refuse(e);
	t->scope = SCOPE_DOMAIN;
	return 0;
}

/* No scope asked: the user's default project, when it still has a role there. */
static int default_scope(struct req *r, struct token *t, struct err *e)
{
	const char *id = NULL;
	int rc = db_get_text(
		r->db, r->arena, &id, e,
		"SELECT u.default_project_id FROM user u JOIN assignment a ON a.user_id = u.id"
		" AND a.target_kind = 'project' AND a.target_id = u.default_project_id WHERE u.id = ? LIMIT 1",
		"s", t->user_id);

	if (rc == 1 && id && str_copy(t->scope_id, sizeof(t->scope_id), str_of(id)) == 0)
		t->scope = SCOPE_PROJECT;
	return rc < 0 ? rc : 0;
}

static int check_scope(struct req *r, const json_t *auth, struct token *t, struct err *e)
{
	const json_t *scope = json_object_get(auth, "scope"), *part;

	if (!scope)
		return default_scope(r, t, e);
	if (json_is_string(scope) && strcmp(json_string_value(scope), "unscoped") == 0)
		return 0;
	if (!json_is_object(scope) || json_object_size(scope) > 1)
		return malformed("auth.scope", "it must name one project, domain or the system", e);
	part = json_object_get(scope, "project");
	if (json_is_object(part))
		return scope_to_project(r, part, t, e);
	part = json_object_get(scope, "domain");
	if (json_is_object(part))
		return scope_to_domain(r, part, t, e);
	if (json_is_true(json_object_get(json_object_get(scope, "system"), "all"))) {
		t->scope = SCOPE_SYSTEM;
		str_copy(t->scope_id, sizeof(t->scope_id), STR("all"));
		return 0;
	}
	if (json_object_get(scope, "unscoped"))
		return 0;
	return malformed("auth.scope", "it must name a project, a domain or the system", e);
}

int login(struct req *r, struct token *ret, struct err *e)
{
	json_t *auth, *identity;
	struct token t = { 0 };
	int rc = json_need_obj(r->body, "auth", &auth, e);

	if (rc == 0)
		rc = json_need_obj(auth, "identity", &identity, e);
	if (rc < 0)
		return rc;
	t.issued_us = clock_wall_us();
	t.expires_us = t.issued_us + TOKEN_LIFE_US;
	t.audit_id = uuid_random();
	rc = check_methods(r, identity, &t, e);
	if (rc == 0)
		rc = check_scope(r, auth, &t, e);
	if (rc == 0)
		*ret = t;
	return rc;
}
