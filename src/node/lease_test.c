/* SPDX-License-Identifier: Apache-2.0 */
#include "node/lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"

#define DAY_S 86400
#define WALL_S 1700000000LL

static struct dp_binding lease(bool claimed)
{
	struct dp_binding b = { .port = { 5 }, .net = 1, .claimed = claimed };

	assert_int_equal(cidr_parse(STR("10.0.0.9/32"), &b.addr), 0);
	b.mac.b[5] = 9;
	return b;
}

/* One row: what is left at `end_ns`, in whole seconds, as the datapath says it. */
static json_t *rows_until(const struct dp_binding *b, int64_t end_ns)
{
	json_t *rows = json_array();
	int64_t left = end_ns < 0 ? -1 : (end_ns - clock_mono_ns()) / NS_PER_S;

	assert_int_equal(json_array_append_new(rows, lease_row("n", "eth0", b, left)), 0);
	return rows;
}

/* How often rows are written while `s` seconds pass, looked at every 10 s and a bit: `step_ns` is what an end moves on by each time. */
static int writes_in(const struct dp_binding *b, int64_t end_ns, int s, int64_t step_ns)
{
	CLEANUP(json_freep) json_t *saved = NULL;
	int n = 0;

	for (int i = 0; i < s / LEASE_SAVE_S; i++) {
		json_t *now = rows_until(b, end_ns + i * step_ns);

		if (lease_rows_same(saved, now)) {
			json_decref(now);
		} else {
			json_decref(saved);
			saved = now;
			n++;
		}
		clock_warp(LEASE_SAVE_S * NS_PER_S + 37 * NS_PER_MS);
	}
	return n;
}

static void test_an_end_on_an_edge_is_written_once(void **state)
{
	struct dp_binding b = lease(false);

	for (int64_t second = 0; second < 16; second++) /* wherever edges are */
		for (int64_t ms = 0; ms < 1000; ms += 250) {
			clock_freeze(1000 * NS_PER_S, (WALL_S + second) * 1000000);
			assert_int_equal(
				writes_in(&b, (1000 + 43200) * NS_PER_S + ms * NS_PER_MS, 3600, 0), 1);
		}
}

static void test_a_claim_that_is_used_is_written_every_ten_minutes(void **state)
{
	struct dp_binding b = lease(true);

	clock_freeze(1000 * NS_PER_S, WALL_S * 1000000);
	assert_in_range(writes_in(&b, 8200 * NS_PER_S, 3600, 10 * NS_PER_S), 6, 7);
}

/* Each small step of a clock is none, but the steps are not forgotten. */
static void test_a_slow_drift_is_written(void **state)
{
	struct dp_binding b = lease(false);

	clock_freeze(1000 * NS_PER_S, WALL_S * 1000000);
	assert_in_range(writes_in(&b, 44200 * NS_PER_S, 3600, NS_PER_S / 10), 4, 6);
}

static void test_what_is_different_is_written(void **state)
{
	CLEANUP(json_freep) json_t *was = NULL;
	CLEANUP(json_freep) json_t *none = json_array();
	struct dp_binding b = lease(false), other = b;

	clock_freeze(1000 * NS_PER_S, WALL_S * 1000000);
	was = rows_until(&b, DAY_S * NS_PER_S);
	assert_false(lease_rows_same(was, none));
	assert_false(lease_rows_same(NULL, was));
	assert_false(lease_rows_same(json_null(), was));
	assert_true(lease_rows_same(none, none));
	other.mac.b[0] = 2;
	for (int i = 0; i < 3; i++) {
		CLEANUP(json_freep)
		json_t *now = rows_until(i ? &b : &other, i == 1 ? (DAY_S + 9) * NS_PER_S :
							  i	 ? -1 :
								   DAY_S * NS_PER_S);

		assert_false(lease_rows_same(was, now));
		assert_false(lease_rows_same(now, was));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_end_on_an_edge_is_written_once),
		cmocka_unit_test(test_a_claim_that_is_used_is_written_every_ten_minutes),
		cmocka_unit_test(test_a_slow_drift_is_written),
		cmocka_unit_test(test_what_is_different_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
