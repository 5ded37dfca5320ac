/* SPDX-License-Identifier: Apache-2.0 */
#include "http/share.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

#define MS NS_PER_MS

/* So many times: `took` at a stretch, then `rest`. Returns how often it was not spent before. */
static unsigned run(struct share *s, int64_t *now, unsigned times, int64_t took, int64_t rest)
{
	unsigned n = 0;

	for (unsigned i = 0; i < times; i++) {
		n += !share_is_spent(s, *now);
		*now += took;
		share_take(s, *now, took);
		*now += rest;
	}
	return n;
}

static void who_works_is_never_held_back(void **state)
{
	struct share s = { 0 };
	int64_t now = 1000 * MS;

	assert_int_equal(run(&s, &now, 100000, MS / 10, 2 * MS), 100000);
	/* All that it has to say after an outage, at once. */
	assert_int_equal(run(&s, &now, 1000, MS / 10, 0), 1000);
}

static void who_floods_gets_a_tenth(void **state)
{
	struct share s = { 0 };
	int64_t now = 1000 * MS, began;
	unsigned heard = 0;

	heard = run(&s, &now, 5000, MS / 5, 0);
	assert_in_range(heard, 1000, 1200); /* 200 ms, and a tenth of them */
	began = now;
	for (heard = 0; now < began + 100000 * MS;) {
		if (share_is_spent(&s, now)) {
			now += MS;
			continue;
		}
		heard += run(&s, &now, 1, MS / 5, 0);
	}
	assert_in_range(heard, 45000, 50500); /* 10 s of 100 */
}

static void time_forgives(void **state)
{
	struct share s = { 0 };
	int64_t now = 1000 * MS;

	(void)run(&s, &now, 1, 300 * MS, 0);
	assert_true(share_is_spent(&s, now));
	assert_false(share_is_spent(&s, now + 1000 * MS));
	now += 3600 * 1000 * MS;
	share_take(&s, now, 0);
	assert_int_equal(s.spent_ns, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_works_is_never_held_back),
		cmocka_unit_test(who_floods_gets_a_tenth),
		cmocka_unit_test(time_forgives),
	};

	return cmocka_run_group_tests_name("http-share", tests, NULL, NULL);
}
