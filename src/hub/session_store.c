/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

/*
 * The store thread: all that waits goes into one write transaction, so that one flush of the disk serves a whole storm and
 * a single report waits for nobody. A job that fails undoes only itself (savepoint). Answers go out after the commit.
 */

/* ---- the other jobs ---- */

static int do_ack(struct db *db, struct job *j, struct err *e)
{
	int64_t revision = (int64_t)MIN_OF(j->revision, (uint64_t)INT64_MAX);
	/* Never more than there is: a hostile number must not make later deltas look acknowledged. */
	int rc = db_exec(db, e,
			 "UPDATE node SET acked_revision = ? WHERE id = ? AND intent_revision >= ? AND acked_revision < ?",
			 "isii", revision, j->node_id, revision, revision);

	if (rc <= 0)
		return rc;
	rc = db_exec(db, e,
		     "DELETE FROM intent_object WHERE node_id = ? AND deleted = 1 AND version <= ?",
		     "si", j->node_id, revision);
	return rc < 0 ? rc : session_digest_keep(db, j->node_id, e);
}

static int do_report(struct db *db, struct job *j, struct err *e)
{
	return session_report_apply(db, j, e);
}

static int do_seen(struct db *db, struct job *j, struct err *e)
{
	struct str rest = str_of(j->seen);

	while (rest.len) {
		struct str line = str_cut(rest, '\n', &rest);
		char id[40];
		int rc;

		if (str_copy(id, sizeof(id), line) < 0)
			continue;
		rc = db_exec(db, e, "UPDATE node SET last_seen_us = ? WHERE id = ?", "is",
			     j->now_us, id);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- a full disk ---- */

#define WAIT_JOBS_MAX 20000u
#define WAIT_BYTES_MAX (16u << 20)
#define WAIT_RETRY_NS (2 * NS_PER_S)

static void post_report(struct sessions *s, enum post_kind kind, const struct job *j)
{
	struct post *p = post_new(kind, j->serial);

	if (p) {
		p->report_seq = MAX_OF(j->frame->report->seq, j->ack_seq);
		p->report_bytes = j->n_bytes;
	}
	sessions_post(s, p);
}

static bool may_wait(const struct job *j)
{
	return j->kind == JOB_REPORT || j->kind == JOB_ACK;
}

/* Takes it over, or says false: there is no room. */
static bool keep(struct sessions *s, struct store_waiting *w, struct job *j)
{
	switch (store_wait(w, j)) {
	case WAIT_KEPT:
		return true;
	case WAIT_MERGED:
		post_report(s, POST_MERGED, j);
		break;
	case WAIT_PASSED:
		post_report(s, POST_ACKED, j);
		break;
	case WAIT_REFUSED:
		return false;
	}
	job_free(j);
	return true;
}

/* Those that wait go first, when it is time to try again; until then, what may wait joins them. */
static struct job *with_waiting(struct sessions *s, struct job *list)
{
	struct store_waiting *w = &s->waiting;
	struct job *now = NULL, **tail = &now;

	if (!w->head)
		return list;
	if (clock_mono_ns() >= w->retry_ns) {
		w->last->next = list;
		return store_wait_take(w);
	}
	for (struct job *next; list; list = next) {
		next = list->next;
		list->next = NULL;
		if (may_wait(list) && keep(s, w, list))
			continue;
		*tail = list;
		tail = &list->next;
	}
	return now;
}

/* ---- figures ---- */

/*
 * In quiet times nearly all that nodes say is what they count and measure, each once a minute. A transaction for each costs much more than its
 * row does, so they wait a second for each other. What the same session says after them is stored after them; so is every hello, because it may start
 * the numbers of its node's reports again.
 */
#define LINGER_NS NS_PER_S
#define LINGER_JOBS_MAX 256u
#define LINGER_BYTES_MAX (4u << 20)

static void linger_flush(struct store_waiting *w, struct job ***tail)
{
	**tail = store_wait_take(w);
	while (**tail)
		*tail = &(**tail)->next;
}

static bool linger(struct sessions *s, struct job *j, struct job ***tail)
{
	struct store_waiting *w = &s->lingering;

	if (!job_figures_only(j))
		return false;
	if (w->n >= w->n_max || w->bytes + j->n_bytes > w->bytes_max)
		linger_flush(w, tail);
	if (!w->head)
		w->retry_ns = clock_mono_ns() + LINGER_NS;
	return keep(s, w, j);
}

/* Of the list and of what lingers, what is to be stored now. */
static struct job *without_figures(struct sessions *s, struct job *list)
{
	struct store_waiting *w = &s->lingering;
	struct job *now = NULL, **tail = &now;

	for (struct job *next; list; list = next) {
		next = list->next;
		list->next = NULL;
		if (linger(s, list, &tail))
			continue;
		if (list->kind == JOB_HELLO || store_wait_has(w, list->serial))
			linger_flush(w, &tail);
		*tail = list;
		tail = &list->next;
	}
	if (w->head && clock_mono_ns() >= w->retry_ns)
		linger_flush(w, &tail);
	return now;
}

/* A hello needs nothing written to be answered, as a rule; what it would have written, the next one writes. */
static void read_hello(struct db *db, struct job *j)
{
	j->err = (struct err){ 0 };
	j->rc = session_hello_read(db, j, &j->err);
}

void session_store_init(struct sessions *s)
{
	s->store.cache_kib = 8192; /* the nodes' rows, of which each report changes one */
	s->waiting.n_max = WAIT_JOBS_MAX;
	s->waiting.bytes_max = WAIT_BYTES_MAX;
	s->lingering.n_max = LINGER_JOBS_MAX;
	s->lingering.bytes_max = LINGER_BYTES_MAX;
}

static void free_waiting(struct store_waiting *w)
{
	for (struct job *j = store_wait_take(w), *next; j; j = next) {
		next = j->next;
		job_free(j);
	}
}

void session_store_done(struct sessions *s)
{
	free_waiting(&s->lingering);
	free_waiting(&s->waiting);
}

/* ---- batch ---- */

static int (*const do_job[])(struct db *, struct job *, struct err *) = {
	[JOB_HELLO] = session_hello_apply,
	[JOB_REPORT] = do_report,
	[JOB_ACK] = do_ack,
	[JOB_SEEN] = do_seen,
};

static int run_one(struct db *db, struct job *j)
{
	int rc = db_exec(db, &j->err, "SAVEPOINT job", "");

	if (rc >= 0) {
		rc = do_job[j->kind](db, j, &j->err);
		if (rc < 0 && db_exec(db, NULL, "ROLLBACK TO SAVEPOINT job", "") < 0)
			return rc; /* the transaction is gone: the commit will say so */
	}
	if (db_exec(db, NULL, "RELEASE SAVEPOINT job", "") < 0 && rc >= 0)
		rc = err_set(&j->err, FAULT_INTERNAL, NULL, "cannot store the node's message");
	return rc < 0 ? rc : 0;
}

/* A failure that repeating would not cure is the message's own: it is dropped, acknowledged and logged. */
static bool is_lasting(const struct err *e)
{
	return e->fault == FAULT_BAD_REQUEST || e->fault == FAULT_NOT_FOUND ||
	       e->fault == FAULT_CONFLICT || e->fault == FAULT_PROTOCOL || e->fault == FAULT_TOO_LARGE;
}

void session_post_hello(struct sessions *s, const struct job *j)
{
	struct post *p = post_new(POST_HELLO, j->serial);

	if (p)
		p->hello = j->hello;
	sessions_post(s, p);
}

static void answer(struct sessions *s, struct job *j)
{
	if (j->kind == JOB_SEEN || j->kind == JOB_ACK) {
		if (j->rc < 0)
			log_limited(LOG_WARN_, "session_store_failed", "node=%s reason=%s",
				    j->node_id, LOGQ(j->err.msg));
		if (j->kind == JOB_ACK)
			sessions_post(s, post_new(POST_TAKEN, j->serial));
		return;
	}
	if (j->rc < 0 && j->kind == JOB_REPORT && is_lasting(&j->err)) {
		log_limited(LOG_WARN_, "report_dropped", "node=%s reason=%s", j->node_id,
			    LOGQ(j->err.msg));
		j->rc = 0;
	}
	if (j->rc < 0)
		session_post_close(s, j->serial, j->err.msg,
				   j->err.fault == FAULT_FORBIDDEN ? 60000 : 5000);
	else if (j->kind == JOB_HELLO)
		session_post_hello(s, j);
	else
		post_report(s, POST_ACKED, j);
}

/* Stored, or told that it is not; or it waits. */
static void finish(struct job_thread *t, struct job *j)
{
	struct store_waiting *w = &t->sessions->waiting;
	bool no_space = j->rc < 0 && j->err.fault == FAULT_NO_SPACE;

	if (no_space && may_wait(j)) {
		if (w->n == 0) {
			log_limited(LOG_WARN_, "reports_wait", "reason=%s", LOGQ(j->err.msg));
			w->retry_ns = clock_mono_ns() + WAIT_RETRY_NS;
		}
		if (keep(t->sessions, w, j))
			return;
	}
	if (no_space && j->kind == JOB_HELLO)
		read_hello(t->db, j);
	answer(t->sessions, j);
	job_free(j);
}

void session_store_run(struct job_thread *t, struct job *list)
{
	struct sessions *s = t->sessions;
	struct err e = { 0 };
	int rc = 0;

	list = without_figures(s, jobs_drop_late(list));
	t->due_ns = s->lingering.head ? s->lingering.retry_ns : 0;
	if (list)
		list = with_waiting(s, list);
	if (!list)
		return;
	/* What nodes say belongs to changes that were acknowledged: it may use the reserve. */
	rc = db_begin(t->db, DB_WRITE_ANYWAY, &e);
	for (struct job *j = list; rc >= 0 && j; j = j->next)
		j->rc = run_one(t->db, j);
	if (rc >= 0)
		rc = db_commit(t->db, &e);
	if (rc < 0)
		db_rollback(t->db);
	for (struct job *j = list, *next; j; j = next) {
		next = j->next;
		if (rc < 0) {
			j->rc = rc;
			j->err = e;
		}
		finish(t, j);
	}
}
