/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "hub/hub.h"
#include "hub/identity/auth.h"
#include "hub/session.h"

/* ---- what a handler asks of its request ---- */

const char *req_param(const struct req *r, const char *name)
{
	const struct req_impl *i = req_impl(r);

	for (size_t k = 0; k < i->n_params; k++)
		if (str_eq_c(i->params[k].name, name))
			return i->params[k].value;
	abort(); /* the route's path has no such parameter: a programmer error */
}

const char *req_query(const struct req *r, const char *name)
{
	return query_get(&req_impl(r)->query, name);
}

size_t req_query_all(const struct req *r, const char *name, const char **ret, size_t max)
{
	const struct query *q = &req_impl(r)->query;
	size_t n = 0;

	for (size_t i = 0; i < q->n_args && n < max; i++)
		if (strcmp(q->args[i].name, name) == 0)
			ret[n++] = q->args[i].value;
	return n;
}

void req_reply(struct req *r, json_t *take)
{
	json_decref(r->reply);
	r->reply = take;
}

static struct touched_node **touched_bucket(struct req *r, const char *node_id)
{
	struct req_impl *i = req_impl(r);
	uint32_t h = 2166136261u; /* FNV-1a */

	if (!i->touched_hash)
		i->touched_hash = arena_alloc(r->arena, TOUCHED_BUCKETS * sizeof(*i->touched_hash));
	for (; *node_id; node_id++)
		h = (h ^ (uint8_t)*node_id) * 16777619u;
	return i->touched_hash ? &i->touched_hash[h & (TOUCHED_BUCKETS - 1)] : NULL;
}

void req_touch_node_parts(struct req *r, const char *node_id, unsigned parts)
{
	struct req_impl *i = req_impl(r);
	struct touched_node *t, **bucket;

	if (!node_id || !*node_id)
		return;
	bucket = touched_bucket(r, node_id);
	if (!bucket)
		return; /* the arena remembers; the pipeline fails the request */
	for (t = *bucket; t && strcmp(t->id, node_id) != 0;)
		t = t->next_hash;
	if (t) {
		t->parts |= parts;
		return;
	}
	t = ARENA_NEW(r->arena, struct touched_node);
	if (!t)
		return;
	*t = (struct touched_node){ .next = i->touched,
				    .next_hash = *bucket,
				    .id = arena_strdup(r->arena, node_id),
				    .parts = parts };
	if (t->id)
		i->touched = *bucket = t;
}

void req_touch_node(struct req *r, const char *node_id)
{
	req_touch_node_parts(r, node_id, INTENT_ALL);
}

int req_after_commit(struct req *r, void (*fn)(struct hub *h, void *arg), void *arg)
{
	struct req_impl *i = req_impl(r);
	struct after_commit *a = ARENA_NEW(r->arena, struct after_commit);

	if (!a)
		return -ENOMEM;
	*a = (struct after_commit){ .fn = fn, .arg = arg };
	*i->after_end = a;
	i->after_end = &a->next;
	return 0;
}

static void touch(void *req, const char *node_id)
{
	req_touch_node(req, node_id);
}

static int compile_touched(struct req *r, struct err *e)
{
	unsigned n = 0, n_changed = 0;

	if (intent_nodes_of_overlays(r->db, touch, r, e) < 0)
		return -e->num;
	for (struct touched_node *t = req_impl(r)->touched; t; t = t->next) {
		int rc = intent_compile_parts(r->db, t->id, t->parts, e);

		if (rc < 0)
			return err_wrap(e, "intent of node %s", t->id);
		n++;
		n_changed += rc > 0;
	}
	if (n)
		log_debug("intents_compiled", "request=%s nodes=%u changed=%u", r->request_id, n,
			  n_changed);
	/* A hook that ran out of arena may have lost a node to touch: better fail than commit half. */
	return arena_failed(r->arena) ?
		       err_set(e, FAULT_NO_MEMORY, NULL, "The request needs too much memory.") :
		       0;
}

int req_commit(struct req *r, struct err *e)
{
	struct req_impl *i = req_impl(r);
	struct touched_node *touched;
	struct after_commit *after = i->after;
	int rc = compile_touched(r, e);

	if (rc == 0)
		rc = db_commit(r->db, e);
	if (rc < 0)
		return rc;
	touched = i->touched; /* those that an overlay concerns came to it just now */
	i->touched = NULL;
	i->touched_hash = NULL;
	i->after = NULL;
	i->after_end = &i->after;
	for (; touched; touched = touched->next)
		session_wake(r->hub, touched->id);
	for (; after; after = after->next)
		after->fn(r->hub, after->arg);
	return 0;
}

/* ---- base URL ---- */

static bool is_own_name(const struct hub *h, struct str name)
{
	for (size_t i = 0; i < h->n_names; i++)
		if (str_eq_nocase(str_of(h->names[i]), name))
			return true;
	return false;
}

/* Host header "name", "name:port", "[v6]:port": the name without port and brackets; false when malformed. */
static bool host_name(struct str host, struct str *ret)
{
	struct str port = { "", 0 };
	uint64_t n;

	if (host.len && host.ptr[0] == '[') {
		struct str rest, name = str_cut((struct str){ host.ptr + 1, host.len - 1 }, ']', &rest);

		if (rest.len && rest.ptr[0] != ':')
			return false;
		*ret = name;
		port = rest.len ? (struct str){ rest.ptr + 1, rest.len - 1 } : rest;
	} else {
		*ret = str_cut(host, ':', &port);
	}
	return port.len == 0 || str_to_u64(port, UINT16_MAX, &n) == 0;
}

/* A client that came by a name of the certificate gets its own name back: the hub's address may change freely. */
const char *req_base_url(const struct req *r)
{
	struct req_impl *i = req_impl(r);
	struct str host = r->http->host, name;

	if (i->base_url)
		return i->base_url;
	i->base_url = r->hub->public_url;
	if (host_name(host, &name) && is_own_name(r->hub, name)) {
		const char *url = arena_printf(r->arena, "https://" STR_FMT, STR_ARG(host));

		if (url)
			i->base_url = url;
	}
	return i->base_url;
}

/* ---- the pipeline ---- */

static bool is_writing(enum http_method m)
{
	return m == HTTP_POST || m == HTTP_PUT || m == HTTP_PATCH || m == HTTP_DELETE;
}

const struct module *rest_module_of(const struct rest *rest, struct str path)
{
	const struct module *best = NULL;

	for (size_t i = 0; i < rest->n_modules; i++) {
		/* By the service's own top folder: "/network" of "/network/v2.0". */
		struct str rest_of, top = str_of(rest->modules[i]->prefix);

		top.len = 1 + str_cut((struct str){ top.ptr + 1, top.len - 1 }, '/', &rest_of).len;
		if (str_starts(path, top) && (path.len == top.len || path.ptr[top.len] == '/'))
			best = rest->modules[i];
	}
	return best;
}

/* Names of the parameters stand in the route's own path: two routes may name the same place differently. */
static int take_params(struct req *r, const struct route_match *m, struct err *e)
{
	struct req_impl *i = req_impl(r);
	struct str path = str_of(r->route->path);

	while (path.len && i->n_params < m->n_params) {
		struct str seg = str_cut(path, '/', &path);
		struct req_path_param *p = &i->params[i->n_params];

		if (seg.len < 3 || seg.ptr[0] != '{')
			continue;
		p->name = (struct str){ seg.ptr + 1, seg.len - 2 };
		p->value = percent_decode(r->arena, m->params[i->n_params].raw, false);
		if (!p->value)
			return err_set(e, FAULT_BAD_REQUEST, NULL,
				       "The path is not percent-encoded UTF-8 text.");
		i->n_params++;
	}
	return 0;
}

static int find_route(struct req *r, const struct rest *rest, struct err *e)
{
	enum http_method method = r->http->method;
	struct route_match m;
	const struct route_entry *entry = NULL;
	char allow[64];

	route_tree_find(&rest->root, r->http->path, &m);
	r->module = rest_module_of(rest, r->http->path);
	if (!m.node)
		return err_set(e, FAULT_NOT_FOUND, NULL, "The resource could not be found.");
	if ((unsigned)method < REST_METHODS)
		entry = &m.node->entry[method];
	if (method == HTTP_HEAD && !entry->route)
		entry = &m.node->entry[HTTP_GET];
	if (!entry || !entry->route) {
		route_allow(m.node, allow, sizeof(allow));
		req_impl(r)->allow = arena_strdup(r->arena, allow);
		return err_set(e, FAULT_METHOD, NULL,
			       "The method is not allowed here; allowed: %s.", allow);
	}
	req_impl(r)->entry = entry;
	r->module = entry->module;
	r->route = entry->route;
	r->status = r->route->status;
	return take_params(r, &m, e);
}

/* Nothing is ever unpacked here: a small body stays small (RFC 9110 8.4, 15.5.16). */
static int check_coding(const struct req *r, struct err *e)
{
	struct str coding = http_header(r->http, "content-encoding");

	if (coding.len == 0 || str_eq_nocase(coding, STR("identity")))
		return 0;
	return err_set(e, FAULT_MEDIA_TYPE, NULL,
		       "Unsupported Content-Encoding, send the body as it is.");
}

static int parse_body(struct req *r, struct err *e)
{
	struct str type = http_header(r->http, "content-type"), body = r->http->body;
	bool takes = is_writing(r->http->method) && r->http->method != HTTP_DELETE;
	int rc = check_coding(r, e);

	if (rc < 0)
		return rc;
	if (!takes || r->route->flags & (ROUTE_STREAM_IN | ROUTE_NO_BODY))
		return 0;
	if (body.len == 0 && r->route->flags & ROUTE_BODY_OPTIONAL)
		return 0;
	if (body.len && type.len && !memmem(type.ptr, type.len, "json", 4))
		return err_set(e, FAULT_MEDIA_TYPE, NULL,
			       "Unsupported Content-Type, send application/json.");
	if (!json_depth_within(body, REST_BODY_DEPTH_MAX))
		return err_set(e, FAULT_BAD_REQUEST, NULL, "The body nests deeper than %d levels.",
			       REST_BODY_DEPTH_MAX);
	if (json_parse(body, &r->body, e) < 0)
		return err_wrap(e, "Malformed request body");
	if (!json_is_object(r->body) && !json_is_array(r->body))
		return err_set(e, FAULT_BAD_REQUEST, NULL, "Malformed request body: not a JSON object.");
	return 0;
}

/* A body whose text lives as long as the request's arena. */
static int encode(struct req *r, struct err *e)
{
	char *text;

	if (!r->reply)
		return 0;
	text = json_dumps(r->reply, JSON_COMPACT);
	if (!text || arena_hook(r->arena, free, text) < 0) {
		free(text);
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the answer");
	}
	r->out.body = str_of(text);
	return 0;
}

static int run_handler(struct req *r, struct err *e)
{
	unsigned flags = r->route->flags;
	bool tx = !(flags & (ROUTE_NO_TX | ROUTE_STREAM_IN));
	bool writes = flags & ROUTE_WRITE || (is_writing(r->http->method) && !(flags & ROUTE_READ));
	int rc = tx ? db_begin(r->db, writes ? DB_WRITE : DB_READ, e) : 0;

	if (rc >= 0)
		rc = r->route->handler(r, e);
	if (rc >= 0)
		rc = encode(r, e);
	/* NO_TX handlers may leave their last transaction to the pipeline. */
	if (rc >= 0 && db_in_tx(r->db))
		rc = req_commit(r, e);
	if (rc < 0)
		db_rollback(r->db);
	return rc < 0 ? rc : 0;
}

static int run(struct req *r, struct rest *rest, unsigned worker, struct err *e)
{
	int rc = find_route(r, rest, e);

	if (rc == 0)
		rc = micro_negotiate(r, e);
	if (rc == 0)
		rc = query_parse(r->arena, r->http->query, &req_impl(r)->query, e);
	if (rc == 0 && !rest->dbs[worker])
		rc = db_open(rest->hub->store, &rest->dbs[worker], e);
	if (rc < 0)
		return rc;
	r->db = rest->dbs[worker];
	if (!(r->route->flags & ROUTE_PUBLIC))
		rc = auth_check(r, e);
	if (rc == 0)
		rc = policy_check(r, req_impl(r)->entry, e);
	if (rc == 0)
		rc = parse_body(r, e);
	return rc == 0 ? run_handler(r, e) : rc;
}

static void header(struct req *r, const char *name, const char *value)
{
	if (r->out.n_headers < HTTP_REPLY_HEADERS_MAX && value)
		http_reply_header(r->http, &r->out, name, value);
}

static void add_headers(struct req *r)
{
	const struct module *m = r->module;

	header(r, "X-Openstack-Request-Id", r->request_id);
	if (m && strcmp(m->service, "compute") == 0)
		header(r, "X-Compute-Request-Id", r->request_id);
	if (m && m->micro_name && r->micro != UINT16_MAX) {
		header(r, "OpenStack-API-Version",
		       arena_printf(r->arena, "%s 2.%u", m->micro_name, r->micro));
		header(r, "X-OpenStack-Nova-API-Version", arena_printf(r->arena, "2.%u", r->micro));
		header(r, "Vary", "OpenStack-API-Version, X-OpenStack-Nova-API-Version");
	}
}

/* The service's own envelope for *e. */
static void reply_error(struct req *r, struct err *e)
{
	static const char out_of_memory[] = "{\"error\":{\"code\":503,\"message\":\"out of memory\"}}";
	json_t *body;
	struct err ignored;

	r->status = error_status(r->module, e->fault);
	body = error_body(r, r->module, r->status, e);
	req_reply(r, body);
	if (r->out.body_fd >= 0)
		close_fdp(&r->out.body_fd);
	r->out.body_fd = -1;
	r->out.content_type = NULL;
	if (!body || encode(r, &ignored) < 0)
		r->out.body = STR(out_of_memory);
	if (e->fault == FAULT_UNAUTHENTICATED)
		header(r, "WWW-Authenticate",
		       arena_printf(r->arena, "Keystone uri=\"%s/identity\"", req_base_url(r)));
	if (req_impl(r)->allow)
		header(r, "Allow", req_impl(r)->allow);
	if (e->fault == FAULT_UNAVAILABLE || e->fault == FAULT_NO_MEMORY)
		header(r, "Retry-After", "1");
	if (r->status >= 500 && e->fault != FAULT_UNAVAILABLE && e->fault != FAULT_NOT_IMPLEMENTED)
		log_limited(LOG_ERROR_, "request_failed", "request=%s fault=%s reason=%s",
			    r->request_id, fault_name(e->fault), LOGQ(e->msg));
}

void rest_handle(void *ctx, unsigned worker, struct http_request *http, struct http_reply *reply)
{
	struct hub *h = ctx;
	struct req_impl impl = { 0 };
	struct req r = { .hub = h, .arena = http->arena, .http = http, .impl = &impl, .micro = UINT16_MAX };
	struct err e = { 0 };

	impl.after_end = &impl.after;
	r.out.body_fd = -1;
	memcpy(r.request_id, "req-", 4);
	uuid_format(uuid_random(), r.request_id + 4);
	if (run(&r, h->rest, worker, &e) < 0 && !r.again)
		reply_error(&r, &e);
	add_headers(&r);
	r.out.status = r.again ? HTTP_AGAIN : r.status;
	json_decref(r.body);
	json_decref(r.reply);
	*reply = r.out;
}

bool rest_wants_stream(void *ctx, enum http_method method, struct str path)
{
	struct hub *h = ctx;
	struct route_match m;

	route_tree_find(&h->rest->root, path, &m);
	return m.node && (unsigned)method < REST_METHODS && m.node->entry[method].route &&
	       m.node->entry[method].route->flags & ROUTE_STREAM_IN;
}

/* ---- start and end ---- */

int rest_new(struct hub *h, const struct module *const *modules, size_t n, unsigned n_workers,
	     struct rest **ret, struct err *e)
{
	struct rest *rest = calloc(1, sizeof(*rest));
	int rc;

	if (!rest || n > REST_MODULES_MAX) {
		free(rest);
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the API");
	}
	rest->hub = h;
	rest->n_modules = n;
	memcpy(rest->modules, modules, n * sizeof(*modules));
	rest->n_workers = n_workers;
	rest->dbs = calloc(n_workers, sizeof(struct db *));
	rest->arena = arena_new(4 << 20);
	rc = rest->dbs && rest->arena ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the API");
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = route_tree_add(rest->arena, &rest->root, modules[i], e);
	if (rc == 0)
		rc = version_module(rest->arena, modules, n, &rest->versions, e);
	if (rc == 0)
		rc = route_tree_add(rest->arena, &rest->root, &rest->versions, e);
	if (rc < 0) {
		rest_free(rest);
		return rc;
	}
	*ret = rest;
	return 0;
}

void rest_free(struct rest *rest)
{
	if (!rest)
		return;
	for (unsigned i = 0; rest->dbs && i < rest->n_workers; i++)
		db_close(rest->dbs[i]);
	free(rest->dbs);
	arena_free(rest->arena);
	free(rest);
}
