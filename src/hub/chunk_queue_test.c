/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/chunk_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/types.h"
#include "link/link.h"

#define SIZE 65536u
#define START (1000 * NS_PER_S)

static int want(struct chunk_queue *q, struct chunk_place *p, uint64_t offset, int64_t now)
{
	struct chunk_wanted w = { .offset = offset, .size = SIZE, .image_id = "i" };

	return chunk_queue_add(q, p, &w, now);
}

/* Serial of the node whose turn it was; 0: nobody's. */
static uint64_t next(struct chunk_queue *q, int64_t now, int64_t *ret_until)
{
	const struct chunk_place *p = NULL;
	struct chunk_wanted *w = chunk_queue_next(q, now, &p, ret_until);

	free(w);
	return w ? p->serial : 0;
}

static void test_nodes_take_turns(void **state)
{
	struct chunk_place a = { .serial = 1 }, b = { .serial = 2 };
	struct chunk_queue q;
	int64_t until;

	chunk_queue_init(&q, 0, 0);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(want(&q, &a, i, START), 0);
	assert_int_equal(want(&q, &b, 0, START), 0);
	assert_int_equal(next(&q, START, &until), 1);
	chunk_queue_taken(&q, &a, START); /* at once: the other's turn comes all the same */
	assert_int_equal(next(&q, START, &until), 2);
	assert_int_equal(next(&q, START, &until), 1);
	assert_int_equal(next(&q, START, &until), 0); /* one of a node at a time */
	chunk_queue_taken(&q, &a, START);
	assert_int_equal(next(&q, START, &until), 1);
	chunk_queue_leave(&q, &a);
	chunk_queue_leave(&q, &b);
	assert_int_equal(q.under_way, 0);
}

static void test_the_same_waits_once_and_not_too_many_do(void **state)
{
	struct chunk_place a = { .serial = 1 };
	struct chunk_queue q;

	chunk_queue_init(&q, 0, 0);
	for (uint64_t i = 0; i < CHUNKS_WAITING_MAX; i++)
		assert_int_equal(want(&q, &a, i, START), 0);
	assert_int_equal(want(&q, &a, 3, START), -EEXIST);
	assert_int_equal(want(&q, &a, CHUNKS_WAITING_MAX, START), -ENOBUFS);
	chunk_queue_leave(&q, &a);
	chunk_queue_leave(&q, &a);
}

static void test_what_is_under_way_is_bounded(void **state)
{
	enum { N = 2 * CHUNKS_UNDER_WAY_MAX / SIZE };
	static struct chunk_place p[N];
	struct chunk_queue q;
	unsigned n = 0;
	int64_t until;

	chunk_queue_init(&q, 0, 0);
	for (unsigned i = 0; i < N; i++) {
		p[i] = (struct chunk_place){ .serial = i + 1 };
		assert_int_equal(want(&q, &p[i], 0, START), 0);
	}
	while (next(&q, START, &until))
		n++;
	assert_int_equal(n, CHUNKS_UNDER_WAY_MAX / SIZE);
	chunk_queue_leave(&q, &p[5]); /* its connection went: its share is free */
	assert_int_equal(next(&q, START, &until), n + 1);
	assert_int_equal(next(&q, START, &until), 0);
	for (unsigned i = 0; i < N; i++)
		chunk_queue_leave(&q, &p[i]);
	assert_int_equal(q.under_way, 0);
}

/* Bytes sent in a second when every chunk is taken at once. */
static uint64_t run_second(struct chunk_queue *q, struct chunk_place *p, unsigned n_places)
{
	int64_t now = START, until;
	uint64_t bytes = 0, offset = 0;

	while (now < START + NS_PER_S) {
		for (unsigned i = 0; i < n_places; i++)
			if (p[i].n_waiting == 0)
				assert_int_equal(want(q, &p[i], ++offset, now), 0);
		const struct chunk_place *turn = NULL;
		struct chunk_wanted *w = chunk_queue_next(q, now, &turn, &until);
		if (w) {
			bytes += w->size;
			free(w);
			chunk_queue_taken(q, &p[turn->serial - 1], now);
		} else {
			assert_true(until > now && until < now + NS_PER_S);
			now = until;
		}
	}
	return bytes;
}

static void test_rates_hold(void **state)
{
	struct chunk_place p[4] = { { .serial = 1 }, { .serial = 2 }, { .serial = 3 }, { .serial = 4 } };
	struct chunk_queue q;
	uint64_t bytes;

	chunk_queue_init(&q, 10000000, 0); /* of all */
	bytes = run_second(&q, p, 4);
	assert_in_range(bytes, 9900000, 10300000);
	for (unsigned i = 0; i < 4; i++)
		chunk_queue_leave(&q, &p[i]);

	memset(p, 0, sizeof(p));
	for (unsigned i = 0; i < 4; i++)
		p[i].serial = i + 1;
	chunk_queue_init(&q, 0, 2000000); /* of each */
	bytes = run_second(&q, p, 4);
	assert_in_range(bytes, 7900000, 8600000);
	for (unsigned i = 0; i < 4; i++)
		chunk_queue_leave(&q, &p[i]);
}

static void test_who_takes_nothing_is_named(void **state)
{
	struct chunk_place a = { .serial = 1 }, b = { .serial = 2 };
	const int64_t late = START + CHUNK_UNDER_WAY_MS * NS_PER_MS;
	struct chunk_queue q;
	int64_t until;

	chunk_queue_init(&q, 0, 0);
	assert_int_equal(want(&q, &a, 0, START), 0);
	assert_int_equal(want(&q, &b, 0, START), 0);
	assert_int_equal(next(&q, START, &until), 1);
	assert_int_equal(next(&q, START + 1, &until), 2);
	assert_int_equal(next(&q, START + 1, &until), 0);
	assert_int_equal(until, late);
	assert_int_equal(chunk_queue_stuck(&q, late - 1), 0);
	assert_int_equal(chunk_queue_stuck(&q, late), 1);
	assert_int_equal(chunk_queue_stuck(&q, late), 0);
	chunk_queue_taken(&q, &b, late);
	chunk_queue_leave(&q, &a);
	chunk_queue_leave(&q, &b);
}

/* A node may ask for more than a chunk can be: it is refused later, and counts as the largest one. */
static void test_sizes_are_not_believed(void **state)
{
	struct chunk_place a = { .serial = 1 };
	struct chunk_wanted w = { .size = UINT32_MAX, .image_id = "i" };
	struct chunk_queue q;
	int64_t until;

	chunk_queue_init(&q, 0, 0);
	assert_int_equal(chunk_queue_add(&q, &a, &w, START), 0);
	assert_int_equal(next(&q, START, &until), 1);
	assert_int_equal(q.under_way, LINK_CHUNK_MAX);
	chunk_queue_leave(&q, &a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nodes_take_turns),
		cmocka_unit_test(test_the_same_waits_once_and_not_too_many_do),
		cmocka_unit_test(test_what_is_under_way_is_bounded),
		cmocka_unit_test(test_rates_hold),
		cmocka_unit_test(test_who_takes_nothing_is_named),
		cmocka_unit_test(test_sizes_are_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
