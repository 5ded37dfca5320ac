/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Packet source: run by BPF_PROG_TEST_RUN on live frames, which are recycled, so that every header is written anew. Walks over n flows.
 */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "source.h"

#define PAUSE_NS 20000000 /* longer than this between two packets was the kernel's set-up */
#define TCP_SYN 0x02

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct bench_source);
	__uint(max_entries, 1);
} source SEC(".maps");

static __always_inline __u32 sum16(__u32 s, const void *p, int words)
{
	const __u16 *w = p;

#pragma unroll
	for (int i = 0; i < words; i++)
		s += w[i];
	return s;
}

static __always_inline __u16 fold(__u32 s)
{
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return (__u16)~s;
}

/* Length is known to be that of the frame; what is behind the headers is zero and does not count. */
static __always_inline void write_tcp(struct bench_source *c, struct iphdr *ip, struct tcphdr *t,
				      __u16 l4)
{
	__u32 s;

	t->seq = bpf_htonl(c->seq);
	t->ack_seq = bpf_htonl(c->ack);
	((__u8 *)t)[12] = 5 << 4;
	((__u8 *)t)[13] = c->tcp_flags;
	t->window = bpf_htons(65535);
	t->check = 0;
	t->urg_ptr = 0;
	s = sum16(0, t, 10);
	s = sum16(s, &ip->saddr, 4);
	t->check = fold(s + bpf_htons(IPPROTO_TCP) + bpf_htons(l4));
}

static __always_inline __u32 next_flow(struct bench_source *c)
{
	__u32 i = c->next;

	c->next = i + 1 >= c->n_flows ? c->first : i + 1;
	c->n_sent++;
	if (!(c->n_sent & 63)) {
		__u64 now = bpf_ktime_get_ns();

		if (now - c->last_ns < PAUSE_NS)
			c->active_ns += now - c->last_ns;
		c->last_ns = now;
	}
	return i;
}

static __always_inline void write_ip(struct bench_source *c, struct iphdr *ip, __u16 size, __u32 i)
{
	*(__u16 *)ip = bpf_htons(0x4500);
	ip->tot_len = bpf_htons(size);
	ip->id = 0;
	ip->frag_off = 0;
	ip->ttl = 64;
	ip->protocol = c->proto;
	ip->check = 0;
	ip->saddr = c->saddr;
	if (c->spoof) /* an odd multiplier visits every address of the /8 once before it repeats one */
		ip->saddr = (c->saddr & bpf_htonl(0xff000000)) | bpf_htonl(i * 2654435761u & 0xffffff);
	ip->daddr = c->daddr;
	ip->check = fold(sum16(0, ip, 10));
}

SEC("xdp")
int send(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, i;
	struct bench_source *c = bpf_map_lookup_elem(&source, &zero);
	struct ethhdr *eth;
	struct iphdr *ip;
	struct udphdr *udp;
	struct tcphdr *tcp;
	__u16 size, here, there;

	if (!c || data + BENCH_OUTER > end)
		return XDP_ABORTED;
	if (c->outer_size) {
		__builtin_memcpy(data, c->outer, BENCH_OUTER);
		data += BENCH_OUTER;
	}
	eth = data;
	ip = (void *)(eth + 1);
	udp = (void *)(ip + 1);
	tcp = (void *)(ip + 1);
	size = (__u16)(end - data - sizeof(*eth));
	if (c->proto == IPPROTO_TCP && (c->tcp_flags & TCP_SYN)) /* it carries nothing: the rest pads the frame */
		size = sizeof(*ip) + sizeof(*tcp);
	if ((void *)(tcp + 1) > end)
		return XDP_ABORTED;
	i = next_flow(c);
	__builtin_memcpy(eth->h_dest, c->dmac, 6);
	__builtin_memcpy(eth->h_source, c->smac, 6);
	eth->h_proto = bpf_htons(ETH_P_IP);
	write_ip(c, ip, size, i);
	here = bpf_htons(BENCH_SPORT + i % BENCH_SPORTS);
	there = bpf_htons(BENCH_DPORT + i / BENCH_SPORTS);
	udp->source = c->backwards ? there : here;
	udp->dest = c->backwards ? here : there;
	if (c->proto == IPPROTO_TCP) {
		write_tcp(c, ip, tcp, size - sizeof(*ip));
	} else {
		udp->len = bpf_htons(size - sizeof(*ip));
		udp->check = 0;
	}
	return (int)bpf_redirect(c->ifindex, 0);
}

char bench_license[] SEC("license") = "GPL";
