/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Ports behind two VLAN tags (IEEE 802.1ad) beside ports behind one and none, on one NIC:
 *
 *   a 10.0.0.1 fd00::1 --- network 1 --- u, VLAN 7 in 100 --- w 10.0.0.9 fd00::9
 *                          network 2 --- u, VLAN 8 in 100
 *                          network 3 --- u, VLAN 100
 *                          network 1 --- v, VLAN 9 in 200
 *
 * With an argument, writes what leaves behind two tags into that pcap file, for other dissectors to read.
 */

#include "lab.h"

#include <errno.h>
#include <linux/pkt_cls.h>
#include <string.h>

#include "qinq.h"

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 0, 0xa }, mac_w[6] = { 2, 0, 0, 0, 0, 0xf },
		     mac_u[6] = { 2, 0, 0, 0, 0, 0xe }, mac_v[6] = { 2, 0, 0, 0, 0, 0xd },
		     bcast[6] = { 255, 255, 255, 255, 255, 255 };
#define C_TAG 0x8100
#define S_TAG 0x88a8
#define SG_ALL 7
#define FIRST_STACK 1

static struct lab lab;
static struct tport a, u, v;

static void uplink(struct tport *p, uint16_t net, uint16_t outer, uint16_t inner)
{
	struct dp_port d = { .ifindex = { p->host },
			     .net = net,
			     .flags = DP_PORT_UPLINK,
			     .vlan = { inner },
			     .outer_vlan = { outer } };
	struct dp_net n = { .net = net, .mtu = 1500 };

	OK(dp_net_set(lab.dp, &n, &lab_err));
	OK(dp_port_set(lab.dp, &d, &lab_err));
}

static int setup(void **state)
{
	struct dp_sg_rule r[4] = { { .egress = true, .family = IP_V4 },
				   { .egress = true, .family = IP_V6 },
				   { .family = IP_V4 },
				   { .family = IP_V6 } };

	lab_open(&lab);
	tport_make(&a, 65601, mac_a, -1, "eth0");
	tport_make(&u, 65602, mac_u, -1, "eth0");
	tport_make(&v, 65603, mac_v, -1, "eth0");
	OK(dp_sg_set(lab.dp, SG_ALL, r, 4, NULL, 0, &lab_err));
	lab_port(&lab, &a, 1, DP_PORT_SECURITY, SG_ALL, "10.0.0.1/24", "fd00::1/64", NULL);
	uplink(&u, 1, 100, 7);
	uplink(&u, 2, 100, 8);
	uplink(&u, 3, 0, 100);
	return 0;
}

static int teardown(void **state)
{
	for (int i = 65601; i <= 65603; i++)
		link_del(i);
	tport_free(&a);
	tport_free(&u);
	tport_free(&v);
	lab_close(&lab);
	return 0;
}

/* Datagram between a and w, `up`: from a. */
static struct frame udp(bool v6, bool up)
{
	struct desc d = { .smac = up ? mac_a : mac_w,
			  .dmac = up ? mac_w : mac_a,
			  .src = v6 ? "fd00::1" : "10.0.0.1",
			  .dst = v6 ? "fd00::9" : "10.0.0.9",
			  .proto = 17,
			  .sport = up ? 5 : 6,
			  .dport = up ? 6 : 5,
			  .payload = 30 };
	struct frame f;

	if (!up) {
		d.dst = v6 ? "fd00::1" : "10.0.0.1";
		d.src = v6 ? "fd00::9" : "10.0.0.9";
	}
	frame_build(&f, &d);
	return f;
}

static struct frame tagged(struct frame f, unsigned int type, unsigned int outer, unsigned int inner)
{
	frame_tag(&f, C_TAG, inner);
	frame_tag(&f, type, outer);
	return f;
}

static void expect_same(const struct frame *got, const struct frame *want)
{
	assert_int_equal(got->vlan, -1);
	assert_int_equal(got->len, want->len);
	assert_memory_equal(got->b, want->b, want->len);
}

/* The outer tag is beside the frame, the inner one in it. */
static void expect_pair(struct frame *got, const struct frame *want, int outer, int inner)
{
	struct frame w = *want;

	frame_tag(&w, C_TAG, (unsigned int)inner);
	assert_int_equal(got->vlan, outer);
	assert_int_equal(got->tpid, S_TAG);
	assert_int_equal(got->len, w.len);
	assert_memory_equal(got->b, w.b, w.len);
	frame_tag(got, S_TAG, (unsigned int)outer);
	lab_pcap(got);
}

/* Twice: the first packet of the flow, and a known one. */
static void test_both_ways(void **state)
{
	COVERS(V4 | V6, F_QINQ);
	for (int v6 = 0; v6 < 2; v6++) {
		struct frame up = udp(v6, true), down = udp(v6, false), wire, got;

		for (int n = 0; n < 2; n++) {
			wire = tagged(down, n ? C_TAG : S_TAG, 100, 7);
			assert_true(lab_passes(&u, &wire, &a, &got));
			expect_same(&got, &down);
			assert_true(lab_passes(&a, &up, &u, &got));
			expect_pair(&got, &up, 100, 7);
		}
	}
	assert_not_dropped(&lab);
}

/* BPF_PROG_TEST_RUN: packet in, verdict, packet out, record. The outer tag is not part of the packet out. */
static void test_verdicts(void **state)
{
	COVERS(V4 | V6, F_QINQ);
	for (int v6 = 0; v6 < 2; v6++) {
		struct frame up = udp(v6, true), down = udp(v6, false),
			     wire = tagged(down, S_TAG, 100, 7), out;
		struct flow_rec r;

		for (unsigned int n = 1; n < 3; n++) {
			assert_int_equal(lab_run(&lab, u.host, &wire, &out), TC_ACT_REDIRECT);
			out.vlan = -1;
			expect_same(&out, &down);
			assert_int_equal(lab_run(&lab, a.host, &up, &out), TC_ACT_REDIRECT);
			assert_true(lab_record(&lab, a.host, &up, &r));
			assert_int_equal(r.pkts, n);
			assert_int_equal(r.out, u.host);
			assert_int_equal(r.out_vlan, VLAN_STACK | FIRST_STACK);
			frame_tag(&up, C_TAG, 7);
			assert_int_equal(out.len, up.len);
			assert_memory_equal(out.b, up.b, up.len);
			up = udp(v6, true);
		}
	}
	assert_not_dropped(&lab);
}

static void test_neighbours_are_asked(void **state)
{
	COVERS(V4 | V6, F_QINQ, F_NEIGHBOURS);

	static const uint8_t group[6] = { 0x33, 0x33, 0xff, 0, 0, 1 };
	struct frame f, wire, got;

	frame_arp(&f, mac_w, bcast, 1, mac_w, "10.0.0.9", "10.0.0.1");
	wire = tagged(f, S_TAG, 100, 7);
	assert_true(lab_passes(&u, &wire, &u, &got));
	frame_arp(&f, mac_a, mac_w, 2, mac_a, "10.0.0.1", "10.0.0.9");
	memcpy(f.b + 32, mac_w, 6); /* the target: who asked */
	expect_pair(&got, &f, 100, 7);
	frame_nd(&f, mac_w, group, "fd00::9", "ff02::1:ff00:1", 135, "fd00::1", mac_w);
	wire = tagged(f, S_TAG, 100, 7);
	assert_true(lab_passes(&u, &wire, &u, &got));
	assert_int_equal(got.vlan, 100);
	assert_int_equal(got.tpid, S_TAG);
	assert_int_equal(got.b[58], 136);
	/* In the network next to it nobody has this address. */
	frame_arp(&f, mac_w, bcast, 1, mac_w, "10.0.0.9", "10.0.0.1");
	wire = tagged(f, S_TAG, 100, 8);
	tport_send(&u, &wire);
	assert_false(tport_recv(&u, &got, 0));
	assert_false(tport_recv(&a, &got, 0));
	assert_not_dropped(&lab);
}

static void test_flooding(void **state)
{
	COVERS(V4, F_QINQ, F_MULTICAST);

	struct frame f, wire, got;

	uplink(&v, 1, 200, 9);
	frame_arp(&f, mac_a, bcast, 1, mac_a, "10.0.0.1", "10.0.0.77");
	tport_send(&a, &f);
	assert_true(tport_recv(&u, &got, 200));
	expect_pair(&got, &f, 100, 7);
	assert_true(tport_recv(&v, &got, 200));
	expect_pair(&got, &f, 200, 9);
	assert_false(tport_recv(&u, &got, 0));
	/* From one pair to the other, and to the function. */
	frame_arp(&f, mac_w, bcast, 1, mac_w, "10.0.0.9", "10.0.0.77");
	wire = tagged(f, C_TAG, 100, 7);
	tport_send(&u, &wire);
	assert_true(tport_recv(&v, &got, 200));
	expect_pair(&got, &f, 200, 9);
	assert_true(tport_recv(&a, &got, 200));
	expect_same(&got, &f);
	assert_false(tport_recv(&u, &got, 0));
	assert_not_dropped(&lab);
}

/* Between two uplinks one pair of tags becomes the other, in a record as well. */
static void test_pair_to_pair(void **state)
{
	COVERS(V4 | V6, F_QINQ);
	uplink(&v, 1, 200, 9);
	for (int v6 = 0; v6 < 2; v6++) {
		struct frame there = udp(v6, false), wire, got;

		memcpy(there.b, mac_v, 6); /* behind v */
		wire = there;
		memcpy(wire.b + 6, mac_v, 6);
		memcpy(wire.b, bcast, 6);
		wire = tagged(wire, S_TAG, 200, 9);
		tport_send(&v, &wire); /* is learned */
		tport_drain(&a);
		tport_drain(&u);
		for (int n = 0; n < 2; n++) {
			wire = tagged(there, S_TAG, 100, 7);
			assert_true(lab_passes(&u, &wire, &v, &got));
			expect_pair(&got, &there, 200, 9);
		}
	}
	assert_not_dropped(&lab);
}

/* What belongs to no pair is the outer VLAN's, with the other tag on it; without such a VLAN it is the host's. */
static void test_apart(void **state)
{
	struct frame f = udp(false, false), wire, got, inside;

	wire = tagged(f, S_TAG, 100, 8);
	assert_int_equal(lab_run(&lab, u.host, &wire, NULL), TC_ACT_SHOT);
	assert_dropped(&lab, L2_UNKNOWN); /* network 2 has nobody else */
	uplink(&v, 3, 0, 300);
	inside = f;
	frame_tag(&inside, C_TAG, 55);
	wire = tagged(f, S_TAG, 100, 55);
	assert_true(lab_passes(&u, &wire, &v, &got));
	assert_int_equal(got.vlan, 300);
	assert_int_equal(got.len, inside.len);
	assert_memory_equal(got.b, inside.b, inside.len);
	wire = tagged(f, S_TAG, 101, 7);
	assert_int_equal(lab_run(&lab, u.host, &wire, NULL), TC_ACT_OK);
	wire = tagged(f, S_TAG, 7, 100);
	assert_int_equal(lab_run(&lab, u.host, &wire, NULL), TC_ACT_OK);
	/* A function sends no tags, not even two. */
	wire = tagged(udp(false, true), S_TAG, 100, 7);
	assert_int_equal(lab_run(&lab, a.host, &wire, NULL), TC_ACT_SHOT);
	assert_dropped(&lab, VLAN);
	assert_not_dropped(&lab);
}

/* IEEE 802.1Q-2018 section 9.5: a third tag is payload that no port of ours is behind. */
static void test_deep_stack(void **state)
{
	struct frame f = udp(false, false), deep, wire;

	deep = tagged(f, C_TAG, 7, 5);
	frame_tag(&deep, S_TAG, 100);
	tport_send(&u, &deep);
	assert_dropped(&lab, VLAN_STACK);
	assert_int_equal(lab_run(&lab, u.host, &deep, NULL), TC_ACT_SHOT);
	assert_dropped(&lab, VLAN_STACK);
	deep = tagged(f, C_TAG, 55, 5); /* in VLAN 100 */
	frame_tag(&deep, S_TAG, 100);
	assert_int_equal(lab_run(&lab, u.host, &deep, NULL), TC_ACT_SHOT);
	assert_dropped(&lab, VLAN_STACK);
	for (int i = 0; i < 300; i++) /* tags all the way */
		frame_tag(&deep, C_TAG, 7);
	assert_int_equal(lab_run(&lab, u.host, &deep, NULL), TC_ACT_OK); /* VLAN 7 in VLAN 7: the host's */
	frame_tag(&deep, S_TAG, 100);
	assert_int_equal(lab_run(&lab, u.host, &deep, NULL), TC_ACT_SHOT);
	assert_dropped(&lab, VLAN_STACK);
	/* Cut within the tags. */
	wire = tagged(f, S_TAG, 100, 7);
	for (wire.len = 20; wire.len < 60; wire.len++) {
		tport_send(&u, &wire);
		assert_dropped(&lab, MALFORMED);
	}
	assert_not_dropped(&lab);
}

static void test_trace(void **state)
{
	struct frame up = udp(false, true), down = udp(false, false),
		     wire = tagged(down, S_TAG, 100, 7);
	struct dp_trace_step step[32];
	int n = OK(dp_trace(lab.dp, (ifindex){ u.host }, (vlan_id){ 0 }, wire.b, wire.len, step, 32,
			    &lab_err));

	assert_int_equal(step[n - 1].out.num, a.host);
	assert_int_equal(lab_run(&lab, u.host, &wire, NULL), TC_ACT_REDIRECT); /* w is learned */
	n = OK(dp_trace(lab.dp, (ifindex){ a.host }, (vlan_id){ 0 }, up.b, up.len, step, 32, &lab_err));
	assert_int_equal(step[n - 1].out.num, u.host);
	assert_non_null(strstr(step[n - 1].text, "VLAN 100.7"));
}

/* A port keeps its number, gives it back when it goes, and a number that a killed process left is swept. */
static void test_numbers(void **state)
{
	struct dp_port d = { .ifindex = { u.host }, .net = 1, .flags = DP_PORT_UPLINK };

	assert_int_equal(lab_entries(&lab, "stacks"), 2);
	uplink(&u, 1, 100, 7);
	assert_int_equal(lab_entries(&lab, "stacks"), 2);
	lab_reopen(&lab);
	uplink(&u, 1, 100, 7);
	assert_int_equal(lab_entries(&lab, "stacks"), 2);
	dp_mark(lab.dp);
	uplink(&u, 1, 100, 7);
	OK(dp_sweep(lab.dp, &lab_err));
	assert_int_equal(lab_entries(&lab, "stacks"), 1);
	OK(dp_port_del(lab.dp, (ifindex){ u.host }, &lab_err));
	assert_int_equal(lab_entries(&lab, "stacks"), 0);
	d.vlan.id = 5;
	d.outer_vlan.id = 4095;
	assert_int_equal(dp_port_set(lab.dp, &d, &lab_err), -EINVAL);
	assert_string_equal(lab_err.field, "outer_vlan");
	d.outer_vlan.id = 6;
	d.vlan.id = 0;
	assert_int_equal(dp_port_set(lab.dp, &d, &lab_err), -EINVAL);
	assert_string_equal(lab_err.field, "outer_vlan");
	assert_int_equal(lab_entries(&lab, "stacks"), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(test_verdicts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_neighbours_are_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flooding, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pair_to_pair, setup, teardown),
		cmocka_unit_test_setup_teardown(test_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deep_stack, setup, teardown),
		cmocka_unit_test_setup_teardown(test_trace, setup, teardown),
		cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
	};

	return lab_main(argc, argv, tests, ARRAY_LEN(tests));
}
