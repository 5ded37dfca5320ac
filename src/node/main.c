/* SPDX-License-Identifier: Apache-2.0 */

/* demarc-node: the program. Commands run, enrol, purge; see man/demarc-node.8. */

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/types.h"
#include "link/backoff.h"
#include "link/peer.h"
#include "node/cert.h"
#include "node/channel.h"
#include "node/node.h"

#define EXIT_USAGE 2

static const char usage_text[] =
	"Usage: demarc-node run [OPTION]...\n"
	"       demarc-node enrol TOKEN|URL|FILE [--again] [OPTION]...\n"
	"       demarc-node purge [OPTION]...\n"
	"\n"
	"The agent of demarc at a customer's premises: runs network functions, wires them and\n"
	"steers traffic through them as the hub's intent says. It listens on nothing.\n"
	"\n"
	"  run      reconcile until SIGTERM; functions and traffic go on without the agent\n"
	"  enrol    get this node's certificate with a one-time token, the URL that holds it,\n"
	"           or a zero-touch file\n"
	"  purge    remove every container, namespace, interface, pin and mount of this node\n"
	"\n"
	"  --config FILE        settings in YAML; flags override them\n"
	"  --state-dir DIR      what must survive a reboot (/var/lib/demarc-node)\n"
	"  --run-dir DIR        what need not (/run/demarc-node)\n"
	"  --pin-dir DIR        datapath pins (/sys/fs/bpf/demarc/NODE-ID)\n"
	"  --nic NAME=DEVICE[,HOOK]\n"
	"                       a physical network and its interface, e.g. lan=eth1; repeatable.\n"
	"                       HOOK: auto (default: XDP where the NIC can), tc, xdp\n"
	"  --hub URL            instead of the hubs that enrolment stored\n"
	"  --proxy HOST:PORT    reach the hub through an HTTP CONNECT proxy\n"
	"  --enrol-file FILE    run: enrol with this zero-touch file first, if not enrolled yet (STATE/enrol)\n"
	"  --shell yes|no       whether the hub's administrators may have a shell here (no)\n"
	"  --peer-copy ADDRESS  take images from other nodes of the site, and give them, at this address (no)\n"
	"  --peer-copy-rate MB  a second, for each node that takes one (10)\n"
	"  --again              enrol: this node is enrolled and comes back, as who it is\n"
	"  --user NAME          user of the process that talks to the network (nobody)\n"
	"  --runtime COMMAND    OCI runtime (runc)\n"
	"  --ipfix ADDR[:PORT]  collectors of flow records, with commas; UDP port 4739\n"
	"  --ipfix-active S     report a living flow each S seconds (60)\n"
	"  --max-flows N        room for so many flow records, when there is no table yet\n"
	"  --debug              log more\n"
	"  --help, --version\n";

enum option_id {
	OPT_CONFIG = 256,
	OPT_NIC,
	OPT_DEBUG,
	OPT_AGAIN,
	OPT_HELP,
	OPT_VERSION,
	OPT_SCALAR
};

/* Flags that set one configuration key: val is OPT_SCALAR + index of the key. */
static const char *const scalar_keys[] = { "state_dir",	   "run_dir",	 "pin_dir",	  "hub",
					   "proxy",	   "user",	 "runtime",	  "ipfix",
					   "ipfix_active", "enrol_file", "max_flows",	  "shell",
					   "max_bindings", "peer_copy",	 "peer_copy_rate" };

static const struct option options[] = {
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "nic", required_argument, NULL, OPT_NIC },
	{ "debug", no_argument, NULL, OPT_DEBUG },
	{ "again", no_argument, NULL, OPT_AGAIN },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "state-dir", required_argument, NULL, OPT_SCALAR },
	{ "run-dir", required_argument, NULL, OPT_SCALAR + 1 },
	{ "pin-dir", required_argument, NULL, OPT_SCALAR + 2 },
	{ "hub", required_argument, NULL, OPT_SCALAR + 3 },
	{ "proxy", required_argument, NULL, OPT_SCALAR + 4 },
	{ "user", required_argument, NULL, OPT_SCALAR + 5 },
	{ "runtime", required_argument, NULL, OPT_SCALAR + 6 },
	{ "ipfix", required_argument, NULL, OPT_SCALAR + 7 },
	{ "ipfix-active", required_argument, NULL, OPT_SCALAR + 8 },
	{ "enrol-file", required_argument, NULL, OPT_SCALAR + 9 },
	{ "max-flows", required_argument, NULL, OPT_SCALAR + 10 },
	{ "shell", required_argument, NULL, OPT_SCALAR + 11 },
	{ "max-bindings", required_argument, NULL, OPT_SCALAR + 12 },
	{ "peer-copy", required_argument, NULL, OPT_SCALAR + 13 },
	{ "peer-copy-rate", required_argument, NULL, OPT_SCALAR + 14 },
	{ NULL, 0, NULL, 0 },
};

struct args {
	struct config cfg;
	enum log_level level;
	const char *command, *token;
	bool again;
};

static int fail(const struct err *e)
{
	(void)fprintf(stderr, "demarc-node: %s%s%s\n", e->field, *e->field ? ": " : "", e->msg);
	return EXIT_FAILURE;
}

static int usage(void)
{
	(void)fputs("Try 'demarc-node --help'.\n", stderr);
	return EXIT_USAGE;
}

/* First pass: only the file, so that flags override it wherever they stand. */
static int load_config(int argc, char **argv, struct args *a, struct err *e)
{
	int opt, r = 0;

	optind = 1;
	opterr = 0;
	while (r == 0 && (opt = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (opt == OPT_CONFIG)
			r = config_load(optarg, &a->cfg, e);
	opterr = 1;
	return r;
}

/* Returns -1 to go on, else the exit status. */
static int parse_args(int argc, char **argv, struct args *a)
{
	struct err e = { 0 };
	int opt, r = load_config(argc, argv, a, &e);

	optind = 1;
	while (r == 0 && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == OPT_HELP)
			return fputs(usage_text, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
		if (opt == OPT_VERSION)
			return puts("demarc-node " DEMARC_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
		if (opt == '?')
			return usage();
		if (opt == OPT_DEBUG)
			a->level = LOG_DEBUG_;
		else if (opt == OPT_AGAIN)
			a->again = true;
		else if (opt == OPT_NIC)
			r = config_nic_add(&a->cfg, optarg, &e);
		else if (opt >= OPT_SCALAR)
			r = config_set(&a->cfg, scalar_keys[opt - OPT_SCALAR], optarg, &e);
	}
	if (r < 0) {
		(void)fail(&e);
		return EXIT_USAGE;
	}
	a->command = optind < argc ? argv[optind] : NULL;
	a->token = optind + 1 < argc ? argv[optind + 1] : NULL;
	return -1;
}

/* ---- signals ---- */

static void on_signal(uv_signal_t *s, int signum)
{
	struct node *n = s->data;

	log_info("stopping", "signal=%d", signum);
	uv_stop(n->loop);
}

static void watch_signals(struct node *n)
{
	(void)uv_signal_init(n->loop, &n->sigterm);
	(void)uv_signal_init(n->loop, &n->sigint);
	n->sigterm.data = n->sigint.data = n;
	(void)uv_signal_start(&n->sigterm, on_signal, SIGTERM);
	(void)uv_signal_start(&n->sigint, on_signal, SIGINT);
}

/* ---- enrolment ---- */

static int enrol_with(const struct args *a, const char *token, struct err *e)
{
	const struct link_enrolment n = {
		.state_dir = a->cfg.state_dir,
		.token = token,
		.hub_url = *a->cfg.hub ? a->cfg.hub : NULL,
		.proxy = *a->cfg.proxy ? a->cfg.proxy : NULL,
		.again = a->again,
	};

	return link_enrol_as(&n, e);
}

static int enrol_by_file(const struct args *a, const char *path, struct err *e)
{
	CLEANUP(free_charp) char *token = NULL;
	int r = enrol_file_token(path, &token, e);

	if (r == 0)
		r = enrol_with(a, token, e);
	if (token)
		explicit_bzero(token, strlen(token));
	return r;
}

/* A token that will never be good again ends the waiting; a hub that is away does not. */
static bool may_get_better(const struct err *e)
{
	return e->fault == FAULT_UNAVAILABLE || e->fault == FAULT_TIMEOUT ||
	       e->fault == FAULT_PROTOCOL || e->fault == FAULT_NOT_FOUND;
}

static void pause_ms(uint32_t ms)
{
	const struct timespec t = { ms / 1000, (long)(ms % 1000) * NS_PER_MS };

	(void)nanosleep(&t, NULL); /* a signal ends the program */
}

/* Zero touch: the machine was made elsewhere, and is switched on for the first time. Waits for its hub as long as it takes. */
static int enrol_at_start(const struct args *a, struct err *e)
{
	char path[sizeof(a->cfg.state_dir) + sizeof("/identity.json")], dflt[sizeof(path)];
	const char *file = a->cfg.enrol_file;
	struct backoff b = { 0 };
	uint32_t random;
	int r;

	(void)snprintf(path, sizeof(path), "%s/identity.json", a->cfg.state_dir);
	(void)snprintf(dflt, sizeof(dflt), "%s/" CONFIG_ENROL_FILE, a->cfg.state_dir);
	if (!*file && access(dflt, F_OK) == 0)
		file = dflt;
	if (!*file || access(path, F_OK) == 0)
		return 0;
	while ((r = enrol_by_file(a, file, e)) < 0 && may_get_better(e)) {
		log_limited(LOG_WARN_, "enrolment_waits", "reason=%s", LOGQ(e->msg));
		random_bytes(&random, sizeof(random));
		pause_ms(backoff_next_ms(&b, random, 0));
	}
	if (r == 0)
		log_info("enrolled", "file=%s", LOGQ(file));
	return r;
}

/* ---- run ---- */

static int run(const struct args *a)
{
	static struct node n; /* static: large, and there is one */
	struct link_identity id = { 0 };
	struct err e = { 0 };
	int r = enrol_at_start(a, &e);

	if (r == 0)
		r = link_identity_load(a->cfg.state_dir, &id, &e);
	if (r < 0)
		return fail(&e);
	r = node_open(&n, &a->cfg, id.node_id, &e);
	if (r == 0)
		r = channel_start(&n, &id, &e);
	if (r == 0) {
		watch_signals(&n);
		log_info("started", "node=%s release=%s revision=%llu", n.id, DEMARC_VERSION,
			 (unsigned long long)intent_revision(n.intent));
		(void)uv_run(n.loop, UV_RUN_DEFAULT);
	}
	node_close(&n);
	link_identity_done(&id);
	return r < 0 ? fail(&e) : EXIT_SUCCESS;
}

static int enrol(const struct args *a)
{
	struct err e = { 0 };

	if (!a->token)
		return usage();
	if ((strchr(a->token, '.') && access(a->token, F_OK) < 0 ? enrol_with :
								   enrol_by_file)(a, a->token, &e) < 0)
		return fail(&e);
	(void)puts("enrolled");
	return EXIT_SUCCESS;
}

static int purge(const struct args *a)
{
	struct link_identity id = { 0 };
	struct err e = { 0 };
	int r = link_identity_load(a->cfg.state_dir, &id, &e);

	if (r == 0)
		r = node_purge(&a->cfg, id.node_id, &e);
	link_identity_done(&id);
	return r < 0 ? fail(&e) : EXIT_SUCCESS;
}

static const struct {
	const char *name;
	int (*fn)(const struct args *a);
} commands[] = { { "run", run }, { "enrol", enrol }, { "purge", purge } };

int main(int argc, char **argv)
{
	struct args a = { .level = LOG_INFO_ };
	int r;

	if (argc == 2 && strcmp(argv[1], LINK_CHILD_ARG) == 0)
		return link_child_main();
	if (argc == 2 && strcmp(argv[1], PEER_CHILD_ARG) == 0)
		return peer_child_main();
	(void)umask(0077);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)mallopt(M_ARENA_MAX, 2); /* workers come and go: memory is worth more than their parallel malloc */
	config_default(&a.cfg);
	r = parse_args(argc, argv, &a);
	if (r >= 0)
		return r;
	log_init("demarc-node", a.level);
	for (size_t i = 0; a.command && i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i].name, a.command) == 0)
			return commands[i].fn(&a);
	return usage();
}
