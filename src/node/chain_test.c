/* SPDX-License-Identifier: Apache-2.0 */
#include "node/chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

/* A chain in letters: "ab|c!" is two hops, the pairs a and b, then c; '!' after a hop: it drops when it fails. */
struct chain_text {
	Demarc__V1__Chain chain;
	Demarc__V1__Hop hop[8], *hops[8];
	Demarc__V1__Pair pair[16], *pairs[8][8];
	char names[16][2], groups[8][2];
};

static const Demarc__V1__Chain *parse(struct chain_text *t, const char *text)
{
	size_t n_pairs = 0;

	memset(t, 0, sizeof(*t));
	demarc__v1__chain__init(&t->chain);
	t->chain.hops = t->hops;
	for (const char *p = text; *p; p++) {
		if (p == text || p[-1] == '|') {
			size_t i = t->chain.n_hops++;

			demarc__v1__hop__init(&t->hop[i]);
			/* The group is named by its first pair in upper case, so that the same letter is the same hop. */
			(void)snprintf(t->groups[i], 2, "%c", *p & ~0x20);
			t->hop[i].group_id = t->hop[i].name = t->groups[i];
			t->hop[i].on_failure = DEMARC__V1__ON_FAILURE__ON_FAILURE_BYPASS;
			t->hop[i].pairs = t->pairs[i];
			t->hops[i] = &t->hop[i];
		}
		Demarc__V1__Hop *h = t->hops[t->chain.n_hops - 1];

		if (*p == '!')
			h->on_failure = DEMARC__V1__ON_FAILURE__ON_FAILURE_DROP;
		if (*p < 'a' || *p > 'z')
			continue;
		demarc__v1__pair__init(&t->pair[n_pairs]);
		(void)snprintf(t->names[n_pairs], 2, "%c", *p);
		t->pair[n_pairs].id = t->names[n_pairs];
		h->pairs[h->n_pairs++] = &t->pair[n_pairs++];
	}
	return &t->chain;
}

static bool healthy(void *ctx, const Demarc__V1__Pair *p, char *ret_why, size_t size)
{
	if (strchr(ctx, p->id[0]))
		return true;
	(void)snprintf(ret_why, size, "%s is dead", p->id);
	return false;
}

/* The effective path in the same letters: a bypassed hop is left out, X is one that drops, = in front: held. */
static void show(const struct chain_view *v, char *ret)
{
	size_t n = 0;

	if (v->held)
		ret[n++] = '=';
	for (size_t i = 0; i < v->n_hops; i++) {
		if (!v->hops[i].in_path)
			continue;
		if (n && ret[n - 1] != '=')
			ret[n++] = '|';
		if (v->hops[i].drop)
			ret[n++] = 'X';
		for (size_t k = 0; k < v->hops[i].n_pairs; k++)
			ret[n++] = v->hops[i].pairs[k]->id[0];
	}
	ret[n] = '\0';
}

static void test_effective_path(void **state)
{
	static const struct {
		const char *wanted, *in_force, *alive, *path;
		bool degraded;
	} rows[] = {
		{ "a|b", NULL, "ab", "a|b", false },
		{ "a|b", NULL, "a", "a", true }, /* no path yet: policy at once */
		{ "a|b!", NULL, "a", "a|X", true },
		{ "", NULL, "", "", false },
		{ "a|b", "a", "ab", "a|b", false }, /* insert */
		{ "a|b", "a", "a", "=a", false },   /* insert of one that is not healthy: held */
		{ "a|b", "a", "", "=", true }, /* held, and the one in path died as well: its policy */
		{ "a|b", "a!", "", "=X", true },
		{ "b|a", "a|b", "ab", "b|a", false }, /* reorder */
		{ "b|a", "a|b", "a", "a", true }, /* reorder while one is dead: it was part of the path */
		{ "a", "a|b", "a", "a", false },  /* remove */
		{ "a|b", "a|b", "b", "b", true }, /* death in path */
		{ "a!|b", "a!|b", "b", "X|b", true },
		{ "ac|b", "ac|b", "cb", "c|b", true }, /* one pair of a group dies: the other carries on */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		static struct chain_text w, f;
		static struct chain_view v;
		char path[64], alive[16];

		(void)snprintf(alive, sizeof(alive), "%s", rows[i].alive);
		chain_evaluate(parse(&w, rows[i].wanted),
			       rows[i].in_force ? parse(&f, rows[i].in_force) : NULL, healthy,
			       alive, &v);
		show(&v, path);
		if (strcmp(path, rows[i].path) != 0 || v.degraded != rows[i].degraded)
			fail_msg("row %zu: %s (in force %s, alive %s) gave %s degraded=%d", i,
				 rows[i].wanted, rows[i].in_force, rows[i].alive, path, v.degraded);
	}
}

/* The same group with another pair: a replacement waits until the new one is healthy. */
static void test_replace_waits(void **state)
{
	static struct chain_text w, f;
	static struct chain_view v;
	char alive[] = "a", both[] = "ab";

	(void)state;
	parse(&f, "a");
	parse(&w, "b");
	w.groups[0][0] = 'A';
	chain_evaluate(&w.chain, &f.chain, healthy, alive, &v);
	assert_true(v.held);
	assert_string_equal(v.hops[0].pairs[0]->id, "a");
	assert_non_null(strstr(v.held_reason, "b is dead"));
	chain_evaluate(&w.chain, &f.chain, healthy, both, &v);
	assert_false(v.held);
	assert_string_equal(v.hops[0].pairs[0]->id, "b");
}

static void test_reason_is_told(void **state)
{
	static struct chain_text w;
	static struct chain_view v;
	char alive[] = "a";

	(void)state;
	chain_evaluate(parse(&w, "a|b"), NULL, healthy, alive, &v);
	assert_string_equal(v.hops[0].reason, "");
	assert_string_equal(v.hops[1].reason, "b is dead");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_effective_path),
		cmocka_unit_test(test_replace_waits),
		cmocka_unit_test(test_reason_is_told),
	};

	return cmocka_run_group_tests_name("node-chain", tests, NULL, NULL);
}
