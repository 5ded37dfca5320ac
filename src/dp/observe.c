/* SPDX-License-Identifier: Apache-2.0 */
#include "dp/observe.h"
#include "dp/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "dp.skel.h"
#include "telemetry.h"

/* Bytes a consumer of the ring may see at once are bounded by the rings; this bounds the work of one list. */
#define LIST_ROOM 4000

struct observe {
	struct dp *dp;
	struct ring_buffer *flows, *packets;
	int list_fd;
	dp_flow_fn tell;
	void *tell_ctx;
	uint64_t n_records;
	/* of the list in hand */
	struct dp_flow *list;
	size_t n_list;
	/* of the poll in hand */
	dp_packet_fn packet_fn;
	void *packet_ctx;
};

static const char *const state_name[CT_N] = {
#define X(name, text, seconds) [CT_##name] = text,
	CT_TABLE(X)
#undef X
};

const char *dp_state_name(size_t state)
{
	return state < CT_N ? state_name[state] : NULL;
}

static const char *const drop_text[DROP_N] = {
#define X(name, id, text) text,
	DROP_TABLE(X)
#undef X
};

const char *dp_drop_reason_text(size_t reason)
{
	return reason < DROP_N ? drop_text[reason] : "unknown reason";
}

/*
 * RFC 7270 section 4.12, whose numbers are the registry's as well; 128: dropped, and none of its reasons fits. What rules decide is 129, "ACL deny",
 * whether the sender is told (reject) or not: 130, "ACL drop", is defined by nothing but these two words.
 */
uint8_t dp_drop_forwarding(size_t reason)
{
	static const uint8_t status[DROP_N] = {
		[DROP_MALFORMED] = 136,	   [DROP_SPOOF_MAC] = 140,  [DROP_SPOOF_IPV4] = 140,
		[DROP_SPOOF_IPV6] = 140,   [DROP_SPOOF_ARP] = 140,  [DROP_SPOOF_ND] = 140,
		[DROP_SOURCE_GUARD] = 140, [DROP_SG_EGRESS] = 129,  [DROP_SG_INGRESS] = 129,
		[DROP_FIREWALL] = 129,	   [DROP_ACL] = 129,	    [DROP_REJECT] = 129,
		[DROP_REJECT_LIMIT] = 129, [DROP_L2_UNKNOWN] = 131, [DROP_CHAIN_CLOSED] = 132,
		[DROP_CHAIN_EMPTY] = 132,  [DROP_MTU] = 133,	    [DROP_METER] = 138,
		[DROP_STORM] = 138,	   [DROP_NO_OUTPUT] = 142,  [DROP_OUT_DOWN] = 142,
	};

	return reason < DROP_N && status[reason] ? status[reason] : 128;
}

/* ---- events to flows ---- */

static struct ip_addr ip_at(uint8_t family, const __u32 *words)
{
	struct ip_addr a = { .family = family };

	memcpy(a.b, words, family == IP_V6 ? 16 : 4);
	return a;
}

/* How a record holds it: struct nat_to in bpf/pkt.h. */
static void flow_translate(const struct flow_rec *r, uint8_t family, struct dp_flow *f)
{
	bool both = f->nat_src && f->nat_dst;

	f->post_src = f->src;
	f->post_dst = f->dst;
	f->post_sport = f->sport;
	f->post_dport = f->dport;
	if (f->nat_src) {
		f->post_src = ip_at(family, r->nat_addr);
		f->post_sport = be16_host((be16){ r->nat_port });
	}
	if (f->nat_dst) {
		f->post_dst = ip_at(family, r->nat_addr + both);
		f->post_dport = be16_host((be16){ both ? (__u16)r->nat_addr[2] : r->nat_port });
	}
}

static void flow_of(const struct flow_event *ev, struct dp_flow *f)
{
	const struct flow_key *k = &ev->key;
	const struct flow_rec *r = &ev->rec;

	*f = (struct dp_flow){
		.kind = (uint8_t)ev->kind,
		.proto = k->proto,
		.tcp_flags = r->tcp_seen,
		.reason = r->reason,
		.dropped = r->flags & FLOW_DROP,
		.opener = r->conn & CONN_OPENER || r->flags & FLOW_DROP,
		.replied = r->conn & CONN_REPLIED || !(r->conn & CONN_OPENER),
		.nat_src = r->flags & FLOW_NAT_SRC,
		.nat_dst = r->flags & FLOW_NAT_DST,
		.state = r->state < CT_N ? state_name[r->state] : "?",
		.src = ip_at(k->family, k->addr),
		.dst = ip_at(k->family, k->addr + (k->family == IP_V6 ? 4 : 1)),
		.sport = be16_host((be16){ k->sport }),
		.dport = be16_host((be16){ k->dport }),
		.in = { (int)k->ifindex },
		.out = { (int)r->out },
		.vlan = { k->vlan },
		.net = r->net,
		.chain = r->chain,
		.path = r->path,
		.hop = r->hop,
		.pkts = r->pkts,
		.bytes = r->bytes,
		.created_ns = (int64_t)r->created_ns,
		.last_ns = (int64_t)MAX_OF(ev->last_ns, r->created_ns),
		.now_ns = (int64_t)ev->now_ns,
		.rule = r->rule,
		.rtt_us = r->rtt_us,
		.retrans = r->retrans,
	};
	flow_translate(r, k->family, f);
	memcpy(f->smac.b, r->smac, 6);
	memcpy(f->dmac.b, r->dmac, 6);
}

static int on_flow(void *ctx, void *data, size_t size)
{
	const struct flow_event *ev = data;
	struct observe *o = ctx;
	struct dp_flow f;

	if (size < sizeof(*ev))
		return 0;
	flow_of(ev, &f);
	f.vlan.id = stack_outer(o->dp, f.vlan.id);
	if (ev->kind != FLOW_EVENT_LISTED) {
		if (o->tell)
			o->tell(o->tell_ctx, &f);
	} else if (o->list && o->n_list < LIST_ROOM) {
		o->list[o->n_list++] = f;
	}
	return 0;
}

void observe_consume(struct dp *dp)
{
	(void)ring_buffer__consume(dp->observe->flows);
}

void observe_walked(struct dp *dp, uint64_t n_records)
{
	dp->observe->n_records = n_records;
}

/* ---- opening ---- */

static int on_packet(void *ctx, void *data, size_t size);

int observe_open(struct dp *dp, struct err *e)
{
	struct observe *o = calloc(1, sizeof(*o));

	if (!o)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	dp->observe = o;
	o->dp = dp;
	o->list_fd = bpf_program__fd(dp->skel->progs.dp_list);
	o->flows = ring_buffer__new(bpf_map__fd(dp->skel->maps.flow_ring), on_flow, o, NULL);
	o->packets = ring_buffer__new(bpf_map__fd(dp->skel->maps.packet_ring), on_packet, o, NULL);
	if (!o->flows || !o->packets)
		return err_errno(e, errno, "rings of events");
	dp->g->analytics = 0; /* what a process asked for ended with it */
	return observe_apps(bpf_map__fd(dp->skel->maps.app_ports), e);
}

void observe_close(struct dp *dp)
{
	struct observe *o = dp->observe;

	if (!o)
		return;
	if (dp->g)
		dp->g->analytics = 0;
	ring_buffer__free(o->flows);
	ring_buffer__free(o->packets);
	free(o);
	dp->observe = NULL;
}

static void want(struct dp *dp, __u32 flag, bool on)
{
	if (on)
		__atomic_or_fetch(&dp->g->analytics, flag, __ATOMIC_SEQ_CST);
	else
		__atomic_and_fetch(&dp->g->analytics, ~flag, __ATOMIC_SEQ_CST);
}

void dp_flows_tell(struct dp *dp, unsigned int active_s, dp_flow_fn fn, void *ctx)
{
	dp->observe->tell = fn;
	dp->observe->tell_ctx = ctx;
	dp->g->active_s = active_s;
	want(dp, ANALYTICS_FLOWS, fn != NULL);
}

void dp_losses(struct dp *dp, struct dp_losses *ret)
{
	*ret = (struct dp_losses){ .flows = dp->g->lost_flows,
				   .pkts = dp->g->lost_pkts,
				   .bytes = dp->g->lost_bytes,
				   .packets = dp->g->lost_drops };
}

static uint64_t entries_of(struct dp *dp, enum dp_map m)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);

	return bpf_obj_get_info_by_fd(dp->map[m], &info, &size) ? 0 : info.max_entries;
}

void dp_table_figures(struct dp *dp, struct dp_table_figures *ret)
{
	struct ct_conf conf = { 0 };
	__u32 zero = 0;

	if (dp_get(dp, M_CT_CONF, &zero, &conf))
		conf.n_early = 0;
	*ret = (struct dp_table_figures){ .made = dp->g->n_made,
					  .shed = dp->g->n_shed,
					  .full = dp->g->n_full,
					  .early = conf.n_early,
					  .records = dp->observe->n_records,
					  .capacity = entries_of(dp, M_FLOW4) + entries_of(dp, M_FLOW6) };
}

/* ---- the live table ---- */

static void by_cidr(const struct ip_cidr *c, __u32 flag, __u32 ip[4], __u32 mask[4], struct list_args *a)
{
	if (!c->addr.family)
		return;
	a->filter |= flag | LIST_BY_FAMILY;
	a->family = c->addr.family;
	cidr_words(c, ip, mask);
}

static int state_of(const char *name, __u8 *ret, struct err *e)
{
	for (int s = 0; s < CT_N; s++)
		if (strcmp(state_name[s], name) == 0) {
			*ret = (__u8)s;
			return 0;
		}
	return err_set(e, FAULT_BAD_REQUEST, "state", "'%.32s' is no state of a flow", name);
}

static int families(const struct dp_flow_query *q, struct err *e)
{
	const uint8_t f[] = { q->family, q->addr.addr.family, q->src.addr.family, q->dst.addr.family };
	uint8_t one = 0;

	for (size_t i = 0; i < ARRAY_LEN(f); i++) {
		if (f[i] && one && f[i] != one)
			return err_set(e, FAULT_BAD_REQUEST, "address",
				       "addresses of both families match no flow");
		one = f[i] ? f[i] : one;
	}
	return 0;
}

static int args_of(const struct dp_flow_query *q, struct list_args *a, struct err *e)
{
	int r = families(q, e);

	*a = (struct list_args){ .order = q->order,
				 .family = q->family,
				 .proto = q->proto,
				 .port = be16_of(q->port).raw,
				 .chain = q->chain,
				 .ifindex = (__u32)q->port_index.num };
	if (r == 0 && q->state)
		r = state_of(q->state, &a->state, e);
	if (r < 0)
		return r;
	a->filter = (q->family ? LIST_BY_FAMILY : 0) | (q->proto ? LIST_BY_PROTO : 0) |
		    (q->port ? LIST_BY_PORT : 0) | (q->chain ? LIST_BY_CHAIN : 0) |
		    (q->port_index.num ? LIST_BY_IFINDEX : 0) | (q->state ? LIST_BY_STATE : 0) |
		    (q->dropped ? LIST_DROPPED : 0) | (q->all_segments ? LIST_ALL_SEGMENTS : 0);
	by_cidr(&q->addr, LIST_BY_ADDR, a->addr, a->addr_mask, a);
	by_cidr(&q->src, LIST_BY_SRC, a->src, a->src_mask, a);
	by_cidr(&q->dst, LIST_BY_DST, a->dst, a->dst_mask, a);
	return 0;
}

static int list_run(struct dp *dp, struct list_args *a, struct err *e)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .ctx_in = a, .ctx_size_in = sizeof(*a));

	if (bpf_prog_test_run_opts(dp->observe->list_fd, &o))
		return err_errno(e, errno, "look through the flow records");
	return 0;
}

static int scan(struct dp *dp, struct list_args *a, struct err *e)
{
	int fd = bpf_map__fd(dp->skel->maps.list_buckets);
	__u64 zero = 0;

	for (__u32 i = 0; i < ABI_LIST_BUCKETS; i++)
		if (bpf_map_update_elem(fd, &i, &zero, BPF_ANY))
			return err_errno(e, errno, "histogram of flows");
	a->op = LIST_SCAN;
	return list_run(dp, a, e);
}

/* The lowest bucket that is needed for `limit` flows, when those above it do not suffice. */
static __u32 bucket_for(struct dp *dp, size_t limit)
{
	int fd = bpf_map__fd(dp->skel->maps.list_buckets);
	__u64 sum = 0, n;

	for (__u32 i = ABI_LIST_BUCKETS; i-- > 0;) {
		if (bpf_map_lookup_elem(fd, &i, &n))
			return 0;
		sum += n;
		if (sum >= limit)
			return i;
	}
	return 0;
}

static uint64_t value_of(const struct dp_flow *f, enum dp_flow_order order)
{
	switch (order) {
	case DP_BY_BYTES:
		return f->bytes;
	case DP_BY_PKTS:
		return f->pkts;
	case DP_BY_RTT:
		return f->rtt_us;
	case DP_BY_RETRANS:
		return f->retrans;
	case DP_BY_NEWEST:
		return (uint64_t)f->created_ns;
	}
	return 0;
}

static int flow_cmp(const void *x, const void *y, void *order)
{
	uint64_t a = value_of(x, *(enum dp_flow_order *)order),
		 b = value_of(y, *(enum dp_flow_order *)order);

	return a > b ? -1 : a < b;
}

static void totals_of(const struct list_args *a, struct dp_flow_totals *ret)
{
	*ret = (struct dp_flow_totals){
		.records = a->n_records, .matched = a->n_matched, .pkts = a->pkts, .bytes = a->bytes
	};
}

int dp_flows(struct dp *dp, const struct dp_flow_query *q, struct dp_flow *ret,
	     struct dp_flow_totals *totals, struct err *e)
{
	CLEANUP(free_voidp) struct dp_flow *list = NULL;
	struct observe *o = dp->observe;
	enum dp_flow_order order = q->order;
	struct list_args a;
	size_t n, limit = MIN_OF(q->limit, (size_t)DP_FLOWS_MAX);
	int r = args_of(q, &a, e);

	if (r == 0)
		r = scan(dp, &a, e);
	if (r < 0)
		return r;
	totals_of(&a, totals);
	list = calloc(LIST_ROOM, sizeof(*list));
	if (!list)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	observe_consume(dp); /* room */
	a.op = LIST_EMIT;
	a.least = bucket_for(dp, limit);
	a.room = LIST_ROOM;
	o->list = list;
	o->n_list = 0;
	r = list_run(dp, &a, e);
	observe_consume(dp);
	o->list = NULL;
	if (r < 0)
		return r;
	qsort_r(list, o->n_list, sizeof(*list), flow_cmp, &order);
	n = MIN_OF(limit, o->n_list);
	memcpy(ret, list, n * sizeof(*ret));
	totals->cut = n < limit ? n < a.n_matched && a.n_emitted < a.n_matched &&
					  a.n_emitted >= LIST_ROOM :
				  a.n_emitted >= LIST_ROOM;
	return (int)n;
}

/* ---- volumes ---- */

static int volume_cmp(const void *x, const void *y)
{
	const struct dp_volume *a = x, *b = y;

	return a->bytes > b->bytes ? -1 : a->bytes < b->bytes;
}

static void volume_of(const struct volume *v, struct dp_volume *ret)
{
	ret->flows = v->flows;
	ret->pkts = v->pkts;
	ret->bytes = v->bytes;
}

static int apps_read(struct dp *dp, struct dp_volumes *ret, bool clear, struct err *e)
{
	int fd = bpf_map__fd(dp->skel->maps.apps);
	struct volume v = { 0 };

	for (__u32 i = 0; i < ABI_APPS; i++) {
		if (clear ? bpf_map_update_elem(fd, &i, &v, BPF_ANY) : bpf_map_lookup_elem(fd, &i, &v))
			return err_errno(e, errno, "volumes of applications");
		if (clear || !v.flows)
			continue;
		volume_of(&v, &ret->apps[ret->n_apps]);
		(void)str_copy(ret->apps[ret->n_apps].name, sizeof(ret->apps[0].name),
			       str_of(observe_app_name(i)));
		ret->n_apps++;
	}
	qsort(ret->apps, ret->n_apps, sizeof(ret->apps[0]), volume_cmp);
	return 0;
}

/* Empties the map; what is in it goes to `all` unless that is NULL. */
static size_t talkers_take(struct dp *dp, struct dp_volume *all)
{
	int fd = bpf_map__fd(dp->skel->maps.talkers);
	struct talker_key k;
	struct volume v;
	size_t n = 0;

	while (!bpf_map_get_next_key(fd, NULL, &k)) {
		if (all && n < ABI_TALKERS && !bpf_map_lookup_elem(fd, &k, &v)) {
			all[n] = (struct dp_volume){ .ip = ip_at((uint8_t)k.family, k.ip) };
			volume_of(&v, &all[n++]);
		}
		if (bpf_map_delete_elem(fd, &k))
			break;
	}
	return n;
}

int dp_volumes(struct dp *dp, const struct dp_flow_query *q, struct dp_volumes *ret, struct err *e)
{
	CLEANUP(free_voidp) struct dp_volume *all = calloc(ABI_TALKERS, sizeof(*all));
	struct list_args a;
	size_t n;
	int r = args_of(q, &a, e);

	memset(ret, 0, sizeof(*ret));
	if (!all)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	(void)talkers_take(dp, NULL);
	if (r == 0)
		r = apps_read(dp, ret, true, e);
	a.aggregate = 1;
	if (r == 0)
		r = scan(dp, &a, e);
	if (r == 0)
		r = apps_read(dp, ret, false, e);
	if (r < 0)
		return r;
	totals_of(&a, &ret->totals);
	ret->n_crowded = a.n_crowded;
	n = talkers_take(dp, all);
	qsort(all, n, sizeof(*all), volume_cmp);
	ret->n_talkers = MIN_OF(n, ARRAY_LEN(ret->talkers));
	memcpy(ret->talkers, all, ret->n_talkers * sizeof(*all));
	return 0;
}

/* ---- packets ---- */

static int on_packet(void *ctx, void *data, size_t size)
{
	const struct packet_event *ev = data;
	struct observe *o = ctx;
	struct dp_packet p;

	if (!o->packet_fn || size < sizeof(*ev) || ev->head > size - sizeof(*ev))
		return 0;
	p = (struct dp_packet){ .captured = ev->kind == PACKET_CAPTURED,
				.to_port = ev->direction == PACKET_TO_PORT,
				.reason = ev->reason,
				.rule = ev->rule,
				.port = { (int)ev->ifindex },
				.vlan = { stack_outer(o->dp, ev->vlan) },
				.now_ns = (int64_t)ev->now_ns,
				.len = ev->len,
				.head_len = ev->head,
				.head = (const uint8_t *)(ev + 1) };
	o->packet_fn(o->packet_ctx, &p);
	return 0;
}

void dp_drops_watch(struct dp *dp, unsigned int every)
{
	dp->g->drop_every = every;
	want(dp, ANALYTICS_DROPS, every != 0);
}

void dp_capture(struct dp *dp, ifindex port, unsigned int every)
{
	want(dp, ANALYTICS_CAPTURE, false);
	dp->g->capture_port = (__u32)port.num;
	dp->g->capture_every = every;
	want(dp, ANALYTICS_CAPTURE, port.num != 0);
}

void dp_packets_poll(struct dp *dp, dp_packet_fn fn, void *ctx)
{
	struct observe *o = dp->observe;

	o->packet_fn = fn;
	o->packet_ctx = ctx;
	(void)ring_buffer__consume(o->packets);
	o->packet_fn = NULL;
}
