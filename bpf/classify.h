/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_CLASSIFY_H
#define DEMARC_BPF_CLASSIFY_H

/*
 * Which rule of a compiled table decides. abi/policy.h says how a table is made. The work is bounded by the number of dimensions and
 * of words: a lookup for each dimension that a rule looks at, and for a large table one visit of each word that is not 0
 * in the summaries of all of them.
 */

#include "maps_def.h"

#define POLICY_TRIES 3 /* a table is not replaced that often within a packet */

struct policy_view {	      /* host order */
	__u32 src[4], dst[4]; /* network order */
	__u16 sport, dport, vlan;
	__u8 proto, flags, dscp, pad;
};

struct policy_scratch {
	struct policy_view view;
	struct policy_key key;
	__u32 table; /* key of policy_tables */
	__u32 slot;
	__u32 n_list;
	__u64 bits[ABI_POLICY_SMALL]; /* rules, or words, that are left */
	__u32 vecs[PDIM_N][1 + ABI_POLICY_GROUPS];
	__u8 n_vecs[PDIM_N];
	__u8 list[ABI_POLICY_WORDS];
	__u64 any[ABI_POLICY_WORDS]; /* of one dimension */
	__u64 all[ABI_POLICY_WORDS]; /* of the dimensions so far */
};

MAP(policy_scratch, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct policy_scratch, 1);
MAP_LAZY(policy_tables, __u32, struct policy_table, ABI_POLICY_TABLES);
MAP_LAZY(policy_groups, __u32, __u64, 8192);
MAP_LAZY(policy_vecs, __u32, struct policy_vec, 131072);
MAP_LAZY(policy_rules, struct policy_rule_key, struct policy_rule, 262144);
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct policy_key);
	__type(value, struct policy_set);
	__uint(max_entries, 1048576);
} policy_trie SEC(".maps");

MAP(policy_facts, BPF_MAP_TYPE_ARRAY, __u32, struct policy_facts, 1);

/*
 * What a table that is no short one said on this CPU, for the generation that the packet had read: the next connection between the same stations
 * to the same service is told without looking. Source ports differ; what their rules are does not, as a rule.
 */
struct policy_seen {
	__u32 table, slot, gen; /* table 0: nothing */
	__u32 src[4], dst[4];
	__u16 dport, vlan;
	__u8 proto, verdict, reject, pad;
	__u32 wanted; /* hash of what was looked for last and was not here */
	struct policy_set sports;
	__u32 rule, of;
};
#define POLICY_SEEN_BITS 8

MAP(policy_seen, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct policy_seen, 1 << POLICY_SEEN_BITS);

/* What rules can tell about a packet beside its flow's key. */
__noinline __u32 fact_of(__u32 flags, __u32 dscp)
{
	__u32 zero = 0, a, b;
	struct policy_facts *f = bpf_map_lookup_elem(&policy_facts, &zero);

	if (!f)
		return POLICY_NO_FACT;
	a = f->flags[flags & 255];
	b = f->dscp[dscp & 63];
	return a < POLICY_CLASSES && b < POLICY_CLASSES ? a | b << 4 : POLICY_NO_FACT;
}

/* Who looks something up by s->key asks again where it is: Linux 6.1 takes no key from the memory of an argument. */
static __always_inline struct policy_scratch *policy_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&policy_scratch, &zero);
}

/* Index of the lowest bit of x, which is not 0: multiplication by a de Bruijn sequence. */
static __always_inline __u32 lowest_bit(__u64 x)
{
	static const __u8 at[64] = { 0,	 1,  48, 2,  57, 49, 28, 3,  61, 58, 50, 42, 38, 29, 17, 4,
				     62, 55, 59, 36, 53, 51, 43, 22, 45, 39, 33, 30, 24, 18, 12, 5,
				     63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21, 44, 32, 23, 11,
				     46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19, 9,  13, 8,  7,	 6 };
	__u64 i = ((x & -x) * 0x03f79d71b4cb0a89ULL) >> 58;

	__asm__ volatile("%0 &= 63" : "+r"(i)); /* as in timeout_of() */
	return at[i];
}

/* ---- a packet's value in each dimension ---- */

static __always_inline void key_set16(struct policy_key *k, __u16 v)
{
	k->data[0] = (__u8)(v >> 8);
	k->data[1] = (__u8)v;
	k->prefix_len = 32 + 16;
}

static __always_inline void policy_key_of(struct policy_scratch *s, __u32 dim)
{
	struct policy_key *k = &s->key;
	__u32 *words = (__u32 *)k->data;

	k->prefix_len = 32 + 8;
	switch (dim) {
	case PDIM_SRC:
	case PDIM_DST:
		for (int i = 0; i < 4; i++)
			words[i] = dim == PDIM_SRC ? s->view.src[i] : s->view.dst[i];
		k->prefix_len = s->table & 1 ? 32 + 128 : 32 + 32;
		break;
	case PDIM_SPORT:
		key_set16(k, s->view.sport);
		break;
	case PDIM_DPORT:
		key_set16(k, s->view.dport);
		break;
	case PDIM_VLAN:
		key_set16(k, s->view.vlan);
		break;
	case PDIM_PROTO:
		k->data[0] = s->view.proto;
		break;
	case PDIM_FLAGS:
		k->data[0] = s->view.flags;
		break;
	default:
		k->data[0] = s->view.dscp;
	}
}

/* ---- sets ---- */

static __always_inline void vec_note(struct policy_scratch *s, __u32 dim, __u32 vec)
{
	__u32 n;

	if (dim >= PDIM_N || !vec)
		return;
	n = s->n_vecs[dim];
	if (n > ABI_POLICY_GROUPS)
		return;
	s->vecs[dim][n] = vec;
	s->n_vecs[dim] = (__u8)(n + 1);
}

/* Adds the rules of those groups of the table's sources (side 0) or destinations that have the address in s->key. */
__noinline int policy_of_groups(struct policy_table *t, __u32 side)
{
	struct policy_scratch *s = policy_get();

	if (!s || !t || side > 1)
		return 0;
	for (__u32 i = 0; i < ABI_POLICY_GROUPS; i++) {
		struct policy_group *g = &t->groups[side][i];

		if (i >= t->n_groups[side])
			break;
		s->key.owner = bpf_htonl(POLICY_OWNER_GROUP | g->group << 1 | (s->table & 1));
		if (!bpf_map_lookup_elem(&policy_trie, &s->key))
			continue;
		for (int w = 0; w < ABI_POLICY_SMALL; w++)
			s->any[w] |= g->set.bits[w];
		vec_note(s, side, g->set.vec);
	}
	return 0;
}

/* The rules that the value in s->key satisfies. */
static __always_inline struct policy_set *policy_hit(struct policy_scratch *s,
						     struct policy_table *t, __u32 dim)
{
	struct policy_set *hit;

	s->key.owner = bpf_htonl(s->slot << 3 | dim);
	hit = bpf_map_lookup_elem(&policy_trie, &s->key);
	return hit ? hit : &t->any[dim];
}

/* Narrows s->bits by one dimension. Returns 1 when no rule is left. Not inlined: every lookup would double the verifier's paths. */
__noinline int policy_narrow(struct policy_table *t, __u32 dim)
{
	struct policy_scratch *s = policy_get();
	struct policy_set *hit;
	__u64 left = 0;

	if (!s || !t || dim >= PDIM_N)
		return 1;
	policy_key_of(s, dim);
	hit = policy_hit(s, t, dim);
	for (int w = 0; w < ABI_POLICY_SMALL; w++)
		s->any[w] = hit->bits[w];
	vec_note(s, dim, hit->vec);
	if (dim <= PDIM_DST && t->n_groups[dim])
		policy_of_groups(t, dim);
	for (int w = 0; w < ABI_POLICY_SMALL; w++) {
		s->bits[w] &= s->any[w];
		left |= s->bits[w];
	}
	return !left;
}

/* ---- the words of a large table ---- */

/* Appends the words that s->bits[w] leaves to s->list. The length is kept in memory: the verifier need not follow it. */
__noinline int words_note(struct policy_scratch *s, __u32 w)
{
	__u64 bits;
	__u32 n;

	if (!s || w >= ABI_POLICY_SMALL)
		return 0;
	bits = s->bits[w];
	for (__u32 i = 0; i < 64; i++) {
		n = *(volatile __u32 *)&s->n_list; /* else clang counts beside it, and the check is lost */
		__asm__ volatile("" : "+r"(n));
		if (!bits || n >= ABI_POLICY_WORDS)
			break;
		s->list[n] = (__u8)(w * 64 + lowest_bit(bits));
		s->n_list = n + 1;
		bits &= bits - 1;
	}
	return 0;
}

/* s->any |= vector `id`, in the words of s->list; the first one of a dimension replaces it. */
static __always_inline void words_or(struct policy_scratch *s, __u32 id, __u32 first)
{
	struct policy_vec *v = bpf_map_lookup_elem(&policy_vecs, &id);

	if (!v)
		return;
	for (__u32 i = 0; i < ABI_POLICY_WORDS; i++) {
		__u32 w;

		if (i >= s->n_list)
			break;
		w = s->list[i];
		if (w >= ABI_POLICY_WORDS)
			break;
		s->any[w] = first ? v->w[w] : s->any[w] | v->w[w];
	}
}

/* s->all &= what one dimension allows. */
__noinline int words_and(struct policy_scratch *s, __u32 dim, __u32 first)
{
	if (!s || dim >= PDIM_N)
		return 0;
	for (__u32 k = 0; k <= ABI_POLICY_GROUPS && k < s->n_vecs[dim]; k++)
		words_or(s, s->vecs[dim][k], k == 0);
	for (__u32 i = 0; i < ABI_POLICY_WORDS; i++) {
		__u32 w;

		if (i >= s->n_list)
			break;
		w = s->list[i];
		if (w >= ABI_POLICY_WORDS)
			break;
		s->all[w] = first ? s->any[w] : s->all[w] & s->any[w];
	}
	return 0;
}

/* The first rule in s->all. */
__noinline __u32 words_first(struct policy_scratch *s)
{
	if (!s)
		return ABI_POLICY_RULES;
	for (__u32 i = 0; i < ABI_POLICY_WORDS; i++) {
		__u32 w;

		if (i >= s->n_list)
			break;
		w = s->list[i];
		if (w >= ABI_POLICY_WORDS)
			break;
		if (s->all[w])
			return w * 64 + lowest_bit(s->all[w]);
	}
	return ABI_POLICY_RULES;
}

/* Lowest rule of a large table in all dimensions; ABI_POLICY_RULES when there is none. */
__noinline __u32 policy_big(struct policy_scratch *s, __u32 dims)
{
	__u32 first = 1;

	if (!s)
		return ABI_POLICY_RULES;
	s->n_list = 0;
	for (__u32 w = 0; w < ABI_POLICY_SMALL; w++)
		words_note(s, w);
	for (__u32 d = 0; d < PDIM_N; d++) {
		if (!(dims >> d & 1))
			continue;
		words_and(s, d, first);
		first = 0;
	}
	return words_first(s);
}

static __always_inline __u32 policy_small(struct policy_scratch *s)
{
	for (__u32 w = 0; w < ABI_POLICY_SMALL; w++)
		if (s->bits[w])
			return w * 64 + lowest_bit(s->bits[w]);
	return ABI_POLICY_RULES;
}

static __always_inline void policy_varies(struct policy_scratch *s, struct policy_table *t,
					  struct pkt *p)
{
	__u64 any = 0;

	for (int w = 0; w < ABI_POLICY_SMALL; w++)
		any |= s->bits[w] & t->varying[w];
	if (!any)
		return;
	p->rec_flags |= FLOW_VARIES;
	p->fact = (__u8)fact_of(s->view.flags, s->view.dscp);
}

/*
 * The rule of table s->table that decides about the view in the scratch: its index, or ABI_POLICY_RULES when none does. Says in p that a
 * rule which looks at more than the key of a flow could have been concerned.
 */
static __always_inline __u32 policy_find(struct policy_scratch *s, struct policy_table *t, struct pkt *p)
{
	__u32 dims = t->dims;

	if (!dims)
		return 0; /* the first rule is about everything */
	for (int w = 0; w < ABI_POLICY_SMALL; w++)
		s->bits[w] = ~0ULL;
	for (__u32 d = 0; d < PDIM_N; d++)
		s->n_vecs[d] = 0;
	for (__u32 d = 0; d < PDIM_FLAGS; d++)
		if ((dims >> d & 1) && policy_narrow(t, d))
			return ABI_POLICY_RULES;
	if (dims >> PDIM_FLAGS)
		policy_varies(s, t, p);
	for (__u32 d = PDIM_FLAGS; d < PDIM_N; d++)
		if ((dims >> d & 1) && policy_narrow(t, d))
			return ABI_POLICY_RULES;
	return t->big ? policy_big(s, dims) : policy_small(s);
}

enum policy_verdict {
	POLICY_NONE,
	POLICY_PERMIT,
	POLICY_DENY,
	POLICY_SETS /* of policy_lines(): the table has no lines */
};

/* ---- short tables ---- */

/* 1: the address group has the view's source (side 0), or destination. */
__noinline int view_in_group(__u32 group, __u32 side)
{
	struct policy_scratch *s = policy_get();

	if (!s)
		return 0;
	policy_key_of(s, side ? PDIM_DST : PDIM_SRC);
	s->key.owner = bpf_htonl(POLICY_OWNER_GROUP | group << 1 | (s->table & 1));
	return bpf_map_lookup_elem(&policy_trie, &s->key) != 0;
}

/* 0 when value - min is in 0..span. Without a branch, as all of a line. */
static __always_inline __u32 beyond(__u16 value, __u16 min, __u16 span)
{
	return ((__u32)span - (__u16)(value - min)) >> 31;
}

/* 0: the line matches, TCP flags and DSCP aside. */
static __always_inline __u32 line_differs(const struct policy_view *v, const struct policy_line *l)
{
	return ((v->src[0] ^ l->src) & l->src_mask) | ((v->dst[0] ^ l->dst) & l->dst_mask) |
	       beyond(v->sport, l->sport_min, l->sport_span) |
	       beyond(v->dport, l->dport_min, l->dport_span) |
	       ((v->vlan ^ l->vlan) & l->vlan_mask) | ((v->proto ^ l->proto) & l->proto_mask);
}

static __always_inline __u32 line6_differs(const struct policy_view *v, const struct policy_line6 *l)
{
	__u32 diff = 0;

	for (int i = 0; i < 3; i++) {
		diff |= (v->src[i + 1] ^ l->src[i]) & l->src_mask[i];
		diff |= (v->dst[i + 1] ^ l->dst[i]) & l->dst_mask[i];
	}
	return diff;
}

/* The verdict of table s->table, whose head is t, when it is a short one. */
static __always_inline __u32 policy_lines(struct policy_scratch *s, const struct policy_table *t,
					  struct pkt *p)
{
	if (t)
		p->looks |= t->looks ^ POLICY_LOOKS_KNOWN;
	if (!t || !t->n_lines)
		return t && t->n_rules ? POLICY_SETS : POLICY_NONE;
#pragma nounroll
	for (__u32 i = 0; i < ABI_POLICY_LINES; i++) {
		const struct policy_line *l = &t->lines[i];

		if (i >= t->n_lines)
			break;
		if (line_differs(&s->view, l))
			continue;
		if ((s->table & 1) && line6_differs(&s->view, &t->lines6[i]))
			continue;
		if ((l->groups[0] && !view_in_group(l->groups[0], 0)) ||
		    (l->groups[1] && !view_in_group(l->groups[1], 1)))
			continue;
		if (l->varies) {
			p->rec_flags |= FLOW_VARIES;
			p->fact = (__u8)fact_of(s->view.flags, s->view.dscp);
			if (((s->view.flags ^ l->flags) & l->flags_mask) |
			    ((s->view.dscp ^ l->dscp) & l->dscp_mask))
				continue;
		}
		p->rule = l->id;
		p->rule_of = l->of;
		p->reject = l->deny == POLICY_REJECTS;
		return l->deny ? POLICY_DENY : POLICY_PERMIT;
	}
	return POLICY_NONE;
}

static __always_inline __u32 policy_once(struct policy_scratch *s, struct policy_table *t, struct pkt *p)
{
	struct policy_rule_key k = {};
	struct policy_rule *r;

	k.index = policy_find(s, t, p);
	k.slot = s->slot;
	if (k.index >= ABI_POLICY_RULES)
		return POLICY_NONE;
	r = bpf_map_lookup_elem(&policy_rules, &k);
	if (!r)
		return POLICY_NONE;
	p->rule = r->id;
	p->rule_of = r->of;
	p->reject = r->deny == POLICY_REJECTS;
	return r->deny ? POLICY_DENY : POLICY_PERMIT;
}

/* ---- what was said before ---- */

static __always_inline __u32 seen_hash(const struct policy_scratch *s)
{
	const struct policy_view *v = &s->view;
	__u32 h = s->table;

	h = (h ^ v->src[0] ^ v->src[3]) * 0x9e3779b1u;
	h = (h ^ v->src[2] ^ v->dst[0] ^ v->dst[3]) * 0x9e3779b1u;
	return (h ^ v->dst[2] ^ v->dport ^ (__u32)v->proto << 16) * 0x9e3779b1u;
}

static __always_inline struct policy_seen *seen_at(__u32 hash)
{
	__u32 i = hash >> (32 - POLICY_SEEN_BITS);

	return bpf_map_lookup_elem(&policy_seen, &i);
}

static __always_inline int sports_are(struct policy_scratch *s, struct policy_table *t,
				      const struct policy_set *sports)
{
	struct policy_set *hit;
	__u64 diff;

	if (!(t->dims >> PDIM_SPORT & 1))
		return 1;
	policy_key_of(s, PDIM_SPORT);
	hit = policy_hit(s, t, PDIM_SPORT);
	diff = hit->vec ^ sports->vec;
	for (int w = 0; w < ABI_POLICY_SMALL; w++)
		diff |= hit->bits[w] ^ sports->bits[w];
	return !diff;
}

/* POLICY_SETS: not known. TCP flags and DSCP are in no entry, so tables that look at them have none. */
__noinline __u32 policy_known(struct policy_table *t)
{
	struct policy_scratch *s = policy_get();
	struct pkt *p = pkt_get();
	struct policy_seen *k;
	__u32 diff;

	if (!s || !t || !p || t->dims >> PDIM_FLAGS)
		return POLICY_SETS;
	k = seen_at(seen_hash(s));
	if (!k)
		return POLICY_SETS;
	diff = (k->table ^ s->table) | (k->slot ^ s->slot) | (k->gen ^ p->gen) |
	       (k->dport ^ s->view.dport) | (k->vlan ^ s->view.vlan) | (k->proto ^ s->view.proto);
	for (int i = 0; i < 4; i++)
		diff |= (k->src[i] ^ s->view.src[i]) | (k->dst[i] ^ s->view.dst[i]);
	if (diff || !sports_are(s, t, &k->sports))
		return POLICY_SETS;
	if (k->verdict != POLICY_NONE) {
		p->rule = k->rule;
		p->rule_of = k->of;
		p->reject = k->reject;
	}
	return k->verdict;
}

/* Written down when it is asked for the second time in a row: stations that never come again pay next to nothing. */
__noinline int policy_keep(struct policy_table *t, __u32 verdict)
{
	struct policy_scratch *s = policy_get();
	struct pkt *p = pkt_get();
	struct policy_seen *k;
	__u32 hash;

	if (!s || !t || !p || t->dims >> PDIM_FLAGS)
		return 0;
	hash = seen_hash(s);
	k = seen_at(hash);
	if (!k)
		return 0;
	if (k->wanted != hash) {
		k->wanted = hash;
		return 0;
	}
	k->table = 0;
	k->slot = s->slot;
	k->gen = p->gen;
	for (int i = 0; i < 4; i++) {
		k->src[i] = s->view.src[i];
		k->dst[i] = s->view.dst[i];
	}
	k->dport = s->view.dport;
	k->vlan = s->view.vlan;
	k->proto = s->view.proto;
	k->verdict = (__u8)verdict;
	k->reject = p->reject;
	k->rule = p->rule;
	k->of = p->rule_of;
	if (t->dims >> PDIM_SPORT & 1) {
		policy_key_of(s, PDIM_SPORT);
		k->sports = *policy_hit(s, t, PDIM_SPORT);
	}
	if (*(volatile __u32 *)&t->slot == s->slot) /* else what was read may be another table's */
		k->table = s->table;
	return 0;
}

static __always_inline __u32 policy_sets(struct policy_scratch *s, struct policy_table *t, struct pkt *p)
{
	__u32 v = t ? policy_known(t) : POLICY_NONE;

	if (v != POLICY_SETS)
		return v;
	v = policy_once(s, t, p);
	policy_keep(t, v);
	return v;
}

/*
 * What table `table` says about the view; p->rule is the rule that said it. A table that is replaced meanwhile is asked again: its head then
 * has another slot. Slots are not used twice. The kernel gives a replaced value to the next writer at once (bpf_mem_alloc), who writes its
 * slot before its lines: a reader that was interrupted finds another one behind what it has read.
 */
__noinline __u32 policy_verdict(__u32 table, __u32 family6)
{
	struct policy_scratch *s = policy_get();
	struct policy_table *t;
	struct pkt *p = pkt_get();
	__u32 v;

	if (!s || !p)
		return POLICY_NONE;
	s->table = table << 1 | (family6 & 1);
#pragma nounroll
	for (int i = 0; i < POLICY_TRIES; i++) {
		t = bpf_map_lookup_elem(&policy_tables, &s->table);
		s->slot = t ? t->slot : 0;
		*(volatile __u32 *)&s->n_list =
			policy_lines(s, t, p); /* in memory: the verifier need not follow it */
		v = *(volatile __u32 *)&s->n_list;
		if (v == POLICY_SETS) {
			v = policy_sets(s, t, p);
			t = bpf_map_lookup_elem(&policy_tables, &s->table);
		}
		if ((t ? *(volatile __u32 *)&t->slot : 0) == *(volatile __u32 *)&s->slot)
			return v;
	}
	return POLICY_NONE;
}

/* The packet as it is, or (reverse) as the opener of its connection would see it. */
static __always_inline void policy_view(struct pkt *p, struct policy_scratch *s, int reverse)
{
	struct policy_view *v = &s->view;

	for (int i = 0; i < 4; i++) {
		__u32 a = p->key.family == 6 ? p->view.addr[i] : i ? 0 : p->view.addr[0];
		__u32 b = p->key.family == 6 ? p->view.addr[i + 4] : i ? 0 : p->view.addr[1];

		v->src[i] = reverse ? b : a;
		v->dst[i] = reverse ? a : b;
	}
	v->sport = bpf_ntohs(reverse ? p->view.dport : p->view.sport);
	v->dport = bpf_ntohs(reverse ? p->view.sport : p->view.dport);
	v->proto = p->key.proto;
	v->vlan = p->in.vlan;
	v->flags = p->flags_seen;
	v->dscp = p->dscp_seen;
	if (p->icmp)
		v->dport = (__u16)(p->icmp_type << 8 | p->icmp_code);
}

#endif
