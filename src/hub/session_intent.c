/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "hub/intent_build.h"
#include "link/frame.h"
#include "link/link.h"

/*
 * The reader thread: what a node has not been told yet, from rows to Intent messages. A message stays below a frame; what
 * does not fit follows with the same revision (Intent.more).
 */

#define INTENT_PART_MAX                                                                            \
	(LINK_FRAME_MAX - INTENT_OBJECT_MAX - 4096) /* flush past it: one more object always fits */
#define SEND_ARENA_MAX (32u << 20)

struct sending {
	struct sessions *s;
	uint64_t serial;
	const char *node_id;
	Demarc__V1__Intent intent;
	struct arena *arena;
	size_t n_bytes;
};

void session_intent_push(struct sessions *s, const struct session *x, uint64_t node_revision, bool full)
{
	struct job *j = job_new(JOB_INTENT, x->serial, x->node_id);

	if (j) {
		j->revision = node_revision;
		j->full = full;
	}
	job_thread_push(&s->reader, j);
}

static void flush(struct sending *w, bool more)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	w->intent.more = more;
	f.body_case = DEMARC__V1__FRAME__BODY_INTENT;
	f.intent = &w->intent;
	session_post_frame(w->s, w->serial, POST_SEND, &f);
	for (size_t i = 0; i < w->intent.n_objects; i++)
		demarc__v1__object__free_unpacked(w->intent.objects[i], NULL);
	w->intent.n_objects = 0;
	w->intent.objects = NULL;
	w->n_bytes = 0;
	arena_reset(w->arena);
}

/* A tombstone has no body: kind and id are all there is to say. */
static Demarc__V1__Object *object_of_row(struct db_rows *q)
{
	Demarc__V1__Object head = DEMARC__V1__OBJECT__INIT;
	uint8_t small[256];
	size_t size;
	const void *body = db_blob(q, 4, &size);
	Demarc__V1__Object *o;

	if (db_int(q, 3)) {
		head.kind = (char *)db_text(q, 0);
		head.id = (char *)db_text(q, 1);
		if (demarc__v1__object__get_packed_size(&head) > sizeof(small))
			return NULL;
		size = demarc__v1__object__pack(&head, small);
		body = small;
	}
	o = (Demarc__V1__Object *)frame_unpack(&demarc__v1__object__descriptor, body, size);
	if (o) {
		o->version = (uint64_t)db_int(q, 2);
		o->deleted = db_int(q, 3) != 0;
	}
	return o;
}

static int add_row(struct sending *w, struct db_rows *q, struct err *e)
{
	Demarc__V1__Object *o = object_of_row(q);

	if (!o)
		return err_set(e, FAULT_INTERNAL, NULL, "stored %s %s does not decode",
			       db_text(q, 0), db_text(q, 1));
	if (intent_append(w->arena, &w->intent.n_objects, (void ***)&w->intent.objects, o) < 0) {
		demarc__v1__object__free_unpacked(o, NULL);
		return intent_no_memory(e);
	}
	w->n_bytes += demarc__v1__object__get_packed_size(o) + 8;
	if (w->n_bytes > INTENT_PART_MAX)
		flush(w, true);
	return 0;
}

static int send_rows(struct sending *w, struct db *db, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(db, &q, e,
			  "SELECT kind, id, version, deleted, body FROM intent_object "
			  "WHERE node_id = ? AND version > ? AND deleted <= ? ORDER BY version, kind, id",
			  "sii", w->node_id, (int64_t)(w->intent.full ? 0 : w->intent.base_revision),
			  w->intent.full ? 0LL : 1LL);

	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		rc = add_row(w, q, e);
		if (rc < 0)
			break;
	}
	if (rc >= 0)
		flush(w, false);
	return rc;
}

/* From the session's own mark to the newest revision; the mark moves. Returns the serial, 0 when there is nothing to do. */
static uint64_t claim(struct sessions *s, const struct job *j, uint64_t revision, uint64_t *ret_base)
{
	struct session *x;
	uint64_t serial = 0;

	pthread_mutex_lock(&s->lock);
	x = session_find_up(s, j->node_id);
	if (x && (j->serial == 0 || j->serial == x->serial) && (j->full || x->sent_revision < revision)) {
		serial = x->serial;
		*ret_base = x->sent_revision;
		x->sent_revision = revision;
	}
	pthread_mutex_unlock(&s->lock);
	return serial;
}

static int tell(struct job_thread *t, const struct job *j, struct err *e)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new(SEND_ARENA_MAX);
	struct sending w = { .s = t->sessions, .node_id = j->node_id, .arena = arena };
	int64_t revision = 0;
	int rc;

	if (!arena)
		return intent_no_memory(e);
	rc = db_get_int(t->db, &revision, e, "SELECT intent_revision FROM node WHERE id = ?", "s",
			j->node_id);
	if (rc <= 0)
		return rc;
	demarc__v1__intent__init(&w.intent);
	w.serial = claim(t->sessions, j, (uint64_t)revision, &w.intent.base_revision);
	if (w.serial == 0)
		return 0;
	w.intent.revision = (uint64_t)revision;
	w.intent.full = j->full;
	rc = send_rows(&w, t->db, e);
	for (size_t i = 0; i < w.intent.n_objects; i++)
		demarc__v1__object__free_unpacked(w.intent.objects[i], NULL);
	if (rc < 0)
		session_post_close(t->sessions, w.serial, "the hub cannot read the node's intent", 5000);
	return rc;
}

/* Connected, and not yet sent this revision. */
static bool is_to_be_told(struct sessions *s, const char *node_id, uint64_t revision)
{
	const struct session *x;
	bool told;

	pthread_mutex_lock(&s->lock);
	x = session_find_up(s, node_id);
	told = !x || x->sent_revision >= revision;
	pthread_mutex_unlock(&s->lock);
	return !told;
}

/* A wake-up may be lost (another hub committed, or this one died between commit and wake): look for nodes that are behind. */
static void sweep(struct job_thread *t)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	struct err e;
	int rc = db_query(t->db, &q, &e,
			  "SELECT id, intent_revision FROM node WHERE intent_revision > acked_revision",
			  "");

	while (rc >= 0 && (rc = db_step(q, &e)) == 1)
		if (is_to_be_told(t->sessions, db_text(q, 0), (uint64_t)db_int(q, 1)))
			job_thread_push(t, job_new(JOB_INTENT, 0, db_text(q, 0)));
	if (rc < 0)
		log_limited(LOG_WARN_, "session_sweep_failed", "reason=%s", LOGQ(e.msg));
}

static void run_intent(struct job_thread *t, const struct job *j)
{
	struct err e;

	if (tell(t, j, &e) < 0)
		log_limited(LOG_WARN_, "session_intent_failed", "node=%s reason=%s", j->node_id,
			    LOGQ(e.msg));
}

/* One read transaction for all that waits: what it sees was committed before the jobs came. */
void session_reader_run(struct job_thread *t, struct job *list)
{
	struct err e;
	int rc = db_begin(t->db, DB_READ, &e);

	if (rc < 0)
		log_limited(LOG_WARN_, "session_intent_failed", "reason=%s", LOGQ(e.msg));
	for (struct job *j = list, *next; j; j = next) {
		next = j->next;
		if (j->kind == JOB_SWEEP)
			sweep(t);
		else
			run_intent(t, j);
		job_free(j);
	}
	db_rollback(t->db);
}
