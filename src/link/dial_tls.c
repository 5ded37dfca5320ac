/* SPDX-License-Identifier: Apache-2.0 */
#include "link/dial_tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "http/pki.h"
#include "link/link.h"

struct dial_tls {
	SSL_CTX *ctx;
	SSL_SESSION *session; /* newest ticket: a reconnect then costs no certificate (RFC 8446 section 2.2) */
	X509 *cert; /* of dial_tls_like(): the context belongs to all that are alike */
	EVP_PKEY *key;
	bool tickets, resumed, is_new; /* the session was not taken yet */
	char pin[65];
	X509 *pinned;
	uint32_t retry_ms;
};

uint32_t dial_retry_ms(const struct dial_tls *t)
{
	return t->retry_ms;
}

void dial_tls_set_retry(struct dial_tls *t, uint32_t ms)
{
	t->retry_ms = ms;
}

bool dial_resumed(const struct dial_tls *t)
{
	return t->resumed;
}

bool dial_has_ticket(const struct dial_tls *t)
{
	return t->session != NULL;
}

void dial_tls_shaken(struct dial_tls *t, SSL *ssl)
{
	t->resumed = SSL_session_reused(ssl) == 1;
}

void dial_tls_refused(struct dial_tls *t)
{
	SSL_SESSION_free(MOVE_PTR(t->session));
	t->is_new = false;
}

int dial_ticket_take(struct dial_tls *t, struct strbuf *b)
{
	unsigned char *der = NULL;
	int n = t->is_new ? i2d_SSL_SESSION(t->session, &der) : 0;

	t->is_new = false;
	if (n <= 0)
		return n == 0 ? 0 : -ENOMEM;
	strbuf_add(b, der, (size_t)n);
	OPENSSL_clear_free(der, (size_t)n);
	return b->error ? -ENOMEM : 1;
}

/* OpenSSL offers none that is older than its peer allows, and none of the future. On a machine that started in the past every ticket is of the
 * future: what the peer sealed into it says how old it is. */
static bool is_of_use(SSL_SESSION *s)
{
	int64_t now = clock_wall_us() / 1000000, made = SSL_SESSION_get_time(s);
	int64_t life = (int64_t)MIN_OF(SSL_SESSION_get_ticket_lifetime_hint(s),
				       (unsigned long)LINK_TICKET_LIFE_S);

	if (SSL_SESSION_get_protocol_version(s) != TLS1_3_VERSION || !SSL_SESSION_is_resumable(s) ||
	    now - made >= life)
		return false;
	return made <= now || SSL_SESSION_set_time(s, (long)now) != 0;
}

int dial_ticket_set(struct dial_tls *t, struct str der)
{
	const unsigned char *at = (const unsigned char *)der.ptr;
	SSL_SESSION *s = der.len <= LINK_TICKET_MAX ? d2i_SSL_SESSION(NULL, &at, (long)der.len) : NULL;

	ERR_clear_error();
	if (!s || (const char *)at != der.ptr + der.len || !is_of_use(s)) {
		SSL_SESSION_free(s);
		return -EINVAL;
	}
	SSL_SESSION_free(t->session);
	t->session = s;
	t->is_new = false;
	return 0;
}

static int ssl_err(struct err *e, const char *what)
{
	char text[256];

	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	ERR_clear_error();
	return err_set(e, FAULT_BAD_REQUEST, NULL, "%s: %s", what, text);
}

/* ---- material ---- */

static BIO *bio_of(struct str pem)
{
	return BIO_new_mem_buf(pem.ptr, (int)pem.len);
}

static int add_cas(struct dial_tls *t, struct str pem, struct err *e)
{
	X509_STORE *store = SSL_CTX_get_cert_store(t->ctx);
	BIO *bio = bio_of(pem);
	X509 *cert;
	int n = 0;

	while (bio && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		n += X509_STORE_add_cert(store, cert) == 1;
		X509_free(cert);
	}
	BIO_free(bio);
	ERR_clear_error(); /* the end of the text is an error too */
	return n ? 0 : err_set(e, FAULT_BAD_REQUEST, NULL, "the CA file holds no certificate");
}

/* Tells the hub before the handshake who dials: nodes wait in a queue of their own (http/admit.c). */
static int call_itself_node(struct dial_tls *t, struct err *e)
{
	static const unsigned char protocols[] = "\x08http/1.1\x0b" LINK_PROTOCOL;

	/* 0 is success here, unlike everywhere else. */
	return SSL_CTX_set_alpn_protos(t->ctx, protocols, sizeof(protocols) - 1) == 0 ?
		       0 :
		       ssl_err(e, "ALPN");
}

/*
 * A machine without a battery starts in the past, and would find every hub's certificate not yet valid. It is at least as late as when
 * its own certificate was made.
 */
static void raise_clock(struct dial_tls *t, X509 *own)
{
	struct tm tm;
	time_t least;

	if (ASN1_TIME_to_tm(X509_get0_notBefore(own), &tm) != 1)
		return;
	least = timegm(&tm) + PKI_BACKDATE_S;
	if (clock_wall_us() / 1000000 < least)
		X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(t->ctx), least);
}

static int read_identity(struct str cert_pem, struct str key_pem, X509 **ret_cert, EVP_PKEY **ret_key)
{
	BIO *cert_bio = bio_of(cert_pem), *key_bio = bio_of(key_pem);

	*ret_cert = cert_bio ? PEM_read_bio_X509(cert_bio, NULL, NULL, NULL) : NULL;
	*ret_key = key_bio ? PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL) : NULL;
	BIO_free(cert_bio);
	BIO_free(key_bio);
	return *ret_cert && *ret_key && X509_check_private_key(*ret_cert, *ret_key) == 1 ? 0 : -EINVAL;
}

static int use_identity(struct dial_tls *t, const struct dial_config *c, struct err *e)
{
	X509 *cert;
	EVP_PKEY *key;
	bool ok = read_identity(c->cert_pem, c->key_pem, &cert, &key) == 0 &&
		  SSL_CTX_use_certificate(t->ctx, cert) == 1 &&
		  SSL_CTX_use_PrivateKey(t->ctx, key) == 1;

	if (ok)
		raise_clock(t, cert);
	X509_free(cert);
	EVP_PKEY_free(key);
	return ok ? call_itself_node(t, e) :
		    ssl_err(e, "the node's certificate and key are not usable");
}

int dial_tls_like(const struct dial_tls *like, struct str cert_pem, struct str key_pem,
		  bool tickets, struct dial_tls **ret, struct err *e)
{
	CLEANUP(dial_tls_freep) struct dial_tls *t = calloc(1, sizeof(*t));

	if (!t || SSL_CTX_up_ref(like->ctx) != 1)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for TLS");
	t->ctx = like->ctx;
	t->tickets = tickets;
	if (read_identity(cert_pem, key_pem, &t->cert, &t->key) < 0)
		return ssl_err(e, "the node's certificate and key are not usable");
	*ret = MOVE_PTR(t);
	return 0;
}

/* ---- pin: the peer's own chain must hold the CA whose fingerprint came with the token, and lead to it ---- */

static bool is_pinned(X509 *cert, const char *pin)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	char hex[65];
	unsigned n = 0;

	if (X509_digest(cert, EVP_sha256(), sum, &n) != 1 || n != 32)
		return false;
	hex_of(sum, n, hex);
	return strcasecmp(hex, pin) == 0;
}

static int verify_pinned(X509_STORE_CTX *ctx, void *arg)
{
	struct dial_tls *t = arg;
	STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(ctx), *trusted = sk_X509_new_null();
	int ok = 0;

	for (int i = 0; trusted && i < sk_X509_num(sent); i++) {
		X509 *cert = sk_X509_value(sent, i);
		if (!is_pinned(cert, t->pin) || X509_check_ca(cert) != 1 ||
		    sk_X509_push(trusted, cert) == 0)
			continue;
		X509_free(t->pinned);
		X509_up_ref(cert);
		t->pinned = cert;
	}
	if (sk_X509_num(trusted) > 0) {
		X509_STORE_CTX_set0_trusted_stack(ctx, trusted);
		ok = X509_verify_cert(ctx);
	} else {
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_UNTRUSTED);
	}
	sk_X509_free(trusted);
	return ok == 1;
}

int dial_tls_pinned_pem(const struct dial_tls *t, char **ret, struct err *e)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL, *at;
	long size;

	if (bio && t->pinned && PEM_write_bio_X509(bio, t->pinned) == 1) {
		size = BIO_get_mem_data(bio, &at);
		text = strndup(at, (size_t)size);
	}
	BIO_free(bio);
	if (!text)
		return err_set(e, FAULT_INTERNAL, NULL, "the hub's CA was not seen");
	*ret = text;
	return 0;
}

/* ---- settings ---- */

static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct dial_tls *t = SSL_get_app_data(ssl);

	if (!t->tickets)
		return 0;
	SSL_SESSION_free(t->session);
	t->session = session; /* the reference is ours: returning 1 says so */
	t->is_new = true;
	return 1;
}

static int settings(struct dial_tls *t, const struct dial_config *c, struct err *e)
{
	if (SSL_CTX_set_min_proto_version(t->ctx, TLS1_3_VERSION) != 1)
		return ssl_err(e, "TLS 1.3");
	/* OpenSSL would build the chain of our own certificate for each handshake, and send the hub the CA that it has anyway. */
	SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					 SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
	/* The hub closes without a TLS alert when it dies; HTTP and WebSocket lengths tell a cut message. */
	SSL_CTX_set_options(t->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	if (c->pin_sha256) {
		if (str_copy(t->pin, sizeof(t->pin), str_of(c->pin_sha256)) < 0 || strlen(t->pin) != 64)
			return err_set(e, FAULT_BAD_REQUEST, NULL,
				       "the CA's fingerprint is not 64 hex digits");
		SSL_CTX_set_cert_verify_callback(t->ctx, verify_pinned, t);
		return 0;
	}
	SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
	SSL_CTX_sess_set_new_cb(t->ctx, on_session);
	return add_cas(t, c->ca_pem, e);
}

int dial_tls_new(const struct dial_config *c, struct dial_tls **ret, struct err *e)
{
	CLEANUP(dial_tls_freep) struct dial_tls *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for TLS");
	t->tickets = true;
	t->ctx = SSL_CTX_new(TLS_client_method());
	if (!t->ctx)
		return ssl_err(e, "cannot set TLS up");
	rc = settings(t, c, e);
	if (rc == 0 && c->cert_pem.len)
		rc = use_identity(t, c, e);
	if (rc < 0)
		return rc;
	*ret = MOVE_PTR(t);
	return 0;
}

void dial_tls_free(struct dial_tls *t)
{
	if (!t)
		return;
	SSL_SESSION_free(t->session);
	X509_free(t->pinned);
	X509_free(t->cert);
	EVP_PKEY_free(t->key);
	SSL_CTX_free(t->ctx);
	free(t);
}

int dial_tls_start(struct dial_tls *t, int fd, const struct url *u, SSL **ret, struct err *e)
{
	SSL *ssl = SSL_new(t->ctx);
	bool ok = ssl && SSL_set_fd(ssl, fd) == 1;

	if (ok)
		ok = SSL_set_app_data(ssl, t) == 1;
	if (ok && t->cert)
		ok = SSL_use_certificate(ssl, t->cert) == 1 && SSL_use_PrivateKey(ssl, t->key) == 1;
	if (ok && u->is_ip)
		ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), u->host) == 1;
	else if (ok)
		ok = SSL_set1_host(ssl, u->host) == 1 && SSL_set_tlsext_host_name(ssl, u->host) == 1;
	if (!ok) {
		SSL_free(ssl);
		return ssl_err(e, "cannot start TLS");
	}
	if (t->session && SSL_set_session(ssl, t->session) != 1)
		ERR_clear_error(); /* a full handshake, then */
	*ret = ssl;
	return 0;
}

int dial_tls_fail(SSL *ssl, const struct url *u, struct err *e)
{
	long verdict = SSL_get_verify_result(ssl);
	char text[256] = "the connection was closed";
	unsigned long code = ERR_get_error();

	if (code)
		ERR_error_string_n(code, text, sizeof(text));
	ERR_clear_error();
	if (verdict != X509_V_OK)
		return err_set(e, FAULT_FORBIDDEN, NULL, "the certificate of %s is refused: %s",
			       u->host, X509_verify_cert_error_string(verdict));
	return err_set(e, FAULT_PROTOCOL, NULL, "TLS with %s fails: %s", u->host, text);
}
