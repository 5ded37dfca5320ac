/* SPDX-License-Identifier: Apache-2.0 */
#include "node/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

static char folder[64];

static int setup(void **state)
{
	struct local *l = NULL;
	struct err e;

	(void)snprintf(folder, sizeof(folder), "/tmp/demarc-policy-test-XXXXXX");
	if (!mkdtemp(folder) || local_open(folder, &l, &e) < 0)
		return -1;
	*state = l;
	return 0;
}

static int teardown(void **state)
{
	struct err e;

	local_close(*state);
	return tree_remove(folder, &e);
}

static void rows_are_addresses(void **state)
{
	uint8_t v4[] = { 10, 0, 0, 0, 8, 192, 0, 2, 1, 32 }, v6[34] = { 0xfd, [16] = 8, [33] = 0 };
	struct ip_cidr out[2];
	char text[CIDR_STR_SIZE];

	(void)state;
	assert_int_equal(policy_cidrs((ProtobufCBinaryData){ sizeof(v4), v4 }, IP_V4, out), 2);
	assert_string_equal(cidr_format(out[0], text), "10.0.0.0/8");
	assert_string_equal(cidr_format(out[1], text), "192.0.2.1/32");
	assert_int_equal(policy_cidrs((ProtobufCBinaryData){ sizeof(v6), v6 }, IP_V6, out), 2);
	assert_string_equal(cidr_format(out[0], text), "fd00::/8");
	assert_string_equal(cidr_format(out[1], text), "::/0");
	assert_int_equal(policy_cidrs((ProtobufCBinaryData){ 0, NULL }, IP_V4, out), 0);
}

static void a_rule_keeps_all_it_says(void **state)
{
	char peers[] = "aaaaaaaa-0000-4000-8000-000000000001";
	uint8_t id[16] = { 10, 11, 12, 13 }, dst[] = { 192, 0, 2, 9, 31 };
	Demarc__V1__AclRule r = DEMARC__V1__ACL_RULE__INIT;
	struct dp_acl_rule d;
	char text[CIDR_STR_SIZE];

	r.id = (ProtobufCBinaryData){ sizeof(id), id };
	r.action = DEMARC__V1__ACL_ACTION__ACL_ALLOW;
	r.family = IP_V4;
	r.protocol = 6;
	r.source_group_id = peers;
	r.destination = (ProtobufCBinaryData){ sizeof(dst), dst };
	r.has_destination_ports = true;
	r.destination_port_min = 80;
	r.destination_port_max = 65535;
	r.tcp_flags_mask = 0x12;
	r.tcp_flags = 0x02;
	r.has_dscp = true;
	r.dscp = 46;
	r.vlan = 4094;
	policy_rule(*state, &r, &d);
	assert_int_equal(d.id, 0x0a0b0c0d);
	assert_false(d.deny);
	assert_int_equal(d.family, IP_V4);
	assert_int_equal(d.proto, 6);
	assert_int_equal(d.src.addr.family, 0);
	assert_int_equal(d.src_group, local_number_find(*state, LOCAL_ADDRESS_GROUP, peers));
	assert_int_not_equal(d.src_group, 0);
	assert_string_equal(cidr_format(d.dst, text), "192.0.2.9/31");
	assert_int_equal(d.dst_group, 0);
	assert_false(d.has_sport);
	assert_true(d.has_dport);
	assert_int_equal(d.dport_min, 80);
	assert_int_equal(d.dport_max, 65535);
	assert_int_equal(d.tcp_flags_mask, 0x12);
	assert_int_equal(d.tcp_flags, 0x02);
	assert_true(d.has_dscp);
	assert_int_equal(d.dscp, 46);
	assert_int_equal(d.vlan.id, 4094);
	assert_false(d.has_icmp);
}

static void reject_and_what_is_new_deny(void **state)
{
	uint8_t id[16] = { 0 };
	Demarc__V1__AclRule r = DEMARC__V1__ACL_RULE__INIT;
	struct dp_acl_rule d;

	r.id = (ProtobufCBinaryData){ sizeof(id), id };
	r.protocol = 58;
	r.has_icmp_type = r.has_icmp_code = true;
	r.icmp_type = 128;
	policy_rule(*state, &r, &d);
	assert_int_equal(d.id, 1); /* 0 is no rule */
	assert_true(d.deny);
	assert_true(d.has_icmp);
	assert_true(d.has_icmp_code);
	assert_int_equal(d.icmp_type, 128);
	assert_int_equal(d.icmp_code, 0);
	assert_false(d.reject);
	r.action = DEMARC__V1__ACL_ACTION__ACL_REJECT;
	policy_rule(*state, &r, &d);
	assert_true(d.deny);
	assert_true(d.reject);
	r.action = (Demarc__V1__AclAction)77;
	policy_rule(*state, &r, &d);
	assert_true(d.deny);
	assert_false(d.reject);
}

static void a_number_is_the_start_of_the_id(void **state)
{
	(void)state;
	assert_int_equal(policy_rule_number("0a0b0c0d-0000-4000-8000-000000000001"), 0x0a0b0c0d);
	assert_int_equal(policy_rule_number("00000000-0000-4000-8000-000000000001"), 1);
	assert_int_equal(policy_rule_number(""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_addresses),
		cmocka_unit_test(a_number_is_the_start_of_the_id),
		cmocka_unit_test_setup_teardown(a_rule_keeps_all_it_says, setup, teardown),
		cmocka_unit_test_setup_teardown(reject_and_what_is_new_deny, setup, teardown),
	};

	return cmocka_run_group_tests_name("node-policy", tests, NULL, NULL);
}
