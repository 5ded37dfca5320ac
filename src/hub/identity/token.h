/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_IDENTITY_TOKEN_H
#define DEMARC_HUB_IDENTITY_TOKEN_H

/*
 * Tokens: signed, not stored. Text is base64url (RFC 4648 section 5, no padding) of
 *
 *   0        1        2        3        4            12           20        36         52
 *   +--------+--------+--------+--------+------------+------------+---------+----------+----------------------+------+
 *   | form 1 | key id | methods| scope  | issued us  | expires us | audit id| parent's | len,user id,len,scope| HMAC |
 *   +--------+--------+--------+--------+------------+------------+---------+----------+----------------------+------+
 *
 * numbers big-endian, HMAC-SHA256 (32 bytes) over everything before it.
 */

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "base/types.h"

enum token_scope { SCOPE_NONE, SCOPE_PROJECT, SCOPE_DOMAIN, SCOPE_SYSTEM };
enum { METHOD_PASSWORD = 1, METHOD_TOKEN = 2 };

#define TOKEN_ID_SIZE 65    /* user, project, domain ids and NUL */
#define TOKEN_TEXT_SIZE 300 /* longest text and NUL */
#define AUDIT_ID_SIZE 23    /* base64url of 16 bytes and NUL */
#define TOKEN_LIFE_US (3600 * 1000000LL)

struct token {
	int64_t issued_us, expires_us; /* since 1970 UTC */
	unsigned methods;	       /* METHOD_ bits */
	enum token_scope scope;
	char user_id[TOKEN_ID_SIZE];
	char scope_id[TOKEN_ID_SIZE]; /* project or domain; "all" for the system; "" without scope */
	struct uuid audit_id,
		parent_audit_id; /* parent: the first token of the chain; zero for a first one */
};

struct token_keys;

/* Reads the key file, or makes it (0600) when absent. A first key older than 90 days is followed by a new one; the last three
 * verify. Fault INTERNAL naming the file when it is damaged or readable by others. */
WARN_UNUSED int token_keys_open(const char *path, int64_t now_us, struct token_keys **ret,
				struct err *e);
void token_keys_free(struct token_keys *k);

/* Any thread. */
void token_sign(const struct token_keys *k, const struct token *t, char ret[static TOKEN_TEXT_SIZE]);
/* -EACCES with fault UNAUTHENTICATED for anything that is not a living token of ours. Writes *ret only on success. */
WARN_UNUSED int token_verify(const struct token_keys *k, struct str text, int64_t now_us,
			     struct token *ret, struct err *e);
/* Payload of a token, without form and HMAC check: what follows once the HMAC fits. -EINVAL. */
WARN_UNUSED int token_payload_parse(const uint8_t *raw, size_t size, struct token *ret);
const char *audit_id_format(struct uuid id, char ret[static AUDIT_ID_SIZE]);

#endif
