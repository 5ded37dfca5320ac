/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Chains. A change writes a new path beside the old one, then stores one 64-bit word. Order of a change:
 * hops, ports, path (nobody looks yet) | the pointer | classifiers | generation (flows look again).
 */

#include "dp/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(DP_CHAIN_HOPS_MAX == ABI_CHAIN_HOPS && DP_HOP_PAIRS_MAX == ABI_HOP_PAIRS,
	       "limits differ");

/* Connections per path may be this old: well below the grace time. */
#define COUNT_FRESH_NS (500 * 1000000LL)

/* Packets that were inside a function when its hop was removed leave within this time. */
#define PATH_GRACE_NS (5 * 1000000000LL)

/* ---- content ---- */

/* A path in the form the kernel gets: what is compared to know whether anything changed. */
struct path_blob {
	__u16 chain;
	__u8 n_hops, symmetric;
	__u32 n_classifiers;
	struct path_hop hops[ABI_CHAIN_HOPS];
	struct {
		struct port_key at;
		struct classifier c;
	} cls[DP_CHAIN_CLASSIFIERS_MAX * 2];
};

static uint64_t blob_hash(const struct path_blob *b)
{
	const unsigned char *p = (const void *)b;
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < sizeof(*b); i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	return h;
}

static int port_mac(struct dp *dp, ifindex port, __u8 ret[6], struct err *e)
{
	struct port_key k = { .ifindex = (__u32)port.num };
	struct port_rec rec;

	if (dp_get(dp, M_PORTS, &k, &rec))
		return err_set(e, FAULT_NOT_FOUND, "hops", "interface %d of a port pair is no port",
			       port.num);
	memcpy(ret, rec.mac, 6);
	return 0;
}

static int hop_of(struct dp *dp, const struct dp_hop *h, struct path_hop *ret, struct err *e)
{
	int r = 0;

	if (h->n_pairs > DP_HOP_PAIRS_MAX)
		return err_set(e, FAULT_TOO_LARGE, "hops", "a hop has more than %d pairs",
			       DP_HOP_PAIRS_MAX);
	ret->n_pairs = (__u16)h->n_pairs;
	ret->drop = h->drop;
	for (size_t i = 0; i < h->n_pairs && !r; i++) {
		struct hop_pair *to = &ret->pairs[i];
		const struct dp_pair *from = &h->pairs[i];

		to->in = (__u32)from->in.num;
		to->out = (__u32)from->out.num;
		to->weight = from->weight ? from->weight : 1;
		to->transparent = from->transparent || from->native;
		to->native = from->native;
		r = port_mac(dp, from->in, to->in_mac, e);
		if (!r)
			r = port_mac(dp, from->out, to->out_mac, e);
	}
	return r;
}

/* A record has room for so many meters and mirrors. */
static int check_natives(const struct dp_path *p, struct err *e)
{
	unsigned int n[NATIVE_N] = { 0 };

	for (size_t i = 0; i < p->n_hops; i++) {
		bool in_hop[NATIVE_N] = { false };

		for (size_t j = 0; j < p->hops[i].n_pairs && j < DP_HOP_PAIRS_MAX; j++) {
			const struct dp_pair *pair = &p->hops[i].pairs[j];

			if (pair->native >= NATIVE_N ||
			    !pair->native != !port_is_pseudo((__u32)pair->in.num))
				return err_set(e, FAULT_BAD_REQUEST, "hops",
					       "hop %zu: port %d does not fit native kind %u",
					       i + 1, pair->in.num, pair->native);
			in_hop[pair->native] = true;
		}
		for (int k = 0; k < NATIVE_N; k++)
			n[k] += in_hop[k];
	}
	if (n[NATIVE_POLICER] > ABI_PATH_POLICERS || n[NATIVE_MIRROR] > ABI_PATH_MIRRORS)
		return err_set(e, FAULT_QUOTA, "hops",
			       "a chain has at most %d native policers and %d native mirrors",
			       ABI_PATH_POLICERS, ABI_PATH_MIRRORS);
	return 0;
}

static void classifier_of(const struct dp_path *p, size_t i, struct classifier *ret)
{
	const struct dp_classifier *c = &p->classifiers[i];

	memset(ret, 0, sizeof(*ret));
	ret->chain = p->chain;
	ret->index = (__u8)i;
	ret->family = c->family ? c->family : c->src.addr.family | c->dst.addr.family;
	ret->proto = c->proto;
	ret->has_sport = c->has_sport;
	ret->has_dport = c->has_dport;
	ret->sport_min = c->sport_min;
	ret->sport_max = c->sport_max;
	ret->dport_min = c->dport_min;
	ret->dport_max = c->dport_max;
	cidr_words(&c->src, ret->src, ret->src_mask);
	cidr_words(&c->dst, ret->dst, ret->dst_mask);
}

/* The same classifier for packets of the other direction. */
static void classifier_swap(const struct classifier *from, struct classifier *ret)
{
	*ret = *from;
	ret->dir = DIR_REVERSE;
	ret->has_sport = from->has_dport;
	ret->has_dport = from->has_sport;
	ret->sport_min = from->dport_min;
	ret->sport_max = from->dport_max;
	ret->dport_min = from->sport_min;
	ret->dport_max = from->sport_max;
	memcpy(ret->src, from->dst, sizeof(ret->src));
	memcpy(ret->src_mask, from->dst_mask, sizeof(ret->src_mask));
	memcpy(ret->dst, from->src, sizeof(ret->dst));
	memcpy(ret->dst_mask, from->src_mask, sizeof(ret->dst_mask));
}

static void blob_classifiers(const struct dp_path *p, struct path_blob *b)
{
	for (size_t i = 0; i < p->n_classifiers; i++) {
		const struct dp_classifier *c = &p->classifiers[i];
		struct classifier fwd;

		classifier_of(p, i, &fwd);
		if (c->src_port.num > 0) {
			b->cls[b->n_classifiers].at =
				(struct port_key){ (__u32)c->src_port.num, c->src_vlan.id, 0 };
			b->cls[b->n_classifiers++].c = fwd;
		}
		if (p->symmetric && c->dst_port.num > 0) {
			b->cls[b->n_classifiers].at =
				(struct port_key){ (__u32)c->dst_port.num, c->dst_vlan.id, 0 };
			classifier_swap(&fwd, &b->cls[b->n_classifiers++].c);
		}
	}
}

static int blob_build(struct dp *dp, const struct dp_path *p, struct path_blob *b, struct err *e)
{
	int r = 0;

	if (!p->chain || p->chain >= ABI_CHAINS)
		return err_set(e, FAULT_BAD_REQUEST, "chain", "chain number %u is not 1..%d",
			       p->chain, ABI_CHAINS - 1);
	if (p->n_hops > DP_CHAIN_HOPS_MAX || p->n_classifiers > DP_CHAIN_CLASSIFIERS_MAX)
		return err_set(e, FAULT_TOO_LARGE, NULL, "chain has more than %d hops or %d classifiers",
			       DP_CHAIN_HOPS_MAX, DP_CHAIN_CLASSIFIERS_MAX);
	r = check_natives(p, e);
	b->chain = p->chain;
	b->n_hops = (__u8)p->n_hops;
	b->symmetric = p->symmetric;
	for (size_t i = 0; i < p->n_hops && !r; i++)
		r = hop_of(dp, &p->hops[i], &b->hops[i], e);
	blob_classifiers(p, b);
	return r;
}

/* ---- writing a path ---- */

static int path_port_put(struct dp *dp, __u32 path, __u32 ifx, __u16 hop, __u16 side, struct err *e)
{
	struct path_port_key k = { .path = path, .ifindex = ifx };
	struct path_port v = { .hop = hop, .side = side };

	return dp_put(dp, M_PATH_PORTS, &k, &v, e);
}

static int path_pair_put(struct dp *dp, __u32 path, __u16 hop, const struct hop_pair *pair,
			 struct err *e)
{
	int r;

	if (pair->in == pair->out)
		return path_port_put(dp, path, pair->in, hop, SIDE_BOTH, e);
	r = path_port_put(dp, path, pair->in, hop, SIDE_IN, e);
	return r ? r : path_port_put(dp, path, pair->out, hop, SIDE_OUT, e);
}

static int port_chain_put(struct dp *dp, __u32 path, __u16 chain, const struct hop_pair *pair,
			  struct err *e)
{
	struct port_chain v = { .last_path = path, .chain = chain, .transparent = pair->transparent };
	int r = dp_put(dp, M_PORT_CHAIN, &pair->in, &v, e);

	return r ? r : dp_put(dp, M_PORT_CHAIN, &pair->out, &v, e);
}

/* Members of a path know their chain. Also for a path that is there: a port may have gone and come back. */
static int members_put(struct dp *dp, __u32 id, const struct path_blob *b, struct err *e)
{
	int r = 0;

	for (__u16 i = 0; i < b->n_hops && !r; i++)
		for (int j = 0; j < b->hops[i].n_pairs && !r; j++)
			r = port_chain_put(dp, id, b->chain, &b->hops[i].pairs[j], e);
	return r;
}

static int path_put(struct dp *dp, __u32 id, const struct path_blob *b, __u32 prev, uint64_t hash,
		    struct err *e)
{
	struct path_rec rec = { .chain = b->chain,
				.n_hops = b->n_hops,
				.symmetric = b->symmetric,
				.prev = prev,
				.content_hash = hash };
	int r = dp_put(dp, M_PATHS, &id, &rec, e); /* first, so that a half-made path can be found */

	for (__u16 i = 0; i < b->n_hops && !r; i++) {
		struct path_hop_key k = { .path = id, .hop = i };

		r = dp_put(dp, M_PATH_HOPS, &k, &b->hops[i], e);
		for (int j = 0; j < b->hops[i].n_pairs && !r; j++)
			r = path_pair_put(dp, id, i, &b->hops[i].pairs[j], e);
	}
	return r ? r : members_put(dp, id, b, e);
}

static void path_free(struct dp *dp, __u32 id)
{
	struct path_rec rec;
	struct path_hop h;

	if (dp_get(dp, M_PATHS, &id, &rec))
		return;
	for (__u32 i = 0; i < rec.n_hops; i++) {
		struct path_hop_key hk = { .path = id, .hop = i };

		if (dp_get(dp, M_PATH_HOPS, &hk, &h))
			continue;
		for (int j = 0; j < h.n_pairs; j++) {
			struct path_port_key in = { id, h.pairs[j].in }, out = { id, h.pairs[j].out };

			dp_unset(dp, M_PATH_PORTS, &in);
			dp_unset(dp, M_PATH_PORTS, &out);
		}
		dp_unset(dp, M_PATH_HOPS, &hk);
	}
	dp_unset(dp, M_PATHS, &id);
	dp_unset(dp, M_PATH_FLOWS, &id);
}

/* ---- classifiers ---- */

static void class_remove(struct port_classifiers *pc, __u16 chain)
{
	__u32 n = 0;

	for (__u32 i = 0; i < pc->n; i++)
		if (pc->c[i].chain != chain)
			pc->c[n++] = pc->c[i];
	memset(&pc->c[n], 0, (pc->n - n) * sizeof(pc->c[0]));
	pc->n = n;
}

/* Writes one port's list, or removes it when it is empty. Returns 1 when it differs from what was there. */
static int class_write(struct dp *dp, const struct port_key *k, const struct port_classifiers *now,
		       const struct port_classifiers *old, struct err *e)
{
	int r;

	if (!memcmp(now, old, sizeof(*now)))
		return 0;
	if (now->n) {
		r = dp_put(dp, M_PORT_CLASS, k, now, e);
		return r ? r : 1;
	}
	dp_unset(dp, M_PORT_CLASS, k);
	return 1;
}

static int class_sync_port(struct dp *dp, const struct port_key *k, __u16 chain,
			   const struct path_blob *b, struct err *e)
{
	struct port_classifiers now = { 0 }, old = { 0 };

	(void)dp_get(dp, M_PORT_CLASS, k, &old);
	now = old;
	class_remove(&now, chain);
	for (__u32 i = 0; b && i < b->n_classifiers; i++) {
		if (memcmp(&b->cls[i].at, k, sizeof(*k)) != 0)
			continue;
		if (now.n == ABI_PORT_CLASSIFIERS)
			return err_set(e, FAULT_QUOTA, "classifiers", "interface %u has more than %d",
				       k->ifindex, ABI_PORT_CLASSIFIERS);
		now.c[now.n++] = b->cls[i].c;
	}
	return class_write(dp, k, &now, &old, e);
}

/* Brings all ports to the classifiers of b (NULL: none). Returns 1 when anything changed. */
static int class_sync(struct dp *dp, __u16 chain, const struct path_blob *b, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_PORT_CLASS, sizeof(struct port_key), &keys, e), changed = 0, r;

	for (int i = 0; i < n; i++) {
		r = class_sync_port(dp, (struct port_key *)keys + i, chain, b, e);
		if (r < 0)
			return r;
		changed |= r;
	}
	for (__u32 i = 0; b && i < b->n_classifiers; i++) {
		r = class_sync_port(dp, &b->cls[i].at, chain, b, e);
		if (r < 0)
			return r;
		changed |= r;
	}
	return n < 0 ? n : changed;
}

/* ---- the flip ---- */

static void path_replaced(struct dp *dp, __u32 id, bool chain_gone)
{
	struct path_rec rec;
	struct err e;

	if (!id || dp_get(dp, M_PATHS, &id, &rec))
		return;
	if (!rec.replaced_ns)
		rec.replaced_ns = kernel_ns();
	if (chain_gone)
		rec.chain = 0; /* the number may be given to another chain, whose flows these are not */
	(void)!dp_put(dp, M_PATHS, &id, &rec, &e);
}

static int paths_orphan(struct dp *dp, __u16 chain, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_PATHS, sizeof(__u32), &keys, e);

	for (int i = 0; i < n; i++) {
		__u32 id = ((__u32 *)keys)[i];
		struct path_rec rec;

		if (!dp_get(dp, M_PATHS, &id, &rec) && rec.chain == chain)
			path_replaced(dp, id, true);
	}
	return n < 0 ? n : 0;
}

static int count_flows(struct dp *dp, __u16 chain, enum dp_flip_mode mode, struct dp_flip_result *r,
		       struct err *e)
{
	struct walk_args a = { .op = WALK_COUNT, .chain = chain, .before_ns = r->flip_ns };
	int v = dp_walk_run(dp, &a, e);

	r->n_moved = mode == DP_FLIP_MOVE ? a.n_conns : 0;
	r->n_kept = mode == DP_FLIP_KEEP ? a.n_conns : 0;
	return v;
}

static int flip(struct dp *dp, const struct path_blob *b, uint64_t hash, enum dp_flip_mode mode,
		struct dp_flip_result *ret, struct err *e)
{
	union chain_ptr now = { .word = __atomic_load_n(&dp->chains[b->chain].word, __ATOMIC_ACQUIRE) };
	__u32 old = now.path, id = ++dp->g->next_path;
	int r = path_put(dp, id, b, old, hash, e);

	if (r) {
		path_free(dp, id);
		return r;
	}
	now.path = id;
	if (mode == DP_FLIP_MOVE)
		now.floor = id;
	else if (!old && now.floor == UINT32_MAX)
		now.floor = 0; /* the chain was deleted before: nothing of it is left to move */
	ret->flip_ns = kernel_ns();
	__atomic_store_n(&dp->chains[b->chain].word, now.word, __ATOMIC_RELEASE);
	r = class_sync(dp, b->chain, b, e);
	if (r < 0)
		return r;
	if (mode == DP_FLIP_MOVE || r)
		dp_gen_bump(dp);
	path_replaced(dp, old, false);
	ret->path = id;
	return old ? count_flows(dp, b->chain, mode, ret, e) : 0;
}

int dp_chain_set(struct dp *dp, const struct dp_path *p, enum dp_flip_mode mode,
		 struct dp_flip_result *ret, struct err *e)
{
	CLEANUP(free_voidp) struct path_blob *b = calloc(1, sizeof(*b));
	struct dp_flip_result res = { 0 };
	struct path_rec cur;
	uint64_t hash;
	int r;

	if (!b)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	r = blob_build(dp, p, b, e);
	if (!r)
		r = names_add(&dp->names, NAME_CHAIN, p->chain, 0, e);
	if (r)
		return r;
	hash = blob_hash(b);
	res.path = dp->chains[p->chain].path;
	if (res.path && !dp_get(dp, M_PATHS, &res.path, &cur) && cur.content_hash == hash) {
		r = members_put(dp, res.path, b, e);
		if (r < 0)
			return r;
		r = class_sync(dp, p->chain, b, e); /* a crash may have come between pointer and classifiers */
		if (r > 0)
			dp_gen_bump(dp);
		if (r >= 0 && ret)
			*ret = res;
		return r < 0 ? r : 0;
	}
	r = flip(dp, b, hash, mode, &res, e);
	if (r < 0)
		return r;
	if (ret)
		*ret = res;
	return 1;
}

int dp_chain_del(struct dp *dp, uint16_t chain, struct err *e)
{
	union chain_ptr none = { .path = 0, .floor = UINT32_MAX };
	CLEANUP(free_voidp) void *keys = NULL;
	int r, n;

	if (!chain || chain >= ABI_CHAINS)
		return err_set(e, FAULT_BAD_REQUEST, "chain", "chain number %u is not 1..%d", chain,
			       ABI_CHAINS - 1);
	r = class_sync(dp, chain, NULL, e);
	if (r < 0)
		return r;
	__atomic_store_n(&dp->chains[chain].word, none.word, __ATOMIC_RELEASE);
	n = dp_keys(dp, M_PORT_CHAIN, sizeof(__u32), &keys, e);
	for (int i = 0; i < n; i++) {
		struct port_chain pc;
		__u32 *k = (__u32 *)keys + i;

		if (!dp_get(dp, M_PORT_CHAIN, k, &pc) && pc.chain == chain)
			dp_unset(dp, M_PORT_CHAIN, k);
	}
	dp_gen_bump(dp);
	return n < 0 ? n : paths_orphan(dp, chain, e);
}

/* ---- collection ---- */

static void path_forget_ports(struct dp *dp, __u32 path)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_PORT_CHAIN, sizeof(__u32), &keys, NULL);

	for (int i = 0; i < n; i++) {
		struct port_chain pc;
		__u32 *k = (__u32 *)keys + i;

		if (!dp_get(dp, M_PORT_CHAIN, k, &pc) && pc.last_path == path)
			dp_unset(dp, M_PORT_CHAIN, k);
	}
}

int dp_path_collect(struct dp *dp, struct dp_path_info *ret, size_t max, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	size_t len = 0;
	int r = dp_walk_fresh(dp, COUNT_FRESH_NS, e), n;

	if (r < 0)
		return r;
	n = dp_keys(dp, M_PATHS, sizeof(__u32), &keys, e);
	for (int i = 0; i < n; i++) {
		__u32 id = ((__u32 *)keys)[i];
		__u64 flows = 0; /* connections in the upper half, records in the lower */
		struct path_rec rec;
		bool current;

		if (dp_get(dp, M_PATHS, &id, &rec))
			continue;
		(void)dp_get(dp, M_PATH_FLOWS, &id, &flows);
		current = dp->chains[rec.chain].path == id;
		/* The count may be old, dp_age() does not walk each time; not so old that it is of before. */
		if (!current && !(uint32_t)flows &&
		    kernel_ns() - rec.replaced_ns > (uint64_t)PATH_GRACE_NS &&
		    (int64_t)(dp->aged_ns - rec.replaced_ns) > PATH_GRACE_NS - 2 * COUNT_FRESH_NS) {
			path_free(dp, id);
			path_forget_ports(dp, id);
			continue;
		}
		if (len < max)
			ret[len++] = (struct dp_path_info){ id, rec.chain, current, flows >> 32 };
	}
	return n < 0 ? n : (int)len;
}

/* ---- what a killed process left half done ---- */

static int sweep_port_chain(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_PORT_CHAIN, sizeof(__u32), &keys, e);

	for (int i = 0; i < n; i++) {
		struct port_chain pc;
		__u32 *k = (__u32 *)keys + i;

		if (!dp_get(dp, M_PORT_CHAIN, k, &pc) && !dp->chains[pc.chain % ABI_CHAINS].path)
			dp_unset(dp, M_PORT_CHAIN, k);
	}
	return n < 0 ? n : 0;
}

static int sweep_classifiers(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_PORT_CLASS, sizeof(struct port_key), &keys, e), r = 0;

	for (int i = 0; i < n && r >= 0; i++) {
		struct port_key *k = (struct port_key *)keys + i;
		struct port_classifiers pc;

		if (dp_get(dp, M_PORT_CLASS, k, &pc))
			continue;
		for (__u32 j = 0; j < pc.n && r >= 0; j++)
			if (!dp->chains[pc.c[j].chain % ABI_CHAINS].path)
				r = class_sync_port(dp, k, pc.c[j].chain, NULL, e);
	}
	return n < 0 ? n : r < 0 ? r : 0;
}

/* Both maps have keys of two words, the first of which is the path. */
static int sweep_path_map(struct dp *dp, enum dp_map m, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, m, sizeof(struct path_hop_key), &keys, e);

	for (int i = 0; i < n; i++) {
		struct path_hop_key *k = (struct path_hop_key *)keys + i;
		struct path_rec rec;

		if (dp_get(dp, M_PATHS, &k->path, &rec))
			dp_unset(dp, m, k);
	}
	return n < 0 ? n : 0;
}

int chain_sweep(struct dp *dp, struct err *e)
{
	int r = sweep_port_chain(dp, e);

	if (!r)
		r = sweep_classifiers(dp, e);
	if (!r)
		r = sweep_path_map(dp, M_PATH_HOPS, e);
	return r ? r : sweep_path_map(dp, M_PATH_PORTS, e);
}
