/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdalign.h>
#include <string.h>

static void test_memory_is_zeroed_and_aligned(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(1 << 20);

	for (size_t size = 0; size < 300; size++) {
		unsigned char *p = arena_alloc(a, size);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xa5, size);
	}
	assert_false(arena_failed(a));
}

static void test_the_limit_holds(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(10000);
	size_t n = 0;

	while (arena_alloc(a, 100))
		n++;
	assert_in_range(n, 50, 100);
	assert_true(arena_used_bytes(a) <= 10000);
	assert_true(arena_failed(a));
	arena_reset(a);
	assert_false(arena_failed(a));
	assert_int_equal(arena_used_bytes(a), 0);
	assert_non_null(arena_alloc(a, 100));
}

static void test_absurd_sizes_fail(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(SIZE_MAX);

	assert_null(arena_alloc(a, SIZE_MAX));
	assert_true(arena_failed(a));
	assert_null(arena_memdup(a, "x", SIZE_MAX));
	arena_reset(a);
	assert_null(arena_alloc(a, SIZE_MAX - 64));
	assert_non_null(arena_alloc(a, 16));
}

static void test_an_empty_limit_gives_nothing(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(0);

	assert_null(arena_alloc(a, 1));
	assert_true(arena_failed(a));
}

static void test_a_big_object_gets_its_own_block(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(8 << 20);
	char *small = arena_strdup(a, "before"), *big = arena_alloc(a, 4 << 20);

	assert_non_null(big);
	big[(4 << 20) - 1] = 'x';
	assert_string_equal(small, "before");
	assert_non_null(arena_alloc(a, 1 << 20));
}

static void test_copies(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(65536);
	char *m = arena_memdup(a, "a\0b", 3);

	assert_memory_equal(m, "a\0b\0", 4);
	assert_string_equal(arena_memdup(a, NULL, 0), "");
	assert_null(arena_strdup(a, NULL));
	assert_false(arena_failed(a));
	assert_string_equal(arena_strdup(a, "text"), "text");
	assert_string_equal(arena_printf(a, "%s-%d", "x", 42), "x-42");
	assert_string_equal(arena_printf(a, "%s", ""), "");
}

static void test_printf_past_the_limit(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(64);

	assert_null(arena_printf(a, "%0100d", 1));
	assert_true(arena_failed(a));
	assert_null(arena_strdup(a, "a text that is by some bytes too long for an arena of sixty-four"));
}

struct trail {
	char order[16];
	size_t n;
};

static struct trail trail;

static void note(void *arg)
{
	trail.order[trail.n++] = *(const char *)arg;
}

static void test_hooks_run_newest_first(void **state)
{
	struct arena *a = arena_new(65536);

	trail = (struct trail){ 0 };
	assert_int_equal(arena_hook(a, note, (void *)"1"), 0);
	assert_int_equal(arena_hook(a, note, (void *)"2"), 0);
	arena_reset(a);
	assert_string_equal(trail.order, "21");
	assert_int_equal(arena_hook(a, note, (void *)"3"), 0);
	arena_free(a);
	assert_string_equal(trail.order, "213");
}

static void note_and_add(void *arg)
{
	note((void *)"a");
	assert_int_equal(arena_hook(arg, note, (void *)"b"), 0);
}

static void test_a_hook_may_add_a_hook(void **state)
{
	struct arena *a = arena_new(65536);

	trail = (struct trail){ 0 };
	assert_int_equal(arena_hook(a, note_and_add, a), 0);
	arena_free(a);
	assert_string_equal(trail.order, "ab");
}

static void test_a_hook_needs_memory(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(8);

	assert_int_equal(arena_hook(a, note, NULL), -ENOMEM);
}

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>

static void test_bytes_past_an_object_are_poisoned(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new(65536);
	char *p = arena_alloc(a, 10);

	assert_null(__asan_region_is_poisoned(p, 10));
	assert_true(__asan_address_is_poisoned(p + 10));
	assert_true(__asan_address_is_poisoned(p + 100));
	arena_reset(a);
	assert_true(__asan_address_is_poisoned(p));
}
#endif

static void test_free_takes_null(void **state)
{
	arena_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_is_zeroed_and_aligned),
		cmocka_unit_test(test_the_limit_holds),
		cmocka_unit_test(test_absurd_sizes_fail),
		cmocka_unit_test(test_an_empty_limit_gives_nothing),
		cmocka_unit_test(test_a_big_object_gets_its_own_block),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_printf_past_the_limit),
		cmocka_unit_test(test_hooks_run_newest_first),
		cmocka_unit_test(test_a_hook_may_add_a_hook),
		cmocka_unit_test(test_a_hook_needs_memory),
#ifdef __SANITIZE_ADDRESS__
		cmocka_unit_test(test_bytes_past_an_object_are_poisoned),
#endif
		cmocka_unit_test(test_free_takes_null),
	};

	return cmocka_run_group_tests_name("base-arena", tests, NULL, NULL);
}
