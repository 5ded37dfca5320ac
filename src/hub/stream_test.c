/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "hub/session_impl.h"
#include "link/frame.h"

/* When the hub ends a stream by itself: its clock stands still, its node is a row of the table of those that are connected. */

#define NODE "node"
#define USER "user"
#define SERIAL 1u
#define S_MS 1000
#define MIN_MS (60 * S_MS)
#define H_MS (60 * MIN_MS)

static struct {
	struct hub hub;
	struct hub_config config;
	struct sessions sessions;
	struct session node;
	uv_loop_t loop;
} world;

static void on_async(uv_async_t *async)
{
}

static int setup(void **state)
{
	struct session_front *f = &world.sessions.fronts[SERIAL];
	struct err e;

	memset(&world, 0, sizeof(world));
	clock_freeze(1000 * NS_PER_S, 0);
	world.config.n_workers = 16;
	world.hub.config = &world.config;
	world.hub.sessions = &world.sessions;
	world.sessions.hub = &world.hub;
	world.sessions.cert.tail = &world.sessions.cert.head;
	world.node.serial = SERIAL;
	(void)str_copy(world.node.node_id, sizeof(world.node.node_id), STR(NODE));
	for (size_t i = 0; i < SESSION_BUCKETS; i++) /* whichever is its own */
		world.sessions.up[i] = &world.node;
	f->post_tail = &f->post_head;
	f->open = true;
	assert_int_equal(uv_loop_init(&world.loop), 0);
	assert_int_equal(uv_async_init(&world.loop, &f->async, on_async), 0);
	assert_int_equal(streams_new(&world.hub, &world.hub.streams, &e), 0);
	*state = &world.hub;
	return 0;
}

/* How many messages of that kind the node has been sent; none waits any more. */
static unsigned take_posts(int body_case)
{
	struct session_front *f = &world.sessions.fronts[SERIAL];
	unsigned n = 0;

	while (f->post_head) {
		struct post *p = f->post_head;
		Demarc__V1__Frame *m = demarc__v1__frame__unpack(NULL, p->size, p->data);

		assert_non_null(m);
		n += (int)m->body_case == body_case;
		frame_free(m);
		f->post_head = p->next;
		post_free(p);
	}
	f->post_tail = &f->post_head;
	return n;
}

static int teardown(void **state)
{
	(void)take_posts(0);
	for (struct job *j = world.sessions.cert.head, *next; j; j = next) {
		next = j->next;
		job_free(j);
	}
	streams_free(world.hub.streams);
	uv_close((uv_handle_t *)&world.sessions.fronts[SERIAL].async, NULL);
	assert_int_equal(uv_run(&world.loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&world.loop), 0);
	return 0;
}

static uint64_t open_stream(struct hub *h)
{
	Demarc__V1__StreamOpen open = DEMARC__V1__STREAM_OPEN__INIT;
	struct err e = { 0 };
	uint64_t id;

	assert_int_equal(stream_open(h, NODE, USER, "shell", &open, &id, &e), 0);
	assert_int_equal(open.idle_ms, 15 * MIN_MS);
	assert_int_equal(open.total_ms, 8 * H_MS);
	return id;
}

static void hear_answer(struct hub *h, uint64_t id)
{
	Demarc__V1__StreamWindow m = DEMARC__V1__STREAM_WINDOW__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	m.id = id;
	m.add = 100;
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_WINDOW;
	f.stream_window = &m;
	streams_frame(h, SERIAL, &f);
}

/* The node says a byte, which is read: a read of nothing would wait. */
static void say_and_read(struct hub *h, uint64_t id)
{
	Demarc__V1__StreamData m = DEMARC__V1__STREAM_DATA__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	uint8_t byte = 'x';
	struct stream_read got;
	struct err e = { 0 };
	char buf[8];

	m.id = id;
	m.data.data = &byte;
	m.data.len = 1;
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_DATA;
	f.stream_data = &m;
	streams_frame(h, SERIAL, &f);
	assert_int_equal(stream_read(h, id, USER, 0, buf, sizeof(buf), &got, &e), 0);
	assert_true(got.is_open && got.size == 1);
}

static void pass(struct hub *h, int64_t ms)
{
	clock_warp(ms * NS_PER_MS);
	streams_tick(h);
}

static void expect_open(void)
{
	assert_int_equal(take_posts(DEMARC__V1__FRAME__BODY_STREAM_CLOSE), 0);
}

/* The node is told, and who reads hears why. */
static void expect_end(struct hub *h, uint64_t id, const char *why)
{
	struct stream_read got;
	struct err e = { 0 };
	char buf[8];

	assert_int_equal(take_posts(DEMARC__V1__FRAME__BODY_STREAM_CLOSE), 1);
	assert_int_equal(stream_read(h, id, USER, 0, buf, sizeof(buf), &got, &e), 0);
	assert_false(got.is_open);
	assert_string_equal(got.error, why);
}

static void a_node_that_does_not_answer(void **state)
{
	uint64_t id = open_stream(*state);

	pass(*state, 15 * S_MS);
	expect_open();
	pass(*state, 1);
	expect_end(*state, id, "the node does not answer");
}

static void a_stream_that_nobody_reads(void **state)
{
	uint64_t id = open_stream(*state);

	hear_answer(*state, id);
	for (int i = 0; i < 3; i++) {
		pass(*state, MIN_MS);
		expect_open();
		say_and_read(*state, id);
	}
	pass(*state, MIN_MS + 1);
	expect_end(*state, id, "nobody reads");
}

/* The node has the same clock for it, and may be wrong: it is given a minute. */
static void a_stream_whose_time_is_over(void **state)
{
	uint64_t id = open_stream(*state);

	hear_answer(*state, id);
	for (int i = 0; i < 8 * 60 + 1; i++) {
		pass(*state, MIN_MS);
		expect_open();
		say_and_read(*state, id);
	}
	pass(*state, 1);
	expect_end(*state, id, "its time is over");
}

static void an_end_that_nobody_reads_is_kept_for_a_minute(void **state)
{
	struct stream_read got;
	struct err e = { 0 };
	char buf[8];
	uint64_t id = open_stream(*state);

	streams_lost(*state, SERIAL);
	pass(*state, MIN_MS);
	(void)take_posts(0);
	pass(*state, 1);
	assert_true(stream_read(*state, id, USER, 0, buf, sizeof(buf), &got, &e) < 0);
	assert_int_equal(e.fault, FAULT_NOT_FOUND);
}

static void what_is_refused_names_the_remedy(void **state)
{
	Demarc__V1__StreamOpen open = DEMARC__V1__STREAM_OPEN__INIT;
	struct err e = { 0 };
	uint64_t id;

	assert_true(stream_open(*state, "another", USER, "shell", &open, &id, &e) < 0);
	assert_int_equal(e.fault, FAULT_UNAVAILABLE);
	assert_non_null(strstr(e.msg, "demarc node show another"));
	for (int i = 0; i < 16; i++)
		(void)open_stream(*state);
	assert_true(stream_open(*state, NODE, USER, "shell", &open, &id, &e) < 0);
	assert_int_equal(e.fault, FAULT_QUOTA);
	assert_non_null(strstr(e.msg, "End one"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_node_that_does_not_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_that_nobody_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_whose_time_is_over, setup, teardown),
		cmocka_unit_test_setup_teardown(an_end_that_nobody_reads_is_kept_for_a_minute,
						setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_refused_names_the_remedy, setup, teardown),
	};

	return cmocka_run_group_tests_name("hub-stream", tests, NULL, NULL);
}
