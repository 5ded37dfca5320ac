/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenSSH public key format, and new RSA keys. Source: RFC 4253 section 6.6; RFC 4251 section 5. */
#include "hub/compute/keypair.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define RSA_BITS 2048
#define BLOB_MAX 12288 /* bytes of a decoded public key; RSA 16384 has 2,071 */

static int invalid(struct err *e)
{
	return err_set(e, FAULT_BAD_REQUEST, "public_key",
		       "Keypair data is invalid: failed to generate fingerprint");
}

/* Strict base64 with padding. Returns the size or -EINVAL's fault. */
static int decode_blob(struct str text, unsigned char *blob, struct err *e)
{
	int n, pad = 0;

	if (text.len == 0 || text.len % 4 != 0 || text.len > BLOB_MAX / 3 * 4)
		return invalid(e);
	while (pad < 2 && text.ptr[text.len - 1 - (size_t)pad] == '=')
		pad++;
	n = EVP_DecodeBlock(blob, (const unsigned char *)text.ptr, (int)text.len);
	return n < 0 ? invalid(e) : n - pad;
}

/* The blob starts with its type as a length-prefixed string, which must be the one in the text. */
static bool blob_is(const unsigned char *blob, size_t size, struct str type)
{
	size_t len;

	if (size < 4)
		return false;
	len = (size_t)blob[0] << 24 | (size_t)blob[1] << 16 | (size_t)blob[2] << 8 | blob[3];
	return len == type.len && size - 4 > len && memcmp(blob + 4, type.ptr, len) == 0;
}

int keypair_fingerprint(const char *text, char ret[static KEYPAIR_FINGERPRINT_SIZE], struct err *e)
{
	unsigned char blob[BLOB_MAX + 4], md[EVP_MAX_MD_SIZE];
	struct str rest, type = str_cut(str_trim(str_of(text)), ' ', &rest);
	struct str b64 = str_cut(str_trim(rest), ' ', &rest);
	unsigned n_md = 0;
	int n;

	if (strpbrk(text, "\n\r") && strcspn(text, "\n\r") + 2 < strlen(text))
		return invalid(e);
	while (b64.len > 0 && (b64.ptr[b64.len - 1] == '\n' || b64.ptr[b64.len - 1] == '\r'))
		b64.len--;
	n = decode_blob(b64, blob, e);
	if (n < 0)
		return n;
	if (!blob_is(blob, (size_t)n, type) ||
	    EVP_Digest(blob, (size_t)n, md, &n_md, EVP_md5(), NULL) != 1)
		return invalid(e);
	for (unsigned i = 0; i < 16; i++)
		snprintf(ret + 3 * i, KEYPAIR_FINGERPRINT_SIZE - 3 * i, i < 15 ? "%02x:" : "%02x",
			 md[i]);
	return 0;
}

static void put_field(struct strbuf *b, const void *bytes, size_t size)
{
	unsigned char len[4] = { size >> 24, size >> 16, size >> 8, size };

	strbuf_add(b, len, sizeof(len));
	strbuf_add(b, bytes, size);
}

/* A positive mpint: a zero byte in front when the top bit is set. */
static void put_mpint(struct strbuf *b, const BIGNUM *n)
{
	unsigned char bytes[RSA_BITS / 8 + 1] = { 0 };
	int size = BN_num_bytes(n);
	bool lead = BN_num_bits(n) % 8 == 0;

	if (size > RSA_BITS / 8)
		return;
	BN_bn2bin(n, bytes + 1);
	put_field(b, lead ? bytes : bytes + 1, (size_t)size + lead);
}

static char *public_line(EVP_PKEY *key)
{
	CLEANUP(strbuf_done) struct strbuf blob = { 0 };
	BIGNUM *n = NULL, *e = NULL;
	unsigned char b64[BLOB_MAX];
	char *line = NULL;

	if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) == 1 &&
	    EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) == 1) {
		put_field(&blob, "ssh-rsa", 7);
		put_mpint(&blob, e);
		put_mpint(&blob, n);
		EVP_EncodeBlock(b64, (const unsigned char *)blob.ptr, (int)blob.len);
		if (asprintf(&line, "ssh-rsa %s Generated-by-demarc", (char *)b64) < 0)
			line = NULL;
	}
	BN_free(n);
	BN_free(e);
	return line;
}

static char *private_pem(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *pem = NULL;
	long size;

	if (bio && PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL) == 1) {
		size = BIO_get_mem_data(bio, &data);
		pem = strndup(data, (size_t)size);
	}
	BIO_free(bio);
	return pem;
}

int keypair_generate(char **ret_private, char **ret_public, struct err *e)
{
	EVP_PKEY *key = EVP_RSA_gen(RSA_BITS);
	CLEANUP(free_charp) char *pem = key ? private_pem(key) : NULL;
	CLEANUP(free_charp) char *line = key ? public_line(key) : NULL;

	EVP_PKEY_free(key);
	if (!pem || !line)
		return err_set(e, FAULT_INTERNAL, NULL, "no key could be made");
	*ret_private = MOVE_PTR(pem);
	*ret_public = MOVE_PTR(line);
	return 0;
}
