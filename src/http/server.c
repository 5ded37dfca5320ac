/* SPDX-License-Identifier: Apache-2.0 */
#include "http/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/tls.h"

/* Start, accept, time, stop. */

#define ACCEPT_BURST 64 /* connections per turn of the loop */
#define OVER_LIMIT_MAX                                                                             \
	64 /* connections beyond n_conns that are told 503; further ones are closed at once */

static void set_default(unsigned *v, unsigned dflt)
{
	if (!*v)
		*v = dflt;
}

static void config_defaults(struct http_config *c)
{
	set_default(&c->n_workers, 8);
	set_default(&c->n_conns, 4096);
	set_default(&c->n_queue, 512);
	set_default(&c->handshake_ms, 15000);
	set_default(&c->head_ms, 30000);
	set_default(&c->body_ms, 60000);
	set_default(&c->keep_alive_ms, 75000);
	set_default(&c->ws_ping_ms, 30000);
	if (!c->max_body_bytes)
		c->max_body_bytes = 1u << 20;
	if (!c->ws_max_message_bytes)
		c->ws_max_message_bytes = 1u << 20;
	if (!c->ws_max_queue_bytes)
		c->ws_max_queue_bytes = 4u << 20;
}

static int config_copy(struct http_config *to, const struct http_config *from, struct err *e)
{
	const char **texts[] = { &to->listen_addr,    &to->cert_file, &to->key_file,
				 &to->client_ca_file, &to->ws_path,   &to->ws_protocol };
	bool failed = false;

	*to = *from;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (!*texts[i])
			continue;
		*texts[i] = strdup(*texts[i]);
		failed |= !*texts[i];
	}
	config_defaults(to);
	return failed ? err_set(e, FAULT_NO_MEMORY, NULL, "no memory") : 0;
}

static void config_done(struct http_config *c)
{
	const char *texts[] = { c->listen_addr,	   c->cert_file, c->key_file,
				c->client_ca_file, c->ws_path,	 c->ws_protocol };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		free((void *)(uintptr_t)texts[i]);
}

/* A name is not looked up: the operator says an address, or nothing for all of them. */
static int listen_address(const struct http_config *c, struct sockaddr_storage *ss, struct err *e)
{
	*ss = (struct sockaddr_storage){ 0 };
	if (uv_ip6_addr(c->listen_addr ? c->listen_addr : "::", c->port, (struct sockaddr_in6 *)ss) == 0)
		return 0;
	if (uv_ip4_addr(c->listen_addr, c->port, (struct sockaddr_in *)ss) == 0)
		return 0;
	return err_set(e, FAULT_BAD_REQUEST, "listen_addr", "%s is not an IP address", c->listen_addr);
}

static int listen_on(struct sockaddr_storage *ss, int *ret_fd)
{
	int on = 1, off = 0;
	CLEANUP(close_fdp)
	int fd = socket(ss->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t size = ss->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) :
						     sizeof(struct sockaddr_in);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ss->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (struct sockaddr *)ss, size) < 0 || listen(fd, SOMAXCONN) < 0)
		return -errno;
	*ret_fd = MOVE_FD(fd);
	return 0;
}

static int open_listener(struct http_server *s, struct err *e)
{
	struct sockaddr_storage ss;
	socklen_t size = sizeof(ss);
	int rc = listen_address(&s->c, &ss, e);

	if (rc < 0)
		return rc;
	rc = listen_on(&ss, &s->listen_fd);
	if (rc < 0 && !s->c.listen_addr && (rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL)) {
		/* A host without IPv6. */
		(void)uv_ip4_addr("0.0.0.0", s->c.port, (struct sockaddr_in *)&ss);
		rc = listen_on(&ss, &s->listen_fd);
	}
	if (rc < 0)
		return err_errno(e, rc, "listen on %s port %u",
				 s->c.listen_addr ? s->c.listen_addr : "*", s->c.port);
	if (getsockname(s->listen_fd, (struct sockaddr *)&ss, &size) < 0)
		return err_errno(e, errno, "getsockname");
	s->port = ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port :
						   ((struct sockaddr_in *)&ss)->sin_port);
	return 0;
}

/* Out of descriptors, a client that waits in the queue would keep the listener readable: turns it away. */
static void refuse_one(struct http_server *s)
{
	close_fdp(&s->spare_fd);
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Idle connections are only a saving for their clients: the one that has been idle longest makes room. */
static void make_room(struct http_server *s)
{
	struct conn *oldest = NULL;

	for (struct conn *c = s->conns; c; c = c->next)
		if (c->state == CONN_HEAD && !c->head_started &&
		    (!oldest || c->last_rx_ms < oldest->last_rx_ms))
			oldest = c;
	if (oldest)
		conn_drop(oldest);
}

static void on_accept(uv_poll_t *handle, int status, int events)
{
	struct http_server *s = handle->data;

	for (unsigned i = 0; i < ACCEPT_BURST && !s->stopping; i++) {
		int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE))
			refuse_one(s);
		if (fd < 0)
			return;
		if (s->n_conns >= s->c.n_conns)
			make_room(s);
		if (s->n_conns >= s->c.n_conns + OVER_LIMIT_MAX)
			close(fd);
		else
			conn_accept(s, fd, s->n_conns >= s->c.n_conns);
	}
}

static void on_finished(struct exchange *x)
{
	struct conn *c = x->conn;

	x->at_worker = false;
	if (!c) {
		exchange_free(x);
		return;
	}
	reply_start(c);
	conn_process(c);
}

static void on_wake(uv_async_t *handle)
{
	struct http_server *s = handle->data;
	struct exchange *notices, *finished;

	pool_collect(&s->pool, &notices, &finished);
	for (struct exchange *x = notices; x; x = x->notice_next)
		request_notice(x);
	while (finished) {
		struct exchange *x = finished;
		finished = x->next;
		on_finished(x);
	}
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct http_server *s = handle->data;

	if (--s->n_closing_handles)
		return;
	if (s->free_when_closed)
		http_server_free(s);
	else if (s->stopped && s->finishing) /* not at the listener's own close */
		s->stopped(s->stopped_ctx);
}

static void close_handle(struct http_server *s, uv_handle_t *handle)
{
	s->n_closing_handles++;
	uv_close(handle, on_handle_closed);
}

/* The last connection is gone. Handlers that still run have lost their clients; their end is waited for. */
static void finish_stop(struct http_server *s)
{
	pool_stop(&s->pool);
	close_handle(s, (uv_handle_t *)&s->wake);
	close_handle(s, (uv_handle_t *)&s->tick);
	close_handle(s, (uv_handle_t *)&s->turn);
	s->finishing = true;
}

static void for_all_conns(struct http_server *s, void (*fn)(struct conn *c))
{
	for (struct conn *c = s->conns, *next; c; c = next) {
		next = c->next;
		fn(c);
	}
}

static void on_tick(uv_timer_t *handle)
{
	struct http_server *s = handle->data;
	uint64_t now_ms = uv_now(s->loop);

	for (struct conn *c = s->conns, *next; c; c = next) {
		next = c->next;
		conn_tick(c, now_ms);
	}
	if (!s->stopping)
		return;
	if (now_ms >= s->grace_until_ms)
		for_all_conns(s, conn_drop);
	if (!s->n_handles && !s->finishing)
		finish_stop(s);
}

/* Often enough for the shortest time-out, seldom enough to cost nothing. */
static unsigned tick_ms(const struct http_config *c)
{
	const unsigned times[] = { c->handshake_ms, c->head_ms, c->body_ms, c->keep_alive_ms,
				   c->ws_ping_ms };
	unsigned ms = 4000;

	for (size_t i = 0; i < ARRAY_LEN(times); i++)
		ms = MIN_OF(ms, times[i]);
	return MAX_OF(ms / 4, 5u);
}

static void on_turn(uv_check_t *handle)
{
	struct http_server *s = handle->data;

	s->n_handshakes = 0;
}

/* On failure nothing is left open, or what is left frees the server when the loop has closed it. */
static int open_handles(struct http_server *s, struct err *e)
{
	s->wake.data = s->listener.data = s->tick.data = s->turn.data = s;
	int rc = uv_async_init(s->loop, &s->wake, on_wake);
	if (rc < 0)
		return err_errno(e, rc, "loop");
	(void)uv_timer_init(s->loop, &s->tick); /* cannot fail, nor can this */
	(void)uv_check_init(s->loop, &s->turn);
	rc = uv_poll_init(s->loop, &s->listener, s->listen_fd);
	if (rc == 0)
		return 0;
	s->free_when_closed = true;
	close_handle(s, (uv_handle_t *)&s->wake);
	close_handle(s, (uv_handle_t *)&s->tick);
	close_handle(s, (uv_handle_t *)&s->turn);
	return err_errno(e, rc, "loop");
}

/* A client that goes away while it is written to must not end the process: the TLS library writes without MSG_NOSIGNAL. */
static void ignore_sigpipe(void)
{
	struct sigaction now;

	if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

int http_server_start(uv_loop_t *loop, const struct http_config *c, struct http_server **ret,
		      struct err *e)
{
	struct http_server *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory");
	ignore_sigpipe();
	s->loop = loop;
	s->listen_fd = s->spare_fd = -1;
	int rc = config_copy(&s->c, c, e);
	if (rc == 0)
		rc = tls_server_new(&s->c, &s->ctx, e);
	if (rc == 0)
		rc = open_listener(s, e);
	if (rc == 0)
		rc = pool_start(&s->pool, s, s->c.n_workers, e);
	if (rc == 0)
		rc = open_handles(s, e);
	if (rc < 0) {
		if (!s->free_when_closed)
			http_server_free(s);
		return rc;
	}
	s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	unsigned ms = tick_ms(&s->c);
	(void)uv_timer_start(&s->tick, on_tick, ms, ms);
	(void)uv_check_start(&s->turn, on_turn);
	(void)uv_poll_start(&s->listener, UV_READABLE, on_accept);
	*ret = s;
	return 0;
}

uint16_t http_server_port(const struct http_server *s)
{
	return s->port;
}

void http_server_stop(struct http_server *s, unsigned grace_ms, void (*stopped)(void *ctx), void *ctx)
{
	if (s->stopping)
		return;
	s->stopping = true;
	s->stopped = stopped;
	s->stopped_ctx = ctx;
	s->grace_until_ms = uv_now(s->loop) + grace_ms;
	close_handle(s, (uv_handle_t *)&s->listener);
	close_fdp(&s->listen_fd);
	s->listen_fd = -1;
	for_all_conns(s, conn_close_gently);
	(void)uv_timer_start(&s->tick, on_tick, 0, 5);
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	if (s->pool.threads)
		pool_stop(&s->pool);
	close_fdp(&s->listen_fd);
	close_fdp(&s->spare_fd);
	SSL_CTX_free(s->ctx);
	config_done(&s->c);
	free(s);
}
