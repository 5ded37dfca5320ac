/* SPDX-License-Identifier: Apache-2.0 */

/* What the datapath tells about flows and packets: ended and long-lived flows, the live table, drops, captures. */

#include "chain_lab.h"

#include <bpf/bpf.h>
#include <linux/pkt_cls.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dp/observe.h"
#include "telemetry.h"

#define TOLD_MAX 20000
#define PORT_A 1000

static struct dp_flow told[TOLD_MAX];
static size_t n_told;

static void on_flow(void *ctx, const struct dp_flow *f)
{
	assert_ptr_equal(ctx, &lab);
	assert_true(n_told < TOLD_MAX);
	told[n_told++] = *f;
}

static int setup(void **state)
{
	int r = chain_setup(state);

	n_told = 0;
	dp_flows_tell(lab.dp, 0, on_flow, &lab);
	return r;
}

/* Where walks take long, there is a pause between them. */
static void age_all(void)
{
	lab_idle(&lab);
	do
		OK(dp_age(lab.dp, &lab_err));
	while ((lab_entries(&lab, "flow4") || lab_entries(&lab, "flow6")) && !poll(NULL, 0, 10));
}

static const struct dp_flow *find(const char *src, uint16_t dport)
{
	struct ip_addr a = ip_of(src);

	for (size_t i = 0; i < n_told; i++)
		if (ip_eq(told[i].src, a) && told[i].dport == dport)
			return &told[i];
	fail_msg("nothing told of %s to port %u", src, dport);
	return NULL;
}

static void check(const struct dp_flow *f, const char *dst, uint64_t pkts, uint64_t bytes, bool opener)
{
	assert_true(ip_eq(f->dst, ip_of(dst)));
	assert_int_equal(f->kind, DP_FLOW_IDLE);
	assert_int_equal(f->pkts, pkts);
	assert_int_equal(f->bytes, bytes);
	assert_int_equal(f->opener, opener);
	assert_true(f->replied);
	assert_false(f->dropped);
	assert_int_equal(f->proto, 17);
	assert_string_equal(f->state, "UDP_REPLIED");
	assert_true(f->created_ns > 0 && f->created_ns <= f->now_ns);
	assert_int_equal(f->in.num, opener ? lan.host : wan.host);
	assert_int_equal(f->out.num, opener ? wan.host : lan.host);
	assert_memory_equal(f->smac.b, opener ? mac_x : mac_y, 6);
}

static void test_ended_flows_with_their_counters(void **state)
{
	COVERS(V4 | V6, F_FLOWS_TOLD, F_AGEING, F_RECORD);

	struct frame f;

	expect_both(PORT_A, "");
	expect_path(false, true, PORT_A, "");
	OK(dp_age(lab.dp, &lab_err));
	assert_int_equal(n_told, 0); /* they live */
	packet(&f, false, true, PORT_A, 1);
	age_all();
	assert_int_equal(n_told, 4);
	check(find("10.0.0.11", 80), "10.0.0.22", 3, 3 * f.len, true);
	check(find("10.0.0.22", PORT_A), "10.0.0.11", 2, 2 * f.len, false);
	packet(&f, true, true, PORT_A, 1);
	check(find("fd00::11", 80), "fd00::22", 2, 2 * f.len, true);
	check(find("fd00::22", PORT_A), "fd00::11", 2, 2 * f.len, false);
	age_all();
	assert_int_equal(n_told, 4); /* once */
}

static void test_nothing_unless_asked(void **state)
{
	(void)state;
	dp_flows_tell(lab.dp, 0, NULL, NULL);
	expect_both(PORT_A, "");
	age_all();
	assert_int_equal(lab_entries(&lab, "flow4"), 0);
	dp_flows_tell(lab.dp, 0, on_flow, &lab);
	OK(dp_age(lab.dp, &lab_err));
	assert_int_equal(n_told, 0);
}

/* Six records of three segments, and one connection. */
static void test_a_chain_counts_once(void **state)
{
	COVERS(V4 | V6, F_FLOWS_TOLD);
	set_chain("01", DP_FLIP_MOVE);
	expect_both(PORT_A, "01");
	age_all();
	assert_int_equal(n_told, 4);
	assert_int_equal(find("10.0.0.11", 80)->pkts, 2);
	assert_int_equal(find("10.0.0.22", PORT_A)->pkts, 2);
	assert_int_equal(find("fd00::22", PORT_A)->pkts, 2);
	assert_int_equal(find("fd00::11", 80)->chain, CHAIN);
}

static void tcp(struct frame *f, bool v6, uint16_t sport, uint8_t flags, uint32_t seq)
{
	struct desc d = { .smac = mac_x,
			  .dmac = mac_y,
			  .src = v6 ? "fd00::11" : "10.0.0.11",
			  .dst = v6 ? "fd00::22" : "10.0.0.22",
			  .proto = 6,
			  .sport = sport,
			  .dport = 80,
			  .flags = flags,
			  .tcp_seq = seq,
			  .tcp_win = 1000 };

	frame_build(f, &d);
}

static void test_closed_connections(void **state)
{
	COVERS(V4 | V6, F_FLOWS_TOLD);

	struct frame f;

	for (int v6 = 0; v6 < 2; v6++) {
		tcp(&f, v6, PORT_A, TCP_SYN, 1);
		assert_int_equal(lab_run(&lab, lan.host, &f, NULL), 7);
		tcp(&f, v6, PORT_A, TCP_RST, 2);
		assert_int_equal(lab_run(&lab, lan.host, &f, NULL), 7);
	}
	age_all();
	assert_int_equal(n_told, 2);
	for (size_t i = 0; i < n_told; i++) {
		assert_int_equal(told[i].kind, DP_FLOW_END);
		assert_int_equal(told[i].tcp_flags & 0x17, TCP_SYN | TCP_RST);
		assert_int_equal(told[i].pkts, 2);
	}
}

/* The same ports again: the record goes on, and so do its counters. */
static void test_reopened_connection(void **state)
{
	COVERS(V4, F_FLOWS_TOLD);

	struct frame f;

	tcp(&f, false, PORT_A, TCP_SYN, 1);
	(void)lab_run(&lab, lan.host, &f, NULL);
	tcp(&f, false, PORT_A, TCP_RST, 2);
	(void)lab_run(&lab, lan.host, &f, NULL);
	tcp(&f, false, PORT_A, TCP_SYN, 100);
	assert_int_equal(lab_run(&lab, lan.host, &f, NULL), 7);
	OK(dp_age(lab.dp, &lab_err));
	assert_int_equal(n_told, 1);
	assert_int_equal(told[0].kind, DP_FLOW_REPLACED);
	assert_int_equal(told[0].pkts, 2);
	age_all();
	assert_int_equal(n_told, 2);
	assert_int_equal(told[1].pkts, 3);
	assert_true(told[1].created_ns >= told[0].created_ns);
}

static void test_active_timeout(void **state)
{
	COVERS(V4 | V6, F_FLOWS_TOLD);
	dp_flows_tell(lab.dp, 1, on_flow, &lab);
	expect_both(PORT_A, "");
	for (int i = 0; i < 500 && n_told < 4; i++) {
		OK(dp_age(lab.dp, &lab_err));
		poll(NULL, 0, 10); /* the kernel's own clock has to pass the second */
	}
	assert_int_equal(n_told, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(told[i].kind, DP_FLOW_ACTIVE);
		assert_int_equal(told[i].pkts, 2);
		assert_true(told[i].now_ns - told[i].created_ns >= 1000000000);
	}
	assert_int_equal(find("fd00::11", 80)->kind, DP_FLOW_ACTIVE);
}

/* What is displaced is told, or counted as lost: together with what lives it is what was sent. */
static void test_shed_flows_add_up(void **state)
{
	COVERS(V4, F_SHEDDING, F_FLOWS_TOLD);

	enum { N = 12000 };
	struct dp_losses lost;
	uint64_t sum = 0, shed = 0;
	struct frame f;

	for (int i = 1; i <= N; i++) {
		tcp(&f, false, (uint16_t)i, TCP_SYN, 1);
		assert_int_equal(lab_run(&lab, lan.host, &f, NULL), 7);
		if (i % 4000 == 0)
			OK(dp_age(lab.dp, &lab_err));
	}
	age_all();
	for (size_t i = 0; i < n_told; i++) {
		sum += told[i].pkts;
		shed += told[i].kind == DP_FLOW_SHED;
	}
	dp_losses(lab.dp, &lost);
	assert_int_equal(sum + lost.pkts, N);
	assert_true(shed >= N - 8192);
	assert_int_equal(lab_entries(&lab, "flow4"), 0);
}

/* A full ring delays the end of silent flows and loses none of them. */
static void test_more_ends_than_the_ring_holds(void **state)
{
	struct dp_losses lost;
	struct frame f;

	(void)state;
	for (int i = 1; i <= 3300; i++)
		for (int v6 = 0; v6 < 2; v6++)
			for (int up = 1; up >= 0; up--) {
				packet(&f, v6, up, (uint16_t)(5000 + i), 1);
				if (v6 && i > 1500)
					continue;
				assert_int_equal(lab_run(&lab, up ? lan.host : wan.host, &f, NULL), 7);
			}
	assert_true(9600 * sizeof(struct flow_event) > ABI_FLOW_RING - 9600 * 8);
	age_all();
	dp_losses(lab.dp, &lost);
	assert_int_equal(lost.flows, 0);
	assert_int_equal(n_told, 9600);
}

/* ---- the live table ---- */

static void populate(void)
{
	struct frame f;

	for (uint16_t i = 1; i <= 40; i++)
		for (int v6 = 0; v6 < 2; v6++)
			for (int n = 0; n < i; n++) {
				packet(&f, v6, true, (uint16_t)(PORT_A + i), 1);
				(void)lab_run(&lab, lan.host, &f, NULL);
			}
	for (uint16_t i = 1; i <= 5; i++) {
		tcp(&f, false, (uint16_t)(2000 + i), TCP_SYN, 1);
		(void)lab_run(&lab, lan.host, &f, NULL);
	}
}

static struct dp_flow flows[DP_FLOWS_MAX];
static struct dp_flow_totals totals;

static int list(struct dp_flow_query q)
{
	q.limit = q.limit ? q.limit : DP_FLOWS_MAX;
	return OK(dp_flows(lab.dp, &q, flows, &totals, &lab_err));
}

static void test_list_top(void **state)
{
	COVERS(V4 | V6, F_LIVE_FLOWS);
	populate();
	assert_int_equal(list((struct dp_flow_query){ .limit = 10 }), 10);
	assert_int_equal(totals.matched, 85);
	assert_int_equal(totals.pkts, 2 * 40 * 41 / 2 + 5);
	assert_false(totals.cut);
	for (int i = 0; i < 9; i++)
		assert_true(flows[i].bytes >= flows[i + 1].bytes);
	assert_true(flows[0].last_ns <= flows[0].now_ns &&
		    flows[0].last_ns > flows[0].now_ns - 60000000000);
	assert_int_equal(flows[0].src.family, IP_V6);
	assert_int_equal(flows[0].sport, PORT_A + 40);
	assert_int_equal(flows[0].pkts, 40);
	assert_int_equal(list((struct dp_flow_query){ .order = DP_BY_PKTS, .limit = 3 }), 3);
	assert_int_equal(flows[1].pkts, 40);
	assert_int_equal(flows[2].pkts, 39);
	assert_int_equal(list((struct dp_flow_query){ .order = DP_BY_NEWEST, .limit = 1 }), 1);
	assert_int_equal(n_told, 0); /* looking is no end */
}

static void test_list_filters(void **state)
{
	COVERS(V4 | V6, F_LIVE_FLOWS);

	const struct {
		struct dp_flow_query q;
		int n;
	} rows[] = {
		{ { .family = 4 }, 45 },
		{ { .family = 6 }, 40 },
		{ { .proto = 6 }, 5 },
		{ { .proto = 17 }, 80 },
		{ { .port = 80 }, 85 },
		{ { .port = 2003 }, 1 },
		{ { .port = 9 }, 0 },
		{ { .addr = cidr_of("10.0.0.11/32") }, 45 },
		{ { .addr = cidr_of("10.0.0.22/32") }, 45 },
		{ { .src = cidr_of("10.0.0.22/32") }, 0 },
		{ { .src = cidr_of("10.0.0.0/24"), .dst = cidr_of("10.0.0.16/28") }, 45 },
		{ { .addr = cidr_of("fd00::/16") }, 40 },
		{ { .dst = cidr_of("fd00::22/128"), .port = PORT_A + 7 }, 1 },
		{ { .addr = cidr_of("fd01::/16") }, 0 },
		{ { .state = "SYN_SENT" }, 5 },
		{ { .state = "UDP_NEW", .family = 6 }, 40 },
		{ { .port_index = { lan.host } }, 85 },
		{ { .port_index = { 9999 } }, 0 },
		{ { .chain = 9 }, 0 },
		{ { .dropped = true }, 0 },
	};
	struct dp_flow_query bad = { .state = "NOPE" },
			     both = { .src = cidr_of("10.0.0.0/8"), .dst = cidr_of("fd00::/8") };

	(void)state;
	populate();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (list(rows[i].q) != rows[i].n || totals.matched != (uint64_t)rows[i].n)
			fail_msg("row %zu: %d matched", i, (int)totals.matched);
	assert_true(dp_flows(lab.dp, &bad, flows, &totals, &lab_err) < 0);
	assert_string_equal(lab_err.field, "state");
	assert_true(dp_flows(lab.dp, &both, flows, &totals, &lab_err) < 0);
}

static void test_list_segments_of_a_chain(void **state)
{
	(void)state;
	set_chain("01", DP_FLIP_MOVE);
	expect_both(PORT_A, "01");
	assert_int_equal(list((struct dp_flow_query){ .chain = CHAIN }), 4);
	assert_int_equal(list((struct dp_flow_query){ .chain = CHAIN, .all_segments = true }), 12);
}

static void test_volumes(void **state)
{
	COVERS(V4 | V6, F_LIVE_FLOWS);

	static struct dp_volumes v;
	struct dp_flow_query q = { 0 };

	populate();
	for (int again = 0; again < 2; again++) {
		OK(dp_volumes(lab.dp, &q, &v, &lab_err));
		assert_int_equal(v.totals.matched, 85);
		assert_int_equal(v.n_apps, 2);
		assert_string_equal(v.apps[0].name, "other udp");
		assert_int_equal(v.apps[0].flows, 80);
		assert_string_equal(v.apps[1].name, "http");
		assert_int_equal(v.apps[1].pkts, 5);
		assert_int_equal(v.n_talkers, 2);
		assert_true(ip_eq(v.talkers[0].ip, ip_of("fd00::11")));
		assert_int_equal(v.talkers[1].flows, 45);
		assert_int_equal(v.talkers[0].bytes + v.talkers[1].bytes, v.totals.bytes);
	}
	q.proto = 6;
	OK(dp_volumes(lab.dp, &q, &v, &lab_err));
	assert_int_equal(v.n_apps, 1);
}

/* ---- packets ---- */

static struct dp_packet packets[64];
static uint8_t heads[64][DP_CAPTURE_HEAD];
static size_t n_packets;

static void on_packet(void *ctx, const struct dp_packet *p)
{
	(void)ctx;
	if (n_packets == 64)
		return;
	packets[n_packets] = *p;
	memcpy(heads[n_packets++], p->head, p->head_len);
}

static size_t poll_packets(void)
{
	n_packets = 0;
	dp_packets_poll(lab.dp, on_packet, NULL);
	return n_packets;
}

static void test_drops_are_told_to_who_watches(void **state)
{
	COVERS(V4 | V6, F_DROPS);

	struct frame f, bad;

	for (int v6 = 0; v6 < 2; v6++) {
		packet(&f, v6, true, PORT_A, 1);
		bad = f;
		bad.b[14] = 0x11; /* no such version, or a short header */
		dp_drops_watch(lab.dp, 0);
		assert_int_equal(lab_run(&lab, lan.host, &bad, NULL), 2);
		assert_int_equal(poll_packets(), 0);
		dp_drops_watch(lab.dp, 1);
		assert_int_equal(lab_run(&lab, lan.host, &bad, NULL), 2);
		assert_int_equal(lab_run(&lab, lan.host, &f, NULL), 7);
		assert_int_equal(poll_packets(), 1);
		assert_false(packets[0].captured);
		assert_int_equal(packets[0].reason, DROP_MALFORMED);
		assert_int_equal(packets[0].port.num, lan.host);
		assert_int_equal(packets[0].len, bad.len);
		assert_int_equal(packets[0].head_len, DP_DROP_HEAD);
		assert_memory_equal(heads[0], bad.b, DP_DROP_HEAD);
		assert_true(packets[0].now_ns > 0);
	}
}

/* The verdict of a flow: by the slow path first, then by its record. */
static void test_drops_of_a_record(void **state)
{
	COVERS(V4 | V6, F_DROPS, F_VERDICT);

	struct dp_port p = { .ifindex = { wan.host }, .net = 1, .flags = DP_PORT_SECURITY };
	struct frame f;

	memcpy(p.mac.b, mac_y, 6);
	OK(dp_port_set(lab.dp, &p, &lab_err)); /* no group: nothing may come in */
	dp_drops_watch(lab.dp, 1);
	for (int v6 = 0; v6 < 2; v6++) {
		packet(&f, v6, true, PORT_A, 1);
		for (int n = 0; n < 3; n++)
			assert_int_equal(lab_run(&lab, lan.host, &f, NULL), 2);
		assert_int_equal(poll_packets(), 3);
		for (int n = 0; n < 3; n++)
			assert_int_equal(packets[n].reason, DROP_SG_INGRESS);
	}
	assert_int_equal(list((struct dp_flow_query){ .dropped = true }), 2);
	assert_true(flows[0].dropped);
	assert_int_equal(flows[0].pkts, 3);
	age_all();
	assert_int_equal(n_told, 2);
	assert_true(told[0].dropped);
	assert_int_equal(told[0].reason, DROP_SG_INGRESS);
}

static void test_policy_ends_a_flow(void **state)
{
	COVERS(V4, F_FLOWS_TOLD, F_GENERATION);

	struct dp_port p = { .ifindex = { wan.host }, .net = 1, .flags = DP_PORT_SECURITY };
	struct frame f;

	packet(&f, false, true, PORT_A, 1);
	assert_int_equal(lab_run(&lab, lan.host, &f, NULL), 7);
	memcpy(p.mac.b, mac_y, 6);
	OK(dp_port_set(lab.dp, &p, &lab_err));
	assert_int_equal(lab_run(&lab, lan.host, &f, NULL), 2);
	OK(dp_age(lab.dp, &lab_err));
	assert_int_equal(n_told, 1);
	assert_int_equal(told[0].kind, DP_FLOW_FORCED);
	assert_int_equal(told[0].pkts, 1);
}

static void test_sampling(void **state)
{
	COVERS(V4, F_DROPS);

	struct frame f;

	packet(&f, false, true, PORT_A, 1);
	f.b[14] = 0x11;
	dp_drops_watch(lab.dp, 1000000);
	for (int i = 0; i < 50; i++)
		(void)lab_run(&lab, lan.host, &f, NULL);
	assert_true(poll_packets() < 5);
}

static void test_capture_both_ways(void **state)
{
	COVERS(V4 | V6, F_CAPTURE);

	struct frame f;

	for (int v6 = 0; v6 < 2; v6++) {
		expect_path(v6, true, PORT_A, "");
		dp_capture(lab.dp, (ifindex){ lan.host }, 1);
		for (int n = 0; n < 2; n++) {
			expect_path(v6, true, PORT_A, "");
			expect_path(v6, false, PORT_A, "");
		}
		packet(&f, v6, true, PORT_A, 1);
		assert_int_equal(poll_packets(), 4);
		for (int n = 0; n < 4; n++) {
			assert_true(packets[n].captured);
			assert_int_equal(packets[n].to_port, n % 2);
			assert_int_equal(packets[n].len, f.len);
			assert_int_equal(packets[n].head_len, f.len);
			assert_memory_equal(heads[n] + 6, n % 2 ? mac_y : mac_x, 6);
		}
		dp_capture(lab.dp, (ifindex){ 0 }, 0);
		expect_path(v6, true, PORT_A, "");
		assert_int_equal(poll_packets(), 0);
	}
	assert_not_dropped(&lab);
}

static void test_sampled_capture(void **state)
{
	COVERS(V4 | V6, F_CAPTURE);

	struct frame f;

	for (int v6 = 0; v6 < 2; v6++) {
		packet(&f, v6, true, PORT_A, 1);
		dp_capture(lab.dp, (ifindex){ lan.host }, 1000000);
		for (int i = 0; i < 50; i++)
			assert_int_not_equal(lab_run(&lab, lan.host, &f, NULL), TC_ACT_SHOT);
		assert_true(poll_packets() < 5);
		dp_capture(lab.dp, (ifindex){ 0 }, 0);
	}
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, chain_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_ended_flows_with_their_counters),
		TEST(test_nothing_unless_asked),
		TEST(test_a_chain_counts_once),
		TEST(test_closed_connections),
		TEST(test_reopened_connection),
		TEST(test_active_timeout),
		TEST(test_shed_flows_add_up),
		TEST(test_more_ends_than_the_ring_holds),
		TEST(test_list_top),
		TEST(test_list_filters),
		TEST(test_list_segments_of_a_chain),
		TEST(test_volumes),
		TEST(test_drops_are_told_to_who_watches),
		TEST(test_drops_of_a_record),
		TEST(test_policy_ends_a_flow),
		TEST(test_sampling),
		TEST(test_capture_both_ways),
		TEST(test_sampled_capture),
	};

	return lab_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
