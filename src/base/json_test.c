/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void test_parse_and_text(void **state)
{
	CLEANUP(json_freep) json_t *j = NULL;
	CLEANUP(free_charp) char *text = NULL;
	struct err e;

	assert_int_equal(json_parse(STR(" {\"b\": [1, 2.5, null], \"a\": \"é\"} "), &j, &e), 0);
	text = json_text(j);
	assert_string_equal(text, "{\"b\":[1,2.5,null],\"a\":\"é\"}");
}

static void test_any_value_is_a_text(void **state)
{
	CLEANUP(json_freep) json_t *j = NULL;

	assert_int_equal(json_parse(STR("7"), &j, NULL), 0);
	assert_true(json_is_integer(j));
}

static void test_a_view_is_not_read_past_its_end(void **state)
{
	CLEANUP(json_freep) json_t *j = NULL;
	CLEANUP(free_charp) char *copy = malloc(2); /* ASan sees a read of the third byte */

	memcpy(copy, "{}", 2);
	assert_int_equal(json_parse((struct str){ copy, 2 }, &j, NULL), 0);
}

static void test_bad_texts(void **state)
{
	static const char *const bad[] = {
		"",	      " ",	     "{",	    "{\"a\":1,\"a\":2}", /* duplicate key */
		"{\"a\":1}x",							 /* trailing */
		"{'a':1}",    "[1,]",	     "\"\\u0000\"",			 /* NUL */
		"\"\xff\"",							 /* not UTF-8 */
		"nul",	      "01",	     "1e999",	    "99999999999999999999",
		"NaN",	      "\"\\ud800\"", /* lone surrogate */
		"/* c */ 1",
	};
	json_t *const before = json_null();
	json_t *j = before;
	struct err e;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (json_parse(str_of(bad[i]), &j, &e) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(e.fault, FAULT_BAD_REQUEST);
		assert_non_null(strstr(e.msg, "line 1, column "));
	}
	assert_ptr_equal(j, before); /* written only on success */
	assert_int_equal(json_parse((struct str){ "1\0", 2 }, &j, &e), -EINVAL);
}

static void test_error_names_the_line(void **state)
{
	struct err e;
	json_t *j;

	assert_int_equal(json_parse(STR("{\n \"a\": 1,\n \"b\" 2}"), &j, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "line 3, column "));
}

static void test_depth_is_bounded(void **state)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	struct err e;
	json_t *j;

	for (int i = 0; i < 100000; i++)
		strbuf_addc(&b, '[');
	assert_int_equal(json_parse((struct str){ b.ptr, b.len }, &j, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "depth"));
}

static void test_lookups(void **state)
{
	CLEANUP(json_freep) json_t *j = NULL;

	assert_int_equal(json_parse(STR("{\"s\":\"x\",\"i\":5,\"t\":true,\"r\":1.5}"), &j, NULL), 0);
	assert_string_equal(json_str(j, "s"), "x");
	assert_null(json_str(j, "i"));
	assert_null(json_str(j, "none"));
	assert_null(json_str(NULL, "s"));
	assert_int_equal(json_int(j, "i", -1), 5);
	assert_int_equal(json_int(j, "s", -1), -1);
	assert_int_equal(json_int(j, "r", -1), -1);
	assert_int_equal(json_int(NULL, "i", -1), -1);
	assert_true(json_bool(j, "t", false));
	assert_true(json_bool(j, "i", true));
	assert_false(json_bool(NULL, "t", false));
}

static void test_needs(void **state)
{
	CLEANUP(json_freep) json_t *j = NULL;
	const char *s = NULL;
	json_t *v = NULL;
	struct err e;

	assert_int_equal(json_parse(STR("{\"s\":\"x\",\"o\":{},\"l\":[]}"), &j, NULL), 0);
	assert_int_equal(json_need_str(j, "s", &s, &e), 0);
	assert_string_equal(s, "x");
	assert_int_equal(json_need_obj(j, "o", &v, &e), 0);
	assert_int_equal(json_need_list(j, "l", &v, &e), 0);
	assert_int_equal(json_need_list(j, "o", &v, &e), -EINVAL);
	assert_string_equal(e.field, "o");
	assert_string_equal(e.msg, "'o' must be a list");
	assert_int_equal(json_need_str(j, "zz", &s, &e), -EINVAL);
	assert_string_equal(e.field, "zz");
	assert_string_equal(e.msg, "'zz' is required");
	assert_int_equal(json_need_obj(NULL, "o", &v, &e), -EINVAL);
	assert_int_equal(json_need_obj(json_object_get(j, "l"), "o", &v, &e), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_text),
		cmocka_unit_test(test_any_value_is_a_text),
		cmocka_unit_test(test_a_view_is_not_read_past_its_end),
		cmocka_unit_test(test_bad_texts),
		cmocka_unit_test(test_error_names_the_line),
		cmocka_unit_test(test_depth_is_bounded),
		cmocka_unit_test(test_lookups),
		cmocka_unit_test(test_needs),
	};

	return cmocka_run_group_tests_name("base-json", tests, NULL, NULL);
}
