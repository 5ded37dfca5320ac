/* SPDX-License-Identifier: Apache-2.0 */
/* demarc capacity: how many nodes a hub on this machine carries, and what limits it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "cli/capacity_run.h"
#include "cli/sizing.h"

#define NODES_MAX 200000 /* as demarc-sim */
#define HUB_FILES 512	 /* descriptors that a hub keeps for itself (docs/CAPACITY.md) */
#define HUB_FRONTS 16	 /* tables of descriptors that it can have; an eighth stays free */

struct capacity {
	struct cli *c;
	char sim[RUN_PATH_MAX], hub[RUN_PATH_MAX];
	struct run_state state;
	struct run_machine machine;
	struct sizing_goal goal;
	long long seconds, rate, chains;
	unsigned ladder[SIZING_RUNGS_MAX];
	size_t n_ladder, n;
	struct sizing_rung rungs[SIZING_RUNGS_MAX];
};

/* ---- options ---- */

static int read_ladder(struct capacity *k, struct err *e)
{
	const char *given = cli_option(k->c, "rungs");
	long long most = 0;
	int rc = cli_number(k->c, "max-nodes", 15000, NODES_MAX, &most, e);

	if (rc < 0)
		return rc;
	if (most < 1)
		return err_set(e, FAULT_BAD_REQUEST, "max-nodes", "--max-nodes is at least 1");
	if (!given && cli_option(k->c, "quick"))
		given = "50,100";
	if (given)
		return sizing_rungs_parse(str_of(given), NODES_MAX, k->ladder, &k->n_ladder, e);
	k->n_ladder = sizing_ladder((unsigned)most, k->ladder);
	return 0;
}

static int read_goal(struct capacity *k, struct err *e)
{
	struct sizing_goal *g = &k->goal;
	long long n = 0;
	int rc = 0;

	for (int by = 0; rc == 0 && by < BY_FILES; by++) {
		const struct sizing_row *r = &sizing_rows[by];

		rc = cli_number(k->c, r->option, r->dflt, 1000000, &n, e);
		g->allowed[by] = (double)n;
	}
	if (rc == 0)
		rc = cli_number(k->c, "recover-percent", 150, 100000, &n, e);
	g->factor = (double)n / 100;
	if (rc == 0)
		rc = cli_number(k->c, "churn", 10, 100000, &n, e);
	g->churn = (double)n;
	k->machine = run_machine();
	g->n_cpus = fmax(k->machine.n_cpus, 1);
	g->memory_mb = fmax(k->machine.memory_mb, 1);
	g->allowed[BY_FILES] =
		floor(fmax(k->machine.files - HUB_FILES, k->machine.files / 2) * HUB_FRONTS * 8 / 9);
	return rc;
}

static int read_options(struct capacity *k, struct err *e)
{
	long long seconds = cli_option(k->c, "quick") ? 5 : 30;
	int rc = read_ladder(k, e);

	if (rc == 0)
		rc = read_goal(k, e);
	if (rc == 0)
		rc = cli_number(k->c, "seconds", seconds, 3600, &k->seconds, e);
	if (rc == 0)
		rc = cli_number(k->c, "rate", 0, 1000000, &k->rate, e);
	if (rc == 0)
		rc = cli_number(k->c, "chains", 10, 100, &k->chains, e);
	if (rc < 0)
		return rc;
	if (k->seconds < 1)
		return err_set(e, FAULT_BAD_REQUEST, "seconds", "--seconds is at least 1");
	if (k->goal.churn > 0 && k->chains < 1)
		return err_set(e, FAULT_BAD_REQUEST, "chains",
			       "changes need nodes that have functions: --chains 1 at least, or --churn 0");
	rc = run_find(k->c, "demarc-sim", "sim", k->sim, e);
	return rc < 0 ? rc : run_find(k->c, "demarc-hub", "hub-binary", k->hub, e);
}

/* ---- the runs of a rung ---- */

static int run_scenario(struct capacity *k, const char *scenario, unsigned nodes, long long seconds,
			struct sizing_report *ret, struct err *e)
{
	char n[16], secs[24], rate[24], churn[24], chains[24], step[96];
	const char *const argv[] = { k->sim,
				     scenario,
				     "--nodes",
				     n,
				     "--seconds",
				     secs,
				     "--rate",
				     rate,
				     "--churn",
				     churn,
				     "--chains",
				     chains,
				     "--json",
				     "-",
				     "--state-dir",
				     k->state.dir,
				     "--scratch",
				     k->state.scratch,
				     "--hub-binary",
				     k->hub,
				     cli_option(k->c, "no-tickets") ? "--no-tickets" : NULL,
				     NULL };
	CLEANUP(strbuf_done) struct strbuf out = { 0 };
	struct run_words said;
	int status;

	(void)snprintf(n, sizeof(n), "%u", nodes);
	(void)snprintf(secs, sizeof(secs), "%lld", seconds);
	(void)snprintf(rate, sizeof(rate), "%lld", k->rate);
	(void)snprintf(churn, sizeof(churn), "%.0f", k->goal.churn);
	(void)snprintf(chains, sizeof(chains), "%lld", k->chains);
	(void)snprintf(step, sizeof(step), "%u nodes: %s", nodes, scenario);
	progress_begin(&k->c->progress, step);
	status = run_child(argv, &k->c->progress, &out, &said, e);
	if (status >= 0 && out.len == 0)
		status = err_set(e, FAULT_INTERNAL, NULL, "demarc-sim %s with %u nodes: %s",
				 scenario, nodes, *said.line ? said.line : "it said nothing");
	/* A status that is not 0 with a report is a finding, which the report tells. */
	if (status >= 0)
		status = sizing_read((struct str){ strbuf_cstr(&out), out.len }, scenario, nodes,
				     ret, e);
	if (status == 0 && ret->interrupted)
		status = err_set(e, FAULT_UNAVAILABLE, NULL, "interrupted");
	progress_end(&k->c->progress, status < 0 ? "failed" : "ok");
	return status;
}

static int climb(struct capacity *k, unsigned nodes, struct sizing_rung *r, struct err *e)
{
	struct sizing_report steady, storm, kill;
	bool kills = cli_option(k->c, "hub-kill") != NULL;
	long long patience = 2 * (long long)k->goal.allowed[BY_STORM] + 60;
	int rc;

	if (nodes > k->goal.allowed[BY_FILES]) { /* known before it is tried */
		*r = (struct sizing_rung){ nodes, NAN, NAN, NAN, NAN, NAN, .failed = 1u << BY_FILES };
		for (int by = 0; by < BY_COUNT; by++)
			r->value[by] = NAN;
		return 0;
	}
	rc = run_scenario(k, "steady", nodes, k->seconds, &steady, e);
	if (rc == 0)
		rc = run_scenario(k, "storm", nodes, patience, &storm, e);
	if (rc == 0 && kills)
		rc = run_scenario(k, "hub-kill", nodes, patience, &kill, e);
	if (rc == 0)
		sizing_rung(&k->goal, nodes, (double)k->seconds, &steady, &storm,
			    kills ? &kill : NULL, r);
	return rc;
}

/* ---- what is said ---- */

static json_t *rounded(double v, double per_one)
{
	return isfinite(v) ? json_real(round(v * per_one) / per_one) : json_null();
}

static json_t *count_of(double v)
{
	return isfinite(v) ? json_integer((json_int_t)v) : json_null();
}

static void verdict_of(const struct sizing_rung *r, struct strbuf *b)
{
	for (int by = 0; by < BY_COUNT; by++)
		if (r->failed >> by & 1u)
			strbuf_addf(b, "%s%s", b->len ? ", " : "", sizing_rows[by].text);
	if (!b->len)
		strbuf_adds(b, "ok");
}

static json_t *rung_json(const struct capacity *k, const struct sizing_rung *r)
{
	CLEANUP(strbuf_done) struct strbuf verdict = { 0 };
	double mb = r->value[BY_MEMORY] * k->goal.memory_mb / 100;

	verdict_of(r, &verdict);
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}",
			 "nodes", count_of(r->nodes), "up_s", rounded(r->up_s, 10), "storm_s",
			 rounded(r->storm_s, 10), "bare_ratio", rounded(r->ratio, 100),
			 "resumed_percent", rounded(r->resumed_percent, 10), "hub_kill_s",
			 rounded(r->kill_s, 10), "api_p99_ms", rounded(r->value[BY_API], 10),
			 "changes_percent", rounded(r->value[BY_CHANGES], 1), "hub_cpu_percent",
			 rounded(r->value[BY_CPU], 10), "sim_cpu_percent",
			 rounded(r->sim_percent, 10), "hub_mb", rounded(mb, 1), "hub_kb_per_node",
			 rounded(mb * 1024 / r->nodes, 10), "lost", count_of(r->value[BY_LOST]),
			 "failed", count_of(r->value[BY_FAILED]), "verdict", strbuf_cstr(&verdict));
}

static json_t *rungs_json(const struct capacity *k)
{
	json_t *list = json_array();

	for (size_t i = 0; i < k->n; i++)
		json_array_append_new(list, rung_json(k, &k->rungs[i]));
	return list;
}

/* How much of a criterion's means the machine has, in words. */
static void basis_of(const struct capacity *k, enum sizing_by by, const struct sizing_limit *l,
		     char *to, size_t size)
{
	const char *how = l->beyond	     ? "more than that; rungs this small say no more" :
			  l->estimated	     ? "estimated from the rungs" :
			  isfinite(l->nodes) ? "measured" :
					       "none was seen";

	if (by == BY_FILES)
		(void)snprintf(to, size,
			       "%.0f open files in this session for each of %d fronts, less those that the hub keeps",
			       k->machine.files, HUB_FRONTS);
	else if (by == BY_MEMORY)
		(void)snprintf(to, size, "%s; %.0f %% of %.0f MB", how, k->goal.allowed[by],
			       k->machine.memory_mb);
	else
		(void)snprintf(to, size, "%s; at %s %.0f%s%s", how,
			       by == BY_CHANGES ? "least" : "most", k->goal.allowed[by],
			       *sizing_rows[by].unit ? " " : "", sizing_rows[by].unit);
}

static json_t *limits_json(const struct capacity *k, const struct sizing *s)
{
	json_t *list = json_array();
	char basis[128];

	for (int by = 0; by < BY_COUNT; by++) {
		const struct sizing_limit *l = &s->limits[by];

		basis_of(k, (enum sizing_by)by, l, basis, sizeof(basis));
		json_array_append_new(list, json_pack("{s:s, s:o, s:b, s:b, s:s}", "by",
						      sizing_rows[by].text, "nodes",
						      count_of(l->nodes), "estimated", l->estimated,
						      "beyond", l->beyond, "basis", basis));
	}
	return list;
}

/* A rung failed: by what, and how much it was where that was measured. */
static void conclude_met(const struct capacity *k, const struct sizing *s, struct strbuf *b)
{
	const struct sizing_row *row = &sizing_rows[s->by];
	const struct sizing_limit *l = &s->limits[s->by];
	double v = k->rungs[k->n - 1].value[s->by];

	if (l->nodes > s->nodes && l->nodes < s->tried)
		strbuf_addf(b, "; the limit is %s, met at %s%.0f", row->text,
			    l->estimated ? "about " : "", l->nodes);
	else
		strbuf_addf(b, "; the limit is %s", row->text);
	if (v >= 0)
		strbuf_addf(b, ": %.4g%s%s with %.0f nodes", v, *row->unit ? " " : "", row->unit,
			    s->tried);
}

/* Never more than the largest rung that met everything; what is beyond is called an estimate. */
static void conclude(const struct capacity *k, const struct sizing *s, struct strbuf *b)
{
	const char *text = s->by >= 0 ? sizing_rows[s->by].text : "";
	double nodes = s->by >= 0 ? s->limits[s->by].nodes : 0;

	if (s->tried <= 0) {
		strbuf_adds(b, "nothing was measured");
		return;
	}
	if (s->nodes > 0)
		strbuf_addf(b, "this machine carries %s%.0f nodes at %.0f changes a second",
			    s->is_met ? "" : "at least ", s->nodes, k->goal.churn);
	else
		strbuf_addf(b, "this machine does not carry %.0f nodes at %.0f changes a second",
			    s->tried, k->goal.churn);
	if (s->by < 0)
		strbuf_addf(b, ", the most that were tried; no limit is in sight below %.0f",
			    SIZING_REACH * s->tried);
	else if (!s->is_met)
		strbuf_addf(b, ", the most that were tried; the first limit %s %s, at %s%.0f",
			    s->limits[s->by].estimated ? "would be" : "is", text,
			    s->limits[s->by].estimated ? "about " : "", nodes);
	else
		conclude_met(k, s, b);
}

static json_t *result_of(const struct capacity *k, const struct sizing *s, bool whole)
{
	CLEANUP(strbuf_done) struct strbuf words = { 0 };

	conclude(k, s, &words);
	return json_pack("{s:o, s:o, s:o?, s:b, s:s, s:f, s:{s:f, s:o, s:f, s:f}, s:o, s:o}",
			 "nodes", count_of(s->nodes), "tried", count_of(s->tried), "limit",
			 s->by >= 0 ? json_string(sizing_rows[s->by].text) : NULL, "complete",
			 whole, "conclusion", strbuf_cstr(&words), "churn", k->goal.churn,
			 "machine", "processors", k->goal.n_cpus, "memory_mb",
			 rounded(k->machine.memory_mb, 1), "files", k->machine.files, "load",
			 k->machine.load, "rungs", rungs_json(k), "limits", limits_json(k, s));
}

static void print_result(const struct capacity *k, const json_t *j)
{
	struct column rungs[] = {
		{ "NODES", "nodes" },
		{ "UP (S)", "up_s" },
		{ "STORM (S)", "storm_s" },
		{ "X BARE", "bare_ratio" },
		{ "RESUMED (%)", "resumed_percent" },
		{ "API P99 (MS)", "api_p99_ms" },
		{ "CHANGES (%)", "changes_percent" },
		{ "HUB CPU (%)", "hub_cpu_percent" },
		{ "SIM CPU (%)", "sim_cpu_percent" },
		{ "HUB MB", "hub_mb" },
		{ "KB A NODE", "hub_kb_per_node" },
		{ "VERDICT", "verdict" },
		{ cli_option(k->c, "hub-kill") ? "HUB KILLED (S)" : NULL, "hub_kill_s" },
		{ NULL, NULL },
	};
	static const struct column limits[] = {
		{ "LIMIT", "by" }, { "NODES", "nodes" }, { "FROM", "basis" }, { NULL, NULL }
	};

	print_table(json_object_get(j, "rungs"), rungs);
	printf("\n");
	print_table(json_object_get(j, "limits"), limits);
	printf("\n%.0f processors, %.0f MB of memory available, %.0f open files; the simulator ran on the same processors\n",
	       k->goal.n_cpus, k->machine.memory_mb, k->machine.files);
	if (k->machine.load > k->goal.n_cpus / 4)
		printf("other work had these processors, too, when this began (load %.1f): a quiet machine may carry more\n",
		       k->machine.load);
	printf("%s%s\n", json_str(j, "conclusion"),
	       json_bool(j, "complete", false) ? "" : " (the ladder was not climbed to its end)");
}

/* ---- the command ---- */

static int climb_all(struct capacity *k, struct err *e)
{
	int rc = 0;

	while (rc == 0 && k->n < k->n_ladder) {
		struct sizing_rung *r = &k->rungs[k->n];

		rc = climb(k, k->ladder[k->n], r, e);
		if (rc == 0)
			k->n++;
		if (rc == 0 && r->failed)
			break;
	}
	return rc;
}

static int tell(const struct capacity *k, bool whole, struct err *e)
{
	CLEANUP(json_freep) json_t *j = NULL;
	struct sizing s;

	sizing_of(&k->goal, k->rungs, k->n, &s);
	j = result_of(k, &s, whole);
	if (!j)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the table");
	if (k->c->json)
		print_json(j);
	else
		print_result(k, j);
	return s.nodes > 0 ? 0 : 1;
}

static int capacity(struct cli *c, struct err *e)
{
	struct capacity k = { .c = c };
	bool keep = cli_option(c, "keep") != NULL;
	struct err later = { 0 };
	int rc = read_options(&k, e), told;

	if (rc < 0)
		return rc;
	rc = run_state_open(c, &k.state, e);
	if (rc == 0) {
		rc = climb_all(&k, e);
		/* What was measured before an interruption or a failure is worth the same. */
		told = rc == 0 || k.n ? tell(&k, rc == 0, &later) : 0;
		rc = rc < 0 ? rc : told;
	}
	if (keep && k.state.is_made)
		fprintf(stderr, "kept: --state-dir %s\n", k.state.dir);
	run_state_close(&k.state, keep);
	return rc;
}

static const struct cli_option capacity_options[] = {
	{ "churn", "N", "changes a second while all is steady and in the storm; 10" },
	{ "max-nodes", "N",
	  "the last rung of 500, 1000, 2000, 5000, 10000, 15000, 20000 and so on; 15000" },
	{ "rungs", "N,N...", "these rungs instead" },
	{ "quick", NULL, "rungs of 50 and 100 nodes, a look in a minute" },
	{ "seconds", "N", "how long steady is measured; 30" },
	{ "rate", "N", "nodes a second at the start; 0, the default: all at once" },
	{ "chains", "PERCENT", "of the nodes that have functions and a chain; 10" },
	{ "hub-kill", NULL, "on each rung the hub is killed, too" },
	{ "no-tickets", NULL,
	  "nodes have lost their session tickets: storms of full handshakes, as after a power cut of all of them" },
	{ "recover-seconds", "N", "a storm is over in time within so many seconds; 60" },
	{ "recover-percent", "N", "or within so much of the bare handshakes' time; 150" },
	{ "api-ms", "N", "99 in 100 API requests are answered within; 100" },
	{ "cpu-percent", "N", "of all processors, what the hub may take while all is steady; 50" },
	{ "memory-percent", "N", "of the memory that is available; 80" },
	{ "changes-percent", "N", "of the changes asked for that must be acknowledged; 90" },
	{ "lost", "N", "nodes or changes that may be lost; 0" },
	{ "failed", "N", "API requests that may fail; 0" },
	{ "sim", "FILE", "the demarc-sim to run" },
	{ "hub-binary", "FILE", "the demarc-hub to run" },
	{ "state-dir", "DIR",
	  "where the hub and the nodes keep their files; default in TMPDIR or /var/tmp" },
	{ "keep", NULL, "leave the state directory: the next run need not make its nodes" },
	{ NULL, NULL, NULL },
};

const struct command capacity_commands[] = {
	{ "capacity", "",
	  "Find how many nodes a hub on this machine carries, with a hub and simulated nodes of its own",
	  capacity, capacity_options, true },
	{ NULL, NULL, NULL, NULL, NULL, false },
};
