/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_TICKET_H
#define DEMARC_NODE_TICKET_H

/*
 * The ticket of the channel on disk, 0600, so that a restarted agent and a site that had no power come back by a resumption. It is a secret
 * as the key beside it is. Nothing about it is an error: without it there is a full handshake.
 *
 *   demarc-ticket 2 <wall time it came, s> <s from the full handshake to then> <binding, hex>
 *		<SHA-256 of this line up to here and of the session, hex>\n<session, DER>
 *
 * Flash wears out: a hub gives one after each connection, so one that is as good as the stored one is not stored. Thread: the loop's.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "link/link.h"

#define TICKET_FRESH_S                                                                             \
	(3 * 3600) /* one that is older is replaced: it is good for 21 hours at least when it is */
#define TICKET_PAUSE_S 600 /* between two writes, whatever a child says */
#define TICKET_TEXT_MAX (LINK_TICKET_MAX + 256u)

struct node;

struct ticket_file {
	bool is_there, waits; /* waits: for the pause to end */
	uint8_t binding[LINK_BINDING_SIZE];
	int64_t made_s;	  /* wall time */
	int64_t wrote_ns; /* or tried to; 0: not in this run */
};

void ticket_text(const struct link_ticket *t, int64_t made_s, struct strbuf *b);
/*
 * Views into text. -EINVAL: damaged, or another release's; -ESTALE: it, or the full handshake that it comes from, is too old at now_s. One of the
 * future is not: clocks start in the past. The time that such a clock does not know of does not count.
 */
WARN_UNUSED int ticket_parse(struct str text, int64_t now_s, struct link_ticket *ret,
			     int64_t *ret_made_s);
/* Whether t is worth a write. */
bool ticket_is_due(const struct ticket_file *f, const struct link_ticket *t, int64_t now_s);

/* What is stored; *ret_text is owned and to be wiped. False: nothing of use. */
bool ticket_read(struct node *n, char **ret_text, struct link_ticket *ret);
void ticket_came(struct node *n, const struct link_ticket *t);
void ticket_tick(struct node *n);

#endif
