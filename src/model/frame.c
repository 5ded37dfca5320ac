/* SPDX-License-Identifier: Apache-2.0 */
#include "model/frame.h"

#include <errno.h>

#define PAYLOAD_MAX 32
#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMPV6 58
#define PROTO_HOPOPT 0
#define PROTO_ROUTING 43
#define PROTO_FRAGMENT 44
#define PROTO_DSTOPTS 60
#define ROUTING_TRIAL 253 /* a type for experiments, which nobody acts on: RFC 4727 section 3.5 */

/* Source: neutron-lib constants IP_PROTOCOL_MAP; IANA protocol numbers. Aliases come after the proper name. */
static const struct {
	const char *name;
	uint8_t num;
} protos[] = {
	{ "ah", 51 },	      { "dccp", 33 },	{ "egp", 8 },	      { "esp", 50 },
	{ "gre", 47 },	      { "hopopt", 0 },	{ "icmp", 1 },	      { "igmp", 2 },
	{ "ip", 0 },	      { "ipip", 4 },	{ "ipv6-encap", 41 }, { "ipv6-frag", 44 },
	{ "ipv6-icmp", 58 },  { "icmpv6", 58 }, { "ipv6-nonxt", 59 }, { "ipv6-opts", 60 },
	{ "ipv6-route", 43 }, { "ospf", 89 },	{ "pgm", 113 },	      { "rsvp", 46 },
	{ "sctp", 132 },      { "tcp", 6 },	{ "udp", 17 },	      { "udplite", 136 },
	{ "vrrp", 112 },
};

int l4_proto_parse(struct str s, l4_proto *ret)
{
	uint64_t num;

	for (size_t i = 0; i < ARRAY_LEN(protos); i++) {
		if (str_eq_nocase(s, str_of(protos[i].name))) {
			ret->num = protos[i].num;
			return 0;
		}
	}
	if (str_to_u64(s, 255, &num) < 0)
		return -EINVAL;
	ret->num = (uint8_t)num;
	return 0;
}

const char *l4_proto_name(l4_proto p)
{
	for (size_t i = 0; i < ARRAY_LEN(protos); i++)
		if (protos[i].num == p.num && p.num != 0)
			return protos[i].name;
	return NULL;
}

static const struct {
	const char *name;
	char letter;
	uint8_t bit;
} flag_rows[] = {
	{ "fin", 'f', 1 }, { "syn", 's', 2 },  { "rst", 'r', 4 },
	{ "psh", 'p', 8 }, { "ack", 'a', 16 }, { "urg", 'u', 32 },
};

static int flag_word(struct str word, uint8_t *flags)
{
	for (size_t i = 0; i < ARRAY_LEN(flag_rows); i++) {
		if (str_eq_nocase(word, str_of(flag_rows[i].name))) {
			*flags |= flag_rows[i].bit;
			return 0;
		}
	}
	for (size_t k = 0; k < word.len; k++) {
		uint8_t bit = 0;

		for (size_t i = 0; i < ARRAY_LEN(flag_rows); i++)
			if ((word.ptr[k] | 0x20) == flag_rows[i].letter)
				bit = flag_rows[i].bit;
		if (!bit)
			return -EINVAL;
		*flags |= bit;
	}
	return word.len ? 0 : -EINVAL;
}

int frame_tcp_flags(struct str s, uint8_t *ret)
{
	uint8_t flags = 0;

	if (s.len == 4 && str_starts(s, STR("0x")))
		return str_from_hex((struct str){ s.ptr + 2, 2 }, ret, 1);
	do {
		struct str rest, word = str_cut(s, ',', &rest);

		if (flag_word(str_trim(word), &flags) < 0)
			return -EINVAL;
		s = rest;
	} while (s.len);
	*ret = flags;
	return 0;
}

static bool is_extension(uint8_t proto)
{
	return proto == PROTO_HOPOPT || proto == PROTO_ROUTING || proto == PROTO_FRAGMENT ||
	       proto == PROTO_DSTOPTS;
}

int frame_extensions(struct str s, struct frame_spec *f)
{
	uint8_t ext[FRAME_EXT_MAX], n = 0;

	do {
		struct str rest, word = str_trim(str_cut(s, ',', &rest));
		l4_proto p;

		if (n == FRAME_EXT_MAX || !word.len || l4_proto_parse(word, &p) < 0 ||
		    !is_extension(p.num))
			return -EINVAL;
		ext[n++] = p.num;
		s = rest;
	} while (s.len);
	memcpy(f->ext, ext, n);
	f->n_ext = n;
	return 0;
}

struct out {
	uint8_t *b;
	size_t size;
};

static void put(struct out *o, const void *p, size_t size)
{
	memcpy(o->b + o->size, p, size);
	o->size += size;
}

static void put8(struct out *o, unsigned v)
{
	o->b[o->size++] = (uint8_t)v;
}

static void put16(struct out *o, unsigned v)
{
	put8(o, v >> 8);
	put8(o, v & 0xff);
}

static void put32(struct out *o, uint32_t v)
{
	put16(o, v >> 16);
	put16(o, v & 0xffff);
}

/* RFC 1071, over an even or odd number of bytes. */
static uint32_t sum_bytes(uint32_t sum, const uint8_t *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static uint16_t sum_end(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void set16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put_tcp(struct out *o, const struct frame_spec *f)
{
	put16(o, f->sport);
	put16(o, f->dport);
	put32(o, 1); /* sequence */
	put32(o, f->tcp_flags & 16 ? 1 : 0);
	put8(o, 5 << 4); /* header length in 32-bit words */
	put8(o, f->tcp_flags);
	put16(o, 65535); /* window */
	put32(o, 0);	 /* checksum, urgent pointer */
}

static void put_udp(struct out *o, const struct frame_spec *f)
{
	put16(o, f->sport);
	put16(o, f->dport);
	put16(o, 8 + f->payload_size);
	put16(o, 0);
}

/* Echo request when the description names no type. */
static void put_icmp(struct out *o, const struct frame_spec *f, unsigned echo)
{
	put8(o, f->has_icmp ? f->icmp_type : echo);
	put8(o, f->has_icmp ? f->icmp_code : 0);
	put16(o, 0);
	put32(o, 1u << 16 | 1); /* identifier, sequence */
}

/* Offset of the checksum in the transport header, or 0 when the protocol has none here. */
static size_t put_l4(struct out *o, const struct frame_spec *f)
{
	static const uint8_t payload[PAYLOAD_MAX];
	size_t at = 0;

	switch (f->proto.num) {
	case PROTO_TCP:
		put_tcp(o, f);
		at = 16;
		break;
	case PROTO_UDP:
		put_udp(o, f);
		at = 6;
		break;
	case PROTO_ICMP:
		put_icmp(o, f, 8);
		at = 2;
		break;
	case PROTO_ICMPV6:
		put_icmp(o, f, 128);
		at = 2;
		break;
	}
	put(o, payload, MIN_OF(f->payload_size, (uint8_t)PAYLOAD_MAX));
	return at;
}

static void l4_checksum(struct out *o, size_t l4, size_t at, const struct frame_spec *f)
{
	size_t addr_size = f->src.family == IP_V4 ? 4 : 16, size = o->size - l4;
	uint32_t sum = 0;
	uint16_t check;

	if (!at)
		return;
	if (f->proto.num != PROTO_ICMP) {
		sum = sum_bytes(sum, f->src.b, addr_size);
		sum = sum_bytes(sum, f->dst.b, addr_size);
		sum += (uint32_t)size + f->proto.num;
	}
	check = sum_end(sum_bytes(sum, o->b + l4, size));
	/* RFC 768: a computed zero goes out as all ones. */
	set16(o->b + l4 + at, f->proto.num == PROTO_UDP && check == 0 ? 0xffff : check);
}

static void put_ipv4(struct out *o, const struct frame_spec *f)
{
	size_t l3 = o->size, l4, at;

	put16(o, 0x4500u | (unsigned)f->dscp << 2);
	put16(o, 0);	  /* total length, below */
	put16(o, 1);	  /* identification */
	put16(o, 0x4000); /* do not fragment */
	put8(o, 64);
	put8(o, f->proto.num);
	put16(o, 0);
	put(o, f->src.b, 4);
	put(o, f->dst.b, 4);
	l4 = o->size;
	at = put_l4(o, f);
	set16(o->b + l3 + 2, (uint16_t)(o->size - l3));
	set16(o->b + l3 + 10, sum_end(sum_bytes(0, o->b + l3, 20)));
	l4_checksum(o, l4, at, f);
}

/* The first eight bytes of any of them, which are all: RFC 8200 section 4. */
static void put_extension(struct out *o, uint8_t type, uint8_t next)
{
	put8(o, next);
	put8(o, 0); /* no more than these eight */
	if (type == PROTO_FRAGMENT) {
		put16(o, 0);
		put32(o, 1); /* identification */
	} else if (type == PROTO_ROUTING) {
		put8(o, ROUTING_TRIAL);
		put8(o, 0); /* segments left */
		put32(o, 0);
	} else {
		put8(o, 1); /* PadN */
		put8(o, 4);
		put32(o, 0);
	}
}

static void put_ipv6(struct out *o, const struct frame_spec *f)
{
	size_t l3 = o->size, body = l3 + 40, l4, at;

	put32(o, 0x60000000 | (uint32_t)f->dscp << 22);
	put16(o, 0); /* payload length, below */
	put8(o, f->n_ext ? f->ext[0] : f->proto.num);
	put8(o, 64);
	put(o, f->src.b, 16);
	put(o, f->dst.b, 16);
	for (size_t i = 0; i < f->n_ext; i++)
		put_extension(o, f->ext[i], i + 1 < f->n_ext ? f->ext[i + 1] : f->proto.num);
	l4 = o->size;
	at = put_l4(o, f);
	set16(o->b + l3 + 4, (uint16_t)(o->size - body));
	l4_checksum(o, l4, at, f);
}

static void put_arp(struct out *o, const struct frame_spec *f)
{
	static const uint8_t unknown[6];

	put16(o, 1);	  /* Ethernet */
	put16(o, 0x0800); /* IPv4 */
	put16(o, 0x0604); /* address sizes */
	put16(o, 1);	  /* request */
	put(o, f->src_mac.b, 6);
	put(o, f->src.b, 4);
	put(o, unknown, 6);
	put(o, f->dst.b, 4);
}

int frame_build(const struct frame_spec *f, uint8_t ret[static FRAME_SIZE_MAX], struct err *e)
{
	struct out o = { ret, 0 };

	if (f->src.family != f->dst.family || !f->src.family)
		return err_set(e, FAULT_BAD_REQUEST, "dst_ip",
			       "src_ip and dst_ip must be of one family");
	if (f->arp && f->src.family != IP_V4)
		return err_set(e, FAULT_BAD_REQUEST, "protocol", "ARP carries IPv4 addresses");
	if (f->n_ext && (f->arp || f->src.family != IP_V6))
		return err_set(e, FAULT_BAD_REQUEST, "ipv6_extensions",
			       "only packets of IPv6 have extension headers");
	put(&o, f->dst_mac.b, 6);
	put(&o, f->src_mac.b, 6);
	put16(&o, f->arp ? 0x0806 : f->src.family == IP_V4 ? 0x0800 : 0x86dd);
	if (f->arp)
		put_arp(&o, f);
	else if (f->src.family == IP_V4)
		put_ipv4(&o, f);
	else
		put_ipv6(&o, f);
	return (int)o.size;
}
