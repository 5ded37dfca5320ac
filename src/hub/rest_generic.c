/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <string.h>

#include "base/json.h"

static json_t *wrap(const struct resource *res, json_t *row)
{
	return res->bare ? row : json_pack("{s:o}", res->singular, row);
}

/* Replies with one row; takes it. */
static int reply_row(struct req *r, const struct resource *res, json_t *row)
{
	struct view v;

	view_of(r, &v);
	v.brief = false;
	view_present(r, res, &v, row);
	req_reply(r, wrap(res, row));
	return 0;
}

int rest_load(struct req *r, const struct resource *res, const char *id, json_t **ret, struct err *e)
{
	const struct row_plan *p = row_plan_of(res, e);

	return p ? row_find(r, p, id, false, ret, e) : err_wrap(e, "%s", res->plural);
}

int rest_need(struct req *r, const struct resource *res, const char *id, json_t **ret, struct err *e)
{
	const struct row_plan *p = row_plan_of(res, e);
	int rc = p ? row_find(r, p, id, true, ret, e) : err_wrap(e, "%s", res->plural);

	if (rc < 0)
		return rc;
	return rc == 1 ? 0 : row_not_found(res, id, e);
}

static const char *last_param(const struct req *r)
{
	const struct req_impl *i = req_impl(r);

	return i->n_params ? i->params[i->n_params - 1].value : "";
}

int rest_show(struct req *r, struct err *e)
{
	const struct resource *res = r->route->resource;
	CLEANUP(json_freep) json_t *row = NULL;
	int rc = rest_need(r, res, last_param(r), &row, e);

	if (rc == 0)
		rc = row_expand(r, res, row, e);
	return rc < 0 ? rc : reply_row(r, res, MOVE_PTR(row));
}

/* A visible row of somebody else (a shared network) is not the caller's to change. */
static int check_owner(const struct req *r, const struct row_plan *p, const json_t *row, struct err *e)
{
	const char *owner = p->project ? json_str(row, p->project->name) : NULL;

	if (r->auth.is_admin || !owner || (r->auth.project_id && strcmp(owner, r->auth.project_id) == 0))
		return 0;
	return err_set(e, FAULT_FORBIDDEN, NULL, "The %s belongs to another project.", p->res->singular);
}

/* "If-Match: revision_number=5". Source: networking v2, "Revisions". */
static int check_revision(const struct req *r, const json_t *row, struct err *e)
{
	struct str wanted, name = str_cut(str_trim(http_header(r->http, "if-match")), '=', &wanted);
	int64_t now = json_int(row, "revision_number", -1);
	uint64_t n;

	if (name.len == 0 || now < 0)
		return 0;
	if (!str_eq_c(name, "revision_number") || str_to_u64(wanted, INT64_MAX, &n) < 0)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "If-Match must be revision_number=<number>.");
	if ((int64_t)n != now)
		return err_set(e, FAULT_PRECONDITION, NULL,
			       "Constrained to %llu, but current revision is %lld",
			       (unsigned long long)n, (long long)now);
	return 0;
}

static int reload(struct req *r, const struct row_plan *p, const char *id, json_t **ret_row,
		  struct err *e)
{
	CLEANUP(json_freep) json_t *row = NULL;
	int rc;

	if (!ret_row)
		return 0;
	rc = row_find(r, p, id, false, &row, e);
	if (rc == 0)
		return row_not_found(p->res, id, e);
	if (rc == 1)
		rc = row_expand(r, p->res, row, e);
	if (rc < 0)
		return rc;
	*ret_row = MOVE_PTR(row);
	return 0;
}

int rest_insert(struct req *r, const struct resource *res, json_t *body, json_t **ret_row, struct err *e)
{
	const struct row_plan *p = row_plan_of(res, e);
	CLEANUP(json_freep) json_t *row = NULL;
	int rc = p ? validate_create(r, p, body, &row, e) : err_wrap(e, "%s", res->plural);

	if (rc >= 0 && res->check_create)
		rc = res->check_create(r, row, e);
	if (rc >= 0)
		rc = row_insert(r, p, row, e);
	if (rc >= 0 && res->created)
		rc = res->created(r, row, e);
	if (rc >= 0)
		rc = reload(r, p, p->key ? json_str(row, p->key->name) : "", ret_row, e);
	return rc < 0 ? rc : 0;
}

static int change_row(struct req *r, const struct row_plan *p, const json_t *old, json_t *body,
		      json_t **ret_row, struct err *e)
{
	const struct resource *res = p->res;
	CLEANUP(json_freep) json_t *changes = NULL;
	CLEANUP(json_freep) json_t *now = NULL;
	const char *id = p->key ? json_str(old, p->key->name) : NULL;
	int rc = validate_update(r, res, body, &changes, e);

	if (rc >= 0 && res->check_update)
		rc = res->check_update(r, old, changes, e);
	if (rc >= 0)
		rc = row_update(r, p, id, changes, e);
	if (rc < 0)
		return rc;
	if (p->key && json_str(changes, p->key->name))
		id = json_str(changes, p->key->name);
	if (res->updated) {
		rc = row_find(r, p, id, false, &now, e);
		if (rc == 1) {
			/* What has no column reaches the hook from the request itself. */
			json_object_update_missing(now, changes);
			rc = res->updated(r, old, now, e);
		}
		if (rc < 0)
			return rc;
	}
	return reload(r, p, id, ret_row, e);
}

int rest_change(struct req *r, const struct resource *res, const char *id, json_t *changes,
		json_t **ret_row, struct err *e)
{
	const struct row_plan *p = row_plan_of(res, e);
	CLEANUP(json_freep) json_t *old = NULL;
	int rc = rest_need(r, res, id, &old, e);

	return rc < 0 || !p ? rc : change_row(r, p, old, changes, ret_row, e);
}

static int remove_row(struct req *r, const struct row_plan *p, const json_t *row, struct err *e)
{
	const char *id = p->key ? json_str(row, p->key->name) : NULL;
	char title[64];
	int rc = p->res->deleting ? p->res->deleting(r, row, e) : 0;

	if (rc < 0)
		return rc;
	rc = db_exec(r->db, e, p->remove, "s", id);
	if (rc < 0 && e && e->fault == FAULT_CONFLICT)
		rc = err_set(e, FAULT_IN_USE, NULL, "%s %s is in use.",
			     resource_title(p->res, title), id ? id : "");
	return rc < 0 ? rc : 0;
}

int rest_remove(struct req *r, const struct resource *res, const char *id, struct err *e)
{
	const struct row_plan *p = row_plan_of(res, e);
	CLEANUP(json_freep) json_t *row = NULL;
	int rc = rest_need(r, res, id, &row, e);

	return rc < 0 || !p ? rc : remove_row(r, p, row, e);
}

/* {"ports": [ … ]}: all or nothing. */
static int create_bulk(struct req *r, const struct resource *res, json_t *bodies, struct err *e)
{
	CLEANUP(json_freep) json_t *rows = json_array();
	json_t *body;
	size_t i;

	if (json_array_size(bodies) == 0 || json_array_size(bodies) > REST_PAGE_MAX)
		return err_set(e, FAULT_BAD_REQUEST, res->plural, "'%s' needs 1 to %d items.",
			       res->plural, REST_PAGE_MAX);
	json_array_foreach(bodies, i, body) {
		struct view v;
		json_t *row = NULL;
		int rc = rest_insert(r, res, body, &row, e);

		if (rc < 0)
			return rc;
		view_of(r, &v);
		view_present(r, res, &v, row);
		if (json_array_append_new(rows, row) < 0)
			return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a list");
	}
	req_reply(r, json_pack("{s:o}", res->plural, MOVE_PTR(rows)));
	return 0;
}

/* The inner object of {"port": {…}}. */
static int inner_body(struct req *r, const struct resource *res, json_t **ret, struct err *e)
{
	json_t *inner = res->bare ? r->body : json_object_get(r->body, res->singular);

	if (!json_is_object(inner))
		return err_set(e, FAULT_BAD_REQUEST, res->singular,
			       "Invalid request body: '%s' is a required object.", res->singular);
	if (!res->bare && json_object_size(r->body) != 1)
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "Invalid request body: only '%s' is expected.", res->singular);
	*ret = inner;
	return 0;
}

int rest_create(struct req *r, struct err *e)
{
	const struct resource *res = r->route->resource;
	json_t *bulk = res->bare ? NULL : json_object_get(r->body, res->plural), *body, *row = NULL;
	int rc;

	if (json_is_array(bulk) && strcmp(r->module->service, "network") == 0)
		return create_bulk(r, res, bulk, e);
	rc = inner_body(r, res, &body, e);
	if (rc == 0)
		rc = rest_insert(r, res, body, &row, e);
	return rc < 0 ? rc : reply_row(r, res, row);
}

int rest_update(struct req *r, struct err *e)
{
	const struct resource *res = r->route->resource;
	const struct row_plan *p = row_plan_of(res, e);
	CLEANUP(json_freep) json_t *old = NULL;
	json_t *body, *row = NULL;
	int rc = rest_need(r, res, last_param(r), &old, e);

	if (rc == 0)
		rc = check_owner(r, p, old, e);
	if (rc == 0)
		rc = check_revision(r, old, e);
	if (rc == 0)
		rc = inner_body(r, res, &body, e);
	if (rc == 0)
		rc = change_row(r, p, old, body, &row, e);
	return rc < 0 ? rc : reply_row(r, res, row);
}

int rest_delete(struct req *r, struct err *e)
{
	const struct resource *res = r->route->resource;
	const struct row_plan *p = row_plan_of(res, e);
	CLEANUP(json_freep) json_t *row = NULL;
	int rc = rest_need(r, res, last_param(r), &row, e);

	if (rc == 0)
		rc = check_owner(r, p, row, e);
	if (rc == 0)
		rc = check_revision(r, row, e);
	return rc < 0 ? rc : remove_row(r, p, row, e);
}
