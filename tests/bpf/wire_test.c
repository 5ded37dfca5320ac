/* SPDX-License-Identifier: Apache-2.0 */

/* What is counted and metered is what the wire has: a segmentation offload packet is as many there as it becomes. */

#include "lab.h"

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <string.h>

#include <bpf/bpf.h>

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 8, 0xa }, mac_b[6] = { 2, 0, 0, 0, 8, 0xb };
#define A 65801
#define B 65802
#define METER 4
#define LIST 6
#define MSS 100

static struct lab lab;
static struct tport a, b;

static int setup(void **state)
{
	lab_open(&lab);
	tport_make(&a, A, mac_a, -1, "eth0");
	tport_make(&b, B, mac_b, -1, "eth0");
	lab_port(&lab, &a, 1, 0, 0, "10.0.0.1/24", "fd00::1/64", NULL);
	lab_port(&lab, &b, 1, 0, 0, "10.0.0.2/24", "fd00::2/64", NULL);
	return 0;
}

static int teardown(void **state)
{
	link_del(A);
	link_del(B);
	tport_free(&a);
	tport_free(&b);
	lab_close(&lab);
	return 0;
}

/* As the stack hands it over; `segs` 0: as a tap does, which leaves counting to others. */
static int run_segments(const struct frame *f, unsigned int size, unsigned int segs)
{
	struct __sk_buff ctx = { .ifindex = A, .gso_size = size, .gso_segs = segs };
	struct frame out;
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = f->b, .data_size_in = (uint32_t)f->len,
		    .data_out = out.b, .data_size_out = FRAME_MAX, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1);

	lab_saw(f);
	assert_int_equal(bpf_prog_test_run_opts(lab.prog, &o), 0);
	return (int)o.retval;
}

/* TCP of a connection under way, or UDP. */
static struct frame frame_of(bool v6, uint8_t proto, uint16_t sport, uint32_t seq, size_t payload)
{
	static const uint8_t timestamps[12] = { 1, 1, 8, 10 };
	struct desc d = { .smac = mac_a,
			  .dmac = mac_b,
			  .src = v6 ? "fd00::1" : "10.0.0.1",
			  .dst = v6 ? "fd00::2" : "10.0.0.2",
			  .proto = proto,
			  .sport = sport,
			  .dport = 80,
			  .flags = TCP_ACK,
			  .tcp_seq = seq,
			  .tcp_win = 60000,
			  .payload = payload };
	struct frame f;

	if (proto == 6) {
		d.opts = timestamps;
		d.n_opts = sizeof(timestamps);
	}
	frame_build(&f, &d);
	return f;
}

/* Destination options in front of what follows: the full parser's. */
static struct frame extended(struct frame f)
{
	memmove(f.b + 62, f.b + 54, f.len - 54);
	memset(f.b + 54, 0, 8);
	f.b[54] = f.b[20];
	f.b[56] = 1;
	f.b[57] = 4;
	f.b[20] = 60;
	f.b[19] = (uint8_t)(f.b[19] + 8);
	f.b[18] = (uint8_t)(f.b[18] + (f.b[19] < 8));
	f.len += 8;
	return f;
}

struct sums {
	uint64_t pkts, bytes;
	struct dp_port_stats from, to;
};

static void counted(struct sums *s, const struct frame *f)
{
	struct flow_rec r;

	lab_reopen(&lab); /* forgets how fresh the counters are */
	OK(dp_port_stats(lab.dp, (ifindex){ A }, &s->from, &lab_err));
	OK(dp_port_stats(lab.dp, (ifindex){ B }, &s->to, &lab_err));
	assert_true(lab_record(&lab, A, f, &r));
	s->pkts = r.pkts;
	s->bytes = r.bytes;
}

/* The same bytes twice: whole, and cut as the wire has them. Both flows and both ports have counted the same. */
static void same_as_cut(bool v6, uint8_t proto, bool tap, bool options)
{
	const size_t total = 4 * MSS + 37;
	struct frame whole = frame_of(v6, proto, 1000, 1, total), known = whole, part;
	struct sums mid, after;
	uint64_t bytes = 0;

	teardown(NULL);
	setup(NULL);
	if (options)
		whole = extended(whole);
	for (int i = 0; i < 3; i++) /* the first packet, then known ones */
		assert_int_equal(run_segments(&whole, MSS, tap ? 0 : 5), TC_ACT_REDIRECT);
	counted(&mid, &known);
	for (int i = 0; i < 3; i++)
		for (size_t at = 0; at < total; at += MSS) {
			size_t n = total - at < MSS ? total - at : MSS;

			part = frame_of(v6, proto, 1001, 1 + (uint32_t)at, n);
			known = part;
			if (options)
				part = extended(part);
			bytes += part.len;
			assert_int_equal(lab_run(&lab, A, &part, NULL), TC_ACT_REDIRECT);
		}
	counted(&after, &known);
	assert_int_equal(mid.pkts, 15);
	assert_int_equal(mid.bytes, bytes);
	assert_int_equal(after.pkts, 15);
	assert_int_equal(after.bytes, bytes);
	assert_int_equal(mid.from.rx_pkts, 15);
	assert_int_equal(mid.from.rx_bytes, bytes);
	assert_int_equal(mid.to.tx_pkts, 15);
	assert_int_equal(mid.to.tx_bytes, bytes);
	assert_int_equal(after.from.rx_pkts, 30);
	assert_int_equal(after.to.tx_bytes, 2 * bytes);
	assert_not_dropped(&lab);
}

static void test_a_whole_one_counts_as_its_segments(void **state)
{
	COVERS_UNSEEN(V4 | V6, F_RECORD, F_OFFLOAD);
	for (int v6 = 0; v6 < 2; v6++)
		for (int udp = 0; udp < 2; udp++)
			for (int tap = 0; tap < 2; tap++)
				same_as_cut(v6, udp ? 17 : 6, tap, false);
}

/* Behind extension headers the parser knows how long the headers are. */
static void test_headers_that_only_the_parser_reads(void **state)
{
	same_as_cut(true, 6, false, true);
	same_as_cut(true, 17, true, true);
}

/* A limit of packets is one of packets on the wire; what is refused counts as that many. */
static void test_a_limit_of_packets(void **state)
{
	COVERS(V4 | V6, F_METER);

	struct dp_port p = { .ifindex = { A }, .net = 1, .flags = DP_PORT_UPLINK, .meter_from = METER };
	struct dp_meter m = { .id = METER, .rate_pps = 1, .burst_pkts = 10 };
	struct dp_port_stats s;
	uint64_t dropped;

	OK(dp_meter_set(lab.dp, &m, &lab_err));
	OK(dp_port_set(lab.dp, &p, &lab_err));
	for (int v6 = 0; v6 < 2; v6++) {
		struct frame f = frame_of(v6, 17, 1000, 0, 4 * MSS);
		int passed = 0;

		OK(dp_meter_del(lab.dp, METER, &lab_err));
		OK(dp_meter_set(lab.dp, &m, &lab_err));
		OK(dp_port_set(lab.dp, &p, &lab_err));
		for (int i = 0; i < 6; i++)
			passed += run_segments(&f, MSS, 4) == TC_ACT_REDIRECT;
		assert_int_equal(passed, 3); /* 4 + 4 + 4: the last with a debt of 2 */
		OK(dp_meter_drops(lab.dp, METER, &dropped, &lab_err));
		assert_int_equal(dropped, 12);
		assert_int_equal(lab_dropped(&lab, DROP_METER), 12);
	}
	lab_reopen(&lab);
	OK(dp_port_stats(lab.dp, (ifindex){ A }, &s, &lab_err));
	assert_int_equal(s.drop_pkts, 24);
}

/* The verdict of a flow, by the slow path and by its record. */
static void test_what_a_list_denies(void **state)
{
	COVERS(V4 | V6, F_VERDICT);

	struct dp_acl_rule rule = { .id = 77, .deny = true };
	struct dp_port p = { .ifindex = { A }, .net = 1, .flags = DP_PORT_UPLINK, .acl_from = { LIST } };

	OK(dp_acl_set(lab.dp, LIST, &rule, 1, &lab_err));
	OK(dp_port_set(lab.dp, &p, &lab_err));
	for (int v6 = 0; v6 < 2; v6++) {
		struct frame f = frame_of(v6, 17, 1000, 0, 4 * MSS);
		struct flow_rec r;

		for (int i = 0; i < 2; i++) {
			assert_int_equal(run_segments(&f, MSS, 4), TC_ACT_SHOT);
			assert_int_equal(lab_dropped(&lab, DROP_ACL), 4);
		}
		assert_true(lab_record(&lab, A, &f, &r));
		assert_int_equal(r.pkts, 8);
		assert_int_equal(r.bytes, 2 * (f.len + 3 * (f.len - 4 * MSS)));
	}
}

/* Nonsense in the offload's fields counts as one packet or as few, never as none. */
static void test_sizes_that_make_no_sense(void **state)
{
	static const struct {
		unsigned int size, segs;
		uint64_t pkts;
	} row[] = { { 0, 0, 1 }, { 0, 9, 1 }, { 1500, 0, 1 }, { 1500, 1, 1 }, { 65535, 0, 1 } };

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		for (int v6 = 0; v6 < 2; v6++) {
			struct frame f = frame_of(v6, 17, (uint16_t)(2000 + i), 0, MSS);
			struct flow_rec r;

			assert_int_equal(run_segments(&f, row[i].size, row[i].segs), TC_ACT_REDIRECT);
			assert_true(lab_record(&lab, A, &f, &r));
			assert_int_equal(r.pkts, row[i].pkts);
			assert_int_equal(r.bytes, f.len);
		}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_whole_one_counts_as_its_segments),
		TEST(test_headers_that_only_the_parser_reads),
		TEST(test_a_limit_of_packets),
		TEST(test_what_a_list_denies),
		TEST(test_sizes_that_make_no_sense),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
