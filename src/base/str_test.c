/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

static const struct str nothing = { NULL, 0 };

static void test_equality(void **state)
{
	assert_true(str_eq(STR("abc"), STR("abc")));
	assert_false(str_eq(STR("abc"), STR("abd")));
	assert_false(str_eq(STR("abc"), STR("ab")));
	assert_true(str_eq(nothing, STR("")));
	assert_true(str_eq_c(STR("x"), "x"));
	assert_true(str_eq_c(nothing, NULL));
	assert_true(str_eq_nocase(STR("Content-TYPE"), STR("content-type")));
	assert_false(str_eq_nocase(STR("a"), STR("ab")));
	assert_false(str_eq_nocase(STR("@"), STR("`"))); /* 0x20 apart, but no letters */
	assert_false(str_eq_nocase(STR("\xc0"), STR("\xe0")));
}

static void test_starts_and_ends(void **state)
{
	assert_true(str_starts(STR("/v3/users"), STR("/v3/")));
	assert_false(str_starts(STR("/v"), STR("/v3/")));
	assert_true(str_starts(nothing, nothing));
	assert_true(str_ends(STR("disk.qcow2"), STR(".qcow2")));
	assert_true(str_ends(STR("x"), STR("")));
	assert_false(str_ends(STR("2"), STR("w2")));
}

static void test_trim(void **state)
{
	assert_true(str_eq_c(str_trim(STR(" \t a b\t ")), "a b"));
	assert_int_equal(str_trim(STR(" \t ")).len, 0);
	assert_int_equal(str_trim(nothing).len, 0);
	assert_true(str_eq_c(str_trim(STR("\na\n")), "\na\n"));
}

static void test_cut(void **state)
{
	struct str rest;

	assert_true(str_eq_c(str_cut(STR("a,b,c"), ',', &rest), "a"));
	assert_true(str_eq_c(rest, "b,c"));
	assert_true(str_eq_c(str_cut(STR("abc"), ',', &rest), "abc"));
	assert_int_equal(rest.len, 0);
	assert_int_equal(str_cut(STR(",x"), ',', &rest).len, 0);
	assert_true(str_eq_c(rest, "x"));
	assert_true(str_eq_c(str_cut(STR("x,"), ',', &rest), "x"));
	assert_int_equal(rest.len, 0);
	assert_int_equal(str_cut(nothing, ',', &rest).len, 0);
	rest = STR("k=v");
	assert_true(str_eq_c(str_cut(rest, '=', &rest), "k"));
	assert_true(str_eq_c(rest, "v"));
	assert_true(str_eq_c(str_cut(STR("a b"), ' ', NULL), "a"));
}

static void test_utf8_accepts(void **state)
{
	static const char *const good[] = { "",
					    "plain",
					    "\x7f",
					    "\xc2\x80",
					    "\xdf\xbf",
					    "\xe0\xa0\x80",
					    "\xed\x9f\xbf",
					    "\xee\x80\x80",
					    "\xef\xbf\xbf",
					    "\xf0\x90\x80\x80",
					    "\xf4\x8f\xbf\xbf",
					    "aé€𝄞z" };

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(str_is_utf8(str_of(good[i])));
}

static void test_utf8_rejects(void **state)
{
	static const char *const bad[] = {
		"\x80",		/* continuation alone */
		"\xc0\x80",	/* overlong NUL */
		"\xc1\xbf",	/* overlong */
		"\xc2",		/* cut */
		"\xc2\x41",	/* no continuation */
		"\xe0\x9f\xbf", /* overlong */
		"\xe2\x82",	/* cut */
		"\xe2\x82\x41",
		"\xed\xa0\x80",	    /* surrogate */
		"\xed\xbf\xbf",	    /* surrogate */
		"\xf0\x8f\xbf\xbf", /* overlong */
		"\xf0\x90\x80",	    /* cut */
		"\xf4\x90\x80\x80", /* past U+10FFFF */
		"\xf5\x80\x80\x80",
		"\xfe",
		"\xff",
		"ok\xff",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(str_is_utf8(str_of(bad[i])));
	assert_false(str_is_utf8((struct str){ "a\0b", 3 }));
}

static void test_scrub(void **state)
{
	char good[] = "aé€𝄞", bad[] = "\xff"
				      "a\xe2\x82"
				      "é\xc3";

	str_scrub_utf8(good);
	assert_string_equal(good, "aé€𝄞");
	str_scrub_utf8(bad);
	assert_string_equal(bad, "?a??é?");
}

static void test_u64(void **state)
{
	uint64_t v = 77;

	assert_int_equal(str_to_u64(STR("0"), UINT64_MAX, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(str_to_u64(STR("18446744073709551615"), UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(str_to_u64(STR("007"), 10, &v), 0);
	assert_int_equal(v, 7);
	assert_int_equal(str_to_u64(STR("18446744073709551616"), UINT64_MAX, &v), -ERANGE);
	assert_int_equal(str_to_u64(STR("99999999999999999999999999"), UINT64_MAX, &v), -ERANGE);
	assert_int_equal(str_to_u64(STR("11"), 10, &v), -ERANGE);
	assert_int_equal(v, 7); /* untouched on failure */
}

static void test_u64_rejects(void **state)
{
	static const char *const bad[] = {
		"", "-1", "+1", " 1", "1 ", "1a", "0x1", "1.0", "1e3", "١", "99999999999999999999x"
	};
	uint64_t v;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(str_to_u64(str_of(bad[i]), UINT64_MAX, &v), -EINVAL);
	assert_int_equal(str_to_u64((struct str){ "1\0", 2 }, 99, &v), -EINVAL);
}

static void test_i64(void **state)
{
	int64_t v;

	assert_int_equal(str_to_i64(STR("-9223372036854775808"), &v), 0);
	assert_true(v == INT64_MIN);
	assert_int_equal(str_to_i64(STR("9223372036854775807"), &v), 0);
	assert_true(v == INT64_MAX);
	assert_int_equal(str_to_i64(STR("-0"), &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(str_to_i64(STR("-42"), &v), 0);
	assert_int_equal(v, -42);
	assert_int_equal(str_to_i64(STR("-9223372036854775809"), &v), -ERANGE);
	assert_int_equal(str_to_i64(STR("9223372036854775808"), &v), -ERANGE);
	assert_int_equal(str_to_i64(STR("-"), &v), -EINVAL);
	assert_int_equal(str_to_i64(STR("--1"), &v), -EINVAL);
	assert_int_equal(str_to_i64(nothing, &v), -EINVAL);
}

static void test_hex(void **state)
{
	unsigned char b[3] = { 9, 9, 9 };
	char text[7];

	assert_int_equal(str_from_hex(STR("00fFa5"), b, 3), 0);
	assert_memory_equal(b, "\x00\xff\xa5", 3);
	hex_of(b, 3, text);
	assert_string_equal(text, "00ffa5");
	hex_of(b, 0, text);
	assert_string_equal(text, "");
	assert_int_equal(str_from_hex(STR("00ff0g"), b, 3), -EINVAL);
	assert_int_equal(str_from_hex(STR("00ff0"), b, 3), -EINVAL);
	assert_int_equal(str_from_hex(STR("00ff"), b, 3), -EINVAL);
	assert_int_equal(str_from_hex(STR("00ff0011"), b, 3), -EINVAL);
	assert_int_equal(str_from_hex(nothing, b, 0), 0);
	assert_memory_equal(b, "\x00\xff\xa5", 3);
}

static void test_copy(void **state)
{
	char d[4] = "zzz";

	assert_int_equal(str_copy(d, sizeof(d), STR("abc")), 0);
	assert_string_equal(d, "abc");
	assert_int_equal(str_copy(d, sizeof(d), STR("abcd")), -ENAMETOOLONG);
	assert_string_equal(d, "abc");
	assert_int_equal(str_copy(d, sizeof(d), nothing), 0);
	assert_string_equal(d, "");
	assert_int_equal(str_copy(d, 0, STR("x")), -ENAMETOOLONG);
	assert_int_equal(str_copy(d, 1, STR("")), 0);
}

static void test_strbuf_builds(void **state)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	CLEANUP(free_charp) char *text = NULL;

	assert_string_equal(strbuf_cstr(&b), "");
	strbuf_adds(&b, "a");
	strbuf_addc(&b, 'b');
	strbuf_add(&b, "cd", 2);
	strbuf_addf(&b, "%03d", 7);
	assert_string_equal(strbuf_cstr(&b), "abcd007");
	for (int i = 0; i < 1000; i++)
		strbuf_addf(&b, "%d,", i);
	assert_int_equal(b.len, strlen(b.ptr));
	text = strbuf_take(&b);
	assert_non_null(text);
	assert_null(b.ptr);
	assert_int_equal(b.len, 0);
}

/* Every length around the growth steps, so that the terminator has its place (checked by ASan). */
static void test_strbuf_growth_steps(void **state)
{
	char big[600];

	memset(big, 'x', sizeof(big));
	for (size_t n = 0; n <= sizeof(big); n++) {
		CLEANUP(strbuf_done) struct strbuf b = { 0 };

		strbuf_add(&b, big, n);
		strbuf_addf(&b, "%s", "");
		assert_int_equal(b.error, 0);
		assert_int_equal(strlen(strbuf_cstr(&b)), n);
		strbuf_addc(&b, 'y');
		assert_int_equal(strlen(strbuf_cstr(&b)), n + 1);
	}
}

static void test_strbuf_error_sticks(void **state)
{
	CLEANUP(strbuf_done) struct strbuf b = { .limit_bytes = 5 };

	strbuf_adds(&b, "12345");
	assert_int_equal(b.error, 0);
	strbuf_addc(&b, '6');
	assert_int_equal(b.error, -EMSGSIZE);
	strbuf_addf(&b, "x");
	strbuf_adds(&b, "");
	assert_string_equal(strbuf_cstr(&b), "12345");
	assert_null(strbuf_take(&b));
	assert_int_equal(b.error, 0); /* taken, the buffer starts again with its limit */
	assert_int_equal(b.limit_bytes, 5);
	strbuf_addf(&b, "%d", 123456);
	assert_int_equal(b.error, -EMSGSIZE);
	strbuf_add(&b, "x", SIZE_MAX);
	assert_null(strbuf_take(&b));
}

static void test_strbuf_absurd_size(void **state)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };

	strbuf_adds(&b, "x");
	strbuf_add(&b, "x", SIZE_MAX);
	assert_int_equal(b.error, -EMSGSIZE);
}

static void test_strbuf_take_empty(void **state)
{
	struct strbuf b = { 0 };
	CLEANUP(free_charp) char *text = strbuf_take(&b);

	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equality),
		cmocka_unit_test(test_starts_and_ends),
		cmocka_unit_test(test_trim),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_utf8_accepts),
		cmocka_unit_test(test_utf8_rejects),
		cmocka_unit_test(test_scrub),
		cmocka_unit_test(test_u64),
		cmocka_unit_test(test_u64_rejects),
		cmocka_unit_test(test_i64),
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_strbuf_builds),
		cmocka_unit_test(test_strbuf_growth_steps),
		cmocka_unit_test(test_strbuf_error_sticks),
		cmocka_unit_test(test_strbuf_absurd_size),
		cmocka_unit_test(test_strbuf_take_empty),
	};

	return cmocka_run_group_tests_name("base-str", tests, NULL, NULL);
}
