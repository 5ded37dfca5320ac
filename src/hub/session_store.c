/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "model/digest.h"

/*
 * The store thread: all that waits goes into one write transaction, so that one flush of the disk serves a whole storm and
 * a single report waits for nobody. A job that fails undoes only itself (savepoint). Answers go out after the commit.
 */

/* ---- hello ---- */

struct node_row {
	int64_t revision, acked, report_seq;
	bool revoked;
};

static int node_row_load(struct db *db, const char *node_id, struct node_row *ret, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(db, &q, e,
			  "SELECT intent_revision, acked_revision, report_seq, revoked FROM node WHERE id = ?",
			  "s", node_id);

	if (rc >= 0)
		rc = db_step(q, e);
	if (rc == 1)
		*ret = (struct node_row){ .revision = db_int(q, 0),
					  .acked = db_int(q, 1),
					  .report_seq = db_int(q, 2),
					  .revoked = db_int(q, 3) != 0 };
	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, NULL, "the hub does not know this node");
	return rc < 0 ? rc : 0;
}

static int stored_digest(struct db *db, const char *node_id, char ret[static DIGEST_HEX_SIZE],
			 struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	struct digest *d = digest_new();
	int rc = db_query(db, &q, e,
			  "SELECT kind, id, version FROM intent_object WHERE node_id = ? AND deleted = 0 ORDER BY kind, id",
			  "s", node_id);

	while (d && rc >= 0 && (rc = db_step(q, e)) == 1)
		digest_add(d, db_text(q, 0), db_text(q, 1), (uint64_t)db_int(q, 2));
	digest_take(d, ret);
	return rc < 0 ? rc : 0;
}

/*
 * A delta needs the tombstones after the node's revision, and these are there only from what it has acknowledged on. A node
 * that says less has lost something; one that says more, or the same with other contents, talks to a hub that has.
 */
static int needs_resync(struct db *db, const struct job *j, const struct node_row *row, bool *ret,
			struct err *e)
{
	const Demarc__V1__NodeHello *hello = j->frame->node_hello;
	int64_t revision = (int64_t)hello->intent_revision;
	char digest[DIGEST_HEX_SIZE];
	int rc;

	*ret = revision < row->acked || hello->intent_revision > (uint64_t)row->revision;
	if (*ret || revision != row->revision)
		return 0;
	rc = stored_digest(db, j->node_id, digest, e);
	if (rc == 0)
		*ret = strcmp(digest, hello->intent_digest) != 0;
	return rc;
}

static json_t *inventory_json(const Demarc__V1__Inventory *i)
{
	json_t *o = json_object(), *nics = json_array();

	if (!i) {
		json_decref(nics);
		return o;
	}
	for (size_t n = 0; n < i->n_nics; n++)
		json_array_append_new(nics, json_string(i->nics[n]));
	json_object_set_new(o, "hostname", json_string(i->hostname));
	json_object_set_new(o, "vcpus", json_integer(i->vcpus));
	json_object_set_new(o, "memory_mb", json_integer((json_int_t)i->memory_mb));
	json_object_set_new(o, "disk_gb", json_integer((json_int_t)i->disk_gb));
	json_object_set_new(o, "kernel", json_string(i->kernel));
	json_object_set_new(o, "nics", nics);
	json_object_set_new(o, "container_runtime", json_string(i->container_runtime));
	return o;
}

static int hello_write(struct db *db, const struct job *j, int64_t report_seq, struct err *e)
{
	const Demarc__V1__NodeHello *hello = j->frame->node_hello;
	CLEANUP(json_freep) json_t *inventory = inventory_json(hello->inventory);
	CLEANUP(json_freep) json_t *features = json_array();
	int rc;

	for (size_t i = 0; i < hello->n_features; i++)
		json_array_append_new(features, json_string(hello->features[i]));
	rc = db_exec(db, e,
		     "UPDATE node SET release = ?, features = ?, inventory = ?, boot_id = ?, address = ?, last_seen_us = ?, "
		     "report_seq = ? WHERE id = ?",
		     "sjjssiis", hello->release, features, inventory, hello->boot_id, j->address,
		     j->now_us, report_seq, j->node_id);
	return rc < 0 ? rc : 0;
}

#define HELLO_TEXT_MAX 256 /* bytes of one text in a hello */
#define HELLO_LIST_MAX 64

static int hello_check(const Demarc__V1__NodeHello *h, struct err *e)
{
	const char *texts[] = { h->release,
				h->boot_id,
				h->run_id,
				h->intent_digest,
				h->inventory ? h->inventory->hostname : "",
				h->inventory ? h->inventory->kernel : "",
				h->inventory ? h->inventory->container_runtime : "" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (strlen(texts[i]) > HELLO_TEXT_MAX)
			return err_set(e, FAULT_PROTOCOL, NULL, "a text in the hello is too long");
	if (h->n_features > HELLO_LIST_MAX || (h->inventory && h->inventory->n_nics > HELLO_LIST_MAX))
		return err_set(e, FAULT_PROTOCOL, NULL, "a list in the hello is too long");
	for (size_t i = 0; i < h->n_features; i++)
		if (strlen(h->features[i]) > HELLO_TEXT_MAX)
			return err_set(e, FAULT_PROTOCOL, NULL, "a feature's name is too long");
	for (size_t i = 0; h->inventory && i < h->inventory->n_nics; i++)
		if (strlen(h->inventory->nics[i]) > HELLO_TEXT_MAX)
			return err_set(e, FAULT_PROTOCOL, NULL, "a NIC's name is too long");
	return 0;
}

/*
 * The node holds more than the hub: the hub was restored from a backup, or the row is new. The hub's count goes past the node's,
 * so that no revision ever means two things to the node.
 */
static int go_past(struct db *db, const struct job *j, struct node_row *row, struct err *e)
{
	uint64_t revision = j->frame->node_hello->intent_revision;
	int rc;

	if (revision > SESSION_REVISION_MAX)
		return err_set(e, FAULT_PROTOCOL, NULL, "the node's revision is out of range");
	row->revision = (int64_t)revision + 1;
	rc = db_exec(db, e, "UPDATE node SET intent_revision = ? WHERE id = ?", "is", row->revision,
		     j->node_id);
	return rc < 0 ? rc : 0;
}

static int do_hello(struct db *db, struct job *j, struct err *e)
{
	const Demarc__V1__NodeHello *hello = j->frame->node_hello;
	struct node_row row = { 0 };
	int rc = hello_check(hello, e);

	if (rc == 0)
		rc = node_row_load(db, j->node_id, &row, e);
	if (rc < 0)
		return rc;
	/* A disabled node gets no new servers, and stays connected for those it has. */
	if (row.revoked)
		return err_set(e, FAULT_FORBIDDEN, NULL, "the node is revoked");
	rc = needs_resync(db, j, &row, &j->full, e);
	if (rc == 0 && hello->intent_revision > (uint64_t)row.revision)
		rc = go_past(db, j, &row, e);
	if (rc < 0)
		return rc;
	/* A node that was set up anew counts its reports from the start. */
	j->report_seq = MIN_OF((uint64_t)row.report_seq, (uint64_t)hello->last_report_seq);
	j->revision = (uint64_t)row.revision;
	return hello_write(db, j, (int64_t)j->report_seq, e);
}

/* ---- the other jobs ---- */

static int do_ack(struct db *db, struct job *j, struct err *e)
{
	int64_t revision = (int64_t)MIN_OF(j->revision, (uint64_t)INT64_MAX);
	/* Never more than there is: a hostile number must not make later deltas look acknowledged. */
	int rc = db_exec(db, e,
			 "UPDATE node SET acked_revision = ? WHERE id = ? AND intent_revision >= ? AND acked_revision < ?",
			 "isii", revision, j->node_id, revision, revision);

	if (rc > 0)
		rc = db_exec(db, e,
			     "DELETE FROM intent_object WHERE node_id = ? AND deleted = 1 AND version <= ?",
			     "si", j->node_id, revision);
	return rc < 0 ? rc : 0;
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

/* ---- batch ---- */

static int (*const do_job[])(struct db *, struct job *, struct err *) = {
	[JOB_HELLO] = do_hello,
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

static void post_hello(struct sessions *s, const struct job *j)
{
	struct post *p = post_new(POST_HELLO, j->serial);

	if (p) {
		p->resync = j->full;
		p->revision = j->revision;
		p->node_revision = j->frame->node_hello->intent_revision;
		p->report_seq = j->report_seq;
	}
	sessions_post(s, p);
}

static void post_acked(struct sessions *s, const struct job *j)
{
	struct post *p = post_new(POST_ACKED, j->serial);

	if (p)
		p->report_seq = j->frame->report->seq;
	sessions_post(s, p);
}

static void answer(struct sessions *s, struct job *j)
{
	if (j->kind == JOB_SEEN || j->kind == JOB_ACK) {
		if (j->rc < 0)
			log_limited(LOG_WARN_, "session_store_failed", "node=%s reason=%s",
				    j->node_id, LOGQ(j->err.msg));
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
		post_hello(s, j);
	else
		post_acked(s, j);
}

void session_store_run(struct job_thread *t, struct job *list)
{
	struct err e = { 0 };
	int rc = db_begin(t->db, DB_WRITE, &e);

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
		answer(t->sessions, j);
		job_free(j);
	}
}
