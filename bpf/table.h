/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_TABLE_H
#define DEMARC_BPF_TABLE_H

/*
 * Room in the flow tables, without a process: every connection has a slot in a ring (one for IPv4, one for IPv6).
 * A new one takes the next slot whose connection has ended; when there is none near, the least valuable of those looked at
 * goes: half-open ones first, oldest first, then closing ones, then the one that has been idle longest. A living
 * connection that had a packet in the last SHED_IDLE_S seconds is never displaced: the new one then has no record.
 */

#include "analytics.h"
#include "maps_def.h"
#include "partner.h"

#define SHED_LOOK 16  /* slots looked at for one new connection */
#define SHED_ENOUGH 4 /* of these, when an embryo was among them */
#define SHED_IDLE_S 10

enum slot_rank { RANK_BUSY, RANK_IDLE, RANK_CLOSING, RANK_EMBRYO, RANK_FREE, RANK_EMPTY };

static __always_inline int is_embryo(const struct flow_rec *f)
{
	if (f->flags & FLOW_DROP)
		return 1;
	switch (f->state) {
	case CT_NONE:
	case CT_SYN_SENT:
	case CT_SYN_RECV:
	case CT_UDP_NEW:
	case CT_ICMP:
		return 1;
	case CT_GENERIC:
		return !(f->conn & CONN_REPLIED);
	}
	return 0;
}

static __always_inline int is_closing(__u8 state)
{
	return state >= CT_FIN_WAIT && state <= CT_CLOSE;
}

/* The slot's key into p->vkey. Returns the connection that it was written for; 0: empty. */
static __always_inline __u32 slot_read(struct pkt *p, __u32 family, __u32 i)
{
	struct conn_slot4 *s4;
	struct conn_slot6 *s6;

	if (family == 6) {
		s6 = bpf_map_lookup_elem(&conns6, &i);
		if (!s6)
			return 0;
		p->vkey = s6->key;
		return s6->conn;
	}
	s4 = bpf_map_lookup_elem(&conns4, &i);
	if (!s4)
		return 0;
	__builtin_memcpy(&p->vkey, &s4->key, FLOW_KEY4_SIZE);
	return s4->conn;
}

static __always_inline void slot_write(struct pkt *p, __u32 i)
{
	struct conn_slot4 *s4;
	struct conn_slot6 *s6;

	if (p->key.family == 6) {
		s6 = bpf_map_lookup_elem(&conns6, &i);
		if (s6) {
			s6->key = p->key;
			s6->conn = conn_id(p->created_ns);
		}
		return;
	}
	s4 = bpf_map_lookup_elem(&conns4, &i);
	if (s4) {
		__builtin_memcpy(&s4->key, &p->key, FLOW_KEY4_SIZE);
		s4->conn = conn_id(p->created_ns);
	}
}

static __always_inline struct flow_rec *partner_of(struct pkt *p, const struct flow_rec *f)
{
	if ((f->flags & FLOW_DROP) || (f->conn & CONN_LONE))
		return 0;
	return partner_find(&p->wkey, &p->vkey, f);
}

/* What slot i is worth: enum slot_rank in the top byte, below it how long the connection has been idle (jiffies). */
__noinline __u32 slot_rank(__u32 family, __u32 i)
{
	struct pkt *p = pkt_get();
	struct flow_rec *f, *o;
	__u32 conn, idle, last;

	if (!p)
		return 0;
	conn = slot_read(p, family, i);
	if (!conn)
		return RANK_EMPTY << 24;
	f = flow_find(&p->vkey);
	if (!f || conn_id(f->created_ns) != conn)
		return RANK_EMPTY << 24;
	last = f->last;
	o = partner_of(p, f);
	if (o && (__s32)(o->last - last) > 0)
		last = o->last;
	if ((__s32)((__u32)p->jiffies - last) > (__s32)f->timeout)
		return RANK_FREE << 24;
	idle = ((__u32)p->jiffies - last) & 0xffffff;
	if (is_embryo(f))
		return RANK_EMBRYO << 24 | idle;
	if (is_closing(f->state))
		return RANK_CLOSING << 24 | idle;
	return idle > SHED_IDLE_S * dp_globals.hz ? RANK_IDLE << 24 | idle : 0;
}

/* Ends the connection of slot i, if its records are still there. */
__noinline int slot_clear(__u32 family, __u32 i, __u32 shed)
{
	struct pkt *p = pkt_get();
	struct flow_rec *f, *o;
	__u32 conn;

	if (!p)
		return 0;
	conn = slot_read(p, family, i);
	if (!conn)
		return 0;
	f = flow_find(&p->vkey);
	if (!f || conn_id(f->created_ns) != conn)
		return 0;
	if (shed)
		__sync_fetch_and_add(&dp_globals.n_shed, 1);
	o = partner_of(p, f);
	flow_gone(&p->vkey, f, shed ? FLOW_EVENT_SHED : ended_how(f));
	flow_account(p->vkey.ifindex, f);
	if (o && o->created_ns == f->created_ns) {
		flow_gone(&p->wkey, o, shed ? FLOW_EVENT_SHED : ended_how(f));
		flow_account(p->wkey.ifindex, o);
		flow_delete(&p->wkey);
	}
	flow_delete(&p->vkey);
	return 0;
}

/* A slot for the connection that p opens. < 0: there is no room for it now. */
static __always_inline int conn_take(__u32 family)
{
	struct pkt *p = pkt_get();
	__u64 *next = family == 6 ? &dp_globals.next6 : &dp_globals.next4;
	__u32 size = family == 6 ? dp_globals.slots6 : dp_globals.slots4;
	__u32 best = 0, at = 0, looked = 0;
	__u64 hand;

	if (!p || !size)
		return -1;
	hand = __sync_fetch_and_add(next, 1);
	for (__u32 n = 0; n < SHED_LOOK; n++) {
		__u32 i = (__u32)((hand + n) % size);
		__u32 rank = slot_rank(family, i);

		looked = n;
		if (rank > best) {
			best = rank;
			at = i;
		}
		if (rank >> 24 >= RANK_FREE || (n >= SHED_ENOUGH && best >> 24 == RANK_EMBRYO))
			break;
	}
	if (!best) {
		__sync_fetch_and_add(&dp_globals.n_full, 1);
		return -1;
	}
	if (looked)
		__sync_fetch_and_add(next, looked);
	if (best >> 24 != RANK_EMPTY)
		slot_clear(family, at, best >> 24 != RANK_FREE);
	slot_write(p, at);
	return 0;
}

#endif
