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
#include "link/pipe_msg.h"
#include "link/sandbox.h"
#include "link/wsc.h"

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

struct child {
	struct dial_tls *tls;
	struct dial *dial;
	bool has_proxy;
	struct url proxy;
	uint32_t gen;
	struct wsc_reader reader;
	struct strbuf pipe_in, pipe_out, socket_out;
	char reason[256];
};

/* ---- to the agent ---- */

static void tell(struct child *c, enum pipe_kind kind, struct str payload)
{
	pipe_msg_add(&c->pipe_out, kind, c->gen, payload);
}

static void tell_retry(struct child *c, uint32_t ms)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%u", ms);

	if (ms)
		tell(c, PIPE_RETRY, (struct str){ text, (size_t)n });
}

static void down(struct child *c, const char *reason)
{
	if (!c->dial)
		return;
	dial_close(c->dial);
	c->dial = NULL;
	wsc_reader_done(&c->reader);
	strbuf_done(&c->socket_out);
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

static int ws_open(struct child *c, const struct url *u, int64_t deadline_ns, struct err *e)
{
	CLEANUP(strbuf_done) struct strbuf request = { 0 };
	char key[WSC_KEY_SIZE], head[WSC_HEAD_MAX];
	size_t n = 0;
	int rc;

	wsc_request(&request, u, LINK_PATH, LINK_PROTOCOL, key);
	rc = dial_write_all(c->dial, request.ptr, request.len, deadline_ns, e);
	while (rc == 0) {
		/* Byte by byte: what follows the head is the first frame. TLS has the record in memory already. */
		ssize_t got = dial_read_wait(c->dial, head + n, 1, deadline_ns, e);
		if (got <= 0)
			return got < 0 ? (int)got :
					 err_set(e, FAULT_UNAVAILABLE, NULL,
						 "the hub closed the connection");
		n++;
		if (str_ends((struct str){ head, n }, STR("\r\n\r\n"))) {
			tell_retry(c, wsc_retry_after_ms((struct str){ head, n }));
			return wsc_check_answer((struct str){ head, n }, key, LINK_PROTOCOL, e);
		}
		if (n == sizeof(head))
			return err_set(e, FAULT_PROTOCOL, NULL, "the hub's answer is too long");
	}
	return rc;
}

static void dial(struct child *c, struct str text)
{
	int64_t deadline = clock_mono_ns() + DIAL_TIMEOUT_MS * NS_PER_MS;
	struct err e = { 0 };
	struct url u;
	int rc = url_parse(text, &u, &e);

	if (rc == 0)
		rc = dial_open(c->tls, &u, c->has_proxy ? &c->proxy : NULL, deadline, CHILD_FD,
			       &c->dial, &e);
	if (rc < 0) {
		tell_retry(c, dial_retry_ms(c->tls));
		tell(c, PIPE_DOWN, str_of(e.msg));
		return;
	}
	wsc_reader_init(&c->reader, LINK_FRAME_MAX);
	if (ws_open(c, &u, deadline, &e) < 0)
		down(c, e.msg);
	else
		tell(c, PIPE_UP, STR(""));
}

/* ---- from the agent ---- */

static void take(struct child *c, const struct pipe_head *h, struct str payload)
{
	switch ((enum pipe_kind)h->kind) {
	case PIPE_DIAL:
		if (c->dial) {
			dial_close(c->dial);
			c->dial = NULL;
			wsc_reader_done(&c->reader);
			strbuf_done(&c->socket_out);
		}
		c->gen = h->gen;
		dial(c, payload);
		break;
	case PIPE_FRAME:
		if (c->dial && h->gen == c->gen)
			wsc_frame_add(&c->socket_out, WSC_BINARY, payload.ptr, payload.len);
		break;
	case PIPE_HANGUP:
		if (h->gen == c->gen)
			down(c, "closed");
		break;
	case PIPE_CONFIG:
	case PIPE_UP:
	case PIPE_DOWN:
	case PIPE_RETRY:
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

static void take_event(struct child *c, enum wsc_event ev, struct str payload)
{
	switch (ev) {
	case WSC_EV_MESSAGE:
		tell(c, PIPE_FRAME, payload);
		break;
	case WSC_EV_PING:
		wsc_frame_add(&c->socket_out, WSC_PONG, payload.ptr, payload.len);
		break;
	case WSC_EV_CLOSE:
		down(c, "the hub closed the channel");
		break;
	case WSC_EV_ERROR:
		down(c, "the hub's messages do not follow the protocol");
		break;
	case WSC_EV_PONG:
	case WSC_EV_MORE:
		break;
	}
}

static void read_socket(struct child *c)
{
	char buf[READ_BYTES];

	while (c->dial && c->pipe_out.len < PIPE_OUT_MAX) {
		ssize_t n = dial_read(c->dial, buf, sizeof(buf));
		struct str in = { buf, n > 0 ? (size_t)n : 0 }, payload = { 0 };
		enum wsc_event ev;

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			down(c, n ? strerror((int)-n) : "the hub closed the connection");
			return;
		}
		do {
			ev = wsc_reader_next(&c->reader, &in, &payload);
			take_event(c, ev, payload);
		} while (c->dial && ev != WSC_EV_MORE);
	}
}

static void write_socket(struct child *c)
{
	size_t done = 0;

	while (c->dial && done < c->socket_out.len) {
		ssize_t n = dial_write(c->dial, c->socket_out.ptr + done, c->socket_out.len - done);
		if (n == -EAGAIN)
			break;
		if (n <= 0) {
			down(c, n ? strerror((int)-n) : "the hub closed the connection");
			return;
		}
		done += (size_t)n;
	}
	if (c->dial)
		pipe_buf_consume(&c->socket_out, done);
}

/* ---- the loop ---- */

static void step(struct child *c)
{
	bool may_read_pipe = c->socket_out.len < SOCKET_OUT_MAX,
	     may_read_socket = c->pipe_out.len < PIPE_OUT_MAX;
	struct pollfd p[2] = { { .fd = CHILD_FD }, { .fd = -1 } };

	p[0].events = (short)((may_read_pipe ? POLLIN : 0) | (c->pipe_out.len ? POLLOUT : 0));
	if (c->dial) {
		p[1].fd = dial_fd(c->dial);
		p[1].events =
			(short)((may_read_socket ? POLLIN : 0) | (c->socket_out.len ? POLLOUT : 0));
		if (!p[1].events)
			p[1].fd = -1; /* a hang-up would wake us for nothing */
	}
	if (poll(p, 2, c->dial && may_read_socket && dial_has_pending(c->dial) ? 0 : -1) < 0 &&
	    errno != EINTR)
		_exit(5);
	if (p[0].revents & (POLLIN | POLLHUP | POLLERR))
		read_pipe(c);
	if (c->dial) {
		read_socket(c);
		write_socket(c);
	}
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
	struct child c = { 0 };
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
