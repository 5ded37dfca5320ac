/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_STREAM_H
#define DEMARC_HUB_STREAM_H

/*
 * Streams between a person and a node, through the channel. The person's side reads and writes by requests of the API; what waits in
 * between is bounded: 256 KiB from the node, what the node grants towards it. A stream ends when nobody has read for a minute, when it was
 * idle or open for too long, with the node's connection, and with the hub. Its end is an event.
 * Threads: any, but for streams_frame() and streams_lost() (the front of the session).
 */

#include "demarc.pb-c.h"
#include "hub/hub.h"

struct streams;

WARN_UNUSED int streams_new(struct hub *h, struct streams **ret, struct err *e);
void streams_free(struct streams *s);

/* `open` without id, window and times. what: for the event of the end. Faults: UNAVAILABLE (node not connected), QUOTA. */
WARN_UNUSED int stream_open(struct hub *h, const char *node_id, const char *user_id, const char *what,
			    Demarc__V1__StreamOpen *open, uint64_t *ret_id, struct err *e);

struct stream_read {
	size_t size;
	bool is_open; /* more may come */
	char error[256];
	int exit_status;
};
/* Waits up to wait_ms for something to be there, unless too many wait already. Fault NOT_FOUND: not a stream of that user. */
WARN_UNUSED int stream_read(struct hub *h, uint64_t id, const char *user_id, unsigned wait_ms,
			    char *buf, size_t max, struct stream_read *ret, struct err *e);
/* Returns how much the node takes now; the rest is to be written again. rows 0: the terminal keeps its size. */
WARN_UNUSED int stream_write(struct hub *h, uint64_t id, const char *user_id, const char *data,
			     size_t size, uint32_t rows, uint32_t columns, struct err *e);
WARN_UNUSED int stream_close(struct hub *h, uint64_t id, const char *user_id, struct err *e);

void streams_frame(struct hub *h, uint64_t session, const Demarc__V1__Frame *f);
void streams_lost(struct hub *h, uint64_t session);
void streams_tick(struct hub *h); /* about once a second */

#endif
