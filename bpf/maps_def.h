/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_MAPS_DEF_H
#define DEMARC_BPF_MAPS_DEF_H

/* The maps. All but `pkts` and `trace` are pinned; user space sets the sizes of ports and flows at load. */

#include "guard.h"
#include "meter.h"
#include "pkt.h"
#include "policy.h"

struct dp_globals dp_globals;

#define MAP(name_, type_, key_, value_, max_)                                                      \
	struct {                                                                                   \
		__uint(type, type_);                                                               \
		__type(key, key_);                                                                 \
		__type(value, value_);                                                             \
		__uint(max_entries, max_);                                                         \
	} name_ SEC(".maps")

#define MAP_LAZY(name_, key_, value_, max_)                                                        \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                              \
		__type(key, key_);                                                                 \
		__type(value, value_);                                                             \
		__uint(max_entries, max_);                                                         \
	} name_ SEC(".maps")

struct key4_bytes {
	__u8 b[FLOW_KEY4_SIZE];
};

MAP(flow4, BPF_MAP_TYPE_HASH, struct key4_bytes, struct flow_rec, 262144);
MAP(flow6, BPF_MAP_TYPE_HASH, struct flow_key, struct flow_rec, 131072);
MAP(conns4, BPF_MAP_TYPE_ARRAY, __u32, struct conn_slot4, 1);
MAP(conns6, BPF_MAP_TYPE_ARRAY, __u32, struct conn_slot6, 1);
MAP(ports, BPF_MAP_TYPE_HASH, struct port_key, struct port_rec, 1024);
MAP(attached, BPF_MAP_TYPE_HASH, __u32, struct attach_rec, 1024);
MAP_LAZY(nets, __u32, struct net_rec, 4096);
MAP_LAZY(fdb, struct fdb_key, struct fdb_rec, 65536);
MAP(fdb_learned, BPF_MAP_TYPE_LRU_HASH, struct fdb_key, struct fdb_rec, ABI_FDB);
MAP_LAZY(addrs, struct addr_key, struct addr_rec, 65536);
MAP(frags, BPF_MAP_TYPE_LRU_HASH, struct frag_key, struct frag_rec, ABI_FRAGS);
MAP_LAZY(paths, __u32, struct path_rec, ABI_PATHS);
MAP_LAZY(path_hops, struct path_hop_key, struct path_hop, ABI_PATHS * 4);
MAP_LAZY(path_ports, struct path_port_key, struct path_port, ABI_PATHS * 8);
MAP(path_flows, BPF_MAP_TYPE_HASH, __u32, __u64, ABI_PATHS);
MAP_LAZY(port_chain, __u32, struct port_chain, 4096);
MAP_LAZY(port_class, struct port_key, struct port_classifiers, 1024);
MAP(port_counts, BPF_MAP_TYPE_PERCPU_HASH, __u32, struct port_count, 1024);
MAP(drop_counts, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, DROP_N);
MAP(bindings, BPF_MAP_TYPE_LRU_HASH, struct addr_key, struct binding, ABI_BINDINGS);
MAP(binding_counts, BPF_MAP_TYPE_LRU_HASH, struct port_key, struct binding_count, 1024);
MAP(meters, BPF_MAP_TYPE_ARRAY, __u32, struct meter_rec, ABI_METERS);
MAP(mirrors, BPF_MAP_TYPE_ARRAY, __u32, struct mirror_rec, ABI_MIRRORS);
MAP(encaps, BPF_MAP_TYPE_ARRAY, __u32, struct encap_rec, ABI_ENCAPS);
MAP_LAZY(tunnels, struct tunnel_key, struct tunnel_rec, ABI_ENCAPS);
MAP_LAZY(vteps, struct addr_key, __u32, 64);
MAP(pkts, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct pkt, 1);
MAP(trace, BPF_MAP_TYPE_ARRAY, __u32, struct trace_buf, 1);

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, union chain_ptr);
	__uint(max_entries, ABI_CHAINS);
} chains SEC(".maps");

static __always_inline struct pkt *pkt_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&pkts, &zero);
}

/* The scratch packet of a stage. Uses ctx, because clang passes garbage for an argument that is not used,
 * and the verifier checks what a global function is given. */
static __always_inline struct pkt *stage_begin(ctx_t *ctx)
{
	__asm__ volatile("" : : "r"(ctx));
	return pkt_get();
}

/* Appends one step to the trace. Only a test run gets here: p->trace needs the token. */
__noinline int trace_add(__u32 event, __u32 a, __u32 b, __u32 c)
{
	__u32 zero = 0;
	struct trace_buf *t = bpf_map_lookup_elem(&trace, &zero);
	__u32 i;

	if (!t)
		return 0;
	i = t->n;
	if (i >= ABI_TRACE_STEPS)
		return 0;
	t->steps[i].event = event;
	t->steps[i].arg[0] = a;
	t->steps[i].arg[1] = b;
	t->steps[i].arg[2] = c;
	t->n = i + 1;
	return 0;
}

#define TRACE3(p, event, a, b, c)                                                                  \
	do {                                                                                       \
		if ((p)->trace)                                                                    \
			trace_add(EV_##event, a, b, c);                                            \
	} while (0)
#define TRACE2(p, event, a, b) TRACE3(p, event, a, b, 0)
#define TRACE1(p, event, a) TRACE3(p, event, a, 0, 0)
#define TRACE0(p, event) TRACE3(p, event, 0, 0, 0)

static __always_inline void count_port(__u32 ifindex, __u64 rx_pkts, __u64 rx_bytes, __u64 tx_pkts,
				       __u64 tx_bytes, __u64 drop_pkts)
{
	struct port_count *n = bpf_map_lookup_elem(&port_counts, &ifindex);

	if (!n)
		return;
	n->rx_pkts += rx_pkts;
	n->rx_bytes += rx_bytes;
	n->tx_pkts += tx_pkts;
	n->tx_bytes += tx_bytes;
	n->drop_pkts += drop_pkts;
}

static __always_inline void count_drops(__u32 reason, __u32 pkts)
{
	__u64 *n = bpf_map_lookup_elem(&drop_counts, &reason);

	if (n)
		*n += pkts;
}

static __always_inline void count_drop(__u32 reason)
{
	count_drops(reason, 1);
}

/* Signed, because another CPU may have a newer jiffy than the one read here. */
static __always_inline int rec_idle(const struct flow_rec *f, __u64 now)
{
	return (__s32)((__u32)now - f->last) > (__s32)f->timeout;
}

/*
 * Two calls that clang must not merge into one with a selected map: the verifier inlines a lookup only where
 * it knows the map. The move to itself makes the branches differ.
 */
static __always_inline struct flow_rec *flow_find(struct flow_key *k)
{
	struct flow_rec *f;

	if (k->family == 6) {
		f = bpf_map_lookup_elem(&flow6, k);
		__asm__ volatile("%0 = %0" : "+r"(f));
		return f;
	}
	return bpf_map_lookup_elem(&flow4, k);
}

static __always_inline long flow_insert(struct flow_key *k, struct flow_rec *r, __u64 how)
{
	if (k->family == 6)
		return bpf_map_update_elem(&flow6, k, r, how);
	return bpf_map_update_elem(&flow4, k, r, how);
}

static __always_inline void flow_delete(struct flow_key *k)
{
	if (k->family == 6)
		bpf_map_delete_elem(&flow6, k);
	else
		bpf_map_delete_elem(&flow4, k);
}

/* Tells connections with the same tuple apart; never 0. */
static __always_inline __u32 conn_id(__u64 created_ns)
{
	return (__u32)(created_ns >> 10) | 1;
}

/* What the record counted since the last time goes to the counters of both its ports; by one CPU, if two try at once. */
static __always_inline void flow_account(__u32 in, struct flow_rec *r)
{
	__u64 old = *(volatile __u64 *)&r->done, word, d_bytes, d_pkts;

	word = r->pkts << FLOW_DONE_SHIFT | (r->bytes & FLOW_DONE_BYTES);
	if (word == old) /* an idle flow's cache lines stay where they are */
		return;
	if (__sync_val_compare_and_swap(&r->done, old, word) != old)
		return;
	d_pkts = ((word >> FLOW_DONE_SHIFT) - (old >> FLOW_DONE_SHIFT)) & (~0ULL >> FLOW_DONE_SHIFT);
	d_bytes = (word - old) & FLOW_DONE_BYTES;
	count_port(in, d_pkts, d_bytes, 0, 0, r->flags & FLOW_DROP ? d_pkts : 0);
	if (!(r->flags & FLOW_DROP))
		count_port(r->out, 0, 0, d_pkts, d_bytes, 0);
}

#endif
