/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_FRAME_H
#define DEMARC_LINK_FRAME_H

/*
 * The frame codec: what stands between bytes of a peer and everybody else.
 *
 * A frame is refused when it is larger than LINK_FRAME_MAX, does not decode, would need more than FRAME_ALLOC_MAX
 * bytes of memory once decoded (two wire bytes can make a hundred-byte struct), holds text that is not UTF-8, or is of a
 * kind that this direction does not carry. A kind unknown to this release decodes with body_case NOT_SET: ignore it (B6).
 * Thread: any; no state.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "demarc.pb-c.h"

#define FRAME_ALLOC_MAX (16u << 20) /* bytes: sixteen times the largest frame */

enum frame_from { FRAME_FROM_NODE, FRAME_FROM_HUB };

/* Faults: TOO_LARGE, PROTOCOL. *ret comes from malloc(3): free with frame_free() or the generated free with a NULL allocator. */
WARN_UNUSED int frame_decode(enum frame_from from, const void *data, size_t size,
			     Demarc__V1__Frame **ret, struct err *e);
/* -EMSGSIZE past LINK_FRAME_MAX, -ENOMEM. Caller frees *ret. */
WARN_UNUSED int frame_encode(const Demarc__V1__Frame *f, uint8_t **ret, size_t *ret_size);
void frame_free(Demarc__V1__Frame *f);			 /* takes NULL */
const char *frame_kind_name(const Demarc__V1__Frame *f); /* "report"; "unknown" */
DEFINE_CLEANUP(Demarc__V1__Frame *, frame_free)

/* Unpacks any message with the same bounds. NULL when it does not decode. Free with protobuf_c_message_free_unpacked(m, NULL). */
ProtobufCMessage *frame_unpack(const ProtobufCMessageDescriptor *d, const void *data, size_t size);

#endif
