/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "http/lag.h"

static void grows_with_the_nodes(void **state)
{
	assert_int_equal(heartbeat_ms(0, 1, 1), 5000);
	assert_int_equal(heartbeat_ms(0, 2500, 1), 5000);
	assert_int_equal(heartbeat_ms(0, 15000, 1), 30000);
	assert_int_equal(heartbeat_ms(0, 50000, 1), 60000);
}

/* A hundred nodes, and a loop that is kept busy by what they say: fewer heartbeats, until it has caught up. */
static void grows_with_the_load(void **state)
{
	struct lag lag;

	clock_freeze(1000 * NS_PER_S, 0);
	lag_init(&lag);
	assert_int_equal(heartbeat_ms(0, 100, lag_strain(&lag)), 5000);
	for (unsigned i = 0; i < 1000; i++) {
		clock_warp(60 * NS_PER_MS);
		lag_turn(&lag, 60 * NS_PER_MS);
	}
	assert_in_range(heartbeat_ms(0, 100, lag_strain(&lag)), 14900, 15000);
	assert_int_equal(heartbeat_ms(0, 15000, lag_strain(&lag)), 60000);
	clock_warp(3 * NS_PER_S);
	lag_turn(&lag, NS_PER_MS);
	assert_int_equal(heartbeat_ms(0, 100, lag_strain(&lag)), 5000);
}

static void what_the_operator_sets_holds(void **state)
{
	assert_int_equal(heartbeat_ms(7, 1, 1), 7000);
	assert_int_equal(heartbeat_ms(7, 50000, 8), 7000);
}

static void half_open_connections_end_soon(void **state)
{
	assert_int_equal(heartbeat_silence_ms(1000), 3000);
	assert_int_equal(heartbeat_silence_ms(SESSION_HEARTBEAT_MIN_MS), 2 * SESSION_HEARTBEAT_MIN_MS);
	assert_int_equal(heartbeat_silence_ms(SESSION_HEARTBEAT_MAX_MS),
			 SESSION_HEARTBEAT_MAX_MS + 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_with_the_nodes),
		cmocka_unit_test(grows_with_the_load),
		cmocka_unit_test(what_the_operator_sets_holds),
		cmocka_unit_test(half_open_connections_end_soon),
	};

	return cmocka_run_group_tests_name("hub-heartbeat", tests, NULL, NULL);
}
