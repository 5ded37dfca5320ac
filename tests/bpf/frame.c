/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static void put16(uint8_t *b, unsigned int v)
{
	b[0] = (uint8_t)(v >> 8);
	b[1] = (uint8_t)v;
}

static uint32_t sum_bytes(const uint8_t *b, size_t n, uint32_t sum)
{
	for (size_t i = 0; i + 1 < n; i += 2)
		sum += (uint32_t)(b[i] << 8 | b[i + 1]);
	return n & 1 ? sum + (uint32_t)(b[n - 1] << 8) : sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static size_t put_eth(uint8_t *b, const uint8_t *smac, const uint8_t *dmac, int vlan, unsigned int type)
{
	memcpy(b, dmac, 6);
	memcpy(b + 6, smac, 6);
	if (!vlan) {
		put16(b + 12, type);
		return 14;
	}
	put16(b + 12, 0x8100);
	put16(b + 14, (unsigned int)vlan);
	put16(b + 16, type);
	return 18;
}

void frame_tag(struct frame *f, unsigned int tpid, unsigned int vlan)
{
	memmove(f->b + 16, f->b + 12, f->len - 12);
	put16(f->b + 12, tpid);
	put16(f->b + 14, vlan);
	f->len += 4;
}

static size_t l4_header(uint8_t *b, const struct desc *d)
{
	switch (d->proto) {
	case 6:
		put16(b, d->sport);
		put16(b + 2, d->dport);
		put16(b + 4, d->tcp_seq >> 16);
		put16(b + 6, d->tcp_seq);
		put16(b + 8, d->tcp_ack >> 16);
		put16(b + 10, d->tcp_ack);
		b[12] = (uint8_t)((5 + d->n_opts / 4) << 4);
		b[13] = d->flags;
		put16(b + 14, d->tcp_win);
		if (d->n_opts)
			memcpy(b + 20, d->opts, d->n_opts);
		return 20 + d->n_opts;
	case 17:
		put16(b, d->sport);
		put16(b + 2, d->dport);
		put16(b + 4, (unsigned int)(8 + d->payload));
		return 8;
	case 1:
	case 58:
		b[0] = d->type;
		b[1] = d->code;
		put16(b + 4, d->sport);
		return 8;
	default:
		return 0;
	}
}

/* Offset of the checksum in the L4 header. */
static size_t l4_sum_at(uint8_t proto)
{
	return proto == 6 ? 16 : proto == 17 ? 6 : 2;
}

static void l4_checksum(uint8_t *l4, size_t n, uint8_t proto, const uint8_t *addrs, size_t addrs_size)
{
	uint32_t pseudo = proto == 1 ? 0 : sum_bytes(addrs, addrs_size, (uint32_t)n + proto);

	if (proto != 6 && proto != 17 && proto != 1 && proto != 58)
		return;
	put16(l4 + l4_sum_at(proto), fold(sum_bytes(l4, n, pseudo)));
}

static size_t put_ipv4(uint8_t *b, const struct desc *d, size_t l4_size)
{
	b[0] = 0x45;
	put16(b + 2, (unsigned int)(20 + l4_size));
	put16(b + 4, d->ip_id);
	put16(b + 6, d->frag);
	b[8] = d->ttl ? d->ttl : 64;
	b[9] = d->proto;
	if (inet_pton(AF_INET, d->src, b + 12) != 1 || inet_pton(AF_INET, d->dst, b + 16) != 1)
		abort();
	put16(b + 10, fold(sum_bytes(b, 20, 0)));
	return 20;
}

static size_t put_ipv6(uint8_t *b, const struct desc *d, size_t l4_size)
{
	b[0] = 0x60;
	put16(b + 4, (unsigned int)l4_size);
	b[6] = d->proto;
	b[7] = d->ttl ? d->ttl : 64;
	if (inet_pton(AF_INET6, d->src, b + 8) != 1 || inet_pton(AF_INET6, d->dst, b + 24) != 1)
		abort();
	return 40;
}

void frame_build(struct frame *f, const struct desc *d)
{
	bool v6 = strchr(d->src, ':') != NULL;
	size_t at, l4, l4_size;

	memset(f, 0, sizeof(*f));
	f->vlan = -1;
	at = put_eth(f->b, d->smac, d->dmac, d->vlan, v6 ? 0x86dd : 0x0800);
	l4 = at + (v6 ? 40 : 20);
	if (d->frag & 0x1fff) /* a later fragment is payload only */
		l4_size = d->payload;
	else
		l4_size = l4_header(f->b + l4, d) + d->payload;
	if (d->payload >= 4 && !(d->frag & 0x1fff)) {
		put16(f->b + l4 + l4_size - d->payload, d->seq >> 16);
		put16(f->b + l4 + l4_size - d->payload + 2, d->seq);
	}
	if (v6) {
		put_ipv6(f->b + at, d, l4_size);
		l4_checksum(f->b + l4, l4_size, d->proto, f->b + at + 8, 32);
	} else {
		put_ipv4(f->b + at, d, l4_size);
		if (!(d->frag & 0x1fff))
			l4_checksum(f->b + l4, l4_size, d->proto, f->b + at + 12, 8);
	}
	f->len = l4 + l4_size;
}

void frame_arp(struct frame *f, const uint8_t *smac, const uint8_t *dmac, int op,
	       const uint8_t *sha, const char *spa, const char *tpa)
{
	uint8_t *b = f->b + 14;

	memset(f, 0, sizeof(*f));
	put_eth(f->b, smac, dmac, 0, 0x0806);
	put16(b, 1);
	put16(b + 2, 0x0800);
	b[4] = 6;
	b[5] = 4;
	put16(b + 6, (unsigned int)op);
	memcpy(b + 8, sha, 6);
	if (inet_pton(AF_INET, spa, b + 14) != 1 || inet_pton(AF_INET, tpa, b + 24) != 1)
		abort();
	f->len = 42;
}

void frame_nd(struct frame *f, const uint8_t *smac, const uint8_t *dmac, const char *src,
	      const char *dst, int type, const char *target, const uint8_t *opt)
{
	struct desc d = { .smac = smac,
			  .dmac = dmac,
			  .src = src,
			  .dst = dst,
			  .proto = 58,
			  .type = (uint8_t)type,
			  .payload = opt ? 24 : 16,
			  .ttl = 255 };
	uint8_t *icmp = f->b + 54;

	frame_build(f, &d);
	put16(icmp + 2, 0);
	if (inet_pton(AF_INET6, target, icmp + 8) != 1)
		abort();
	if (opt) {
		icmp[24] = type == 135 ? 1 : 2;
		icmp[25] = 1;
		memcpy(icmp + 26, opt, 6);
	}
	l4_checksum(icmp, 8 + d.payload, 58, f->b + 22, 32);
}

void frame_icmp_error(struct frame *f, const uint8_t *smac, const uint8_t *dmac, const char *src,
		      const char *dst, const struct frame *about)
{
	bool v6 = strchr(src, ':') != NULL;
	size_t n = about->len - 14, off = 14 + (v6 ? 40 : 20);
	struct desc d = { .smac = smac,
			  .dmac = dmac,
			  .src = src,
			  .dst = dst,
			  .proto = v6 ? 58 : 1,
			  .type = v6 ? 1 : 3,
			  .code = v6 ? 4 : 3,
			  .payload = n };

	frame_build(f, &d);
	memcpy(f->b + off + 8, about->b + 14, n);
	put16(f->b + off + 2, 0);
	l4_checksum(f->b + off, 8 + n, d.proto, f->b + 22, 32);
}

void frame_unfinish(struct frame *f)
{
	bool v6 = f->b[12] == 0x86;
	size_t l4 = v6 ? 54 : 34;
	uint8_t proto = f->b[v6 ? 20 : 23];

	put16(f->b + l4 + l4_sum_at(proto),
	      (uint16_t)~fold(sum_bytes(f->b + (v6 ? 22 : 26), v6 ? 32 : 8,
					(uint32_t)(f->len - l4) + proto)));
}

uint32_t frame_seq(const struct frame *f)
{
	bool v6 = f->b[12] == 0x86;
	size_t at = 14 + (v6 ? 40 : 20) + 8;

	if (f->len < at + 4)
		return 0;
	return (uint32_t)f->b[at] << 24 | (uint32_t)f->b[at + 1] << 16 |
	       (uint32_t)f->b[at + 2] << 8 | f->b[at + 3];
}

bool frame_icmp6_ok(const struct frame *f)
{
	size_t n = f->len - 54;

	return fold(sum_bytes(f->b + 54, n, sum_bytes(f->b + 22, 32, (uint32_t)n + 58))) == 0;
}

bool frame_sums_ok(const struct frame *f)
{
	bool v6 = f->b[12] == 0x86;
	size_t ip = v6 ? 40 : 20, n;
	uint8_t proto = f->b[v6 ? 20 : 23];

	n = v6 ? (size_t)(f->b[18] << 8 | f->b[19]) : (size_t)(f->b[16] << 8 | f->b[17]) - 20;
	if (14 + ip + n != f->len || (!v6 && fold(sum_bytes(f->b + 14, 20, 0))))
		return false;
	return !fold(sum_bytes(f->b + 14 + ip, n,
			       sum_bytes(f->b + (v6 ? 22 : 26), v6 ? 32 : 8, (uint32_t)n + proto)));
}
