/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_RUNTIME_H
#define DEMARC_NODE_RUNTIME_H

/*
 * The OCI runtime command (runc, crun): argument vectors, never a shell. Every call waits for the command: use a
 * worker. Source: OCI runtime-spec v1.0.2, runtime.md; runc(8).
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct runtime {
	const char *command; /* borrowed */
	char root[300];	     /* --root: the runtime's own state */
};

#define RUNTIME_ID_SIZE 64
struct runtime_row {
	char id[RUNTIME_ID_SIZE];
	pid_t pid;	 /* 0: not running */
	char status[16]; /* "running", "created", "stopped" ... */
};

/* What the runtime knows. Caller frees *ret. Returns how many. */
WARN_UNUSED int runtime_list(const struct runtime *rt, struct runtime_row **ret, struct err *e);
/* create + start. The function's stdout and stderr go to console_path (appended), its stdin is /dev/null. */
WARN_UNUSED int runtime_run(const struct runtime *rt, const char *id, const char *bundle_dir,
			    const char *console_path, pid_t *ret_pid, struct err *e);
/* Asks it to end (SIGTERM) and waits up to grace_ms; absent is success. */
WARN_UNUSED int runtime_stop(const struct runtime *rt, const char *id, pid_t pid, int grace_ms,
			     struct err *e);
/* Kills what is left and forgets it; absent is success. */
WARN_UNUSED int runtime_delete(const struct runtime *rt, const char *id, struct err *e);
/* "runc 1.1.5"; "" when the command does not run. */
void runtime_version(const struct runtime *rt, char *ret, size_t size);

/* A handle of a process that cannot be confused with a later one of the same number. -1 and errno when it is gone. */
int process_open(pid_t pid);
/* Clock ticks since boot at which the process started; 0: gone or a zombie. Source: proc(5). */
uint64_t process_start_time(pid_t pid);

/* Runs argv (NULL-terminated), waits at most timeout_ms, then kills it. out (NUL-terminated, may be NULL) gets the start of
 * what it wrote on both outputs. Returns the exit status, 128 + signal, or < 0 (TIMEOUT, not found). */
WARN_UNUSED int command_run(const char *const *argv, int timeout_ms, char *out, size_t size,
			    struct err *e);

#endif
