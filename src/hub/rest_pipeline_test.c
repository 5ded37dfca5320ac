/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "hub/hub.h"
#include "hub/identity/auth.h"
#include "hub/session.h"

/* The whole pipeline over a real store, with a service of its own; server, sessions and tokens are played here. */

/* ---- played parts ---- */

static struct {
	struct http_header_row headers[8]; /* of the request */
	size_t n_headers;
	char order[128]; /* what happened: "compile:n1 wake:n1 after" */
	struct req_auth auth;
	int compile_result;
} world;

struct str http_header(const struct http_request *r, const char *name)
{
	for (size_t i = 0; i < world.n_headers; i++)
		if (strcmp(world.headers[i].name, name) == 0)
			return str_of(world.headers[i].value);
	return (struct str){ "", 0 };
}

void http_reply_header(struct http_request *r, struct http_reply *reply, const char *name,
		       const char *value)
{
	assert_true(reply->n_headers < HTTP_REPLY_HEADERS_MAX);
	reply->headers[reply->n_headers++] = (struct http_header_row){ arena_strdup(r->arena, name),
								       arena_strdup(r->arena, value) };
}

static void happened(const char *what, const char *id)
{
	size_t len = strlen(world.order);

	snprintf(world.order + len, sizeof(world.order) - len, "%s%s:%s", len ? " " : "", what, id);
}

int intent_compile_parts(struct db *db, const char *node_id, unsigned parts, struct err *e)
{
	assert_true(db_in_tx(db));
	assert_int_equal(parts, INTENT_ALL); /* once in part, once in whole: in whole */
	happened("compile", node_id);
	return world.compile_result < 0 ? err_set(e, FAULT_CONFLICT, NULL, "cannot compile") : 1;
}

void session_wake(struct hub *h, const char *node_id)
{
	happened("wake", node_id);
}

int auth_check(struct req *r, struct err *e)
{
	if (http_header(r->http, "x-auth-token").len == 0)
		return err_set(e, FAULT_UNAUTHENTICATED, NULL,
			       "The request you have made requires authentication.");
	r->auth = world.auth;
	return 0;
}

/* ---- the service ---- */

static void after(struct hub *h, void *arg)
{
	happened("after", arg);
}

static int box_created(struct req *r, json_t *row, struct err *e)
{
	req_touch_node_parts(r, json_str(row, "node"), INTENT_GROUPS);
	req_touch_node(r, json_str(row, "node"));
	if (strcmp(json_str(row, "name"), "bad") == 0)
		return err_set(e, FAULT_CONFLICT, "box.name", "a bad box");
	if (strcmp(json_str(row, "name"), "tunnel") == 0 && /* as triggers do */
	    db_exec(r->db, e, "INSERT INTO overlay_changed VALUES ('net')", "") < 0)
		return -e->num;
	return req_after_commit(r, after, (void *)"box") < 0 ? -ENOMEM : 0;
}

static int box_expand(struct req *r, json_t *row, struct err *e)
{
	json_object_set_new(row, "twice", json_integer(2 * json_int(row, "size", 0)));
	return 0;
}

static const struct attr attrs[] = {
	{ "id", "id", ATTR_UUID, ATTR_FILTER | ATTR_SORT },
	{ "name", "name", ATTR_STR, ATTR_RW | ATTR_REQUIRED | ATTR_FILTER | ATTR_SORT },
	{ "size", "size", ATTR_INT, ATTR_RW | ATTR_FILTER | ATTR_SORT },
	{ "open", "open", ATTR_BOOL, ATTR_RW | ATTR_FILTER, .dflt = "true" },
	{ "note", "note", ATTR_STR, ATTR_RW | ATTR_NULLABLE | ATTR_SORT | ATTR_FILTER },
	{ "node", NULL, ATTR_STR, ATTR_RW },
	{ "twice", NULL, ATTR_INT, 0 },
	{ "secret", "secret", ATTR_STR, ATTR_RW | ATTR_ADMIN | ATTR_ADMIN_SEE },
	{ "inner", "inner", ATTR_STR, ATTR_HIDDEN },
	{ "detail", "detail", ATTR_STR, ATTR_RW | ATTR_DETAIL, .since = 10 },
	{ "project_id", "project_id", ATTR_STR, ATTR_CREATE | ATTR_FILTER, .alias = "tenant_id" },
	{ "created_at", "created_us", ATTR_TIME_S, ATTR_SORT },
	{ "revision_number", "revision_number", ATTR_INT, 0 },
	{ NULL },
};
static const struct rest_filter filters[] = {
	{ "tags=any", "name = ?" },
	{ "big", "size > ?" },
	{ NULL },
};
static const struct resource box = {
	.service = "network",
	.singular = "box",
	.plural = "boxes",
	.table = "box",
	.policy = "network:box",
	.attrs = attrs,
	.by_name = true,
	.created = box_created,
	.expand = box_expand,
	.filters = filters,
	.visible_sql = "project_id = :project OR name = 'shared'",
};
static const struct route routes[] = {
	{ HTTP_GET, "/boxes", rest_list, 200, .resource = &box },
	{ HTTP_GET, "/brief", rest_list, 200, .flags = ROUTE_BRIEF, .resource = &box },
	{ HTTP_POST, "/boxes", rest_create, 201, .resource = &box },
	{ HTTP_GET, "/boxes/{id}", rest_show, 200, .resource = &box },
	{ HTTP_PUT, "/boxes/{id}", rest_update, 200, .resource = &box },
	{ HTTP_DELETE, "/boxes/{id}", rest_delete, 204, .resource = &box },
	{ .path = NULL },
};
static const struct policy_rule rules[] = { { "network:box:*", WHO_MEMBER },
					    { "network:box:list", WHO_READER },
					    { "network:box:show", WHO_READER },
					    { NULL } };
static const struct module boxes = { .service = "network",
				     .type = "network",
				     .prefix = "/network/v2.0",
				     .routes = routes,
				     .policy = rules };
static const struct module versioned = { .service = "compute",
					 .type = "compute",
					 .prefix = "/compute/v2.1",
					 .micro_name = "compute",
					 .micro_min = 1,
					 .micro_max = 20,
					 .routes = routes,
					 .policy = rules };
static const struct module *const all[] = { &boxes, &versioned };

/* ---- one hub for a test ---- */

static struct hub hub;
static struct hub_config config;
static const char *const names[] = { "hub.example", "192.0.2.1", "2001:db8::1" };
static char dir[64];
static struct http_reply reply;
static struct arena *arena;
static json_t *answer;

static int start(void **state)
{
	char path[128];
	struct db *db = NULL;
	struct err e = { 0 };

	memset(&world, 0, sizeof(world));
	world.auth = (struct req_auth){ .roles = 2, .user_id = "u1", .project_id = "p1" };
	str_copy(dir, sizeof(dir), STR("/tmp/demarc-rest-XXXXXX"));
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/db", dir);
	hub = (struct hub){ .config = &config,
			    .names = names,
			    .n_names = 3,
			    .public_url = (char *)"https://hub.example:1" };
	assert_int_equal(store_open(path, &hub.store, &e), 0);
	assert_int_equal(db_open(hub.store, &db, &e), 0);
	assert_true(db_exec(db, &e,
			    "CREATE TABLE box (id TEXT PRIMARY KEY, name TEXT NOT NULL, size INTEGER NOT NULL DEFAULT 1, open INTEGER,"
			    " note TEXT, secret TEXT, inner TEXT DEFAULT 'hidden', detail TEXT, project_id TEXT NOT NULL,"
			    " created_us INTEGER, revision_number INTEGER DEFAULT 1)",
			    "") >= 0);
	db_close(db);
	assert_int_equal(rest_new(&hub, all, ARRAY_LEN(all), 1, &hub.rest, &e), 0);
	arena = NULL;
	answer = NULL;
	return 0;
}

static int stop(void **state)
{
	json_decref(answer);
	arena_free(arena);
	rest_free(hub.rest);
	store_close(hub.store);
	return tree_remove(dir, NULL);
}

static void set_header(const char *name, const char *value)
{
	world.headers[world.n_headers++] = (struct http_header_row){ name, value };
}

static int call(enum http_method method, const char *target, const char *body)
{
	struct http_request r = { .method = method,
				  .target = str_of(target),
				  .host = STR("hub.example:8443") };
	bool token = false;

	arena_free(arena);
	arena = r.arena = arena_new(4 << 20);
	r.path = str_cut(r.target, '?', &r.query);
	r.body = str_of(body);
	for (size_t i = 0; i < world.n_headers; i++)
		token |= strcmp(world.headers[i].name, "x-auth-token") == 0;
	if (!token)
		set_header("x-auth-token", "t");
	memset(world.order, 0, sizeof(world.order));
	memset(&reply, 0, sizeof(reply));
	rest_handle(&hub, 0, &r, &reply);
	json_decref(answer);
	answer = NULL;
	if (reply.body.len && json_parse(reply.body, &answer, NULL) < 0)
		fail_msg("no JSON: " STR_FMT, STR_ARG(reply.body));
	return reply.status;
}

static const char *header(const char *name)
{
	for (size_t i = 0; i < reply.n_headers; i++)
		if (strcmp(reply.headers[i].name, name) == 0)
			return reply.headers[i].value;
	return "";
}

#define BOXES "/network/v2.0/boxes"

static const char *make(const char *name, int size)
{
	char body[128];

	snprintf(body, sizeof(body), "{\"box\":{\"name\":\"%s\",\"size\":%d}}", name, size);
	assert_int_equal(call(HTTP_POST, BOXES, body), 201);
	return json_str(json_object_get(answer, "box"), "id");
}

/* "a b c": names of the list in the answer */
static const char *listed(void)
{
	static char text[512];
	json_t *row;
	size_t i;

	text[0] = '\0';
	json_array_foreach(json_object_get(answer, "boxes"), i, row) {
		size_t len = strlen(text);

		snprintf(text + len, sizeof(text) - len, "%s%s", i ? " " : "", json_str(row, "name"));
	}
	return text;
}

static const char *list(const char *query)
{
	char target[2048];

	snprintf(target, sizeof(target), BOXES "?%s", query);
	if (call(HTTP_GET, target, NULL) != 200)
		fail_msg("%s: " STR_FMT, target, STR_ARG(reply.body));
	return listed();
}

/* ---- tests ---- */

static void test_create_show_update_delete(void **state)
{
	char path[128];
	json_t *row;

	assert_int_equal(
		call(HTTP_POST, BOXES, "{\"box\":{\"name\":\"a\",\"size\":4,\"node\":\"n1\"}}"), 201);
	assert_string_equal(world.order, "compile:n1 wake:n1 after:box");
	row = json_object_get(answer, "box");
	assert_int_equal(json_int(row, "twice", 0), 8);
	assert_true(json_bool(row, "open", false));
	assert_string_equal(json_str(row, "project_id"), "p1");
	assert_string_equal(json_str(row, "tenant_id"), "p1");
	assert_null(json_object_get(row, "inner"));
	assert_null(json_object_get(row, "secret"));
	assert_int_equal(strlen(json_str(row, "created_at")), 20);
	snprintf(path, sizeof(path), BOXES "/%s", json_str(row, "id"));

	assert_int_equal(call(HTTP_PUT, path, "{\"box\":{\"size\":5}}"), 200);
	assert_int_equal(json_int(json_object_get(answer, "box"), "revision_number", 0), 2);
	assert_int_equal(call(HTTP_GET, path, NULL), 200);
	assert_int_equal(json_int(json_object_get(answer, "box"), "size", 0), 5);
	assert_int_equal(call(HTTP_HEAD, path, NULL), 200);
	assert_true(reply.body.len > 0); /* the server keeps it back, and says its length */
	assert_int_equal(call(HTTP_GET, BOXES "/a", NULL), 200); /* by name */
	assert_int_equal(call(HTTP_DELETE, path, NULL), 204);
	assert_int_equal(call(HTTP_GET, path, NULL), 404);
	assert_string_equal(json_str(json_object_get(answer, "NeutronError"), "type"), "BoxNotFound");
}

/* Which nodes a changed overlay concerns is known when the rest is done. */
static void test_nodes_of_overlays_are_woken(void **state)
{
	static const char *const rows[] = {
		"INSERT INTO site (id, name, created_us, updated_us) VALUES ('s1', 'home', 0, 0)",
		"INSERT INTO node (id, name, site_id, created_us, updated_us) VALUES ('n2', 'n2', 's1', 0, 0)",
		"INSERT INTO network (id, name, project_id, created_us, updated_us) VALUES ('net', 'net', 'p', 0, 0)",
		"INSERT INTO port (id, network_id, project_id, mac_address, node_id, created_us, updated_us) VALUES ('p1', 'net', 'p', '02:00:00:00:00:01', 'n2', 0, 0)",
	};
	struct db *db = NULL;
	struct err e = { 0 };

	assert_int_equal(db_open(hub.store, &db, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (db_exec(db, &e, rows[i], "") < 0)
			fail_msg("%s: %s", rows[i], e.msg);
	db_close(db);
	assert_int_equal(call(HTTP_POST, BOXES, "{\"box\":{\"name\":\"tunnel\",\"node\":\"n1\"}}"), 201);
	assert_string_equal(world.order, "compile:n2 compile:n1 wake:n2 wake:n1 after:box");
}

static void test_failure_changes_nothing(void **state)
{
	assert_int_equal(call(HTTP_POST, BOXES, "{\"box\":{\"name\":\"bad\",\"node\":\"n1\"}}"), 409);
	assert_string_equal(world.order, ""); /* neither compiled nor woken nor run */
	assert_string_equal(list(""), "");
	world.compile_result = -1;
	assert_int_equal(call(HTTP_POST, BOXES, "{\"box\":{\"name\":\"x\",\"node\":\"n1\"}}"), 409);
	assert_string_equal(world.order, "compile:n1");
	assert_string_equal(list(""), "");
	/* Bulk: all or nothing. */
	world.compile_result = 0;
	assert_int_equal(call(HTTP_POST, BOXES, "{\"boxes\":[{\"name\":\"x\"},{\"name\":\"bad\"}]}"),
			 409);
	assert_string_equal(list(""), "");
	assert_int_equal(call(HTTP_POST, BOXES, "{\"boxes\":[{\"name\":\"x\"},{\"name\":\"y\"}]}"), 201);
	assert_string_equal(list("sort_key=name"), "x y");
}

static void test_filters(void **state)
{
	make("a", 1);
	make("b", 2);
	make("c", 3);
	assert_string_equal(list("name=a&name=c&sort_key=name"), "a c");
	assert_string_equal(list("size=2"), "b");
	assert_string_equal(list("open=false"), "");
	assert_string_equal(list("open=1&sort_key=size&sort_dir=desc"), "c b a");
	assert_string_equal(list("nothing=7&sort_key=name"), "a b c");
	assert_string_equal(list("big=2"), "c");
	assert_string_equal(list("tags=any=a&tags=any=b&sort_key=name"), "a b");
	assert_string_equal(list("name=%27%20OR%201=1"), "");
	assert_string_equal(list("tenant_id=p1&sort_key=name"), "a b c");
	assert_int_equal(call(HTTP_GET, BOXES "?size=x", NULL), 400);
	assert_int_equal(call(HTTP_GET, BOXES "?open=x", NULL), 400);
}

static void test_fields_and_brief(void **state)
{
	json_t *row;

	make("a", 1);
	list("fields=name&fields=twice");
	row = json_array_get(json_object_get(answer, "boxes"), 0);
	assert_int_equal(json_object_size(row), 2);
	list("fields=tenant_id");
	row = json_array_get(json_object_get(answer, "boxes"), 0);
	assert_int_equal(json_object_size(row), 1);
	assert_string_equal(json_str(row, "tenant_id"), "p1");
	assert_int_equal(call(HTTP_GET, "/network/v2.0/brief", NULL), 200);
	assert_null(json_object_get(json_array_get(json_object_get(answer, "boxes"), 0), "detail"));
}

static const char *link_of(const char *rel)
{
	json_t *l;
	size_t i;

	json_array_foreach(json_object_get(answer, "boxes_links"), i, l)
		if (strcmp(json_str(l, "rel"), rel) == 0)
			return json_str(l, "href");
	return NULL;
}

/* Walks the links from a first page to the last and back again. */
static void test_paging(void **state)
{
	static const char base[] = "https://hub.example:8443" BOXES "?";
	char next[512] = "limit=2&sort_key=note&sort_key=size&sort_dir=asc&sort_dir=desc",
	     back[512] = "";
	static const char *const pages[] = { "g f", "e d", "c b", "a" };

	for (int i = 0; i < 7; i++)
		make((const char[]){ (char)('a' + i), '\0' }, i);
	for (int i = 0; i < 4; i++) {
		assert_string_equal(list(next), pages[i]);
		assert_int_equal(link_of("previous") != NULL, i > 0);
		assert_int_equal(link_of("next") != NULL, i < 3);
		if (i < 3) {
			assert_memory_equal(link_of("next"), base, strlen(base));
			snprintf(next, sizeof(next), "%s", link_of("next") + strlen(base));
		} else {
			snprintf(back, sizeof(back), "%s", link_of("previous") + strlen(base));
		}
	}
	for (int i = 2; i >= 0; i--) {
		assert_string_equal(list(back), pages[i]);
		assert_int_equal(link_of("previous") != NULL, i > 0);
		if (i > 0)
			snprintf(back, sizeof(back), "%s", link_of("previous") + strlen(base));
	}
	assert_int_equal(call(HTTP_GET, BOXES "?marker=none", NULL), 400);
	list("limit=7");
	assert_null(json_object_get(answer, "boxes_links"));
}

static void test_visibility(void **state)
{
	char theirs[128], shared[128];

	snprintf(theirs, sizeof(theirs), BOXES "/%s", make("theirs", 1));
	snprintf(shared, sizeof(shared), BOXES "/%s", make("shared", 1));
	world.auth.project_id = "p2";
	make("mine", 1);
	assert_string_equal(list("sort_key=name"), "mine shared");
	assert_int_equal(call(HTTP_GET, theirs, NULL), 404);
	assert_int_equal(call(HTTP_DELETE, theirs, NULL), 404);
	assert_int_equal(call(HTTP_GET, shared, NULL), 200);
	assert_int_equal(call(HTTP_PUT, shared, "{\"box\":{\"size\":2}}"), 403);
	assert_int_equal(call(HTTP_DELETE, shared, NULL), 403);
	assert_string_equal(list("project_id=p1"), "shared");
	world.auth.is_admin = true;
	assert_string_equal(list("sort_key=name"), "mine shared theirs");
	assert_int_equal(call(HTTP_PUT, theirs, "{\"box\":{\"secret\":\"s\"}}"), 200);
	assert_string_equal(json_str(json_object_get(answer, "box"), "secret"), "s");
	world.auth = (struct req_auth){ .roles = 4, .user_id = "u", .project_id = "p1" };
	assert_int_equal(call(HTTP_GET, theirs, NULL), 200);
	assert_null(json_object_get(json_object_get(answer, "box"), "secret"));
	assert_int_equal(call(HTTP_DELETE, theirs, NULL), 403); /* a reader */
	world.auth.roles = 0;
	assert_int_equal(call(HTTP_GET, theirs, NULL), 403);
	world.auth = (struct req_auth){ .roles = 2, .user_id = "u" }; /* no project */
	assert_int_equal(call(HTTP_GET, BOXES, NULL), 403);
}

static void test_revision(void **state)
{
	char path[128];

	snprintf(path, sizeof(path), BOXES "/%s", make("a", 1));
	set_header("if-match", "revision_number=1");
	assert_int_equal(call(HTTP_PUT, path, "{\"box\":{\"size\":2}}"), 200);
	assert_int_equal(call(HTTP_PUT, path, "{\"box\":{\"size\":3}}"), 412);
	assert_int_equal(call(HTTP_DELETE, path, NULL), 412);
	world.n_headers = 0;
	set_header("if-match", "\"etag\"");
	assert_int_equal(call(HTTP_DELETE, path, NULL), 400);
	world.n_headers = 0;
	set_header("if-match", "revision_number=2");
	assert_int_equal(call(HTTP_DELETE, path, NULL), 204);
}

static void test_refusals(void **state)
{
	assert_int_equal(call(HTTP_GET, "/nothing", NULL), 404);
	assert_int_equal(call(HTTP_GET, "/network/v2.0/nothing", NULL), 404);
	assert_non_null(json_object_get(answer, "NeutronError"));
	assert_int_equal(call(HTTP_PATCH, BOXES, "{}"), 405);
	assert_string_equal(header("Allow"), "GET, HEAD, POST");
	assert_int_equal(call(HTTP_POST, BOXES, ""), 400);
	assert_int_equal(call(HTTP_POST, BOXES, "{"), 400);
	assert_int_equal(call(HTTP_POST, BOXES, "7"), 400);
	assert_int_equal(call(HTTP_POST, BOXES, "{\"box\":{\"name\":\"a\"},\"more\":1}"), 400);
	assert_int_equal(call(HTTP_POST, BOXES, "{\"crate\":{}}"), 400);
	assert_memory_equal(header("X-Openstack-Request-Id"), "req-", 4);
	set_header("content-type", "text/xml");
	assert_int_equal(call(HTTP_POST, BOXES, "<a/>"), 415);
	world.n_headers = 0;
	set_header("x-auth-token", "");
	assert_int_equal(call(HTTP_GET, BOXES, NULL), 401);
	assert_string_equal(header("WWW-Authenticate"),
			    "Keystone uri=\"https://hub.example:8443/identity\"");
}

static void test_microversions(void **state)
{
	static const struct {
		const char *name, *value, *shown;
		int status;
	} cases[] = {
		{ "openstack-api-version", "compute 2.10", "compute 2.10", 200 },
		{ "openstack-api-version", "volume 3.1, compute 2.5", "compute 2.5", 200 },
		{ "openstack-api-version", "compute latest", "compute 2.20", 200 },
		{ "openstack-api-version", "volume 3.1", "compute 2.1", 200 },
		{ "x-openstack-nova-api-version", "2.7", "compute 2.7", 200 },
		{ "openstack-api-version", "compute 2.21", "", 406 },
		{ "openstack-api-version", "compute 2.0", "", 406 },
		{ "openstack-api-version", "compute 3.1", "", 400 },
		{ "openstack-api-version", "compute two", "", 400 },
		{ "openstack-api-version", "compute 2.", "", 400 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		world.n_headers = 0;
		set_header(cases[i].name, cases[i].value);
		assert_int_equal(call(HTTP_GET, "/compute/v2.1/boxes", NULL), cases[i].status);
		if (cases[i].status == 200)
			assert_string_equal(header("OpenStack-API-Version"), cases[i].shown);
	}
	world.n_headers = 0;
	set_header("openstack-api-version", "compute 2.9");
	assert_int_equal(call(HTTP_POST, "/compute/v2.1/boxes",
			      "{\"box\":{\"name\":\"a\",\"detail\":\"d\"}}"),
			 400);
	world.n_headers = 0;
	set_header("openstack-api-version", "compute 2.10");
	assert_int_equal(call(HTTP_POST, "/compute/v2.1/boxes",
			      "{\"box\":{\"name\":\"a\",\"detail\":\"d\"}}"),
			 201);
	assert_string_equal(json_str(json_object_get(answer, "box"), "detail"), "d");
}

static void test_version_documents(void **state)
{
	json_t *v;

	assert_int_equal(call(HTTP_GET, "/", NULL), 300);
	assert_int_equal(call(HTTP_GET, "/compute", NULL), 200);
	assert_int_equal(call(HTTP_GET, "/compute/v2.1/", NULL), 200);
	v = json_object_get(answer, "version");
	assert_string_equal(json_str(v, "version"), "2.20");
	assert_string_equal(json_str(v, "min_version"), "2.1");
	assert_int_equal(call(HTTP_GET, "/network", NULL), 200);
	assert_string_equal(json_str(json_array_get(json_object_get(answer, "versions"), 0), "id"),
			    "v2.0");
}

static void check_base_url(const char *host, const char *expected)
{
	struct http_request http = { .arena = arena_new(1 << 16), .host = str_of(host) };
	struct req_impl impl = { 0 };
	struct req r = { .hub = &hub, .arena = http.arena, .http = &http, .impl = &impl };

	assert_string_equal(req_base_url(&r), expected);
	arena_free(http.arena);
}

static void test_base_url(void **state)
{
	check_base_url("192.0.2.1:99", "https://192.0.2.1:99");
	check_base_url("HUB.example", "https://HUB.example");
	check_base_url("[2001:db8::1]:5", "https://[2001:db8::1]:5");
	check_base_url("other.example", "https://hub.example:1");
	check_base_url("hub.example:x", "https://hub.example:1");
	check_base_url("hub.example:99999", "https://hub.example:1");
	check_base_url("", "https://hub.example:1");
	check_base_url("[", "https://hub.example:1");
}

int main(void)
{
#define IN_HUB(fn) cmocka_unit_test_setup_teardown(fn, start, stop)
	const struct CMUnitTest tests[] = {
		IN_HUB(test_create_show_update_delete),
		IN_HUB(test_nodes_of_overlays_are_woken),
		IN_HUB(test_failure_changes_nothing),
		IN_HUB(test_filters),
		IN_HUB(test_fields_and_brief),
		IN_HUB(test_paging),
		IN_HUB(test_visibility),
		IN_HUB(test_revision),
		IN_HUB(test_refusals),
		IN_HUB(test_microversions),
		IN_HUB(test_version_documents),
		IN_HUB(test_base_url),
	};

	log_init("rest-test", LOG_ERROR_);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
