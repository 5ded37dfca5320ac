/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "link/frame.h"

/* The threads behind the sessions, and the way back to the fronts. */

struct job *job_new(enum job_kind kind, uint64_t serial, const char *node_id)
{
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->kind = kind;
	j->serial = serial;
	j->now_us = clock_wall_us();
	(void)str_copy(j->node_id, sizeof(j->node_id), str_of(node_id));
	return j;
}

void job_free(struct job *j)
{
	if (!j)
		return;
	frame_free(j->frame);
	free(j->seen);
	free(j);
}

struct job *jobs_drop_late(struct job *list)
{
	int64_t now = clock_mono_ns();
	struct job *kept = NULL, **tail = &kept;

	for (struct job *j = list, *next; j; j = next) {
		next = j->next;
		if (j->kind == JOB_HELLO && j->until_ns && now >= j->until_ns) {
			job_free(j);
			continue;
		}
		*tail = j;
		tail = &j->next;
	}
	*tail = NULL;
	return kept;
}

static void time_after(int64_t ns, struct timespec *ret)
{
	clock_gettime(CLOCK_MONOTONIC, ret);
	ns = MAX_OF(ns, 0) + ret->tv_nsec;
	ret->tv_sec += ns / NS_PER_S;
	ret->tv_nsec = ns % NS_PER_S;
}

/* Until there is something, the thread's time has come, or the end. Under the lock. */
static void wait_for_work(struct job_thread *t)
{
	struct timespec due;
	int rc = 0;

	if (t->due_ns)
		time_after(t->due_ns - clock_mono_ns(), &due);
	while (!t->head && !t->stop && rc != ETIMEDOUT)
		rc = t->due_ns ? pthread_cond_timedwait(&t->cond, &t->lock, &due) :
				 pthread_cond_wait(&t->cond, &t->lock);
}

/* Everything that waits, at most batch_max; NULL: nothing, but the time has come. Blocks. False at the end. */
static bool take_batch(struct job_thread *t, struct job **ret)
{
	struct job *list, *last;
	unsigned n = 1;
	bool go_on;

	pthread_mutex_lock(&t->lock);
	wait_for_work(t);
	go_on = !t->stop;
	list = last = t->stop ? NULL : t->head;
	if (list) {
		for (; last->next && n < t->batch_max; n++)
			last = last->next;
		t->head = last->next;
		last->next = NULL;
		if (!t->head)
			t->tail = &t->head;
	}
	pthread_mutex_unlock(&t->lock);
	*ret = list;
	return go_on;
}

static void *thread_main(void *arg)
{
	struct job_thread *t = arg;
	struct job *list;

	while (take_batch(t, &list))
		t->run(t, list);
	return NULL;
}

static void cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

int job_thread_start(struct job_thread *t, struct sessions *s, const char *name, unsigned batch_max,
		     void (*run)(struct job_thread *, struct job *), struct err *e)
{
	int rc;

	t->tail = &t->head;
	t->batch_max = batch_max;
	t->sessions = s;
	t->run = run;
	pthread_mutex_init(&t->lock, NULL);
	cond_init(&t->cond);
	rc = db_open(s->hub->store, &t->db, e);
	if (rc < 0)
		return rc;
	if (t->cache_kib)
		db_set_cache(t->db, t->cache_kib);
	rc = pthread_create(&t->thread, NULL, thread_main, t);
	if (rc)
		return err_errno(e, rc, "cannot start a thread for node sessions");
	(void)pthread_setname_np(t->thread, name);
	t->running = true;
	return 0;
}

void job_thread_push(struct job_thread *t, struct job *take)
{
	if (!take) {
		log_limited(LOG_ERROR_, "session_no_memory", "what=job");
		return;
	}
	take->next = NULL;
	pthread_mutex_lock(&t->lock);
	*t->tail = take;
	t->tail = &take->next;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->lock);
}

void job_thread_stop(struct job_thread *t)
{
	if (t->running) {
		pthread_mutex_lock(&t->lock);
		t->stop = true;
		pthread_cond_signal(&t->cond);
		pthread_mutex_unlock(&t->lock);
		pthread_join(t->thread, NULL);
	}
	for (struct job *j = t->head, *next; j; j = next) {
		next = j->next;
		job_free(j);
	}
	if (t->db)
		db_close(t->db);
	if (t->tail) {
		pthread_mutex_destroy(&t->lock);
		pthread_cond_destroy(&t->cond);
	}
	*t = (struct job_thread){ 0 };
}

/* ---- posts ---- */

struct post *post_new(enum post_kind kind, uint64_t serial)
{
	struct post *p = calloc(1, sizeof(*p));

	if (p) {
		p->kind = kind;
		p->serial = serial;
	}
	return p;
}

void post_free(struct post *p)
{
	if (!p)
		return;
	free(p->data);
	free(p);
}

void sessions_post(struct sessions *s, struct post *take)
{
	struct session_front *f = take ? &s->fronts[take->serial % HTTP_FRONTS_MAX] : NULL;
	bool first;

	if (!take) {
		log_limited(LOG_ERROR_, "session_no_memory", "what=post");
		return;
	}
	take->next = NULL;
	pthread_mutex_lock(&f->lock);
	first = !f->post_head;
	if (f->open) {
		*f->post_tail = take;
		f->post_tail = &take->next;
		if (first)
			(void)uv_async_send(&f->async);
		take = NULL;
	}
	pthread_mutex_unlock(&f->lock);
	post_free(take); /* the hub stops */
}

void session_post_frame(struct sessions *s, uint64_t serial, enum post_kind kind,
			const Demarc__V1__Frame *f)
{
	struct post *p = post_new(kind, serial);
	int rc = p ? frame_encode(f, &p->data, &p->size) : -ENOMEM;

	if (rc < 0) {
		log_limited(LOG_ERROR_, "session_frame_failed", "kind=%s errno=%d",
			    frame_kind_name(f), -rc);
		post_free(p);
		session_post_close(s, serial, "the hub could not encode a message", 5000);
		return;
	}
	sessions_post(s, p);
}

void session_post_close(struct sessions *s, uint64_t serial, const char *reason, uint32_t retry_after_ms)
{
	struct post *p = post_new(POST_CLOSE, serial);

	if (p) {
		(void)str_copy(p->text, sizeof(p->text), str_of(reason));
		p->retry_after_ms = retry_after_ms;
	}
	sessions_post(s, p);
}
