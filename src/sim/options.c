/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/options.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define AT(field) offsetof(struct sim_options, field)

const struct setting settings[] = {
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
	{ "rate", "N",
	  "new nodes a second at the start, where both ends can serve them; 0: all at once (default 500)",
	  AT(rate), 1000000 },
	{ "churn", "N", "API changes a second (default 0)", AT(churn), 100000 },
	{ "seconds", "N", "how long steady lasts, or the others may take (default 60)", AT(seconds),
	  86400 },
	{ "chains", "PERCENT", "of the nodes that have functions and a chain (default 100)",
	  AT(n_chains), 100 },
	{ "percent", "PERCENT", "of the nodes that are slow, or of other releases (default 30)",
	  AT(percent), 100 },
	{ "start-ms", "MS",
	  "that the start of a container takes, half to one and a half of it (default 30)",
	  AT(start_ms), 60000 },
	{ "fail-percent", "PERCENT",
	  "of the steps with containers that fail: wiring, start, stop (default 0)",
	  AT(fail_percent), 100 },
	{ "jobs", "N", "processes that set the nodes up (default 8)", AT(n_jobs), SIM_WORKERS_MAX },
	{ "workers", "N", "processes that are nodes, at least (default: one per processor)",
	  AT(n_workers), SIM_WORKERS_MAX },
	{ "fronts", "N",
	  "of the hub that is started (default: one per processor, more where the limit of open files asks for it)",
	  AT(n_fronts), 16 },
	{ "hub-urls", "N", "that each node knows, all of the same hub (default 1)", AT(n_hub_urls),
	  SIM_HUB_URLS_MAX },
	{ "no-tickets", NULL,
	  "the nodes have lost their session tickets: each connection is a full handshake",
	  AT(no_tickets), 1 },
	{ "json", "FILE", "write the report as JSON; - is the standard output", AT(json), 0 },
	{ "html", "FILE", "write the report as a page with plots", AT(html), 0 },
	{ "quiet", NULL, "no progress", AT(quiet), 1 },
	{ "help", NULL, "show this text", 0, 1 },
	{ "version", NULL, "show the version", 0, 1 },
};
const size_t n_settings = ARRAY_LEN(settings);

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

int options_read(int argc, char **argv, struct sim *s, struct err *e)
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
	if (s->o.n_hub_urls == 0)
		return err_set(e, FAULT_BAD_REQUEST, "hub-urls", "--hub-urls is at least 1");
	if (!s->o.hub_binary && (!s->port || !s->o.cacert))
		return err_set(e, FAULT_BAD_REQUEST, "hub-binary",
			       "name a hub: --hub-binary FILE, or --os-cloud, --hub-port and --ca");
	return 0;
}
