/* SPDX-License-Identifier: Apache-2.0 */
#include "node/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"

/* What the hub is asked for, and by which id: the hub is played here. */

#define A "aaaaaaaa-1111-4111-8111-111111111111"
#define B "bbbbbbbb-2222-4222-8222-222222222222"
#define STEP (64u << 10)
#define SIZE (20 * STEP)

static struct {
	uv_loop_t loop;
	char folder[64], asked[512]; /* "a0 a1": pieces of image A by number */
	char sha512[129];
	struct images *im;
} world;

static int play_ask(void *ctx, const char *image_id, uint64_t offset, uint32_t size)
{
	size_t len = strlen(world.asked);

	(void)snprintf(world.asked + len, sizeof(world.asked) - len, "%s%c%u", len ? " " : "",
		       image_id[0], (unsigned)(offset / STEP));
	return 0;
}

static void play_changed(void *ctx)
{
}

static void play_event(void *ctx, const char *kind, const char *severity, const char *image_id,
		       const char *text)
{
}

static int setup(void **state)
{
	static const struct images_ops ops = { play_ask, play_changed, play_event };
	struct err e = { 0 };

	memset(&world, 0, sizeof(world));
	memset(world.sha512, 'f', sizeof(world.sha512) - 1);
	clock_freeze(1000 * NS_PER_S, 0);
	(void)snprintf(world.folder, sizeof(world.folder), "/tmp/demarc-image-test-XXXXXX");
	assert_non_null(mkdtemp(world.folder));
	assert_int_equal(uv_loop_init(&world.loop), 0);
	assert_int_equal(images_open(&world.loop, world.folder, &ops, NULL, &world.im, &e), 0);
	return 0;
}

static int teardown(void **state)
{
	images_close(world.im);
	assert_int_equal(uv_loop_close(&world.loop), 0);
	assert_int_equal(tree_remove(world.folder, NULL), 0);
	return 0;
}

static enum image_state want(const char *id)
{
	Demarc__V1__Image pb = DEMARC__V1__IMAGE__INIT;
	struct image_view v;

	pb.id = (char *)(uintptr_t)id;
	pb.sha512 = world.sha512;
	pb.size_bytes = SIZE;
	images_want(world.im, &pb, 1u << 30, &v);
	return v.state;
}

/* A pass of the node, with servers of these images. */
static enum image_state pass(const char *id, const char *other)
{
	enum image_state state;

	images_mark(world.im);
	state = want(id);
	if (other)
		state = want(other);
	images_sweep(world.im);
	return state;
}

static void answer(const char *id, unsigned piece, const char *error)
{
	static uint8_t bytes[STEP];
	Demarc__V1__Chunk c = DEMARC__V1__CHUNK__INIT;

	c.image_id = (char *)(uintptr_t)id;
	c.offset = (uint64_t)piece * STEP;
	c.error = (char *)(uintptr_t)error;
	c.data.data = bytes;
	c.data.len = *error ? 0 : STEP;
	images_chunk(world.im, &c);
}

static void expect_asked(const char *asked)
{
	assert_string_equal(world.asked, asked);
	world.asked[0] = '\0';
}

static void the_same_bytes_are_fetched_once(void **state)
{
	assert_int_equal(pass(A, B), IMAGE_FETCHING);
	expect_asked("a0 a1 a2 a3 a4 a5 a6 a7");
	(void)pass(A, B);
	(void)pass(B, A);
	answer(A, 0, "");
	expect_asked("a8");
}

static void the_other_image_is_asked_for_when_the_first_goes(void **state)
{
	(void)pass(A, B);
	answer(A, 0, "");
	answer(A, 1, "");
	expect_asked("a0 a1 a2 a3 a4 a5 a6 a7 a8 a9");
	(void)pass(B, NULL);
	expect_asked("b2 b3 b4 b5 b6 b7 b8 b9");
	/* What was on its way for the first one. */
	answer(A, 2, "no server of this node uses the image");
	assert_int_equal(pass(B, NULL), IMAGE_FETCHING);
	answer(B, 2, "");
	expect_asked("b10");
}

static void a_refusal_is_not_repeated_for_the_other_image(void **state)
{
	(void)pass(A, B);
	answer(A, 0, "");
	expect_asked("a0 a1 a2 a3 a4 a5 a6 a7 a8");
	/* The hub knows before the node does; each time it is asked, the time until the next is longer. */
	for (int i = 0; i < 6; i++) {
		answer(A, 1, "no server of this node uses the image");
		assert_int_equal(pass(A, B), IMAGE_FAILED);
		clock_warp(64 * NS_PER_S);
		images_tick(world.im);
		expect_asked("a1 a2 a3 a4 a5 a6 a7 a8");
	}
	answer(A, 1, "no server of this node uses the image");
	(void)pass(B, NULL);
	expect_asked("b1 b2 b3 b4 b5 b6 b7 b8");
	assert_int_equal(pass(B, NULL), IMAGE_FETCHING);
	answer(B, 1, "");
	expect_asked("b9");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_same_bytes_are_fetched_once, setup, teardown),
		cmocka_unit_test_setup_teardown(the_other_image_is_asked_for_when_the_first_goes,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_refusal_is_not_repeated_for_the_other_image,
						setup, teardown),
	};

	return cmocka_run_group_tests_name("node-image", tests, NULL, NULL);
}
