/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/cert.h"

#include <errno.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/types.h"
#include "http/pki.h"

#define BUCKETS 4096 /* power of two */
#define BUNDLE_MAX (128u << 10)
#define DAY_US (24LL * 3600 * 1000000)

/* ---- sets of names ---- */

struct name {
	struct name *next;
	char text[];
};
struct name_set {
	struct name *buckets[BUCKETS];
};

static struct name **set_slot(struct name_set *s, struct str text)
{
	uint32_t h = 2166136261u; /* FNV-1a */
	struct name **at;

	for (size_t i = 0; i < text.len; i++)
		h = (h ^ (uint8_t)text.ptr[i]) * 16777619u;
	for (at = &s->buckets[h & (BUCKETS - 1)]; *at && !str_eq_c(text, (*at)->text);)
		at = &(*at)->next;
	return at;
}

static int set_add(struct name_set *s, const char *text)
{
	struct name **at = set_slot(s, str_of(text)), *n;
	size_t size = strlen(text) + 1;

	if (*at)
		return 0;
	n = malloc(sizeof(*n) + size);
	if (!n)
		return -ENOMEM;
	n->next = NULL;
	memcpy(n->text, text, size);
	*at = n;
	return 0;
}

static void set_remove(struct name_set *s, const char *text)
{
	struct name **at = set_slot(s, str_of(text)), *n = *at;

	if (!n)
		return;
	*at = n->next;
	free(n);
}

static void set_done(struct name_set *s)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct name *n = s->buckets[i], *next; n; n = next) {
			next = n->next;
			free(n);
		}
}

struct certs {
	pthread_rwlock_t lock; /* below */
	struct name_set refused, pending;
	struct trust trust;
	char anchor[65];
};

/* ---- what is refused ---- */

static int load_set(struct db *db, struct name_set *s, const char *sql, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(db, &q, e, sql, "i", clock_wall_us());

	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		if (set_add(s, db_text(q, 0)) < 0)
			return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for refused certificates");
	return rc < 0 ? rc : 0;
}

int certs_new(struct hub *h, struct certs **ret, struct err *e)
{
	CLEANUP(db_closep) struct db *db = NULL;
	struct certs *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for certificates");
	pthread_rwlock_init(&c->lock, NULL);
	rc = db_open(h->store, &db, e);
	if (rc == 0)
		rc = load_set(db, &c->refused, "SELECT name FROM cert_refused WHERE until_us > ?", e);
	if (rc == 0)
		rc = load_set(db, &c->pending,
			      "SELECT cert_next_serial FROM node WHERE cert_next_serial IS NOT NULL AND cert_next_expires_us > ?",
			      e);
	if (rc < 0) {
		certs_free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

void certs_free(struct certs *c)
{
	if (!c)
		return;
	set_done(&c->refused);
	set_done(&c->pending);
	trust_done(&c->trust);
	pthread_rwlock_destroy(&c->lock);
	free(c);
}

bool certs_is_refused(void *ctx, struct str node_id, struct str serial)
{
	struct certs *c = ((struct hub *)ctx)->certs;
	bool refused;

	if (!c)
		return false;
	pthread_rwlock_rdlock(&c->lock);
	refused = *set_slot(&c->refused, node_id) || *set_slot(&c->refused, serial);
	pthread_rwlock_unlock(&c->lock);
	return refused;
}

/* Out of memory, a refusal waits for the next start; the rows are there, and a hello looks at the node's. */
static void set_change(struct certs *c, struct name_set *s, const char *name, bool add)
{
	int rc = 0;

	pthread_rwlock_wrlock(&c->lock);
	if (add)
		rc = set_add(s, name);
	else
		set_remove(s, name);
	pthread_rwlock_unlock(&c->lock);
	if (rc < 0)
		log_limited(LOG_ERROR_, "cert_not_noted", "name=%s reason=\"no memory\"", name);
}

int certs_refuse_row(struct db *db, const char *name, int64_t until_us, struct err *e)
{
	int rc = db_exec(db, e, "DELETE FROM cert_refused WHERE until_us < ?", "i", clock_wall_us());

	if (rc >= 0)
		rc = db_exec(db, e,
			     "INSERT INTO cert_refused (name, until_us) VALUES (?, ?) ON CONFLICT (name) "
			     "DO UPDATE SET until_us = max(until_us, excluded.until_us)",
			     "si", name, until_us);
	return rc < 0 ? rc : 0;
}

void certs_refuse(struct hub *h, const char *name)
{
	if (h->certs)
		set_change(h->certs, &h->certs->refused, name, true);
}

int certs_allow_row(struct db *db, const char *node_id, struct err *e)
{
	int rc = db_exec(db, e, "DELETE FROM cert_refused WHERE name = ?", "s", node_id);

	return rc < 0 ? rc : 0;
}

void certs_allow(struct hub *h, const char *node_id)
{
	if (h->certs)
		set_change(h->certs, &h->certs->refused, node_id, false);
}

/* ---- issuing ---- */

struct issuer {
	char *cert, *key;
};

static void issuer_done(struct issuer *i)
{
	free(i->cert);
	free(i->key);
}

static int issuer_find(struct hub *h, struct issuer *ret, struct err *e)
{
	const char *dir = h->config->data_dir;

	if (asprintf(&ret->cert, "%s/ca-next.crt", dir) < 0)
		ret->cert = NULL;
	if (asprintf(&ret->key, "%s/ca-next.key", dir) < 0)
		ret->key = NULL;
	if (ret->cert && ret->key && access(ret->cert, F_OK) < 0) {
		issuer_done(ret);
		ret->cert = strdup(h->ca_cert);
		ret->key = strdup(h->ca_key);
	}
	return ret->cert && ret->key ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a path");
}

int ca_issuer(struct hub *h, char ret[static 65], struct err *e)
{
	CLEANUP(issuer_done) struct issuer i = { 0 };
	int rc = issuer_find(h, &i, e);

	return rc < 0 ? rc : pki_fingerprint(i.cert, ret, e);
}

int certs_sign(struct hub *h, const char *node_id, struct str csr, struct certificate *ret,
	       struct err *e)
{
	CLEANUP(issuer_done) struct issuer i = { 0 };
	int64_t life_us = h->config->cert_days * DAY_US;
	int rc = issuer_find(h, &i, e);

	if (rc == 0)
		rc = pki_fingerprint(i.cert, ret->ca, e);
	if (rc == 0)
		rc = pki_sign_client(i.cert, i.key, csr, node_id, h->config->cert_days, &ret->pem,
				     ret->serial, e);
	ret->expires_us = clock_wall_us() + life_us;
	ret->renew_us = ret->expires_us - life_us / 3;
	return rc;
}

void certs_pending(struct hub *h, const char *serial, bool add)
{
	if (h->certs)
		set_change(h->certs, &h->certs->pending, serial, add);
}

bool certs_is_pending(struct hub *h, const char *serial)
{
	bool pending;

	if (!h->certs)
		return false;
	pthread_rwlock_rdlock(&h->certs->lock);
	pending = *set_slot(&h->certs->pending, str_of(serial)) != NULL;
	pthread_rwlock_unlock(&h->certs->lock);
	return pending;
}

/* ---- trust ---- */

void trust_done(struct trust *t)
{
	free(t->ca);
	for (size_t i = 0; i < t->n_urls; i++)
		free(t->urls[i]);
	*t = (struct trust){ 0 };
}

static int add_url(struct trust *t, const char *url)
{
	if (t->n_urls == ARRAY_LEN(t->urls))
		return 0;
	t->urls[t->n_urls] = strdup(url);
	if (!t->urls[t->n_urls])
		return -ENOMEM;
	t->n_urls++;
	return 0;
}

static int copy_trust(const struct trust *from, struct trust *ret)
{
	struct trust t = { 0 };
	int rc;

	memcpy(t.digest, from->digest, sizeof(t.digest));
	t.ca = strdup(from->ca ? from->ca : "");
	rc = t.ca ? 0 : -ENOMEM;
	for (size_t i = 0; rc == 0 && i < from->n_urls; i++)
		rc = add_url(&t, from->urls[i]);
	if (rc < 0)
		trust_done(&t);
	else
		*ret = t;
	return rc;
}

/* Every public name at our own port, then hubs elsewhere. */
static int collect_urls(const struct hub *h, struct trust *t)
{
	const char *port = strrchr(h->public_url, ':');
	int rc = add_url(t, h->public_url);

	for (size_t i = 1; rc == 0 && i < h->config->n_public_names; i++) {
		CLEANUP(free_charp) char *url = NULL;
		bool v6 = strchr(h->names[i], ':') != NULL;

		if (asprintf(&url, "https://%s%s%s%s", v6 ? "[" : "", h->names[i], v6 ? "]" : "",
			     port) < 0)
			return -ENOMEM;
		rc = add_url(t, url);
	}
	for (size_t i = 0; rc == 0 && i < h->config->n_more_hubs; i++)
		rc = add_url(t, h->config->more_hubs[i]);
	return rc;
}

static void make_digest(struct trust *t)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	unsigned char md[SHA256_DIGEST_LENGTH];

	strbuf_adds(&b, t->ca);
	for (size_t i = 0; i < t->n_urls; i++)
		strbuf_addf(&b, "\n%s", t->urls[i]);
	SHA256((const unsigned char *)strbuf_cstr(&b), b.len, md);
	hex_of(md, sizeof(md), t->digest);
}

int certs_publish(struct hub *h, struct err *e)
{
	struct trust t = { 0 }, old;
	char anchor[65];
	size_t size;
	int rc = file_read(h->ca_cert, BUNDLE_MAX, &t.ca, &size, e);

	if (rc == 0)
		rc = pki_fingerprint(h->ca_cert, anchor, e);
	if (rc == 0 && collect_urls(h, &t) < 0)
		rc = err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the list of hubs");
	if (rc < 0) {
		trust_done(&t);
		return rc;
	}
	make_digest(&t);
	pthread_rwlock_wrlock(&h->certs->lock);
	old = h->certs->trust;
	h->certs->trust = t;
	memcpy(h->certs->anchor, anchor, sizeof(anchor));
	pthread_rwlock_unlock(&h->certs->lock);
	trust_done(&old);
	return 0;
}

int certs_trust(struct hub *h, struct trust *ret)
{
	int rc;

	pthread_rwlock_rdlock(&h->certs->lock);
	rc = copy_trust(&h->certs->trust, ret);
	pthread_rwlock_unlock(&h->certs->lock);
	return rc;
}

bool certs_trust_is(struct hub *h, const char *digest)
{
	bool same;

	if (!h->certs)
		return true;
	pthread_rwlock_rdlock(&h->certs->lock);
	same = !*h->certs->trust.digest || strcmp(h->certs->trust.digest, digest) == 0;
	pthread_rwlock_unlock(&h->certs->lock);
	return same;
}

void certs_anchor(struct hub *h, char ret[static 65])
{
	pthread_rwlock_rdlock(&h->certs->lock);
	memcpy(ret, h->certs->anchor, 65);
	pthread_rwlock_unlock(&h->certs->lock);
}
