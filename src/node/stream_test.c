/* SPDX-License-Identifier: Apache-2.0 */
#include "node/stream.h"

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

#include "base/clock.h"
#include "base/file.h"
#include "link/client_impl.h"
#include "node/server.h"

/* When the node ends a stream by itself: the log of a function is followed, the clock stands still, the timer is played. */

#define SERVER "11111111-1111-4111-8111-111111111111"
#define ID 7u
#define MIN_MS (60 * 1000)

static struct {
	struct node node;
	struct server server;
	struct link_client link;
	char folder[300];
	uv_timer_t *timer;
	uv_timer_cb on_timer; /* NULL: stopped */
	char closed[100];     /* why */
	size_t heard;	      /* bytes */
} world;

int uv_timer_start(uv_timer_t *timer, uv_timer_cb fn, uint64_t timeout, uint64_t repeat)
{
	world.timer = timer;
	world.on_timer = fn;
	return 0;
}

int uv_timer_stop(uv_timer_t *timer)
{
	world.on_timer = NULL;
	return 0;
}

static int play_tell(struct link_client *l, enum pipe_kind kind, struct str payload)
{
	Demarc__V1__Frame *f =
		demarc__v1__frame__unpack(NULL, payload.len, (const uint8_t *)payload.ptr);

	assert_non_null(f);
	if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_DATA)
		world.heard += f->stream_data->data.len;
	else if (f->body_case == DEMARC__V1__FRAME__BODY_STREAM_CLOSE)
		(void)str_copy(world.closed, sizeof(world.closed), str_of(f->stream_close->error));
	frame_free(f);
	return 0;
}

static const struct link_carrier played = { .tell = play_tell };

static void write_log(const char *mode)
{
	char path[400];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/console.log", world.folder);
	f = fopen(path, mode);
	assert_non_null(f);
	assert_true(fputs("a line\n", f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	struct node *n = &world.node;
	struct err e = { 0 };

	memset(&world, 0, sizeof(world));
	clock_freeze(1000 * NS_PER_S, 0);
	(void)snprintf(n->cfg.state_dir, sizeof(n->cfg.state_dir), "/tmp/demarc-stream-test-XXXXXX");
	assert_non_null(mkdtemp(n->cfg.state_dir));
	(void)snprintf(world.folder, sizeof(world.folder), "%.100s/servers", n->cfg.state_dir);
	assert_int_equal(dir_make(world.folder, 0700, &e), 0);
	(void)snprintf(world.folder, sizeof(world.folder), "%.100s/servers/" SERVER, n->cfg.state_dir);
	assert_int_equal(dir_make(world.folder, 0700, &e), 0);
	write_log("w");
	(void)str_copy(world.server.id, sizeof(world.server.id), STR(SERVER));
	n->servers = &world.server;
	n->loop = uv_default_loop();
	world.link.carrier = &played;
	world.link.state = LINK_UP;
	n->link = &world.link;
	*state = n;
	return 0;
}

static int teardown(void **state)
{
	streams_close(*state);
	assert_int_equal(uv_run(uv_default_loop(), UV_RUN_DEFAULT), 0);
	assert_int_equal(tree_remove(world.node.cfg.state_dir, NULL), 0);
	return 0;
}

static void open_log(struct node *n)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__StreamOpen m = DEMARC__V1__STREAM_OPEN__INIT;
	Demarc__V1__LogStream log = DEMARC__V1__LOG_STREAM__INIT;

	log.server_id = (char *)SERVER;
	m.id = ID;
	m.window = 65536;
	m.idle_ms = 15 * MIN_MS;
	m.total_ms = 8 * 60 * MIN_MS;
	m.kind_case = DEMARC__V1__STREAM_OPEN__KIND_LOG;
	m.log = &log;
	f.body_case = DEMARC__V1__FRAME__BODY_STREAM_OPEN;
	f.stream_open = &m;
	streams_frame(n, &f);
	assert_string_equal(world.closed, "");
	assert_non_null(world.on_timer);
}

static void pass(int64_t ms)
{
	clock_warp(ms * NS_PER_MS);
	world.on_timer(world.timer);
}

static void expect_end(const char *why)
{
	assert_string_equal(world.closed, why);
	assert_null(world.on_timer); /* none is left */
}

static void nothing_happens(void **state)
{
	open_log(*state);
	pass(15 * MIN_MS);
	assert_string_equal(world.closed, "");
	pass(1);
	expect_end("nothing happened for too long");
}

static void its_time_is_over(void **state)
{
	size_t heard;

	open_log(*state);
	for (int64_t i = 0; i < 8 * 60 / 10; i++) {
		heard = world.heard;
		write_log("a");
		pass(10 * MIN_MS);
		assert_true(world.heard > heard);
		assert_string_equal(world.closed, "");
	}
	pass(1);
	expect_end("its time is over");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_happens, setup, teardown),
		cmocka_unit_test_setup_teardown(its_time_is_over, setup, teardown),
	};

	return cmocka_run_group_tests_name("node-stream", tests, NULL, NULL);
}
