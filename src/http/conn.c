/* SPDX-License-Identifier: Apache-2.0 */
#include "http/impl.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/tls.h"

/* One TLS connection: bytes in and out, states, time-outs. What the bytes mean is in request.c, reply.c and ws.c. */

#define LINGER_MS                                                                                  \
	5000 /* how long what a refused client still sends is taken and dropped, so that it can read why */
#define LINGER_STOP_MS                                                                             \
	300 /* the same when the server stops: most clients are idle and will not say anything */
#define READ_BURST 16 /* records per turn: one fast sender must not keep the loop from the others */
#define IDLE_BUFFER_BYTES 4096 /* larger buffers are given back when empty */

static bool has_output(const struct conn *c)
{
	return c->out_off < c->out.len || c->out_body.len || c->out_fd >= 0;
}

struct str conn_input(const struct conn *c)
{
	return (struct str){ strbuf_cstr(&c->in) + c->in_off, c->in.len - c->in_off };
}

/* Forgets the first `done` bytes; keeps no large buffer for nothing. */
static void shift(struct strbuf *b, size_t *done)
{
	if (*done < b->len && *done < b->len / 2)
		return;
	memmove(b->ptr, b->ptr + *done, b->len - *done);
	b->len -= *done;
	*done = 0;
	if (!b->len && b->cap > IDLE_BUFFER_BYTES)
		strbuf_done(b);
}

void conn_consume(struct conn *c, size_t n)
{
	c->in_off += n;
	c->scanned = 0;
	if (c->in.ptr)
		shift(&c->in, &c->in_off);
}

void conn_set_deadline(struct conn *c, unsigned in_ms)
{
	if (in_ms)
		wheel_set(&c->front->wheel, &c->deadline, uv_now(c->front->loop) + in_ms);
	else
		wheel_clear(&c->deadline);
}

static bool wants_input(const struct conn *c)
{
	if (c->peer_eof)
		return false;
	switch (c->state) {
	case CONN_HELLO:
	case CONN_HANDSHAKE:
	case CONN_HEAD:
	case CONN_LINGER:
		return true;
	case CONN_WS:
		return !c->turn_in;
	case CONN_BODY:
		return !c->paused;
	case CONN_WORK:
	case CONN_REPLY:
		/* Reads ahead a little, so that a client that goes away is noticed. */
		return conn_input(c).len < HTTP_SCRATCH_BYTES;
	case CONN_QUEUED:
	case CONN_FLUSH:
	case CONN_DEAD:
		break;
	}
	return false;
}

static void on_poll(uv_poll_t *handle, int status, int events);

void conn_arm(struct conn *c)
{
	int events = 0;

	if (c->state == CONN_DEAD || c->processing)
		return;
	if (wants_input(c))
		events |= c->want_write_to_read ? UV_WRITABLE : UV_READABLE;
	if (has_output(c) || (c->state == CONN_FLUSH && !c->want_read_to_write))
		events |= c->want_read_to_write ? UV_READABLE : UV_WRITABLE;
	if (events == c->events)
		return;
	c->events = events;
	int rc = events ? uv_poll_start(&c->poll, events, on_poll) : uv_poll_stop(&c->poll);
	if (rc < 0)
		conn_drop(c);
}

static void on_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;
	struct front *f = c->front;

	SSL_free(c->ssl);
	close(c->fd);
	strbuf_done(&c->in);
	strbuf_done(&c->out);
	close_fdp(&c->out_fd);
	free(c);
	f->n_handles--;
}

/* ---- idle connections, in the order in which they became so ---- */

static void idle_remove(struct conn *c)
{
	struct front *f = c->front;

	if (c->idle_prev)
		c->idle_prev->idle_next = c->idle_next;
	else
		f->idle_first = c->idle_next;
	if (c->idle_next)
		c->idle_next->idle_prev = c->idle_prev;
	else
		f->idle_last = c->idle_prev;
	c->idle_prev = c->idle_next = NULL;
	c->is_idle = false;
}

static void idle_add(struct conn *c)
{
	struct front *f = c->front;

	c->idle_prev = f->idle_last;
	if (f->idle_last)
		f->idle_last->idle_next = c;
	else
		f->idle_first = c;
	f->idle_last = c;
	c->is_idle = true;
}

static void idle_update(struct conn *c)
{
	bool idle = c->state == CONN_HELLO || (c->state == CONN_HEAD && !c->head_started);

	if (idle && !c->is_idle)
		idle_add(c);
	else if (!idle && c->is_idle)
		idle_remove(c);
}

void conn_drop(struct conn *c)
{
	if (c->state == CONN_DEAD)
		return;
	struct front *f = c->front;
	bool was_ws = c->ws.conn != NULL;
	admit_forget(c);
	turn_forget(c);
	c->state = CONN_DEAD;
	idle_update(c);
	wheel_clear(&c->deadline);
	atomic_fetch_sub(f->n_conns, 1);
	if (was_ws)
		ws_done(c);
	if (c->exchange)
		exchange_detach(MOVE_PTR(c->exchange));
	if (c->prev)
		c->prev->next = c->next;
	else
		f->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	uv_close((uv_handle_t *)&c->poll, on_closed);
}

void conn_finish(struct conn *c)
{
	c->state = CONN_FLUSH;
	conn_set_deadline(c, c->server->c.body_ms);
}

/* Everything is sent: tells the peer, and stays a moment for what it still sends (a reset would destroy our last bytes). */
static void shut(struct conn *c)
{
	ERR_clear_error();
	if (c->ssl && SSL_is_init_finished(c->ssl))
		SSL_shutdown(c->ssl);
	shutdown(c->fd, SHUT_WR);
	if (c->ws.conn)
		ws_done(c); /* its owner need not wait for the peer's end */
	if (c->peer_eof) {
		conn_drop(c);
		return;
	}
	c->state = CONN_LINGER;
	c->want_write_to_read = false;
	conn_set_deadline(c, c->front->stopping ? LINGER_STOP_MS : LINGER_MS);
}

static void reply_done(struct conn *c)
{
	exchange_free(MOVE_PTR(c->exchange));
	if (c->close_after || c->peer_eof || c->front->stopping) {
		conn_finish(c);
		return;
	}
	c->state = CONN_HEAD;
	c->head_started = false;
	conn_set_deadline(c, c->server->c.keep_alive_ms);
}

/* Fills the output buffer from the file that is being sent. */
static bool refill(struct conn *c)
{
	size_t n = MIN_OF((uint64_t)HTTP_SCRATCH_BYTES, c->out_fd_left);

	if (!n) {
		close_fdp(&c->out_fd);
		c->out_fd = -1;
		return true;
	}
	ssize_t got = pread(c->out_fd, c->front->scratch, n, (off_t)c->out_fd_off);
	if (got <= 0)
		return false; /* the file shrank: only a broken connection tells the client */
	strbuf_add(&c->out, c->front->scratch, (size_t)got);
	c->out_fd_off += (uint64_t)got;
	c->out_fd_left -= (uint64_t)got;
	return !c->out.error;
}

/* Returns bytes taken, 0 when the socket is full, < 0 when the connection is lost. */
static int write_some(struct conn *c, struct str s)
{
	ERR_clear_error();
	int n = SSL_write(c->ssl, s.ptr, (int)MIN_OF(s.len, (size_t)1 << 20));

	c->want_read_to_write = false;
	if (n > 0) {
		if (c->state == CONN_REPLY)
			conn_set_deadline(c, c->server->c.body_ms);
		return n;
	}
	int why = SSL_get_error(c->ssl, n);
	c->want_read_to_write = why == SSL_ERROR_WANT_READ;
	return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ ? 0 : -1;
}

/* Sends head, then body, then file, until the socket is full. */
static bool send_all(struct conn *c)
{
	for (unsigned i = 0; has_output(c) && i < 2 * READ_BURST; i++) {
		bool buffered = c->out_off < c->out.len;
		if (!buffered && !c->out_body.len) {
			if (!refill(c))
				return false;
			continue;
		}
		struct str next =
			buffered ? (struct str){ c->out.ptr + c->out_off, c->out.len - c->out_off } :
				   c->out_body;
		int n = write_some(c, next);
		if (n <= 0)
			return n == 0;
		if (buffered) {
			c->out_off += (size_t)n;
			shift(&c->out, &c->out_off);
		} else {
			c->out_body = (struct str){ c->out_body.ptr + n, c->out_body.len - (size_t)n };
		}
	}
	return true;
}

static void flush(struct conn *c)
{
	if (c->out.error || !send_all(c)) {
		conn_drop(c);
		return;
	}
	if (has_output(c))
		return;
	if (c->state == CONN_REPLY)
		reply_done(c);
	else if (c->state == CONN_FLUSH)
		shut(c);
	else if (c->state == CONN_WS)
		ws_flushed(c);
}

/* One step of the state machine; true when it may have made the next one possible. */
static bool advance(struct conn *c)
{
	enum conn_state before = c->state;
	size_t left = conn_input(c).len;

	if (c->state == CONN_HEAD)
		request_head(c);
	else if (c->state == CONN_BODY)
		request_body(c);
	else if (c->state == CONN_WS)
		ws_input(c);
	if (c->ssl && c->state != CONN_HANDSHAKE && c->state != CONN_LINGER && c->state != CONN_DEAD)
		flush(c);
	return c->state != CONN_DEAD && (c->state != before || conn_input(c).len != left);
}

void conn_process(struct conn *c)
{
	if (c->processing || c->state == CONN_DEAD)
		return;
	c->processing = true;
	while (advance(c))
		;
	c->processing = false;
	if (c->state == CONN_DEAD)
		return;
	idle_update(c);
	conn_arm(c);
}

/* The peer sends no more. */
static void on_eof(struct conn *c)
{
	c->peer_eof = true;
	switch (c->state) {
	case CONN_WORK:
	case CONN_REPLY:
	case CONN_FLUSH:
		c->close_after = true;
		break;
	case CONN_HEAD:
		if (conn_input(c).len)
			conn_drop(c);
		else
			conn_finish(c);
		break;
	case CONN_HELLO:
	case CONN_QUEUED:
	case CONN_HANDSHAKE:
	case CONN_BODY:
	case CONN_WS:
	case CONN_LINGER:
	case CONN_DEAD:
		conn_drop(c);
		break;
	}
}

/* RFC 9110 has no word for plain HTTP on a TLS port; the usual answer says so in the clear. */
static void answer_plain_http(struct conn *c)
{
	static const char text[] =
		"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 86\r\n"
		"Connection: close\r\n\r\n"
		"{\"error\": {\"code\": 400, \"message\": \"this port speaks HTTPS\", \"title\": \"Bad Request\"}}\n";

	/* One packet into an empty socket; if it does not fit, the client gets nothing. */
	if (send(c->fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
		shut(c);
	else
		conn_drop(c);
}

/* An SSL call returned n <= 0: what now? */
static void on_ssl_stop(struct conn *c, int n)
{
	switch (SSL_get_error(c->ssl, n)) {
	case SSL_ERROR_WANT_READ:
		c->want_write_to_read = false;
		return;
	case SSL_ERROR_WANT_WRITE:
		c->want_write_to_read = true;
		return;
	case SSL_ERROR_ZERO_RETURN:
		on_eof(c);
		return;
	default:
		if (c->state == CONN_HANDSHAKE && ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST)
			answer_plain_http(c);
		else
			conn_drop(c);
	}
}

/* The peer is who it says. */
static void shaken(struct conn *c)
{
	admit_shaking(c, false);
	c->want_write_to_read = false;
	c->has_cert = tls_client_cn(c->ssl, &c->server->c, c->cn, sizeof(c->cn));
	if (SSL_get0_peer_certificate(c->ssl) && !c->has_cert) {
		conn_drop(c);
		return;
	}
	c->state = CONN_HEAD;
	conn_set_deadline(c, c->server->c.keep_alive_ms);
	admit_owes(c, c->is_node && SSL_version(c->ssl) == TLS1_3_VERSION);
}

static void handshake(struct conn *c)
{
	int64_t start_ns;
	int n;

	/* The poll stays ready, so the next turn comes back to the rest. */
	if (!admit_may_step(c))
		return;
	start_ns = clock_mono_ns();
	ERR_clear_error();
	n = SSL_do_handshake(c->ssl);
	if (n != 1)
		on_ssl_stop(c, n);
	admit_stepped(c, clock_mono_ns() - start_ns);
	if (n != 1)
		return;
	admit_done(c);
	shaken(c);
}

/* From now on the connection costs memory for TLS. */
void conn_start_tls(struct conn *c)
{
	c->state = CONN_HANDSHAKE;
	c->ssl = SSL_new(c->front->ctx);
	if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1) {
		conn_drop(c);
		return;
	}
	SSL_set_accept_state(c->ssl);
	if (c->is_node)
		(void)SSL_set_num_tickets(c->ssl, 0); /* cannot fail; conn_give_ticket() */
	admit_shaking(c, true);
	handshake(c);
	conn_process(c);
}

/* What the socket does not take at once goes out with the next read or write. */
void conn_give_ticket(struct conn *c)
{
	int n;

	if (has_output(c) || c->state != CONN_WS) {
		admit_owes(c, true);
		return;
	}
	/* From before a reload: its keys are of no more use, and who vouched for the node may be gone. */
	if (SSL_get_SSL_CTX(c->ssl) != c->front->ctx)
		return;
	ERR_clear_error();
	if (SSL_new_session_ticket(c->ssl) != 1)
		return;
	admit_holds(c);
	n = SSL_do_handshake(c->ssl);
	if (n != 1)
		on_ssl_stop(c, n);
	conn_process(c);
}

/* Bytes that nobody reads any more. */
static void drain(struct conn *c)
{
	ssize_t n = recv(c->fd, c->front->scratch, HTTP_SCRATCH_BYTES, MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		conn_drop(c);
}

/*
 * Reads and handles records until the socket is empty, input is not wanted, or others should have their turn. A whole record fits
 * the scratch buffer and OpenSSL reads no further than one record, so nothing is left where the poll would not see it.
 */
static void read_burst(struct conn *c)
{
	for (unsigned i = 0; i < READ_BURST && wants_input(c) && (!i || !turn_is_over(c)); i++) {
		if (c->state == CONN_LINGER) {
			drain(c);
			return;
		}
		ERR_clear_error();
		int n = SSL_read(c->ssl, c->front->scratch, HTTP_SCRATCH_BYTES);
		if (n <= 0) {
			on_ssl_stop(c, n);
			return;
		}
		c->want_write_to_read = false;
		c->last_rx_ms = uv_now(c->front->loop);
		strbuf_add(&c->in, c->front->scratch, (size_t)n);
		if (c->in.error)
			conn_drop(c);
		else
			conn_process(c);
	}
}

void conn_go_on(struct conn *c)
{
	turn_begin(c);
	conn_process(c);
	if (wants_input(c))
		read_burst(c);
	turn_end(c);
	conn_process(c);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
	struct conn *c = handle->data;

	if (status < 0) {
		conn_drop(c);
		return;
	}
	if (c->state == CONN_HELLO)
		admit_hello(c);
	else if (c->state == CONN_HANDSHAKE)
		handshake(c);
	turn_begin(c);
	if (c->ssl && c->state != CONN_HANDSHAKE && wants_input(c))
		read_burst(c);
	turn_end(c);
	conn_process(c);
}

static void peer_text(int fd, char ret[static HTTP_PEER_SIZE])
{
	static const char mapped[] = "::ffff:";
	struct sockaddr_storage ss = { 0 };
	socklen_t size = sizeof(ss);
	char text[HTTP_PEER_SIZE] = "";

	if (getpeername(fd, (struct sockaddr *)&ss, &size) == 0)
		(void)uv_ip_name((struct sockaddr *)&ss, text, sizeof(text));
	bool is_mapped = strncmp(text, mapped, sizeof(mapped) - 1) == 0 && strchr(text, '.');
	str_copy(ret, HTTP_PEER_SIZE, str_of(is_mapped ? text + sizeof(mapped) - 1 : text));
}

void conn_accept(struct front *f, int fd, bool over_limit)
{
	int on = 1;
	struct conn *c = calloc(1, sizeof(*c));

	if (!c || uv_poll_init(f->loop, &c->poll, fd) < 0) {
		free(c);
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	c->server = f->server;
	c->front = f;
	c->fd = fd;
	c->out_fd = -1;
	c->poll.data = c;
	c->over_limit = over_limit;
	peer_text(fd, c->peer);
	c->next = f->conns;
	if (c->next)
		c->next->prev = c;
	f->conns = c;
	atomic_fetch_add(f->n_conns, 1);
	f->n_handles++;
	c->last_rx_ms = uv_now(f->loop);
	conn_set_deadline(c, f->server->c.handshake_ms);
	idle_update(c);
	conn_arm(c);
}

void conn_timeout(struct conn *c)
{
	if (c->state == CONN_HEAD && c->head_started)
		reply_error(c, 408, "the request's head did not arrive in time");
	else if (c->state == CONN_HEAD)
		conn_finish(c);
	else if (c->state == CONN_BODY)
		request_timeout(c);
	else if (c->state == CONN_WS)
		ws_timeout(c);
	else
		conn_drop(c);
	conn_process(c);
}

void conn_close_gently(struct conn *c)
{
	c->close_after = true;
	if (!c->ssl || c->state == CONN_HANDSHAKE)
		conn_drop(c);
	else if (c->state == CONN_HEAD && !c->head_started)
		conn_finish(c);
	else if (c->state == CONN_WS)
		ws_start_close(c, WS_GOING_AWAY, "the hub stops");
	conn_process(c);
}
