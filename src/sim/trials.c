/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/clock.h"
#include "sim/crew.h"
#include "sim/group.h"

/* Scenarios that measure what the hub does for single changes, and what some of the nodes mean for the others. */

#define ONE_CHANGE_RATE 10u
#define ALL_ROUNDS 3
#define SLOW_CHURN 20u /* unless --churn says more */
#define CALM_S 2       /* between the last node's arrival and what is measured */

static double hub_cpu(const struct sim *s)
{
	return process_cost(crew_hub_pid(s)).cpu_s;
}

/* ---- one change ---- */

int do_one_change(struct sim *s, struct outcome *o, struct err *e)
{
	int rc = crew_connect_all(s, o, e);
	double hub0, sim0;

	if (rc < 0 || sim_interrupted)
		return rc;
	crew_stay(s, o, CALM_S);
	hub0 = hub_cpu(s);
	sim0 = crew_cpu();
	crew.churn = load_single(s, s->o.churn ? s->o.churn : ONE_CHANGE_RATE);
	crew_stay(s, o, s->o.seconds);
	o->hub_cpu_s = hub_cpu(s) - hub0;
	o->sim_cpu_s = crew_cpu() - sim0;
	return 0;
}

/* ---- one change for all ---- */

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static unsigned n_in_round(const struct sim *s)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->o.n_nodes; i++)
		n += s->shared->slots[i].group_round >= s->shared->group_round;
	return n;
}

/* The slowest round is what is reported. */
static void round_times(const struct sim *s, struct outcome *o)
{
	int64_t *ns = calloc(s->o.n_nodes, sizeof(*ns));
	size_t half = s->o.n_nodes / 2;
	double last;

	for (size_t i = 0; ns && i < s->o.n_nodes; i++)
		ns[i] = s->shared->slots[i].group_ns - s->shared->group_asked_ns;
	if (ns) {
		qsort(ns, s->o.n_nodes, sizeof(*ns), by_value);
		last = (double)ns[s->o.n_nodes - 1] / 1e9;
		if (last > o->all_s) {
			o->all_s = last;
			o->all_p50_s = (double)ns[half] / 1e9;
		}
	}
	free(ns);
}

static int all_round(struct sim *s, struct outcome *o, struct err *e)
{
	int64_t until = clock_mono_ns() + s->o.seconds * NS_PER_S;
	int rc = group_change(s, e);

	while (rc == 0 && !sim_interrupted && n_in_round(s) < s->o.n_nodes) {
		crew_look(s, o);
		if (clock_mono_ns() > until) {
			o->all_s = -1;
			return err_set(e, FAULT_TIMEOUT, NULL,
				       "%u of %u nodes hold the change after %u s", n_in_round(s),
				       s->o.n_nodes, s->o.seconds);
		}
		sim_pause_us(10000);
	}
	if (rc == 0 && !sim_interrupted)
		round_times(s, o);
	return rc;
}

int do_all_change(struct sim *s, struct outcome *o, struct err *e)
{
	int rc = group_ready(s, e);
	double hub0, sim0;

	if (rc == 0)
		rc = crew_connect_all(s, o, e);
	if (rc < 0 || sim_interrupted)
		return rc;
	crew_stay(s, o, CALM_S);
	crew.probe = load_probe(s, SIM_PROBE_MS);
	hub0 = hub_cpu(s);
	sim0 = crew_cpu();
	for (int i = 0; rc == 0 && i < ALL_ROUNDS && !sim_interrupted; i++) {
		rc = all_round(s, o, e);
		crew_stay(s, o, 1);
	}
	o->hub_cpu_s = hub_cpu(s) - hub0;
	o->sim_cpu_s = crew_cpu() - sim0;
	return rc;
}

/* ---- some nodes are unlike the others ---- */

/* Which ones is the workers' choice, each of its own nodes. */
static unsigned n_slow(const struct sim *s)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->o.n_nodes; i++)
		n += s->shared->slots[i].slow;
	return n;
}

static unsigned n_resyncs(const struct sim *s)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->o.n_nodes; i++)
		n += s->shared->slots[i].n_resyncs;
	return n;
}

static unsigned n_behind(const struct sim *s)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->o.n_nodes; i++)
		n += s->shared->slots[i].held < s->shared->slots[i].acked ||
		     s->shared->slots[i].state != SIM_STEADY;
	return n;
}

static void stay_slow(struct sim *s, struct outcome *o)
{
	uint64_t rss0 = process_cost(crew_hub_pid(s)).rss_kb, most = rss0;

	for (unsigned i = 0; i < (s->o.seconds + 1) / 2 && !sim_interrupted; i++) {
		crew_stay(s, o, 1);
		most = MAX_OF(most, process_cost(crew_hub_pid(s)).rss_kb);
		o->n_unlike = MAX_OF(o->n_unlike, n_slow(s));
		o->n_behind = MAX_OF(o->n_behind, n_behind(s));
	}
	o->hub_growth_mb = (double)(most - rss0) / 1024;
}

static void until_caught_up(struct sim *s, struct outcome *o)
{
	int64_t t0 = clock_mono_ns(), until = t0 + s->o.seconds * NS_PER_S;

	crew_order(WORK_SLOW, 0);
	while (!sim_interrupted && n_behind(s) && clock_mono_ns() < until) {
		crew_look(s, o);
		sim_pause_us(10000);
	}
	o->caught_up_s = n_behind(s) ? -1 : (double)(clock_mono_ns() - t0) / 1e9;
}

int do_slow_nodes(struct sim *s, struct outcome *o, struct err *e)
{
	int rc = crew_connect_all(s, o, e);
	double hub0, sim0;
	unsigned resyncs;

	if (rc < 0 || sim_interrupted)
		return rc;
	crew_stay(s, o, CALM_S);
	crew.probe = load_probe(s, SIM_PROBE_MS);
	crew.churn = load_churn(s, s->o.churn ? s->o.churn : SLOW_CHURN);
	crew_stay(s, o, (s->o.seconds + 1) / 2);
	o->before_p50_ms = percentile_ms(&s->shared->confirm, 0.5);
	o->before_p99_ms = percentile_ms(&s->shared->confirm, 0.99);
	resyncs = n_resyncs(s);
	hub0 = hub_cpu(s);
	sim0 = crew_cpu();
	crew_order(WORK_SLOW, s->o.percent);
	crew_stay(s, o, 1);
	s->shared->confirm.n = s->shared->show.n = 0;
	stay_slow(s, o);
	o->hub_cpu_s = hub_cpu(s) - hub0;
	o->sim_cpu_s = crew_cpu() - sim0;
	/* The figures are of the time when they were slow: no more changes. */
	s->shared->stop_load = true;
	until_caught_up(s, o);
	o->n_resyncs = n_resyncs(s) - resyncs;
	return 0;
}

int do_mixed_versions(struct sim *s, struct outcome *o, struct err *e)
{
	unsigned resyncs;
	int rc;

	crew_order(WORK_MIX, s->o.percent);
	rc = crew_connect_all(s, o, e);
	if (rc < 0 || sim_interrupted)
		return rc;
	resyncs = n_resyncs(s);
	rc = crew_disturb(s, o, crew_drop_all, e);
	o->n_resyncs = n_resyncs(s) - resyncs;
	for (size_t i = 0; i < s->o.n_nodes; i++)
		o->n_unlike += s->shared->slots[i].mixed;
	return rc;
}
