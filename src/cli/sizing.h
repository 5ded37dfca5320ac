/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_CLI_SIZING_H
#define DEMARC_CLI_SIZING_H

/*
 * The arithmetic of `demarc capacity`: what demarc-sim reported of each rung, whether it meets the criteria, and what follows
 * for the number of nodes. No I/O.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

#define SIZING_RUNGS_MAX 32u
#define SIZING_POINTS_MAX 100000u /* of one report */
/* Beyond this many times the largest rung nothing is said: a line through few points does not reach further. */
#define SIZING_REACH 4.0

/* Row: name, option of `demarc capacity`, what is allowed by default, the unit, what the limit is called. */
#define SIZING_TABLE(X)                                                                            \
	X(LOST, "lost", 0, "", "changes lost or nodes not steady")                                 \
	X(FAILED, "failed", 0, "", "API requests that failed")                                     \
	X(STORM, "recover-seconds", 60, "s", "the time of a storm")                                \
	X(API, "api-ms", 100, "ms", "the API's p99")                                               \
	X(CHANGES, "changes-percent", 90, "%", "the rate of changes")                              \
	X(CPU, "cpu-percent", 50, "%", "CPU at steady")                                            \
	X(MEMORY, "memory-percent", 80, "%", "memory")                                             \
	X(FILES, "files", 0, "", "file descriptors")
enum sizing_by {
#define X(name, option, dflt, unit, text) BY_##name,
	SIZING_TABLE(X)
#undef X
		BY_COUNT
};
struct sizing_row {
	const char *option, *unit, *text;
	unsigned dflt;
};
extern const struct sizing_row sizing_rows[BY_COUNT];

struct sizing_goal {
	double allowed[BY_COUNT]; /* in the row's unit; of FILES: connections */
	double factor; /* a storm within so many times the bare handshakes is in time, too */
	double churn;  /* changes a second that were asked for; 0: none */
	double n_cpus, memory_mb; /* the machine's */
};

/* What one scenario reported; NAN: not measured. */
struct sizing_report {
	double up_s;	 /* from the start to all nodes steady */
	double steady_s; /* from the event to all steady again; -1: never */
	double bare_s, ratio, hub_cpu_s, sim_cpu_s, peak_mb, show_p99_ms, show_failed, changes,
		changes_failed, lost; /* lost: changes, nodes and intents */
	double returns, resumed;      /* connections made again; of these by a ticket */
	bool interrupted;
};
/* Of demarc-sim's JSON. BAD_REQUEST names the member that is missing or is not what it must be. */
WARN_UNUSED int sizing_read(struct str text, const char *scenario, unsigned nodes,
			    struct sizing_report *ret, struct err *e);

struct sizing_rung {
	double nodes, up_s, storm_s, ratio, resumed_percent, kill_s, sim_percent;
	double value[BY_COUNT]; /* measured, in the units of `allowed`; NAN: not measured */
	unsigned failed;	/* bit of each criterion that it does not meet */
};
void sizing_rung(const struct sizing_goal *g, unsigned nodes, double seconds,
		 const struct sizing_report *steady, const struct sizing_report *storm,
		 const struct sizing_report *kill, struct sizing_rung *ret); /* kill: may be NULL */

struct sizing_limit {
	double nodes;	/* INFINITY: none was seen */
	bool estimated; /* by a line through the rungs; otherwise measured or known */
	bool beyond; /* the line crosses beyond SIZING_REACH times the largest rung, which is what `nodes` says */
};
struct sizing {
	double nodes; /* of the largest rung that met all; 0: none did */
	double tried; /* of the largest rung */
	int by;	      /* enum sizing_by: what limits; -1: nothing in sight */
	bool is_met;  /* `by` was met by a rung that failed; otherwise it is an estimate */
	struct sizing_limit limits[BY_COUNT];
};
/* Rungs rise; only the last may have failed. */
void sizing_of(const struct sizing_goal *g, const struct sizing_rung *rungs, size_t n,
	       struct sizing *ret);

/* "500,1000" into rising numbers, each 1 to max. */
WARN_UNUSED int sizing_rungs_parse(struct str text, unsigned max, unsigned *ret, size_t *ret_n,
				   struct err *e);
/* The usual ladder up to `max`, which is its last rung. Returns how many. */
size_t sizing_ladder(unsigned max, unsigned *ret);

#endif
