/* SPDX-License-Identifier: Apache-2.0 */

/* Steering: paths, both flip modes, groups, functions that change headers. */

#include "chain_lab.h"

#include <string.h>

static void test_steered(void **state)
{
	COVERS(V4 | V6, F_CHAIN_PATH);
	expect_both(1000, "");
	set_chain("01", DP_FLIP_MOVE);
	expect_both(1000, "01");
	expect_both(1001, "01");
	set_chain("10", DP_FLIP_MOVE);
	expect_both(1000, "10");
	OK(dp_chain_del(lab.dp, CHAIN, &lab_err));
	expect_both(1000, "");
	assert_not_dropped(&lab);
}

static void test_same_is_no_change(void **state)
{
	struct dp_path p = path_of("012", true);
	struct dp_flip_result r, again;

	assert_int_equal(OK(dp_chain_set(lab.dp, &p, DP_FLIP_MOVE, &r, &lab_err)), 1);
	assert_int_equal(OK(dp_chain_set(lab.dp, &p, DP_FLIP_MOVE, &again, &lab_err)), 0);
	assert_int_equal(r.path, again.path);
	assert_int_equal(lab_entries(&lab, "paths"), 1);
	assert_int_equal(lab_entries(&lab, "path_hops"), 3);
	assert_int_equal(lab_entries(&lab, "path_ports"), 6);
}

static void test_keep(void **state)
{
	COVERS(V4 | V6, F_CHAIN_CHANGE);

	struct dp_flip_result r;

	set_chain("01", DP_FLIP_MOVE);
	expect_both(1000, "01");
	r = set_chain("021", DP_FLIP_KEEP);
	assert_int_equal(r.n_kept, 2); /* IPv4 and IPv6 */
	assert_int_equal(r.n_moved, 0);
	expect_both(1000, "01");
	expect_both(1001, "021");
	/* Another reason to look again does not move them either. */
	lab_port(&lab, &fn[3].in, 2, 0, 0, NULL);
	expect_both(1000, "01");
	expect_both(1001, "021");
	r = set_chain("12", DP_FLIP_MOVE);
	assert_int_equal(r.n_moved, 4);
	expect_both(1000, "12");
	expect_both(1001, "12");
	assert_not_dropped(&lab);
}

static void test_keep_first_chain(void **state)
{
	expect_both(1000, "");
	set_chain("0", DP_FLIP_KEEP);
	expect_both(1000, "");
	expect_both(1001, "0");
	set_chain("01", DP_FLIP_MOVE);
	expect_both(1000, "01");
}

/* A chain whose hops are all bypassed is a path like any other. */
static void test_keep_empty(void **state)
{
	struct dp_flip_result r;

	set_chain("0", DP_FLIP_MOVE);
	set_chain("", DP_FLIP_MOVE);
	expect_both(1000, "");
	r = set_chain("01", DP_FLIP_KEEP);
	assert_int_equal(r.n_kept, 2);
	expect_both(1000, "");
	expect_both(1001, "01");
	r = set_chain("1", DP_FLIP_MOVE);
	assert_int_equal(r.n_moved, 4);
	expect_both(1000, "1");
	expect_both(1001, "1");
}

/* Packets inside a function while its hop, or the next one, goes away. */
static void test_in_flight(void **state)
{
	COVERS(V4 | V6, F_CHAIN_CHANGE);

	struct frame f, got;

	for (int mode = 0; mode < 2; mode++) {
		set_chain("012", DP_FLIP_MOVE);
		expect_both(1000, "012");
		packet(&f, false, true, 1000, 1);
		tport_send(&lan, &f); /* now in F0 */
		packet(&f, false, false, 1000, 2);
		tport_send(&wan, &f); /* now in F2 */
		set_chain("1", mode ? DP_FLIP_KEEP : DP_FLIP_MOVE);
		pump();
		assert_true(tport_recv(&wan, &got, 200));
		assert_int_equal(frame_seq(&got), 1);
		assert_true(tport_recv(&lan, &got, 200));
		assert_int_equal(frame_seq(&got), 2);
		assert_false(tport_recv(&wan, &got, 0));
		assert_false(tport_recv(&lan, &got, 0));
		expect_both(1000, mode ? "012" : "1");
		expect_both(2000 + (uint16_t)mode, "1");
	}
	assert_not_dropped(&lab);
}

static void test_agent_restart(void **state)
{
	COVERS(V4 | V6, F_CHAIN_CHANGE);

	struct dp_path p = path_of("01", true);

	set_chain("01", DP_FLIP_MOVE);
	expect_both(1000, "01");
	dp_close(lab.dp);
	expect_both(1000, "01");
	expect_both(1001, "01");
	lab.dp = NULL;
	lab_reopen(&lab);
	expect_both(1000, "01");
	assert_int_equal(OK(dp_chain_set(lab.dp, &p, DP_FLIP_MOVE, NULL, &lab_err)), 0);
	set_chain("0", DP_FLIP_KEEP);
	expect_both(1000, "01");
	expect_both(1002, "0");
	assert_not_dropped(&lab);
}

static void test_closed_hop(void **state)
{
	COVERS(V4 | V6, F_CHAIN_PATH);

	struct dp_path p = path_of("01", true);
	struct frame f;

	p.hops[1].drop = true;
	assert_int_equal(OK(dp_chain_set(lab.dp, &p, DP_FLIP_MOVE, NULL, &lab_err)), 1);
	packet(&f, false, true, 1000, 1);
	tport_send(&lan, &f);
	pump();
	assert_dropped(&lab, CHAIN_CLOSED);
	packet(&f, false, false, 1000, 1);
	tport_send(&wan, &f);
	assert_dropped(&lab, CHAIN_CLOSED);
	set_chain("01", DP_FLIP_MOVE);
	expect_both(1000, "01");
}

/* Two pairs in a group: flows spread, and each keeps its pair, also when a third comes. */
static void test_group(void **state)
{
	COVERS(V4 | V6, F_CHAIN_PATH);

	struct dp_path p = path_of("0", true);
	char who[64];
	unsigned int n[N_FN] = { 0 };

	p.hops[0].pairs[1] = (struct dp_pair){ { fn[1].in.host }, { fn[1].out.host }, 1, true };
	p.hops[0].n_pairs = 2;
	assert_int_equal(OK(dp_chain_set(lab.dp, &p, DP_FLIP_MOVE, NULL, &lab_err)), 1);
	for (uint16_t i = 0; i < 64; i++) {
		struct frame f, got;

		fn_reset();
		packet(&f, i & 1, true, (uint16_t)(3000 + i), i);
		tport_send(&lan, &f);
		pump();
		assert_true(tport_recv(&wan, &got, 200));
		who[i] = fn[0].n_forward ? 0 : 1;
		n[(int)who[i]]++;
	}
	assert_true(n[0] > 16 && n[1] > 16);
	p.hops[0].pairs[2] = (struct dp_pair){ { fn[2].in.host }, { fn[2].out.host }, 1, true };
	p.hops[0].n_pairs = 3;
	assert_int_equal(OK(dp_chain_set(lab.dp, &p, DP_FLIP_MOVE, NULL, &lab_err)), 1);
	for (uint16_t i = 0; i < 64; i++) {
		char hop[2] = { (char)('0' + who[i]), 0 };

		expect_path(i & 1, true, (uint16_t)(3000 + i), hop);
		expect_path(i & 1, false, (uint16_t)(3000 + i), hop);
	}
	assert_not_dropped(&lab);
}

/* A function with a MAC of its own gets the frames addressed to it. */
static void test_mac_rewrite(void **state)
{
	struct dp_path p = path_of("0", false);
	struct frame f, got;

	assert_int_equal(OK(dp_chain_set(lab.dp, &p, DP_FLIP_MOVE, NULL, &lab_err)), 1);
	packet(&f, false, true, 1000, 1);
	for (int i = 0; i < 2; i++) {
		assert_true(lab_passes(&lan, &f, &fn[0].in, &got));
		assert_memory_equal(got.b, fn[0].in.mac, 6);
		assert_memory_equal(got.b + 6, mac_x, 6);
		assert_int_equal(got.pkttype, 0);
	}
	packet(&f, false, false, 1000, 1);
	assert_true(lab_passes(&wan, &f, &fn[0].out, &got));
	assert_memory_equal(got.b, fn[0].out.mac, 6);
}

/* Network address translation in F1: other addresses before and after it, one flow for the user. */
static void nat(struct frame *f, bool forward)
{
	if (forward)
		f->b[29] = 99; /* source 10.0.0.11 -> 10.0.0.99 */
	else
		f->b[33] = 11; /* destination back */
}

static void test_nat(void **state)
{
	struct dp_path p = path_of("01", true);
	struct frame f, got;

	p.hops[1].pairs[1] = (struct dp_pair){ { fn[2].in.host }, { fn[2].out.host }, 1, true };
	p.hops[1].n_pairs = 2;
	fn[1].change = nat;
	fn[2].change = nat;
	assert_int_equal(OK(dp_chain_set(lab.dp, &p, DP_FLIP_MOVE, NULL, &lab_err)), 1);
	for (uint16_t port = 4000; port < 4016; port++) {
		int by;

		fn_reset();
		packet(&f, false, true, port, port);
		tport_send(&lan, &f);
		pump();
		assert_true(tport_recv(&wan, &got, 200));
		assert_int_equal(got.b[29], 99);
		by = fn[1].n_forward ? 1 : 2;
		/* The answer goes back through the same NAT, although the tuple hashes differently there. */
		packet(&f, false, false, port, port);
		f.b[33] = 99;
		fn_reset();
		tport_send(&wan, &f);
		pump();
		assert_true(tport_recv(&lan, &got, 200));
		assert_int_equal(got.b[33], 11);
		assert_int_equal(fn[by].n_reverse, 1);
		assert_int_equal(fn[0].n_reverse, 1);
	}
	assert_not_dropped(&lab);
}

static void test_collect(void **state)
{
	struct dp_path_info info[8];
	struct dp_flip_result one, two;
	int n;

	one = set_chain("01", DP_FLIP_MOVE);
	expect_both(1000, "01");
	two = set_chain("0", DP_FLIP_KEEP);
	n = OK(dp_path_collect(lab.dp, info, 8, &lab_err));
	assert_int_equal(n, 2);
	for (int i = 0; i < n; i++) {
		assert_int_equal(info[i].chain, CHAIN);
		assert_int_equal(info[i].current, info[i].path == two.path);
		assert_int_equal(info[i].n_flows, info[i].path == one.path ? 2 : 0);
	}
}

/* More flows than the table holds: old ones are forgotten, none is refused, a busy one goes on. */
static void test_full_table(void **state)
{
	COVERS(V4, F_SHEDDING);
	set_chain("0", DP_FLIP_MOVE);
	expect_both(1000, "0");
	for (unsigned int i = 0; i < 12000; i++) {
		struct frame f, got;

		packet(&f, false, true, (uint16_t)(2000 + i), i);
		f.b[29] = (uint8_t)(100 + i % 100); /* another source as well */
		tport_send(&lan, &f);
		if (i % 64 == 0) {
			pump();
			while (tport_recv(&wan, &got, 0))
				;
			expect_path(false, true, 1000, "0");
			expect_path(false, false, 1000, "0");
		}
	}
	pump();
	tport_drain(&wan);
	assert_true(lab_entries(&lab, "flow4") <= 8192);
	assert_true(lab_entries(&lab, "flow4") > 4096);
	expect_both(1000, "0");
	assert_not_dropped(&lab);
}

/* A chain number is used again: flows that the old chain kept are not the new one's. */
static void test_number_again(void **state)
{
	set_chain("01", DP_FLIP_MOVE);
	expect_both(1000, "01");
	OK(dp_chain_del(lab.dp, CHAIN, &lab_err));
	set_chain("2", DP_FLIP_KEEP);
	expect_both(1000, "2");
	assert_not_dropped(&lab);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_steered, chain_setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_same_is_no_change, chain_setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_keep, chain_setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_keep_first_chain, chain_setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_keep_empty, chain_setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_in_flight, chain_setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_agent_restart, chain_setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_closed_hop, chain_setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_group, chain_setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_mac_rewrite, chain_setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_nat, chain_setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_collect, chain_setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_full_table, chain_setup, chain_teardown),
		cmocka_unit_test_setup_teardown(test_number_again, chain_setup, chain_teardown),
	};

	return lab_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
