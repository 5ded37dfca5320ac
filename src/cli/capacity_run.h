/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_CLI_CAPACITY_RUN_H
#define DEMARC_CLI_CAPACITY_RUN_H

/* What `demarc capacity` needs of the system: demarc-sim as a child, the programs' places, the state directory, the machine. */

#include "base/str.h"
#include "cli/cli.h"

#define RUN_PATH_MAX 512

/* demarc-sim or demarc-hub: the one that the option names, else where they are installed or built. NOT_FOUND with the remedy. */
WARN_UNUSED int run_find(const struct cli *c, const char *name, const char *option,
			 char ret[static RUN_PATH_MAX], struct err *e);

/*
 * Runs argv to its end, its standard output into *out; lines of its standard error are progress. Nothing of it is left when this
 * returns: its process group is ended, also after an interruption, which is UNAVAILABLE. Otherwise returns its exit status and the
 * last line that it said.
 */
struct run_words {
	char line[256];
};
WARN_UNUSED int run_child(const char *const argv[], struct progress *p, struct strbuf *out,
			  struct run_words *said, struct err *e);

/* The state directory: made here, or kept by an earlier run; nobody else's. */
struct run_state {
	char dir[RUN_PATH_MAX], scratch[RUN_PATH_MAX];
	bool is_made; /* by this run, which takes it away unless it is to be kept */
	int lock_fd;
};
WARN_UNUSED int run_state_open(const struct cli *c, struct run_state *s, struct err *e);
void run_state_close(struct run_state *s, bool keep);

struct run_machine {
	double n_cpus, memory_mb, files;
	double load; /* of the last minute, before anything was started; 0: not known */
};
struct run_machine run_machine(void);

#endif
