/* SPDX-License-Identifier: Apache-2.0 */
#include "node/event_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "base/types.h"

static char folder[64], path[96];

static int setup(void **state)
{
	struct event_log *l;
	struct err e = { 0 };

	(void)snprintf(folder, sizeof(folder), "/tmp/demarc-event-log-test-XXXXXX");
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/events.log", folder);
	assert_int_equal(event_log_open(path, &l, &e), 0);
	*state = l;
	return 0;
}

static int teardown(void **state)
{
	event_log_close(*state);
	assert_int_equal(tree_remove(folder, NULL), 0);
	return 0;
}

/* As a process that was killed and starts again. */
static struct event_log *again(void **state)
{
	struct event_log *l;
	struct err e = { 0 };

	event_log_close(*state);
	*state = NULL;
	assert_int_equal(event_log_open(path, &l, &e), 0);
	*state = l;
	return l;
}

static void add(struct event_log *l, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		char text[32];

		(void)snprintf(text, sizeof(text), "event %u", i);
		event_log_add(l, "kind", "info", "server/x", text);
	}
}

static void expect_text(const struct event_log *l, size_t i, const char *text)
{
	assert_string_equal(event_log_at(l, i)->text, text);
}

/* From event i of the log on, to its end. */
static void expect_run(const struct event_log *l, size_t i, unsigned from, unsigned to)
{
	assert_int_equal(event_log_n(l) - i, to - from);
	for (; from < to; from++, i++) {
		char text[32];

		(void)snprintf(text, sizeof(text), "event %u", from);
		expect_text(l, i, text);
	}
}

static void expect_lost(const struct event_log *l, size_t i, unsigned n)
{
	char text[128];

	(void)snprintf(text, sizeof(text),
		       "%u older events were lost: more than 2000 waited for the hub", n);
	assert_string_equal(event_log_at(l, i)->kind, EVENT_LOST_KIND);
	expect_text(l, i, text);
}

static uint64_t file_bytes(void)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

static void what_is_kept_survives_in_its_order(void **state)
{
	struct event_log *l = *state;

	add(l, 0, 100);
	l = again(state);
	expect_run(l, 0, 0, 100);
	event_log_mark(l, 0, 5);
	event_log_mark(l, 1, 6);
	event_log_ack(l, 5);
	expect_run(l, 0, 1, 100);
	event_log_unmark(l, 6);
	assert_int_equal(event_log_seq(l, 0), 0);
	l = again(state);
	expect_run(l, 0, 1, 100);
}

/* An outage with 20,000 events: memory, file and what is left after a restart are the same, and say how much is missing. */
static void a_long_outage_keeps_the_newest_and_counts_the_others(void **state)
{
	struct event_log *l = *state;
	char id[UUID_STR_SIZE];
	uint64_t most = 0;

	for (unsigned i = 0; i < 20000; i += 500) {
		add(l, i, i + 500);
		most = MAX_OF(most, file_bytes());
	}
	assert_int_equal(event_log_n(l), EVENT_LOG_MAX);
	expect_lost(l, 0, 20000 - (EVENT_LOG_MAX - 1));
	expect_run(l, 1, 20000 - (EVENT_LOG_MAX - 1), 20000);
	assert_true(most < 1u << 20);
	(void)str_copy(id, sizeof(id), str_of(event_log_at(l, 0)->id));
	l = again(state);
	expect_lost(l, 0, 20000 - (EVENT_LOG_MAX - 1));
	expect_run(l, 1, 20000 - (EVENT_LOG_MAX - 1), 20000);
	/* The hub may have stored it before the restart: it must know it again. */
	assert_string_equal(event_log_at(l, 0)->id, id);
}

/* Whatever the file holds more than once kept: nothing is read into another order, and nothing is lost uncounted. */
static void a_restart_at_any_time_comes_to_the_same(void **state)
{
	struct event_log *l = *state;
	unsigned n = 0;

	add(l, 0, EVENT_LOG_MAX);
	for (n = EVENT_LOG_MAX; n < EVENT_LOG_MAX + 12; n++) {
		add(l, n, n + 1);
		l = again(state);
		expect_lost(l, 0, n + 1 - (EVENT_LOG_MAX - 1));
		expect_run(l, 1, n + 1 - (EVENT_LOG_MAX - 1), n + 1);
	}
}

/* What was said already is not changed: another event counts from there. */
static void losses_after_a_report_are_counted_anew(void **state)
{
	struct event_log *l = *state;

	add(l, 0, EVENT_LOG_MAX + 1);
	expect_lost(l, 0, 2);
	event_log_mark(l, 0, 7);
	add(l, EVENT_LOG_MAX + 1, EVENT_LOG_MAX + 4);
	expect_lost(l, 0, 2);
	expect_lost(l, 1, 4);
	expect_run(l, 2, 6, EVENT_LOG_MAX + 4);
	event_log_ack(l, 7);
	expect_lost(l, 0, 4);
	l = again(state);
	expect_lost(l, 0, 4);
	expect_run(l, 1, 6, EVENT_LOG_MAX + 4);
}

/* A file that another release let grow, beyond any bound. */
static void the_end_of_a_file_without_bound_is_kept(void **state)
{
	CLEANUP(free_charp) char *bytes = NULL;
	struct event_log *l = *state;
	size_t size = 0;
	unsigned n = 0;
	FILE *f;

	add(l, 0, 1000);
	assert_int_equal(file_read(path, 1u << 20, &bytes, &size, NULL), 0);
	f = fopen(path, "ae");
	assert_non_null(f);
	for (n = 1000; n * size / 1000 < 9u << 20; n += 1000)
		assert_int_equal(fwrite(bytes, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
	l = again(state);
	assert_int_equal(event_log_n(l), EVENT_LOG_MAX);
	expect_lost(l, 0, n - (EVENT_LOG_MAX - 1));
	expect_text(l, 1, "event 1");
	expect_text(l, EVENT_LOG_MAX - 1, "event 999");
	assert_true(file_bytes() < 1u << 20);
}

static void append(const void *bytes, size_t n)
{
	CLEANUP(close_fdp) int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
}

static void a_torn_or_empty_tail_is_ignored(void **state)
{
	static const uint8_t torn[] = { 90, 0, 0, 0, 1, 2, 3 }, zeros[64],
			     huge[] = { 0xff, 0xff, 0xff, 0xff, 1 };
	struct event_log *l = *state;

	add(l, 0, 3);
	append(torn, sizeof(torn));
	l = again(state);
	expect_run(l, 0, 0, 3);
	add(l, 3, 4);
	append(zeros, sizeof(zeros));
	l = again(state);
	expect_run(l, 0, 0, 4);
	add(l, 4, 5);
	append(huge, sizeof(huge));
	l = again(state);
	expect_run(l, 0, 0, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_kept_survives_in_its_order, setup, teardown),
		cmocka_unit_test_setup_teardown(a_long_outage_keeps_the_newest_and_counts_the_others,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_restart_at_any_time_comes_to_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(losses_after_a_report_are_counted_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_of_a_file_without_bound_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(a_torn_or_empty_tail_is_ignored, setup, teardown),
	};

	return cmocka_run_group_tests_name("node-event-log", tests, NULL, NULL);
}
