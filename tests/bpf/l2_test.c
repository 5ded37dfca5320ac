/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One network with two functions and an uplink:
 *
 *   a 10.0.0.1 fd00::1 ---+
 *                         +--- network 1 --- u (uplink; w is behind it)
 *   b 10.0.0.2 fd00::2 ---+
 */

#include "lab.h"

#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <string.h>

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 0, 0xa }, mac_b[6] = { 2, 0, 0, 0, 0, 0xb },
		     mac_w[6] = { 2, 0, 0, 0, 0, 0xf }, mac_u[6] = { 2, 0, 0, 0, 0, 0xe },
		     bcast[6] = { 255, 255, 255, 255, 255, 255 };
#define SG_ALL 7

static struct lab lab;
static struct tport a, b, u;

static void allow_all(uint32_t sg)
{
	struct dp_sg_rule r[4] = { { .egress = true, .family = IP_V4 },
				   { .egress = true, .family = IP_V6 },
				   { .family = IP_V4 },
				   { .family = IP_V6 } };

	OK(dp_sg_set(lab.dp, sg, r, 4, NULL, 0, &lab_err));
}

static int setup(void **state)
{
	lab_open(&lab);
	tport_make(&a, 65537, mac_a, -1, "eth0");
	tport_make(&b, 65538, mac_b, -1, "eth0");
	tport_make(&u, 65539, mac_u, -1, "eth0");
	allow_all(SG_ALL);
	lab_port(&lab, &a, 1, DP_PORT_SECURITY, SG_ALL, "10.0.0.1/24", "fd00::1/64", NULL);
	lab_port(&lab, &b, 1, DP_PORT_SECURITY, SG_ALL, "10.0.0.2/24", "fd00::2/64", NULL);
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

static void udp(struct frame *f, const uint8_t *smac, const uint8_t *dmac, const char *src,
		const char *dst)
{
	struct desc d = { .smac = smac,
			  .dmac = dmac,
			  .src = src,
			  .dst = dst,
			  .proto = 17,
			  .sport = 1000,
			  .dport = 2000,
			  .payload = 20 };

	frame_build(f, &d);
}

static void test_unicast(void **state)
{
	COVERS(V4 | V6, F_UNICAST, F_RECORD);

	struct frame f, got;
	struct flow_rec r;

	for (int v6 = 0; v6 < 2; v6++) {
		udp(&f, mac_a, mac_b, v6 ? "fd00::1" : "10.0.0.1", v6 ? "fd00::2" : "10.0.0.2");
		assert_true(lab_passes(&a, &f, &b, &got));
		assert_int_equal(got.len, f.len);
		assert_memory_equal(got.b, f.b, f.len);
		assert_int_equal(got.pkttype, PACKET_HOST);
		assert_true(lab_record(&lab, a.host, &f, &r));
		assert_int_equal(r.pkts, 1);
		assert_int_equal(r.out, b.host);
		assert_int_equal(r.conn & CONN_OPENER, CONN_OPENER);
		assert_true(lab_passes(&a, &f, &b, &got)); /* now by the record */
		assert_true(lab_record(&lab, a.host, &f, &r));
		assert_int_equal(r.pkts, 2);
		assert_int_equal(r.bytes, 2 * f.len);
		assert_false(tport_recv(&u, &got, 0));
	}
	assert_not_dropped(&lab);
}

static void test_arp_reply(void **state)
{
	COVERS(V4, F_NEIGHBOURS);

	struct frame f, got;

	frame_arp(&f, mac_a, bcast, 1, mac_a, "10.0.0.1", "10.0.0.2");
	assert_true(lab_passes(&a, &f, &a, &got));
	assert_memory_equal(got.b, mac_a, 6);
	assert_memory_equal(got.b + 6, mac_b, 6);
	assert_int_equal(got.b[21], 2);
	assert_memory_equal(got.b + 22, mac_b, 6);
	assert_int_equal(got.b[31], 2);
	assert_memory_equal(got.b + 32, mac_a, 6);
	assert_int_equal(got.b[41], 1);
	assert_int_equal(got.pkttype, PACKET_HOST);
	assert_false(tport_recv(&b, &got, 0));
	/* From the uplink: answered as well. */
	frame_arp(&f, mac_w, bcast, 1, mac_w, "10.0.0.9", "10.0.0.1");
	assert_true(lab_passes(&u, &f, &u, &got));
	assert_memory_equal(got.b + 22, mac_a, 6);
	/* Somebody unknown: the whole network is asked. */
	frame_arp(&f, mac_a, bcast, 1, mac_a, "10.0.0.1", "10.0.0.9");
	assert_true(lab_passes(&a, &f, &u, &got));
	assert_memory_equal(got.b, f.b, f.len);
	assert_true(tport_recv(&b, &got, 200));
	assert_not_dropped(&lab);
}

static void test_nd_reply(void **state)
{
	COVERS(V6, F_NEIGHBOURS);

	static const uint8_t group[6] = { 0x33, 0x33, 0xff, 0, 0, 2 };
	struct frame f, got;

	frame_nd(&f, mac_a, group, "fd00::1", "ff02::1:ff00:2", 135, "fd00::2", mac_a);
	assert_true(lab_passes(&a, &f, &a, &got));
	assert_int_equal(got.len, 86);
	assert_memory_equal(got.b, mac_a, 6);
	assert_memory_equal(got.b + 6, mac_b, 6);
	assert_int_equal(got.b[54], 136);
	assert_int_equal(got.b[58], 0x60);
	assert_memory_equal(got.b + 80, mac_b, 6);
	assert_int_equal(got.b[37], 2); /* source is the target */
	assert_int_equal(got.b[53], 1);
	assert_true(frame_icmp6_ok(&got));
	/* Duplicate address detection of an address that is taken: answered to all nodes. */
	frame_nd(&f, mac_w, group, "::", "ff02::1:ff00:2", 135, "fd00::2", NULL);
	assert_true(lab_passes(&u, &f, &u, &got));
	assert_int_equal(got.len, 86);
	assert_int_equal(got.b[0], 0x33);
	assert_int_equal(got.b[38], 0xff);
	assert_int_equal(got.b[58], 0x20);
	assert_true(frame_icmp6_ok(&got));
	assert_not_dropped(&lab);
}

static void expect_drop(struct tport *from, const struct frame *f, enum drop_reason why)
{
	assert_int_equal(lab_run(&lab, from->host, f, NULL), TC_ACT_SHOT);
	if (lab_dropped(&lab, why) != 1)
		fail_msg("not dropped as %s", dp_drop_reason_name(why));
}

/* Long because it is the list of what a port may claim to be, one forgery after the other. */
static void test_spoof(void **state)
{
	COVERS(V4 | V6, F_SPOOF, F_INSPECTION, F_DHCP_SNOOPING);

	static const uint8_t group[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	struct frame f;
	struct desc d = { .smac = mac_a,
			  .dmac = mac_b,
			  .src = "10.0.0.1",
			  .dst = "10.0.0.2",
			  .proto = 17,
			  .sport = 67,
			  .dport = 68,
			  .payload = 8 };

	udp(&f, mac_w, mac_b, "10.0.0.1", "10.0.0.2");
	expect_drop(&a, &f, DROP_SPOOF_MAC);
	udp(&f, mac_a, mac_b, "10.0.0.7", "10.0.0.2");
	expect_drop(&a, &f, DROP_SPOOF_IPV4);
	udp(&f, mac_a, mac_b, "fd00::7", "fd00::2");
	expect_drop(&a, &f, DROP_SPOOF_IPV6);
	frame_arp(&f, mac_a, bcast, 1, mac_a, "10.0.0.2", "10.0.0.9");
	expect_drop(&a, &f, DROP_SPOOF_ARP);
	frame_arp(&f, mac_a, bcast, 2, mac_b, "10.0.0.1", "10.0.0.9");
	expect_drop(&a, &f, DROP_SPOOF_ARP);
	frame_nd(&f, mac_a, group, "fd00::1", "ff02::1", 136, "fd00::2", mac_a);
	expect_drop(&a, &f, DROP_SPOOF_ND);
	frame_nd(&f, mac_a, group, "fd00::1", "ff02::1", 136, "fd00::1", mac_b);
	expect_drop(&a, &f, DROP_SPOOF_ND);
	frame_nd(&f, mac_a, group, "::", "ff02::1", 135, "fd00::2", NULL);
	expect_drop(&a, &f, DROP_SPOOF_ND);
	frame_nd(&f, mac_a, group, "fe80::ff:fe00:a", "ff02::1", 134, "fd00::1", NULL);
	expect_drop(&a, &f, DROP_RA);
	frame_nd(&f, mac_a, group, "fe80::ff:fe00:a", "ff02::1", 137, "fd00::1", NULL);
	expect_drop(&a, &f, DROP_RA);
	frame_build(&f, &d);
	expect_drop(&a, &f, DROP_DHCP_SERVER);
	d.src = "fd00::1";
	d.dst = "fd00::2";
	d.sport = 547;
	frame_build(&f, &d);
	expect_drop(&a, &f, DROP_DHCP_SERVER);
	udp(&f, mac_a, mac_b, "10.0.0.1", "10.0.0.2");
	f.b[12] = 0x88; /* some other ethertype */
	expect_drop(&a, &f, DROP_ETHERTYPE);
	f.b[12] = 0x08;
	f.b[16] = 9; /* total length beyond the frame */
	expect_drop(&a, &f, DROP_MALFORMED);
	/* What is legitimate passes: link-local, DHCP of a client. */
	frame_nd(&f, mac_a, group, "fe80::ff:fe00:a", "ff02::1", 136, "fe80::ff:fe00:a", mac_a);
	assert_int_not_equal(lab_run(&lab, a.host, &f, NULL), TC_ACT_SHOT);
	d = (struct desc){ .smac = mac_a,
			   .dmac = bcast,
			   .src = "0.0.0.0",
			   .dst = "255.255.255.255",
			   .proto = 17,
			   .sport = 68,
			   .dport = 67,
			   .payload = 8 };
	frame_build(&f, &d);
	assert_int_not_equal(lab_run(&lab, a.host, &f, NULL), TC_ACT_SHOT);
	assert_not_dropped(&lab);
}

static void test_uplink(void **state)
{
	struct frame f, got;

	/* Unknown destination, one way out. */
	udp(&f, mac_a, mac_w, "10.0.0.1", "10.9.0.1");
	assert_true(lab_passes(&a, &f, &u, &got));
	assert_memory_equal(got.b, f.b, f.len);
	/* The reply is part of the connection although no rule for it is asked. */
	udp(&f, mac_w, mac_a, "10.9.0.1", "10.0.0.1");
	assert_true(lab_passes(&u, &f, &a, &got));
	assert_int_equal(lab_entries(&lab, "fdb_learned"), 1);
	assert_not_dropped(&lab);
}

static const uint8_t mac_c[6] = { 2, 0, 0, 0, 0, 0xc };

/* A connection through a tagged network, in both directions; first packets, and known ones. */
static void tagged_connection(struct tport *c, bool v6)
{
	const char *near = v6 ? "fd00:2::1" : "10.0.2.1", *far = v6 ? "fd00:2::9" : "10.0.2.9";
	struct desc d = { .smac = mac_w,
			  .dmac = mac_c,
			  .vlan = 42,
			  .src = far,
			  .dst = near,
			  .proto = 17,
			  .sport = 5,
			  .dport = 6,
			  .payload = 10 };
	struct frame f, got;

	frame_build(&f, &d);
	for (int i = 0; i < 2; i++) {
		assert_true(lab_passes(&u, &f, c, &got));
		assert_int_equal(got.vlan, -1);
		assert_int_equal(got.len, f.len - 4);
		assert_memory_equal(got.b + 12, f.b + 16, got.len - 12);
	}
	d = (struct desc){ .smac = mac_c,
			   .dmac = mac_w,
			   .src = near,
			   .dst = far,
			   .proto = 17,
			   .sport = 6,
			   .dport = 5,
			   .payload = 10 };
	frame_build(&f, &d);
	for (int i = 0; i < 2; i++) {
		assert_true(lab_passes(c, &f, &u, &got));
		assert_int_equal(got.vlan, 42);
		assert_int_equal(got.len, f.len);
		assert_memory_equal(got.b, f.b, f.len);
	}
}

static void test_vlan_uplink(void **state)
{
	COVERS(V4 | V6, F_VLAN_TAG);

	struct tport c;
	struct frame f, got;
	struct desc d = { .smac = mac_c,
			  .dmac = mac_w,
			  .vlan = 42,
			  .src = "10.0.2.1",
			  .dst = "10.0.2.9",
			  .proto = 17,
			  .sport = 6,
			  .dport = 5 };

	tport_make(&c, 65540, mac_c, -1, "eth0");
	lab_port(&lab, &c, 2, DP_PORT_SECURITY, SG_ALL, "10.0.2.1/24", "fd00:2::1/64", NULL);
	lab_uplink(&lab, &u, 2, 42);
	tagged_connection(&c, false);
	tagged_connection(&c, true);
	/* ARP from the VLAN is answered into the VLAN. */
	frame_arp(&f, mac_w, bcast, 1, mac_w, "10.0.2.9", "10.0.2.1");
	memmove(f.b + 16, f.b + 12, f.len - 12);
	f.b[12] = 0x81;
	f.b[13] = 0;
	f.b[14] = 0;
	f.b[15] = 42;
	f.len += 4;
	assert_true(lab_passes(&u, &f, &u, &got));
	assert_int_equal(got.vlan, 42);
	/* A broadcast of network 2 stays there, tagged on the uplink. */
	frame_arp(&f, mac_c, bcast, 1, mac_c, "10.0.2.1", "10.0.2.200");
	assert_true(lab_passes(&c, &f, &u, &got));
	assert_int_equal(got.vlan, 42);
	assert_false(tport_recv(&a, &got, 0));
	/* A tagged frame from a function is not its to send. */
	frame_build(&f, &d);
	tport_send(&c, &f);
	assert_dropped(&lab, VLAN);
	assert_not_dropped(&lab);
	link_del(65540);
	tport_free(&c);
}

/* A host moves from one uplink to another: its first frame there takes its flows along. */
static void test_mac_moves(void **state)
{
	COVERS(V4, F_UNICAST);

	static const uint8_t mac_v[6] = { 2, 0, 0, 0, 0, 0xd };
	struct tport v;
	struct frame f, arp, got;

	tport_make(&v, 65541, mac_v, -1, "eth0");
	lab_uplink(&lab, &v, 1, 0);
	frame_arp(&arp, mac_w, bcast, 1, mac_w, "10.0.0.9", "10.0.0.9");
	assert_true(lab_passes(&u, &arp, &a, &got));
	tport_drain(&v);
	udp(&f, mac_a, mac_w, "10.0.0.1", "10.0.0.9");
	for (int i = 0; i < 2; i++)
		assert_true(lab_passes(&a, &f, &u, &got));
	tport_send(&v, &arp);
	tport_drain(&u);
	for (int i = 0; i < 2; i++)
		assert_true(lab_passes(&a, &f, &v, &got));
	assert_false(tport_recv(&u, &got, 0));
	/* The answer comes from there, and is of the connection that went out elsewhere. */
	udp(&f, mac_w, mac_a, "10.0.0.9", "10.0.0.1");
	assert_true(lab_passes(&v, &f, &a, &got));
	assert_not_dropped(&lab);
	link_del(v.host);
	tport_free(&v);
}

/* Unknown unicast goes to uplinks and unsecured ports, never to a secured one. */
static void test_unknown_unicast(void **state)
{
	COVERS(V4, F_UNICAST);

	static const uint8_t mac_z[6] = { 2, 0, 0, 0, 0xff, 0xff };
	struct tport c;
	struct frame f, got;

	tport_make(&c, 65542, mac_c, -1, "eth0");
	lab_port(&lab, &c, 1, 0, 0, NULL);
	udp(&f, mac_a, mac_z, "10.0.0.1", "10.0.0.77");
	assert_true(lab_passes(&a, &f, &u, &got));
	assert_true(tport_recv(&c, &got, 200));
	assert_false(tport_recv(&b, &got, 0));
	assert_false(lab_record(&lab, a.host, &f, &(struct flow_rec){ 0 }));
	/* Somebody behind the unsecured port; the loop guard does not take him for an echo. */
	udp(&f, mac_z, mac_a, "10.0.0.77", "10.0.0.1");
	assert_true(lab_passes(&c, &f, &a, &got));
	udp(&f, mac_a, mac_z, "10.0.0.1", "10.0.0.77");
	assert_true(lab_passes(&a, &f, &c, &got));
	assert_false(tport_recv(&u, &got, 0));
	/* Our own port's MAC from elsewhere is a loop or a lie. */
	udp(&f, mac_b, mac_a, "10.0.0.2", "10.0.0.1");
	assert_int_equal(lab_run(&lab, u.host, &f, NULL), TC_ACT_SHOT);
	assert_dropped(&lab, L2_LOOP);
	assert_not_dropped(&lab);
	link_del(c.host);
	tport_free(&c);
}

/* Multicast obeys the rules of who sends and of who would receive; what makes IPv6 work does not need them. */
static void test_multicast(void **state)
{
	COVERS(V4 | V6, F_MULTICAST);

	static const uint8_t group4[6] = { 1, 0, 0x5e, 1, 1, 1 }, all6[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	struct dp_sg_rule out[2] = { { .egress = true, .family = IP_V4 },
				     { .egress = true, .family = IP_V6 } };
	struct frame f, got;

	udp(&f, mac_a, group4, "10.0.0.1", "224.1.1.1");
	assert_true(lab_passes(&a, &f, &u, &got));
	assert_true(tport_recv(&b, &got, 200));
	OK(dp_sg_set(lab.dp, SG_ALL, out, 2, NULL, 0, &lab_err)); /* nothing may come in */
	assert_true(lab_passes(&a, &f, &u, &got));
	assert_false(tport_recv(&b, &got, 0));
	OK(dp_sg_set(lab.dp, SG_ALL, NULL, 0, NULL, 0, &lab_err));
	tport_send(&a, &f);
	assert_false(tport_recv(&u, &got, 0));
	assert_dropped(&lab, SG_EGRESS);
	frame_nd(&f, mac_a, all6, "fd00::1", "ff02::1", 136, "fd00::1", mac_a);
	assert_true(lab_passes(&a, &f, &u, &got));
	assert_true(tport_recv(&b, &got, 200));
	/* An advertisement of a router behind the uplink reaches everybody. */
	frame_nd(&f, mac_w, all6, "fe80::f", "ff02::1", 134, "fd00::1", NULL);
	assert_true(lab_passes(&u, &f, &a, &got));
	assert_true(tport_recv(&b, &got, 200));
	assert_not_dropped(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_unicast, setup, teardown),
		cmocka_unit_test_setup_teardown(test_arp_reply, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nd_reply, setup, teardown),
		cmocka_unit_test_setup_teardown(test_spoof, setup, teardown),
		cmocka_unit_test_setup_teardown(test_uplink, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vlan_uplink, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mac_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_unicast, setup, teardown),
		cmocka_unit_test_setup_teardown(test_multicast, setup, teardown),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
