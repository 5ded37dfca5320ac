/* SPDX-License-Identifier: Apache-2.0 */

/* Fragments from a secured function: the first one decides, the others follow, and none may overlap. */

#include "lab.h"

#include <linux/pkt_cls.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 3, 0xa }, mac_b[6] = { 2, 0, 0, 0, 3, 0xb },
		     mac_u[6] = { 2, 0, 0, 0, 3, 0xe };
#define SG_A 31

static struct lab lab;
static struct tport a, b, u;
static bool v6;
static uint8_t id;

static int setup(void **state)
{
	static const struct dp_sg_rule out[] = {
		{ .egress = true, .family = IP_V4, .proto = 17, .has_ports = true, .port_min = 80, .port_max = 80 },
		{ .egress = true, .family = IP_V6, .proto = 17, .has_ports = true, .port_min = 80, .port_max = 80 },
		{ .egress = true, .family = IP_V4, .proto = 6 },
		{ .egress = true, .family = IP_V6, .proto = 6 },
	};

	lab_open(&lab);
	tport_make(&a, 67537, mac_a, -1, "eth0");
	tport_make(&b, 67538, mac_b, -1, "eth0");
	tport_make(&u, 67539, mac_u, -1, "eth0");
	lab_port(&lab, &a, 1, DP_PORT_SECURITY, SG_A, "10.0.0.1/24", "fd00::1/64", NULL);
	lab_port(&lab, &b, 1, 0, 0, "10.0.0.2/24", "fd00::2/64", NULL);
	OK(dp_sg_set(lab.dp, SG_A, out, 4, NULL, 0, &lab_err));
	return 0;
}

static int teardown(void **state)
{
	link_del(67537);
	link_del(67538);
	link_del(67539);
	tport_free(&a);
	tport_free(&b);
	tport_free(&u);
	lab_close(&lab);
	return 0;
}

/*
 * Bytes `from` to `to` - 1 of a datagram whose L4 header goes to port `dport`. `before` is an extension header of the
 * fragmentable part, IPv6 only: destination options, 8 bytes.
 */
static void piece(struct frame *f, uint8_t proto, uint16_t dport, size_t from, size_t to, bool more,
		  bool before)
{
	struct desc d = { .smac = mac_a,
			  .dmac = mac_b,
			  .src = v6 ? "fd00::1" : "10.0.0.1",
			  .dst = v6 ? "fd00::2" : "10.0.0.2",
			  .proto = proto,
			  .sport = 1000,
			  .dport = dport,
			  .flags = TCP_ACK,
			  .payload = 1400 };
	size_t l4 = v6 ? 54 : 34, at = v6 ? 62 : 34;
	uint8_t body[1600] = { proto, 0, 1, 4 };

	frame_build(f, &d);
	memcpy(body + (before ? 8 : 0), f->b + l4, f->len - l4);
	if (v6) {
		uint8_t header[8] = { before ? 60 : proto,
				      0,
				      (uint8_t)(from >> 8),
				      (uint8_t)(from | more),
				      0,
				      0,
				      0,
				      id };

		memcpy(f->b + l4, header, 8);
		f->b[20] = 44;
		f->b[18] = (uint8_t)((to - from + 8) >> 8);
		f->b[19] = (uint8_t)(to - from + 8);
	} else {
		f->b[16] = (uint8_t)((to - from + 20) >> 8);
		f->b[17] = (uint8_t)(to - from + 20);
		f->b[18] = 0;
		f->b[19] = id;
		f->b[20] = (uint8_t)((more ? 0x20 : 0) | from >> 11);
		f->b[21] = (uint8_t)(from >> 3);
	}
	memcpy(f->b + at, body + from % 1400, to - from);
	f->len = at + to - from;
}

static bool runs(const struct frame *f)
{
	struct frame out;
	int v = lab_run(&lab, a.host, f, &out);

	if (v == TC_ACT_SHOT)
		return false;
	assert_int_equal(v, TC_ACT_REDIRECT);
	assert_int_equal(out.len, f->len);
	assert_memory_equal(out.b, f->b, f->len);
	return true;
}

static bool goes(uint16_t dport, size_t from, size_t to, bool more)
{
	struct frame f;

	piece(&f, 17, dport, from, to, more, false);
	return runs(&f);
}

#define assert_refused(call, why)                                                                  \
	do {                                                                                       \
		assert_false(call);                                                                \
		assert_dropped(&lab, why);                                                         \
	} while (0)

static void test_follow(void **state)
{
	COVERS(V4 | V6, F_FRAGMENTS);
	for (v6 = false;; v6 = true) {
		id++;
		assert_refused(goes(80, 800, 1000, false), FRAGMENT); /* before the first one */
		assert_true(goes(80, 0, 800, true));
		assert_true(goes(80, 1200, 1240, false)); /* the others in any order */
		assert_true(goes(80, 800, 1000, true));
		assert_true(goes(80, 1000, 1200, true));
		id++; /* of another datagram */
		assert_refused(goes(80, 1000, 1200, true), FRAGMENT);
		id++; /* the first one may not pass: nor do the others */
		assert_refused(goes(81, 0, 800, true), SG_EGRESS);
		assert_refused(goes(81, 800, 1000, false), SG_EGRESS);
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

static void test_overlap(void **state)
{
	COVERS(V4 | V6, F_FRAG_OVERLAP);

	static const struct {
		size_t from, to;
		bool more;
	} bad[] = { { 792, 1000, true }, { 400, 600, true },	{ 8, 24, true },
		    { 0, 800, true },	 { 0, 64, true },	{ 792, 1600, false },
		    { 0, 808, true },	 { 1000, 1100, false }, { 1600, 1608, true } };

	for (v6 = false;; v6 = true) {
		for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
			id++;
			assert_true(goes(80, 0, 800, true));
			assert_true(goes(80, 1000, 1200, true));
			assert_true(goes(80, 1400, 1500, false)); /* 1500 bytes in all */
			assert_refused(goes(80, bad[i].from, bad[i].to, bad[i].more), FRAG_OVERLAP);
			/* RFC 5722: what comes after it is lost too. */
			assert_refused(goes(80, 800, 1000, true), FRAG_OVERLAP);
		}
		id++;
		assert_true(goes(80, 0, 800, true));
		assert_true(goes(80, 800, 1000, true));
		assert_refused(goes(80, 800, 1000, true), FRAG_OVERLAP); /* doubled on its way: once is enough */
		assert_true(goes(80, 1000, 1100, false));
		assert_true(goes(80, 0, 800, true)); /* that one was complete: the identifier comes round again */
		assert_true(goes(80, 800, 900, false));
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

static void test_pieces(void **state)
{
	COVERS(V4 | V6, F_FRAG_BOUND);
	for (v6 = false;; v6 = true) {
		id++;
		assert_true(goes(80, 0, 16, true));
		for (size_t i = 1; i < FRAG_PIECES; i++)
			assert_true(goes(80, i * 32, i * 32 + 16, true));
		assert_refused(goes(80, 1000, 1008, true),
			       FRAGMENT); /* more holes than anybody's datagrams have */
		for (size_t i = 0; i < FRAG_PIECES - 1; i++)
			assert_true(goes(80, i * 32 + 16, i * 32 + 32, true));
		assert_true(goes(80, FRAG_PIECES * 32 - 16, 1000, true));
		assert_true(goes(80, 1000, 1002, false));
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

/* RFC 1858, RFC 3128, RFC 7112: the header is in the first fragment, whole. */
static void test_tiny(void **state)
{
	COVERS(V4 | V6, F_FRAG_OVERLAP);

	struct frame f;

	for (v6 = false;; v6 = true) {
		id++;
		piece(&f, 6, 80, 0, 16, true, false);
		assert_refused(runs(&f), FRAG_TINY);
		piece(&f, 6, 80, 0, 24, true, false);
		f.b[(v6 ? 62 : 34) + 12] = 8 << 4; /* says that it has 12 bytes of options */
		assert_refused(runs(&f), FRAG_TINY);
		piece(&f, 6, 80, 8, 24, true, false);
		assert_refused(runs(&f), FRAG_TINY);
		piece(&f, 6, 80, 16, 24, true, false);
		assert_refused(runs(&f), FRAG_TINY);
		piece(&f, 6, 80, 0, 24, true, false);
		assert_true(runs(&f));
		piece(&f, 6, 80, 24, 100, false, false);
		assert_true(runs(&f));
		if (v6)
			break;
	}
	id++;
	piece(&f, 17, 80, 0, 8, true, true); /* a header in front of it, which is all that the first one holds */
	assert_refused(runs(&f), FRAG_TINY);
	piece(&f, 17, 80, 0, 64, true, true);
	assert_true(runs(&f));
	piece(&f, 17, 80, 64, 128, false, true); /* names another next header than the first one ends with */
	assert_true(runs(&f));
	assert_not_dropped(&lab);
}

static void test_malformed(void **state)
{
	COVERS(V4 | V6, F_FRAG_OVERLAP);

	struct frame f;

	for (v6 = false;; v6 = true) {
		id++;
		assert_true(goes(80, 0, 800, true));
		assert_refused(goes(80, 800, 1001, true), MALFORMED); /* no multiple of 8, and not the last */
		assert_refused(goes(80, 800, 800, false), MALFORMED);
		assert_refused(goes(80, 65528, 65552, false), MALFORMED); /* RFC 8200 section 4.5 */
		assert_true(goes(80, 800, 1001, false));
		if (v6)
			break;
	}
	id++; /* RFC 6946: an atomic fragment is none */
	piece(&f, 17, 80, 0, 801, false, false);
	f.b[66] = 801 >> 8; /* a whole datagram */
	f.b[67] = 801 & 255;
	assert_true(runs(&f));
	assert_true(runs(&f));
	memmove(f.b + 70, f.b + 62, f.len - 62); /* a fragment header in a fragment */
	memcpy(f.b + 62, f.b + 54, 8);
	f.b[54] = 44;
	f.b[57] = f.b[65] = 1;
	f.len += 8;
	f.b[18] = (uint8_t)((f.len - 54) >> 8);
	f.b[19] = (uint8_t)(f.len - 54);
	assert_refused(runs(&f), MALFORMED);
	assert_not_dropped(&lab);
}

/* The table has room for ABI_FRAGS datagrams, however many begin. */
static void test_bounded(void **state)
{
	COVERS(V6, F_FRAG_BOUND);

	struct frame f;

	v6 = true;
	for (int i = 0; i < 2 * ABI_FRAGS; i++) {
		piece(&f, 17, 80, 0, 16, true, false);
		f.b[58] = (uint8_t)(i >> 8);
		f.b[59] = (uint8_t)i;
		assert_int_equal(lab_run(&lab, a.host, &f, NULL), TC_ACT_REDIRECT);
	}
	assert_true(lab_entries(&lab, "frags") <= ABI_FRAGS);
	assert_true(lab_entries(&lab, "frags") > ABI_FRAGS / 2);
}

/* Parts of a datagram about which an error comes: only the first names its ports. */
static void test_errors(void **state)
{
	COVERS(V4 | V6, F_ICMP_ERRORS);

	struct frame f, err;

	for (v6 = false;; v6 = true) {
		lab_port(&lab, &b, 1, 0, 0, "10.0.0.2/24", "fd00::2/64", NULL);
		id++;
		piece(&f, 17, 80, 0, 800, true, false);
		assert_true(runs(&f));
		frame_icmp_error(&err, mac_b, mac_a, v6 ? "fd00::2" : "10.0.0.2",
				 v6 ? "fd00::1" : "10.0.0.1", &f);
		assert_int_equal(lab_run(&lab, b.host, &err, NULL), TC_ACT_REDIRECT);
		piece(&f, 17, 80, 800, 1000, true, false);
		frame_icmp_error(&err, mac_b, mac_a, v6 ? "fd00::2" : "10.0.0.2",
				 v6 ? "fd00::1" : "10.0.0.1", &f);
		assert_int_equal(lab_run(&lab, b.host, &err, NULL), TC_ACT_SHOT);
		assert_dropped(&lab, ICMP_ERROR);
		if (v6)
			break;
	}
	piece(&f, 17, 80, 0, 800, true, true); /* extension headers in the packet that the error is about */
	frame_icmp_error(&err, mac_b, mac_a, "fd00::2", "fd00::1", &f);
	assert_int_equal(lab_run(&lab, b.host, &err, NULL), TC_ACT_REDIRECT);
	assert_not_dropped(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_follow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overlap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tiny, setup, teardown),
		cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
