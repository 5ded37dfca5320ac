/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/sizing.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

/* ---- reports ---- */

#define FIGURES                                                                                         \
	"'steady_s': 2.5, 'bare_handshakes_s': 2, 'bare_ratio': 1.25, 'hub_cpu_s': 3, 'sim_cpu_s': 4, " \
	"'show_p99_ms': 42.5, 'show_failed': 0, 'changes': 90, 'changes_failed': 0, 'lost': 1, "        \
	"'not_steady': 2, 'refused': 3, 'returns': 120, 'resumed': 90"
#define POINTS                                                                                         \
	"'points': [{'t_s': 0, 'steady': 40, 'hub_mb': 20}, {'t_s': 1, 'steady': 100, 'hub_mb': 60}, " \
	"{'t_s': 2, 'steady': 100, 'hub_mb': 50}]"

/* Texts are written with ' for ". */
static int read_text(const char *text, struct sizing_report *r, struct err *e)
{
	char json[2048];

	assert_int_equal(str_copy(json, sizeof(json), str_of(text)), 0);
	for (char *p = json; *p; p++)
		if (*p == '\'')
			*p = '"';
	return sizing_read(str_of(json), "storm", 100, r, e);
}

static void test_a_report_is_read(void **state)
{
	struct sizing_report r;
	struct err e = { 0 };

	assert_int_equal(read_text("{'scenario': 'storm', 'nodes': 100.0, 'interrupted': false, " FIGURES
				   ", " POINTS ", 'of_later': [1]}",
				   &r, &e),
			 0);
	assert_true(r.steady_s == 2.5 && r.ratio == 1.25 && r.show_p99_ms == 42.5 && r.changes == 90);
	assert_true(r.lost == 6); /* changes, nodes and intents */
	assert_true(r.up_s == 1 && r.peak_mb == 60 && r.returns == 120 && r.resumed == 90);
	assert_false(r.interrupted);
}

static void test_what_was_not_measured_is_not_a_number(void **state)
{
	struct sizing_report r;
	struct err e = { 0 };

	assert_int_equal(
		read_text("{'scenario': 'storm', 'nodes': 100, 'interrupted': true, 'steady_s': null, "
			  "'bare_handshakes_s': null, 'bare_ratio': null, 'hub_cpu_s': 3, 'sim_cpu_s': 4, "
			  "'show_p99_ms': null, 'show_failed': 0, 'changes': 0, 'changes_failed': 0, "
			  "'lost': 0, 'not_steady': 60, 'refused': 0, 'returns': null, 'resumed': null, "
			  "'points': []}",
			  &r, &e),
		0);
	assert_true(isnan(r.steady_s) && isnan(r.ratio) && isnan(r.show_p99_ms));
	assert_true(isnan(r.up_s) && isnan(r.peak_mb));
	assert_true(r.interrupted && r.lost == 60);
}

static void test_hostile_reports_are_refused(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ "", "JSON" },
		{ "{", "line 1" },
		{ "[]", "scenario" },
		{ "7", "scenario" },
		{ "{'scenario': 'storm', 'scenario': 'storm'}", "duplicate" },
		{ "{'scenario': 7}", "scenario" },
		{ "{'scenario': 'storm'}", "nodes" },
		{ "{'scenario': 'ramp', 'nodes': 100, " FIGURES ", " POINTS "}", "not of storm" },
		{ "{'scenario': 'storm', 'nodes': 99, " FIGURES ", " POINTS "}", "not of storm" },
		{ "{'scenario': 'storm', 'nodes': null, " FIGURES ", " POINTS "}", "not of storm" },
		{ "{'scenario': 'storm', 'nodes': '100', " FIGURES ", " POINTS "}", "nodes" },
		{ "{'scenario': 'storm', 'nodes': 100, 'steady_s': 1, " POINTS "}", "bare_handshakes_s" },
		{ "{'scenario': 'storm', 'nodes': 100, " FIGURES "}", "points" },
		{ "{'scenario': 'storm', 'nodes': 100, " FIGURES ", 'points': {}}", "points" },
		{ "{'scenario': 'storm', 'nodes': 100, " FIGURES ", 'points': [7]}", "t_s" },
		{ "{'scenario': 'storm', 'nodes': 100, " FIGURES
		  ", 'points': [{'t_s': -1, 'steady': 1, 'hub_mb': 1}]}",
		  "t_s" },
		{ "{'scenario': 'storm', 'nodes': 100, " FIGURES
		  ", 'points': [{'t_s': 1, 'steady': 1, 'hub_mb': 1e300}]}",
		  "hub_mb" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sizing_report r;
		struct err e = { 0 };

		assert_true(read_text(rows[i].text, &r, &e) < 0);
		if (!strstr(e.msg, rows[i].says))
			fail_msg("%s: %s", rows[i].text, e.msg);
	}
}

/* ---- one rung ---- */

static const struct sizing_goal goal = {
	.allowed = { [BY_STORM] = 60, [BY_API] = 100, [BY_CHANGES] = 90, [BY_CPU] = 50, [BY_MEMORY] = 80, [BY_FILES] = 19488 },
	.factor = 1.5,
	.churn = 10,
	.n_cpus = 2,
	.memory_mb = 1000,
};
static const struct sizing_report good_steady = { .up_s = 3,
						  .steady_s = NAN,
						  .bare_s = NAN,
						  .ratio = NAN,
						  .hub_cpu_s = 6,
						  .sim_cpu_s = 3,
						  .peak_mb = 100,
						  .show_p99_ms = 5,
						  .changes = 295 },
				  good_storm = { .up_s = 3,
						 .steady_s = 4,
						 .bare_s = 2,
						 .ratio = 2,
						 .peak_mb = 200,
						 .show_p99_ms = 40 };

static unsigned failed_of(const struct sizing_report *steady, const struct sizing_report *storm,
			  const struct sizing_report *kill)
{
	struct sizing_rung r;

	sizing_rung(&goal, 1000, 30, steady, storm, kill, &r);
	return r.failed;
}

static void test_a_rung_is_measured_in_shares_of_the_machine(void **state)
{
	struct sizing_rung r;

	sizing_rung(&goal, 1000, 30, &good_steady, &good_storm, NULL, &r);
	assert_int_equal(r.failed, 0);
	assert_true(fabs(r.value[BY_CPU] - 10) < 1e-9 && fabs(r.sim_percent - 5) < 1e-9);
	assert_true(fabs(r.value[BY_MEMORY] - 20) < 1e-9 && r.value[BY_API] == 40);
	assert_true(fabs(r.value[BY_CHANGES] - 295.0 / 3) < 1e-9);
	assert_true(isnan(r.kill_s));
}

static void test_each_criterion_fails_by_itself(void **state)
{
	struct sizing_report steady = good_steady, storm = good_storm, kill = good_storm;

	steady.lost = 1;
	assert_int_equal(failed_of(&steady, &storm, NULL), 1u << BY_LOST);
	steady = good_steady;
	steady.changes_failed = 1;
	assert_int_equal(failed_of(&steady, &storm, NULL), 1u << BY_FAILED);
	steady = good_steady;
	steady.changes = 269;
	assert_int_equal(failed_of(&steady, &storm, NULL), 1u << BY_CHANGES);
	steady = good_steady;
	steady.hub_cpu_s = 31;
	assert_int_equal(failed_of(&steady, &storm, NULL), 1u << BY_CPU);
	steady = good_steady;
	storm.show_p99_ms = 101;
	assert_int_equal(failed_of(&steady, &storm, NULL), 1u << BY_API);
	storm = good_storm;
	storm.peak_mb = 801;
	assert_int_equal(failed_of(&steady, &storm, NULL), 1u << BY_MEMORY);
	storm = good_storm;
	kill.show_failed = 7; /* there was no hub */
	assert_int_equal(failed_of(&steady, &storm, &kill), 0);
	kill.lost = 1;
	assert_int_equal(failed_of(&steady, &storm, &kill), 1u << BY_LOST);
}

static void test_a_storm_is_in_time_by_seconds_or_by_handshakes(void **state)
{
	struct sizing_report storm = good_storm, kill = good_storm;

	storm.steady_s = 61;
	assert_int_equal(failed_of(&good_steady, &storm, NULL), 1u << BY_STORM);
	storm.ratio = 1.5;
	assert_int_equal(failed_of(&good_steady, &storm, NULL), 0);
	storm.steady_s = -1; /* never, and the ratio is of that */
	storm.ratio = -0.5;
	assert_int_equal(failed_of(&good_steady, &storm, NULL), 1u << BY_STORM);
	storm.steady_s = NAN;
	assert_int_equal(failed_of(&good_steady, &storm, NULL), 1u << BY_STORM);
	kill.steady_s = 61; /* 30 times the 2 s of the storm's handshakes */
	assert_int_equal(failed_of(&good_steady, &good_storm, &kill), 1u << BY_STORM);
}

static void test_what_was_not_measured_meets_nothing(void **state)
{
	struct sizing_report steady = good_steady, storm = good_storm;

	steady.show_p99_ms = NAN; /* one of both is enough */
	assert_int_equal(failed_of(&steady, &storm, NULL), 0);
	storm.show_p99_ms = NAN;
	assert_int_equal(failed_of(&steady, &storm, NULL), 1u << BY_API);
}

/* ---- all rungs ---- */

static struct sizing_rung rung(double nodes, double storm, double cpu, double memory, unsigned failed)
{
	struct sizing_rung r = { .nodes = nodes, .storm_s = storm, .ratio = 2, .failed = failed };

	r.value[BY_STORM] = storm;
	r.value[BY_CPU] = cpu;
	r.value[BY_MEMORY] = memory;
	r.value[BY_API] = 10;
	return r;
}

static void test_lines_are_drawn_through_the_rungs(void **state)
{
	/* CPU: 5 + n / 1000: 50 at 45,000. Storm: n / 500: 60 at 30,000. Memory: 2 + n / 1000: 80 at 78,000. */
	const struct sizing_rung rungs[] = { rung(5000, 10, 10, 7, 0), rung(10000, 20, 15, 12, 0) };
	struct sizing s;

	sizing_of(&goal, rungs, 2, &s);
	assert_true(fabs(s.limits[BY_STORM].nodes - 30000) < 2 && s.limits[BY_STORM].estimated);
	assert_true(s.limits[BY_CPU].nodes == 40000 && s.limits[BY_CPU].beyond);
	assert_true(s.limits[BY_MEMORY].nodes == 40000 && s.limits[BY_MEMORY].beyond);
	assert_true(isinf(s.limits[BY_API].nodes) && isinf(s.limits[BY_LOST].nodes));
	assert_true(s.limits[BY_FILES].nodes == 19488 && !s.limits[BY_FILES].estimated);
	assert_int_equal(s.by, BY_FILES);
	assert_false(s.is_met);
	assert_true(s.nodes == 10000); /* what was tried, and not what is estimated */
}

static void test_one_rung_is_proportional(void **state)
{
	const struct sizing_rung one = rung(10000, 30, 20, 40, 0);
	struct sizing s;

	sizing_of(&goal, &one, 1, &s);
	assert_true(s.limits[BY_STORM].nodes == 20000 && s.limits[BY_CPU].nodes == 25000 &&
		    s.limits[BY_MEMORY].nodes == 20000);
}

static void test_what_does_not_grow_is_proportional_to_the_last(void **state)
{
	const struct sizing_rung rungs[] = { rung(5000, 10, 30, 7, 0), rung(10000, 20, 25, 12, 0) };
	struct sizing s;

	sizing_of(&goal, rungs, 2, &s);
	assert_true(s.limits[BY_CPU].nodes == 20000);
}

static void test_an_estimate_is_not_below_what_passed(void **state)
{
	/* A line through the three crosses 60 s below the last rung, which passed. */
	const struct sizing_rung rungs[] = { rung(1000, 55, 1, 1, 0), rung(2000, 70, 1, 1, 0),
					     rung(3000, 60, 1, 1, 0) };
	struct sizing s;

	sizing_of(&goal, rungs, 3, &s);
	assert_true(s.limits[BY_STORM].nodes == 3000);
}

static void test_a_storm_at_the_pace_of_handshakes_is_no_limit(void **state)
{
	struct sizing_rung one = rung(10000, 55, 1, 1, 0);
	struct sizing s;

	one.ratio = 1.2;
	sizing_of(&goal, &one, 1, &s);
	assert_true(isinf(s.limits[BY_STORM].nodes));
}

static void test_nothing_is_in_sight_of_small_rungs(void **state)
{
	const struct sizing_rung rungs[] = { rung(50, 0.1, 1, 1, 0), rung(100, 0.2, 1.1, 1.1, 0) };
	struct sizing s;

	sizing_of(&goal, rungs, 2, &s);
	assert_int_equal(s.by, -1); /* 19488 is farther than the rungs say anything about */
	assert_true(s.nodes == 100 && s.tried == 100);
}

static void test_a_failed_rung_limits(void **state)
{
	struct sizing_rung rungs[] = { rung(5000, 20, 10, 7, 0),
				       rung(10000, 100, 15, 12, 1u << BY_STORM) };
	struct sizing s;

	sizing_of(&goal, rungs, 2, &s);
	assert_true(s.is_met && s.nodes == 5000 && s.tried == 10000);
	assert_int_equal(s.by, BY_STORM);
	assert_true(fabs(s.limits[BY_STORM].nodes - 7500) < 1);
	/* A step says nothing about what is between. */
	rungs[1] = rung(10000, 30, 15, 12, 1u << BY_API);
	rungs[1].value[BY_API] = 138;
	sizing_of(&goal, rungs, 2, &s);
	assert_int_equal(s.by, BY_API);
	assert_true(s.limits[BY_API].nodes == 5000);
	/* Nor does a storm that never ended. */
	rungs[1] = rung(10000, -1, 15, 12, 1u << BY_STORM);
	sizing_of(&goal, rungs, 2, &s);
	assert_true(s.by == BY_STORM && s.limits[BY_STORM].nodes == 5000);
}

static void test_descriptors_limit_a_rung_that_was_not_run(void **state)
{
	struct sizing_rung rungs[] = { rung(15000, 20, 10, 7, 0),
				       rung(20000, NAN, NAN, NAN, 1u << BY_FILES) };
	struct sizing s;

	sizing_of(&goal, rungs, 2, &s);
	assert_true(s.by == BY_FILES && s.is_met && s.limits[BY_FILES].nodes == 19488);
	assert_true(s.nodes == 15000);
	assert_true(isinf(s.limits[BY_STORM].nodes) || s.limits[BY_STORM].nodes > 0);
}

static void test_the_first_rung_may_fail_and_there_may_be_none(void **state)
{
	const struct sizing_rung one = rung(500, 90, 10, 7, 1u << BY_STORM);
	struct sizing s;

	sizing_of(&goal, &one, 1, &s);
	assert_true(s.nodes == 0 && s.by == BY_STORM && s.is_met);
	sizing_of(&goal, NULL, 0, &s);
	assert_true(s.nodes == 0 && s.tried == 0 && s.by == -1 && !s.is_met);
}

/* ---- the ladder ---- */

static void test_rungs_are_rising_numbers(void **state)
{
	static const char *const bad[] = { "",
					   "0",
					   "500,",
					   "500,400",
					   "500,500",
					   "many",
					   "1,2,,3",
					   "200001",
					   "-5",
					   "1;2",
					   ("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,"
					    "27,28,29,30,31,32,33") };
	unsigned r[SIZING_RUNGS_MAX];
	struct err e = { 0 };
	size_t n = 0;

	assert_int_equal(sizing_rungs_parse(STR("50, 100,20000"), 200000, r, &n, &e), 0);
	assert_true(n == 3 && r[0] == 50 && r[1] == 100 && r[2] == 20000);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (sizing_rungs_parse(str_of(bad[i]), 200000, r, &n, &e) == 0)
			fail_msg("\"%s\" was taken", bad[i]);
		assert_string_equal(e.field, "rungs");
	}
}

static void test_the_ladder_ends_with_the_most(void **state)
{
	unsigned r[SIZING_RUNGS_MAX];

	assert_int_equal(sizing_ladder(15000, r), 6);
	assert_true(r[0] == 500 && r[4] == 10000 && r[5] == 15000);
	assert_int_equal(sizing_ladder(1200, r), 3);
	assert_true(r[1] == 1000 && r[2] == 1200);
	assert_int_equal(sizing_ladder(10, r), 1);
	assert_true(r[0] == 10);
	assert_int_equal(sizing_ladder(200000, r), 11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_report_is_read),
		cmocka_unit_test(test_what_was_not_measured_is_not_a_number),
		cmocka_unit_test(test_hostile_reports_are_refused),
		cmocka_unit_test(test_a_rung_is_measured_in_shares_of_the_machine),
		cmocka_unit_test(test_each_criterion_fails_by_itself),
		cmocka_unit_test(test_a_storm_is_in_time_by_seconds_or_by_handshakes),
		cmocka_unit_test(test_what_was_not_measured_meets_nothing),
		cmocka_unit_test(test_lines_are_drawn_through_the_rungs),
		cmocka_unit_test(test_one_rung_is_proportional),
		cmocka_unit_test(test_what_does_not_grow_is_proportional_to_the_last),
		cmocka_unit_test(test_an_estimate_is_not_below_what_passed),
		cmocka_unit_test(test_a_storm_at_the_pace_of_handshakes_is_no_limit),
		cmocka_unit_test(test_nothing_is_in_sight_of_small_rungs),
		cmocka_unit_test(test_a_failed_rung_limits),
		cmocka_unit_test(test_descriptors_limit_a_rung_that_was_not_run),
		cmocka_unit_test(test_the_first_rung_may_fail_and_there_may_be_none),
		cmocka_unit_test(test_rungs_are_rising_numbers),
		cmocka_unit_test(test_the_ladder_ends_with_the_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
