/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pcapng.h"

#include <errno.h>
#include <string.h>

#define BYTE_ORDER_MAGIC 0x1a2b3c4d
#define LINKTYPE_ETHERNET 1
#define ETH_HEADER 14u
#define ETH_ADDRESSES 12u
#define TAG 4u

enum option { OPT_END = 0, IF_NAME = 2, EPB_FLAGS = 2, SHB_USERAPPL = 4, ISB_IFDROP = 5 };
enum { FLAG_INBOUND = 1, FLAG_OUTBOUND = 2 };

static void add_u16(struct strbuf *b, uint16_t v)
{
	const uint8_t bytes[] = { (uint8_t)v, (uint8_t)(v >> 8) };

	strbuf_add(b, bytes, sizeof(bytes));
}

static void add_u32(struct strbuf *b, uint32_t v)
{
	add_u16(b, (uint16_t)v);
	add_u16(b, (uint16_t)(v >> 16));
}

static void add_u64(struct strbuf *b, uint64_t v)
{
	add_u32(b, (uint32_t)v);
	add_u32(b, (uint32_t)(v >> 32));
}

static void add_padding(struct strbuf *b, size_t len)
{
	strbuf_add(b, "\0\0\0", -len & 3);
}

static void add_option(struct strbuf *b, enum option code, const void *value, size_t len)
{
	add_u16(b, (uint16_t)code);
	add_u16(b, (uint16_t)len);
	strbuf_add(b, value, len);
	add_padding(b, len);
}

/* A block is built apart: its length stands before and behind it. */
static void add_block(struct strbuf *b, enum pcapng_kind kind, struct strbuf *body)
{
	uint32_t size = (uint32_t)body->len + 12;

	if (body->error) {
		b->error = body->error;
		return;
	}
	add_u32(b, (uint32_t)kind);
	add_u32(b, size);
	strbuf_add(b, body->ptr, body->len);
	add_u32(b, size);
}

static void add_time(struct strbuf *b, int64_t time_us)
{
	add_u32(b, (uint32_t)((uint64_t)time_us >> 32));
	add_u32(b, (uint32_t)time_us);
}

void pcapng_add_header(struct strbuf *b, const char *interface)
{
	struct strbuf section CLEANUP(strbuf_done) = { 0 }, device CLEANUP(strbuf_done) = { 0 };

	add_u32(&section, BYTE_ORDER_MAGIC);
	add_u16(&section, 1); /* version */
	add_u16(&section, 0);
	add_u64(&section, UINT64_MAX); /* length: not known */
	add_option(&section, SHB_USERAPPL, "demarc", 6);
	add_option(&section, OPT_END, "", 0);
	add_block(b, PCAPNG_SECTION, &section);

	add_u16(&device, LINKTYPE_ETHERNET);
	add_u16(&device, 0);
	add_u32(&device, PCAPNG_FRAME_MAX);
	add_option(&device, IF_NAME, interface, strnlen(interface, 256));
	add_option(&device, OPT_END, "", 0);
	add_block(b, PCAPNG_INTERFACE, &device);
}

/* IEEE 802.1Q: the tag stands behind the addresses. */
static void add_tagged(struct strbuf *b, struct str head, uint16_t vlan)
{
	const uint8_t tag[TAG] = { 0x81, 0, (uint8_t)(vlan >> 8), (uint8_t)vlan };

	strbuf_add(b, head.ptr, ETH_ADDRESSES);
	strbuf_add(b, tag, vlan ? sizeof(tag) : 0);
	strbuf_add(b, head.ptr + ETH_ADDRESSES, head.len - ETH_ADDRESSES);
}

void pcapng_add_frame(struct strbuf *b, const struct pcapng_frame *f)
{
	struct strbuf body CLEANUP(strbuf_done) = { 0 };
	const uint8_t flags[4] = { f->to_interface ? FLAG_INBOUND : FLAG_OUTBOUND };
	size_t tag = f->vlan ? TAG : 0;

	if (f->head.len < ETH_HEADER || f->head.len > PCAPNG_FRAME_MAX - TAG)
		return;
	add_u32(&body, 0); /* interface */
	add_time(&body, f->time_us);
	add_u32(&body, (uint32_t)(f->head.len + tag));
	add_u32(&body, f->size + (uint32_t)tag);
	add_tagged(&body, f->head, f->vlan);
	add_padding(&body, f->head.len + tag);
	add_option(&body, EPB_FLAGS, flags, sizeof(flags));
	add_option(&body, OPT_END, "", 0);
	add_block(b, PCAPNG_FRAME, &body);
}

void pcapng_add_lost(struct strbuf *b, int64_t time_us, uint64_t lost)
{
	struct strbuf body CLEANUP(strbuf_done) = { 0 };

	add_u32(&body, 0); /* interface */
	add_time(&body, time_us);
	add_u16(&body, ISB_IFDROP);
	add_u16(&body, sizeof(lost));
	add_u64(&body, lost);
	add_option(&body, OPT_END, "", 0);
	add_block(b, PCAPNG_STATISTICS, &body);
}

/* ---- reading what we wrote ---- */

static uint64_t get(const char *p, size_t n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | (uint8_t)p[n];
	return v;
}

static bool is_known(uint64_t kind)
{
	return kind == PCAPNG_SECTION || kind == PCAPNG_INTERFACE || kind == PCAPNG_STATISTICS ||
	       kind == PCAPNG_FRAME;
}

int pcapng_next(struct str in, struct pcapng_block *ret)
{
	uint64_t kind, size;

	if (in.len < 8)
		return 0;
	kind = get(in.ptr, 4);
	size = get(in.ptr + 4, 4);
	if (!is_known(kind) || size < 12 || size > PCAPNG_BLOCK_MAX || size % 4)
		return -EPROTO;
	if (in.len < size)
		return 0;
	if (get(in.ptr + size - 4, 4) != size)
		return -EPROTO;
	*ret = (struct pcapng_block){ .kind = (enum pcapng_kind)kind, .size = size };
	if (kind == PCAPNG_STATISTICS && size == 40 && get(in.ptr + 20, 2) == ISB_IFDROP)
		ret->lost = get(in.ptr + 24, 8);
	return 1;
}
