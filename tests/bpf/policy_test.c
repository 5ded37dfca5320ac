/* SPDX-License-Identifier: Apache-2.0 */

/* Compiled rules: lists and groups, everything that a rule can look at, many rules, and changes under traffic. */

#include "lab.h"

#include <linux/pkt_cls.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/clock.h"
#include "policy.h"

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 5, 0xa }, mac_b[6] = { 2, 0, 0, 0, 5, 0xb },
		     mac_w[6] = { 2, 0, 0, 0, 5, 0xf }, mac_u[6] = { 2, 0, 0, 0, 5, 0xe };
#define LIST_A 21
#define LIST_B 22
#define GROUP 31
#define SG_A 11
#define SG_B 12
#define MANY 10000

static struct lab lab;
static struct tport a, b, u;

static void port_lists(struct tport *t, uint16_t vlan, const char *v4, const char *v6,
		       uint16_t from, uint16_t to)
{
	struct dp_port p = { .ifindex = { t->host },
			     .net = 1,
			     .flags = v4 ? 0 : DP_PORT_UPLINK,
			     .vlan = { vlan },
			     .acl_from = { from },
			     .acl_to = { to } };

	if (v4) {
		memcpy(p.mac.b, t->mac, 6);
		p.addrs[p.n_addrs++] = (struct dp_addr){ cidr_of(v4), p.mac, true };
		p.addrs[p.n_addrs++] = (struct dp_addr){ cidr_of(v6), p.mac, true };
	}
	OK(dp_port_set(lab.dp, &p, &lab_err));
}

static int setup(void **state)
{
	struct dp_net n = { .net = 1, .mtu = 1500 };

	lab_open(&lab);
	tport_make(&a, 66537, mac_a, -1, "eth0");
	tport_make(&b, 66538, mac_b, -1, "eth0");
	tport_make(&u, 66539, mac_u, -1, "eth0");
	OK(dp_net_set(lab.dp, &n, &lab_err));
	port_lists(&a, 0, "10.0.0.1/24", "fd00::1/64", LIST_A, 0);
	port_lists(&b, 0, "10.0.0.2/24", "fd00::2/64", 0, 0);
	port_lists(&u, 7, NULL, NULL, LIST_A, 0);
	return 0;
}

static int teardown(void **state)
{
	link_del(66537);
	link_del(66538);
	link_del(66539);
	tport_free(&a);
	tport_free(&b);
	tport_free(&u);
	lab_close(&lab);
	return 0;
}

static const struct desc udp4 = { .smac = mac_a,
				  .dmac = mac_b,
				  .src = "10.0.0.1",
				  .dst = "10.0.0.2",
				  .proto = 17,
				  .sport = 1000,
				  .dport = 80,
				  .payload = 10 };

static struct desc desc_of(bool v6, uint8_t proto)
{
	struct desc d = udp4;

	d.proto = proto == 1 && v6 ? 58 : proto;
	d.src = v6 ? "fd00::1" : "10.0.0.1";
	d.dst = v6 ? "fd00::2" : "10.0.0.2";
	d.type = v6 ? 128 : 8;
	d.flags = TCP_SYN;
	return d;
}

static bool enters(struct tport *t, const struct frame *f)
{
	return lab_run(&lab, t->host, f, NULL) != TC_ACT_SHOT;
}

static bool goes(const struct desc *d)
{
	struct frame f;

	frame_build(&f, d);
	return enters(&a, &f);
}

static void list(uint32_t id, const struct dp_acl_rule *v, size_t n)
{
	OK(dp_acl_set(lab.dp, id, v, n, &lab_err));
}

/* A rule that denies, before one that permits all; `longer` by as many that match nothing, so that the table is no short one. */
static void deny_in(const struct dp_acl_rule *r, bool longer)
{
	struct dp_acl_rule v[2 + 2 * ABI_POLICY_LINES] = { *r };
	size_t n = 1;

	v[0].id = 77;
	v[0].deny = true;
	for (; longer && n <= 2 * ABI_POLICY_LINES; n++) /* as many of each family: each has its table */
		v[n] = (struct dp_acl_rule){ .id = (uint32_t)n,
					     .src = cidr_of(n & 1 ? "198.51.100.0/24" : "2001:db8:9::/48"),
					     .deny = true };
	v[n++] = (struct dp_acl_rule){ .id = 999 };
	list(LIST_A, v, n);
}

static void deny(const struct dp_acl_rule *r)
{
	deny_in(r, false);
}

static void decides_in(const struct dp_acl_rule *r, const struct desc *hit, const struct desc *miss,
		       bool longer)
{
	struct flow_rec rec;
	struct frame f;

	deny_in(r, longer);
	frame_build(&f, hit);
	for (int i = 0; i < 2; i++) { /* the second one by the record */
		assert_int_equal(lab_run(&lab, a.host, &f, NULL), TC_ACT_SHOT);
		assert_dropped(&lab, ACL);
	}
	assert_true(lab_record(&lab, a.host, &f, &rec));
	assert_true(rec.flags & FLOW_DROP);
	assert_int_equal(rec.rule, 77);
	assert_true(goes(miss));
	frame_build(&f, miss);
	assert_true(lab_record(&lab, a.host, &f, &rec));
	assert_int_equal(rec.rule, 999);
}

/* The list is what decides: denied with the rule's number, and permitted once something else is in the packet. */
static void decides(const struct dp_acl_rule *r, const struct desc *hit, const struct desc *miss)
{
	decides_in(r, hit, miss, false);
	decides_in(r, hit, miss, true);
}

static void test_protocol(void **state)
{
	COVERS(V4 | V6, F_ACL_PROTOCOL);
	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_acl_rule r = { .proto = 17 };
		struct desc hit = desc_of(v6, 17), miss = desc_of(v6, 6);

		decides(&r, &hit, &miss);
		r = (struct dp_acl_rule){ .family = v6 ? IP_V6 : IP_V4 };
		miss = desc_of(!v6, 17);
		decides(&r, &hit, &miss);
	}
}

static void test_addresses(void **state)
{
	COVERS(V4 | V6, F_ACL_ADDRESS);
	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_acl_rule r = { .dst = cidr_of(v6 ? "fd00::8/125" : "10.0.0.8/29") };
		struct desc hit = desc_of(v6, 17), miss = hit;

		hit.dst = v6 ? "fd00::f" : "10.0.0.15";
		miss.dst = v6 ? "fd00::10" : "10.0.0.16";
		decides(&r, &hit, &miss);
		r = (struct dp_acl_rule){ .src = cidr_of(v6 ? "fd00::4/126" : "10.0.0.4/30") };
		hit = miss = desc_of(v6, 17);
		hit.src = v6 ? "fd00::7" : "10.0.0.7";
		decides(&r, &hit, &miss);
	}
}

static void test_port_ranges(void **state)
{
	COVERS(V4 | V6, F_ACL_PORTS);
	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_acl_rule r = { .proto = 6, .has_dport = true, .dport_min = 100, .dport_max = 133 };
		struct desc hit = desc_of(v6, 6), miss = hit;

		hit.dport = 133;
		miss.dport = 134;
		decides(&r, &hit, &miss);
		hit.dport = 100;
		miss.dport = 99;
		decides(&r, &hit, &miss);
		r = (struct dp_acl_rule){ .proto = 6, .has_sport = true, .sport_min = 5, .sport_max = 65535 };
		hit.sport = 65535;
		hit.dport = 1;
		miss.sport = 4;
		decides(&r, &hit, &miss);
	}
}

static void test_icmp(void **state)
{
	COVERS(V4 | V6, F_ACL_ICMP);
	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_acl_rule r = { .proto = v6 ? 58 : 1,
					 .has_icmp = true,
					 .icmp_type = v6 ? 140 : 40,
					 .has_icmp_code = true,
					 .icmp_code = 3 };
		struct desc hit = desc_of(v6, 1), miss = hit;

		hit.type = miss.type = r.icmp_type;
		hit.code = 3;
		miss.code = 4;
		deny(&r);
		assert_false(goes(&hit));
		assert_dropped(&lab, ACL);
		assert_true(goes(&miss));
		r.has_icmp_code = false;
		deny(&r);
		assert_false(goes(&miss));
		assert_dropped(&lab, ACL);
		miss.type++;
		assert_true(goes(&miss));
	}
}

/* UDP from behind the uplink's VLAN. */
static struct frame from_vlan(bool v6)
{
	struct desc d = desc_of(v6, 17);
	struct frame f;

	d.smac = mac_w;
	d.src = v6 ? "fd00::9" : "10.0.0.9";
	d.vlan = 7;
	frame_build(&f, &d);
	return f;
}

static void test_vlan(void **state)
{
	COVERS(V4 | V6, F_ACL_VLAN);
	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_acl_rule r = { .vlan = { 7 } };
		struct desc d = desc_of(v6, 17);
		struct frame f = from_vlan(v6), got;

		deny(&r);
		tport_send(&u, &f);
		assert_false(tport_recv(&b, &got, 20));
		assert_dropped(&lab, ACL);
		assert_true(goes(&d));
		r.vlan.id = 8;
		deny(&r);
		tport_send(&u, &f);
		assert_true(tport_recv(&b, &got, 200));
	}
}

static void set_dscp(struct frame *f, uint8_t dscp)
{
	if (f->b[12] == 0x86) {
		f->b[14] = (uint8_t)(0x60 | dscp >> 2);
		f->b[15] = (uint8_t)(dscp << 6);
	} else {
		f->b[15] = (uint8_t)(dscp << 2 | 1);
	}
}

/* What is in no flow's key: each packet is judged by what is in it, also in the middle of a flow. */
static void test_dscp(void **state)
{
	COVERS(V4 | V6, F_ACL_DSCP);

	struct dp_acl_rule r = { .has_dscp = true, .dscp = 46 };

	deny(&r);
	for (int v6 = 0; v6 < 2; v6++) {
		struct desc d = desc_of(v6, 17);
		struct frame plain, marked;

		frame_build(&plain, &d);
		marked = plain;
		set_dscp(&marked, 46);
		for (int i = 0; i < 3; i++) {
			assert_true(enters(&a, &plain));
			assert_false(enters(&a, &marked));
			assert_false(enters(&a, &marked));
			assert_true(enters(&a, &plain));
			assert_int_equal(lab_dropped(&lab, DROP_ACL), 2);
		}
	}
}

static void test_tcp_flags(void **state)
{
	COVERS(V4 | V6, F_ACL_TCP_FLAGS);
	/* Nobody may open a connection to here, whoever has one may go on. */
	struct dp_acl_rule r = { .proto = 6, .tcp_flags_mask = TCP_SYN | TCP_ACK, .tcp_flags = TCP_SYN };

	deny(&r);
	for (int v6 = 0; v6 < 2; v6++) {
		struct desc d = desc_of(v6, 6);
		struct flow_rec rec;
		struct frame f;

		for (int i = 0; i < 3; i++) {
			d.flags = TCP_SYN;
			assert_false(goes(&d));
			d.flags = TCP_ACK;
			assert_true(goes(&d));
			d.flags = TCP_ACK | TCP_PSH;
			assert_true(goes(&d));
			assert_int_equal(lab_dropped(&lab, DROP_ACL), 1);
		}
		frame_build(&f, &d);
		assert_true(lab_record(&lab, a.host, &f, &rec));
		assert_false(rec.flags & FLOW_DROP);
		d = desc_of(v6, 17); /* no rule about it: an ordinary record */
		assert_true(goes(&d));
		frame_build(&f, &d);
		assert_true(lab_record(&lab, a.host, &f, &rec));
		assert_false(rec.flags & FLOW_VARIES);
	}
}

static void test_address_group(void **state)
{
	COVERS(V4 | V6, F_ACL_GROUP);

	struct ip_cidr v[] = { cidr_of("10.0.0.64/26"), cidr_of("fd00::40/122"),
			       cidr_of("10.0.0.66/32") };

	OK(dp_addr_group_set(lab.dp, GROUP, v, 3, &lab_err));
	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_acl_rule r = { .dst_group = GROUP };
		struct desc hit = desc_of(v6, 17), miss = hit;

		hit.dst = v6 ? "fd00::7f" : "10.0.0.127";
		miss.dst = v6 ? "fd00::80" : "10.0.0.128";
		decides(&r, &hit, &miss);
		r = (struct dp_acl_rule){ .src_group = GROUP };
		hit.src = v6 ? "fd00::40" : "10.0.0.64";
		miss.dst = hit.dst;
		decides(&r, &hit, &miss);
	}
}

/* ---- what a table said before ---- */

/* A connection that was never seen, by its source port. */
static bool opens(struct desc d, uint16_t sport)
{
	d.sport = sport;
	return goes(&d);
}

/* Behind the back of dp/: what rules say is gone, so who has to look finds no rule that permits. */
static void forget_rules(void)
{
	struct policy_rule_key k;
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/v%d/policy_rules", lab.pin, ABI_VERSION);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	while (bpf_map_get_next_key(fd, NULL, &k) == 0)
		assert_int_equal(bpf_map_delete_elem(fd, &k), 0);
	close(fd);
}

static void told_before(bool v6)
{
	struct dp_acl_rule one_port = {
		.proto = 17, .has_sport = true, .sport_min = 7777, .sport_max = 7777
	};
	struct desc d = desc_of(v6, 17), other = d;
	struct ip_cidr member = cidr_of(v6 ? "fd00::1/128" : "10.0.0.1/32"),
		       stranger = cidr_of("192.0.2.1/32");
	struct frame f, out;

	other.dport++;
	OK(dp_addr_group_set(lab.dp, GROUP, &stranger, 1, &lab_err));
	deny_in(&one_port, true);
	for (uint16_t i = 0; i < 3; i++) /* it is worth while from the second time on */
		assert_true(opens(d, 2000 + i));
	(void)lab_dropped(&lab, DROP_ACL);
	for (uint16_t i = 0; i < 3; i++) {
		assert_false(opens(d, 7777));
		assert_dropped(&lab, ACL);
		assert_true(opens(d, 2010 + i));
	}
	forget_rules();
	assert_true(opens(d, 2020));
	assert_false(opens(other, 2021));
	OK(dp_addr_group_set(lab.dp, GROUP, &member, 1, &lab_err)); /* another generation */
	assert_false(opens(d, 2022));

	/* How it refuses is told, too. */
	deny_in(&(struct dp_acl_rule){ .reject = true, .proto = 17 }, true);
	frame_build(&f, &d);
	for (int i = 0; i < 4; i++) {
		f.b[v6 ? 55 : 35] = (uint8_t)i; /* source port */
		assert_int_equal(lab_run(&lab, a.host, &f, &out), TC_ACT_REDIRECT);
		assert_dropped(&lab, REJECT);
		assert_memory_equal(out.b, mac_a, 6);
	}

	/* The group's members are in no table. */
	deny_in(&(struct dp_acl_rule){ .src_group = GROUP, .family = v6 ? IP_V6 : IP_V4 }, true);
	for (int i = 0; i < 2; i++) {
		for (uint16_t n = 0; n < 3; n++)
			assert_false(opens(d, (uint16_t)(2100 + 20 * i + n)));
		OK(dp_addr_group_set(lab.dp, GROUP, &stranger, 1, &lab_err));
		for (uint16_t n = 3; n < 6; n++)
			assert_true(opens(d, (uint16_t)(2100 + 20 * i + n)));
		OK(dp_addr_group_set(lab.dp, GROUP, &member, 1, &lab_err));
	}
	OK(dp_addr_group_del(lab.dp, GROUP, &lab_err));
}

static void test_told_before(void **state)
{
	COVERS(V4 | V6, F_WAYS);
	for (int v6 = 0; v6 < 2; v6++)
		told_before(v6);
}

static void first_match(bool v6)
{
	struct dp_acl_rule v[3] = {
		{ .id = 1, .proto = 17, .has_dport = true, .dport_min = 80, .dport_max = 80 },
		{ .id = 2, .deny = true, .proto = 17 },
		{ .id = 3 }
	};
	struct desc d = desc_of(v6, 17);

	list(LIST_A, v, 3);
	assert_true(goes(&d));
	d.dport = 81;
	assert_false(goes(&d));
	assert_dropped(&lab, ACL);
	list(LIST_A, v + 1, 2);
	d.dport = 80; /* the record of before does not speak any more */
	assert_false(goes(&d));
	list(LIST_A, v, 1);
	assert_true(goes(&d));
	d.dport = 81; /* no rule matches */
	assert_false(goes(&d));
	list(LIST_A, NULL, 0);
	d.dport = 80;
	assert_false(goes(&d));
	OK(dp_acl_del(lab.dp, LIST_A, &lab_err));
	assert_false(goes(&d));
	port_lists(&a, 0, "10.0.0.1/24", "fd00::1/64", 0, 0);
	assert_true(goes(&d));
	port_lists(&a, 0, "10.0.0.1/24", "fd00::1/64", LIST_A, 0);
	(void)lab_dropped(&lab, DROP_ACL);
}

static void test_order(void **state)
{
	COVERS(V4 | V6, F_ACL_ORDER, F_GENERATION);
	first_match(false);
	first_match(true);
}

static struct desc answer_of(const struct desc *d)
{
	struct desc back = *d;

	back.smac = d->dmac;
	back.dmac = d->smac;
	back.src = d->dst;
	back.dst = d->src;
	back.sport = d->dport;
	back.dport = d->sport;
	return back;
}

/* Stateless: the answer is looked at by itself, in the lists of the ports it passes. */
static void test_answers(void **state)
{
	COVERS(V4 | V6, F_ACL_STATELESS);
	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_acl_rule all = { .id = 1 };
		struct dp_acl_rule to_a = {
			.id = 2, .proto = 17, .has_sport = true, .sport_min = 80, .sport_max = 80
		};
		struct desc d = desc_of(v6, 17), back = answer_of(&d);
		struct frame f;

		frame_build(&f, &back);
		list(LIST_A, &all, 1);
		list(LIST_B, &to_a, 1);
		port_lists(&a, 0, "10.0.0.1/24", "fd00::1/64", LIST_A, LIST_B);
		assert_true(goes(&d));
		assert_true(enters(&b, &f));
		to_a.sport_min = 81;
		to_a.sport_max = 81;
		list(LIST_B, &to_a, 1);
		assert_true(goes(&d));
		assert_false(enters(&b, &f));
		assert_dropped(&lab, ACL);
		assert_true(goes(&d));
	}
}

/* A list cannot be gone round by a frame to everybody, nor by an error about nothing. */
static void no_way_round(bool v6)
{
	static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	struct dp_acl_rule r = { .id = 1, .deny = true }, ok = { .id = 2 };
	struct desc d = desc_of(v6, 17);
	struct frame f, about, got;

	frame_build(&about, &d);
	d.dmac = all;
	frame_build(&f, &d);
	list(LIST_A, &r, 1);
	tport_send(&a, &f);
	assert_false(tport_recv(&b, &got, 20));
	assert_dropped(&lab, ACL);
	list(LIST_A, &ok, 1);
	assert_true(lab_passes(&a, &f, &b, &got));
	list(LIST_B, &r, 1);
	port_lists(&b, 0, "10.0.0.2/24", "fd00::2/64", 0, LIST_B);
	tport_send(&a, &f);
	assert_false(tport_recv(&b, &got, 20));
	(void)lab_dropped(&lab, DROP_ACL); /* a copy is one to somebody */
	frame_icmp_error(&f, mac_a, mac_b, d.src, d.dst, &about);
	assert_false(enters(&a, &f));
	assert_dropped(&lab, ACL);
	list(LIST_B, &ok, 1);
	assert_true(enters(&a, &f));
	port_lists(&b, 0, "10.0.0.2/24", "fd00::2/64", 0, 0);
}

static void test_no_way_round(void **state)
{
	COVERS(V4 | V6, F_ACL_STATELESS);
	no_way_round(false);
	no_way_round(true);
}

static void test_remote_address_group(void **state)
{
	COVERS(V4 | V6, F_SG_REMOTE);
	for (int v6 = 0; v6 < 2; v6++) {
		uint8_t family = v6 ? IP_V6 : IP_V4;
		struct dp_sg_rule in = { .family = family, .remote_group = GROUP };
		struct dp_sg_rule out = { .egress = true, .family = family };
		struct ip_cidr one = cidr_of(v6 ? "fd00::/126" : "10.0.0.0/30");
		struct desc d = desc_of(v6, 17);

		OK(dp_sg_set(lab.dp, SG_A, &out, 1, NULL, 0, &lab_err));
		OK(dp_sg_set(lab.dp, SG_B, &in, 1, NULL, 0, &lab_err));
		lab_port(&lab, &a, 1, DP_PORT_SECURITY, SG_A, "10.0.0.1/24", "fd00::1/64", NULL);
		lab_port(&lab, &b, 1, DP_PORT_SECURITY, SG_B, "10.0.0.2/24", "fd00::2/64", NULL);
		assert_false(goes(&d));
		assert_dropped(&lab, SG_INGRESS);
		OK(dp_addr_group_set(lab.dp, GROUP, &one, 1, &lab_err));
		assert_true(goes(&d));
		OK(dp_addr_group_del(lab.dp, GROUP, &lab_err));
		assert_false(goes(&d));
		assert_dropped(&lab, SG_INGRESS);
	}
}

/* Rule i denies a destination and a port of its own; the last one permits the rest. */
static struct dp_acl_rule *many_rules(size_t n, bool v6)
{
	struct dp_acl_rule *v = calloc(n, sizeof(*v));

	assert_non_null(v);
	for (size_t i = 0; i + 1 < n; i++) {
		v[i] = (struct dp_acl_rule){ .id = (uint32_t)(i + 1),
					     .deny = true,
					     .proto = 17,
					     .has_dport = true,
					     .dport_min = (uint16_t)i,
					     .dport_max = (uint16_t)i };
		v[i].dst = cidr_of(v6 ? "fd00::/128" : "10.0.0.0/32");
		v[i].dst.addr.b[v6 ? 14 : 2] = (uint8_t)(i >> 8);
		v[i].dst.addr.b[v6 ? 15 : 3] = (uint8_t)i;
	}
	v[n - 1].id = (uint32_t)n;
	return v;
}

static void test_ten_thousand_rules(void **state)
{
	COVERS(V4 | V6, F_ACL_RULES);
	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_acl_rule *v = many_rules(MANY, v6);
		struct desc d = desc_of(v6, 17);
		struct flow_rec rec;
		struct frame f;
		int64_t began = clock_mono_ns();

		list(LIST_A, v, MANY);
		print_message("10,000 rules written in %lld ms\n",
			      (long long)((clock_mono_ns() - began) / 1000000));
		for (size_t i = 5; i + 1 < MANY; i += 487) {
			frame_build(&f, &d);
			memcpy(f.b + (v6 ? 38 : 30), v[i].dst.addr.b, v6 ? 16 : 4);
			f.b[v6 ? 56 : 36] = (uint8_t)(i >> 8);
			f.b[v6 ? 57 : 37] = (uint8_t)i;
			assert_false(enters(&a, &f));
			assert_dropped(&lab, ACL);
			assert_true(lab_record(&lab, a.host, &f, &rec));
			assert_int_equal(rec.rule, i + 1);
			f.b[v6 ? 57 : 37] ^= 1;
			assert_true(enters(&a, &f));
			assert_true(lab_record(&lab, a.host, &f, &rec));
			assert_int_equal(rec.rule, MANY);
		}
		list(LIST_A, v, MANY); /* the same */
		list(LIST_A, v + MANY - 1, 1);
		assert_true(enters(&a, &f));
		assert_in_range(lab_entries(&lab, "policy_trie"), 0, 10);
		assert_int_equal(lab_entries(&lab, "policy_vecs"), 0);
		free(v);
	}
}

/* 10.7.x.y, or fd07::xxyy, of x * 256 + y below n. */
static struct ip_cidr *many_addresses(size_t n, bool v6)
{
	struct ip_cidr *v = calloc(n, sizeof(*v));

	assert_non_null(v);
	for (size_t i = 0; i < n; i++) {
		v[i] = cidr_of(v6 ? "fd07::/128" : "10.7.0.0/32");
		v[i].addr.b[v6 ? 14 : 2] = (uint8_t)(i >> 8);
		v[i].addr.b[v6 ? 15 : 3] = (uint8_t)i;
	}
	return v;
}

/* An address more is one entry more, whatever else there is. */
static void members(bool v6)
{
	struct ip_cidr *v = many_addresses(MANY + 1, v6);
	struct dp_acl_rule r[2] = { { .id = 1, .dst_group = GROUP }, { .id = 2, .deny = true } };
	const char *first = v6 ? "fd07::" : "10.7.0.0",
		   *number_9999 = v6 ? "fd07::270f" : "10.7.39.15",
		   *after = v6 ? "fd07::2710" : "10.7.39.16";
	struct desc d = desc_of(v6, 17);
	uint64_t n;

	list(LIST_A, r, 2);
	OK(dp_addr_group_set(lab.dp, GROUP, v, MANY, &lab_err));
	n = lab_entries(&lab, "policy_trie");
	assert_true(n >= MANY);
	d.dst = number_9999;
	assert_true(goes(&d));
	d.dst = after;
	assert_false(goes(&d));
	OK(dp_addr_group_set(lab.dp, GROUP, v, MANY + 1, &lab_err));
	assert_int_equal(lab_entries(&lab, "policy_trie"), n + 1);
	assert_true(goes(&d));
	OK(dp_addr_group_set(lab.dp, GROUP, v + 1, MANY, &lab_err));
	assert_int_equal(lab_entries(&lab, "policy_trie"), n);
	d.dst = first;
	assert_false(goes(&d));
	/* Another process finds the list as it is, and takes one away. */
	lab_reopen(&lab);
	dp_mark(lab.dp);
	list(LIST_A, r, 2);
	port_lists(&a, 0, "10.0.0.1/24", "fd00::1/64", LIST_A, 0);
	port_lists(&b, 0, "10.0.0.2/24", "fd00::2/64", 0, 0);
	OK(dp_addr_group_set(lab.dp, GROUP, v + 1, MANY - 1, &lab_err));
	OK(dp_sweep(lab.dp, &lab_err));
	assert_int_equal(lab_entries(&lab, "policy_trie"), n - 1);
	d.dst = after;
	assert_false(goes(&d));
	free(v);
}

static void test_ten_thousand_members(void **state)
{
	COVERS(V4 | V6, F_ACL_MEMBERS);
	members(false);
	members(true);
}

/* ---- under traffic ---- */

struct traffic {
	atomic_bool stop;
	bool v6;
	atomic_ulong sent, lost;
};

/* New flows all the time, of packets that every version of the list permits. */
static void *send_on(void *arg)
{
	struct traffic *t = arg;
	struct desc d = desc_of(t->v6, 17);
	size_t sport = t->v6 ? 54 : 34;
	struct frame f;
	unsigned int i = 0;

	frame_build(&f, &d);
	while (!atomic_load(&t->stop)) {
		f.b[sport] = (uint8_t)(i >> 8);
		f.b[sport + 1] = (uint8_t)i++;
		if (lab_run(&lab, a.host, &f, NULL) == TC_ACT_SHOT)
			atomic_fetch_add(&t->lost, 1);
		atomic_fetch_add(&t->sent, 1);
	}
	return NULL;
}

/* Each version permits these packets by another rule, and denies by the numbers that the other one permits by. */
static size_t version(struct dp_acl_rule *v, unsigned int k, bool v6)
{
	size_t n = 1 + k * 37 % 400, at = k * 7 % n;

	for (size_t i = 0; i < n; i++) {
		v[i] = (struct dp_acl_rule){ .id = k, .deny = true, .proto = 17, .has_dport = true };
		v[i].dport_min = v[i].dport_max = i == at ? 80 : (uint16_t)(1000 + i);
		v[i].deny = i != at;
		if (v6)
			v[i].dst = cidr_of(i == at ? "fd00::2/128" : "fd00::/64");
		else
			v[i].dst = cidr_of(i == at ? "10.0.0.2/32" : "10.0.0.0/24");
	}
	return n;
}

static void changes_lose_nothing(bool v6)
{
	struct dp_acl_rule *v = calloc(400, sizeof(*v));
	struct traffic t = { .v6 = v6 };
	pthread_t thread;

	assert_non_null(v);
	list(LIST_A, v, version(v, 0, v6));
	assert_int_equal(pthread_create(&thread, NULL, send_on, &t), 0);
	for (unsigned int k = 1; k < 75; k++) {
		unsigned long had = atomic_load(&t.sent);

		list(LIST_A, v, version(v, k, v6));
		while (atomic_load(&t.sent) <
		       had + (net_xdp ? 4 : 20)) /* a run of an XDP program waits for a grace period */
			;
	}
	atomic_store(&t.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&t.lost), 0);
	free(v);
}

static void test_changes_lose_nothing(void **state)
{
	COVERS(V4 | V6, F_ACL_CHANGE);
	changes_lose_nothing(false);
	changes_lose_nothing(true);
}

/* ---- a writer that is killed ---- */

static unsigned int any(void)
{
	unsigned int v;

	random_bytes(&v, sizeof(v));
	return v;
}

static void step(struct dp *dp, struct dp_acl_rule *v, const struct ip_cidr *m)
{
	struct dp_sg_rule in = { .family = IP_V4, .remote_group = GROUP };

	switch (any() % 6) {
	case 0:
		(void)!dp_acl_del(dp, LIST_A + any() % 2, NULL);
		break;
	case 1:
		(void)!dp_addr_group_del(dp, GROUP, NULL);
		break;
	case 2:
		(void)!dp_addr_group_set(dp, GROUP, m + any() % 100, any() % 400, NULL);
		break;
	case 3:
		(void)!dp_sg_set(dp, SG_A, &in, any() % 2, NULL, 0, NULL);
		break;
	default:
		(void)!dp_acl_set(dp, LIST_A + any() % 2, v, version(v, any() % 200, any() % 2), NULL);
	}
}

static void killed_writer(unsigned int steps)
{
	struct dp_acl_rule *v = calloc(400, sizeof(*v));
	struct ip_cidr *m = many_addresses(500, false);
	struct dp_config c = { .pin_dir = lab.pin };
	int fd[2], status;
	pid_t pid;
	char x;

	assert_non_null(v);
	assert_int_equal(pipe(fd), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct dp *dp;

		if (dp_open(&c, &dp, NULL) < 0)
			_exit(1);
		for (;;) {
			step(dp, v, m);
			if (write(fd[1], "", 1) != 1)
				_exit(1);
		}
	}
	close(fd[1]);
	for (unsigned int i = 0; i < steps; i++)
		assert_int_equal(read(fd[0], &x, 1), 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	close(fd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	free(v);
	free(m);
}

static void set_wanted(const struct ip_cidr *m)
{
	struct dp_acl_rule v[300];
	struct dp_sg_rule in = { .family = IP_V4, .remote_group = GROUP };
	struct dp_net n = { .net = 1, .mtu = 1500 };

	dp_mark(lab.dp);
	OK(dp_net_set(lab.dp, &n, &lab_err));
	list(LIST_A, v, version(v, 8, false));
	OK(dp_addr_group_set(lab.dp, GROUP, m, 77, &lab_err));
	OK(dp_sg_set(lab.dp, SG_A, &in, 1, NULL, 0, &lab_err));
	port_lists(&a, 0, "10.0.0.1/24", "fd00::1/64", LIST_A, 0);
	port_lists(&b, 0, "10.0.0.2/24", "fd00::2/64", 0, 0);
	OK(dp_sweep(lab.dp, &lab_err));
}

static void test_killed(void **state)
{
	static const char *const maps[] = { "policy_tables", "policy_trie", "policy_vecs",
					    "policy_rules", "policy_groups" };
	struct ip_cidr *m = many_addresses(100, false);
	uint64_t want[5];
	struct desc d = udp4;

	set_wanted(m);
	for (size_t i = 0; i < 5; i++)
		want[i] = lab_entries(&lab, maps[i]);
	for (int round = 0; round < 15; round++) {
		killed_writer(1 + any() % 30);
		lab_reopen(&lab);
		set_wanted(m);
		for (size_t i = 0; i < 5; i++)
			if (lab_entries(&lab, maps[i]) != want[i])
				fail_msg("round %d: %s has %lu entries, not %lu", round, maps[i],
					 (unsigned long)lab_entries(&lab, maps[i]),
					 (unsigned long)want[i]);
		d.dport = 80;
		assert_true(goes(&d));
		d.dport = 1001;
		assert_false(goes(&d));
	}
	free(m);
}

/* ---- what is refused ---- */

static void refused(const struct dp_acl_rule *r, enum fault fault)
{
	struct err e = { 0 };

	assert_true(dp_acl_set(lab.dp, LIST_A, r, 1, &e) < 0);
	assert_int_equal(e.fault, fault);
	assert_string_equal(e.field, "rules");
}

static void test_bad_rules(void **state)
{
	struct dp_acl_rule *v = calloc(DP_ACL_RULES_MAX + 1, sizeof(*v));
	struct ip_cidr long_prefix = { { IP_V4, { 10 } }, 33 };
	const struct dp_acl_rule bad[] = {
		{ .src = cidr_of("10.0.0.0/8"), .src_group = 1 },
		{ .dst_group = 1 << 28 },
		{ .dst = long_prefix },
		{ .family = 5 },
		{ .has_dport = true, .dport_max = 9 },
		{ .proto = 6, .has_sport = true, .sport_min = 2, .sport_max = 1 },
		{ .proto = 17, .tcp_flags_mask = 1 },
		{ .proto = 6, .has_icmp = true },
		{ .proto = 1, .has_icmp_code = true },
		{ .has_dscp = true, .dscp = 64 },
		{ .vlan = { 4095 } },
	};
	struct err e = { 0 };

	assert_non_null(v);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused(&bad[i], FAULT_BAD_REQUEST);
	assert_true(dp_acl_set(lab.dp, LIST_A, v, DP_ACL_RULES_MAX + 1, &e) < 0);
	assert_int_equal(e.fault, FAULT_TOO_LARGE);
	assert_true(dp_acl_set(lab.dp, 0, v, 1, &e) < 0);
	assert_int_equal(e.fault, FAULT_BAD_REQUEST);
	assert_true(dp_addr_group_set(lab.dp, GROUP, &long_prefix, 1, &e) < 0);
	assert_int_equal(e.fault, FAULT_BAD_REQUEST);
	assert_string_equal(e.field, "addresses");
	free(v);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_protocol),
		TEST(test_addresses),
		TEST(test_port_ranges),
		TEST(test_icmp),
		TEST(test_vlan),
		TEST(test_dscp),
		TEST(test_tcp_flags),
		TEST(test_address_group),
		TEST(test_told_before),
		TEST(test_order),
		TEST(test_answers),
		TEST(test_no_way_round),
		TEST(test_remote_address_group),
		TEST(test_ten_thousand_rules),
		TEST(test_ten_thousand_members),
		TEST(test_changes_lose_nothing),
		TEST(test_killed),
		TEST(test_bad_rules),
	};

	return lab_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
