/* SPDX-License-Identifier: Apache-2.0 */

/* Control connections of a secured client with servers behind an uplink: what they announce passes, once, and nothing else. */

#include "lab.h"

#include <linux/pkt_cls.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 6, 0xa }, mac_w[6] = { 2, 0, 0, 0, 6, 0xf },
		     mac_u[6] = { 2, 0, 0, 0, 6, 0xe };
#define SG_A 61

static struct lab lab;
static struct tport a, u;
static bool v6;

static void helpers(uint16_t flags)
{
	lab_port(&lab, &a, 1, DP_PORT_SECURITY | flags, SG_A, "10.0.0.1/24", "fd00::1/64", NULL);
}

static int setup(void **state)
{
	/* Out: only to the control ports. In: nothing. */
	struct dp_sg_rule out[6];
	static const uint16_t port[3] = { 21, 69, 5060 };

	for (int i = 0; i < 6; i++)
		out[i] = (struct dp_sg_rule){ .egress = true,
					      .family = i & 1 ? IP_V6 : IP_V4,
					      .proto = i / 2 ? 17 : 6,
					      .has_ports = true,
					      .port_min = port[i / 2],
					      .port_max = port[i / 2] };
	lab_open(&lab);
	tport_make(&a, 69537, mac_a, -1, "eth0");
	tport_make(&u, 69538, mac_u, -1, "eth0");
	lab_uplink(&lab, &u, 1, 0);
	OK(dp_sg_set(lab.dp, SG_A, out, 6, NULL, 0, &lab_err));
	helpers(DP_PORT_HELP_FTP | DP_PORT_HELP_TFTP | DP_PORT_HELP_SIP);
	v6 = false;
	return 0;
}

static int teardown(void **state)
{
	link_del(69537);
	link_del(69538);
	tport_free(&a);
	tport_free(&u);
	lab_close(&lab);
	return 0;
}

/* A packet of the client, or of the server `who`, with `text` as payload. */
static int packet(bool out, uint8_t proto, int who, uint16_t sport, uint16_t dport, uint8_t flags,
		  const char *text, size_t size)
{
	static uint32_t seq = 1;
	char far[40];
	struct desc d = { .smac = out ? mac_a : mac_w,
			  .dmac = out ? mac_w : mac_a,
			  .proto = proto,
			  .sport = sport,
			  .dport = dport,
			  .flags = flags,
			  .tcp_seq = seq,
			  .payload = size };
	struct frame f;

	snprintf(far, sizeof(far), v6 ? "fd00::%d" : "10.0.0.%d", who);
	d.src = out ? (v6 ? "fd00::1" : "10.0.0.1") : far;
	d.dst = out ? far : (v6 ? "fd00::1" : "10.0.0.1");
	frame_build(&f, &d);
	memcpy(f.b + f.len - size, text, size);
	return lab_run(&lab, out ? a.host : u.host, &f, NULL);
}

static bool says(bool client, uint8_t proto, uint16_t cport, uint16_t port, const char *text)
{
	return packet(client, proto, 9, client ? cport : port, client ? port : cport, TCP_ACK, text,
		      strlen(text)) == TC_ACT_REDIRECT;
}

/* A new connection's first packet. */
static bool opens(bool client, uint8_t proto, int who, uint16_t sport, uint16_t dport)
{
	bool ok = packet(client, proto, who, sport, dport, TCP_SYN, "", 0) == TC_ACT_REDIRECT;

	if (!ok)
		assert_int_equal(lab_dropped(&lab, client ? DROP_SG_EGRESS : DROP_SG_INGRESS), 1);
	return ok;
}

/* Old enough to be picked up: the helper sees every message alone. */
static void control(uint16_t cport)
{
	assert_int_equal(packet(true, 6, 9, cport, 21, TCP_ACK, "NOOP\r\n", 6), TC_ACT_REDIRECT);
	assert_int_equal(packet(false, 6, 9, 21, cport, TCP_ACK, "200 ok\r\n", 8), TC_ACT_REDIRECT);
}

static void test_ftp_active(void **state)
{
	COVERS(V4 | V6, F_FTP);
	control(4000);
	assert_false(opens(false, 6, 9, 19, 5001)); /* a refusal is remembered for a second: from another port */
	assert_true(says(true, 6, 4000, 21, "PORT 10,0,0,1,19,137\r\n")); /* 5001 */
	assert_false(opens(false, 6, 8, 20, 5001));			  /* not the server */
	assert_false(opens(false, 6, 9, 20, 5002));
	assert_false(opens(false, 17, 9, 20, 5001));
	assert_true(opens(false, 6, 9, 20, 5001));
	assert_true(packet(true, 6, 9, 5001, 20, TCP_SYN | TCP_ACK, "", 0) == TC_ACT_REDIRECT);
	assert_false(opens(false, 6, 9, 21000, 5001)); /* once */
	/* The rules are read again: it is still the announced one. */
	OK(dp_sg_set(lab.dp, 77, NULL, 0, NULL, 0, &lab_err));
	assert_true(packet(false, 6, 9, 20, 5001, TCP_ACK, "", 0) == TC_ACT_REDIRECT);
	assert_true(packet(true, 6, 9, 5001, 20, TCP_ACK, "", 0) == TC_ACT_REDIRECT);
	/* Another's address: RFC 2577. */
	assert_true(says(true, 6, 4000, 21, "PORT 10,0,0,7,19,137\r\n"));
	assert_false(opens(false, 6, 9, 22, 5001));
	for (v6 = false;; v6 = true) {
		control(4001);
		assert_true(says(true, 6, 4001, 21,
				 v6 ? "eprt |2|fd00::1|6000|\r\n" : "EPRT |1|10.0.0.1|6000|\r\n"));
		assert_false(opens(false, 6, 9, 20, 6001));
		assert_true(opens(false, 6, 9, 20, 6000));
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

static void test_ftp_passive(void **state)
{
	COVERS(V4 | V6, F_FTP);
	control(4000);
	assert_true(says(false, 6, 4000, 21, "227 Entering Passive Mode (10,0,0,9,19,137).\r\n"));
	assert_false(opens(true, 6, 9, 7000, 5002));
	assert_true(opens(true, 6, 9, 7000, 5001));
	assert_true(says(false, 6, 4000, 21, "227 Entering Passive Mode (10,0,0,8,19,138).\r\n"));
	assert_false(opens(true, 6, 8, 7000, 5002));
	assert_false(opens(true, 6, 9, 7000, 5002));
	for (v6 = false;; v6 = true) {
		control(4001);
		assert_true(says(false, 6, 4001, 21,
				 "229 Entering Extended Passive Mode (|||6446|)\r\n"));
		assert_false(opens(true, 6, 9, 7000, 6447));
		assert_true(opens(true, 6, 9, 7000, 6446));
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

static void test_tftp(void **state)
{
	COVERS(V4 | V6, F_TFTP);
	for (v6 = false;; v6 = true) {
		assert_false(opens(false, 17, 9, 3332, 2000));
		assert_int_equal(packet(true, 17, 9, 2000, 69, 0, "\0\1file\0octet", 13),
				 TC_ACT_REDIRECT);
		assert_false(opens(false, 17, 8, 3333, 2000));
		assert_true(opens(false, 17, 9, 3333, 2000));
		assert_int_equal(packet(true, 17, 9, 2000, 3333, 0, "\0\4\0\1", 4), TC_ACT_REDIRECT);
		assert_int_equal(packet(true, 17, 9, 2001, 69, 0, "\0\4file\0octet", 13),
				 TC_ACT_REDIRECT); /* no request */
		assert_false(opens(false, 17, 9, 3333, 2001));
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

static const char invite[] = "INVITE sip:bob@example.org SIP/2.0\r\n"
			     "Via: SIP/2.0/UDP pc33.example.org;branch=z9hG4bK776asdhds\r\n"
			     "m: not media 5\r\n"
			     "Content-Type: application/sdp\r\n\r\n"
			     "v=0\r\no=alice 53655765 2353687637 IN IP4 10.0.0.1\r\ns=-\r\nt=0 0\r\n"
			     "m=audio 30000 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\n"
			     "m=video 0 RTP/AVP 31\r\nm=video 30002/2 RTP/AVP 31\r\n";

static void test_sip(void **state)
{
	COVERS(V4 | V6, F_SIP);
	for (v6 = false;; v6 = true) {
		assert_true(says(true, 17, 5060, 5060, invite));
		assert_false(opens(false, 17, 9, 8000, 29999));
		assert_false(opens(false, 17, 8, 8000, 30000));
		for (uint16_t port = 30000; port < 30004; port++)
			assert_true(opens(false, 17, 9, 8000, port));
		assert_false(opens(false, 17, 9, 8001, 30000));
		assert_false(opens(true, 17, 9, 30999, 40000));
		assert_true(says(false, 17, 5060, 5060,
				 "SIP/2.0 200 OK\r\n\r\nm=audio 40000 RTP/AVP 0\r\n"));
		assert_true(opens(true, 17, 9, 31000, 40000));
		assert_true(opens(true, 17, 9, 31001, 40001));
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

/* Without its helper a port is as closed as its rules say. */
static void test_off(void **state)
{
	COVERS(V4, F_FTP, F_TFTP, F_SIP);
	helpers(0);
	control(4000);
	assert_true(says(true, 6, 4000, 21, "PORT 10,0,0,1,19,137\r\n"));
	assert_false(opens(false, 6, 9, 20, 5001));
	assert_int_equal(packet(true, 17, 9, 2000, 69, 0, "\0\1file\0octet", 13), TC_ACT_REDIRECT);
	assert_false(opens(false, 17, 9, 3333, 2000));
	assert_true(says(true, 17, 5060, 5060, invite));
	assert_false(opens(false, 17, 9, 8000, 30000));
	assert_int_equal(lab_entries(&lab, "expects"), 0);
	assert_not_dropped(&lab);
}

/* What is not quite a command announces nothing. */
static void test_bad_messages(void **state)
{
	COVERS(V4, F_FTP);

	static const char *const client[] = {
		"PORT 10,0,0,1,19\r\n",	       "PORT 10,0,0,1,19,256\r\n",
		"PORT 10.0.0.1,19,137\r\n",    "PORT 10,0,0,1,,19,137\r\n",
		"PORT\r\n10,0,0,1,19,137\r\n", "EPRT |1|10.0.0.1|0|\r\n",
		"EPRT |1|10.0.0.1|70000|\r\n", "EPRT |1|10.0.0.1|5001",
		"227 (10,0,0,1,19,137)\r\n",   "PORT 10,0,0,1,19,999999999999\r\n"
	};

	control(4000);
	for (size_t i = 0; i < sizeof(client) / sizeof(client[0]); i++) {
		assert_true(says(true, 6, 4000, 21, client[i]));
		assert_int_equal(lab_entries(&lab, "expects"), 0);
	}
	assert_true(says(false, 6, 4000, 21, "PORT 10,0,0,9,19,137\r\n"));
	assert_true(says(false, 6, 4000, 21, "229 (||5001|)\r\n"));
	assert_int_equal(lab_entries(&lab, "expects"), 0);
	assert_not_dropped(&lab);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ftp_active, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ftp_passive, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tftp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_messages, setup, teardown),
	};

	return lab_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
