/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define US 1000000LL

static void test_frozen_and_warped(void **state)
{
	clock_freeze(5 * NS_PER_S, 1700000000 * US);
	assert_int_equal(clock_mono_ns(), 5 * NS_PER_S);
	assert_int_equal(clock_wall_us(), 1700000000 * US);
	clock_warp(1500 * NS_PER_MS);
	assert_int_equal(clock_mono_ns(), 5 * NS_PER_S + 1500 * NS_PER_MS);
	assert_int_equal(clock_wall_us(), 1700000000 * US + 1500000);
	clock_warp(NS_PER_US);
	assert_int_equal(clock_wall_us(), 1700000000 * US + 1500001);
	clock_freeze(1, 2);
	assert_int_equal(clock_mono_ns(), 1);
	assert_int_equal(clock_wall_us(), 2);
}

static void test_formats(void **state)
{
	char t[TIME_STR_SIZE];

	assert_string_equal(time_format_s(0, t), "1970-01-01T00:00:00Z");
	assert_string_equal(time_format_us(0, t), "1970-01-01T00:00:00.000000Z");
	assert_string_equal(time_format_s(1769862896123456, t), "2026-01-31T12:34:56Z");
	assert_string_equal(time_format_us(1769862896123456, t), "2026-01-31T12:34:56.123456Z");
	assert_string_equal(time_format_us(1709164800 * US, t), "2024-02-29T00:00:00.000000Z");
}

static void test_before_1970(void **state)
{
	char t[TIME_STR_SIZE];

	assert_string_equal(time_format_us(-1, t), "1969-12-31T23:59:59.999999Z");
	assert_string_equal(time_format_s(-US, t), "1969-12-31T23:59:59Z");
	assert_string_equal(time_format_us(-US, t), "1969-12-31T23:59:59.000000Z");
}

/* A peer's timestamp may say anything: the text keeps its shape. */
static void test_absurd_times(void **state)
{
	char t[TIME_STR_SIZE];

	assert_string_equal(time_format_s(INT64_MAX, t), "9999-12-31T23:59:59Z");
	assert_string_equal(time_format_s(INT64_MIN, t), "1000-01-01T00:00:00Z");
	time_format_us(INT64_MAX, t);
	time_format_us(INT64_MIN, t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frozen_and_warped),
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_before_1970),
		cmocka_unit_test(test_absurd_times),
	};

	return cmocka_run_group_tests_name("base-clock", tests, NULL, NULL);
}
