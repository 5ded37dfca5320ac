/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_PORT_H
#define DEMARC_BPF_PORT_H

/* The ingress port, and what an unsecured one teaches us: who is behind it. */

#include "held.h"
#include "maps_def.h"
#include "spoof.h"
#include "way.h"

#define MOVE_HOLD_NS                                                                               \
	10000000ULL /* a flapping MAC invalidates the records at most 100 times a second */

#define LOOP_HOLD_NS 1000000000ULL

static __always_inline void gen_bump(void)
{
	__sync_fetch_and_add(&dp_globals.gen, 1);
}

__noinline int stage_port(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct port_rec *port;
	struct attach_rec *a;

	if (!p)
		return -DROP_INTERNAL;
	/*
	 * The generation that the record will carry is the one of now: if something changes while the stages
	 * run, the record is old at once. Adding 0 is a read with a full barrier.
	 */
	p->writes = writes_now();
	p->gen = __sync_fetch_and_add(&dp_globals.gen, 0);
	p->in.ifindex = p->key.ifindex;
	p->in.vlan = p->key.vlan;
	p->view = p->key;
	if (way_begin(ctx, p))
		return STAGE_NEXT;
	port = bpf_map_lookup_elem(&ports, &p->in);
	if (!port) {
		a = bpf_map_lookup_elem(&attached, &p->in.ifindex);
		if (!a || !(a->flags & PORT_UPLINK))
			return p->in.vlan ? -DROP_VLAN : -DROP_NO_PORT;
		p->act = TC_ACT_OK; /* a VLAN of the NIC that is not ours */
		TRACE0(p, PORT_HOST);
		return STAGE_DONE;
	}
	p->net = port->net;
	p->port_flags = port->flags;
	p->guards = port->guards;
	p->meters_of[0] = port->meter_from;
	p->mirrors_of[0] = port->mirror;
	p->marks = port->dscp;
	p->nat_in = port->nat;
	port_groups(p, port, 0);
	TRACE3(p, PORT_OK, p->in.ifindex, p->net, p->port_flags);
	if (port->flags & PORT_ADMIN_DOWN)
		return -DROP_ADMIN_DOWN;
	if ((port->flags & PORT_UPLINK) && !p->in.vlan && ctx_to_host(ctx)) {
		p->act = TC_ACT_OK;
		TRACE0(p, PORT_HOST);
		return STAGE_DONE;
	}
	if (port->flags & PORT_SECURITY)
		return port_spoof(ctx, port);
	TRACE0(p, SPOOF_OFF);
	return STAGE_NEXT;
}

/* What is learned, and all that follows, is of the port's network: so it is asked again before. */
static __always_inline int port_of(ctx_t *ctx)
{
	int v = stage_port(ctx);
	struct pkt *p = pkt_get();

	return p && was_written(p) ? stage_port(ctx) : v;
}

static __always_inline void learn_moved(struct pkt *p)
{
	if (p->now < dp_globals.last_move_ns + MOVE_HOLD_NS) {
		dp_globals.move_pending = 1;
		return;
	}
	dp_globals.last_move_ns = p->now;
	gen_bump();
}

/*
 * A function that bridges two ports of one network, and is not (yet) in a chain, would send round whatever
 * is flooded. So a MAC that is one of our ports', or was seen on an uplink within LOOP_HOLD_NS, cannot
 * come from elsewhere in the same network.
 */
static __always_inline int is_loop(struct pkt *p, struct fdb_rec *seen)
{
	struct port_key at = { .ifindex = seen->ifindex, .vlan = seen->vlan };
	struct port_rec *port;

	if ((p->port_flags & (PORT_UPLINK | PORT_TUNNEL)) || p->now > seen->last_ns + LOOP_HOLD_NS)
		return 0;
	port = bpf_map_lookup_elem(&ports, &at);
	return port && (port->flags & (PORT_UPLINK | PORT_TUNNEL));
}

/* Chain members do not teach: a transparent function sends with the MACs of others. */
__noinline int stage_learn(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	struct fdb_rec *old, fresh = {};

	if (!p)
		return -DROP_INTERNAL;
	if (p->port_flags & PORT_SECURITY)
		return STAGE_NEXT;
	if (bpf_map_lookup_elem(&port_chain, &p->in.ifindex))
		return STAGE_NEXT;
	p->fdb.net = p->net;
	mac_copy(p->fdb.mac, p->smac);
	old = bpf_map_lookup_elem(&fdb, &p->fdb);
	if (old)
		return old->ifindex == p->in.ifindex ? STAGE_NEXT : -DROP_L2_LOOP;
	old = bpf_map_lookup_elem(&fdb_learned, &p->fdb);
	if (old && old->ifindex == p->in.ifindex && old->vlan == p->in.vlan) {
		if (!p->trace && old->last_ns < p->now)
			old->last_ns = p->now;
		return STAGE_NEXT;
	}
	if (old && old->last_ns > p->now) /* re-wired a moment ago: this was still inside a function */
		return STAGE_NEXT;
	if (old && is_loop(p, old))
		return -DROP_L2_LOOP;
	if (p->trace)
		return STAGE_NEXT;
	fresh.ifindex = p->in.ifindex;
	fresh.vlan = p->in.vlan;
	fresh.fixed = fdb_tag(&p->fdb);
	fresh.last_ns = p->now;
	if (old)
		learn_moved(p);
	bpf_map_update_elem(&fdb_learned, &p->fdb, &fresh, BPF_ANY);
	return STAGE_NEXT;
}

#endif
