/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */

/*
 * Steers connections to 169.254.169.254:80 inside a function's namespace to the agent's socket, which listens on
 * another port there. So the port stays free for the function: a web server of its own may bind to every address.
 * One instance is attached to each function's namespace. Source: kernel documentation, bpf/prog_sk_lookup.
 */

#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2
#define METADATA_IP 0xa9fea9fe /* 169.254.169.254 */
#define METADATA_PORT 80

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} service SEC(".maps");

SEC("sk_lookup")
int metadata(struct bpf_sk_lookup *ctx)
{
	__u32 zero = 0;
	struct bpf_sock *sk;

	if (ctx->family != AF_INET || ctx->protocol != IPPROTO_TCP ||
	    ctx->local_port != METADATA_PORT || ctx->local_ip4 != bpf_htonl(METADATA_IP))
		return SK_PASS;
	sk = bpf_map_lookup_elem(&service, &zero);
	if (!sk)
		return SK_PASS;
	bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	return SK_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
