/* SPDX-License-Identifier: Apache-2.0 */
#include "node/ipfix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

/* ---- a collector of its own: knows RFC 7011, and nothing of the encoder's tables ---- */

#define TEMPLATES_MAX 32
#define FIELDS_MAX 40
#define VALUES_MAX 4096

struct value {
	unsigned int record, ie, size;
	uint8_t b[64];
};

static struct {
	struct {
		unsigned int id, n, scope, ie[FIELDS_MAX], size[FIELDS_MAX];
	} templates[TEMPLATES_MAX];
	size_t n_templates, n_values;
	struct value values[VALUES_MAX];
	unsigned int n_records, n_messages, sequence, domain, time, largest;
	unsigned int ids[256];
} seen;

static unsigned int be(const uint8_t *p, size_t size)
{
	unsigned int v = 0;

	while (size--)
		v = v << 8 | *p++;
	return v;
}

static const uint8_t *take_template(const uint8_t *p, bool options)
{
	unsigned int at = 0, id = be(p, 2);

	while (at < seen.n_templates && seen.templates[at].id != id)
		at++;
	assert_true(at < TEMPLATES_MAX);
	assert_true(id >= 256);
	if (at == seen.n_templates)
		seen.n_templates++;
	seen.templates[at].id = id;
	seen.templates[at].n = be(p + 2, 2);
	assert_in_range(seen.templates[at].n, 1, FIELDS_MAX);
	seen.templates[at].scope = options ? be(p + 4, 2) : 0;
	p += options ? 6 : 4;
	for (unsigned int i = 0; i < seen.templates[at].n; i++, p += 4) {
		seen.templates[at].ie[i] = be(p, 2);
		assert_true(seen.templates[at].ie[i] < 0x8000); /* no enterprise's */
		seen.templates[at].size[i] = be(p + 2, 2);
	}
	return p;
}

static const uint8_t *take_record(const uint8_t *p, const uint8_t *end, unsigned int id)
{
	unsigned int t = 0;

	while (t < seen.n_templates && seen.templates[t].id != id)
		t++;
	assert_true(t < seen.n_templates);
	for (unsigned int i = 0; i < seen.templates[t].n; i++) {
		struct value *v = &seen.values[seen.n_values];
		unsigned int size = seen.templates[t].size[i];

		if (size == 0xffff)
			size = *p++;
		assert_true(size <= sizeof(v->b) && p + size <= end);
		if (seen.n_values < VALUES_MAX - 1)
			seen.n_values++;
		v->record = seen.n_records;
		v->ie = seen.templates[t].ie[i];
		v->size = size;
		memcpy(v->b, p, size);
		p += size;
	}
	seen.ids[seen.n_records++ % ARRAY_LEN(seen.ids)] = id;
	return p;
}

static void collect(void *ctx, const uint8_t *m, size_t size, size_t n_records)
{
	unsigned int before = seen.n_records;

	(void)ctx;
	assert_int_equal(be(m, 2), 10);
	assert_int_equal(be(m + 2, 2), size);
	assert_int_equal(be(m + 8, 4), seen.sequence);
	seen.time = be(m + 4, 4);
	seen.domain = be(m + 12, 4);
	for (const uint8_t *p = m + 16; p < m + size;) {
		unsigned int id = be(p, 2);
		const uint8_t *end = p + be(p + 2, 2);

		assert_true(be(p + 2, 2) > 4 && end <= m + size);
		for (p += 4; p < end;)
			p = id == 2 || id == 3 ? take_template(p, id == 3) : take_record(p, end, id);
		assert_ptr_equal(p, end);
	}
	assert_int_equal(seen.n_records - before, n_records);
	seen.sequence += (unsigned int)n_records;
	seen.n_messages++;
	seen.largest = MAX_OF(seen.largest, (unsigned int)size);
}

static const struct value *value(unsigned int record, unsigned int ie)
{
	for (size_t i = 0; i < seen.n_values; i++)
		if (seen.values[i].record == record && seen.values[i].ie == ie)
			return &seen.values[i];
	fail_msg("record %u has no IE %u", record, ie);
	return NULL;
}

static uint64_t num(unsigned int record, unsigned int ie)
{
	const struct value *v = value(record, ie);

	assert_in_range(v->size, 1, 8);
	return v->size == 8 ? (uint64_t)be(v->b, 4) << 32 | be(v->b + 4, 4) : be(v->b, v->size);
}

/* ---- tests ---- */

static struct ipfix x;

static int setup(void **state)
{
	(void)state;
	memset(&seen, 0, sizeof(seen));
	ipfix_open(&x, 0x01020304, 1400, collect, NULL);
	x.now_s = 0x65432100;
	return 0;
}

static struct ip_addr ip(const char *text)
{
	struct ip_addr a = { 0 };

	assert_int_equal(ip_parse(str_of(text), &a), 0);
	return a;
}

static struct ipfix_flow flow_of(const char *src, const char *dst)
{
	return (struct ipfix_flow){
		.src = ip(src),
		.dst = ip(dst),
		.sport = 0x1122,
		.dport = 443,
		.protocol = 6,
		.tcp_flags = 0x1b,
		.octets = 0x0102030405060708,
		.pkts = 9,
		.start_ms = 0x11223344556,
		.end_ms = 0x11223344999,
		.in = 77,
		.out = 78,
		.vlan = 5,
		.smac = { { 2, 0, 0, 0, 0, 1 } },
		.dmac = { { 2, 0, 0, 0, 0, 2 } },
		.end = IPFIX_END_OF_FLOW,
		.forwarding = IPFIX_FORWARDED,
		.biflow = 1,
	};
}

static uint8_t raw[IPFIX_MESSAGE_MAX];
static size_t raw_size;

static void keep(void *ctx, const uint8_t *m, size_t size, size_t n_records)
{
	(void)ctx;
	(void)n_records;
	memcpy(raw, m, size);
	raw_size = size;
}

static void test_message_byte_by_byte(void **state)
{
	static const uint8_t want[] = {
		0,    10,   0,	  92,	0x65, 0x43, 0x21, 0,	0, 0, 0,    0, /* header */
		1,    2,    3,	  4,					       /* domain */
		1,    0,    0,	  76,					       /* set 256 */
		10,   0,    0,	  1,	10,   0,    0,	  2,		       /* addresses */
		0x11, 0x22, 1,	  0xbb, 6,    0,    0x1b,    /* ports, protocol, flags */
		1,    2,    3,	  4,	5,    6,    7,	  8, /* octets */
		0,    0,    0,	  0,	0,    0,    0,	  9, /* packets */
		0,    0,    0x01, 0x12, 0x23, 0x34, 0x45, 0x56, 0, 0, 0x01, 0x12, 0x23, 0x34, 0x49,
		0x99, 0,    0,	  0,	77,   0,    5, /* ingress interface, VLAN */
		2,    0,    0,	  0,	0,    1,    2,	  0,	0, 0, 0,    2,	  3,	64, /* end reason, forwarding status */
		0,    0,    0,	  78,	1, /* egress interface, biflow direction */
	};
	struct ipfix_flow f = flow_of("10.0.0.1", "10.0.0.2");

	(void)state;
	ipfix_open(&x, 0x01020304, 1400, keep, NULL);
	x.now_s = 0x65432100;
	ipfix_flow(&x, &f);
	ipfix_flush(&x);
	assert_int_equal(raw_size, sizeof(want));
	assert_memory_equal(raw, want, sizeof(want));
	assert_int_equal(x.sequence, 1);
	raw_size = 0;
	ipfix_flush(&x); /* nothing in hand */
	assert_int_equal(raw_size, 0);
}

static void test_flows_of_both_families(void **state)
{
	struct ipfix_flow f4 = flow_of("192.0.2.1", "198.51.100.2"), f6 = flow_of("fd00::1", "fd00::2");

	(void)state;
	ipfix_templates(&x);
	ipfix_flow(&x, &f4);
	ipfix_flow(&x, &f6);
	ipfix_flush(&x);
	assert_int_equal(seen.n_messages, 1);
	assert_int_equal(seen.n_records, 2);
	assert_int_equal(seen.domain, 0x01020304);
	assert_int_equal(seen.time, 0x65432100);
	assert_memory_equal(value(0, 8)->b, f4.src.b, 4);
	assert_memory_equal(value(1, 28)->b, f6.dst.b, 16);
	for (unsigned int i = 0; i < 2; i++) {
		assert_true(num(i, 1) == f4.octets);
		assert_int_equal(num(i, 2), 9);
		assert_int_equal(num(i, 11), 443);
		assert_true(num(i, 152) == f4.start_ms && num(i, 153) == f4.end_ms);
		assert_int_equal(num(i, 136), IPFIX_END_OF_FLOW);
		assert_int_equal(num(i, 239), 1);
	}
}

static void test_drops_say_why(void **state)
{
	struct ipfix_flow f = flow_of("fd00::1", "fd00::2");

	(void)state;
	f.forwarding = IPFIX_DROPPED_ACL;
	f.firewall = 3;
	ipfix_templates(&x);
	ipfix_flow(&x, &f);
	ipfix_flush(&x);
	assert_int_equal(num(0, 89), 129);
	assert_int_equal(num(0, 233), 3);
	assert_int_equal(num(0, 133), 9);
	assert_true(num(0, 132) == f.octets);
}

static void test_nat(void **state)
{
	struct ipfix_flow f = flow_of("10.0.0.1", "192.0.2.9"), f6 = flow_of("fd00::1", "fd00::2");
	struct ipfix_nat n = { .src = ip("10.0.0.1"),
			       .dst = ip("192.0.2.9"),
			       .post_src = ip("198.51.100.1"),
			       .post_dst = ip("192.0.2.9"),
			       .sport = 1000,
			       .dport = 53,
			       .post_sport = 40000,
			       .post_dport = 53,
			       .protocol = 17,
			       .event = IPFIX_NAT44_CREATE,
			       .time_ms = 0x123456789a };

	(void)state;
	f.nat = f6.nat = true;
	f.post_src = n.post_src;
	f.post_dst = f.dst;
	f.post_sport = 40000;
	f6.post_src = ip("2001:db8::1");
	ipfix_templates(&x);
	ipfix_flow(&x, &f);
	ipfix_flow(&x, &f6);
	ipfix_nat(&x, &n);
	ipfix_flush(&x);
	assert_memory_equal(value(0, 225)->b, n.post_src.b, 4);
	assert_int_equal(num(0, 227), 40000);
	assert_memory_equal(value(1, 281)->b, f6.post_src.b, 16);
	assert_int_equal(num(2, 230), 4);
	assert_int_equal(num(2, 227), 40000);
	assert_true(num(2, 323) == n.time_ms);
	assert_memory_equal(value(2, 226)->b, n.post_dst.b, 4);
}

static void test_options(void **state)
{
	struct ipfix_stats s = { .process = 4321,
				 .messages = 1,
				 .records = 2,
				 .octets = 3,
				 .lost_flows = 4,
				 .lost_pkts = 5,
				 .lost_octets = 6 };
	struct ipfix_drops d = { .process = 4321,
				 .reason = "spoof_ipv4",
				 .forwarding = IPFIX_DROPPED_RPF,
				 .pkts = 1ULL << 40 };
	struct ipfix_interface i = { .index = 9, .name = "dm-eth0", .description = "port lan" };

	(void)state;
	ipfix_templates(&x);
	ipfix_stats(&x, &s);
	ipfix_interface(&x, &i);
	memset(i.name, 'n', sizeof(i.name)); /* no NUL in it */
	ipfix_interface(&x, &i);
	ipfix_drops(&x, &d);
	ipfix_flush(&x);
	assert_int_equal(num(0, 144), 4321);
	assert_int_equal(num(0, 165), 4);
	assert_int_equal(num(0, 40), 3);
	assert_int_equal(value(1, 82)->size, 7);
	assert_memory_equal(value(1, 82)->b, "dm-eth0", 7);
	assert_memory_equal(value(1, 83)->b, "port lan", 8);
	assert_int_equal(value(2, 82)->size, IPFIX_NAME_SIZE);
	assert_memory_equal(value(2, 83)->b, "port lan", 8);
	assert_int_equal(num(3, 144), 4321);
	assert_int_equal(value(3, 335)->size, 10);
	assert_memory_equal(value(3, 335)->b, "spoof_ipv4", 10);
	assert_int_equal(num(3, 89), 140);
	assert_true(num(3, 135) == d.pkts);
	for (size_t t = 0; t < seen.n_templates; t++) /* options templates: a scope of one field, or two */
		assert_int_equal(seen.templates[t].scope,
				 (seen.templates[t].id >= 264) + (seen.templates[t].id == 266));
}

/* Messages stay within what the path takes, whatever mixture comes, and every record arrives once. */
static void test_messages_fit_the_path(void **state)
{
	static const size_t max[] = { 1, 512, 999, 1452, 100000 };

	for (size_t m = 0; m < ARRAY_LEN(max); m++) {
		size_t limit =
			MAX_OF(MIN_OF(max[m], (size_t)IPFIX_MESSAGE_MAX), (size_t)IPFIX_MESSAGE_MIN);

		setup(state);
		ipfix_resize(&x, max[m]);
		ipfix_templates(&x);
		for (unsigned int i = 0; i < 500; i++) {
			struct ipfix_flow f = i % 3 ? flow_of("10.0.0.1", "10.0.0.2") :
						      flow_of("fd00::1", "fd00::2");

			f.forwarding = i % 5 ? IPFIX_FORWARDED : IPFIX_DROPPED;
			f.nat = i % 7 == 0;
			f.pkts = i;
			ipfix_flow(&x, &f);
		}
		ipfix_flush(&x);
		assert_int_equal(seen.n_records, 500);
		assert_int_equal(x.sequence, 500);
		assert_true(seen.largest <= limit);
		for (unsigned int i = 0; i < 100; i++)
			assert_int_equal(num(i, 2), i);
	}
}

/* Templates carry no records, so that they do not move the sequence number; sent again they say the same. */
static void test_templates_again(void **state)
{
	struct ipfix_flow f = flow_of("10.0.0.1", "10.0.0.2");
	size_t n;

	(void)state;
	ipfix_templates(&x);
	ipfix_flush(&x);
	n = seen.n_templates;
	assert_int_equal(n, 11);
	assert_int_equal(x.sequence, 0);
	x.sequence = 0xffffffff;
	seen.sequence = 0xffffffff;
	ipfix_flow(&x, &f);
	ipfix_templates(&x);
	ipfix_flow(&x, &f);
	ipfix_flush(&x);
	assert_int_equal(seen.n_templates, n);
	assert_int_equal(x.sequence, 1); /* modulo 2^32 */
	assert_int_equal(seen.n_records, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_message_byte_by_byte, setup),
		cmocka_unit_test_setup(test_flows_of_both_families, setup),
		cmocka_unit_test_setup(test_drops_say_why, setup),
		cmocka_unit_test_setup(test_nat, setup),
		cmocka_unit_test_setup(test_options, setup),
		cmocka_unit_test_setup(test_messages_fit_the_path, setup),
		cmocka_unit_test_setup(test_templates_again, setup),
	};

	return cmocka_run_group_tests_name("node-ipfix", tests, NULL, NULL);
}
