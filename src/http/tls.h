/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HTTP_TLS_H
#define DEMARC_HTTP_TLS_H

/* The server's TLS settings and what a connection tells about its peer. One context per front. */

#include <openssl/ssl.h>

#include "http/server.h"

/*
 * OpenSSL finds its algorithms by name, many times in a handshake, in tables with locks that all threads of a process share. A front has
 * tables of its own, so that fronts do not wait for each other. NULL: no memory. Freed with OSSL_LIB_CTX_free(), after the contexts.
 */
OSSL_LIB_CTX *tls_lib_new(void);
/* TLS 1.2 and 1.3, ALPN http/1.1, client certificates of client_ca_file verified when one is sent, revocation asked of c->is_revoked.
 * `c` and `lib` must stay as long as the context. */
WARN_UNUSED int tls_server_new(const struct http_config *c, OSSL_LIB_CTX *lib, SSL_CTX **ret,
			       struct err *e);
/* Subject CN of the verified client certificate into the arena-less buffer. Returns false when there is none, or it has no
 * (or an over-long) CN. Asks is_revoked again: a resumed session skips the verification. */
bool tls_client_cn(SSL *ssl, const struct http_config *c, char *ret, size_t size);
/* Its serial number as pki_sign_client() gave it. */
bool tls_client_serial(SSL *ssl, char *ret, size_t size);
/* Error queue of this thread as a fault. */
WARN_UNUSED int tls_fail(struct err *e, const char *what);

#endif
