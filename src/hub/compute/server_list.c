/* SPDX-License-Identifier: Apache-2.0 */
/* GET /servers and /servers/detail: filters, order and pages. Source: Nova API reference, "List Servers". */
#include "hub/compute/server.h"

#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "hub/compute/filter.h"
#include "hub/compute/input.h"
#include "hub/compute/page.h"

#define NAME_PATTERN_MAX 255

struct list {
	struct filter filter;
	struct page page;
	regex_t name;
	bool has_name, nothing;
};

static void list_done(struct list *l)
{
	filter_done(&l->filter);
	if (l->has_name)
		regfree(&l->name);
}

/*
 * Nova matches ?name= as a regular expression. Bounded repeats and back references are refused: they cost
 * exponential memory or time in the matcher.
 */
static int list_name(struct list *l, const char *pattern, struct err *e)
{
	bool costly = strchr(pattern, '{') != NULL || strlen(pattern) > NAME_PATTERN_MAX;

	for (const char *p = pattern; *p && !costly; p++) {
		if (*p != '\\')
			continue;
		p++;
		if (!*p)
			break;
		costly = *p >= '0' && *p <= '9';
	}
	if (costly || regcomp(&l->name, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		return err_set(e, FAULT_BAD_REQUEST, "name",
			       "Invalid input for query parameters name. Value: %.64s. It is not a "
			       "usable regular expression",
			       pattern);
	l->has_name = true;
	return 0;
}

static bool true_word(const char *text)
{
	return text && (!*text || strcmp(text, "1") == 0 || strcasecmp(text, "true") == 0 ||
			strcasecmp(text, "yes") == 0 || strcasecmp(text, "on") == 0);
}

/* Whose servers: everybody's only for admins who ask for it. */
static int list_scope(struct req *r, struct list *l, struct err *e)
{
	const char *project = req_query(r, "project_id");
	bool all = true_word(req_query(r, "all_tenants")) || true_word(req_query(r, "all_projects"));

	if (!project)
		project = req_query(r, "tenant_id");
	if (all && !r->auth.is_admin)
		return err_set(e, FAULT_FORBIDDEN, "all_tenants",
			       "Policy doesn't allow os_compute_api:servers:index:get_all_tenants "
			       "to be performed.");
	if (!all)
		filter_str(&l->filter, "s.project_id = ?", r->auth.project_id ? r->auth.project_id : "");
	else if (project)
		filter_str(&l->filter, "s.project_id = ?", project);
	return 0;
}

/* Nova accepts any case, and answers an unknown status with an empty list. */
static void list_status(struct req *r, struct list *l)
{
	static const struct {
		const char *status, *sql;
	} rows[] = {
		{ "ACTIVE", "(s.vm_state = 'active' AND (s.task_state IS NULL OR s.task_state NOT "
			    "IN ('rebooting', 'rebooting_hard')))" },
		{ "BUILD", "s.vm_state = 'building'" },
		{ "SHUTOFF", "(s.vm_state = 'stopped' AND (s.task_state IS NULL OR s.task_state <> "
			     "'rebooting_hard'))" },
		{ "ERROR", "(s.vm_state = 'error' AND (s.task_state IS NULL OR s.task_state <> "
			   "'rebooting_hard'))" },
		{ "REBOOT", "(s.vm_state = 'active' AND s.task_state = 'rebooting')" },
		{ "HARD_REBOOT", "s.task_state = 'rebooting_hard'" },
	};
	const char *values[8];
	size_t n = req_query_all(r, "status", values, ARRAY_LEN(values)), n_known = 0;

	for (size_t v = 0; v < n; v++) {
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			if (strcasecmp(rows[i].status, values[v]) != 0)
				continue;
			strbuf_adds(&l->filter.sql, n_known++		? " OR " :
						    l->filter.n_conds++ ? " AND (" :
									  " WHERE (");
			strbuf_adds(&l->filter.sql, rows[i].sql);
		}
	}
	if (n_known)
		strbuf_addc(&l->filter.sql, ')');
	l->nothing = l->nothing || (n > 0 && n_known == 0);
}

/* Filters that are one comparison. */
static int list_simple(struct req *r, struct list *l, struct err *e)
{
	static const struct {
		const char *name, *sql;
		bool admin, like;
	} rows[] = {
		{ "uuid", "s.id = ?" },
		{ "image", "s.image_id = ?" },
		{ "flavor", "json_extract(s.flavor, '$.id') = ?" },
		{ "host", "n.name = ?", .admin = true },
		{ "node", "n.name = ?", .admin = true },
		{ "user_id", "s.user_id = ?" },
		{ "key_name", "s.key_name = ?" },
		{ "vm_state", "s.vm_state = ?" },
		{ "task_state", "s.task_state = ?" },
		{ "hostname", "s.hostname = ?" },
		{ "description", "s.description LIKE ? ESCAPE '\\'", .like = true },
		{ "availability_zone", "COALESCE(z.name, s.availability_zone) = ?" },
		{ "ip",
		  "EXISTS (SELECT 1 FROM server_vif v JOIN port_ip i ON i.port_id = v.port_id "
		  "WHERE v.server_id = s.id AND i.ip LIKE ? ESCAPE '\\')",
		  .like = true },
		{ "ip6",
		  "EXISTS (SELECT 1 FROM server_vif v JOIN port_ip i ON i.port_id = v.port_id "
		  "WHERE v.server_id = s.id AND i.ip LIKE ? ESCAPE '\\')",
		  .like = true },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *value = req_query(r, rows[i].name);

		if (!value || (rows[i].admin && !r->auth.is_admin))
			continue;
		if (rows[i].like)
			value = filter_like(r->arena, value);
		if (!value)
			return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
		filter_str(&l->filter, rows[i].sql, value);
	}
	return 0;
}

static int list_times(struct req *r, struct list *l, struct err *e)
{
	static const struct {
		const char *name, *sql;
	} rows[] = {
		{ "changes-since", "s.updated_us >= ?" },
		{ "changes-before", "s.updated_us <= ?" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *value = req_query(r, rows[i].name);
		int64_t us;

		if (!value)
			continue;
		if (input_time(value, &us) < 0)
			return err_set(e, FAULT_BAD_REQUEST, rows[i].name,
				       "Invalid input for query parameters %s. Value: %.40s. It is "
				       "not a 'date-time'",
				       rows[i].name, value);
		filter_int(&l->filter, rows[i].sql, us);
	}
	return 0;
}

/* tags: all of them; tags-any: one of them (2.26). */
static void list_tags(struct req *r, struct list *l)
{
	const char *all = r->micro >= 26 ? req_query(r, "tags") : NULL;
	const char *any = r->micro >= 26 ? req_query(r, "tags-any") : NULL;
	struct str rest;

	for (rest = str_of(all); rest.len > 0 && l->filter.n_args < FILTER_ARGS_MAX / 2;) {
		struct str tag = str_cut(rest, ',', &rest);

		filter_str(&l->filter, "EXISTS (SELECT 1 FROM json_each(s.tags) t WHERE t.value = ?)",
			   arena_memdup(r->arena, tag.ptr, tag.len));
	}
	if (!any)
		return;
	filter_cond(&l->filter, "EXISTS (SELECT 1 FROM json_each(s.tags) t WHERE t.value IN (''");
	for (rest = str_of(any); rest.len > 0 && l->filter.n_args < FILTER_ARGS_MAX - 8;) {
		struct str tag = str_cut(rest, ',', &rest);

		strbuf_adds(&l->filter.sql, ", ?");
		filter_arg_str(&l->filter, arena_memdup(r->arena, tag.ptr, tag.len));
	}
	strbuf_adds(&l->filter.sql, "))");
}

static const char *sort_column(const char *key)
{
	static const struct {
		const char *key, *column;
	} rows[] = {
		{ "created_at", "s.created_us" },
		{ "updated_at", "s.updated_us" },
		{ "display_name", "s.name" },
		{ "name", "s.name" },
		{ "uuid", "s.id" },
		{ "id", "s.id" },
		{ "vm_state", "s.vm_state" },
		{ "status", "s.vm_state" },
		{ "task_state", "s.task_state" },
		{ "power_state", "s.power_state" },
		{ "project_id", "s.project_id" },
		{ "user_id", "s.user_id" },
		{ "host", "n.name" },
		{ "node", "n.name" },
		{ "hostname", "s.hostname" },
		{ "image_ref", "s.image_id" },
		{ "key_name", "s.key_name" },
		{ "launched_at", "s.launched_us" },
		{ "availability_zone", "z.name" },
		{ "display_description", "s.description" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(rows[i].key, key) == 0)
			return rows[i].column;
	return NULL;
}

/* Nova's default: newest first. The id makes the order total. */
static int list_order(struct req *r, struct list *l, struct err *e)
{
	const char *keys[8], *dirs[8];
	size_t n_keys = req_query_all(r, "sort_key", keys, ARRAY_LEN(keys));
	size_t n_dirs = req_query_all(r, "sort_dir", dirs, ARRAY_LEN(dirs));

	if (n_dirs > n_keys && n_keys > 0)
		return err_set(e, FAULT_BAD_REQUEST, "sort_dir",
			       "Sort direction size exceeds sort key size");
	strbuf_adds(&l->filter.sql, " ORDER BY ");
	for (size_t i = 0; i < MAX_OF(n_keys, (size_t)1); i++) {
		const char *column = n_keys ? sort_column(keys[i]) : "s.created_us";
		const char *dir = n_dirs ? dirs[MIN_OF(i, n_dirs - 1)] : "desc";

		if (!column || (strcmp(dir, "asc") != 0 && strcmp(dir, "desc") != 0))
			return err_set(e, FAULT_BAD_REQUEST, "sort_key",
				       "Invalid input for query parameters sort_key or sort_dir. "
				       "Value: %.64s",
				       column ? dir : keys[i]);
		strbuf_addf(&l->filter.sql, "%s %s, ", column, dir);
	}
	strbuf_adds(&l->filter.sql, "s.id DESC");
	return 0;
}

static int list_init(struct req *r, struct list *l, struct err *e)
{
	const char *name = req_query(r, "name");
	int rc;

	/* Deleted servers leave no row: a list of them is empty. */
	l->nothing = r->auth.is_admin && true_word(req_query(r, "deleted"));
	strbuf_adds(&l->filter.sql, SERVER_SELECT);
	rc = page_init(r, &l->page, e);
	if (rc == 0)
		rc = list_scope(r, l, e);
	if (rc == 0 && name)
		rc = list_name(l, name, e);
	if (rc == 0)
		rc = list_simple(r, l, e);
	if (rc == 0)
		rc = list_times(r, l, e);
	if (rc < 0)
		return rc;
	list_status(r, l);
	list_tags(r, l);
	rc = list_order(r, l, e);
	if (rc < 0)
		return rc;
	return l->filter.sql.error ? err_set(e, FAULT_NO_MEMORY, NULL, "out of memory") : 0;
}

static int list_row(struct req *r, struct list *l, const struct server *s, bool detail, json_t *out,
		    struct err *e)
{
	json_t *view = NULL;
	int rc = 0;

	if (l->has_name && regexec(&l->name, s->name, 0, NULL, 0) != 0 &&
	    !(l->page.marker && strcmp(l->page.marker, s->id) == 0))
		return 0;
	switch (page_next(&l->page, s->id)) {
	case PAGE_SKIP:
		return 0;
	case PAGE_END:
		return 1;
	case PAGE_KEEP:
		break;
	}
	if (detail)
		rc = server_view(r, s, &view, e);
	else
		view = server_brief(r, s);
	if (rc == 0)
		json_array_append_new(out, view);
	return rc;
}

static int list_all(struct req *r, bool detail, struct err *e)
{
	CLEANUP(list_done) struct list l = { 0 };
	CLEANUP(json_freep) json_t *out = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	json_t *reply;
	int rc = list_init(r, &l, e);

	if (rc < 0)
		return rc;
	if (!l.nothing) {
		rc = db_queryv(r->db, &q, e, strbuf_cstr(&l.filter.sql), l.filter.args, l.filter.n_args);
		while (rc == 0 && (rc = db_step(q, e)) == 1) {
			struct server s;

			server_of_row(q, &s);
			rc = list_row(r, &l, &s, detail, out, e);
		}
		if (rc >= 0)
			rc = page_check(&l.page, e);
		if (rc < 0)
			return rc;
	}
	reply = json_pack("{s:O}", "servers", out);
	page_links(r, &l.page, "servers", reply);
	req_reply(r, reply);
	return 0;
}

int server_list(struct req *r, struct err *e)
{
	return list_all(r, false, e);
}

int server_list_detail(struct req *r, struct err *e)
{
	return list_all(r, true, e);
}
