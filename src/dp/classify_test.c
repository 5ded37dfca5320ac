/* SPDX-License-Identifier: Apache-2.0 */
#include "dp/classify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "dp/tables.h"

/* Every number of these tests comes from one seed: a failure comes again. */
static uint64_t seed;

static uint32_t any(uint32_t n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33) % n;
}

static struct ip_cidr cidr(const char *text)
{
	struct ip_cidr c;

	assert_int_equal(cidr_parse(str_of(text), &c), 0);
	return c;
}

static struct ip_addr addr(const char *text)
{
	return cidr(text).addr;
}

/* Group g has the addresses whose last byte is a multiple of g + 2. */
static bool has(const void *of, uint32_t group, const struct ip_addr *a)
{
	return a->b[a->family == IP_V6 ? 15 : 3] % (group + 2) == 0;
}

static size_t oracle(const struct rule *v, size_t n, const struct rule_view *p)
{
	for (size_t i = 0; i < n; i++)
		if (rule_matches(&v[i], p, has(NULL, v[i].src_group, &p->src),
				 has(NULL, v[i].dst_group, &p->dst)))
			return i;
	return n;
}

/* Few values, so that rules overlap and packets hit. */
static struct ip_addr any_addr(uint8_t family)
{
	struct ip_addr a = { .family = family, .b = { 10, 0, (uint8_t)any(3), (uint8_t)any(8) } };

	if (family == IP_V6)
		a = (struct ip_addr){ .family = IP_V6,
				      .b = { 0xfd, [7] = (uint8_t)any(2), [15] = (uint8_t)any(8) } };
	return a;
}

static void any_side(struct ip_cidr *c, uint32_t *group, uint8_t family)
{
	if (any(3) == 0)
		return;
	if (any(6) == 0) {
		*group = 1 + any(4);
		return;
	}
	c->addr = any_addr(family);
	c->prefix_len = (uint8_t)(ip_max_prefix(&c->addr) - any(any(2) ? 6 : 33));
}

static void any_range(bool *given, uint16_t *min, uint16_t *max)
{
	*given = any(2);
	*min = (uint16_t)any(10);
	*max = (uint16_t)(any(8) ? *min + any(5) : 65535);
}

static void any_rule(struct rule *r, uint32_t id)
{
	uint8_t family = any(2) ? IP_V4 : IP_V6;

	memset(r, 0, sizeof(*r));
	r->id = id;
	r->deny = (uint8_t)any(3);
	r->family = any(4) ? family : 0;
	r->proto = any(3) ? (any(2) ? 6 : 17) : 0;
	any_side(&r->src, &r->src_group, family);
	any_side(&r->dst, &r->dst_group, family);
	any_range(&r->has_sport, &r->sport_min, &r->sport_max);
	any_range(&r->has_dport, &r->dport_min, &r->dport_max);
	r->vlan = any(6) ? 0 : (uint16_t)(1 + any(2));
	r->flags_mask = any(5) ? 0 : (uint8_t)any(32);
	r->flags_value = (uint8_t)any(32);
	r->has_dscp = !any(6);
	r->dscp = (uint8_t)any(3);
}

static struct rule_view any_view(uint8_t family)
{
	return (struct rule_view){ .src = any_addr(family),
				   .dst = any_addr(family),
				   .sport = (uint16_t)any(12),
				   .dport = (uint16_t)any(12),
				   .vlan = (uint16_t)any(3),
				   .proto = any(2) ? 6 : 17,
				   .flags = (uint8_t)any(32),
				   .dscp = (uint8_t)any(4) };
}

/* The compiled form says the same as the rules; and a packet that does not vary says it for all flags and DSCPs. */
static void compare(const struct rule *v, size_t n, size_t n_views)
{
	struct compiled c[2];

	for (size_t f = 0; f < 2; f++)
		assert_int_equal(classify_compile(v, n, f ? IP_V6 : IP_V4, &c[f], NULL), 0);
	for (size_t i = 0; i < n_views; i++) {
		struct compiled *t = &c[i & 1];
		struct rule_view p = any_view(i & 1 ? IP_V6 : IP_V4);
		bool varies, again;
		size_t want = oracle(v, n, &p), got = compiled_find(t, &p, has, NULL, &varies);

		assert_int_equal(got < t->head.n_rules, want < n);
		if (want < n) {
			assert_int_equal(t->rules[got].id, v[want].id);
			assert_int_equal(t->rules[got].deny, v[want].deny);
		}
		p.flags = (uint8_t)any(256);
		p.dscp = (uint8_t)any(64);
		if (!varies)
			assert_int_equal(compiled_find(t, &p, has, NULL, &again), got);
	}
	compiled_done(&c[0]);
	compiled_done(&c[1]);
}

static void test_like_the_rules_one_by_one(void **state)
{
	struct rule v[600];

	for (seed = 1; seed < 300; seed++) {
		uint64_t keep = seed;
		size_t n = any(any(8) ? 40 : 600);

		for (size_t i = 0; i < n; i++)
			any_rule(&v[i], 1000 + (uint32_t)i);
		compare(v, n, 200);
		seed = keep;
	}
}

static void test_no_rules(void **state)
{
	struct rule_view p = { .src = addr("10.0.0.1/32"), .dst = addr("10.0.0.2/32") };
	struct compiled c;
	bool varies;

	assert_int_equal(classify_compile(NULL, 0, IP_V4, &c, NULL), 0);
	assert_int_equal(c.head.n_rules, 0);
	assert_int_equal(compiled_find(&c, &p, has, NULL, &varies), 0);
	compiled_done(&c);
}

static void test_a_rule_about_everything(void **state)
{
	struct rule v = { .id = 7 };
	struct rule_view p = { .src = addr("10.0.0.1/32"), .dst = addr("10.0.0.2/32") };
	struct compiled c;
	bool varies;

	assert_int_equal(classify_compile(&v, 1, IP_V4, &c, NULL), 0);
	assert_int_equal(c.head.dims, 0);
	assert_int_equal(compiled_find(&c, &p, has, NULL, &varies), 0);
	assert_int_equal(c.rules[0].id, 7);
	compiled_done(&c);
}

/* In tables of either kind: what a verdict can depend on (bpf/way.h). A prefix that has every address is not looked at. */
static void test_what_rules_look_at(void **state)
{
	const size_t sizes[] = { 3, ABI_POLICY_LINES + 1 };
	struct rule v[ABI_POLICY_LINES + 1] = { 0 };
	struct compiled c;

	v[0] = (struct rule){ .has_dport = true, .dport_min = 80, .dport_max = 80 };
	v[1] = (struct rule){ .proto = 6, .dst_group = 3 };
	v[2].src.addr.family = IP_V4;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(classify_compile(v, sizes[i], IP_V4, &c, NULL), 0);
		assert_int_equal(c.head.looks, POLICY_LOOKS_KNOWN | 1 << PDIM_DPORT |
						       1 << PDIM_PROTO | 1 << PDIM_DST);
		compiled_done(&c);
	}
	v[2].flags_mask = 2;
	assert_int_equal(classify_compile(v, 3, IP_V4, &c, NULL), 0);
	assert_true(c.head.looks & 1 << PDIM_FLAGS);
	compiled_done(&c);
}

/* Ten thousand, each with a prefix and a port of its own: what a table of that size costs. */
static void distinct_rules(struct rule *v, size_t n)
{
	memset(v, 0, n * sizeof(*v));
	for (size_t i = 0; i < n; i++) {
		v[i].id = (uint32_t)i;
		v[i].proto = 6;
		v[i].src = (struct ip_cidr){ { IP_V4, { 10, (uint8_t)(i >> 8), (uint8_t)i, 0 } }, 24 };
		v[i].dst = (struct ip_cidr){ { IP_V4, { 11, (uint8_t)i, (uint8_t)(i >> 8), 9 } }, 32 };
		v[i].has_dport = true;
		v[i].dport_min = v[i].dport_max = (uint16_t)(1000 + i);
	}
}

static void test_ten_thousand_rules(void **state)
{
	const size_t n = 10000;
	struct rule *v = calloc(n, sizeof(*v));
	struct rule_view p = { .proto = 6 };
	struct compiled c;
	int64_t began;
	bool varies;

	assert_non_null(v);
	distinct_rules(v, n);
	began = clock_mono_ns();
	assert_int_equal(classify_compile(v, n, IP_V4, &c, NULL), 0);
	print_message("10,000 distinct rules: %lld ms, %zu entries, %zu vectors of %zu bytes\n",
		      (long long)((clock_mono_ns() - began) / 1000000), c.n_entries, c.n_vecs,
		      sizeof(struct policy_vec));
	assert_true(c.n_entries < 4 * n);
	assert_true(c.n_vecs < 4 * n);
	for (size_t i = 0; i < n; i += 97) {
		p.src = v[i].src.addr;
		p.dst = v[i].dst.addr;
		p.dport = v[i].dport_min;
		assert_int_equal(compiled_find(&c, &p, has, NULL, &varies), i);
		p.dport++;
		assert_int_equal(compiled_find(&c, &p, has, NULL, &varies), n);
	}
	compiled_done(&c);
	free(v);
}

/* Every rule satisfied in each dimension alone, by pieces that all overlap: no set is like another, no word is 0. */
static void test_worst_overlaps(void **state)
{
	struct rule *v = calloc(5000, sizeof(*v));

	assert_non_null(v);
	seed = 4711;
	for (size_t i = 0; i < 5000; i++) {
		v[i] = (struct rule){ .id = (uint32_t)i,
				      .proto = i & 1 ? 6 : 17,
				      .has_sport = true,
				      .has_dport = true,
				      .sport_max = (uint16_t)(i % 12),
				      .dport_min = (uint16_t)(i % 7),
				      .dport_max = (uint16_t)(i % 7 + i % 3) };
		any_side(&v[i].src, &v[i].src_group, i & 2 ? IP_V4 : IP_V6);
	}
	compare(v, 5000, 400);
	free(v);
}

static void test_limits(void **state)
{
	struct rule *v = calloc(ABI_POLICY_RULES + 1, sizeof(*v));
	struct compiled c;
	struct err e;

	assert_non_null(v);
	assert_int_equal(classify_compile(v, ABI_POLICY_RULES, IP_V4, &c, &e), 0);
	compiled_done(&c);
	assert_true(classify_compile(v, ABI_POLICY_RULES + 1, IP_V4, &c, &e) < 0);
	assert_int_equal(e.fault, FAULT_TOO_LARGE);
	for (size_t i = 0; i <= ABI_POLICY_GROUPS; i++)
		v[i].src_group = 1 + (uint32_t)i;
	assert_int_equal(classify_compile(v, ABI_POLICY_LINES, IP_V4, &c, &e), 0); /* short */
	compiled_done(&c);
	assert_true(classify_compile(v, ABI_POLICY_LINES + 1, IP_V4, &c, &e) < 0);
	assert_int_equal(e.fault, FAULT_TOO_LARGE);
	v[ABI_POLICY_GROUPS].src_group = 1;
	assert_int_equal(classify_compile(v, ABI_POLICY_LINES + 1, IP_V4, &c, &e), 0);
	compiled_done(&c);
	free(v);
}

/* Values in one class are told apart by no rule; what has no class is beyond the number of classes. */
static void test_facts(void **state)
{
	static struct rule v[300];
	struct policy_facts f;
	size_t n_alone = 0;

	memset(v, 0, sizeof(v));
	facts_of_rules(v, 300, &f);
	for (size_t i = 0; i < 256; i++)
		assert_int_equal(f.flags[i], f.flags[0]);
	for (size_t n = 1; n < 40; n++) {
		seed = n;
		for (size_t i = 0; i < n; i++) {
			v[i].flags_mask = (uint8_t)any(n < 4 ? 8 : 256);
			v[i].flags_value = (uint8_t)any(256);
			v[i].has_dscp = any(2);
			v[i].dscp = (uint8_t)any(64);
		}
		facts_of_rules(v, n, &f);
		for (size_t a = 0; a < 256; a++)
			for (size_t b = 0; b < a && f.flags[a] != POLICY_NO_CLASS; b++)
				for (size_t i = 0; i < n && f.flags[a] == f.flags[b]; i++)
					assert_int_equal(!((a ^ v[i].flags_value) & v[i].flags_mask),
							 !((b ^ v[i].flags_value) & v[i].flags_mask));
		for (size_t a = 0; a < 64; a++)
			for (size_t b = 0; b < a && f.dscp[a] != POLICY_NO_CLASS; b++)
				for (size_t i = 0; i < n && f.dscp[a] == f.dscp[b]; i++)
					assert_true(!v[i].has_dscp ||
						    (a == v[i].dscp) == (b == v[i].dscp));
	}
	for (size_t i = 0; i < 64; i++)
		n_alone += f.dscp[i] == POLICY_NO_CLASS;
	assert_true(n_alone > 0); /* more than 15 values were named */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_like_the_rules_one_by_one),
		cmocka_unit_test(test_no_rules),
		cmocka_unit_test(test_a_rule_about_everything),
		cmocka_unit_test(test_what_rules_look_at),
		cmocka_unit_test(test_ten_thousand_rules),
		cmocka_unit_test(test_worst_overlaps),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_facts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
