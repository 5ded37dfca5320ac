/* SPDX-License-Identifier: Apache-2.0 */

/* Security groups, connections and ICMP errors between a secured function and an uplink. */

#include "lab.h"

#include <linux/pkt_cls.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 0, 0xa }, mac_b[6] = { 2, 0, 0, 0, 0, 0xb },
		     mac_w[6] = { 2, 0, 0, 0, 0, 0xf }, mac_u[6] = { 2, 0, 0, 0, 0, 0xe };
#define SG_A 11
#define SG_B 12

static struct lab lab;
static struct tport a, b, u;

static int setup(void **state)
{
	lab_open(&lab);
	tport_make(&a, 65537, mac_a, -1, "eth0");
	tport_make(&b, 65538, mac_b, -1, "eth0");
	tport_make(&u, 65539, mac_u, -1, "eth0");
	lab_port(&lab, &a, 1, DP_PORT_SECURITY, SG_A, "10.0.0.1/24", "fd00::1/64", NULL);
	lab_port(&lab, &b, 1, DP_PORT_SECURITY, SG_B, "10.0.0.2/24", "fd00::2/64", NULL);
	lab_uplink(&lab, &u, 1, 0);
	return 0;
}

static int teardown(void **state)
{
	link_del(65537);
	link_del(65538);
	link_del(65539);
	tport_free(&a);
	tport_free(&b);
	tport_free(&u);
	lab_close(&lab);
	return 0;
}

static void rules(uint32_t sg, const struct dp_sg_rule *r, size_t n)
{
	OK(dp_sg_set(lab.dp, sg, r, n, NULL, 0, &lab_err));
}

/* Between a (port 1000) and the world behind the uplink (port 80), in both families. */
static void seg(struct frame *f, bool v6, bool out, uint8_t proto, uint8_t flags)
{
	struct desc d = { .smac = out ? mac_a : mac_w,
			  .dmac = out ? mac_w : mac_a,
			  .proto = proto,
			  .sport = out ? 1000 : 80,
			  .dport = out ? 80 : 1000,
			  .flags = flags,
			  .payload = 10 };

	d.src = v6 ? (out ? "fd00::1" : "fd00::9") : (out ? "10.0.0.1" : "10.0.0.9");
	d.dst = v6 ? (out ? "fd00::9" : "fd00::1") : (out ? "10.0.0.9" : "10.0.0.1");
	frame_build(f, &d);
}

static bool goes(bool v6, bool out, uint8_t proto, uint8_t flags)
{
	struct frame f, got;

	seg(&f, v6, out, proto, flags);
	tport_send(out ? &a : &u, &f);
	if (!tport_recv(out ? &u : &a, &got, 20))
		return false;
	assert_int_equal(got.len, f.len);
	assert_memory_equal(got.b, f.b, f.len);
	return true;
}

static enum ct_state state_of(bool v6, bool out)
{
	struct frame f;
	struct flow_rec r;

	seg(&f, v6, out, 6, 0);
	if (!lab_record(&lab, out ? a.host : u.host, &f, &r)) { /* what was not answered has the opener's only */
		seg(&f, v6, !out, 6, 0);
		assert_true(lab_record(&lab, out ? u.host : a.host, &f, &r));
	}
	return (enum ct_state)r.state;
}

static const struct dp_sg_rule egress_all[2] = { { .egress = true, .family = IP_V4 },
						 { .egress = true, .family = IP_V6 } };

static void test_no_rules(void **state)
{
	COVERS(V4 | V6, F_SG_STATEFUL, F_VERDICT);
	for (int v6 = 0; v6 < 2; v6++) {
		assert_false(goes(v6, true, 17, 0));
		assert_dropped(&lab, SG_EGRESS);
		assert_false(goes(v6, false, 17, 0));
		assert_dropped(&lab, SG_INGRESS);
	}
}

/* What is not answered has one record. Its answer is known for one even where it is not sent to the opener's MAC. */
static void test_answer_by_another_way(void **state)
{
	COVERS(V4 | V6, F_SG_STATEFUL, F_RECORD);

	const uint8_t mac_gone[6] = { 2, 0, 0, 0, 0, 0x77 };
	struct frame f, got;
	struct flow_rec r;

	rules(SG_A, egress_all, 2);
	for (int v6 = 0; v6 < 2; v6++)
		for (int tcp = 0; tcp < 2; tcp++) {
			uint8_t proto = tcp ? 6 : 17;

			assert_true(goes(v6, true, proto, TCP_SYN));
			seg(&f, v6, false, proto, TCP_SYN | TCP_ACK);
			assert_false(lab_record(&lab, u.host, &f, &r));
			memcpy(f.b, mac_gone, 6);
			tport_send(&u, &f);
			assert_true(tport_recv(&a, &got, 1000));
			assert_memory_equal(got.b, f.b, f.len);
			assert_true(lab_record(&lab, u.host, &f, &r));
			assert_int_equal(r.conn & CONN_OPENER, 0);
			assert_int_equal(r.state, tcp ? CT_SYN_RECV : CT_UDP_REPLIED);
			f.b[6 + 5] ^= 1;
			f.b[14 + (v6 ? 40 : 20) + 1] ^= 1; /* of no connection */
			tport_send(&u, &f);
			assert_false(tport_recv(&a, &got, 20));
		}
}

static void test_stateful(void **state)
{
	COVERS(V4 | V6, F_SG_STATEFUL, F_UDP_STATES);
	rules(SG_A, egress_all, 2);
	for (int v6 = 0; v6 < 2; v6++) {
		assert_false(goes(v6, false, 17, 0)); /* nobody asked */
		assert_dropped(&lab, SG_INGRESS);
		assert_true(goes(v6, true, 17, 0));
		for (int i = 0; i < 3; i++) {
			assert_true(goes(v6, false, 17, 0)); /* the answer */
			assert_true(goes(v6, true, 17, 0));
		}
	}
	assert_not_dropped(&lab);
}

static void test_rule_removed(void **state)
{
	COVERS(V4 | V6, F_GENERATION);
	for (int v6 = 0; v6 < 2; v6++) {
		rules(SG_A, egress_all, 2);
		assert_true(goes(v6, true, 17, 0));
		assert_true(goes(v6, false, 17, 0));
		rules(SG_A, egress_all, 2); /* the same: nothing happens */
		assert_true(goes(v6, false, 17, 0));
		rules(SG_A, NULL, 0);
		assert_false(goes(v6, false, 17, 0));
		assert_false(goes(v6, true, 17, 0));
		rules(SG_A, egress_all, 2);
		assert_true(goes(v6, true, 17, 0));
		assert_true(goes(v6, false, 17, 0));
	}
}

static void test_ports_and_prefixes(void **state)
{
	COVERS(V4 | V6, F_SG_RULES);
	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_sg_rule r = { .family = v6 ? IP_V6 : IP_V4,
					.proto = 17,
					.has_ports = true,
					.port_min = 1000,
					.port_max = 1001,
					.remote = cidr_of(v6 ? "fd00::8/126" : "10.0.0.8/30") };
		uint8_t whole = v6 ? 128 : 32;

		rules(SG_A, &r, 1);
		assert_true(goes(v6, false, 17, 0));
		r.port_min = 1001;
		rules(SG_A, &r, 1);
		assert_false(goes(v6, false, 17, 0));
		r.port_min = 1;
		r.remote.prefix_len = whole;
		rules(SG_A, &r, 1);
		assert_false(goes(v6, false, 17, 0));
		r.remote.prefix_len = whole - 1;
		r.proto = 6;
		rules(SG_A, &r, 1);
		assert_false(goes(v6, false, 17, 0));
		r.proto = 0;
		r.has_ports = false;
		r.remote.prefix_len = 0;
		rules(SG_A, &r, 1);
		assert_true(goes(v6, false, 17, 0));
		assert_false(goes(!v6, false, 17, 0)); /* the rule is of one family */
	}
}

static void test_remote_group(void **state)
{
	COVERS(V4 | V6, F_SG_REMOTE, F_VERDICT);
	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_sg_rule in = { .family = v6 ? IP_V6 : IP_V4, .remote_sg = SG_A };
		struct ip_addr member = ip_of(v6 ? "fd00::1" : "10.0.0.1");
		struct desc d = { .smac = mac_a,
				  .dmac = mac_b,
				  .src = v6 ? "fd00::1" : "10.0.0.1",
				  .dst = v6 ? "fd00::2" : "10.0.0.2",
				  .proto = 17,
				  .sport = 1,
				  .dport = 2,
				  .payload = 10 };
		struct frame f, got;

		rules(SG_B, &in, 1);
		frame_build(&f, &d);
		OK(dp_sg_set(lab.dp, SG_A, egress_all, 2, &member, 1, &lab_err));
		assert_true(lab_passes(&a, &f, &b, &got));
		OK(dp_sg_set(lab.dp, SG_A, egress_all, 2, NULL, 0, &lab_err));
		assert_int_equal(lab_run(&lab, a.host, &f, NULL), TC_ACT_SHOT);
		assert_dropped(&lab, SG_INGRESS);
		/* Dropped from the record as well, and counted under the same reason. */
		assert_int_equal(lab_run(&lab, a.host, &f, NULL), TC_ACT_SHOT);
		assert_dropped(&lab, SG_INGRESS);
	}
}

static int a_to_b(bool v6)
{
	struct desc d = { .smac = mac_a,
			  .dmac = mac_b,
			  .src = v6 ? "fd00::1" : "10.0.0.1",
			  .dst = v6 ? "fd00::2" : "10.0.0.2",
			  .proto = 17,
			  .payload = 10 };
	struct frame f;

	frame_build(&f, &d);
	return lab_run(&lab, a.host, &f, NULL);
}

#define MANY 10240

/* 10,240 members with an address of each family; one more or less writes that one. */
static void test_large_remote_group(void **state)
{
	COVERS(V4 | V6, F_SG_REMOTE, F_VERDICT);
	CLEANUP(free_voidp) struct ip_addr *members = calloc(2 * MANY, sizeof(*members));
	struct dp_sg_rule in[2] = { { .family = IP_V4, .remote_sg = SG_A },
				    { .family = IP_V6, .remote_sg = SG_A } };
	int64_t whole, one;

	assert_non_null(members);
	for (unsigned int i = 0; i < MANY; i++) {
		members[2 * i] = ip_of("10.64.0.0");
		members[2 * i + 1] = ip_of("fd00:64::");
		members[2 * i].b[2] = members[2 * i + 1].b[14] = (uint8_t)(i >> 8);
		members[2 * i].b[3] = members[2 * i + 1].b[15] = (uint8_t)i;
	}
	members[MANY] = ip_of("10.0.0.1");
	members[MANY + 1] = ip_of("fd00::1");
	rules(SG_B, in, 2);
	whole = clock_mono_ns();
	OK(dp_sg_set(lab.dp, SG_A, egress_all, 2, members, 2 * MANY, &lab_err));
	whole = clock_mono_ns() - whole;
	for (int v6 = 0; v6 < 2; v6++)
		assert_int_equal(a_to_b(v6), TC_ACT_REDIRECT);
	members[MANY] = ip_of("10.0.0.3");
	members[MANY + 1] = ip_of("fd00::3");
	one = clock_mono_ns();
	OK(dp_sg_set(lab.dp, SG_A, egress_all, 2, members, 2 * MANY, &lab_err));
	one = clock_mono_ns() - one;
	print_message("%d members: %lld us, one of them changed: %lld us\n", 2 * MANY,
		      (long long)whole / 1000, (long long)one / 1000);
	for (int v6 = 0; v6 < 2; v6++) {
		assert_int_equal(a_to_b(v6), TC_ACT_SHOT);
		assert_dropped(&lab, SG_INGRESS);
	}
}

static void expect_state(bool v6, bool out, uint8_t flags, enum ct_state want)
{
	assert_true(goes(v6, out, 6, flags));
	assert_int_equal(state_of(v6, true), want);
	assert_int_equal(state_of(v6, false), want);
}

static void test_tcp_states(void **state)
{
	COVERS(V4 | V6, F_TCP_STATES);
	rules(SG_A, egress_all, 2);
	for (int v6 = 0; v6 < 2; v6++) {
		expect_state(v6, true, TCP_SYN, CT_SYN_SENT);
		expect_state(v6, false, TCP_SYN | TCP_ACK, CT_SYN_RECV);
		expect_state(v6, true, TCP_ACK, CT_ESTABLISHED);
		expect_state(v6, false, TCP_ACK, CT_ESTABLISHED);
		expect_state(v6, true, TCP_ACK, CT_ESTABLISHED);
		expect_state(v6, true, TCP_FIN | TCP_ACK, CT_FIN_WAIT);
		expect_state(v6, false, TCP_ACK, CT_CLOSE_WAIT);
		expect_state(v6, false, TCP_FIN | TCP_ACK, CT_LAST_ACK);
		expect_state(v6, true, TCP_ACK, CT_TIME_WAIT);
		/* A new connection on the same ports, then a reset. */
		expect_state(v6, true, TCP_SYN, CT_SYN_SENT);
		expect_state(v6, false, TCP_SYN | TCP_ACK, CT_SYN_RECV);
		expect_state(v6, true, TCP_ACK, CT_ESTABLISHED);
		expect_state(v6, false, TCP_RST, CT_CLOSE);
		/* The other side may not open one where ours was. */
		assert_false(goes(v6, false, 6, TCP_SYN));
		assert_dropped(&lab, SG_INGRESS);
	}
	assert_not_dropped(&lab);
}

static void test_tcp_invalid(void **state)
{
	COVERS(V4 | V6, F_TCP_STATES, F_TCP_PICK_UP);

	struct dp_sg_rule all[2] = { { .family = IP_V4 }, { .family = IP_V6 } };

	rules(SG_A, all, 2);
	for (int v6 = 0; v6 < 2; v6++) {
		assert_false(goes(v6, false, 6, TCP_SYN | TCP_ACK));
		assert_dropped(&lab, CT_INVALID);
		assert_false(goes(v6, false, 6, TCP_RST));
		assert_dropped(&lab, CT_INVALID);
		assert_false(goes(v6, false, 6, TCP_FIN | TCP_ACK));
		assert_dropped(&lab, CT_INVALID);
		assert_true(goes(v6, false, 6, TCP_ACK)); /* picked up under way */
	}
}

/* Of a (asks) or of w. */
static struct frame echo(bool v6, bool out, uint8_t type, uint16_t id)
{
	struct desc d = { .smac = out ? mac_a : mac_w,
			  .dmac = out ? mac_w : mac_a,
			  .proto = v6 ? 58 : 1,
			  .type = type,
			  .sport = id,
			  .payload = 20 };
	struct frame f;

	d.src = v6 ? (out ? "fd00::1" : "fd00::9") : (out ? "10.0.0.1" : "10.0.0.9");
	d.dst = v6 ? (out ? "fd00::9" : "fd00::1") : (out ? "10.0.0.9" : "10.0.0.1");
	frame_build(&f, &d);
	return f;
}

static void test_icmp_echo(void **state)
{
	COVERS(V4 | V6, F_ICMP_ECHO);
	for (int v6 = 0; v6 < 2; v6++) {
		uint8_t ask = v6 ? 128 : 8, answer = v6 ? 129 : 0;
		struct dp_sg_rule ping = { .egress = true,
					   .family = v6 ? IP_V6 : IP_V4,
					   .proto = v6 ? 58 : 1,
					   .has_ports = true,
					   .port_min = ask,
					   .port_max = 0 };
		struct frame f = echo(v6, true, ask, 77), got;

		rules(SG_A, &ping, 1);
		assert_true(lab_passes(&a, &f, &u, &got));
		f = echo(v6, false, answer, 77);
		assert_true(lab_passes(&u, &f, &a, &got));
		rules(SG_A, &ping, 1);
		lab_port(&lab, &b, 1, DP_PORT_SECURITY, SG_A, v6 ? "fd00::2/64" : "10.0.0.2/24",
			 NULL); /* makes flows look again */
		assert_true(lab_passes(&u, &f, &a, &got));
		f = echo(v6, false, answer, 78); /* to a question that nobody asked */
		tport_send(&u, &f);
		assert_false(tport_recv(&a, &got, 0));
		assert_dropped(&lab, SG_INGRESS);
		f = echo(v6, true, v6 ? 139 : 13, 78);
		tport_send(&a, &f);
		assert_false(tport_recv(&u, &got, 0));
		assert_dropped(&lab, SG_EGRESS);
	}
}

/* An error about a connection comes in although no rule allows it; one about nothing does not. */
static void test_icmp_error(void **state)
{
	COVERS(V4 | V6, F_ICMP_ERRORS);

	struct frame f, err, got;

	rules(SG_A, egress_all, 2);
	for (int v6 = 0; v6 < 2; v6++) {
		seg(&f, v6, true, 17, 0);
		frame_icmp_error(&err, mac_w, mac_a, v6 ? "fd00::77" : "10.0.0.77",
				 v6 ? "fd00::1" : "10.0.0.1", &f);
		tport_send(&u, &err);
		assert_false(tport_recv(&a, &got, 0));
		assert_dropped(&lab, ICMP_ERROR);
		assert_true(lab_passes(&a, &f, &u, &got));
		assert_true(lab_passes(&u, &err, &a, &got));
		assert_memory_equal(got.b, err.b, err.len);
	}
	assert_not_dropped(&lab);
}

/* Extension headers are skipped to find the ports, and bounded. */
static void test_extensions(void **state)
{
	COVERS(V6, F_BAD_EXTENSIONS);

	struct dp_sg_rule r = {
		.egress = true, .family = IP_V6, .proto = 17, .has_ports = true, .port_min = 80, .port_max = 80
	};
	struct frame f, got;

	rules(SG_A, &r, 1);
	for (int n = 1; n <= 9; n++) {
		seg(&f, true, true, 17, 0);
		memmove(f.b + 54 + 8 * n, f.b + 54, f.len - 54);
		for (int i = 0; i < n; i++) {
			memset(f.b + 54 + 8 * i, 0, 8);
			f.b[54 + 8 * i] = i == n - 1 ? 17 : 60; /* destination options */
		}
		f.b[20] = 60;
		f.b[19] += (uint8_t)(8 * n);
		f.len += (size_t)(8 * n);
		if (n < ABI_IPV6_EXT) {
			assert_true(lab_passes(&a, &f, &u, &got));
			assert_memory_equal(got.b, f.b, f.len);
		} else {
			assert_int_equal(lab_run(&lab, a.host, &f, NULL), TC_ACT_SHOT);
			assert_dropped(&lab, MALFORMED);
		}
	}
}

static void expect_spoof(struct frame *f, struct desc *d, enum drop_reason why)
{
	frame_build(f, d);
	assert_int_equal(lab_run(&lab, a.host, f, NULL), TC_ACT_SHOT);
	assert_int_equal(lab_dropped(&lab, why), 1);
}

static void allowed_pair(bool v6)
{
	static const uint8_t vmac[6] = { 2, 0, 0x5e, 0, 1, 1 };
	enum drop_reason spoofed = v6 ? DROP_SPOOF_IPV6 : DROP_SPOOF_IPV4;
	struct dp_port p = { .ifindex = { a.host },
			     .net = 1,
			     .flags = DP_PORT_SECURITY,
			     .n_addrs = 2,
			     .n_sgs = 1,
			     .sgs = { SG_A } };
	struct desc d = { .smac = vmac,
			  .dmac = mac_w,
			  .src = v6 ? "fd07::3" : "192.168.7.3",
			  .dst = v6 ? "fd00::9" : "10.0.0.9",
			  .proto = 17,
			  .sport = 1,
			  .dport = 2,
			  .payload = 4 };
	struct frame f, got;

	memcpy(p.mac.b, mac_a, 6);
	p.addrs[0] = (struct dp_addr){ cidr_of(v6 ? "fd00::1/64" : "10.0.0.1/24"), p.mac, true };
	p.addrs[1] = (struct dp_addr){ cidr_of(v6 ? "fd07::/64" : "192.168.7.0/24"), p.mac, false };
	memcpy(p.addrs[1].mac.b, vmac, 6);
	rules(SG_A, egress_all, 2);
	OK(dp_port_set(lab.dp, &p, &lab_err));
	frame_build(&f, &d);
	assert_true(lab_passes(&a, &f, &u, &got));
	d.smac = mac_a; /* the address of the pair, without its MAC */
	expect_spoof(&f, &d, spoofed);
	d.smac = vmac;
	d.src = v6 ? "fd00::1" : "10.0.0.1";
	expect_spoof(&f, &d, spoofed);
	/* Without the pair its frames are foreign again, also those of the flow that was let through. */
	p.n_addrs = 1;
	OK(dp_port_set(lab.dp, &p, &lab_err));
	d.src = v6 ? "fd07::3" : "192.168.7.3";
	expect_spoof(&f, &d, DROP_SPOOF_MAC);
}

static void test_allowed_pairs(void **state)
{
	COVERS(V4 | V6, F_SG_PAIRS, F_SPOOF);
	allowed_pair(false);
	allowed_pair(true);
}

static void test_admin_down(void **state)
{
	rules(SG_A, egress_all, 2);
	assert_true(goes(false, true, 17, 0));
	lab_port(&lab, &a, 1, DP_PORT_SECURITY | DP_PORT_ADMIN_DOWN, SG_A, "10.0.0.1/24", NULL);
	assert_false(goes(false, true, 17, 0));
	assert_dropped(&lab, ADMIN_DOWN);
	assert_false(goes(false, false, 17, 0));
	assert_dropped(&lab, OUT_DOWN);
	lab_port(&lab, &a, 1, DP_PORT_SECURITY, SG_A, "10.0.0.1/24", NULL);
	assert_true(goes(false, true, 17, 0));
	assert_true(goes(false, false, 17, 0));
}

/* A port that moves to another network keeps its interface and stops hearing the old one. */
static void test_rewire(void **state)
{
	struct frame f, got;

	rules(SG_A, egress_all, 2);
	assert_true(goes(false, true, 17, 0));
	lab_port(&lab, &a, 2, DP_PORT_SECURITY, SG_A, "10.0.0.1/24", NULL);
	assert_false(goes(false, true, 17, 0));
	assert_dropped(&lab, L2_UNKNOWN);
	seg(&f, false, false, 17, 0);
	tport_send(&u, &f);
	assert_false(tport_recv(&a, &got, 0));
	lab_port(&lab, &a, 1, DP_PORT_SECURITY, SG_A, "10.0.0.1/24", NULL);
	assert_true(goes(false, true, 17, 0));
	assert_true(goes(false, false, 17, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_rules, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stateful, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answer_by_another_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rule_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ports_and_prefixes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remote_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_remote_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tcp_states, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tcp_invalid, setup, teardown),
		cmocka_unit_test_setup_teardown(test_icmp_echo, setup, teardown),
		cmocka_unit_test_setup_teardown(test_icmp_error, setup, teardown),
		cmocka_unit_test_setup_teardown(test_extensions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_allowed_pairs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_admin_down, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rewire, setup, teardown),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
