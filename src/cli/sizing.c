/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/sizing.h"

#include <math.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"

#define NUMBER_MAX 1e12 /* of a report: what is more is damaged */

const struct sizing_row sizing_rows[BY_COUNT] = {
#define X(name, option, dflt, unit, text) [BY_##name] = { option, unit, text, dflt },
	SIZING_TABLE(X)
#undef X
};

/* ---- demarc-sim's report ---- */

/* null is "not measured"; a member that is missing is a report of something else. */
static int number(const json_t *obj, const char *key, double least, double *ret, struct err *e)
{
	const json_t *v = json_object_get(obj, key);

	if (!v)
		return err_set(e, FAULT_BAD_REQUEST, key,
			       "'%s' is missing in the simulator's report", key);
	*ret = json_is_null(v) ? NAN : json_number_value(v);
	if (json_is_null(v))
		return 0;
	if (json_is_number(v) && *ret >= least && *ret <= NUMBER_MAX)
		return 0;
	return err_set(e, FAULT_BAD_REQUEST, key,
		       "'%s' of the simulator's report must be a number from %.0f on", key, least);
}

/* When all were steady for the first time, and the most memory that the hub had. */
static int read_points(const json_t *j, unsigned nodes, struct sizing_report *r, struct err *e)
{
	json_t *points = NULL;
	int rc = json_need_list(j, "points", &points, e);

	if (rc == 0 && json_array_size(points) > SIZING_POINTS_MAX)
		return err_set(e, FAULT_TOO_LARGE, "points", "more than %u points in a report",
			       SIZING_POINTS_MAX);
	for (size_t i = 0; rc == 0 && i < json_array_size(points); i++) {
		const json_t *p = json_array_get(points, i);
		double t = 0, steady = 0, mb = 0;

		rc = number(p, "t_s", 0, &t, e);
		if (rc == 0)
			rc = number(p, "steady", 0, &steady, e);
		if (rc == 0)
			rc = number(p, "hub_mb", 0, &mb, e);
		r->peak_mb = fmax(r->peak_mb, mb);
		if (isnan(r->up_s) && steady >= nodes)
			r->up_s = t;
	}
	return rc;
}

static int read_numbers(const json_t *j, struct sizing_report *r, struct err *e)
{
	double lost = 0, not_steady = 0, refused = 0;
	const struct {
		const char *key;
		double *to, least;
	} rows[] = {
		{ "steady_s", &r->steady_s, -1 },
		{ "bare_handshakes_s", &r->bare_s, 0 },
		{ "bare_ratio", &r->ratio, -NUMBER_MAX }, /* of a storm that did not end, it is negative */
		{ "hub_cpu_s", &r->hub_cpu_s, 0 },
		{ "sim_cpu_s", &r->sim_cpu_s, 0 },
		{ "show_p99_ms", &r->show_p99_ms, 0 },
		{ "show_failed", &r->show_failed, 0 },
		{ "changes", &r->changes, 0 },
		{ "changes_failed", &r->changes_failed, 0 },
		{ "returns", &r->returns, 0 },
		{ "resumed", &r->resumed, 0 },
		{ "lost", &lost, 0 },
		{ "not_steady", &not_steady, 0 },
		{ "refused", &refused, 0 },
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(rows); i++)
		rc = number(j, rows[i].key, rows[i].least, rows[i].to, e);
	r->lost = lost + not_steady + refused;
	return rc;
}

int sizing_read(struct str text, const char *scenario, unsigned nodes, struct sizing_report *ret,
		struct err *e)
{
	CLEANUP(json_freep) json_t *j = NULL;
	const char *of = NULL;
	double n = 0;
	int rc = json_parse(text, &j, e);

	*ret = (struct sizing_report){ .up_s = NAN, .peak_mb = NAN };
	if (rc < 0)
		return err_wrap(e, "the simulator's report");
	rc = json_need_str(j, "scenario", &of, e);
	if (rc == 0)
		rc = number(j, "nodes", 0, &n, e);
	if (rc < 0)
		return rc;
	if (!str_eq_c(str_of(of), scenario) || n != nodes)
		return err_set(e, FAULT_BAD_REQUEST, "scenario",
			       "the simulator's report is not of %s with %u nodes", scenario, nodes);
	ret->interrupted = json_bool(j, "interrupted", false);
	rc = read_numbers(j, ret, e);
	return rc < 0 ? rc : read_points(j, nodes, ret, e);
}

/* ---- one rung ---- */

static bool in_time(const struct sizing_goal *g, double seconds, double ratio)
{
	return seconds >= 0 && (seconds <= g->allowed[BY_STORM] || (ratio > 0 && ratio <= g->factor));
}

static bool meets(const struct sizing_goal *g, const struct sizing_rung *r, enum sizing_by by)
{
	double v = r->value[by], allowed = g->allowed[by];

	switch (by) {
	case BY_STORM:
		return in_time(g, r->storm_s, r->ratio);
	case BY_CHANGES:
		return g->churn <= 0 || v >= allowed;
	case BY_LOST:
	case BY_FAILED:
	case BY_API:
	case BY_CPU:
	case BY_MEMORY:
	case BY_FILES:
	case BY_COUNT:
		break;
	}
	return v <= allowed; /* never of what was not measured */
}

void sizing_rung(const struct sizing_goal *g, unsigned nodes, double seconds,
		 const struct sizing_report *steady, const struct sizing_report *storm,
		 const struct sizing_report *kill, struct sizing_rung *r)
{
	double kill_mb = kill ? kill->peak_mb : NAN;

	*r = (struct sizing_rung){ .nodes = nodes,
				   .up_s = steady->up_s,
				   .storm_s = storm->steady_s,
				   .ratio = storm->ratio,
				   .resumed_percent = 100 * storm->resumed / storm->returns,
				   .kill_s = kill ? kill->steady_s : NAN };
	r->sim_percent = 100 * steady->sim_cpu_s / seconds / g->n_cpus;
	r->value[BY_LOST] = steady->lost + storm->lost + (kill ? kill->lost : 0);
	/* While there is no hub, requests fail: those of a killed hub do not count. */
	r->value[BY_FAILED] = steady->show_failed + steady->changes_failed + storm->show_failed +
			      storm->changes_failed;
	r->value[BY_STORM] = storm->steady_s;
	r->value[BY_API] = fmax(steady->show_p99_ms, storm->show_p99_ms);
	r->value[BY_CHANGES] = g->churn > 0 ? 100 * steady->changes / seconds / g->churn : NAN;
	r->value[BY_CPU] = 100 * steady->hub_cpu_s / seconds / g->n_cpus;
	r->value[BY_MEMORY] = 100 * fmax(fmax(steady->peak_mb, storm->peak_mb), kill_mb) / g->memory_mb;
	r->value[BY_FILES] = nodes;
	for (int by = 0; by < BY_COUNT; by++)
		r->failed |= meets(g, r, (enum sizing_by)by) ? 0 : 1u << by;
	/* The return to a killed hub is a storm, too, and has the storm's handshakes to compare with. */
	if (kill && !in_time(g, kill->steady_s, kill->steady_s / storm->bare_s)) {
		r->failed |= 1u << BY_STORM;
		r->value[BY_STORM] = kill->steady_s;
	}
}

/* ---- all rungs ---- */

struct line {
	double a, b; /* value = a + b * nodes */
};

/* Least squares. A value that does not grow is taken as proportional: what costs nothing more was hidden by noise. */
static struct line line_of(const struct sizing_rung *rungs, size_t n, enum sizing_by by)
{
	double k = 0, sx = 0, sy = 0, sxx = 0, sxy = 0, d;
	struct line l = { 0 };

	for (size_t i = 0; i < n; i++) {
		double x = rungs[i].nodes, y = rungs[i].value[by];

		if (isnan(y) || y < 0)
			continue;
		k++;
		sx += x;
		sy += y;
		sxx += x * x;
		sxy += x * y;
		l.b = y / x; /* of the last one */
	}
	d = k * sxx - sx * sx;
	if (k >= 2 && d > 0 && k * sxy - sx * sy > 0) {
		l.b = (k * sxy - sx * sy) / d;
		l.a = (sy - l.b * sx) / k;
	}
	return l;
}

static bool is_gradual(enum sizing_by by)
{
	return by == BY_STORM || by == BY_CPU || by == BY_MEMORY;
}

/* Where a criterion that no rung failed would be failed. */
static struct sizing_limit extrapolate(const struct sizing_goal *g, const struct sizing_rung *rungs,
				       size_t n, enum sizing_by by)
{
	struct sizing_limit none = { .nodes = INFINITY }, l = { .estimated = true };
	const struct sizing_rung *last = &rungs[n - 1];
	struct line line = line_of(rungs, n, by);

	/* A storm at the pace of bare handshakes stays so, whatever it takes. */
	if (!(line.b > 0) || (by == BY_STORM && last->ratio > 0 && last->ratio <= g->factor))
		return none;
	l.nodes = fmax(floor((g->allowed[by] - line.a) / line.b), last->nodes);
	if (l.nodes > SIZING_REACH * last->nodes) {
		l.nodes = SIZING_REACH * last->nodes;
		l.beyond = true;
	}
	return l;
}

/* Between the last rung that met it and the one that did not. Steps (a p99, a loss) say nothing about what is between. */
static struct sizing_limit interpolate(const struct sizing_goal *g, const struct sizing_rung *rungs,
				       size_t n, enum sizing_by by)
{
	const struct sizing_rung *fail = &rungs[n - 1], *pass = n > 1 ? fail - 1 : NULL;
	struct sizing_limit l = { .nodes = pass ? pass->nodes : 0 };
	double low = pass ? pass->value[by] : 0, high = fail->value[by],
	       share = (g->allowed[by] - low) / (high - low);

	if (!is_gradual(by) || !(share > 0) || !(share < 1)) /* nor what was never reached */
		return l;
	l.nodes = floor(l.nodes + share * (fail->nodes - l.nodes));
	l.estimated = true;
	return l;
}

static struct sizing_limit limit_of(const struct sizing_goal *g, const struct sizing_rung *rungs,
				    size_t n, enum sizing_by by)
{
	if (by == BY_FILES)
		return (struct sizing_limit){ .nodes = g->allowed[by] };
	if (n && rungs[n - 1].failed & 1u << by)
		return interpolate(g, rungs, n, by);
	if (n && is_gradual(by))
		return extrapolate(g, rungs, n, by);
	return (struct sizing_limit){ .nodes = INFINITY };
}

/* The smallest; among those that the last rung failed, when it failed. */
static void choose(const struct sizing_rung *last, struct sizing *s)
{
	double reach = SIZING_REACH * s->tried;

	s->is_met = last && last->failed;
	for (int by = 0; by < BY_COUNT; by++) {
		const struct sizing_limit *l = &s->limits[by];
		bool counts = s->is_met ? (last->failed >> by & 1u) : !l->beyond && l->nodes <= reach;

		if (counts && (s->by < 0 || l->nodes < s->limits[s->by].nodes))
			s->by = by;
	}
}

void sizing_of(const struct sizing_goal *g, const struct sizing_rung *rungs, size_t n, struct sizing *ret)
{
	*ret = (struct sizing){ .by = -1 };
	for (size_t i = 0; i < n; i++) {
		ret->tried = rungs[i].nodes;
		if (!rungs[i].failed)
			ret->nodes = rungs[i].nodes;
	}
	for (int by = 0; by < BY_COUNT; by++)
		ret->limits[by] = limit_of(g, rungs, n, (enum sizing_by)by);
	choose(n ? &rungs[n - 1] : NULL, ret);
}

/* ---- the ladder ---- */

int sizing_rungs_parse(struct str text, unsigned max, unsigned *ret, size_t *ret_n, struct err *e)
{
	uint64_t n = 0, before = 0;

	*ret_n = 0;
	if (str_ends(text, STR(",")))
		text.len = 0; /* nothing comes after it */
	do {
		struct str word = str_cut(text, ',', &text);

		if (*ret_n == SIZING_RUNGS_MAX)
			return err_set(e, FAULT_TOO_LARGE, "rungs",
				       "--rungs takes at most %u numbers", SIZING_RUNGS_MAX);
		if (str_to_u64(str_trim(word), max, &n) < 0 || n <= before)
			return err_set(e, FAULT_BAD_REQUEST, "rungs",
				       "--rungs takes rising numbers from 1 to %u with commas, not \"" STR_FMT
				       "\"",
				       max, (int)MIN_OF(word.len, (size_t)60), word.ptr);
		ret[(*ret_n)++] = (unsigned)(before = n);
	} while (text.len);
	return 0;
}

size_t sizing_ladder(unsigned max, unsigned *ret)
{
	static const unsigned usual[] = { 500,	 1000,	2000,  5000,  10000,
					  15000, 20000, 30000, 50000, 100000 };
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(usual) && usual[i] < max; i++)
		ret[n++] = usual[i];
	ret[n++] = max;
	return n;
}
