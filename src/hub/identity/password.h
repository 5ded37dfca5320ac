/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_IDENTITY_PASSWORD_H
#define DEMARC_HUB_IDENTITY_PASSWORD_H

/* Password hashes: yescrypt by the system's libcrypt. Any thread; at most as many at once as there are processors. */

#include <stdbool.h>

#include "base/err.h"

#define PASSWORD_MAX_BYTES 511 /* crypt(3)'s own limit is 512 with the NUL */
#define PASSWORD_HASH_SIZE 384 /* CRYPT_OUTPUT_SIZE */

/* Fault BAD_REQUEST when the password is too long. */
WARN_UNUSED int password_hash(const char *password, char ret[static PASSWORD_HASH_SIZE], struct err *e);
/* For logins, before password_check(): false when no processor is free for it within max_wait_ms; true is given back by
 * password_leave(). */
bool password_enter(unsigned max_wait_ms);
void password_leave(void);
/* 1 the password fits, 0 it does not. hash NULL: no such user, which takes as long and gives 0. */
WARN_UNUSED int password_check(const char *password, const char *hash, struct err *e);

#endif
