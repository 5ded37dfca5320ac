/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_REST_IMPL_H
#define DEMARC_HUB_REST_IMPL_H

/* What the files of the API framework share. Modules include hub/rest.h only. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hub/rest.h"

#define REST_BODY_DEPTH_MAX 64	/* nesting of a JSON body */
#define REST_QUERY_ARGS_MAX 512 /* the 8 KiB target holds fewer useful ones */
#define REST_PAGE_MAX 1000	/* rows of one answer of a service that always pages */
#define REST_MODULES_MAX 16
#define REST_LIST_MAX                                                                              \
	10000	       /* rows of one answer of the other services: some 60 MB while it is made */
#define REST_METHODS 7 /* HTTP_GET .. HTTP_OPTIONS */

/* ---- routes (rest_route.c) ---- */

struct route_entry {
	const struct module *module;
	const struct route *route;
	enum policy_who who;
	bool known_policy; /* false: denied to all */
};

struct route_node {
	struct str segment;
	struct route_node *child, *next; /* literal children, siblings */
	struct route_node *param;	 /* "{name}" */
	struct route_entry entry[REST_METHODS];
	bool has_entry;
};

struct req_path_param {
	struct str name;
	const char *value; /* decoded */
};

struct route_match {
	const struct route_node *node; /* NULL: no such path */
	size_t n_params;
	struct {
		struct str name, raw;
	} params[REQ_PARAMS_MAX];
};

/* Adds the module's routes below its prefix. Memory comes from a and lives as long as the tree. */
WARN_UNUSED int route_tree_add(struct arena *a, struct route_node *root, const struct module *m,
			       struct err *e);
/* O(length of path). */
void route_tree_find(const struct route_node *root, struct str path, struct route_match *ret);
/* "GET, HEAD, POST" of a node, into buf. */
void route_allow(const struct route_node *n, char *buf, size_t size);

/* ---- query (rest_query.c) ---- */

struct query_arg {
	const char *name, *value; /* decoded */
	bool used;		  /* by paging, sorting, fields */
};
struct query {
	struct query_arg *args;
	size_t n_args;
};
WARN_UNUSED int query_parse(struct arena *a, struct str text, struct query *ret, struct err *e);
const char *query_get(const struct query *q, const char *name);
/* Percent-decodes into the arena; '+' is a space when plus. NULL: bad escape, NUL or not UTF-8. */
char *percent_decode(struct arena *a, struct str s, bool plus);
/* Percent-encodes everything but RFC 3986 "unreserved". */
char *percent_encode(struct arena *a, const char *s);
/* "true", "1", "yes", "on" …: 1; "false" …: 0; else -EINVAL. */
int bool_parse(const char *s);
WARN_UNUSED int query_limit(const struct query *q, const struct module *m, size_t *ret,
			    bool *ret_given, struct err *e);

#define REST_SORT_MAX 8
struct sort_key {
	const struct attr *attr; /* NULL: the column is the table's own default */
	const char *column;
	bool descending;
};
struct sort {
	struct sort_key keys[REST_SORT_MAX + 2];
	size_t n_keys;
};
/* sort_key/sort_dir (repeated) and sort=key:dir,key; ends with the resource's key, so that the order is total. */
WARN_UNUSED int query_sort(const struct query *q, const struct resource *res, struct arena *a,
			   struct sort *ret, struct err *e);

/* ---- rows (rest_row.c) ---- */

/* SQL made from a resource's table, once. */
struct row_plan {
	const struct resource *res;
	struct row_plan *next; /* same bucket */
	size_t n_attrs, n_cols;
	const struct attr **cols; /* selected columns, in order */
	char *select;		  /* "SELECT … FROM table" */
	char *select_key;	  /* "… WHERE key = ?" */
	char *remove;		  /* "DELETE … WHERE key = ?" */
	char *visible;		  /* visible_sql with '?' */
	char visible_args[8];	  /* 'p' project, 'u' user, in the order of the '?' */
	json_t **dflts;		  /* parsed, by attribute; NULL: none */
	const struct attr *key, *project;
};
/* Any thread. NULL: no memory or a broken table (a programmer error; *e says which). */
const struct row_plan *row_plan_of(const struct resource *res, struct err *e);

struct sql {
	struct strbuf text;
	struct db_arg *args;
	size_t n_args, cap;
	struct arena *arena;
};
void sql_done(struct sql *s);
void sql_arg(struct sql *s, struct db_arg arg);
void sql_arg_text(struct sql *s, const char *text);
/* Adds " AND (visible)" for this caller, when rows are hidden from it. */
void sql_visible(struct sql *s, const struct req *r, const struct row_plan *p, bool all_projects);

struct db_arg row_bind(const struct attr *at, const json_t *v, struct arena *a);
json_t *row_read(const struct row_plan *p, struct db_rows *q);
WARN_UNUSED int row_insert(struct req *r, const struct row_plan *p, const json_t *row, struct err *e);
WARN_UNUSED int row_update(struct req *r, const struct row_plan *p, const char *id,
			   const json_t *changes, struct err *e);
/* One row by key (or name), as the caller sees it when visible. 1 found, 0 not. */
WARN_UNUSED int row_find(struct req *r, const struct row_plan *p, const char *id, bool visible,
			 json_t **ret, struct err *e);
WARN_UNUSED int row_not_found(const struct resource *res, const char *id, struct err *e);
const struct attr *attr_find(const struct resource *res, const char *name); /* by name or alias */
const struct attr *attr_of_column(const struct resource *res, const char *column);
/* "Security group" of "security_group" */
const char *resource_title(const struct resource *res, char buf[static 64]);

/* ---- views (rest_view.c) ---- */

#define FIELDS_MAX 64
struct view {
	const char *fields[FIELDS_MAX]; /* asked for; none: all */
	size_t n_fields;
	bool brief;
};
/* From the request's `fields`, and from the route: brief or not. */
void view_of(struct req *r, struct view *v);
/* Removes what is hidden from this caller, adds the aliases. */
void view_present(const struct req *r, const struct resource *res, const struct view *v, json_t *row);
/* The resource's expand hooks. */
WARN_UNUSED int rows_expand(struct req *r, const struct resource *res, json_t *rows, struct err *e);
WARN_UNUSED int row_expand(struct req *r, const struct resource *res, json_t *row, struct err *e);

/* ---- validation (rest_validate.c) ---- */

/* A checked and canonical copy of body, with defaults. */
WARN_UNUSED int validate_create(struct req *r, const struct row_plan *p, const json_t *body,
				json_t **ret_row, struct err *e);
WARN_UNUSED int validate_update(struct req *r, const struct resource *res, const json_t *body,
				json_t **ret_changes, struct err *e);
/* One value by its attribute; *ret is a new reference, canonical. */
WARN_UNUSED int validate_value(const struct resource *res, const struct attr *at, json_t *v,
			       json_t **ret, struct err *e);
/* False when text nests deeper than max, outside strings. */
bool json_depth_within(struct str text, unsigned max);

/* ---- errors (rest_error.c) ---- */

int error_status(const struct module *m, enum fault fault);
json_t *error_body(const struct req *r, const struct module *m, int status, const struct err *e);
const char *status_reason(int status);

/* ---- versions (rest_version.c) ---- */

/* The routes outside every service: "/", and each service's discovery documents. */
WARN_UNUSED int version_module(struct arena *a, const struct module *const *modules, size_t n,
			       struct module *ret, struct err *e);
/* Reads the microversion headers into r->micro. */
WARN_UNUSED int micro_negotiate(struct req *r, struct err *e);

/* ---- policy (rest_policy.c) ---- */

/* Rule of a route's policy name in the module's table, longest match. False: none. */
bool policy_find(const struct module *m, const struct route *rt, enum policy_who *ret);
/* The policy name of a route: its own, or made of its resource's and the verb. */
const char *policy_name(const struct route *rt, char *buf, size_t size);
WARN_UNUSED int policy_check(const struct req *r, const struct route_entry *entry, struct err *e);

/* ---- the pipeline (rest_pipeline.c) ---- */

struct touched_node {
	struct touched_node *next, *next_hash;
	const char *id;
	unsigned parts; /* enum intent_parts */
};
#define TOUCHED_BUCKETS 1024u /* power of two; a change may concern every node there is */
struct after_commit {
	struct after_commit *next;
	void (*fn)(struct hub *h, void *arg);
	void *arg;
};
struct req_impl {
	struct query query;
	size_t n_params;
	struct req_path_param params[REQ_PARAMS_MAX];
	struct touched_node *touched, **touched_hash; /* hash: NULL before the first */
	struct after_commit *after, **after_end;
	const struct route_entry *entry;
	const char *allow; /* of a 405 */
	const char *base_url;
};
static inline struct req_impl *req_impl(const struct req *r)
{
	return r->impl;
}

struct rest {
	struct hub *hub;
	struct arena *arena;
	struct route_node root;
	const struct module *modules[REST_MODULES_MAX];
	size_t n_modules;
	struct module versions; /* made from the others */
	struct db **dbs;	/* by worker; opened at its first request */
	unsigned n_workers;
};

/* Modules by the start of the path; NULL: none. */
const struct module *rest_module_of(const struct rest *rest, struct str path);
/* Paging links and envelope of a list (rest_page.c). Takes rows. */
struct page {
	size_t limit;
	bool limit_given, reverse, more;
	const char *first, *last; /* keys of the page's ends; NULL when it is empty */
};
json_t *page_envelope(struct req *r, json_t *rows, const struct page *page);

#endif
