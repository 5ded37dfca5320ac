/* SPDX-License-Identifier: Apache-2.0 */
#include "base/types.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

static struct ip_addr ip(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_parse(str_of(text), &a), 0);
	return a;
}

static struct ip_cidr cidr(const char *text)
{
	struct ip_cidr c;

	assert_int_equal(cidr_parse(str_of(text), &c), 0);
	return c;
}

static void test_byte_order(void **state)
{
	be16 a = be16_of(0x0800);
	be32 b = be32_of(0x0a000001);

	assert_memory_equal(&a, "\x08\x00", 2);
	assert_memory_equal(&b, "\x0a\x00\x00\x01", 4);
	assert_int_equal(be16_host(a), 0x0800);
	assert_int_equal(be32_host(b), 0x0a000001);
}

static void test_mac_round_trip(void **state)
{
	char text[MAC_STR_SIZE];
	struct mac m;

	assert_int_equal(mac_parse(STR("FA:16:3e:00:aB:ff"), &m), 0);
	assert_string_equal(mac_format(m, text), "fa:16:3e:00:ab:ff");
	assert_int_equal(mac_parse(STR("fa-16-3e-00-ab-ff"), &m), 0);
	assert_string_equal(mac_format(m, text), "fa:16:3e:00:ab:ff");
	assert_false(mac_is_multicast(m));
	assert_true(mac_is_multicast((struct mac){ { 0x01, 0, 0x5e } }));
	assert_true(mac_is_zero((struct mac){ 0 }));
	assert_false(mac_is_zero(m));
	assert_true(mac_eq(m, m));
	assert_false(mac_eq(m, (struct mac){ 0 }));
}

static void test_mac_rejects(void **state)
{
	static const char *const bad[] = {
		"",
		"fa:16:3e:00:ab",
		"fa:16:3e:00:ab:f",
		"fa:16:3e:00:ab:ff:",
		"fa:16:3e-00:ab:ff",
		"fa163e00abff",
		"fa.16.3e.00.ab.ff",
		"ga:16:3e:00:ab:ff",
		" fa:16:3e:00:ab:f",
		"fa16:3e00:abff00x",
		":::::::::::::::::",
	};
	struct mac m = { { 1, 2, 3, 4, 5, 6 } }, before = m;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(mac_parse(str_of(bad[i]), &m), -EINVAL);
	assert_true(mac_eq(m, before));
}

static void test_uuid_round_trip(void **state)
{
	char text[UUID_STR_SIZE], hex[UUID_HEX_SIZE];
	struct uuid u, v;

	assert_int_equal(uuid_parse(STR("F81D4FAE-7dec-11d0-a765-00a0c91e6bf6"), &u), 0);
	assert_string_equal(uuid_format(u, text), "f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
	assert_string_equal(uuid_format_hex(u, hex), "f81d4fae7dec11d0a76500a0c91e6bf6");
	assert_int_equal(uuid_parse(str_of(hex), &v), 0);
	assert_true(uuid_eq(u, v));
}

static void test_uuid_rejects(void **state)
{
	static const char *const bad[] = {
		"",
		"f81d4fae-7dec-11d0-a765-00a0c91e6bf",
		"f81d4fae-7dec-11d0-a765-00a0c91e6bf6a",
		"{81d4fae-7dec-11d0-a765-00a0c91e6bf}",
		"f81d4fae7-dec-11d0-a765-00a0c91e6bf6",
		"f81d4fae-7dec-11d0-a765-00a0c91e6bg6",
		"f81d4fae-7dec-11d0-a765-00a0c91e6b-6",
		"f81d4fae7dec11d0a76500a0c91e6bfg",
		"f81d4fae7dec11d0a76500a0c91e6b",
		"------------------------------------",
	};
	struct uuid u = { { 9 } };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(uuid_parse(str_of(bad[i]), &u), -EINVAL);
	assert_int_equal(u.b[0], 9);
}

static void test_uuid_random(void **state)
{
	struct uuid a = uuid_random(), b = uuid_random();

	assert_false(uuid_eq(a, b));
	assert_int_equal(a.b[6] >> 4, 4);
	assert_int_equal(a.b[8] >> 6, 2);
}

static void test_random_bytes_fill_all(void **state)
{
	unsigned char p[1000] = { 0 };
	size_t n_zero = 0;

	random_bytes(p, sizeof(p));
	for (size_t i = 0; i < sizeof(p); i++)
		n_zero += p[i] == 0;
	assert_true(n_zero < 100); /* 4 expected; 100 has odds below 1e-90 */
	random_bytes(p, 0);
}

/* RFC 5952 section 4 and 5, each with the text it must become. */
static void test_ip_canonical_text(void **state)
{
	static const char *const rows[][2] = {
		{ "0.0.0.0", "0.0.0.0" },
		{ "255.255.255.255", "255.255.255.255" },
		{ "10.1.2.3", "10.1.2.3" },
		{ "::", "::" },
		{ "::1", "::1" },
		{ "1::", "1::" },
		{ "2001:0db8::0001", "2001:db8::1" },
		{ "2001:db8:0:0:0:0:2:1", "2001:db8::2:1" },
		{ "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1" },
		{ "2001:0:0:1:0:0:0:1", "2001:0:0:1::1" },
		{ "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1" },
		{ "2001:DB8::AAAA", "2001:db8::aaaa" },
		{ "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8" },
		{ "1:2:3:4:5:6:0:0", "1:2:3:4:5:6::" },
		{ "0:0:3:4:5:6:7:8", "::3:4:5:6:7:8" },
		{ "0:2:3:4:5:6:7:0", "0:2:3:4:5:6:7:0" },
		{ "::ffff:192.0.2.1", "::ffff:192.0.2.1" },
		{ "::ffff:c000:201", "::ffff:192.0.2.1" },
		{ "::192.0.2.1", "::c000:201" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	};
	char text[IP_STR_SIZE];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_string_equal(ip_format(ip(rows[i][0]), text), rows[i][1]);
		assert_true(ip_eq(ip(text), ip(rows[i][0])));
	}
	assert_string_equal(ip_format((struct ip_addr){ 0 }, text), "");
}

static void test_ip_rejects(void **state)
{
	static const char *const bad[] = {
		"",
		"1",
		"1.2.3",
		"1.2.3.4.5",
		"256.1.1.1",
		"1.2.3.04",
		"01.2.3.4",
		"1.2.3.4 ",
		" 1.2.3.4",
		"0x1.2.3.4",
		"1.2.3.-4",
		"1..2.3",
		":",
		":::",
		"1::2::3",
		"1:2:3:4:5:6:7",
		"12345::",
		"g::",
		"fe80::1%1",
		"fe80::1%lo",
		"[::1]",
		"::1/64",
		"1:2:3:4:5:6:7:8:9",
		"::1.2.3",
		"::1.2.3.256",
		"1:2:3:4:5:6:7::8:9",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc",
	};
	struct ip_addr a = { .family = 77 };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(ip_parse(str_of(bad[i]), &a), -EINVAL);
	assert_int_equal(ip_parse((struct str){ "1.2.3.4\0x", 9 }, &a), -EINVAL);
	assert_int_equal(ip_parse((struct str){ NULL, 0 }, &a), -EINVAL);
	assert_int_equal(a.family, 77);
}

static void test_ip_order(void **state)
{
	assert_true(ip_cmp(ip("10.0.0.2"), ip("10.0.0.10")) < 0);
	assert_true(ip_cmp(ip("255.0.0.0"), ip("::")) < 0);
	assert_true(ip_cmp(ip("::1"), ip("255.0.0.0")) > 0);
	assert_int_equal(ip_cmp(ip("fe80::1"), ip("FE80:0::1")), 0);
	assert_false(ip_eq(ip("0.0.0.0"), ip("::")));
	assert_int_equal(ip_max_prefix(&(struct ip_addr){ .family = IP_V4 }), 32);
	assert_int_equal(ip_max_prefix(&(struct ip_addr){ .family = IP_V6 }), 128);
}

/* Bytes past an IPv4 address are not part of it, whatever a caller left there. */
static void test_ipv4_ignores_the_tail(void **state)
{
	struct ip_addr a = ip("10.0.0.1"), b = a;

	b.b[15] = 1;
	assert_true(ip_eq(a, b));
	assert_true(cidr_contains((struct ip_cidr){ a, 32 }, b));
}

static void test_cidr_text(void **state)
{
	char text[CIDR_STR_SIZE];

	assert_string_equal(cidr_format(cidr("10.0.0.5/24"), text), "10.0.0.5/24");
	assert_string_equal(cidr_format(cidr("0.0.0.0/0"), text), "0.0.0.0/0");
	assert_string_equal(cidr_format(cidr("FD00:0::/8"), text), "fd00::/8");
	assert_string_equal(cidr_format(cidr("1111:2222:3333:4444:5555:6666:7777:8888/128"), text),
			    "1111:2222:3333:4444:5555:6666:7777:8888/128");
}

static void test_cidr_rejects(void **state)
{
	static const char *const bad[] = {
		"",
		"10.0.0.0",
		"10.0.0.0/",
		"10.0.0.0/33",
		"10.0.0.0/024",
		"10.0.0.0/-1",
		"10.0.0.0/ 8",
		"10.0.0.0/8/8",
		"/8",
		"::/129",
		"::/08",
		"10.0.0.0/255.0.0.0",
		"10.0.0/8",
		"::/18446744073709551616",
	};
	struct ip_cidr c = { .prefix_len = 99 };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(cidr_parse(str_of(bad[i]), &c), -EINVAL);
	assert_int_equal(c.prefix_len, 99);
}

static void test_cidr_bounds(void **state)
{
	static const char *const rows[][3] = {
		{ "10.1.2.3/8", "10.0.0.0", "10.255.255.255" },
		{ "10.1.2.3/32", "10.1.2.3", "10.1.2.3" },
		{ "10.1.2.3/31", "10.1.2.2", "10.1.2.3" },
		{ "10.1.2.3/0", "0.0.0.0", "255.255.255.255" },
		{ "10.1.130.3/17", "10.1.128.0", "10.1.255.255" },
		{ "2001:db8::1/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff" },
		{ "2001:db8::1/128", "2001:db8::1", "2001:db8::1" },
		{ "fe80::1/10", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "::1/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	};
	char text[IP_STR_SIZE];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_string_equal(ip_format(cidr_network(cidr(rows[i][0])), text), rows[i][1]);
		assert_string_equal(ip_format(cidr_last(cidr(rows[i][0])), text), rows[i][2]);
	}
}

static void test_cidr_contains(void **state)
{
	assert_true(cidr_contains(cidr("10.0.0.5/24"), ip("10.0.0.255")));
	assert_false(cidr_contains(cidr("10.0.0.5/24"), ip("10.0.1.0")));
	assert_true(cidr_contains(cidr("0.0.0.0/0"), ip("1.2.3.4")));
	assert_false(cidr_contains(cidr("0.0.0.0/0"), ip("::")));
	assert_false(cidr_contains(cidr("::/0"), ip("1.2.3.4")));
	assert_true(cidr_contains(cidr("2001:db8::/33"), ip("2001:db8:7fff::1")));
	assert_false(cidr_contains(cidr("2001:db8::/33"), ip("2001:db8:8000::1")));
}

static void test_cidr_overlaps(void **state)
{
	assert_true(cidr_overlaps(cidr("10.0.0.0/8"), cidr("10.9.0.0/16")));
	assert_true(cidr_overlaps(cidr("10.9.0.0/16"), cidr("10.0.0.0/8")));
	assert_true(cidr_overlaps(cidr("10.0.0.0/24"), cidr("10.0.0.0/24")));
	assert_false(cidr_overlaps(cidr("10.0.0.0/24"), cidr("10.0.1.0/24")));
	assert_false(cidr_overlaps(cidr("0.0.0.0/0"), cidr("::/0")));
}

static void test_ip_add(void **state)
{
	struct ip_addr a = ip("10.0.0.250");
	char text[IP_STR_SIZE];

	assert_true(ip_add(&a, 10));
	assert_string_equal(ip_format(a, text), "10.0.1.4");
	assert_true(ip_add(&a, 0));
	a = ip("255.255.255.254");
	assert_true(ip_add(&a, 1));
	assert_false(ip_add(&a, 1));
	assert_string_equal(ip_format(a, text), "255.255.255.255");
	a = ip("0.0.0.0");
	assert_false(ip_add(&a, 1ULL << 32));
	assert_true(ip_add(&a, UINT32_MAX));
	assert_string_equal(ip_format(a, text), "255.255.255.255");
}

static void test_ip_add_v6(void **state)
{
	struct ip_addr a = ip("2001:db8::ffff:ffff:ffff:ffff");
	char text[IP_STR_SIZE];

	assert_true(ip_add(&a, 1));
	assert_string_equal(ip_format(a, text), "2001:db8:0:1::");
	assert_true(ip_add(&a, UINT64_MAX));
	assert_string_equal(ip_format(a, text), "2001:db8:0:1:ffff:ffff:ffff:ffff");
	a = ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	assert_false(ip_add(&a, UINT64_MAX));
	assert_false(ip_add(&a, 1));
	assert_true(ip_eq(a, ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")));
	a = (struct ip_addr){ 0 };
	assert_false(ip_add(&a, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_byte_order),
		cmocka_unit_test(test_mac_round_trip),
		cmocka_unit_test(test_mac_rejects),
		cmocka_unit_test(test_uuid_round_trip),
		cmocka_unit_test(test_uuid_rejects),
		cmocka_unit_test(test_uuid_random),
		cmocka_unit_test(test_random_bytes_fill_all),
		cmocka_unit_test(test_ip_canonical_text),
		cmocka_unit_test(test_ip_rejects),
		cmocka_unit_test(test_ip_order),
		cmocka_unit_test(test_ipv4_ignores_the_tail),
		cmocka_unit_test(test_cidr_text),
		cmocka_unit_test(test_cidr_rejects),
		cmocka_unit_test(test_cidr_bounds),
		cmocka_unit_test(test_cidr_contains),
		cmocka_unit_test(test_cidr_overlaps),
		cmocka_unit_test(test_ip_add),
		cmocka_unit_test(test_ip_add_v6),
	};

	return cmocka_run_group_tests_name("base-types", tests, NULL, NULL);
}
