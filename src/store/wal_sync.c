/* SPDX-License-Identifier: Apache-2.0 */
#include "store/impl.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

/*
 * Why no acknowledged commit can be lost:
 *  - a commit is acknowledged after fdatasync() of the WAL, begun after its frames were written;
 *  - a checkpoint (synchronous=NORMAL) flushes the WAL, copies its frames, flushes the database, and only then lets the next
 *    writer start the WAL again from its head; the new header is flushed before frames follow it;
 *  - the WAL file is the same inode from store_open() to store_close(), so the descriptor here always names it.
 */

void wal_sync_init(struct wal_sync *w)
{
	*w = (struct wal_sync){ .fd = -1 };
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->done, NULL);
}

void wal_sync_done(struct wal_sync *w)
{
	close_fdp(&w->fd);
	pthread_cond_destroy(&w->done);
	pthread_mutex_destroy(&w->lock);
}

static int sync_failed(int num, struct err *e)
{
	enum fault fault = num == ENOSPC || num == EDQUOT ? FAULT_NO_SPACE : FAULT_INTERNAL;

	return err_set(e, fault, NULL, "flushing the database failed (%s): writes stop until a restart",
		       strerror(num));
}

int wal_sync_check(struct wal_sync *w, struct err *e)
{
	pthread_mutex_lock(&w->lock);
	int num = w->error;
	pthread_mutex_unlock(&w->lock);
	return num ? sync_failed(num, e) : 0;
}

/* Called and returns with the lock held; the flush itself runs without it. */
static void lead_flush(struct wal_sync *w)
{
	uint64_t covers = w->committed;

	w->flushing = true;
	pthread_mutex_unlock(&w->lock);
	int num = fdatasync(w->fd) < 0 ? errno : 0;
	pthread_mutex_lock(&w->lock);
	w->flushing = false;
	w->n_flushes++;
	if (num)
		w->error = num;
	else
		w->synced = covers;
	pthread_cond_broadcast(&w->done);
}

int wal_sync_wait(struct wal_sync *w, struct err *e)
{
	pthread_mutex_lock(&w->lock);
	uint64_t mine = ++w->committed;
	while (w->synced < mine && !w->error) {
		if (w->flushing)
			pthread_cond_wait(&w->done, &w->lock);
		else
			lead_flush(w);
	}
	int num = w->synced < mine ? w->error : 0;
	pthread_mutex_unlock(&w->lock);
	return num ? sync_failed(num, e) : 0;
}

struct writer {
	pthread_cond_t turn;
	bool granted;
	struct writer *next;
};

void writer_queue_init(struct writer_queue *q)
{
	*q = (struct writer_queue){ 0 };
	pthread_mutex_init(&q->lock, NULL);
}

void writer_queue_done(struct writer_queue *q)
{
	pthread_mutex_destroy(&q->lock);
}

static void writer_forget(struct writer_queue *q, struct writer *me)
{
	struct writer *before = NULL;

	for (struct writer *w = q->first; w; before = w, w = w->next) {
		if (w != me)
			continue;
		if (before)
			before->next = w->next;
		else
			q->first = w->next;
		if (q->last == w)
			q->last = before;
		return;
	}
}

/* Waits in line with the lock held. Returns false when STORE_BUSY_TIMEOUT_MS passed. */
static bool writer_wait(struct writer_queue *q)
{
	struct writer me = { 0 };
	struct timespec until;
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&me.turn, &attr);
	pthread_condattr_destroy(&attr);
	/* The condition variable needs the real clock: a warped one would never arrive. */
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += STORE_BUSY_TIMEOUT_MS / 1000;

	if (q->last)
		q->last->next = &me;
	else
		q->first = &me;
	q->last = &me;
	int rc = 0;
	while (!me.granted && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&me.turn, &q->lock, &until);
	if (!me.granted)
		writer_forget(q, &me);
	pthread_cond_destroy(&me.turn);
	return me.granted;
}

int writer_enter(struct writer_queue *q, struct err *e)
{
	bool ours = true;

	pthread_mutex_lock(&q->lock);
	if (q->busy)
		ours = writer_wait(q);
	else
		q->busy = true;
	pthread_mutex_unlock(&q->lock);
	return ours ? 0 : err_set(e, FAULT_UNAVAILABLE, NULL, "the database is busy; try again");
}

void writer_leave(struct writer_queue *q)
{
	pthread_mutex_lock(&q->lock);
	struct writer *next = q->first;
	if (next) {
		q->first = next->next;
		if (!q->first)
			q->last = NULL;
		next->granted = true;
		pthread_cond_signal(&next->turn);
	} else {
		q->busy = false;
	}
	pthread_mutex_unlock(&q->lock);
}
