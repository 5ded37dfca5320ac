/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HTTP_TICKETS_H
#define DEMARC_HTTP_TICKETS_H

/*
 * The keys of TLS session tickets. The newest one seals; those before it open what they sealed for as long as tickets live, so that a
 * new key costs nobody a full handshake. They are kept in a file (0600) and outlive a restart. Sealed as RFC 5077 section 4
 * proposes: AES-256-CBC, then HMAC-SHA-256, with a name that says which key.
 */

#include <openssl/ssl.h>

#include "base/err.h"
#include "base/str.h"

#define TICKET_LIFE_S (24u * 3600) /* an outage of a day is still a cheap return */
#define TICKET_RENEW_S                                                                             \
	(TICKET_LIFE_S / 4) /* a connection's ticket is replaced: its end has one for 18 hours at least */
/* A resumption gives the next ticket: so long after the full handshake that they all come from, there is another one. Nodes are earlier (link/link.h). */
#define TICKET_LINE_S (8 * TICKET_LIFE_S)
#define TICKET_KEY_S TICKET_LIFE_S /* that a key seals; it is gone after twice as long */
#define TICKET_KEYS_MAX 4u	   /* two are usual */

/* ---- which keys there are, without I/O ---- */

struct ticket_key {
	int64_t made_s; /* wall time */
	unsigned char name[16], aes[32], mac[32];
};
struct ticket_ring {
	struct ticket_key keys[TICKET_KEYS_MAX]; /* the newest first */
	size_t n;
};
/* Makes and drops what is due. 1: something changed, 0, -EIO: no random numbers. */
WARN_UNUSED int ticket_ring_turn(struct ticket_ring *r, int64_t now_s);
const struct ticket_key *ticket_ring_find(const struct ticket_ring *r,
					  const unsigned char name[static 16]);
void ticket_ring_text(const struct ticket_ring *r, struct strbuf *b);
/* -EINVAL: not such a text, or damaged. */
WARN_UNUSED int ticket_ring_parse(struct str text, struct ticket_ring *ret);

/* ---- the keys of a server; any thread ---- */

struct ticket_keys;
/* In `file`, from now on; NULL: in memory alone. What is there is taken, unless `fresh`; what is damaged is made again. On a full disk they
 * are as good as the process lives, until there is space. Faults: those of file_write_atomic(). */
WARN_UNUSED int ticket_keys_new(const char *file, bool fresh, struct ticket_keys **ret, struct err *e);
void ticket_keys_free(struct ticket_keys *k); /* when the last context that uses them has gone, too; takes NULL */
/* Once a minute: a key that is due is made, and seals as soon as it is stored. */
WARN_UNUSED int ticket_keys_turn(struct ticket_keys *k, struct err *e);
/* The file is another's from now on: nothing is stored any more. */
void ticket_keys_leave(struct ticket_keys *k);
/* The context seals and opens with them. lib: its own. */
WARN_UNUSED int ticket_keys_use(struct ticket_keys *k, OSSL_LIB_CTX *lib, SSL_CTX *ctx, struct err *e);
struct ticket_keys *ticket_keys_of(const SSL_CTX *ctx); /* borrowed; NULL: none */

#endif
