/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_PIPE_MSG_H
#define DEMARC_LINK_PIPE_MSG_H

/*
 * What passes between the agent and its network child over the socketpair: a fixed head, then `size` bytes. Both ends are the
 * same binary on the same machine, so the head is a struct; the agent still bounds what the child says, because the child is the
 * part that an attacker may own.
 */

#include <stdint.h>

#include "base/str.h"
#include "link/link.h"

enum pipe_kind {
	PIPE_CONFIG = 1, /* to the child, once: JSON with the PEM texts */
	PIPE_DIAL,	 /* to the child: URL; starts connection `gen` */
	PIPE_FRAME,	 /* both ways: one encoded Frame */
	PIPE_HANGUP,	 /* to the child: close the connection */
	PIPE_UP,	 /* from the child: the WebSocket is open */
	PIPE_DOWN,	 /* from the child: reason; the connection (or the attempt) is over */
	PIPE_RETRY, /* from the child, before PIPE_DOWN: decimal milliseconds after which the hub wants to be asked again */
	PIPE_BULK,  /* to the child: one encoded Frame that lets others pass */
	PIPE_WROTE, /* from the child: the hub takes what is written; decimal bytes of PIPE_BULK that wait no more */
	/* A session of TLS with its ticket, DER. To the child, before the first dial: one of an earlier child. From the child: a new one, behind
	 * PIPE_RESUMED or PIPE_SHAKEN, which says how the connection began that it came over. */
	PIPE_TICKET,
};

struct pipe_head {
	uint32_t size; /* of what follows */
	uint32_t gen;  /* which connection: answers of an earlier one are dropped */
	uint32_t kind;
};
#define PIPE_RESUMED 'r'
#define PIPE_SHAKEN 'f' /* a full handshake */
#define PIPE_SIZE_MAX (LINK_FRAME_MAX + 65536u)

void pipe_msg_add(struct strbuf *out, enum pipe_kind kind, uint32_t gen, struct str payload);
/* Takes one message from the front of `in` at *at. 1, 0 (not yet complete), -EPROTO. The payload is a view into `in`. */
WARN_UNUSED int pipe_msg_next(const struct strbuf *in, size_t *at, struct pipe_head *ret,
			      struct str *ret_payload);
/* Drops the first n bytes. */
void pipe_buf_consume(struct strbuf *b, size_t n);

#endif
