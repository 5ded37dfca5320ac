/* SPDX-License-Identifier: Apache-2.0 */
#include "http/impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"

/* One request and its reply; also the part of the interface that handlers call. */

static struct str rebase(struct str s, const char *from, const char *to)
{
	return s.ptr ? (struct str){ to + (s.ptr - from), s.len } : str_of("");
}

static struct str keep(struct arena *a, const char *text)
{
	const char *copy = arena_strdup(a, text);

	return str_of(copy);
}

/* The head's views point into the connection's buffer, which goes on to other uses: copies the whole head once. */
static bool copy_head(struct exchange *x, const struct http_head *h, struct str raw)
{
	struct http_request *r = &x->req;
	const char *to = arena_memdup(r->arena, raw.ptr, raw.len);

	x->fields = arena_alloc(r->arena, (h->n_fields + 1) * sizeof(*x->fields));
	if (!to || !x->fields)
		return false;
	for (size_t i = 0; i < h->n_fields; i++)
		x->fields[i] = (struct http_field){ rebase(h->fields[i].name, raw.ptr, to),
						    rebase(h->fields[i].value, raw.ptr, to) };
	x->n_fields = h->n_fields;
	r->method = h->method;
	/* An absolute target without a path became the constant "/": it does not lie in the head. */
	bool inside = h->target.ptr >= raw.ptr && h->target.ptr < raw.ptr + raw.len;
	r->target = inside ? rebase(h->target, raw.ptr, to) : h->target;
	r->path = inside ? rebase(h->path, raw.ptr, to) : h->path;
	r->query = inside && h->query.len ? rebase(h->query, raw.ptr, to) : str_of("");
	r->host = rebase(h->host, raw.ptr, to);
	return true;
}

struct exchange *exchange_new(struct conn *c, const struct http_head *h, struct str raw_head)
{
	struct exchange *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->server = c->server;
	x->front = c->front;
	x->reply.body_fd = -1;
	x->start_ns = clock_mono_ns();
	x->keep_alive = h->keep_alive;
	x->http10 = h->minor == 0;
	struct http_request *r = &x->req;
	r->arena = arena_new(HTTP_ARENA_MAX);
	if (!r->arena || !copy_head(x, h, raw_head)) {
		exchange_free(x);
		return NULL;
	}
	r->peer = keep(r->arena, c->peer);
	r->has_client_cert = c->has_cert;
	r->client_cn = keep(r->arena, c->cn);
	r->body = str_of("");
	r->impl = x;
	x->conn = c;
	return x;
}

void exchange_free(struct exchange *x)
{
	if (!x)
		return;
	atomic_fetch_sub(&x->server->body_bytes, x->n_counted);
	close_fdp(&x->reply.body_fd);
	http_pipe_done(&x->pipe);
	strbuf_done(&x->body);
	arena_free(x->req.arena);
	free(x);
}

void exchange_detach(struct exchange *x)
{
	x->conn = NULL;
	if (x->streamed)
		http_pipe_end(&x->pipe, -ECONNRESET);
	/* A worker that has it gives it back; on_finished() then frees it. */
	if (!x->at_worker)
		exchange_free(x);
}

struct str http_header(const struct http_request *r, const char *name)
{
	const struct exchange *x = r->impl;

	return http_field_find(x->fields, x->n_fields, name);
}

static void wake_loop(void *arg)
{
	struct exchange *x = arg;

	pool_notice(&x->server->pool, x);
}

ssize_t http_read(struct http_request *r, void *buf, size_t size)
{
	struct exchange *x = r->impl;

	if (!x->streamed)
		return 0;
	return http_pipe_read(&x->pipe, buf, size, wake_loop, x);
}

void http_reply_header(struct http_request *r, struct http_reply *reply, const char *name,
		       const char *value)
{
	assert(reply->n_headers < HTTP_REPLY_HEADERS_MAX);
	struct http_header_row row = { arena_strdup(r->arena, name), arena_strdup(r->arena, value) };
	if (row.name && row.value)
		reply->headers[reply->n_headers++] = row;
}
