/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_COMPUTE_KEYPAIR_H
#define DEMARC_HUB_COMPUTE_KEYPAIR_H

/* SSH public keys of a user. A private key made here is given out once and never kept. */

#include "hub/rest.h"

int keypair_list(struct req *r, struct err *e);
int keypair_show(struct req *r, struct err *e);
int keypair_create(struct req *r, struct err *e);
int keypair_delete(struct req *r, struct err *e);

/* MD5 of the key's blob, "aa:bb:…", as Nova shows it. BAD_REQUEST when `text` is no "type base64 [comment]" line whose
 * blob names the same type. Any thread. Source: RFC 4253 section 6.6. */
#define KEYPAIR_FINGERPRINT_SIZE 48
WARN_UNUSED int keypair_fingerprint(const char *text, char ret[static KEYPAIR_FINGERPRINT_SIZE],
				    struct err *e);
/* A new RSA key: private PEM and public OpenSSH line. Caller frees both. */
WARN_UNUSED int keypair_generate(char **ret_private, char **ret_public, struct err *e);

#endif
