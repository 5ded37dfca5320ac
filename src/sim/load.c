/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "cli/client.h"
#include "sim/sim.h"

/* API users beside the nodes: one that looks at servers, one that changes ports. Each is a process. */

#define PROBE_EVERY_MS 50
#define CHURNERS 4u

void samples_add(struct sim_samples *s, int64_t ns)
{
	uint32_t i = s->n++;

	if (i < SIM_SAMPLES_MAX)
		s->us[i] = (uint32_t)MIN_OF(ns / NS_PER_US, (int64_t)UINT32_MAX);
}

static struct client *sign_in(const struct sim *s)
{
	struct client_options o = { s->o.cloud, s->o.cacert };
	struct client *c = NULL;
	struct err e = { 0 };

	while (client_open(&o, &c, &e) < 0 && !s->shared->stop_load)
		sim_pause_us(100000); /* the hub is being restarted, perhaps */
	return c;
}

static void pace(int64_t *next_ns, int64_t every_ns)
{
	int64_t now = clock_mono_ns();

	*next_ns += every_ns;
	if (*next_ns > now)
		sim_pause_us(((*next_ns - now) / NS_PER_US));
	else
		*next_ns = now;
}

static void probe(const struct sim *s, struct client *c)
{
	int64_t next = clock_mono_ns();
	char path[96];

	for (size_t i = 0; !s->shared->stop_load; i += 7) {
		const struct fleet_node *n = &s->fleet.nodes[i % s->o.n_nodes];
		struct err e = { 0 };
		int64_t t0;
		int rc;

		(void)snprintf(path, sizeof(path),
			       *n->server ? "/v2.1/servers/%s" : "/v2.1/flavors", n->server);
		t0 = clock_mono_ns();
		rc = client_call(c, "GET", "compute", path, NULL, NULL, &e);
		s->shared->n_api++;
		if (rc < 0)
			s->shared->n_api_failed++;
		else
			samples_add(&s->shared->show, clock_mono_ns() - t0);
		pace(&next, PROBE_EVERY_MS * NS_PER_MS);
	}
}

pid_t load_probe(struct sim *s)
{
	pid_t pid = fork();
	struct client *c;

	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGINT, SIG_IGN);
	c = sign_in(s);
	if (c)
		probe(s, c);
	client_close(c);
	_exit(0);
}

/* ---- changes ---- */

/* The port's name carries the change's number; a request that failed may have happened, so its number is never used again. */
static void change(const struct sim *s, struct client *c, size_t i, uint32_t number)
{
	const struct fleet_node *n = &s->fleet.nodes[i];
	struct sim_slot *slot = &s->shared->slots[i];
	char path[96], name[96];
	json_t *body CLEANUP(json_freep) = NULL;
	struct err e = { 0 };
	int64_t t0 = clock_mono_ns();

	(void)snprintf(path, sizeof(path), "/v2.0/ports/%s", n->port);
	(void)snprintf(name, sizeof(name), "%s-%u", n->name, number);
	body = json_pack("{s:{s:s}}", "port", "name", name);
	if (client_call(c, "PUT", "network", path, body, NULL, &e) < 0) {
		s->shared->n_changes_failed++;
		return;
	}
	samples_add(&s->shared->change, clock_mono_ns() - t0);
	slot->acked = number;
	s->shared->n_changes++;
	/* Each port has one change at a time: its node's word is the answer to this one. */
	for (int k = 0; k < 100 && slot->held < number && slot->state == SIM_STEADY; k++)
		sim_pause_us(1000);
	if (slot->held == number && slot->held_ns > t0)
		samples_add(&s->shared->confirm, slot->held_ns - t0);
}

static void churn(const struct sim *s, unsigned k, unsigned per_second)
{
	struct client *c CLEANUP(client_closep) = sign_in(s);
	int64_t next = clock_mono_ns(), every = NS_PER_S * CHURNERS / per_second;
	uint32_t number = (uint32_t)(clock_wall_us() / 1000000 - 1700000000) * 8;

	for (size_t i = k; c && !s->shared->stop_load; i += CHURNERS * 13) {
		size_t at = (i % s->o.n_nodes) / CHURNERS * CHURNERS + k;

		if (at < s->o.n_nodes && *s->fleet.nodes[at].port)
			change(s, c, at, ++number);
		pace(&next, every);
	}
}

static _Noreturn void churn_main(struct sim *s, unsigned per_second)
{
	pid_t pids[CHURNERS] = { 0 };

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGINT, SIG_IGN);
	for (unsigned k = 1; k < CHURNERS; k++) {
		pids[k] = fork();
		if (pids[k] == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			churn(s, k, per_second);
			_exit(0);
		}
	}
	churn(s, 0, per_second);
	for (unsigned k = 1; k < CHURNERS; k++)
		(void)waitpid(pids[k], NULL, 0);
	_exit(0);
}

pid_t load_churn(struct sim *s, unsigned per_second)
{
	pid_t pid;

	if (per_second == 0)
		return 0;
	pid = fork();
	if (pid == 0)
		churn_main(s, per_second);
	return pid;
}
