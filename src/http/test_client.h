/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HTTP_TEST_CLIENT_H
#define DEMARC_HTTP_TEST_CLIENT_H

/* For the server's tests: a server on a loop thread of its own, and a blocking TLS client that says exactly what it is told. */

#include <openssl/ssl.h>
#include <pthread.h>

#include "http/server.h"

#define TEST_WAIT_S 20 /* seconds after which a read gives up: a failure, never a normal end */

struct test_pki {
	char folder[64], ca[96], ca_key[96], cert[96], key[96], client[96], client_key[96];
	char other[96], other_key[96]; /* a client certificate of somebody else's CA */
	char serial[48];	       /* of `client` */
};
extern struct test_pki test_pki; /* of the program: set up and torn down with its group of tests */
int test_pki_make(void **state);
int test_pki_remove(void **state);

struct test_server {
	uv_loop_t loop;
	uv_async_t stop;
	struct http_server *server;
	pthread_t thread;
	unsigned grace_ms;
};
void test_server_start(struct test_server *t, const struct http_config *c);
void test_server_stop(struct test_server *t); /* as http_server_stop(), waits and frees */
void test_server_begin_stop(struct test_server *t,
			    unsigned grace_ms); /* does not wait; test_server_stop() must follow */

struct test_client {
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
	char *in; /* what has been read and not used */
	size_t in_len;
};
struct test_reply {
	int status;
	char head[4096]; /* with the status line */
	char *body;
	size_t body_size;
};

/* What clients say in their ALPN from now on: a length, a name; NULL: nothing. */
extern const char *test_client_alpn;
/* Plain TCP; ssl stays NULL. */
void test_client_connect(struct test_client *c, uint16_t port);
/* TLS; cert and key may be NULL. session: resumed when not NULL. Returns SSL_connect() == 1. */
bool test_client_open(struct test_client *c, uint16_t port, const char *cert, const char *key,
		      SSL_SESSION *session);
void test_client_close(struct test_client *c);
void test_client_send(struct test_client *c, const void *bytes, size_t size);
void test_client_say(struct test_client *c, const char *text);
/* Fills the input buffer to at least n bytes; false at the end of the stream. */
bool test_client_fill(struct test_client *c, size_t n);
void test_client_take(struct test_client *c, void *ret, size_t n);
/* One reply; has_body false for HEAD. False: the connection ended first. */
bool test_client_reply(struct test_client *c, struct test_reply *r, bool has_body);
bool test_client_at_end(struct test_client *c); /* waits for the end of the stream; false when more bytes come */
void test_reply_done(struct test_reply *r);

#endif
