/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_FLOOD_H
#define DEMARC_BPF_FLOOD_H

/*
 * Where first packets are refused in great number. There it pays to ask the stages of bpf/first.h under XDP, before the kernel has made a
 * packet of the frame; elsewhere each new flow would be asked about twice. Only the tc program counts: so every other second it
 * sees some of them again, and what is no longer refused is no longer asked about.
 */

#include "maps_def.h"

#define FLOOD_FROM 16 /* refused in a second */
#define FLOODS 1024   /* destinations; the least recently refused give way */

struct flood_key {
	__u32 ifindex;
	__u16 vlan;
	__u8 dmac[6]; /* 0: of many */
};
struct flood_rec {
	__u64 second; /* jiffies / hz */
	__u32 now, before;
};

MAP(floods, BPF_MAP_TYPE_LRU_HASH, struct flood_key, struct flood_rec, FLOODS);

static __always_inline void flood_key_of(struct flood_key *k, __u32 ifindex, __u16 vlan, const __u8 *dmac)
{
	k->ifindex = ifindex;
	k->vlan = vlan;
	for (int i = 0; i < 6; i++)
		k->dmac[i] = dmac[0] & 1 ? 0 : dmac[i];
}

#ifdef HOOK_XDP

/* 1: many frames like this one are refused. */
static __always_inline int flood_is_on(const struct flood_key *k)
{
	struct flood_rec *r = bpf_map_lookup_elem(&floods, k);
	__u64 second;

	if (!r)
		return 0;
	second = bpf_jiffies64() / (dp_globals.hz | 1);
	if (r->second == second)
		return r->now >= FLOOD_FROM || r->before >= FLOOD_FROM;
	return r->second + 1 == second && r->now >= FLOOD_FROM;
}

static __always_inline void flood_note(struct pkt *p)
{
}

#else

/* The packet opens nothing, and XDP would have found out as well. */
static __always_inline void flood_note(struct pkt *p)
{
	__u64 second = p->jiffies / (dp_globals.hz | 1);
	struct flood_key k = {};
	struct flood_rec fresh = { .second = second, .now = 1 }, *r;

	if (!(p->port_flags & PORT_XDP) || p->seen || p->known || p->frag)
		return;
	flood_key_of(&k, p->in.ifindex, p->in.vlan, p->dmac);
	r = bpf_map_lookup_elem(&floods, &k);
	if (!r) {
		bpf_map_update_elem(&floods, &k, &fresh, BPF_ANY);
		return;
	}
	if (r->second != second) {
		r->before = r->second + 1 == second ? r->now : 0;
		r->now = 0;
		r->second = second;
	}
	__sync_fetch_and_add(&r->now, 1);
}

#endif
#endif
