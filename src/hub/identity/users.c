/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/identity/identity.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/identity/password.h"

/* Source: identity v3, "Users". */

static int check_name_free(struct req *r, const char *domain_id, const char *name, struct err *e)
{
	int64_t n = 0;
	int rc = db_get_int(r->db, &n, e, "SELECT count(*) FROM user WHERE domain_id = ? AND name = ?",
			    "ss", domain_id, name);

	if (rc >= 0 && n > 0)
		return err_set(e, FAULT_CONFLICT, "user.name",
			       "Conflict occurred attempting to store user - Duplicate entry found with name %s at domain ID %s.",
			       name, domain_id);
	return rc < 0 ? rc : 0;
}

static int check_default_project(struct req *r, const json_t *row, struct err *e)
{
	const char *id = json_str(row, "default_project_id");
	CLEANUP(json_freep) json_t *project = NULL;
	int rc = id ? rest_load(r, &project_resource, id, &project, e) : 1;

	if (rc == 0)
		return err_set(e, FAULT_BAD_REQUEST, "user.default_project_id",
			       "Could not find project: %.80s.", id);
	return rc < 0 ? rc : 0;
}

/* row["password"] becomes the hash column; the clear text goes no further. */
static int take_password(json_t *row, struct err *e)
{
	const char *password = json_str(row, "password");
	char hash[PASSWORD_HASH_SIZE];
	int rc;

	if (!password)
		return 0;
	rc = password_hash(password, hash, e);
	if (rc < 0)
		return rc;
	json_object_del(row, "password");
	json_object_set_new(row, "password_hash", json_string(hash));
	json_object_set_new(row, "password_changed", json_integer(clock_wall_us()));
	return 0;
}

static int user_check_create(struct req *r, json_t *row, struct err *e)
{
	const char *domain = json_str(row, "domain_id");
	CLEANUP(json_freep) json_t *found = NULL;
	int rc;

	if (!domain) {
		domain = r->auth.domain_id ? r->auth.domain_id : DOMAIN_DEFAULT_ID;
		json_object_set_new(row, "domain_id", json_string(domain));
		domain = json_str(row, "domain_id");
	}
	rc = rest_load(r, &domain_resource, domain, &found, e);
	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, "user.domain_id",
			       "Could not find domain: %.80s.", domain);
	if (rc >= 0)
		rc = check_name_free(r, domain, json_str(row, "name"), e);
	if (rc >= 0)
		rc = check_default_project(r, row, e);
	return rc < 0 ? rc : take_password(row, e);
}

static int user_created(struct req *r, json_t *row, struct err *e)
{
	return auth_changed(r, e);
}

static int user_check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	const char *name = json_str(changes, "name");
	int rc = 0;

	if (name && strcmp(name, json_str(old, "name")) != 0)
		rc = check_name_free(r, json_str(old, "domain_id"), name, e);
	if (rc == 0)
		rc = check_default_project(r, changes, e);
	return rc < 0 ? rc : take_password(changes, e);
}

/* A new password or a disabled user: what was issued before is void. */
static int user_updated(struct req *r, const json_t *old, json_t *row, struct err *e)
{
	bool new_password = !json_equal(json_object_get(old, "password_hash"),
					json_object_get(row, "password_hash"));

	if (new_password || !json_bool(row, "enabled", true))
		return auth_revoke(r, REVOKE_USER, json_str(row, "id"), e);
	return auth_changed(r, e);
}

static int user_deleting(struct req *r, const json_t *row, struct err *e)
{
	return auth_revoke(r, REVOKE_USER, json_str(row, "id"), e);
}

static int user_expand(struct req *r, json_t *row, struct err *e)
{
	json_object_set_new(row, "password_expires_at", json_null());
	return add_self_link(r, &user_resource, row, e);
}

static const struct attr user_attrs[] = {
	{ "id", "id", ATTR_STR, ATTR_FILTER | ATTR_SORT },
	{ "name", "name", ATTR_STR, ATTR_REQUIRED | ATTR_RW | ATTR_FILTER | ATTR_SORT, .min = 1 },
	{ "domain_id", "domain_id", ATTR_STR, ATTR_CREATE | ATTR_FILTER, .max = 64 },
	{ "password", NULL, ATTR_STR, ATTR_RW | ATTR_NULLABLE, .max = PASSWORD_MAX_BYTES },
	{ "password_hash", "password_hash", ATTR_STR, ATTR_HIDDEN },
	{ "password_changed", "password_changed_us", ATTR_TIME_US, ATTR_HIDDEN },
	{ "default_project_id", "default_project_id", ATTR_STR,
	  ATTR_RW | ATTR_NULLABLE | ATTR_FILTER, .max = 64 },
	{ "email", "email", ATTR_STR, ATTR_RW | ATTR_NULLABLE },
	{ "description", "description", ATTR_STR, ATTR_RW | ATTR_NULLABLE, .max = 4096 },
	{ "enabled", "enabled", ATTR_BOOL, ATTR_RW | ATTR_FILTER },
	{ "options", "options", ATTR_OBJ, ATTR_RW },
	{ NULL },
};

const struct resource user_resource = {
	.service = "identity",
	.singular = "user",
	.plural = "users",
	.table = "user",
	.policy = "identity:user",
	.attrs = user_attrs,
	.dflt_sort = "name,id",
	.visible_sql = "id = :user",
	.not_found = "Could not find user: %.80s.",
	.check_create = user_check_create,
	.created = user_created,
	.check_update = user_check_update,
	.updated = user_updated,
	.deleting = user_deleting,
	.expand = user_expand,
};

/* POST /users/{user_id}/password: the user itself, by its old password. Hashes outside of any transaction. */
int user_password(struct req *r, struct err *e)
{
	const char *id = req_param(r, "user_id"), *old, *fresh, *hash = NULL;
	char new_hash[PASSWORD_HASH_SIZE];
	json_t *user;
	int rc = json_need_obj(r->body, "user", &user, e);

	if (rc == 0)
		rc = json_need_str(user, "original_password", &old, e);
	if (rc == 0)
		rc = json_need_str(user, "password", &fresh, e);
	if (rc == 0)
		rc = db_get_text(r->db, r->arena, &hash, e,
				 "SELECT password_hash FROM user WHERE id = ?", "s", id);
	if (rc >= 0)
		rc = password_check(old, hash, e);
	if (rc == 0)
		return err_set(e, FAULT_UNAUTHENTICATED, NULL,
			       "The request you have made requires authentication.");
	if (rc > 0)
		rc = password_hash(fresh, new_hash, e);
	if (rc >= 0)
		rc = db_begin(r->db, DB_WRITE, e);
	if (rc >= 0)
		rc = db_exec(r->db, e,
			     "UPDATE user SET password_hash = ?, password_changed_us = ? WHERE id = ?",
			     "sis", new_hash, clock_wall_us(), id);
	return rc < 0 ? rc : auth_revoke(r, REVOKE_USER, id, e);
}

int empty_groups(struct req *r, struct err *e)
{
	const char *target = arena_memdup(r->arena, r->http->target.ptr, r->http->target.len);

	req_reply(r, json_pack("{s:[],s:{s:s+,s:n,s:n}}", "groups", "links", "self",
			       req_base_url(r), target ? target : "", "next", "previous"));
	return 0;
}
