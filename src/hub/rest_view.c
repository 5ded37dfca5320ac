/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <string.h>

#include "base/json.h"

/* What a caller sees of a row. */

void view_of(struct req *r, struct view *v)
{
	const struct query *q = &req_impl(r)->query;

	*v = (struct view){ .brief = r->route->flags & ROUTE_BRIEF };
	for (size_t i = 0; i < q->n_args; i++) {
		struct str rest = str_of(q->args[i].value);

		if (strcmp(q->args[i].name, "fields") != 0)
			continue;
		while (rest.len && v->n_fields < FIELDS_MAX) {
			struct str one = str_cut(rest, ',', &rest);
			char *name = arena_memdup(r->arena, one.ptr, one.len);

			if (name && *name)
				v->fields[v->n_fields++] = name;
		}
	}
}

static bool view_has(const struct view *v, const char *name)
{
	for (size_t i = 0; i < v->n_fields; i++)
		if (strcmp(v->fields[i], name) == 0)
			return true;
	return v->n_fields == 0;
}

void view_present(const struct req *r, const struct resource *res, const struct view *v, json_t *row)
{
	for (const struct attr *at = res->attrs; at->name; at++) {
		bool hide = at->flags & ATTR_HIDDEN ||
			    (at->flags & ATTR_ADMIN_SEE && !r->auth.is_admin) ||
			    at->since > r->micro || (v->brief && at->flags & ATTR_DETAIL);
		json_t *value;

		if (!hide && at->alias && view_has(v, at->alias)) {
			value = json_object_get(row, at->name);
			if (value)
				json_object_set_nocheck(row, at->alias, value);
		}
		if (hide || !view_has(v, at->name))
			json_object_del(row, at->name);
	}
	/* What expand() added beyond the table obeys `fields` as well. */
	if (v->n_fields) {
		const char *key;
		json_t *value;
		void *next;

		json_object_foreach_safe(row, next, key, value)
			if (!view_has(v, key))
				json_object_del(row, key);
	}
}

int rows_expand(struct req *r, const struct resource *res, json_t *rows, struct err *e)
{
	size_t i;
	json_t *row;

	if (res->expand_page)
		return res->expand_page(r, rows, e);
	if (!res->expand)
		return 0;
	json_array_foreach(rows, i, row) {
		int rc = res->expand(r, row, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int row_expand(struct req *r, const struct resource *res, json_t *row, struct err *e)
{
	CLEANUP(json_freep) json_t *rows = NULL;

	if (res->expand)
		return res->expand(r, row, e);
	if (!res->expand_page)
		return 0;
	rows = json_pack("[O]", row);
	return rows ? res->expand_page(r, rows, e) :
		      err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a row");
}
