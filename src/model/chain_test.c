/* SPDX-License-Identifier: Apache-2.0 */
#include "model/chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Hops named by one letter each. */
static size_t hops_of(const char *s, struct chain_hop *ret, char (*names)[2])
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++) {
		names[i][0] = s[i];
		names[i][1] = '\0';
		ret[i] = (struct chain_hop){ names[i], names[i] };
	}
	return n;
}

static void test_diff(void **state)
{
	static const struct {
		const char *old, *now, *want;
	} rows[] = {
		{ "", "ab", "created: a, b" },
		{ "ab", "ab", "" },
		{ "ab", "axb", "inserted x after a" },
		{ "ab", "abx", "inserted x after b" },
		{ "ab", "xab", "inserted x first" },
		{ "axb", "ab", "removed x" },
		{ "xab", "ab", "removed x" },
		{ "abx", "ab", "removed x" },
		{ "abc", "acb", "reordered: a, c, b" },
		{ "abc", "abd", "replaced c by d" },
		{ "abc", "dea", "changed to: d, e, a" },
		{ "abcd", "ab", "changed to: a, b" },
		{ "ab", "xby", "changed to: x, b, y" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct chain_hop old[8], now[8];
		char old_names[8][2], now_names[8][2];
		CLEANUP(strbuf_done) struct strbuf out = { 0 };
		size_t n_old = hops_of(rows[i].old, old, old_names),
		       n_now = hops_of(rows[i].now, now, now_names);

		chain_diff(&out, old, n_old, now, n_now);
		assert_string_equal(strbuf_cstr(&out), rows[i].want);
	}
}

static struct ip_cidr net(const char *s)
{
	struct ip_cidr c;

	assert_int_equal(cidr_parse(str_of(s), &c), 0);
	return c;
}

static struct classifier any(void)
{
	return (struct classifier){ .family = 4, .sport = { 0, 65535 }, .dport = { 0, 65535 } };
}

static void test_conflicts(void **state)
{
	struct classifier a = any(), b = any();

	assert_true(classifier_conflicts(&a, &b));
	b.family = 6;
	assert_false(classifier_conflicts(&a, &b));
	b = any();
	b.proto.num = 6;
	assert_true(classifier_conflicts(&a, &b));
	a.proto.num = 17;
	assert_false(classifier_conflicts(&a, &b));
	a.proto.num = 6;
	a.dport = (struct port_range){ 80, 80 };
	b.dport = (struct port_range){ 81, 90 };
	assert_false(classifier_conflicts(&a, &b));
	b.dport.min = 80;
	assert_true(classifier_conflicts(&a, &b));
	a.src = net("10.0.0.0/8");
	b.src = net("10.1.0.0/16");
	assert_true(classifier_conflicts(&a, &b));
	b.src = net("11.0.0.0/8");
	assert_false(classifier_conflicts(&a, &b));
	b.src = a.src;
	a.src_port = "p";
	assert_true(classifier_conflicts(&a, &b));
	b.src_port = "q";
	assert_false(classifier_conflicts(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_diff),
					    cmocka_unit_test(test_conflicts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
