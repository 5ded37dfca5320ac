/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_DIAL_TLS_H
#define DEMARC_LINK_DIAL_TLS_H

/* Whom an outbound connection trusts. Inside of dial.c. */

#include "link/dial.h"

/* A TLS client on fd that expects u's name (RFC 6125) or address in the certificate. */
WARN_UNUSED int dial_tls_start(struct dial_tls *t, int fd, const struct url *u, SSL **ret,
			       struct err *e);
/* Why the handshake failed, in words. */
WARN_UNUSED int dial_tls_fail(SSL *ssl, const struct url *u, struct err *e);
void dial_tls_set_retry(struct dial_tls *t, uint32_t ms);
void dial_tls_shaken(struct dial_tls *t, SSL *ssl); /* a handshake has ended well */
void dial_tls_refused(struct dial_tls *t); /* it was broken off for what was said in it: the ticket may be why */
WARN_UNUSED int dial_tls_pinned_pem(const struct dial_tls *t, char **ret, struct err *e);

#endif
