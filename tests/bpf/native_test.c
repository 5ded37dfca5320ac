/* SPDX-License-Identifier: Apache-2.0 */

/* Native functions as hops of a chain, limits and marks of ports, and room in the table. */

#include "chain_lab.h"

#include <bpf/bpf.h>
#include <string.h>

#define N_NATIVE 8
#define METER 7
#define FIREWALL_SG 3
#define LIST 4

static const char kinds[] = "?AFPM"; /* enum dp_native_kind */

static ifindex native_in(size_t i)
{
	return (ifindex){ DP_PSEUDO_PORT + (int)(2 * i) };
}
static ifindex native_out(size_t i)
{
	return (ifindex){ DP_PSEUDO_PORT + (int)(2 * i) + 1 };
}

static void native_port(ifindex port, uint8_t kind, bool lan_side)
{
	struct dp_port p = { .ifindex = port, .net = 1, .flags = DP_PORT_NATIVE };

	if (kind == DP_NATIVE_FIREWALL) {
		p.flags |= DP_PORT_SECURITY | DP_PORT_HELP_TFTP;
		p.n_sgs = 1;
		p.sgs[0] = lan_side ? FIREWALL_SG : FIREWALL_SG + 1;
	}
	if (kind == DP_NATIVE_ACL && lan_side)
		p.acl_to[0] = LIST;
	if (kind == DP_NATIVE_POLICER && lan_side)
		p.meter_to = METER;
	if (kind == DP_NATIVE_MIRROR)
		p.mirror_to = (ifindex){ fn[3].in.host };
	OK(dp_port_set(lab.dp, &p, &lab_err));
}

/* Digits are functions of the lab, letters native ones. */
static int set_mixed(const char *hops)
{
	struct dp_path p = path_of("", true);
	struct dp_flip_result r;

	p.n_hops = strlen(hops);
	for (size_t i = 0; i < p.n_hops; i++) {
		const char *kind = strchr(kinds, hops[i]);
		struct dp_pair *pair = &p.hops[i].pairs[0];

		p.hops[i].n_pairs = 1;
		if (!kind) {
			struct fn *f = &fn[hops[i] - '0'];

			*pair = (struct dp_pair){ .in = { f->in.host },
						  .out = { f->out.host },
						  .transparent = true };
			continue;
		}
		*pair = (struct dp_pair){ .in = native_in(i),
					  .out = native_out(i),
					  .native = (uint8_t)(kind - kinds) };
		native_port(pair->in, pair->native, true);
		native_port(pair->out, pair->native, false);
	}
	return dp_chain_set(lab.dp, &p, DP_FLIP_MOVE, &r, &lab_err);
}

/* From the LAN side: UDP and ICMP; from the WAN side: nothing. Everything may leave. */
static void rules_set(void)
{
	struct dp_sg_rule lan_rules[] = {
		{ .family = 4, .proto = 17, .port_min = 0, .port_max = 65535, .has_ports = true },
		{ .family = 6, .proto = 17 },
		{ .egress = true, .family = 4 },
		{ .egress = true, .family = 6 },
	};

	OK(dp_sg_set(lab.dp, FIREWALL_SG, lan_rules, 4, NULL, 0, &lab_err));
	OK(dp_sg_set(lab.dp, FIREWALL_SG + 1, lan_rules + 2, 2, NULL, 0, &lab_err));
}

static int setup(void **state)
{
	int r = chain_setup(state);

	rules_set();
	return r;
}

static void test_between_containers(void **state)
{
	COVERS(V4 | V6, F_NATIVE_CHAIN);
	OK(set_mixed("0FF1"));
	expect_both(1000, "01");
	OK(set_mixed("F0F1F"));
	expect_both(1000, "01");
	OK(set_mixed("FFFFFFFF"));
	expect_both(1000, "");
	OK(set_mixed("10"));
	expect_both(1000, "10");
	assert_not_dropped(&lab);
}

static struct frame from_wan(bool v6, uint16_t port)
{
	struct frame f;

	packet(&f, v6, false, port, 1);
	return f;
}

static void test_firewall(void **state)
{
	COVERS(V4 | V6, F_NATIVE_FIREWALL, F_VERDICT);

	struct flow_rec rec;
	struct frame f;

	OK(set_mixed("0F"));
	for (int v6 = 0; v6 < 2; v6++) {
		f = from_wan(v6, 3000);
		assert_false(lab_passes(&wan, &f, &lan, NULL));
		assert_dropped(&lab, FIREWALL);
		assert_true(lab_record(&lab, wan.host, &f, &rec));
		assert_true(rec.flags & FLOW_DROP);
		assert_int_equal(rec.reason, DROP_FIREWALL);
		/* Remembered: the second packet ends in the fast path, with the same reason. */
		assert_false(lab_passes(&wan, &f, &lan, NULL));
		assert_dropped(&lab, FIREWALL);
	}
	expect_both(1000, "0"); /* opened from the LAN, answered from the WAN */
	/* A rule that goes cuts what it allowed. */
	OK(dp_sg_set(lab.dp, FIREWALL_SG, NULL, 0, NULL, 0, &lab_err));
	packet(&f, false, true, 1000, 1);
	tport_send(&lan, &f);
	pump();
	assert_false(tport_recv(&wan, &f, 0));
	assert_dropped(&lab, FIREWALL);
	rules_set();
	expect_both(1000, "0");
}

/* A transfer that the firewall's helper read about: the answer comes from a port that no rule names. */
static void test_helper(void **state)
{
	COVERS(V4 | V6, F_NATIVE_FIREWALL, F_TFTP);

	struct frame f;

	OK(set_mixed("F"));
	for (int v6 = 0; v6 < 2; v6++) {
		f = from_wan(v6, 2000);
		assert_false(lab_passes(&wan, &f, &lan, NULL));
		assert_dropped(&lab, FIREWALL);
		packet(&f, v6, true, 2001, 0x00010000);
		f.b[v6 ? 57 : 37] = 69;
		assert_true(lab_passes(&lan, &f, &wan, NULL));
		f = from_wan(v6, 2001);
		assert_true(lab_passes(&wan, &f, &lan, NULL));
	}
	assert_not_dropped(&lab);
}

/* Without a memory: what comes back is judged by itself, and no list looks at it here. */
static void test_acl(void **state)
{
	COVERS(V4 | V6, F_NATIVE_ACL);

	struct dp_acl_rule rules[2] = {
		{ .id = 8, .deny = true, .proto = 17, .has_sport = true, .sport_min = 2000, .sport_max = 2999 },
		{ .id = 9 }
	};
	struct flow_rec rec;
	struct frame f;

	OK(dp_acl_set(lab.dp, LIST, rules, 2, &lab_err));
	OK(set_mixed("0A1"));
	expect_both(1000, "01");
	for (int v6 = 0; v6 < 2; v6++) {
		for (int n = 0; n < 2; n++) { /* a first packet, and by its record */
			packet(&f, v6, true, 2500, 1);
			tport_send(&lan, &f);
			pump();
			assert_false(tport_recv(&wan, &f, 0));
			assert_dropped(&lab, ACL);
		}
		packet(&f, v6, true, 2500, 1);
		assert_true(lab_record(&lab, fn[0].out.host, &f, &rec)); /* between the containers */
		assert_true(rec.flags & FLOW_DROP);
		assert_int_equal(rec.reason, DROP_ACL);
		assert_int_equal(rec.rule, 8);
		expect_path(v6, false, 2500, "01");
	}
	OK(dp_acl_set(lab.dp, LIST, rules + 1, 1, &lab_err));
	expect_both(2500, "01");
	assert_not_dropped(&lab);
}

static unsigned int passed(bool v6, unsigned int n, uint16_t port)
{
	unsigned int got = 0;
	struct frame f;

	packet(&f, v6, true, port, 1);
	for (unsigned int i = 0; i < n; i++)
		got += lab_run(&lab, lan.host, &f, NULL) == 7; /* TC_ACT_REDIRECT */
	return got;
}

static void policed(bool v6)
{
	struct dp_meter m = { .id = METER, .rate_pps = 1, .burst_pkts = 10 };
	uint64_t drops;

	OK(dp_meter_set(lab.dp, &m, &lab_err));
	OK(set_mixed("FP"));
	assert_in_range(passed(v6, 20, 1000), 10, 11);
	assert_in_range(lab_dropped(&lab, DROP_METER), 9, 10);
	OK(dp_meter_drops(lab.dp, METER, &drops, &lab_err));
	assert_in_range(drops, 9, 10);
	assert_in_range(passed(!v6, 5, 1001), 0, 1); /* one bucket for all flows, of both families */
	/* Bytes; a frame larger than what is left still passes, and leaves a debt. */
	m = (struct dp_meter){ .id = METER, .rate_bps = 8, .burst_bytes = 100 };
	OK(dp_meter_set(lab.dp, &m, &lab_err));
	assert_int_equal(passed(v6, 5, 1002), 2); /* 72 bytes each, or 92 */
	OK(dp_meter_del(lab.dp, METER, &lab_err));
	assert_int_equal(passed(v6, 20, 1002), 20);
	(void)lab_dropped(&lab, DROP_METER);
}

static void test_policer(void **state)
{
	COVERS(V4 | V6, F_NATIVE_POLICER);
	policed(false);
	policed(true);
}

static void test_mirror(void **state)
{
	COVERS(V4 | V6, F_NATIVE_MIRROR);

	struct frame f, copy;

	OK(set_mixed("M"));
	for (int v6 = 0; v6 < 2; v6++)
		for (int n = 0; n < 2; n++) {
			packet(&f, v6, true, 1000, 5);
			assert_true(lab_passes(&lan, &f, &wan, NULL));
			assert_true(tport_recv(&fn[3].in, &copy, 200));
			assert_int_equal(copy.len, f.len);
			assert_memory_equal(copy.b, f.b, f.len);
		}
	tport_drain(&fn[3].in);
	assert_not_dropped(&lab);
}

static void test_refused(void **state)
{
	OK(dp_meter_set(lab.dp, &(struct dp_meter){ .id = METER, .rate_bps = 1000 }, &lab_err));
	assert_true(set_mixed("PPP") < 0);
	assert_non_null(strstr(lab_err.msg, "policers"));
	assert_true(set_mixed("MM") < 0);
	assert_true(dp_port_set(lab.dp, &(struct dp_port){ .ifindex = native_in(0), .net = 1 },
				&lab_err) < 0);
	assert_true(dp_port_set(lab.dp,
				&(struct dp_port){
					.ifindex = { 101 }, .net = 1, .has_dscp = true, .dscp = 64 },
				&lab_err) < 0);
	assert_true(dp_meter_set(lab.dp, &(struct dp_meter){ .id = 0 }, &lab_err) < 0);
}

/* RFC 2474: the mark is written, ECN stays, the checksum is right. */
static void test_dscp(void **state)
{
	COVERS(V4 | V6, F_DSCP_MARK);

	struct dp_port p = {
		.ifindex = { lan.host }, .net = 1, .flags = DP_PORT_UPLINK, .has_dscp = true, .dscp = 46
	};
	struct frame f, out;

	OK(dp_port_set(lab.dp, &p, &lab_err));
	for (int n = 0; n < 2; n++) {
		packet(&f, false, true, 1000, 1);
		f.b[15] = 1; /* ECT(1) */
		f.b[25]--;   /* keeps the sum right: low byte of the checksum */
		assert_true(lab_passes(&lan, &f, &wan, &out));
		assert_int_equal(out.b[15], 46 << 2 | 1);
		unsigned int sum = 0;
		for (int i = 14; i < 34; i += 2)
			sum += (unsigned int)(out.b[i] << 8 | out.b[i + 1]);
		sum = (sum & 0xffff) + (sum >> 16);
		assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
		packet(&f, true, true, 1000, 1);
		f.b[15] |= 0x20; /* ECT(0) */
		assert_true(lab_passes(&lan, &f, &wan, &out));
		assert_int_equal((out.b[14] << 8 | out.b[15]) >> 4, 6 << 8 | 46 << 2 | 2);
	}
	assert_not_dropped(&lab);
}

static struct desc tcp_of(bool v6)
{
	return (struct desc){ .smac = mac_x,
			      .dmac = mac_y,
			      .src = v6 ? "fd00::11" : "10.0.0.11",
			      .dst = v6 ? "fd00::22" : "10.0.0.22",
			      .proto = 6,
			      .sport = 1,
			      .dport = 80,
			      .flags = TCP_SYN };
}

/* Records of a family that the lab's datapath has room for. */
static int room(bool v6)
{
	return v6 ? 4096 : 8192;
}

/* A flood against one session: it is half-open connections that go. */
static void test_flood_sheds_embryos(void **state)
{
	COVERS(V4 | V6, F_SHEDDING);

	struct frame f, first;
	struct flow_rec rec;

	expect_both(1000, ""); /* UDP, answered */
	for (int v6 = 0; v6 < 2; v6++) {
		struct desc d = tcp_of(v6);

		frame_build(&first, &d);
		assert_int_equal(lab_run(&lab, lan.host, &first, NULL), 7);
		for (int i = 2; i < room(v6); i++) {
			d.sport = (uint16_t)i;
			frame_build(&f, &d);
			assert_int_equal(lab_run(&lab, lan.host, &f, NULL), 7);
		}
		assert_true(lab_entries(&lab, v6 ? "flow6" : "flow4") <= (uint64_t)room(v6));
		assert_false(lab_record(&lab, lan.host, &first, &rec));
		packet(&f, v6, true, 1000, 1);
		assert_true(lab_record(&lab, lan.host, &f, &rec));
		assert_int_equal(rec.state, CT_UDP_REPLIED);
	}
	assert_not_dropped(&lab);
}

/* Ended connections make room by themselves: nothing ages here. */
static void test_room_without_ageing(void **state)
{
	COVERS(V4 | V6, F_SHEDDING);

	struct flow_rec rec;
	struct frame f;

	for (int v6 = 0; v6 < 2; v6++) {
		struct desc d = tcp_of(v6);

		for (int i = 1; i < room(v6) + 1900; i++) {
			d.sport = (uint16_t)i;
			d.flags = TCP_SYN;
			frame_build(&f, &d);
			assert_int_equal(lab_run(&lab, lan.host, &f, NULL), 7);
			d.flags = TCP_RST | TCP_ACK;
			frame_build(&f, &d);
			assert_int_equal(lab_run(&lab, lan.host, &f, NULL), 7);
		}
		assert_true(lab_record(&lab, lan.host, &f, &rec));
		assert_true(lab_entries(&lab, v6 ? "flow6" : "flow4") <= (uint64_t)room(v6));
	}
	assert_not_dropped(&lab);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_between_containers, setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_firewall, setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_helper, setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_acl, setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_policer, setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_mirror, setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_dscp, setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_flood_sheds_embryos, setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_room_without_ageing, setup, chain_teardown),
	};

	return lab_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
