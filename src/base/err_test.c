/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static void test_set_fills_every_field(void **state)
{
	struct err e = { 0 };

	assert_int_equal(err_set(&e, FAULT_NOT_FOUND, "port.id", "no port %d", 7), -ENOENT);
	assert_int_equal(e.num, ENOENT);
	assert_int_equal(e.fault, FAULT_NOT_FOUND);
	assert_string_equal(e.field, "port.id");
	assert_string_equal(e.msg, "no port 7");
	assert_int_equal(err_set(&e, FAULT_IN_USE, NULL, "busy"), -EBUSY);
	assert_string_equal(e.field, "");
}

static void test_every_fault_has_a_row(void **state)
{
#define X(fault, num, text)                                                                        \
	assert_int_equal(err_set(NULL, FAULT_##fault, NULL, "x"), -(num));                         \
	assert_string_equal(fault_name(FAULT_##fault), #fault);                                    \
	assert_string_equal(fault_text(FAULT_##fault), text);                                      \
	assert_int_equal(fault_of_errno(num), FAULT_##fault);                                      \
	assert_int_equal(fault_of_errno(-(num)), FAULT_##fault);
	FAULT_TABLE(X)
#undef X
	assert_string_equal(fault_name((enum fault)999), "UNKNOWN");
	assert_string_equal(fault_text((enum fault)999), "unknown fault");
}

static void test_other_errnos(void **state)
{
	assert_int_equal(fault_of_errno(ECONNREFUSED), FAULT_UNAVAILABLE);
	assert_int_equal(fault_of_errno(-ERANGE), FAULT_BAD_REQUEST);
	assert_int_equal(fault_of_errno(ENODEV), FAULT_NOT_FOUND);
	assert_int_equal(fault_of_errno(0), FAULT_INTERNAL);
	assert_int_equal(fault_of_errno(INT32_MIN), FAULT_INTERNAL);
	assert_int_equal(fault_of_errno(123456), FAULT_INTERNAL);
}

static void test_errno_keeps_the_number(void **state)
{
	struct err e = { .field = "old" };

	assert_int_equal(err_errno(&e, ENOTEMPTY, "remove %s", "/x"), -ENOTEMPTY);
	assert_int_equal(e.num, ENOTEMPTY);
	assert_int_equal(e.fault, FAULT_IN_USE);
	assert_string_equal(e.msg, "remove /x: Directory not empty");
	assert_string_equal(e.field, "");
	assert_int_equal(err_errno(&e, -EPIPE, "w"), -EPIPE);
	assert_int_equal(err_errno(NULL, ENOENT, "w"), -ENOENT);
}

static void test_errno_never_returns_success(void **state)
{
	struct err e;

	assert_int_equal(err_errno(&e, 0, "lost"), -EIO);
	assert_int_equal(err_errno(&e, INT32_MIN, "lost"), -EIO);
	assert_int_equal(err_errno(NULL, 0, "lost"), -EIO);
}

static void test_wrap_puts_context_in_front(void **state)
{
	struct err e;

	(void)!err_set(&e, FAULT_QUOTA, "ports", "ten of ten in use");
	assert_int_equal(err_wrap(&e, "project %s", "p1"), -EDQUOT);
	assert_string_equal(e.msg, "project p1: ten of ten in use");
	assert_string_equal(e.field, "ports");
	assert_int_equal(e.fault, FAULT_QUOTA);
	assert_int_equal(err_wrap(NULL, "x"), -EIO);
}

static void test_in_builds_a_path(void **state)
{
	struct err e;

	(void)!err_set(&e, FAULT_BAD_REQUEST, "subnet_id", "bad");
	assert_int_equal(err_in(&e, "[3]"), -EINVAL);
	assert_string_equal(e.field, "[3].subnet_id");
	(void)!err_in(&e, "fixed_ips");
	assert_string_equal(e.field, "fixed_ips[3].subnet_id");
	(void)!err_in(&e, "port");
	assert_string_equal(e.field, "port.fixed_ips[3].subnet_id");
	(void)!err_in(&e, "");
	assert_string_equal(e.field, "port.fixed_ips[3].subnet_id");
	assert_int_equal(err_in(NULL, "x"), -EIO);
}

static void test_in_on_an_empty_field(void **state)
{
	struct err e;

	(void)!err_set(&e, FAULT_BAD_REQUEST, NULL, "bad");
	(void)!err_in(&e, "server");
	assert_string_equal(e.field, "server");
}

static void test_arguments_may_point_into_the_object(void **state)
{
	struct err e;

	(void)!err_set(&e, FAULT_CONFLICT, "name", "taken");
	(void)!err_set(&e, FAULT_BAD_REQUEST, e.field, "because: %s", e.msg);
	assert_string_equal(e.field, "name");
	assert_string_equal(e.msg, "because: taken");
	(void)!err_wrap(&e, "%s", e.msg);
	assert_string_equal(e.msg, "because: taken: because: taken");
}

static void test_long_texts_are_cut(void **state)
{
	char big[4 * ERR_MSG_SIZE];
	struct err e;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	(void)!err_set(&e, FAULT_INTERNAL, big, "%s", big);
	assert_int_equal(strlen(e.field), ERR_FIELD_SIZE - 1);
	assert_int_equal(strlen(e.msg), ERR_MSG_SIZE - 1);
	(void)!err_wrap(&e, "%s", big);
	(void)!err_in(&e, big);
	assert_int_equal(strlen(e.field), ERR_FIELD_SIZE - 1);
	assert_int_equal(strlen(e.msg), ERR_MSG_SIZE - 1);
}

/* Whatever the offset at which a text of multi-byte characters is cut, what stays is UTF-8. */
static void test_a_cut_keeps_utf8_whole(void **state)
{
	static const char *const chars[] = { "é", "€", "𝄞" };
	char big[2 * ERR_MSG_SIZE];
	struct err e;

	for (size_t c = 0; c < ARRAY_LEN(chars); c++)
		for (size_t pad = 0; pad < 5; pad++) {
			size_t size = strlen(chars[c]), n = pad;

			memset(big, 'x', pad);
			for (; n + size < sizeof(big); n += size)
				memcpy(big + n, chars[c], size);
			big[n] = '\0';
			(void)!err_set(&e, FAULT_INTERNAL, big, "%s", big);
			assert_true(str_is_utf8(str_of(e.msg)));
			assert_true(str_is_utf8(str_of(e.field)));
			assert_true(strlen(e.msg) >= ERR_MSG_SIZE - 4);
		}
}

/* What a peer sent and a library quotes is not always text. */
static void test_bytes_that_are_no_text_are_replaced(void **state)
{
	struct err e;

	(void)!err_set(&e, FAULT_BAD_REQUEST, "na\xffme", "near '%s'", "a\xc7");
	assert_string_equal(e.field, "na?me");
	assert_string_equal(e.msg, "near 'a?'");
	(void)!err_wrap(&e, "\x80");
	assert_string_equal(e.msg, "?: near 'a?'");
	(void)!err_errno(&e, ENOENT, "open %s", "\xed\xa0\x80");
	assert_string_equal(e.msg, "open ???: No such file or directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_fills_every_field),
		cmocka_unit_test(test_every_fault_has_a_row),
		cmocka_unit_test(test_other_errnos),
		cmocka_unit_test(test_errno_keeps_the_number),
		cmocka_unit_test(test_errno_never_returns_success),
		cmocka_unit_test(test_wrap_puts_context_in_front),
		cmocka_unit_test(test_in_builds_a_path),
		cmocka_unit_test(test_in_on_an_empty_field),
		cmocka_unit_test(test_arguments_may_point_into_the_object),
		cmocka_unit_test(test_long_texts_are_cut),
		cmocka_unit_test(test_a_cut_keeps_utf8_whole),
		cmocka_unit_test(test_bytes_that_are_no_text_are_replaced),
	};

	return cmocka_run_group_tests_name("base-err", tests, NULL, NULL);
}
