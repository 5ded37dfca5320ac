/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_RENEW_H
#define DEMARC_LINK_RENEW_H

/*
 * A new certificate beside the one in use, and what the hub says is to be trusted. Files of the state directory:
 *
 *   node.pem        certificate and key in use, in one file so that they change together; without it, cert.pem and key.pem
 *   node-next.pem   issued, not yet seen to work
 *   renew.key       of a request that is not answered; renew.csr: of one by a token
 *   ca.pem, identity.json
 */

#include "link/link.h"

/* A new key, kept, and a request for it. Caller frees. */
WARN_UNUSED int renew_request(const char *state_dir, char **ret_csr_pem, struct err *e);
/* The certificate of the kept key becomes node-next.pem. Fault BAD_REQUEST: it does not fit the key. */
WARN_UNUSED int renew_store(const char *state_dir, const char *cert_pem, struct err *e);
/* node-next.pem works: it is the one in use from now on. */
WARN_UNUSED int renew_confirm(const char *state_dir, struct err *e);

#define TRUST_HUBS_MAX 8
/* CA bundle and hubs, as a whole; keep_url (may be NULL) stays in the list even when the hub does not name it. Fault BAD_REQUEST: not
 * usable, and nothing changed. */
WARN_UNUSED int trust_store(const char *state_dir, const Demarc__V1__Trust *m, const char *keep_url,
			    struct err *e);

#endif
