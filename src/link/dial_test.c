/* SPDX-License-Identifier: Apache-2.0 */
#include "link/dial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "http/pki.h"
#include "link/link.h"

/* Tickets through real TLS, over a socketpair: what one process was given, the next one comes back with. */

#define TURNS 20

static struct {
	char folder[32], ca[64], ca_key[64], cert[64], key[64];
	char *ca_pem;
	size_t ca_size;
	SSL_CTX *hub;
} world;

static const struct url hub_url = { .host = "hub.example", .port = "8443" };

static int setup(void **state)
{
	static const char *const sans[] = { "DNS:hub.example" };
	struct err e;

	(void)snprintf(world.folder, sizeof(world.folder), "/tmp/demarc-dial-XXXXXX");
	assert_non_null(mkdtemp(world.folder));
	(void)snprintf(world.ca, sizeof(world.ca), "%s/ca", world.folder);
	(void)snprintf(world.ca_key, sizeof(world.ca_key), "%s/ca.key", world.folder);
	(void)snprintf(world.cert, sizeof(world.cert), "%s/hub", world.folder);
	(void)snprintf(world.key, sizeof(world.key), "%s/hub.key", world.folder);
	assert_int_equal(pki_make_ca(world.ca, world.ca_key, "a CA", 1, &e), 0);
	assert_int_equal(
		pki_make_server(world.ca, world.ca_key, world.cert, world.key, sans, 1, 1, &e), 0);
	assert_int_equal(file_read(world.ca, 65536, &world.ca_pem, &world.ca_size, &e), 0);
	world.hub = SSL_CTX_new(TLS_server_method());
	assert_int_equal(SSL_CTX_use_certificate_file(world.hub, world.cert, SSL_FILETYPE_PEM), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(world.hub, world.key, SSL_FILETYPE_PEM), 1);
	SSL_CTX_set_timeout(world.hub, 7L * 24 * 3600); /* longer than a node believes it */
	return 0;
}

static int teardown(void **state)
{
	SSL_CTX_free(world.hub);
	free(world.ca_pem);
	return tree_remove(world.folder, NULL);
}

static struct dial_tls *node_new(void)
{
	struct dial_config c = { .ca_pem = { world.ca_pem, world.ca_size } };
	struct dial_tls *t = NULL;
	struct err e;

	assert_int_equal(dial_tls_new(&c, &t, &e), 0);
	return t;
}

/* A whole connection. 0, or how dialling failed. */
static int visit(struct dial_tls *t)
{
	SSL *hub = SSL_new(world.hub);
	struct dial *d = NULL;
	struct err e;
	int fds[2], rc = 0;
	char byte;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(SSL_set_fd(hub, fds[1]), 1);
	assert_int_equal(dial_begin(t, fds[0], &d, &e), 0);
	for (int i = 0; i < TURNS && rc == 0; i++) {
		rc = dial_step(d, &hub_url, &e);
		(void)SSL_accept(hub);
		ERR_clear_error();
	}
	if (rc == 1) {
		(void)SSL_accept(hub);
		assert_int_equal(dial_read(d, &byte, 1), -EAGAIN); /* tickets only */
	}
	dial_close(d);
	SSL_free(hub);
	close(fds[1]);
	return rc == 1 ? 0 : -EPROTO;
}

static void take(struct dial_tls *t, struct strbuf *b)
{
	b->len = 0;
	assert_int_equal(dial_ticket_take(t, b), 1);
	assert_in_range(b->len, 1, LINK_TICKET_MAX);
	assert_int_equal(dial_ticket_take(t, b), 0);
}

static struct str view(const struct strbuf *b)
{
	return (struct str){ b->ptr, b->len };
}

static void the_next_process_is_resumed(void **state)
{
	struct strbuf b = { 0 };

	for (int i = 0; i < 3; i++) {
		struct dial_tls *t = node_new();

		if (i)
			assert_int_equal(dial_ticket_set(t, view(&b)), 0);
		assert_int_equal(dial_has_ticket(t), i > 0);
		assert_int_equal(visit(t), 0);
		assert_int_equal(dial_resumed(t), i > 0);
		take(t, &b);
		dial_tls_free(t);
	}
	strbuf_done(&b);
}

/* Nothing that is in the file can keep a node away: the second connection works at the latest. */
static void a_spoilt_ticket_costs_one_connection(void **state)
{
	struct strbuf b = { 0 };
	struct dial_tls *t = node_new();
	unsigned n_refused = 0, n_failed = 0;

	assert_int_equal(visit(t), 0);
	take(t, &b);
	dial_tls_free(t);
	for (size_t i = 0; i < b.len; i += 3) {
		t = node_new();
		b.ptr[i] ^= 0x15;
		if (dial_ticket_set(t, view(&b)) < 0) {
			n_refused++;
		} else if (visit(t) < 0) {
			n_failed++;
			assert_false(dial_has_ticket(t));
			assert_int_equal(visit(t), 0);
			assert_false(dial_resumed(t));
		}
		b.ptr[i] ^= 0x15;
		dial_tls_free(t);
	}
	assert_true(n_refused > 0 && n_failed > 0);
	t = node_new();
	for (size_t i = 0; i < b.len; i++)
		assert_int_equal(dial_ticket_set(t, (struct str){ b.ptr, i }), -EINVAL);
	strbuf_add(&b, "x", 1);
	assert_int_equal(dial_ticket_set(t, view(&b)), -EINVAL);
	assert_false(dial_has_ticket(t));
	dial_tls_free(t);
	strbuf_done(&b);
}

/* A hub that says in the clear when to come, before the node has looked: the ticket stays, and the time is heard. */
static void a_busy_hub_takes_no_ticket(void **state)
{
	static const char busy[] =
		"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nX-Retry-After-Ms: 1234\r\n\r\n";
	struct dial_tls *t = node_new();
	struct dial *d = NULL;
	struct err e;
	int fds[2], rc = 0;

	assert_int_equal(visit(t), 0);
	assert_true(dial_has_ticket(t));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(write(fds[1], busy, sizeof(busy) - 1), sizeof(busy) - 1);
	assert_int_equal(dial_begin(t, fds[0], &d, &e), 0);
	for (int i = 0; i < TURNS && rc == 0; i++)
		rc = dial_step(d, &hub_url, &e);
	assert_true(rc < 0 && e.fault == FAULT_UNAVAILABLE);
	assert_int_equal(dial_retry_ms(t), 1234);
	assert_true(dial_has_ticket(t));
	dial_close(d);
	close(fds[1]);
	assert_int_equal(visit(t), 0);
	assert_true(dial_resumed(t));
	dial_tls_free(t);
}

/* The session as if it had been made at another time. */
static void made_at(struct strbuf *b, int64_t s)
{
	const unsigned char *at = (const unsigned char *)b->ptr;
	SSL_SESSION *session = d2i_SSL_SESSION(NULL, &at, (long)b->len);
	unsigned char *der = NULL;
	int n;

	assert_non_null(session);
	assert_int_not_equal(SSL_SESSION_set_time(session, (long)s), 0);
	n = i2d_SSL_SESSION(session, &der);
	assert_true(n > 0);
	b->len = 0;
	strbuf_add(b, der, (size_t)n);
	OPENSSL_free(der);
	SSL_SESSION_free(session);
}

static void a_ticket_lives_for_a_day(void **state)
{
	int64_t now = clock_wall_us() / 1000000;
	struct strbuf b = { 0 };
	struct dial_tls *t = node_new();

	assert_int_equal(visit(t), 0);
	take(t, &b);
	dial_tls_free(t);
	t = node_new();
	made_at(&b, now - LINK_TICKET_LIFE_S);
	assert_int_equal(dial_ticket_set(t, view(&b)), -EINVAL);
	made_at(&b, now - LINK_TICKET_LIFE_S + 600);
	assert_int_equal(dial_ticket_set(t, view(&b)), 0);
	/* Of the future: the machine has no battery, and starts in the past. The hub knows how old it is. */
	made_at(&b, now + 400L * 24 * 3600);
	assert_int_equal(dial_ticket_set(t, view(&b)), 0);
	assert_int_equal(visit(t), 0);
	assert_true(dial_resumed(t));
	dial_tls_free(t);
	strbuf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_next_process_is_resumed),
		cmocka_unit_test(a_spoilt_ticket_costs_one_connection),
		cmocka_unit_test(a_busy_hub_takes_no_ticket),
		cmocka_unit_test(a_ticket_lives_for_a_day),
	};

	return cmocka_run_group_tests_name("link-dial", tests, setup, teardown);
}
