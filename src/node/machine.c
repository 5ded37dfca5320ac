/* SPDX-License-Identifier: Apache-2.0 */
#include "node/machine.h"

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "node/job.h"
#include "node/netns.h"
#include "node/server_spec.h"

#define TICK_MS 1000
#define VERIFY_MS 10000

/* ---- jobs ---- */

static void on_job(uv_work_t *w)
{
	struct server *s = CONTAINER_OF(w, struct server, work);

	job_run(s->job);
}

static void on_job_done(uv_work_t *w, int status)
{
	(void)status;
	server_job_done(CONTAINER_OF(w, struct server, work));
}

static int begin(struct server *s)
{
	return uv_queue_work(s->n->loop, &s->work, on_job, on_job_done);
}

/* ---- the namespace ---- */

static int docs_now(void *ctx, struct meta_docs *ret)
{
	struct server *s = ctx;
	const Demarc__V1__Server *pb = intent_server(s->n->intent, s->id);

	return pb ? server_spec_docs(s->n, s->id, pb, ret, NULL) : -ENOENT;
}

static void on_inside_changed(void *ctx)
{
	struct server *s = ctx;

	(void)nl_drain(s->in);
	server_inside_changed(s);
}

/* Netlink and metadata service of a prepared or running function. */
static int enter(struct server *s, struct err *e)
{
	char path[PATH_MAX];
	int r;

	(void)snprintf(path, sizeof(path), "%s/netns/%s", s->n->cfg.run_dir, s->id);
	r = netns_open(path, &s->netns_fd, e);
	if (r == 0)
		r = nl_open_in(s->netns_fd, &s->in, e);
	if (r == 0)
		r = nl_watch(s->in, e);
	if (r == 0)
		r = metasrv_start(s->n->loop, s->netns_fd, docs_now, s, &s->meta, e);
	if (r == 0)
		s->in_watch = watch_start(s->n->loop, nl_fd(s->in), on_inside_changed, s);
	return r;
}

static int look(struct server *s, bool *ret_again, struct err *e)
{
	int r = vnics_verify(s->in, &s->want, s->seen, e);

	*ret_again = nl_passed_over(s->in); /* the descriptor will not tell */
	return r;
}

/* ---- the process ---- */

/* Exit status of an ended function, or -1 when it was not this process' child (an agent before this one started it). */
static int exit_status(int pidfd)
{
	siginfo_t si = { 0 };

	if (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED | WNOHANG) < 0 || si.si_pid == 0)
		return -1;
	return si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status;
}

static void on_died(void *ctx)
{
	struct server *s = ctx;

	server_died(s, exit_status(s->pidfd));
}

static int follow(struct server *s, struct err *e)
{
	s->pidfd = process_open(s->pid);
	if (s->pidfd < 0)
		return err_errno(e, errno, "the function has ended already");
	s->pid_watch = watch_start(s->n->loop, s->pidfd, on_died, s);
	return s->pid_watch ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "watch of the function");
}

static void leave(struct server *s)
{
	watch_stop(MOVE_PTR(s->pid_watch));
	watch_stop(MOVE_PTR(s->in_watch));
	metasrv_stop(MOVE_PTR(s->meta));
	nl_close(MOVE_PTR(s->in));
	close_fdp(&s->pidfd);
	close_fdp(&s->netns_fd);
	s->pidfd = s->netns_fd = -1;
}

const struct machine machine_local = { TICK_MS, VERIFY_MS, begin, enter, follow, look, leave };
