/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/crew.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"

#define LOOK_MS 10
#define SAY_NS (2 * NS_PER_S)
#define READY_S 300
#define CALM_S 120 /* for what follows a ramp */
#define FILES_SPARE 100u

volatile int sim_interrupted;

struct crew crew;

/* ---- looking ---- */

unsigned crew_n_in(const struct sim *s, uint32_t state)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->o.n_nodes; i++)
		n += s->shared->slots[i].state >= state;
	return n;
}

pid_t crew_hub_pid(const struct sim *s)
{
	return s->hub ? s->hub : s->o.hub_pid;
}

double crew_cpu(void)
{
	double sum = 0;

	for (unsigned i = 0; i < crew.n; i++)
		sum += process_cost(crew.pids[i]).cpu_s;
	return sum;
}

void crew_look(struct sim *s, struct outcome *o)
{
	int64_t now = clock_mono_ns();
	struct hub_cost hub;
	struct point *p;

	if (now < crew.next_point_ns || o->n_points == POINTS_MAX)
		return;
	crew.next_point_ns = now + NS_PER_S;
	hub = process_cost(crew_hub_pid(s));
	p = &o->points[o->n_points++];
	*p = (struct point){ .t_s = (double)(now - crew.start_ns) / 1e9,
			     .hub_cpu_s = hub.cpu_s,
			     .sim_cpu_s = crew_cpu(),
			     .rss_mb = (double)hub.rss_kb / 1024,
			     .steady = crew_n_in(s, SIM_STEADY) };
	if (s->o.quiet || now < crew.next_word_ns)
		return;
	crew.next_word_ns = now + SAY_NS;
	fprintf(stderr,
		"%6.1f s  %u of %u steady, %u connected; hub %.1f CPU s, %.0f MB; %u changes, %u API calls\n",
		p->t_s, p->steady, s->o.n_nodes, crew_n_in(s, SIM_CONNECTED), p->hub_cpu_s,
		p->rss_mb, (unsigned)s->shared->n_changes, (unsigned)s->shared->n_api);
}

bool crew_until_steady(struct sim *s, struct outcome *o, unsigned n, unsigned seconds)
{
	int64_t until = clock_mono_ns() + seconds * NS_PER_S;

	while (!sim_interrupted && clock_mono_ns() < until) {
		crew_look(s, o);
		if (crew_n_in(s, SIM_STEADY) >= n)
			return true;
		sim_pause_us(LOOK_MS * 1000);
	}
	return false;
}

void crew_stay(struct sim *s, struct outcome *o, unsigned seconds)
{
	int64_t until = clock_mono_ns() + seconds * NS_PER_S;

	while (!sim_interrupted && clock_mono_ns() < until) {
		crew_look(s, o);
		sim_pause_us(LOOK_MS * 1000);
	}
}

/* ---- workers ---- */

void crew_order(enum worker_verb verb, unsigned number)
{
	struct worker_order w = { verb, number };

	for (unsigned i = 0; i < crew.n; i++)
		(void)!write(crew.fds[i], &w, sizeof(w)); /* one that died is missed among the steady */
}

static unsigned workers_needed(const struct sim *s)
{
	struct rlimit files = { .rlim_cur = 1024 };
	unsigned per, cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	per = files.rlim_cur > 4 * FILES_SPARE ?
		      ((unsigned)MIN_OF(files.rlim_cur, (rlim_t)1000000) - FILES_SPARE) /
			      SIM_FILES_PER_NODE :
		      1;
	return MIN_OF(MAX_OF(MAX_OF(s->o.n_workers, cpus), s->o.n_nodes / per + 1), SIM_WORKERS_MAX);
}

static int start_worker(struct sim *s, size_t first, size_t n, struct err *e)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) < 0)
		return err_set(e, FAULT_INTERNAL, NULL, "no socket for a worker");
	pid = fork();
	if (pid == 0) {
		(void)signal(SIGINT, SIG_IGN);
		for (unsigned i = 0; i < crew.n; i++)
			(void)close(crew.fds[i]);
		(void)close(fds[0]);
		worker_main(s, first, n, fds[1]);
	}
	(void)close(fds[1]);
	crew.pids[crew.n] = pid;
	crew.fds[crew.n++] = fds[0];
	return pid > 0 ? 0 : err_set(e, FAULT_INTERNAL, NULL, "cannot start a worker");
}

static int start_workers(struct sim *s, struct err *e)
{
	unsigned n = workers_needed(s);
	int64_t until = clock_mono_ns() + READY_S * NS_PER_S;
	int rc = 0;

	s->shared->n_ready = 0;
	for (unsigned i = 0; rc == 0 && i < n; i++) {
		size_t first = (size_t)s->o.n_nodes * i / n, end = (size_t)s->o.n_nodes * (i + 1) / n;

		if (end > first)
			rc = start_worker(s, first, end - first, e);
	}
	while (rc == 0 && s->shared->n_ready < crew.n) {
		if (waitpid(-1, NULL, WNOHANG) > 0 || clock_mono_ns() > until || sim_interrupted)
			return err_set(e, FAULT_INTERNAL, NULL, "a worker did not get ready");
		sim_pause_us(LOOK_MS * 1000);
	}
	return rc;
}

static void stop_all(struct sim *s)
{
	const pid_t load[] = { crew.probe, crew.churn };

	s->shared->stop_load = true;
	for (size_t i = 0; i < ARRAY_LEN(load); i++)
		if (load[i] > 0)
			(void)waitpid(load[i], NULL, 0);
	crew_order(WORK_QUIT, 0);
	for (unsigned i = 0; i < crew.n; i++) {
		if (sim_interrupted) /* it may still be making its nodes, which takes minutes */
			(void)kill(crew.pids[i], SIGKILL);
		(void)waitpid(crew.pids[i], NULL, 0);
		(void)close(crew.fds[i]);
	}
}

/* ---- figures ---- */

static int by_us(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

double percentile_ms(struct sim_samples *s, double q)
{
	uint32_t n = MIN_OF((uint32_t)s->n, SIM_SAMPLES_MAX);

	if (n == 0)
		return 0;
	qsort(s->us, n, sizeof(s->us[0]), by_us);
	return s->us[(uint32_t)(q * (n - 1))] / 1000.0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* How long each node took, from the event on. */
static void node_times(const struct sim *s, int64_t since_ns, struct outcome *o)
{
	double *t = calloc(s->o.n_nodes, sizeof(*t));
	unsigned n = 0;

	for (size_t i = 0; t && i < s->o.n_nodes; i++)
		if (s->shared->slots[i].state == SIM_STEADY && s->shared->slots[i].steady_ns >= since_ns)
			t[n++] = (double)(s->shared->slots[i].steady_ns - since_ns) / 1e9;
	if (n) {
		qsort(t, n, sizeof(*t), by_value);
		o->p50_s = t[n / 2];
		o->p99_s = t[(size_t)((n - 1) * 0.99)];
		o->steady_s = t[n - 1];
	}
	free(t);
}

static void settle_changes(struct sim *s, struct outcome *o)
{
	int64_t until = clock_mono_ns() + 20 * NS_PER_S;

	s->shared->stop_load = true;
	do {
		o->n_lost = 0;
		for (size_t i = 0; i < s->o.n_nodes; i++)
			o->n_lost += s->shared->slots[i].held < s->shared->slots[i].acked;
		if (o->n_lost)
			sim_pause_us(LOOK_MS * 1000);
	} while (o->n_lost && clock_mono_ns() < until && !sim_interrupted);
}

static void figures(struct sim *s, struct outcome *o)
{
	struct sim_shared *m = s->shared;

	settle_changes(s, o);
	o->show_p50_ms = percentile_ms(&m->show, 0.5);
	o->show_p99_ms = percentile_ms(&m->show, 0.99);
	o->show_max_ms = percentile_ms(&m->show, 1);
	o->fresh_p50_ms = percentile_ms(&m->fresh, 0.5);
	o->fresh_p99_ms = percentile_ms(&m->fresh, 0.99);
	o->fresh_max_ms = percentile_ms(&m->fresh, 1);
	o->change_p50_ms = percentile_ms(&m->change, 0.5);
	o->confirm_p50_ms = percentile_ms(&m->confirm, 0.5);
	o->confirm_p99_ms = percentile_ms(&m->confirm, 0.99);
	o->confirm_max_ms = percentile_ms(&m->confirm, 1);
	o->n_show = m->show.n;
	o->n_fresh = m->fresh.n;
	o->n_show_failed = m->n_api_failed;
	o->n_changes = m->n_changes;
	o->n_changes_failed = m->n_changes_failed;
	o->n_late = m->n_late;
	o->n_not_steady = s->o.n_nodes - crew_n_in(s, SIM_STEADY);
	for (size_t i = 0; i < s->o.n_nodes; i++)
		o->n_refused += m->slots[i].n_refused;
	crew_count(s, o);
	o->hub_rss_kb_node = (double)process_cost(crew_hub_pid(s)).rss_kb / s->o.n_nodes;
	o->interrupted = sim_interrupted;
}

/* ---- scenarios ---- */

int crew_connect_all(struct sim *s, struct outcome *o, struct err *e)
{
	crew_order(WORK_CONNECT, s->o.rate / MAX_OF(crew.n, 1u));
	if (crew_until_steady(s, o, s->o.n_nodes, s->o.seconds + 120) || sim_interrupted)
		return 0;
	return err_set(e, FAULT_TIMEOUT, NULL, "%u of %u nodes became steady",
		       crew_n_in(s, SIM_STEADY), s->o.n_nodes);
}

struct comings {
	unsigned n, n_resumed;
};

static struct comings comings_of(const struct sim *s)
{
	struct comings c = { 0 };

	for (size_t i = 0; i < s->o.n_nodes; i++) {
		c.n += s->shared->slots[i].n_up;
		c.n_resumed += s->shared->slots[i].n_resumed;
	}
	return c;
}

static unsigned n_calm(const struct sim *s)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->o.n_nodes; i++)
		n += s->shared->slots[i].whole && (s->o.no_tickets || s->shared->slots[i].has_ticket);
	return n;
}

/* What follows a ramp is over: functions have started and said so, and the hub, which gives tickets in quiet times, has given each node one. */
static void until_calm(struct sim *s, struct outcome *o)
{
	int64_t until = clock_mono_ns() + CALM_S * NS_PER_S;

	while (!sim_interrupted && n_calm(s) < s->o.n_nodes && clock_mono_ns() < until) {
		crew_look(s, o);
		sim_pause_us(LOOK_MS * 1000);
	}
	crew_stay(s, o, 2);
}

int crew_disturb(struct sim *s, struct outcome *o, int (*what)(struct sim *, struct err *),
		 struct err *e)
{
	struct comings before, after;
	double hub0, sim0;
	pid_t hub;
	int rc;

	until_calm(s, o);
	before = comings_of(s);
	sim0 = crew_cpu();
	crew.probe = load_probe(s, SIM_PROBE_MS);
	crew.churn = load_churn(s, s->o.churn);
	crew_stay(s, o, 2);
	s->shared->show.n = s->shared->fresh.n = s->shared->n_api_failed = 0;
	hub = crew_hub_pid(s);
	hub0 = process_cost(hub).cpu_s;
	crew.event_ns = clock_mono_ns();
	rc = what(s, e);
	if (rc < 0)
		return rc;
	sim_pause_us(50000); /* the workers have heard */
	(void)crew_until_steady(s, o, s->o.n_nodes, s->o.seconds);
	node_times(s, crew.event_ns, o);
	if (crew_n_in(s, SIM_STEADY) < s->o.n_nodes)
		o->steady_s = -1;
	/* One that was started again counts from its own start. */
	o->hub_cpu_s = process_cost(crew_hub_pid(s)).cpu_s - (hub == crew_hub_pid(s) ? hub0 : 0);
	o->sim_cpu_s = crew_cpu() - sim0;
	after = comings_of(s);
	o->n_returns = after.n - before.n;
	o->n_resumed = after.n_resumed - before.n_resumed;
	return 0;
}

static int do_ramp(struct sim *s, struct outcome *o, struct err *e)
{
	int64_t t0 = clock_mono_ns();
	int rc;

	crew.probe = load_probe(s, SIM_PROBE_MS);
	rc = crew_connect_all(s, o, e);
	node_times(s, t0, o);
	o->hub_cpu_s = process_cost(crew_hub_pid(s)).cpu_s;
	o->sim_cpu_s = crew_cpu();
	return rc;
}

/* Few requests: they show that the API answers, and are not what is measured. A new TLS connection costs the hub as much as a hundred heartbeats. */
#define QUIET_PROBE_MS 1000

static int do_steady(struct sim *s, struct outcome *o, struct err *e)
{
	int rc = crew_connect_all(s, o, e);
	double hub0, sim0;

	if (rc < 0)
		return rc;
	until_calm(s, o);
	hub0 = process_cost(crew_hub_pid(s)).cpu_s;
	sim0 = crew_cpu();
	crew.probe = load_probe(s, QUIET_PROBE_MS);
	crew.churn = load_churn(s, s->o.churn);
	crew_stay(s, o, s->o.seconds);
	o->hub_cpu_s = process_cost(crew_hub_pid(s)).cpu_s - hub0;
	o->sim_cpu_s = crew_cpu() - sim0;
	return 0;
}

int crew_drop_all(struct sim *s, struct err *e)
{
	(void)s;
	(void)e;
	crew_order(WORK_DROP, 0);
	return 0;
}

static int do_storm(struct sim *s, struct outcome *o, struct err *e)
{
	int rc = crew_connect_all(s, o, e);

	if (rc == 0 && !sim_interrupted)
		rc = bare_handshakes(s, s->o.n_nodes, &o->bare_s, &o->bare_cpu_s, e);
	return rc < 0 || sim_interrupted ? rc : crew_disturb(s, o, crew_drop_all, e);
}

static int kill_hub(struct sim *s, struct err *e)
{
	hub_kill(s, SIGKILL);
	return hub_start(s, e);
}

static int do_hub_kill(struct sim *s, struct outcome *o, struct err *e)
{
	int rc = crew_connect_all(s, o, e);

	return rc < 0 || sim_interrupted ? rc : crew_disturb(s, o, kill_hub, e);
}

static int flap(struct sim *s, struct err *e)
{
	for (int i = 0; i < 5 && !sim_interrupted; i++) {
		if (i)
			sim_pause_us(1000000);
		crew.event_ns = clock_mono_ns(); /* the last one counts */
		crew_order(WORK_FLAP, 30);
	}
	(void)s;
	(void)e;
	return 0;
}

static int do_flap(struct sim *s, struct outcome *o, struct err *e)
{
	int rc = crew_connect_all(s, o, e);

	return rc < 0 || sim_interrupted ? rc : crew_disturb(s, o, flap, e);
}

static int move_all(struct sim *s, struct err *e)
{
	(void)s;
	(void)e;
	crew_order(WORK_MOVE, 0);
	return 0;
}

static int do_move(struct sim *s, struct outcome *o, struct err *e)
{
	int rc = crew_connect_all(s, o, e);

	return rc < 0 || sim_interrupted ? rc : crew_disturb(s, o, move_all, e);
}

const struct scenario scenarios[] = {
	{ "ramp", "nodes come one after the other, --rate a second", do_ramp, false },
	{ "steady", "all are there, --churn changes a second, for --seconds", do_steady, false },
	{ "storm", "every connection breaks at once; bare handshakes for comparison", do_storm, false },
	{ "hub-kill", "the hub is killed and started again, changes go on", do_hub_kill, true },
	{ "hub-restart-full-disk",
	  "the hub is killed and started while its disk is full; then there is space", do_full_disk,
	  true },
	{ "link-flap", "three in ten links break, five times in a row", do_flap, false },
	{ "address-change", "every node comes back from another address", do_move, false },
	{ "all-change", "a rule for a group that all nodes have a port in, three times",
	  do_all_change, false },
	{ "one-change", "one change at a time, each of one node, --churn a second (10)",
	  do_one_change, false },
	{ "slow-nodes", "--percent of the nodes read, answer or wake late; what it means for the others",
	  do_slow_nodes, false },
	{ "mixed-versions", "--percent of the nodes are of other releases; then a storm",
	  do_mixed_versions, false },
	{ "function-deaths", "a container ends on --percent of the nodes; until all chains are whole again",
	  do_function_deaths, false },
	{ "renewal", "the hub's CA is replaced: every node gets a new certificate and comes back with it",
	  do_renewal, true },
	{ 0 },
};

const struct scenario *scenario_find(const char *name)
{
	for (const struct scenario *sc = scenarios; sc->name; sc++)
		if (strcmp(sc->name, name) == 0)
			return sc;
	return NULL;
}

/* ---- one run ---- */

static int share(struct sim *s, struct err *e)
{
	size_t size = sizeof(struct sim_shared) + s->o.n_nodes * sizeof(struct sim_slot);

	s->shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s->shared != MAP_FAILED)
		return 0;
	s->shared = NULL;
	return err_set(e, FAULT_NO_MEMORY, NULL, "%zu bytes of shared memory", size);
}

/* The API's children find the hub as the demarc command does. */
static int prepare(struct sim *s, struct err *e)
{
	char path[300], *ca = NULL;
	size_t size = 0;
	int rc = dir_make(s->o.state_dir, 0700, e);

	if (rc == 0)
		rc = scratch_open(s, e);
	if (rc == 0)
		rc = share(s, e);
	if (rc == 0 && s->o.hub_binary) {
		rc = hub_start(s, e);
		(void)snprintf(path, sizeof(path), "%.200s/hub/clouds.yaml", s->o.state_dir);
		(void)setenv("OS_CLIENT_CONFIG_FILE", path, 1);
	}
	(void)snprintf(path, sizeof(path), "%.200s/hub/ca.crt", s->o.state_dir);
	if (rc == 0)
		rc = file_read(s->o.cacert ? s->o.cacert : path, 65536, &ca, &size, e);
	s->fleet.ca = ca;
	return rc;
}

int scenario_run(struct sim *s, const struct scenario *sc, struct outcome *o, struct err *e)
{
	int rc;

	if (sc->needs_hub && !s->o.hub_binary)
		return err_set(e, FAULT_BAD_REQUEST, "hub-binary",
			       "%s needs a hub of its own: --hub-binary FILE", sc->name);
	memset(&crew, 0, sizeof(crew));
	rc = prepare(s, e);
	if (rc == 0 && !sim_interrupted)
		rc = fleet_ready(s, e);
	if (rc == 0 && !sim_interrupted)
		rc = start_workers(s, e);
	if (sim_interrupted)
		rc = err_set(e, FAULT_UNAVAILABLE, NULL, "interrupted before all nodes were there");
	crew.start_ns = clock_mono_ns();
	if (rc == 0 && s->shared) {
		s->shared->n_api = 0; /* what the nodes were made with does not count */
		rc = sc->run(s, o, e);
		if (rc < 0 && sim_interrupted)
			rc = err_set(e, FAULT_UNAVAILABLE, NULL, "interrupted");
	}
	if (s->shared && crew.n) {
		crew_look(s, o);
		figures(s, o);
		stop_all(s);
	}
	hub_kill(s, SIGTERM);
	disk_done(s);
	if (s->has_scratch)
		(void)!tree_remove(s->o.scratch, NULL);
	return rc;
}
