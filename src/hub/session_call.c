/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "link/frame.h"

/* What other threads may ask of the sessions. */

void session_wake(struct hub *h, const char *node_id)
{
	struct sessions *s = h->sessions;
	bool up;

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	(void)session_wakes(s, node_id, true);
	up = session_find_up(s, node_id) != NULL;
	pthread_mutex_unlock(&s->lock);
	if (up)
		job_thread_push(&s->reader, job_new(JOB_INTENT, 0, node_id));
}

void session_drop(struct hub *h, const char *node_id, const char *reason)
{
	struct sessions *s = h->sessions;
	const struct session *x;
	uint64_t serial = 0;

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	x = session_find_up(s, node_id);
	if (x)
		serial = x->serial;
	pthread_mutex_unlock(&s->lock);
	if (serial)
		session_post_close(s, serial, reason, 60000);
}

bool session_is_up(struct hub *h, const char *node_id)
{
	struct sessions *s = h->sessions;
	bool up;

	if (!s)
		return false;
	pthread_mutex_lock(&s->lock);
	up = session_find_up(s, node_id) != NULL;
	pthread_mutex_unlock(&s->lock);
	return up;
}

/* ---- calls ---- */

/*
 * A node that does not answer costs a worker until the time is over. All calls together hold a quarter of the workers, those of one node
 * half of that; who comes then is told to come again. Under the lock.
 */
static int call_may_wait(const struct sessions *s, uint64_t serial, struct err *e)
{
	unsigned share = MAX_OF(s->hub->config->n_workers / 4, 1u), n = 0, n_node = 0;

	for (const struct call *c = s->calls; c; c = c->next) {
		n++;
		n_node += c->serial == serial;
	}
	if (n_node >= MAX_OF(share / 2, 1u))
		return err_set(e, FAULT_UNAVAILABLE, NULL,
			       "%u questions wait for the answer of this node; ask again", n_node);
	if (n >= share)
		return err_set(e, FAULT_UNAVAILABLE, NULL,
			       "%u questions wait for the answers of nodes; ask again", n);
	return 0;
}

static int call_open(struct sessions *s, const char *node_id, struct call *c, struct err *e)
{
	const struct session *x;
	int rc;

	pthread_mutex_lock(&s->lock);
	x = session_find_up(s, node_id);
	rc = x ? call_may_wait(s, x->serial, e) :
		 err_set(e, FAULT_UNAVAILABLE, NULL, "the node is not connected");
	if (rc == 0) {
		s->next_request += 2;
		c->request = s->next_request;
		c->serial = x->serial;
		c->next = s->calls;
		s->calls = c;
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static void call_close(struct sessions *s, struct call *c)
{
	struct call **at;

	pthread_mutex_lock(&s->lock);
	for (at = &s->calls; *at && *at != c;)
		at = &(*at)->next;
	if (*at)
		*at = c->next;
	pthread_mutex_unlock(&s->lock);
}

static void call_wait(struct sessions *s, struct call *c, unsigned timeout_ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&s->lock);
	while (!c->done && !c->lost)
		if (pthread_cond_timedwait(&c->cond, &s->lock, &until) == ETIMEDOUT)
			break;
	pthread_mutex_unlock(&s->lock);
}

static int call_result(struct call *c, Demarc__V1__Frame **ret, struct err *e)
{
	if (c->done) {
		*ret = MOVE_PTR(c->result);
		return 0;
	}
	if (c->lost)
		return err_set(e, FAULT_UNAVAILABLE, NULL, "the connection to the node was lost");
	return err_set(e, FAULT_TIMEOUT, NULL, "the node did not answer in time");
}

int session_call(struct hub *h, const char *node_id, const Demarc__V1__Call *call,
		 unsigned timeout_ms, Demarc__V1__Frame **ret, struct err *e)
{
	struct sessions *s = h->sessions;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	struct call c = { 0 };
	pthread_condattr_t attr;
	int rc;

	if (!s)
		return err_set(e, FAULT_UNAVAILABLE, NULL, "the node is not connected");
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c.cond, &attr);
	pthread_condattr_destroy(&attr);
	rc = call_open(s, node_id, &c, e);
	if (rc == 0) {
		f.request = c.request;
		f.body_case = DEMARC__V1__FRAME__BODY_CALL;
		f.call = (Demarc__V1__Call *)call;
		session_post_frame(s, c.serial, POST_SEND, &f);
		call_wait(s, &c, timeout_ms);
		call_close(s, &c);
		rc = call_result(&c, ret, e);
	}
	frame_free(c.result);
	pthread_cond_destroy(&c.cond);
	return rc;
}

void session_call_answer(struct sessions *s, uint64_t serial, Demarc__V1__Frame *take)
{
	CLEANUP(frame_freep) Demarc__V1__Frame *f = take;
	struct call *c;

	pthread_mutex_lock(&s->lock);
	for (c = s->calls; c && (c->request != f->request || c->serial != serial || c->done);)
		c = c->next;
	if (c) {
		c->result = MOVE_PTR(f);
		c->done = true;
		pthread_cond_signal(&c->cond);
	}
	pthread_mutex_unlock(&s->lock);
}

void session_calls_lost(struct sessions *s, uint64_t serial)
{
	pthread_mutex_lock(&s->lock);
	for (struct call *c = s->calls; c; c = c->next) {
		if (c->serial != serial)
			continue;
		c->lost = true;
		pthread_cond_signal(&c->cond);
	}
	pthread_mutex_unlock(&s->lock);
}
