/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_WIRE_H
#define DEMARC_LINK_WIRE_H

/*
 * The WebSocket on a connection: its opening, then whole messages both ways. Never blocks; who waits for the descriptor, and who decides
 * when to dial, is the owner's: the child process of an agent (child.c), or a loop with very many (client_here.c).
 */

#include "link/dial.h"
#include "link/wsc.h"

#define WIRE_PONGS_MAX                                                                             \
	(64u << 10) /* past it pings are not answered: the hub hears from us by what waits (RFC 6455 section 5.5.3) */

struct wire_ops {
	void (*up)(void *ctx);
	void (*message)(void *ctx, struct str bytes); /* one encoded Frame, not yet looked at */
	void (*retry)(void *ctx, uint32_t ms);	      /* the hub is busy, and says when */
};

struct wire {
	const struct wire_ops *ops;
	void *ctx;
	struct dial *dial; /* NULL: no connection */
	struct wsc_reader reader;
	struct strbuf head; /* of the hub's answer, until it is whole */
	struct strbuf out;  /* waits for the hub */
	char key[WSC_KEY_SIZE];
	bool open;
	const char *reason; /* why wire_read() or wire_write() failed */
	char text[256];
};

/* d has been dialled, and is taken over. ops and ctx are set by the owner. */
void wire_begin(struct wire *w, struct dial *d, const struct url *u);
void wire_close(struct wire *w); /* takes one that is closed */
void wire_send(struct wire *w, struct str message);
/* Reads once. 1: something came; 0: wait for the descriptor; < 0: over, w->reason says why. */
WARN_UNUSED int wire_read(struct wire *w);
/* What was read of the connection, by whoever. */
WARN_UNUSED int wire_take(struct wire *w, struct str in);
/* Writes what can be. 0, or < 0 as above. */
WARN_UNUSED int wire_write(struct wire *w);

#endif
