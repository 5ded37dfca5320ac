/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/json.h"
#include "cli/client.h"
#include "sim/crew.h"

/* Scenarios of what agents do by themselves: functions that end, certificates that are replaced. */

#define CALM_S 2
#define HEARD_S 10 /* for the workers to do what they were told */

static unsigned sum(const struct sim *s, size_t at)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->o.n_nodes; i++)
		n += *(const _Atomic uint32_t *)((const char *)&s->shared->slots[i] + at);
	return n;
}

unsigned crew_n_whole(const struct sim *s)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->o.n_nodes; i++)
		n += s->shared->slots[i].whole;
	return n;
}

void crew_count(const struct sim *s, struct outcome *o)
{
	o->n_starts = sum(s, offsetof(struct sim_slot, n_starts));
	o->n_steps_failed = sum(s, offsetof(struct sim_slot, n_steps_failed));
	o->n_deaths = sum(s, offsetof(struct sim_slot, n_deaths));
	o->n_renewed = sum(s, offsetof(struct sim_slot, n_renewed));
	o->n_not_whole = s->o.n_nodes - crew_n_whole(s);
}

/* Seconds that it took; < 0: not in time. */
static double until_whole(struct sim *s, struct outcome *o)
{
	int64_t t0 = clock_mono_ns(), until = t0 + s->o.seconds * NS_PER_S;

	while (!sim_interrupted && crew_n_whole(s) < s->o.n_nodes && clock_mono_ns() < until) {
		crew_look(s, o);
		sim_pause_us(10000);
	}
	return crew_n_whole(s) < s->o.n_nodes ? -1 : (double)(clock_mono_ns() - t0) / 1e9;
}

/* The hub has what the nodes have said of it. */
static void until_stored(struct sim *s, struct outcome *o)
{
	int64_t until = clock_mono_ns() + HEARD_S * NS_PER_S;

	crew_stay(s, o, 1); /* for them to say it */
	while (!sim_interrupted && crew_n_unstored(s) && clock_mono_ns() < until)
		sim_pause_us(10000);
}

static void kill_functions(struct sim *s)
{
	unsigned before = s->shared->n_obeyed;
	int64_t until = clock_mono_ns() + HEARD_S * NS_PER_S;

	crew_order(WORK_KILL, s->o.percent);
	while (s->shared->n_obeyed < before + crew.n && clock_mono_ns() < until)
		sim_pause_us(1000);
}

int do_function_deaths(struct sim *s, struct outcome *o, struct err *e)
{
	int rc = crew_connect_all(s, o, e);
	double hub0, sim0;

	if (rc < 0 || sim_interrupted)
		return rc;
	if (until_whole(s, o) < 0 && !sim_interrupted)
		return err_set(e, FAULT_TIMEOUT, NULL, "the chains of %u of %u nodes became whole",
			       crew_n_whole(s), s->o.n_nodes);
	crew_stay(s, o, CALM_S);
	crew.probe = load_probe(s, SIM_PROBE_MS);
	crew.churn = load_churn(s, s->o.churn);
	hub0 = process_cost(crew_hub_pid(s)).cpu_s;
	sim0 = crew_cpu();
	kill_functions(s);
	o->healed_s = until_whole(s, o);
	until_stored(s, o);
	o->hub_cpu_s = process_cost(crew_hub_pid(s)).cpu_s - hub0;
	o->sim_cpu_s = crew_cpu() - sim0;
	return 0;
}

/* ---- certificates ---- */

static int ca_call(const char *path, const json_t *body, const struct sim *s, struct err *e)
{
	struct client_options o = { s->o.cloud, s->o.cacert };
	struct client *c CLEANUP(client_closep) = NULL;
	int rc = client_open(&o, &c, e);

	return rc < 0 ? rc : client_call(c, "POST", "demarc", path, body, NULL, e);
}

/* Each of them came back with the new one. */
static bool all_renewed(const struct sim *s)
{
	for (size_t i = 0; i < s->o.n_nodes; i++)
		if (!s->shared->slots[i].n_renewed || s->shared->slots[i].state != SIM_STEADY)
			return false;
	return true;
}

/* The hub stores what it has seen in a handshake a moment later: until then it refuses to let the old CA go. */
static int retire(struct sim *s, struct outcome *o, int64_t until, struct err *e)
{
	int rc = ca_call("/v1/ca/retire", NULL, s, e);

	while (rc < 0 && !sim_interrupted && clock_mono_ns() < until) {
		crew_stay(s, o, 1);
		rc = ca_call("/v1/ca/retire", NULL, s, e);
	}
	return rc;
}

int do_renewal(struct sim *s, struct outcome *o, struct err *e)
{
	int64_t t0, until;
	double hub0, sim0;
	int rc = crew_connect_all(s, o, e);

	if (rc < 0 || sim_interrupted)
		return rc;
	crew_stay(s, o, CALM_S);
	crew.probe = load_probe(s, SIM_PROBE_MS);
	hub0 = process_cost(crew_hub_pid(s)).cpu_s;
	sim0 = crew_cpu();
	t0 = clock_mono_ns();
	until = t0 + s->o.seconds * NS_PER_S;
	rc = ca_call("/v1/ca/rotate", NULL, s, e);
	while (rc == 0 && !sim_interrupted && !all_renewed(s) && clock_mono_ns() < until) {
		crew_look(s, o);
		sim_pause_us(10000);
	}
	o->renewed_s = all_renewed(s) ? (double)(clock_mono_ns() - t0) / 1e9 : -1;
	o->hub_cpu_s = process_cost(crew_hub_pid(s)).cpu_s - hub0;
	o->sim_cpu_s = crew_cpu() - sim0;
	return rc < 0 || sim_interrupted || o->renewed_s < 0 ? rc : retire(s, o, until, e);
}
