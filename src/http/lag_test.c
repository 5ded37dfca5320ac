/* SPDX-License-Identifier: Apache-2.0 */
#include "http/lag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

#define MS NS_PER_MS

/* `turns` turns of `took` with `slept` before each. */
static void run(struct lag *l, unsigned turns, int64_t took, int64_t slept)
{
	for (unsigned i = 0; i < turns; i++) {
		clock_warp(slept + took);
		lag_turn(l, took);
	}
}

static int percent(const struct lag *l)
{
	return (int)(lag_strain(l) * 100);
}

static int setup(void **state)
{
	static struct lag l;

	clock_freeze(1000 * NS_PER_S, 0);
	lag_init(&l);
	*state = &l;
	return 0;
}

static void short_turns_are_no_strain(void **state)
{
	run(*state, 10000, 10 * MS, 0);
	assert_int_equal(percent(*state), 100);
	run(*state, 10000, 20 * MS, 0);
	assert_in_range(percent(*state), 100, 101);
}

static void long_turns_are(void **state)
{
	run(*state, 200, 60 * MS, 0);
	assert_in_range(percent(*state), 295, 300);
	run(*state, 200, 900 * MS, 0);
	assert_int_equal(percent(*state), (int)(LAG_STRAIN_MAX * 100));
}

/* One long turn in many short ones: most moments fall into a short one. */
static void what_counts_is_how_many_wait(void **state)
{
	struct lag *l = *state;

	for (unsigned i = 0; i < 100; i++) {
		run(l, 1000, 1 * MS, 0);
		run(l, 1, 100 * MS, 0);
	}
	assert_int_equal(percent(l), 100);
	/* As many moments in long ones as in short ones. */
	for (unsigned i = 0; i < 100; i++) {
		run(l, 100, 1 * MS, 0);
		run(l, 1, 100 * MS, 0);
	}
	assert_in_range(percent(l), 200, 300);
}

static void sleep_ends_it(void **state)
{
	struct lag *l = *state;

	run(l, 200, 100 * MS, 0);
	assert_in_range(percent(l), 450, 500);
	run(l, 4, 1 * MS, 250 * MS);
	assert_in_range(percent(l), 100, 200);
	run(l, 1, 1 * MS, 10 * NS_PER_S);
	assert_int_equal(percent(l), 100);
	/* Half of the time asleep: half of the moments wait. */
	run(l, 200, 100 * MS, 100 * MS);
	assert_in_range(percent(l), 200, 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(short_turns_are_no_strain, setup),
		cmocka_unit_test_setup(long_turns_are, setup),
		cmocka_unit_test_setup(what_counts_is_how_many_wait, setup),
		cmocka_unit_test_setup(sleep_ends_it, setup),
	};

	return cmocka_run_group_tests_name("http-lag", tests, NULL, NULL);
}
