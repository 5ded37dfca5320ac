/* SPDX-License-Identifier: Apache-2.0 */
#include "node/resync.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static struct resync r;
static int64_t now;
static unsigned n_alarms;

static int setup(void **state)
{
	r = (struct resync){ 0 };
	now = 1000 * NS_PER_S;
	n_alarms = 0;
	resync_connected(&r);
	resync_said(&r, now);
	resync_answered(&r);
	return 0;
}

/* What the node asks for, and says. */
static enum resync_ask refused(enum fault why)
{
	bool alarm;
	enum resync_ask ask = resync_refused(&r, why, now, &alarm);

	n_alarms += alarm;
	if (ask != RESYNC_NOTHING)
		resync_said(&r, now);
	return ask;
}

static enum resync_ask after_ms(int64_t ms)
{
	enum resync_ask ask;

	now += ms * NS_PER_MS;
	ask = resync_tick(&r, now);
	if (ask != RESYNC_NOTHING)
		resync_said(&r, now);
	return ask;
}

/* Twenty changes are on their way when the first is refused: one hello. */
static void one_hello_answers_many_refusals(void **state)
{
	assert_int_equal(refused(FAULT_PRECONDITION), RESYNC_CHANGES);
	for (int i = 0; i < 19; i++)
		assert_int_equal(refused(FAULT_PRECONDITION), RESYNC_NOTHING);
	assert_int_equal(after_ms(RESYNC_MAX_MS), RESYNC_NOTHING);
	resync_answered(&r);
	assert_false(resync_accepted(&r));
	assert_int_equal(refused(FAULT_PRECONDITION), RESYNC_CHANGES);
	assert_int_equal(n_alarms, 0);
}

static void everything_is_asked_for_once(void **state)
{
	assert_int_equal(refused(FAULT_PRECONDITION), RESYNC_CHANGES);
	resync_answered(&r);
	assert_int_equal(refused(FAULT_PRECONDITION), RESYNC_WHOLE);
	resync_answered(&r);
	assert_int_equal(n_alarms, 0);
	assert_int_equal(refused(FAULT_BAD_REQUEST), RESYNC_NOTHING);
	assert_int_equal(n_alarms, 1);
}

/* A question of a pause, whose answer is refused as well. */
static void in_vain(void)
{
	resync_answered(&r);
	assert_int_equal(refused(FAULT_PRECONDITION), RESYNC_NOTHING);
}

static void backed_off(void)
{
	assert_int_equal(refused(FAULT_BAD_REQUEST), RESYNC_WHOLE);
	resync_answered(&r);
	assert_int_equal(refused(FAULT_BAD_REQUEST), RESYNC_NOTHING);
}

static void who_refuses_all_asks_ever_more_rarely(void **state)
{
	int64_t pause = RESYNC_MIN_MS;

	backed_off();
	for (int i = 0; i < 12; i++) {
		assert_int_equal(after_ms(pause - 1), RESYNC_NOTHING);
		assert_int_equal(after_ms(1), RESYNC_CHANGES);
		in_vain();
		pause = 2 * pause < RESYNC_MAX_MS ? 2 * pause : RESYNC_MAX_MS;
	}
	assert_int_equal(pause, RESYNC_MAX_MS);
	assert_int_equal(n_alarms, 1);
	/* The operator takes away what was wrong: that is a change, of something that the node does not hold. */
	now += (RESYNC_MIN_MS - 1) * NS_PER_MS;
	assert_int_equal(refused(FAULT_PRECONDITION), RESYNC_NOTHING);
	assert_int_equal(after_ms(0), RESYNC_NOTHING);
	assert_int_equal(after_ms(1), RESYNC_CHANGES);
	resync_answered(&r);
	assert_true(resync_accepted(&r));
	assert_false(resync_accepted(&r));
	assert_int_equal(after_ms(RESYNC_MAX_MS), RESYNC_NOTHING);
}

/* A change each second, all of them refused: a question in five seconds at most. */
static void changes_without_end_are_bounded(void **state)
{
	unsigned n = 0;

	backed_off();
	for (int i = 0; i < 100; i++) {
		(void)refused(FAULT_PRECONDITION);
		if (after_ms(1000) != RESYNC_NOTHING) {
			n++;
			in_vain();
		}
	}
	assert_in_range(n, 10, 100 * 1000 / RESYNC_MIN_MS);
	assert_int_equal(n_alarms, 1);
}

static void a_full_disk_is_not_cured_by_more(void **state)
{
	assert_int_equal(refused(FAULT_NO_SPACE), RESYNC_NOTHING);
	assert_int_equal(n_alarms, 1);
	assert_int_equal(after_ms(RESYNC_MIN_MS), RESYNC_CHANGES);
	resync_answered(&r);
	assert_true(resync_accepted(&r)); /* there is space again */
}

static void a_new_connection_begins_anew(void **state)
{
	backed_off();
	resync_connected(&r);
	resync_said(&r, now);
	assert_int_equal(after_ms(RESYNC_MAX_MS), RESYNC_NOTHING);
	resync_answered(&r);
	backed_off();
	assert_int_equal(n_alarms, 1); /* people know it */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(one_hello_answers_many_refusals, setup),
		cmocka_unit_test_setup(everything_is_asked_for_once, setup),
		cmocka_unit_test_setup(who_refuses_all_asks_ever_more_rarely, setup),
		cmocka_unit_test_setup(changes_without_end_are_bounded, setup),
		cmocka_unit_test_setup(a_full_disk_is_not_cured_by_more, setup),
		cmocka_unit_test_setup(a_new_connection_begins_anew, setup),
	};

	return cmocka_run_group_tests_name("node-resync", tests, NULL, NULL);
}
