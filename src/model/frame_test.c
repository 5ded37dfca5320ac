/* SPDX-License-Identifier: Apache-2.0 */
#include "model/frame.h"

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

static struct frame_spec spec(const char *src, const char *dst, uint8_t proto)
{
	return (struct frame_spec){
		.src_mac = { { 2, 0, 0, 0, 0, 1 } },
		.dst_mac = { { 2, 0, 0, 0, 0, 2 } },
		.src = ip(src),
		.dst = ip(dst),
		.proto = { proto },
		.sport = 1000,
		.dport = 80,
	};
}

static void assert_frame(const struct frame_spec *f, const char *want_hex)
{
	uint8_t frame[FRAME_SIZE_MAX];
	char hex[2 * FRAME_SIZE_MAX + 1];
	struct err e;
	int size = frame_build(f, frame, &e);

	assert_true(size > 0);
	hex_of(frame, (size_t)size, hex);
	assert_string_equal(hex, want_hex);
}

/* The expected bytes were made with scapy 2.5: Ether()/IP(id=1, flags="DF")/TCP(seq=1, window=65535) and so on. */
static void test_tcp(void **state)
{
	struct frame_spec f = spec("10.0.0.1", "10.0.0.2", 6);

	f.tcp_flags = 2;
	assert_frame(&f, "02000000000202000000000108004500002800014000400626cd0a0000010a00000203e8005000000001000000005002ffff97a70000");
}

static void test_udp(void **state)
{
	struct frame_spec f = spec("10.0.0.1", "10.0.0.2", 17),
			  f6 = spec("2001:db8::1", "2001:db8::2", 17);

	f.payload_size = 3; /* an odd size pads the sum, not the packet */
	assert_frame(&f, "02000000000202000000000108004500001f00014000401126cb0a0000010a00000203e80050000be79d000000");
	assert_frame(&f6,
		     "02000000000202000000000186dd600000000008114020010db800000000000000000000000120010db800000000000000000000000203e800500008a031");
}

static void test_icmp(void **state)
{
	struct frame_spec f = spec("10.0.0.1", "10.0.0.2", 1),
			  f6 = spec("2001:db8::1", "2001:db8::2", 58);

	assert_frame(&f, "02000000000202000000000108004500001c00014000400126de0a0000010a0000020800f7fd00010001");
	assert_frame(&f6,
		     "02000000000202000000000186dd6000000000083a4020010db800000000000000000000000120010db80000000000000000000000028000244600010001");
}

/* IP(tos=46<<2)/ICMP(type=3, code=4, id=1, seq=1); IPv6(tc=46<<2)/IPv6ExtHdrHopByHop(options=[PadN(optdata=4*b"\0")])/... */
static void test_type_and_dscp(void **state)
{
	struct frame_spec f = spec("10.0.0.1", "10.0.0.2", 1),
			  f6 = spec("2001:db8::1", "2001:db8::2", 58);

	f.has_icmp = f6.has_icmp = true;
	f.dscp = f6.dscp = 46;
	assert_frame(&f, "020000000002020000000001080045b8001c0001400040012626"
			 "0a0000010a0000020000fffd00010001"); /* echo reply: type 0 is one, too */
	f6.icmp_type = 129;
	f6.icmp_code = 3;
	assert_frame(&f6, "02000000000202000000000186dd6b80000000083a40"
			  "20010db800000000000000000000000120010db8000000000000000000000002"
			  "8103234300010001");
}

static void test_extensions(void **state)
{
	struct frame_spec f = spec("2001:db8::1", "2001:db8::2", 17);
	uint8_t frame[FRAME_SIZE_MAX];
	struct err e;

	assert_int_equal(frame_extensions(STR("hopopt, ipv6-opts,43,ipv6-frag"), &f), 0);
	assert_int_equal(f.n_ext, 4);
	assert_frame(&f, "02000000000202000000000186dd6000000000280040"
			 "20010db800000000000000000000000120010db8000000000000000000000002"
			 "3c00010400000000"
			 "2b00010400000000"
			 "2c00fd0000000000"
			 "1100000000000001"
			 "03e800500008a031");
	f.payload_size = 32;
	f.proto.num = 6;
	assert_int_equal(frame_build(&f, frame, &e), 14 + 40 + 32 + 20 + 32);
	assert_int_equal(frame_extensions(STR("hopopt,tcp"), &f), -EINVAL);
	assert_int_equal(frame_extensions(STR(""), &f), -EINVAL);
	assert_int_equal(frame_extensions(STR("43,,44"), &f), -EINVAL);
	assert_int_equal(frame_extensions(STR("43,43,43,43,43"), &f), -EINVAL);
	assert_int_equal(f.n_ext, 4);
	f.src = ip("10.0.0.1");
	f.dst = ip("10.0.0.2");
	assert_int_equal(frame_build(&f, frame, &e), -EINVAL);
	assert_string_equal(e.field, "ipv6_extensions");
}

static void test_arp(void **state)
{
	struct frame_spec f = spec("10.0.0.1", "10.0.0.2", 0);

	f.arp = true;
	assert_frame(&f, "0200000000020200000000010806"
			 "0001080006040001"
			 "0200000000010a000001"
			 "0000000000000a000002");
}

static void test_bad(void **state)
{
	struct frame_spec f = spec("10.0.0.1", "2001:db8::2", 17);
	uint8_t frame[FRAME_SIZE_MAX];
	struct err e;

	assert_int_equal(frame_build(&f, frame, &e), -EINVAL);
	f = spec("2001:db8::1", "2001:db8::2", 17);
	f.arp = true;
	assert_int_equal(frame_build(&f, frame, &e), -EINVAL);
	assert_string_equal(e.field, "protocol");
}

static void test_flags(void **state)
{
	uint8_t flags;

	assert_int_equal(frame_tcp_flags(STR("SA"), &flags), 0);
	assert_int_equal(flags, 18);
	assert_int_equal(frame_tcp_flags(STR("syn, ACK"), &flags), 0);
	assert_int_equal(flags, 18);
	assert_int_equal(frame_tcp_flags(STR("0x3f"), &flags), 0);
	assert_int_equal(flags, 63);
	assert_int_equal(frame_tcp_flags(STR("SX"), &flags), -EINVAL);
	assert_int_equal(frame_tcp_flags(STR(""), &flags), -EINVAL);
	assert_int_equal(frame_tcp_flags(STR("S,,A"), &flags), -EINVAL);
}

static void test_proto(void **state)
{
	l4_proto p;

	assert_int_equal(l4_proto_parse(STR("TCP"), &p), 0);
	assert_int_equal(p.num, 6);
	assert_int_equal(l4_proto_parse(STR("icmpv6"), &p), 0);
	assert_int_equal(p.num, 58);
	assert_string_equal(l4_proto_name(p), "ipv6-icmp");
	assert_int_equal(l4_proto_parse(STR("255"), &p), 0);
	assert_int_equal(l4_proto_parse(STR("256"), &p), -EINVAL);
	assert_int_equal(l4_proto_parse(STR("-1"), &p), -EINVAL);
	assert_int_equal(l4_proto_parse(STR("foo"), &p), -EINVAL);
	assert_null(l4_proto_name((l4_proto){ 254 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp),	   cmocka_unit_test(test_udp),
		cmocka_unit_test(test_icmp),	   cmocka_unit_test(test_type_and_dscp),
		cmocka_unit_test(test_extensions), cmocka_unit_test(test_arp),
		cmocka_unit_test(test_bad),	   cmocka_unit_test(test_flags),
		cmocka_unit_test(test_proto),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
