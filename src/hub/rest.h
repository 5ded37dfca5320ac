/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_REST_H
#define DEMARC_HUB_REST_H

/*
 * The API framework. Each service is a module of tables: routes, resources (attribute, type, column, flags),
 * policy rules. One pipeline carries every request:
 *
 *   find route -> request id -> version header -> authenticate -> policy -> read + parse body -> begin (read or
 *   write by the route) -> handler -> compile touched nodes' intent -> commit (durable) -> encode -> wake sessions
 *
 * and the generic handlers walk a resource's table for list, show, create, update and delete. Code is written only where
 * a resource is special: its hooks. Handlers run on a worker thread, sequentially, in one transaction; when one returns < 0
 * everything is rolled back and the service's own error envelope is made from the fault table.
 */

#include <jansson.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "base/types.h"
#include "http/server.h"
#include "store/db.h"

struct hub;
struct req;

/* ---- resources ---- */

enum attr_type {
	ATTR_STR,
	ATTR_INT,
	ATTR_BOOL,
	ATTR_REAL,
	ATTR_UUID, /* dashed or 32 hex digits */
	ATTR_IP,
	ATTR_CIDR,
	ATTR_MAC,
	ATTR_ENUM,    /* one of choices */
	ATTR_TIME_S,  /* stored in microseconds, shown "2026-01-31T12:34:56Z" */
	ATTR_TIME_US, /* shown with microseconds */
	ATTR_OBJ,     /* JSON object, stored as text */
	ATTR_LIST,    /* JSON list, stored as text */
	ATTR_ANY,     /* checked by the resource's hook */
};

enum attr_flag {
	ATTR_REQUIRED = 1 << 0, /* in create */
	ATTR_CREATE = 1 << 1,	/* may be given in create */
	ATTR_UPDATE = 1 << 2,	/* may be given in update */
	ATTR_FILTER = 1 << 3,	/* ?name=value; repeated values are OR */
	ATTR_SORT = 1 << 4,
	ATTR_NULLABLE = 1 << 5,
	ATTR_ADMIN = 1 << 6,	 /* set only by admin (fault FORBIDDEN) */
	ATTR_ADMIN_SEE = 1 << 7, /* shown only to admin */
	ATTR_HIDDEN = 1 << 8,	 /* never shown (columns that hooks use) */
	ATTR_DETAIL = 1 << 9,	 /* shown in detail and show, not in the brief list */
	ATTR_RW = ATTR_CREATE | ATTR_UPDATE,
};

/*
 * Columns the framework keeps itself: created_us and updated_us (clock), revision_number (+ 1 at each update), project_id (the
 * token's when not given; another project's only by an admin), the key when it is not given (dashed UUID; 32 hex digits in
 * identity). A time in a row is text as it is shown; a hook sets one as an integer of microseconds.
 */
struct attr {
	const char *name; /* JSON name: "provider:network_type" */
	const char *column; /* SQL column; NULL: not stored here, filled by the `expand` hook, consumed by hooks */
	enum attr_type type;
	unsigned flags;
	int64_t min, max; /* INT: range (both 0: int32 >= 0); STR: length in bytes (max 0: 255); LIST: items (max 0: 256) */
	const char *const *choices; /* ENUM; NULL-terminated */
	const char *dflt; /* JSON text used when create does not give it; NULL: column default / null */
	uint16_t since; /* first microversion minor that shows and takes it; 0: always */
	const char *alias; /* second name under which it is shown and accepted ("tenant_id" for "project_id"); or NULL */
};

struct resource {
	const char *service;  /* "network" */
	const char *singular; /* JSON envelope and text in errors: "port" */
	const char *plural;   /* "ports" */
	const char *table;    /* SQL table; primary key column "id" unless key is given */
	const char *key;      /* NULL: "id" */
	const char *policy; /* prefix of policy rules: "network:port" -> "network:port:create" ... */
	const struct attr *attrs; /* ends with a row whose name is NULL */
	const char *dflt_sort;	  /* "created_us,id" columns; NULL: the key */
	/* Rows a non-admin sees, as SQL over the table with :project and :user; NULL: "project_id = :project"; "1": everyone sees all. */
	const char *visible_sql;
	const char *not_found; /* printf format with one %s (the id) in the service's own words; NULL: "<Singular> %s could not be found." */
	bool by_name;	       /* show/update/delete also accept a unique name in place of the id */

	/* Hooks, each may be NULL. `row` is an object of attribute name -> value. All run in the request's transaction. */
	int (*check_create)(struct req *r, json_t *row,
			    struct err *e); /* after defaults, before INSERT; may fill in */
	int (*created)(struct req *r, json_t *row, struct err *e); /* after INSERT: child rows, touched nodes */
	int (*check_update)(struct req *r, const json_t *old, json_t *changes,
			    struct err *e); /* may edit changes */
	int (*updated)(struct req *r, const json_t *old, json_t *row, struct err *e);
	int (*deleting)(struct req *r, const json_t *row, struct err *e); /* before DELETE */
	int (*expand)(struct req *r, json_t *row, struct err *e); /* before a row is shown: computed attributes */
	/* Like expand for a whole page (one query instead of one per row); used by list when there. rows: json array. */
	int (*expand_page)(struct req *r, json_t *rows, struct err *e);

	/* Filters that are no column: SQL conditions with one '?' for the value. "fixed_ips=ip_address" matches the
	 * query "fixed_ips=ip_address=192.0.2.1". Ends with a row whose name is NULL; may be NULL. Tried before attributes. */
	const struct rest_filter *filters;
	bool bare; /* bodies are not wrapped in {"singular": …} (image) */
};

/* {"security_groups", "id IN (SELECT port_id FROM port_security_group WHERE security_group_id = ?)"} */
struct rest_filter {
	const char *name;
	const char *sql;
};

/* ---- routes ---- */

enum route_flag {
	ROUTE_PUBLIC = 1 << 0, /* no token needed */
	ROUTE_STREAM_IN = 1 << 1, /* body is read with http_read() by the handler; no transaction is open while it runs:
				     * the handler brackets its own with db_begin()/db_commit() */
	ROUTE_WRITE = 1 << 2, /* write transaction (POST, PUT, PATCH, DELETE have it by default) */
	ROUTE_READ = 1 << 3, /* read transaction even though the method is a writing one (token validation …) */
	ROUTE_NO_TX = 1 << 4, /* none: the handler brackets its own */
	ROUTE_BRIEF = 1 << 5, /* list without ATTR_DETAIL attributes (compute's GET /servers) */
	ROUTE_BODY_OPTIONAL = 1 << 6,
	ROUTE_NO_BODY = 1 << 7, /* POST/PUT that takes none */
};

typedef int (*route_fn)(struct req *r, struct err *e);

struct route {
	enum http_method method;
	const char *path; /* below the service's prefix; "{name}" matches one segment: "/ports/{id}" */
	route_fn handler;
	int status;	    /* on success */
	const char *policy; /* rule name; NULL: the resource's "<policy>:<verb>" */
	unsigned flags;
	const struct resource *resource; /* for the generic handlers */
};

/* Generic handlers. rest_show/update/delete take the last path parameter as the id. */
int rest_list(struct req *r, struct err *e);
int rest_show(struct req *r, struct err *e);
int rest_create(struct req *r, struct err *e);
int rest_update(struct req *r, struct err *e);
int rest_delete(struct req *r, struct err *e);

/* ---- policy: one table that serves all services ---- */

enum policy_who {
	WHO_ANYONE,	    /* a valid token, or none on a public route */
	WHO_USER,	    /* any valid token */
	WHO_READER,	    /* reader, member or admin on the token's project */
	WHO_MEMBER,	    /* member or admin on the token's project */
	WHO_ADMIN,	    /* role admin */
	WHO_OWNER_OR_ADMIN, /* identity: the user itself, or admin */
};
/* Also gives the owner rule: rows of another project are NOT_FOUND for non-admins (that is visible_sql's work). */
struct policy_rule {
	const char *name;
	enum policy_who who;
}; /* name may end in "*": longest match wins */

/* ---- modules ---- */

struct service_version {
	const char *id, *status, *path;
	const char *min_micro, *max_micro;
	const char *updated;
};

struct module {
	const char *service; /* "network" */
	const char *type;    /* catalog type; NULL: not in the catalog */
	const char *prefix;  /* "/network/v2.0" */
	const char *catalog_path; /* path of the endpoint in the catalog, "%(project_id)s" is replaced; NULL: not in the catalog */
	/* Name in OpenStack-API-Version ("compute") and the range "2.1".."2.90"; NULL: no microversions. */
	const char *micro_name;
	uint16_t micro_min, micro_max;	  /* minors of major 2 (compute) */
	const struct route *routes;	  /* ends with a row whose path is NULL */
	const struct policy_rule *policy; /* ends with a row whose name is NULL */
	/* Makes the body of an error in this service's form; NULL: the Keystone/Neutron-neutral form chosen by the framework. */
	json_t *(*error_body)(const struct req *r, int status, const struct err *e);
	int (*bootstrap)(struct hub *h, struct db *db,
			 struct err *e); /* first start: default rows; called in a write transaction at every start, must be idempotent */
};

extern const struct module identity_module, image_module, compute_module, network_module, site_module;

/* ---- requests ---- */

#define REQ_PARAMS_MAX 4
struct req_auth {
	bool is_admin;	/* role admin on what the token is scoped to */
	unsigned roles; /* bit per well-known role: 1 admin, 2 member, 4 reader */
	const char *user_id, *user_name, *user_domain_id;
	const char *project_id; /* NULL: unscoped or domain scoped */
	const char *project_name, *domain_id, *audit_id;
	int64_t issued_us, expires_us;
};

struct req {
	struct hub *hub;
	struct db *db;
	struct arena *arena; /* everything a handler allocates for the answer */
	struct http_request *http;
	const struct module *module;
	const struct route *route;
	struct req_auth auth;
	uint16_t micro;	     /* negotiated microversion minor (2.x) */
	char request_id[42]; /* "req-…" */
	json_t *body;	     /* parsed body, or NULL; freed by the pipeline */
	/* the answer */
	json_t *reply; /* taken: freed by the pipeline */
	bool again; /* set before failing: run the whole request again later, at the end of the queue */
	int status; /* starts as route->status; a handler may choose another one of its documented successes */
	struct http_reply out; /* extra headers, body_fd */
	void *impl;	       /* the pipeline's: query arguments, touched nodes */
};

const char *req_param(const struct req *r, const char *name); /* percent-decoded path parameter; must exist */
const char *req_query(const struct req *r, const char *name); /* first value, decoded; NULL when absent */
size_t req_query_all(const struct req *r, const char *name, const char **ret, size_t max);
void req_reply(struct req *r, json_t *take);
/* The node's intent is compiled again before the commit, and its session is woken after it. Repeats cost nothing. */
void req_touch_node(struct req *r, const char *node_id);
/* The same for a change that can concern some parts of the intent only (enum intent_parts, hub/session.h). */
void req_touch_node_parts(struct req *r, const char *node_id, unsigned parts);
/* Runs fn(arg) after a successful commit, on the worker (files to unlink, sessions to close). */
WARN_UNUSED int req_after_commit(struct req *r, void (*fn)(struct hub *h, void *arg), void *arg);
/* For handlers that commit more than once (NO_TX routes): what the pipeline does at the end, in the middle. */
WARN_UNUSED int req_commit(struct req *r, struct err *e);
/* base URL of the API as this client sees it: "https://host:port" */
const char *req_base_url(const struct req *r);

/* Row access by other modules, in the caller's transaction, without policy and without `expand`. Returns 1 (new reference in *ret), 0 not there. */
WARN_UNUSED int rest_load(struct req *r, const struct resource *res, const char *id, json_t **ret,
			  struct err *e);
/* With the caller's visibility: NOT_FOUND otherwise. */
WARN_UNUSED int rest_need(struct req *r, const struct resource *res, const char *id, json_t **ret,
			  struct err *e);
/* Insert / update / delete with the resource's checks and hooks, as the generic handlers do: body is the inner object (borrowed).
 * ret_row (may be NULL): the row as stored, expanded, all attributes; a new reference. */
WARN_UNUSED int rest_insert(struct req *r, const struct resource *res, json_t *body,
			    json_t **ret_row, struct err *e);
WARN_UNUSED int rest_change(struct req *r, const struct resource *res, const char *id,
			    json_t *changes, json_t **ret_row, struct err *e);
WARN_UNUSED int rest_remove(struct req *r, const struct resource *res, const char *id, struct err *e);

extern const struct resource network_resource, subnet_resource, port_resource, security_group_resource,
	security_group_rule_resource, image_resource, flavor_resource, server_resource,
	project_resource, user_resource, site_resource, node_resource, port_chain_resource;

#endif
