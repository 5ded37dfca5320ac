/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_ANALYTICS_H
#define DEMARC_BPF_ANALYTICS_H

/*
 * Flows that end or live long, drops and samples, told to the process that asked for them. A full ring loses what is told, counted; it
 * never holds a packet back.
 */

#include "maps_def.h"
#include "telemetry.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, ABI_FLOW_RING);
} flow_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, ABI_PACKET_RING);
} packet_ring SEC(".maps");

static __always_inline int wanted(__u32 flag)
{
	return (dp_globals.analytics & flag) != 0;
}

/* In a chain only the first segment of a connection is told, so that nothing counts twice. */
static __always_inline int flow_is_told(const struct flow_rec *f)
{
	return f->pkts && (!f->path || (f->conn & CONN_FIRST));
}

/* < 0: there was no room. */
static __noinline int flow_write(const struct flow_key *k, const struct flow_rec *f, __u32 kind)
{
	struct flow_event *ev = bpf_ringbuf_reserve(&flow_ring, sizeof(*ev), 0);
	__u32 hz = dp_globals.hz;
	__s32 idle;

	if (!ev)
		return -1;
	ev->kind = kind;
	ev->pad = 0;
	ev->now_ns = bpf_ktime_get_ns();
	idle = (__s32)((__u32)bpf_jiffies64() - f->last); /* another CPU may be a jiffy ahead */
	ev->last_ns = ev->now_ns - (__u64)(idle > 0 ? idle : 0) * (1000000000 / (hz ? hz : 100));
	ev->key = *k;
	ev->pad2 = 0;
	ev->rec = *f;
	bpf_ringbuf_submit(ev, BPF_RB_NO_WAKEUP);
	return 0;
}

/* A record is about to go, or to stand for something else. */
static __always_inline void flow_gone(const struct flow_key *k, const struct flow_rec *f, __u32 kind)
{
	if (!wanted(ANALYTICS_FLOWS) || !flow_is_told(f) || !flow_write(k, f, kind))
		return;
	__sync_fetch_and_add(&dp_globals.lost_flows, 1);
	__sync_fetch_and_add(&dp_globals.lost_pkts, f->pkts);
	__sync_fetch_and_add(&dp_globals.lost_bytes, f->bytes);
}

static __always_inline __u32 ended_how(const struct flow_rec *f)
{
	return f->state >= CT_LAST_ACK && f->state <= CT_CLOSE ? FLOW_EVENT_END : FLOW_EVENT_IDLE;
}

/* A translated connection opens: who had which address when has to be known also of those that end at once (RFC 8158). */
static __always_inline void flow_opens(const struct flow_key *k, const struct flow_rec *f)
{
	if (wanted(ANALYTICS_FLOWS) && flow_write(k, f, FLOW_EVENT_NEW))
		__sync_fetch_and_add(&dp_globals.lost_flows, 1);
}

/* 1: between `before` and `now` the flow has lived another whole number of active timeouts. */
static __always_inline int flow_is_due(const struct flow_rec *f, __u64 before, __u64 now)
{
	__u64 t = (__u64)dp_globals.active_s * 1000000000, age = now - f->created_ns;

	if (!t || !before || (__s64)age < (__s64)t)
		return 0;
	return before <= f->created_ns || age / t != (before - f->created_ns) / t;
}

/* What the walk tells of a record that stays. Lost: it is told when it ends, or at the next timeout. */
static __always_inline void flow_lives(const struct flow_key *k, const struct flow_rec *f,
				       __u64 before, __u64 now)
{
	if (!wanted(ANALYTICS_FLOWS) || !flow_is_told(f))
		return;
	if (flow_is_due(f, before, now))
		flow_write(k, f, FLOW_EVENT_ACTIVE);
}

/* ---- packets: while somebody looks at them, XDP leaves them to the tc program ---- */

#ifndef HOOK_XDP

static __always_inline void packet_fill(ctx_t *ctx, struct packet_event *e, __u32 kind, __u32 ifindex)
{
	__builtin_memset(e, 0, sizeof(*e));
	e->now_ns = bpf_ktime_get_ns();
	e->ifindex = ifindex;
	e->vlan = ctx_vlan(ctx);
	e->len = ctx_len(ctx);
	e->kind = (__u8)kind;
}

static __always_inline int sampled(__u32 every)
{
	return every <= 1 || bpf_get_prandom_u32() % every == 0;
}

/* The frame is dropped, and somebody watches. */
__noinline int drop_tell(ctx_t *ctx, __u32 reason, __u32 rule)
{
	struct drop_event *ev;
	__u32 n = ctx_len(ctx);

	if (!sampled(dp_globals.drop_every))
		return 0;
	ev = bpf_ringbuf_reserve(&packet_ring, sizeof(*ev), 0);
	if (!ev) {
		__sync_fetch_and_add(&dp_globals.lost_drops, 1);
		return 0;
	}
	packet_fill(ctx, &ev->e, PACKET_DROPPED, ctx_port(ctx));
	ev->e.reason = (__u8)reason;
	ev->e.rule = rule;
	if (n > ABI_DROP_HEAD)
		n = ABI_DROP_HEAD;
	if (n >= ETH_SIZE && ctx_load(ctx, 0, ev->head, n) >= 0)
		ev->e.head = (__u16)n;
	bpf_ringbuf_submit(ev, BPF_RB_NO_WAKEUP);
	return 0;
}

static __always_inline void drop_told(ctx_t *ctx, __u32 reason, __u32 rule)
{
	if (wanted(ANALYTICS_DROPS))
		drop_tell(ctx, reason, rule);
}

/* A frame from or to the captured port. */
__noinline int capture_tell(ctx_t *ctx, __u32 direction)
{
	struct capture_event *ev;
	__u32 n = ctx_len(ctx);

	if (!sampled(dp_globals.capture_every))
		return 0;
	ev = bpf_ringbuf_reserve(&packet_ring, sizeof(*ev), 0);
	if (!ev) {
		__sync_fetch_and_add(&dp_globals.lost_drops, 1);
		return 0;
	}
	packet_fill(ctx, &ev->e, PACKET_CAPTURED, dp_globals.capture_port);
	ev->e.direction = (__u8)direction;
	if (n > ABI_CAPTURE)
		n = ABI_CAPTURE;
	if (n >= ETH_SIZE && ctx_load(ctx, 0, ev->frame, n) >= 0)
		ev->e.head = (__u16)n;
	bpf_ringbuf_submit(ev, BPF_RB_NO_WAKEUP);
	return 0;
}

static __always_inline void capture(ctx_t *ctx, __u32 port, __u32 direction)
{
	if (wanted(ANALYTICS_CAPTURE) && dp_globals.capture_port == port)
		capture_tell(ctx, direction);
}

#endif
#endif
