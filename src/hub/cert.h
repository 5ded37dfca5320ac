/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_CERT_H
#define DEMARC_HUB_CERT_H

/*
 * Certificates of nodes: who signs them, which are refused, and what nodes are told to trust.
 *
 * Files of the data directory: ca.crt, every CA that is trusted, the *anchor* first: it signs the hub's own certificate, and is
 * what enrolment tokens name. ca.key is the anchor's. While a rotation goes on, ca-next.crt and ca-next.key sign what nodes get. Retiring
 * the old one makes the next one the anchor; the file ca-retiring says that this has begun, and the next start ends it.
 *
 * What is refused in the handshake is in memory, loaded at the start, and changes with the commit of the row that says so.
 */

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "hub/hub.h"

struct certs;

/* After the store is open, before the port is. */
WARN_UNUSED int certs_new(struct hub *h, struct certs **ret, struct err *e);
void certs_free(struct certs *c);
/* With the hub's URLs known. */
WARN_UNUSED int certs_publish(struct hub *h, struct err *e);
/* http_config.is_revoked; ctx is the struct hub. */
bool certs_is_refused(void *ctx, struct str node_id, struct str serial);

/* In a write transaction: rows only. */
WARN_UNUSED int certs_refuse_row(struct db *db, const char *name, int64_t until_us, struct err *e);
/* After its commit. */
void certs_refuse(struct hub *h, const char *name);
/* The row and the memory of a node that may come back. */
WARN_UNUSED int certs_allow_row(struct db *db, const char *node_id, struct err *e);
void certs_allow(struct hub *h, const char *node_id);

struct certificate {
	char *pem; /* caller frees */
	char serial[48], ca[65];
	int64_t expires_us, renew_us;
};
/* Signs with the newest CA. Faults of pki_sign_client(). */
WARN_UNUSED int certs_sign(struct hub *h, const char *node_id, struct str csr,
			   struct certificate *ret, struct err *e);

/* Remembers a certificate that was issued and not yet seen; certs_is_pending() asks at each connection. */
void certs_pending(struct hub *h, const char *serial, bool add);
bool certs_is_pending(struct hub *h, const char *serial);

/* What nodes are told. *ret_ca and urls' items are the caller's to free. digest "": nothing yet. */
struct trust {
	char *ca;
	char digest[65];
	char *urls[8];
	size_t n_urls;
};
WARN_UNUSED int certs_trust(struct hub *h, struct trust *ret);
void trust_done(struct trust *t);
bool certs_trust_is(struct hub *h, const char *digest);
/* Fingerprint of the anchor. */
void certs_anchor(struct hub *h, char ret[static 65]);

/* ca.c */

/* At each start, before the server's certificate is looked at: ends what was begun. */
WARN_UNUSED int ca_recover(struct hub *h, struct err *e);
/* Makes the next CA, when there is none. Fault CONFLICT: a rotation is going on. */
WARN_UNUSED int ca_rotate(struct hub *h, struct err *e);
/* Makes the next CA the only one. Fault CONFLICT: there is none. */
WARN_UNUSED int ca_retire(struct hub *h, struct err *e);
/* [{"fingerprint", "role": "anchor" | "next"}]; a new reference. */
WARN_UNUSED int ca_list(struct hub *h, json_t **ret, struct err *e);
/* Fingerprint of the CA that signs nodes' certificates. */
WARN_UNUSED int ca_issuer(struct hub *h, char ret[static 65], struct err *e);

#endif
