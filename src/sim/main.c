/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "sim/scenario.h"

struct setting {
	const char *name, *arg, *help;
	size_t at; /* of the option: a text, or a number when max is not 0; max 1 without arg: a flag */
	unsigned max;
};
#define AT(field) offsetof(struct sim_options, field)

static const struct setting settings[] = {
	{ "nodes", "N", "how many (default 100)", AT(n_nodes), SIM_NODES_MAX },
	{ "hub-binary", "FILE", "start this demarc-hub, with its data in the state directory",
	  AT(hub_binary), 0 },
	{ "state-dir", "DIR", "where the nodes' certificates are kept between runs (default ./demarc-sim)",
	  AT(state_dir), 0 },
	{ "scratch", "DIR", "where the nodes keep their intents; goes at the end (default in /dev/shm)",
	  AT(scratch), 0 },
	{ "os-cloud", "NAME", "the hub that is there, as of clouds.yaml; with --hub-port and --ca",
	  AT(cloud), 0 },
	{ "hub-name", "NAME", "name in that hub's certificate (default localhost)", 0, 0 },
	{ "hub-port", "N", "where it listens on this machine", 0, 65535 },
	{ "hub-pid", "PID", "its process, for CPU and memory", 0, 1u << 30 },
	{ "ca", "FILE", "its CA", AT(cacert), 0 },
	{ "rate", "N", "new nodes a second at the start; 0: all at once (default 500)", AT(rate),
	  1000000 },
	{ "churn", "N", "API changes a second (default 0)", AT(churn), 100000 },
	{ "seconds", "N", "how long steady lasts, or the others may take (default 60)", AT(seconds),
	  86400 },
	{ "chains", "PERCENT", "of the nodes that have functions and a chain (default 100)",
	  AT(n_chains), 100 },
	{ "jobs", "N", "processes that set the nodes up (default 8)", AT(n_jobs), SIM_WORKERS_MAX },
	{ "workers", "N", "processes that are nodes, at least (default: one per processor)",
	  AT(n_workers), SIM_WORKERS_MAX },
	{ "tickets", NULL, "sessions are resumed; without it each connection is a full handshake",
	  AT(tickets), 1 },
	{ "json", "FILE", "write the report as JSON; - is the standard output", AT(json), 0 },
	{ "html", "FILE", "write the report as a page with plots", AT(html), 0 },
	{ "quiet", NULL, "no progress", AT(quiet), 1 },
	{ "help", NULL, "show this text", 0, 1 },
	{ "version", NULL, "show the version", 0, 1 },
};

static void usage(FILE *out)
{
	fprintf(out,
		"Usage: demarc-sim SCENARIO [OPTION]...\nVery many nodes at one hub, on this machine.\n\nScenarios:\n");
	for (const struct scenario *sc = scenarios; sc->name; sc++)
		fprintf(out, "  %-18s %s\n", sc->name, sc->summary);
	fprintf(out, "\nOptions:\n");
	for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
		char left[40];

		(void)snprintf(left, sizeof(left), "--%s %s", settings[i].name,
			       settings[i].arg ? settings[i].arg : "");
		fprintf(out, "  %-18s %s\n", left, settings[i].help);
	}
}

static const struct setting *setting_of(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		if (str_eq_c(name, settings[i].name))
			return &settings[i];
	return NULL;
}

static int put(struct sim *s, const struct setting *o, const char *value, struct err *e)
{
	char *base = (char *)&s->o;
	uint64_t n = 0;

	if (o->max && o->arg && str_to_u64(str_of(value), o->max, &n) < 0)
		return err_set(e, FAULT_BAD_REQUEST, o->name,
			       "--%s takes a number up to %u, not '%.60s'", o->name, o->max, value);
	if (strcmp(o->name, "hub-port") == 0)
		s->port = (int)n;
	else if (strcmp(o->name, "hub-pid") == 0)
		s->o.hub_pid = (pid_t)n;
	else if (strcmp(o->name, "hub-name") == 0)
		(void)str_copy(s->host, sizeof(s->host), str_of(value));
	else if (!o->arg && strcmp(o->name, "help") != 0 && strcmp(o->name, "version") != 0)
		*(bool *)(base + o->at) = true;
	else if (o->arg && o->max)
		*(unsigned *)(void *)(base + o->at) = (unsigned)n;
	else if (o->arg)
		*(const char **)(void *)(base + o->at) = value;
	return 0;
}

static int read_options(int argc, char **argv, struct sim *s, struct err *e)
{
	for (int i = 2; i < argc; i++) {
		struct str value, name = str_cut(str_of(argv[i]), '=', &value);
		const struct setting *o = NULL;
		bool given = strchr(argv[i], '=') != NULL;
		int rc;

		if (str_starts(name, STR("--")))
			o = setting_of((struct str){ name.ptr + 2, name.len - 2 });
		if (!o)
			return err_set(e, FAULT_BAD_REQUEST, NULL, "no option '%.60s'; see --help",
				       argv[i]);
		if (o->arg && !given && i + 1 == argc)
			return err_set(e, FAULT_BAD_REQUEST, o->name, "--%s needs %s", o->name, o->arg);
		rc = put(s, o, !o->arg ? "" : given ? value.ptr : argv[++i], e);
		if (rc < 0)
			return rc;
	}
	if (s->o.n_nodes == 0 || s->o.n_jobs == 0)
		return err_set(e, FAULT_BAD_REQUEST, "nodes", "--nodes and --jobs are at least 1");
	if (!s->o.hub_binary && (!s->port || !s->o.cacert))
		return err_set(e, FAULT_BAD_REQUEST, "hub-binary",
			       "name a hub: --hub-binary FILE, or --os-cloud, --hub-port and --ca");
	return 0;
}

static void on_signal(int sig)
{
	(void)sig;
	sim_interrupted = 1;
}

static int report(const struct sim *s, const struct outcome *o, struct err *e)
{
	int rc = 0;

	if (!s->o.json || strcmp(s->o.json, "-") != 0)
		outcome_print(s, o);
	if (s->o.json)
		rc = outcome_json(s, o, s->o.json, e);
	if (rc == 0 && s->o.html)
		rc = outcome_html(s, o, s->o.html, e);
	return rc;
}

static int run(struct sim *s, const struct scenario *sc)
{
	CLEANUP(free_voidp) struct outcome *o = calloc(1, sizeof(*o));
	struct err e = { 0 }, later = { 0 };
	int rc;

	if (!o)
		return 1;
	(void)signal(SIGINT, on_signal);
	(void)signal(SIGTERM, on_signal);
	(void)signal(SIGPIPE, SIG_IGN);
	rc = scenario_run(s, sc, o, &e);
	if (o->n_points && report(s, o, &later) < 0)
		fprintf(stderr, "demarc-sim: %s\n", later.msg);
	if (rc < 0)
		fprintf(stderr, "demarc-sim: %s\n", e.msg);
	fleet_free(&s->fleet);
	free(s->fleet.ca);
	/* Lost or missing is a finding: whoever runs this in a script sees it. */
	return rc < 0 || later.msg[0] || o->n_lost || (o->n_not_steady && !o->interrupted);
}

int main(int argc, char **argv)
{
	char scratch[64];
	struct sim s = { .o = { .n_nodes = 100,
				.rate = 500,
				.seconds = 60,
				.n_chains = 100,
				.n_jobs = 8,
				.state_dir = "demarc-sim",
				.cloud = NULL },
			 .host = "localhost" };
	const struct scenario *sc = argc > 1 ? scenario_find(argv[1]) : NULL;
	struct err e = { 0 };

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			usage(stdout);
			return 0;
		}
		if (strcmp(argv[i], "--version") == 0) {
			printf("demarc-sim " DEMARC_VERSION "\n");
			return 0;
		}
	}
	if (!sc) {
		usage(stderr);
		return 2;
	}
	(void)snprintf(scratch, sizeof(scratch), "/dev/shm/demarc-sim-%d", (int)getpid());
	s.o.scratch = scratch;
	s.o.scenario = sc->name;
	if (read_options(argc, argv, &s, &e) < 0) {
		fprintf(stderr, "demarc-sim: %s\n", e.msg);
		return 2;
	}
	return run(&s, sc);
}
