/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <string.h>

#include "base/json.h"

/* A list: filters, paging, sorting. */

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
		rc = rows_expand(r, p->res, rows, e);
	if (rc < 0)
		return rc;
	page.first = key_of(r, p, json_array_get(rows, 0));
	page.last = key_of(r, p, json_array_get(rows, json_array_size(rows) - 1));
	view_of(r, &v);
	json_array_foreach(rows, i, row)
		view_present(r, p->res, &v, row);
	req_reply(r, page_envelope(r, MOVE_PTR(rows), &page));
	return 0;
}
