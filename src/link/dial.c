/* SPDX-License-Identifier: Apache-2.0 */
#include "link/dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "link/dial_tls.h"
#include "link/wsc.h"

#define USER_TIMEOUT_MS 5000 /* unacknowledged bytes for so long: the path is dead (RFC 5482) */
#define UNSENT_MAX                                                                                 \
	(16 << 10) /* bytes that the kernel holds and has not sent: what is written next waits behind them */
#define ADDRESS_TIMEOUT_MS 4000 /* one of several addresses that does not answer */
#define PROXY_REPLY_MAX 4096

/* ---- waiting ---- */

static int left_ms(int64_t deadline_ns)
{
	int64_t left = (deadline_ns - clock_mono_ns() + NS_PER_MS - 1) / NS_PER_MS;

	return (int)MIN_OF(MAX_OF(left, (int64_t)0), (int64_t)INT32_MAX);
}

/* Waits for fd. 0, -ETIMEDOUT, -ECANCELED. */
static int wait_fd(int fd, short events, int64_t deadline_ns, int cancel_fd)
{
	for (;;) {
		struct pollfd p[2] = { { .fd = fd, .events = events }, { .fd = cancel_fd } };
		int ms = left_ms(deadline_ns), n = poll(p, 2, ms);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && p[1].revents)
			return -ECANCELED;
		if (n > 0)
			return 0;
		if (ms == 0)
			return -ETIMEDOUT;
	}
}

/* ---- TCP ---- */

static int try_address(const struct addrinfo *a, int64_t deadline_ns, int cancel_fd)
{
	CLEANUP(close_fdp)
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, timeout_ms = USER_TIMEOUT_MS, unsent = UNSENT_MAX, error = 0, rc;
	socklen_t size = sizeof(error);

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* all of these only help */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
	if (connect(fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS)
		return -errno;
	rc = wait_fd(fd, POLLOUT, deadline_ns, cancel_fd);
	if (rc < 0)
		return rc;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error)
		return error ? -error : -errno;
	return MOVE_FD(fd);
}

static int tcp_connect(const struct url *u, int64_t deadline_ns, int cancel_fd, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = u->is_ip ? AI_NUMERICHOST : AI_ADDRCONFIG };
	struct addrinfo *list = NULL;
	int rc = getaddrinfo(u->host, u->port, &hints, &list), fd = -EHOSTUNREACH;

	if (rc)
		return err_set(e, FAULT_UNAVAILABLE, NULL, "cannot resolve %s: %s", u->host,
			       gai_strerror(rc));
	for (const struct addrinfo *a = list; a && fd < 0 && fd != -ECANCELED; a = a->ai_next) {
		int64_t until = clock_mono_ns() + ADDRESS_TIMEOUT_MS * NS_PER_MS;
		fd = try_address(a, a->ai_next ? MIN_OF(until, deadline_ns) : deadline_ns, cancel_fd);
	}
	freeaddrinfo(list);
	if (fd < 0)
		return err_set(e, fd == -ETIMEDOUT ? FAULT_TIMEOUT : FAULT_UNAVAILABLE, NULL,
			       "cannot connect to %s port %s: %s", u->host, u->port, strerror(-fd));
	return fd;
}

/* ---- proxy: RFC 9110 section 9.3.6 ---- */

static int plain_write(int fd, struct str text, int64_t deadline_ns, int cancel_fd)
{
	while (text.len) {
		ssize_t n = send(fd, text.ptr, text.len, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n > 0)
			text = (struct str){ text.ptr + n, text.len - (size_t)n };
		int rc = n < 0 ? wait_fd(fd, POLLOUT, deadline_ns, cancel_fd) : 0;
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* One byte at a time: what follows the header belongs to TLS. */
static int proxy_reply(int fd, int64_t deadline_ns, int cancel_fd, char reply[static PROXY_REPLY_MAX])
{
	size_t n = 0;

	while (n < PROXY_REPLY_MAX - 1) {
		int rc = wait_fd(fd, POLLIN, deadline_ns, cancel_fd);
		ssize_t got = rc < 0 ? rc : recv(fd, reply + n, 1, 0);

		if (rc < 0)
			return rc;
		if (got == 0)
			return -ECONNRESET;
		if (got < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		n += got > 0;
		reply[n] = '\0';
		if (str_ends((struct str){ reply, n }, STR("\r\n\r\n")))
			return 0;
	}
	return -EMSGSIZE;
}

static int proxy_connect(int fd, const struct url *u, int64_t deadline_ns, int cancel_fd, struct err *e)
{
	char request[640], reply[PROXY_REPLY_MAX] = "", authority[272];
	int n, rc;

	url_authority(u, authority);
	n = snprintf(request, sizeof(request), "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", authority,
		     authority);
	rc = plain_write(fd, (struct str){ request, (size_t)n }, deadline_ns, cancel_fd);
	if (rc == 0)
		rc = proxy_reply(fd, deadline_ns, cancel_fd, reply);
	if (rc < 0)
		return err_set(e, FAULT_UNAVAILABLE, NULL, "the proxy did not answer: %s",
			       strerror(-rc));
	if (strncmp(reply, "HTTP/1.1 200", 12) != 0 && strncmp(reply, "HTTP/1.0 200", 12) != 0) {
		struct str rest, line = str_cut(str_of(reply), '\r', &rest);

		if (strncmp(reply + strlen("HTTP/1.x"), " 407", 4) == 0)
			return err_set(e, FAULT_UNAVAILABLE, NULL,
				       "the proxy wants credentials, which demarc-node has not: let it pass CONNECT %s without",
				       authority);
		return err_set(e, FAULT_UNAVAILABLE, NULL, "the proxy refused: \"" STR_FMT "\"",
			       STR_ARG(line));
	}
	return 0;
}

/* ---- the connection ---- */

struct dial {
	int fd;
	SSL *ssl;
	struct dial_tls *tls;
	short wants;
	bool asked, answered; /* the first words of TLS went out; something came back */
};

#define TLS_HEAD                                                                                   \
	5 /* bytes of a record's header, RFC 8446 section 5.1: what OpenSSL takes before it sees that they are none */

/*
 * The first bytes of the peer, looked at before TLS takes them: a hub that is too busy for TLS says so in the clear. `taken` of them, where it was
 * faster than this looked, are with TLS.
 */
static int check_busy(const struct dial *d, const struct url *u, size_t taken, struct err *e)
{
	char text[512] = "HTTP/";
	ssize_t n = recv(d->fd, text + taken, sizeof(text) - taken, MSG_PEEK | MSG_DONTWAIT);
	struct str head = { text, n > 0 ? taken + (size_t)n : 0 };

	if (!str_starts(head, STR("HTTP/1.1 503")))
		return 0;
	dial_tls_set_retry(d->tls, wsc_retry_after_ms(head));
	return err_set(e, FAULT_UNAVAILABLE, NULL, "%s is busy", u->host);
}

/* Once, when the peer has answered the first words of TLS. */
static int answer_came(struct dial *d, const struct url *u, struct err *e)
{
	if (!d->asked || d->answered)
		return 0;
	d->answered = true;
	return check_busy(d, u, 0, e);
}

/* A session that the peer breaks off is not offered again, but one that is too busy for TLS has not seen it. */
static int tls_broken(struct dial *d, const struct url *u, struct err *e)
{
	int rc = d->answered ? 0 : check_busy(d, u, TLS_HEAD, e);

	if (rc < 0)
		return rc;
	dial_tls_refused(d->tls);
	return dial_tls_fail(d->ssl, u, e);
}

static int tls_step(struct dial *d, const struct url *u, struct err *e)
{
	int done, why, rc = answer_came(d, u, e);

	if (rc < 0)
		return rc;
	done = SSL_connect(d->ssl);
	why = done == 1 ? SSL_ERROR_NONE : SSL_get_error(d->ssl, done);
	if (done == 1) {
		dial_tls_shaken(d->tls, d->ssl);
		return 1;
	}
	if (why == SSL_ERROR_SSL)
		return tls_broken(d, u, e);
	if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
		return dial_tls_fail(d->ssl, u, e);
	d->wants = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
	d->asked |= why == SSL_ERROR_WANT_READ;
	return 0;
}

static int connected(struct dial *d, const struct url *u, struct err *e)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error)
		return err_set(e, FAULT_UNAVAILABLE, NULL, "cannot connect to %s port %s: %s",
			       u->host, u->port, strerror(error));
	return dial_tls_start(d->tls, d->fd, u, &d->ssl, e);
}

int dial_begin(struct dial_tls *t, int fd, struct dial **ret, struct err *e)
{
	struct dial *d = calloc(1, sizeof(*d));

	if (!d) {
		close_fdp(&fd);
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a connection");
	}
	d->tls = t;
	d->fd = fd;
	d->wants = POLLOUT;
	dial_tls_set_retry(t, 0);
	*ret = d;
	return 0;
}

int dial_step(struct dial *d, const struct url *u, struct err *e)
{
	int rc = d->ssl ? 0 : connected(d, u, e);

	return rc < 0 ? rc : tls_step(d, u, e);
}

static int handshake(struct dial *d, const struct url *u, int64_t deadline_ns, int cancel_fd,
		     struct err *e)
{
	int rc;

	while ((rc = dial_step(d, u, e)) == 0) {
		rc = wait_fd(d->fd, d->wants, deadline_ns, cancel_fd);
		if (rc < 0)
			return err_set(e, FAULT_TIMEOUT, NULL,
				       "%s does not finish the TLS handshake: %s", u->host,
				       strerror(-rc));
	}
	return rc < 0 ? rc : 0;
}

int dial_open(struct dial_tls *t, const struct url *u, const struct url *proxy, int64_t deadline_ns,
	      int cancel_fd, struct dial **ret, struct err *e)
{
	CLEANUP(dial_closep) struct dial *d = NULL;
	int rc, fd;

	dial_tls_set_retry(t, 0);
	fd = tcp_connect(proxy ? proxy : u, deadline_ns, cancel_fd, e);
	if (fd < 0)
		return fd;
	rc = dial_begin(t, fd, &d, e);
	if (rc == 0 && proxy)
		rc = proxy_connect(d->fd, u, deadline_ns, cancel_fd, e);
	if (rc == 0)
		rc = handshake(d, u, deadline_ns, cancel_fd, e);
	if (rc < 0)
		return rc;
	*ret = MOVE_PTR(d);
	return 0;
}

void dial_close(struct dial *d)
{
	if (!d)
		return;
	if (d->ssl) {
		if (SSL_is_init_finished(d->ssl))
			SSL_shutdown(d->ssl);
		SSL_free(d->ssl);
	}
	close_fdp(&d->fd);
	ERR_clear_error();
	free(d);
}

int dial_fd(const struct dial *d)
{
	return d->fd;
}

short dial_wants(const struct dial *d)
{
	return d->wants;
}

bool dial_has_pending(const struct dial *d)
{
	return SSL_pending(d->ssl) > 0;
}

static ssize_t io_result(struct dial *d, int n)
{
	int why = SSL_get_error(d->ssl, n);

	if (why == SSL_ERROR_ZERO_RETURN)
		return 0;
	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
		d->wants = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
		return -EAGAIN;
	}
	ERR_clear_error();
	return why == SSL_ERROR_SYSCALL && errno ? -errno : -ECONNRESET;
}

ssize_t dial_read(struct dial *d, void *buf, size_t size)
{
	int n;

	errno = 0;
	n = SSL_read(d->ssl, buf, (int)MIN_OF(size, (size_t)INT32_MAX));
	return n > 0 ? n : io_result(d, n);
}

ssize_t dial_write(struct dial *d, const void *buf, size_t size)
{
	int n;

	errno = 0;
	n = SSL_write(d->ssl, buf, (int)MIN_OF(size, (size_t)INT32_MAX));
	return n > 0 ? n : io_result(d, n);
}

int dial_write_all(struct dial *d, const void *buf, size_t size, int64_t deadline_ns, struct err *e)
{
	const char *p = buf;

	while (size) {
		ssize_t n = dial_write(d, p, size);
		int rc = 0;

		if (n > 0) {
			p += n;
			size -= (size_t)n;
			continue;
		}
		rc = n == -EAGAIN ? wait_fd(d->fd, d->wants, deadline_ns, -1) : (int)n;
		if (n == 0 || rc < 0)
			return err_set(e, rc == -ETIMEDOUT ? FAULT_TIMEOUT : FAULT_UNAVAILABLE,
				       NULL, "cannot send: %s", rc ? strerror(-rc) : "closed");
	}
	return 0;
}

ssize_t dial_read_wait(struct dial *d, void *buf, size_t size, int64_t deadline_ns, struct err *e)
{
	for (;;) {
		ssize_t n = dial_read(d, buf, size);
		int rc;

		if (n >= 0)
			return n;
		rc = n == -EAGAIN ? wait_fd(d->fd, d->wants, deadline_ns, -1) : (int)n;
		if (rc < 0)
			return err_set(e, rc == -ETIMEDOUT ? FAULT_TIMEOUT : FAULT_UNAVAILABLE,
				       NULL, "cannot receive: %s", strerror(-rc));
	}
}

int dial_pinned_pem(const struct dial *d, char **ret, struct err *e)
{
	return dial_tls_pinned_pem(d->tls, ret, e);
}
