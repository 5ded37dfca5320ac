/* SPDX-License-Identifier: Apache-2.0 */
#include "node/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* Another node, played: what is to be written, and who was told of. */
static struct {
	int r; /* of the question */
	int fd, n_asked, n_stopped;
	uint64_t have;
	char bad[40];
} peer;

static int play_take(void *ctx, const struct image_part *p)
{
	peer.n_asked++;
	if (peer.r < 0)
		return peer.r;
	peer.have = p->have;
	peer.fd = dup(p->fd);
	assert_true(peer.fd >= 0);
	return 0;
}

static void play_stop(void *ctx)
{
	peer.n_stopped++;
}

static void play_bad(void *ctx, const char *node_id)
{
	(void)snprintf(peer.bad, sizeof(peer.bad), "%s", node_id);
}

static void with_peers(int r)
{
	static const struct images_peer_ops ops = { play_take, play_stop, play_bad };

	memset(&peer, 0, sizeof(peer));
	peer.r = r;
	peer.fd = -1;
	images_peers(world.im, &ops, NULL);
}

/* So many pieces, and the end. */
static void peer_gives(unsigned pieces)
{
	static uint8_t bytes[STEP];

	while (pieces--)
		assert_int_equal(write(peer.fd, bytes, STEP), STEP);
	close_fdp(&peer.fd);
	images_peer_end(world.im, world.sha512, "node");
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

static void the_hub_goes_on_where_another_node_has_stopped(void **state)
{
	with_peers(0);
	(void)pass(A, NULL);
	answer(A, 0, ""); /* nobody has asked for that */
	answer(A, 0, "no server of this node uses the image");
	clock_warp(61 * NS_PER_S);
	images_tick(world.im);
	images_link_up(world.im);
	expect_asked("");
	peer_gives(3);
	expect_asked("a3 a4 a5 a6 a7 a8 a9 a10");
	answer(A, 3, "");
	expect_asked("a11");
	assert_int_equal(peer.n_asked, 1);
	images_peer_end(world.im, world.sha512, "node"); /* late */
	expect_asked("");
}

static void without_another_node_it_is_the_hub_at_once(void **state)
{
	with_peers(-EOPNOTSUPP);
	(void)pass(A, NULL);
	expect_asked("a0 a1 a2 a3 a4 a5 a6 a7");
	images_link_up(world.im);
	assert_int_equal(peer.n_asked, 1);
}

static void without_a_link_another_node_is_asked_later(void **state)
{
	with_peers(-ENOTCONN);
	(void)pass(A, NULL);
	world.asked[0] = '\0';
	peer.r = 0;
	images_link_up(world.im);
	expect_asked("");
	assert_int_equal(peer.n_asked, 2);
	peer_gives(0);
	expect_asked("a0 a1 a2 a3 a4 a5 a6 a7");
}

static void wrong_bytes_are_told_of_and_fetched_from_the_hub(void **state)
{
	with_peers(0);
	(void)pass(A, NULL);
	peer_gives(SIZE / STEP);
	assert_int_equal(pass(A, NULL), IMAGE_CHECKING);
	assert_int_equal(uv_run(&world.loop, UV_RUN_DEFAULT), 0);
	assert_string_equal(peer.bad, "node");
	assert_int_equal(pass(A, NULL), IMAGE_FAILED);
	clock_warp(2 * NS_PER_S);
	images_tick(world.im);
	expect_asked("a0 a1 a2 a3 a4 a5 a6 a7");
	assert_int_equal(peer.n_asked, 1);
}

/* A process that somebody has taken over: it has no limit here. */
static void more_than_the_image_is_no_more(void **state)
{
	with_peers(0);
	(void)pass(A, NULL);
	peer_gives(SIZE / STEP + 1);
	assert_int_equal(uv_run(&world.loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(pass(A, NULL), IMAGE_FAILED);
	assert_string_equal(peer.bad, "node");
}

static void what_nobody_wants_any_more_is_stopped(void **state)
{
	uint64_t size;

	with_peers(0);
	(void)pass(A, NULL);
	assert_int_equal(images_packed(world.im, world.sha512, &size), -ENOENT);
	images_mark(world.im);
	images_sweep(world.im);
	assert_int_equal(peer.n_stopped, 1);
	peer_gives(1);
	expect_asked("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_same_bytes_are_fetched_once, setup, teardown),
		cmocka_unit_test_setup_teardown(the_other_image_is_asked_for_when_the_first_goes,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_refusal_is_not_repeated_for_the_other_image,
						setup, teardown),
		cmocka_unit_test_setup_teardown(the_hub_goes_on_where_another_node_has_stopped,
						setup, teardown),
		cmocka_unit_test_setup_teardown(without_another_node_it_is_the_hub_at_once, setup,
						teardown),
		cmocka_unit_test_setup_teardown(without_a_link_another_node_is_asked_later, setup,
						teardown),
		cmocka_unit_test_setup_teardown(wrong_bytes_are_told_of_and_fetched_from_the_hub,
						setup, teardown),
		cmocka_unit_test_setup_teardown(more_than_the_image_is_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(what_nobody_wants_any_more_is_stopped, setup, teardown),
	};

	return cmocka_run_group_tests_name("node-image", tests, NULL, NULL);
}
