/* SPDX-License-Identifier: Apache-2.0 */
#include "node/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Needs those four. */
#include <cmocka.h>

#include "base/cleanup.h"

static void nics(void **state)
{
	struct config c;
	struct err e = { 0 };

	(void)state;
	config_default(&c);
	assert_int_equal(config_nic_add(&c, "lan=eth1", &e), 0);
	assert_int_equal(config_nic_add(&c, "wan=eth2,xdp", &e), 0);
	assert_int_equal(c.n_nics, 2);
	assert_string_equal(config_nic_device(&c, "lan"), "eth1");
	assert_int_equal(c.nics[0].hook, DP_HOOK_AUTO);
	assert_string_equal(config_nic_device(&c, "wan"), "eth2");
	assert_int_equal(c.nics[1].hook, DP_HOOK_XDP);
	assert_int_equal(config_nic_add(&c, "wan=eth3,tc", &e), 0); /* the later one wins */
	assert_int_equal(c.n_nics, 2);
	assert_int_equal(c.nics[1].hook, DP_HOOK_TC);
	assert_null(config_nic_device(&c, "dmz"));
}

static void wrong_nics(void **state)
{
	static const char *const wrong[] = { "",
					     "lan",
					     "lan=",
					     "=eth1",
					     "lan=../eth1",
					     "lan=,tc",
					     "lan=eth1,dpdk",
					     "lan=a-name-that-is-too-long" };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct config c;
		struct err e = { 0 };

		config_default(&c);
		assert_true(config_nic_add(&c, wrong[i], &e) < 0);
		assert_string_equal(e.field, "nics");
		assert_int_equal(c.n_nics, 0);
	}
}

static int load(const char *text, struct config *c, struct err *e)
{
	char path[] = "/tmp/demarc-config-XXXXXX";
	int fd = mkstemp(path), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	config_default(c);
	r = config_load(path, c, e);
	unlink(path);
	return r;
}

static void test_connection_tracking_is_set(void **state)
{
	struct config c;
	struct err e = { 0 };

	assert_int_equal(load("conntrack:\n  tcp_strict: yes\n  ESTABLISHED: 3600\nmax_flows: 1000\nmax_bindings: 9\npeer_copy: 2001:db8::7\n",
			      &c, &e),
			 0);
	assert_true(c.conntrack.tcp_strict);
	assert_false(c.conntrack.tcp_liberal);
	assert_string_equal(c.max_flows, "1000");
	assert_string_equal(c.max_bindings, "9");
	assert_string_equal(c.peer_copy, "2001:db8::7");
	for (size_t i = 0; i < DP_CT_STATES; i++)
		if (dp_ct_state_name(i) && strcmp(dp_ct_state_name(i), "ESTABLISHED") == 0)
			assert_int_equal(c.conntrack.timeout_s[i], 3600);
		else
			assert_int_equal(c.conntrack.timeout_s[i], 0);
}

static void test_what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *text, *field;
	} rows[] = {
		{ "conntrack: 5\n", "conntrack" },
		{ "conntrack: {ESTABLISHED: 0}\n", "conntrack.ESTABLISHED" },
		{ "conntrack: {ESTABLISHED: 99999999}\n", "conntrack.ESTABLISHED" },
		{ "conntrack: {NOSUCH: 5}\n", "conntrack.NOSUCH" },
		{ "conntrack: {tcp_strict: 7}\n", "conntrack.tcp_strict" },
		{ "max_flows: [1]\n", "max_flows" },
		{ "max_bindings: 123456789\n", "max_bindings" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct config c;
		struct err e = { 0 };

		assert_true(load(rows[i].text, &c, &e) < 0);
		if (strcmp(e.field, rows[i].field) != 0)
			print_message("%s: %s: %s\n", rows[i].text, e.field, e.msg);
		assert_string_equal(e.field, rows[i].field);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nics),
		cmocka_unit_test(wrong_nics),
		cmocka_unit_test(test_connection_tracking_is_set),
		cmocka_unit_test(test_what_is_wrong_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
