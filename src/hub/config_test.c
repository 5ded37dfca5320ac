/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

#define READ(c, e, ...)                                                                            \
	({                                                                                         \
		char *argv_[] = { (char *)"demarc-hub", __VA_ARGS__ };                             \
		config_read(ARRAY_LEN(argv_), argv_, (c), (e));                                    \
	})
#define A(text) ((char *)(text))

static void test_defaults(void **state)
{
	char *argv[] = { A("demarc-hub"), NULL };
	struct config c;
	struct err e = { 0 };

	assert_int_equal(config_read(1, argv, &c, &e), 0);
	assert_int_equal(c.hub.port, 8443);
	assert_string_equal(c.hub.data_dir, "/var/lib/demarc-hub");
	assert_int_equal(c.hub.n_public_names, 0);
	assert_int_equal(c.hub.cert_days, 30);
	assert_int_equal(c.hub.image_rate_mb, 100);
	assert_int_equal(c.hub.image_node_rate_mb, 20);
	assert_true(c.hub.n_fronts >= 1 && c.hub.n_fronts <= HTTP_FRONTS_MAX);
	config_done(&c);
}

static void test_options(void **state)
{
	struct config c;
	struct err e = { 0 };

	assert_int_equal(READ(&c, &e, A("--port=0"), A("--public-name"), A("hub.example"),
			      A("--public-name=192.0.2.1"), A("--listen"), A("::1"),
			      A("--log-level"), A("warn"), A("--data-dir"), A("/x"),
			      A("--cert-days=7"), A("--image-rate=8"), A("--image-node-rate=0"),
			      A("--other-hub=https://192.0.2.2:8443")),
			 0);
	assert_int_equal(c.hub.cert_days, 7);
	assert_int_equal(c.hub.image_rate_mb, 8);
	assert_int_equal(c.hub.image_node_rate_mb, 0);
	assert_int_equal(c.hub.n_more_hubs, 1);
	assert_string_equal(c.hub.more_hubs[0], "https://192.0.2.2:8443");
	assert_int_equal(c.hub.port, 0);
	assert_int_equal(c.hub.n_public_names, 2);
	assert_string_equal(c.hub.public_names[1], "192.0.2.1");
	assert_string_equal(c.hub.listen_addr, "::1");
	assert_int_equal(c.log_level, LOG_WARN_);
	config_done(&c);
}

static void test_bad_options(void **state)
{
	static const char *const bad[][2] = {
		{ "--port", "65536" },
		{ "--port", "x" },
		{ "--port", NULL },
		{ "--nonsense", NULL },
		{ "--listen", "example" },
		{ "--public-name", "a b" },
		{ "--heartbeat", "0" },
		{ "--heartbeat", "61" },
		{ "--fronts", "0" },
		{ "--fronts", "17" },
		{ "--log-level", "loud" },
		{ "word", NULL },
		{ "--help=1", NULL },
		{ "--data-dir=", NULL },
		{ "--public-name", "" },
		{ "--workers", "1" },
		{ "--cert-days", "0" },
		{ "--cert-days", "3651" },
		{ "--other-hub", "hub.example" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *argv[] = { A("demarc-hub"), A(bad[i][0]), A(bad[i][1]) };
		struct config c = { 0 };
		struct err e = { 0 };

		if (config_read(bad[i][1] ? 3 : 2, argv, &c, &e) >= 0)
			fail_msg("%s %s was taken", bad[i][0], bad[i][1]);
		assert_int_equal(e.fault, FAULT_BAD_REQUEST);
		assert_true(e.msg[0] != '\0');
	}
}

static char path[] = "/tmp/demarc-config-XXXXXX";

static int read_text(const char *text, struct config *c, struct err *e)
{
	assert_int_equal(file_write_atomic(path, 0600, str_of(text), e), 0);
	return READ(c, e, A("--config"), path, A("--port"), A("7"));
}

static void test_file(void **state)
{
	int fd = mkstemp(path);
	struct config c;
	struct err e = { 0 };

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(
		read_text("port: 1\ndata-dir: /y\npublic-name: [a.example, b.example]\n", &c, &e), 0);
	assert_int_equal(c.hub.port, 7); /* the command line wins */
	assert_string_equal(c.hub.data_dir, "/y");
	assert_int_equal(c.hub.n_public_names, 2);
	config_done(&c);
	assert_int_equal(read_text("", &c, &e), 0);
	config_done(&c);
	assert_int_equal(read_text("prot: 1\n", &c, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "prot"));
	assert_non_null(strstr(e.msg, path));
	assert_int_equal(read_text("port: {a: 1}\n", &c, &e), -EINVAL);
	assert_int_equal(read_text("- 1\n", &c, &e), -EINVAL);
	assert_int_equal(read_text("help: x\n", &c, &e), -EINVAL);
	assert_int_equal(read_text("config: /x\n", &c, &e), -EINVAL);
	unlink(path);
	assert_true(READ(&c, &e, A("--config"), path) < 0);
	assert_non_null(strstr(e.msg, path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_bad_options),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
