/* SPDX-License-Identifier: Apache-2.0 */
#include "http/pipe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

int http_pipe_init(struct http_pipe *p)
{
	*p = (struct http_pipe){ .ring = malloc(HTTP_PIPE_BYTES) };
	if (!p->ring)
		return -ENOMEM;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->filled, NULL);
	return 0;
}

void http_pipe_done(struct http_pipe *p)
{
	if (!p->ring)
		return;
	free(MOVE_PTR(p->ring));
	pthread_cond_destroy(&p->filled);
	pthread_mutex_destroy(&p->lock);
}

size_t http_pipe_room(struct http_pipe *p)
{
	pthread_mutex_lock(&p->lock);
	/* Before the first read nothing is taken: a body that waits for a worker waits in the client. */
	size_t room = p->asked ? HTTP_PIPE_BYTES - p->len : 0;
	p->starved = room == 0;
	pthread_mutex_unlock(&p->lock);
	return room;
}

size_t http_pipe_write(struct http_pipe *p, const void *bytes, size_t size)
{
	pthread_mutex_lock(&p->lock);
	size_t n = MIN_OF(size, HTTP_PIPE_BYTES - p->len);
	size_t tail = (p->head + p->len) % HTTP_PIPE_BYTES;
	size_t first = MIN_OF(n, HTTP_PIPE_BYTES - tail);
	memcpy(p->ring + tail, bytes, first);
	memcpy(p->ring, (const char *)bytes + first, n - first);
	p->len += n;
	p->starved = n < size;
	pthread_cond_signal(&p->filled);
	pthread_mutex_unlock(&p->lock);
	return n;
}

void http_pipe_end(struct http_pipe *p, int error)
{
	pthread_mutex_lock(&p->lock);
	if (!p->ended) {
		p->ended = true;
		p->error = error;
	}
	pthread_cond_broadcast(&p->filled);
	pthread_mutex_unlock(&p->lock);
}

bool http_pipe_asked(struct http_pipe *p)
{
	pthread_mutex_lock(&p->lock);
	bool asked = p->asked;
	pthread_mutex_unlock(&p->lock);
	return asked;
}

static size_t take(struct http_pipe *p, char *buf, size_t size)
{
	size_t n = MIN_OF(size, p->len);
	size_t first = MIN_OF(n, HTTP_PIPE_BYTES - p->head);

	memcpy(buf, p->ring + p->head, first);
	memcpy(buf + first, p->ring, n - first);
	p->head = (p->head + n) % HTTP_PIPE_BYTES;
	p->len -= n;
	return n;
}

ssize_t http_pipe_read(struct http_pipe *p, void *buf, size_t size, void (*notice)(void *arg), void *arg)
{
	pthread_mutex_lock(&p->lock);
	if (!p->asked) {
		p->asked = true;
		pthread_mutex_unlock(&p->lock);
		notice(arg);
		pthread_mutex_lock(&p->lock);
	}
	while (!p->len && !p->ended)
		pthread_cond_wait(&p->filled, &p->lock);
	ssize_t n = p->len ? (ssize_t)take(p, buf, size) : p->error;
	/* Half empty before the writer starts again: fewer wake-ups, never an empty pipe in between. */
	bool room = p->starved && p->len <= HTTP_PIPE_BYTES / 2;
	if (room)
		p->starved = false;
	pthread_mutex_unlock(&p->lock);
	if (room)
		notice(arg);
	return n;
}
