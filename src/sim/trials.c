/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "sim/crew.h"

/* Scenarios that measure what the hub does for single changes, and what some of the nodes mean for the others. */

#define ONE_CHANGE_RATE 10u
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
