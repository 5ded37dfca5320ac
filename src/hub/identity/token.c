/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/identity/token.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"

#define KEY_BYTES 32
#define MAC_BYTES 32
#define KEYS_MAX 3
#define KEY_LIFE_US (90LL * 86400 * 1000000)
#define FORM 1
#define FIXED_BYTES 52 /* up to the ids */
#define RAW_MAX (FIXED_BYTES + 2 * TOKEN_ID_SIZE + MAC_BYTES)

struct token_key {
	uint8_t id;
	int64_t made_us;
	uint8_t bytes[KEY_BYTES];
};
struct token_keys {
	struct token_key key[KEYS_MAX]; /* the first one signs */
	size_t n;
};

/* ---- base64url ---- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void base64_of(const uint8_t *in, size_t size, char *out)
{
	size_t n_bits = 0;
	uint32_t bits = 0;

	for (size_t i = 0; i < size; i++) {
		bits = bits << 8 | in[i];
		for (n_bits += 8; n_bits >= 6; n_bits -= 6)
			*out++ = digits[bits >> (n_bits - 6) & 63];
	}
	if (n_bits)
		*out++ = digits[bits << (6 - n_bits) & 63];
	*out = '\0';
}

static int digit_of(char c)
{
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Returns the size, or -1: another character, too long, or bits left over that no encoder makes. */
static int base64_to(struct str s, uint8_t *out, size_t max)
{
	size_t n = 0, n_bits = 0;
	uint32_t bits = 0;

	for (size_t i = 0; i < s.len; i++) {
		int d = digit_of(s.ptr[i]);

		if (d < 0)
			return -1;
		bits = bits << 6 | (uint32_t)d;
		n_bits += 6;
		if (n_bits < 8)
			continue;
		if (n == max)
			return -1;
		n_bits -= 8;
		out[n++] = (uint8_t)(bits >> n_bits);
	}
	return n_bits >= 6 || bits & ((1u << n_bits) - 1) ? -1 : (int)n;
}

const char *audit_id_format(struct uuid id, char ret[static AUDIT_ID_SIZE])
{
	base64_of(id.b, sizeof(id.b), ret);
	return ret;
}

/* ---- keys ---- */

static void keys_write(const struct token_keys *k, struct strbuf *b)
{
	for (size_t i = 0; i < k->n; i++) {
		char hex[2 * KEY_BYTES + 1];

		hex_of(k->key[i].bytes, KEY_BYTES, hex);
		strbuf_addf(b, "%u %lld %s\n", k->key[i].id, (long long)k->key[i].made_us, hex);
		OPENSSL_cleanse(hex, sizeof(hex));
	}
}

static int keys_save(const struct token_keys *k, const char *path, struct err *e)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };

	keys_write(k, &b);
	return file_write_atomic(path, 0600, (struct str){ b.ptr, b.len }, e);
}

static int key_line(struct str line, struct token_key *ret)
{
	struct str rest, id = str_cut(line, ' ', &rest), hex, made = str_cut(rest, ' ', &hex);
	uint64_t n;

	if (str_to_u64(id, UINT8_MAX, &n) < 0 || str_to_i64(made, &ret->made_us) < 0)
		return -1;
	ret->id = (uint8_t)n;
	return str_from_hex(hex, ret->bytes, KEY_BYTES);
}

static int keys_parse(struct token_keys *k, struct str text)
{
	while (text.len) {
		struct str line = str_cut(text, '\n', &text);

		if (k->n == KEYS_MAX || key_line(line, &k->key[k->n]) < 0)
			return -1;
		k->n++;
	}
	return k->n ? 0 : -1;
}

static void key_add(struct token_keys *k, int64_t now_us)
{
	struct token_key fresh = { .id = (uint8_t)(k->n ? k->key[0].id + 1 : 1), .made_us = now_us };

	random_bytes(fresh.bytes, KEY_BYTES);
	k->n = MIN_OF(k->n + 1, (size_t)KEYS_MAX);
	memmove(&k->key[1], &k->key[0], (k->n - 1) * sizeof(k->key[0]));
	k->key[0] = fresh;
}

static int keys_load(struct token_keys *k, const char *path, struct err *e)
{
	char *text = NULL;
	struct stat st;
	size_t size;
	int rc;

	if (stat(path, &st) < 0)
		return 0; /* absent: the caller makes the first key */
	if (st.st_mode & 077)
		return err_set(e, FAULT_INTERNAL, NULL,
			       "%s is readable by others: make it mode 0600 (chmod 600).", path);
	rc = file_read(path, 4096, &text, &size, e);
	if (rc < 0)
		return rc;
	rc = keys_parse(k, (struct str){ text, size });
	OPENSSL_cleanse(text, size);
	free(text);
	return rc == 0 ? 0 :
			 err_set(e, FAULT_INTERNAL, NULL,
				 "%s is damaged: restore it, or remove it (every token issued so far becomes invalid).",
				 path);
}

int token_keys_open(const char *path, int64_t now_us, struct token_keys **ret, struct err *e)
{
	struct token_keys *k = calloc(1, sizeof(*k));
	int rc;

	if (!k)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the token keys");
	rc = keys_load(k, path, e);
	if (rc == 0 && (k->n == 0 || now_us - k->key[0].made_us > KEY_LIFE_US)) {
		key_add(k, now_us);
		rc = keys_save(k, path, e);
		/* Full disk, and there are older keys: the new one serves while this process lives. */
		if (rc < 0 && k->n > 1 && e->fault == FAULT_NO_SPACE)
			rc = 0;
	}
	if (rc < 0) {
		token_keys_free(k);
		return rc;
	}
	*ret = k;
	return 0;
}

void token_keys_free(struct token_keys *k)
{
	if (!k)
		return;
	OPENSSL_cleanse(k, sizeof(*k));
	free(k);
}

/* ---- tokens ---- */

static void put_i64(uint8_t *p, int64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

static int64_t get_i64(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return (int64_t)v;
}

static size_t put_id(uint8_t *p, const char *id)
{
	size_t len = strnlen(id, TOKEN_ID_SIZE - 1);

	p[0] = (uint8_t)len;
	memcpy(p + 1, id, len);
	return len + 1;
}

/* Bytes taken, or 0. */
static size_t get_id(const uint8_t *p, size_t left, char ret[static TOKEN_ID_SIZE])
{
	if (left == 0 || p[0] >= TOKEN_ID_SIZE || p[0] > left - 1)
		return 0;
	memcpy(ret, p + 1, p[0]);
	ret[p[0]] = '\0';
	return strlen(ret) == p[0] ? 1u + p[0] : 0;
}

static void mac_of(const struct token_key *k, const uint8_t *p, size_t size,
		   uint8_t ret[static MAC_BYTES])
{
	unsigned len = MAC_BYTES;

	/* Cannot fail with fixed sizes; should it, no token verifies. */
	if (!HMAC(EVP_sha256(), k->bytes, KEY_BYTES, p, size, ret, &len))
		random_bytes(ret, MAC_BYTES);
}

void token_sign(const struct token_keys *k, const struct token *t, char ret[static TOKEN_TEXT_SIZE])
{
	uint8_t raw[RAW_MAX] = { FORM, k->key[0].id, (uint8_t)t->methods, (uint8_t)t->scope };
	size_t n = FIXED_BYTES;

	put_i64(raw + 4, t->issued_us);
	put_i64(raw + 12, t->expires_us);
	memcpy(raw + 20, t->audit_id.b, 16);
	memcpy(raw + 36, t->parent_audit_id.b, 16);
	n += put_id(raw + n, t->user_id);
	n += put_id(raw + n, t->scope_id);
	mac_of(&k->key[0], raw, n, raw + n);
	base64_of(raw, n + MAC_BYTES, ret);
}

static bool mac_ok(const struct token_keys *k, const uint8_t *raw, size_t size)
{
	uint8_t mac[MAC_BYTES];

	for (size_t i = 0; i < k->n; i++) {
		if (k->key[i].id != raw[1])
			continue;
		mac_of(&k->key[i], raw, size - MAC_BYTES, mac);
		return CRYPTO_memcmp(mac, raw + size - MAC_BYTES, MAC_BYTES) == 0;
	}
	return false;
}

int token_payload_parse(const uint8_t *raw, size_t size, struct token *ret)
{
	struct token t = { 0 };
	size_t n = FIXED_BYTES, id;

	if (size < FIXED_BYTES || raw[3] > SCOPE_SYSTEM)
		return -EINVAL;
	t.methods = raw[2];
	t.scope = (enum token_scope)raw[3];
	t.issued_us = get_i64(raw + 4);
	t.expires_us = get_i64(raw + 12);
	memcpy(t.audit_id.b, raw + 20, 16);
	memcpy(t.parent_audit_id.b, raw + 36, 16);
	id = get_id(raw + n, size - n, t.user_id);
	n += id;
	if (id == 0 || t.user_id[0] == '\0' || size == n ||
	    get_id(raw + n, size - n, t.scope_id) != size - n)
		return -EINVAL;
	*ret = t;
	return 0;
}

int token_verify(const struct token_keys *k, struct str text, int64_t now_us, struct token *ret,
		 struct err *e)
{
	uint8_t raw[RAW_MAX];
	struct token t = { 0 };
	int size = text.len < TOKEN_TEXT_SIZE ? base64_to(text, raw, sizeof(raw)) : -1;

	if (size < FIXED_BYTES + MAC_BYTES + 2 || raw[0] != FORM || !mac_ok(k, raw, (size_t)size) ||
	    token_payload_parse(raw, (size_t)size - MAC_BYTES, &t) < 0 || now_us >= t.expires_us)
		return err_set(e, FAULT_UNAUTHENTICATED, NULL,
			       "The request you have made requires authentication.");
	*ret = t;
	return 0;
}
