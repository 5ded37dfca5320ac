/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_SERVER_H
#define DEMARC_NODE_SERVER_H

/*
 * A function of the node: from its intent to a running, verified container, and away again.
 *
 *   OFF -> (image) -> PREPARE: namespace, veths -> datapath ports -> START: overlay, bundle, runtime -> UP
 *   UP -> STOP: end, delete, unmount, unwire -> OFF (-> after a back-off, or gone)
 *
 * Arrows in capitals are jobs in a worker; one per server at a time, PREPARE and START of all of them in the order of node/start.h. Thread: the loop's.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "node/metasrv.h"
#include "node/node.h"
#include "node/probe.h"
#include "node/vnic.h"
#include "node/watch.h"

enum server_phase { SERVER_OFF, SERVER_PREPARED, SERVER_UP };

struct server_job;

struct server {
	struct server *next;
	struct node *n;
	char id[UUID_STR_SIZE];
	enum server_phase phase;
	bool native;  /* phase UP is of a native function: no process, no namespace */
	bool residue; /* something of a run may be left: STOP cleans it before anything else */
	bool disk;    /* it has written, or may have: removed with the server, not with a run */
	bool failed_for_good; /* ended, and its policy says to leave it */
	bool ended_well;      /* with status 0, under the policy on-failure */

	struct server_job *job; /* under way */
	uv_work_t work;

	/* What node/machine.h has opened of it. */
	bool entered, followed; /* namespace, process */
	pid_t pid;
	int pidfd;
	struct watch *pid_watch;
	int64_t started_us, up_ns;

	char run_spec[320]; /* what the run was made from; see server_run_spec() */
	struct vnics want;  /* of the pass */
	bool want_known;
	char want_missing[128]; /* why want is not known */
	struct vnics wired;	/* as of the last PREPARE or WIRE */
	bool wire_due;
	int64_t wire_retry_ns, repair_ns;

	int netns_fd;
	struct nl *in; /* inside the function's namespace */
	struct watch *in_watch;
	struct vnic_observed *seen; /* want.n rows after a verification */
	bool verified, verify_due;
	int64_t checked_us, recheck_ns;

	struct metasrv *meta;
	struct probe *probe;

	unsigned n_restarts;
	int64_t backoff_ns, retry_ns;

	/* node/start.h */
	bool wanted;		  /* is to run, in a process */
	bool start_due;		  /* in this pass: PREPARE or START is its next step */
	bool held;		  /* START waits for a function in front of it */
	int64_t due_ns;		  /* since when start_due; 0: it was not */
	unsigned place;		  /* in a chain */
	char fault[ERR_MSG_SIZE]; /* a sentence, or "" */
	char task[64];
};

/* Attaches to a function that runs already (s->pid, s->want). On failure the server is as it was: to be cleaned. */
WARN_UNUSED int server_take_over(struct server *s, const Demarc__V1__Server *pb, struct err *e);
/* Finds what is left from before: running containers are taken over, everything else is marked for cleaning. */
WARN_UNUSED int servers_adopt(struct node *n, struct err *e);
/* Step of every server; makes new ones for new intent. */
void servers_pass(struct node *n);
/* Of a machine (node/machine.h): the job is over; the process has ended (status < 0: nobody knows how); the namespace is not as it was. */
void server_job_done(struct server *s);
void server_died(struct server *s, int status);
void server_inside_changed(struct server *s);
/* Waits for jobs; containers go on running. */
void servers_close(struct node *n);
struct server *server_find(struct node *n, const char *id);
struct server *server_new(struct node *n, const char *id); /* in n->servers; NULL: no memory */
/* A job is under way, perhaps of a server that the intent has forgotten: it may read what nobody else wants. */
bool servers_busy(const struct node *n);
/* The earliest time at which a server wants a pass by itself; INT64_MAX: none. */
int64_t servers_next_ns(const struct node *n);
/* Running, verified, probe passes. When not, writes why (may be NULL). */
bool server_healthy(const struct server *s, char *ret_why, size_t size);
/* Its host interfaces exist as they are wanted. */
bool server_is_wired(const struct server *s);
/* The newest of the console log. Caller frees. */
WARN_UNUSED int server_console(struct node *n, const char *id, size_t max_bytes, char **ret,
			       size_t *ret_size, struct err *e);
/* Cuts console logs that have grown past their limit; call about once a second. */
void servers_rotate_consoles(struct node *n);

#endif
