/* SPDX-License-Identifier: Apache-2.0 */
#include "dp/classify.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* More pieces than this are a mistake, or an attack: a table of distinct addresses and ports has three per rule. */
#define ENTRIES_MAX 400000
#define VECS_MAX 60000

/* What the compilation of one table works on. */
struct work {
	const struct rule **r; /* of the family, in order */
	size_t n, n_words;
	bool v6, big;
	struct compiled *out;
	size_t cap_entries, cap_vecs;
	uint32_t *hash; /* open addressing over out->vecs: 1 + index, 0: empty */
	size_t hash_size;
	struct err *e;
};

static int no_memory(struct err *e)
{
	return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
}

static void bit_set(__u64 *v, size_t i)
{
	v[i / 64] |= 1ULL << i % 64;
}
static void bit_clear(__u64 *v, size_t i)
{
	v[i / 64] &= ~(1ULL << i % 64);
}

/* ---- sets ---- */

static __u64 words_hash(const __u64 *v, size_t n)
{
	__u64 h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < n; i++) {
		h ^= v[i];
		h *= 0x9e3779b97f4a7c15ULL;
		h ^= h >> 29;
	}
	return h;
}

static int vecs_grow(struct work *w)
{
	size_t cap = w->cap_vecs ? w->cap_vecs * 2 : 64;
	struct policy_vec *v = realloc(w->out->vecs, cap * sizeof(*v));
	uint32_t *hash;

	if (!v)
		return no_memory(w->e);
	w->out->vecs = v;
	hash = calloc(cap * 2, sizeof(*hash));
	if (!hash)
		return no_memory(w->e);
	free(w->hash);
	w->hash = hash;
	w->hash_size = cap * 2;
	w->cap_vecs = cap;
	for (size_t i = 0; i < w->out->n_vecs; i++) {
		size_t at = words_hash(v[i].w, w->n_words) & (w->hash_size - 1);

		while (hash[at])
			at = (at + 1) & (w->hash_size - 1);
		hash[at] = (uint32_t)i + 1;
	}
	return 0;
}

/* The number of an equal vector, or of a new one; from 1. */
static int vec_of(struct work *w, const __u64 *bits, uint32_t *ret)
{
	size_t at;

	if (w->out->n_vecs == w->cap_vecs) {
		int r = vecs_grow(w);

		if (r)
			return r;
	}
	at = words_hash(bits, w->n_words) & (w->hash_size - 1);
	for (; w->hash[at]; at = (at + 1) & (w->hash_size - 1)) {
		*ret = w->hash[at];
		if (!memcmp(w->out->vecs[*ret - 1].w, bits, w->n_words * sizeof(*bits)))
			return 0;
	}
	if (w->out->n_vecs == VECS_MAX)
		return err_set(w->e, FAULT_TOO_LARGE, "rules",
			       "the rules have more than %d different combinations", VECS_MAX);
	memset(&w->out->vecs[w->out->n_vecs], 0, sizeof(w->out->vecs[0]));
	memcpy(w->out->vecs[w->out->n_vecs].w, bits, w->n_words * sizeof(*bits));
	*ret = (uint32_t)++w->out->n_vecs;
	w->hash[at] = *ret;
	return 0;
}

static void summary_of(const struct work *w, const __u64 *bits, __u64 ret[ABI_POLICY_SMALL])
{
	memset(ret, 0, ABI_POLICY_SMALL * sizeof(*ret));
	for (size_t i = 0; i < w->n_words; i++)
		if (!w->big)
			ret[i] = bits[i];
		else if (bits[i])
			bit_set(ret, i);
}

static int set_of(struct work *w, const __u64 *bits, struct policy_set *ret)
{
	memset(ret, 0, sizeof(*ret));
	summary_of(w, bits, ret->bits);
	return w->big ? vec_of(w, bits, &ret->vec) : 0;
}

static int entry_add(struct work *w, enum policy_dim dim, const uint8_t *data, size_t n_data,
		     unsigned int prefix, const __u64 *bits)
{
	struct compiled_entry *x;

	if (w->out->n_entries == ENTRIES_MAX)
		return err_set(w->e, FAULT_TOO_LARGE, "rules",
			       "the rules need more than %d table entries", ENTRIES_MAX);
	if (w->out->n_entries == w->cap_entries) {
		size_t cap = w->cap_entries ? w->cap_entries * 2 : 64;

		x = realloc(w->out->entries, cap * sizeof(*x));
		if (!x)
			return no_memory(w->e);
		w->out->entries = x;
		w->cap_entries = cap;
	}
	x = &w->out->entries[w->out->n_entries++];
	memset(x, 0, sizeof(*x));
	x->key.prefix_len = 32 + prefix;
	x->key.owner = dim;
	memcpy(x->key.data, data, n_data);
	return set_of(w, bits, &x->set);
}

/* ---- addresses: prefixes nest, so that a prefix satisfies what its parent does ---- */

struct prefix {
	uint8_t b[16];
	uint8_t len;
	size_t rule;
};

static int prefix_cmp(const void *a, const void *b)
{
	const struct prefix *x = a, *y = b;
	int c = memcmp(x->b, y->b, sizeof(x->b));

	if (c)
		return c;
	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return x->rule < y->rule ? -1 : x->rule > y->rule;
}

static bool prefix_covers(const struct prefix *p, const struct prefix *q)
{
	unsigned int bytes = p->len / 8, bits = p->len % 8;

	if (p->len > q->len || memcmp(p->b, q->b, bytes) != 0)
		return false;
	return !bits || !((p->b[bytes] ^ q->b[bytes]) >> (8 - bits));
}

static void prefix_mask(struct prefix *p)
{
	for (unsigned int i = p->len; i < 128; i++)
		p->b[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
}

/* The rules' prefixes of one side, sorted so that what covers comes before what it covers. */
static struct prefix *prefixes_of(const struct work *w, bool src, size_t *ret_n)
{
	struct prefix *v = calloc(w->n + 1, sizeof(*v));
	size_t n = 0;

	for (size_t i = 0; v && i < w->n; i++) {
		const struct ip_cidr *c = src ? &w->r[i]->src : &w->r[i]->dst;

		if (!c->addr.family)
			continue;
		memcpy(v[n].b, c->addr.b, 16);
		v[n].len = c->prefix_len;
		v[n].rule = i;
		prefix_mask(&v[n++]);
	}
	if (v)
		qsort(v, n, sizeof(*v), prefix_cmp);
	*ret_n = n;
	return v;
}

/* bits := rules that any value satisfies, and those of v[stack[0..depth)]. */
static int prefix_emit(struct work *w, enum policy_dim dim, const struct prefix *v,
		       const size_t *stack, size_t depth, const __u64 *any, __u64 *bits)
{
	const struct prefix *p = &v[stack[depth - 1]];

	memcpy(bits, any, w->n_words * sizeof(*bits));
	for (size_t i = 0; i < depth; i++)
		bit_set(bits, v[stack[i]].rule);
	return entry_add(w, dim, p->b, sizeof(p->b), p->len, bits);
}

static int compile_prefixes(struct work *w, enum policy_dim dim, const __u64 *any)
{
	CLEANUP(free_voidp) struct prefix *v = NULL;
	CLEANUP(free_voidp) size_t *stack = NULL;
	__u64 bits[ABI_POLICY_WORDS] = { 0 };
	size_t n, depth = 0;
	int r = 0;

	v = prefixes_of(w, dim == PDIM_SRC, &n);
	stack = calloc(n + 1, sizeof(*stack));
	if (!v || !stack)
		return no_memory(w->e);
	for (size_t i = 0; i < n && !r; i++) {
		while (depth && !prefix_covers(&v[stack[depth - 1]], &v[i]))
			depth--;
		stack[depth++] = i;
		if (i + 1 < n && v[i + 1].len == v[i].len && !memcmp(v[i + 1].b, v[i].b, 16))
			continue; /* the same prefix again: once, with all its rules */
		r = prefix_emit(w, dim, v, stack, depth, any, bits);
	}
	return r;
}

/* ---- numbers: intervals are cut at each other's ends, and every piece written as prefixes ---- */

struct cut {
	uint32_t at; /* first value from here on */
	uint32_t rule;
	bool begin;
};

static int cut_cmp(const void *a, const void *b)
{
	const struct cut *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

struct numbers {
	enum policy_dim dim;
	unsigned int width; /* bits */
	struct cut *cuts;
	size_t n_cuts, cap;
	__u64 any[ABI_POLICY_WORDS];
};

/* An interval that ends before it begins has no value. */
static int cut_add(struct work *w, struct numbers *x, size_t rule, uint32_t min, uint32_t max)
{
	if (min > max)
		return 0;
	if (x->n_cuts + 2 > x->cap) {
		size_t cap = x->cap ? x->cap * 2 : 64;
		struct cut *v = realloc(x->cuts, cap * sizeof(*v));

		if (!v)
			return no_memory(w->e);
		x->cuts = v;
		x->cap = cap;
	}
	x->cuts[x->n_cuts++] = (struct cut){ min, (uint32_t)rule, true };
	x->cuts[x->n_cuts++] = (struct cut){ max + 1, (uint32_t)rule, false };
	return 0;
}

/* [min, max] as the fewest aligned prefixes. */
static int interval_emit(struct work *w, const struct numbers *x, uint32_t min, uint32_t max,
			 const __u64 *bits)
{
	uint32_t end = max + 1;
	int r = 0;

	while (min < end && !r) {
		unsigned int log = 0;
		uint8_t data[2];

		while (log < x->width && !(min & ((2u << log) - 1)) && min + (2u << log) <= end)
			log++;
		data[0] = x->width == 16 ? (uint8_t)(min >> 8) : (uint8_t)min;
		data[1] = (uint8_t)min;
		r = entry_add(w, x->dim, data, x->width / 8, x->width - log, bits);
		min += 1u << log;
	}
	return r;
}

static int compile_cuts(struct work *w, struct numbers *x)
{
	__u64 bits[ABI_POLICY_WORDS];
	size_t open = 0;
	int r = 0;

	memcpy(bits, x->any, sizeof(bits));
	if (x->n_cuts)
		qsort(x->cuts, x->n_cuts, sizeof(*x->cuts), cut_cmp);
	for (size_t i = 0; i < x->n_cuts && !r;) {
		uint32_t at = x->cuts[i].at;

		for (; i < x->n_cuts && x->cuts[i].at == at; i++) {
			if (x->cuts[i].begin) {
				bit_set(bits, x->cuts[i].rule);
				open++;
			} else {
				bit_clear(bits, x->cuts[i].rule);
				open--;
			}
		}
		if (open)
			r = interval_emit(w, x, at, x->cuts[i].at - 1, bits);
	}
	return r;
}

/* ---- what a rule wants in each dimension ---- */

static bool is_any(const struct rule *r, enum policy_dim dim)
{
	switch (dim) {
	case PDIM_SRC:
		return !r->src.addr.family && !r->src_group;
	case PDIM_DST:
		return !r->dst.addr.family && !r->dst_group;
	case PDIM_SPORT:
		return !r->has_sport;
	case PDIM_DPORT:
		return !r->has_dport;
	case PDIM_PROTO:
		return !r->proto;
	case PDIM_VLAN:
		return !r->vlan;
	case PDIM_FLAGS:
		return !r->flags_mask;
	case PDIM_DSCP:
		return !r->has_dscp;
	case PDIM_N:
		break;
	}
	return true;
}

static int rule_cuts(struct work *w, struct numbers *x, size_t i)
{
	const struct rule *r = w->r[i];

	switch (x->dim) {
	case PDIM_SPORT:
		return cut_add(w, x, i, r->sport_min, r->sport_max);
	case PDIM_DPORT:
		return cut_add(w, x, i, r->dport_min, r->dport_max);
	case PDIM_PROTO:
		return cut_add(w, x, i, r->proto, r->proto);
	case PDIM_VLAN:
		return cut_add(w, x, i, r->vlan, r->vlan);
	case PDIM_DSCP:
		return cut_add(w, x, i, r->dscp, r->dscp);
	case PDIM_FLAGS:
	case PDIM_SRC:
	case PDIM_DST:
	case PDIM_N:
		break;
	}
	return 0;
}

/* Masks are no intervals: each of the 256 values by itself. */
static int compile_flags(struct work *w, const __u64 *any)
{
	__u64 bits[ABI_POLICY_WORDS] = { 0 };
	int r = 0;

	for (uint32_t f = 0; f < 256 && !r; f++) {
		memcpy(bits, any, w->n_words * sizeof(*bits));
		for (size_t i = 0; i < w->n; i++)
			if (w->r[i]->flags_mask && !((f ^ w->r[i]->flags_value) & w->r[i]->flags_mask))
				bit_set(bits, i);
		if (memcmp(bits, any, w->n_words * sizeof(*bits)) != 0)
			r = entry_add(w, PDIM_FLAGS, (uint8_t[]){ (uint8_t)f }, 1, 8, bits);
	}
	return r;
}

static int compile_numbers(struct work *w, enum policy_dim dim, const __u64 *any)
{
	struct numbers x = { .dim = dim, .width = 8 };
	int r = 0;

	if (dim == PDIM_SPORT || dim == PDIM_DPORT || dim == PDIM_VLAN)
		x.width = 16;
	memcpy(x.any, any, w->n_words * sizeof(*any));
	for (size_t i = 0; i < w->n && !r; i++)
		if (!is_any(w->r[i], dim))
			r = rule_cuts(w, &x, i);
	if (!r)
		r = compile_cuts(w, &x);
	free(x.cuts);
	return r;
}

/* ---- groups ---- */

static int group_slot(struct work *w, unsigned int side, uint32_t group, unsigned int *ret)
{
	struct policy_table *t = &w->out->head;
	unsigned int i;

	for (i = 0; i < t->n_groups[side]; i++)
		if (t->groups[side][i].group == group)
			break;
	if (i == ABI_POLICY_GROUPS)
		return err_set(w->e, FAULT_TOO_LARGE, "rules",
			       "the rules name more than %d address groups", ABI_POLICY_GROUPS);
	t->groups[side][i].group = group;
	if (i == t->n_groups[side])
		t->n_groups[side]++;
	*ret = i;
	return 0;
}

static int compile_groups(struct work *w, unsigned int side)
{
	__u64 bits[ABI_POLICY_GROUPS][ABI_POLICY_WORDS] = { { 0 } };
	unsigned int g = 0;
	int r = 0;

	for (size_t i = 0; i < w->n && !r; i++) {
		uint32_t id = side ? w->r[i]->dst_group : w->r[i]->src_group;

		if (!id)
			continue;
		r = group_slot(w, side, id, &g);
		if (!r)
			bit_set(bits[g], i);
	}
	for (g = 0; g < w->out->head.n_groups[side] && !r; g++)
		r = set_of(w, bits[g], &w->out->head.groups[side][g].set);
	return r;
}

/* ---- the table ---- */

static int compile_dim(struct work *w, enum policy_dim dim)
{
	__u64 any[ABI_POLICY_WORDS] = { 0 };
	size_t n_any = 0;
	int r;

	for (size_t i = 0; i < w->n; i++) {
		if (!is_any(w->r[i], dim))
			continue;
		bit_set(any, i);
		n_any++;
	}
	if (n_any == w->n)
		return 0;
	w->out->head.dims |= (uint16_t)(1 << dim);
	r = set_of(w, any, &w->out->head.any[dim]);
	if (r)
		return r;
	if (dim == PDIM_FLAGS)
		return compile_flags(w, any);
	if (dim > PDIM_DST)
		return compile_numbers(w, dim, any);
	r = compile_prefixes(w, dim, any);
	return r ? r : compile_groups(w, dim);
}

static void compile_rules(struct work *w)
{
	__u64 varying[ABI_POLICY_WORDS] = { 0 };

	for (size_t i = 0; i < w->n; i++) {
		w->out->rules[i] = (struct policy_rule){ .id = w->r[i]->id,
							 .of = w->r[i]->of,
							 .deny = w->r[i]->deny };
		if (!is_any(w->r[i], PDIM_FLAGS) || !is_any(w->r[i], PDIM_DSCP))
			bit_set(varying, i);
	}
	summary_of(w, varying, w->out->head.varying);
}

static bool is_of_family(const struct rule *r, enum ip_family f)
{
	if (r->family && r->family != f)
		return false;
	if (r->src.addr.family && r->src.addr.family != f)
		return false;
	return !r->dst.addr.family || r->dst.addr.family == f;
}

/* ---- short tables ---- */

/* A line has one way for each dimension; an interval that is empty is none. */
static bool fits_line(const struct rule *r)
{
	if ((r->src_group && r->src.addr.family) || (r->dst_group && r->dst.addr.family))
		return false;
	if (r->has_sport && r->sport_min > r->sport_max)
		return false;
	return !r->has_dport || r->dport_min <= r->dport_max;
}

static void line_addr(const struct ip_cidr *c, __u32 *ip, __u32 *mask, __u32 *ip6, __u32 *mask6)
{
	__u8 b[16] = { 0 };
	__u32 words[4], masks[4];

	if (!c->addr.family)
		return;
	for (unsigned int i = 0; i < c->prefix_len; i++)
		b[i / 8] |= (__u8)(0x80 >> i % 8);
	memcpy(masks, b, sizeof(masks));
	memcpy(words, c->addr.b, sizeof(words));
	*ip = words[0] & masks[0];
	*mask = masks[0];
	for (int i = 0; i < 3; i++) {
		ip6[i] = words[i + 1] & masks[i + 1];
		mask6[i] = masks[i + 1];
	}
}

static void line_of(const struct rule *r, struct policy_line *l, struct policy_line6 *l6)
{
	*l = (struct policy_line){ .sport_span = 65535,
				   .dport_span = 65535,
				   .vlan = r->vlan,
				   .vlan_mask = r->vlan ? 65535 : 0,
				   .proto = r->proto,
				   .proto_mask = r->proto ? 255 : 0,
				   .flags = r->flags_value,
				   .flags_mask = r->flags_mask,
				   .dscp = r->has_dscp ? r->dscp : 0,
				   .dscp_mask = r->has_dscp ? 255 : 0,
				   .deny = r->deny,
				   .varies = r->flags_mask || r->has_dscp,
				   .groups = { r->src_group, r->dst_group },
				   .id = r->id,
				   .of = r->of };
	if (r->has_sport) {
		l->sport_min = r->sport_min;
		l->sport_span = r->sport_max - r->sport_min;
	}
	if (r->has_dport) {
		l->dport_min = r->dport_min;
		l->dport_span = r->dport_max - r->dport_min;
	}
	line_addr(&r->src, &l->src, &l->src_mask, l6->src, l6->src_mask);
	line_addr(&r->dst, &l->dst, &l->dst_mask, l6->dst, l6->dst_mask);
}

static bool compile_lines(struct work *w)
{
	struct policy_table *t = &w->out->head;

	if (w->n > ABI_POLICY_LINES)
		return false;
	for (size_t i = 0; i < w->n; i++)
		if (!fits_line(w->r[i]))
			return false;
	for (size_t i = 0; i < w->n; i++)
		line_of(w->r[i], &t->lines[i], &t->lines6[i]);
	t->n_lines = (__u8)w->n;
	return true;
}

/* A prefix of length 0 has every address of the table's family. */
static bool looks_at(const struct rule *r, enum policy_dim d)
{
	if (d == PDIM_SRC)
		return r->src_group || r->src.prefix_len;
	if (d == PDIM_DST)
		return r->dst_group || r->dst.prefix_len;
	return !is_any(r, d);
}

static __u16 looks_of(const struct work *w)
{
	__u16 looks = POLICY_LOOKS_KNOWN;

	for (size_t i = 0; i < w->n; i++)
		for (enum policy_dim d = 0; d < PDIM_N; d++)
			looks |= (__u16)(looks_at(w->r[i], d) << d);
	return looks;
}

static int compile_table(struct work *w)
{
	int r = 0;

	w->n_words = (w->n + 63) / 64;
	w->big = w->n > 64 * ABI_POLICY_SMALL;
	w->out->head.n_rules = (uint32_t)w->n;
	w->out->head.big = w->big;
	w->out->head.looks = looks_of(w);
	w->out->rules = calloc(w->n + 1, sizeof(*w->out->rules));
	if (!w->out->rules)
		return no_memory(w->e);
	compile_rules(w);
	if (compile_lines(w))
		return 0;
	for (enum policy_dim d = 0; d < PDIM_N && !r; d++)
		r = compile_dim(w, d);
	return r;
}

int classify_compile(const struct rule *rules, size_t n, enum ip_family family,
		     struct compiled *ret, struct err *e)
{
	struct work w = { .v6 = family == IP_V6, .out = ret, .e = e };
	int r;

	memset(ret, 0, sizeof(*ret));
	if (n > ABI_POLICY_RULES)
		return err_set(e, FAULT_TOO_LARGE, "rules", "a list has more than %d rules",
			       ABI_POLICY_RULES);
	w.r = calloc(n + 1, sizeof(*w.r));
	if (!w.r)
		return no_memory(e);
	for (size_t i = 0; i < n; i++)
		if (is_of_family(&rules[i], family))
			w.r[w.n++] = &rules[i];
	r = compile_table(&w);
	free(w.r);
	free(w.hash);
	if (r)
		compiled_done(ret);
	return r;
}

void compiled_done(struct compiled *c)
{
	free(c->entries);
	free(c->vecs);
	free(c->rules);
	memset(c, 0, sizeof(*c));
}

/* ---- the same, rule by rule ---- */

static bool cidr_takes(const struct ip_cidr *c, const struct ip_addr *a)
{
	return !c->addr.family || cidr_contains(*c, *a);
}

bool rule_matches(const struct rule *r, const struct rule_view *v, bool in_src_group, bool in_dst_group)
{
	if (!is_of_family(r, v->src.family) || (r->proto && r->proto != v->proto))
		return false;
	if (!cidr_takes(&r->src, &v->src) || !cidr_takes(&r->dst, &v->dst))
		return false;
	if ((r->src_group && !in_src_group) || (r->dst_group && !in_dst_group))
		return false;
	if (r->has_sport && (v->sport < r->sport_min || v->sport > r->sport_max))
		return false;
	if (r->has_dport && (v->dport < r->dport_min || v->dport > r->dport_max))
		return false;
	if ((r->vlan && r->vlan != v->vlan) || (r->has_dscp && r->dscp != v->dscp))
		return false;
	return (v->flags & r->flags_mask) == (r->flags_value & r->flags_mask);
}

/* ---- the lookup, as the datapath does it ---- */

struct lookup {
	const struct compiled *c;
	const struct rule_view *v;
	group_has_fn *has;
	const void *of;
	__u64 bits[ABI_POLICY_SMALL]; /* rules, or words, that are left */
	__u64 words[ABI_POLICY_WORDS];
};

static unsigned int value_of(const struct rule_view *v, enum policy_dim dim, uint8_t ret[16])
{
	uint16_t wide = dim == PDIM_SPORT ? v->sport : dim == PDIM_DPORT ? v->dport : v->vlan;

	memset(ret, 0, 16);
	switch (dim) {
	case PDIM_SRC:
		memcpy(ret, v->src.b, 16);
		return ip_max_prefix(&v->src);
	case PDIM_DST:
		memcpy(ret, v->dst.b, 16);
		return ip_max_prefix(&v->dst);
	case PDIM_SPORT:
	case PDIM_DPORT:
	case PDIM_VLAN:
		ret[0] = (uint8_t)(wide >> 8);
		ret[1] = (uint8_t)wide;
		return 16;
	case PDIM_PROTO:
		ret[0] = v->proto;
		return 8;
	case PDIM_FLAGS:
		ret[0] = v->flags;
		return 8;
	case PDIM_DSCP:
		ret[0] = v->dscp;
		return 8;
	case PDIM_N:
		break;
	}
	return 0;
}

/* The set of the longest prefix that covers the value. */
static const struct policy_set *longest(const struct lookup *l, enum policy_dim dim)
{
	struct prefix value = { .rule = 0 };
	const struct policy_set *best = &l->c->head.any[dim];
	unsigned int len = 0;

	value.len = (uint8_t)value_of(l->v, dim, value.b);
	for (size_t i = 0; i < l->c->n_entries; i++) {
		const struct policy_key *k = &l->c->entries[i].key;
		struct prefix p = { .len = (uint8_t)(k->prefix_len - 32) };

		if (k->owner != (__u32)dim || k->prefix_len < len)
			continue;
		memcpy(p.b, k->data, sizeof(p.b));
		if (!prefix_covers(&p, &value))
			continue;
		best = &l->c->entries[i].set;
		len = k->prefix_len;
	}
	return best;
}

static void set_or(const struct lookup *l, const struct policy_set *s, __u64 *bits, __u64 *words)
{
	for (size_t i = 0; i < ABI_POLICY_SMALL; i++)
		bits[i] |= s->bits[i];
	for (size_t i = 0; s->vec && i < ABI_POLICY_WORDS; i++)
		words[i] |= l->c->vecs[s->vec - 1].w[i];
}

static void lookup_dim(struct lookup *l, enum policy_dim dim)
{
	__u64 bits[ABI_POLICY_SMALL] = { 0 }, words[ABI_POLICY_WORDS] = { 0 };
	const struct policy_table *t = &l->c->head;

	if (!(t->dims >> dim & 1))
		return;
	set_or(l, longest(l, dim), bits, words);
	for (size_t g = 0; dim <= PDIM_DST && g < t->n_groups[dim]; g++)
		if (l->has(l->of, t->groups[dim][g].group, dim == PDIM_SRC ? &l->v->src : &l->v->dst))
			set_or(l, &t->groups[dim][g].set, bits, words);
	for (size_t i = 0; i < ABI_POLICY_SMALL; i++)
		l->bits[i] &= bits[i];
	for (size_t i = 0; i < ABI_POLICY_WORDS; i++)
		l->words[i] &= words[i];
}

static size_t lowest(const struct lookup *l)
{
	size_t none = l->c->head.n_rules;

	for (size_t i = 0; i < 64 * ABI_POLICY_SMALL; i++) {
		if (!(l->bits[i / 64] >> i % 64 & 1))
			continue;
		if (!l->c->head.big)
			return i < none ? i : none;
		if (i < ABI_POLICY_WORDS && l->words[i])
			return i * 64 + (size_t)__builtin_ctzll(l->words[i]);
	}
	return none;
}

static bool masked(const __u8 *value, const __u32 *ip, const __u32 *mask, size_t n)
{
	__u32 words[4];

	memcpy(words, value, sizeof(words));
	for (size_t i = 0; i < n; i++)
		if ((words[i] ^ ip[i]) & mask[i])
			return false;
	return true;
}

static bool line_has_addr(const struct lookup *l, size_t i, unsigned int side)
{
	const struct policy_line *x = &l->c->head.lines[i];
	const struct policy_line6 *y = &l->c->head.lines6[i];
	const struct ip_addr *a = side ? &l->v->dst : &l->v->src;
	__u32 ip[4] = { side ? x->dst : x->src }, mask[4] = { side ? x->dst_mask : x->src_mask };

	memcpy(ip + 1, side ? y->dst : y->src, sizeof(y->src));
	memcpy(mask + 1, side ? y->dst_mask : y->src_mask, sizeof(y->src_mask));
	if (!masked(a->b, ip, mask, 4))
		return false;
	return !x->groups[side] || l->has(l->of, x->groups[side], a);
}

static bool line_matches(const struct lookup *l, size_t i, bool *varies)
{
	const struct policy_line *x = &l->c->head.lines[i];
	const struct rule_view *v = l->v;

	if ((__u16)(v->sport - x->sport_min) > x->sport_span ||
	    (__u16)(v->dport - x->dport_min) > x->dport_span)
		return false;
	if (((v->vlan ^ x->vlan) & x->vlan_mask) || ((v->proto ^ x->proto) & x->proto_mask))
		return false;
	if (!line_has_addr(l, i, 0) || !line_has_addr(l, i, 1))
		return false;
	*varies |= x->varies;
	return !((v->flags ^ x->flags) & x->flags_mask) && !((v->dscp ^ x->dscp) & x->dscp_mask);
}

static size_t lines_find(const struct lookup *l, bool *varies)
{
	size_t i = 0;

	while (i < l->c->head.n_lines && !line_matches(l, i, varies))
		i++;
	return i;
}

size_t compiled_find(const struct compiled *c, const struct rule_view *v, group_has_fn *has,
		     const void *of, bool *ret_varies)
{
	struct lookup l = { .c = c, .v = v, .has = has, .of = of };
	enum policy_dim d;

	*ret_varies = false;
	if (c->head.n_lines)
		return lines_find(&l, ret_varies);
	if (!c->head.n_rules || !c->head.dims)
		return 0;
	memset(l.bits, 0xff, sizeof(l.bits));
	memset(l.words, 0xff, sizeof(l.words));
	for (d = 0; d < PDIM_FLAGS; d++)
		lookup_dim(&l, d);
	for (size_t i = 0; i < ABI_POLICY_SMALL; i++)
		*ret_varies |= !!(l.bits[i] & c->head.varying[i]);
	for (; d < PDIM_N; d++)
		lookup_dim(&l, d);
	return lowest(&l);
}
