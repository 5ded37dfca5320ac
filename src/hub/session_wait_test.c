/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/frame.h"

/* Reports while the disk is full: what waits, in which order, and with which numbers it is acknowledged. */

#define JOBS 4
#define BYTES 1000

static int setup(void **state)
{
	struct store_waiting *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->n_max = JOBS;
	w->bytes_max = BYTES;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	for (struct job *j = store_wait_take(*state), *next; j; j = next) {
		next = j->next;
		job_free(j);
	}
	free(*state);
	return 0;
}

static struct job *report(uint64_t session, uint64_t seq, bool figures, size_t size)
{
	struct job *j = job_new(JOB_REPORT, session * HTTP_FRONTS_MAX, "node");
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__Report r = DEMARC__V1__REPORT__INIT;
	Demarc__V1__Event event = DEMARC__V1__EVENT__INIT, *events[] = { &event };
	uint8_t bytes[64];

	assert_non_null(j);
	r.seq = seq;
	r.events = events;
	r.n_events = figures ? 0 : 1;
	f.body_case = DEMARC__V1__FRAME__BODY_REPORT;
	f.report = &r;
	size_t n = demarc__v1__frame__pack(&f, bytes);
	j->frame = demarc__v1__frame__unpack(NULL, n, bytes);
	assert_non_null(j->frame);
	j->n_bytes = size;
	return j;
}

static void expect(struct store_waiting *w, struct job *j, enum wait_what what)
{
	assert_int_equal(store_wait(w, j), what);
	if (what != WAIT_KEPT)
		job_free(j);
}

/* "1:7 2:3+5": session and number, and the number that it is acknowledged with. Takes all. */
static void expect_order(struct store_waiting *w, const char *order)
{
	char said[256] = "";

	for (struct job *j = store_wait_take(w), *next; j; j = next) {
		size_t len = strlen(said);

		next = j->next;
		(void)snprintf(said + len, sizeof(said) - len, "%s%u:%u", len ? " " : "",
			       (unsigned)(j->serial / HTTP_FRONTS_MAX),
			       j->frame ? (unsigned)j->frame->report->seq : 0);
		len = strlen(said);
		if (j->ack_seq)
			(void)snprintf(said + len, sizeof(said) - len, "+%u", (unsigned)j->ack_seq);
		job_free(j);
	}
	assert_string_equal(said, order);
	assert_int_equal(w->n, 0);
	assert_int_equal(w->bytes, 0);
}

static void of_figures_the_newest_wait(void **state)
{
	struct store_waiting *w = *state;

	expect(w, report(1, 1, true, 10), WAIT_KEPT);
	for (unsigned seq = 2; seq < 1000; seq++)
		expect(w, report(1, seq, true, 20), WAIT_MERGED);
	assert_int_equal(w->bytes, 20);
	/* Another session's, in whatever bucket. */
	expect(w, report(1 + WAIT_BUCKETS, 3, true, 10), WAIT_KEPT);
	expect(w, report(2, 4, true, 10), WAIT_KEPT);
	expect_order(w, "1:999 4097:3 2:4");
}

/* The store takes no report that is older than one it has: figures do not overtake what happened before them. */
static void numbers_stay_in_order(void **state)
{
	struct store_waiting *w = *state;

	expect(w, report(1, 1, true, 10), WAIT_KEPT);
	expect(w, report(1, 2, false, 10), WAIT_KEPT);
	expect(w, report(1, 3, true, 10), WAIT_KEPT);
	expect(w, report(1, 4, true, 10), WAIT_MERGED);
	expect_order(w, "1:1 1:2 1:4");
}

static void figures_are_given_up_first(void **state)
{
	struct store_waiting *w = *state;

	for (unsigned i = 1; i <= JOBS; i++)
		expect(w, report(i, 7, false, 10), WAIT_KEPT);
	/* Acknowledged with what waits before, and else at once: the node must not wait for a word that never comes. */
	expect(w, report(2, 8, true, 10), WAIT_MERGED);
	expect(w, report(2, 9, true, 10), WAIT_MERGED);
	expect(w, report(9, 5, true, 10), WAIT_PASSED);
	expect(w, report(2, 10, false, 10), WAIT_REFUSED);
	expect_order(w, "1:7 2:7+9 3:7 4:7");
	expect(w, report(9, 6, true, 10), WAIT_KEPT);
}

static void bytes_are_bounded_too(void **state)
{
	struct store_waiting *w = *state;

	expect(w, report(1, 1, true, 600), WAIT_KEPT);
	expect(w, report(2, 1, false, 401), WAIT_REFUSED);
	expect(w, report(2, 1, false, 400), WAIT_KEPT);
	expect(w, report(1, 2, true, 601), WAIT_MERGED); /* acknowledged with the older one */
	expect(w, report(1, 3, true, 500), WAIT_MERGED);
	assert_int_equal(w->bytes, 900);
	expect_order(w, "1:3+2 2:1");
}

static void acknowledgements_wait_among_them(void **state)
{
	struct store_waiting *w = *state;

	expect(w, report(1, 1, true, 10), WAIT_KEPT);
	expect(w, job_new(JOB_ACK, HTTP_FRONTS_MAX, "node"), WAIT_KEPT);
	expect(w, report(1, 2, true, 10), WAIT_MERGED);
	expect_order(w, "1:2 1:0");
}

static struct job *hello(uint64_t session, int64_t until_ns)
{
	struct job *j = job_new(JOB_HELLO, session, "node");

	assert_non_null(j);
	j->until_ns = until_ns;
	return j;
}

/* A node that was sent away says hello again: what it said before costs the store nothing. */
static void hellos_that_nobody_waits_for_are_dropped(void **state)
{
	struct job *rows[] = { hello(1, 100), report(2, 1, true, 10), hello(3, 101), hello(4, 0),
			       hello(5, 1) };
	struct job *j = rows[0];

	clock_freeze(100, 0);
	for (size_t i = 0; i + 1 < ARRAY_LEN(rows); i++)
		rows[i]->next = rows[i + 1];
	j = jobs_drop_late(j);
	assert_ptr_equal(j, rows[1]);
	assert_ptr_equal(j->next, rows[2]);
	assert_ptr_equal(j->next->next, rows[3]);
	assert_null(j->next->next->next);
	for (struct job *next; j; j = next) {
		next = j->next;
		job_free(j);
	}
	assert_null(jobs_drop_late(NULL));
	assert_null(jobs_drop_late(hello(6, 99)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(of_figures_the_newest_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers_stay_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(figures_are_given_up_first, setup, teardown),
		cmocka_unit_test_setup_teardown(bytes_are_bounded_too, setup, teardown),
		cmocka_unit_test_setup_teardown(acknowledgements_wait_among_them, setup, teardown),
		cmocka_unit_test(hellos_that_nobody_waits_for_are_dropped),
	};

	return cmocka_run_group_tests_name("hub-session-wait", tests, NULL, NULL);
}
