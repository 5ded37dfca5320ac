/* SPDX-License-Identifier: Apache-2.0 */
#include "http/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "http/table.h"
#include "http/test_client.h"

/* The server over loopback: what a client sends, byte by byte, and what it gets. */

#define HOST "Host: a\r\n"

/* What the handlers and the tests tell each other. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned n_blocked; /* handlers that wait in /block */
	bool open;	    /* lets them go on */
	ssize_t stream_rc;  /* how the last /stream ended; 1: not yet */
	uint64_t stream_bytes;
} gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, false, 1, 0 };

static void gate_reset(void)
{
	gate.n_blocked = 0;
	gate.open = false;
	gate.stream_rc = 1;
	gate.stream_bytes = 0;
}

static void gate_open(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.open = true;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

static void gate_wait_blocked(unsigned n)
{
	pthread_mutex_lock(&gate.lock);
	while (gate.n_blocked < n)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static void gate_wait_bytes(uint64_t n)
{
	pthread_mutex_lock(&gate.lock);
	while (gate.stream_bytes < n)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static ssize_t gate_wait_stream(void)
{
	pthread_mutex_lock(&gate.lock);
	while (gate.stream_rc == 1)
		pthread_cond_wait(&gate.changed, &gate.lock);
	ssize_t rc = gate.stream_rc;
	pthread_mutex_unlock(&gate.lock);
	return rc;
}

static void block(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.n_blocked++;
	pthread_cond_broadcast(&gate.changed);
	while (!gate.open)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

static void on_hello(struct http_request *r, struct http_reply *reply)
{
	reply->body = STR("{\"hello\": 1}");
	http_reply_header(r, reply, "X-Test", "yes");
}

static void on_echo(struct http_request *r, struct http_reply *reply)
{
	reply->status = 201;
	reply->content_type = "text/plain";
	reply->body = r->body;
}

static void on_block(struct http_request *r, struct http_reply *reply)
{
	block();
	reply->body = STR("{}");
}

static void on_stream(struct http_request *r, struct http_reply *reply)
{
	char buf[10000];
	ssize_t n;
	uint64_t sum = 0;

	do {
		n = http_read(r, buf, sizeof(buf));
		sum += n > 0 ? (uint64_t)n : 0;
		pthread_mutex_lock(&gate.lock);
		gate.stream_bytes = sum;
		gate.stream_rc = n > 0 ? 1 : n;
		pthread_cond_broadcast(&gate.changed);
		pthread_mutex_unlock(&gate.lock);
	} while (n > 0);
	reply->status = n < 0 ? 400 : 200;
	reply->body = str_of(arena_printf(r->arena, "%llu", (unsigned long long)sum));
}

static void on_slow_stream(struct http_request *r, struct http_reply *reply)
{
	block();
	on_stream(r, reply);
}

static void on_deny(struct http_request *r, struct http_reply *reply)
{
	reply->status = 401;
	reply->body = STR("{}");
}

#define FILE_SIZE 300000

static void on_file(struct http_request *r, struct http_reply *reply)
{
	char path[128], piece[1000];

	snprintf(path, sizeof(path), "%s/file-XXXXXX", test_pki.folder);
	reply->body_fd = mkostemp(path, O_CLOEXEC);
	for (int i = 0; i <= FILE_SIZE / 1000; i++) {
		memset(piece, 'a' + i % 26, sizeof(piece));
		if (write(reply->body_fd, piece, sizeof(piece)) < 0)
			abort();
	}
	unlink(path);
	reply->body_fd_offset = 1000;
	reply->body_fd_size = FILE_SIZE;
	reply->content_type = "application/octet-stream";
}

static void on_big(struct http_request *r, struct http_reply *reply)
{
	char *p = arena_alloc(r->arena, 3000000);

	memset(p, 'b', 3000000);
	reply->body = (struct str){ p, 3000000 };
}

static void on_empty(struct http_request *r, struct http_reply *reply)
{
	reply->status = 204;
}

static void on_inject(struct http_request *r, struct http_reply *reply)
{
	http_reply_header(r, reply, "X-Test", "a\r\nX-Evil: 1");
}

static void on_header(struct http_request *r, struct http_reply *reply)
{
	struct str value = http_header(r, "x-custom-thing");

	reply->body = str_of(arena_printf(r->arena, STR_FMT "|" STR_FMT "|" STR_FMT "|" STR_FMT,
					  STR_ARG(value), STR_ARG(r->query), STR_ARG(r->host),
					  STR_ARG(r->peer)));
}

static void on_bad_status(struct http_request *r, struct http_reply *reply)
{
	reply->status = 0;
}

static void handle(void *ctx, unsigned worker, struct http_request *r, struct http_reply *reply)
{
	static const struct {
		const char *path;
		void (*fn)(struct http_request *r, struct http_reply *reply);
	} rows[] = {
		{ "/hello", on_hello },
		{ "/echo", on_echo },
		{ "/block", on_block },
		{ "/stream", on_stream },
		{ "/stream/slow", on_slow_stream },
		{ "/stream/deny", on_deny },
		{ "/file", on_file },
		{ "/big", on_big },
		{ "/empty", on_empty },
		{ "/inject", on_inject },
		{ "/header", on_header },
		{ "/bad-status", on_bad_status },
	};

	reply->status = 200;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!str_eq_c(r->path, rows[i].path))
			continue;
		rows[i].fn(r, reply);
		return;
	}
	reply->status = 404;
	reply->body = STR("{\"error\": {}}");
}

static bool wants_stream(void *ctx, enum http_method method, struct str path)
{
	return str_starts(path, STR("/stream"));
}

static struct http_config config(void)
{
	gate_reset();
	return (struct http_config){ .listen_addr = "127.0.0.1",
				     .cert_file = test_pki.cert,
				     .key_file = test_pki.key,
				     .n_workers = 2,
				     .max_body_bytes = 1000,
				     .wants_stream = wants_stream,
				     .handle = handle };
}

static struct test_server server;
static struct test_client client;

static void start_with(const struct http_config *c)
{
	test_server_start(&server, c);
	assert_true(test_client_open(&client, http_server_port(server.server), NULL, NULL, NULL));
}

static void start(void)
{
	struct http_config c = config();

	start_with(&c);
}

static void finish(void)
{
	test_client_close(&client);
	test_server_stop(&server);
}

/* Another connection to the same server. */
static void reopen(void)
{
	test_client_close(&client);
	assert_true(test_client_open(&client, http_server_port(server.server), NULL, NULL, NULL));
}

static void expect(int status, const char *body)
{
	struct test_reply r;

	assert_true(test_client_reply(&client, &r, true));
	assert_int_equal(r.status, status);
	if (body)
		assert_string_equal(r.body, body);
	test_reply_done(&r);
}

/* The server's own errors: JSON with the code, and the connection is closed after it. */
static void expect_refusal(int status)
{
	struct test_reply r;
	char code[32];

	snprintf(code, sizeof(code), "{\"error\": {\"code\": %d,", status);
	assert_true(test_client_reply(&client, &r, true));
	assert_int_equal(r.status, status);
	assert_non_null(strstr(r.body, code));
	assert_non_null(strstr(r.head, "\r\nConnection: close\r\n"));
	test_reply_done(&r);
	assert_true(test_client_at_end(&client));
}

static void keep_alive_and_pipelining(void **state)
{
	start();
	for (int i = 0; i < 3; i++) {
		test_client_say(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
		expect(200, "{\"hello\": 1}");
	}
	test_client_say(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n"
				 "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
				 "POST /echo HTTP/1.1\r\n" HOST
				 "Transfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n"
				 "\r\nGET /none HTTP/1.1\r\n" HOST
				 "Connection: close\r\n\r\nGET /hello HTTP/1.1\r\n");
	expect(200, "{\"hello\": 1}");
	expect(201, "abc");
	expect(201, "de");
	expect(404, "{\"error\": {}}");
	assert_true(test_client_at_end(&client));
	finish();
}

static void head_has_the_headers_of_get(void **state)
{
	struct test_reply get, head;

	start();
	test_client_say(&client,
			"GET /hello HTTP/1.1\r\n" HOST "\r\nHEAD /hello HTTP/1.1\r\n" HOST "\r\n"
			"HEAD /file HTTP/1.1\r\n" HOST "\r\nGET /hello HTTP/1.1\r\n" HOST "\r\n");
	assert_true(test_client_reply(&client, &get, true));
	assert_true(test_client_reply(&client, &head, false));
	assert_string_equal(get.head, head.head);
	assert_non_null(strstr(get.head, "\r\nX-Test: yes\r\n"));
	assert_non_null(strstr(get.head, "\r\nContent-Type: application/json\r\n"));
	test_reply_done(&get);
	test_reply_done(&head);
	assert_true(test_client_reply(&client, &head, false));
	assert_non_null(strstr(head.head, "\r\nContent-Length: 300000\r\n"));
	test_reply_done(&head);
	expect(200, "{\"hello\": 1}");
	finish();
}

static void every_method_may_have_a_body(void **state)
{
	static const char *const methods[] = { "PUT", "PATCH", "DELETE", "POST", "OPTIONS", "BREW" };

	start();
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		char text[128];
		snprintf(text, sizeof(text),
			 "%s /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi", methods[i]);
		test_client_say(&client, text);
		expect(201, "hi");
	}
	finish();
}

static void old_clients(void **state)
{
	struct test_reply r;

	start();
	test_client_say(&client, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	assert_true(test_client_reply(&client, &r, true));
	assert_non_null(strstr(r.head, "\r\nConnection: keep-alive\r\n"));
	test_reply_done(&r);
	test_client_say(&client, "GET /hello HTTP/1.0\r\n\r\n");
	expect(200, NULL);
	assert_true(test_client_at_end(&client));
	finish();
}

static void replies_without_body(void **state)
{
	struct test_reply r;

	start();
	test_client_say(&client, "DELETE /empty HTTP/1.1\r\n" HOST "\r\n");
	assert_true(test_client_reply(&client, &r, true));
	assert_int_equal(r.status, 204);
	assert_null(strstr(r.head, "Content-"));
	test_reply_done(&r);
	test_client_say(&client, "GET /inject HTTP/1.1\r\n" HOST "\r\n");
	assert_true(test_client_reply(&client, &r, true));
	assert_non_null(strstr(r.head, "\r\nX-Test: a  X-Evil: 1\r\n"));
	assert_non_null(strstr(r.head, "\r\nContent-Length: 0\r\n"));
	test_reply_done(&r);
	test_client_say(&client, "GET /bad-status HTTP/1.1\r\n" HOST "\r\n");
	expect(500, "");
	finish();
}

static void request_fields_reach_the_handler(void **state)
{
	start();
	test_client_say(
		&client,
		"GET /header?a=%20b&c HTTP/1.1\r\nhost: hub:1\r\nX-CUSTOM-thing:  some value \r\n\r\n");
	expect(200, "some value|a=%20b&c|hub:1|127.0.0.1");
	finish();
}

static void expect_continue(void **state)
{
	char interim[25];

	start();
	test_client_say(&client, "POST /echo HTTP/1.1\r\n" HOST
				 "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
	assert_true(test_client_fill(&client, sizeof(interim)));
	test_client_take(&client, interim, sizeof(interim));
	assert_memory_equal(interim, "HTTP/1.1 100 Continue\r\n\r\n", sizeof(interim));
	test_client_say(&client, "ok");
	expect(201, "ok");
	/* A stream is asked for when the handler wants it, and not at all when it refuses. */
	test_client_say(&client, "PUT /stream HTTP/1.1\r\n" HOST
				 "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
	assert_true(test_client_fill(&client, sizeof(interim)));
	test_client_take(&client, interim, sizeof(interim));
	test_client_say(&client, "ok");
	expect(200, "2");
	test_client_say(&client, "PUT /stream/deny HTTP/1.1\r\n" HOST
				 "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
	expect(401, "{}");
	assert_true(test_client_at_end(&client));
	reopen();
	test_client_say(&client, "POST /echo HTTP/1.1\r\n" HOST
				 "Content-Length: 2000\r\nExpect: 100-continue\r\n\r\n");
	expect_refusal(413);
	finish();
}

#define UPLOAD_PIECES 300
#define PIECE 10000

static void streamed_upload(void **state)
{
	static char piece[PIECE];

	start();
	test_client_say(&client, "PUT /stream HTTP/1.1\r\n" HOST "Content-Length: 3000000\r\n\r\n");
	for (int i = 0; i < UPLOAD_PIECES; i++)
		test_client_send(&client, piece, sizeof(piece));
	expect(200, "3000000");
	/* Chunked, to a handler that starts to read when the pipe is long full. */
	test_client_say(&client,
			"PUT /stream/slow HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < UPLOAD_PIECES; i++) {
		test_client_say(&client, "2710\r\n");
		test_client_send(&client, piece, sizeof(piece));
		test_client_say(&client, "\r\n");
		if (i == 3) {
			gate_wait_blocked(1);
			gate_open();
		}
	}
	test_client_say(&client, "0\r\n\r\nGET /hello HTTP/1.1\r\n" HOST "\r\n");
	expect(200, "3000000");
	expect(200, "{\"hello\": 1}");
	finish();
}

static void broken_uploads_reach_the_handler(void **state)
{
	struct http_config c = config();

	c.body_ms = 40;
	start_with(&c);
	test_client_say(&client, "PUT /stream HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\nabc");
	assert_int_equal(gate_wait_stream(), -ETIMEDOUT);
	expect(400, "3");
	assert_true(test_client_at_end(&client));
	gate_reset();
	reopen();
	test_client_say(&client,
			"PUT /stream HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n");
	assert_int_equal(gate_wait_stream(), -EPROTO);
	expect(400, "0");
	finish();
	start();
	test_client_say(&client, "PUT /stream HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\nabc");
	gate_wait_bytes(3);
	test_client_close(&client);
	assert_int_equal(gate_wait_stream(), -ECONNRESET);
	test_client_connect(&client, http_server_port(server.server));
	finish();
}

static void downloads(void **state)
{
	struct test_reply r;

	start();
	test_client_say(&client, "GET /file HTTP/1.1\r\n" HOST "\r\nGET /big HTTP/1.1\r\n" HOST "\r\n");
	assert_true(test_client_reply(&client, &r, true));
	assert_int_equal(r.body_size, FILE_SIZE);
	for (size_t i = 0; i < FILE_SIZE; i += 1000)
		assert_int_equal(r.body[i], 'a' + (i / 1000 + 1) % 26);
	assert_string_not_equal(strstr(r.head, "Content-Type: "), "");
	test_reply_done(&r);
	assert_true(test_client_reply(&client, &r, true));
	assert_int_equal(r.body_size, 3000000);
	test_reply_done(&r);
	/* The client goes away in the middle of one. */
	test_client_say(&client, "GET /big HTTP/1.1\r\n" HOST "\r\n");
	assert_true(test_client_fill(&client, 100));
	reopen();
	test_client_say(&client, "GET /file HTTP/1.1\r\n" HOST "\r\n");
	assert_true(test_client_fill(&client, 100));
	finish();
}

/* A head that fills its limit without an end. */
static void send_endless(const char *start_text)
{
	static char filler[9000];

	memset(filler, 'a', sizeof(filler));
	test_client_say(&client, start_text);
	for (int i = 0; i < 4; i++)
		test_client_send(&client, filler, sizeof(filler));
}

static void refusals(void **state)
{
	static const struct {
		const char *text;
		int status;
	} rows[] = {
		{ "\x16\x03garbage\r\n\r\n", 400 },
		{ "GET /hello HTTP/1.1\r\n\r\n", 400 },
		{ "GET /hello HTTP/3.0\r\n" HOST "\r\n", 505 },
		{ "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", 501 },
		{ "POST /echo HTTP/1.1\r\n" HOST "Expect: x\r\n\r\n", 417 },
		{ "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n", 413 },
		{ "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400 },
		{ "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		  400 },
	};

	start();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		test_client_say(&client, rows[i].text);
		expect_refusal(rows[i].status);
		reopen();
	}
	send_endless("GET /");
	expect_refusal(414);
	reopen();
	send_endless("GET / HTTP/1.1\r\n" HOST "X: ");
	expect_refusal(431);
	reopen();
	test_client_say(&client, "POST /echo HTTP/1.1\r\n" HOST
				 "Transfer-Encoding: chunked\r\n\r\n2710\r\n");
	send_endless("");
	expect_refusal(413);
	finish();
}

static void what_is_not_tls(void **state)
{
	static char garbage[2000];
	struct test_reply r;

	start();
	test_client_close(&client);
	test_client_connect(&client, http_server_port(server.server));
	test_client_say(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	assert_true(test_client_reply(&client, &r, true));
	assert_int_equal(r.status, 400);
	assert_non_null(strstr(r.body, "HTTPS"));
	test_reply_done(&r);
	test_client_close(&client);
	for (size_t seed = 1; seed < 20; seed++) {
		for (size_t i = 0; i < sizeof(garbage); i++)
			garbage[i] = (char)(seed * 2654435761u * (i + 1) >> 13);
		/* Half of them begin like a ClientHello. */
		if (seed & 1)
			memcpy(garbage, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
		test_client_connect(&client, http_server_port(server.server));
		test_client_send(&client, garbage, sizeof(garbage));
		while (test_client_fill(&client, client.in_len + 1))
			;
		test_client_close(&client);
	}
	assert_true(test_client_open(&client, http_server_port(server.server), NULL, NULL, NULL));
	test_client_say(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	expect(200, NULL);
	finish();
}

static void slow_clients_are_timed_out(void **state)
{
	struct http_config c = config();

	c.head_ms = c.body_ms = c.keep_alive_ms = c.handshake_ms = 60;
	start_with(&c);
	test_client_say(&client, "GET /hel");
	expect_refusal(408);
	reopen();
	test_client_say(&client, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\n123");
	expect_refusal(408);
	reopen();
	test_client_say(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	expect(200, NULL);
	assert_true(test_client_at_end(&client));
	test_client_close(&client);
	test_client_connect(&client, http_server_port(server.server));
	test_client_send(&client, "\x16\x03", 2);
	assert_true(test_client_at_end(&client));
	finish();
}

#define N_TOGETHER 300
#define TURN_ENDS 64 /* front.c: DUE_MAX */

/* Clients that say nothing and are timed out together, and what each turn of the loop has closed of them. */
static struct {
	struct test_client many[N_TOGETHER];
	uv_check_t turn;
	unsigned n_ended, most;
	bool all_there;
} together;

static void on_turn(uv_check_t *handle)
{
	struct pollfd fds[N_TOGETHER];
	unsigned n;

	if (!__atomic_load_n(&together.all_there, __ATOMIC_ACQUIRE))
		return;
	for (size_t i = 0; i < N_TOGETHER; i++)
		fds[i] = (struct pollfd){ .fd = together.many[i].fd, .events = POLLIN };
	n = (unsigned)MAX_OF(poll(fds, N_TOGETHER, 0), 0);
	together.most = MAX_OF(together.most, n - together.n_ended);
	together.n_ended = n;
}

static int watch_turns(void *ctx, unsigned front, uv_loop_t *loop, struct err *e)
{
	(void)uv_check_init(loop, &together.turn);
	(void)uv_check_start(&together.turn, on_turn);
	return 0;
}

static void end_watch(void *ctx, unsigned front)
{
	uv_close((uv_handle_t *)&together.turn, NULL);
}

static void a_turn_ends_few_of_those_that_are_due(void **state)
{
	struct http_config c = config();

	memset(&together, 0, sizeof(together));
	c.handshake_ms = 1000;
	c.front_starts = watch_turns;
	c.front_ends = end_watch;
	start_with(&c);
	for (size_t i = 0; i < N_TOGETHER; i++)
		test_client_connect(&together.many[i], http_server_port(server.server));
	__atomic_store_n(&together.all_there, true, __ATOMIC_RELEASE);
	for (size_t i = 0; i < N_TOGETHER; i++)
		assert_true(test_client_at_end(&together.many[i]));
	__atomic_store_n(&together.all_there, false, __ATOMIC_RELEASE);
	finish();
	for (size_t i = 0; i < N_TOGETHER; i++)
		test_client_close(&together.many[i]);
	assert_true(together.n_ended > N_TOGETHER / 2);
	assert_true(together.most <= TURN_ENDS);
}

static void full_queue_and_full_house(void **state)
{
	struct http_config c = config();
	struct test_client second, third;
	struct test_reply r;
	uint16_t port;

	c.n_workers = c.n_queue = 1;
	c.n_conns = 3;
	start_with(&c);
	port = http_server_port(server.server);
	assert_true(test_client_open(&second, port, NULL, NULL, NULL));
	assert_true(test_client_open(&third, port, NULL, NULL, NULL));
	test_client_say(&client, "GET /block HTTP/1.1\r\n" HOST "\r\n");
	gate_wait_blocked(1);
	/* One of the two finds a place in the queue, the other does not. */
	test_client_say(&second, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	test_client_say(&third, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	struct test_client fourth;
	assert_true(test_client_open(&fourth, port, NULL, NULL, NULL));
	test_client_say(&fourth, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	assert_true(test_client_reply(&fourth, &r, true));
	assert_int_equal(r.status, 503);
	assert_non_null(strstr(r.head, "\r\nRetry-After: "));
	test_reply_done(&r);
	gate_open();
	expect(200, "{}");
	int n_refused = 0;
	assert_true(test_client_reply(&second, &r, true));
	n_refused += r.status == 503;
	test_reply_done(&r);
	assert_true(test_client_reply(&third, &r, true));
	n_refused += r.status == 503;
	test_reply_done(&r);
	assert_int_equal(n_refused, 1);
	test_client_close(&second);
	test_client_close(&third);
	test_client_close(&fourth);
	finish();
}

static void idle_connection_makes_room(void **state)
{
	struct http_config c = config();
	struct test_client idle;

	c.n_conns = 1;
	start_with(&c);
	idle = client;
	assert_true(test_client_open(&client, http_server_port(server.server), NULL, NULL, NULL));
	assert_true(test_client_at_end(&idle));
	test_client_close(&idle);
	test_client_say(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	expect(200, "{\"hello\": 1}");
	finish();
}

/* So do those that never said anything. */
static void silent_connection_makes_room(void **state)
{
	struct http_config c = config();
	struct test_client silent;

	c.n_conns = 1;
	start_with(&c);
	test_client_close(&client);
	test_client_connect(&silent, http_server_port(server.server));
	assert_true(test_client_open(&client, http_server_port(server.server), NULL, NULL, NULL));
	test_client_say(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	expect(200, "{\"hello\": 1}");
	test_client_close(&silent);
	finish();
}

static void slow_uploads_leave_workers_free(void **state)
{
	struct test_client uploads[3];

	start(); /* two workers */
	for (size_t i = 0; i < ARRAY_LEN(uploads); i++) {
		assert_true(test_client_open(&uploads[i], http_server_port(server.server), NULL,
					     NULL, NULL));
		test_client_say(&uploads[i],
				"PUT /stream HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\nabc");
	}
	test_client_say(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	expect(200, "{\"hello\": 1}");
	for (size_t i = 0; i < ARRAY_LEN(uploads); i++)
		test_client_close(&uploads[i]);
	finish();
}

static void stop_lets_requests_finish(void **state)
{
	start();
	test_client_say(&client, "GET /block HTTP/1.1\r\n" HOST "\r\n");
	gate_wait_blocked(1);
	test_server_begin_stop(&server, TEST_WAIT_S * 1000);
	gate_open();
	expect(200, "{}");
	assert_true(test_client_at_end(&client));
	finish();
}

static void stop_does_not_wait_forever(void **state)
{
	start();
	test_client_say(&client, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\n123");
	test_server_begin_stop(&server, 20);
	assert_true(test_client_at_end(&client));
	finish();
}

static void client_gone_while_a_worker_works(void **state)
{
	start();
	test_client_say(&client, "GET /block HTTP/1.1\r\n" HOST "\r\n");
	gate_wait_blocked(1);
	reopen();
	test_client_say(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	expect(200, NULL);
	gate_open();
	finish();
}

static void bad_configuration(void **state)
{
	struct http_config rows[4];
	struct http_server *s = NULL;
	struct err e;
	uv_loop_t loop;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		rows[i] = config();
	rows[0].cert_file = "/nonexistent";
	rows[1].key_file = test_pki.client_key; /* of another certificate */
	rows[2].listen_addr = "hub.example";
	rows[3].client_ca_file = test_pki.ca_key;
	assert_int_equal(uv_loop_init(&loop), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_true(http_server_start(&loop, &rows[i], &s, &e) < 0);
		assert_true(e.msg[0]);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- several fronts ---- */

static pthread_t starts_on[8], ends_on[8];
static unsigned n_starts, n_ends;

static int on_front_starts(void *ctx, unsigned front, uv_loop_t *loop, struct err *e)
{
	starts_on[front] = pthread_self();
	n_starts++;
	return 0;
}

static void on_front_ends(void *ctx, unsigned front)
{
	ends_on[front] = pthread_self();
	__atomic_fetch_add(&n_ends, 1, __ATOMIC_SEQ_CST);
}

/* The kernel spreads connections by a hash of their addresses: of 64, each of four fronts gets some. */
static void every_front_answers(void **state)
{
	struct http_config c = config();
	struct test_client many[64];
	struct test_reply r;

	n_starts = n_ends = 0;
	c.n_fronts = 4;
	c.front_starts = on_front_starts;
	c.front_ends = on_front_ends;
	start_with(&c);
	assert_int_equal(n_starts, 4);
	for (size_t i = 0; i < ARRAY_LEN(many); i++) {
		assert_true(test_client_open(&many[i], http_server_port(server.server), NULL, NULL,
					     NULL));
		test_client_say(&many[i],
				"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello");
	}
	for (size_t i = 0; i < ARRAY_LEN(many); i++) {
		assert_true(test_client_reply(&many[i], &r, true));
		assert_int_equal(r.status, 201);
		test_reply_done(&r);
	}
	for (size_t i = 0; i < ARRAY_LEN(many); i += 2)
		test_client_close(&many[i]);
	finish(); /* with the other half still open */
	assert_int_equal(n_ends, 4);
	for (unsigned i = 1; i < 4; i++)
		assert_false(pthread_equal(starts_on[i], ends_on[i]));
	for (size_t i = 1; i < ARRAY_LEN(many); i += 2)
		test_client_close(&many[i]);
}

static void tickets_are_good_at_every_front(void **state)
{
	struct http_config c = config();
	SSL_SESSION *session;

	c.n_fronts = 4;
	start_with(&c);
	test_client_say(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	expect(200, "{\"hello\": 1}"); /* the ticket comes before the answer */
	session = SSL_get1_session(client.ssl);
	for (unsigned i = 0; i < 32; i++) {
		struct test_client again;
		SSL_SESSION *copy =
			SSL_SESSION_dup(session); /* a connection that is just closed spoils its own */

		assert_true(test_client_open(&again, http_server_port(server.server), NULL, NULL, copy));
		assert_true(SSL_session_reused(again.ssl));
		SSL_SESSION_free(copy);
		test_client_close(&again);
	}
	SSL_SESSION_free(session);
	finish();
}

static void tickets_outlive_the_server(void **state)
{
	struct http_config c = config();
	char file[128];
	SSL_SESSION *session;

	snprintf(file, sizeof(file), "%s/tickets", test_pki.folder);
	c.ticket_file = file;
	start_with(&c);
	test_client_say(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	expect(200, "{\"hello\": 1}");
	session = SSL_get1_session(client.ssl);
	SSL_set_shutdown(client.ssl, SSL_SENT_SHUTDOWN);
	finish();
	start_with(&c);
	test_client_close(&client);
	assert_true(test_client_open(&client, http_server_port(server.server), NULL, NULL, session));
	assert_true(SSL_session_reused(client.ssl));
	/* Not those from before a reload: the CA that vouched may be gone. */
	struct err e;
	assert_int_equal(http_server_reload(server.server, &e), 0);
	finish();
	start_with(&c);
	test_client_close(&client);
	assert_true(test_client_open(&client, http_server_port(server.server), NULL, NULL, session));
	assert_false(SSL_session_reused(client.ssl));
	SSL_SESSION_free(session);
	finish();
}

#define FILES_LIMIT 200u /* half of it are connections */
#define HOLDERS 3u
#define HELD 80u /* by each of them: together more than one table of the server has room for */

static pthread_barrier_t all_held;

struct holder {
	pthread_t thread;
	unsigned n_files, n_ended;
};

/* A client with a descriptor table of its own. Every fourth of its connections asks for a file, the others for nothing. */
static void *hold(void *arg)
{
	struct holder *h = arg;
	struct test_client many[HELD];
	struct test_reply r;
	int keep[] = { STDERR_FILENO };

	if (table_take_own(keep, ARRAY_LEN(keep)) < 0)
		abort();
	for (size_t i = 0; i < HELD; i++) {
		if (!test_client_open(&many[i], http_server_port(server.server), NULL, NULL, NULL))
			abort();
		if (i % 4)
			continue;
		test_client_say(&many[i], "GET /file HTTP/1.1\r\n" HOST "\r\n");
		if (!test_client_reply(&many[i], &r, true))
			continue;
		h->n_files += r.status == 200 && r.body_size == FILE_SIZE && r.body[0] == 'b' &&
			      r.body[FILE_SIZE - 1] == 'a' + 300 % 26;
		test_reply_done(&r);
	}
	pthread_barrier_wait(&all_held);
	for (size_t i = 0; i < HELD; i++) {
		h->n_ended += test_client_at_end(&many[i]);
		test_client_close(&many[i]);
	}
	return NULL;
}

/* Each front has its own table: together they hold more than the limit of open files, each sends files, and a stop closes all. */
static void fronts_hold_more_than_one_table(void **state)
{
	struct http_config c = config();
	struct holder holders[HOLDERS] = { 0 };
	struct rlimit before, small;
	uint16_t port;

	assert_true(HOLDERS * HELD > FILES_LIMIT);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	small = before;
	small.rlim_cur = FILES_LIMIT;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
	c.n_fronts = 4;
	start_with(&c);
	port = http_server_port(server.server);
	pthread_barrier_init(&all_held, NULL, HOLDERS + 1);
	for (unsigned i = 0; i < HOLDERS; i++)
		assert_int_equal(pthread_create(&holders[i].thread, NULL, hold, &holders[i]), 0);
	pthread_barrier_wait(&all_held);
	test_client_say(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	expect(200, "{\"hello\": 1}");
	finish();
	for (unsigned i = 0; i < HOLDERS; i++) {
		pthread_join(holders[i].thread, NULL);
		assert_int_equal(holders[i].n_files, HELD / 4);
		assert_int_equal(holders[i].n_ended, HELD);
	}
	pthread_barrier_destroy(&all_held);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	c.port = port; /* no socket of any table is left on it */
	start_with(&c);
	finish();
}

/* Sockets that share a port must not hide that somebody else has it. */
static void a_port_in_use_is_refused(void **state)
{
	struct http_config c = config();
	struct http_server *s = NULL;
	struct err e;
	uv_loop_t loop;

	c.n_fronts = 2;
	start_with(&c);
	c.port = http_server_port(server.server);
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_true(http_server_start(&loop, &c, &s, &e) < 0);
	assert_int_equal(e.fault, FAULT_IN_USE);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	finish();
}

/* ---- admission ---- */

/* The come-back time that the server said in the clear; 0: it said nothing yet. */
static uint64_t come_back_ms(const struct test_client *c)
{
	char text[512] = "";
	uint64_t ms = 0;
	ssize_t n = recv(c->fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	const char *at = n > 0 ? strstr(text, "X-Retry-After-Ms: ") : NULL;

	if (!at)
		return 0;
	assert_true(str_starts(str_of(text), STR("HTTP/1.1 503 ")));
	struct str rest, number = str_cut(str_of(at + strlen("X-Retry-After-Ms: ")), '\r', &rest);
	assert_int_equal(str_to_u64(number, 60000, &ms), 0);
	return ms;
}

#define QUEUE_LEN 64u /* the least that a queue holds (admit.c) */
#define N_BEYOND 40u

static int u64_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Waits until n of them have been answered. */
static void wait_for_answers(const struct test_client *many, size_t n_many, unsigned n)
{
	struct pollfd fds[2 + QUEUE_LEN + N_BEYOND];
	unsigned ready = 0;

	for (int i = 0; ready < n && i < TEST_WAIT_S * 100; i++) {
		for (size_t k = 0; k < n_many; k++)
			fds[k] = (struct pollfd){ .fd = many[k].fd, .events = POLLIN };
		ready = (unsigned)MAX_OF(poll(fds, n_many, 0), 0);
		if (ready < n)
			(void)poll(NULL, 0, 10);
	}
	assert_true(ready >= n);
}

/*
 * Clients that send the first part of a node's ClientHello and then nothing: two are in TLS, 64 wait, and each of the others is
 * told in the clear when to come back, no two at the same time. A client that is no node is served at once.
 */
static void nodes_beyond_the_queue_are_given_a_time(void **state)
{
	static const char hello[] = "\x16\x03\x01\x02\x00\x01 \x0b"
				    "demarc-test";
	struct http_config c = config();
	struct test_client many[2 + QUEUE_LEN + N_BEYOND];
	uint64_t times[N_BEYOND + 2] = { 0 };
	unsigned n = 0;

	c.ws_protocol = "demarc-test";
	c.n_handshakes = 2;
	c.queue_ms = 1;
	start_with(&c);
	for (size_t i = 0; i < ARRAY_LEN(many); i++) {
		test_client_connect(&many[i], http_server_port(server.server));
		test_client_send(&many[i], hello, sizeof(hello) - 1);
	}
	wait_for_answers(many, ARRAY_LEN(many), N_BEYOND);
	reopen();
	test_client_say(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	expect(200, "{\"hello\": 1}");
	for (size_t i = 0; i < ARRAY_LEN(many); i++) {
		uint64_t ms = come_back_ms(&many[i]);

		if (ms && n < ARRAY_LEN(times))
			times[n++] = ms;
		test_client_close(&many[i]);
	}
	/* The queue may have been full before two of it were in TLS. */
	assert_true(n >= N_BEYOND);
	qsort(times, n, sizeof(*times), u64_cmp);
	for (unsigned i = 1; i < n; i++)
		assert_true(times[i] > times[i - 1]);
	finish();
}

/* Half a hello and no more: it makes room for the next one after a while, whatever its own time-out is. */
static void a_stuck_handshake_makes_room(void **state)
{
	static const char hello[] = "\x16\x03\x01\x02\x00\x01 ";
	struct http_config c = config();
	struct test_client stuck[2];

	c.n_handshakes = 2;
	c.handshake_ms = TEST_WAIT_S * 1000;
	start_with(&c);
	for (size_t i = 0; i < ARRAY_LEN(stuck); i++) {
		test_client_connect(&stuck[i], http_server_port(server.server));
		test_client_send(&stuck[i], hello, sizeof(hello) - 1);
	}
	reopen();
	test_client_say(&client, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	expect(200, "{\"hello\": 1}");
	for (size_t i = 0; i < ARRAY_LEN(stuck); i++)
		test_client_close(&stuck[i]);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keep_alive_and_pipelining),
		cmocka_unit_test(head_has_the_headers_of_get),
		cmocka_unit_test(every_method_may_have_a_body),
		cmocka_unit_test(old_clients),
		cmocka_unit_test(replies_without_body),
		cmocka_unit_test(request_fields_reach_the_handler),
		cmocka_unit_test(expect_continue),
		cmocka_unit_test(streamed_upload),
		cmocka_unit_test(broken_uploads_reach_the_handler),
		cmocka_unit_test(downloads),
		cmocka_unit_test(refusals),
		cmocka_unit_test(what_is_not_tls),
		cmocka_unit_test(slow_clients_are_timed_out),
		cmocka_unit_test(a_turn_ends_few_of_those_that_are_due),
		cmocka_unit_test(full_queue_and_full_house),
		cmocka_unit_test(idle_connection_makes_room),
		cmocka_unit_test(silent_connection_makes_room),
		cmocka_unit_test(slow_uploads_leave_workers_free),
		cmocka_unit_test(stop_lets_requests_finish),
		cmocka_unit_test(stop_does_not_wait_forever),
		cmocka_unit_test(client_gone_while_a_worker_works),
		cmocka_unit_test(bad_configuration),
		cmocka_unit_test(every_front_answers),
		cmocka_unit_test(tickets_are_good_at_every_front),
		cmocka_unit_test(tickets_outlive_the_server),
		cmocka_unit_test(fronts_hold_more_than_one_table),
		cmocka_unit_test(a_port_in_use_is_refused),
		cmocka_unit_test(nodes_beyond_the_queue_are_given_a_time),
		cmocka_unit_test(a_stuck_handshake_makes_room),
	};

	return cmocka_run_group_tests_name("http-server", tests, test_pki_make, test_pki_remove);
}
