/* SPDX-License-Identifier: Apache-2.0 */
#include "http/pki.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/file.h"

static char folder[64], ca_cert[96], ca_key[96];

static int setup(void **state)
{
	struct err e;

	snprintf(folder, sizeof(folder), "/tmp/demarc-pki-test-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(ca_cert, sizeof(ca_cert), "%s/ca.pem", folder);
	snprintf(ca_key, sizeof(ca_key), "%s/ca.key", folder);
	return pki_make_ca(ca_cert, ca_key, "test CA", 30, &e);
}

static int teardown(void **state)
{
	struct err e;

	return tree_remove(folder, &e);
}

static X509 *cert_of(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	assert_non_null(cert);
	return cert;
}

static X509 *cert_in(const char *file)
{
	CLEANUP(free_charp) char *pem = NULL;
	size_t size;
	struct err e;

	assert_int_equal(file_read(file, 65536, &pem, &size, &e), 0);
	return cert_of(pem);
}

/* Verifies a chain of one step for a purpose; returns the library's verdict. */
static int verify(X509 *cert, int purpose)
{
	X509 *ca = cert_in(ca_cert);
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();

	X509_STORE_add_cert(store, ca);
	assert_int_equal(X509_STORE_CTX_init(ctx, store, cert, NULL), 1);
	X509_STORE_CTX_set_purpose(ctx, purpose);
	X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_X509_STRICT);
	X509_verify_cert(ctx);
	int verdict = X509_STORE_CTX_get_error(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	X509_free(ca);
	return verdict;
}

static mode_t mode_of(const char *file)
{
	struct stat st;

	assert_int_equal(stat(file, &st), 0);
	return st.st_mode & 0777;
}

static void ca_is_a_ca(void **state)
{
	X509 *ca = cert_in(ca_cert);

	assert_int_equal(X509_check_ca(ca), 1);
	assert_int_equal(mode_of(ca_key), 0600);
	assert_int_equal(mode_of(ca_cert), 0644);
	X509_free(ca);
}

static void server_certificate_names_its_hosts(void **state)
{
	static const char *const sans[] = { "DNS:hub.example", "IP:192.0.2.1", "IP:2001:db8::1" };
	char cert_file[96], key_file[96];
	struct err e;

	snprintf(cert_file, sizeof(cert_file), "%s/s.pem", folder);
	snprintf(key_file, sizeof(key_file), "%s/s.key", folder);
	assert_int_equal(pki_make_server(ca_cert, ca_key, cert_file, key_file, sans, 3, 10, &e), 0);
	X509 *cert = cert_in(cert_file);
	assert_int_equal(verify(cert, X509_PURPOSE_SSL_SERVER), X509_V_OK);
	assert_int_not_equal(verify(cert, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
	assert_int_equal(X509_check_host(cert, "hub.example", 0, 0, NULL), 1);
	assert_int_equal(X509_check_ip_asc(cert, "192.0.2.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(cert, "2001:db8::1", 0), 1);
	assert_int_equal(X509_check_host(cert, "other.example", 0, 0, NULL), 0);
	X509_free(cert);
}

static void bad_names_are_refused(void **state)
{
	static const char *const rows[] = { "hub",     "DNS:",	  "IP:hub",  "DNS:a,DNS:b",
					    "DNS:a b", "email:x", "DNS:a;b", "" };
	struct err e;
	char long_cn[66];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(pki_make_server(ca_cert, ca_key, "/nonexistent/a",
						 "/nonexistent/b", &rows[i], 1, 10, &e),
				 -EINVAL);
	assert_int_equal(pki_make_server(ca_cert, ca_key, "/nonexistent/a", "/nonexistent/b", rows,
					 0, 10, &e),
			 -EINVAL);
	memset(long_cn, 'a', 65);
	long_cn[65] = '\0';
	assert_int_equal(pki_make_ca("/nonexistent/a", "/nonexistent/b", long_cn, 1, &e), -EINVAL);
	assert_int_equal(pki_make_ca("/nonexistent/a", "/nonexistent/b", "", 1, &e), -EINVAL);
	assert_true(pki_make_ca("/nonexistent/a", "/nonexistent/b", "x", 1, &e) < 0);
}

static void request_becomes_a_client_certificate(void **state)
{
	CLEANUP(free_charp) char *csr = NULL, *pem = NULL;
	char key_file[96], serial[48], cn[64];
	struct err e;

	snprintf(key_file, sizeof(key_file), "%s/n.key", folder);
	/* The name in the request is ignored: the hub decides who a node is. */
	assert_int_equal(pki_make_csr(key_file, "somebody else", &csr, &e), 0);
	assert_int_equal(mode_of(key_file), 0600);
	assert_int_equal(pki_sign_client(ca_cert, ca_key, str_of(csr), "node-1", 10, &pem, serial, &e),
			 0);
	assert_int_equal(strlen(serial), 40);
	X509 *cert = cert_of(pem);
	assert_int_equal(verify(cert, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
	assert_int_not_equal(verify(cert, X509_PURPOSE_SSL_SERVER), X509_V_OK);
	assert_int_equal(X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn,
						   sizeof(cn)),
			 6);
	assert_string_equal(cn, "node-1");
	assert_int_equal(X509_check_ca(cert), 0);
	X509_free(cert);
}

/* A request by `key`, signed by `signer`. */
static char *make_request(EVP_PKEY *key, EVP_PKEY *signer)
{
	X509_REQ *req = X509_REQ_new();
	BIO *bio = BIO_new(BIO_s_mem());
	char *p, *text;

	assert_int_equal(X509_REQ_set_pubkey(req, key), 1);
	assert_true(X509_REQ_sign(req, signer, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509_REQ(bio, req), 1);
	long n = BIO_get_mem_data(bio, &p);
	text = strndup(p, (size_t)n);
	BIO_free(bio);
	X509_REQ_free(req);
	return text;
}

static void assert_refused(const char *csr, const char *why)
{
	CLEANUP(free_charp) char *pem = NULL;
	char serial[48];
	struct err e;

	assert_int_equal(pki_sign_client(ca_cert, ca_key, str_of(csr), "n", 10, &pem, serial, &e),
			 -EINVAL);
	assert_int_equal(e.fault, FAULT_BAD_REQUEST);
	assert_string_equal(e.field, "csr");
	assert_non_null(strstr(e.msg, why));
	assert_null(pem);
}

static void bad_requests_are_refused(void **state)
{
	EVP_PKEY *good = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256"), *weak = EVP_RSA_gen(1024);
	EVP_PKEY *small = EVP_EC_gen("P-192");
	CLEANUP(free_charp) char *wrong_signature = make_request(good, other);
	CLEANUP(free_charp) char *weak_key = make_request(weak, weak);
	CLEANUP(free_charp) char *small_key = make_request(small, small);

	assert_refused(wrong_signature, "signed by its own key");
	assert_refused(weak_key, "too weak");
	assert_refused(small_key, "too weak");
	assert_refused("", "certificate request");
	assert_refused("garbage", "certificate request");
	assert_refused("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
		       "certificate request");
	EVP_PKEY_free(good);
	EVP_PKEY_free(other);
	EVP_PKEY_free(weak);
	EVP_PKEY_free(small);
}

static void long_request_is_refused(void **state)
{
	CLEANUP(free_charp) char *pem = NULL, *text = calloc(1, 20000);
	char serial[48];
	struct err e;

	memset(text, 'A', 19999);
	assert_int_equal(pki_sign_client(ca_cert, ca_key, str_of(text), "n", 10, &pem, serial, &e),
			 -EMSGSIZE);
}

static void key_must_belong_to_the_ca(void **state)
{
	CLEANUP(free_charp) char *csr = NULL, *pem = NULL;
	char other_cert[96], other_key[96], key_file[96], serial[48];
	struct err e;

	snprintf(other_cert, sizeof(other_cert), "%s/o.pem", folder);
	snprintf(other_key, sizeof(other_key), "%s/o.key", folder);
	snprintf(key_file, sizeof(key_file), "%s/n.key", folder);
	assert_int_equal(pki_make_ca(other_cert, other_key, "other", 1, &e), 0);
	assert_int_equal(pki_make_csr(key_file, "n", &csr, &e), 0);
	assert_int_equal(pki_sign_client(ca_cert, other_key, str_of(csr), "n", 1, &pem, serial, &e),
			 -EINVAL);
	assert_int_equal(pki_sign_client(ca_cert, "/nonexistent", str_of(csr), "n", 1, &pem, serial, &e),
			 -ENOENT);
}

static void fingerprint_is_of_the_der(void **state)
{
	unsigned char digest[32];
	unsigned size = sizeof(digest);
	char hex[65], expected[65];
	struct err e;
	X509 *ca = cert_in(ca_cert);

	assert_int_equal(pki_fingerprint(ca_cert, hex, &e), 0);
	X509_digest(ca, EVP_sha256(), digest, &size);
	hex_of(digest, size, expected);
	assert_string_equal(hex, expected);
	X509_free(ca);
	assert_int_equal(pki_fingerprint(ca_key, hex, &e), -EINVAL);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(ca_is_a_ca),
		CASE(server_certificate_names_its_hosts),
		CASE(bad_names_are_refused),
		CASE(request_becomes_a_client_certificate),
		CASE(bad_requests_are_refused),
		CASE(long_request_is_refused),
		CASE(key_must_belong_to_the_ca),
		CASE(fingerprint_is_of_the_der),
	};

	return cmocka_run_group_tests_name("http-pki", tests, NULL, NULL);
}
