/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_SIM_SIM_H
#define DEMARC_SIM_SIM_H

/*
 * demarc-sim: very many nodes at one hub, on one machine. The nodes are the agent's own (src/link, src/node) on a machine that does as if
 * (node.h says what of it is not there).
 *
 *   parent (scenario.c)  tells workers what to do over socketpairs, reads what came of it in shared memory, prints
 *   workers (worker.c)   one loop each, thousands of nodes; as many as the limit of open files asks for
 *   probe, churn (load.c) API requests: how long they take, and changes whose arrival at the nodes is watched
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/types.h"

#define SIM_NODES_MAX 200000u
#define SIM_SAMPLES_MAX 200000u
#define SIM_FILES_PER_NODE 3u /* connection, intent, events */
#define SIM_WORKERS_MAX 64u
#define FLEET_RENEWED                                                                              \
	"fleet.renewed" /* in state_dir: a line {id, cert, key} for each new certificate */

enum sim_state { SIM_DOWN, SIM_CONNECTED, SIM_STEADY };

/* One node, as everybody sees it. Written by its worker, but for `acked`. */
struct sim_slot {
	_Atomic uint32_t state; /* enum sim_state; steady: the hub and it agree about the intent */
	_Atomic uint32_t held; /* number in the name of its watched port: the newest change that it holds */
	_Atomic uint32_t acked; /* newest change that the API acknowledged */
	_Atomic uint32_t n_up, n_down, n_intents, n_refused, n_resyncs;
	_Atomic uint32_t n_resumed; /* of n_up: by a ticket, without certificates */
	_Atomic bool has_ticket;    /* the next connection may be */
	_Atomic uint32_t n_starts, n_steps_failed, n_deaths; /* of functions in containers */
	_Atomic uint32_t n_renewed; /* certificates that the hub has seen in a handshake */
	_Atomic bool whole; /* every function is well, every chain in force with all of its hops */
	_Atomic bool slow,
		mixed; /* slow: its word is not waited for; mixed: it speaks as another release does */
	_Atomic uint32_t group_round; /* newest change to everybody's group that it holds */
	_Atomic int64_t steady_ns, held_ns, group_ns;	      /* when that was reached */
	_Atomic uint64_t revision, report_sent, report_acked; /* numbers of the newest ones */
};

/* Times of one kind, in microseconds. */
struct sim_samples {
	_Atomic uint32_t n;
	uint32_t us[SIM_SAMPLES_MAX];
};

struct sim_shared {
	_Atomic uint64_t n_frames;
	_Atomic uint32_t n_api, n_api_failed, n_changes, n_changes_failed, n_no_space,
		n_late;		   /* no_space: of those that failed, refused for that reason */
	_Atomic uint32_t n_ready;  /* workers whose nodes are made */
	_Atomic uint32_t n_obeyed; /* orders that a worker has carried out */
	_Atomic bool stop_load;
	char group[UUID_STR_SIZE]; /* that every node has a port in; "": not made. Written before the nodes connect. */
	_Atomic uint32_t group_round; /* changes to it that were asked for */
	_Atomic int64_t group_asked_ns;
	struct sim_samples show, fresh, change,
		confirm; /* GET of a server; the same on a new TLS connection; a change's request; from request to the node's holding it */
	struct sim_slot slots[];
};

struct fleet_node {
	char id[UUID_STR_SIZE], name[64];
	char port[UUID_STR_SIZE],
		server[UUID_STR_SIZE]; /* watched by changes and by the probe; "": none yet */
	char *cert, *key;
};

#define SIM_HUB_URLS_MAX 8 /* as many as an agent takes */
struct sim_options {
	const char *scenario, *state_dir, *hub_binary, *scratch, *cloud, *cacert;
	const char *json, *html;
	unsigned n_nodes, rate, churn, seconds, n_jobs, n_workers, n_fronts, n_hub_urls, n_chains,
		percent; /* n_chains: nodes that have one, percent; percent: that are unlike the others */
	unsigned start_ms, fail_percent;
	pid_t hub_pid;
	bool no_tickets, quiet;
};

struct fleet {
	struct fleet_node *nodes;
	size_t n;
	char *ca;
};

struct sim {
	struct sim_options o;
	struct sim_shared *shared;
	struct fleet fleet;
	int port; /* of the hub, at 127.0.0.1 */
	char host[64];
	char hub_dir[300]; /* "": state_dir/hub */
	pid_t hub;	   /* 0: not ours */
	bool has_scratch;  /* the folder is this run's, and goes with it */
};

/* fleet.c: nodes that are enrolled and have an intent; made once, kept in the state directory. */
WARN_UNUSED int fleet_ready(struct sim *s, struct err *e);
void fleet_free(struct fleet *f);

/* scratch.c: the folder of options.scratch; those that killed runs have left go. */
WARN_UNUSED int scratch_open(struct sim *s, struct err *e);

extern volatile int sim_interrupted; /* SIGINT or SIGTERM came: whoever waits or repeats looks at it */

/* hub.c: a hub of our own, and what a process costs. */
WARN_UNUSED int hub_start(struct sim *s, struct err *e);
void hub_kill(struct sim *s, int sig); /* and waits */
struct hub_cost {
	double cpu_s;
	uint64_t rss_kb;
};
struct hub_cost process_cost(pid_t pid); /* zeros: unknown */
void sim_pause_us(int64_t us);

/* worker.c */
enum worker_verb {
	WORK_CONNECT = 'c', /* number: nodes a second; 0: all at once */
	WORK_DROP = 'd',    /* every connection breaks; the nodes come back by themselves */
	WORK_FLAP = 'f',    /* number: percent of the nodes break */
	WORK_MOVE = 'm',    /* every node has another address from now on */
	WORK_SLOW = 's',    /* number: percent of the nodes are slow from now on */
	WORK_KILL = 'k',    /* number: a container ends on so many percent of the nodes */
	WORK_MIX = 'x', /* number: percent of the nodes are of other releases; before they connect */
	WORK_QUIT = 'q',
};
struct worker_order {
	enum worker_verb verb;
	unsigned number;
};
/* Never returns. fd: orders. */
_Noreturn void worker_main(struct sim *s, size_t first, size_t n, int fd);

/* load.c: children that talk to the API until shared->stop_load. */
#define SIM_PROBE_MS 50
pid_t load_probe(struct sim *s, unsigned every_ms); /* looks at servers, one request every so long */
pid_t load_churn(struct sim *s, unsigned per_second);
pid_t load_single(struct sim *s, unsigned per_second); /* never two changes at a time */
void samples_add(struct sim_samples *s, int64_t ns);

/* bare.c: as many mutual handshakes and nothing else, on the same processors. Seconds; cpu_s: of the server's side. */
WARN_UNUSED int bare_handshakes(struct sim *s, unsigned n, double *ret_s, double *ret_cpu_s,
				struct err *e);

#endif
