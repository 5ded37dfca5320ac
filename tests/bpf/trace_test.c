/* SPDX-License-Identifier: Apache-2.0 */

/* What `demarc trace` is told, and that telling it changes nothing. */

#include "lab.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>
#include <linux/pkt_cls.h>

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 0, 0xa }, mac_b[6] = { 2, 0, 0, 0, 0, 0xb },
		     mac_w[6] = { 2, 0, 0, 0, 0, 0xf }, mac_u[6] = { 2, 0, 0, 0, 0, 0xe },
		     bcast[6] = { 255, 255, 255, 255, 255, 255 };
#define SG_A 11
#define MAX_STEPS 64

static struct lab lab;
static struct tport a, b, u;
static struct dp_trace_step step[MAX_STEPS];
static int n_steps;

static int setup(void **state)
{
	struct dp_sg_rule r[4] = {
		{ .egress = true, .family = IP_V4 },
		{ .family = IP_V4, .proto = 17, .has_ports = true, .port_min = 7, .port_max = 7 },
		{ .egress = true, .family = IP_V6 },
		{ .family = IP_V6, .proto = 17, .has_ports = true, .port_min = 7, .port_max = 7 }
	};

	lab_open(&lab);
	tport_make(&a, 65537, mac_a, -1, "eth0");
	tport_make(&b, 65538, mac_b, -1, "eth0");
	tport_make(&u, 65539, mac_u, -1, "eth0");
	OK(dp_sg_set(lab.dp, SG_A, r, 4, NULL, 0, &lab_err));
	lab_port(&lab, &a, 1, DP_PORT_SECURITY, SG_A, "10.0.0.1/24", "fd00::1/64", NULL);
	lab_port(&lab, &b, 1, 0, 0, NULL);
	lab_uplink(&lab, &u, 1, 0);
	lab_uplink(&lab, &u, 2, 42);
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

static void trace(struct tport *from, uint16_t vlan, const struct frame *f)
{
	n_steps = OK(dp_trace(lab.dp, (ifindex){ from->host }, (vlan_id){ vlan }, f->b, f->len,
			      step, MAX_STEPS, &lab_err));
	lab_saw(f);
	assert_true(n_steps > 0);
}

static const struct dp_trace_step *find_step(const char *stage, const char *text)
{
	for (int i = 0; i < n_steps; i++)
		if (!strcmp(step[i].stage, stage) && strstr(step[i].text, text))
			return &step[i];
	for (int i = 0; i < n_steps; i++)
		print_error("%s: %s\n", step[i].stage, step[i].text);
	fail_msg("no step %s: %s", stage, text);
	return NULL;
}

static void udp(struct frame *f, const uint8_t *smac, const uint8_t *dmac, const char *src,
		const char *dst, uint16_t dport)
{
	struct desc d = { .smac = smac,
			  .dmac = dmac,
			  .src = src,
			  .dst = dst,
			  .proto = 17,
			  .sport = 1000,
			  .dport = dport,
			  .payload = 20 };

	frame_build(f, &d);
}

static void test_forwarded(void **state)
{
	COVERS(V4 | V6, F_TRACE);

	struct frame f;

	for (int v6 = 0; v6 < 2; v6++) {
		udp(&f, mac_a, mac_b, v6 ? "fd00::1" : "10.0.0.1", v6 ? "fd00::2" : "10.0.0.2", 7);
		trace(&a, 0, &f);
		find_step("parse", v6 ? "IPv6, protocol 17, 82 bytes" : "IPv4, protocol 17, 62 bytes");
		find_step("parse", "source port 1000, destination port 7");
		find_step("port", "ifindex 65537, network 1");
		find_step("anti-spoof", "belong to the port");
		find_step("flow", "first packet");
		find_step("l2", "ifindex 65538");
		find_step("conntrack", "opens a connection");
		find_step("security group", v6 ? "rule 2 of group 11" : "rule 0 of group 11");
		assert_int_equal(find_step("output", "to ifindex 65538")->out.num, 65538);
		assert_false(step[n_steps - 1].drop);
		/* Then the flow exists, and the trace says what the fast path does with it. */
		assert_int_equal(lab_run(&lab, a.host, &f, NULL), TC_ACT_REDIRECT);
		trace(&a, 0, &f);
		find_step("flow", "fast path sends it to ifindex 65538");
	}
}

static void test_no_side_effects(void **state)
{
	COVERS(V4 | V6, F_TRACE);

	struct dp_map_count before[32], after[32];
	uint64_t drops[DROP_N], drops_after[DROP_N];
	struct frame f, got;
	int n;

	n = OK(dp_map_counts(lab.dp, before, 32, &lab_err));
	OK(dp_drop_totals(lab.dp, drops, DROP_N, &lab_err));
	udp(&f, mac_a, mac_b, "10.0.0.1", "10.0.0.2", 7);
	trace(&a, 0, &f);
	for (int v6 = 0; v6 < 2; v6++) {
		udp(&f, mac_w, mac_a, v6 ? "fd00::9" : "10.0.0.9", v6 ? "fd00::1" : "10.0.0.1", 8);
		trace(&u, 0, &f);
		assert_true(step[n_steps - 1].drop);
		find_step("output", "no ingress rule");
	}
	frame_arp(&f, mac_w, bcast, 1, mac_w, "10.0.0.9", "10.0.0.200");
	trace(&u, 0, &f);
	assert_int_equal(find_step("flood", "copy to ifindex 65537")->out.num, 65537);
	frame_arp(&f, mac_w, bcast, 1, mac_w, "10.0.0.9", "10.0.0.1");
	trace(&u, 0, &f);
	find_step("arp", "answered here for the port with ifindex 65537");
	OK(dp_map_counts(lab.dp, after, 32, &lab_err));
	OK(dp_drop_totals(lab.dp, drops_after, DROP_N, &lab_err));
	for (int i = 0; i < n; i++)
		assert_int_equal(before[i].n_entries, after[i].n_entries);
	assert_memory_equal(drops, drops_after, sizeof(drops));
	assert_false(tport_recv(&a, &got, 0));
	assert_false(tport_recv(&b, &got, 0));
	assert_false(tport_recv(&u, &got, 0));
}

static void test_dropped(void **state)
{
	COVERS(V4 | V6, F_TRACE);

	struct frame f;

	udp(&f, mac_a, mac_b, "10.0.0.66", "10.0.0.2", 7);
	trace(&a, 0, &f);
	assert_true(step[n_steps - 1].drop);
	find_step("output", "the IPv4 source is not one of the port's addresses");
	udp(&f, mac_a, mac_b, "fd00::66", "fd00::2", 7);
	trace(&a, 0, &f);
	assert_true(step[n_steps - 1].drop);
	find_step("output", "the IPv6 source is not one of the port's addresses");
}

static void test_vlan(void **state)
{
	struct frame f;

	udp(&f, mac_w, mac_a, "10.0.0.9", "10.0.0.1", 7);
	trace(&u, 42, &f);
	find_step("port", "network 2");
	trace(&u, 43, &f);
	find_step("port", "host's own stack");
}

static void test_bad_frames(void **state)
{
	struct frame f = { .len = 14 };

	assert_int_equal(dp_trace(lab.dp, (ifindex){ a.host }, (vlan_id){ 0 }, f.b, 14, step,
				  MAX_STEPS, &lab_err),
			 -EINVAL);
	assert_true(dp_trace(lab.dp, (ifindex){ 99999 }, (vlan_id){ 0 }, f.b, 64, step, MAX_STEPS,
			     &lab_err) < 0);
	/* Every truncation of a good frame is a drop or a verdict, never a fault. */
	udp(&f, mac_a, mac_b, "10.0.0.1", "10.0.0.2", 7);
	for (size_t n = 34; n < f.len; n++) {
		n_steps = OK(dp_trace(lab.dp, (ifindex){ a.host }, (vlan_id){ 0 }, f.b, n, step,
				      MAX_STEPS, &lab_err));
		assert_true(step[n_steps - 1].drop);
	}
	(void)lab_dropped(&lab, DROP_MALFORMED);
	for (size_t n = 20; n < f.len; n++) { /* on the wire as well */
		struct frame cut = f;

		cut.len = n;
		tport_send(&a, &cut);
		assert_dropped(&lab, MALFORMED);
	}
}

/* The mark of a trace on a real packet means nothing while no trace runs. */
static void test_mark(void **state)
{
	struct frame f, out;
	struct __sk_buff ctx = { .ifindex = (uint32_t)a.host, .mark = 0x12345678 };
	struct flow_rec r;
	LIBBPF_OPTS(bpf_test_run_opts, o, .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = 1,
		    .data_out = out.b, .data_size_out = FRAME_MAX);

	udp(&f, mac_a, mac_b, "10.0.0.1", "10.0.0.2", 7);
	o.data_in = f.b;
	o.data_size_in = (uint32_t)f.len;
	assert_int_equal(bpf_prog_test_run_opts(lab.prog, &o), 0);
	assert_true(lab_record(&lab, a.host, &f, &r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_forwarded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_side_effects, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vlan, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mark, setup, teardown),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
