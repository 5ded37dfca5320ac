/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_FIRST_HOP_H
#define DEMARC_BPF_FIRST_HOP_H

/*
 * First-hop security where hosts are not ours and have no fixed addresses: a LAN port. RA guard (RFC 6105, 7113), DHCP
 * snooping of both families (RFC 7513), inspection of ARP and ND against what was snooped, first come first served for
 * addresses that hosts make themselves (RFC 6620), no fragmented neighbour discovery (RFC 6980).
 */

#include "held.h"
#include "maps_def.h"
#include "parse.h"
#include "port.h"
#include "spoof.h"

#define DHCP_OPTIONS_MAX 32
#define DHCP6_OPTIONS_MAX 24
#define NS_PER_S 1000000000ULL
#define FCFS_HOLD_S                                                                                \
	7200 /* 2 h since the last use: nobody is probed, as RFC 6620 would after DEFAULT_LT */
#define FCFS_HOLD_NS (FCFS_HOLD_S * NS_PER_S)
#define FCFS_RENEW_NS (60 * NS_PER_S) /* not written for every packet */

enum dhcp_message {
	DHCP_DECLINE = 4,
	DHCP_ACK = 5,
	DHCP_RELEASE = 7,
	DHCP6_REPLY = 7,
	DHCP6_RELEASE = 8,
	DHCP6_DECLINE = 9
};

static __always_inline int is_dhcp_port(__u16 port)
{
	return port == DHCP_SERVER_PORT || port == DHCP6_SERVER_PORT;
}

/* DHCP between a client and a server or relay, whole. */
static __always_inline int is_dhcp(const struct pkt *p)
{
	return p->kind == PKT_IP && p->key.proto == PROTO_UDP && !p->frag &&
	       (is_dhcp_port(p->key.sport) || is_dhcp_port(p->key.dport));
}

/* ---- bindings ---- */

static __always_inline void binding_key(struct pkt *p, __u8 family, const __u32 *ip)
{
	p->addr.net = p->net;
	p->addr.family = family;
	p->addr.ip[0] = ip[0];
	for (int i = 1; i < 4; i++)
		p->addr.ip[i] = family == 6 ? ip[i] : 0;
}

/* The prefix of `len` bits, 1 to BINDING_PREFIX_MAX, that `ip` is in. */
static __always_inline void prefix_key(struct pkt *p, const __u32 *ip, __u32 len)
{
	p->addr.net = p->net;
	p->addr.family = (__u16)BINDING_PREFIX(len);
	p->addr.ip[0] = ip[0] & bpf_htonl(len >= 32 ? ~0u : ~(~0u >> (len & 31)));
	p->addr.ip[1] = len > 32 ? ip[1] & bpf_htonl(len >= 64 ? ~0u : ~(~0u >> (len & 31))) : 0;
	p->addr.ip[2] = 0;
	p->addr.ip[3] = 0;
}

/* Where a MAC is held. */
static __always_inline void held_key(struct pkt *p, const __u8 *mac)
{
	p->held.net = p->net;
	p->held.family = BINDING_MAC;
	p->held.ip[1] = 0;
	p->held.ip[2] = 0;
	p->held.ip[3] = 0;
	mac_copy((__u8 *)p->held.ip, mac);
}

/*
 * A host with an address at another guarded port cannot have come to this one, which is guarded, too: it would have to give that back. What
 * comes from other ports is trusted, here as well.
 */
static __always_inline int mac_held(struct pkt *p)
{
	struct port_key at = {};
	struct port_rec *port;
	struct binding *b;

	held_key(p, p->smac);
	b = bpf_map_lookup_elem(&bindings, &p->held);
	if (!b || p->now >= b->until_ns || (b->ifindex == p->in.ifindex && b->vlan == p->in.vlan))
		return 0;
	at.ifindex = b->ifindex;
	at.vlan = b->vlan;
	port = bpf_map_lookup_elem(&ports, &at);
	return port && port->net == p->net && (port->guards & GUARD_SOURCE) &&
	       !(port->flags & PORT_ADMIN_DOWN);
}

/* What was read to end at `until`, if it is that still: not another one in its memory. */
static __always_inline void binding_prolong(struct pkt *p, struct binding *b, __u64 until)
{
	__sync_val_compare_and_swap(&b->until_ns, until, p->now + FCFS_HOLD_NS);
}

/* p->addr belongs to the sender of p. What was claimed stays its own as long as it opens connections, and so does its MAC. */
__noinline int binding_holds(void)
{
	struct pkt *p = pkt_get();
	struct binding *b;
	__u64 until;

	if (!p)
		return 0;
	b = bpf_map_lookup_elem(&bindings, &p->addr);
	if (!b)
		return 0;
	until = *(volatile __u64 *)&b->until_ns;
	if (b->ifindex != p->in.ifindex || b->vlan != p->in.vlan || p->now >= until ||
	    !mac_same(b->mac, p->smac))
		return 0;
	if (!(b->flags & BINDING_CLAIMED) || p->trace || until >= p->now + FCFS_HOLD_NS - FCFS_RENEW_NS)
		return 1;
	binding_prolong(p, b, until);
	held_key(p, p->smac);
	b = bpf_map_lookup_elem(&bindings, &p->held);
	if (!b)
		return 1;
	until = *(volatile __u64 *)&b->until_ns;
	if (b->ifindex == p->in.ifindex && b->vlan == p->in.vlan && until < p->now + FCFS_HOLD_NS)
		binding_prolong(p, b, until);
	return 1;
}

#ifndef HOOK_XDP

static long binding_scan_one(void *map, struct addr_key *k, struct binding *b, __u32 *n)
{
	struct pkt *p = pkt_get();

	if (p && k->family != BINDING_MAC && b->ifindex == p->outk.ifindex &&
	    b->vlan == p->outk.vlan && p->now < b->until_ns)
		(*n)++;
	return 0;
}

/*
 * 1: the port p->outk may have one more. What has ended is found out when nothing is left, once a second, so that a flood of claims
 * cannot make it count all the time.
 */
__noinline int binding_room(void)
{
	struct pkt *p = pkt_get();
	struct binding_count *c, fresh = {};
	__u32 max = dp_globals.bindings_max, n = 0, second;

	if (!p)
		return 0;
	if (!max)
		max = BINDINGS_DEFAULT;
	c = bpf_map_lookup_elem(&binding_counts, &p->outk);
	second = (__u32)(p->jiffies / (dp_globals.hz | 1));
	if (c && c->n < max)
		return 1;
	if (c && c->second == second)
		return 0;
	bpf_for_each_map_elem(&bindings, binding_scan_one, &n, 0);
	fresh.n = n;
	fresh.second = second;
	bpf_map_update_elem(&binding_counts, &p->outk, &fresh, BPF_ANY);
	return n < max;
}

/* Binds p->addr, for `seconds` (~0: for ever), to the MAC p->held at the port p->outk. 0: that has too many. */
__noinline int binding_put(__u32 seconds, __u32 flags)
{
	struct pkt *p = pkt_get();
	struct binding *b, *old;
	struct binding_count *c;

	if (!p)
		return 0;
	old = bpf_map_lookup_elem(&bindings, &p->addr);
	if (!old || old->ifindex != p->outk.ifindex || old->vlan != p->outk.vlan) {
		if (!binding_room())
			return 0;
		c = bpf_map_lookup_elem(&binding_counts, &p->outk);
		if (c)
			__sync_fetch_and_add(&c->n, 1);
	}
	b = &p->binding;
	b->ifindex = p->outk.ifindex;
	b->vlan = p->outk.vlan;
	b->flags = flags;
	mac_copy(b->mac, (const __u8 *)p->held.ip);
	b->until_ns = seconds == ~0u ? ~0ULL : p->now + seconds * NS_PER_S;
	bpf_map_update_elem(&bindings, &p->addr, b, BPF_ANY);
	if (p->addr.family >> 8)
		__sync_fetch_and_or(&dp_globals.prefix_lens, 1ULL << (((p->addr.family >> 8) - 1) & 63));
	old = bpf_map_lookup_elem(&bindings, &p->held); /* the MAC stays where it is, too */
	if (!old || old->ifindex != b->ifindex || old->vlan != b->vlan || old->until_ns < b->until_ns)
		bpf_map_update_elem(&bindings, &p->held, b, BPF_ANY);
	return 1;
}

/* Gives p->addr to `mac`, wherever that was learned. */
static __always_inline void binding_give(struct pkt *p, const __u8 *mac, __u32 seconds)
{
	struct fdb_rec *at;
	struct port_rec *port;

	p->fdb.net = p->net;
	mac_copy(p->fdb.mac, mac);
	at = learned_find(p);
	if (!at || p->trace)
		return;
	p->outk.ifindex = at->ifindex;
	p->outk.vlan = at->vlan;
	held_key(p, mac);
	if (binding_put(seconds, 0))
		return;
	port = bpf_map_lookup_elem(&ports, &p->outk);
	p->dhcp_over |= port && (port->guards & GUARD_SOURCE);
}

/* The holder gives p->addr back, or found somebody else there: its flows are looked at again, and it may appear elsewhere. */
static __always_inline void binding_return(struct pkt *p)
{
	struct binding_count *c;

	if (p->trace || !binding_holds())
		return;
	bpf_map_delete_elem(&bindings, &p->addr);
	held_key(p, p->smac);
	bpf_map_delete_elem(&bindings, &p->held);
	c = bpf_map_lookup_elem(&binding_counts, &p->in);
	if (c && c->n)
		__sync_fetch_and_add(&c->n, -1);
	gen_bump();
}

/* ---- DHCP for IPv4: RFC 2131, RFC 2132 ---- */

/* Message type, address and lease time, from the options. */
__noinline int dhcp_options(ctx_t *ctx, __u32 off)
{
	struct pkt *p = stage_begin(ctx);
	__u8 b[6];

	if (!p)
		return 0;
	for (int i = 0; i < DHCP_OPTIONS_MAX; i++) {
		if (ctx_load(ctx, off, b, 2) < 0 || b[0] == 255)
			return 0;
		if (!b[0]) {
			off++;
			continue;
		}
		if (b[0] == 53 && b[1] == 1 && ctx_load(ctx, off, b, 3) >= 0)
			p->dhcp_type = b[2];
		else if (b[0] == 50 && b[1] == 4 && ctx_load(ctx, off, b, 6) >= 0)
			__builtin_memcpy(&p->dhcp_ip, b + 2, 4);
		else if (b[0] == 51 && b[1] == 4 && ctx_load(ctx, off, b, 6) >= 0)
			p->dhcp_lease = (__u32)b[2] << 24 | (__u32)b[3] << 16 | (__u32)b[4] << 8 | b[5];
		off += 2u + b[1];
	}
	return 0;
}

/* `b` is read from `op` on: ciaddr is at 12, yiaddr at 16, chaddr at 28. */
static __always_inline int dhcp4(ctx_t *ctx, struct pkt *p)
{
	__u32 off = p->l4_off + 8u, magic, ip;
	__u8 b[36];

	if (ctx_load(ctx, off, b, sizeof(b)) < 0 || ctx_load(ctx, off + 236, &magic, 4) < 0 ||
	    magic != bpf_htonl(0x63825363) || b[2] != 6)
		return STAGE_NEXT;
	p->dhcp_type = 0;
	p->dhcp_lease = 0;
	p->dhcp_ip = 0;
	dhcp_options(ctx, off + 240);
	if (b[0] == 2 && p->dhcp_type == DHCP_ACK && !(p->guards & GUARD_DHCP)) {
		__builtin_memcpy(&ip, b + 16, 4);
		binding_key(p, 4, &ip);
		if (ip && p->dhcp_lease)
			binding_give(p, b + 28, p->dhcp_lease);
	} else if (b[0] == 1 && p->dhcp_type == DHCP_RELEASE) {
		__builtin_memcpy(&ip, b + 12, 4);
		binding_key(p, 4, &ip);
		binding_return(p);
	} else if (b[0] == 1 && p->dhcp_type == DHCP_DECLINE) { /* ciaddr is 0: RFC 2131 table 5 */
		binding_key(p, 4, &p->dhcp_ip);
		binding_return(p);
	}
	return p->dhcp_over ? -DROP_BINDING_QUOTA : STAGE_NEXT;
}

/* ---- DHCP for IPv6: RFC 8415 ---- */

/* p->addr, for as long as the 4 bytes at `time` say. */
static __always_inline void dhcp6_bind(struct pkt *p, const __u8 *time, __u8 type)
{
	__u32 valid = load32(time);

	if (type != DHCP6_REPLY)
		binding_return(p);
	else if (valid)
		binding_give(p, p->dmac, valid);
	else
		bpf_map_delete_elem(&bindings, &p->addr);
}

/* IA Address: RFC 8415 section 21.6. */
static __always_inline void dhcp6_address(struct pkt *p, const __u8 *opt, __u8 type)
{
	__builtin_memcpy(p->addr.ip, opt + 4, 16);
	binding_key(p, 6, p->addr.ip);
	dhcp6_bind(p, opt + 24, type);
}

/* IA Prefix: RFC 8415 section 21.22. */
static __always_inline void dhcp6_prefix(struct pkt *p, const __u8 *opt, __u8 type)
{
	__u32 len = opt[12];

	if (!len || len > BINDING_PREFIX_MAX)
		return;
	__builtin_memcpy(p->addr.ip, opt + 13, 16);
	prefix_key(p, p->addr.ip, len);
	dhcp6_bind(p, opt + 8, type);
}

/* One option at `off`; returns where the next one is, 0 at the end. Options inside an IA follow its header. */
__noinline __u32 dhcp6_option(ctx_t *ctx, __u32 off, __u32 type)
{
	struct pkt *p = stage_begin(ctx);
	__u32 code, len;
	__u8 *b;

	if (!p)
		return 0;
	b = p->buf;
	if (ctx_load(ctx, off, b, 4) < 0)
		return 0;
	code = load16(b);
	len = load16(b + 2);
	if (code == 3 || code == 25)
		return off + 16; /* IA_NA, IA_PD: IAID, T1, T2 */
	if (code == 4)
		return off + 8; /* IA_TA: IAID */
	if (code == 5 && len >= 24 && ctx_load(ctx, off, b, 28) >= 0)
		dhcp6_address(p, b, (__u8)type);
	if (code == 26 && len >= 25 && ctx_load(ctx, off, b, 29) >= 0)
		dhcp6_prefix(p, b, (__u8)type);
	return off + 4 + len;
}

static __always_inline int dhcp6(ctx_t *ctx, struct pkt *p)
{
	__u32 off = p->l4_off + 12u;
	__u8 type;

	if (ctx_load(ctx, p->l4_off + 8u, &type, 1) < 0)
		return STAGE_NEXT;
	if (type == DHCP6_REPLY ? p->guards & GUARD_DHCP : type != DHCP6_RELEASE && type != DHCP6_DECLINE)
		return STAGE_NEXT;
	for (int i = 0; i < DHCP6_OPTIONS_MAX && off; i++)
		off = dhcp6_option(ctx, off, type);
	return p->dhcp_over ? -DROP_BINDING_QUOTA : STAGE_NEXT;
}

#endif

/* ---- what comes from a guarded port ---- */

static __always_inline int source_row(struct pkt *p)
{
	struct port_rec *port = bpf_map_lookup_elem(&ports, &p->in);
	struct claim c = {};

	mac_copy(c.mac, p->smac);
	c.family = (__u8)p->addr.family;
	for (int i = 0; i < 4; i++)
		c.ip[i] = p->addr.ip[i];
	return port && claim_holds(port, &c);
}

/* p->addr is the sender's: by a row of the port, by DHCP or by first claim. */
__noinline int source_addr_holds(void)
{
	struct pkt *p = pkt_get();

	return p && (binding_holds() || source_row(p));
}

static __always_inline int source_holds(struct pkt *p, __u8 family, const __u32 *ip)
{
	binding_key(p, family, ip);
	return source_addr_holds();
}

static __always_inline int source_arp(ctx_t *ctx, struct pkt *p)
{
	__u32 ip[4] = {};
	__u8 b[18];

	if (ctx_load(ctx, ETH_SIZE, b, sizeof(b)) < 0)
		return -DROP_MALFORMED;
	__builtin_memcpy(ip, b + 14, 4);
	if (!mac_same(b + 8, p->smac))
		return -DROP_SPOOF_ARP;
	return !ip[0] || source_holds(p, 4, ip) ? STAGE_NEXT : -DROP_SOURCE_GUARD;
}

/* RFC 6620: who asks first whether an address is free has it, unless somebody has it already. */
static __always_inline int source_dad(struct pkt *p, const __u32 *target)
{
	struct binding *old;

	if (source_holds(p, 6, target))
		return STAGE_NEXT;
	old = bpf_map_lookup_elem(&bindings, &p->addr);
	if (old && p->now < old->until_ns)
		return -DROP_SOURCE_GUARD;
#ifdef HOOK_XDP
	return STAGE_DONE; /* the tc program binds it */
#else
	if (p->trace)
		return STAGE_NEXT;
	p->outk = p->in;
	held_key(p, p->smac);
	return binding_put(FCFS_HOLD_S, BINDING_CLAIMED) ? STAGE_NEXT : -DROP_BINDING_QUOTA;
#endif
}

static __always_inline int source_nd(ctx_t *ctx, struct pkt *p)
{
	__u32 target[4], options = nd_options_at(p);

	if (!options)
		return STAGE_NEXT;
	if (!nd_option_ok(ctx, p, options))
		return -DROP_SPOOF_ND;
	if (p->icmp_type == 133)
		return STAGE_NEXT;
	if (ctx_load(ctx, p->l4_off + 8u, target, 16) < 0)
		return -DROP_MALFORMED;
	if (p->icmp_type == 136)
		return source_holds(p, 6, target) ? STAGE_NEXT : -DROP_SOURCE_GUARD;
	return is_any(p->key.addr, 4) ? source_dad(p, target) : STAGE_NEXT;
}

/* Sources without an address that only start to get one. */
static __always_inline int source_unset(struct pkt *p)
{
	if (p->key.family == 6)
		return is_any(p->key.addr, 4) && p->icmp == ICMP_CONTROL;
	return !p->key.addr[0] && p->key.proto == PROTO_UDP && p->key.sport == DHCP_CLIENT &&
	       p->key.dport == DHCP_SERVER_PORT;
}

static long prefix_try(__u32 i, __u32 *found)
{
	struct pkt *p = pkt_get();

	if (!p)
		return 1;
	if (!(dp_globals.prefix_lens >> (i & 63) & 1))
		return 0;
	prefix_key(p, p->key.addr, i + 1);
	if (!binding_holds())
		return 0;
	*found = 1;
	return 1;
}

/* The source is in a prefix that was delegated to the sender. */
static __always_inline int prefix_holds(struct pkt *p)
{
	__u32 found = 0;

	if (p->key.family != 6 || !dp_globals.prefix_lens)
		return 0;
	bpf_loop(BINDING_PREFIX_MAX, prefix_try, &found, 0);
	return found != 0;
}

__noinline int guard_source(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	__u32 ip[4];

	if (!p)
		return -DROP_INTERNAL;
	if (mac_held(p))
		return -DROP_SPOOF_MAC;
	if (p->kind == PKT_ARP)
		return source_arp(ctx, p);
	if (p->kind != PKT_IP)
		return STAGE_NEXT;
	for (int i = 0; i < 4; i++)
		ip[i] = p->key.addr[i];
	if (!source_unset(p) && !source_holds(p, p->key.family, ip) && !prefix_holds(p))
		return -DROP_SOURCE_GUARD;
	return p->icmp == ICMP_CONTROL ? source_nd(ctx, p) : STAGE_NEXT;
}

static __always_inline int guard_ra(struct pkt *p)
{
	if (p->key.proto != PROTO_ICMPV6 || p->kind != PKT_IP)
		return STAGE_NEXT;
	if (p->frag == FRAG_FIRST && p->icmp == ICMP_CONTROL)
		return -DROP_ND_FRAGMENT;
	return p->icmp_type == 134 || p->icmp_type == 137 ? -DROP_RA : STAGE_NEXT;
}

/* Only for guarded ports and DHCP. What is snooped gets no record: the next one must be seen, too. */
__noinline int stage_guard(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	int dhcp, v;

	if (!p)
		return -DROP_INTERNAL;
	dhcp = is_dhcp(p);
	p->unrecorded = dhcp != 0;
	if (p->guards & GUARD_RA) {
		v = guard_ra(p);
		if (v)
			return v;
	}
	if ((p->guards & GUARD_DHCP) && dhcp && is_dhcp_port(p->key.sport))
		return -DROP_DHCP_SERVER;
	if (p->guards & GUARD_SOURCE) {
		v = guard_source(ctx);
		if (v)
			return v;
	}
	if (!dhcp)
		return STAGE_NEXT;
#ifdef HOOK_XDP
	return STAGE_DONE; /* the tc program reads it */
#else
	return p->key.family == 6 ? dhcp6(ctx, p) : dhcp4(ctx, p);
#endif
}

#endif
