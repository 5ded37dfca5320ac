/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/types.h"
#include "http/pki.h"
#include "hub/hub.h"
#include "hub/site/site.h"

/*
 * Enrolment. A token is "demarc1." and base64url of {"url", "ca_sha256", "secret"}: where the hub is, how to know it, and the right to
 * one certificate. Only the secret's hash is stored. The node makes its own key, and sends a certificate request.
 * The same request repeated within the token's life gets a certificate again, so that a lost answer is not a lost node.
 */

#define SECRET_SIZE 32
#define TOKEN_LIFE_DFLT_S 3600
#define TOKEN_LIFE_MIN_S 1
#define TOKEN_LIFE_MAX_S (30 * 24 * 3600)
#define TOKENS_MAX 1000 /* of one site */
#define CSR_SIZE_MAX 16384
#define INVENTORY_ITEMS_MAX 32
#define CA_SIZE_MAX 65536
/* A node at a premises may be without its hub for years; revocation is by the node's row, not by expiry. */
#define NODE_CERT_DAYS 3650

static void sha256_hex(const void *p, size_t size, char ret[static 65])
{
	unsigned char md[SHA256_DIGEST_LENGTH];

	SHA256(p, size, md);
	hex_of(md, sizeof(md), ret);
}

/* RFC 4648 section 5, without padding; in the arena. */
static const char *base64url(struct arena *a, const char *text)
{
	size_t size = strlen(text);
	char *out = arena_alloc(a, (size + 2) / 3 * 4 + 1);

	if (!out)
		return NULL;
	(void)EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)text, (int)size);
	for (char *c = out; *c; c++)
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c == '=' ? '\0' : *c;
	return out;
}

static int node_name_check(struct req *r, const char *name, struct err *e)
{
	int64_t one;
	int rc;

	if (!*name || strlen(name) > 63)
		return err_set(e, FAULT_BAD_REQUEST, "enrolment_token.node_name",
			       "A node's name has 1 to 63 characters.");
	for (const char *c = name; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
		      (*c >= '0' && *c <= '9') || strchr("-._", *c)))
			return err_set(e, FAULT_BAD_REQUEST, "enrolment_token.node_name",
				       "A node's name has letters, digits, '-', '.' and '_' only.");
	rc = db_get_int(r->db, &one, e, "SELECT 1 FROM node WHERE name = ?", "s", name);
	return rc > 0 ? err_set(e, FAULT_CONFLICT, "enrolment_token.node_name",
				"A node named %s is enrolled already.", name) :
			rc;
}

static const char *token_text(struct req *r, const char *secret)
{
	CLEANUP(json_freep)
	json_t *j = json_pack("{s:s, s:s, s:s}", "url", r->hub->public_url, "ca_sha256",
			      r->hub->ca_fingerprint, "secret", secret);
	CLEANUP(free_charp) char *text = j ? json_text(j) : NULL;
	const char *body = text ? base64url(r->arena, text) : NULL;

	return body ? arena_printf(r->arena, "demarc1.%s", body) : NULL;
}

struct new_token {
	const char *node_name;
	int64_t life_s;
};

static int token_body(struct req *r, struct new_token *ret, struct err *e)
{
	const json_t *life;
	json_t *body;
	const char *key;
	json_t *v;
	int rc = json_need_obj(r->body, "enrolment_token", &body, e);

	if (rc == 0)
		rc = json_need_str(body, "node_name", &ret->node_name, e);
	if (rc < 0)
		return rc;
	json_object_foreach(body, key, v) {
		if (strcmp(key, "node_name") != 0 && strcmp(key, "expires_in") != 0)
			return err_set(e, FAULT_BAD_REQUEST, "enrolment_token",
				       "Unrecognized attribute '%.60s'.", key);
	}
	life = json_object_get(body, "expires_in");
	ret->life_s = life ? json_integer_value(life) : TOKEN_LIFE_DFLT_S;
	if ((life && !json_is_integer(life)) || ret->life_s < TOKEN_LIFE_MIN_S ||
	    ret->life_s > TOKEN_LIFE_MAX_S)
		return err_set(e, FAULT_BAD_REQUEST, "enrolment_token.expires_in",
			       "expires_in is 1 to %d seconds.", TOKEN_LIFE_MAX_S);
	return node_name_check(r, ret->node_name, e);
}

/* What was not used in time is of no more use to anybody. */
static int tokens_tidy(struct req *r, const char *site_id, struct err *e)
{
	int64_t n = 0;
	int rc = db_exec(r->db, e, "DELETE FROM enrol_token WHERE expires_us < ? AND used_us IS NULL",
			 "i", clock_wall_us() - TOKEN_LIFE_MAX_S * 1000000LL);

	if (rc >= 0)
		rc = db_get_int(r->db, &n, e, "SELECT count(*) FROM enrol_token WHERE site_id = ?",
				"s", site_id);
	if (rc > 0 && n >= TOKENS_MAX)
		return err_set(e, FAULT_QUOTA, NULL,
			       "The site has %d enrolment tokens: delete some first.", TOKENS_MAX);
	return rc < 0 ? rc : 0;
}

int enrol_token_create(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *site = NULL;
	uint8_t secret_bytes[SECRET_SIZE];
	char secret[2 * SECRET_SIZE + 1], hash[65], id[UUID_STR_SIZE];
	int64_t now = clock_wall_us(), expires;
	struct new_token t;
	const char *text;
	int rc = rest_need(r, &site_resource, req_param(r, "id"), &site, e);

	if (rc == 0)
		rc = token_body(r, &t, e);
	if (rc == 0)
		rc = tokens_tidy(r, json_str(site, "id"), e);
	if (rc < 0)
		return rc;
	random_bytes(secret_bytes, sizeof(secret_bytes));
	hex_of(secret_bytes, sizeof(secret_bytes), secret);
	sha256_hex(secret, strlen(secret), hash);
	expires = now + t.life_s * 1000000;
	text = token_text(r, secret);
	if (!text)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	rc = db_exec(r->db, e,
		     "INSERT INTO enrol_token (id, site_id, node_name, secret_sha256, expires_us, created_us) VALUES (?, ?, ?, ?, ?, ?)",
		     "ssssii", uuid_format(uuid_random(), id), json_str(site, "id"), t.node_name,
		     hash, expires, now);
	if (rc >= 0)
		req_reply(r, json_pack("{s:{s:s, s:s, s:s, s:s, s:o}}", "enrolment_token", "id", id,
				       "site_id", json_str(site, "id"), "node_name", t.node_name,
				       "token", text, "expires_at", site_time(expires)));
	return rc < 0 ? rc : 0;
}

static const char *token_state(struct db_rows *q, int64_t now)
{
	if (!db_is_null(q, 3))
		return "used";
	return db_int(q, 2) < now ? "expired" : "open";
}

int enrol_token_list(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *site = NULL, *list = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int64_t now = clock_wall_us();
	int rc = rest_need(r, &site_resource, req_param(r, "id"), &site, e);

	if (rc == 0)
		rc = db_query(r->db, &q, e,
			      "SELECT id, node_name, expires_us, used_us, node_id, created_us FROM enrol_token WHERE site_id = ? "
			      "ORDER BY created_us",
			      "s", json_str(site, "id"));
	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		(void)json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:o, s:o, s:s?, s:o}", "id", db_text(q, 0),
					"node_name", db_text(q, 1), "state", token_state(q, now),
					"expires_at", site_time(db_int(q, 2)), "used_at",
					site_time(db_int(q, 3)), "node_id", db_text(q, 4),
					"created_at", site_time(db_int(q, 5))));
	if (rc == 0)
		req_reply(r, json_pack("{s:O}", "enrolment_tokens", list));
	return rc;
}

int enrol_token_delete(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *site = NULL;
	const char *id = req_param(r, "token");
	int rc = rest_need(r, &site_resource, req_param(r, "id"), &site, e);

	if (rc == 0)
		rc = db_exec(r->db, e, "DELETE FROM enrol_token WHERE id = ? AND site_id = ?", "ss",
			     id, json_str(site, "id"));
	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, NULL, "Enrolment token %s could not be found.", id);
	return rc < 0 ? rc : 0;
}

/* ---- the node's side ---- */

struct enrolment {
	const char *secret, *csr;
	const json_t *inventory;
	char csr_hash[65];
	/* of the token */
	const char *token_id, *site_id, *node_name, *node_id, *used_csr;
	int64_t expires_us;
	bool used;
};

static int enrol_body(struct req *r, struct enrolment *n, struct err *e)
{
	int rc = json_need_str(r->body, "secret", &n->secret, e);

	if (rc == 0)
		rc = json_need_str(r->body, "csr", &n->csr, e);
	if (rc < 0)
		return rc;
	if (strlen(n->csr) > CSR_SIZE_MAX)
		return err_set(e, FAULT_TOO_LARGE, "csr",
			       "The certificate request is larger than %d bytes.", CSR_SIZE_MAX);
	n->inventory = json_object_get(r->body, "inventory");
	if (n->inventory &&
	    (!json_is_object(n->inventory) || json_object_size(n->inventory) > INVENTORY_ITEMS_MAX))
		return err_set(e, FAULT_BAD_REQUEST, "inventory",
			       "inventory is an object of at most %d items.", INVENTORY_ITEMS_MAX);
	sha256_hex(n->csr, strlen(n->csr), n->csr_hash);
	return 0;
}

static int token_find(struct req *r, struct enrolment *n, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	char hash[65];
	int rc;

	sha256_hex(n->secret, strlen(n->secret), hash);
	rc = db_query(r->db, &q, e,
		      "SELECT id, site_id, node_name, expires_us, used_us, node_id, csr_sha256 FROM enrol_token WHERE secret_sha256 = ?",
		      "s", hash);
	if (rc >= 0)
		rc = db_step(q, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, FAULT_UNAUTHENTICATED, "secret", "The enrolment token is not valid.");
	n->token_id = arena_strdup(r->arena, db_text(q, 0));
	n->site_id = arena_strdup(r->arena, db_text(q, 1));
	n->node_name = arena_strdup(r->arena, db_text(q, 2));
	n->expires_us = db_int(q, 3);
	n->used = !db_is_null(q, 4);
	n->node_id = arena_strdup(r->arena, db_text(q, 5));
	n->used_csr = arena_strdup(r->arena, db_text(q, 6));
	return 0;
}

static int token_check(const struct enrolment *n, struct err *e)
{
	bool same = n->used && n->used_csr && strcmp(n->used_csr, n->csr_hash) == 0;

	if (n->used && !same)
		return err_set(e, FAULT_CONFLICT, "secret",
			       "The enrolment token was used already: ask for a new one.");
	if (n->expires_us < clock_wall_us())
		return err_set(e, FAULT_GONE, "secret",
			       "The enrolment token has expired: ask for a new one.");
	return 0;
}

static int node_insert(struct req *r, struct enrolment *n, struct err *e)
{
	int64_t now = clock_wall_us();
	CLEANUP(json_freep) json_t *nothing = json_object();
	char id[UUID_STR_SIZE];
	int64_t one;
	int rc = db_get_int(r->db, &one, e, "SELECT 1 FROM node WHERE name = ?", "s", n->node_name);

	if (rc > 0)
		return err_set(e, FAULT_CONFLICT, "secret", "A node named %s is enrolled already.",
			       n->node_name);
	n->node_id = arena_strdup(r->arena, uuid_format(uuid_random(), id));
	if (rc == 0)
		rc = db_exec(r->db, e,
			     "INSERT INTO node (id, name, site_id, inventory, created_us, updated_us) VALUES (?, ?, ?, ?, ?, ?)",
			     "sssjii", id, n->node_name, n->site_id,
			     n->inventory ? n->inventory : nothing, now, now);
	if (rc >= 0)
		rc = db_exec(r->db, e,
			     "UPDATE enrol_token SET used_us = ?, node_id = ?, csr_sha256 = ? WHERE id = ?",
			     "isss", now, id, n->csr_hash, n->token_id);
	return rc < 0 ? rc : 0;
}

static int sign(struct req *r, const struct enrolment *n, json_t **ret, struct err *e)
{
	CLEANUP(free_charp) char *certificate = NULL;
	CLEANUP(free_charp) char *ca = NULL;
	size_t ca_size;
	char serial[48];
	int rc = pki_sign_client(r->hub->ca_cert, r->hub->ca_key, str_of(n->csr), n->node_id,
				 NODE_CERT_DAYS, &certificate, serial, e);

	if (rc == 0)
		rc = file_read(r->hub->ca_cert, CA_SIZE_MAX, &ca, &ca_size, e);
	if (rc >= 0)
		rc = db_exec(r->db, e,
			     "UPDATE node SET cert_serial = ?, cert_expires_us = ? WHERE id = ?",
			     "sis", serial,
			     clock_wall_us() + NODE_CERT_DAYS * 24LL * 3600 * 1000000, n->node_id);
	if (rc < 0)
		return rc;
	*ret = json_pack("{s:s, s:s, s:s, s:s, s:s, s:[s]}", "node_id", n->node_id, "site_id",
			 n->site_id, "name", n->node_name, "certificate", certificate, "ca", ca,
			 "hub_urls", r->hub->public_url);
	return *ret ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
}

int enrol_node(struct req *r, struct err *e)
{
	struct enrolment n = { 0 };
	json_t *answer = NULL;
	int rc = enrol_body(r, &n, e);

	if (rc == 0)
		rc = token_find(r, &n, e);
	if (rc == 0)
		rc = token_check(&n, e);
	if (rc == 0 && !n.used)
		rc = node_insert(r, &n, e);
	if (rc == 0)
		rc = sign(r, &n, &answer, e);
	if (rc == 0)
		req_reply(r, answer);
	return rc;
}
