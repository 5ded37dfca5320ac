/* SPDX-License-Identifier: Apache-2.0 */
#include "http/ws_frame.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MAX_MESSAGE 1000

/* A client's frame: first byte, payload, masked with a fixed key. */
static void add_client_frame(struct strbuf *b, uint8_t first, const char *payload, size_t size)
{
	static const uint8_t key[4] = { 1, 2, 3, 0xff };
	CLEANUP(strbuf_done) struct strbuf plain = { 0 };

	ws_frame_add(&plain, WS_BINARY, payload, size);
	size_t n = ws_frame_overhead(size);
	plain.ptr[0] = (char)first;
	plain.ptr[1] = (char)(plain.ptr[1] | 0x80);
	strbuf_add(b, plain.ptr, n);
	strbuf_add(b, key, 4);
	for (size_t i = 0; i < size; i++)
		strbuf_addc(b, (char)((uint8_t)payload[i] ^ key[i & 3]));
}

/* Feeds in pieces of `step`; writes one letter per event ("m" message, "i" ping, "o" pong, "c" close, "e" error). */
static void run(const struct strbuf *b, size_t step, struct strbuf *events, struct strbuf *text,
		enum ws_code *code)
{
	struct ws_reader r;
	static const char letters[] = {
		[WS_EV_MESSAGE] = 'm', [WS_EV_PING] = 'i', [WS_EV_PONG] = 'o', [WS_EV_CLOSE] = 'c', [WS_EV_ERROR] = 'e'
	};
	enum ws_event ev = WS_EV_MORE;

	ws_reader_init(&r, MAX_MESSAGE);
	for (size_t at = 0; at < b->len && ev != WS_EV_ERROR; at += step) {
		struct str in = { b->ptr + at, MIN_OF(step, b->len - at) }, payload = { 0 };
		while (ev != WS_EV_ERROR &&
		       (ev = ws_reader_next(&r, &in, &payload, code)) != WS_EV_MORE) {
			strbuf_addc(events, letters[ev]);
			strbuf_add(text, payload.ptr, payload.len);
		}
	}
	ws_reader_done(&r);
}

static void check(const struct strbuf *b, const char *events, const char *text)
{
	for (size_t step = 1; step <= b->len; step++) {
		CLEANUP(strbuf_done) struct strbuf ev = { 0 }, got = { 0 };
		enum ws_code code = WS_NORMAL;
		run(b, step, &ev, &got, &code);
		assert_string_equal(strbuf_cstr(&ev), events);
		assert_string_equal(strbuf_cstr(&got), text);
	}
}

static void check_error(const struct strbuf *b, enum ws_code expected)
{
	CLEANUP(strbuf_done) struct strbuf ev = { 0 }, got = { 0 };
	enum ws_code code = WS_NORMAL;

	run(b, 1, &ev, &got, &code);
	assert_string_equal(strbuf_cstr(&ev), "e");
	assert_int_equal(code, expected);
}

static void messages_and_fragments(void **state)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };

	add_client_frame(&b, 0x82, "one", 3);
	add_client_frame(&b, 0x02, "t", 1);
	add_client_frame(&b, 0x89, "ping", 4);
	add_client_frame(&b, 0x00, "", 0);
	add_client_frame(&b, 0x80, "wo", 2);
	add_client_frame(&b, 0x82, "", 0);
	add_client_frame(&b, 0x8a, "pong", 4);
	add_client_frame(&b, 0x88, "\x03\xe8", 2);
	check(&b, "mimmoc", "onepingtwopong\x03\xe8");
}

static void long_lengths(void **state)
{
	static char payload[MAX_MESSAGE + 1];
	CLEANUP(strbuf_done) struct strbuf b = { 0 };

	memset(payload, 'x', MAX_MESSAGE);
	add_client_frame(&b, 0x82, payload, MAX_MESSAGE);
	CLEANUP(strbuf_done) struct strbuf ev = { 0 }, got = { 0 };
	enum ws_code code = WS_NORMAL;
	run(&b, 7, &ev, &got, &code);
	assert_string_equal(strbuf_cstr(&ev), "m");
	assert_string_equal(strbuf_cstr(&got), payload);
	b.len = 0;
	add_client_frame(&b, 0x82, payload, MAX_MESSAGE + 1);
	check_error(&b, WS_TOO_BIG);
	b.len = 0;
	strbuf_add(&b,
		   "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"
		   "abcd",
		   14);
	check_error(&b, WS_TOO_BIG);
}

static void fragments_add_up_to_the_limit(void **state)
{
	static char payload[600];
	CLEANUP(strbuf_done) struct strbuf b = { 0 };

	add_client_frame(&b, 0x02, payload, sizeof(payload));
	add_client_frame(&b, 0x80, payload, sizeof(payload));
	check_error(&b, WS_TOO_BIG);
}

static void protocol_errors(void **state)
{
	static const struct {
		uint8_t first;
		size_t size;
		enum ws_code code;
	} rows[] = {
		{ 0xc2, 1, WS_PROTOCOL },			       /* reserved bit */
		{ 0x81, 1, WS_UNSUPPORTED },			       /* text */
		{ 0x83, 1, WS_PROTOCOL },			       /* unknown kind */
		{ 0x8b, 1, WS_PROTOCOL },    { 0x09, 1, WS_PROTOCOL }, /* fragmented ping */
		{ 0x89, 126, WS_PROTOCOL },  { 0x80, 1, WS_PROTOCOL }, /* continues nothing */
	};
	static const char payload[126];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(strbuf_done) struct strbuf b = { 0 };
		add_client_frame(&b, rows[i].first, payload, rows[i].size);
		check_error(&b, rows[i].code);
	}
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	add_client_frame(&b, 0x02, "a", 1);
	add_client_frame(&b, 0x82, "b", 1); /* a new message inside another */
	check_error(&b, WS_PROTOCOL);
	b.len = 0;
	ws_frame_add(&b, WS_BINARY, "a", 1); /* not masked */
	check_error(&b, WS_PROTOCOL);
}

static void written_headers(void **state)
{
	static const struct {
		size_t size;
		const char *header;
		size_t n;
	} rows[] = {
		{ 0, "\x82\x00", 2 },
		{ 125, "\x82\x7d", 2 },
		{ 126, "\x82\x7e\x00\x7e", 4 },
		{ 65535, "\x82\x7e\xff\xff", 4 },
		{ 65536, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10 },
	};
	static char payload[65536];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(strbuf_done) struct strbuf b = { 0 };
		ws_frame_add(&b, WS_BINARY, payload, rows[i].size);
		assert_int_equal(b.len, rows[i].n + rows[i].size);
		assert_int_equal(ws_frame_overhead(rows[i].size), rows[i].n);
		assert_memory_equal(b.ptr, rows[i].header, rows[i].n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_and_fragments),
		cmocka_unit_test(long_lengths),
		cmocka_unit_test(fragments_add_up_to_the_limit),
		cmocka_unit_test(protocol_errors),
		cmocka_unit_test(written_headers),
	};

	return cmocka_run_group_tests_name("http-ws-frame", tests, NULL, NULL);
}
