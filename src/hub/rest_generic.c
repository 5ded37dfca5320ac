/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <string.h>

#include "base/json.h"

/* ---- what a caller sees of a row ---- */

#define FIELDS_MAX 64
struct view {
	const char *fields[FIELDS_MAX]; /* asked for; none: all */
	size_t n_fields;
	bool brief;
};

static void view_of(struct req *r, struct view *v)
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

/* Removes what is hidden from this caller, adds the aliases. */
static void present(const struct req *r, const struct resource *res, const struct view *v, json_t *row)
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

static int expand_rows(struct req *r, const struct resource *res, json_t *rows, struct err *e)
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

static int expand_row(struct req *r, const struct resource *res, json_t *row, struct err *e)
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
	present(r, res, &v, row);
	req_reply(r, wrap(res, row));
	return 0;
}

/* ---- list ---- */

/* Nova's name filter is a regular expression; what clients send of it are anchors around plain text. */
static void name_like(struct sql *s, const char *column, const char *value)
{
	size_t len = strlen(value);
	bool from = len && value[0] == '^', to = len > 1 && value[len - 1] == '$';
	CLEANUP(strbuf_done) struct strbuf b = { 0 };

	strbuf_adds(&b, from ? "" : "%");
	for (size_t i = from; i < len - to; i++) {
		if (value[i] == '%' || value[i] == '_' || value[i] == '!')
			strbuf_addc(&b, '!');
		strbuf_addc(&b, value[i]);
	}
	strbuf_adds(&b, to ? "" : "%");
	strbuf_addf(&s->text, "%s LIKE ? ESCAPE '!'", column);
	sql_arg_text(s, arena_strdup(s->arena, strbuf_cstr(&b)));
}

static int filter_value(struct req *r, struct sql *s, const struct resource *res,
			const struct attr *at, const char *text, struct err *e)
{
	struct db_arg arg = { .kind = DB_ARG_TEXT, .s = text };
	char buf[CIDR_STR_SIZE];
	struct mac mac;
	struct ip_addr ip;
	int b;

	if (at->type == ATTR_BOOL) {
		b = bool_parse(text);
		if (b < 0)
			return err_set(e, FAULT_BAD_REQUEST, at->name,
				       "Invalid input for %s. Reason: '%.60s' is not a boolean.",
				       at->name, text);
		arg = (struct db_arg){ .kind = DB_ARG_INT, .i = b };
	} else if (at->type == ATTR_INT) {
		arg.kind = DB_ARG_INT;
		if (str_to_i64(str_of(text), &arg.i) < 0)
			return err_set(e, FAULT_BAD_REQUEST, at->name,
				       "Invalid input for %s. Reason: '%.60s' is not an integer.",
				       at->name, text);
	} else if (at->type == ATTR_MAC && mac_parse(str_of(text), &mac) == 0) {
		arg.s = arena_strdup(r->arena, mac_format(mac, buf));
	} else if (at->type == ATTR_IP && ip_parse(str_of(text), &ip) == 0) {
		arg.s = arena_strdup(r->arena, ip_format(ip, buf));
	}
	(void)res;
	sql_arg(s, arg);
	return 0;
}

/* All values of one name: col IN (?, ?). Called at the first occurrence. */
static int filter_attr(struct req *r, struct sql *s, const struct row_plan *p,
		       const struct attr *at, const char *name, struct err *e)
{
	const struct query *q = &req_impl(r)->query;
	size_t n = 0;

	if (strcmp(at->name, "name") == 0 && strcmp(p->res->service, "compute") == 0) {
		strbuf_adds(&s->text, " AND ");
		name_like(s, at->column, query_get(q, name));
		return 0;
	}
	strbuf_addf(&s->text, " AND %s IN (", at->column);
	for (size_t i = 0; i < q->n_args; i++) {
		int rc;

		if (strcmp(q->args[i].name, name) != 0)
			continue;
		rc = filter_value(r, s, p->res, at, q->args[i].value, e);
		if (rc < 0)
			return rc;
		strbuf_adds(&s->text, n++ ? ", ?" : "?");
	}
	strbuf_adds(&s->text, ")");
	return 0;
}

/* A filter of the resource's own: name, or "name=key" with the value behind it. */
static const struct rest_filter *own_filter(const struct resource *res, const struct query_arg *arg,
					    const char **ret_value)
{
	size_t name_len = strlen(arg->name);

	for (const struct rest_filter *f = res->filters; f && f->name; f++) {
		size_t len = strlen(f->name);

		if (len == name_len && strcmp(f->name, arg->name) == 0) {
			*ret_value = arg->value;
			return f;
		}
		if (len > name_len && f->name[name_len] == '=' &&
		    strncmp(f->name, arg->name, name_len) == 0 &&
		    str_starts(str_of(arg->value), str_of(f->name + name_len + 1)) &&
		    arg->value[len - name_len - 1] == '=') {
			*ret_value = arg->value + (len - name_len);
			return f;
		}
	}
	return NULL;
}

/* Every value of the same own filter, joined by OR. Called at its first occurrence. */
static void filter_own(struct req *r, struct sql *s, const struct resource *res,
		       const struct rest_filter *f)
{
	const struct query *q = &req_impl(r)->query;
	const char *value;
	size_t n = 0;

	strbuf_adds(&s->text, " AND (");
	for (size_t i = 0; i < q->n_args; i++) {
		if (own_filter(res, &q->args[i], &value) != f)
			continue;
		strbuf_addf(&s->text, "%s%s", n++ ? " OR " : "", f->sql);
		sql_arg_text(s, value);
	}
	strbuf_adds(&s->text, ")");
}

static bool seen_before(const struct resource *res, const struct query *q, size_t i,
			const struct rest_filter *f)
{
	const char *value;

	for (size_t k = 0; k < i; k++)
		if (f ? own_filter(res, &q->args[k], &value) == f :
			strcmp(q->args[k].name, q->args[i].name) == 0)
			return true;
	return false;
}

/* Names that are no attribute are ignored, as the services do. */
static int add_filters(struct req *r, struct sql *s, const struct row_plan *p, struct err *e)
{
	const struct query *q = &req_impl(r)->query;

	for (size_t i = 0; i < q->n_args; i++) {
		const char *name = q->args[i].name, *value;
		const struct rest_filter *f = own_filter(p->res, &q->args[i], &value);
		const struct attr *at = attr_find(p->res, name);
		int rc = 0;

		if (seen_before(p->res, q, i, f))
			continue;
		if (f)
			filter_own(r, s, p->res, f);
		else if (at && at->column && (at->flags & ATTR_FILTER || at == p->key) &&
			 at->since <= r->micro)
			rc = filter_attr(r, s, p, at, name, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* NULL sorts like the empty text, so that a marker can stand on it. */
static void sort_expr(struct strbuf *b, const struct sort_key *k)
{
	bool nullable = k->attr && k->attr->flags & ATTR_NULLABLE;

	strbuf_addf(b, nullable ? "IFNULL(%s, '')" : "%s", k->column);
}

static void marker_compare(struct sql *s, const struct row_plan *p, const struct sort_key *k,
			   const char *op, const char *marker)
{
	sort_expr(&s->text, k);
	strbuf_addf(&s->text, " %s (SELECT ", op);
	sort_expr(&s->text, k);
	strbuf_addf(&s->text, " FROM %s WHERE %s = ?)", p->res->table, p->res->key ? p->res->key : "id");
	sql_arg_text(s, marker);
}

/* Rows after the marker in the sort order: (k1 > m1) OR (k1 = m1 AND k2 > m2) … */
static int add_marker(struct req *r, struct sql *s, const struct row_plan *p,
		      const struct sort *sort, bool reverse, struct err *e)
{
	const char *marker = query_get(&req_impl(r)->query, "marker");
	CLEANUP(json_freep) json_t *row = NULL;
	int rc;

	if (!marker || !*marker)
		return 0;
	rc = row_find(r, p, marker, true, &row, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, FAULT_BAD_REQUEST, "marker", "marker [%.80s] not found", marker);
	strbuf_adds(&s->text, " AND (");
	for (size_t i = 0; i < sort->n_keys; i++) {
		strbuf_adds(&s->text, i ? " OR (" : "(");
		for (size_t k = 0; k < i; k++) {
			marker_compare(s, p, &sort->keys[k], "=", marker);
			strbuf_adds(&s->text, " AND ");
		}
		marker_compare(s, p, &sort->keys[i],
			       sort->keys[i].descending != reverse ? "<" : ">", marker);
		strbuf_adds(&s->text, ")");
	}
	strbuf_adds(&s->text, ")");
	return 0;
}

static void add_order(struct sql *s, const struct sort *sort, const struct page *page)
{
	for (size_t i = 0; i < sort->n_keys; i++) {
		strbuf_adds(&s->text, i ? ", " : " ORDER BY ");
		sort_expr(&s->text, &sort->keys[i]);
		strbuf_adds(&s->text, sort->keys[i].descending != page->reverse ? " DESC" : "");
	}
	/* One more than the page shows whether there is a next one. */
	if (page->limit) {
		strbuf_adds(&s->text, " LIMIT ?");
		sql_arg(s, (struct db_arg){ .kind = DB_ARG_INT, .i = (int64_t)page->limit + 1 });
	}
}

static int list_sql(struct req *r, struct sql *s, const struct row_plan *p, const struct page *page,
		    struct err *e)
{
	const struct query *q = &req_impl(r)->query;
	const char *all = query_get(q, "all_tenants");
	/* Compute shows an admin its own project unless asked otherwise; the others show all. */
	bool all_projects = strcmp(r->module->service, "compute") != 0 || !p->project ||
			    (all && bool_parse(all) != 0);
	struct sort sort;
	int rc = query_sort(q, p->res, r->arena, &sort, e);

	if (rc < 0)
		return rc;
	strbuf_addf(&s->text, "%s WHERE 1 = 1", p->select);
	sql_visible(s, r, p, all_projects);
	rc = add_filters(r, s, p, e);
	if (rc == 0)
		rc = add_marker(r, s, p, &sort, page->reverse, e);
	if (rc < 0)
		return rc;
	add_order(s, &sort, page);
	return s->text.error ? err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a statement") : 0;
}

static int fetch_rows(struct req *r, const struct row_plan *p, const struct sql *s,
		      struct page *page, json_t *rows, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_queryv(r->db, &q, e, strbuf_cstr(&s->text), s->args, s->n_args);

	if (rc < 0)
		return rc;
	while ((rc = db_step(q, e)) == 1) {
		json_t *row;

		if (page->limit && json_array_size(rows) == page->limit) {
			page->more = true;
			return 0;
		}
		row = row_read(p, q);
		rc = !row	   ? -1 :
		     page->reverse ? json_array_insert_new(rows, 0, row) :
				     json_array_append_new(rows, row);
		if (rc < 0)
			return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a list");
	}
	return rc;
}

static const char *key_of(struct req *r, const struct row_plan *p, const json_t *row)
{
	return p->key && row ? arena_strdup(r->arena, json_str(row, p->key->name)) : NULL;
}

int rest_list(struct req *r, struct err *e)
{
	const struct row_plan *p = row_plan_of(r->route->resource, e);
	CLEANUP(sql_done) struct sql s = { .arena = r->arena };
	CLEANUP(json_freep) json_t *rows = json_array();
	const char *reverse = query_get(&req_impl(r)->query, "page_reverse");
	struct page page = { .reverse = reverse && bool_parse(reverse) == 1 };
	struct view v;
	json_t *row;
	size_t i;
	int rc;

	if (!p || !rows)
		return p ? err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a list") : -e->num;
	rc = query_limit(&req_impl(r)->query, r->module, &page.limit, &page.limit_given, e);
	if (rc == 0)
		rc = list_sql(r, &s, p, &page, e);
	if (rc == 0)
		rc = fetch_rows(r, p, &s, &page, rows, e);
	if (rc == 0)
		rc = expand_rows(r, p->res, rows, e);
	if (rc < 0)
		return rc;
	page.first = key_of(r, p, json_array_get(rows, 0));
	page.last = key_of(r, p, json_array_get(rows, json_array_size(rows) - 1));
	view_of(r, &v);
	json_array_foreach(rows, i, row)
		present(r, p->res, &v, row);
	req_reply(r, page_envelope(r, MOVE_PTR(rows), &page));
	return 0;
}

/* ---- one row ---- */

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
		rc = expand_row(r, res, row, e);
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
		rc = expand_row(r, p->res, row, e);
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
		present(r, res, &v, row);
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
	return rc < 0 ? rc : remove_row(r, p, row, e);
}
