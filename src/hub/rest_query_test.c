/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static const struct attr attrs[] = {
	{ "id", "id", ATTR_UUID, ATTR_FILTER | ATTR_SORT },
	{ "name", "name", ATTR_STR, ATTR_FILTER | ATTR_SORT },
	{ "created_at", "created_us", ATTR_TIME_S, ATTR_SORT },
	{ "secret", "secret", ATTR_STR, 0 },
	{ "computed", NULL, ATTR_STR, ATTR_SORT },
	{ NULL },
};
static const struct resource thing = { .service = "network",
				       .singular = "thing",
				       .plural = "things",
				       .table = "thing",
				       .attrs = attrs,
				       .dflt_sort = "created_us desc,id" };

static int parse(struct arena *a, const char *text, struct query *q)
{
	struct err e = { 0 };

	return query_parse(a, str_of(text), q, &e);
}

static void test_parse(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(1 << 20);
	struct query q;

	assert_int_equal(parse(a, "name=a%20b+c&name=d&&flag&empty=", &q), 0);
	assert_int_equal(q.n_args, 4);
	assert_string_equal(query_get(&q, "name"), "a b c");
	assert_string_equal(q.args[1].value, "d");
	assert_string_equal(query_get(&q, "flag"), "");
	assert_string_equal(query_get(&q, "empty"), "");
	assert_null(query_get(&q, "none"));
	assert_int_equal(parse(a, "", &q), 0);
	assert_int_equal(q.n_args, 0);
}

static void test_hostile(void **state)
{
	static const char *const bad[] = { "a=%",   "a=%1",	"a=%zz",      "a=%00",
					   "a=%ff", "%c0%80=1", "a=%ed%a0%80" };
	CLEANUP(arena_freep) struct arena *a = arena_new(1 << 20);
	char many[3 * REST_QUERY_ARGS_MAX];
	struct query q;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(parse(a, bad[i], &q), -EINVAL);
	for (size_t i = 0; i < sizeof(many); i++)
		many[i] = i % 2 ? '&' : 'a';
	many[sizeof(many) - 1] = '\0';
	assert_int_equal(parse(a, many, &q), -EINVAL);
}

static void test_encode_is_decodes_inverse(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(1 << 20);
	const char *text = "a b/ü&=+%?#~._-";
	char *coded = percent_encode(a, text);

	assert_null(strpbrk(coded, " /&=+?#"));
	assert_string_equal(percent_decode(a, str_of(coded), true), text);
}

static void test_bool(void **state)
{
	assert_int_equal(bool_parse("True"), 1);
	assert_int_equal(bool_parse("0"), 0);
	assert_int_equal(bool_parse("no"), 0);
	assert_true(bool_parse("maybe") < 0);
	assert_true(bool_parse("") < 0);
}

static int limit(const char *service, const char *text, size_t *n, bool *given)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(1 << 16);
	struct module m = { .service = service };
	struct err e = { 0 };
	struct query q;

	assert_int_equal(parse(a, text, &q), 0);
	return query_limit(&q, &m, n, given, &e);
}

static void test_limit(void **state)
{
	bool given;
	size_t n;

	assert_int_equal(limit("network", "", &n, &given), 0);
	assert_int_equal(n, REST_LIST_MAX);
	assert_int_equal(limit("compute", "", &n, &given), 0);
	assert_int_equal(n, REST_PAGE_MAX);
	assert_false(given);
	assert_int_equal(limit("compute", "limit=5000", &n, &given), 0);
	assert_int_equal(n, REST_PAGE_MAX);
	assert_int_equal(limit("network", "limit=7", &n, &given), 0);
	assert_int_equal(n, 7);
	assert_true(given);
	assert_int_equal(limit("network", "limit=-1", &n, &given), -EINVAL);
	assert_int_equal(limit("network", "limit=x", &n, &given), -EINVAL);
	assert_int_equal(limit("network", "limit=99999999999999999999", &n, &given), -EINVAL);
}

static int sort(const char *text, struct sort *s)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(1 << 16);
	struct err e = { 0 };
	struct query q;

	assert_int_equal(parse(a, text, &q), 0);
	return query_sort(&q, &thing, a, s, &e);
}

static void test_sort(void **state)
{
	struct sort s;

	assert_int_equal(sort("sort_key=name&sort_dir=desc&sort_key=created_at", &s), 0);
	assert_int_equal(s.n_keys, 3);
	assert_ptr_equal(s.keys[0].attr, &attrs[1]);
	assert_true(s.keys[0].descending);
	assert_ptr_equal(s.keys[1].attr, &attrs[2]);
	assert_false(s.keys[1].descending);
	assert_ptr_equal(s.keys[2].attr, &attrs[0]); /* the key makes the order total */
	assert_int_equal(sort("sort=name:desc,id", &s), 0);
	assert_int_equal(s.n_keys, 2);
	assert_int_equal(sort("", &s), 0);
	assert_int_equal(s.n_keys, 2);
	assert_true(s.keys[0].descending);
	assert_int_equal(sort("sort_key=secret", &s), -EINVAL);
	assert_int_equal(sort("sort_key=computed", &s), -EINVAL);
	assert_int_equal(sort("sort_key=name;drop", &s), -EINVAL);
	assert_int_equal(sort("sort_key=name&sort_dir=up", &s), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_encode_is_decodes_inverse),
		cmocka_unit_test(test_bool),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_sort),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
