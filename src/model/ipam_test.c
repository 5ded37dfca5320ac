/* SPDX-License-Identifier: Apache-2.0 */
#include "model/ipam.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct ip_addr ip(const char *s)
{
	struct ip_addr a;

	assert_int_equal(ip_parse(str_of(s), &a), 0);
	return a;
}

static struct ip_cidr net(const char *s)
{
	struct ip_cidr c;

	assert_int_equal(cidr_parse(str_of(s), &c), 0);
	return c;
}

static struct ip_pool pool(const char *first, const char *last)
{
	return (struct ip_pool){ ip(first), ip(last) };
}

static void assert_ip(struct ip_addr a, const char *want)
{
	char buf[IP_STR_SIZE];

	assert_string_equal(ip_format(a, buf), want);
}

static const struct ip_addr none;

static void test_canonical(void **state)
{
	assert_true(ipam_is_canonical(net("10.0.0.0/24")));
	assert_false(ipam_is_canonical(net("10.0.0.5/24")));
	assert_true(ipam_is_canonical(net("2001:db8::/64")));
	assert_false(ipam_is_canonical(net("2001:db8::1/64")));
}

static void test_hosts(void **state)
{
	static const struct {
		const char *cidr, *first, *last;
	} rows[] = {
		{ "10.0.0.0/24", "10.0.0.1", "10.0.0.254" },
		{ "10.0.0.4/30", "10.0.0.5", "10.0.0.6" },
		{ "10.0.0.4/31", "10.0.0.4", "10.0.0.5" },
		{ "10.0.0.4/32", "10.0.0.4", "10.0.0.4" },
		{ "2001:db8::/64", "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff" },
		{ "2001:db8::2/127", "2001:db8::2", "2001:db8::3" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct ip_addr first, last;

		ipam_hosts(net(rows[i].cidr), &first, &last);
		assert_ip(first, rows[i].first);
		assert_ip(last, rows[i].last);
	}
}

static void test_default_pools(void **state)
{
	struct ip_pool p[2];

	assert_int_equal(ipam_default_pools(net("10.0.0.0/24"), ip("10.0.0.1"), p), 1);
	assert_ip(p[0].first, "10.0.0.2");
	assert_ip(p[0].last, "10.0.0.254");
	assert_int_equal(ipam_default_pools(net("10.0.0.0/24"), ip("10.0.0.254"), p), 1);
	assert_ip(p[0].last, "10.0.0.253");
	assert_int_equal(ipam_default_pools(net("10.0.0.0/24"), ip("10.0.0.100"), p), 2);
	assert_ip(p[0].last, "10.0.0.99");
	assert_ip(p[1].first, "10.0.0.101");
	assert_int_equal(ipam_default_pools(net("10.0.0.0/24"), none, p), 1);
	assert_ip(p[0].first, "10.0.0.1");
	assert_int_equal(ipam_default_pools(net("10.0.0.4/32"), ip("10.0.0.4"), p), 0);
}

static void test_check_pools(void **state)
{
	const struct ip_cidr c = net("10.0.0.0/24");
	const struct ip_addr gw = ip("10.0.0.1");
	size_t i, k;
	struct ip_pool p[2] = { pool("10.0.0.10", "10.0.0.20"), pool("10.0.0.21", "10.0.0.30") };

	assert_int_equal(ipam_check_pools(c, gw, p, 2, &i, &k), IPAM_POOL_OK);
	p[1] = pool("10.0.0.20", "10.0.0.30");
	assert_int_equal(ipam_check_pools(c, gw, p, 2, &i, &k), IPAM_POOL_OVERLAPS);
	assert_int_equal(i, 1);
	assert_int_equal(k, 0);
	p[1] = pool("10.0.0.30", "10.0.0.29");
	assert_int_equal(ipam_check_pools(c, gw, p, 2, &i, &k), IPAM_POOL_INVALID);
	p[1] = pool("::1", "::2");
	assert_int_equal(ipam_check_pools(c, gw, p, 2, &i, &k), IPAM_POOL_INVALID);
	p[1] = pool("10.0.0.30", "10.0.0.255");
	assert_int_equal(ipam_check_pools(c, gw, p, 2, &i, &k), IPAM_POOL_OUTSIDE);
	p[0] = pool("10.0.0.1", "10.0.0.9");
	assert_int_equal(ipam_check_pools(c, gw, p, 1, &i, &k), IPAM_POOL_HAS_GATEWAY);
	assert_int_equal(ipam_check_pools(c, none, p, 1, &i, &k), IPAM_POOL_OK);
}

static void test_next(void **state)
{
	const struct ip_pool p[] = { pool("10.0.0.20", "10.0.0.21"), pool("10.0.0.10", "10.0.0.11") };
	struct ip_addr a = none, from = none;
	static const char *const want[] = { "10.0.0.10", "10.0.0.11", "10.0.0.20", "10.0.0.21" };

	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		assert_true(ipam_next(p, 2, from, &a));
		assert_ip(a, want[i]);
		assert_true(ipam_after(a, &from));
	}
	assert_false(ipam_next(p, 2, from, &a));
	assert_false(ipam_after(ip("255.255.255.255"), &a));
	assert_true(ipam_in_pools(p, 2, ip("10.0.0.21")));
	assert_false(ipam_in_pools(p, 2, ip("10.0.0.12")));
}

static void test_size(void **state)
{
	const struct ip_pool v4[] = { pool("10.0.0.20", "10.0.0.21"), pool("10.0.0.10", "10.0.0.10") };
	const struct ip_pool v6[] = { pool("::1", "1::"), pool("2::1", "2::1") };

	assert_int_equal(ipam_size(v4, 2), 3);
	assert_true(ipam_size(v6, 2) == UINT64_MAX);
}

static void test_key(void **state)
{
	char a[IPAM_KEY_SIZE], b[IPAM_KEY_SIZE];
	struct ip_addr back;

	assert_true(strcmp(ipam_key(ip("10.0.0.9"), a), ipam_key(ip("10.0.0.10"), b)) < 0);
	assert_int_equal(ipam_of_key(str_of(b), IP_V4, &back), 0);
	assert_ip(back, "10.0.0.10");
	assert_int_equal(ipam_of_key(STR("xx"), IP_V4, &back), -EINVAL);
}

static void test_eui64(void **state)
{
	struct mac m = { { 0xfa, 0x16, 0x3e, 1, 2, 3 } };

	assert_ip(ipam_eui64(net("2001:db8::/64"), m), "2001:db8::f816:3eff:fe01:203");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_canonical),     cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_default_pools), cmocka_unit_test(test_check_pools),
		cmocka_unit_test(test_next),	      cmocka_unit_test(test_size),
		cmocka_unit_test(test_key),	      cmocka_unit_test(test_eui64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
