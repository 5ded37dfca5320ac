/* SPDX-License-Identifier: Apache-2.0 */
#include "http/pki.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/types.h"

#define PEM_MAX (64u << 10)
#define CSR_MAX (16u << 10)
#define CN_MAX 64 /* RFC 5280: ub-common-name */
#define BACKDATE_S PKI_BACKDATE_S
#define MIN_SECURITY_BITS 112 /* NIST SP 800-57: RSA 2048, P-224 and better */
#define MAX_KEY_BITS                                                                               \
	8192 /* checking a signature of a larger key costs more than a client should be able to ask for */

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(X509 *, X509_free)
DEFINE_CLEANUP(X509_REQ *, X509_REQ_free)
DEFINE_CLEANUP(BIO *, BIO_free_all)

static int ssl_fail(struct err *e, enum fault fault, const char *what)
{
	char text[160] = "unknown";
	unsigned long code = ERR_peek_last_error();

	if (code)
		ERR_error_string_n(code, text, sizeof(text));
	ERR_clear_error();
	return err_set(e, fault, NULL, "%s: %s", what, text);
}

/* No passphrases here: without this the library would ask on the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *ctx)
{
	return -1;
}

static int read_file_bio(const char *path, BIO **ret, struct err *e)
{
	CLEANUP(free_charp) char *text = NULL;
	size_t size = 0;
	int rc = file_read(path, PEM_MAX, &text, &size, e);

	if (rc < 0)
		return rc;
	BIO *bio = BIO_new(BIO_s_mem());
	if (!bio || BIO_write(bio, text, (int)size) != (int)size) {
		BIO_free(bio);
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory");
	}
	OPENSSL_cleanse(text, size);
	*ret = bio;
	return 0;
}

static int load_cert(const char *path, X509 **ret, struct err *e)
{
	CLEANUP(BIO_free_allp) BIO *bio = NULL;
	int rc = read_file_bio(path, &bio, e);

	if (rc < 0)
		return rc;
	*ret = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
	return *ret ? 0 : ssl_fail(e, FAULT_BAD_REQUEST, path);
}

static int load_key(const char *path, EVP_PKEY **ret, struct err *e)
{
	CLEANUP(BIO_free_allp) BIO *bio = NULL;
	int rc = read_file_bio(path, &bio, e);

	if (rc < 0)
		return rc;
	*ret = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	return *ret ? 0 : ssl_fail(e, FAULT_BAD_REQUEST, path);
}

static struct str bio_text(BIO *bio)
{
	char *p = NULL;
	long n = BIO_get_mem_data(bio, &p);

	return (struct str){ p, n > 0 ? (size_t)n : 0 };
}

static int new_key(const char *key_file, EVP_PKEY **ret, struct err *e)
{
	CLEANUP(BIO_free_allp) BIO *bio = BIO_new(BIO_s_secmem());
	CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = EVP_EC_gen("P-256");

	if (!bio || !key || PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
		return ssl_fail(e, FAULT_INTERNAL, "make a key");
	int rc = file_write_atomic(key_file, 0600, bio_text(bio), e);
	if (rc < 0)
		return rc;
	*ret = MOVE_PTR(key);
	return 0;
}

static int write_cert(const char *cert_file, X509 *cert, struct err *e)
{
	CLEANUP(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || PEM_write_bio_X509(bio, cert) != 1)
		return ssl_fail(e, FAULT_INTERNAL, "write a certificate");
	return file_write_atomic(cert_file, 0644, bio_text(bio), e);
}

static bool set_name(X509_NAME *name, const char *cn)
{
	return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1,
					  -1, 0) == 1;
}

static int check_cn(const char *cn, struct err *e)
{
	struct str s = str_of(cn);

	if (s.len == 0 || s.len > CN_MAX || !str_is_utf8(s))
		return err_set(e, FAULT_BAD_REQUEST, "cn",
			       "a common name has 1 to %d bytes of UTF-8", CN_MAX);
	return 0;
}

/* RFC 5280 section 4.1.2.2: positive, at most 20 octets; random, so that it need not be remembered. */
static bool set_serial(X509 *cert)
{
	uint8_t bytes[20];

	random_bytes(bytes, sizeof(bytes));
	bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40);
	BIGNUM *bn = BN_bin2bn(bytes, sizeof(bytes), NULL);
	bool ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert));
	BN_free(bn);
	return ok;
}

static bool set_validity(X509 *cert, unsigned days)
{
	time_t now = (time_t)(clock_wall_us() / 1000000);

	return ASN1_TIME_set(X509_getm_notBefore(cert), now - BACKDATE_S) &&
	       ASN1_TIME_set(X509_getm_notAfter(cert), now + (time_t)days * 24 * 3600);
}

struct extension {
	int nid;
	const char *value;
};

static bool add_extensions(X509 *cert, X509 *issuer, const struct extension *rows, size_t n)
{
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	for (size_t i = 0; i < n; i++) {
		X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, rows[i].nid, rows[i].value);
		bool ok = ext && X509_add_ext(cert, ext, -1) == 1;
		X509_EXTENSION_free(ext);
		if (!ok)
			return false;
	}
	return true;
}

/* An unsigned certificate with everything but extensions. issuer NULL: itself. */
static X509 *new_cert(const char *cn, EVP_PKEY *key, X509 *issuer, unsigned days)
{
	CLEANUP(X509_freep) X509 *cert = X509_new();

	if (!cert || X509_set_version(cert, X509_VERSION_3) != 1 || !set_serial(cert) ||
	    !set_validity(cert, days) || !set_name(X509_get_subject_name(cert), cn) ||
	    X509_set_pubkey(cert, key) != 1 ||
	    X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert)) != 1)
		return NULL;
	return MOVE_PTR(cert);
}

int pki_make_ca(const char *cert_file, const char *key_file, const char *cn, unsigned days,
		struct err *e)
{
	static const struct extension rows[] = {
		{ NID_basic_constraints, "critical,CA:TRUE,pathlen:0" },
		{ NID_key_usage, "critical,keyCertSign,cRLSign" },
		{ NID_subject_key_identifier, "hash" },
	};
	CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	int rc = check_cn(cn, e);

	if (rc == 0)
		rc = new_key(key_file, &key, e);
	if (rc < 0)
		return rc;
	CLEANUP(X509_freep) X509 *cert = new_cert(cn, key, NULL, days);
	if (!cert || !add_extensions(cert, cert, rows, ARRAY_LEN(rows)) ||
	    X509_sign(cert, key, EVP_sha256()) == 0)
		return ssl_fail(e, FAULT_INTERNAL, "make the CA certificate");
	return write_cert(cert_file, cert, e);
}

struct ca {
	X509 *cert;
	EVP_PKEY *key;
};

static void ca_done(struct ca *ca)
{
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
}

static int ca_load(struct ca *ca, const char *cert_file, const char *key_file, struct err *e)
{
	int rc = load_cert(cert_file, &ca->cert, e);

	if (rc == 0)
		rc = load_key(key_file, &ca->key, e);
	if (rc == 0 && X509_check_private_key(ca->cert, ca->key) != 1) {
		ERR_clear_error();
		rc = err_set(e, FAULT_BAD_REQUEST, NULL, "%s does not belong to %s", key_file,
			     cert_file);
	}
	return rc;
}

/* "DNS:a" and "IP:b" joined by commas. The entries go into a small language of the library, so they are checked first. */
static int join_sans(struct strbuf *out, const char *const *sans, size_t n_sans, struct err *e)
{
	for (size_t i = 0; i < n_sans; i++) {
		struct str name, kind = str_cut(str_of(sans[i]), ':', &name);
		struct ip_addr ip;
		bool ok = str_eq_c(kind, "IP") ? ip_parse(name, &ip) == 0 :
						 str_eq_c(kind, "DNS") && name.len > 0;
		for (size_t k = 0; k < name.len; k++)
			ok &= name.ptr[k] > ' ' && name.ptr[k] < 0x7f &&
			      !strchr(",;=\\\"", name.ptr[k]);
		if (!ok)
			return err_set(e, FAULT_BAD_REQUEST, "sans",
				       "\"%s\" is neither DNS:name nor IP:address", sans[i]);
		strbuf_addf(out, "%s%s", i ? "," : "", sans[i]);
	}
	return out->error ? err_errno(e, out->error, "subject names") : 0;
}

int pki_make_server(const char *ca_cert, const char *ca_key, const char *cert_file, const char *key_file,
		    const char *const *sans, size_t n_sans, unsigned days, struct err *e)
{
	CLEANUP(ca_done) struct ca ca = { 0 };
	CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	CLEANUP(strbuf_done) struct strbuf names = { 0 };

	if (!n_sans)
		return err_set(e, FAULT_BAD_REQUEST, "sans",
			       "a server certificate needs a name or an address");
	int rc = join_sans(&names, sans, n_sans, e);
	if (rc == 0)
		rc = ca_load(&ca, ca_cert, ca_key, e);
	if (rc == 0)
		rc = new_key(key_file, &key, e);
	if (rc < 0)
		return rc;
	const struct extension rows[] = {
		{ NID_basic_constraints, "critical,CA:FALSE" },
		{ NID_key_usage, "critical,digitalSignature" },
		{ NID_ext_key_usage, "serverAuth" },
		{ NID_subject_alt_name, strbuf_cstr(&names) },
		{ NID_subject_key_identifier, "hash" },
		{ NID_authority_key_identifier, "keyid" },
	};
	CLEANUP(X509_freep) X509 *cert = new_cert("demarc hub", key, ca.cert, days);
	if (!cert || !add_extensions(cert, ca.cert, rows, ARRAY_LEN(rows)) ||
	    X509_sign(cert, ca.key, EVP_sha256()) == 0)
		return ssl_fail(e, FAULT_INTERNAL, "make the server certificate");
	return write_cert(cert_file, cert, e);
}

static int bio_take(BIO *bio, char **ret, struct err *e)
{
	struct str s = bio_text(bio);

	*ret = strndup(s.ptr, s.len);
	return *ret ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "no memory");
}

int pki_make_csr(const char *key_file, const char *cn, char **ret_csr_pem, struct err *e)
{
	CLEANUP(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	CLEANUP(X509_REQ_freep) X509_REQ *req = X509_REQ_new();
	CLEANUP(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());
	int rc = check_cn(cn, e);

	if (rc == 0)
		rc = new_key(key_file, &key, e);
	if (rc < 0)
		return rc;
	if (!req || !bio || !set_name(X509_REQ_get_subject_name(req), cn) ||
	    X509_REQ_set_pubkey(req, key) != 1 || X509_REQ_sign(req, key, EVP_sha256()) == 0 ||
	    PEM_write_bio_X509_REQ(bio, req) != 1)
		return ssl_fail(e, FAULT_INTERNAL, "make a certificate request");
	return bio_take(bio, ret_csr_pem, e);
}

static int check_key(EVP_PKEY *key, struct err *e)
{
	bool kind = EVP_PKEY_is_a(key, "EC") || EVP_PKEY_is_a(key, "RSA") ||
		    EVP_PKEY_is_a(key, "ED25519");

	if (!kind || EVP_PKEY_get_security_bits(key) < MIN_SECURITY_BITS ||
	    EVP_PKEY_get_bits(key) > MAX_KEY_BITS)
		return err_set(e, FAULT_BAD_REQUEST, "csr",
			       "the key is too weak, too large or of an unknown kind: use P-256, Ed25519 or RSA 2048");
	return 0;
}

/* The key is checked before the signature: a signature by a huge key is expensive. */
static int read_csr(struct str pem, X509_REQ **ret, struct err *e)
{
	if (pem.len > CSR_MAX)
		return err_set(e, FAULT_TOO_LARGE, "csr",
			       "a certificate request has at most %u bytes", CSR_MAX);
	CLEANUP(BIO_free_allp) BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
	CLEANUP(X509_REQ_freep)
	X509_REQ *req = bio ? PEM_read_bio_X509_REQ(bio, NULL, no_passphrase, NULL) : NULL;
	EVP_PKEY *key = req ? X509_REQ_get0_pubkey(req) : NULL; /* borrowed */
	if (!key)
		return ssl_fail(e, FAULT_BAD_REQUEST, "not a PEM certificate request") < 0 ?
			       err_in(e, "csr") :
			       0;
	int rc = check_key(key, e);
	if (rc < 0)
		return rc;
	if (X509_REQ_verify(req, key) != 1) {
		ERR_clear_error();
		return err_set(e, FAULT_BAD_REQUEST, "csr", "the request is not signed by its own key");
	}
	*ret = MOVE_PTR(req);
	return 0;
}

static bool serial_text(X509 *cert, char ret[static 48])
{
	BIGNUM *bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	uint8_t bytes[23];
	int n = bn && BN_num_bytes(bn) <= (int)sizeof(bytes) ? BN_bn2bin(bn, bytes) : -1;

	BN_free(bn);
	if (n >= 0)
		hex_of(bytes, (size_t)n, ret);
	return n >= 0;
}

int pki_sign_client(const char *ca_cert, const char *ca_key, struct str csr_pem, const char *cn,
		    unsigned days, char **ret_cert_pem, char serial_hex[static 48], struct err *e)
{
	static const struct extension rows[] = {
		{ NID_basic_constraints, "critical,CA:FALSE" },
		{ NID_key_usage, "critical,digitalSignature" },
		{ NID_ext_key_usage, "clientAuth" },
		{ NID_subject_key_identifier, "hash" },
		{ NID_authority_key_identifier, "keyid" },
	};
	CLEANUP(ca_done) struct ca ca = { 0 };
	CLEANUP(X509_REQ_freep) X509_REQ *req = NULL;
	CLEANUP(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());
	int rc = check_cn(cn, e);

	if (rc == 0)
		rc = read_csr(csr_pem, &req, e);
	if (rc == 0)
		rc = ca_load(&ca, ca_cert, ca_key, e);
	if (rc < 0)
		return rc;
	CLEANUP(X509_freep) X509 *cert = new_cert(cn, X509_REQ_get0_pubkey(req), ca.cert, days);
	if (!cert || !bio || !add_extensions(cert, ca.cert, rows, ARRAY_LEN(rows)) ||
	    X509_sign(cert, ca.key, EVP_sha256()) == 0 || PEM_write_bio_X509(bio, cert) != 1 ||
	    !serial_text(cert, serial_hex))
		return ssl_fail(e, FAULT_INTERNAL, "sign the certificate");
	return bio_take(bio, ret_cert_pem, e);
}

int pki_fingerprint(const char *cert_file, char ret_hex[static 65], struct err *e)
{
	CLEANUP(X509_freep) X509 *cert = NULL;
	uint8_t digest[32];
	unsigned int size = sizeof(digest);
	int rc = load_cert(cert_file, &cert, e);

	if (rc < 0)
		return rc;
	if (X509_digest(cert, EVP_sha256(), digest, &size) != 1 || size != sizeof(digest))
		return ssl_fail(e, FAULT_INTERNAL, cert_file);
	hex_of(digest, size, ret_hex);
	return 0;
}
