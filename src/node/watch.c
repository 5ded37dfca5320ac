/* SPDX-License-Identifier: Apache-2.0 */
#include "node/watch.h"

#include <stdlib.h>

struct watch {
	uv_poll_t poll;
	void (*fn)(void *ctx);
	void *ctx;
};

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
	struct watch *w = p->data;

	(void)status;
	(void)events;
	w->fn(w->ctx);
}

struct watch *watch_start(uv_loop_t *loop, int fd, void (*fn)(void *ctx), void *ctx)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->fn = fn;
	w->ctx = ctx;
	if (uv_poll_init(loop, &w->poll, fd) < 0) {
		free(w);
		return NULL;
	}
	w->poll.data = w;
	if (uv_poll_start(&w->poll, UV_READABLE, on_poll) < 0) {
		uv_close((uv_handle_t *)&w->poll, on_closed);
		return NULL;
	}
	return w;
}

void watch_stop(struct watch *w)
{
	if (!w)
		return;
	(void)uv_poll_stop(&w->poll);
	uv_close((uv_handle_t *)&w->poll, on_closed);
}
