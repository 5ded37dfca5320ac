/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The memory of an element that a packet has just found becomes another key's (bpf/held.h). Two networks with two ports each: whatever happens,
 * nothing of the one is seen in the other.
 *
 *	net 1: A - B	net 2: C - D
 */

#include "lab.h"

#include <arpa/inet.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>

#include "dp/internal.h"
#include "reuse.h"
#include "reuse.skel.h"

enum { A = 65601, B, C, D };

static const uint8_t macs[4][6] = { { 2, 0, 0, 0, 1, 0xa },
				    { 2, 0, 0, 0, 1, 0xb },
				    { 2, 0, 0, 0, 1, 0xc },
				    { 2, 0, 0, 0, 1, 0xd } };
static const uint8_t bcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
static struct lab lab;
static struct tport port[4];
static struct reuse_bpf *skel;

static void ports_set(void)
{
	lab_port(&lab, &port[0], 1, 0, 0, "10.0.0.1/24", "fd00::1/64", NULL);
	lab_port(&lab, &port[1], 1, 0, 0, "10.0.0.2/24", "fd00::2/64", NULL);
	lab_port(&lab, &port[2], 2, 0, 0, "10.0.0.3/24", "fd00::3/64", NULL);
	lab_port(&lab, &port[3], 2, 0, 0, "10.0.0.4/24", "fd00::4/64", NULL);
}

static int pinned(const char *name)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/v%d/%s", lab.pin, ABI_VERSION, name);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	return fd;
}

static void step_set(struct reuse_step *s, int fd, const void *key, size_t key_size)
{
	memset(s, 0, sizeof(*s));
	memcpy(s->key, key, key_size);
	s->counted = 1;
	assert_int_equal(bpf_map_lookup_elem(fd, key, s->value), 0);
}

/* Its maps are the lab's. */
static void share(struct bpf_map *m)
{
	const char *name = bpf_map__name(m), *bss = strstr(name, ".bss");
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/v%d/%s", lab.pin, ABI_VERSION, bss ? "globals" : name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return; /* of each program its own */
	assert_int_equal(bpf_map__reuse_fd(m, fd), 0);
	close(fd);
}

static void load_interrupted(void)
{
	struct bpf_map *m;

	skel = reuse_bpf__open();
	assert_non_null(skel);
	bpf_object__for_each_map(m, skel->obj) share(m);
	bpf_program__set_autoload(skel->progs.dp_walk, false);
	bpf_program__set_autoload(skel->progs.dp_list, false);
	assert_int_equal(reuse_bpf__load(skel), 0);
	close(lab.prog);
	lab.prog = dup(bpf_program__fd(skel->progs.dp_ingress));
	assert_true(lab.prog >= 0);
}

static void script_set(const struct reuse_script *s)
{
	__u32 zero = 0;

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(skel->maps.script), &zero, s, BPF_ANY), 0);
}

/* At the nth lookup of `first` in a map, the row is written, and then that of `then`, both as they are. */
static void arm(enum reuse_map map, const char *name, const void *first, const void *then,
		size_t key_size, uint32_t nth)
{
	struct reuse_script s = { .map = map, .armed = nth };
	int fd = pinned(name);

	memcpy(&s.first, first, key_size < 8 ? key_size : 8);
	step_set(&s.step[0], fd, first, key_size);
	step_set(&s.step[1], fd, then, key_size);
	if (map == REUSE_LEARNED) { /* which programs write */
		s.step[0].remove = 1;
		s.step[0].counted = s.step[1].counted = 0;
	}
	script_set(&s);
	close(fd);
}

static int setup(void **state)
{
	cpu_set_t one; /* what it frees, it takes */

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	lab_open(&lab);
	for (int i = 0; i < 4; i++)
		tport_make(&port[i], A + i, macs[i], -1, "eth0");
	ports_set();
	load_interrupted();
	return 0;
}

static int teardown(void **state)
{
	reuse_bpf__destroy(skel);
	skel = NULL;
	for (int i = 0; i < 4; i++) {
		link_del(A + i);
		tport_free(&port[i]);
	}
	lab_close(&lab);
	return 0;
}

static void assert_happened(void)
{
	struct reuse_script s;
	__u32 zero = 0;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.script), &zero, &s), 0);
	assert_int_equal(s.armed, 0);
}

static void packet(struct frame *f, bool v6, const uint8_t *dmac)
{
	static uint16_t sport = 30000;
	struct desc d = { .smac = macs[0],
			  .dmac = dmac,
			  .src = v6 ? "fd00::1" : "10.0.0.1",
			  .dst = v6 ? "fd00::2" : "10.0.0.2",
			  .proto = 17,
			  .sport = ++sport,
			  .dport = 7,
			  .payload = 10 };

	frame_build(f, &d);
}

static void goes_from_a_to_b(bool v6)
{
	struct flow_rec r;
	struct frame f;

	dp_gen_bump(lab.dp); /* no way is kept: bpf/way.h */
	packet(&f, v6, macs[1]);
	assert_int_equal(lab_run(&lab, A, &f, NULL), TC_ACT_REDIRECT);
	assert_happened();
	assert_true(lab_record(&lab, A, &f, &r));
	assert_int_equal(r.out, B);
	assert_int_equal(r.net, 1);
}

/* Nobody in network 2 has heard of A. */
static void assert_not_learned(void)
{
	struct fdb_key k = { .net = 2 };
	struct fdb_rec rec;
	int fd = pinned("fdb_learned");

	memcpy(k.mac, macs[0], 6);
	assert_int_not_equal(bpf_map_lookup_elem(fd, &k, &rec), 0);
	close(fd);
}

static void test_the_port_of_a_packet(void **state)
{
	COVERS(V4 | V6, F_REUSE);
	const struct port_key a = { .ifindex = A }, c = { .ifindex = C };

	for (int v6 = 0; v6 < 2; v6++) {
		arm(REUSE_PORTS, "ports", &a, &c, sizeof(a), 1);
		goes_from_a_to_b(v6);
	}
	assert_not_learned();
	assert_not_dropped(&lab);
}

static void test_the_port_that_it_goes_to(void **state)
{
	COVERS(V4 | V6, F_REUSE);
	const struct port_key b = { .ifindex = B }, d = { .ifindex = D };
	struct dp_port down = { .ifindex = { D }, .net = 2, .flags = DP_PORT_ADMIN_DOWN };

	OK(dp_port_set(lab.dp, &down, &lab_err));
	for (int v6 = 0; v6 < 2; v6++) {
		arm(REUSE_PORTS, "ports", &b, &d, sizeof(b), 1);
		goes_from_a_to_b(v6);
	}
	assert_not_dropped(&lab);
}

static void test_the_place_of_a_mac(void **state)
{
	COVERS(V4 | V6, F_REUSE);
	struct fdb_key b = { .net = 1 }, d = { .net = 2 };

	memcpy(b.mac, macs[1], 6);
	memcpy(d.mac, macs[3], 6);
	for (int v6 = 0; v6 < 2; v6++) {
		arm(REUSE_FDB, "fdb", &b, &d, sizeof(b), 1);
		goes_from_a_to_b(v6);
	}
	assert_not_dropped(&lab);
}

/* One that programs write, without a count: it says itself whose it is. */
static void test_the_place_of_a_learned_mac(void **state)
{
	COVERS(V4 | V6, F_REUSE);
	static const uint8_t behind_b[6] = { 2, 0, 0, 0, 2, 0xb },
			     behind_d[6] = { 2, 0, 0, 0, 2, 0xd };
	struct fdb_key k1 = { .net = 1 }, k2 = { .net = 2 };
	struct flow_rec r;
	struct frame f;

	memcpy(k1.mac, behind_b, 6);
	memcpy(k2.mac, behind_d, 6);
	for (int v6 = 0; v6 < 2; v6++) {
		for (int i = 0; i < 2; i++) {
			packet(&f, v6, bcast);
			memcpy(f.b + 6, i ? behind_d : behind_b, 6);
			assert_int_not_equal(lab_run(&lab, i ? D : B, &f, NULL), TC_ACT_SHOT);
		}
		arm(REUSE_LEARNED, "fdb_learned", &k1, &k2, sizeof(k1), 1);
		packet(&f, v6, behind_b);
		assert_int_equal(lab_run(&lab, A, &f, NULL), TC_ACT_REDIRECT);
		assert_happened();
		assert_true(lab_record(&lab, A, &f, &r));
		assert_int_equal(r.out, B); /* unknown again, and the only way out */
	}
	assert_not_dropped(&lab);
}

static void test_the_members_of_a_network(void **state)
{
	COVERS(V4 | V6, F_REUSE);
	const __u32 one = 1, two = 2;
	struct frame f, got;

	for (int v6 = 0; v6 < 2; v6++)
		for (uint32_t nth = 1; nth < 3; nth++) {
			arm(REUSE_NETS, "nets", &one, &two, sizeof(one), nth);
			packet(&f, v6, bcast);
			assert_int_not_equal(lab_run(&lab, A, &f, NULL), TC_ACT_SHOT);
			assert_happened();
			assert_true(tport_recv(&port[1], &got, 1000));
			assert_false(tport_recv(&port[2], &got, 0));
			assert_false(tport_recv(&port[3], &got, 0));
		}
	assert_not_dropped(&lab);
}

/* What is in doubt is not answered here: who has the address does. */
static void test_who_has_an_address(void **state)
{
	COVERS(V4 | V6, F_REUSE);
	static const uint8_t node2[6] = { 0x33, 0x33, 0xff, 0, 0, 2 };
	struct addr_key b = { .net = 1, .family = 4 }, d = { .net = 2, .family = 4 };
	struct ip_addr ip;
	struct frame f, got;

	for (int v6 = 0; v6 < 2; v6++) {
		b.family = d.family = v6 ? 6 : 4;
		ip = ip_of(v6 ? "fd00::2" : "10.0.0.2");
		ip_words(&ip, b.ip);
		ip = ip_of(v6 ? "fd00::4" : "10.0.0.4");
		ip_words(&ip, d.ip);
		arm(REUSE_ADDRS, "addrs", &b, &d, sizeof(b), 1);
		if (v6)
			frame_nd(&f, macs[0], node2, "fd00::1", "ff02::1:ff00:2", 135, "fd00::2",
				 macs[0]);
		else
			frame_arp(&f, macs[0], bcast, 1, macs[0], "10.0.0.1", "10.0.0.2");
		assert_int_not_equal(lab_run(&lab, A, &f, NULL), TC_ACT_SHOT);
		assert_happened();
		assert_true(tport_recv(&port[1], &got, 1000));
		assert_memory_equal(got.b, f.b, f.len);
	}
	assert_not_dropped(&lab);
}

/* What is as it was is not written: else each pass of the agent would make packets doubt. */
static void test_the_same_is_not_written_again(void **state)
{
	__u32 was = lab.dp->g->writes;

	assert_int_not_equal(was, 0);
	ports_set();
	assert_int_equal(lab.dp->g->writes, was);
	lab_port(&lab, &port[3], 2, 0, 0, "10.0.0.5/24", NULL);
	assert_int_not_equal(lab.dp->g->writes, was);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_port_of_a_packet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_port_that_it_goes_to, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_place_of_a_mac, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_place_of_a_learned_mac, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_members_of_a_network, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_has_an_address, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_same_is_not_written_again, setup, teardown),
	};

	return lab_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
