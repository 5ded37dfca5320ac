/* SPDX-License-Identifier: Apache-2.0 */
#include "node/httpreq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_verdicts(void **state)
{
	static const struct {
		const char *in;
		int result; /* 1: the whole text */
		const char *path;
		bool keep_alive;
	} rows[] = {
		{ "GET / HTTP/1.1\r\n\r\n", 1, "/", true },
		{ "GET /a//b?x=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 1, "/a/b", false },
		{ "HEAD /a HTTP/1.0\r\n\r\n", 1, "/a", false },
		{ "GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 1, "/a", true },
		{ "GET http://169.254.169.254/x HTTP/1.1\n\n", 1, "/x", true },
		{ "GET /%61 HTTP/1.1\r\n\r\n", 1, "/a", true },
		{ "GET /x HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 1, "/x", true },
		{ "GET /x HTTP/1.1\r\n", 0, NULL, false },
		{ "", 0, NULL, false },
		{ "GET /../x HTTP/1.1\r\n\r\n", -400, NULL, false },
		{ "GET /%2e%2e/x HTTP/1.1\r\n\r\n", -400, NULL, false },
		{ "GET /a/.. HTTP/1.1\r\n\r\n", -400, NULL, false },
		{ "GET /%00 HTTP/1.1\r\n\r\n", -400, NULL, false },
		{ "GET /%zz HTTP/1.1\r\n\r\n", -400, NULL, false },
		{ "GET x HTTP/1.1\r\n\r\n", -400, NULL, false },
		{ "GET  HTTP/1.1\r\n\r\n", -400, NULL, false },
		{ "POST / HTTP/1.1\r\n\r\n", -405, NULL, false },
		{ "GET / HTTP/2.0\r\n\r\n", -505, NULL, false },
		{ "GET / SPDY\r\n\r\n", -400, NULL, false },
		{ "GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", -413, NULL, false },
		{ "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", -400, NULL, false },
		{ "GET / HTTP/1.1\r\n folded\r\n\r\n", -400, NULL, false },
		{ "GET / HTTP/1.1\r\nno colon\r\n\r\n", -400, NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct httpreq req;
		int r = httpreq_parse(str_of(rows[i].in), &req);

		if (r != (rows[i].result == 1 ? (int)strlen(rows[i].in) : rows[i].result))
			fail_msg("row %zu: %s gave %d", i, rows[i].in, r);
		if (r > 0) {
			assert_string_equal(req.path, rows[i].path);
			assert_int_equal(req.keep_alive, rows[i].keep_alive);
		}
	}
}

static void test_bounds(void **state)
{
	char *in = malloc(HTTPREQ_HEAD_MAX + 2);
	struct httpreq req;

	(void)state;
	memset(in, 'a', HTTPREQ_HEAD_MAX + 2);
	assert_int_equal(httpreq_parse((struct str){ in, HTTPREQ_HEAD_MAX + 1 }, &req), -431);
	memcpy(in, "GET /", 5);
	memcpy(in + 700, " HTTP/1.1\r\n\r\n", 13);
	assert_int_equal(httpreq_parse((struct str){ in, 713 }, &req), -414);
	free(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_verdicts),
					    cmocka_unit_test(test_bounds) };

	return cmocka_run_group_tests_name("node-httpreq", tests, NULL, NULL);
}
