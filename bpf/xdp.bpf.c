/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * The datapath at XDP: the fast path in front of the tc program of a NIC, over the same records. It serves what is known to be forwarded to
 * another NIC or to be dropped; everything else goes on to the tc program, which decides, and makes the records. So there is one semantics,
 * and a NIC may have this program or not.
 */

#define HOOK_XDP

#include "fast.h"
#include "telemetry.h"

#define ETHERTYPE_VLAN 0x8100
#define TAG_SIZE 4

/* `tag`: size of the VLAN tag that is still in the frame. The NIC must not have taken it out: src/dp/nic.c sees to that. */
static __always_inline int xdp_parse(ctx_t *ctx, struct flow_key *k, struct fast *m, __u32 *tag)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u16 type = fast_eth(ctx, m);
	__u16 *vlan = data + ETH_SIZE;
	__u32 id;

	*tag = 0;
	if (type != bpf_htons(ETHERTYPE_VLAN))
		return fast_ip(ctx, ETH_SIZE, type, 0, k, m);
	if ((void *)(vlan + 2) > end)
		return -1;
	*tag = TAG_SIZE;
	id = bpf_ntohs(vlan[0]) & 0xfff;
	if (!id) /* a priority alone: IEEE 802.1Q section 9.6 */
		return -1;
	return fast_ip(ctx, ETH_SIZE + TAG_SIZE, vlan[1], id, k, m);
}

/* Somebody looks at frames like this one: the tc program shows them. */
static __always_inline int is_watched(ctx_t *ctx, struct flow_rec *f)
{
	__u32 on = dp_globals.analytics, port = dp_globals.capture_port;

	if ((on & ANALYTICS_DROPS) && (f->flags & (FLOW_DROP | FLOW_METER)))
		return 1;
	return (on & ANALYTICS_CAPTURE) && (port == ctx_port(ctx) || port == f->out);
}

/* As the tc program does it: the tag is replaced, its priority with it. */
static __always_inline int xdp_retag(ctx_t *ctx, __u32 tag, __u16 vlan)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 macs[3];

	if (!tag && !vlan)
		return 0;
	if (data + ETH_SIZE > end)
		return -1;
	__builtin_memcpy(macs, data, sizeof(macs));
	if (!tag != !vlan && bpf_xdp_adjust_head(ctx, tag ? TAG_SIZE : -TAG_SIZE) < 0)
		return -1;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + ETH_SIZE + TAG_SIZE > end)
		return -1;
	__builtin_memcpy(data, macs, sizeof(macs));
	if (vlan) {
		*(__u16 *)(data + 12) = bpf_htons(ETHERTYPE_VLAN);
		*(__u16 *)(data + 14) = bpf_htons(vlan);
	}
	return 0;
}

static __always_inline int xdp_send(ctx_t *ctx, struct flow_rec *f, __u32 tag)
{
	__u32 out = f->out;
	void *data, *end;

	if (xdp_retag(ctx, tag, f->flags & FLOW_PUSH_VLAN ? f->out_vlan : 0) < 0)
		goto refused;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + ETH_SIZE > end)
		goto refused;
	if (f->flags & FLOW_SET_DMAC)
		__builtin_memcpy(data, f->out_mac, 6);
	return (int)bpf_redirect(out, 0);
refused:
	count_drop(DROP_REDIRECT);
	return XDP_DROP;
}

/* Counted as the tc program does, which never sees a tag in the frame. */
static __always_inline int xdp_go(ctx_t *ctx, struct flow_rec *f, __u64 now, __u32 tag)
{
	__u32 len = ctx_len(ctx) - tag;

	if ((f->flags & FLOW_METER) && !meters_pass(f->meters, len, now)) {
		count_drop(DROP_METER);
		count_port(ctx_port(ctx), 1, len, 0, 0, 1);
		return XDP_DROP;
	}
	__sync_fetch_and_add(&f->pkts, 1);
	__sync_fetch_and_add(&f->bytes, len);
	if (f->flags & FLOW_DROP) {
		count_drop(f->reason);
		return XDP_DROP;
	}
	f->last = now;
	return xdp_send(ctx, f, tag);
}

SEC("xdp")
int dp_xdp(ctx_t *ctx)
{
	struct flow_rec *f;
	struct flow_key k;
	struct fast m;
	__u32 tag;
	__u64 now;

	if (xdp_parse(ctx, &k, &m, &tag))
		return XDP_PASS;
	f = flow_find(&k);
	if (!f || (f->flags & (FLOW_XDP | FLOW_NOT_XDP)) != FLOW_XDP)
		return XDP_PASS;
	now = bpf_jiffies64();
	if (!fast_current(f, &m, now) || is_watched(ctx, f))
		return XDP_PASS;
	if ((f->flags & FLOW_TCP) && tcp_plain(f, &m.seg))
		return XDP_PASS;
	return xdp_go(ctx, f, now, tag);
}

char dp_license[] SEC("license") = "Dual BSD/GPL";
