/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_WALK_H
#define DEMARC_BPF_WALK_H

/*
 * One pass over all flow records, run from user space in process context, as often as dp_age() says. It does in
 * the kernel what would otherwise copy megabytes: ageing, port counters, connections per path.
 */

#include "analytics.h"
#include "conntrack.h"

struct walk_ctx {
	struct walk_args *args;
	__u64 now;
	__u32 scale; /* of idle times, of CT_SCALE */
	__u32 n;     /* records that stay, of the family */
};

static __always_inline int walk_rec_idle(const struct flow_rec *f, const struct walk_ctx *c)
{
	return (__s32)((__u32)c->now - f->last) > (__s32)((__u64)f->timeout * c->scale / CT_SCALE);
}

/* How much of its idle time a record gets when n of `room` are in use. */
static __always_inline __u32 pressure_scale(__u32 n, __u32 room)
{
	__u32 from = room / 16 * CT_PRESSURE, scale;

	if (n <= from || !room)
		return CT_SCALE;
	if (n >= room)
		return CT_SCALE_MIN;
	scale = (__u32)((__u64)CT_SCALE * (room - n) / (room - from));
	return scale < CT_SCALE_MIN ? CT_SCALE_MIN : scale;
}

static __always_inline void walk_count_path(struct flow_rec *f)
{
	__u64 *n, one = 1 | (f->conn & CONN_ENTRY ? 1ULL << 32 : 0);
	__u32 path = f->path;

	if (!path)
		return;
	n = bpf_map_lookup_elem(&path_flows, &path);
	if (n)
		__sync_fetch_and_add(n, one);
	else
		bpf_map_update_elem(&path_flows, &path, &one, BPF_NOEXIST);
}

/* 1: the record is idle and so is its partner. */
static __always_inline int walk_idle(struct flow_key *k, struct flow_rec *f, const struct walk_ctx *c)
{
	struct flow_key r = {};
	struct flow_rec *o;

	if (!walk_rec_idle(f, c))
		return 0;
	if (f->flags & FLOW_DROP)
		return 1;
	o = partner_find(&r, k, f);
	return !o || (o->flags & FLOW_DROP) || walk_rec_idle(o, c);
}

static __always_inline void walk_early(void)
{
	struct ct_conf *conf = ct_settings();

	if (conf)
		conf->n_early++;
}

static __always_inline void walk_one(void *map, struct flow_key *k, void *key, struct flow_rec *f,
				     struct walk_ctx *c)
{
	struct walk_args *a = c->args;

	a->n_records++;
	if (a->op == WALK_COUNT) {
		if (f->chain == a->chain && (f->conn & CONN_ENTRY) &&
		    f->created_ns < a->before_ns && rec_fresh(f, c->now))
			a->n_conns++;
		return;
	}
	flow_account(k->ifindex, f);
	if (walk_idle(k, f, c)) {
		if (wanted(ANALYTICS_FLOWS) && flow_is_told(f) && flow_write(k, f, ended_how(f))) {
			a->n_deferred++; /* told by a later walk; a new flow may have its slot before */
			return;
		}
		if (c->scale != CT_SCALE && !rec_idle(f, c->now))
			walk_early();
		bpf_map_delete_elem(map, key);
		a->n_deleted++;
		return;
	}
	c->n++;
	flow_lives(k, f, a->before_ns, a->now_ns);
	walk_count_path(f);
}

static long walk4(void *map, struct key4_bytes *key, struct flow_rec *f, struct walk_ctx *c)
{
	struct flow_key k = {};

	__builtin_memcpy(&k, key, FLOW_KEY4_SIZE);
	walk_one(&flow4, &k, key, f, c);
	return 0;
}

static long walk6(void *map, struct flow_key *key, struct flow_rec *f, struct walk_ctx *c)
{
	struct flow_key k = *key;

	walk_one(&flow6, &k, key, f, c);
	return 0;
}

SEC("syscall")
int dp_walk(struct walk_args *args)
{
	struct ct_conf *conf;
	struct walk_ctx c = { .args = args, .now = bpf_jiffies64() };

	args->n_conns = 0;
	args->n_records = 0;
	args->n_deleted = 0;
	args->n_deferred = 0;
	args->now_ns = bpf_ktime_get_ns();
	if (args->op == WALK_CLOCK) {
		args->n_conns = c.now;
		args->n_records = bpf_ktime_get_ns();
		return 0;
	}
	conf = ct_settings();
	if (!conf)
		return 0;
	c.scale = conf->scale4 ? conf->scale4 : CT_SCALE;
	bpf_for_each_map_elem(&flow4, walk4, &c, 0);
	if (args->op == WALK_AGE)
		conf->scale4 = pressure_scale(c.n, 2 * dp_globals.slots4);
	c.n = 0;
	c.scale = conf->scale6 ? conf->scale6 : CT_SCALE;
	bpf_for_each_map_elem(&flow6, walk6, &c, 0);
	if (args->op == WALK_AGE)
		conf->scale6 = pressure_scale(c.n, 2 * dp_globals.slots6);
	return 0;
}

#endif
