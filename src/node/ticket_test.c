/* SPDX-License-Identifier: Apache-2.0 */
#include "node/ticket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "node/node.h"

#define NOW_S 1800000000

static const struct link_ticket sample = {
	.binding = { 1, 2, 3 },
	.session = { "a session\n\0of any bytes", 23 },
};

static void what_was_stored_is_read(void **state)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	struct link_ticket t;
	int64_t made_s;

	ticket_text(&sample, NOW_S, &b);
	assert_int_equal(b.error, 0);
	assert_int_equal(ticket_parse((struct str){ b.ptr, b.len }, NOW_S + 60, &t, &made_s), 0);
	assert_int_equal(made_s, NOW_S);
	assert_memory_equal(t.binding, sample.binding, sizeof(t.binding));
	assert_true(str_eq(t.session, sample.session));
}

static void no_damaged_byte_goes_unseen(void **state)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	struct link_ticket t;
	int64_t made_s;

	ticket_text(&sample, NOW_S, &b);
	for (size_t i = 0; i < b.len; i++) {
		b.ptr[i] ^= 1;
		assert_int_equal(ticket_parse((struct str){ b.ptr, b.len }, NOW_S, &t, &made_s),
				 -EINVAL);
		b.ptr[i] ^= 1;
		assert_int_equal(ticket_parse((struct str){ b.ptr, i }, NOW_S, &t, &made_s), -EINVAL);
	}
}

static void sizes_are_bounded(void **state)
{
	static char bytes[LINK_TICKET_MAX + 1];
	struct link_ticket t = { .session = { bytes, sizeof(bytes) } }, got;
	int64_t made_s;

	for (int fits = 0; fits < 2; fits++) {
		CLEANUP(strbuf_done) struct strbuf b = { 0 };

		t.session.len = sizeof(bytes) - (size_t)fits;
		ticket_text(&t, NOW_S, &b);
		assert_int_equal(ticket_parse((struct str){ b.ptr, b.len }, NOW_S, &got, &made_s),
				 fits ? 0 : -EINVAL);
		assert_true(b.len <= TICKET_TEXT_MAX);
	}
}

static void old_ones_are_of_no_use(void **state)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	struct str text;
	struct link_ticket t;
	int64_t made_s;

	ticket_text(&sample, NOW_S, &b);
	text = (struct str){ b.ptr, b.len };
	assert_int_equal(ticket_parse(text, NOW_S + LINK_TICKET_LIFE_S - 1, &t, &made_s), 0);
	assert_int_equal(ticket_parse(text, NOW_S + LINK_TICKET_LIFE_S, &t, &made_s), -ESTALE);
	/* A machine without a battery is in the past until it has asked for the time. */
	assert_int_equal(ticket_parse(text, 0, &t, &made_s), 0);
}

static void the_last_full_handshake_is_not_forgotten(void **state)
{
	static const struct {
		int64_t age_s, away_s, age_then_s; /* then: -1: too old */
	} rows[] = {
		{ 0, 0, 0 },
		{ 5, 7, 12 },
		{ LINK_FULL_S - 60, 59, LINK_FULL_S - 1 },
		{ LINK_FULL_S - 60, 60, -1 },
		{ LINK_FULL_S, 0, -1 },
		{ 50000, -NOW_S, 50000 }, /* the clock starts in the past */
		{ LINK_FULL_S, -NOW_S, -1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(strbuf_done) struct strbuf b = { 0 };
		struct link_ticket t = sample, got;
		int64_t made_s;

		t.full_ns = clock_mono_ns() - rows[i].age_s * NS_PER_S;
		ticket_text(&t, NOW_S, &b);
		clock_warp(-clock_mono_ns() / 2); /* another boot */
		assert_int_equal(ticket_parse((struct str){ b.ptr, b.len }, NOW_S + rows[i].away_s,
					      &got, &made_s),
				 rows[i].age_then_s < 0 ? -ESTALE : 0);
		if (rows[i].age_then_s >= 0)
			assert_int_equal(got.full_ns, clock_mono_ns() - rows[i].age_then_s * NS_PER_S);
	}
}

static void what_is_as_good_is_not_stored(void **state)
{
	struct ticket_file f = { 0 };
	struct link_ticket t = sample;

	t.resumed = true;
	assert_true(ticket_is_due(&f, &t, NOW_S));
	f.is_there = true;
	f.made_s = NOW_S;
	memcpy(f.binding, t.binding, sizeof(f.binding));
	assert_false(ticket_is_due(&f, &t, NOW_S));
	assert_false(ticket_is_due(&f, &t, NOW_S + TICKET_FRESH_S - 1));
	assert_true(ticket_is_due(&f, &t, NOW_S + TICKET_FRESH_S));
	t.resumed = false; /* the hub did not take the stored one */
	assert_true(ticket_is_due(&f, &t, NOW_S));
	t.resumed = true;
	t.binding[0]++;
	assert_true(ticket_is_due(&f, &t, NOW_S));
}

/* ---- the file ---- */

static struct node node;

static int setup(void **state)
{
	memset(&node, 0, sizeof(node));
	(void)snprintf(node.cfg.state_dir, sizeof(node.cfg.state_dir), "/tmp/demarc-ticket-XXXXXX");
	assert_non_null(mkdtemp(node.cfg.state_dir));
	clock_freeze(1000 * NS_PER_S, NOW_S * 1000000LL);
	*state = &node;
	return 0;
}

static int teardown(void **state)
{
	return tree_remove(node.cfg.state_dir, NULL);
}

static const char *path(void)
{
	static char text[sizeof(node.cfg.state_dir) + 16];

	(void)snprintf(text, sizeof(text), "%s/ticket", node.cfg.state_dir);
	return text;
}

static bool stored(struct str session)
{
	CLEANUP(free_charp) char *text = NULL;
	struct link_ticket t;
	struct node other = { 0 }; /* the next process */

	memcpy(other.cfg.state_dir, node.cfg.state_dir, sizeof(other.cfg.state_dir));
	return ticket_read(&other, &text, &t) && str_eq(t.session, session) && other.ticket.is_there;
}

static void a_flood_of_tickets_is_a_write_in_ten_minutes(void **state)
{
	struct link_ticket t = sample;
	struct stat st;

	ticket_came(&node, &t);
	assert_true(stored(sample.session));
	assert_int_equal(stat(path(), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	t.session = STR("another one");
	for (int i = 1; i < TICKET_PAUSE_S; i++) {
		clock_warp(NS_PER_S);
		ticket_came(&node, &t);
		ticket_tick(&node);
	}
	assert_true(stored(sample.session) && node.ticket.waits);
	clock_warp(NS_PER_S);
	ticket_came(&node, &t);
	assert_true(stored(t.session) && !node.ticket.waits);
}

static void damaged_ones_are_as_none(void **state)
{
	CLEANUP(free_charp) char *text = NULL;
	static char large[TICKET_TEXT_MAX + 1];
	const struct str bad[] = { STR(""),
				   STR("demarc-ticket 1"),
				   STR("demarc-ticket 1 1 00 00\nx"),
				   { large, sizeof(large) } };
	struct link_ticket t;

	memset(large, 'x', sizeof(large));
	assert_false(ticket_read(&node, &text, &t));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(file_write_atomic(path(), 0600, bad[i], NULL), 0);
		assert_false(ticket_read(&node, &text, &t));
		assert_true(!text && !node.ticket.is_there);
	}
	ticket_came(&node, &sample);
	assert_true(stored(sample.session));
}

static void no_place_to_write_is_no_error(void **state)
{
	assert_int_equal(mkdir(path(), 0700), 0); /* where the file would be */
	ticket_came(&node, &sample);
	assert_false(node.ticket.is_there);
	assert_int_equal(rmdir(path()), 0);
	clock_warp(TICKET_PAUSE_S * NS_PER_S);
	ticket_came(&node, &sample);
	assert_true(stored(sample.session));
}

static int freeze(void **state)
{
	clock_freeze(1000 * NS_PER_S, NOW_S * 1000000LL);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_stored_is_read),
		cmocka_unit_test(no_damaged_byte_goes_unseen),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(old_ones_are_of_no_use),
		cmocka_unit_test(the_last_full_handshake_is_not_forgotten),
		cmocka_unit_test(what_is_as_good_is_not_stored),
		cmocka_unit_test_setup_teardown(a_flood_of_tickets_is_a_write_in_ten_minutes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(damaged_ones_are_as_none, setup, teardown),
		cmocka_unit_test_setup_teardown(no_place_to_write_is_no_error, setup, teardown),
	};

	return cmocka_run_group_tests_name("node-ticket", tests, freeze, NULL);
}
