/* SPDX-License-Identifier: Apache-2.0 */
#include "model/sniff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "model/frame.h"

static struct ip_addr ip(const char *text)
{
	struct ip_addr a = { 0 };

	assert_int_equal(ip_parse(str_of(text), &a), 0);
	return a;
}

/* What the frame builder makes is read back; each shorter piece of it says less and nothing wrong. */
static void test_read_back_and_cut(void **state)
{
	static const struct {
		const char *src, *dst;
		uint8_t proto;
	} rows[] = { { "10.0.0.1", "10.0.0.2", 6 }, { "10.0.0.1", "10.0.0.2", 17 },
		     { "10.0.0.1", "10.0.0.2", 1 }, { "fd00::1", "fd00::2", 6 },
		     { "fd00::1", "fd00::2", 17 },  { "fd00::1", "fd00::2", 58 },
		     { "fd00::1", "fd00::2", 47 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct frame_spec f = { .src = ip(rows[i].src),
					.dst = ip(rows[i].dst),
					.proto = { rows[i].proto },
					.sport = 8,
					.dport = 3,
					.has_icmp = true,
					.icmp_type = 8,
					.icmp_code = 3,
					.tcp_flags = 0x12,
					.src_mac = { { 2, 3 } } };
		uint8_t b[FRAME_SIZE_MAX];
		bool icmp = rows[i].proto == 1 || rows[i].proto == 58;
		struct sniffed s;
		int size = frame_build(&f, b, NULL);

		assert_true(size > 0);
		sniff(b, (size_t)size, &s);
		assert_true(ip_eq(s.src, f.src) && ip_eq(s.dst, f.dst) && mac_eq(s.src_mac, f.src_mac));
		assert_int_equal(s.proto, rows[i].proto);
		assert_int_equal(s.has_icmp, icmp);
		assert_int_equal(s.has_ports, !icmp && rows[i].proto != 47);
		if (s.has_ports)
			assert_true(s.sport == 8 && s.dport == 3);
		if (icmp)
			assert_true(s.icmp_type == 8 && s.icmp_code == 3);
		assert_int_equal(s.tcp_flags, rows[i].proto == 6 ? 0x12 : 0);
		for (size_t cut = 0; cut < (size_t)size; cut++) {
			sniff(b, cut, &s);
			assert_true(!s.src.family || ip_eq(s.src, f.src));
			assert_true(!s.has_ports || s.dport == 3);
		}
	}
}

static void test_tags_fragments_arp(void **state)
{
	uint8_t tagged[60] = { [12] = 0x88, 0xa8, 0,	       7,	  0x81,	    0,	0, 9,
			       0x08,	    0,	  [22] = 0x45, [31] = 17, [42] = 0, 53, 0, 80 };
	uint8_t v6[100] = {
		[12] = 0x86, 0xdd, 0x60, [20] = 0, [54] = 44, 0, [62] = 17, [70] = 0, 53, 0, 80
	};
	uint8_t arp[42] = { [12] = 8, 6,	 0, 1, 8, 0,	     6, 4, 0,
			    1,	      [28] = 10, 0, 0, 1, [38] = 10, 0, 0, 2 };
	struct sniffed s;

	(void)state;
	sniff(tagged, sizeof(tagged), &s);
	assert_true(s.vlan == 7 && s.ethertype == 0x800 && s.has_ports && s.sport == 53 &&
		    s.dport == 80);
	tagged[29] = 1; /* fragment offset */
	sniff(tagged, sizeof(tagged), &s);
	assert_true(s.src.family == IP_V4 && !s.has_ports);
	sniff(v6, sizeof(v6), &s); /* hop-by-hop options, then the first fragment */
	assert_true(s.proto == 17 && s.has_ports && s.sport == 53 && s.dport == 80);
	v6[65] = 8; /* a later one */
	sniff(v6, sizeof(v6), &s);
	assert_true(s.proto == 17 && !s.has_ports);
	v6[55] = 255; /* options beyond the end */
	sniff(v6, sizeof(v6), &s);
	assert_false(s.has_ports);
	sniff(arp, sizeof(arp), &s);
	assert_true(s.ethertype == 0x806 && ip_eq(s.src, ip("10.0.0.1")) &&
		    ip_eq(s.dst, ip("10.0.0.2")));
}

static struct ip_cidr net(const char *text)
{
	struct ip_cidr c = { 0 };

	assert_int_equal(cidr_parse(str_of(text), &c), 0);
	return c;
}

static void test_filters(void **state)
{
	const struct sniffed tcp = { .src = ip("10.0.0.1"),
				     .dst = ip("10.0.1.2"),
				     .proto = 6,
				     .has_ports = true,
				     .sport = 4000,
				     .dport = 80 };
	const struct sniffed none = { .ethertype = 0x88cc };
	const struct {
		struct sniff_filter f;
		bool tcp, none;
	} rows[] = {
		{ { 0 }, true, true },
		{ { .family = IP_V4 }, true, false },
		{ { .family = IP_V6 }, false, false },
		{ { .proto = 6 }, true, false },
		{ { .proto = 17 }, false, false },
		{ { .port = 80 }, true, false },
		{ { .port = 4000 }, true, false },
		{ { .port = 81 }, false, false },
		{ { .addr = net("10.0.1.0/24") }, true, false },
		{ { .addr = net("10.0.0.1/32") }, true, false },
		{ { .addr = net("10.0.2.0/24") }, false, false },
		{ { .addr = net("fd00::/8") }, false, false },
		{ { .src = net("10.0.0.0/24") }, true, false },
		{ { .src = net("10.0.1.0/24") }, false, false },
		{ { .dst = net("10.0.1.0/24"), .port = 80, .proto = 6 }, true, false },
		{ { .dst = net("10.0.1.0/24"), .port = 81, .proto = 6 }, false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(sniff_matches(&rows[i].f, &tcp), rows[i].tcp);
		assert_int_equal(sniff_matches(&rows[i].f, &none), rows[i].none);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_read_back_and_cut),
					    cmocka_unit_test(test_tags_fragments_arp),
					    cmocka_unit_test(test_filters) };

	return cmocka_run_group_tests_name("model-sniff", tests, NULL, NULL);
}
