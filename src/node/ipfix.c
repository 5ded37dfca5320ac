/* SPDX-License-Identifier: Apache-2.0 */
#include "node/ipfix.h"

#include <string.h>

#include "base/cleanup.h"

#define VERSION 10
#define HEADER_SIZE 16
#define SET_HEADER_SIZE 4
#define SET_TEMPLATES 2
#define SET_OPTIONS 3
#define VARIABLE 0xffff /* RFC 7011 section 7: the length is in the record */

/* How a member of the record becomes an information element. */
enum encoding { AS_NUMBER, AS_BYTES, AS_TEXT };

struct field {
	uint16_t ie, size; /* on the wire */
	enum encoding as;
	uint16_t offset, from; /* of the member, and its size */
};

struct template
{
	uint16_t id;
	uint16_t n_fields, n_scope; /* n_scope > 0: an options template */
	const struct field *fields;
};

#define FIELD(type, ie, size, how, member)                                                         \
	{                                                                                          \
		ie, size, how, offsetof(struct type, member), sizeof(((struct type *)0)->member)   \
	}
#define NUMBER(ie, size, member) FIELD(ipfix_flow, ie, size, AS_NUMBER, member)
#define BYTES(ie, size, member) FIELD(ipfix_flow, ie, size, AS_BYTES, member)

/* IEs by number: https://www.iana.org/assignments/ipfix */
#define ADDRESSES_V4 BYTES(8, 4, src.b), BYTES(12, 4, dst.b)
#define ADDRESSES_V6 BYTES(27, 16, src.b), BYTES(28, 16, dst.b)
#define COMMON                                                                                     \
	NUMBER(7, 2, sport), NUMBER(11, 2, dport), NUMBER(4, 1, protocol),                         \
		NUMBER(6, 2, tcp_flags), NUMBER(1, 8, octets), NUMBER(2, 8, pkts),                 \
		NUMBER(152, 8, start_ms), NUMBER(153, 8, end_ms), NUMBER(10, 4, in),               \
		NUMBER(58, 2, vlan), BYTES(56, 6, smac.b), BYTES(80, 6, dmac.b),                   \
		NUMBER(136, 1, end), NUMBER(89, 1, forwarding)
#define FORWARDED NUMBER(14, 4, out), NUMBER(239, 1, biflow)
#define DROPPED NUMBER(132, 8, octets), NUMBER(133, 8, pkts), NUMBER(233, 1, firewall)
#define NAT_PORTS NUMBER(227, 2, post_sport), NUMBER(228, 2, post_dport)

static const struct field flow4[] = { ADDRESSES_V4, COMMON, FORWARDED };
static const struct field flow6[] = { ADDRESSES_V6, COMMON, FORWARDED };
static const struct field drop4[] = { ADDRESSES_V4, COMMON, DROPPED };
static const struct field drop6[] = { ADDRESSES_V6, COMMON, DROPPED };
static const struct field nat4[] = {
	ADDRESSES_V4, COMMON, FORWARDED, BYTES(225, 4, post_src.b), BYTES(226, 4, post_dst.b),
	NAT_PORTS
};
static const struct field nat6[] = {
	ADDRESSES_V6, COMMON, FORWARDED, BYTES(281, 16, post_src.b), BYTES(282, 16, post_dst.b),
	NAT_PORTS
};

#define EVENT(ie, size, how, member) FIELD(ipfix_nat, ie, size, how, member)
#define EVENT_COMMON                                                                               \
	EVENT(323, 8, AS_NUMBER, time_ms), EVENT(230, 1, AS_NUMBER, event),                        \
		EVENT(4, 1, AS_NUMBER, protocol), EVENT(7, 2, AS_NUMBER, sport),                   \
		EVENT(11, 2, AS_NUMBER, dport), EVENT(227, 2, AS_NUMBER, post_sport),              \
		EVENT(228, 2, AS_NUMBER, post_dport)

/* RFC 8158 sections 5.3 and 5.5 */
static const struct field event4[] = { EVENT_COMMON, EVENT(8, 4, AS_BYTES, src.b),
				       EVENT(12, 4, AS_BYTES, dst.b),
				       EVENT(225, 4, AS_BYTES, post_src.b),
				       EVENT(226, 4, AS_BYTES, post_dst.b) };
static const struct field event6[] = { EVENT_COMMON, EVENT(27, 16, AS_BYTES, src.b),
				       EVENT(28, 16, AS_BYTES, dst.b),
				       EVENT(281, 16, AS_BYTES, post_src.b),
				       EVENT(282, 16, AS_BYTES, post_dst.b) };

#define STAT(ie, size, member) FIELD(ipfix_stats, ie, size, AS_NUMBER, member)
static const struct field stats[] = { STAT(144, 4, process),	STAT(41, 8, messages),
				      STAT(42, 8, records),	STAT(40, 8, octets),
				      STAT(165, 8, lost_flows), STAT(166, 8, lost_pkts),
				      STAT(167, 8, lost_octets) };

static const struct field interfaces[] = { FIELD(ipfix_interface, 10, 4, AS_NUMBER, index),
					   FIELD(ipfix_interface, 82, VARIABLE, AS_TEXT, name),
					   FIELD(ipfix_interface, 83, VARIABLE, AS_TEXT, description) };

/* selectorName names the reason, droppedPacketTotalCount counts it */
static const struct field drops[] = { FIELD(ipfix_drops, 144, 4, AS_NUMBER, process),
				      FIELD(ipfix_drops, 335, VARIABLE, AS_TEXT, reason),
				      FIELD(ipfix_drops, 89, 1, AS_NUMBER, forwarding),
				      FIELD(ipfix_drops, 135, 8, AS_NUMBER, pkts) };

enum template_index {
	T_FLOW4,
	T_FLOW6,
	T_NAT4,
	T_NAT6,
	T_DROP4,
	T_DROP6,
	T_EVENT4,
	T_EVENT6,
	T_STATS,
	T_INTERFACES,
	T_DROPS
};

/* RFC 7011 section 3.4.1: ids from 256 on. */
#define TEMPLATE(index, fields, n_scope)                                                           \
	[index] = { 256 + (index), ARRAY_LEN(fields), n_scope, fields }
static const struct template templates[] = {
	TEMPLATE(T_FLOW4, flow4, 0),   TEMPLATE(T_FLOW6, flow6, 0),
	TEMPLATE(T_NAT4, nat4, 0),     TEMPLATE(T_NAT6, nat6, 0),
	TEMPLATE(T_DROP4, drop4, 0),   TEMPLATE(T_DROP6, drop6, 0),
	TEMPLATE(T_EVENT4, event4, 0), TEMPLATE(T_EVENT6, event6, 0),
	TEMPLATE(T_STATS, stats, 1),   TEMPLATE(T_INTERFACES, interfaces, 1),
	TEMPLATE(T_DROPS, drops, 2),
};

/* ---- bytes ---- */

static void put(struct ipfix *x, uint64_t v, size_t size)
{
	for (size_t i = size; i-- > 0; v >>= 8)
		x->buf[x->size + i] = (uint8_t)v;
	x->size += size;
}

static void put_at(struct ipfix *x, size_t at, uint32_t v, size_t size)
{
	for (size_t i = size; i-- > 0; v >>= 8)
		x->buf[at + i] = (uint8_t)v;
}

static uint64_t number_of(const void *p, size_t size)
{
	uint64_t v8;
	uint32_t v4;
	uint16_t v2;

	switch (size) {
	case 8:
		memcpy(&v8, p, 8);
		return v8;
	case 4:
		memcpy(&v4, p, 4);
		return v4;
	case 2:
		memcpy(&v2, p, 2);
		return v2;
	}
	return *(const uint8_t *)p;
}

static void put_field(struct ipfix *x, const struct field *f, const void *record)
{
	const char *p = (const char *)record + f->offset;
	size_t len = f->size;

	if (f->as == AS_NUMBER) {
		put(x, number_of(p, f->from), f->size);
		return;
	}
	if (f->as == AS_TEXT) { /* below 255 bytes: one byte of length */
		len = strnlen(p, f->from);
		put(x, len, 1);
	}
	memcpy(x->buf + x->size, p, len);
	x->size += len;
}

static size_t record_size(const struct template *t, const void *record)
{
	size_t size = 0;

	for (size_t i = 0; i < t->n_fields; i++) {
		const struct field *f = &t->fields[i];

		size += f->as == AS_TEXT ? 1 + strnlen((const char *)record + f->offset, f->from) :
					   f->size;
	}
	return size;
}

/* ---- messages and sets ---- */

static void begin(struct ipfix *x)
{
	x->size = HEADER_SIZE;
	x->set_at = 0;
	x->n_records = 0;
}

static void close_set(struct ipfix *x)
{
	if (x->set_at)
		put_at(x, x->set_at + 2, (uint32_t)(x->size - x->set_at), 2);
	x->set_at = 0;
}

void ipfix_flush(struct ipfix *x)
{
	close_set(x);
	if (x->size <= HEADER_SIZE)
		return;
	put_at(x, 0, VERSION, 2);
	put_at(x, 2, (uint32_t)x->size, 2);
	put_at(x, 4, x->now_s, 4);
	put_at(x, 8, x->sequence, 4); /* data records before this message: RFC 7011 section 3.1 */
	put_at(x, 12, x->domain, 4);
	x->sequence += (uint32_t)x->n_records;
	x->send(x->ctx, x->buf, x->size, x->n_records);
	begin(x);
}

/* Room for `size` bytes in a set of this id. */
static void need(struct ipfix *x, uint16_t set_id, size_t size)
{
	bool same = x->set_at && x->set_id == set_id;

	if (x->size + size + (same ? 0 : SET_HEADER_SIZE) > x->max) {
		ipfix_flush(x);
		same = false;
	}
	if (same)
		return;
	close_set(x);
	x->set_at = x->size;
	x->set_id = set_id;
	put(x, set_id, 2);
	put(x, 0, 2);
}

static void data(struct ipfix *x, enum template_index index, const void *record)
{
	const struct template *t = &templates[index];

	need(x, t->id, record_size(t, record));
	for (size_t i = 0; i < t->n_fields; i++)
		put_field(x, &t->fields[i], record);
	x->n_records++;
}

void ipfix_open(struct ipfix *x, uint32_t domain, size_t max,
		void (*send)(void *ctx, const uint8_t *message, size_t size, size_t n_records),
		void *ctx)
{
	*x = (struct ipfix){ .send = send, .ctx = ctx, .domain = domain };
	begin(x);
	ipfix_resize(x, max);
}

void ipfix_resize(struct ipfix *x, size_t max)
{
	ipfix_flush(x);
	x->max = MAX_OF(MIN_OF(max, (size_t)IPFIX_MESSAGE_MAX), (size_t)IPFIX_MESSAGE_MIN);
}

void ipfix_templates(struct ipfix *x)
{
	for (size_t i = 0; i < ARRAY_LEN(templates); i++) {
		const struct template *t = &templates[i];

		need(x, t->n_scope ? SET_OPTIONS : SET_TEMPLATES,
		     (t->n_scope ? 6 : 4) + 4 * (size_t)t->n_fields);
		put(x, t->id, 2);
		put(x, t->n_fields, 2);
		if (t->n_scope)
			put(x, t->n_scope, 2);
		for (size_t f = 0; f < t->n_fields; f++) {
			put(x, t->fields[f].ie, 2);
			put(x, t->fields[f].size, 2);
		}
	}
}

/* ---- records ---- */

void ipfix_flow(struct ipfix *x, const struct ipfix_flow *f)
{
	bool v6 = f->src.family == IP_V6;

	if (f->forwarding >= IPFIX_DROPPED)
		data(x, v6 ? T_DROP6 : T_DROP4, f);
	else if (f->nat)
		data(x, v6 ? T_NAT6 : T_NAT4, f);
	else
		data(x, v6 ? T_FLOW6 : T_FLOW4, f);
}

void ipfix_nat(struct ipfix *x, const struct ipfix_nat *n)
{
	data(x, n->src.family == IP_V6 ? T_EVENT6 : T_EVENT4, n);
}

void ipfix_stats(struct ipfix *x, const struct ipfix_stats *s)
{
	data(x, T_STATS, s);
}

void ipfix_drops(struct ipfix *x, const struct ipfix_drops *d)
{
	data(x, T_DROPS, d);
}

void ipfix_interface(struct ipfix *x, const struct ipfix_interface *i)
{
	data(x, T_INTERFACES, i);
}
