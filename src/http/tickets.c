/* SPDX-License-Identifier: Apache-2.0 */
#include "http/tickets.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "http/tls.h"

#define HEAD "demarc-tickets 1"
#define SECRET_BYTES (16 + 32 + 32) /* name, aes, mac */
#define TEXT_MAX 2048u

/* ---- which keys there are ---- */

static int key_make(struct ticket_key *k, int64_t now_s)
{
	k->made_s = now_s;
	return RAND_bytes(k->name, sizeof(k->name)) == 1 &&
			       RAND_priv_bytes(k->aes, sizeof(k->aes)) == 1 &&
			       RAND_priv_bytes(k->mac, sizeof(k->mac)) == 1 ?
		       0 :
		       -EIO;
}

/* A key seals no more when the next one is made, and opens nothing any more when what it sealed last has died. */
static bool drop_old(struct ticket_ring *r, int64_t now_s)
{
	size_t n = r->n;

	while (r->n > 1 && now_s - r->keys[r->n - 2].made_s >= (int64_t)TICKET_LIFE_S)
		r->n--;
	OPENSSL_cleanse(&r->keys[r->n], (n - r->n) * sizeof(r->keys[0]));
	return r->n != n;
}

int ticket_ring_turn(struct ticket_ring *r, int64_t now_s)
{
	struct ticket_key fresh;
	bool changed = false;

	/* The clock was wrong and has been set back: or keys of the future would seal until then. */
	for (size_t i = 0; i < r->n; i++) {
		changed |= r->keys[i].made_s > now_s;
		r->keys[i].made_s = MIN_OF(r->keys[i].made_s, now_s);
	}
	if (r->n == 0 || now_s - r->keys[0].made_s >= (int64_t)TICKET_KEY_S) {
		if (key_make(&fresh, now_s) < 0)
			return -EIO;
		r->n = MIN_OF(r->n, (size_t)TICKET_KEYS_MAX - 1);
		memmove(&r->keys[1], &r->keys[0], r->n * sizeof(r->keys[0]));
		r->keys[0] = fresh;
		r->n++;
		OPENSSL_cleanse(&fresh, sizeof(fresh));
		changed = true;
	}
	return drop_old(r, now_s) || changed;
}

const struct ticket_key *ticket_ring_find(const struct ticket_ring *r,
					  const unsigned char name[static 16])
{
	for (size_t i = 0; i < r->n; i++)
		if (CRYPTO_memcmp(r->keys[i].name, name, sizeof(r->keys[i].name)) == 0)
			return &r->keys[i];
	return NULL;
}

void ticket_ring_text(const struct ticket_ring *r, struct strbuf *b)
{
	unsigned char secret[SECRET_BYTES];
	char hex[2 * SECRET_BYTES + 1];

	strbuf_adds(b, HEAD "\n");
	for (size_t i = 0; i < r->n; i++) {
		const struct ticket_key *k = &r->keys[i];

		memcpy(secret, k->name, 16);
		memcpy(secret + 16, k->aes, 32);
		memcpy(secret + 48, k->mac, 32);
		hex_of(secret, sizeof(secret), hex);
		strbuf_addf(b, "%lld %s\n", (long long)k->made_s, hex);
	}
	OPENSSL_cleanse(secret, sizeof(secret));
	OPENSSL_cleanse(hex, sizeof(hex));
}

static int parse_key(struct str line, struct ticket_key *k)
{
	unsigned char secret[SECRET_BYTES];
	struct str hex, made = str_cut(line, ' ', &hex);
	uint64_t made_s = 0;

	if (str_to_u64(made, INT64_MAX, &made_s) < 0 || str_from_hex(hex, secret, sizeof(secret)) < 0)
		return -EINVAL;
	k->made_s = (int64_t)made_s;
	memcpy(k->name, secret, 16);
	memcpy(k->aes, secret + 16, 32);
	memcpy(k->mac, secret + 48, 32);
	OPENSSL_cleanse(secret, sizeof(secret));
	return 0;
}

int ticket_ring_parse(struct str text, struct ticket_ring *ret)
{
	struct ticket_ring r = { .n = 0 };
	struct str left;
	int rc = str_eq_c(str_cut(text, '\n', &left), HEAD) ? 0 : -EINVAL;

	while (rc == 0 && left.len) {
		struct str line = str_cut(left, '\n', &left);

		rc = r.n < TICKET_KEYS_MAX ? parse_key(line, &r.keys[r.n]) : -EINVAL;
		if (rc == 0 && r.n && r.keys[r.n].made_s > r.keys[r.n - 1].made_s)
			rc = -EINVAL;
		r.n += rc == 0;
	}
	if (r.n == 0)
		rc = -EINVAL;
	if (rc == 0)
		*ret = r;
	OPENSSL_cleanse(&r, sizeof(r));
	return rc;
}

/* ---- the keys of a server ---- */

struct ticket_keys {
	pthread_mutex_t lock; /* of all that follows but n_refs */
	struct ticket_ring ring;
	char *file; /* NULL: in memory alone */
	bool unsaved;
	atomic_uint n_refs;
};

static int store(struct ticket_keys *k, const struct ticket_ring *r, struct err *e)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	int rc;

	ticket_ring_text(r, &b);
	rc = b.error ? err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the keys of TLS tickets") :
		       file_write_atomic(k->file, 0600, (struct str){ b.ptr, b.len }, e);
	if (b.ptr)
		OPENSSL_cleanse(b.ptr, b.cap);
	return rc;
}

/* Called with the lock. A key that is not stored must not seal: a restart would kill its tickets. The first one may, or there were none. */
static int turn(struct ticket_keys *k, struct err *e)
{
	struct ticket_ring next = k->ring;
	bool first = next.n == 0;
	int rc = ticket_ring_turn(&next, clock_wall_us() / 1000000), stored = 0;

	if (rc < 0)
		return err_set(e, FAULT_INTERNAL, NULL, "no random numbers for TLS tickets");
	if (k->file && (rc > 0 || k->unsaved))
		stored = store(k, &next, e);
	k->unsaved = stored < 0;
	if (stored == 0 || first)
		k->ring = next;
	OPENSSL_cleanse(&next, sizeof(next));
	return stored;
}

static void read_file(struct ticket_keys *k)
{
	char *text = NULL;
	size_t size = 0;

	if (file_read(k->file, TEXT_MAX, &text, &size, NULL) < 0)
		return;
	if (ticket_ring_parse((struct str){ text, size }, &k->ring) < 0)
		k->ring.n = 0; /* others are made, and replace it */
	OPENSSL_cleanse(text, size);
	free(text);
}

int ticket_keys_new(const char *file, bool fresh, struct ticket_keys **ret, struct err *e)
{
	struct ticket_keys *k = calloc(1, sizeof(*k));
	int rc;

	if (!k || pthread_mutex_init(&k->lock, NULL) != 0) {
		free(k);
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for TLS tickets");
	}
	k->n_refs = 1;
	k->file = file ? strdup(file) : NULL;
	if (file && !k->file) {
		ticket_keys_free(k);
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for TLS tickets");
	}
	if (file && !fresh)
		read_file(k);
	rc = turn(k, e);
	if (rc < 0 && (k->ring.n == 0 || e->fault != FAULT_NO_SPACE)) {
		ticket_keys_free(k);
		return rc;
	}
	*ret = k;
	return 0;
}

void ticket_keys_free(struct ticket_keys *k)
{
	if (!k || atomic_fetch_sub(&k->n_refs, 1) > 1)
		return;
	pthread_mutex_destroy(&k->lock);
	free(k->file);
	OPENSSL_cleanse(&k->ring, sizeof(k->ring));
	free(k);
}

int ticket_keys_turn(struct ticket_keys *k, struct err *e)
{
	int rc;

	pthread_mutex_lock(&k->lock);
	rc = turn(k, e);
	pthread_mutex_unlock(&k->lock);
	return rc;
}

void ticket_keys_leave(struct ticket_keys *k)
{
	pthread_mutex_lock(&k->lock);
	free(MOVE_PTR(k->file));
	pthread_mutex_unlock(&k->lock);
}

/* ---- a context ---- */

/* Fetched once: each look-up by name takes the locks of the library context. */
struct use {
	struct ticket_keys *keys;
	OSSL_LIB_CTX *lib;
	EVP_CIPHER *cipher;
};

static void use_free(struct use *u)
{
	if (!u)
		return;
	EVP_CIPHER_free(u->cipher);
	ticket_keys_free(u->keys);
	free(u);
}

static void on_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
	use_free(ptr);
}

static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int index_of_use = -1;

static void make_index(void)
{
	index_of_use = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_free);
}

static struct use *use_of(const SSL_CTX *ctx)
{
	(void)pthread_once(&index_once, make_index);
	return SSL_CTX_get_ex_data(ctx, index_of_use);
}

struct ticket_keys *ticket_keys_of(const SSL_CTX *ctx)
{
	const struct use *u = use_of(ctx);

	return u ? u->keys : NULL;
}

/* The newest, or the one of that name. */
static bool take_key(struct ticket_keys *k, const unsigned char *name, struct ticket_key *ret)
{
	const struct ticket_key *found;

	pthread_mutex_lock(&k->lock);
	found = name ? ticket_ring_find(&k->ring, name) : &k->ring.keys[0];
	if (found)
		*ret = *found;
	pthread_mutex_unlock(&k->lock);
	return found != NULL;
}

static bool set_mac(EVP_MAC_CTX *mac, struct ticket_key *k)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, sizeof(k->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int seal(const struct use *u, struct ticket_key *k, unsigned char *name, unsigned char *iv,
		EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	memcpy(name, k->name, sizeof(k->name));
	return RAND_bytes_ex(u->lib, iv, (size_t)EVP_CIPHER_get_iv_length(u->cipher), 0) == 1 &&
			       EVP_EncryptInit_ex2(cipher, u->cipher, k->aes, iv, NULL) == 1 &&
			       set_mac(mac, k) ?
		       1 :
		       -1;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3). 0: no such key, so a full handshake. 2: opened, and another one is due, as always in TLS 1.3. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
		     EVP_MAC_CTX *mac, int sealing)
{
	const struct use *u = use_of(SSL_get_SSL_CTX(ssl));
	struct ticket_key k;
	int rc;

	if (!u || !take_key(u->keys, sealing ? NULL : name, &k))
		return 0;
	if (sealing)
		rc = seal(u, &k, name, iv, cipher, mac);
	else
		rc = set_mac(mac, &k) && EVP_DecryptInit_ex2(cipher, u->cipher, k.aes, iv, NULL) == 1 ?
			     2 :
			     -1;
	OPENSSL_cleanse(&k, sizeof(k));
	return rc;
}

/* Each ticket says when the full handshake was; those of a release that did not know this begin now. */
static bool full_handshake_of(SSL_SESSION *session, int64_t *ret_s)
{
	void *data = NULL;
	size_t size = 0;

	if (SSL_SESSION_get0_ticket_appdata(session, &data, &size) != 1 || size != sizeof(*ret_s))
		return false;
	memcpy(ret_s, data, sizeof(*ret_s));
	return true;
}

static int on_made(SSL *ssl, void *arg)
{
	SSL_SESSION *session = SSL_get_session(ssl);
	int64_t full_s;

	(void)arg;
	if (full_handshake_of(session, &full_s))
		return 1;
	full_s = clock_wall_us() / 1000000;
	return SSL_SESSION_set1_ticket_appdata(session, &full_s, sizeof(full_s));
}

static SSL_TICKET_RETURN on_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
				   size_t size, SSL_TICKET_STATUS status, void *arg)
{
	int64_t full_s;

	(void)ssl;
	(void)name;
	(void)size;
	(void)arg;
	if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	if (full_handshake_of(session, &full_s) &&
	    clock_wall_us() / 1000000 - full_s >= (int64_t)TICKET_LINE_S)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

int ticket_keys_use(struct ticket_keys *k, OSSL_LIB_CTX *lib, SSL_CTX *ctx, struct err *e)
{
	struct use *u = calloc(1, sizeof(*u));

	(void)pthread_once(&index_once, make_index);
	if (!u)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for TLS tickets");
	atomic_fetch_add(&k->n_refs, 1);
	u->keys = k;
	u->lib = lib;
	u->cipher = EVP_CIPHER_fetch(lib, "AES-256-CBC", NULL);
	if (!u->cipher || SSL_CTX_set_ex_data(ctx, index_of_use, u) != 1) {
		use_free(u);
		return tls_fail(e, "TLS tickets");
	}
	if (SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) != 1 ||
	    SSL_CTX_set_session_ticket_cb(ctx, on_made, on_opened, NULL) != 1)
		return tls_fail(e, "TLS tickets");
	return 0;
}
