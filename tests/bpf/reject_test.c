/* SPDX-License-Identifier: Apache-2.0 */

/* What rules reject: the answers byte by byte, what gets none, and how many there are. With an argument, they are written there as pcap. */

#include "lab.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "limit.h"
#include "policy.h"

#define A 69537
#define B 69538
#define U 69539
#define LIST 21
#define QUOTE 96

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 7, 0xa }, mac_b[6] = { 2, 0, 0, 0, 7, 0xb },
		     mac_w[6] = { 2, 0, 0, 0, 7, 0xf }, mac_u[6] = { 2, 0, 0, 0, 7, 0xe };

static struct lab lab;
static struct tport a, b, u;

/* A list that rejects all but a port; `longer` by as many that match nothing, so that the table is no short one. */
static void reject_all(bool longer)
{
	struct dp_acl_rule v[2 + 2 * ABI_POLICY_LINES] = {
		{ .id = 5, .proto = 17, .has_dport = true, .dport_min = 9, .dport_max = 9 }
	};
	size_t n = 1;

	for (; longer && n <= 2 * ABI_POLICY_LINES; n++) /* as many of each family: each has its table */
		v[n] = (struct dp_acl_rule){ .id = (uint32_t)n,
					     .src = cidr_of(n & 1 ? "198.51.100.0/24" :
								    "2001:db8:9::/48") };
	v[n++] = (struct dp_acl_rule){ .id = 77, .deny = true, .reject = true };
	OK(dp_acl_set(lab.dp, LIST, v, n, &lab_err));
}

static void port_set(struct tport *t, uint16_t vlan, uint16_t flags, const char *v4, const char *v6,
		     uint16_t from)
{
	struct dp_port p = {
		.ifindex = { t->host }, .net = 1, .flags = flags, .vlan = { vlan }, .acl_from = { from }
	};

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
	tport_make(&a, A, mac_a, -1, "eth0");
	tport_make(&b, B, mac_b, -1, "eth0");
	tport_make(&u, U, mac_u, -1, "eth0");
	OK(dp_net_set(lab.dp, &n, &lab_err));
	reject_all(false);
	port_set(&a, 0, 0, "10.0.0.1/24", "fd00::1/64", LIST);
	port_set(&b, 0, 0, "10.0.0.2/24", "fd00::2/64", 0);
	port_set(&u, 7, DP_PORT_UPLINK, NULL, NULL, LIST);
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

static struct desc desc_of(bool v6, uint8_t proto)
{
	struct desc d = { .smac = mac_a,
			  .dmac = mac_b,
			  .src = v6 ? "fd00::1" : "10.0.0.1",
			  .dst = v6 ? "fd00::2" : "10.0.0.2",
			  .proto = proto == 1 && v6 ? 58 : proto,
			  .sport = 1000,
			  .dport = 80,
			  .type = v6 ? 128 : 8,
			  .flags = TCP_SYN };

	return d;
}

static struct desc back(const struct desc *d)
{
	struct desc r = { .smac = d->dmac,
			  .dmac = d->smac,
			  .src = d->dst,
			  .dst = d->src,
			  .proto = d->proto,
			  .sport = d->dport,
			  .dport = d->sport,
			  .frag = 0x4000 };

	return r;
}

static uint16_t sum_of(const uint8_t *from, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++)
		sum += i & 1 ? from[i] : (uint32_t)from[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* ---- resets ---- */

/* The answer to `d` is `want`. Checksums are those that frame_build() makes. */
static void reset_is(const struct desc *d, struct desc *want)
{
	struct frame f, expected, got;

	frame_build(&f, d);
	assert_int_equal(lab_run(&lab, A, &f, &got), TC_ACT_REDIRECT);
	assert_dropped(&lab, REJECT);
	frame_build(&expected, want);
	assert_int_equal(got.len, expected.len);
	assert_memory_equal(got.b, expected.b, got.len);
	lab_pcap(&got);
}

static void test_reset(void **state)
{
	COVERS(V4 | V6, F_REJECT);

	static const uint8_t mss[4] = { 2, 4, 5, 0xb4 };

	for (int i = 0; i < 8; i++) {
		bool v6 = i & 1;
		struct desc d = desc_of(v6, 6), want = back(&d);

		reject_all(i & 2);
		d.tcp_seq = 0xfffffff0 + (uint32_t)i;
		d.payload = i & 4 ? 33 : 0; /* data in the SYN counts: RFC 9293 section 3.10.7.1 */
		d.opts = mss;
		d.n_opts = sizeof(mss);
		want.flags = TCP_RST | TCP_ACK;
		want.tcp_ack = d.tcp_seq + 1 + (uint32_t)d.payload;
		reset_is(&d, &want);
		reset_is(&d, &want); /* by the record */
		d.flags = TCP_ACK | TCP_PSH;
		d.tcp_ack = 0x12345678;
		d.dport = 81;
		d.payload = 1000;
		want = back(&d);
		want.flags = TCP_RST;
		want.tcp_seq = d.tcp_ack;
		reset_is(&d, &want);
		d.flags = TCP_FIN;
		d.dport = 82;
		d.n_opts = 0;
		want = back(&d);
		want.flags = TCP_RST | TCP_ACK;
		want.tcp_ack = d.tcp_seq + 1000 + 1;
		reset_is(&d, &want);
	}
}

/* ---- ICMP errors ---- */

static void error_about(struct frame *f, const struct desc *d, const struct frame *about)
{
	bool v6 = strchr(d->src, ':') != NULL;
	size_t n = about->len - 14, at = v6 ? 54 : 34;
	struct desc e = back(d);
	uint16_t sum;

	if (n > QUOTE)
		n = QUOTE;
	e.proto = v6 ? 58 : 1;
	e.sport = 0;
	e.type = v6 ? 1 : 3;
	e.code = d->proto == 17 ? (v6 ? 4 : 3) : (v6 ? 1 : 13);
	e.payload = n;
	frame_build(f, &e);
	memcpy(f->b + at + 8, about->b + 14, n);
	f->b[at + 2] = f->b[at + 3] = 0;
	sum = sum_of(f->b + 22, v6 ? 32 : 0, v6 ? (uint32_t)n + 8 + 58 : 0);
	sum = sum_of(f->b + at, n + 8, sum) ^ 0xffff;
	f->b[at + 2] = (uint8_t)(sum >> 8);
	f->b[at + 3] = (uint8_t)sum;
}

static void error_is(const struct desc *d, bool padded)
{
	struct frame f, expected, got;

	frame_build(&f, d);
	error_about(&expected, d, &f);
	if (padded && f.len < 60)
		f.len = 60; /* what Ethernet adds is not quoted */
	assert_int_equal(lab_run(&lab, A, &f, &got), TC_ACT_REDIRECT);
	assert_dropped(&lab, REJECT);
	assert_int_equal(got.len, expected.len);
	assert_memory_equal(got.b, expected.b, got.len);
	lab_pcap(&got);
}

static void test_unreachable(void **state)
{
	COVERS(V4 | V6, F_REJECT);

	static const uint8_t protos[] = { 17, 1, 132, 50 };
	static const size_t sizes[] = { 8, 31, 68, 1200 };

	for (int longer = 0; longer < 2; longer++) {
		reject_all(longer);
		for (int v6 = 0; v6 < 2; v6++)
			for (size_t i = 0; i < sizeof(protos); i++) { /* fewer than the burst, in all */
				struct desc d = desc_of(v6, protos[i]);

				d.payload = sizes[(i + (size_t)longer) % 4];
				d.sport = (uint16_t)i;
				error_is(&d, i & 1);
				error_is(&d, i & 1);
			}
	}
}

static void test_first_fragment(void **state)
{
	COVERS(V4, F_REJECT);

	struct desc d = desc_of(false, 17);
	struct frame f;

	d.payload = 16;
	d.frag = 0x2000;
	d.ip_id = 9;
	error_is(&d, false);
	d.frag = 3;
	frame_build(&f, &d);
	assert_int_equal(lab_run(&lab, A, &f, NULL), TC_ACT_SHOT);
	assert_dropped(&lab, REJECT);
}

/* ---- silence ---- */

static void silent(const struct frame *f)
{
	for (int i = 0; i < 2; i++) {
		assert_int_equal(lab_run(&lab, A, f, NULL), TC_ACT_SHOT);
		assert_dropped(&lab, REJECT);
	}
}

static void silent_desc(const struct desc *d)
{
	struct frame f;

	frame_build(&f, d);
	silent(&f);
}

/* RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e). */
static void test_what_gets_no_answer(void **state)
{
	COVERS(V4 | V6, F_REJECT);

	static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	static const char *const nobody[2][4] = { { "224.0.0.5", "255.255.255.255", "127.0.0.1",
						    "0.0.0.0" },
						  { "ff02::5", "::1", "::", NULL } };

	for (int v6 = 0; v6 < 2; v6++) {
		struct desc d = desc_of(v6, 6);
		struct frame f, about;

		d.flags = TCP_RST;
		silent_desc(&d);
		d.flags = TCP_RST | TCP_ACK;
		d.sport++;
		silent_desc(&d);
		d = desc_of(v6, 17);
		for (size_t i = 0; i < 4 && nobody[v6][i]; i++) {
			d.src = nobody[v6][i];
			silent_desc(&d);
		}
		d = desc_of(v6, 17);
		for (size_t i = 0; i < 4 && nobody[v6][i]; i++) {
			d.dst = nobody[v6][i];
			silent_desc(&d);
		}
		d = desc_of(v6, 17);
		d.dmac = all;
		silent_desc(&d);
		d = desc_of(v6, 17);
		frame_build(&about, &d);
		frame_icmp_error(&f, mac_a, mac_b, d.src, d.dst, &about);
		silent(&f);
		d = desc_of(v6, 1);
		d.type = v6 ? 200 : 44; /* nobody knows whether it is an error */
		silent_desc(&d);
	}
}

/* A plain "deny", and the end of a list, say nothing. */
static void test_deny_is_silent(void **state)
{
	struct dp_acl_rule v[2] = { { .id = 1, .deny = true, .proto = 17 },
				    { .id = 2, .deny = true, .reject = true, .proto = 1 } };
	struct desc d = desc_of(false, 17);
	struct frame f;

	OK(dp_acl_set(lab.dp, LIST, v, 2, &lab_err));
	for (int i = 0; i < 4; i++) {
		d.proto = i & 1 ? 6 : 17;
		frame_build(&f, &d);
		assert_int_equal(lab_run(&lab, A, &f, NULL), TC_ACT_SHOT);
		assert_dropped(&lab, ACL);
	}
}

/* ---- how many ---- */

/* Takes from the port what it would be refilled with in years. */
static void spend(int port)
{
	struct port_key k = { .ifindex = (uint32_t)port };
	struct reject_rec r;
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/v%d/rejects", lab.pin, ABI_VERSION);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &k, &r), 0);
	r.left = -(1LL << 60);
	assert_int_equal(bpf_map_update_elem(fd, &k, &r, BPF_EXIST), 0);
	close(fd);
}

static void test_limit(void **state)
{
	COVERS(V4, F_REJECT);

	struct desc d = desc_of(false, 17);
	uint64_t start = clock_mono_ns(), most;
	unsigned int answered = 0, runs = 3000;
	struct frame f;

	d.payload = 8;
	frame_build(&f, &d);
	for (unsigned int i = 0; i < runs; i++)
		answered += lab_run(&lab, A, &f, NULL) == TC_ACT_REDIRECT;
	most = REJECT_BURST + (clock_mono_ns() - start) * REJECT_RATE / 1000000000 + REJECT_RATE / 50;
	assert_in_range(answered, REJECT_BURST, most); /* a slow machine answers all of them */
	assert_int_equal(lab_dropped(&lab, DROP_REJECT), answered);
	assert_int_equal(lab_dropped(&lab, DROP_REJECT_LIMIT), runs - answered);
	spend(A);
	for (int i = 0; i < 2; i++) { /* of a flow that is known, of a new one */
		assert_int_equal(lab_run(&lab, A, &f, NULL), TC_ACT_SHOT);
		assert_dropped(&lab, REJECT_LIMIT);
		d.dport++;
		frame_build(&f, &d);
	}
	/* Another port has its own. */
	port_set(&b, 0, 0, "10.0.0.2/24", "fd00::2/64", LIST);
	d = back(&d);
	d.frag = 0;
	frame_build(&f, &d);
	assert_int_equal(lab_run(&lab, B, &f, NULL), TC_ACT_REDIRECT);
}

/* ---- where it goes ---- */

static void test_arrives(void **state)
{
	struct desc d = desc_of(false, 6);
	struct frame f, got;

	frame_build(&f, &d);
	assert_true(lab_passes(&a, &f, &a, &got));
	assert_int_equal(got.b[47], TCP_RST | TCP_ACK);
	assert_false(tport_recv(&b, &got, 0));
	d.smac = mac_w;
	d.src = "10.0.0.9";
	d.vlan = 7;
	frame_build(&f, &d);
	tport_send(&u, &f);
	assert_true(tport_recv(&u, &got, 2000));
	assert_int_equal(got.vlan, 7);
	assert_memory_equal(got.b, mac_w, 6);
	assert_int_equal(got.b[47], TCP_RST | TCP_ACK);
}

/*
 * The sender has left its checksum to the hardware (a container's stack, a VM's), and what the answer leaves by makes checksums that are left
 * to it: here a link whose driver cannot, for which the kernel does. The answer is not touched.
 */
static void test_unfinished_checksum(void **state)
{
	static const uint8_t protos[] = { 6, 17 };
	struct frame f, expected, got;

	port_set(&u, 0, DP_PORT_UPLINK, NULL, NULL, LIST);
	net_offload("p69539", ETHTOOL_STXCSUM, 0);
	for (int i = 0; i < 8; i++) {
		bool v6 = i & 1, tcp = !(i & 2);
		struct desc d = desc_of(v6, protos[!tcp]), want;

		d.smac = mac_w;
		d.payload = i & 4 ? 200 : 3;
		d.sport = (uint16_t)(2000 + i);
		frame_build(&f, &d);
		frame_unfinish(&f);
		want = back(&d);
		want.flags = TCP_RST | TCP_ACK;
		want.tcp_ack = 1 + (uint32_t)d.payload;
		if (tcp)
			frame_build(&expected, &want);
		else
			error_about(&expected, &d, &f);
		tport_send_partial(&u, &f, v6 ? 54 : 34, tcp ? 16 : 6);
		assert_true(tport_recv(&u, &got, 2000));
		assert_dropped(&lab, REJECT);
		assert_int_equal(got.len, expected.len);
		assert_memory_equal(got.b, expected.b, got.len);
	}
}

/* The XDP program leaves it to this one. */
static void test_not_by_xdp(void **state)
{
	struct dp_port p = { .ifindex = { U }, .net = 1, .flags = DP_PORT_UPLINK, .acl_from = { LIST } };
	struct desc d = desc_of(false, 17);
	struct flow_rec rec;
	struct frame f;

	OK(dp_port_set(lab.dp, &p, &lab_err));
	d.smac = mac_w;
	frame_build(&f, &d);
	assert_int_equal(lab_run(&lab, U, &f, NULL), TC_ACT_REDIRECT);
	assert_true(lab_record(&lab, U, &f, &rec));
	assert_true(rec.flags & FLOW_DROP);
	assert_false(rec.flags & FLOW_XDP);
	assert_int_equal(rec.rule, 77);
	assert_int_equal(lab_run_xdp(&lab, U, &f, NULL), XDP_PASS);
}

static void test_trace(void **state)
{
	struct desc d = desc_of(true, 17);
	struct dp_trace_step step[32];
	struct frame f;
	bool rule = false, answer = false;
	int n;

	d.payload = 8;
	frame_build(&f, &d);
	n = OK(dp_trace(lab.dp, (ifindex){ A }, (vlan_id){ 0 }, f.b, f.len, step, 32, &lab_err));
	for (int i = 0; i < n; i++) {
		rule |= strstr(step[i].text, "rule 77 of list 21 rejects it") != NULL;
		answer |= strstr(step[i].text, "answered with ICMP type 1, code 4") != NULL;
	}
	assert_true(rule);
	assert_true(answer);
	assert_true(step[n - 1].drop);
	assert_not_dropped(&lab);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_reset),	   TEST(test_unreachable),
		TEST(test_first_fragment), TEST(test_what_gets_no_answer),
		TEST(test_deny_is_silent), TEST(test_limit),
		TEST(test_arrives),	   TEST(test_unfinished_checksum),
		TEST(test_not_by_xdp),	   TEST(test_trace),
	};

	return lab_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
