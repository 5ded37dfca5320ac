/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_SPOOF_H
#define DEMARC_BPF_SPOOF_H

/*
 * Anti-spoofing of ports with port security: who the packet says it is from must be the port.
 * A (MAC, address) pair is the port's when one row of port_rec.addrs has the MAC and contains the address.
 */

#include "maps_def.h"

#define DHCP_CLIENT bpf_htons(68)
#define DHCP_SERVER_PORT bpf_htons(67)
#define DHCP6_CLIENT bpf_htons(546)
#define DHCP6_SERVER_PORT bpf_htons(547)

struct claim {
	__u32 ip[4];
	__u8 mac[6];
	__u8 family;
};

static __always_inline int claim_is_row(const struct claim *c, const struct port_addr *a)
{
	__u32 diff = 0;

	for (int i = 0; i < 4; i++)
		diff |= (c->ip[i] ^ a->ip[i]) & a->mask[i];
	for (int i = 0; i < 6; i++)
		diff |= c->mac[i] ^ a->mac[i];
	diff |= c->family ^ a->family;
	return !diff;
}

static __always_inline int port_has_mac(const struct port_rec *port, const __u8 *mac)
{
	if (mac_same(port->mac, mac))
		return 1;
	for (int i = 0; i < ABI_PORT_ADDRS && i < port->n_addrs; i++)
		if (mac_same(port->addrs[i].mac, mac))
			return 1;
	return 0;
}

/* fe80::/64 with the EUI-64 of the MAC: RFC 4291 appendix A. */
static __always_inline int is_own_link_local(const struct claim *c)
{
	const __u8 *b = (const __u8 *)c->ip;

	return c->ip[0] == bpf_htonl(0xfe800000) && !c->ip[1] && b[8] == (c->mac[0] ^ 2) &&
	       b[9] == c->mac[1] && b[10] == c->mac[2] && b[11] == 0xff && b[12] == 0xfe &&
	       b[13] == c->mac[3] && b[14] == c->mac[4] && b[15] == c->mac[5];
}

static __always_inline int claim_holds(const struct port_rec *port, const struct claim *c)
{
	for (int i = 0; i < ABI_PORT_ADDRS && i < port->n_addrs; i++)
		if (claim_is_row(c, &port->addrs[i]))
			return 1;
	return c->family == 6 && is_own_link_local(c) && port_has_mac(port, c->mac);
}

static __always_inline int is_any(const __u32 *ip, int words)
{
	__u32 any = 0;

	for (int i = 0; i < words; i++)
		any |= ip[i];
	return !any;
}

/* RFC 826; sender of a probe may be 0.0.0.0 (RFC 5227). */
static __always_inline int spoof_arp(ctx_t *ctx, struct pkt *p, struct port_rec *port)
{
	struct claim c = {};
	__u8 b[28];

	if (ctx_load(ctx, ETH_SIZE, b, sizeof(b)) < 0)
		return -DROP_MALFORMED;
	mac_copy(c.mac, b + 8);
	__builtin_memcpy(&c.ip[0], b + 14, 4);
	c.family = 4;
	if (!mac_same(c.mac, p->smac))
		return -DROP_SPOOF_ARP;
	if (c.ip[0] && !claim_holds(port, &c))
		return -DROP_SPOOF_ARP;
	return STAGE_NEXT;
}

static __always_inline int spoof_ipv4(struct pkt *p, struct port_rec *port)
{
	struct claim c = {};

	mac_copy(c.mac, p->smac);
	c.ip[0] = p->key.addr[0];
	c.family = 4;
	if (p->key.proto == PROTO_UDP && p->key.sport == DHCP_SERVER_PORT)
		return -DROP_DHCP_SERVER;
	if (!c.ip[0] && p->key.proto == PROTO_UDP && p->key.sport == DHCP_CLIENT &&
	    p->key.dport == DHCP_SERVER_PORT)
		return STAGE_NEXT;
	return claim_holds(port, &c) ? STAGE_NEXT : -DROP_SPOOF_IPV4;
}

#define ND_OPTIONS_MAX 8

/* Link-layer address options (RFC 4861 section 4.6.1) must be the sender's MAC. What has more options than are looked at is not believed. */
static __always_inline int nd_option_ok(ctx_t *ctx, struct pkt *p, __u32 off)
{
	__u8 b[8];

	for (int i = 0; i < ND_OPTIONS_MAX; i++) {
		if (ctx_load(ctx, off, b, 8) < 0)
			return 1;
		if (!b[1])
			return 0;
		if ((b[0] == 1 || b[0] == 2) && !mac_same(b + 2, p->smac))
			return 0;
		off += b[1] * 8u;
	}
	return ctx_load(ctx, off, b, 8) < 0;
}

/* Where the options of a message that hosts send begin, behind the ICMPv6 header's first 8 bytes; 0: it is none of these. */
static __always_inline __u32 nd_options_at(const struct pkt *p)
{
	switch (p->icmp_type) {
	case 133: /* router solicitation */
		return p->l4_off + 8u;
	case 135:
	case 136: /* a target comes first */
		return p->l4_off + 24u;
	}
	return 0;
}

static __always_inline int spoof_nd(ctx_t *ctx, struct pkt *p, struct port_rec *port)
{
	struct claim c = {};
	__u32 options;
	__u8 b[24];

	if (p->icmp_type == 134 || p->icmp_type == 137)
		return -DROP_RA;
	options = nd_options_at(p);
	if (!options)
		return STAGE_NEXT;
	if (!nd_option_ok(ctx, p, options))
		return -DROP_SPOOF_ND;
	if (p->icmp_type == 133)
		return STAGE_NEXT;
	if (ctx_load(ctx, p->l4_off, b, sizeof(b)) < 0)
		return -DROP_MALFORMED;
	/* The target of an advertisement is claimed; so is the one of a solicitation sent from :: (DAD). */
	if (p->icmp_type == 135 && !is_any(p->key.addr, 4))
		return STAGE_NEXT;
	mac_copy(c.mac, p->smac);
	__builtin_memcpy(c.ip, b + 8, 16);
	c.family = 6;
	return claim_holds(port, &c) ? STAGE_NEXT : -DROP_SPOOF_ND;
}

static __always_inline int spoof_ipv6(ctx_t *ctx, struct pkt *p, struct port_rec *port)
{
	struct claim c = {};
	int any = is_any(p->key.addr, 4);

	mac_copy(c.mac, p->smac);
	for (int i = 0; i < 4; i++)
		c.ip[i] = p->key.addr[i];
	c.family = 6;
	if (p->key.proto == PROTO_UDP && p->key.sport == DHCP6_SERVER_PORT)
		return -DROP_DHCP_SERVER;
	if (!(any && p->icmp == ICMP_CONTROL) && !claim_holds(port, &c))
		return -DROP_SPOOF_IPV6;
	if (p->key.proto == PROTO_ICMPV6 && p->frag != FRAG_LATER)
		return spoof_nd(ctx, p, port);
	return STAGE_NEXT;
}

/* The end of stage_port(). */
static __always_inline int port_spoof(ctx_t *ctx, struct port_rec *port)
{
	struct pkt *p = stage_begin(ctx);
	int v;

	if (!p || !port)
		return -DROP_INTERNAL;
	if (!port_has_mac(port, p->smac))
		return -DROP_SPOOF_MAC;
	if (p->kind == PKT_ARP)
		v = spoof_arp(ctx, p, port);
	else if (p->kind != PKT_IP)
		v = -DROP_ETHERTYPE;
	else if (p->key.family == 4)
		v = spoof_ipv4(p, port);
	else
		v = spoof_ipv6(ctx, p, port);
	if (!v)
		TRACE0(p, SPOOF_OK);
	return v;
}

#endif
