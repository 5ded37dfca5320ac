/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Classes of TCP flags and DSCPs that no rule of any table tells apart: abi/policy.h. A table that comes only splits classes, and the numbers
 * that were in use keep what is left of their values: records made before stay right. When tables have gone, dp_sweep() numbers afresh; until
 * no record has an old number, every packet is judged by itself.
 */

#include "dp/tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* class := its parts by `by`; a part of its own gets a number that no other has, while there are any. */
static void split(__u8 *class, const __u8 *by, size_t n)
{
	__u8 number[POLICY_CLASSES][POLICY_CLASSES];
	bool used[POLICY_CLASSES] = { false }, kept[POLICY_CLASSES] = { false };

	memset(number, POLICY_NO_FACT, sizeof(number));
	for (size_t i = 0; i < n; i++)
		if (class[i] < POLICY_CLASSES)
			used[class[i]] = true;
	for (size_t i = 0; i < n; i++) {
		__u8 c = class[i], free_one = 0;

		if (c >= POLICY_CLASSES || by[i] >= POLICY_CLASSES) {
			class[i] = POLICY_NO_CLASS;
			continue;
		}
		if (number[c][by[i]] == POLICY_NO_FACT && kept[c]) {
			while (free_one < POLICY_CLASSES && used[free_one])
				free_one++;
			number[c][by[i]] = free_one; /* POLICY_NO_CLASS when all are in use */
			if (free_one < POLICY_CLASSES)
				used[free_one] = true;
		} else if (number[c][by[i]] == POLICY_NO_FACT) {
			number[c][by[i]] = c;
			kept[c] = true;
		}
		class[i] = number[c][by[i]];
	}
}

static void split_both(struct policy_facts *f, const struct policy_facts *by)
{
	split(f->flags, by->flags, sizeof(f->flags));
	split(f->dscp, by->dscp, sizeof(f->dscp));
}

/* Splits by what the rules ask; each question once. */
void facts_of_rules(const struct rule *rules, size_t n, struct policy_facts *ret)
{
	static const struct policy_facts none;
	__u8 asked[256][256 / 8] = { { 0 } }, dscp[64] = { 0 };

	*ret = none;
	for (size_t i = 0; i < n; i++) {
		uint8_t mask = rules[i].flags_mask, value = rules[i].flags_value & mask;
		struct policy_facts by = none;

		if (rules[i].has_dscp && !dscp[rules[i].dscp & 63]) {
			dscp[rules[i].dscp & 63] = 1;
			by.dscp[rules[i].dscp & 63] = 1;
			split(ret->dscp, by.dscp, sizeof(by.dscp));
		}
		if (!mask || (asked[mask][value / 8] >> value % 8 & 1))
			continue;
		asked[mask][value / 8] |= (__u8)(1 << value % 8);
		for (size_t f = 0; f < sizeof(by.flags); f++)
			by.flags[f] = (f & mask) == value;
		split(ret->flags, by.flags, sizeof(by.flags));
	}
}

static bool is_plain(const struct policy_facts *f)
{
	static const struct policy_facts none;

	return !memcmp(f, &none, sizeof(none));
}

static struct table_facts *facts_find(struct facts *l, uint32_t table)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].table == table)
			return &l->v[i];
	return NULL;
}

static int facts_keep(struct facts *l, uint32_t table, const struct policy_facts *f, struct err *e)
{
	struct table_facts *v = facts_find(l, table);

	if (!v) {
		v = realloc(l->v, (l->n + 1) * sizeof(*v));
		if (!v)
			return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
		l->v = v;
		v = &l->v[l->n++];
	}
	*v = (struct table_facts){ table, *f };
	return 0;
}

int facts_add(struct dp *dp, uint32_t table, const struct rule *rules, size_t n, struct err *e)
{
	struct policy_facts mine, was, now;
	__u32 zero = 0;
	int r;

	facts_of_rules(rules, n, &mine);
	if (is_plain(&mine)) {
		facts_forget(dp, table);
		return 0;
	}
	r = facts_keep(&dp->facts, table, &mine, e);
	if (!r)
		r = dp_get(dp, M_POLICY_FACTS, &zero, &was) ? err_errno(e, -EIO, "classes of facts") : 0;
	if (r)
		return r;
	now = was;
	split_both(&now, &mine);
	return memcmp(&now, &was, sizeof(now)) ? dp_put(dp, M_POLICY_FACTS, &zero, &now, e) : 0;
}

void facts_forget(struct dp *dp, uint32_t table)
{
	struct table_facts *v = facts_find(&dp->facts, table);

	if (v)
		*v = dp->facts.v[--dp->facts.n];
}

static size_t n_classes(const struct policy_facts *f)
{
	bool used[2][POLICY_CLASSES + 1] = { { false } };
	size_t n = 0;

	for (size_t i = 0; i < sizeof(f->flags); i++)
		used[0][f->flags[i]] = true;
	for (size_t i = 0; i < sizeof(f->dscp); i++)
		used[1][f->dscp[i]] = true;
	for (size_t i = 0; i <= POLICY_CLASSES; i++)
		n += (size_t)used[0][i] + used[1][i];
	return n;
}

int facts_sweep(struct dp *dp, struct err *e)
{
	struct policy_facts now, fresh = { { 0 }, { 0 } }, each;
	__u32 zero = 0;
	int r;

	if (dp_get(dp, M_POLICY_FACTS, &zero, &now))
		return err_errno(e, -EIO, "classes of facts");
	for (size_t i = 0; i < dp->facts.n; i++)
		split_both(&fresh, &dp->facts.v[i].facts);
	if (n_classes(&fresh) == n_classes(&now))
		return 0;
	memset(&each, POLICY_NO_CLASS, sizeof(each));
	r = dp_put(dp, M_POLICY_FACTS, &zero, &each, e);
	dp_gen_bump(dp);
	return r ? r : dp_put(dp, M_POLICY_FACTS, &zero, &fresh, e);
}

void facts_done(struct dp *dp)
{
	free(dp->facts.v);
	dp->facts = (struct facts){ NULL, 0 };
}
