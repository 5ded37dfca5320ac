/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_HALF_OPEN_H
#define DEMARC_BPF_HALF_OPEN_H

/*
 * Counting what is half open. Nobody has to see a connection end: what is neither completed nor refused within two epochs
 * (4 to 8 s) is no longer counted, and its record is the first to give way when room is needed (bpf/table.h).
 */

#include "limit.h"
#include "maps_def.h"

MAP(limits, BPF_MAP_TYPE_HASH, struct port_key, struct limit_rec, 1024);
MAP(sources, BPF_MAP_TYPE_LRU_HASH, struct source_key, struct source_rec, ABI_SOURCES);

/* Brings the epochs up to date; one CPU does. Returns how many are half open. */
static __always_inline __u32 half_open_count(struct half_open *h, __u64 jiffies)
{
	__u64 epoch = jiffies / (LIMIT_EPOCH_S * dp_globals.hz + 1), was = h->epoch;
	__s32 n;

	if (epoch != was && __sync_val_compare_and_swap(&h->epoch, was, epoch) == was) {
		n = h->now;
		h->before = epoch == was + 1 ? n : 0;
		h->now = 0;
	}
	n = h->now + h->before;
	return n > 0 ? (__u32)n : 0;
}

static __always_inline void half_open_add(struct half_open *h, __s32 n)
{
	__sync_fetch_and_add(&h->now, n);
}

/* The client of k, a key as the protected port would send it. */
static __always_inline void source_key_of(struct source_key *s, const struct flow_key *k)
{
	s->ifindex = k->ifindex;
	s->vlan = k->vlan;
	s->family = k->family;
	s->addr[0] = k->family == 6 ? k->addr[4] : k->addr[1];
	s->addr[1] = k->family == 6 ? k->addr[5] : 0;
}

/* A connection that was counted is completed, or refused. p->rkey is set; `reply`: by a packet of the server. */
__noinline int limit_done(__u32 reply)
{
	struct pkt *p = pkt_get();
	struct source_key key = {};
	struct source_rec *s;
	struct limit_rec *l;
	struct port_key port = {};

	if (!p)
		return 0;
	source_key_of(&key, reply ? &p->key : &p->rkey);
	port.ifindex = key.ifindex;
	port.vlan = key.vlan;
	l = bpf_map_lookup_elem(&limits, &port);
	if (l)
		half_open_add(&l->count, -1);
	s = bpf_map_lookup_elem(&sources, &key);
	if (s)
		half_open_add(&s->count, -1);
	return 0;
}

/* Bits of TCPW_COUNTED in the opener's record; it leaves the half-open states. */
static __always_inline void limit_leave(struct flow_rec *opener, __u8 from, __u8 to, __u32 reply)
{
	if (!opener || !(opener->tcp_bits & TCPW_COUNTED))
		return;
	if ((from != CT_SYN_SENT && from != CT_SYN_RECV) || to == CT_SYN_SENT || to == CT_SYN_RECV)
		return;
	opener->tcp_bits &= ~TCPW_COUNTED;
	limit_done(reply);
}

#endif
