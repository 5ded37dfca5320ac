/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Tables of rules and groups of addresses in the kernel's maps. A table that changes is written beside the old one under a new
 * number (its slot), then the head is replaced, then what the old slot had is removed. A process that dies in between leaves entries of a
 * slot that no head names: the sweep finds them.
 */

#include "dp/tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"

/* What was written for a head, so that it can be removed without searching. */
struct written {
	uint32_t table; /* key of policy_tables */
	uint32_t slot;
	uint32_t first_vec, n_vecs, n_rules;
	struct policy_key *keys;
	size_t n_keys;
};
struct member_list {
	uint32_t group;
	struct ip_cidr *v; /* sorted */
	size_t n;
};

struct policy {
	struct written *w;
	size_t n_w, cap_w;
	struct member_list *g;
	size_t n_g, cap_g;
	bool search; /* something may be left that no list names */
};

static uint64_t hash_bytes(uint64_t h, const void *p, size_t n)
{
	const unsigned char *b = p;

	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * 0x100000001b3ULL;
	return h;
}

static int no_memory(struct err *e)
{
	return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
}

int policy_open(struct dp *dp, struct err *e)
{
	dp->policy = calloc(1, sizeof(*dp->policy));
	if (!dp->policy)
		return no_memory(e);
	dp->policy->search = true;
	return 0;
}

void policy_close(struct dp *dp)
{
	struct policy *p = dp->policy;

	if (!p)
		return;
	for (size_t i = 0; i < p->n_w; i++)
		free(p->w[i].keys);
	for (size_t i = 0; i < p->n_g; i++)
		free(p->g[i].v);
	free(p->w);
	free(p->g);
	free(p);
	facts_done(dp);
	dp->policy = NULL;
}

/* ---- groups of addresses ---- */

static struct policy_key member_key(uint32_t group, const struct ip_cidr *c)
{
	struct policy_key k = { .prefix_len = 32 + c->prefix_len };

	k.owner = htobe32(POLICY_OWNER_GROUP | group << 1 | (c->addr.family == IP_V6));
	memcpy(k.data, c->addr.b, 16);
	return k;
}

static int cidr_cmp(const void *a, const void *b)
{
	const struct ip_cidr *x = a, *y = b;
	int c = ip_cmp(x->addr, y->addr);

	return c ? c : (int)x->prefix_len - (int)y->prefix_len;
}

/* Sorted, host bits cleared, each once. */
static size_t cidrs_tidy(struct ip_cidr *v, size_t n)
{
	size_t out = 0;

	for (size_t i = 0; i < n; i++)
		for (unsigned int bit = v[i].prefix_len; bit < 128; bit++)
			v[i].addr.b[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	qsort(v, n, sizeof(*v), cidr_cmp);
	for (size_t i = 0; i < n; i++)
		if (!out || cidr_cmp(&v[out - 1], &v[i]))
			v[out++] = v[i];
	return out;
}

static struct member_list *group_find(struct policy *p, uint32_t group)
{
	for (size_t i = 0; i < p->n_g; i++)
		if (p->g[i].group == group)
			return &p->g[i];
	return NULL;
}

static struct member_list *group_add(struct policy *p, uint32_t group)
{
	struct member_list *g = group_find(p, group);

	if (g)
		return g;
	if (p->n_g == p->cap_g) {
		size_t cap = p->cap_g ? p->cap_g * 2 : 16;

		g = realloc(p->g, cap * sizeof(*g));
		if (!g)
			return NULL;
		p->g = g;
		p->cap_g = cap;
	}
	g = &p->g[p->n_g++];
	*g = (struct member_list){ .group = group };
	return g;
}

static int member_put(struct dp *dp, uint32_t group, const struct ip_cidr *c, struct err *e)
{
	struct policy_key k = member_key(group, c);
	struct policy_set one = { .vec = 1 };

	return dp_put(dp, M_POLICY_TRIE, &k, &one, e);
}

static void member_unset(struct dp *dp, uint32_t group, const struct ip_cidr *c)
{
	struct policy_key k = member_key(group, c);

	dp_unset(dp, M_POLICY_TRIE, &k);
}

/* Two sorted lists: what only the new one has is put, then what only the old one has is removed. */
static int members_diff(struct dp *dp, const struct member_list *old, const struct ip_cidr *v,
			size_t n, bool put, size_t *n_changed, struct err *e)
{
	size_t i = 0, j = 0;
	int r = 0;

	while ((i < old->n || j < n) && !r) {
		const struct ip_cidr *x = i < old->n ? &old->v[i] : NULL;
		const struct ip_cidr *y = j < n ? &v[j] : NULL;
		int c = !x ? 1 : !y ? -1 : cidr_cmp(x, y);

		if (y && c > 0 && put)
			r = member_put(dp, old->group, y, e);
		if (x && c < 0 && !put)
			member_unset(dp, old->group, x);
		*n_changed += c != 0;
		i += c <= 0;
		j += c >= 0;
	}
	return r;
}

static uint64_t members_hash(const struct ip_cidr *v, size_t n)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < n; i++) {
		h = hash_bytes(h, &v[i].addr.family, 1);
		h = hash_bytes(h, v[i].addr.b, 16);
		h = hash_bytes(h, &v[i].prefix_len, 1);
	}
	return h | 1;
}

/* A list that this process did not write, and that is as it should be, is taken over. */
static int members_write(struct dp *dp, struct member_list *g, const struct ip_cidr *v, size_t n,
			 struct err *e)
{
	uint64_t hash = members_hash(v, n), had = 0;
	size_t changed = 0;
	int r;

	(void)dp_get(dp, M_POLICY_GROUPS, &g->group, &had);
	if (!g->v && had == hash)
		return 0;
	if (!g->v && had)
		dp->policy->search = true;
	r = members_diff(dp, g, v, n, true, &changed, e);
	if (!r)
		r = members_diff(dp, g, v, n, false, &changed, e);
	if (!r)
		r = dp_put(dp, M_POLICY_GROUPS, &g->group, &hash, e);
	if (changed)
		dp_gen_bump(dp);
	return r;
}

int policy_group_set(struct dp *dp, uint32_t group, const struct ip_cidr *v, size_t n, struct err *e)
{
	struct ip_cidr *copy = calloc(n + 1, sizeof(*copy));
	struct member_list *g = group_add(dp->policy, group);
	int r;

	if (!copy || !g) {
		free(copy);
		return no_memory(e);
	}
	memcpy(copy, v, n * sizeof(*v));
	n = cidrs_tidy(copy, n);
	r = members_write(dp, g, copy, n, e);
	if (r) {
		free(copy);
		return r;
	}
	free(g->v);
	g->v = copy;
	g->n = n;
	return 0;
}

void policy_group_del(struct dp *dp, uint32_t group)
{
	struct member_list *g = group_find(dp->policy, group);

	for (size_t i = 0; g && i < g->n; i++)
		member_unset(dp, group, &g->v[i]);
	dp_unset(dp, M_POLICY_GROUPS, &group);
	dp_gen_bump(dp);
	if (!g) {
		dp->policy->search = true;
		return;
	}
	free(g->v);
	*g = dp->policy->g[--dp->policy->n_g];
}

/* ---- tables ---- */

static struct written *written_find(struct policy *p, uint32_t table)
{
	for (size_t i = 0; i < p->n_w; i++)
		if (p->w[i].table == table)
			return &p->w[i];
	return NULL;
}

static void written_drop(struct dp *dp, const struct written *w)
{
	for (size_t i = 0; i < w->n_keys; i++)
		dp_unset(dp, M_POLICY_TRIE, &w->keys[i]);
	for (uint32_t i = 0; i < w->n_vecs; i++)
		dp_unset(dp, M_POLICY_VECS, &(uint32_t){ w->first_vec + i });
	for (uint32_t i = 0; i < w->n_rules; i++)
		dp_unset(dp, M_POLICY_RULES, &(struct policy_rule_key){ w->slot, i });
	free(w->keys);
}

/* Replaces what is noted for the table by `now`, and removes what was there. */
static int written_note(struct dp *dp, const struct written *now, struct err *e)
{
	struct policy *p = dp->policy;
	struct written *old = written_find(p, now->table);

	if (old) {
		struct written gone = *old;

		*old = *now;
		written_drop(dp, &gone);
		return 0;
	}
	if (p->n_w == p->cap_w) {
		size_t cap = p->cap_w ? p->cap_w * 2 : 32;

		old = realloc(p->w, cap * sizeof(*old));
		if (!old)
			return no_memory(e);
		p->w = old;
		p->cap_w = cap;
	}
	p->w[p->n_w++] = *now;
	return 0;
}

static void set_number(struct policy_set *s, uint32_t first_vec)
{
	if (s->vec)
		s->vec += first_vec - 1;
}

static int write_entries(struct dp *dp, const struct compiled *c, struct written *w, struct err *e)
{
	int r = 0;

	w->keys = calloc(c->n_entries + 1, sizeof(*w->keys));
	if (!w->keys)
		return no_memory(e);
	for (size_t i = 0; i < c->n_entries && !r; i++) {
		struct policy_set s = c->entries[i].set;

		w->keys[i] = c->entries[i].key;
		w->keys[i].owner = htobe32(w->slot << 3 | c->entries[i].key.owner);
		set_number(&s, w->first_vec);
		w->n_keys = i + 1;
		r = dp_put(dp, M_POLICY_TRIE, &w->keys[i], &s, e);
	}
	return r;
}

static int write_body(struct dp *dp, const struct compiled *c, struct written *w, struct err *e)
{
	int r = 0;

	for (uint32_t i = 0; i < c->n_vecs && !r; i++) {
		r = dp_put(dp, M_POLICY_VECS, &(uint32_t){ w->first_vec + i }, &c->vecs[i], e);
		w->n_vecs = i + 1;
	}
	for (uint32_t i = 0; i < c->head.n_rules && !c->head.n_lines && !r; i++) {
		r = dp_put(dp, M_POLICY_RULES, &(struct policy_rule_key){ w->slot, i }, &c->rules[i], e);
		w->n_rules = i + 1;
	}
	return r ? r : write_entries(dp, c, w, e);
}

static int write_head(struct dp *dp, const struct compiled *c, const struct written *w,
		      uint64_t hash, struct err *e)
{
	CLEANUP(free_voidp) struct policy_table *t = malloc(sizeof(*t));

	if (!t)
		return no_memory(e);
	*t = c->head;
	t->hash = hash;
	t->slot = w->slot;
	t->first_vec = w->first_vec;
	t->n_vecs = w->n_vecs;
	for (int d = 0; d < PDIM_N; d++)
		set_number(&t->any[d], w->first_vec);
	for (int side = 0; side < 2; side++)
		for (int g = 0; g < t->n_groups[side]; g++)
			set_number(&t->groups[side][g].set, w->first_vec);
	return dp_put(dp, M_POLICY_TABLES, &w->table, t, e);
}

/* Numbers are never used again, so that a late reader of an old head finds nothing rather than something else. */
static uint32_t next_slot(struct dp *dp, bool v6)
{
	uint32_t n = __atomic_add_fetch(&dp->g->policy_slot, 1, __ATOMIC_SEQ_CST);

	return (n & 0x7ffffff) << 1 | v6;
}

static int table_write(struct dp *dp, uint32_t table, const struct compiled *c, uint64_t hash,
		       struct err *e)
{
	struct written w = { .table = table, .slot = next_slot(dp, table & 1) };
	int r;

	w.first_vec = __atomic_fetch_add(&dp->g->policy_vec, (uint32_t)c->n_vecs, __ATOMIC_SEQ_CST) + 1;
	r = write_body(dp, c, &w, e);
	if (!r)
		r = write_head(dp, c, &w, hash, e);
	if (r) {
		written_drop(dp, &w);
		return r;
	}
	if (!written_find(dp->policy, table))
		dp->policy->search = true; /* an older process's slot may be there */
	dp_gen_bump(dp);
	return written_note(dp, &w, e);
}

static uint64_t hash_cidr(uint64_t h, const struct ip_cidr *c)
{
	return hash_bytes(hash_bytes(h, &c->addr, sizeof(c->addr)), &c->prefix_len, 1);
}

/* Field by field: what is between them may be anything. */
static uint64_t rule_hash(uint64_t h, const struct rule *r)
{
	const uint32_t words[] = { r->id,	 r->of,	       r->src_group,
				   r->dst_group, r->sport_min, r->sport_max,
				   r->dport_min, r->dport_max, r->vlan };
	const uint8_t bytes[] = { r->deny,	  r->family,	r->proto,
				  r->has_sport,	  r->has_dport, r->flags_mask,
				  r->flags_value, r->has_dscp,	r->dscp };

	h = hash_bytes(h, words, sizeof(words));
	h = hash_bytes(h, bytes, sizeof(bytes));
	return hash_cidr(hash_cidr(h, &r->src), &r->dst);
}

static uint64_t rules_hash(const struct rule *v, size_t n)
{
	uint64_t h = hash_bytes(0xcbf29ce484222325ULL, &n, sizeof(n));

	for (size_t i = 0; i < n; i++)
		h = rule_hash(h, &v[i]);
	return h;
}

static int table_set(struct dp *dp, uint32_t table, const struct rule *rules, size_t n,
		     uint64_t hash, struct err *e)
{
	CLEANUP(free_voidp) struct policy_table *had = malloc(sizeof(*had));
	struct compiled c;
	int r;

	if (!had)
		return no_memory(e);
	if (!dp_get(dp, M_POLICY_TABLES, &table, had) && had->hash == hash)
		return 0;
	r = classify_compile(rules, n, table & 1 ? IP_V6 : IP_V4, &c, e);
	if (r)
		return r;
	r = table_write(dp, table, &c, hash, e);
	compiled_done(&c);
	return r;
}

int policy_table_set(struct dp *dp, uint32_t table, const struct rule *rules, size_t n, struct err *e)
{
	uint64_t hash = rules_hash(rules, n);
	int r = facts_add(dp, table, rules, n, e);

	if (!r)
		r = table_set(dp, table << 1, rules, n, hash, e);

	return r ? r : table_set(dp, table << 1 | 1, rules, n, hash, e);
}

static void table_del(struct dp *dp, uint32_t key)
{
	struct written *w = written_find(dp->policy, key);

	dp_unset(dp, M_POLICY_TABLES, &key);
	if (!w) {
		dp->policy->search = true;
		return;
	}
	written_drop(dp, w);
	*w = dp->policy->w[--dp->policy->n_w];
}

void policy_table_del(struct dp *dp, uint32_t table)
{
	table_del(dp, table << 1);
	table_del(dp, table << 1 | 1);
	facts_forget(dp, table);
	dp_gen_bump(dp);
}

/* ---- what a killed process left ---- */

static int u32_cmp(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static bool has_u32(const uint32_t *v, size_t n, uint32_t x)
{
	return bsearch(&x, v, n, sizeof(x), u32_cmp) != NULL;
}

/* Slots that a head names, sorted. */
static int live_slots(struct dp *dp, uint32_t **ret, struct err *e)
{
	CLEANUP(free_voidp) struct policy_table *t = malloc(sizeof(*t));
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_POLICY_TABLES, sizeof(uint32_t), &keys, e), out = 0;

	*ret = n < 0 ? NULL : calloc((size_t)n + 1, sizeof(**ret));
	if (n < 0)
		return n;
	if (!*ret || !t)
		return no_memory(e);
	for (int i = 0; i < n; i++)
		if (!dp_get(dp, M_POLICY_TABLES, (uint32_t *)keys + i, t))
			(*ret)[out++] = t->slot;
	qsort(*ret, (size_t)out, sizeof(**ret), u32_cmp);
	return out;
}

static bool member_is_live(struct dp *dp, const struct policy_key *k, uint32_t owner)
{
	uint32_t group = (owner & ~POLICY_OWNER_GROUP) >> 1;
	struct member_list *g = group_find(dp->policy, group);
	struct ip_cidr c = { .prefix_len = (uint8_t)(k->prefix_len - 32) };
	uint64_t had;

	if (dp_get(dp, M_POLICY_GROUPS, &group, &had))
		return false;
	if (!g || !g->v)
		return true; /* taken over as it was */
	c.addr.family = owner & 1 ? IP_V6 : IP_V4;
	memcpy(c.addr.b, k->data, 16);
	return bsearch(&c, g->v, g->n, sizeof(c), cidr_cmp) != NULL;
}

/* Vectors are named by sets only: those of living slots, and heads, say which ones are used. */
static int sweep_trie(struct dp *dp, const uint32_t *slots, size_t n_slots, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_POLICY_TRIE, sizeof(struct policy_key), &keys, e);
	bool members_gone = false;

	for (int i = 0; i < n; i++) {
		struct policy_key *k = (struct policy_key *)keys + i;
		uint32_t owner = be32toh(k->owner);
		bool live = owner & POLICY_OWNER_GROUP ? member_is_live(dp, k, owner) :
							 has_u32(slots, n_slots, owner >> 3);

		if (live)
			continue;
		dp_unset(dp, M_POLICY_TRIE, k);
		members_gone |= !!(owner & POLICY_OWNER_GROUP);
	}
	if (members_gone)
		dp_gen_bump(dp);
	return n < 0 ? n : 0;
}

static int sweep_rules(struct dp *dp, const uint32_t *slots, size_t n_slots, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_POLICY_RULES, sizeof(struct policy_rule_key), &keys, e);

	for (int i = 0; i < n; i++) {
		struct policy_rule_key *k = (struct policy_rule_key *)keys + i;

		if (!has_u32(slots, n_slots, k->slot))
			dp_unset(dp, M_POLICY_RULES, k);
	}
	return n < 0 ? n : 0;
}

static bool vec_is_live(struct dp *dp, uint32_t vec, const uint32_t *ranges, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (vec - ranges[2 * i] < ranges[2 * i + 1])
			return true;
	return false;
}

/* First vector and number of vectors of each living table. */
static int live_vecs(struct dp *dp, uint32_t **ret, struct err *e)
{
	CLEANUP(free_voidp) struct policy_table *t = malloc(sizeof(*t));
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_POLICY_TABLES, sizeof(uint32_t), &keys, e), out = 0;

	*ret = n < 0 ? NULL : calloc(2 * (size_t)n + 2, sizeof(**ret));
	if (n < 0)
		return n;
	if (!*ret || !t)
		return no_memory(e);
	for (int i = 0; i < n; i++) {
		if (dp_get(dp, M_POLICY_TABLES, (uint32_t *)keys + i, t) || !t->n_vecs)
			continue;
		(*ret)[2 * out] = t->first_vec;
		(*ret)[2 * out++ + 1] = t->n_vecs;
	}
	return out;
}

static int sweep_vecs(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) uint32_t *live = NULL;
	CLEANUP(free_voidp) void *keys = NULL;
	int n_live = live_vecs(dp, &live, e), n;

	if (n_live < 0)
		return n_live;
	n = dp_keys(dp, M_POLICY_VECS, sizeof(uint32_t), &keys, e);
	for (int i = 0; i < n; i++) {
		uint32_t *k = (uint32_t *)keys + i;

		if (!vec_is_live(dp, *k, live, (size_t)n_live))
			dp_unset(dp, M_POLICY_VECS, k);
	}
	return n < 0 ? n : 0;
}

static bool table_is_named(struct dp *dp, uint32_t table)
{
	if (table & 0x40000000u)
		return names_has(&dp->names, NAME_ACL, table & POLICY_NUMBER_MAX, 0);
	return names_has(&dp->names, table & 0x20000000u ? NAME_SG : NAME_NAT,
			 table >> 1 & POLICY_NUMBER_MAX, 0);
}

static bool group_is_named(struct dp *dp, uint32_t group)
{
	return names_has(&dp->names, group & 0x10000000u ? NAME_SG : NAME_ADDR_GROUP,
			 group & POLICY_NUMBER_MAX, 0);
}

static int sweep_unnamed(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) void *tables = NULL;
	CLEANUP(free_voidp) void *groups = NULL;
	int n = dp_keys(dp, M_POLICY_TABLES, sizeof(uint32_t), &tables, e);

	for (int i = 0; i < n; i++)
		if (!table_is_named(dp, ((uint32_t *)tables)[i] >> 1))
			policy_table_del(dp, ((uint32_t *)tables)[i] >> 1);
	if (n < 0)
		return n;
	n = dp_keys(dp, M_POLICY_GROUPS, sizeof(uint32_t), &groups, e);
	for (int i = 0; i < n; i++)
		if (!group_is_named(dp, ((uint32_t *)groups)[i]))
			policy_group_del(dp, ((uint32_t *)groups)[i]);
	return n < 0 ? n : 0;
}

int policy_sweep(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) uint32_t *slots = NULL;
	int n = 0, r = sweep_unnamed(dp, e);

	if (!r)
		r = facts_sweep(dp, e);
	if (r || !dp->policy->search)
		return r;
	n = live_slots(dp, &slots, e);
	if (n < 0)
		return n;
	r = sweep_trie(dp, slots, (size_t)n, e);
	if (!r)
		r = sweep_rules(dp, slots, (size_t)n, e);
	if (!r)
		r = sweep_vecs(dp, e);
	dp->policy->search = r != 0;
	return r;
}
