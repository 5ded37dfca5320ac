/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_INTENT_H
#define DEMARC_NODE_INTENT_H

/*
 * The node's intent: every object the hub wants here, durable before it is acknowledged.
 *
 * On disk: a log of checksummed Intent messages, the first of which is a full one. A change appends one record and
 * syncs; a log that grew too long is replaced by one full record, atomically. A torn tail (crash while appending,
 * never acknowledged) is cut off at load. Fields and kinds this release does not know are kept as they came.
 * Thread: the reconciler's.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "demarc.pb-c.h"

#define INTENT_OBJECTS_MAX 20000
#define INTENT_LOG_MAX (64u << 20) /* bytes; a larger file is not ours */
#define INTENT_DIGEST_SIZE 65	   /* sha256 in hex, and NUL */

typedef Demarc__V1__Object intent_object;

struct intent;

/* Loads state_dir/intent.log, or starts empty. *ret_damaged: the file was there but its first record was not
 * readable; the caller must delete nothing until the hub has sent a full intent. */
WARN_UNUSED int intent_open(const char *state_dir, struct intent **ret, bool *ret_damaged,
			    struct err *e);
void intent_close(struct intent *in);
DEFINE_CLEANUP(struct intent *, intent_close)

/*
 * Validates, stores durably, then applies. Faults: BAD_REQUEST (an object is not valid; field names it),
 * PRECONDITION (not based on what is held: ask for a resync), TOO_LARGE, NO_SPACE. Nothing changes on failure.
 * A revision already held is success and changes nothing, unless something of it was left out.
 */
WARN_UNUSED int intent_apply(struct intent *in, const Demarc__V1__Intent *m, struct err *e);

/*
 * The same without those objects that are not valid: what is held of them stays as it is, and everything else is taken. So one object that the
 * node has to refuse does not keep it from the others. The digest then differs from the hub's, which sends all of it after the next hello.
 */
WARN_UNUSED int intent_apply_rest(struct intent *in, const Demarc__V1__Intent *m, struct err *e);
/* Objects that were left out and have neither been replaced nor deleted since. Not known any more after a restart. */
size_t intent_left_out(const struct intent *in);

uint64_t intent_revision(const struct intent *in); /* 0: holds nothing */
/* sha256 over the objects in (kind, id) order, see model: tells a hub restored from a backup. */
void intent_digest(const struct intent *in, char ret[static INTENT_DIGEST_SIZE]);

/* Borrowed until the next intent_apply(). */
const intent_object *intent_find(const struct intent *in, const char *kind, const char *id);
const Demarc__V1__Network *intent_network(const struct intent *in, const char *id);
const Demarc__V1__Port *intent_port(const struct intent *in, const char *id);
const Demarc__V1__Server *intent_server(const struct intent *in, const char *id);
uint64_t intent_version(const struct intent *in, const char *kind, const char *id);
/* Objects in (kind, id) order: for (size_t i = 0; (o = intent_at(in, i)); i++). */
const intent_object *intent_at(const struct intent *in, size_t i);
/* The i-th object of a kind with a known body, or NULL. *pos starts at 0. */
const intent_object *intent_next(const struct intent *in, const char *kind, size_t *pos);

#endif
