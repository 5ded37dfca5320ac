/* SPDX-License-Identifier: Apache-2.0 */
#include "model/endpoint.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_endpoints(void **state)
{
	static const struct {
		const char *in, *ip; /* ip NULL: refused */
		uint16_t port;
	} rows[] = {
		{ "192.0.2.1:4739", "192.0.2.1", 4739 },
		{ "192.0.2.1", "192.0.2.1", 9 },
		{ "[2001:db8::1]:65535", "2001:db8::1", 65535 },
		{ "[::1]", "::1", 9 },
		{ "", NULL, 0 },
		{ ":80", NULL, 0 },
		{ "192.0.2.1:", NULL, 0 },
		{ "192.0.2.1:0", NULL, 0 },
		{ "192.0.2.1:65536", NULL, 0 },
		{ "192.0.2.1:8o", NULL, 0 },
		{ "::1", NULL, 0 },
		{ "[::1", NULL, 0 },
		{ "[::1]x", NULL, 0 },
		{ "[::1]:", NULL, 0 },
		{ "[192.0.2.1]:80", NULL, 0 },
		{ "[]:80", NULL, 0 },
		{ "[", NULL, 0 },
		{ "name:80", NULL, 0 },
		{ "192.0.2.1:80 ", NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct endpoint e = { .port = 1 };
		char ip[IP_STR_SIZE];
		int r = endpoint_parse(str_of(rows[i].in), 9, &e);

		if ((r == 0) != (rows[i].ip != NULL))
			fail_msg("row %zu: '%s' gave %d", i, rows[i].in, r);
		if (r < 0) {
			assert_int_equal(e.port, 1); /* nothing is written */
			continue;
		}
		assert_string_equal(ip_format(e.ip, ip), rows[i].ip);
		assert_int_equal(e.port, rows[i].port);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_endpoints) };

	return cmocka_run_group_tests_name("model-endpoint", tests, NULL, NULL);
}
