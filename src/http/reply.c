/* SPDX-License-Identifier: Apache-2.0 */
#include "http/impl.h"

#include "base/clock.h"
#include "base/log.h"

/* Replies as bytes. Source: RFC 9112 sections 4 to 6, RFC 9110 section 8.6 (Content-Length). */

#define INLINE_BODY_BYTES (16u << 10) /* shorter bodies travel in the same TLS record as the head */

const char *http_reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} rows[] = {
		{ 200, "OK" },
		{ 201, "Created" },
		{ 202, "Accepted" },
		{ 203, "Non-Authoritative Information" },
		{ 204, "No Content" },
		{ 206, "Partial Content" },
		{ 300, "Multiple Choices" },
		{ 301, "Moved Permanently" },
		{ 302, "Found" },
		{ 303, "See Other" },
		{ 304, "Not Modified" },
		{ 307, "Temporary Redirect" },
		{ 308, "Permanent Redirect" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 406, "Not Acceptable" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 410, "Gone" },
		{ 411, "Length Required" },
		{ 412, "Precondition Failed" },
		{ 413, "Request Entity Too Large" },
		{ 414, "Request URI Too Long" },
		{ 415, "Unsupported Media Type" },
		{ 416, "Requested Range Not Satisfiable" },
		{ 417, "Expectation Failed" },
		{ 422, "Unprocessable Entity" },
		{ 426, "Upgrade Required" },
		{ 428, "Precondition Required" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
		{ 507, "Insufficient Storage" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].status == status)
			return rows[i].text;
	return "Unknown";
}

static void add_status(struct strbuf *out, int status)
{
	strbuf_addf(out, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
}

/* A value that holds a line break would be a way to inject header lines: control characters become spaces. */
static void add_header(struct strbuf *out, const char *name, const char *value)
{
	strbuf_adds(out, name);
	strbuf_adds(out, ": ");
	size_t at = out->len;
	strbuf_adds(out, value);
	for (; !out->error && at < out->len; at++)
		if ((unsigned char)out->ptr[at] < ' ')
			out->ptr[at] = ' ';
	strbuf_adds(out, "\r\n");
}

static void add_connection(struct conn *c)
{
	if (c->close_after)
		strbuf_adds(&c->out, "Connection: close\r\n");
	else if (c->exchange && c->exchange->http10)
		strbuf_adds(&c->out, "Connection: keep-alive\r\n");
	strbuf_adds(&c->out, "\r\n");
}

/* RFC 9110: these never have a body, nor a Content-Length (304 may; it would have to be the right one). */
static bool is_bodyless(int status)
{
	return status < 200 || status == 204 || status == 304;
}

static uint64_t body_size(const struct http_reply *r)
{
	return r->body_fd >= 0 ? r->body_fd_size : r->body.len;
}

static void add_head(struct conn *c, const struct http_reply *r)
{
	bool bodyless = is_bodyless(r->status);

	add_status(&c->out, r->status);
	if (!bodyless && (body_size(r) || r->content_type))
		add_header(&c->out, "Content-Type",
			   r->content_type ? r->content_type : "application/json");
	for (size_t i = 0; i < r->n_headers; i++)
		add_header(&c->out, r->headers[i].name, r->headers[i].value);
	if (!bodyless)
		strbuf_addf(&c->out, "Content-Length: %llu\r\n", (unsigned long long)body_size(r));
	add_connection(c);
}

static void add_body(struct conn *c, struct http_reply *r)
{
	if (is_bodyless(r->status) || c->exchange->req.method == HTTP_HEAD)
		return;
	if (r->body_fd >= 0) {
		c->out_fd = MOVE_FD(r->body_fd);
		c->out_fd_off = r->body_fd_offset;
		c->out_fd_left = r->body_fd_size;
	} else if (r->body.len <= INLINE_BODY_BYTES) {
		strbuf_add(&c->out, r->body.ptr, r->body.len);
	} else {
		c->out_body = r->body;
	}
}

static void log_access(const struct exchange *x)
{
	log_debug("http_request", "peer=%.*s target=%.*s status=%d bytes=%llu us=%lld",
		  STR_ARG(x->req.peer), STR_ARG(x->req.target), x->reply.status,
		  (unsigned long long)body_size(&x->reply),
		  (long long)(clock_mono_ns() - x->start_ns) / 1000);
}

void reply_start(struct conn *c)
{
	struct exchange *x = c->exchange;
	struct http_reply *r = &x->reply;

	/* The rest of a body that the handler did not want would be taken for the next request. */
	if (c->state == CONN_BODY)
		c->close_after = true;
	if (r->status < 200 || r->status > 599) {
		close_fdp(&r->body_fd);
		*r = (struct http_reply){ .status = 500, .body_fd = -1 };
	}
	log_access(x);
	add_head(c, r);
	add_body(c, r);
	c->state = CONN_REPLY;
	conn_set_deadline(c, c->server->c.body_ms);
}

void reply_error_with(struct conn *c, int status, const char *message, const char *header_line)
{
	struct strbuf body CLEANUP(strbuf_done) = { 0 };

	if (c->exchange)
		exchange_detach(MOVE_PTR(c->exchange));
	/* Where the next request would start is not known, or not worth finding out. */
	c->close_after = true;
	log_debug("http_refused", "peer=%s status=%d", c->peer, status);
	strbuf_addf(&body, "{\"error\": {\"code\": %d, \"message\": \"%s\", \"title\": \"%s\"}}\n",
		    status, message, http_reason(status));
	add_status(&c->out, status);
	strbuf_addf(&c->out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.len);
	if (header_line)
		strbuf_addf(&c->out, "%s\r\n", header_line);
	add_connection(c);
	strbuf_add(&c->out, strbuf_cstr(&body), body.len);
	c->state = CONN_REPLY;
	conn_set_deadline(c, c->server->c.body_ms);
}

void reply_error(struct conn *c, int status, const char *message)
{
	reply_error_with(c, status, message, NULL);
}
