/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A transparent chain between two uplinks of one network, the functions played by the test:
 *
 *   x --- lan [L]      [F1.in F1.out]  [F2.in F2.out]  [F3.in F3.out]      [W] wan --- y
 *
 * A function forwards what it gets on one port out of the other when the test says so (pump), so that a
 * change can be made while packets are inside functions.
 */

#include "lab.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

static const uint8_t mac_x[6] = { 2, 0, 0, 0, 0, 0x11 }, mac_y[6] = { 2, 0, 0, 0, 0, 0x22 },
		     mac_l[6] = { 2, 0, 0, 0, 0, 1 }, mac_w[6] = { 2, 0, 0, 0, 0, 2 };

#define N_FN 4
#define CHAIN 5

struct fn {
	struct tport in, out;
	unsigned int n_forward, n_reverse; /* frames since the last fn_reset() */
	void (*change)(struct frame *f, bool forward);
};

static struct lab lab;
static struct tport lan, wan;
static struct fn fn[N_FN];

static void fn_make(int i)
{
	uint8_t in[6] = { 2, 0, 0, 1, (uint8_t)i, 1 }, out[6] = { 2, 0, 0, 1, (uint8_t)i, 2 };
	int ns = ns_new();

	fn[i] = (struct fn){ 0 };
	tport_make(&fn[i].in, 65600 + 2 * i, in, ns, "eth0");
	tport_make(&fn[i].out, 65601 + 2 * i, out, ns, "eth1");
	lab_port(&lab, &fn[i].in, 1, 0, 0, NULL);
	lab_port(&lab, &fn[i].out, 1, 0, 0, NULL);
}

static void pump(void);

static void introduce_one(const uint8_t *mac, struct tport *p)
{
	static const uint8_t bcast[6] = { 255, 255, 255, 255, 255, 255 };
	struct frame f;

	frame_arp(&f, mac, bcast, 1, mac, "10.0.0.11", "10.0.0.200");
	tport_send(p, &f);
}

/* Everybody learns where x and y are; what the functions send round on this occasion ends as a loop. */
static void introduce(void)
{
	introduce_one(mac_x, &lan);
	introduce_one(mac_y, &wan);
	pump();
	tport_drain(&lan);
	tport_drain(&wan);
	assert_true(lab_dropped(&lab, DROP_L2_LOOP) > 0);
}

static int setup(void **state)
{
	lab_open(&lab);
	tport_make(&lan, 101, mac_l, -1, "eth0");
	tport_make(&wan, 102, mac_w, -1, "eth0");
	lab_uplink(&lab, &lan, 1, 0);
	lab_uplink(&lab, &wan, 1, 0);
	for (int i = 0; i < N_FN; i++)
		fn_make(i);
	introduce();
	return 0;
}

static int teardown(void **state)
{
	link_del(101);
	link_del(102);
	tport_free(&lan);
	tport_free(&wan);
	for (int i = 0; i < N_FN; i++) {
		link_del(fn[i].in.host);
		link_del(fn[i].out.host);
		tport_free(&fn[i].in);
		tport_free(&fn[i].out);
	}
	lab_close(&lab);
	return 0;
}

static void fn_reset(void)
{
	for (int i = 0; i < N_FN; i++)
		fn[i].n_forward = fn[i].n_reverse = 0;
}

static bool fn_step(struct tport *from, struct tport *to, unsigned int *n, struct fn *f, bool forward)
{
	struct frame fr;

	if (!tport_recv(from, &fr, 0))
		return false;
	if (f->change)
		f->change(&fr, forward);
	(*n)++;
	tport_send(to, &fr);
	return true;
}

/* Runs the functions until nothing is inside them. */
static void pump(void)
{
	bool busy = true;

	while (busy) {
		busy = false;
		for (int i = 0; i < N_FN; i++) {
			busy |= fn_step(&fn[i].in, &fn[i].out, &fn[i].n_forward, &fn[i], true);
			busy |= fn_step(&fn[i].out, &fn[i].in, &fn[i].n_reverse, &fn[i], false);
		}
	}
}

/* The chain over the functions of `hops` ("02": F0 then F2). */
static struct dp_path path_of(const char *hops, bool transparent)
{
	struct dp_path p = {
		.chain = CHAIN, .symmetric = true, .n_hops = strlen(hops), .n_classifiers = 1
	};

	for (size_t i = 0; i < p.n_hops; i++) {
		struct fn *f = &fn[hops[i] - '0'];

		p.hops[i].n_pairs = 1;
		p.hops[i].pairs[0] = (struct dp_pair){ { f->in.host }, { f->out.host }, 1, transparent };
	}
	p.classifiers[0] = (struct dp_classifier){ .src_port = { lan.host }, .dst_port = { wan.host } };
	return p;
}

static struct dp_flip_result set_chain(const char *hops, enum dp_flip_mode mode)
{
	struct dp_path p = path_of(hops, true);
	struct dp_flip_result r = { 0 };

	assert_int_equal(OK(dp_chain_set(lab.dp, &p, mode, &r, &lab_err)), 1);
	return r;
}

static void packet(struct frame *f, bool v6, bool up, uint16_t port, uint32_t seq)
{
	struct desc d = { .smac = up ? mac_x : mac_y,
			  .dmac = up ? mac_y : mac_x,
			  .proto = 17,
			  .sport = up ? port : 80,
			  .dport = up ? 80 : port,
			  .payload = 30,
			  .seq = seq };

	d.src = v6 ? (up ? "fd00::11" : "fd00::22") : (up ? "10.0.0.11" : "10.0.0.22");
	d.dst = v6 ? (up ? "fd00::22" : "fd00::11") : (up ? "10.0.0.22" : "10.0.0.11");
	frame_build(f, &d);
}

/* One frame through everything: unchanged at the other end, once, over exactly the functions of `hops`. */
static void expect_path(bool v6, bool up, uint16_t port, const char *hops)
{
	static uint32_t seq = 1000;
	struct frame f, got;

	fn_reset();
	packet(&f, v6, up, port, ++seq);
	tport_send(up ? &lan : &wan, &f);
	pump();
	if (!tport_recv(up ? &wan : &lan, &got, 200))
		fail_msg("frame of port %u lost, wanted over %s", port, hops);
	assert_int_equal(got.len, f.len);
	assert_memory_equal(got.b, f.b, f.len);
	assert_false(tport_recv(&wan, &got, 0));
	assert_false(tport_recv(&lan, &got, 0));
	for (int i = 0; i < N_FN; i++) {
		unsigned int want = strchr(hops, '0' + i) ? 1 : 0;

		if ((up ? fn[i].n_forward : fn[i].n_reverse) != want ||
		    (up ? fn[i].n_reverse : fn[i].n_forward))
			fail_msg("F%d saw %u forward, %u reverse; the path is %s", i,
				 fn[i].n_forward, fn[i].n_reverse, hops);
	}
}

static void expect_both(uint16_t port, const char *hops)
{
	for (int v6 = 0; v6 < 2; v6++)
		for (int n = 0; n < 2; n++) {
			expect_path(v6, true, port, hops);
			expect_path(v6, false, port, hops);
		}
}

static void test_steered(void **state)
{
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

static void test_sweep(void **state)
{
	set_chain("01", DP_FLIP_MOVE);
	expect_both(1000, "01");
	lab_reopen(&lab);
	dp_mark(lab.dp);
	lab_uplink(&lab, &lan, 1, 0);
	lab_uplink(&lab, &wan, 1, 0);
	OK(dp_sweep(lab.dp, &lab_err));
	assert_int_equal(lab_entries(&lab, "ports"), 2);
	assert_int_equal(lab_entries(&lab, "attached"), 2);
	assert_int_equal(lab_entries(&lab, "chains"), 0);
	assert_int_equal(lab_entries(&lab, "port_class"), 0);
	assert_int_equal(lab_entries(&lab, "port_chain"), 0);
	assert_int_equal(lab_entries(&lab, "fdb"), 0);
	assert_int_equal(lab_entries(&lab, "nets"), 1);
	expect_both(1000, "");
}

static void junk(const char *map, const void *key, const void *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/v%d/%s", lab.pin, ABI_VERSION, map);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_map_update_elem(fd, key, value, BPF_ANY), 0);
	close(fd);
}

/* What a process leaves that is killed between two steps of a call; the sweep finds all of it. */
static void test_sweep_halves(void **state)
{
	static struct port_classifiers pc = { .n = 1, .c = { { .chain = 77 } } };
	static struct net_rec net = { .net = 1, .n_members = 1, .members = { { .ifindex = 4444 } } };
	struct fdb_key fk = { .net = 1, .mac = { 2, 9, 9, 9, 9, 9 } };
	struct fdb_rec fr = { .ifindex = (uint32_t)lan.host };
	struct addr_key ak = { .net = 1, .family = 4, .ip = { 1 } };
	struct addr_rec ar = { .ifindex = 4444 };
	struct sg_member_key mk = { .sg = 99, .family = 4 };
	struct path_hop_key hk = { .path = 4000 };
	struct path_port_key pk = { .path = 4000, .ifindex = 4444 };
	struct port_chain ch = { .chain = 77, .last_path = 4000 };
	struct port_key at = { .ifindex = (uint32_t)lan.host };
	struct path_hop hop = { 0 };
	struct path_port pp = { 0 };
	uint32_t one = 1, ifx = 4444;
	struct frame f;

	junk("fdb", &fk, &fr);
	junk("addrs", &ak, &ar);
	junk("sg_members", &mk, &one);
	junk("path_hops", &hk, &hop);
	junk("path_ports", &pk, &pp);
	junk("port_chain", &ifx, &ch);
	junk("port_class", &at, &pc);
	junk("nets", &one, &net);
	dp_mark(lab.dp);
	lab_uplink(&lab, &lan, 1, 0);
	OK(dp_sweep(lab.dp, &lab_err));
	assert_int_equal(lab_entries(&lab, "fdb"), 0);
	assert_int_equal(lab_entries(&lab, "addrs"), 0);
	assert_int_equal(lab_entries(&lab, "sg_members"), 0);
	assert_int_equal(lab_entries(&lab, "path_hops"), 0);
	assert_int_equal(lab_entries(&lab, "path_ports"), 0);
	assert_int_equal(lab_entries(&lab, "port_chain"), 0);
	assert_int_equal(lab_entries(&lab, "port_class"), 0);
	lab_uplink(&lab, &wan, 1, 0);
	lab_uplink(&lab, &lan, 1, 0);
	introduce_one(mac_x, &lan);
	assert_true(tport_recv(&wan, &f, 200)); /* both are members of the network again */
}

/* The pins of a release with another ABI go when everything has been set in this one. */
static void test_other_abi(void **state)
{
	char dir[96], path[128];
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "old", 4, 4, 1, NULL);

	snprintf(dir, sizeof(dir), "%s/v0", lab.pin);
	snprintf(path, sizeof(path), "%s/ports", dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(bpf_obj_pin(fd, path), 0);
	close(fd);
	dp_mark(lab.dp);
	OK(dp_sweep(lab.dp, &lab_err));
	assert_int_equal(access(dir, F_OK), -1);
}

static void test_not_bpffs(void **state)
{
	char dir[64];
	struct dp_config c = { .pin_dir = dir };
	struct dp *dp = NULL;

	snprintf(dir, sizeof(dir), "/tmp/demarc-not-bpffs-%d", (int)getpid());
	assert_true(dp_open(&c, &dp, &lab_err) < 0);
	assert_int_equal(lab_err.fault, FAULT_UNAVAILABLE);
	assert_non_null(strstr(lab_err.msg, "mount -t bpf"));
	assert_null(dp);
	assert_int_equal(access(c.pin_dir, F_OK), -1);
}

static void test_port_stats(void **state)
{
	struct dp_port_stats in[2], out[2];

	for (int pass = 0; pass < 2; pass++) {
		lab_reopen(&lab); /* forgets how fresh the counters are */
		OK(dp_port_stats(lab.dp, (ifindex){ fn[0].in.host }, &in[pass], &lab_err));
		OK(dp_port_stats(lab.dp, (ifindex){ fn[0].out.host }, &out[pass], &lab_err));
		if (pass)
			break;
		set_chain("0", DP_FLIP_MOVE);
		for (int i = 0; i < 10; i++)
			expect_path(false, true, 1000, "0");
	}
	assert_int_equal(in[1].tx_pkts - in[0].tx_pkts, 10);
	assert_int_equal(in[1].rx_pkts - in[0].rx_pkts, 0);
	assert_int_equal(out[1].rx_pkts - out[0].rx_pkts, 10);
	assert_int_equal(out[1].tx_pkts - out[0].tx_pkts, 0);
	assert_int_equal(in[1].tx_bytes - in[0].tx_bytes, out[1].rx_bytes - out[0].rx_bytes);
	assert_int_equal(in[1].drop_pkts - in[0].drop_pkts, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_steered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_same_is_no_change, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keep_first_chain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keep_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_flight, setup, teardown),
		cmocka_unit_test_setup_teardown(test_agent_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed_hop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mac_rewrite, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nat, setup, teardown),
		cmocka_unit_test_setup_teardown(test_collect, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_number_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sweep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sweep_halves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_abi, setup, teardown),
		cmocka_unit_test(test_not_bpffs),
		cmocka_unit_test_setup_teardown(test_port_stats, setup, teardown),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
