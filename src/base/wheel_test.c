/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cleanup.h"

#define SLOT_MS 10u

struct thing {
	struct wheel_node node; /* first */
	unsigned n_fired;
	uint64_t again_ms;	   /* set again so much later, once */
	struct wheel_node *victim; /* cleared when this one fires */
};

struct run {
	struct wheel w;
	uint64_t now_ms;
	unsigned share; /* of a turn, 0: no bound */
	unsigned n_turn;
};

static bool on_due(struct wheel_node *n, void *ctx)
{
	struct thing *t = (struct thing *)n;
	struct run *r = ctx;

	t->n_fired++;
	if (t->victim)
		wheel_clear(t->victim);
	if (t->again_ms)
		wheel_set(&r->w, n, r->now_ms + t->again_ms);
	t->again_ms = 0;
	return ++r->n_turn != r->share;
}

static bool go_to(struct run *r, uint64_t ms)
{
	r->now_ms = ms;
	r->n_turn = 0;
	return wheel_turn(&r->w, ms, on_due, r);
}

static void never_early_and_at_most_a_slot_late(void **state)
{
	struct run r = { .now_ms = 1000 };

	wheel_init(&r.w, SLOT_MS, r.now_ms);
	for (uint64_t in_ms = 1; in_ms < 3 * SLOT_MS * WHEEL_SLOTS; in_ms += 97) {
		struct thing t = { 0 };
		uint64_t from = r.now_ms;

		wheel_set(&r.w, &t.node, from + in_ms);
		while (!t.n_fired)
			go_to(&r, r.now_ms + 1);
		assert_true(r.now_ms >= from + in_ms);
		assert_true(r.now_ms <= from + in_ms + SLOT_MS);
		assert_false(wheel_is_set(&t.node));
	}
}

static void what_is_put_off_fires_once_and_later(void **state)
{
	struct run r = { .now_ms = 5 };
	struct thing t = { 0 };

	wheel_init(&r.w, SLOT_MS, r.now_ms);
	wheel_set(&r.w, &t.node, 100);
	for (; r.now_ms < 90; go_to(&r, r.now_ms + 5))
		wheel_set(&r.w, &t.node, r.now_ms + 200);
	while (r.now_ms < 280) {
		go_to(&r, r.now_ms + 5);
		assert_int_equal(t.n_fired, 0);
	}
	go_to(&r, 310);
	go_to(&r, 10000);
	assert_int_equal(t.n_fired, 1);
}

static void what_is_brought_forward_fires_early(void **state)
{
	struct run r = { .now_ms = 5 };
	struct thing t = { 0 };

	wheel_init(&r.w, SLOT_MS, r.now_ms);
	wheel_set(&r.w, &t.node, 100000);
	wheel_set(&r.w, &t.node, 50);
	go_to(&r, 60);
	assert_int_equal(t.n_fired, 1);
}

static void a_cleared_one_does_not_fire(void **state)
{
	struct run r = { .now_ms = 5 };
	struct thing a = { 0 }, b = { 0 }, unset = { 0 };

	wheel_init(&r.w, SLOT_MS, r.now_ms);
	wheel_clear(&unset.node);
	wheel_set(&r.w, &a.node, 50);
	wheel_set(&r.w, &b.node, 50);
	a.victim = &b.node; /* both are in the list that is being looked at */
	go_to(&r, 1000);
	assert_int_equal(a.n_fired, 1);
	assert_int_equal(b.n_fired, 0);
}

static void set_again_from_within(void **state)
{
	struct run r = { .now_ms = 5 };
	struct thing t = { .again_ms = SLOT_MS * WHEEL_SLOTS };

	wheel_init(&r.w, SLOT_MS, r.now_ms);
	wheel_set(&r.w, &t.node, 50);
	go_to(&r, 60);
	assert_int_equal(t.n_fired, 1);
	go_to(&r, 50 + SLOT_MS * WHEEL_SLOTS);
	assert_int_equal(t.n_fired, 1);
	go_to(&r, 80 + SLOT_MS * WHEEL_SLOTS);
	assert_int_equal(t.n_fired, 2);
}

/* A laptop's lid, or a debugger: all that is due fires, once, in one turn. */
static void a_long_pause(void **state)
{
	struct run r = { .now_ms = 5 };
	struct thing t[40] = { 0 };

	wheel_init(&r.w, SLOT_MS, r.now_ms);
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		wheel_set(&r.w, &t[i].node, 10 + i * 777);
	go_to(&r, 1u << 30);
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		assert_int_equal(t[i].n_fired, 1);
}

/* What a turn has no time for is first in the next one, whatever came due meanwhile; it may be put off, cleared and brought forward as before. */
static void a_turn_with_a_bound_leaves_the_rest_to_the_next(void **state)
{
	struct run r = { .now_ms = 5, .share = 10 };
	struct thing first[35] = { 0 }, later[10] = { 0 };
	unsigned n = 0;

	wheel_init(&r.w, SLOT_MS, r.now_ms);
	for (size_t i = 0; i < ARRAY_LEN(first); i++)
		wheel_set(&r.w, &first[i].node, 50);
	for (size_t i = 0; i < ARRAY_LEN(later); i++)
		wheel_set(&r.w, &later[i].node, 65);
	assert_true(go_to(&r, 55));
	assert_int_equal(r.n_turn, 10);
	wheel_clear(&first[20].node);
	wheel_set(&r.w, &first[21].node, 500);
	wheel_set(&r.w, &first[22].node, 500);
	wheel_set(&r.w, &first[22].node, 40);
	assert_true(go_to(&r, 56)); /* the same slot */
	assert_true(go_to(&r, 85));
	for (size_t i = 0; i < ARRAY_LEN(later); i++)
		n += later[i].n_fired;
	assert_int_equal(n, 0);
	assert_true(go_to(&r, 86));
	assert_false(go_to(&r, 87));
	for (size_t i = 0; i < ARRAY_LEN(first); i++)
		assert_int_equal(first[i].n_fired, i != 20 && i != 21);
	for (size_t i = 0; i < ARRAY_LEN(later); i++)
		assert_int_equal(later[i].n_fired, 1);
	assert_false(go_to(&r, 510));
	assert_int_equal(first[21].n_fired, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(never_early_and_at_most_a_slot_late),
		cmocka_unit_test(what_is_put_off_fires_once_and_later),
		cmocka_unit_test(what_is_brought_forward_fires_early),
		cmocka_unit_test(a_cleared_one_does_not_fire),
		cmocka_unit_test(set_again_from_within),
		cmocka_unit_test(a_long_pause),
		cmocka_unit_test(a_turn_with_a_bound_leaves_the_rest_to_the_next),
	};

	return cmocka_run_group_tests_name("base-wheel", tests, NULL, NULL);
}
