/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"

/* ---- plans: made at first use, kept for the life of the process, found without a lock ---- */

#define PLAN_BUCKETS 64
static struct row_plan *_Atomic plans[PLAN_BUCKETS];
static pthread_mutex_t plans_lock = PTHREAD_MUTEX_INITIALIZER;

const struct attr *attr_find(const struct resource *res, const char *name)
{
	for (const struct attr *at = res->attrs; at->name; at++)
		if (strcmp(at->name, name) == 0 || (at->alias && strcmp(at->alias, name) == 0))
			return at;
	return NULL;
}

const struct attr *attr_of_column(const struct resource *res, const char *column)
{
	for (const struct attr *at = res->attrs; at->name; at++)
		if (at->column && strcmp(at->column, column) == 0)
			return at;
	return NULL;
}

const char *resource_title(const struct resource *res, char buf[static 64])
{
	str_copy(buf, 64, str_of(res->singular));
	for (char *c = buf; *c; c++)
		if (*c == '_')
			*c = ' ';
	buf[0] = (char)toupper((unsigned char)buf[0]);
	return buf;
}

/* ":project" and ":user" become '?'; their order is kept in visible_args. */
static int plan_visible(struct row_plan *p)
{
	const char *s = p->res->visible_sql ? p->res->visible_sql : "project_id = :project";
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	size_t n = 0;

	while (*s) {
		bool project = strncmp(s, ":project", 8) == 0, user = strncmp(s, ":user", 5) == 0;

		if (!project && !user) {
			strbuf_addc(&b, *s++);
			continue;
		}
		if (n == ARRAY_LEN(p->visible_args) - 1)
			return -1;
		p->visible_args[n++] = project ? 'p' : 'u';
		strbuf_addc(&b, '?');
		s += project ? 8 : 5;
	}
	p->visible = strbuf_take(&b);
	return p->visible ? 0 : -1;
}

static int plan_columns(struct row_plan *p, struct err *e)
{
	const struct resource *res = p->res;

	for (const struct attr *at = res->attrs; at->name; at++)
		p->n_attrs++;
	p->cols = calloc(p->n_attrs + 1, sizeof(*p->cols));
	p->dflts = calloc(p->n_attrs + 1, sizeof(*p->dflts));
	if (!p->cols || !p->dflts)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the tables of %s", res->plural);
	for (size_t i = 0; i < p->n_attrs; i++) {
		const struct attr *at = &res->attrs[i];

		if (at->column)
			p->cols[p->n_cols++] = at;
		if (at->dflt && json_parse(str_of(at->dflt), &p->dflts[i], e) < 0)
			return err_wrap(e, "default of %s.%s", res->singular, at->name);
	}
	p->key = attr_of_column(res, res->key ? res->key : "id");
	p->project = attr_of_column(res, "project_id");
	return 0;
}

static char *plan_select(const struct row_plan *p)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };

	strbuf_adds(&b, "SELECT ");
	for (size_t i = 0; i < p->n_cols; i++)
		strbuf_addf(&b, "%s%s", i ? ", " : "", p->cols[i]->column);
	strbuf_addf(&b, " FROM %s", p->res->table);
	return strbuf_take(&b);
}

static void plan_free(struct row_plan *p)
{
	for (size_t i = 0; p->dflts && i < p->n_attrs; i++)
		json_decref(p->dflts[i]);
	free(p->cols);
	free(p->dflts);
	free(p->select);
	free(p->select_key);
	free(p->remove);
	free(p->visible);
	free(p);
}
DEFINE_CLEANUP(struct row_plan *, plan_free)

static struct row_plan *plan_make(const struct resource *res, struct err *e)
{
	CLEANUP(plan_freep) struct row_plan *p = calloc(1, sizeof(*p));
	const char *key = res->key ? res->key : "id";
	struct strbuf b = { 0 };
	int rc;

	if (!p) {
		rc = err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the tables of %s", res->plural);
		return NULL;
	}
	p->res = res;
	rc = plan_columns(p, e);
	if (rc < 0)
		return NULL;
	p->select = plan_select(p);
	strbuf_addf(&b, "%s WHERE %s = ?", p->select ? p->select : "", key);
	p->select_key = strbuf_take(&b);
	strbuf_addf(&b, "DELETE FROM %s WHERE %s = ?", res->table, key);
	p->remove = strbuf_take(&b);
	if (!p->select || !p->select_key || !p->remove || plan_visible(p) < 0) {
		rc = err_set(e, FAULT_INTERNAL, NULL, "no SQL for %s", res->plural);
		return NULL;
	}
	return MOVE_PTR(p);
}

const struct row_plan *row_plan_of(const struct resource *res, struct err *e)
{
	struct row_plan *_Atomic *bucket = &plans[((uintptr_t)res >> 5) % PLAN_BUCKETS];
	struct row_plan *p;

	for (p = *bucket; p; p = p->next)
		if (p->res == res)
			return p;
	pthread_mutex_lock(&plans_lock);
	for (p = *bucket; p && p->res != res; p = p->next)
		;
	if (!p) {
		p = plan_make(res, e);
		if (p) {
			p->next = *bucket;
			*bucket = p;
		}
	}
	pthread_mutex_unlock(&plans_lock);
	return p;
}

/* ---- statements made at run time ---- */

void sql_done(struct sql *s)
{
	strbuf_done(&s->text);
}

void sql_arg(struct sql *s, struct db_arg arg)
{
	if (s->n_args == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 16;
		struct db_arg *more = arena_alloc(s->arena, cap * sizeof(*more));

		if (!more) {
			s->text.error = s->text.error ? s->text.error : -12; /* ENOMEM, sticky */
			return;
		}
		if (s->n_args)
			memcpy(more, s->args, s->n_args * sizeof(*more));
		s->args = more;
		s->cap = cap;
	}
	s->args[s->n_args++] = arg;
}

void sql_arg_text(struct sql *s, const char *text)
{
	sql_arg(s, (struct db_arg){ .kind = text ? DB_ARG_TEXT : DB_ARG_NULL, .s = text });
}

void sql_visible(struct sql *s, const struct req *r, const struct row_plan *p, bool all_projects)
{
	/* Without a scope the project is '', which owns nothing. */
	const char *project = r->auth.project_id ? r->auth.project_id : "";

	if ((r->auth.is_admin && all_projects) || strcmp(p->visible, "1") == 0)
		return;
	strbuf_addf(&s->text, " AND (%s)", p->visible);
	for (const char *c = p->visible_args; *c; c++)
		sql_arg_text(s, *c == 'p' ? project : r->auth.user_id ? r->auth.user_id : "");
}

/* ---- values ---- */

static struct db_arg text_arg(const json_t *v, struct arena *a)
{
	char *text;

	if (json_is_string(v))
		return (struct db_arg){ .kind = DB_ARG_TEXT, .s = json_string_value(v) };
	text = json_text(v);
	if (!text || arena_hook(a, free, text) < 0) {
		free(text);
		return (struct db_arg){ .kind = DB_ARG_NULL };
	}
	return (struct db_arg){ .kind = DB_ARG_TEXT, .s = text };
}

static struct db_arg json_arg(const json_t *v, struct arena *a)
{
	char *text = json_text(v);

	if (!text || arena_hook(a, free, text) < 0) {
		free(text);
		return (struct db_arg){ .kind = DB_ARG_NULL };
	}
	return (struct db_arg){ .kind = DB_ARG_TEXT, .s = text };
}

struct db_arg row_bind(const struct attr *at, const json_t *v, struct arena *a)
{
	if (!v || json_is_null(v))
		return (struct db_arg){ .kind = DB_ARG_NULL };
	switch (at->type) {
	case ATTR_BOOL:
		return (struct db_arg){ .kind = DB_ARG_INT,
					.i = json_is_integer(v) ? json_integer_value(v) :
								  json_is_true(v) };
	case ATTR_INT:
	case ATTR_TIME_S:
	case ATTR_TIME_US:
		return (struct db_arg){ .kind = DB_ARG_INT, .i = json_integer_value(v) };
	case ATTR_REAL:
		return (struct db_arg){ .kind = DB_ARG_REAL, .r = json_number_value(v) };
	case ATTR_OBJ:
	case ATTR_LIST:
	case ATTR_ANY:
		return json_arg(v, a);
	case ATTR_STR:
	case ATTR_UUID:
	case ATTR_IP:
	case ATTR_CIDR:
	case ATTR_MAC:
	case ATTR_ENUM:
		break;
	}
	return text_arg(v, a);
}

static json_t *column_json(const struct attr *at, struct db_rows *q, int col)
{
	char buf[TIME_STR_SIZE];
	json_t *j;

	if (db_is_null(q, col))
		return json_null();
	switch (at->type) {
	case ATTR_BOOL:
		return json_boolean(db_int(q, col) != 0);
	case ATTR_INT:
		return json_integer(db_int(q, col));
	case ATTR_REAL:
		return json_real(db_real(q, col));
	case ATTR_TIME_S:
		return json_string(time_format_s(db_int(q, col), buf));
	case ATTR_TIME_US:
		return json_string(time_format_us(db_int(q, col), buf));
	case ATTR_OBJ:
	case ATTR_LIST:
	case ATTR_ANY:
		j = db_json(q, col);
		return j ? j : json_null();
	case ATTR_STR:
	case ATTR_UUID:
	case ATTR_IP:
	case ATTR_CIDR:
	case ATTR_MAC:
	case ATTR_ENUM:
		break;
	}
	return json_string(db_text(q, col));
}

json_t *row_read(const struct row_plan *p, struct db_rows *q)
{
	json_t *row = json_object();

	for (size_t i = 0; row && i < p->n_cols; i++)
		if (json_object_set_new_nocheck(row, p->cols[i]->name,
						column_json(p->cols[i], q, (int)i)) < 0) {
			json_decref(row);
			return NULL;
		}
	return row;
}

/* ---- one row ---- */

static bool is_clock_column(const char *column)
{
	return strcmp(column, "created_us") == 0 || strcmp(column, "updated_us") == 0;
}

int row_insert(struct req *r, const struct row_plan *p, const json_t *row, struct err *e)
{
	CLEANUP(sql_done) struct sql s = { .arena = r->arena };
	const char *name = json_str(row, "name");
	int64_t now = clock_wall_us();
	char title[64];
	int rc;

	strbuf_addf(&s.text, "INSERT INTO %s (", p->res->table);
	for (size_t i = 0; i < p->n_cols; i++) {
		const struct attr *at = p->cols[i];
		const json_t *v = json_object_get(row, at->name);

		if (!v && !is_clock_column(at->column))
			continue;
		strbuf_addf(&s.text, "%s%s", s.n_args ? ", " : "", at->column);
		if (v && !json_is_string(v))
			sql_arg(&s, row_bind(at, v, r->arena));
		else if (is_clock_column(at->column))
			sql_arg(&s, (struct db_arg){ .kind = DB_ARG_INT, .i = now });
		else
			sql_arg(&s, row_bind(at, v, r->arena));
	}
	strbuf_adds(&s.text, ") VALUES (");
	for (size_t i = 0; i < s.n_args; i++)
		strbuf_adds(&s.text, i ? ", ?" : "?");
	strbuf_adds(&s.text, ")");
	if (s.text.error)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a statement");
	rc = db_execv(r->db, e, strbuf_cstr(&s.text), s.args, s.n_args);
	if (rc < 0 && e && e->fault == FAULT_CONFLICT)
		rc = err_set(e, FAULT_CONFLICT, NULL,
			     "%s%s%.255s already exists, or names something that does not.",
			     resource_title(p->res, title), name ? " " : "", name ? name : "");
	return rc < 0 ? rc : 0;
}

int row_update(struct req *r, const struct row_plan *p, const char *id, const json_t *changes,
	       struct err *e)
{
	CLEANUP(sql_done) struct sql s = { .arena = r->arena };
	const char *name = json_str(changes, "name");
	bool any = false;
	char title[64];
	int rc;

	strbuf_addf(&s.text, "UPDATE %s SET ", p->res->table);
	for (size_t i = 0; i < p->n_cols; i++) {
		const struct attr *at = p->cols[i];
		const json_t *v = json_object_get(changes, at->name);

		if (strcmp(at->column, "revision_number") == 0) {
			strbuf_addf(&s.text, "%srevision_number = revision_number + 1", any ? ", " : "");
		} else if (strcmp(at->column, "updated_us") == 0 && !json_is_integer(v)) {
			strbuf_addf(&s.text, "%supdated_us = ?", any ? ", " : "");
			sql_arg(&s, (struct db_arg){ .kind = DB_ARG_INT, .i = clock_wall_us() });
		} else if (v) {
			strbuf_addf(&s.text, "%s%s = ?", any ? ", " : "", at->column);
			sql_arg(&s, row_bind(at, v, r->arena));
		} else {
			continue;
		}
		any = true;
	}
	if (!any)
		return 0;
	strbuf_addf(&s.text, " WHERE %s = ?", p->res->key ? p->res->key : "id");
	sql_arg_text(&s, id);
	if (s.text.error)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a statement");
	rc = db_execv(r->db, e, strbuf_cstr(&s.text), s.args, s.n_args);
	if (rc < 0 && e && e->fault == FAULT_CONFLICT)
		rc = err_set(e, FAULT_CONFLICT, NULL,
			     "%s %s: another one has the same name or value%s%.255s.",
			     resource_title(p->res, title), id, name ? ": " : "", name ? name : "");
	return rc < 0 ? rc : 0;
}

int row_not_found(const struct resource *res, const char *id, struct err *e)
{
	char text[256], title[64];

	/* not_found is a constant of the resource's table with exactly one %s. */
	if (res->not_found)
		snprintf(text, sizeof(text), res->not_found, id);
	else
		snprintf(text, sizeof(text), "%s %.128s could not be found.",
			 resource_title(res, title), id);
	return err_set(e, FAULT_NOT_FOUND, NULL, "%s", text);
}

/* First row of a select; -EEXIST as CONFLICT when there is a second one. */
static int query_one(struct req *r, const struct row_plan *p, const struct sql *s, json_t **ret,
		     struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	CLEANUP(json_freep) json_t *row = NULL;
	int rc = db_queryv(r->db, &q, e, strbuf_cstr(&s->text), s->args, s->n_args);

	if (rc < 0)
		return rc;
	rc = db_step(q, e);
	if (rc <= 0)
		return rc;
	row = row_read(p, q);
	if (!row)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a row");
	rc = db_step(q, e);
	if (rc < 0)
		return rc;
	if (rc == 1)
		return err_set(e, FAULT_CONFLICT, NULL, "More than one %s exists with that name.",
			       p->res->singular);
	*ret = MOVE_PTR(row);
	return 1;
}

static int find_where(struct req *r, const struct row_plan *p, const char *where, const char *value,
		      bool visible, json_t **ret, struct err *e)
{
	CLEANUP(sql_done) struct sql s = { .arena = r->arena };

	strbuf_addf(&s.text, "%s%s", where ? p->select : p->select_key, where ? where : "");
	sql_arg_text(&s, value);
	if (visible)
		sql_visible(&s, r, p, true);
	if (s.text.error)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a statement");
	return query_one(r, p, &s, ret, e);
}

int row_find(struct req *r, const struct row_plan *p, const char *id, bool visible, json_t **ret,
	     struct err *e)
{
	int rc = find_where(r, p, NULL, id, visible, ret, e);

	if (rc == 0 && p->res->by_name)
		rc = find_where(r, p, " WHERE name = ?", id, visible, ret, e);
	return rc;
}
