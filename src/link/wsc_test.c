/* SPDX-License-Identifier: Apache-2.0 */
#include "link/wsc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct str bytes(const void *p, size_t n)
{
	return (struct str){ p, n };
}

/* The example of RFC 6455 section 1.3. */
static void answer_of_the_rfc(void **state)
{
	const char head[] =
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
	const char key[WSC_KEY_SIZE] = "dGhlIHNhbXBsZSBub25jZQ==";

	(void)state;
	assert_int_equal(wsc_check_answer(str_of(head), key, "chat", NULL), 0);
	assert_int_equal(wsc_check_answer(str_of(head), key, "other", NULL), -EPROTO);
	assert_int_equal(wsc_check_answer(str_of(head), "AAAAAAAAAAAAAAAAAAAAAA==", "chat", NULL),
			 -EPROTO);
}

static void refusals(void **state)
{
	const char key[WSC_KEY_SIZE] = "dGhlIHNhbXBsZSBub25jZQ==";
	struct err e;

	(void)state;
	assert_int_equal(wsc_check_answer(STR("HTTP/1.1 403 Forbidden\r\n\r\n"), key, "chat", &e),
			 -EPROTO);
	assert_non_null(strstr(e.msg, "403 Forbidden"));
	assert_int_equal(wsc_check_answer(STR("SSH-2.0-OpenSSH\r\n\r\n"), key, "chat", &e), -EPROTO);
	assert_int_equal(wsc_check_answer(STR(""), key, "chat", &e), -EPROTO);
}

static void request_text(void **state)
{
	struct strbuf b = { 0 };
	struct url u;
	char key[WSC_KEY_SIZE];

	(void)state;
	assert_int_equal(url_parse(STR("https://[fd00::1]:8443"), &u, NULL), 0);
	wsc_request(&b, &u, "/path", "demarc-node", key);
	assert_int_equal(strlen(key), 24);
	assert_non_null(strstr(b.ptr, "GET /path HTTP/1.1\r\nHost: [fd00::1]:8443\r\n"));
	assert_non_null(strstr(b.ptr, key));
	strbuf_done(&b);
}

/* A masked frame, made readable for a client again: masks are for one direction only. */
static void frames_are_masked(void **state)
{
	const size_t sizes[] = { 0, 1, 125, 126, 65535, 65536, 70000 };
	char *payload = calloc(1, 70000);

	(void)state;
	for (size_t i = 0; i < 70000; i++)
		payload[i] = (char)(i * 7);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct strbuf b = { 0 };
		size_t n_length = sizes[i] < 126 ? 0 : sizes[i] < 65536 ? 2 : 8;
		const uint8_t *mask;

		wsc_frame_add(&b, WSC_BINARY, payload, sizes[i]);
		assert_int_equal(b.len, 2 + n_length + 4 + sizes[i]);
		assert_int_equal((uint8_t)b.ptr[0], 0x82);
		assert_true(b.ptr[1] & 0x80);
		mask = (const uint8_t *)b.ptr + 2 + n_length;
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal((uint8_t)b.ptr[6 + n_length + k] ^ mask[k & 3],
					 (uint8_t)payload[k]);
		strbuf_done(&b);
	}
	free(payload);
}

static void whole_split_and_interleaved(void **state)
{
	/* "ab" + ping "x" + "cd" as one message of two fragments with a ping between */
	static const uint8_t in[] = { 0x02, 2, 'a', 'b', 0x89, 1, 'x', 0x80, 2, 'c', 'd' };
	struct wsc_reader r;

	(void)state;
	for (size_t step = 1; step <= sizeof(in); step++) {
		unsigned n_ping = 0, n_message = 0;

		wsc_reader_init(&r, 100);
		for (size_t at = 0; at < sizeof(in); at += step) {
			struct str rest = bytes(in + at, MIN_OF(step, sizeof(in) - at)), payload;
			enum wsc_event ev;

			while ((ev = wsc_reader_next(&r, &rest, &payload)) != WSC_EV_MORE) {
				assert_int_not_equal(ev, WSC_EV_ERROR);
				n_ping += ev == WSC_EV_PING && str_eq_c(payload, "x");
				n_message += ev == WSC_EV_MESSAGE && str_eq_c(payload, "abcd");
			}
		}
		assert_int_equal(n_ping, 1);
		assert_int_equal(n_message, 1);
		wsc_reader_done(&r);
	}
}

static void two_messages_in_a_row(void **state)
{
	static const uint8_t in[] = { 0x82, 1, 'a', 0x82, 0, 0x82, 1, 'b' };
	struct str rest = bytes(in, sizeof(in)), payload;
	struct wsc_reader r;

	(void)state;
	wsc_reader_init(&r, 100);
	assert_int_equal(wsc_reader_next(&r, &rest, &payload), WSC_EV_MESSAGE);
	assert_true(str_eq_c(payload, "a"));
	assert_int_equal(wsc_reader_next(&r, &rest, &payload), WSC_EV_MESSAGE);
	assert_int_equal(payload.len, 0);
	assert_int_equal(wsc_reader_next(&r, &rest, &payload), WSC_EV_MESSAGE);
	assert_true(str_eq_c(payload, "b"));
	assert_int_equal(wsc_reader_next(&r, &rest, &payload), WSC_EV_MORE);
	wsc_reader_done(&r);
}

static void what_is_not_allowed(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} rows[] = {
		{ "\x82\x81\0\0\0\0a", 7 }, /* masked by a server */
		{ "\xc2\x01"
		  "a",
		  3 }, /* reserved bit */
		{ "\x81\x01"
		  "a",
		  3 }, /* text */
		{ "\x80\x01"
		  "a",
		  3 }, /* continues nothing */
		{ "\x02\x01"
		  "a\x82\x01"
		  "b",
		  6 }, /* a new message inside of one */
		{ "\x09\x01"
		  "a",
		  3 },						    /* a ping in fragments */
		{ "\x89\x7e\x00\x7e", 4 },			    /* a ping of 126 bytes */
		{ "\x82\x65", 2 },				    /* 101 bytes */
		{ "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10 }, /* all of them */
		{ "\x8b\x00", 2 },				    /* unknown control */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str rest = bytes(rows[i].bytes, rows[i].n), payload;
		struct wsc_reader r;

		wsc_reader_init(&r, 100);
		assert_int_equal(wsc_reader_next(&r, &rest, &payload), WSC_EV_ERROR);
		wsc_reader_done(&r);
	}
}

static void test_come_back_times_are_read(void **state)
{
	static const struct {
		const char *head;
		uint32_t ms;
	} rows[] = {
		{ "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nX-Retry-After-Ms: 2345\r\n\r\n",
		  2345 },
		{ "HTTP/1.1 503 x\r\nretry-after: 3\r\n\r\n", 3000 },
		{ "HTTP/1.1 503 x\r\nX-Retry-After-Ms: 4000000000\r\n\r\n", WSC_RETRY_MAX_MS },
		{ "HTTP/1.1 503 x\r\nRetry-After: 99999999\r\n\r\n", WSC_RETRY_MAX_MS },
		{ "HTTP/1.1 503 x\r\nRetry-After: soon\r\n\r\n", 0 },
		{ "HTTP/1.1 503", 0 },
		{ "HTTP/1.1 101 x\r\nRetry-After: 3\r\n\r\n", 0 },
		{ "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(wsc_retry_after_ms(str_of(rows[i].head)), rows[i].ms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_come_back_times_are_read),
		cmocka_unit_test(answer_of_the_rfc),
		cmocka_unit_test(refusals),
		cmocka_unit_test(request_text),
		cmocka_unit_test(frames_are_masked),
		cmocka_unit_test(whole_split_and_interleaved),
		cmocka_unit_test(two_messages_in_a_row),
		cmocka_unit_test(what_is_not_allowed),
	};

	return cmocka_run_group_tests_name("wsc", tests, NULL, NULL);
}
