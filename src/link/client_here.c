/* SPDX-License-Identifier: Apache-2.0 */
#include "link/client_impl.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "link/wire.h"

/* The carrier without a child: dialling, TLS and WebSocket in steps, as the loop says that the socket is ready. */

#define TURNS_MAX                                                                                  \
	16 /* reads in a row: others wait, too; what is left is in the kernel, and wakes again */

/* One connection or attempt. It outlives its end by the closing of its handle. */
struct attempt {
	uv_poll_t poll;
	struct link_client *l;
	struct wire wire;
	struct dial *dial; /* until TLS is there; the wire's then */
	struct url url;
	uint32_t gen;
	int events;
	bool closed;
};

struct here {
	struct dial_tls *tls; /* of the newest connection */
	struct dial_tls *(*tls_now)(void *ctx);
	int (*reload)(void *ctx, const struct link_client_config *c, struct err *e);
	struct sockaddr_storage hub, source;
	socklen_t size;
	bool has_source;
	const struct link_pace *pace;
	struct attempt *now;
};

static void answer(struct attempt *a, enum pipe_kind kind, struct str payload)
{
	struct pipe_head h = { .size = (uint32_t)payload.len, .gen = a->gen, .kind = kind };

	client_take(a->l, &h, payload);
}

static void on_closed(uv_handle_t *handle)
{
	struct attempt *a = handle->data;
	struct link_client *l = a->l;

	free(a);
	client_handle_closed(l);
}

static void attempt_end(struct attempt *a)
{
	if (a->closed)
		return;
	a->closed = true;
	if (a->l->here->now == a)
		a->l->here->now = NULL;
	a->l->queued_bytes = 0;
	uv_close((uv_handle_t *)&a->poll, on_closed); /* before its descriptor goes */
	wire_close(&a->wire);
	dial_close(MOVE_PTR(a->dial));
}

static void attempt_fail(struct attempt *a, const char *reason)
{
	char text[200];

	if (a->closed)
		return;
	(void)str_copy(text, sizeof(text), str_of(reason));
	attempt_end(a);
	answer(a, PIPE_DOWN, str_of(text));
}

/* ---- what the wire says ---- */

static void on_up(void *ctx)
{
	answer(ctx, PIPE_UP, STR(""));
}

static void on_message(void *ctx, struct str bytes)
{
	answer(ctx, PIPE_FRAME, bytes);
}

static void on_retry(void *ctx, uint32_t ms)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%u", ms);

	if (ms)
		answer(ctx, PIPE_RETRY, (struct str){ text, (size_t)n });
}

static const struct wire_ops wire_ops = { on_up, on_message, on_retry };

/* ---- steps ---- */

static void on_ready(uv_poll_t *p, int status, int events);

static const struct link_pace *pace_of(const struct attempt *a)
{
	static const struct link_pace none;

	return a->wire.dial && a->l->here->pace ? a->l->here->pace : &none;
}

static void wait_for(struct attempt *a, int events)
{
	events &= ~((pace_of(a)->no_read ? UV_READABLE : 0) | (pace_of(a)->no_write ? UV_WRITABLE : 0));
	if (a->closed || a->events == events)
		return;
	a->events = events;
	(void)uv_poll_start(&a->poll, events, on_ready); /* the descriptor is open */
}

static void dial_on(struct attempt *a)
{
	struct err e = { 0 };
	int rc = dial_step(a->dial, &a->url, &e);

	if (rc < 0) {
		on_retry(a, dial_retry_ms(a->l->here->tls));
		attempt_fail(a, e.msg);
	} else if (rc > 0) {
		wire_begin(&a->wire, MOVE_PTR(a->dial), &a->url);
	} else {
		wait_for(a, dial_wants(a->dial) == POLLIN ? UV_READABLE : UV_WRITABLE);
	}
}

static void flush(struct attempt *a)
{
	if (a->closed || !a->wire.dial)
		return;
	if (!pace_of(a)->no_write && wire_write(&a->wire) < 0) {
		attempt_fail(a, a->wire.reason);
		return;
	}
	a->l->queued_bytes = a->wire.out.len;
	wait_for(a, UV_READABLE | (a->wire.out.len ? UV_WRITABLE : 0));
}

static void serve(struct attempt *a)
{
	int rc = !pace_of(a)->no_read;

	for (int i = 0; rc > 0 && !a->closed && (i < TURNS_MAX || dial_has_pending(a->wire.dial)); i++)
		rc = wire_read(&a->wire);
	if (rc < 0)
		attempt_fail(a, a->wire.reason);
	else
		flush(a);
}

static void on_ready(uv_poll_t *p, int status, int events)
{
	struct attempt *a = p->data;

	(void)status; /* an error of the socket shows when it is used */
	(void)events;
	if (!a->wire.dial)
		dial_on(a);
	if (!a->closed && a->wire.dial)
		serve(a);
	if (a->l->state != LINK_STOPPED)
		client_rearm(a->l);
}

/* ---- dialling ---- */

static int socket_to(const struct here *h)
{
	CLEANUP(close_fdp)
	int fd = socket(h->hub.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* The port is chosen with the destination known: else 28,000 would be all, whatever the address. */
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (h->pace && h->pace->rcvbuf) /* before the window is agreed on */
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &h->pace->rcvbuf, sizeof(int));
	if (h->has_source && bind(fd, (const struct sockaddr *)&h->source, h->size) < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&h->hub, h->size) < 0 && errno != EINPROGRESS)
		return -errno;
	return MOVE_FD(fd);
}

static struct attempt *attempt_new(struct link_client *l, struct str url)
{
	struct attempt *a = calloc(1, sizeof(*a));

	if (!a || url_parse(url, &a->url, NULL) < 0) {
		free(a);
		return NULL;
	}
	a->l = l;
	a->gen = l->gen;
	a->wire.ops = &wire_ops;
	a->wire.ctx = a;
	a->poll.data = a;
	return a;
}

static int dial(struct link_client *l, struct str url)
{
	struct attempt *a;
	int fd = socket_to(l->here);

	if (fd < 0)
		return fd;
	a = attempt_new(l, url);
	if (!a || uv_poll_init(l->loop, &a->poll, fd) < 0) {
		free(a);
		close_fdp(&fd);
		return -ENOMEM;
	}
	l->n_handles++;
	l->here->tls = l->here->tls_now(l->ctx);
	if (dial_begin(l->here->tls, fd, &a->dial, NULL) < 0) {
		attempt_end(a);
		return -ENOMEM;
	}
	l->here->now = a;
	wait_for(a, UV_WRITABLE);
	return 0;
}

static int tell(struct link_client *l, enum pipe_kind kind, struct str payload)
{
	struct attempt *a = l->here->now;

	if (kind == PIPE_DIAL) {
		if (a)
			attempt_end(a);
		return dial(l, payload);
	}
	if (!a)
		return -ENOTCONN;
	if (kind == PIPE_HANGUP) {
		attempt_end(a);
	} else if (kind == PIPE_FRAME && a->wire.dial) {
		wire_send(&a->wire, payload);
		l->queued_bytes = a->wire.out.len;
		wait_for(a, UV_READABLE | UV_WRITABLE);
	}
	return 0;
}

static int start(struct link_client *l)
{
	(void)l;
	return 0;
}

static void kill_now(struct link_client *l)
{
	if (l->here->now)
		attempt_end(l->here->now);
}

static void here_free(struct link_client *l)
{
	free(MOVE_PTR(l->here));
}

const struct link_carrier carrier_here = { start, tell, kill_now, here_free };

int client_here_new(struct link_client *l, const struct link_here *h, struct err *e)
{
	if (h->size > sizeof(l->here->hub))
		return err_set(e, FAULT_BAD_REQUEST, NULL, "an address of %zu bytes", h->size);
	l->here = calloc(1, sizeof(*l->here));
	if (!l->here)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the channel");
	l->here->tls_now = h->tls;
	l->here->reload = h->reload;
	l->here->pace = h->pace;
	l->here->size = (socklen_t)h->size;
	l->here->has_source = h->source != NULL;
	memcpy(&l->here->hub, h->hub, h->size);
	if (h->source)
		memcpy(&l->here->source, h->source, h->size);
	return 0;
}

int client_here_reload(struct link_client *l, const struct link_client_config *c, struct err *e)
{
	return l->here->reload(l->ctx, c, e);
}

void link_client_paced(struct link_client *l)
{
	struct attempt *a = l->here ? l->here->now : NULL;

	if (!a || !a->wire.dial)
		return;
	if (l->here->pace->rcvbuf)
		(void)setsockopt(dial_fd(a->wire.dial), SOL_SOCKET, SO_RCVBUF,
				 &l->here->pace->rcvbuf, sizeof(int));
	serve(a);
	if (l->state != LINK_STOPPED)
		client_rearm(l);
}
