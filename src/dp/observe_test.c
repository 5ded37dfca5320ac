/* SPDX-License-Identifier: Apache-2.0 */
#include "dp/observe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

/* Needs those three. */
#include <cmocka.h>

#include "drop.h"

/* forwardingStatus as RFC 7270 section 4.12 lists it: two bits "dropped", six of reason. */
static void test_the_reason_of_a_drop_is_the_registrys(void **state)
{
	static const struct {
		enum drop_reason reason;
		uint8_t status;
	} rows[] = {
		{ DROP_ACL, 129 },	  { DROP_REJECT, 129 },	      { DROP_REJECT_LIMIT, 129 },
		{ DROP_SG_INGRESS, 129 }, { DROP_SG_EGRESS, 129 },    { DROP_FIREWALL, 129 },
		{ DROP_L2_UNKNOWN, 131 }, { DROP_CHAIN_CLOSED, 132 }, { DROP_MTU, 133 },
		{ DROP_MALFORMED, 136 },  { DROP_METER, 138 },	      { DROP_STORM, 138 },
		{ DROP_SPOOF_IPV4, 140 }, { DROP_SPOOF_ND, 140 },     { DROP_SOURCE_GUARD, 140 },
		{ DROP_NO_OUTPUT, 142 },  { DROP_CT_INVALID, 128 },   { DROP_HALF_OPEN, 128 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(dp_drop_forwarding(rows[i].reason), rows[i].status);
}

/* Also of a release that knows more of them. */
static void test_every_drop_is_told_as_one(void **state)
{
	(void)state;
	for (size_t reason = 0; reason < DROP_N + 2; reason++)
		assert_in_range(dp_drop_forwarding(reason), 128, 143);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_reason_of_a_drop_is_the_registrys),
		cmocka_unit_test(test_every_drop_is_told_as_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
