/* SPDX-License-Identifier: Apache-2.0 */
#include "link/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_first_delay_is_short(void **state)
{
	struct backoff b = { 0 };

	(void)state;
	assert_int_equal(backoff_next_ms(&b, 0, 0), BACKOFF_MIN_MS);
	backoff_reset(&b);
	assert_int_equal(backoff_next_ms(&b, UINT32_MAX, 0), 3 * BACKOFF_MIN_MS);
}

static void test_grows_to_the_maximum_and_stays(void **state)
{
	struct backoff b = { 0 };
	uint32_t last = 0;

	(void)state;
	for (int i = 0; i < 20; i++) {
		uint32_t next = backoff_next_ms(&b, UINT32_MAX, 0);
		assert_true(next >= last);
		assert_true(next <= BACKOFF_MAX_MS);
		last = next;
	}
	assert_int_equal(last, BACKOFF_MAX_MS);
	assert_int_equal(backoff_next_ms(&b, 0, 0), BACKOFF_MIN_MS);
}

static void test_stays_in_bounds_for_any_random(void **state)
{
	struct backoff b = { 0 };
	uint32_t random = 12345;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		uint32_t prev = b.prev_ms ? b.prev_ms : BACKOFF_MIN_MS;
		uint32_t next = backoff_next_ms(&b, random, 0);

		random = random * 1664525u + 1013904223u;
		assert_true(next >= BACKOFF_MIN_MS && next <= BACKOFF_MAX_MS && next <= 3 * prev);
	}
}

static void test_retry_after_is_honoured(void **state)
{
	struct backoff b = { 0 };

	(void)state;
	assert_int_equal(backoff_next_ms(&b, 0, 5000), 5000);
	assert_int_equal(backoff_next_ms(&b, UINT32_MAX, 5000), 5625);
	assert_int_equal(backoff_next_ms(&b, 0, UINT32_MAX), 3600000);
	assert_int_equal(b.prev_ms, 0);
}

static void test_reset(void **state)
{
	struct backoff b = { .prev_ms = 20000 };

	(void)state;
	backoff_reset(&b);
	assert_true(backoff_next_ms(&b, UINT32_MAX, 0) <= 3 * BACKOFF_MIN_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_delay_is_short),
		cmocka_unit_test(test_grows_to_the_maximum_and_stays),
		cmocka_unit_test(test_stays_in_bounds_for_any_random),
		cmocka_unit_test(test_retry_after_is_honoured),
		cmocka_unit_test(test_reset),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
