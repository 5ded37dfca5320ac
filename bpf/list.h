/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_LIST_H
#define DEMARC_BPF_LIST_H

/*
 * Looking into the flow table from user space without copying it: one pass counts what matches and sorts it into a histogram, a second
 * one sends the top of it. Process context.
 */

#include "analytics.h"
#include "conntrack.h"
#include "maps_def.h"

MAP(list_buckets, BPF_MAP_TYPE_ARRAY, __u32, __u64, ABI_LIST_BUCKETS);
MAP(app_ports, BPF_MAP_TYPE_HASH, struct app_key, __u32, 1024);
MAP(apps, BPF_MAP_TYPE_ARRAY, __u32, struct volume, ABI_APPS);
MAP_LAZY(talkers, struct talker_key, struct volume, ABI_TALKERS);

struct list_ctx {
	struct list_args *args;
	__u64 now;
};

static __always_inline int words_match(const __u32 *addr, const __u32 *ip, const __u32 *mask, __u32 words)
{
	__u32 diff = (addr[0] ^ ip[0]) & mask[0];

	if (words == 4)
		for (int i = 1; i < 4; i++)
			diff |= (addr[i] ^ ip[i]) & mask[i];
	return !diff;
}

static __always_inline int list_addrs(const struct flow_key *k, const struct list_args *a)
{
	__u32 words = k->family == 6 ? 4 : 1;
	const __u32 *src = k->addr, *dst = k->family == 6 ? k->addr + 4 : k->addr + 1;

	if ((a->filter & LIST_BY_SRC) && !words_match(src, a->src, a->src_mask, words))
		return 0;
	if ((a->filter & LIST_BY_DST) && !words_match(dst, a->dst, a->dst_mask, words))
		return 0;
	return !(a->filter & LIST_BY_ADDR) || words_match(src, a->addr, a->addr_mask, words) ||
	       words_match(dst, a->addr, a->addr_mask, words);
}

static __always_inline int list_matches(const struct flow_key *k, const struct flow_rec *f,
					const struct list_args *a, __u64 now)
{
	__u32 by = a->filter;

	if (!f->pkts || rec_idle(f, now))
		return 0;
	if (!(by & LIST_ALL_SEGMENTS) && f->path && !(f->conn & CONN_FIRST))
		return 0;
	if (((by & LIST_BY_FAMILY) && k->family != a->family) ||
	    ((by & LIST_BY_PROTO) && k->proto != a->proto) ||
	    ((by & LIST_BY_PORT) && k->sport != a->port && k->dport != a->port) ||
	    ((by & LIST_BY_STATE) && f->state != a->state) ||
	    ((by & LIST_BY_CHAIN) && f->chain != a->chain) ||
	    ((by & LIST_BY_IFINDEX) && k->ifindex != a->ifindex && f->out != a->ifindex) ||
	    ((by & LIST_DROPPED) && !(f->flags & FLOW_DROP)))
		return 0;
	return list_addrs(k, a);
}

static __always_inline __u64 list_value(const struct flow_rec *f, __u32 order)
{
	switch (order) {
	case LIST_PKTS:
		return f->pkts;
	case LIST_RTT:
		return f->rtt_us;
	case LIST_RETRANS:
		return f->retrans;
	case LIST_NEWEST:
		return f->created_ns >> 20; /* about a millisecond; the top bits tell nothing */
	}
	return f->bytes;
}

/* Four buckets for each power of two; 0..3 have their own. */
static __always_inline __u32 list_bucket(__u64 value)
{
	__u64 v = value;
	__u32 log = 0;

	if (v < 4)
		return (__u32)v;
	for (__u32 step = 32; step; step >>= 1)
		if (v >> step) {
			v >>= step;
			log += step;
		}
	return (log * 4 + (value >> (log - 2) & 3)) & (ABI_LIST_BUCKETS - 1);
}

static __always_inline void volume_add(struct volume *v, const struct flow_rec *f)
{
	__sync_fetch_and_add(&v->pkts, f->pkts);
	__sync_fetch_and_add(&v->bytes, f->bytes);
	__sync_fetch_and_add(&v->flows, 1);
}

/* By the port of the answering side, then of the other, then the protocol alone. 0: not known. */
static __always_inline __u32 app_of(const struct flow_key *k)
{
	struct app_key a = { .port = k->dport, .proto = k->proto };
	__u32 *app = bpf_map_lookup_elem(&app_ports, &a);

	if (!app) {
		a.port = k->sport;
		app = bpf_map_lookup_elem(&app_ports, &a);
	}
	if (!app) {
		a.port = 0;
		app = bpf_map_lookup_elem(&app_ports, &a);
	}
	return app ? *app : 0;
}

static __always_inline void talker_add(const struct flow_key *k, const struct flow_rec *f,
				       struct list_args *a)
{
	struct talker_key t = { .family = k->family };
	struct volume *v, fresh = { f->pkts, f->bytes, 1 };

	t.ip[0] = k->addr[0];
	if (k->family == 6)
		for (int i = 1; i < 4; i++)
			t.ip[i] = k->addr[i];
	v = bpf_map_lookup_elem(&talkers, &t);
	if (v)
		volume_add(v, f);
	else if (bpf_map_update_elem(&talkers, &t, &fresh, BPF_NOEXIST))
		a->n_crowded++;
}

static __noinline int list_scan(const struct flow_key *k, const struct flow_rec *f, struct list_args *a)
{
	__u32 bucket = list_bucket(list_value(f, a->order)), app;
	__u64 *n = bpf_map_lookup_elem(&list_buckets, &bucket);
	struct volume *v;

	if (n)
		(*n)++;
	if (!a->aggregate || (f->flags & FLOW_DROP))
		return 0;
	app = app_of(k);
	v = bpf_map_lookup_elem(&apps, &app);
	if (v)
		volume_add(v, f);
	talker_add(k, f, a);
	return 0;
}

static __always_inline long list_one(const struct flow_key *k, const struct flow_rec *f,
				     struct list_ctx *c)
{
	struct list_args *a = c->args;

	a->n_records++;
	if (!list_matches(k, f, a, c->now))
		return 0;
	if (a->op == LIST_SCAN) {
		a->n_matched++;
		a->pkts += f->pkts;
		a->bytes += f->bytes;
		list_scan(k, f, a);
		return 0;
	}
	if (list_bucket(list_value(f, a->order)) < a->least)
		return 0;
	if (a->n_emitted >= a->room || flow_write(k, f, FLOW_EVENT_LISTED))
		return 1;
	a->n_emitted++;
	return 0;
}

static long list4(void *map, struct key4_bytes *key, struct flow_rec *f, struct list_ctx *c)
{
	struct flow_key k = {};

	__builtin_memcpy(&k, key, FLOW_KEY4_SIZE);
	return list_one(&k, f, c);
}

static long list6(void *map, struct flow_key *key, struct flow_rec *f, struct list_ctx *c)
{
	struct flow_key k = *key;

	return list_one(&k, f, c);
}

SEC("syscall")
int dp_list(struct list_args *args)
{
	struct list_ctx c = { .args = args, .now = bpf_jiffies64() };

	args->n_records = args->n_matched = args->pkts = args->bytes = 0;
	args->n_emitted = args->n_crowded = 0;
	bpf_for_each_map_elem(&flow4, list4, &c, 0);
	bpf_for_each_map_elem(&flow6, list6, &c, 0);
	return 0;
}

#endif
