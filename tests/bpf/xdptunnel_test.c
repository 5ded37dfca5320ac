/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Tunnels under XDP: what the program of NICs puts headers on and takes them off, and what it leaves to the tc program, as it came.
 *
 *   x 10.0.0.1 fd00::1 --- [ U ]  network 1  ( tunnel ) === [ W ]  network 2  === y 10.0.0.2 fd00::2
 *
 * With an argument, writes one frame of each kind into that pcap file, for other dissectors to read. What each packet of long sequences becomes
 * is compared with the tc program by bpf-xdpsame.
 */

#include "tunnel_lab.h"

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"
#include "dp/observe.h"

#define U 65737
#define W 65738
#define TUNNEL (DP_PSEUDO_PORT + 9)
#define SG 7
#define UNDERLAY_VLAN 9

static const uint8_t mac_x[6] = { 2, 0, 0, 0, 4, 0xa }, mac_y[6] = { 2, 0, 0, 0, 4, 0xb },
		     mac_u[6] = { 2, 0, 0, 0, 4, 0xe }, mac_w[6] = { 2, 0, 0, 0, 4, 0xf };
static const ifindex tun = { TUNNEL };

static struct lab lab;
static struct tport u, w;
static struct tunnel_ends ends;

static int setup(void **state)
{
	lab_open(&lab);
	lab_nic(&lab, &u, U, mac_u);
	lab_nic(&lab, &w, W, mac_w);
	lab_uplink(&lab, &u, 1, 0);
	lab_uplink(&lab, &w, 2, 0);
	ends = (struct tunnel_ends){ .port = tun, .nic = { W } };
	link_mac(W, ends.near);
	memcpy(ends.far, mac_w, 6);
	return 0;
}

static int teardown(void **state)
{
	OK(dp_tunnel_del(lab.dp, tun, &lab_err));
	link_del(U);
	link_del(W);
	tport_free(&u);
	tport_free(&w);
	lab_close(&lab);
	return 0;
}

static void tunnel_set(enum dp_tunnel_type type, bool v6)
{
	struct dp_tunnel t = tunnel_of(&ends, 1, type, v6);

	OK(dp_tunnel_set(lab.dp, &t, &lab_err));
}

static struct desc desc_of(bool from_x, bool v6)
{
	return (struct desc){
		.smac = from_x ? mac_x : mac_y,
		.dmac = from_x ? mac_y : mac_x,
		.src = v6 ? (from_x ? "fd00::1" : "fd00::2") : (from_x ? "10.0.0.1" : "10.0.0.2"),
		.dst = v6 ? (from_x ? "fd00::2" : "fd00::1") : (from_x ? "10.0.0.2" : "10.0.0.1"),
		.proto = 17,
		.sport = from_x ? 1000 : 80,
		.dport = from_x ? 80 : 1000,
		.payload = 40
	};
}

static struct frame datagram(bool from_x, bool v6)
{
	struct desc d = desc_of(from_x, v6);
	struct frame f;

	frame_build(&f, &d);
	return f;
}

/* Both ends are learned and both directions have their records. *ret: a frame of y in its tunnel. */
static void prime(size_t head, bool v6, bool in6, struct frame *ret)
{
	struct frame up = datagram(true, in6), down = datagram(false, in6), out;

	(void)lab_run(&lab, U, &up, NULL); /* flooded */
	assert_int_equal(lab_run(&lab, U, &up, &out), TC_ACT_REDIRECT);
	*ret = tunnel_answer(&ends, &out, head, &down, v6);
	assert_int_equal(lab_run(&lab, W, ret, NULL), TC_ACT_REDIRECT);
	assert_int_equal(lab_run(&lab, U, &up, NULL), TC_ACT_REDIRECT);
	assert_int_equal(lab_run(&lab, W, ret, NULL), TC_ACT_REDIRECT);
}

static struct flow_rec record(int port, const struct frame *f)
{
	struct flow_rec r;

	assert_true(lab_record(&lab, port, f, &r));
	return r;
}

static void expect_pass(const struct frame *f)
{
	struct frame got;

	assert_int_equal(lab_run_xdp(&lab, W, f, &got), XDP_PASS);
	assert_int_equal(got.len, f->len);
	assert_memory_equal(got.b, f->b, f->len);
}

/* The frame of `wire` comes out of its tunnel, and its record counts it. */
static void expect_out(const struct frame *wire, const struct frame *inside)
{
	struct flow_rec before = record(TUNNEL, inside), after;
	struct frame got;

	assert_true(before.flags & FLOW_XDP);
	assert_int_equal(lab_run_xdp(&lab, W, wire, &got), XDP_REDIRECT);
	assert_int_equal(got.len, inside->len);
	assert_memory_equal(got.b, inside->b, inside->len);
	after = record(TUNNEL, inside);
	assert_int_equal(after.pkts, before.pkts + 1);
	assert_int_equal(after.bytes, before.bytes + inside->len);
}

/* ---- what is served ---- */

static void both_ways(enum dp_tunnel_type type, bool v6, bool in6)
{
	struct frame up = datagram(true, in6), down = datagram(false, in6), wire, got;
	size_t head = tunnel_head(type, v6);

	prime(head, v6, in6, &wire);
	assert_int_equal(lab_run_xdp(&lab, U, &up, &got), XDP_REDIRECT);
	assert_int_equal(got.len, head + up.len);
	assert_memory_equal(got.b + head, up.b, up.len);
	lab_pcap(&got);
	expect_out(&wire, &down);
}

static void test_types(void **state)
{
	COVERS(V4 | V6, F_VXLAN, F_NSH, F_GRE, F_NVGRE, F_GENEVE, F_MPLS_UDP, F_MPLS_GRE,
	       F_MPLS_ETH, F_OUTER);
	for (enum dp_tunnel_type type = DP_TUNNEL_VXLAN; type <= DP_TUNNEL_MPLS; type++)
		for (int v6 = 0; v6 < 2; v6++) {
			tunnel_set(type, v6);
			both_ways(type, v6, false);
			both_ways(type, v6, true);
			OK(dp_tunnel_del(lab.dp, tun, &lab_err));
		}
	assert_not_dropped(&lab);
}

/* RFC 8300 section 2.5: metadata of type 2. They are the last frames in the file. */
static void test_metadata_of_type_2(void **state)
{
	COVERS(V4 | V6, F_NSH_2);
	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_tunnel t = tunnel_of(&ends, 1, DP_TUNNEL_VXLAN_GPE, v6);
		struct frame up = datagram(true, v6), down = datagram(false, v6), wire, got;

		t.nsh_md_type = 2;
		t.nsh_context_len = sizeof(tunnel_tlv);
		memcpy(t.nsh_context, tunnel_tlv, sizeof(tunnel_tlv));
		OK(dp_tunnel_set(lab.dp, &t, &lab_err));
		prime(14 + (v6 ? 40 : 20) + 16 + 8 + 12, v6, v6, &wire);
		assert_int_equal(lab_run_xdp(&lab, U, &up, &got), XDP_REDIRECT);
		lab_pcap(&got);
		expect_out(&wire, &down);
		OK(dp_tunnel_del(lab.dp, tun, &lab_err));
	}
}

/* `n` bytes more in the outer header, after `at` bytes of it. */
static struct frame lengthen(const struct frame *f, size_t at, const void *bytes, size_t n, bool v6)
{
	struct frame l = *f;
	size_t size = f->len + n - (v6 ? 54 : 14);

	memmove(l.b + at + n, l.b + at, l.len - at);
	memcpy(l.b + at, bytes, n);
	l.len += n;
	l.b[v6 ? 18 : 16] = (uint8_t)(size >> 8);
	l.b[v6 ? 19 : 17] = (uint8_t)size;
	return l;
}

/* RFC 8926 section 3.5: options that nobody has to understand. RFC 2890: a sequence number. */
static void test_options(void **state)
{
	COVERS(V4 | V6, F_GENEVE, F_GRE);
	for (int v6 = 0; v6 < 2; v6++) {
		size_t l4 = v6 ? 54 : 34;
		struct frame down = datagram(false, v6), wire, longer;

		tunnel_set(DP_TUNNEL_GENEVE, v6);
		prime(tunnel_head(DP_TUNNEL_GENEVE, v6), v6, v6, &wire);
		longer = lengthen(&wire, l4 + 16, "\1\2\3\1abcd", 8, v6);
		longer.b[l4 + 8] = 2; /* words */
		expect_out(&longer, &down);
		OK(dp_tunnel_del(lab.dp, tun, &lab_err));
		tunnel_set(DP_TUNNEL_GRE, v6);
		prime(tunnel_head(DP_TUNNEL_GRE, v6), v6, v6, &wire);
		longer = lengthen(&wire, l4 + 8, "\0\0\0\1", 4, v6);
		longer.b[l4] |= 0x10;
		expect_out(&longer, &down);
		OK(dp_tunnel_del(lab.dp, tun, &lab_err));
	}
	assert_not_dropped(&lab);
}

static void set_ecn(struct frame *f, unsigned int ecn)
{
	if (f->b[12] == 0x86) {
		f->b[15] |= (uint8_t)(ecn << 4);
		return;
	}
	f->b[15] |= (uint8_t)ecn;
	f->b[25] = (uint8_t)(f->b[25] - ecn); /* as long as it does not borrow */
}

/* RFC 6040 figure 4: congestion on the way is handed on, or the frame is dropped, by the tc program. */
static void congested(bool v6, bool in6, unsigned int ecn)
{
	struct frame down = datagram(false, in6), want = down, wire, got;
	size_t head = tunnel_head(DP_TUNNEL_VXLAN, v6);

	prime(head, v6, in6, &wire);
	set_ecn(&down, ecn);
	memcpy(wire.b + head, down.b, down.len);
	wire.b[15] |= v6 ? 0x30 : 3;
	if (!ecn) {
		expect_pass(&wire);
		assert_int_equal(lab_run(&lab, W, &wire, NULL), TC_ACT_SHOT);
		assert_dropped(&lab, ECN);
		return;
	}
	set_ecn(&want, 3);
	expect_out(&wire, &want);
	assert_int_equal(lab_run(&lab, W, &wire, &got), TC_ACT_REDIRECT);
	assert_memory_equal(got.b, want.b, want.len);
}

static void test_ecn(void **state)
{
	COVERS(V4 | V6, F_ECN, F_OUTER);
	for (int v6 = 0; v6 < 2; v6++) {
		tunnel_set(DP_TUNNEL_VXLAN, v6);
		for (unsigned int ecn = 0; ecn < 4; ecn++) {
			congested(v6, false, ecn);
			congested(v6, true, ecn);
		}
		OK(dp_tunnel_del(lab.dp, tun, &lab_err));
	}
	assert_not_dropped(&lab);
}

/* ---- what is left to the tc program ---- */

/* Its record would let the frame inside pass. */
static void test_refused(void **state)
{
	COVERS(V4 | V6, F_TUNNEL_REFUSED, F_OUTER);
	for (size_t i = 0; i < n_tunnel_wrongs; i++)
		for (int v6 = 0; v6 < 2; v6++) {
			const struct tunnel_wrong *row = &tunnel_wrongs[i];
			struct frame wire;

			tunnel_set(row->type, v6);
			prime(tunnel_head(row->type, v6), v6, false, &wire);
			tunnel_spoil(&wire, row, v6);
			expect_pass(&wire);
			if (lab_run(&lab, W, &wire, NULL) != TC_ACT_SHOT ||
			    lab_dropped(&lab, row->reason) != 1)
				fail_msg("%s (IPv%d): accepted, or dropped for another reason",
					 row->what, v6 ? 6 : 4);
			OK(dp_tunnel_del(lab.dp, tun, &lab_err));
		}
	assert_not_dropped(&lab);
}

/* Cut at any byte, with the outer length as it was and as it would be. */
static void test_truncated(void **state)
{
	COVERS(V4, F_TUNNEL_REFUSED);

	static const enum dp_tunnel_type types[] = { DP_TUNNEL_VXLAN_GPE, DP_TUNNEL_MPLS_GRE,
						     DP_TUNNEL_MPLS };

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		size_t head = tunnel_head(types[i], false);
		struct frame wire, cut;

		tunnel_set(types[i], false);
		prime(head, false, false, &wire);
		for (cut = wire; cut.len > 14;) {
			cut.len--;
			expect_pass(&cut);
			if (types[i] == DP_TUNNEL_MPLS || cut.len < 34)
				continue;
			cut.b[17] = (uint8_t)(cut.len - 14);
			expect_pass(&cut);
			memcpy(cut.b, wire.b, 34);
		}
		OK(dp_tunnel_del(lab.dp, tun, &lab_err));
	}
	assert_not_dropped(&lab);
}

/* Another host's, another far end's, of another type, by another NIC, behind a tag that the underlay has not. */
static void test_strangers(void **state)
{
	COVERS(V4 | V6, F_TUNNEL_REFUSED);
	for (int v6 = 0; v6 < 2; v6++) {
		struct frame down = datagram(false, false), wire, f, got;

		tunnel_set(DP_TUNNEL_VXLAN, v6);
		prime(tunnel_head(DP_TUNNEL_VXLAN, v6), v6, false, &wire);
		f = wire;
		f.b[5] ^= 1; /* the MAC */
		expect_pass(&f);
		f = wire;
		f.b[v6 ? 37 : 29] ^= 1; /* source */
		expect_pass(&f);
		f = wire;
		f.b[v6 ? 53 : 33] ^= 1; /* destination */
		expect_pass(&f);
		f = wire;
		memcpy(f.b + (v6 ? 56 : 36), "\x17\xc1", 2); /* Geneve, whose number is at the same place */
		expect_pass(&f);
		f = wire;
		frame_tag(&f, 0x8100, UNDERLAY_VLAN);
		expect_pass(&f);
		assert_int_equal(lab_run_xdp(&lab, U, &wire, &got), XDP_PASS);
		expect_out(&wire, &down);
		OK(dp_tunnel_del(lab.dp, tun, &lab_err));
	}
}

/* What is inside is none of a flow that XDP serves. */
static void test_left_to_tc(void **state)
{
	size_t head = tunnel_head(DP_TUNNEL_VXLAN, false);
	struct frame down = datagram(false, false), wire, f;

	tunnel_set(DP_TUNNEL_VXLAN, false);
	prime(head, false, false, &wire);
	f = wire;
	f.b[head + 11] ^= 1; /* another host's */
	expect_pass(&f);
	f = wire;
	f.b[head + 14] = 0x46; /* options */
	expect_pass(&f);
	f = wire;
	f.b[head + 20] = 0x20; /* more fragments */
	expect_pass(&f);
	f = wire;
	f.b[head + 12] = 0x81; /* a tag */
	f.b[head + 13] = 0;
	expect_pass(&f);
	dp_capture(lab.dp, tun, 1);
	expect_pass(&wire);
	dp_capture(lab.dp, (ifindex){ 0 }, 0);
	expect_out(&wire, &down);
	lab_uplink(&lab, &u, 1, 8); /* a new generation */
	expect_pass(&wire);
}

/* ---- functions, and frames that really arrive ---- */

/* x is a function that takes frames from XDP. */
static void function(bool open)
{
	struct dp_sg_rule rules[4] = { { .egress = true, .family = IP_V4 },
				       { .egress = true, .family = IP_V6 },
				       { .family = IP_V4 },
				       { .family = IP_V6 } };

	OK(dp_sg_set(lab.dp, SG, rules, open ? 4 : 2, NULL, 0, &lab_err));
	OK(dp_port_del(lab.dp, (ifindex){ U }, &lab_err));
	memcpy(u.mac, mac_x, 6);
	lab_port(&lab, &u, 1, DP_PORT_SECURITY | DP_PORT_XDP_OUT, SG, "10.0.0.1/24", "fd00::1/64", NULL);
}

/* The frame that the far end sends first: nothing was heard from x yet. */
static struct frame first(enum dp_tunnel_type type, bool v6, bool in6)
{
	struct frame up = datagram(true, in6), down = datagram(false, in6), out;

	lab_uplink(&lab, &u, 1, 0);
	(void)lab_run(&lab, U, &up, NULL);
	assert_int_equal(lab_run(&lab, U, &up, &out), TC_ACT_REDIRECT);
	return tunnel_answer(&ends, &out, tunnel_head(type, v6), &down, v6);
}

static void test_to_function(void **state)
{
	COVERS(V4 | V6, F_VXLAN);
	tunnel_set(DP_TUNNEL_VXLAN, false);
	for (int v6 = 0; v6 < 2; v6++) {
		struct frame down = datagram(false, v6), wire = first(DP_TUNNEL_VXLAN, false, v6), got;

		function(true);
		for (int i = 0; i < 3; i++) {
			assert_true(lab_passes(&w, &wire, &u, &got));
			assert_int_equal(got.len, down.len);
			assert_memory_equal(got.b, down.b, down.len);
		}
		expect_out(&wire, &down);
	}
	assert_not_dropped(&lab);
}

/* A verdict is remembered for the frame inside, and holds before the kernel has made a packet of it. */
static void test_denied(void **state)
{
	COVERS(V4 | V6, F_VERDICT);
	tunnel_set(DP_TUNNEL_VXLAN, false);
	for (int v6 = 0; v6 < 2; v6++) {
		struct frame down = datagram(false, v6), wire = first(DP_TUNNEL_VXLAN, false, v6);
		struct flow_rec r;

		function(false);
		lab_idle(&lab); /* it is no answer */
		assert_int_equal(lab_run(&lab, W, &wire, NULL), TC_ACT_SHOT);
		assert_dropped(&lab, SG_INGRESS);
		r = record(TUNNEL, &down);
		assert_int_equal(r.flags & (FLOW_DROP | FLOW_XDP), FLOW_DROP | FLOW_XDP);
		assert_int_equal(lab_run_xdp(&lab, W, &wire, NULL), XDP_DROP);
		assert_dropped(&lab, SG_INGRESS);
		assert_int_equal(record(TUNNEL, &down).pkts, r.pkts + 1);
		assert_int_equal(record(TUNNEL, &down).bytes, r.bytes + down.len);
	}
	assert_not_dropped(&lab);
}

static uint64_t runs(int fd)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.run_cnt;
}

/* Frames of the far end, behind a tag, leave bare; the tc program sees the first ones only. */
static void tagged_underlay(enum dp_tunnel_type type, bool v6)
{
	struct frame up = datagram(true, v6), down = datagram(false, v6), wire, got;
	uint64_t before;

	tunnel_set(type, v6);
	(void)lab_passes(&u, &up, &w, NULL); /* flooded */
	tport_drain(&w);
	assert_true(lab_passes(&u, &up, &w, &got));
	assert_int_equal(got.vlan, UNDERLAY_VLAN);
	wire = tunnel_answer(&ends, &got, tunnel_head(type, v6), &down, v6);
	frame_tag(&wire, 0x8100, UNDERLAY_VLAN);
	for (int i = 0; i < 2; i++)
		assert_true(lab_passes(&w, &wire, &u, NULL));
	before = runs(lab.prog);
	for (int i = 0; i < 20; i++) {
		assert_true(lab_passes(&w, &wire, &u, &got));
		assert_int_equal(got.vlan, -1);
		assert_int_equal(got.len, down.len);
		assert_memory_equal(got.b, down.b, down.len);
	}
	assert_in_range(runs(lab.prog), before, before + 10); /* hosts speak IPv6 by themselves */
	expect_out(&wire, &down);
	OK(dp_tunnel_del(lab.dp, tun, &lab_err));
}

static void test_underlay_behind_a_tag(void **state)
{
	COVERS(V4 | V6, F_OUTER, F_VLAN_TAG);

	int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);

	assert_true(stats >= 0);
	lab_uplink(&lab, &w, 2, UNDERLAY_VLAN);
	ends.vlan = UNDERLAY_VLAN;
	for (enum dp_tunnel_type type = DP_TUNNEL_VXLAN; type <= DP_TUNNEL_MPLS; type++)
		for (int v6 = 0; v6 < 2; v6++)
			tagged_underlay(type, v6);
	assert_not_dropped(&lab);
	close(stats);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_types),
		T(test_metadata_of_type_2),
		T(test_options),
		T(test_ecn),
		T(test_refused),
		T(test_truncated),
		T(test_strangers),
		T(test_left_to_tc),
		T(test_to_function),
		T(test_denied),
		T(test_underlay_behind_a_tag),
	};

	return lab_main(argc, argv, tests, ARRAY_LEN(tests));
}
