/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

#define PREFIX "2026-01-31T12:34:56.123456Z "

struct capture {
	int saved, pipe[2];
	char text[16384];
};

/* stderr becomes a pipe that holds what is written until capture_end(). */
static void capture_begin(struct capture *c)
{
	clock_freeze(0, 1769862896123456);
	c->saved = dup(STDERR_FILENO);
	assert_int_equal(pipe2(c->pipe, O_NONBLOCK), 0);
	dup2(c->pipe[1], STDERR_FILENO);
}

static const char *capture_end(struct capture *c)
{
	ssize_t n = read(c->pipe[0], c->text, sizeof(c->text) - 1);

	dup2(c->saved, STDERR_FILENO);
	close(c->saved);
	close(c->pipe[0]);
	close(c->pipe[1]);
	c->text[n > 0 ? n : 0] = '\0';
	return c->text;
}

static void test_one_event_one_line(void **state)
{
	struct capture c;

	capture_begin(&c);
	log_info("node_connected", "node=%s port=%d", "n1", 8443);
	log_warn("bare");
	assert_string_equal(capture_end(&c),
			    PREFIX "info node_connected node=n1 port=8443\n" PREFIX "warn bare\n");
}

static void test_levels(void **state)
{
	struct capture c;

	capture_begin(&c);
	log_init("test", LOG_WARN_);
	log_debug("d");
	log_info("i");
	log_warn("w");
	log_error("e");
	log_init("test", LOG_DEBUG_);
	log_debug("d2");
	assert_string_equal(capture_end(&c), PREFIX "warn w\n" PREFIX "error e\n" PREFIX "debug d2\n");
}

/* A peer that puts a line break in its name must not forge a second event. */
static void test_control_characters_are_escaped(void **state)
{
	struct capture c;

	capture_begin(&c);
	log_info("x", "name=%s", "a\nb\tc\rd\x1b[31m\x7f\x01 é");
	assert_string_equal(capture_end(&c), PREFIX "info x name=a\\nb\\tc\\rd\\x1b[31m\\x7f\\x01 é\n");
}

static void test_bytes_that_are_no_text_are_replaced(void **state)
{
	struct capture c;

	capture_begin(&c);
	log_info("x", "name=%s", "a\xff\xc3z");
	assert_string_equal(capture_end(&c), PREFIX "info x name=a??z\n");
}

static void test_long_events_are_cut_to_one_line(void **state)
{
	char big[10000];
	struct capture c;
	size_t len;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	capture_begin(&c);
	log_info("big", "v=%s", big);
	len = strlen(capture_end(&c));
	assert_in_range(len, 3000, 4096);
	assert_int_equal(c.text[len - 1], '\n');
	memset(big, '\n', sizeof(big) - 1);
	capture_begin(&c);
	log_event(LOG_INFO_, big, "%s", big); /* even an event name past the buffer */
	len = strlen(capture_end(&c));
	assert_true(len <= 4096);
	assert_int_equal(c.text[len - 1], '\n');
}

static void test_errno_survives(void **state)
{
	struct capture c;

	capture_begin(&c);
	errno = ENOENT;
	log_info("x");
	assert_int_equal(errno, ENOENT);
	capture_end(&c);
}

static void test_quote(void **state)
{
	char big[2 * LOG_QUOTE_SIZE], buf[LOG_QUOTE_SIZE];

	assert_string_equal(LOGQ("two words"), "\"two words\"");
	assert_string_equal(LOGQ("a\"b\\c\n"), "\"a\\\"b\\\\c\\n\"");
	assert_string_equal(LOGQ(NULL), "\"\"");
	memset(big, '"', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_quote(big, buf);
	assert_true(strlen(buf) < LOG_QUOTE_SIZE);
	assert_int_equal(buf[strlen(buf) - 1], '"');
	assert_int_equal(buf[strlen(buf) - 2], '"');
}

static void test_limit_counts_what_it_hides(void **state)
{
	struct log_limit l = { 0 };
	unsigned hidden = 0;

	clock_freeze(0, 0);
	for (int i = 0; i < 3; i++)
		assert_true(log_limit_pass(&l, 3, &hidden));
	for (int i = 0; i < 7; i++)
		assert_false(log_limit_pass(&l, 3, &hidden));
	assert_int_equal(hidden, 0);
	clock_warp(10 * NS_PER_S - 1);
	assert_false(log_limit_pass(&l, 3, &hidden));
	clock_warp(1);
	assert_true(log_limit_pass(&l, 3, &hidden));
	assert_int_equal(hidden, 8);
	assert_true(log_limit_pass(&l, 3, &hidden));
	assert_int_equal(hidden, 0);
}

static void test_limited_events(void **state)
{
	struct capture c;
	struct str rest;
	size_t n = 0;

	capture_begin(&c);
	for (int i = 0; i < 50; i++) {
		if (i == 49)
			clock_warp(10 * NS_PER_S);
		log_limited(LOG_INFO_, "bad_packet", "n=%d", i);
	}
	rest = str_of(capture_end(&c));
	while (rest.len) {
		str_cut(rest, '\n', &rest);
		n++;
	}
	assert_int_equal(n, 11);
	assert_non_null(strstr(c.text, "bad_packet n=49 suppressed=39\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_event_one_line),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_control_characters_are_escaped),
		cmocka_unit_test(test_bytes_that_are_no_text_are_replaced),
		cmocka_unit_test(test_long_events_are_cut_to_one_line),
		cmocka_unit_test(test_errno_survives),
		cmocka_unit_test(test_quote),
		cmocka_unit_test(test_limit_counts_what_it_hides),
		cmocka_unit_test(test_limited_events),
	};

	return cmocka_run_group_tests_name("base-log", tests, NULL, NULL);
}
