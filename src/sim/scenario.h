/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_SIM_SCENARIO_H
#define DEMARC_SIM_SCENARIO_H

/* What is done to the nodes and the hub, and what is learnt from it. Thread: the parent's only one. */

#include "sim/sim.h"

#define POINTS_MAX 3600u

/* The state each second, for the plots. */
struct point {
	double t_s, hub_cpu_s, sim_cpu_s, rss_mb;
	unsigned steady;
};

struct outcome {
	double steady_s;     /* from the event to the last node steady; < 0: not reached */
	double p50_s, p99_s; /* of the nodes' own times to steady */
	double hub_cpu_s, sim_cpu_s, hub_rss_kb_node;
	double bare_s, bare_cpu_s; /* of as many bare handshakes; 0: not measured */
	double show_p50_ms, show_p99_ms, show_max_ms;
	double fresh_p50_ms, fresh_p99_ms, fresh_max_ms; /* on a new TLS connection */
	double change_p50_ms, confirm_p50_ms, confirm_p99_ms, confirm_max_ms;
	double all_s, all_p50_s; /* all-change: the slowest round; < 0: not all, in time */
	double caught_up_s; /* slow-nodes: until those that were hold everything; < 0: not in time */
	double before_p50_ms, before_p99_ms; /* slow-nodes: confirmations while none was slow */
	double hub_growth_mb;		     /* slow-nodes: at most, while they were */
	unsigned n_unlike,
		n_resyncs; /* nodes that were slow, or of other releases; told to take everything again */
	unsigned n_returns, n_resumed; /* connections made again after the event; of these by a ticket */
	unsigned n_behind; /* slow-nodes: most that did not hold what was acknowledged, at a time */
	unsigned n_waiting,
		n_unstored; /* nodes whose newest report is not stored: while the disk is full, at the end */
	double space_back_s; /* hub-restart-full-disk: until a change works; < 0: not in time */
	unsigned n_no_space,
		full_after_start; /* refused for want of space; of these, by the hub that was started so */
	unsigned n_show, n_fresh, n_show_failed, n_changes, n_changes_failed, n_late, n_lost,
		n_not_steady, n_refused;
	double healed_s; /* function-deaths: until every chain is whole; < 0: not in time */
	double renewed_s; /* renewal: until every node is steady with its new certificate; < 0: not in time */
	unsigned n_starts, n_steps_failed, n_deaths; /* of functions in containers */
	unsigned n_renewed,
		n_not_whole; /* new certificates in use; nodes with a function or chain that is not well, at the end */
	bool interrupted;
	size_t n_points;
	struct point points[POINTS_MAX];
};

struct scenario {
	const char *name, *summary;
	int (*run)(struct sim *s, struct outcome *o, struct err *e);
	bool needs_hub; /* of its own */
};
extern const struct scenario scenarios[]; /* ends with name NULL */

const struct scenario *scenario_find(const char *name);
/* Hub, fleet, workers, the scenario, the figures. */
WARN_UNUSED int scenario_run(struct sim *s, const struct scenario *sc, struct outcome *o, struct err *e);

/* report.c */
void outcome_print(const struct sim *s, const struct outcome *o);
WARN_UNUSED int outcome_json(const struct sim *s, const struct outcome *o, const char *path,
			     struct err *e);
WARN_UNUSED int outcome_html(const struct sim *s, const struct outcome *o, const char *path,
			     struct err *e);

#endif
