/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_MACHINE_H
#define DEMARC_NODE_MACHINE_H

/*
 * What is done to the machine for a function, and seen of it: server.c decides, and knows the machine by this table only. The agent's is
 * machine_local: namespaces, veths and processes, made by jobs in libuv's workers. demarc-sim has one that only takes its time (sim/machine.c).
 * Thread: the loop's.
 */

#include "node/server.h"

struct machine {
	unsigned tick_ms;   /* between what a node does regularly */
	unsigned verify_ms; /* between looks at a function that nothing is heard of */
	/* Begins s->job. When it is over, its result is in it and the loop calls server_job_done(s), never from within this call. < 0: not begun. */
	int (*begin)(struct server *s);
	/* What PREPARE has made is opened; server_inside_changed(s) is called when somebody changes it. */
	int (*enter)(struct server *s, struct err *e);
	/* Watches the process s->pid; server_died() is called when it ends. */
	int (*follow)(struct server *s, struct err *e);
	/* Reads back the vNICs: s->want.n rows of s->seen. Returns how many slots differ from s->want. *ret_again: something changed meanwhile. */
	int (*look)(struct server *s, bool *ret_again, struct err *e);
	/* Lets go of what enter() and follow() have opened, also of a part of it; the function goes on. */
	void (*leave)(struct server *s);
};

extern const struct machine machine_local;

#endif
