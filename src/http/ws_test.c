/* SPDX-License-Identifier: Apache-2.0 */
#include "http/server.h"

#include <assert.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "http/test_client.h"
#include "http/ws_frame.h"

/* Client certificates and the node channel, over loopback. */

#define KEY                                                                                        \
	"dGhlIHNhbXBsZSBub25jZQ==" /* the example of RFC 6455 section 1.3, and what it is answered with */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define UPGRADE_FIELDS                                                                                \
	"Host: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: " KEY \
	"\r\n"                                                                                        \
	"Sec-WebSocket-Version: 13\r\n"
#define UPGRADE                                                                                    \
	"GET /channel HTTP/1.1\r\n" UPGRADE_FIELDS "Sec-WebSocket-Protocol: old, demarc-node\r\n\r\n"

#define MAX_MESSAGE 70000
#define MAX_QUEUE 200000

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned n_open, n_close, n_tiny, n_before, n_stopped, n_go;
	bool refuse_open, revoked;
	char cn[64], serial[48];
	int full_rc; /* what http_ws_send() said when the queue was full */
} seen = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void seen_reset(void)
{
	seen.n_open = seen.n_close = seen.n_tiny = seen.n_before = seen.n_stopped = seen.n_go = 0;
	seen.refuse_open = seen.revoked = false;
	seen.full_rc = 0;
	seen.cn[0] = seen.serial[0] = '\0';
}

static void seen_add(unsigned *counter)
{
	pthread_mutex_lock(&seen.lock);
	(*counter)++;
	pthread_cond_broadcast(&seen.changed);
	pthread_mutex_unlock(&seen.lock);
}

static unsigned seen_count(const unsigned *counter)
{
	pthread_mutex_lock(&seen.lock);
	unsigned n = *counter;
	pthread_mutex_unlock(&seen.lock);
	return n;
}

static void seen_wait(const unsigned *counter, unsigned n)
{
	pthread_mutex_lock(&seen.lock);
	while (*counter < n)
		pthread_cond_wait(&seen.changed, &seen.lock);
	pthread_mutex_unlock(&seen.lock);
}

static int on_open(void *ctx, struct http_ws *ws, struct str cn, struct str peer, void **ret_user)
{
	if (seen.refuse_open)
		return -EPERM;
	str_copy(seen.cn, sizeof(seen.cn), cn);
	*ret_user = &seen;
	seen_add(&seen.n_open);
	return http_ws_send(ws, "welcome", 7);
}

static void flood(struct http_ws *ws)
{
	static const char piece[50000];

	while ((seen.full_rc = http_ws_send(ws, piece, sizeof(piece))) == 0)
		assert(http_ws_queued_bytes(ws) <= MAX_QUEUE);
	http_ws_close(ws, WS_POLICY, "slow");
}

/* The loop stands still. */
static void stop_until_told(void)
{
	seen_add(&seen.n_stopped);
	seen_wait(&seen.n_go, 1);
}

/* Costs what a small message costs a busy hub. */
static void take_tiny(void)
{
	int64_t begin_ns = clock_mono_ns();

	while (clock_mono_ns() - begin_ns < 10 * NS_PER_US)
		;
	seen_add(&seen.n_tiny);
}

static int answer(struct http_ws *ws, struct str s)
{
	seen.n_before = seen.n_tiny; /* read when the answer is there */
	return http_ws_send(ws, s.ptr, s.len);
}

/* Echoes, apart from a few words. */
static int on_message(void *ctx, struct http_ws *ws, void *user, const void *data, size_t size)
{
	struct str s = { data, size };

	if (user != &seen || str_eq_c(s, "refuse"))
		return -EPROTO;
	if (str_eq_c(s, "bye"))
		http_ws_close(ws, WS_GOING_AWAY, "bye");
	else if (str_eq_c(s, "."))
		take_tiny();
	else if (str_eq_c(s, "stop"))
		stop_until_told();
	else if (str_eq_c(s, "flood"))
		flood(ws);
	else
		return answer(ws, s);
	return 0;
}

static void on_close(void *ctx, struct http_ws *ws, void *user)
{
	seen_add(&seen.n_close);
}

static bool is_revoked(void *ctx, struct str cn, struct str serial)
{
	str_copy(seen.serial, sizeof(seen.serial), serial);
	return seen.revoked;
}

static void handle(void *ctx, unsigned worker, struct http_request *r, struct http_reply *reply)
{
	reply->status = 200;
	reply->body = str_of(
		arena_printf(r->arena, "%d " STR_FMT, r->has_client_cert, STR_ARG(r->client_cn)));
}

static struct test_server server;
static struct test_client client;

static const struct http_ws_ops ops = { on_open, on_message, on_close };

static struct http_config config(void)
{
	return (struct http_config){
		.listen_addr = "127.0.0.1",
		.cert_file = test_pki.cert,
		.key_file = test_pki.key,
		.client_ca_file = test_pki.ca,
		.n_workers = 1,
		.handle = handle,
		.ws_path = "/channel",
		.ws_protocol = "demarc-node",
		.ws = &ops,
		.ws_max_message_bytes = MAX_MESSAGE,
		.ws_max_queue_bytes = MAX_QUEUE,
		.is_revoked = is_revoked,
	};
}

static void start_with(const struct http_config *c)
{
	seen_reset();
	test_server_start(&server, c);
}

static void start_ping(unsigned ping_ms)
{
	struct http_config c = config();

	c.ws_ping_ms = ping_ms;
	start_with(&c);
}

static void start(void)
{
	start_ping(0);
}

static bool dial(const char *cert, const char *key)
{
	return test_client_open(&client, http_server_port(server.server), cert, key, NULL);
}

static void finish(void)
{
	test_client_close(&client);
	test_server_stop(&server);
}

static void ask(const char *text, int status, const char *body)
{
	struct test_reply r;

	test_client_say(&client, text);
	assert_true(test_client_reply(&client, &r, true));
	assert_int_equal(r.status, status);
	if (body)
		assert_string_equal(r.body, body);
	test_reply_done(&r);
}

static void expect_frame(uint8_t first, const char *payload, size_t size)
{
	static char got[MAX_QUEUE];
	CLEANUP(strbuf_done) struct strbuf frame = { 0 };

	ws_frame_add(&frame, WS_BINARY, payload, size);
	frame.ptr[0] = (char)first;
	assert_true(test_client_fill(&client, frame.len));
	test_client_take(&client, got, frame.len);
	assert_memory_equal(got, frame.ptr, frame.len);
}

static void connect_node(void)
{
	assert_true(dial(test_pki.client, test_pki.client_key));
	struct test_reply r;
	test_client_say(&client, UPGRADE);
	assert_true(test_client_reply(&client, &r, false));
	assert_int_equal(r.status, 101);
	assert_non_null(strstr(r.head, "\r\nSec-WebSocket-Accept: " ACCEPT "\r\n"));
	assert_non_null(strstr(r.head, "\r\nSec-WebSocket-Protocol: demarc-node\r\n"));
	test_reply_done(&r);
	expect_frame(0x82, "welcome", 7);
}

static void add_frame(struct strbuf *frame, uint8_t first, const char *payload, size_t size)
{
	CLEANUP(strbuf_done) struct strbuf plain = { 0 };
	static const uint8_t key[4] = { 0x10, 0x20, 0x30, 0xff };

	ws_frame_add(&plain, WS_BINARY, payload, size);
	size_t n = ws_frame_overhead(size);
	plain.ptr[0] = (char)first;
	plain.ptr[1] = (char)(plain.ptr[1] | 0x80);
	strbuf_add(frame, plain.ptr, n);
	strbuf_add(frame, key, 4);
	for (size_t i = 0; i < size; i++)
		strbuf_addc(frame, (char)((uint8_t)payload[i] ^ key[i & 3]));
}

static void send_frame(uint8_t first, const char *payload, size_t size)
{
	CLEANUP(strbuf_done) struct strbuf frame = { 0 };

	add_frame(&frame, first, payload, size);
	test_client_send(&client, frame.ptr, frame.len);
}

/* Frames until a close frame with this code; then the end. */
static void expect_close(unsigned code)
{
	uint8_t head[4];

	assert_true(test_client_fill(&client, 4));
	test_client_take(&client, head, 4);
	assert_int_equal(head[0], 0x88);
	assert_int_equal(head[2] << 8 | head[3], code);
	size_t reason = head[1] - 2u;
	char text[WS_CONTROL_MAX];
	assert_true(test_client_fill(&client, reason));
	test_client_take(&client, text, reason);
	assert_true(test_client_at_end(&client));
}

static void certificates_are_optional_and_checked(void **state)
{
	start();
	assert_true(dial(NULL, NULL));
	ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, "0 ");
	test_client_close(&client);
	assert_true(dial(test_pki.client, test_pki.client_key));
	ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, "1 node-1");
	assert_string_equal(seen.serial, test_pki.serial);
	test_client_close(&client);
	/* With TLS 1.3 the client learns of the refusal at its first read. */
	(void)dial(test_pki.other, test_pki.other_key);
	test_client_say(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_false(test_client_fill(&client, 1));
	finish();
}

/* Leaves with the session still good for another connection. */
static SSL_SESSION *leave(void)
{
	SSL_SESSION *session = SSL_get1_session(client.ssl);

	SSL_set_shutdown(client.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	test_client_close(&client);
	return session;
}

static void revoked_certificates_are_refused(void **state)
{
	start();
	assert_true(dial(test_pki.client, test_pki.client_key));
	ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, "1 node-1");
	SSL_SESSION *session = leave();
	/* A resumed session still is that client ... */
	assert_true(test_client_open(&client, http_server_port(server.server), test_pki.client,
				     test_pki.client_key, session));
	assert_true(SSL_session_reused(client.ssl));
	ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, "1 node-1");
	SSL_SESSION_free(session);
	session = leave();
	/* ... until it is revoked. */
	seen.revoked = true;
	(void)test_client_open(&client, http_server_port(server.server), test_pki.client,
			       test_pki.client_key, session);
	test_client_say(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_false(test_client_fill(&client, 1));
	SSL_SESSION_free(session);
	test_client_close(&client);
	(void)dial(test_pki.client, test_pki.client_key);
	test_client_say(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_false(test_client_fill(&client, 1));
	finish();
}

static void upgrades_are_checked(void **state)
{
	static const struct {
		const char *text;
		int status;
	} rows[] = {
		{ "GET /channel HTTP/1.1\r\nHost: a\r\n\r\n", 426 },
		{ "POST /channel HTTP/1.1\r\n" UPGRADE_FIELDS "Sec-WebSocket-Protocol: demarc-node\r\n\r\n",
		  426 },
		{ "GET /channel HTTP/1.1\r\n" UPGRADE_FIELDS "\r\n", 400 },
		{ "GET /channel HTTP/1.1\r\n" UPGRADE_FIELDS
		  "Sec-WebSocket-Protocol: demarc-node-2\r\n\r\n",
		  400 },
		{ "GET /channel HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		  "Sec-WebSocket-Version: 8\r\n\r\n",
		  426 },
		{ "GET /channel HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\nSec-WebSocket-Protocol: demarc-node\r\n\r\n",
		  400 },
	};

	start();
	assert_true(dial(NULL, NULL));
	ask(UPGRADE, 403, NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		test_client_close(&client);
		assert_true(dial(test_pki.client, test_pki.client_key));
		ask(rows[i].text, rows[i].status, NULL);
	}
	assert_int_equal(seen.n_open, 0);
	finish();
}

static void messages_both_ways(void **state)
{
	static char big[MAX_MESSAGE];

	memset(big, 'x', sizeof(big));
	start();
	connect_node();
	assert_string_equal(seen.cn, "node-1");
	send_frame(0x82, "hello", 5);
	expect_frame(0x82, "hello", 5);
	send_frame(0x02, "frag", 4);
	send_frame(0x89, "are you there", 13);
	send_frame(0x80, "mented", 6);
	expect_frame(0x8a, "are you there", 13);
	expect_frame(0x82, "fragmented", 10);
	send_frame(0x82, big, sizeof(big));
	expect_frame(0x82, big, sizeof(big));
	send_frame(0x82, "", 0);
	expect_frame(0x82, "", 0);
	send_frame(0x88, "\x03\xe8", 2);
	expect_close(WS_NORMAL);
	seen_wait(&seen.n_close, 1);
	finish();
}

static bool may_resume(void)
{
	return SSL_SESSION_is_resumable(SSL_get0_session(client.ssl));
}

static void echo(void)
{
	send_frame(0x82, "hello", 5);
	expect_frame(0x82, "hello", 5);
}

/* Not with the handshake, when others may wait for theirs: once it is a WebSocket, and nobody waits. */
static void a_node_gets_its_ticket_afterwards(void **state)
{
	SSL_SESSION *session;

	start();
	test_client_alpn = "\x0b"
			   "demarc-node";
	assert_true(dial(test_pki.client, test_pki.client_key));
	for (int i = 0; i < 3; i++)
		ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, "1 node-1");
	assert_false(may_resume());
	test_client_close(&client);
	connect_node();
	for (int i = 0; i < 100 && !may_resume(); i++)
		echo();
	assert_true(may_resume());
	session = leave();
	assert_true(test_client_open(&client, http_server_port(server.server), test_pki.client,
				     test_pki.client_key, session));
	assert_true(SSL_session_reused(client.ssl));
	ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, "1 node-1");
	SSL_SESSION_free(session);
	test_client_alpn = NULL;
	finish();
}

static bool ticket_is(const SSL_SESSION *session)
{
	const unsigned char *a, *b;
	size_t n_a, n_b;

	SSL_SESSION_get0_ticket(session, &a, &n_a);
	SSL_SESSION_get0_ticket(SSL_get0_session(client.ssl), &b, &n_b);
	return n_a == n_b && memcmp(a, b, n_a) == 0;
}

/* A connection may be older than a ticket gets. Not after a reload: the CA that vouched for the node may be gone. */
static void a_node_that_stays_gets_another_ticket(void **state)
{
	struct http_config c = config();
	SSL_SESSION *first, *last;
	struct err e;

	c.quiet_ms = c.ticket_renew_ms = 1;
	start_with(&c);
	test_client_alpn = "\x0b"
			   "demarc-node";
	connect_node();
	for (int i = 0; i < 10000 && !may_resume(); i++)
		echo();
	first = SSL_get1_session(client.ssl);
	for (int k = 0; k < 3; k++) {
		last = SSL_get1_session(client.ssl);
		for (int i = 0; i < 10000 && ticket_is(last); i++)
			echo();
		assert_false(ticket_is(last));
		SSL_SESSION_free(last);
	}
	assert_int_equal(http_server_reload(server.server, &e), 0);
	for (int i = 0; i < 100; i++) /* until the front has heard */
		echo();
	last = SSL_get1_session(client.ssl);
	for (int i = 0; i < 1000; i++)
		echo();
	assert_true(ticket_is(last));
	SSL_SESSION_free(last);
	/* The first one is good as well, as long as no key that sealed it has gone: here all have. */
	test_client_close(&client);
	assert_true(test_client_open(&client, http_server_port(server.server), test_pki.client,
				     test_pki.client_key, first));
	assert_false(SSL_session_reused(client.ssl));
	SSL_SESSION_free(first);
	test_client_alpn = NULL;
	finish();
}

static void closing(void **state)
{
	static char big[MAX_MESSAGE + 1];
	static const struct {
		uint8_t first;
		const char *payload;
		size_t size;
		unsigned code;
	} rows[] = {
		{ 0x82, "bye", 3, WS_GOING_AWAY },   { 0x82, "refuse", 6, WS_POLICY },
		{ 0x81, "text", 4, WS_UNSUPPORTED }, { 0x82, big, sizeof(big), WS_TOO_BIG },
		{ 0xf2, "x", 1, WS_PROTOCOL },
	};

	start();
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		connect_node();
		send_frame(rows[i].first, rows[i].payload, rows[i].size);
		expect_close(rows[i].code);
		test_client_close(&client);
		seen_wait(&seen.n_close, i + 1);
	}
	connect_node(); /* and one that just goes away */
	test_client_close(&client);
	seen_wait(&seen.n_close, ARRAY_LEN(rows) + 1);
	assert_int_equal(seen.n_open, ARRAY_LEN(rows) + 1);
	test_client_connect(&client, http_server_port(server.server));
	finish();
}

static void refused_by_the_hub(void **state)
{
	start();
	seen.refuse_open = true;
	assert_true(dial(test_pki.client, test_pki.client_key));
	struct test_reply r;
	test_client_say(&client, UPGRADE);
	assert_true(test_client_reply(&client, &r, false));
	test_reply_done(&r);
	expect_close(WS_POLICY);
	finish();
	assert_int_equal(seen.n_close, 0);
}

static void queue_is_bounded(void **state)
{
	start();
	connect_node();
	send_frame(0x82, "flood", 5);
	seen_wait(&seen.n_open, 1);
	while (test_client_fill(&client, client.in_len + 1))
		;
	seen_wait(&seen.n_close, 1);
	assert_int_equal(seen.full_rc, -ENOBUFS);
	finish();
}

static void pings_without_end_are_bounded(void **state)
{
	start();
	connect_node();
	/* Never reads: the pongs fill the socket, then the queue, then the connection is given up. */
	static char payload[125];
	for (int i = 0; i < 200000 && !seen_count(&seen.n_close); i++)
		send_frame(0x89, payload, sizeof(payload));
	finish();
}

#define TINY 10000u

/* The hub's loop stands still in the first message of very many, until another node has asked for something. */
static void tiny_messages_hold_nobody_up(void **state)
{
	CLEANUP(strbuf_done) struct strbuf all = { 0 };
	struct test_client talker;

	start();
	connect_node();
	talker = client;
	connect_node();
	add_frame(&all, 0x82, "stop", 4);
	for (unsigned i = 0; i < TINY; i++)
		add_frame(&all, 0x82, ".", 1);
	test_client_send(&talker, all.ptr, all.len);
	seen_wait(&seen.n_stopped, 1);
	send_frame(0x82, "hello", 5);
	seen_add(&seen.n_go);
	expect_frame(0x82, "hello", 5);
	assert_in_range(seen.n_before, 0, TINY / 10);
	seen_wait(&seen.n_tiny, TINY); /* none is lost */
	test_client_close(&talker);
	finish();
}

#define RENEWALS 20000

/* A client may renew the keys of its direction as often as it likes, without saying anything. */
static void renewals_of_keys_hold_nobody_up(void **state)
{
	CLEANUP(strbuf_done) struct strbuf tiny = { 0 };
	struct test_client talker;

	start();
	connect_node();
	talker = client;
	connect_node();
	add_frame(&tiny, 0x82, "stop", 4);
	test_client_send(&talker, tiny.ptr, tiny.len);
	seen_wait(&seen.n_stopped, 1);
	for (unsigned i = 0; i < RENEWALS; i++) {
		assert_int_equal(SSL_key_update(talker.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		assert_int_equal(SSL_do_handshake(talker.ssl), 1);
	}
	tiny.len = 0;
	add_frame(&tiny, 0x82, ".", 1);
	test_client_send(&talker, tiny.ptr, tiny.len);
	seen_add(&seen.n_go);
	for (unsigned i = 0; i < 10; i++) {
		send_frame(0x82, "hello", 5);
		expect_frame(0x82, "hello", 5);
	}
	assert_int_equal(seen.n_before, 0);
	seen_wait(&seen.n_tiny, 1); /* it is not lost */
	test_client_close(&talker);
	finish();
}

/* What is left of a connection that goes is of no more use to anybody. */
static void who_leaves_in_between_is_forgotten(void **state)
{
	CLEANUP(strbuf_done) struct strbuf all = { 0 };

	start();
	for (unsigned i = 0; i < 3; i++) {
		connect_node();
		all.len = 0;
		for (unsigned j = 0; j < TINY; j++)
			add_frame(&all, 0x82, j == TINY / 2 && i ? "refuse" : ".",
				  j == TINY / 2 && i ? 6 : 1);
		test_client_send(&client, all.ptr, all.len);
		test_client_close(&client);
		seen_wait(&seen.n_close, i + 1);
	}
	test_client_connect(&client, http_server_port(server.server));
	finish();
}

static void silent_nodes_are_pinged_and_dropped(void **state)
{
	start_ping(40);
	connect_node();
	expect_frame(0x89, "", 0);
	send_frame(0x8a, "", 0);
	expect_frame(0x89, "", 0);
	/* No more answers. */
	while (test_client_fill(&client, client.in_len + 1))
		;
	seen_wait(&seen.n_close, 1);
	finish();
}

static void stop_says_goodbye(void **state)
{
	start();
	connect_node();
	test_server_begin_stop(&server, TEST_WAIT_S * 1000);
	expect_close(WS_GOING_AWAY);
	finish();
	assert_int_equal(seen.n_close, 1);
}

static void expired_certificates_are_not_resumed(void **state)
{
	const int64_t day_ns = 24 * 3600 * NS_PER_S;
	SSL_SESSION *session;

	clock_freeze(clock_mono_ns(), clock_wall_us());
	clock_warp(5 * day_ns); /* of the ten that it lives */
	start();
	assert_true(dial(test_pki.client, test_pki.client_key));
	ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, "1 node-1");
	session = leave();
	clock_warp(4 * day_ns);
	assert_true(test_client_open(&client, http_server_port(server.server), test_pki.client,
				     test_pki.client_key, session));
	assert_true(SSL_session_reused(client.ssl));
	ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, "1 node-1");
	SSL_SESSION_free(session);
	session = leave();
	clock_warp(day_ns + NS_PER_S);
	assert_true(test_client_open(&client, http_server_port(server.server), test_pki.client,
				     test_pki.client_key, session));
	assert_true(SSL_session_reused(client.ssl)); /* what the hub then looks at again */
	test_client_say(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_false(test_client_fill(&client, 1));
	SSL_SESSION_free(session);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(certificates_are_optional_and_checked),
		cmocka_unit_test(revoked_certificates_are_refused),
		cmocka_unit_test(upgrades_are_checked),
		cmocka_unit_test(messages_both_ways),
		cmocka_unit_test(a_node_gets_its_ticket_afterwards),
		cmocka_unit_test(a_node_that_stays_gets_another_ticket),
		cmocka_unit_test(closing),
		cmocka_unit_test(refused_by_the_hub),
		cmocka_unit_test(queue_is_bounded),
		cmocka_unit_test(pings_without_end_are_bounded),
		cmocka_unit_test(tiny_messages_hold_nobody_up),
		cmocka_unit_test(renewals_of_keys_hold_nobody_up),
		cmocka_unit_test(who_leaves_in_between_is_forgotten),
		cmocka_unit_test(silent_nodes_are_pinged_and_dropped),
		cmocka_unit_test(stop_says_goodbye),
		cmocka_unit_test(expired_certificates_are_not_resumed), /* the last: the clock stands */
	};

	return cmocka_run_group_tests_name("http-ws", tests, test_pki_make, test_pki_remove);
}
