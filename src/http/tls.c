/* SPDX-License-Identifier: Apache-2.0 */
#include "http/tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "http/tickets.h"

#define CN_SIZE 65     /* RFC 5280: ub-common-name is 64 */
#define SERIAL_SIZE 48 /* 20 octets in hex, and slack */

int tls_fail(struct err *e, const char *what)
{
	char text[160] = "unknown";
	unsigned long code = ERR_peek_last_error();

	if (code)
		ERR_error_string_n(code, text, sizeof(text));
	ERR_clear_error();
	return err_set(e, FAULT_INTERNAL, NULL, "%s: %s", what, text);
}

static bool cert_cn(X509 *cert, char *ret, size_t size)
{
	X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	unsigned char *utf8 = NULL;

	if (at < 0)
		return false;
	int len = ASN1_STRING_to_UTF8(&utf8,
				      X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	if (len < 0)
		return false;
	struct str cn = { (const char *)utf8, (size_t)len };
	/* A NUL inside would make two readers see two names. */
	bool ok = len > 0 && str_is_utf8(cn) && str_copy(ret, size, cn) == 0;
	OPENSSL_free(utf8);
	return ok;
}

static bool cert_serial(X509 *cert, char *ret, size_t size)
{
	BIGNUM *bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	char *hex = bn ? BN_bn2hex(bn) : NULL;
	bool ok = hex && str_copy(ret, size, str_of(hex)) == 0;

	for (char *p = ret; ok && *p; p++)
		if (*p >= 'A' && *p <= 'F')
			*p = (char)(*p + 0x20);
	OPENSSL_free(hex);
	BN_free(bn);
	return ok;
}

static bool is_refused(const struct http_config *c, X509 *cert)
{
	char cn[CN_SIZE], serial[SERIAL_SIZE];

	if (!cert_cn(cert, cn, sizeof(cn)) || !cert_serial(cert, serial, sizeof(serial)))
		return true;
	return c->is_revoked && c->is_revoked(c->ctx, str_of(cn), str_of(serial));
}

static int config_index(void)
{
	static int at = -1;

	if (at < 0)
		at = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	return at;
}

static int on_verify(int ok, X509_STORE_CTX *store)
{
	if (!ok || X509_STORE_CTX_get_error_depth(store) != 0)
		return ok;
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	const struct http_config *c = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), config_index());
	if (!is_refused(c, X509_STORE_CTX_get_current_cert(store)))
		return 1;
	X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REVOKED);
	return 0;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		   const unsigned char *in, unsigned int in_len, void *arg)
{
	static const unsigned char ours[] = "\x08http/1.1";
	unsigned char *picked = NULL;

	if (SSL_select_next_proto(&picked, out_len, ours, sizeof(ours) - 1, in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = picked;
	return SSL_TLSEXT_ERR_OK;
}

static int load_client_ca(SSL_CTX *ctx, const char *file, struct err *e)
{
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);

	if (!names || SSL_CTX_load_verify_locations(ctx, file, NULL) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return tls_fail(e, file);
	}
	SSL_CTX_set_client_CA_list(ctx, names);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
	return 0;
}

static int configure(SSL_CTX *ctx, const struct http_config *c, struct err *e)
{
	static const unsigned char session_context[] = "demarc";

	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					 SSL_OP_IGNORE_UNEXPECTED_EOF |
					 SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	/* Else SSL_read() goes on as long as a client renews its keys, and nobody else has a turn (RFC 8446, 4.6.3, knows no limit). */
	SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
	/* Sessions live in the tickets alone: nothing here grows with the number of clients. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(ctx, session_context, sizeof(session_context) - 1);
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_timeout(ctx, TICKET_LIFE_S);
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	if (SSL_CTX_set_ex_data(ctx, config_index(), (void *)(uintptr_t)c) != 1)
		return tls_fail(e, "TLS context");
	if (SSL_CTX_use_certificate_chain_file(ctx, c->cert_file) != 1)
		return tls_fail(e, c->cert_file);
	if (SSL_CTX_use_PrivateKey_file(ctx, c->key_file, SSL_FILETYPE_PEM) != 1)
		return tls_fail(e, c->key_file);
	return c->client_ca_file ? load_client_ca(ctx, c->client_ca_file, e) : 0;
}

OSSL_LIB_CTX *tls_lib_new(void)
{
	OSSL_LIB_CTX *lib = OSSL_LIB_CTX_new();
	char *file = lib ? CONF_get1_default_config_file() : NULL;

	/* The machine's providers hold here, too; without a readable file it is the default one, as in the rest of the process. */
	if (file && OSSL_LIB_CTX_load_config(lib, file) != 1)
		ERR_clear_error();
	OPENSSL_free(file);
	return lib;
}

int tls_server_new(const struct http_config *c, OSSL_LIB_CTX *lib, SSL_CTX **ret, struct err *e)
{
	ERR_clear_error();
	SSL_CTX *ctx = SSL_CTX_new_ex(lib, NULL, TLS_server_method());
	if (!ctx)
		return tls_fail(e, "TLS context");
	int rc = configure(ctx, c, e);
	if (rc < 0) {
		SSL_CTX_free(ctx);
		return rc;
	}
	*ret = ctx;
	return 0;
}

bool tls_client_cn(SSL *ssl, const struct http_config *c, char *ret, size_t size)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	time_t now = clock_wall_us() / 1000000;

	if (!cert || !c->client_ca_file || SSL_get_verify_result(ssl) != X509_V_OK)
		return false;
	if (X509_cmp_time(X509_get0_notAfter(cert), &now) <= 0) /* a ticket outlives nothing */
		return false;
	return !is_refused(c, cert) && cert_cn(cert, ret, size);
}

bool tls_client_serial(SSL *ssl, char *ret, size_t size)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);

	return cert && cert_serial(cert, ret, size);
}
