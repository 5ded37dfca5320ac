/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a CPU remembers of ports, MACs and groups (bpf/way.h) is what they would say: a trace asks them each time, so that what happens to a
 * packet is compared with the trace of it, whatever was changed before.
 */

#include "lab.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <linux/pkt_cls.h>

#include "base/clock.h"
#include "dp/internal.h"

#define A 65537
#define B 65538
#define U 65539
#define SG_A 11
#define SG_B 12

static const uint8_t macs[4][6] = { { 2, 0, 0, 0, 0, 0xa },
				    { 2, 0, 0, 0, 0, 0xb },
				    { 2, 0, 0, 0, 0, 0xe },
				    { 2, 0, 0, 0, 0, 0x1b } };
static struct lab lab;
static struct tport a, b, u;
static uint16_t next_port;

static int setup(void **state)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	lab_open(&lab);
	tport_make(&a, A, macs[0], -1, "eth0");
	tport_make(&b, B, macs[1], -1, "eth0");
	tport_make(&u, U, macs[2], -1, "eth0");
	lab_port(&lab, &a, 1, DP_PORT_SECURITY, SG_A, "10.0.0.1/24", "fd00::1/64", NULL);
	lab_port(&lab, &b, 1, DP_PORT_SECURITY, SG_B, "10.0.0.2/24", "fd00::2/64", NULL);
	lab_uplink(&lab, &u, 1, 0);
	next_port = 20000;
	return 0;
}

static int teardown(void **state)
{
	link_del(A);
	link_del(B);
	link_del(U);
	tport_free(&a);
	tport_free(&b);
	tport_free(&u);
	lab_close(&lab);
	return 0;
}

static const struct dp_sg_rule all[4] = { { .egress = true, .family = IP_V4 },
					  { .egress = true, .family = IP_V6 },
					  { .family = IP_V4 },
					  { .family = IP_V6 } };

static void rules(uint32_t sg, const struct dp_sg_rule *r, size_t n)
{
	OK(dp_sg_set(lab.dp, sg, r, n, NULL, 0, &lab_err));
}

/* The first packet of a connection that was never seen. */
static void first_to(struct frame *f, uint8_t proto, const char *src, const char *dst, uint16_t dport)
{
	struct desc d = { .smac = macs[0],
			  .dmac = macs[1],
			  .src = src,
			  .dst = dst,
			  .proto = proto,
			  .sport = next_port++,
			  .dport = dport,
			  .flags = TCP_SYN,
			  .payload = 10 };

	frame_build(f, &d);
}

static bool goes(uint8_t proto, const char *src, const char *dst, uint16_t dport)
{
	struct frame f;

	first_to(&f, proto, src, dst, dport);
	return lab_run(&lab, A, &f, NULL) != TC_ACT_SHOT;
}

static int map_of(const char *name)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/v%d/%s", lab.pin, ABI_VERSION, name);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	return fd;
}

/* Behind the back of dp/, which would say so by a new generation: who comes again does not look, and the one after the bump does. */
static void test_asked_once_per_generation(void **state)
{
	COVERS(V4, F_WAYS);
	struct fdb_key k = { .net = 1 };
	struct fdb_rec was;
	int fdb = map_of("fdb");

	rules(SG_A, all, 4);
	rules(SG_B, all, 4);
	memcpy(k.mac, macs[1], 6);
	assert_int_equal(bpf_map_lookup_elem(fdb, &k, &was), 0);
	for (int i = 0; i < 2; i++) /* it is worth while from the second time on */
		assert_true(goes(17, "10.0.0.1", "10.0.0.2", 7));
	assert_int_equal(bpf_map_delete_elem(fdb, &k), 0);
	assert_true(goes(17, "10.0.0.1", "10.0.0.2", 7));
	assert_true(goes(6, "10.0.0.1", "10.0.0.2", 9));
	rules(SG_A, all, 3);
	lab_port(&lab, &u, 2, DP_PORT_UPLINK, 0, NULL); /* else it would be the only way out */
	assert_false(goes(17, "10.0.0.1", "10.0.0.2", 7));
	assert_dropped(&lab, L2_UNKNOWN);
	close(fdb);
}

/* Many sources behind one port: who has come twice in a row is found for a while, whoever comes between. */
static void test_many_sources(void **state)
{
	COVERS(V4 | V6, F_WAYS);
	static const char *const ip[2][3] = { { "10.0.0.1", "10.0.0.3", "10.0.0.2" },
					      { "fd00::1", "fd00::3", "fd00::2" } };
	struct fdb_key k = { .net = 1 };
	struct fdb_rec was;
	struct flow_rec r;
	struct frame f;
	int fdb = map_of("fdb");

	rules(SG_A, all, 4);
	rules(SG_B, all, 4);
	lab_port(&lab, &a, 1, DP_PORT_SECURITY, SG_A, "10.0.0.1/24", "10.0.0.3/24", "fd00::1/64",
		 "fd00::3/64", NULL);
	memcpy(k.mac, macs[1], 6);
	assert_int_equal(bpf_map_lookup_elem(fdb, &k, &was), 0);
	for (int v6 = 0; v6 < 2; v6++) {
		int64_t begin;

		do { /* without a long pause between */
			begin = clock_mono_ns();
			dp_gen_bump(lab.dp);
			for (int n = 0; n < 4; n++) /* each twice in a row */
				assert_true(goes(17, ip[v6][n / 2], ip[v6][2], 7));
		} while (clock_mono_ns() - begin > 30 * NS_PER_MS);
		assert_int_equal(bpf_map_delete_elem(fdb, &k), 0);
		first_to(&f, 17, ip[v6][0], ip[v6][2], 7);
		assert_int_not_equal(lab_run(&lab, A, &f, NULL), TC_ACT_SHOT);
		assert_int_equal(bpf_map_update_elem(fdb, &k, &was, BPF_ANY), 0);
		assert_true(lab_record(&lab, A, &f, &r));
		assert_int_equal(r.out, B); /* not the only way out, which who asks would find */
	}
	close(fdb);
}

static void test_sources_are_told_apart(void **state)
{
	COVERS(V4 | V6, F_WAYS);
	rules(SG_A, all, 4);
	rules(SG_B, all, 4);
	for (int i = 0; i < 6; i++) {
		for (int n = 0; n < 3; n++)
			assert_true(goes(17, "10.0.0.1", "10.0.0.2", 7));
		assert_false(goes(17, "10.0.0.3", "10.0.0.2", 7));
		assert_dropped(&lab, SPOOF_IPV4);
		assert_true(goes(6, "fd00::1", "fd00::2", 7));
		assert_false(goes(6, "fd00::3", "fd00::2", 7));
		assert_dropped(&lab, SPOOF_IPV6);
	}
}

/* Where anti-spoofing does not look at the source, a rule still may. */
static void test_rules_see_what_the_way_does_not(void **state)
{
	COVERS(V4 | V6, F_WAYS);
	const struct dp_sg_rule from_one = { .family = IP_V4, .remote = cidr_of("10.0.0.1/32") };

	lab_port(&lab, &a, 1, 0, 0, NULL);
	rules(SG_B, &from_one, 1);
	for (int i = 0; i < 6; i++) {
		for (int n = 0; n < 3; n++)
			assert_true(goes(17, "10.0.0.1", "10.0.0.2", 7));
		assert_false(goes(17, "10.0.0.3", "10.0.0.2", 7));
		assert_dropped(&lab, SG_INGRESS);
	}
	rules(SG_B, all + 2, 1);
	for (int i = 0; i < 6; i++) {
		for (int n = 0; n < 3; n++)
			assert_true(goes(17, "10.0.0.1", "10.0.0.2", 7));
		assert_false(goes(17, "fd00::1", "fd00::2", 7));
		assert_dropped(&lab, SG_INGRESS);
	}
}

/* Nobody but the server of DHCP sends from its port, whoever has sent before. */
static void test_dhcp_servers_are_refused(void **state)
{
	COVERS(V4, F_WAYS);
	struct frame f;

	rules(SG_A, all, 4);
	rules(SG_B, all, 4);
	for (int i = 0; i < 4; i++)
		assert_true(goes(17, "10.0.0.1", "10.0.0.2", 7));
	next_port = 67;
	first_to(&f, 17, "10.0.0.1", "10.0.0.2", 7);
	assert_int_equal(lab_run(&lab, A, &f, NULL), TC_ACT_SHOT);
	assert_dropped(&lab, DHCP_SERVER);
}

static void test_members_come_and_go(void **state)
{
	COVERS(V4, F_WAYS);
	const struct dp_sg_rule from_a = { .family = IP_V4, .remote_sg = SG_A };
	struct ip_addr member = ip_of("10.0.0.1");

	rules(SG_B, &from_a, 1);
	for (int i = 0; i < 2; i++) {
		OK(dp_sg_set(lab.dp, SG_A, all, 4, &member, 1, &lab_err));
		for (int n = 0; n < 3; n++)
			assert_true(goes(17, "10.0.0.1", "10.0.0.2", 7));
		OK(dp_sg_set(lab.dp, SG_A, all, 4, NULL, 0, &lab_err));
		for (int n = 0; n < 3; n++) {
			assert_false(goes(17, "10.0.0.1", "10.0.0.2", 7));
			assert_dropped(&lab, SG_INGRESS);
		}
	}
}

/* Two ports with one MAC: who was set last has it, as was before. */
static void test_a_mac_moves(void **state)
{
	COVERS(V4, F_WAYS);
	struct tport twin = u;
	struct flow_rec r;
	struct frame f;

	memcpy(twin.mac, macs[1], 6);
	rules(SG_A, all, 4);
	rules(SG_B, all, 4);
	for (int i = 0; i < 4; i++) {
		if (i % 2)
			lab_port(&lab, &twin, 1, DP_PORT_SECURITY, SG_B, "10.0.0.2/24", NULL);
		else
			lab_port(&lab, &b, 1, DP_PORT_SECURITY, SG_B, "10.0.0.2/24", "fd00::2/64", NULL);
		for (int n = 0; n < 3; n++) {
			first_to(&f, 17, "10.0.0.1", "10.0.0.2", 7);
			assert_int_not_equal(lab_run(&lab, A, &f, NULL), TC_ACT_SHOT);
			assert_true(lab_record(&lab, A, &f, &r));
			assert_int_equal(r.out, i % 2 ? U : B);
		}
	}
}

/* ---- whatever is changed, packets go where their traces say ---- */

static uint32_t dice(uint32_t n)
{
	static uint64_t x = 88172645463325252ULL;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)((x >> 20) % n);
}

static struct dp_sg_rule rule_any(void)
{
	struct dp_sg_rule r = { .egress = dice(2),
				.family = dice(2) ? IP_V4 : IP_V6,
				.id = 1 + dice(1000) };

	if (dice(2))
		r.proto = dice(2) ? 6 : 17;
	if (r.proto && dice(2)) {
		r.has_ports = true;
		r.port_min = (uint16_t)(7 + dice(3));
		r.port_max = (uint16_t)(r.port_min + dice(2));
	}
	if (!dice(3))
		r.remote_sg = dice(2) ? SG_A : SG_B;
	else if (!dice(3))
		r.remote = cidr_of(r.family == IP_V4 ? dice(2) ? "10.0.0.1/32" : "10.0.0.2/31" :
				   dice(2)	     ? "fd00::1/128" :
						       "fd00::2/127");
	return r;
}

static void group_any(uint32_t sg)
{
	static const char *const text[4] = { "10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2" };
	struct dp_sg_rule r[40];
	struct ip_addr members[4];
	size_t n = dice(8) ? 1 + dice(6) : 40, n_members = 0; /* short tables, and others */

	for (size_t i = 0; i < n; i++)
		r[i] = rule_any();
	for (int i = 0; i < 4; i++)
		if (dice(2))
			members[n_members++] = ip_of(text[i]);
	OK(dp_sg_set(lab.dp, sg, r, n, members, n_members, &lab_err));
}

static void port_any(struct tport *p, int i)
{
	struct tport q = *p;

	if (!dice(4))
		memcpy(q.mac, macs[3], 6); /* shared */
	lab_port(&lab, &q, dice(12) ? 1 : 2, dice(4) ? DP_PORT_SECURITY : 0, i ? SG_B : SG_A,
		 i ? "10.0.0.2/24" : "10.0.0.1/24", dice(2) ? "fd00::1/64" : "fd00::2/64", NULL);
}

static void change_any(void)
{
	struct mac m;

	memcpy(m.b, macs[2], 6);
	switch (dice(6)) {
	case 0:
	case 1:
		group_any(dice(2) ? SG_A : SG_B);
		break;
	case 2:
		port_any(&a, 0);
		break;
	case 3:
		port_any(&b, 1);
		break;
	case 4:
		(void)!dp_fdb_set(lab.dp, 1, &m, (ifindex){ U }, &lab_err);
		break;
	case 5:
		dp_fdb_del(lab.dp, 1, &m);
		break;
	}
}

static void packet_any(struct frame *f)
{
	static const char *const v4[3] = { "10.0.0.1", "10.0.0.2", "10.0.0.9" };
	static const char *const v6[3] = { "fd00::1", "fd00::2", "fd00::9" };
	const char *const *ip = dice(3) ? v4 : v6;
	bool shared = !dice(8); /* the source's MAC, which a trace does not learn */
	struct desc d = { .smac = macs[shared ? 3 : 0],
			  .dmac = macs[1 + dice(shared ? 2 : 3)],
			  .src = ip[dice(8) ? 0 : dice(3)],
			  .dst = ip[1 + dice(2)],
			  .proto = dice(2) ? 6 : 17,
			  .sport = next_port++,
			  .dport = (uint16_t)(7 + dice(3)),
			  .flags = TCP_SYN,
			  .payload = 10 };

	frame_build(f, &d);
}

/* Returns whether it went. */
static bool as_traced(void)
{
	struct dp_trace_step step[64];
	struct flow_rec r;
	struct frame f;
	uint32_t rule = 0;
	int n, v;

	packet_any(&f);
	n = OK(dp_trace(lab.dp, (ifindex){ A }, (vlan_id){ 0 }, f.b, f.len, step, 64, &lab_err));
	assert_true(n > 0);
	v = lab_run(&lab, A, &f, NULL);
	if (step[n - 1].drop != (v == TC_ACT_SHOT))
		for (int i = 0; i < n; i++)
			print_error("%s: %s\n", step[i].stage, step[i].text);
	assert_int_equal(step[n - 1].drop, v == TC_ACT_SHOT);
	if (v != TC_ACT_REDIRECT)
		return false;
	for (int i = 0; i < n; i++)
		if (!strcmp(step[i].stage, "security group") && step[i].rule)
			rule = step[i].rule;
	assert_true(lab_record(&lab, A, &f, &r));
	assert_int_equal(r.out, step[n - 1].out.num);
	assert_int_equal(r.rule, rule);
	return true;
}

static void test_packets_go_as_traced(void **state)
{
	COVERS(V4 | V6, F_WAYS);
	int went = 0;

	for (int i = 0; i < 150; i++) {
		change_any();
		for (int n = 0; n < 24; n++)
			went += as_traced();
	}
	assert_in_range(went, 360, 3240);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_asked_once_per_generation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sources_are_told_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_sources, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rules_see_what_the_way_does_not, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dhcp_servers_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_members_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_mac_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packets_go_as_traced, setup, teardown),
	};

	return lab_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
