/* SPDX-License-Identifier: Apache-2.0 */
#include "http/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Parses a copy, as the parser writes to its input. The copy lives until the next call. */
static int parse(const char *text, struct http_head *h)
{
	static char copy[HTTP_HEAD_MAX];
	size_t size = strlen(text), scanned = 0;

	memcpy(copy, text, size);
	assert_int_equal(http_head_end((struct str){ copy, size }, &scanned), size);
	return http_head_parse(copy, size, h);
}

static void assert_str(struct str s, const char *expected)
{
	if (!str_eq_c(s, expected))
		fail_msg("\"" STR_FMT "\" is not \"%s\"", STR_ARG(s), expected);
}

static void good_head_is_taken_apart(void **state)
{
	struct http_head h;

	assert_int_equal(
		parse("PATCH /network/v2.0/ports/1?fields=id&x=%20 HTTP/1.1\r\nHost: hub:8443\r\n"
		      "X-Auth-Token:\t tok \r\nContent-Length: 12\r\nExpect: 100-Continue\r\nempty:\r\n\r\n",
		      &h),
		0);
	assert_int_equal(h.method, HTTP_PATCH);
	assert_str(h.target, "/network/v2.0/ports/1?fields=id&x=%20");
	assert_str(h.path, "/network/v2.0/ports/1");
	assert_str(h.query, "fields=id&x=%20");
	assert_str(h.host, "hub:8443");
	assert_str(http_field_find(h.fields, h.n_fields, "x-auth-token"), "tok");
	assert_str(http_field_find(h.fields, h.n_fields, "empty"), "");
	assert_str(http_field_find(h.fields, h.n_fields, "absent"), "");
	assert_true(h.has_length && h.expect_continue && h.keep_alive && !h.chunked && !h.upgrade);
	assert_int_equal(h.length, 12);
}

static void methods_are_known(void **state)
{
	static const struct {
		const char *text;
		enum http_method method;
	} rows[] = {
		{ "GET", HTTP_GET },	     { "HEAD", HTTP_HEAD },   { "POST", HTTP_POST },
		{ "PUT", HTTP_PUT },	     { "PATCH", HTTP_PATCH }, { "DELETE", HTTP_DELETE },
		{ "OPTIONS", HTTP_OPTIONS }, { "get", HTTP_OTHER },   { "BREW", HTTP_OTHER },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct http_head h;
		char text[64];
		snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nhost: a\r\n\r\n", rows[i].text);
		assert_int_equal(parse(text, &h), 0);
		assert_int_equal(h.method, rows[i].method);
	}
}

static void absolute_target_loses_its_authority(void **state)
{
	struct http_head h;

	assert_int_equal(parse("GET https://hub:1/a?b HTTP/1.1\r\nHost: x\r\n\r\n", &h), 0);
	assert_str(h.target, "/a?b");
	assert_str(h.query, "b");
	assert_int_equal(parse("GET http://hub HTTP/1.1\r\nHost: x\r\n\r\n", &h), 0);
	assert_str(h.path, "/");
	assert_int_equal(parse("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", &h), 0);
}

static void connection_options(void **state)
{
	static const struct {
		const char *text;
		bool keep_alive, upgrade;
	} rows[] = {
		{ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, false },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", false, false },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\r\n", true, true },
		{ "GET / HTTP/1.0\r\n\r\n", false, false },
		{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct http_head h;
		assert_int_equal(parse(rows[i].text, &h), 0);
		assert_int_equal(h.keep_alive, rows[i].keep_alive);
		assert_int_equal(h.upgrade, rows[i].upgrade);
	}
}

/* The text between "GET / HTTP/1.1\r\nHost: a\r\n" and the end, and the status it earns. */
static void bad_fields_are_refused(void **state)
{
	static const struct {
		const char *fields;
		int status;
	} rows[] = {
		{ "Content-Length: 1\r\nContent-Length: 1\r\n", 400 },
		{ "Content-Length: +1\r\n", 400 },
		{ "Content-Length: 1, 1\r\n", 400 },
		{ "Content-Length: \r\n", 400 },
		{ "Content-Length: 0x1\r\n", 400 },
		{ "Content-Length: 99999999999999999999\r\n", 400 },
		{ "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400 },
		{ "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400 },
		{ "Transfer-Encoding: gzip, chunked\r\n", 501 },
		{ "Transfer-Encoding: xchunked\r\n", 501 },
		{ "Transfer-Encoding : chunked\r\n", 400 },
		{ "Host: b\r\n", 400 },
		{ "Expect: miracles\r\n", 417 },
		{ "A: b\r\n c\r\n", 400 },
		{ "A b\r\n", 400 },
		{ ": b\r\n", 400 },
		{ "A: b\x01\r\n", 400 },
		{ "A: b\nB: c\r\n", 400 },
		{ "A: b\rB: c\r\n", 400 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct http_head h;
		char text[512];
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", rows[i].fields);
		if (parse(text, &h) != rows[i].status)
			fail_msg("row %zu", i);
	}
}

static void bad_request_lines_are_refused(void **state)
{
	static const struct {
		const char *text;
		int status;
	} rows[] = {
		{ "GET / HTTP/1.1\r\n\r\n", 400 }, /* no Host */
		{ "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505 },
		{ "GET / HTTP/1.x\r\nHost: a\r\n\r\n", 505 },
		{ "GET / http/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /\r\nHost: a\r\n\r\n", 400 },
		{ "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400 },
		{ "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "G\x7fT / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ " / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GETGETGETGETGETGETGETGETGETGETGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
		{ "\r\n\r\n", 400 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct http_head h;
		if (parse(rows[i].text, &h) != rows[i].status)
			fail_msg("row %zu", i);
	}
}

static void limits(void **state)
{
	static char text[HTTP_HEAD_MAX];
	struct http_head h;

	int n = snprintf(text, sizeof(text), "GET /");
	memset(text + n, 'a', HTTP_TARGET_MAX);
	snprintf(text + n + HTTP_TARGET_MAX, 64, " HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(parse(text, &h), 414);
	n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n");
	for (int i = 0; i < HTTP_FIELDS_MAX; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "f%d: v\r\n", i);
	snprintf(text + n, sizeof(text) - (size_t)n, "\r\n");
	assert_int_equal(parse(text, &h), 431);
}

static void head_end_is_found_across_pieces(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\nnext";
	size_t scanned = 0, end = 0;

	for (size_t n = 1; n < sizeof(text) && !end; n++) {
		end = http_head_end((struct str){ text, n }, &scanned);
		assert_true(!end || n == strlen(text) - strlen("next"));
	}
	assert_int_equal(end, strlen(text) - strlen("next"));
}

static void lists(void **state)
{
	assert_true(http_list_has(STR("a, Upgrade ,b"), "upgrade"));
	assert_false(http_list_has(STR("upgraded"), "upgrade"));
	assert_false(http_list_has(STR(""), "upgrade"));
	assert_false(http_list_has(STR(" , ,"), "upgrade"));
}

/* Decodes `text` in pieces of `step` bytes. Returns the last event; collects the data and what is left. */
static enum http_chunk_event decode(const char *text, size_t step, struct strbuf *out, size_t *ret_used)
{
	struct http_chunked c = { 0 };
	enum http_chunk_event ev = HTTP_CHUNK_MORE;
	size_t size = strlen(text), at = 0;

	while (at < size && (ev == HTTP_CHUNK_MORE || ev == HTTP_CHUNK_DATA)) {
		size_t n = MIN_OF(step, size - at);
		struct str in = { text + at, n }, data = { 0 };
		while ((ev = http_chunked_next(&c, &in, &data)) == HTTP_CHUNK_DATA)
			strbuf_add(out, data.ptr, data.len);
		at += n - in.len;
	}
	*ret_used = at;
	return ev;
}

static void chunks_are_joined(void **state)
{
	static const char text[] =
		"4\r\nWiki\r\n6;ext=\"1\"\r\npedia \r\nE \r\nin \r\n\r\nchunks.\r\n0\r\nTrailer: x\r\n\r\nGET /";

	for (size_t step = 1; step < sizeof(text); step++) {
		CLEANUP(strbuf_done) struct strbuf out = { 0 };
		size_t used = 0;
		assert_int_equal(decode(text, step, &out, &used), HTTP_CHUNK_END);
		assert_string_equal(strbuf_cstr(&out), "Wikipedia in \r\n\r\nchunks.");
		assert_string_equal(text + used, "GET /");
	}
}

static void bad_chunks_are_refused(void **state)
{
	static const char *const rows[] = {
		"\r\n",
		"x\r\n",
		"-1\r\n",
		"4\nWiki",
		"4\r\nWikiX",
		"4\r\nWiki\r0",
		"10000000000000000\r\n",
		"0\r\nA: b\n\r\n",
		"0\r\n\rX",
		";\r\n",
		"4\rX",
		"4;a\nb\r\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CLEANUP(strbuf_done) struct strbuf out = { 0 };
		size_t used = 0;
		if (decode(rows[i], 1, &out, &used) != HTTP_CHUNK_BAD)
			fail_msg("row %zu", i);
	}
}

static void endless_trailer_is_refused(void **state)
{
	static char text[2 * HTTP_TRAILER_MAX] = "0\r\n";
	CLEANUP(strbuf_done) struct strbuf out = { 0 };
	size_t used = 0;

	memset(text + 3, 'a', sizeof(text) - 4);
	assert_int_equal(decode(text, 100, &out, &used), HTTP_CHUNK_BAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_head_is_taken_apart),
		cmocka_unit_test(methods_are_known),
		cmocka_unit_test(absolute_target_loses_its_authority),
		cmocka_unit_test(connection_options),
		cmocka_unit_test(bad_fields_are_refused),
		cmocka_unit_test(bad_request_lines_are_refused),
		cmocka_unit_test(limits),
		cmocka_unit_test(head_end_is_found_across_pieces),
		cmocka_unit_test(lists),
		cmocka_unit_test(chunks_are_joined),
		cmocka_unit_test(bad_chunks_are_refused),
		cmocka_unit_test(endless_trailer_is_refused),
	};

	return cmocka_run_group_tests_name("http-parse", tests, NULL, NULL);
}
