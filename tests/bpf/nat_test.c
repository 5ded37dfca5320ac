/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Address translation at the port to the outside: packets in, packets out, both families.
 *
 *	[ a ] 10.0.0.1, fd00::1	 --+
 *	[ b ] 10.0.0.2, fd00::2	 --+-- one network --[ u ] outside: w is 192.0.2.9, 2001:db8::9
 *				       u translates to 198.51.100.1, 2001:db8:1::1
 */

#include "lab.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "dp/observe.h"
#include "nat.h"

#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <string.h>

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 7, 0xa }, mac_b[6] = { 2, 0, 0, 0, 7, 0xb },
		     mac_u[6] = { 2, 0, 0, 0, 7, 0xe }, mac_w[6] = { 2, 0, 0, 0, 7, 0xf },
		     mac_e[6] = { 2, 0, 0, 0, 7, 0xd }; /* who answers for the address outside */
#define PORT_A 68537
#define PORT_B 68538
#define PORT_U 68539
#define SG_A 61
#define LIST 3

static struct lab lab;
static struct tport a, b, u;
static bool v6;
static uint16_t sport = 20000;

#define FAMILIES for (int family = 0; family < 2 && ((v6 = family == 1), true); family++)

enum who { A, B, W, E };

static const char *ip(enum who who)
{
	static const char *const text[][2] = { { "10.0.0.1", "fd00::1" },
					       { "10.0.0.2", "fd00::2" },
					       { "192.0.2.9", "2001:db8::9" },
					       { "198.51.100.1", "2001:db8:1::1" } };

	return text[who][v6];
}

static void uplink(uint16_t nat)
{
	struct dp_net n = { .net = 1, .mtu = 1500, .uplink = { PORT_U } };
	struct dp_port d = { .ifindex = { PORT_U }, .net = 1, .flags = DP_PORT_UPLINK, .nat = nat };

	OK(dp_net_set(lab.dp, &n, &lab_err));
	OK(dp_port_set(lab.dp, &d, &lab_err));
}

static struct frame frame(const uint8_t *smac, const uint8_t *dmac, const char *src,
			  const char *dst, struct desc d)
{
	struct frame f;

	d.smac = smac;
	d.dmac = dmac;
	d.src = src;
	d.dst = dst;
	frame_build(&f, &d);
	return f;
}

/* Who is behind the uplink. */
static void introduce(void)
{
	struct frame f;

	frame_arp(&f, mac_w, (const uint8_t[6]){ 255, 255, 255, 255, 255, 255 }, 1, mac_w,
		  "192.0.2.9", "192.0.2.77");
	(void)lab_run(&lab, PORT_U, &f, NULL);
}

static int setup(void **state)
{
	static const struct dp_sg_rule any[4] = { { .egress = true, .family = IP_V4 },
						  { .egress = true, .family = IP_V6 },
						  { .family = IP_V4, .proto = 6 },
						  { .family = IP_V6, .proto = 6 } };

	lab_open(&lab);
	tport_make(&a, PORT_A, mac_a, -1, "eth0");
	tport_make(&b, PORT_B, mac_b, -1, "eth0");
	tport_make(&u, PORT_U, mac_u, -1, "eth0");
	lab_port(&lab, &a, 1, DP_PORT_SECURITY, SG_A, "10.0.0.1/24", "fd00::1/64", NULL);
	lab_port(&lab, &b, 1, DP_PORT_SECURITY, SG_A, "10.0.0.2/24", "fd00::2/64", NULL);
	OK(dp_sg_set(lab.dp, SG_A, any, 4, NULL, 0, &lab_err));
	uplink(LIST);
	introduce();
	lab_no_drops(&lab);
	return 0;
}

static int teardown(void **state)
{
	link_del(PORT_A);
	link_del(PORT_B);
	link_del(PORT_U);
	tport_free(&a);
	tport_free(&b);
	tport_free(&u);
	lab_close(&lab);
	return 0;
}

/* ---- rules ---- */

static struct dp_nat_rule masquerade(bool of6)
{
	struct dp_nat_rule r = { .id = 7 };

	r.to = ip_of(of6 ? "2001:db8:1::1" : "198.51.100.1");
	r.src = cidr_of(of6 ? "fd00::/64" : "10.0.0.0/24");
	return r;
}

static void masquerade_all(void)
{
	struct dp_nat_rule r[2] = { masquerade(false), masquerade(true) };

	OK(dp_nat_set(lab.dp, LIST, r, 2, &lab_err));
}

/* ---- packets ---- */

/* Verdict of a frame that should pass; the frame as it leaves. */
static struct frame pass(int port, struct frame f)
{
	struct frame out;

	assert_int_equal(lab_run(&lab, port, &f, &out), TC_ACT_REDIRECT);
	return out;
}

static void assert_frame(struct frame got, struct frame want)
{
	if (got.len != want.len || memcmp(got.b, want.b, want.len)) {
		for (size_t i = 0; i < want.len; i++)
			if (got.b[i] != want.b[i])
				print_message("# byte %zu: %02x, not %02x\n", i, got.b[i], want.b[i]);
		fail_msg("%zu bytes, not as expected", got.len);
	}
}

static struct frame from_a(struct desc d)
{
	return frame(mac_a, mac_w, ip(A), ip(W), d);
}
static struct frame from_b(struct desc d)
{
	return frame(mac_b, mac_w, ip(B), ip(W), d);
}
static struct frame out_of_a(struct desc d)
{
	return frame(mac_a, mac_w, ip(E), ip(W), d);
}
static struct frame out_of_b(struct desc d)
{
	return frame(mac_b, mac_w, ip(E), ip(W), d);
}
static struct frame from_w(struct desc d)
{
	return frame(mac_w, mac_e, ip(W), ip(E), d);
}
static struct frame into_a(struct desc d)
{
	return frame(mac_w, mac_a, ip(W), ip(A), d);
}

#define D(proto_, ...) ((struct desc){ .proto = (proto_), __VA_ARGS__ })

static void test_udp_out(void **state)
{
	COVERS(V4 | V6, F_NAT);

	struct flow_rec r;
	struct frame f;

	masquerade_all();
	FAMILIES
	{
		sport++;
		for (int i = 0; i < 3; i++) {
			assert_frame(pass(PORT_A,
					  from_a(D(17, .sport = sport, .dport = 53, .payload = 20))),
				     out_of_a(D(17, .sport = sport, .dport = 53, .payload = 20)));
			assert_frame(pass(PORT_U,
					  from_w(D(17, .sport = 53, .dport = sport, .payload = 31))),
				     into_a(D(17, .sport = 53, .dport = sport, .payload = 31)));
		}
		f = from_a(D(17, .sport = sport, .dport = 53));
		assert_true(lab_record(&lab, PORT_A, &f, &r));
		assert_int_equal(r.pkts, 3);
		assert_int_equal(r.flags & FLOW_NAT, FLOW_NAT_SRC);
		assert_int_equal(r.state, CT_UDP_REPLIED);
		f = from_w(D(17, .sport = 53, .dport = sport));
		assert_true(lab_record(&lab, PORT_U, &f, &r));
		assert_int_equal(r.pkts, 3);
		assert_int_equal(r.flags & FLOW_NAT, FLOW_NAT_DST);
		/* Nobody else outside is let in by it. */
		f = frame(mac_w, mac_e, v6 ? "2001:db8::a" : "192.0.2.10", ip(E),
			  D(17, .sport = 53, .dport = sport));
		assert_int_equal(lab_run(&lab, PORT_U, &f, NULL), TC_ACT_SHOT);
		assert_dropped(&lab, L2_UNKNOWN);
	}
	lab_no_drops(&lab);
}

/* A datagram without a checksum stays without (RFC 768); one whose checksum becomes 0 gets 0xffff. */
static void test_udp_checksum(void **state)
{
	struct frame f, got;

	masquerade_all();
	v6 = false;
	f = from_a(D(17, .sport = 30000, .dport = 53, .payload = 20));
	f.b[40] = f.b[41] = 0;
	got = pass(PORT_A, f);
	assert_int_equal(got.b[40] | got.b[41], 0);
	f = from_a(D(17, .sport = 30001, .dport = 53, .payload = 20));
	got = pass(PORT_A, f);
	for (uint32_t i = 0; i < 70000; i++) { /* all values of the last 16 bits */
		f = from_a(D(17, .sport = 30001, .dport = 53, .payload = 20, .seq = i));
		if (!(f.b[40] | f.b[41])) /* frame_build() does not know that 0 is none */
			continue;
		got = pass(PORT_A, f);
		assert_true(got.b[40] | got.b[41]);
		if (i % 1000 == 0 || (got.b[40] == 0xff && got.b[41] == 0xff))
			assert_true(frame_sums_ok(&got));
	}
}

static void tcp_handshake(uint16_t port, uint16_t outside)
{
	assert_frame(pass(PORT_A, from_a(D(6, .sport = port, .dport = 80, .flags = TCP_SYN,
					   .tcp_seq = 100, .tcp_win = 1000))),
		     out_of_a(D(6, .sport = outside, .dport = 80, .flags = TCP_SYN, .tcp_seq = 100,
				.tcp_win = 1000)));
	assert_frame(pass(PORT_U, from_w(D(6, .sport = 80, .dport = outside, .flags = TCP_SYN | TCP_ACK,
					   .tcp_seq = 900, .tcp_ack = 101, .tcp_win = 1000))),
		     into_a(D(6, .sport = 80, .dport = port, .flags = TCP_SYN | TCP_ACK,
			      .tcp_seq = 900, .tcp_ack = 101, .tcp_win = 1000)));
	assert_frame(pass(PORT_A, from_a(D(6, .sport = port, .dport = 80, .flags = TCP_ACK,
					   .tcp_seq = 101, .tcp_ack = 901, .tcp_win = 1000))),
		     out_of_a(D(6, .sport = outside, .dport = 80, .flags = TCP_ACK, .tcp_seq = 101,
				.tcp_ack = 901, .tcp_win = 1000)));
}

/* States and windows are followed through the translation. */
static void test_tcp_out(void **state)
{
	COVERS(V4 | V6, F_NAT);

	struct flow_rec r;
	struct frame f;

	masquerade_all();
	FAMILIES
	{
		sport++;
		tcp_handshake(sport, sport);
		f = from_w(D(6, .sport = 80, .dport = sport));
		assert_true(lab_record(&lab, PORT_U, &f, &r));
		assert_int_equal(r.state, CT_ESTABLISHED);
		assert_true(r.rtt_us > 0);
		lab_no_drops(&lab);
		/* Beyond what the client has room for. */
		f = from_w(D(6, .sport = 80, .dport = sport, .flags = TCP_ACK, .tcp_seq = 9000,
			     .tcp_ack = 101, .tcp_win = 1000));
		assert_int_equal(lab_run(&lab, PORT_U, &f, NULL), TC_ACT_SHOT);
		assert_dropped(&lab, CT_INVALID);
		(void)pass(PORT_U, from_w(D(6, .sport = 80, .dport = sport, .flags = TCP_ACK | TCP_FIN,
					    .tcp_seq = 901, .tcp_ack = 101, .tcp_win = 1000)));
		(void)pass(PORT_A, from_a(D(6, .sport = sport, .dport = 80, .flags = TCP_ACK | TCP_FIN,
					    .tcp_seq = 101, .tcp_ack = 902, .tcp_win = 1000)));
		(void)pass(PORT_U, from_w(D(6, .sport = 80, .dport = sport, .flags = TCP_ACK,
					    .tcp_seq = 902, .tcp_ack = 102, .tcp_win = 1000)));
		f = from_a(D(6, .sport = sport, .dport = 80));
		assert_true(lab_record(&lab, PORT_A, &f, &r));
		assert_int_equal(r.state, CT_TIME_WAIT);
		tcp_handshake(sport, sport); /* again, the same tuple */
	}
	lab_no_drops(&lab);
}

static void test_echo(void **state)
{
	COVERS(V4 | V6, F_NAT);
	masquerade_all();
	FAMILIES
	{
		uint8_t proto = v6 ? 58 : 1, ask = v6 ? 128 : 8, answer = v6 ? 129 : 0;

		assert_frame(pass(PORT_A, from_a(D(proto, .type = ask, .sport = 77, .payload = 9))),
			     out_of_a(D(proto, .type = ask, .sport = 77, .payload = 9)));
		assert_frame(pass(PORT_U, from_w(D(proto, .type = answer, .sport = 77, .payload = 9))),
			     into_a(D(proto, .type = answer, .sport = 77, .payload = 9)));
	}
	lab_no_drops(&lab);
}

/* ---- ports ---- */

static uint16_t port_at(const struct frame *f, int at)
{
	const uint8_t *l4 = f->b + (v6 ? 54 : 34) + at;

	return (uint16_t)(l4[0] << 8 | l4[1]);
}

/* Two functions with the same source port: the second gets another one toward the same destination, its own toward others. */
static void test_collision(void **state)
{
	COVERS(V4 | V6, F_NAT);

	struct frame got;
	uint16_t port;

	masquerade_all();
	FAMILIES
	{
		uint8_t echo = v6 ? 58 : 1, ask = v6 ? 128 : 8, answer = v6 ? 129 : 0;

		(void)pass(PORT_A, from_a(D(17, .sport = 5000, .dport = 53, .payload = 20)));
		got = pass(PORT_B, from_b(D(17, .sport = 5000, .dport = 53, .payload = 20)));
		port = port_at(&got, 0);
		assert_int_not_equal(port, 5000);
		assert_true(port >= 1024);
		assert_frame(got, out_of_b(D(17, .sport = port, .dport = 53, .payload = 20)));
		assert_frame(pass(PORT_B, from_b(D(17, .sport = 5000, .dport = 53, .payload = 20))),
			     got);
		assert_frame(pass(PORT_U, from_w(D(17, .sport = 53, .dport = port, .payload = 4))),
			     frame(mac_w, mac_b, ip(W), ip(B),
				   D(17, .sport = 53, .dport = 5000, .payload = 4)));
		assert_frame(pass(PORT_U, from_w(D(17, .sport = 53, .dport = 5000, .payload = 4))),
			     into_a(D(17, .sport = 53, .dport = 5000, .payload = 4)));
		assert_frame(pass(PORT_B, from_b(D(17, .sport = 5000, .dport = 54, .payload = 20))),
			     out_of_b(D(17, .sport = 5000, .dport = 54, .payload = 20)));
		/* Privileged ports stay privileged: RFC 4787 section 4.2.2. */
		(void)pass(PORT_A, from_a(D(17, .sport = 500, .dport = 500)));
		got = pass(PORT_B, from_b(D(17, .sport = 500, .dport = 500)));
		assert_true(port_at(&got, 0) < 512 && port_at(&got, 0) != 500);
		/* Identifiers of echoes. */
		(void)pass(PORT_A, from_a(D(echo, .type = ask, .sport = 5, .payload = 12)));
		got = pass(PORT_B, from_b(D(echo, .type = ask, .sport = 5, .payload = 12)));
		port = port_at(&got, 4);
		assert_int_not_equal(port, 5);
		assert_frame(got, out_of_b(D(echo, .type = ask, .sport = port, .payload = 12)));
		assert_frame(pass(PORT_U, from_w(D(echo, .type = answer, .sport = port, .payload = 12))),
			     frame(mac_w, mac_b, ip(W), ip(B),
				   D(echo, .type = answer, .sport = 5, .payload = 12)));
	}
	lab_no_drops(&lab);
}

/* A range of eight ports: eight connections toward one destination, all different, and the ninth is dropped. */
static void test_exhausted(void **state)
{
	COVERS(V4 | V6, F_NAT);

	struct dp_nat_rule r[2] = { masquerade(false), masquerade(true) };
	unsigned int seen;
	struct frame f, got;

	for (int i = 0; i < 2; i++) {
		r[i].to_min = 40000;
		r[i].to_max = 40007;
	}
	OK(dp_nat_set(lab.dp, LIST, r, 2, &lab_err));
	FAMILIES
	{
		seen = 0;
		for (uint16_t i = 0; i < 8; i++) {
			got = pass(PORT_A, from_a(D(6, .sport = 100 + i, .dport = 80,
						    .flags = TCP_SYN, .tcp_win = 99)));
			assert_in_range(port_at(&got, 0), 40000, 40007);
			seen |= 1u << (port_at(&got, 0) - 40000);
		}
		assert_int_equal(seen, 0xff);
		f = from_a(D(6, .sport = 108, .dport = 80, .flags = TCP_SYN, .tcp_win = 99));
		assert_int_equal(lab_run(&lab, PORT_A, &f, NULL), TC_ACT_SHOT);
		assert_dropped(&lab, NAT_PORTS);
		(void)pass(PORT_A,
			   from_a(D(6, .sport = 108, .dport = 81, .flags = TCP_SYN, .tcp_win = 99)));
	}
	lab_no_drops(&lab);
}

/* ---- destinations ---- */

static struct dp_nat_rule forward(bool of6, uint8_t proto, uint16_t port, uint16_t last, uint16_t to)
{
	struct dp_nat_rule r = { .id = 9, .destination = true, .proto = proto };

	r.dst = cidr_of(of6 ? "2001:db8:1::1/128" : "198.51.100.1/32");
	r.to = ip_of(of6 ? "fd00::1" : "10.0.0.1");
	r.has_dport = port != 0;
	r.dport_min = port;
	r.dport_max = last;
	r.to_min = to;
	return r;
}

static void test_port_forwarding(void **state)
{
	COVERS(V4 | V6, F_NAT);

	struct dp_nat_rule r[6] = { forward(false, 6, 8080, 8080, 80), forward(true, 6, 8080, 8080, 80),
				    forward(false, 6, 9000, 9009, 700),
				    forward(true, 6, 9000, 9009, 700) };
	struct frame f;

	r[4] = masquerade(false);
	r[5] = masquerade(true);
	OK(dp_nat_set(lab.dp, LIST, r, 6, &lab_err));
	FAMILIES
	{
		sport++;
		assert_frame(pass(PORT_U, from_w(D(6, .sport = sport, .dport = 8080,
						   .flags = TCP_SYN, .tcp_seq = 4, .tcp_win = 99))),
			     into_a(D(6, .sport = sport, .dport = 80, .flags = TCP_SYN,
				      .tcp_seq = 4, .tcp_win = 99)));
		assert_frame(pass(PORT_A, from_a(D(6, .sport = 80, .dport = sport, .flags = TCP_SYN | TCP_ACK,
						   .tcp_seq = 7, .tcp_ack = 5, .tcp_win = 99))),
			     out_of_a(D(6, .sport = 8080, .dport = sport, .flags = TCP_SYN | TCP_ACK,
					.tcp_seq = 7, .tcp_ack = 5, .tcp_win = 99)));
		assert_frame(pass(PORT_U, from_w(D(6, .sport = sport, .dport = 8080, .flags = TCP_ACK,
						   .tcp_seq = 5, .tcp_ack = 8, .tcp_win = 99))),
			     into_a(D(6, .sport = sport, .dport = 80, .flags = TCP_ACK,
				      .tcp_seq = 5, .tcp_ack = 8, .tcp_win = 99)));
		assert_frame(pass(PORT_U, from_w(D(6, .sport = sport, .dport = 9004,
						   .flags = TCP_SYN, .tcp_win = 99))),
			     into_a(D(6, .sport = sport, .dport = 704, .flags = TCP_SYN, .tcp_win = 99)));
		lab_no_drops(&lab);
		/* Of UDP there is no rule, and nobody has the MAC. */
		f = from_w(D(17, .sport = sport, .dport = 8080));
		assert_int_equal(lab_run(&lab, PORT_U, &f, NULL), TC_ACT_SHOT);
		assert_dropped(&lab, L2_UNKNOWN);
	}
}

/* One address for one, both ways; every protocol. */
static void test_floating(void **state)
{
	COVERS(V4 | V6, F_NAT);

	struct dp_nat_rule r[4] = { forward(false, 0, 0, 0, 0), forward(true, 0, 0, 0, 0),
				    masquerade(false), masquerade(true) };

	OK(dp_nat_set(lab.dp, LIST, r, 4, &lab_err));
	FAMILIES
	{
		sport++;
		assert_frame(pass(PORT_U, from_w(D(6, .sport = sport, .dport = 22, .flags = TCP_SYN,
						   .tcp_win = 9))),
			     into_a(D(6, .sport = sport, .dport = 22, .flags = TCP_SYN, .tcp_win = 9)));
		assert_frame(pass(PORT_A, from_a(D(6, .sport = 22, .dport = sport,
						   .flags = TCP_RST | TCP_ACK, .tcp_ack = 1))),
			     out_of_a(D(6, .sport = 22, .dport = sport, .flags = TCP_RST | TCP_ACK,
					.tcp_ack = 1)));
		assert_frame(pass(PORT_A, from_a(D(47, .payload = 40))),
			     out_of_a(D(47, .payload = 40)));
		assert_frame(pass(PORT_U, from_w(D(47, .payload = 40))), into_a(D(47, .payload = 40)));
	}
	lab_no_drops(&lab);
}

/* From one function to another's outside address: both see each other's (RFC 4787 section 6). */
static void test_hairpin(void **state)
{
	struct dp_nat_rule r[4] = { forward(false, 6, 8080, 8080, 80), forward(true, 6, 8080, 8080, 80),
				    masquerade(false), masquerade(true) };
	struct frame f;

	OK(dp_nat_set(lab.dp, LIST, r, 4, &lab_err));
	v6 = false;
	for (int i = 0; i < 2; i++) {
		assert_frame(pass(PORT_B, frame(mac_b, mac_w, ip(B), ip(E),
						D(6, .sport = 77, .dport = 8080, .flags = TCP_SYN,
						  .tcp_win = 9))),
			     frame(mac_b, mac_a, ip(E), ip(A),
				   D(6, .sport = 77, .dport = 80, .flags = TCP_SYN, .tcp_win = 9)));
		assert_frame(pass(PORT_A, frame(mac_a, mac_w, ip(A), ip(E),
						D(6, .sport = 80, .dport = 77, .flags = TCP_SYN | TCP_ACK,
						  .tcp_ack = 1, .tcp_win = 9))),
			     frame(mac_a, mac_b, ip(E), ip(B),
				   D(6, .sport = 8080, .dport = 77, .flags = TCP_SYN | TCP_ACK,
				     .tcp_ack = 1, .tcp_win = 9)));
	}
	/* To its own, it would have to leave where it came from. */
	f = frame(mac_a, mac_w, ip(A), ip(E), D(6, .sport = 77, .dport = 8080, .flags = TCP_SYN));
	assert_frame(pass(PORT_A, f), frame(mac_a, mac_w, ip(E), ip(E),
					    D(6, .sport = 77, .dport = 8080, .flags = TCP_SYN)));
	v6 = true;
	f = frame(mac_b, mac_w, ip(B), ip(E), D(6, .sport = 77, .dport = 8080, .flags = TCP_SYN));
	assert_int_equal(lab_run(&lab, PORT_B, &f, NULL), TC_ACT_SHOT);
	assert_dropped(&lab, NAT_TWICE);
	lab_no_drops(&lab);
}

/* ---- errors ---- */

/* About what was sent from inside, by a router outside: both headers are those of who sent it. */
static void test_error_in(void **state)
{
	COVERS(V4 | V6, F_NAT_ERRORS, F_ICMP_ERRORS);

	struct frame sent, out, error, want;

	masquerade_all();
	FAMILIES
	{
		uint8_t echo = v6 ? 58 : 1, ask = v6 ? 128 : 8;
		const char *router = v6 ? "2001:db8:7::7" : "203.0.113.7";
		struct desc d[] = { D(17, .sport = 6000, .dport = 53, .payload = 20),
				    D(6, .sport = 6001, .dport = 80, .flags = TCP_SYN, .tcp_win = 9),
				    D(echo, .type = ask, .sport = 6002, .payload = 30) };

		for (int second = 0; second < 2; second++) {
			for (int i = 0; i < 3; i++) {
				sent = second ? from_b(d[i]) : from_a(d[i]); /* b's ports become others */
				out = pass(second ? PORT_B : PORT_A, sent);
				frame_icmp_error(&error, mac_w, mac_e, router, ip(E), &out);
				frame_icmp_error(&want, mac_w, second ? mac_b : mac_a, router,
						 ip(second ? B : A), &sent);
				assert_frame(pass(PORT_U, error), want);
			}
		}
	}
	lab_no_drops(&lab);
}

/* About what came from outside, by who got it. */
static void test_error_out(void **state)
{
	COVERS(V4 | V6, F_NAT_ERRORS);

	struct dp_nat_rule r[2] = { forward(false, 6, 8080, 8080, 80),
				    forward(true, 6, 8080, 8080, 80) };
	struct frame sent, in, error, want;

	OK(dp_nat_set(lab.dp, LIST, r, 2, &lab_err));
	FAMILIES
	{
		sent = from_w(D(6, .sport = 6100, .dport = 8080, .flags = TCP_SYN, .tcp_win = 9));
		in = pass(PORT_U, sent);
		frame_icmp_error(&error, mac_a, mac_w, ip(A), ip(W), &in);
		frame_icmp_error(&want, mac_a, mac_w, ip(E), ip(W), &sent);
		assert_frame(pass(PORT_A, error), want);
	}
	lab_no_drops(&lab);
}

/* ---- fragments ---- */

/* The first one decides; the others have an address only. */
static void test_fragments(void **state)
{
	struct desc first = D(17, .sport = 7000, .dport = 53, .payload = 24, .frag = 0x2000, .ip_id = 5),
		    last = D(17, .payload = 24, .frag = 4, .ip_id = 5);

	masquerade_all();
	v6 = false;
	(void)pass(PORT_A, from_a(D(17, .sport = 7000, .dport = 53)));
	for (int i = 0; i < 2; i++) {
		struct frame f = i ? from_b(first) : from_a(first), got;
		uint16_t port;

		got = pass(i ? PORT_B : PORT_A, f);
		port = port_at(&got, 0);
		assert_int_equal(port == 7000, i == 0);
		first.sport = port;
		/* The checksum covers bytes that are not here: what was there, by the difference. */
		assert_frame(got, i ? out_of_b(first) : out_of_a(first));
		first.sport = 7000;
		assert_frame(pass(i ? PORT_B : PORT_A, i ? from_b(last) : from_a(last)),
			     i ? out_of_b(last) : out_of_a(last));
	}
	lab_no_drops(&lab);
}

/* ---- what is told ---- */

static struct dp_flow told[32];
static size_t n_told;

static void on_flow(void *ctx, const struct dp_flow *f)
{
	assert_true(n_told < ARRAY_LEN(told));
	told[n_told++] = *f;
}

/* A walk that cost much is not repeated at once: a minute later. */
static void age(void)
{
	clock_warp(60 * NS_PER_S);
	OK(dp_age(lab.dp, &lab_err));
}

/* A session is told when it opens, with both of its tuples (RFC 8158), and each direction when it ends. */
static void test_told(void **state)
{
	COVERS(V4 | V6, F_FLOWS_TOLD, F_NAT_EVENTS);

	const struct dp_flow *f;

	masquerade_all();
	clock_freeze(clock_mono_ns(), clock_wall_us());
	dp_flows_tell(lab.dp, 0, on_flow, NULL);
	FAMILIES
	{
		n_told = 0;
		(void)pass(PORT_A,
			   from_a(D(6, .sport = 8000, .dport = 80, .flags = TCP_SYN, .tcp_win = 9)));
		(void)pass(PORT_B,
			   from_b(D(6, .sport = 8000, .dport = 80, .flags = TCP_SYN, .tcp_win = 9)));
		age();
		assert_int_equal(n_told, 2);
		f = told[0].in.num == PORT_B ? &told[0] : &told[1];
		assert_int_equal(f->kind, DP_FLOW_NEW);
		assert_true(f->opener && f->nat_src && !f->nat_dst);
		assert_true(ip_eq(f->src, ip_of(ip(B))) && ip_eq(f->post_src, ip_of(ip(E))));
		assert_true(ip_eq(f->dst, ip_of(ip(W))) && ip_eq(f->post_dst, f->dst));
		assert_int_equal(f->sport, 8000);
		assert_int_not_equal(f->post_sport, 8000);
		assert_int_equal(f->post_dport, 80);
		n_told = 0;
		lab_idle(&lab);
		age();
		assert_int_equal(n_told, 2); /* there was no answer, so of that direction there is nothing to tell */
		assert_int_equal(told[0].kind, DP_FLOW_IDLE);
		assert_true(told[0].nat_src && told[1].nat_src);
	}
}

/* Answers and their translation, in the list of flows; both ends of a connection. */
static void test_both(void **state)
{
	struct dp_nat_rule in[2] = { forward(false, 6, 8080, 8080, 80),
				     forward(true, 6, 8080, 8080, 80) },
			   out[2] = { { .id = 3 }, { .id = 4 } };
	struct dp_port d = { .ifindex = { PORT_A }, .net = 1, .nat = LIST + 1, .n_addrs = 2 };
	struct dp_flow_query q = { .port = 8081, .family = 4, .limit = 4 };
	struct dp_flow_totals totals;
	struct dp_flow f[4];
	struct frame syn;

	memcpy(d.mac.b, mac_a, 6);
	d.addrs[0] = (struct dp_addr){ cidr_of("10.0.0.1/32"), d.mac, true };
	d.addrs[1] = (struct dp_addr){ cidr_of("fd00::1/128"), d.mac, true };
	out[0].to = ip_of("10.0.0.254");
	out[1].to = ip_of("fd00::254");
	OK(dp_nat_set(lab.dp, LIST, in, 2, &lab_err));
	OK(dp_nat_set(lab.dp, LIST + 1, out, 2, &lab_err));
	OK(dp_port_set(lab.dp, &d, &lab_err));
	v6 = true;
	syn = from_w(D(6, .sport = 8081, .dport = 8080, .flags = TCP_SYN, .tcp_win = 9));
	assert_int_equal(lab_run(&lab, PORT_U, &syn, NULL), TC_ACT_SHOT);
	assert_dropped(&lab, NAT_TWICE);
	v6 = false;
	assert_frame(pass(PORT_U,
			  from_w(D(6, .sport = 8081, .dport = 8080, .flags = TCP_SYN, .tcp_win = 9))),
		     frame(mac_w, mac_a, "10.0.0.254", ip(A),
			   D(6, .sport = 8081, .dport = 80, .flags = TCP_SYN, .tcp_win = 9)));
	assert_frame(pass(PORT_A, frame(mac_a, mac_e, ip(A), "10.0.0.254",
					D(6, .sport = 80, .dport = 8081, .flags = TCP_SYN | TCP_ACK,
					  .tcp_ack = 1, .tcp_win = 9))),
		     frame(mac_a, mac_w, ip(E), ip(W),
			   D(6, .sport = 8080, .dport = 8081, .flags = TCP_SYN | TCP_ACK,
			     .tcp_ack = 1, .tcp_win = 9)));
	assert_int_equal(OK(dp_flows(lab.dp, &q, f, &totals, &lab_err)), 2);
	for (int i = 0; i < 2; i++) {
		assert_true(f[i].nat_src && f[i].nat_dst);
		assert_true(ip_eq(f[i].post_src, ip_of(f[i].opener ? "10.0.0.254" : ip(E))));
		assert_true(ip_eq(f[i].post_dst, ip_of(f[i].opener ? ip(A) : ip(W))));
		assert_int_equal(f[i].post_sport, f[i].opener ? 8081 : 8080);
		assert_int_equal(f[i].post_dport, f[i].opener ? 80 : 8081);
	}
	/* An error about it: both ends, outside and in the quote. */
	{
		struct frame sent = from_w(D(17, .sport = 99, .dport = 98, .payload = 8)), out4,
			     error, want;

		in[0] = forward(false, 17, 98, 98, 97);
		OK(dp_nat_set(lab.dp, LIST, in, 1, &lab_err));
		out4 = pass(PORT_U, sent);
		frame_icmp_error(&error, mac_a, mac_e, ip(A), "10.0.0.254", &out4);
		frame_icmp_error(&want, mac_a, mac_w, ip(E), ip(W), &sent);
		assert_frame(pass(PORT_A, error), want);
	}
	lab_no_drops(&lab);
}

/* ---- rules ---- */

static void test_exceptions(void **state)
{
	struct dp_nat_rule r[3] = { { .id = 1,
				      .keep = true,
				      .family = IP_V4,
				      .proto = 17,
				      .has_dport = true,
				      .dport_min = 500,
				      .dport_max = 500 } };

	r[1] = masquerade(false);
	r[2] = masquerade(true);
	OK(dp_nat_set(lab.dp, LIST, r, 3, &lab_err));
	v6 = false;
	assert_frame(pass(PORT_A, from_a(D(17, .sport = 500, .dport = 500))),
		     from_a(D(17, .sport = 500, .dport = 500)));
	assert_frame(pass(PORT_A, from_a(D(17, .sport = 500, .dport = 501))),
		     out_of_a(D(17, .sport = 500, .dport = 501)));
	/* Inside, nothing is translated. */
	(void)pass(PORT_A,
		   frame(mac_a, mac_b, ip(A), ip(B), D(6, .sport = 1, .dport = 2, .flags = TCP_SYN)));
	assert_frame(pass(PORT_A, frame(mac_a, mac_b, ip(A), ip(B),
					D(6, .sport = 1, .dport = 2, .flags = TCP_SYN))),
		     frame(mac_a, mac_b, ip(A), ip(B), D(6, .sport = 1, .dport = 2, .flags = TCP_SYN)));
}

/* A connection keeps its translation; a new one has what the rules say by then. */
static void test_change(void **state)
{
	struct dp_nat_rule r[2] = { masquerade(false), masquerade(true) };
	struct frame want;
	uint32_t n;

	masquerade_all();
	v6 = false;
	(void)pass(PORT_A, from_a(D(17, .sport = 900, .dport = 53)));
	(void)pass(PORT_U, from_w(D(17, .sport = 53, .dport = 900)));
	r[0].to = ip_of("198.51.100.2");
	OK(dp_nat_set(lab.dp, LIST, r, 2, &lab_err));
	for (int i = 0; i < 2; i++) {
		assert_frame(pass(PORT_A, from_a(D(17, .sport = 900, .dport = 53))),
			     out_of_a(D(17, .sport = 900, .dport = 53)));
		assert_frame(pass(PORT_U, from_w(D(17, .sport = 53, .dport = 900))),
			     into_a(D(17, .sport = 53, .dport = 900)));
		want = frame(mac_a, mac_w, "198.51.100.2", ip(W), D(17, .sport = 901, .dport = 53));
		assert_frame(pass(PORT_A, from_a(D(17, .sport = 901, .dport = 53))), want);
	}
	/* The same again is no change; targets that are not used are gone. */
	n = (uint32_t)lab_entries(&lab, "nat_targets");
	OK(dp_nat_set(lab.dp, LIST, r, 2, &lab_err));
	assert_int_equal(lab_entries(&lab, "nat_targets"), n);
	assert_int_equal(n, 2);
	OK(dp_nat_del(lab.dp, LIST, &lab_err));
	assert_int_equal(lab_entries(&lab, "nat_targets"), 0);
	assert_frame(pass(PORT_A, from_a(D(17, .sport = 902, .dport = 53))),
		     from_a(D(17, .sport = 902, .dport = 53)));
}

static void test_sweep(void **state)
{
	masquerade_all();
	OK(dp_nat_set(lab.dp, LIST + 1, &(struct dp_nat_rule){ .to = ip_of("198.51.100.9") }, 1,
		      &lab_err));
	assert_int_equal(lab_entries(&lab, "nat_targets"), 3);
	lab_reopen(&lab);
	dp_mark(lab.dp);
	masquerade_all();
	OK(dp_sweep(lab.dp, &lab_err));
	assert_int_equal(lab_entries(&lab, "nat_targets"), 2);
	assert_int_equal(lab_entries(&lab, "policy_tables"), 4);
}

static void test_bad_rules(void **state)
{
	struct err e = { 0 };
	static const struct {
		const char *says;
		struct dp_nat_rule rule;
	} bad[] = {
		{ "has no new address", { .id = 1 } },
		{ "is of no family", { .keep = true } },
		{ "translates nothing", { .keep = true, .family = IP_V4, .to_min = 1, .to_max = 2 } },
		{ "another family", { .family = IP_V6, .to = { .family = IP_V4 } } },
		{ "another family", { .to = { .family = IP_V4 }, .src = { { .family = IP_V6 }, 64 } } },
		{ "prefix longer", { .to = { .family = IP_V4 }, .src = { { .family = IP_V4 }, 33 } } },
		{ "an address and a group",
		  { .to = { .family = IP_V4 }, .dst = { { .family = IP_V4 }, 3 }, .dst_group = 4 } },
		{ "not of TCP or UDP", { .to = { .family = IP_V4 }, .has_dport = true, .dport_max = 4 } },
		{ "ends before it begins",
		  { .to = { .family = IP_V4 }, .proto = 6, .has_dport = true, .dport_min = 5, .dport_max = 4 } },
		{ "ends before it begins", { .to = { .family = IP_V4 }, .to_min = 5, .to_max = 4 } },
		{ "without a beginning", { .to = { .family = IP_V4 }, .to_max = 4 } },
		{ "none that it stands for",
		  { .to = { .family = IP_V4 }, .destination = true, .to_min = 4 } },
		{ "as long as the one",
		  { .to = { .family = IP_V4 },
		    .destination = true,
		    .proto = 6,
		    .has_dport = true,
		    .to_min = 4,
		    .to_max = 5 } },
		{ "above 65535",
		  { .to = { .family = IP_V4 },
		    .destination = true,
		    .proto = 6,
		    .has_dport = true,
		    .dport_max = 9,
		    .to_min = 65530 } },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_true(dp_nat_set(lab.dp, LIST, &bad[i].rule, 1, &e) < 0);
		assert_string_equal(e.field, "rules");
		if (!strstr(e.msg, bad[i].says))
			fail_msg("%s, not %s", e.msg, bad[i].says);
	}
	assert_true(dp_nat_set(lab.dp, 0, NULL, 0, &e) < 0);
	assert_string_equal(e.field, "id");
	assert_true(dp_nat_set(lab.dp, 65536, NULL, 0, &e) < 0);
	assert_true(dp_nat_set(lab.dp, 1, &bad[0].rule, DP_NAT_RULES_MAX + 1, &e) < 0);
	assert_int_equal(e.fault, FAULT_TOO_LARGE);
	assert_int_equal(lab_entries(&lab, "nat_targets"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_udp_out),	    TEST(test_udp_checksum),
		TEST(test_tcp_out),	    TEST(test_echo),
		TEST(test_collision),	    TEST(test_exhausted),
		TEST(test_port_forwarding), TEST(test_floating),
		TEST(test_error_in),	    TEST(test_error_out),
		TEST(test_fragments),	    TEST(test_exceptions),
		TEST(test_change),	    TEST(test_sweep),
		TEST(test_bad_rules),	    TEST(test_told),
		TEST(test_hairpin),	    TEST(test_both),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
