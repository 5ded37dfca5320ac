/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/compute/input.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "hub/compute/probe.h"

static json_t *json_of(const char *text)
{
	json_t *j = NULL;

	assert_int_equal(json_parse(str_of(text), &j, NULL), 0);
	return j;
}

static void unknown_members_are_named(void **state)
{
	static const struct input_key keys[] = { { "name" }, { "tags", 52 }, { NULL } };
	CLEANUP(json_freep) json_t *obj = json_of("{\"name\": \"a\", \"tags\": []}");
	struct err e = { 0 };

	assert_int_equal(input_only(obj, "server", keys, 52, &e), 0);
	assert_int_equal(input_only(obj, "server", keys, 51, &e), -EINVAL);
	assert_int_equal(e.fault, FAULT_BAD_REQUEST);
	assert_string_equal(e.field, "tags");
	assert_non_null(strstr(e.msg, "'tags' was unexpected"));
}

static void strings_have_bounds(void **state)
{
	CLEANUP(json_freep) json_t *obj = json_of("{\"a\": \"abc\", \"n\": 3, \"z\": null}");
	const char *v = "kept";
	struct err e = { 0 };

	assert_int_equal(input_str(obj, "none", 1, 9, &v, &e), 0);
	assert_string_equal(v, "kept");
	assert_int_equal(input_str(obj, "a", 1, 3, &v, &e), 1);
	assert_string_equal(v, "abc");
	assert_int_equal(input_str(obj, "a", 4, 9, &v, &e), -EINVAL);
	assert_int_equal(input_str(obj, "a", 0, 2, &v, &e), -EINVAL);
	assert_int_equal(input_str(obj, "n", 0, 2, &v, &e), -EINVAL);
	assert_int_equal(input_str(obj, "z", 0, 2, &v, &e), -EINVAL);
	assert_int_equal(input_str_null(obj, "z", 2, &v, &e), 1);
	assert_null(v);
}

static void numbers_may_be_strings(void **state)
{
	CLEANUP(json_freep)
	json_t *obj = json_of("{\"i\": 5, \"s\": \"7\", \"x\": \"7x\", \"f\": 1.5}");
	struct err e = { 0 };
	int64_t n = 0;

	assert_int_equal(input_int(obj, "i", 0, 9, &n, &e), 1);
	assert_int_equal(n, 5);
	assert_int_equal(input_int(obj, "s", 0, 9, &n, &e), 1);
	assert_int_equal(n, 7);
	assert_int_equal(input_int(obj, "s", 0, 6, &n, &e), -EINVAL);
	assert_int_equal(input_int(obj, "s", 8, 9, &n, &e), -EINVAL);
	assert_int_equal(input_int(obj, "x", 0, 9, &n, &e), -EINVAL);
	assert_int_equal(input_int(obj, "f", 0, 9, &n, &e), -EINVAL);
	assert_int_equal(n, 7);
}

static void booleans_have_words(void **state)
{
	CLEANUP(json_freep)
	json_t *obj = json_of("{\"t\": \"True\", \"f\": false, \"x\": \"maybe\"}");
	struct err e = { 0 };
	bool b = false;

	assert_int_equal(input_bool(obj, "t", &b, &e), 1);
	assert_true(b);
	assert_int_equal(input_bool(obj, "f", &b, &e), 1);
	assert_false(b);
	assert_int_equal(input_bool(obj, "x", &b, &e), -EINVAL);
}

static void maps_and_tags_are_bounded(void **state)
{
	CLEANUP(json_freep) json_t *map = json_of("{\"a\": \"1\", \"b\": \"2\"}");
	CLEANUP(json_freep) json_t *bad = json_of("{\"a\": 1}");
	CLEANUP(json_freep) json_t *tags = json_of("[\"a\", \"b\"]");
	CLEANUP(json_freep) json_t *twice = json_of("[\"a\", \"a\"]");
	CLEANUP(json_freep) json_t *comma = json_of("[\"a,b\"]");
	struct err e = { 0 };

	assert_int_equal(input_strings(map, "metadata", 1, 2, &e), 0);
	assert_int_equal(input_strings(map, "metadata", 1, 1, &e), -EPERM);
	assert_int_equal(input_strings(map, "metadata", 0, 2, &e), -EINVAL);
	assert_string_equal(e.field, "metadata.a");
	assert_int_equal(input_strings(bad, "metadata", 9, 2, &e), -EINVAL);
	assert_int_equal(input_tags(tags, "tags", 1, 2, &e), 0);
	assert_int_equal(input_tags(tags, "tags", 1, 1, &e), -EINVAL);
	assert_int_equal(input_tags(twice, "tags", 1, 2, &e), -EINVAL);
	assert_int_equal(input_tags(comma, "tags", 9, 2, &e), -EINVAL);
}

static void times_are_iso_8601(void **state)
{
	int64_t us = 0;

	assert_int_equal(input_time("1970-01-02T00:00:01Z", &us), 0);
	assert_int_equal(us, 86401 * 1000000LL);
	assert_int_equal(input_time("1970-01-01T00:00:00.25", &us), 0);
	assert_int_equal(us, 250000);
	assert_int_equal(input_time("1970-01-02", &us), 0);
	assert_int_equal(us, 86400 * 1000000LL);
	assert_int_equal(input_time("yesterday", &us), -EINVAL);
	assert_int_equal(input_time("1970-01-01T00:00:00 and more", &us), -EINVAL);
}

static int probe_of(const char *key, const char *value)
{
	CLEANUP(json_freep) json_t *props = json_object();
	struct err e;

	json_object_set_new(props, key, json_string(value));
	return probe_check(props, &e);
}

static void probes_have_a_syntax(void **state)
{
	static const char *const good[] = { "process", "tcp:1", "tcp:65535", "exec:nft list ruleset" };
	static const char *const bad[] = { "",		"Process", "tcp",   "tcp:",    "tcp:0",
					   "tcp:65536", "tcp:80x", "exec:", "exec:  ", "http://x" };

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_int_equal(probe_of("demarc:probe", good[i]), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(probe_of("demarc:probe", bad[i]), -EINVAL);
	assert_int_equal(probe_of("demarc:restart", "on-failure"), 0);
	assert_int_equal(probe_of("demarc:restart", "sometimes"), -EINVAL);
	assert_int_equal(probe_of("something:else", "anything"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unknown_members_are_named), cmocka_unit_test(strings_have_bounds),
		cmocka_unit_test(numbers_may_be_strings),    cmocka_unit_test(booleans_have_words),
		cmocka_unit_test(maps_and_tags_are_bounded), cmocka_unit_test(times_are_iso_8601),
		cmocka_unit_test(probes_have_a_syntax),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
