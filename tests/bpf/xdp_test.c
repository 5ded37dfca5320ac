/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The XDP program of NICs, beside the tc program whose records it serves. Two NICs in one network, a host behind each:
 *
 *   x 10.0.0.1 fd00::1 --- [ u ]  network 1  [ w ] --- y 10.0.0.2 fd00::2
 *
 * The NICs are veths here, so XDP is asked for, and the other ends have GRO: without it a veth takes no XDP frames.
 * With an argument, writes what leaves behind two tags into that pcap file, for other dissectors to read.
 */

#include "lab.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dp/nic.h"
#include "dp/observe.h"

static const uint8_t mac_x[6] = { 2, 0, 0, 0, 0, 0xa }, mac_y[6] = { 2, 0, 0, 0, 0, 0xb },
		     mac_u[6] = { 2, 0, 0, 0, 0, 0xe }, mac_w[6] = { 2, 0, 0, 0, 0, 0xf };
#define U 65537
#define W 65538
#define LIST 5

static struct lab lab;
static struct tport u, w;
static struct dp_nic nic;

static void hook(struct tport *p, enum dp_hook want)
{
	OK(dp_nic_hook(lab.dp, (ifindex){ p->host }, want, &nic, &lab_err));
}

static void ports(uint16_t vlan_u, uint16_t vlan_w)
{
	lab_uplink(&lab, &u, 1, vlan_u);
	lab_uplink(&lab, &w, 1, vlan_w);
}

static int setup(void **state)
{
	lab_open(&lab);
	tport_make(&u, U, mac_u, -1, "eth0");
	tport_make(&w, W, mac_w, -1, "eth0");
	lab_far_end(&u, ETHTOOL_SGRO, 1);
	lab_far_end(&w, ETHTOOL_SGRO, 1);
	lab_far_end(&u, ETHTOOL_SFLAGS, 0); /* no VLAN offload */
	lab_far_end(&w, ETHTOOL_SFLAGS, 0);
	hook(&u, DP_HOOK_XDP);
	assert_true(nic.xdp);
	hook(&w, DP_HOOK_XDP);
	assert_true(nic.xdp);
	return 0;
}

static int teardown(void **state)
{
	link_del(U);
	link_del(W);
	tport_free(&u);
	tport_free(&w);
	lab_close(&lab);
	return 0;
}

/* A frame of the host behind u, or of the other one. */
static void make(struct frame *f, struct desc d, bool from_x, bool v6)
{
	d.smac = from_x ? mac_x : mac_y;
	d.dmac = from_x ? mac_y : mac_x;
	d.src = v6 ? (from_x ? "fd00::1" : "fd00::2") : (from_x ? "10.0.0.1" : "10.0.0.2");
	d.dst = v6 ? (from_x ? "fd00::2" : "fd00::1") : (from_x ? "10.0.0.2" : "10.0.0.1");
	frame_build(f, &d);
}

static struct desc udp_desc(bool from_x)
{
	return (struct desc){
		.proto = 17, .sport = from_x ? 1000 : 2000, .dport = from_x ? 2000 : 1000, .payload = 20
	};
}

/* Both hosts are learned, and the flow has its records. */
static void prime(struct desc there, struct desc back, bool v6)
{
	struct frame f;

	make(&f, back, false, v6);
	(void)lab_run(&lab, W, &f, NULL);
	make(&f, there, true, v6);
	assert_int_equal(lab_run(&lab, U, &f, NULL), TC_ACT_REDIRECT);
	make(&f, back, false, v6);
	assert_int_equal(lab_run(&lab, W, &f, NULL), TC_ACT_REDIRECT);
}

static struct flow_rec record(int port, const struct frame *f)
{
	struct flow_rec r;

	assert_true(lab_record(&lab, port, f, &r));
	return r;
}

/* ---- what is forwarded ---- */

static void test_forward(void **state)
{
	COVERS(V4 | V6, F_RECORD);

	struct frame f, got;

	ports(0, 0);
	for (int v6 = 0; v6 < 2; v6++)
		for (int x = 0; x < 2; x++) {
			struct flow_rec before, after;
			int port = x ? U : W;

			prime(udp_desc(true), udp_desc(false), v6);
			make(&f, udp_desc(x), x, v6);
			before = record(port, &f);
			assert_true(before.flags & FLOW_XDP);
			assert_int_equal(before.out, x ? W : U);
			assert_int_equal(lab_run_xdp(&lab, port, &f, &got), XDP_REDIRECT);
			assert_int_equal(got.len, f.len);
			assert_memory_equal(got.b, f.b, f.len);
			after = record(port, &f);
			assert_int_equal(after.pkts, before.pkts + 1);
			assert_int_equal(after.bytes, before.bytes + f.len);
		}
	assert_not_dropped(&lab);
}

static struct desc tcp_desc(bool from_x, uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct desc d = { .proto = 6,
			  .sport = from_x ? 1000 : 80,
			  .dport = from_x ? 80 : 1000,
			  .flags = flags,
			  .tcp_seq = seq,
			  .tcp_ack = ack,
			  .tcp_win = 1000,
			  .payload = flags & (TCP_SYN | TCP_RST) ? 0 : 10 };

	return d;
}

static int tcp_at(bool xdp, bool from_x, bool v6, uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct frame f;

	make(&f, tcp_desc(from_x, flags, seq, ack), from_x, v6);
	return xdp ? lab_run_xdp(&lab, from_x ? U : W, &f, NULL) :
		     lab_run(&lab, from_x ? U : W, &f, NULL);
}

/* RFC 9293: what changes the state is the tc program's; data is not. */
static void test_tcp(void **state)
{
	COVERS(V4 | V6, F_TCP_STATES);
	ports(0, 0);
	for (int v6 = 0; v6 < 2; v6++) {
		prime(udp_desc(true), udp_desc(false), v6);
		assert_int_equal(tcp_at(true, true, v6, TCP_SYN, 100, 0), XDP_PASS);
		assert_int_equal(tcp_at(false, true, v6, TCP_SYN, 100, 0), TC_ACT_REDIRECT);
		assert_int_equal(tcp_at(true, false, v6, TCP_SYN | TCP_ACK, 500, 101), XDP_PASS);
		assert_int_equal(tcp_at(false, false, v6, TCP_SYN | TCP_ACK, 500, 101), TC_ACT_REDIRECT);
		assert_int_equal(tcp_at(true, true, v6, TCP_ACK, 101, 501), XDP_PASS);
		assert_int_equal(tcp_at(false, true, v6, TCP_ACK, 101, 501), TC_ACT_REDIRECT);
		assert_int_equal(tcp_at(false, false, v6, TCP_ACK, 501, 111), TC_ACT_REDIRECT);
		assert_int_equal(tcp_at(true, true, v6, TCP_ACK, 111, 511), XDP_REDIRECT);
		assert_int_equal(tcp_at(true, false, v6, TCP_ACK | TCP_PSH, 511, 121), XDP_REDIRECT);
		assert_int_equal(tcp_at(true, true, v6, TCP_ACK | TCP_FIN, 121, 521), XDP_PASS);
		assert_int_equal(tcp_at(true, true, v6, TCP_RST, 121, 0), XDP_PASS);
	}
}

/* Tags of a port; `outer`: the service tag around the other one. */
struct tags {
	uint16_t outer, vlan;
};

static void uplink_behind(struct tport *p, struct tags t)
{
	struct dp_port d = { .ifindex = { p->host },
			     .net = 1,
			     .flags = DP_PORT_UPLINK,
			     .vlan = { t.vlan },
			     .outer_vlan = { t.outer } };
	struct dp_net n = { .net = 1, .mtu = 1500 };

	OK(dp_net_set(lab.dp, &n, &lab_err));
	OK(dp_port_set(lab.dp, &d, &lab_err));
}

static void make_behind(struct frame *f, bool from_x, bool v6, struct tags t)
{
	struct desc d = udp_desc(from_x);

	d.vlan = t.vlan;
	make(f, d, from_x, v6);
	if (t.outer)
		frame_tag(f, 0x88a8, t.outer);
}

/* The kernel has taken the first tag off. */
static void expect_received(const struct frame *got, const struct frame *want, struct tags t)
{
	size_t tag = t.vlan ? 4 : 0;

	assert_int_equal(got->vlan, t.outer ? t.outer : t.vlan ? t.vlan : -1);
	assert_int_equal(got->len, want->len - tag);
	assert_memory_equal(got->b, want->b, 12);
	assert_memory_equal(got->b + 12, want->b + 12 + tag, got->len - 12);
}

/* IEEE 802.1Q: the tag of one NIC's VLAN becomes that of the other's; or the pair of tags, IEEE 802.1ad. */
static void test_vlan(void **state)
{
	COVERS_UNSEEN(V4 | V6, F_VLAN_TAG, F_QINQ);

	static const struct {
		struct tags u, w;
	} row[] = { { { 0, 7 }, { 0, 9 } },	{ { 0, 7 }, { 0, 0 } },	   { { 0, 0 }, { 0, 9 } },
		    { { 100, 7 }, { 200, 9 } }, { { 0, 0 }, { 100, 7 } },  { { 100, 7 }, { 0, 0 } },
		    { { 0, 7 }, { 200, 9 } },	{ { 100, 7 }, { 0, 100 } } };

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		for (int v6 = 0; v6 < 2; v6++) {
			struct frame f, got, expected;

			teardown(NULL);
			setup(NULL);
			uplink_behind(&u, row[i].u);
			uplink_behind(&w, row[i].w);
			make_behind(&f, false, v6, row[i].w);
			tport_send(&w, &f); /* flooded, because x is not known */
			assert_true(tport_recv(&u, &got, 2000));
			make_behind(&f, true, v6, row[i].u);
			assert_true(lab_passes(&u, &f, &w, &got));
			make_behind(&expected, true, v6, row[i].w);
			expect_received(&got, &expected, row[i].w);
			assert_int_equal(lab_run_xdp(&lab, U, &f, &got), XDP_REDIRECT);
			assert_int_equal(got.len, expected.len);
			assert_memory_equal(got.b, expected.b, expected.len);
			if (row[i].w.outer)
				lab_pcap(&got);
			assert_true(lab_passes(&u, &f, &w, &got)); /* by XDP */
			expect_received(&got, &expected, row[i].w);
		}
}

/* A third tag, one alone that is a priority only, tags that are no port's. */
static void test_other_tags(void **state)
{
	struct tags here = { 100, 7 };
	struct frame f, got;

	uplink_behind(&u, here);
	uplink_behind(&w, (struct tags){ 0 });
	make_behind(&f, true, false, here);
	(void)lab_run(&lab, U, &f, NULL);
	make(&f, udp_desc(false), false, false);
	(void)lab_run(&lab, W, &f, NULL);
	make_behind(&f, true, false, here);
	assert_int_equal(lab_run(&lab, U, &f, NULL), TC_ACT_REDIRECT);
	assert_int_equal(lab_run_xdp(&lab, U, &f, &got), XDP_REDIRECT);
	assert_int_equal(got.len, f.len - 8);
	frame_tag(&f, 0x88a8, 100);
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
	make_behind(&f, true, false, (struct tags){ 100, 8 });
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
	make_behind(&f, true, false, (struct tags){ 7, 100 });
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
	make(&f, udp_desc(true), true, false);
	frame_tag(&f, 0x8100, 0);
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
	make_behind(&f, true, false, here);
	for (f.len = 37; f.len > 14; f.len--)
		assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
}

/* ---- what is dropped ---- */

static void acl(bool deny)
{
	struct dp_acl_rule rule = { .id = 77, .deny = deny };
	struct dp_port d = { .ifindex = { U }, .net = 1, .flags = DP_PORT_UPLINK, .acl_from = { LIST } };

	OK(dp_acl_set(lab.dp, LIST, &rule, 1, &lab_err));
	OK(dp_port_set(lab.dp, &d, &lab_err));
}

static void test_denied(void **state)
{
	COVERS(V4 | V6, F_VERDICT, F_GENERATION);

	struct flow_rec before;
	struct frame f;

	ports(0, 0);
	for (int v6 = 0; v6 < 2; v6++) {
		acl(false);
		prime(udp_desc(true), udp_desc(false), v6);
		acl(true);
		make(&f, udp_desc(true), true, v6);
		assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS); /* decided before the change */
		assert_int_equal(lab_run(&lab, U, &f, NULL), TC_ACT_SHOT);
		assert_dropped(&lab, ACL);
		before = record(U, &f);
		assert_true(before.flags & FLOW_XDP);
		assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_DROP);
		assert_dropped(&lab, ACL);
		assert_int_equal(record(U, &f).pkts, before.pkts + 1);
		dp_drops_watch(lab.dp, 1); /* the tc program tells who asked */
		assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
		dp_drops_watch(lab.dp, 0);
	}
}

static void test_metered(void **state)
{
	COVERS(V4 | V6, F_METER);

	struct dp_meter m = { .id = 3, .rate_pps = 1, .burst_pkts = 40 };
	struct dp_port d = { .ifindex = { U }, .net = 1, .flags = DP_PORT_UPLINK, .meter_from = 3 };
	struct frame f;
	uint64_t dropped;

	ports(0, 0);
	for (int v6 = 0; v6 < 2; v6++) {
		int n = 0;

		OK(dp_meter_set(lab.dp, &m, &lab_err));
		OK(dp_port_set(lab.dp, &d, &lab_err));
		prime(udp_desc(true), udp_desc(false), v6);
		make(&f, udp_desc(true), true, v6);
		while (n < 100 && lab_run_xdp(&lab, U, &f, NULL) == XDP_REDIRECT)
			n++;
		assert_in_range(n, 30, 60);
		assert_dropped(&lab, METER);
		OK(dp_meter_drops(lab.dp, 3, &dropped, &lab_err));
		assert_int_equal(dropped, 1);
		OK(dp_meter_del(lab.dp, 3, &lab_err));
	}
}

/* ---- what is left to the tc program ---- */

static void test_left_to_tc(void **state)
{
	struct dp_port mirrored = {
		.ifindex = { U }, .net = 1, .flags = DP_PORT_UPLINK, .mirror_to = { W }
	};
	struct desc d = udp_desc(true);
	struct frame f;

	ports(0, 0);
	prime(d, udp_desc(false), false);
	d.sport = 4; /* not known */
	make(&f, d, true, false);
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
	d = udp_desc(true);
	d.frag = 0x2000; /* RFC 791 */
	make(&f, d, true, false);
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
	make(&f, udp_desc(true), true, false);
	f.b[11] ^= 1; /* another host's */
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
	f.b[11] ^= 1;
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_REDIRECT);
	f.b[14] = 0x46; /* options */
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
	f.b[14] = 0x45;
	for (size_t len = 14; len < 42; len++) { /* cut off */
		f.len = len;
		assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
	}
	make(&f, udp_desc(true), true, false);
	dp_capture(lab.dp, (ifindex){ W }, 1);
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
	dp_capture(lab.dp, (ifindex){ 0 }, 0);
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_REDIRECT);
	OK(dp_port_set(lab.dp, &mirrored, &lab_err)); /* a new generation */
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
	prime(udp_desc(true), udp_desc(false), false);
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
}

/* ---- both programs, the same packets ---- */

struct outcome {
	int verdict; /* of tc */
	struct frame f;
};

/* As the kernel does it: what XDP passes, tc gets. */
static void through(int port, const struct frame *f, bool xdp, struct outcome *ret)
{
	int v = xdp ? lab_run_xdp(&lab, port, f, &ret->f) : XDP_PASS;

	if (v == XDP_REDIRECT)
		ret->verdict = TC_ACT_REDIRECT;
	else if (v == XDP_DROP)
		ret->verdict = TC_ACT_SHOT;
	else
		ret->verdict = lab_run(&lab, port, f, &ret->f);
}

#define N_PACKETS 3000

static struct desc any_desc(unsigned int *seed, bool x)
{
	static const uint8_t flags[] = { TCP_SYN,	    TCP_SYN | TCP_ACK, TCP_ACK, TCP_ACK,
					 TCP_ACK | TCP_PSH, TCP_FIN | TCP_ACK, TCP_RST, 0 };
	struct desc d = udp_desc(x);
	uint16_t client = (uint16_t)(1000 + rand_r(seed) % 3);

	d.sport = x ? client : 80;
	d.dport = x ? 80 : client;
	if (rand_r(seed) % 3) {
		d.proto = 6;
		d.flags = flags[(unsigned int)rand_r(seed) % sizeof(flags)];
		d.tcp_seq = (uint32_t)(x ? 100 : 500) + (uint32_t)(rand_r(seed) % 40);
		d.tcp_ack = (uint32_t)(x ? 500 : 100) + (uint32_t)(rand_r(seed) % 40);
		d.tcp_win = 1000;
	}
	d.payload = (size_t)(rand_r(seed) % 30);
	return d;
}

static void run_all(bool xdp, struct outcome *ret, uint64_t drops[DROP_N])
{
	unsigned int seed = 7;

	teardown(NULL);
	setup(NULL);
	ports(0, 0);
	acl(false);
	prime(udp_desc(true), udp_desc(false), false);
	prime(udp_desc(true), udp_desc(false), true);
	for (int i = 0; i < N_PACKETS; i++) {
		bool x = rand_r(&seed) & 1, v6 = rand_r(&seed) & 1;
		struct frame f;

		if (i % 500 == 400)
			acl(i % 1000 == 400);
		make(&f, any_desc(&seed, x), x, v6);
		through(x ? U : W, &f, xdp, &ret[i]);
	}
	OK(dp_drop_totals(lab.dp, drops, DROP_N, &lab_err));
}

static void test_same_as_tc(void **state)
{
	COVERS_UNSEEN(V4 | V6, F_RECORD, F_TCP_STATES);

	struct outcome *tc = calloc(N_PACKETS, sizeof(*tc)), *xdp = calloc(N_PACKETS, sizeof(*xdp));
	uint64_t tc_drops[DROP_N], xdp_drops[DROP_N];
	int n[3] = { 0 };

	assert_true(tc && xdp);
	run_all(false, tc, tc_drops);
	run_all(true, xdp, xdp_drops);
	for (int i = 0; i < N_PACKETS; i++) {
		assert_int_equal(xdp[i].verdict, tc[i].verdict);
		n[tc[i].verdict == TC_ACT_REDIRECT]++;
		if (tc[i].verdict != TC_ACT_REDIRECT)
			continue;
		assert_int_equal(xdp[i].f.len, tc[i].f.len);
		assert_memory_equal(xdp[i].f.b, tc[i].f.b, tc[i].f.len);
	}
	assert_true(n[0] > N_PACKETS / 20 && n[1] > N_PACKETS / 20);
	assert_memory_equal(tc_drops, xdp_drops, sizeof(tc_drops));
	free(tc);
	free(xdp);
}

/* ---- attaching ---- */

/* The program that an interface has in its driver; 0: none. */
static uint32_t attached(int ifx)
{
	uint32_t id = 0;

	(void)!bpf_xdp_query_id(ifx, 1U << 2 /* XDP_FLAGS_DRV_MODE */, &id);
	return id;
}

/* Frames that really arrive are forwarded by the XDP program alone. */
static void test_live(void **state)
{
	struct frame f, got;
	uint64_t before_xdp, before_tc;
	int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);

	assert_true(stats >= 0);
	ports(0, 0);
	prime(udp_desc(true), udp_desc(false), false);
	make(&f, udp_desc(true), true, false);
	before_xdp = lab_runs(lab_xdp(&lab));
	before_tc = lab_runs(lab.prog);
	for (int i = 0; i < 20; i++) {
		assert_true(lab_passes(&u, &f, &w, &got));
		assert_int_equal(got.len, f.len);
		assert_memory_equal(got.b, f.b, f.len);
	}
	assert_in_range(lab_runs(lab_xdp(&lab)), before_xdp + 20,
			before_xdp + 30); /* hosts speak IPv6 by themselves */
	assert_in_range(lab_runs(lab.prog), before_tc, before_tc + 10);
	close(stats);
}

/* The answer to a SYN of a flood leaves the NIC by XDP, and the tc program has not seen it. */
static void test_live_flood(void **state)
{
	struct dp_port p = { .ifindex = { W },
			     .net = 1,
			     .flags = DP_PORT_UPLINK,
			     .limits = { .half_open = 1, .syn_cookies = true } };
	struct desc d = udp_desc(true);
	struct frame f, got;
	uint64_t before_xdp = 0, before_tc = 0;
	int stats = bpf_enable_stats(BPF_STATS_RUN_TIME), n = 0;

	assert_true(stats >= 0);
	ports(0, 0);
	OK(dp_port_set(lab.dp, &p, &lab_err));
	d.proto = 6;
	d.flags = TCP_SYN;
	d.payload = 0;
	for (int i = 0; i < 60; i++) {
		d.sport = (uint16_t)(2000 + i);
		make(&f, d, true, false);
		if (i == 40) { /* by now it is known for a flood */
			before_xdp = lab_runs(lab_xdp(&lab));
			before_tc = lab_runs(lab.prog);
		}
		tport_send(&u, &f);
		if (!i)
			continue; /* the one that may be half open */
		if (!tport_recv(&u, &got, 1000))
			fail_msg("no answer to SYN %d", i);
		n += got.b[47] == (TCP_SYN | TCP_ACK);
		assert_memory_equal(got.b, f.b + 6, 6);
		assert_memory_equal(got.b + 26, f.b + 30, 4);
		assert_true(frame_sums_ok(&got));
	}
	assert_int_equal(n, 59);
	assert_in_range(lab_runs(lab_xdp(&lab)), before_xdp + 20, before_xdp + 30);
	assert_in_range(lab_runs(lab.prog), before_tc, before_tc + 10);
	close(stats);
}

/* A new process brings a new program, in one step; nothing that is known is forgotten. */
static void test_take_over(void **state)
{
	uint32_t old = attached(U);
	struct frame f;

	assert_true(old);
	ports(0, 0);
	prime(udp_desc(true), udp_desc(false), false);
	make(&f, udp_desc(true), true, false);
	lab_reopen(&lab);
	assert_true(attached(U) && attached(U) != old);
	assert_int_equal(attached(U), attached(W));
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_REDIRECT);
}

static void test_choice(void **state)
{
	struct frame f;

	ports(0, 0);
	assert_string_equal(nic.driver, "veth");
	assert_false(nic.hardware);
	assert_int_equal(nic_offloads((ifindex){ U }), (nic.xdp_features & DP_NIC_XDP_HW) != 0);
	hook(&u, DP_HOOK_AUTO); /* a veth is no NIC */
	assert_false(nic.xdp);
	assert_true(*nic.reason);
	assert_int_equal(attached(U), 0);
	ports(0, 0);
	prime(udp_desc(true), udp_desc(false), false);
	make(&f, udp_desc(true), true, false);
	assert_false(record(U, &f).flags & FLOW_XDP);
	hook(&u, DP_HOOK_XDP);
	assert_true(nic.xdp && attached(U));
	hook(&u, DP_HOOK_TC);
	assert_false(nic.xdp || attached(U));
	assert_int_equal(dp_nic_hook(lab.dp, (ifindex){ 99999 }, DP_HOOK_AUTO, &nic, &lab_err), -ENODEV);
}

/* A program that could not be loaded is loaded later; until then the NIC is the tc program's, and why is told. */
static void test_loaded_later(void **state)
{
	char path[128];

	hook(&u, DP_HOOK_TC);
	hook(&w, DP_HOOK_TC);
	lab_reopen(&lab);
	(void)snprintf(path, sizeof(path), "%s/v%d/new_xdp", lab.pin, ABI_VERSION);
	assert_int_equal(mkdir(path, 0700), 0); /* in the place of its pin */
	hook(&u, DP_HOOK_XDP);
	assert_false(nic.xdp || attached(U));
	assert_non_null(strstr(nic.reason, "File exists"));
	assert_int_equal(rmdir(path), 0);
	hook(&u, DP_HOOK_XDP);
	assert_true(nic.xdp && attached(U));
	assert_string_equal(nic.reason, "");
}

/* Without GRO at the other end a veth takes no XDP frames, and says so. */
static void test_output_that_takes_none(void **state)
{
	struct frame f;

	lab_far_end(&w, ETHTOOL_SGRO, 0);
	hook(&w, DP_HOOK_XDP);
	if (!nic.known)
		skip(); /* before Linux 6.3 */
	assert_true(nic.xdp);
	ports(0, 0);
	prime(udp_desc(true), udp_desc(false), false);
	make(&f, udp_desc(true), true, false);
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
	make(&f, udp_desc(false), false, false);
	assert_int_equal(lab_run_xdp(&lab, W, &f, NULL), XDP_REDIRECT);
}

/* A function that takes XDP frames gets them from the NIC's program, all policy of its port applied. */
static void test_to_function(void **state)
{
	COVERS(V4 | V6, F_SG_STATEFUL);

	struct dp_sg_rule all[2] = { { .family = IP_V4 }, { .family = IP_V6 } };
	struct frame f, got;

	OK(dp_sg_set(lab.dp, 9, all, 2, NULL, 0, &lab_err));
	for (int takes = 1; takes >= 0; takes--) {
		if (!takes)
			lab_far_end(&w, ETHTOOL_SGRO, 0);
		OK(dp_port_del(lab.dp, (ifindex){ W }, &lab_err));
		lab_uplink(&lab, &u, 1, 0);
		memcpy(w.mac, mac_y, 6);
		lab_port(&lab, &w, 1, DP_PORT_SECURITY | DP_PORT_XDP_OUT, 9, "10.0.0.2/24",
			 "fd00::2/64", NULL);
		for (int v6 = 0; v6 < 2; v6++) {
			make(&f, udp_desc(true), true, v6);
			assert_int_equal(lab_run(&lab, U, &f, NULL), TC_ACT_REDIRECT);
			assert_int_equal(lab_run_xdp(&lab, U, &f, &got),
					 takes ? XDP_REDIRECT : XDP_PASS);
			assert_memory_equal(got.b, f.b, f.len);
			assert_true(lab_passes(&u, &f, &w, &got));
			assert_memory_equal(got.b, f.b, f.len);
			tport_drain(&w);
		}
	}
}

static void test_detached_with_the_port(void **state)
{
	ports(0, 0);
	OK(dp_port_del(lab.dp, (ifindex){ U }, &lab_err));
	assert_int_equal(attached(U), 0);
	assert_true(attached(W));
	dp_mark(lab.dp);
	OK(dp_sweep(lab.dp, &lab_err));
	assert_int_equal(attached(W), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_forward),
		T(test_tcp),
		T(test_denied),
		T(test_metered),
		T(test_left_to_tc),
		T(test_live),
		T(test_live_flood),
		T(test_take_over),
		T(test_choice),
		T(test_output_that_takes_none),
		T(test_loaded_later),
		T(test_to_function),
		T(test_detached_with_the_port),
		T(test_vlan),
		T(test_other_tags),
		T(test_same_as_tc),
	};

	return lab_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
