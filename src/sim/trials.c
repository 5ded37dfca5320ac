/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/clock.h"
#include "sim/crew.h"
#include "sim/group.h"

/* Scenarios that measure what the hub does for single changes, and what some of the nodes mean for the others. */

#define ONE_CHANGE_RATE 10u
#define ALL_ROUNDS 3
#define CALM_S 2 /* between the last node's arrival and what is measured */

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
	double last;

	for (size_t i = 0; ns && i < s->o.n_nodes; i++)
		ns[i] = s->shared->slots[i].group_ns - s->shared->group_asked_ns;
	if (ns) {
		qsort(ns, s->o.n_nodes, sizeof(*ns), by_value);
		last = (double)ns[s->o.n_nodes - 1] / 1e9;
		if (last > o->all_s) {
			o->all_s = last;
			o->all_p50_s = (double)ns[s->o.n_nodes / 2] / 1e9;
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
	crew.probe = load_probe(s);
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
