/* SPDX-License-Identifier: Apache-2.0 */
#include "http/test_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "http/pki.h"

struct test_pki test_pki;

static void name_file(char ret[96], const struct test_pki *p, const char *name)
{
	snprintf(ret, 96, "%.63s/%.30s", p->folder, name);
}

static void make_client(const char *ca, const char *ca_key, const char *cert, const char *key,
			char serial[48])
{
	CLEANUP(free_charp) char *csr = NULL, *pem = NULL;
	struct err e;

	assert_int_equal(pki_make_csr(key, "x", &csr, &e), 0);
	assert_int_equal(pki_sign_client(ca, ca_key, str_of(csr), "node-1", 10, &pem, serial, &e), 0);
	assert_int_equal(file_write_atomic(cert, 0644, str_of(pem), &e), 0);
}

int test_pki_make(void **state)
{
	struct test_pki *p = &test_pki;
	static const char *const sans[] = { "DNS:localhost", "IP:127.0.0.1" };
	char other_ca[96], other_ca_key[96], serial[48];
	struct err e;

	snprintf(p->folder, sizeof(p->folder), "/tmp/demarc-http-test-XXXXXX");
	assert_non_null(mkdtemp(p->folder));
	name_file(p->ca, p, "ca.pem");
	name_file(p->ca_key, p, "ca.key");
	name_file(p->cert, p, "server.pem");
	name_file(p->key, p, "server.key");
	name_file(p->client, p, "client.pem");
	name_file(p->client_key, p, "client.key");
	name_file(p->other, p, "other.pem");
	name_file(p->other_key, p, "other.key");
	name_file(other_ca, p, "oca.pem");
	name_file(other_ca_key, p, "oca.key");
	assert_int_equal(pki_make_ca(p->ca, p->ca_key, "test CA", 10, &e), 0);
	assert_int_equal(pki_make_server(p->ca, p->ca_key, p->cert, p->key, sans, 2, 10, &e), 0);
	make_client(p->ca, p->ca_key, p->client, p->client_key, p->serial);
	assert_int_equal(pki_make_ca(other_ca, other_ca_key, "test CA", 10, &e), 0);
	make_client(other_ca, other_ca_key, p->other, p->other_key, serial);
	return 0;
}

int test_pki_remove(void **state)
{
	return tree_remove(test_pki.folder, NULL);
}

static void *loop_main(void *arg)
{
	uv_run(arg, UV_RUN_DEFAULT);
	return NULL;
}

static void on_stop(uv_async_t *handle)
{
	struct test_server *t = handle->data;

	http_server_stop(t->server, t->grace_ms, NULL, NULL);
	uv_close((uv_handle_t *)handle, NULL);
}

void test_server_start(struct test_server *t, const struct http_config *c)
{
	struct err e;

	*t = (struct test_server){ 0 };
	assert_int_equal(uv_loop_init(&t->loop), 0);
	assert_int_equal(uv_async_init(&t->loop, &t->stop, on_stop), 0);
	t->stop.data = t;
	if (http_server_start(&t->loop, c, &t->server, &e) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(pthread_create(&t->thread, NULL, loop_main, &t->loop), 0);
}

void test_server_begin_stop(struct test_server *t, unsigned grace_ms)
{
	t->grace_ms = grace_ms;
	uv_async_send(&t->stop);
}

void test_server_stop(struct test_server *t)
{
	if (!t->grace_ms)
		test_server_begin_stop(t, 1);
	pthread_join(t->thread, NULL);
	assert_int_equal(uv_loop_close(&t->loop), 0);
	http_server_free(t->server);
}

void test_client_connect(struct test_client *c, uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval limit = { .tv_sec = TEST_WAIT_S };

	*c = (struct test_client){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	assert_true(c->fd >= 0);
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof(to)), 0);
}

const char *test_client_alpn;

bool test_client_open(struct test_client *c, uint16_t port, const char *cert, const char *key,
		      SSL_SESSION *session)
{
	test_client_connect(c, port);
	c->ctx = SSL_CTX_new(TLS_client_method());
	if (cert) {
		assert_int_equal(SSL_CTX_use_certificate_file(c->ctx, cert, SSL_FILETYPE_PEM), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey_file(c->ctx, key, SSL_FILETYPE_PEM), 1);
	}
	if (test_client_alpn)
		assert_int_equal(SSL_CTX_set_alpn_protos(c->ctx, (const unsigned char *)test_client_alpn,
							 (unsigned)strlen(test_client_alpn)),
				 0);
	c->ssl = SSL_new(c->ctx);
	SSL_set_fd(c->ssl, c->fd);
	if (session)
		SSL_set_session(c->ssl, session);
	return SSL_connect(c->ssl) == 1;
}

void test_client_close(struct test_client *c)
{
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	close(c->fd);
	free(c->in);
	*c = (struct test_client){ .fd = -1 };
}

void test_client_send(struct test_client *c, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size) {
		int n = c->ssl ? SSL_write(c->ssl, at, (int)size) :
				 (int)send(c->fd, at, size, MSG_NOSIGNAL);
		if (n <= 0)
			return; /* the server may rightly have closed; the reply tells */
		at += n;
		size -= (size_t)n;
	}
}

void test_client_say(struct test_client *c, const char *text)
{
	test_client_send(c, text, strlen(text));
}

bool test_client_fill(struct test_client *c, size_t n)
{
	while (c->in_len < n) {
		char piece[16384];
		int got = c->ssl ? SSL_read(c->ssl, piece, sizeof(piece)) :
				   (int)recv(c->fd, piece, sizeof(piece), 0);
		if (got <= 0)
			return false;
		c->in = realloc(c->in, c->in_len + (size_t)got + 1);
		assert_non_null(c->in);
		memcpy(c->in + c->in_len, piece, (size_t)got);
		c->in_len += (size_t)got;
		c->in[c->in_len] = '\0';
	}
	return true;
}

void test_client_take(struct test_client *c, void *ret, size_t n)
{
	assert_true(n <= c->in_len);
	if (!n)
		return;
	memcpy(ret, c->in, n);
	memmove(c->in, c->in + n, c->in_len - n + 1);
	c->in_len -= n;
}

static size_t content_length(const char *head)
{
	const char *at = strstr(head, "\r\nContent-Length: ");
	uint64_t n = 0;

	if (!at)
		return 0;
	at += strlen("\r\nContent-Length: ");
	assert_int_equal(str_to_u64((struct str){ at, strcspn(at, "\r") }, 1u << 30, &n), 0);
	return (size_t)n;
}

bool test_client_reply(struct test_client *c, struct test_reply *r, bool has_body)
{
	const char *end = NULL;
	uint64_t status = 0;

	*r = (struct test_reply){ 0 };
	while (!c->in || !(end = strstr(c->in, "\r\n\r\n")))
		if (!test_client_fill(c, c->in_len + 1))
			return false;
	size_t head_size = (size_t)(end - c->in) + 4;
	assert_true(head_size < sizeof(r->head));
	test_client_take(c, r->head, head_size);
	assert_int_equal(strncmp(r->head, "HTTP/1.1 ", 9), 0);
	assert_int_equal(str_to_u64((struct str){ r->head + 9, 3 }, 599, &status), 0);
	r->status = (int)status;
	r->body_size = has_body ? content_length(r->head) : 0;
	r->body = calloc(1, r->body_size + 1);
	if (!test_client_fill(c, r->body_size))
		return false;
	test_client_take(c, r->body, r->body_size);
	return true;
}

bool test_client_at_end(struct test_client *c)
{
	return !test_client_fill(c, c->in_len + 1);
}

void test_reply_done(struct test_reply *r)
{
	free(r->body);
	r->body = NULL;
}
