/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "hub/modules.h"

static int nothing(struct req *r, struct err *e)
{
	return 0;
}

static const struct route routes[] = {
	{ HTTP_GET, "/ports", nothing, 200, "a" },
	{ HTTP_POST, "/ports", nothing, 201, "a" },
	{ HTTP_GET, "/ports/{id}", nothing, 200, "a" },
	{ HTTP_DELETE, "/ports/{port_id}", nothing, 204, "a" },
	{ HTTP_GET, "/ports/detail", nothing, 200, "a" },
	{ HTTP_GET, "/ports/{id}/tags/{tag}", nothing, 200, "a" },
	{ HTTP_GET, "/ports/detail/x", nothing, 200, "a" },
	{ .path = NULL },
};
static const struct policy_rule rules[] = { { "a", WHO_USER }, { NULL } };
static const struct module module = { .service = "t", .prefix = "/net/v2", .routes = routes, .policy = rules };

static const struct route *find(const struct route_node *root, const char *path,
				enum http_method method, struct route_match *m)
{
	route_tree_find(root, str_of(path), m);
	return m->node ? m->node->entry[method].route : NULL;
}

static void test_find(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(1 << 20);
	struct route_node root = { 0 };
	struct route_match m;
	struct err e = { 0 };

	assert_int_equal(route_tree_add(a, &root, &module, &e), 0);
	assert_ptr_equal(find(&root, "/net/v2/ports", HTTP_GET, &m), &routes[0]);
	assert_ptr_equal(find(&root, "/net/v2/ports/", HTTP_POST, &m), &routes[1]);
	assert_ptr_equal(find(&root, "/net/v2/ports/77", HTTP_GET, &m), &routes[2]);
	assert_int_equal(m.n_params, 1);
	assert_true(str_eq_c(m.params[0].raw, "77"));
	assert_ptr_equal(find(&root, "/net/v2/ports/detail", HTTP_GET, &m), &routes[4]);
	assert_int_equal(m.n_params, 0);
	/* The literal is a dead end here: back to the parameter. */
	assert_ptr_equal(find(&root, "/net/v2/ports/detail/tags/x", HTTP_GET, &m), &routes[5]);
	assert_int_equal(m.n_params, 2);
	assert_true(str_eq_c(m.params[0].raw, "detail"));
	assert_null(find(&root, "/net/v2/ports/1/tags", HTTP_GET, &m));
	assert_null(find(&root, "/net/v2/port", HTTP_GET, &m));
	assert_null(find(&root, "/net", HTTP_GET, &m));
	assert_null(find(&root, "", HTTP_GET, &m));
}

static void test_allow(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(1 << 20);
	struct route_node root = { 0 };
	struct route_match m;
	struct err e = { 0 };
	char text[64];

	assert_int_equal(route_tree_add(a, &root, &module, &e), 0);
	assert_null(find(&root, "/net/v2/ports/77", HTTP_PUT, &m));
	route_allow(m.node, text, sizeof(text));
	assert_string_equal(text, "GET, HEAD, DELETE");
}

static void test_twice_is_refused(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(1 << 20);
	struct route_node root = { 0 };
	struct err e = { 0 };

	assert_int_equal(route_tree_add(a, &root, &module, &e), 0);
	assert_int_equal(route_tree_add(a, &root, &module, &e), -EIO);
	assert_non_null(strstr(e.msg, "/net/v2/ports"));
}

/* Each table of the real services: no route twice, none without a rule, statuses that a success may have. */
static void test_every_module(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(4 << 20);
	struct route_node root = { 0 };
	struct module versions;
	struct err e = { 0 };

	for (size_t i = 0; i < hub_n_modules; i++) {
		const struct module *m = hub_modules[i];

		assert_int_equal(route_tree_add(a, &root, m, &e), 0);
		for (const struct route *rt = m->routes; rt->path; rt++) {
			enum policy_who who;
			char name[128];

			assert_non_null(rt->handler);
			if (rt->status < 200 || rt->status >= 400)
				fail_msg("%s%s: status %d", m->prefix, rt->path, rt->status);
			if (!(rt->flags & ROUTE_PUBLIC) && !policy_find(m, rt, &who))
				fail_msg("%s%s: no policy rule for '%s'", m->prefix, rt->path,
					 policy_name(rt, name, sizeof(name)));
			if (rt->resource && !row_plan_of(rt->resource, &e))
				fail_msg("%s%s: %s", m->prefix, rt->path, e.msg);
		}
	}
	assert_int_equal(version_module(a, hub_modules, hub_n_modules, &versions, &e), 0);
	assert_int_equal(route_tree_add(a, &root, &versions, &e), 0);
}

/* What reaches the public without a token is a short list, known here. */
static void test_public_routes(void **state)
{
	size_t n = 0;

	for (size_t i = 0; i < hub_n_modules; i++)
		for (const struct route *rt = hub_modules[i]->routes; rt->path; rt++) {
			bool login = strcmp(rt->path, "/auth/tokens") == 0 && rt->method == HTTP_POST;

			n += rt->flags & ROUTE_PUBLIC && !login && rt->method != HTTP_GET &&
			     !strstr(rt->path, "enrol");
		}
	assert_int_equal(n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_allow),
		cmocka_unit_test(test_twice_is_refused),
		cmocka_unit_test(test_every_module),
		cmocka_unit_test(test_public_routes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
