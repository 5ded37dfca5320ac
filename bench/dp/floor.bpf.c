/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The floor: the least that an eBPF datapath can cost, at tc and as XDP. Redirect by ingress interface, with and without one 5-tuple
 * lookup and two counters. Also the sinks that count what arrives, and the function of a container chain: in here, out there.
 */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "source.h"

struct tuple {
	__u32 src, dst;
	__u32 ports;
	__u32 proto;
};
struct counts {
	__u64 pkts, bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, BENCH_IFINDEX_MAX);
} nexthop SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, BENCH_IFINDEX_MAX);
} devs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct tuple);
	__type(value, struct counts);
	__uint(max_entries, 1 << 21);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct counts);
	__uint(max_entries, 1);
} arrived SEC(".maps");

/* IPv4 without options, UDP or TCP; everything else is forwarded without being counted. */
static __always_inline int parse(void *data, void *end, struct tuple *t)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	__u32 *ports = (void *)(ip + 1);

	if ((void *)(ports + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5)
		return -1;
	if (ip->protocol != IPPROTO_UDP && ip->protocol != IPPROTO_TCP)
		return -1;
	t->src = ip->saddr;
	t->dst = ip->daddr;
	t->ports = *ports;
	t->proto = ip->protocol;
	return 0;
}

static __always_inline void track(void *data, void *end, __u64 bytes)
{
	struct counts *c, one = { 1, bytes };
	struct tuple t;

	if (parse(data, end, &t))
		return;
	c = bpf_map_lookup_elem(&flows, &t);
	if (!c) {
		bpf_map_update_elem(&flows, &t, &one, BPF_ANY);
		return;
	}
	__sync_fetch_and_add(&c->pkts, 1);
	__sync_fetch_and_add(&c->bytes, bytes);
}

static __always_inline void count(__u64 bytes)
{
	__u32 zero = 0;
	struct counts *c = bpf_map_lookup_elem(&arrived, &zero);

	if (!c)
		return;
	c->pkts++;
	c->bytes += bytes;
}

static __always_inline __u32 next_of(__u32 ifindex)
{
	__u32 *out = bpf_map_lookup_elem(&nexthop, &ifindex);

	return out ? *out : 0;
}

/* ---- tc ---- */

SEC("tc")
int tc_redirect(struct __sk_buff *skb)
{
	return bpf_redirect(next_of(skb->ifindex), 0);
}

SEC("tc")
int tc_peer(struct __sk_buff *skb)
{
	return bpf_redirect_peer(next_of(skb->ifindex), 0);
}

SEC("tc")
int tc_flow(struct __sk_buff *skb)
{
	track((void *)(long)skb->data, (void *)(long)skb->data_end, skb->len);
	return bpf_redirect(next_of(skb->ifindex), 0);
}

SEC("tc")
int tc_flow_peer(struct __sk_buff *skb)
{
	track((void *)(long)skb->data, (void *)(long)skb->data_end, skb->len);
	return bpf_redirect_peer(next_of(skb->ifindex), 0);
}

/* The source becomes 10.0.2.254, with both checksums: what a translation costs at least. */
SEC("tc")
int tc_nat_peer(struct __sk_buff *skb)
{
	__u32 to = bpf_htonl(0x0a0002fe), l4 = ETH_HLEN + sizeof(struct iphdr);
	struct tuple t;

	track((void *)(long)skb->data, (void *)(long)skb->data_end, skb->len);
	if (parse((void *)(long)skb->data, (void *)(long)skb->data_end, &t))
		return TC_ACT_SHOT;
	bpf_l3_csum_replace(skb, ETH_HLEN + 10, t.src, to, 4);
	if (t.proto == IPPROTO_UDP)
		bpf_l4_csum_replace(skb, l4 + 6, t.src, to, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0 | 4);
	else
		bpf_l4_csum_replace(skb, l4 + 16, t.src, to, BPF_F_PSEUDO_HDR | 4);
	bpf_skb_store_bytes(skb, ETH_HLEN + 12, &to, 4, 0);
	return bpf_redirect_peer(next_of(skb->ifindex), 0);
}

SEC("tc")
int tc_sink(struct __sk_buff *skb)
{
	count(skb->len);
	return TC_ACT_SHOT;
}

/* Of a host that is flooded with SYNs while it receives a stream: only the flood ends here. */
SEC("tc")
int tc_sinktcp(struct __sk_buff *skb)
{
	struct tuple t;

	if (parse((void *)(long)skb->data, (void *)(long)skb->data_end, &t) || t.proto != IPPROTO_TCP)
		return TC_ACT_OK;
	count(skb->len);
	return TC_ACT_SHOT;
}

/* ---- XDP ---- */

SEC("xdp")
int xdp_redirect(struct xdp_md *ctx)
{
	return (int)bpf_redirect_map(&devs, ctx->ingress_ifindex, XDP_DROP);
}

SEC("xdp")
int xdp_flow(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	track(data, end, (__u64)(end - data));
	return (int)bpf_redirect_map(&devs, ctx->ingress_ifindex, XDP_DROP);
}

/* Out of VXLAN over IPv4, whatever the outer header says: what that costs at least. */
SEC("xdp")
int xdp_out(struct xdp_md *ctx)
{
	void *data, *end;

	if (bpf_xdp_adjust_head(ctx, BENCH_OUTER))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	track(data, end, (__u64)(end - data));
	return (int)bpf_redirect_map(&devs, ctx->ingress_ifindex, XDP_DROP);
}

SEC("xdp")
int xdp_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp")
int xdp_sink(struct xdp_md *ctx)
{
	count((__u64)(ctx->data_end - ctx->data));
	return XDP_DROP;
}

char bench_license[] SEC("license") = "GPL";
