/* SPDX-License-Identifier: Apache-2.0 */
#include "link/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "link/dial.h"
#include "link/line.h"
#include "link/pipe_msg.h"
#include "link/sandbox.h"
#include "link/wire.h"

/*
 * The network child: one thread, one poll(2). It dials when it is told to, and carries whole messages between the agent's
 * socketpair and the hub's WebSocket. It decides nothing: when to dial, what to say and what to believe is the agent's.
 */

#define DIAL_TIMEOUT_MS 10000
#define SOCKET_OUT_MAX                                                                             \
	(2u << 20) /* bytes that wait for the hub; past it nothing is read from the agent */
#define PIPE_OUT_MAX                                                                               \
	(2u << 20) /* bytes that wait for the agent; past it nothing is read from the hub */
#define READ_BYTES 16384u
#define BULK_LOOK_MS 20 /* nobody tells when the hub has acknowledged */
#define WROTE_MS 500

struct child {
	struct dial_tls *tls;
	struct wire wire;
	bool has_proxy;
	struct url proxy;
	uint32_t gen;
	struct strbuf pipe_in, pipe_out;
	struct strbuf bulk; /* frames of streams, ready for wire.out; the agent lets few of them wait here */
	size_t bulk_bytes; /* of them as the agent counts */
	int64_t wrote_ns;
};

/* ---- to the agent ---- */

static void tell(struct child *c, enum pipe_kind kind, struct str payload)
{
	pipe_msg_add(&c->pipe_out, kind, c->gen, payload);
}

static void tell_up(void *ctx)
{
	tell(ctx, PIPE_UP, STR(""));
}

static void tell_message(void *ctx, struct str bytes)
{
	tell(ctx, PIPE_FRAME, bytes);
}

static void tell_retry(void *ctx, uint32_t ms)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%u", ms);

	if (ms)
		tell(ctx, PIPE_RETRY, (struct str){ text, (size_t)n });
}

static const struct wire_ops wire_ops = { tell_up, tell_message, tell_retry };

static void tell_wrote(struct child *c, size_t bulk_bytes)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%zu", bulk_bytes);

	c->wrote_ns = clock_mono_ns();
	tell(c, PIPE_WROTE, (struct str){ text, (size_t)n });
}

/* The agent keeps it for the child after this one. */
static void tell_ticket(struct child *c)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	const char how = dial_resumed(c->tls) ? PIPE_RESUMED : PIPE_SHAKEN;

	strbuf_add(&b, &how, 1);
	if (dial_ticket_take(c->tls, &b) == 1 && b.len <= 1 + LINK_TICKET_MAX)
		tell(c, PIPE_TICKET, (struct str){ b.ptr, b.len });
	if (b.ptr)
		explicit_bzero(b.ptr, b.len);
}

static void close_wire(struct child *c)
{
	wire_close(&c->wire);
	strbuf_done(&c->bulk);
	c->bulk_bytes = 0;
}

static void down(struct child *c, const char *reason)
{
	if (!c->wire.dial)
		return;
	close_wire(c);
	tell(c, PIPE_DOWN, str_of(reason));
}

/* ---- configuration ---- */

static struct str text_of(const json_t *o, const char *key)
{
	return str_of(json_str(o, key));
}

/* Reads the first message, blocking; then the child becomes unprivileged, before it has seen a byte from the network. */
static int read_config(struct child *c, struct str text, struct err *e)
{
	CLEANUP(json_freep) json_t *o = NULL;
	struct dial_config d;
	const char *proxy;
	int rc = json_parse(text, &o, e);

	if (rc < 0)
		return rc;
	rc = sandbox_enter(json_str(o, "user"), e);
	if (rc < 0)
		return rc;
	proxy = json_str(o, "proxy");
	c->has_proxy = proxy != NULL;
	if (proxy) {
		rc = url_parse_authority(str_of(proxy), &c->proxy, e);
		if (rc < 0)
			return rc;
	}
	d = (struct dial_config){ .ca_pem = text_of(o, "ca"),
				  .cert_pem = text_of(o, "cert"),
				  .key_pem = text_of(o, "key") };
	return dial_tls_new(&d, &c->tls, e);
}

/* ---- dialling ---- */

static int ws_open(struct child *c, int64_t deadline_ns, struct err *e)
{
	struct wire *w = &c->wire;
	char buf[READ_BYTES];
	int rc = dial_write_all(w->dial, w->out.ptr, w->out.len, deadline_ns, e);

	pipe_buf_consume(&w->out, w->out.len);
	while (rc == 0 && !w->open) {
		ssize_t n = dial_read_wait(w->dial, buf, sizeof(buf), deadline_ns, e);

		if (n < 0)
			return (int)n;
		if (n == 0)
			return err_set(e, FAULT_UNAVAILABLE, NULL, "the hub closed the connection");
		if (wire_take(w, (struct str){ buf, (size_t)n }) < 0)
			return err_set(e, FAULT_PROTOCOL, NULL, "%s", w->reason);
	}
	return rc;
}

static void dial(struct child *c, struct str text)
{
	int64_t deadline = clock_mono_ns() + DIAL_TIMEOUT_MS * NS_PER_MS;
	struct dial *d = NULL;
	struct err e = { 0 };
	struct url u;
	int rc = url_parse(text, &u, &e);

	if (rc == 0)
		rc = dial_open(c->tls, &u, c->has_proxy ? &c->proxy : NULL, deadline, CHILD_FD, &d, &e);
	if (rc < 0) {
		tell_retry(c, dial_retry_ms(c->tls));
		tell(c, PIPE_DOWN, str_of(e.msg));
		return;
	}
	wire_begin(&c->wire, d, &u);
	if (ws_open(c, deadline, &e) < 0)
		down(c, e.msg);
}

/* ---- from the agent ---- */

static void take(struct child *c, const struct pipe_head *h, struct str payload)
{
	switch ((enum pipe_kind)h->kind) {
	case PIPE_DIAL:
		close_wire(c);
		c->gen = h->gen;
		dial(c, payload);
		break;
	case PIPE_FRAME:
		if (c->wire.dial && h->gen == c->gen)
			wire_send(&c->wire, payload);
		break;
	case PIPE_BULK:
		if (!c->wire.dial || h->gen != c->gen)
			break;
		wsc_frame_add(&c->bulk, WSC_BINARY, payload.ptr, payload.len);
		c->bulk_bytes += payload.len;
		break;
	case PIPE_HANGUP:
		if (h->gen == c->gen)
			down(c, "closed");
		break;
	case PIPE_TICKET:
		(void)!dial_ticket_set(c->tls, payload); /* of no use: a full handshake, then */
		break;
	case PIPE_CONFIG:
	case PIPE_UP:
	case PIPE_DOWN:
	case PIPE_RETRY:
	case PIPE_WROTE:
		_exit(3); /* not the agent at the other end */
	}
}

static void take_all(struct child *c)
{
	struct pipe_head h;
	struct str payload;
	size_t at = 0;
	int rc;

	while ((rc = pipe_msg_next(&c->pipe_in, &at, &h, &payload)) == 1)
		take(c, &h, payload);
	if (rc < 0 || c->pipe_in.error)
		_exit(3);
	pipe_buf_consume(&c->pipe_in, at);
}

static void read_pipe(struct child *c)
{
	char buf[READ_BYTES];
	ssize_t n = read(CHILD_FD, buf, sizeof(buf));

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		_exit(0); /* the agent has gone */
	if (n > 0)
		strbuf_add(&c->pipe_in, buf, (size_t)n);
	take_all(c);
}

static void write_pipe(struct child *c)
{
	ssize_t n = c->pipe_out.len ? write(CHILD_FD, c->pipe_out.ptr, c->pipe_out.len) : 0;

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		_exit(0);
	if (n > 0)
		pipe_buf_consume(&c->pipe_out, (size_t)n);
	if (c->pipe_out.error)
		_exit(4);
}

/* ---- the hub ---- */

/* Behind everything else that is to be written. */
static void add_bulk(struct child *c)
{
	if (c->bulk.len == 0 || c->wire.out.len || !line_takes_bulk(dial_fd(c->wire.dial)))
		return;
	strbuf_add(&c->wire.out, c->bulk.ptr, c->bulk.len);
	if (c->bulk.error)
		_exit(4);
	tell_wrote(c, c->bulk_bytes);
	strbuf_done(&c->bulk);
	c->bulk_bytes = 0;
}

/* What is left in wire.out is more than the kernel takes at a time: that it takes more is a sign of life. */
static int write_socket(struct child *c)
{
	size_t before = c->wire.out.len;
	int rc = wire_write(&c->wire);

	if (rc == 0 && c->wire.out.len && c->wire.out.len < before &&
	    clock_mono_ns() - c->wrote_ns >= WROTE_MS * NS_PER_MS)
		tell_wrote(c, 0);
	return rc;
}

static void serve_socket(struct child *c)
{
	int rc = 1;

	while (rc > 0 && c->pipe_out.len < PIPE_OUT_MAX)
		rc = wire_read(&c->wire);
	tell_ticket(c);
	if (rc >= 0)
		add_bulk(c);
	if (rc >= 0)
		rc = write_socket(c);
	if (rc < 0)
		down(c, c->wire.reason);
}

/* ---- the loop ---- */

static void step(struct child *c)
{
	bool may_read_pipe = c->wire.out.len < SOCKET_OUT_MAX,
	     may_read_socket = c->pipe_out.len < PIPE_OUT_MAX;
	struct pollfd p[2] = { { .fd = CHILD_FD }, { .fd = -1 } };
	int timeout_ms = c->bulk.len && c->wire.out.len == 0 ? BULK_LOOK_MS : -1;

	p[0].events = (short)((may_read_pipe ? POLLIN : 0) | (c->pipe_out.len ? POLLOUT : 0));
	if (c->wire.dial) {
		p[1].fd = dial_fd(c->wire.dial);
		p[1].events = (short)((may_read_socket ? POLLIN : 0) | (c->wire.out.len ? POLLOUT : 0));
		if (!p[1].events)
			p[1].fd = -1; /* a hang-up would wake us for nothing */
	}
	if (c->wire.dial && may_read_socket && dial_has_pending(c->wire.dial))
		timeout_ms = 0;
	if (poll(p, 2, timeout_ms) < 0 && errno != EINTR)
		_exit(5);
	if (p[0].revents & (POLLIN | POLLHUP | POLLERR))
		read_pipe(c);
	if (c->wire.dial)
		serve_socket(c);
	write_pipe(c);
}

/* The first message, before the descriptor becomes non-blocking. */
static int first_message(struct child *c, struct err *e)
{
	struct pipe_head h;
	struct str payload;
	size_t at = 0;
	int rc;

	while ((rc = pipe_msg_next(&c->pipe_in, &at, &h, &payload)) == 0) {
		char buf[READ_BYTES];
		ssize_t n = read(CHILD_FD, buf, sizeof(buf));

		if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
			return err_set(e, FAULT_UNAVAILABLE, NULL, "the agent has gone");
		if (n < 0 && errno == EAGAIN)
			(void)poll(&(struct pollfd){ .fd = CHILD_FD, .events = POLLIN }, 1, -1);
		if (n > 0)
			strbuf_add(&c->pipe_in, buf, (size_t)n);
	}
	if (rc < 0 || h.kind != PIPE_CONFIG)
		return err_set(e, FAULT_PROTOCOL, NULL, "not started by the agent");
	rc = read_config(c, payload, e);
	explicit_bzero(c->pipe_in.ptr, at); /* the private key was in it */
	pipe_buf_consume(&c->pipe_in, at);
	return rc;
}

int link_child_main(void)
{
	struct child c = { .wire = { .ops = &wire_ops, .ctx = &c } };
	struct err e = { 0 };

	signal(SIGPIPE, SIG_IGN);
	(void)syscall(SYS_close_range, CHILD_FD + 1, ~0u, 0);
	if (fcntl(CHILD_FD, F_GETFL) < 0) {
		dprintf(STDERR_FILENO, "this is started by the node agent only\n");
		return 64;
	}
	if (first_message(&c, &e) < 0) {
		tell(&c, PIPE_DOWN, str_of(e.msg));
		write_pipe(&c);
		return 1;
	}
	(void)fcntl(CHILD_FD, F_SETFL, O_NONBLOCK);
	take_all(&c); /* what came together with the configuration */
	for (;;)
		step(&c);
}
