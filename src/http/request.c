/* SPDX-License-Identifier: Apache-2.0 */
#include "http/impl.h"

#include <errno.h>

/* From bytes to a request that a worker gets: head, limits, body. */

static void refuse_head(struct conn *c, struct str in)
{
	bool in_first_line = !memchr(in.ptr, '\n', MIN_OF(in.len, (size_t)HTTP_TARGET_MAX + 64));

	if (in_first_line)
		reply_error(c, 414, "the request target is longer than 8 KiB");
	else
		reply_error(c, 431, "the request's head is longer than 32 KiB");
}

static const char *head_message(int status)
{
	static const struct {
		int status;
		const char *message;
	} rows[] = {
		{ 400, "the request is not valid HTTP/1.1" },
		{ 414, "the request target is longer than 8 KiB" },
		{ 417, "only the expectation 100-continue is known" },
		{ 431, "the request has more than 100 header fields" },
		{ 501, "only the transfer coding chunked is known" },
		{ 505, "only HTTP/1.1 and HTTP/1.0 are spoken here" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].status == status)
			return rows[i].message;
	return "the request is refused";
}

static void refuse_busy(struct conn *c)
{
	reply_error_with(c, 503, "too many requests wait already; try again", "Retry-After: 1");
}

/* Hands the request to a worker. The reply then arrives through the pool's finished list. */
static bool dispatch(struct conn *c)
{
	if (pool_push(&c->server->pool, c->exchange))
		return true;
	refuse_busy(c);
	return false;
}

static void start_work(struct conn *c)
{
	struct exchange *x = c->exchange;

	c->state = CONN_WORK;
	conn_set_deadline(c, 0);
	if (x->streamed)
		return; /* the worker has it since the head */
	x->req.body = (struct str){ strbuf_cstr(&x->body), x->body.len };
	(void)dispatch(c);
}

static void send_continue(struct conn *c)
{
	c->continue_due = false;
	strbuf_adds(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
}

/* A body follows: decides how it is taken, and refuses what is certainly too long before the client sends it. */
static void start_body(struct conn *c, const struct http_head *h)
{
	const struct http_config *cfg = &c->server->c;
	struct exchange *x = c->exchange;

	x->streamed = cfg->wants_stream && cfg->wants_stream(cfg->ctx, x->req.method, x->req.path);
	if (!x->streamed && h->length > cfg->max_body_bytes) {
		reply_error(c, 413, "the request's body is too long");
		return;
	}
	c->state = CONN_BODY;
	c->paused = false;
	c->body_chunked = h->chunked;
	c->body_left = h->length;
	c->chunked = (struct http_chunked){ 0 };
	/* A client that sends the body at once does not wait (RFC 9110 section 10.1.1). */
	c->continue_due = h->expect_continue && h->minor > 0 && !conn_input(c).len;
	conn_set_deadline(c, cfg->body_ms);
	if (!x->streamed) {
		x->body.limit_bytes = cfg->max_body_bytes;
		if (c->continue_due)
			send_continue(c);
		return;
	}
	if (http_pipe_init(&x->pipe) < 0) {
		x->streamed = false;
		refuse_busy(c);
		return;
	}
	(void)dispatch(c);
}

static void begin(struct conn *c, const struct http_head *h, struct str raw)
{
	const struct http_config *cfg = &c->server->c;

	c->close_after = !h->keep_alive || c->front->stopping;
	if (c->over_limit) {
		reply_error_with(c, 503, "too many connections; try again", "Retry-After: 2");
		return;
	}
	if (cfg->ws_path && str_eq_c(h->path, cfg->ws_path)) {
		ws_upgrade(c, h, raw.len);
		return;
	}
	c->exchange = exchange_new(c, h, raw);
	if (!c->exchange) {
		refuse_busy(c);
		return;
	}
	conn_consume(c, raw.len);
	if (h->chunked || h->length)
		start_body(c, h);
	else
		start_work(c);
}

/* RFC 9112 section 2.2: a server ignores empty lines before the request line. */
static void skip_empty_lines(struct conn *c)
{
	struct str in = conn_input(c);
	size_t n = 0;

	while (in.len - n >= 2 && memcmp(in.ptr + n, "\r\n", 2) == 0)
		n += 2;
	if (n)
		conn_consume(c, n);
}

void request_head(struct conn *c)
{
	if (!c->head_started)
		skip_empty_lines(c);
	struct str in = conn_input(c);
	if (!in.len)
		return;
	if (!c->head_started) {
		c->head_started = true;
		conn_set_deadline(c, c->server->c.head_ms);
	}
	size_t end = http_head_end(in, &c->scanned);
	if (end > HTTP_HEAD_MAX || (!end && in.len >= HTTP_HEAD_MAX)) {
		refuse_head(c, in);
		return;
	}
	if (!end)
		return;
	struct http_head h;
	char *bytes = c->in.ptr + c->in_off;
	int status = http_head_parse(bytes, end, &h);
	if (status)
		reply_error(c, status, head_message(status));
	else
		begin(c, &h, (struct str){ bytes, end });
}

/* What the body may grow by now; 0: wait for the worker. */
static size_t room(struct conn *c)
{
	struct exchange *x = c->exchange;

	return x->streamed ? http_pipe_room(&x->pipe) : SIZE_MAX;
}

static enum http_chunk_event next_piece(struct conn *c, struct str *in, struct str *ret_data)
{
	if (c->body_chunked)
		return http_chunked_next(&c->chunked, in, ret_data);
	if (!c->body_left)
		return HTTP_CHUNK_END;
	if (!in->len)
		return HTTP_CHUNK_MORE;
	size_t n = MIN_OF((uint64_t)in->len, c->body_left);
	*ret_data = (struct str){ in->ptr, n };
	*in = (struct str){ in->ptr + n, in->len - n };
	c->body_left -= n;
	return HTTP_CHUNK_DATA;
}

static void on_data(struct conn *c, struct str data)
{
	struct exchange *x = c->exchange;

	conn_set_deadline(c, c->server->c.body_ms);
	if (x->streamed) {
		(void)http_pipe_write(&x->pipe, data.ptr, data.len); /* fits: room() said so */
		return;
	}
	x->n_counted += data.len; /* given back with the exchange, also when it is too much */
	if (atomic_fetch_add(&c->server->body_bytes, data.len) + data.len > HTTP_BODIES_MAX) {
		refuse_busy(c);
		return;
	}
	strbuf_add(&x->body, data.ptr, data.len);
	if (x->body.error == -EMSGSIZE)
		reply_error(c, 413, "the request's body is too long");
	else if (x->body.error)
		refuse_busy(c);
}

/* The body cannot be read to its end. A worker that reads it learns so and answers; else the server does. */
static void fail_body(struct conn *c, int error, int status, const char *message)
{
	c->close_after = true;
	if (!c->exchange->streamed) {
		reply_error(c, status, message);
		return;
	}
	c->paused = true;
	conn_set_deadline(c, 0);
	http_pipe_end(&c->exchange->pipe, error);
}

static void on_end(struct conn *c)
{
	if (c->exchange->streamed)
		http_pipe_end(&c->exchange->pipe, 0);
	start_work(c);
}

/* Returns false when nothing more can be done with the input there is. */
static bool body_step(struct conn *c)
{
	size_t max = room(c);
	struct str in = conn_input(c), data = { 0 };

	if (!max) {
		c->paused = true;
		conn_set_deadline(c, 0); /* the worker's time, not the client's */
		return false;
	}
	in.len = MIN_OF(in.len, max);
	size_t offered = in.len;
	enum http_chunk_event ev = next_piece(c, &in, &data);
	if (ev == HTTP_CHUNK_DATA)
		on_data(c, data);
	/* Before on_end(): the next request starts where this one ends. */
	conn_consume(c, offered - in.len);
	switch (ev) {
	case HTTP_CHUNK_DATA:
		return true;
	case HTTP_CHUNK_MORE:
		return false;
	case HTTP_CHUNK_END:
		on_end(c);
		return false;
	case HTTP_CHUNK_BAD:
		fail_body(c, -EPROTO, 400, "the chunked body is malformed");
		return false;
	}
	return false;
}

void request_body(struct conn *c)
{
	while (c->state == CONN_BODY && !c->paused && body_step(c))
		;
}

void request_notice(struct exchange *x)
{
	struct conn *c = x->conn;

	if (!c || c->state != CONN_BODY)
		return;
	if (c->continue_due)
		send_continue(c);
	if (c->paused && !x->pipe.ended) {
		c->paused = false;
		conn_set_deadline(c, c->server->c.body_ms);
	}
	conn_process(c);
}

void request_timeout(struct conn *c)
{
	fail_body(c, -ETIMEDOUT, 408, "the request's body did not arrive in time");
}
