/* SPDX-License-Identifier: Apache-2.0 */
#include "node/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Needs those four. */
#include <cmocka.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nics),
		cmocka_unit_test(wrong_nics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
