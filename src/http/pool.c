/* SPDX-License-Identifier: Apache-2.0 */
#include "http/impl.h"
#include "http/table.h"

#include <errno.h>
#include <stdlib.h>

/* Worker threads and their bounded queue. */

struct worker_arg {
	struct http_server *server;
	unsigned index;
};

void exchange_list_add(struct exchange_list *l, struct exchange *x)
{
	x->next = NULL;
	if (l->last)
		l->last->next = x;
	else
		l->first = x;
	l->last = x;
}

static struct exchange *list_take(struct exchange_list *l)
{
	struct exchange *x = l->first;

	if (!x)
		return NULL;
	l->first = x->next;
	if (!l->first)
		l->last = NULL;
	x->next = NULL;
	return x;
}

/* The oldest request that may run now; NULL: none. */
static struct exchange *next_work(struct pool *p)
{
	struct exchange *plain = p->plain.first, *stream = p->streams.first;

	if (stream && p->n_streaming < p->max_streaming && (!plain || stream->seq < plain->seq)) {
		p->n_streaming++;
		return list_take(&p->streams);
	}
	return list_take(&p->plain);
}

/* The front cannot use a descriptor of this table. */
static void pass_file(struct exchange *x)
{
	int rc;

	if (x->reply.body_fd < 0 || x->front->pass_fd < 0)
		return;
	rc = table_send(x->front->pass_fd, x->reply.body_fd);
	close_fdp(&x->reply.body_fd);
	x->reply.body_fd = -1;
	x->passed = rc == 0;
	if (rc < 0)
		x->reply = (struct http_reply){ .status = 503, .body_fd = -1 };
}

static void run(struct pool *p, struct exchange *x, unsigned index)
{
	const struct http_config *c = &x->server->c;

	p->n_queued--;
	pthread_mutex_unlock(&p->lock);
	c->handle(c->ctx, index, &x->req, &x->reply);
	pthread_mutex_lock(&p->lock);
	if (x->reply.status == HTTP_AGAIN && !x->streamed && !p->stopping) {
		x->reply = (struct http_reply){ .body_fd = -1 };
		p->n_queued++;
		x->seq = p->next_seq++;
		exchange_list_add(&p->plain, x);
		return;
	}
	if (x->streamed) {
		p->n_streaming--;
		pthread_cond_signal(&p->work);
	}
	pass_file(x);
	exchange_list_add(&x->front->finished, x);
	/* Under the lock: pool_stop() then knows that nobody touches the handle after it. */
	front_wake(x->front);
}

static void *worker_main(void *arg)
{
	struct worker_arg w = *(struct worker_arg *)arg;
	struct pool *p = &w.server->pool;

	free(arg);
	pthread_mutex_lock(&p->lock);
	while (!p->stopping) {
		struct exchange *x = next_work(p);
		if (x)
			run(p, x, w.index);
		else
			pthread_cond_wait(&p->work, &p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static int start_one(struct pool *p, struct http_server *s)
{
	struct worker_arg *arg = malloc(sizeof(*arg));

	if (!arg)
		return -ENOMEM;
	*arg = (struct worker_arg){ s, p->n_started };
	int num = pthread_create(&p->threads[p->n_started], NULL, worker_main, arg);
	if (num) {
		free(arg);
		return -num;
	}
	p->n_started++;
	return 0;
}

int pool_start(struct pool *p, struct http_server *s, unsigned n, struct err *e)
{
	*p = (struct pool){ .n_threads = n,
			    .max_queued = s->c.n_queue,
			    .max_streaming = MAX_OF(n / 2, 1u) };
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	p->threads = calloc(n, sizeof(*p->threads));
	if (!p->threads)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory");
	for (unsigned i = 0; i < n; i++) {
		int rc = start_one(p, s);
		if (rc < 0)
			return err_errno(e, rc, "start a worker thread");
	}
	return 0;
}

void pool_stop(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n_started; i++)
		pthread_join(p->threads[i], NULL);
	p->n_started = 0;
}

void pool_done(struct pool *p, struct http_server *s)
{
	struct exchange *x;

	if (!p->threads)
		return;
	free(MOVE_PTR(p->threads));
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	while ((x = list_take(&p->plain)) || (x = list_take(&p->streams)))
		exchange_free(x);
	for (unsigned i = 0; i < s->c.n_fronts; i++)
		while ((x = list_take(&s->fronts[i].finished)))
			exchange_free(x);
}

bool pool_push(struct pool *p, struct exchange *x)
{
	pthread_mutex_lock(&p->lock);
	bool room = p->n_queued < p->max_queued;
	if (room) {
		p->n_queued++;
		x->seq = p->next_seq++;
		x->at_worker = true;
		exchange_list_add(x->streamed ? &p->streams : &p->plain, x);
		pthread_cond_signal(&p->work);
	}
	pthread_mutex_unlock(&p->lock);
	return room;
}

void pool_notice(struct pool *p, struct exchange *x)
{
	pthread_mutex_lock(&p->lock);
	if (!x->noticed) {
		x->noticed = true;
		x->notice_next = x->front->notices;
		x->front->notices = x;
	}
	front_wake(x->front);
	pthread_mutex_unlock(&p->lock);
}

void pool_collect(struct front *f, struct exchange **ret_notices, struct exchange **ret_finished)
{
	struct pool *p = &f->server->pool;

	pthread_mutex_lock(&p->lock);
	*ret_notices = MOVE_PTR(f->notices);
	for (struct exchange *x = *ret_notices; x; x = x->notice_next)
		x->noticed = false;
	*ret_finished = f->finished.first;
	f->finished = (struct exchange_list){ 0 };
	pthread_mutex_unlock(&p->lock);
}
