/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/peer_intro.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

static const struct peer_intro intro = { .taker = 10, .giver = 20, .request = 7, .giver_id = "g" };

static void test_only_who_was_asked_answers_and_once(void **state)
{
	static struct peer_intros t;
	struct peer_intro got;
	uint64_t id = peer_intro_add(&t, &intro, 0), other = peer_intro_add(&t, &intro, 0);

	assert_true(id && other && id != other && id % 2 == 0);
	assert_false(peer_intro_take(&t, id, 21, 0, &got));
	assert_false(peer_intro_take(&t, 0, 20, 0, &got));
	assert_false(peer_intro_take(&t, other + 2, 20, 0, &got));
	assert_true(peer_intro_take(&t, id, 20, 0, &got));
	assert_true(got.taker == 10 && got.request == 7);
	assert_string_equal(got.giver_id, "g");
	assert_false(peer_intro_take(&t, id, 20, 0, &got));
	assert_true(peer_intro_take(&t, other, 20, PEER_INTRO_MS * NS_PER_MS - 1, &got));
}

static void test_they_are_few_and_do_not_stay(void **state)
{
	static struct peer_intros t;
	const int64_t over_ns = PEER_INTRO_MS * NS_PER_MS;
	struct peer_intro got;
	uint64_t first = 0;

	for (unsigned i = 0; i < PEER_INTROS_MAX; i++) {
		uint64_t id = peer_intro_add(&t, &intro, 0);

		assert_true(id != 0);
		first = first ? first : id;
	}
	assert_true(peer_intro_add(&t, &intro, over_ns - 1) == 0);
	assert_false(peer_intro_take(&t, first, 20, over_ns, &got));
	assert_true(peer_intro_add(&t, &intro, over_ns) > first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_who_was_asked_answers_and_once),
		cmocka_unit_test(test_they_are_few_and_do_not_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
