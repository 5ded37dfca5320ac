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

#define CHURN_USERS 4u
#define CONFIRM_S                                                                                  \
	5 /* a node that is there and has not confirmed by then is late, and not waited for longer */

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

/* Nodes that have functions: what is looked at, and changed. NULL: none. Never freed: its process ends. */
static size_t *with_functions(const struct sim *s, size_t *ret_n)
{
	size_t *list = calloc(s->o.n_nodes, sizeof(*list)), n = 0;

	for (size_t i = 0; list && i < s->o.n_nodes; i++)
		if (*s->fleet.nodes[i].port && *s->fleet.nodes[i].server)
			list[n++] = i;
	*ret_n = n;
	return list;
}

/* By turns on the connection that is there, as a service asks, and on a new one, as a command does. */
static void probe(const struct sim *s, struct client *c, unsigned every_ms)
{
	int64_t next = clock_mono_ns();
	size_t n, *list = with_functions(s, &n);
	char path[96] = "/v2.1/flavors";

	for (size_t i = 0; !s->shared->stop_load; i += 7) {
		bool fresh = i & 1;
		struct err e = { 0 };
		int64_t t0;
		int rc;

		if (n)
			(void)snprintf(path, sizeof(path), "/v2.1/servers/%s",
				       s->fleet.nodes[list[i % n]].server);
		client_set_fresh(c, fresh);
		t0 = clock_mono_ns();
		rc = client_call(c, "GET", "compute", path, NULL, NULL, &e);
		s->shared->n_api++;
		if (rc < 0)
			s->shared->n_api_failed++;
		else
			samples_add(fresh ? &s->shared->fresh : &s->shared->show, clock_mono_ns() - t0);
		pace(&next, every_ms * NS_PER_MS);
	}
}

pid_t load_probe(struct sim *s, unsigned every_ms)
{
	pid_t pid = fork();
	struct client *c;

	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGINT, SIG_IGN);
	c = sign_in(s);
	if (c)
		probe(s, c, every_ms);
	client_close(c);
	_exit(0);
}

/* ---- changes ---- */

/* Each port has one change at a time: its node's word is the answer to this one. */
static void await_word(const struct sim *s, struct sim_slot *slot, uint32_t number, int64_t t0)
{
	int64_t until = clock_mono_ns() + CONFIRM_S * NS_PER_S;

	if (slot->slow) /* it holds it in the end: see settle_changes() */
		return;
	while (slot->held < number && slot->state == SIM_STEADY && !slot->slow && clock_mono_ns() < until)
		sim_pause_us(1000);
	if (slot->held == number && slot->held_ns > t0 && !slot->slow)
		samples_add(&s->shared->confirm, slot->held_ns - t0);
	else if (slot->state == SIM_STEADY && !slot->slow)
		s->shared->n_late++;
}

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
		s->shared->n_no_space += e.fault == FAULT_NO_SPACE;
		return;
	}
	samples_add(&s->shared->change, clock_mono_ns() - t0);
	slot->acked = number;
	s->shared->n_changes++;
	await_word(s, slot, number, t0);
}

/* Above what any node holds: numbers of an earlier run are not taken for those of this one. */
static uint32_t first_number(const struct sim *s)
{
	uint32_t most = 0;

	for (size_t i = 0; i < s->o.n_nodes; i++)
		most = MAX_OF(most, (uint32_t)s->shared->slots[i].held);
	return most + 1;
}

/* User k of n_users has every n_users-th node with functions. */
static void churn(const struct sim *s, unsigned k, unsigned n_users, unsigned per_second)
{
	struct client *c CLEANUP(client_closep) = sign_in(s);
	int64_t next = clock_mono_ns(), every = NS_PER_S * n_users / per_second;
	uint32_t number = first_number(s);
	size_t n, *list = with_functions(s, &n), mine = (n + n_users - 1 - k) / n_users;

	for (size_t i = 0; c && mine && !s->shared->stop_load; i += 13) {
		change(s, c, list[i % mine * n_users + k], ++number);
		pace(&next, every);
	}
}

static _Noreturn void churn_main(struct sim *s, unsigned per_second, unsigned n_users)
{
	pid_t pids[CHURN_USERS] = { 0 };

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGINT, SIG_IGN);
	for (unsigned k = 1; k < n_users; k++) {
		pids[k] = fork();
		if (pids[k] == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			churn(s, k, n_users, per_second);
			_exit(0);
		}
	}
	churn(s, 0, n_users, per_second);
	for (unsigned k = 1; k < n_users; k++)
		(void)waitpid(pids[k], NULL, 0);
	_exit(0);
}

static pid_t changes(struct sim *s, unsigned per_second, unsigned n_users)
{
	pid_t pid;

	if (per_second == 0)
		return 0;
	pid = fork();
	if (pid == 0)
		churn_main(s, per_second, n_users);
	return pid;
}

pid_t load_churn(struct sim *s, unsigned per_second)
{
	return changes(s, per_second, CHURN_USERS);
}

pid_t load_single(struct sim *s, unsigned per_second)
{
	return changes(s, per_second, 1);
}
