/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_FIRST_HOP_H
#define DEMARC_BPF_FIRST_HOP_H

/*
 * First-hop security where hosts are not ours and have no fixed addresses: a LAN port. RA guard (RFC 6105, 7113), DHCP
 * snooping of both families (RFC 7513), inspection of ARP and ND against what was snooped, first come first served for
 * addresses that hosts make themselves (RFC 6620), no fragmented neighbour discovery (RFC 6980).
 */

#include "maps_def.h"
#include "parse.h"
#include "port.h"
#include "spoof.h"

#define DHCP_OPTIONS_MAX 32
#define DHCP6_OPTIONS_MAX 24
#define FCFS_HOLD_NS                                                                               \
	7200000000000ULL /* 2 h since the last use: nobody is probed, as RFC 6620 would after DEFAULT_LT */
#define FCFS_RENEW_NS 60000000000ULL /* not written for every packet */

enum dhcp_message {
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

/* p->addr belongs to the sender of p. What was claimed stays its own as long as it opens connections. */
static __always_inline int binding_holds(struct pkt *p)
{
	struct binding *b = bpf_map_lookup_elem(&bindings, &p->addr);

	if (!b || b->ifindex != p->in.ifindex || b->vlan != p->in.vlan || p->now >= b->until_ns ||
	    !mac_same(b->mac, p->smac))
		return 0;
	if ((b->flags & BINDING_CLAIMED) && !p->trace &&
	    b->until_ns < p->now + FCFS_HOLD_NS - FCFS_RENEW_NS)
		b->until_ns = p->now + FCFS_HOLD_NS;
	return 1;
}

/* Gives p->addr to `mac`, wherever that was learned. */
static __always_inline void binding_give(struct pkt *p, const __u8 *mac, __u32 seconds)
{
	struct binding b = {};
	struct fdb_rec *at;

	p->fdb.net = p->net;
	mac_copy(p->fdb.mac, mac);
	at = bpf_map_lookup_elem(&fdb_learned, &p->fdb);
	if (!at || p->trace)
		return;
	b.ifindex = at->ifindex;
	b.vlan = at->vlan;
	mac_copy(b.mac, mac);
	b.until_ns = seconds == ~0u ? ~0ULL : p->now + seconds * 1000000000ULL;
	bpf_map_update_elem(&bindings, &p->addr, &b, BPF_ANY);
	TRACE1(p, GUARD_BOUND, b.ifindex);
}

/* The holder gives p->addr back: its flows are looked at again. */
static __always_inline void binding_return(struct pkt *p)
{
	if (p->trace || !binding_holds(p))
		return;
	bpf_map_delete_elem(&bindings, &p->addr);
	gen_bump();
}

#ifndef HOOK_XDP

/* ---- DHCP for IPv4: RFC 2131, RFC 2132 ---- */

/* Message type and lease time, from the options. */
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
	}
	return STAGE_NEXT;
}

/* ---- DHCP for IPv6: RFC 8415 ---- */

static __always_inline void dhcp6_address(struct pkt *p, const __u8 *opt, __u8 type)
{
	__u32 valid = (__u32)opt[24] << 24 | (__u32)opt[25] << 16 | (__u32)opt[26] << 8 | opt[27];
	__u32 ip[4];

	__builtin_memcpy(ip, opt + 4, 16);
	binding_key(p, 6, ip);
	if (type != DHCP6_REPLY)
		binding_return(p);
	else if (valid)
		binding_give(p, p->dmac, valid);
	else
		bpf_map_delete_elem(&bindings, &p->addr);
}

/* One option at `off`; returns where the next one is, 0 at the end. Options inside an IA follow its header. */
__noinline __u32 dhcp6_option(ctx_t *ctx, __u32 off, __u32 type)
{
	struct pkt *p = stage_begin(ctx);
	__u8 b[28];
	__u32 code, len;

	if (!p || ctx_load(ctx, off, b, 4) < 0)
		return 0;
	code = load16(b);
	len = load16(b + 2);
	if (code == 3)
		return off + 16; /* IA_NA: IAID, T1, T2 */
	if (code == 4)
		return off + 8; /* IA_TA: IAID */
	if (code == 5 && len >= 24 && ctx_load(ctx, off, b, sizeof(b)) >= 0)
		dhcp6_address(p, b, (__u8)type);
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
	return STAGE_NEXT;
}

#endif

/* ---- what comes from a guarded port ---- */

static __always_inline int source_row(struct pkt *p, __u8 family, const __u32 *ip)
{
	struct port_rec *port = bpf_map_lookup_elem(&ports, &p->in);
	struct claim c = {};

	mac_copy(c.mac, p->smac);
	c.family = family;
	for (int i = 0; i < 4; i++)
		c.ip[i] = family == 6 || !i ? ip[i] : 0;
	return port && claim_holds(port, &c);
}

/* `ip` is the sender's: by a row of the port, by DHCP or by first claim. */
static __always_inline int source_holds(struct pkt *p, __u8 family, const __u32 *ip)
{
	binding_key(p, family, ip);
	return binding_holds(p) || source_row(p, family, ip);
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
	if (!p->trace) {
		struct binding b = { .ifindex = p->in.ifindex,
				     .vlan = p->in.vlan,
				     .flags = BINDING_CLAIMED };

		mac_copy(b.mac, p->smac);
		b.until_ns = p->now + FCFS_HOLD_NS;
		bpf_map_update_elem(&bindings, &p->addr, &b, BPF_ANY);
	}
	return STAGE_NEXT;
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

__noinline int guard_source(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);
	__u32 ip[4];

	if (!p)
		return -DROP_INTERNAL;
	if (p->kind == PKT_ARP)
		return source_arp(ctx, p);
	if (p->kind != PKT_IP)
		return STAGE_NEXT;
	for (int i = 0; i < 4; i++)
		ip[i] = p->key.addr[i];
	if (!source_unset(p) && !source_holds(p, p->key.family, ip))
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
