/* SPDX-License-Identifier: Apache-2.0 */
/* GET /images. Source: Glance API reference, "List images". */
#include <string.h>

#include "base/json.h"
#include "hub/compute/filter.h"
#include "hub/compute/input.h"
#include "hub/compute/page.h"
#include "hub/image/image.h"

#define DEFAULT_LIMIT 25 /* Glance: limit_param_default */

/* One value, or "in:a,b,c" (values may be in double quotes). */
static int match_text(struct req *r, struct filter *f, const char *column, const char *value,
		      struct err *e)
{
	struct str rest = str_of(value), one;
	size_t n = 0;

	if (!str_starts(rest, STR("in:"))) {
		filter_cond(f, column);
		strbuf_adds(&f->sql, " = ?");
		filter_arg_str(f, value);
		return 0;
	}
	rest = (struct str){ rest.ptr + 3, rest.len - 3 };
	filter_cond(f, column);
	strbuf_adds(&f->sql, " IN (");
	while (rest.len > 0) {
		one = str_cut(rest, ',', &rest);
		if (one.len >= 2 && one.ptr[0] == '"' && one.ptr[one.len - 1] == '"')
			one = (struct str){ one.ptr + 1, one.len - 2 };
		if (f->n_args + 16 > FILTER_ARGS_MAX)
			return err_set(e, FAULT_BAD_REQUEST, NULL, "Too many values in a filter");
		strbuf_adds(&f->sql, n++ ? ", ?" : "?");
		filter_arg_str(f, arena_memdup(r->arena, one.ptr, one.len));
	}
	strbuf_adds(&f->sql, ")");
	return n ? 0 : err_set(e, FAULT_BAD_REQUEST, NULL, "Unable to filter by an empty list");
}

static int filter_texts(struct req *r, struct filter *f, struct err *e)
{
	static const struct {
		const char *name, *column;
	} rows[] = {
		{ "id", "i.id" },
		{ "name", "i.name" },
		{ "status", "i.status" },
		{ "owner", "i.project_id" },
		{ "disk_format", "i.disk_format" },
		{ "container_format", "i.container_format" },
		{ "checksum", "i.checksum" },
		{ "os_hash_value", "i.os_hash_value" },
		{ "os_hash_algo", "i.os_hash_algo" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *value = req_query(r, rows[i].name);

		if (value && match_text(r, f, rows[i].column, value, e) < 0)
			return -e->num;
	}
	return 0;
}

static int filter_numbers(struct req *r, struct filter *f, struct err *e)
{
	static const struct {
		const char *name, *sql;
	} rows[] = {
		{ "size_min", "i.size >= ?" },
		{ "size_max", "i.size <= ?" },
		{ "min_disk", "i.min_disk = ?" },
		{ "min_ram", "i.min_ram = ?" },
	};
	uint64_t n;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *value = req_query(r, rows[i].name);

		if (!value)
			continue;
		if (str_to_u64(str_of(value), INT64_MAX, &n) < 0)
			return err_set(e, FAULT_BAD_REQUEST, rows[i].name,
				       "Cannot convert image %s \"%.32s\" to an integer",
				       rows[i].name, value);
		filter_int(f, rows[i].sql, (int64_t)n);
	}
	return 0;
}

/* "gt:2026-01-31T12:34:56Z", or without operator: equal. Times are shown in seconds and compared so. */
static int filter_time(struct req *r, struct filter *f, const char *name, const char *column,
		       struct err *e)
{
	static const struct {
		const char *word, *sql;
	} ops[] = {
		{ "gt", " / 1000000 > ?" },   { "gte", " / 1000000 >= ?" },
		{ "lt", " / 1000000 < ?" },   { "lte", " / 1000000 <= ?" },
		{ "neq", " / 1000000 <> ?" }, { "eq", " / 1000000 = ?" },
	};
	const char *value = req_query(r, name), *sql = ops[5].sql;
	int64_t us;

	if (!value)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		size_t n = strlen(ops[i].word);

		if (strncmp(value, ops[i].word, n) != 0 || value[n] != ':')
			continue;
		sql = ops[i].sql;
		value += n + 1;
		break;
	}
	if (input_time(value, &us) < 0)
		return err_set(e, FAULT_BAD_REQUEST, name,
			       "Bad \"%s\" query filter format. Use ISO 8601 DateTime notation.", name);
	filter_cond(f, column);
	strbuf_adds(&f->sql, sql);
	filter_arg_int(f, us / 1000000);
	return 0;
}

static int filter_bool(struct req *r, struct filter *f, const char *name, const char *sql,
		       const char *dflt, struct err *e)
{
	const char *value = req_query(r, name);

	value = value ? value : dflt;
	if (!value)
		return 0;
	if (strcasecmp(value, "true") != 0 && strcasecmp(value, "false") != 0)
		return err_set(e, FAULT_BAD_REQUEST, name,
			       "Invalid value '%.32s' for '%s' filter. Valid "
			       "values are case sensitive 'true' or 'false'.",
			       value, name);
	filter_int(f, sql, strcasecmp(value, "true") == 0);
	return 0;
}

/* Shared with the caller's project: by default only what it accepted. */
static int filter_members(struct req *r, struct filter *f, struct err *e)
{
	const char *status = req_query(r, "member_status");

	status = status ? status : "accepted";
	if (strcmp(status, "all") != 0 && strcmp(status, "accepted") != 0 &&
	    strcmp(status, "pending") != 0 && strcmp(status, "rejected") != 0)
		return err_set(e, FAULT_BAD_REQUEST, "member_status",
			       "Invalid status: %.32s. It must be accepted, pending, rejected or all.",
			       status);
	strbuf_adds(&f->sql,
		    " OR (i.visibility = 'shared' AND EXISTS (SELECT 1 FROM image_member m "
		    "WHERE m.image_id = i.id AND m.member_id = ? AND ? IN (m.status, 'all'))))");
	filter_arg_str(f, r->auth.project_id ? r->auth.project_id : "");
	filter_arg_str(f, status);
	return 0;
}

/* Without a filter: the project's own, what it accepted, what is public. Community images are found by id or by asking. */
static int filter_visible(struct req *r, struct filter *f, struct err *e)
{
	const char *value = req_query(r, "visibility");
	bool all = value && strcmp(value, "all") == 0;
	bool known = all;

	for (const char *const *v = image_visibilities; value && *v; v++)
		known |= strcmp(*v, value) == 0;
	if (value && !known)
		return err_set(e, FAULT_BAD_REQUEST, "visibility",
			       "Invalid visibility value: %.32s", value);
	if (value && !all)
		filter_str(f, "i.visibility = ?", value);
	if (r->auth.is_admin)
		return 0;
	filter_str(f,
		   value ? "(i.project_id = ? OR i.visibility IN ('public', 'community')" :
			   "(i.project_id = ? OR i.visibility = 'public'",
		   r->auth.project_id ? r->auth.project_id : "");
	return filter_members(r, f, e);
}

static int filter_tags(struct req *r, struct filter *f)
{
	const char *tags[16];
	size_t n = req_query_all(r, "tag", tags, ARRAY_LEN(tags));

	for (size_t i = 0; i < n; i++)
		filter_str(f, "EXISTS (SELECT 1 FROM json_each(i.tags) t WHERE t.value = ?)", tags[i]);
	return 0;
}

/* Any other argument filters by a property. */
static int filter_properties(struct req *r, struct filter *f, struct err *e)
{
	static const char *const known[] = {
		"limit",
		"marker",
		"sort",
		"sort_key",
		"sort_dir",
		"visibility",
		"tag",
		"id",
		"name",
		"status",
		"owner",
		"disk_format",
		"container_format",
		"checksum",
		"os_hash_value",
		"os_hash_algo",
		"size_min",
		"size_max",
		"min_disk",
		"min_ram",
		"created_at",
		"updated_at",
		"protected",
		"os_hidden",
		"member_status",
		"is_public",
	};
	struct str rest = r->http->query;

	while (rest.len > 0) {
		struct str value, arg = str_cut(rest, '&', &rest), name = str_cut(arg, '=', &value);
		const char *key = arena_memdup(r->arena, name.ptr, name.len), *text;
		bool is_known = name.len == 0;

		for (size_t i = 0; i < ARRAY_LEN(known); i++)
			is_known |= str_eq_c(name, known[i]);
		text = is_known || !key ? NULL : req_query(r, key);
		if (!text)
			continue;
		if (f->n_args + 8 > FILTER_ARGS_MAX)
			return err_set(e, FAULT_BAD_REQUEST, NULL, "Too many filters");
		filter_str(f,
			   "EXISTS (SELECT 1 FROM json_each(i.properties) p WHERE p.key = ? AND "
			   "p.value = ?)",
			   key);
		filter_arg_str(f, text);
	}
	return 0;
}

/* ---- order ---- */

static const char *sort_column(struct str key)
{
	static const struct {
		const char *key, *column;
	} rows[] = {
		{ "name", "i.name" },
		{ "status", "i.status" },
		{ "id", "i.id" },
		{ "created_at", "i.created_us" },
		{ "updated_at", "i.updated_us" },
		{ "size", "i.size" },
		{ "disk_format", "i.disk_format" },
		{ "container_format", "i.container_format" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (str_eq_c(key, rows[i].key))
			return rows[i].column;
	return NULL;
}

static int order_one(struct filter *f, struct str key, struct str dir, struct err *e)
{
	const char *column = sort_column(key);

	if (!column)
		return err_set(e, FAULT_BAD_REQUEST, "sort", "Invalid sort key: " STR_FMT,
			       (int)MIN_OF(key.len, (size_t)32), key.ptr);
	if (dir.len && !str_eq_c(dir, "asc") && !str_eq_c(dir, "desc"))
		return err_set(e, FAULT_BAD_REQUEST, "sort",
			       "Invalid sort direction: " STR_FMT
			       ". It must be one of the following: asc, desc.",
			       (int)MIN_OF(dir.len, (size_t)32), dir.ptr);
	strbuf_addf(&f->sql, "%s %s, ", column, str_eq_c(dir, "asc") ? "ASC" : "DESC");
	return 0;
}

/* sort=key:dir,… or sort_key and sort_dir; newest first without. */
static int order(struct req *r, struct filter *f, struct err *e)
{
	const char *sort = req_query(r, "sort"), *keys[8], *dirs[8];
	size_t n = req_query_all(r, "sort_key", keys, 8),
	       n_dirs = req_query_all(r, "sort_dir", dirs, 8);
	struct str rest = str_of(sort);

	strbuf_adds(&f->sql, " ORDER BY ");
	while (rest.len > 0) {
		struct str dir, one = str_cut(rest, ',', &rest), key = str_cut(one, ':', &dir);

		if (order_one(f, key, dir, e) < 0)
			return -e->num;
	}
	for (size_t i = 0; !sort && i < n; i++)
		if (order_one(f, str_of(keys[i]),
			      str_of(n_dirs ? dirs[MIN_OF(i, n_dirs - 1)] : NULL), e) < 0)
			return -e->num;
	strbuf_adds(&f->sql, "i.created_us DESC, i.id DESC");
	return 0;
}

/* ---- the page ---- */

static int build(struct req *r, struct filter *f, struct err *e)
{
	strbuf_adds(&f->sql, IMAGE_SELECT);
	if (filter_visible(r, f, e) < 0 || filter_texts(r, f, e) < 0 ||
	    filter_numbers(r, f, e) < 0 || filter_time(r, f, "created_at", "i.created_us", e) < 0 ||
	    filter_time(r, f, "updated_at", "i.updated_us", e) < 0 ||
	    filter_bool(r, f, "protected", "i.protected = ?", NULL, e) < 0 ||
	    filter_bool(r, f, "os_hidden", "i.os_hidden = ?", "false", e) < 0 ||
	    filter_tags(r, f) < 0 || filter_properties(r, f, e) < 0 || order(r, f, e) < 0)
		return -e->num;
	return f->sql.error ? err_set(e, FAULT_NO_MEMORY, NULL, "out of memory") : 0;
}

/* "first" and "next" are paths below the service, as Glance has them. */
static void put_links(struct req *r, const struct page *page, json_t *reply)
{
	const char *next = page->more && page->n > 0 ? page_next_query(r, page) : NULL;

	put_str(reply, "schema", "/v2/schemas/images");
	put_str(reply, "first", "/v2/images");
	if (next)
		json_object_set_new(reply, "next", json_sprintf("/v2/images?%s", next));
}

int image_list(struct req *r, struct err *e)
{
	CLEANUP(filter_done) struct filter f = { 0 };
	CLEANUP(json_freep) json_t *out = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	enum page_step step = PAGE_SKIP;
	struct page page;
	json_t *reply;
	int rc = page_init(r, &page, e);

	if (rc == 0 && !req_query(r, "limit"))
		page.limit = DEFAULT_LIMIT;
	if (rc == 0)
		rc = build(r, &f, e);
	if (rc == 0)
		rc = db_queryv(r->db, &q, e, strbuf_cstr(&f.sql), f.args, f.n_args);
	while (rc == 0 && step != PAGE_END && (rc = db_step(q, e)) == 1) {
		struct image i;

		rc = 0;
		image_of_row(q, &i);
		step = page_next(&page, i.id);
		if (step == PAGE_KEEP)
			json_array_append_new(out, image_view(&i));
	}
	if (rc < 0 || page_check(&page, e) < 0)
		return -e->num;
	reply = json_pack("{s:O}", "images", out);
	put_links(r, &page, reply);
	req_reply(r, reply);
	return 0;
}
