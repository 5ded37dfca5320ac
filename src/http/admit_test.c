/* SPDX-License-Identifier: Apache-2.0 */
#include "http/impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

#define RATE 400.0 /* handshakes a second */
#define QUEUE_MS 1500

/* What comes to a loop of such turns waits so long for its turn; how many nodes may wait for a handshake there. */
static unsigned room_after(struct lag *l, int64_t turn_ns)
{
	for (unsigned i = 0; i < 2000; i++) {
		clock_warp(turn_ns);
		lag_turn(l, turn_ns);
	}
	return admit_room(RATE, QUEUE_MS, lag_strain(l));
}

static void a_loop_that_lags_turns_nodes_away_early(void **state)
{
	struct lag l;

	clock_freeze(1000 * NS_PER_S, 0);
	lag_init(&l);
	assert_int_equal(room_after(&l, 10 * NS_PER_MS), 600);
	assert_int_equal(room_after(&l, 90 * NS_PER_MS), 600); /* a storm on a machine that others use */
	assert_int_equal(room_after(&l, 120 * NS_PER_MS), 64);
	assert_int_equal(room_after(&l, 900 * NS_PER_MS), 64); /* never none: the queue must not run empty */
	assert_int_equal(room_after(&l, 10 * NS_PER_MS), 600);
}

static void a_slow_hub_has_room_for_some(void **state)
{
	assert_int_equal(admit_room(1, QUEUE_MS, 1.0), 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_loop_that_lags_turns_nodes_away_early),
		cmocka_unit_test(a_slow_hub_has_room_for_some),
	};

	return cmocka_run_group_tests_name("http-admit", tests, NULL, NULL);
}
