/* SPDX-License-Identifier: Apache-2.0 */
#include "model/sniff.h"

#include <string.h>

#define TAGS_MAX 2
#define EXTENSIONS_MAX 8

struct cursor {
	const uint8_t *p;
	size_t left;
};

static const uint8_t *take(struct cursor *c, size_t size)
{
	const uint8_t *p = c->p;

	if (size > c->left)
		return NULL;
	c->p += size;
	c->left -= size;
	return p;
}

static uint16_t be(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static struct ip_addr ip_at(uint8_t family, const uint8_t *p)
{
	struct ip_addr a = { .family = family };

	memcpy(a.b, p, family == IP_V6 ? 16 : 4);
	return a;
}

static void sniff_l4(struct cursor c, struct sniffed *s)
{
	const uint8_t *p = take(&c, 4);

	if (!p)
		return;
	if (s->proto == 1 || s->proto == 58) {
		s->has_icmp = true;
		s->icmp_type = p[0];
		s->icmp_code = p[1];
		return;
	}
	if (s->proto != 6 && s->proto != 17 && s->proto != 132)
		return;
	s->has_ports = true;
	s->sport = be(p);
	s->dport = be(p + 2);
	p = take(&c, 10);
	if (p && s->proto == 6)
		s->tcp_flags = p[9];
}

static void sniff_ipv4(struct cursor c, struct sniffed *s)
{
	const uint8_t *p = take(&c, 20);

	if (!p || p[0] >> 4 != 4 || (p[0] & 15) < 5)
		return;
	s->proto = p[9];
	s->src = ip_at(IP_V4, p + 12);
	s->dst = ip_at(IP_V4, p + 16);
	if (!(be(p + 6) & 0x1fff) && take(&c, ((size_t)(p[0] & 15) - 5) * 4)) /* not a later fragment */
		sniff_l4(c, s);
}

/* Moves past one extension header. False: `next` is not one, or the frame ends in it. */
static bool skip_extension(struct cursor *c, uint8_t *next)
{
	const uint8_t *p;
	size_t size;

	if (*next != 0 && *next != 43 && *next != 44 && *next != 60)
		return false;
	p = take(c, 8);
	if (!p)
		return false;
	size = *next == 44 ? 0 : (size_t)p[1] * 8;
	if (*next == 44 && be(p + 2) >> 3) /* a later fragment has no ports */
		c->left = 0;
	*next = p[0];
	return take(c, size) != NULL;
}

static void sniff_ipv6(struct cursor c, struct sniffed *s)
{
	const uint8_t *p = take(&c, 40);

	if (!p || p[0] >> 4 != 6)
		return;
	s->proto = p[6];
	s->src = ip_at(IP_V6, p + 8);
	s->dst = ip_at(IP_V6, p + 24);
	for (int i = 0; i < EXTENSIONS_MAX && skip_extension(&c, &s->proto); i++)
		;
	sniff_l4(c, s);
}

static void sniff_arp(struct cursor c, struct sniffed *s)
{
	const uint8_t *p = take(&c, 28);

	if (!p || be(p + 2) != 0x0800 || p[5] != 4)
		return;
	s->src = ip_at(IP_V4, p + 14);
	s->dst = ip_at(IP_V4, p + 24);
}

void sniff(const uint8_t *head, size_t size, struct sniffed *ret)
{
	struct cursor c = { head, size };
	const uint8_t *p = take(&c, 14);

	memset(ret, 0, sizeof(*ret));
	if (!p)
		return;
	memcpy(ret->dst_mac.b, p, 6);
	memcpy(ret->src_mac.b, p + 6, 6);
	ret->ethertype = be(p + 12);
	for (int i = 0; i < TAGS_MAX && (ret->ethertype == 0x8100 || ret->ethertype == 0x88a8); i++) {
		p = take(&c, 4);
		if (!p)
			return;
		if (!i)
			ret->vlan = be(p) & 0xfff;
		ret->ethertype = be(p + 2);
	}
	if (ret->ethertype == 0x0800)
		sniff_ipv4(c, ret);
	else if (ret->ethertype == 0x86dd)
		sniff_ipv6(c, ret);
	else if (ret->ethertype == 0x0806)
		sniff_arp(c, ret);
}

static bool is_in(const struct ip_cidr *c, struct ip_addr a)
{
	return a.family && cidr_contains(*c, a);
}

bool sniff_matches(const struct sniff_filter *f, const struct sniffed *s)
{
	if (f->family && s->src.family != f->family)
		return false;
	if (f->proto && (!s->src.family || s->proto != f->proto))
		return false;
	if (f->port && (!s->has_ports || (s->sport != f->port && s->dport != f->port)))
		return false;
	if (f->addr.addr.family && !is_in(&f->addr, s->src) && !is_in(&f->addr, s->dst))
		return false;
	return (!f->src.addr.family || is_in(&f->src, s->src)) &&
	       (!f->dst.addr.family || is_in(&f->dst, s->dst));
}
