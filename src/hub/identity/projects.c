/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/identity/identity.h"

#include <string.h>

#include "base/json.h"

/* Domains, projects and roles. Source: identity v3, "Domains", "Projects", "Roles". */

int add_self_link(struct req *r, const struct resource *res, json_t *row, struct err *e)
{
	const char *id = json_str(row, "id");
	char *url = arena_printf(r->arena, "%s/identity/v3/%s/%s", req_base_url(r), res->plural,
				 id ? id : "");

	if (!url || json_object_set_new(row, "links", json_pack("{s:s}", "self", url)) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a row");
	return 0;
}

/* Every write of identity rows goes through here. */
static int changed(struct req *r, json_t *row, struct err *e)
{
	(void)row;
	return auth_changed(r, e);
}

static int updated(struct req *r, const json_t *old, json_t *row, struct err *e)
{
	(void)old;
	return changed(r, row, e);
}

/* ---- domains ---- */

static int domain_expand(struct req *r, json_t *row, struct err *e)
{
	return add_self_link(r, &domain_resource, row, e);
}

static int domain_deleting(struct req *r, const json_t *row, struct err *e)
{
	int64_t n = 0;
	int rc;

	if (json_bool(row, "enabled", true))
		return err_set(e, FAULT_FORBIDDEN, NULL,
			       "Cannot delete a domain that is enabled, please disable it first.");
	rc = db_get_int(r->db, &n, e,
			"SELECT (SELECT count(*) FROM project WHERE domain_id = ?) + (SELECT count(*) FROM user WHERE domain_id = ?)",
			"ss", json_str(row, "id"), json_str(row, "id"));
	if (rc < 0)
		return rc;
	if (n > 0)
		return err_set(e, FAULT_IN_USE, NULL, "Domain %s still has projects or users.",
			       json_str(row, "id"));
	rc = db_exec(r->db, e, "DELETE FROM assignment WHERE target_kind = 'domain' AND target_id = ?",
		     "s", json_str(row, "id"));
	return rc < 0 ? rc : auth_changed(r, e);
}

static const struct attr domain_attrs[] = {
	{ "id", "id", ATTR_STR, ATTR_FILTER | ATTR_SORT },
	{ "name", "name", ATTR_STR, ATTR_REQUIRED | ATTR_RW | ATTR_FILTER | ATTR_SORT, .min = 1,
	  .max = 64 },
	{ "description", "description", ATTR_STR, ATTR_RW, .max = 4096 },
	{ "enabled", "enabled", ATTR_BOOL, ATTR_RW | ATTR_FILTER },
	{ "tags", "tags", ATTR_LIST, ATTR_RW },
	{ "options", "options", ATTR_OBJ, ATTR_RW },
	{ NULL },
};

const struct resource domain_resource = {
	.service = "identity",
	.singular = "domain",
	.plural = "domains",
	.table = "domain",
	.policy = "identity:domain",
	.attrs = domain_attrs,
	.dflt_sort = "name,id",
	.visible_sql = "1",
	.not_found = "Could not find domain: %.80s.",
	.created = changed,
	.updated = updated,
	.deleting = domain_deleting,
	.expand = domain_expand,
};

/* ---- projects ---- */

/* What a new project or user says about its domain; the caller's own one by default. */
static int check_domain(struct req *r, json_t *row, struct err *e)
{
	const char *id = json_str(row, "domain_id");
	CLEANUP(json_freep) json_t *domain = NULL;
	int rc;

	if (!id) {
		id = r->auth.domain_id ? r->auth.domain_id : DOMAIN_DEFAULT_ID;
		json_object_set_new(row, "domain_id", json_string(id));
	}
	rc = rest_load(r, &domain_resource, id, &domain, e);
	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, "project.domain_id",
			       "Could not find domain: %.80s.", id);
	return rc < 0 ? rc : 0;
}

static int check_name_free(struct req *r, const char *domain_id, const char *name, struct err *e)
{
	int64_t n = 0;
	int rc = db_get_int(r->db, &n, e,
			    "SELECT count(*) FROM project WHERE domain_id = ? AND name = ?", "ss",
			    domain_id, name);

	if (rc >= 0 && n > 0)
		return err_set(e, FAULT_CONFLICT, "project.name",
			       "Conflict occurred attempting to store project - it is not permitted to have two projects "
			       "with the same name in the same domain : %s.",
			       name);
	return rc < 0 ? rc : 0;
}

static int project_check_create(struct req *r, json_t *row, struct err *e)
{
	const char *parent = json_str(row, "parent_id");
	CLEANUP(json_freep) json_t *above = NULL;
	int rc = check_domain(r, row, e);

	if (rc == 0)
		rc = check_name_free(r, json_str(row, "domain_id"), json_str(row, "name"), e);
	if (rc < 0)
		return rc;
	if (json_bool(row, "is_domain", false))
		return err_set(e, FAULT_FORBIDDEN, "project.is_domain",
			       "A project that acts as a domain is made at /domains.");
	if (!parent) {
		json_object_set(row, "parent_id", json_object_get(row, "domain_id"));
		return 0;
	}
	if (strcmp(parent, json_str(row, "domain_id")) == 0)
		return 0;
	rc = rest_load(r, &project_resource, parent, &above, e);
	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, "project.parent_id",
			       "Could not find project: %.80s.", parent);
	return rc < 0 ? rc : 0;
}

static int project_check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	const char *name = json_str(changes, "name");

	if (!name || strcmp(name, json_str(old, "name")) == 0)
		return 0;
	return check_name_free(r, json_str(old, "domain_id"), name, e);
}

/* Disabled: the cache refuses its tokens already. */
static int project_deleting(struct req *r, const json_t *row, struct err *e)
{
	const char *id = json_str(row, "id");
	int64_t n = 0;
	int rc = db_get_int(r->db, &n, e, "SELECT count(*) FROM project WHERE parent_id = ?", "s", id);

	if (rc >= 0 && n > 0)
		return err_set(e, FAULT_FORBIDDEN, NULL,
			       "Cannot delete project %s: it has child projects.", id);
	if (rc >= 0)
		rc = db_exec(r->db, e,
			     "DELETE FROM assignment WHERE target_kind = 'project' AND target_id = ?",
			     "s", id);
	return rc < 0 ? rc : auth_revoke(r, REVOKE_PROJECT, id, e);
}

static int project_expand(struct req *r, json_t *row, struct err *e)
{
	return add_self_link(r, &project_resource, row, e);
}

static const struct attr project_attrs[] = {
	{ "id", "id", ATTR_STR, ATTR_FILTER | ATTR_SORT },
	{ "name", "name", ATTR_STR, ATTR_REQUIRED | ATTR_RW | ATTR_FILTER | ATTR_SORT, .min = 1,
	  .max = 64 },
	{ "domain_id", "domain_id", ATTR_STR, ATTR_CREATE | ATTR_FILTER, .max = 64 },
	{ "description", "description", ATTR_STR, ATTR_RW, .max = 4096 },
	{ "enabled", "enabled", ATTR_BOOL, ATTR_RW | ATTR_FILTER },
	{ "parent_id", "parent_id", ATTR_STR, ATTR_CREATE | ATTR_FILTER | ATTR_NULLABLE, .max = 64 },
	{ "is_domain", "is_domain", ATTR_BOOL, ATTR_CREATE | ATTR_FILTER },
	{ "tags", "tags", ATTR_LIST, ATTR_RW },
	{ "options", "options", ATTR_OBJ, ATTR_RW },
	{ NULL },
};

const struct resource project_resource = {
	.service = "identity",
	.singular = "project",
	.plural = "projects",
	.table = "project",
	.policy = "identity:project",
	.attrs = project_attrs,
	.dflt_sort = "name,id",
	.visible_sql = "id = :project OR id IN (SELECT target_id FROM assignment WHERE user_id = :user AND target_kind = 'project')",
	.not_found = "Could not find project: %.80s.",
	.check_create = project_check_create,
	.created = changed,
	.check_update = project_check_update,
	.updated = updated,
	.deleting = project_deleting,
	.expand = project_expand,
};

/* ---- roles ---- */

static int role_expand(struct req *r, json_t *row, struct err *e)
{
	json_object_set_new(row, "domain_id", json_null());
	return add_self_link(r, &role_resource, row, e);
}

static int role_deleting(struct req *r, const json_t *row, struct err *e)
{
	static const char *const builtin[] = { "admin", "member", "reader" };

	for (size_t i = 0; i < ARRAY_LEN(builtin); i++)
		if (strcmp(json_str(row, "name"), builtin[i]) == 0)
			return err_set(e, FAULT_FORBIDDEN, NULL,
				       "The role %s is part of the policy and stays.", builtin[i]);
	return auth_changed(r, e);
}

static const struct attr role_attrs[] = {
	{ "id", "id", ATTR_STR, ATTR_FILTER | ATTR_SORT },
	{ "name", "name", ATTR_STR, ATTR_REQUIRED | ATTR_RW | ATTR_FILTER | ATTR_SORT, .min = 1 },
	{ "description", "description", ATTR_STR, ATTR_RW | ATTR_NULLABLE, .max = 4096 },
	{ "options", "options", ATTR_OBJ, ATTR_RW },
	{ NULL },
};

const struct resource role_resource = {
	.service = "identity",
	.singular = "role",
	.plural = "roles",
	.table = "role",
	.policy = "identity:role",
	.attrs = role_attrs,
	.dflt_sort = "name,id",
	.visible_sql = "1",
	.not_found = "Could not find role: %.80s.",
	.created = changed,
	.updated = updated,
	.deleting = role_deleting,
	.expand = role_expand,
};
