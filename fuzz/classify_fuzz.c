/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules and packets from bytes: the compiled table says what the rules say one by one, and a packet that is said not to vary gets the
 * same answer for all TCP flags and DSCPs.
 */
#include "fuzz.h"

#include <string.h>

#include "dp/classify.h"

#define RULES_MAX 300

struct bytes {
	const uint8_t *b;
	size_t n;
};

static uint8_t next(struct bytes *in)
{
	if (!in->n)
		return 0;
	in->n--;
	return *in->b++;
}

/* Two bits choose among values that differ late, or early. */
static struct ip_addr address(uint8_t family, uint8_t v)
{
	static const uint8_t high[4] = { 0, 10, 0x80, 0xff };
	struct ip_addr a = { .family = family };

	a.b[0] = high[v >> 6];
	a.b[family == IP_V6 ? 15 : 3] = v & 0x1f;
	a.b[family == IP_V6 ? 9 : 2] = v & 0x20;
	return a;
}

static void side(struct bytes *in, uint8_t family, struct ip_cidr *c, uint32_t *group)
{
	uint8_t kind = next(in), v = next(in);

	if (kind < 64)
		return;
	if (kind < 96) {
		*group = 1 + v % 6;
		return;
	}
	c->addr = address(family, v);
	c->prefix_len = (uint8_t)(kind % (ip_max_prefix(&c->addr) + 1));
}

static void range(struct bytes *in, bool *given, uint16_t *min, uint16_t *max)
{
	uint8_t a = next(in), b = next(in);

	*given = a & 1;
	*min = (uint16_t)(a & 0x80 ? a << 8 : a);
	*max = (uint16_t)(b & 0x80 ? b << 8 | 0xff : b);
}

static void rule(struct bytes *in, struct rule *r, uint32_t id)
{
	uint8_t kind = next(in), family = kind & 1 ? IP_V6 : IP_V4;

	memset(r, 0, sizeof(*r));
	r->id = id;
	r->deny = kind & 2;
	r->family = kind & 4 ? family : 0;
	r->proto = kind & 8 ? next(in) : 0;
	side(in, family, &r->src, &r->src_group);
	side(in, family, &r->dst, &r->dst_group);
	range(in, &r->has_sport, &r->sport_min, &r->sport_max);
	range(in, &r->has_dport, &r->dport_min, &r->dport_max);
	if (kind & 16)
		r->vlan = next(in);
	if (kind & 32)
		r->flags_mask = r->flags_value = next(in);
	if (kind & 64)
		r->flags_value ^= next(in);
	r->has_dscp = kind & 128;
	r->dscp = kind & 128 ? next(in) & 63 : 0;
}

static void view(struct bytes *in, struct rule_view *v)
{
	uint8_t kind = next(in), family = kind & 1 ? IP_V6 : IP_V4;

	memset(v, 0, sizeof(*v));
	v->src = address(family, next(in));
	v->dst = address(family, next(in));
	v->sport = (uint16_t)(kind & 2 ? next(in) << 8 : next(in));
	v->dport = (uint16_t)(kind & 4 ? next(in) << 8 | 0xff : next(in));
	v->proto = next(in);
	v->vlan = next(in);
	v->flags = next(in);
	v->dscp = next(in) & 63;
}

static bool has(const void *of, uint32_t group, const struct ip_addr *a)
{
	return (a->b[a->family == IP_V6 ? 15 : 3] ^ a->b[0]) % (group + 1) == 0;
}

static size_t one_by_one(const struct rule *r, size_t n, const struct rule_view *v)
{
	for (size_t i = 0; i < n; i++)
		if (rule_matches(&r[i], v, has(NULL, r[i].src_group, &v->src),
				 has(NULL, r[i].dst_group, &v->dst)))
			return i;
	return n;
}

static void check(const struct rule *r, size_t n, const struct compiled *c, struct rule_view *v)
{
	bool varies, again;
	size_t want = one_by_one(r, n, v), got = compiled_find(c, v, has, NULL, &varies);

	FUZZ_CHECK((want < n) == (got < c->head.n_rules));
	FUZZ_CHECK(want == n || c->rules[got].id == r[want].id);
	v->flags = (uint8_t)~v->flags;
	v->dscp ^= 21;
	FUZZ_CHECK(varies || compiled_find(c, v, has, NULL, &again) == got);
}

/* The first byte says how many times each rule stands in the list: that is how it becomes a large one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data, size };
	size_t n = 0, times = 1 + next(&in) % 16, n_rules = next(&in);
	struct rule r[RULES_MAX];
	struct compiled c[2];
	struct rule_view v;

	for (size_t i = 0; i < n_rules && in.n; i++) {
		struct rule one;

		rule(&in, &one, (uint32_t)i);
		for (size_t k = 0; k < times && n < RULES_MAX; k++)
			r[n++] = one;
	}
	FUZZ_CHECK(!classify_compile(r, n, IP_V4, &c[0], NULL));
	FUZZ_CHECK(!classify_compile(r, n, IP_V6, &c[1], NULL));
	for (size_t i = 0; i < 16 && in.n; i++) {
		view(&in, &v);
		check(r, n, &c[v.src.family == IP_V6], &v);
	}
	compiled_done(&c[0]);
	compiled_done(&c[1]);
	return 0;
}
