/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_BASE_PCAPNG_H
#define DEMARC_BASE_PCAPNG_H

/*
 * A capture as it is written and passed on: pcapng with one section and one Ethernet interface, little-endian, microseconds. Pure. Thread: any.
 * Source: draft-ietf-opsawg-pcapng.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define PCAPNG_FRAME_MAX 1536 /* bytes of a frame that are kept */
#define PCAPNG_BLOCK_MAX 2048 /* no block that we write is longer */

struct pcapng_frame {
	int64_t time_us;   /* wall clock */
	bool to_interface; /* else from it */
	uint16_t vlan; /* of the tag that was taken off, put back in front of the others; 0: none */
	uint32_t size; /* as it was sent */
	struct str head; /* what is kept of it: at least its Ethernet header */
};

void pcapng_add_header(struct strbuf *b, const char *interface);
/* Nothing, when the head is shorter than an Ethernet header or longer than PCAPNG_FRAME_MAX - 4. */
void pcapng_add_frame(struct strbuf *b, const struct pcapng_frame *f);
/* How many frames were not captured for want of room, since the beginning. */
void pcapng_add_lost(struct strbuf *b, int64_t time_us, uint64_t lost);

enum pcapng_kind {
	PCAPNG_SECTION = 0x0a0d0d0a,
	PCAPNG_INTERFACE = 1,
	PCAPNG_STATISTICS = 5,
	PCAPNG_FRAME = 6
};
struct pcapng_block {
	enum pcapng_kind kind;
	size_t size;
	uint64_t lost; /* of statistics */
};
/* The block that `in` begins with: 1; 0: not all of it is there; -EPROTO: it is none of those above. */
WARN_UNUSED int pcapng_next(struct str in, struct pcapng_block *ret);

#endif
