/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "sim/options.h"

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
	return rc < 0 || later.msg[0] || o->n_lost || o->space_back_s < 0 || o->n_unstored ||
	       o->healed_s < 0 || o->renewed_s < 0 || (o->n_not_steady && !o->interrupted);
}

/* --help and --version work wherever they stand. */
static bool only_tells(int argc, char **argv)
{
	const char *word = argc == 2 ? argv[1] : "";

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "--version") == 0)
			word = argv[i];
	if (strcmp(word, "--help") == 0)
		help_usage(stdout);
	else if (strcmp(word, "--version") == 0)
		printf("demarc-sim " DEMARC_VERSION "\n");
	else if (strcmp(word, "completion") == 0)
		help_completion();
	else if (strcmp(word, "manual") == 0)
		help_manual();
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	char scratch[64];
	struct sim s = { .o = { .n_nodes = 100,
				.rate = 500,
				.seconds = 60,
				.n_chains = 100,
				.percent = 30,
				.n_jobs = 8,
				.n_hub_urls = 1,
				.start_ms = 30,
				.state_dir = "demarc-sim",
				.cloud = NULL },
			 .host = "localhost" };
	const struct scenario *sc = argc > 1 ? scenario_find(argv[1]) : NULL;
	struct err e = { 0 };

	if (only_tells(argc, argv))
		return 0;
	if (!sc) {
		help_usage(stderr);
		return 2;
	}
	(void)snprintf(scratch, sizeof(scratch), "/dev/shm/demarc-sim-%d", (int)getpid());
	s.o.scratch = scratch;
	s.o.scenario = sc->name;
	if (options_read(argc, argv, &s, &e) < 0) {
		fprintf(stderr, "demarc-sim: %s\n", e.msg);
		return 2;
	}
	return run(&s, sc);
}
