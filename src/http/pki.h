/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HTTP_PKI_H
#define DEMARC_HTTP_PKI_H

/* The hub's certificate authority and the node's key and request: ECDSA P-256, X.509 v3 (RFC 5280), PKCS#10 (RFC 2986). */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* Certificates begin so many seconds before they are made: a premises' clock may be behind before it has the time. */
#define PKI_BACKDATE_S (24 * 3600)

/* Makes a key and a self-signed CA certificate. Files are written 0600 (key) and 0644 (certificate), atomically. */
WARN_UNUSED int pki_make_ca(const char *cert_file, const char *key_file, const char *cn,
			    unsigned days, struct err *e);
/* Server certificate signed by the CA. sans: "DNS:hub.example" or "IP:192.0.2.1" entries. */
WARN_UNUSED int pki_make_server(const char *ca_cert, const char *ca_key, const char *cert_file,
				const char *key_file, const char *const *sans, size_t n_sans,
				unsigned days, struct err *e);
/* Key file (0600) and a PEM certificate request with CN = cn, for the node. Caller frees *ret_csr_pem. */
WARN_UNUSED int pki_make_csr(const char *key_file, const char *cn, char **ret_csr_pem, struct err *e);
/* Signs a request: checks its signature and key strength, ignores its subject and extensions, sets CN = cn,
 * clientAuth. Caller frees *ret_cert_pem. serial_hex receives the serial (41 bytes). */
WARN_UNUSED int pki_sign_client(const char *ca_cert, const char *ca_key, struct str csr_pem,
				const char *cn, unsigned days, char **ret_cert_pem,
				char serial_hex[static 48], struct err *e);
/* SHA-256 of the certificate's DER, hex: what an enrolment token pins. */
WARN_UNUSED int pki_fingerprint(const char *cert_file, char ret_hex[static 65], struct err *e);

#endif
