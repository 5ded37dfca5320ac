/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_PARSE_H
#define DEMARC_BPF_PARSE_H

/*
 * Headers to `struct pkt`. Reads with ctx_load() only, so that it takes non-linear packets and compiles in
 * user space. Every function returns STAGE_NEXT or a drop reason.
 * Source: RFC 791, RFC 8200, RFC 792, RFC 4443, RFC 4861.
 */

#include "pkt.h"

static __always_inline __u16 load16(const __u8 *b)
{
	return (__u16)(b[0] << 8 | b[1]);
}

static __always_inline int is_tag(__u16 type)
{
	return type == VLAN_TPID_CUSTOMER || type == VLAN_TPID_SERVICE;
}

static __always_inline __u8 icmp4_kind(__u8 type)
{
	if (type == 8 || type == 0 || (type >= 13 && type <= 18))
		return ICMP_QUERY;
	if (type == 3 || type == 4 || type == 5 || type == 11 || type == 12)
		return ICMP_ERROR;
	return ICMP_REST;
}

static __always_inline __u8 icmp6_kind(__u8 type)
{
	if (type == 128 || type == 129)
		return ICMP_QUERY;
	if (type >= 1 && type <= 4)
		return ICMP_ERROR;
	if ((type >= 130 && type <= 137) || type == 143)
		return ICMP_CONTROL;
	return ICMP_REST;
}

/* The type of the request that an ICMP query is, or answers. */
static __always_inline __u8 icmp_request(__u8 proto, __u8 type)
{
	if (proto == PROTO_ICMPV6)
		return 128;
	return type == 0 ? 8 : type == 8 || (type & 1) ? type : type - 1;
}

/* Ports of a message whose header is b: see struct flow_key. A reply has them the other way round. */
static __always_inline void icmp_ports(struct flow_key *k, __u8 kind, const __u8 *b)
{
	__u8 request = icmp_request(k->proto, b[0]);
	__u16 id = bpf_htons(load16(b + 4)), type = bpf_htons((__u16)(request << 8));

	k->sport = 0;
	k->dport = bpf_htons(load16(b));
	if (kind != ICMP_QUERY)
		return;
	k->sport = b[0] == request ? id : type;
	k->dport = b[0] == request ? type : id;
}

static __always_inline void parse_icmp_type(struct pkt *p)
{
	p->icmp = p->key.proto == PROTO_ICMP ? icmp4_kind(p->icmp_type) : icmp6_kind(p->icmp_type);
}

static __always_inline __u32 load32(const __u8 *b)
{
	return (__u32)load16(b) << 16 | load16(b + 2);
}

/* A first fragment has all headers: RFC 7112, RFC 1858 section 3. */
static __always_inline int too_short(struct pkt *p)
{
	return p->frag == FRAG_FIRST ? -DROP_FRAG_TINY : -DROP_MALFORMED;
}

/* Fragments but the last are multiples of 8 bytes, and none ends beyond 65535: RFC 791, RFC 8200 section 4.5. */
static __always_inline int parse_frag(struct pkt *p, __u16 from, __u32 size, int more)
{
	if (!from && !more)
		return STAGE_NEXT;
	p->frag = from ? FRAG_LATER : FRAG_FIRST;
	p->frag_from = from;
	p->frag_to = from + size;
	p->frag_more = more != 0;
	if (!size || (more && (size & 7)) || p->frag_to > 65535)
		return -DROP_MALFORMED;
	return STAGE_NEXT;
}

/*
 * The header of a segment, whole also in a first fragment: RFC 1858 section 3, RFC 3128. `size` is what the IP
 * header leaves for it and its payload.
 */
static __always_inline int parse_tcp(ctx_t *c, struct pkt *p, __u32 size)
{
	struct tcp_seg *s = &p->seg;
	__u8 b[20];

	if (size < sizeof(b))
		return too_short(p);
	if (ctx_load(c, p->l4_off, b, sizeof(b)) < 0)
		return -DROP_MALFORMED;
	s->off = (b[12] >> 4) * 4;
	if (s->off < sizeof(b))
		return -DROP_MALFORMED;
	if (s->off > size)
		return too_short(p);
	p->tcp_flags = b[13];
	p->flags_seen = b[13];
	s->flags = b[13] | (p->frag ? TCP_PART : 0);
	s->seq = load32(b + 4);
	s->ack = load32(b + 8);
	s->win = load16(b + 14);
	s->len = size - s->off;
	p->key.sport = bpf_htons(load16(b));
	p->key.dport = bpf_htons(load16(b + 2));
	return STAGE_NEXT;
}

/* RFC 768; of a first fragment it is the whole datagram's. 0 is of a jumbogram only: RFC 2675 section 4. */
static __always_inline int udp_length_ok(struct pkt *p, __u32 len, __u32 size)
{
	if (!len && p->key.family == 6)
		return p->len > IP_BIG;
	return len >= 8 && (len <= size || p->frag);
}

/* Ports into the key. `l4_off` is where the L4 header starts, `size` what there is from it on. */
static __always_inline int parse_l4(ctx_t *c, struct pkt *p, __u32 size)
{
	__u8 b[8] = {};
	__u8 proto = p->key.proto;

	p->key.sport = 0;
	p->key.dport = 0;
	if (p->frag == FRAG_LATER)
		return STAGE_NEXT;
	if (proto == PROTO_TCP)
		return parse_tcp(c, p, size);
	if (proto != PROTO_UDP && proto != PROTO_SCTP && proto != PROTO_ICMP && proto != PROTO_ICMPV6)
		return STAGE_NEXT;
	if (size < sizeof(b))
		return too_short(p);
	if (ctx_load(c, p->l4_off, b, sizeof(b)) < 0)
		return -DROP_MALFORMED;
	if (proto == PROTO_UDP && !udp_length_ok(p, load16(b + 4), size))
		return -DROP_MALFORMED;
	if (proto != PROTO_ICMP && proto != PROTO_ICMPV6) {
		p->key.sport = bpf_htons(load16(b));
		p->key.dport = bpf_htons(load16(b + 2));
		return STAGE_NEXT;
	}
	p->icmp_type = b[0];
	p->icmp_code = b[1];
	parse_icmp_type(p);
	icmp_ports(&p->key, p->icmp, b);
	return STAGE_NEXT;
}

static __always_inline int parse_ipv4(ctx_t *c, struct pkt *p)
{
	__u8 b[20];
	__u32 hdr, total;
	__u16 off;

	if (ctx_load(c, p->l3_off, b, sizeof(b)) < 0)
		return -DROP_MALFORMED;
	hdr = (b[0] & 0xf) * 4;
	total = load16(b + 2);
	if (!total && p->len > IP_BIG)
		total = p->len - p->l3_off;
	if (b[0] >> 4 != 4 || hdr < 20 || total < hdr || total > p->len - p->l3_off)
		return -DROP_MALFORMED;
	p->key.family = 4;
	p->key.proto = b[9];
	p->dscp_seen = b[1] >> 2;
	p->hop_limit = b[8];
	__builtin_memcpy(&p->key.addr[0], b + 12, 4);
	__builtin_memcpy(&p->key.addr[1], b + 16, 4);
	off = load16(b + 6);
	p->frag_id = load16(b + 4);
	if (parse_frag(p, (__u16)(off << 3), total - hdr, off & 0x2000))
		return -DROP_MALFORMED;
	p->l4_off = (__u16)(p->l3_off + hdr);
	return parse_l4(c, p, total - hdr);
}

/* One extension header at l4_off; sets *next. 1: more to skip, 0: `next` is the payload. */
static __always_inline int parse_ext(ctx_t *c, struct pkt *p, __u32 end, __u8 *next)
{
	__u8 b[8];
	__u8 proto = *next;

	if (proto != 0 && proto != 43 && proto != 44 && proto != 51 && proto != 60)
		return 0;
	if (p->frag == FRAG_LATER)
		return 0;
	if (ctx_load(c, p->l4_off, b, sizeof(b)) < 0)
		return -DROP_MALFORMED;
	if (!proto && p->l4_off != p->l3_off + 40u) /* hop-by-hop options come first: RFC 8200 section 4 */
		return -DROP_MALFORMED;
	if (proto == 43 && !b[2] && b[3])
		return -DROP_ROUTING_HEADER;
	*next = b[0];
	if (proto == 44) { /* fragment: RFC 8200 section 4.5 */
		__u16 off = load16(b + 2);

		__builtin_memcpy(&p->frag_id, b + 4, 4);
		p->l4_off += 8;
		if (p->frag || p->l4_off > end || parse_frag(p, off & 0xfff8, end - p->l4_off, off & 1))
			return -DROP_MALFORMED;
	} else if (proto == 51) {
		p->l4_off += (b[1] + 2) * 4; /* RFC 4302 section 2.2 */
	} else {
		p->l4_off += (b[1] + 1) * 8;
	}
	return 1;
}

static __always_inline int parse_ipv6(ctx_t *c, struct pkt *p)
{
	__u8 b[40];
	__u32 end;
	__u8 next;
	int more = 1;

	if (ctx_load(c, p->l3_off, b, sizeof(b)) < 0 || b[0] >> 4 != 6)
		return -DROP_MALFORMED;
	end = p->l3_off + (__u32)sizeof(b) + load16(b + 4);
	if (end > p->len)
		return -DROP_MALFORMED;
	if (!load16(b + 4) && p->len > IP_BIG)
		end = p->len;
	p->key.family = 6;
	p->dscp_seen = (__u8)(load16(b) >> 6 & 0x3f);
	p->hop_limit = b[7];
	__builtin_memcpy(&p->key.addr[0], b + 8, 16);
	__builtin_memcpy(&p->key.addr[4], b + 24, 16);
	p->l4_off = (__u16)(p->l3_off + sizeof(b));
	next = b[6];
	for (int i = 0; i < ABI_IPV6_EXT && more > 0; i++)
		more = parse_ext(c, p, end, &next);
	if (more == -DROP_ROUTING_HEADER)
		return more;
	if (p->l4_off > end)
		return too_short(p);
	if (more) /* truncated, or a longer list of headers than anybody sends */
		return -DROP_MALFORMED;
	p->key.proto = next;
	return parse_l4(c, p, end - p->l4_off);
}

/*
 * Skips the IPv6 header at *off, of the packet inside an ICMP error, and its extension headers. Returns 1 for a later
 * fragment, < 0 for a malformed one.
 */
static __always_inline int inner_ext(ctx_t *c, __u32 *off, __u8 *proto)
{
	__u8 b[8];

	*off += 40;
	for (int i = 0; i < ABI_IPV6_EXT; i++) {
		__u8 at = *proto;

		if (at != 0 && at != 43 && at != 44 && at != 51 && at != 60)
			return 0;
		if (ctx_load(c, *off, b, sizeof(b)) < 0)
			return -1;
		*proto = b[0];
		if (at == 44 && (load16(b + 2) & 0xfff8))
			return 1;
		*off += at == 44 ? 8 : at == 51 ? (b[1] + 2) * 4u : (b[1] + 1) * 8u;
	}
	return -1;
}

/*
 * The packet inside an ICMP error, as the tuple its reply would have: that is the flow which the error, a
 * kind of reply, belongs to. RFC 792: IP header and 64 bits; RFC 4443: as much as fits.
 */
static __always_inline int parse_inner(ctx_t *c, struct pkt *p)
{
	struct flow_key in = {};
	__u8 b[40];
	__u32 off = p->l4_off + 8u;
	__u8 icmp;
	int later = 0;

	in.family = p->key.family;
	if (in.family == 4) {
		if (ctx_load(c, off, b, 20) < 0 || b[0] >> 4 != 4 || (b[0] & 0xf) < 5)
			return -DROP_MALFORMED;
		in.proto = b[9];
		__builtin_memcpy(&in.addr[0], b + 12, 4);
		__builtin_memcpy(&in.addr[1], b + 16, 4);
		off += (b[0] & 0xf) * 4u;
		later = load16(b + 6) & 0x1fff;
	} else {
		if (ctx_load(c, off, b, 40) < 0 || b[0] >> 4 != 6)
			return -DROP_MALFORMED;
		in.proto = b[6];
		__builtin_memcpy(&in.addr[0], b + 8, 16);
		__builtin_memcpy(&in.addr[4], b + 24, 16);
		later = inner_ext(c, &off, &in.proto);
		if (later < 0)
			return -DROP_MALFORMED;
	}
	if (!later && ctx_load(c, off, b, 8) < 0)
		return -DROP_MALFORMED;
	if (later) {
		in.sport = 0; /* it names none: an error about no connection */
	} else if (in.proto == PROTO_TCP || in.proto == PROTO_UDP || in.proto == PROTO_SCTP) {
		in.sport = bpf_htons(load16(b));
		in.dport = bpf_htons(load16(b + 2));
	} else if (in.proto == PROTO_ICMP || in.proto == PROTO_ICMPV6) {
		icmp = in.proto == PROTO_ICMP ? icmp4_kind(b[0]) : icmp6_kind(b[0]);
		if (icmp != ICMP_QUERY)
			return -DROP_MALFORMED; /* RFC 1122 3.2.2: no error about an error */
		icmp_ports(&in, icmp, b);
	}
	p->inner_l4 = (__u16)(later ? 0 : off);
	key_reverse(&p->inner, &in);
	p->inner.ifindex = p->key.ifindex;
	p->inner.vlan = p->key.vlan;
	return STAGE_NEXT;
}

/* The whole packet. The caller has zeroed *p and set key.ifindex and key.vlan. */
static __always_inline int parse_packet(ctx_t *c, struct pkt *p)
{
	__u8 b[ETH_SIZE];
	int v;

	p->len = ctx_len(c);
	p->wire = WIRE_ONE | p->len;
	if (ctx_load(c, 0, b, sizeof(b)) < 0)
		return -DROP_MALFORMED;
	mac_copy(p->dmac, b);
	mac_copy(p->smac, b + 6);
	p->multicast = b[0] & 1;
	p->ethertype = load16(b + 12);
	p->l3_off = ETH_SIZE;
	if (b[6] & 1) /* a group cannot send */
		return -DROP_MALFORMED;
	if (p->ethertype == ETHERTYPE_ARP)
		p->kind = PKT_ARP;
	if (p->ethertype == ETHERTYPE_IPV4)
		v = parse_ipv4(c, p);
	else if (p->ethertype == ETHERTYPE_IPV6)
		v = parse_ipv6(c, p);
	else
		return is_tag(p->ethertype) && p->len < ETH_SIZE + 4 ? -DROP_MALFORMED : STAGE_NEXT;
	if (v)
		return v;
	p->kind = PKT_IP;
	p->flow = !p->multicast && p->icmp != ICMP_CONTROL && p->icmp != ICMP_ERROR;
	if (p->icmp == ICMP_ERROR && p->frag != FRAG_LATER)
		return parse_inner(c, p);
	return STAGE_NEXT;
}

#endif
