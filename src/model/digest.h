/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_MODEL_DIGEST_H
#define DEMARC_MODEL_DIGEST_H

/*
 * The digest of an intent: hub and node compare it at hello to tell a hub restored from a backup.
 *
 * SHA-256 over one line per object, "<kind> <id> <version>\n" with the version in decimal, the objects sorted by
 * kind, then id (bytes, strcmp order); deleted objects are not in it. The digest of no object is "".
 * Thread: one at a time per digest.
 */

#include <stddef.h>
#include <stdint.h>

#define DIGEST_HEX_SIZE 65 /* 64 digits and NUL */

struct digest;

struct digest *digest_new(void); /* NULL: no memory */
void digest_add(struct digest *d, const char *kind, const char *id, uint64_t version);
/* Writes the result and frees d; a NULL d gives "". */
void digest_take(struct digest *d, char ret[static DIGEST_HEX_SIZE]);

#endif
