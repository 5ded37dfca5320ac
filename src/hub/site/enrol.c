/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/types.h"
#include "hub/cert.h"
#include "hub/hub.h"
#include "hub/site/site.h"

/*
 * Enrolment. A token is "demarc1." and base64url of {"url", "ca_sha256", "secret"}: where the hub is, how to know it, and the right to
 * a certificate: one, or a number of them for nodes that are made alike, or one for a node that was enrolled before and comes back under its
 * identity. Only the secret's hash is stored. The node makes its own key, and sends a certificate request.
 * The same request repeated within the token's life gets a certificate again, so that a lost answer is not a lost node.
 */

#define SECRET_SIZE 32
#define TOKEN_LIFE_DFLT_S 3600
#define TOKEN_LIFE_MAX_S (30 * 24 * 3600)
#define TOKENS_MAX 1000 /* of one site */
#define CSR_SIZE_MAX 16384
#define INVENTORY_ITEMS_MAX 32
#define USES_MAX 10000 /* nodes of one token */
#define NODE_NAME_MAX 63

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

struct new_token {
	const char *node_name, *site_id, *for_node_id;
	int64_t life_s, uses;
	bool again;
};

static int node_name_check(struct req *r, struct new_token *t, struct err *e)
{
	const char *site = NULL;
	/* A node of many has a number behind its name. */
	size_t max = t->uses > 1 ? NODE_NAME_MAX - sizeof("-10000") + 1 : NODE_NAME_MAX;
	int rc;

	if (!*t->node_name || strlen(t->node_name) > max)
		return err_set(e, FAULT_BAD_REQUEST, "enrolment_token.node_name",
			       "A node's name has 1 to %zu characters.", max);
	for (const char *c = t->node_name; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
		      (*c >= '0' && *c <= '9') || strchr("-._", *c)))
			return err_set(e, FAULT_BAD_REQUEST, "enrolment_token.node_name",
				       "A node's name has letters, digits, '-', '.' and '_' only.");
	rc = db_get_text(r->db, r->arena, &t->for_node_id, e, "SELECT id FROM node WHERE name = ?",
			 "s", t->node_name);
	if (rc >= 0)
		rc = db_get_text(r->db, r->arena, &site, e,
				 "SELECT site_id FROM node WHERE name = ?", "s", t->node_name);
	if (rc < 0)
		return rc;
	if (t->again && (!t->for_node_id || strcmp(site, t->site_id) != 0))
		return err_set(e, FAULT_NOT_FOUND, "enrolment_token.node_name",
			       "The site has no node named %s that could come back.", t->node_name);
	if (!t->again && t->for_node_id && t->uses == 1)
		return err_set(e, FAULT_CONFLICT, "enrolment_token.node_name",
			       "A node named %s is enrolled already; \"again\" lets it come back.",
			       t->node_name);
	if (!t->again)
		t->for_node_id = NULL;
	return 0;
}

static const char *token_text(struct req *r, const char *secret)
{
	char anchor[65];

	certs_anchor(r->hub, anchor);
	CLEANUP(json_freep)
	json_t *j = json_pack("{s:s, s:s, s:s}", "url", r->hub->public_url, "ca_sha256", anchor,
			      "secret", secret);
	CLEANUP(free_charp) char *text = j ? json_text(j) : NULL;
	const char *body = text ? base64url(r->arena, text) : NULL;

	return body ? arena_printf(r->arena, "demarc1.%s", body) : NULL;
}

static int body_number(const json_t *body, const char *key, int64_t dflt, int64_t max, int64_t *ret,
		       struct err *e)
{
	const json_t *v = json_object_get(body, key);

	*ret = v ? json_integer_value(v) : dflt;
	if ((!v || json_is_integer(v)) && *ret >= 1 && *ret <= max)
		return 0;
	return err_set(e, FAULT_BAD_REQUEST, key, "%s is a number from 1 to %lld.", key, (long long)max);
}

static int token_body(struct req *r, struct new_token *ret, struct err *e)
{
	static const char *const known[] = { "node_name", "expires_in", "uses", "again" };
	const json_t *again;
	json_t *body;
	const char *key;
	json_t *v;
	int rc = json_need_obj(r->body, "enrolment_token", &body, e);

	if (rc == 0)
		rc = json_need_str(body, "node_name", &ret->node_name, e);
	if (rc < 0)
		return rc;
	json_object_foreach(body, key, v) {
		size_t i = 0;

		while (i < ARRAY_LEN(known) && strcmp(key, known[i]) != 0)
			i++;
		if (i == ARRAY_LEN(known))
			return err_set(e, FAULT_BAD_REQUEST, "enrolment_token",
				       "Unrecognized attribute '%.60s'.", key);
	}
	again = json_object_get(body, "again");
	ret->again = json_is_true(again);
	rc = body_number(body, "expires_in", TOKEN_LIFE_DFLT_S, TOKEN_LIFE_MAX_S, &ret->life_s, e);
	if (rc == 0)
		rc = body_number(body, "uses", 1, USES_MAX, &ret->uses, e);
	if (rc == 0 && ((again && !json_is_boolean(again)) || (ret->again && ret->uses > 1)))
		rc = err_set(e, FAULT_BAD_REQUEST, "enrolment_token.again",
			     "again is true or false, and with one use only.");
	return rc < 0 ? rc : node_name_check(r, ret, e);
}

/* What was not used in time is of no more use to anybody. */
static int tokens_tidy(struct req *r, const char *site_id, struct err *e)
{
	int64_t n = 0;
	int rc = db_exec(r->db, e, "DELETE FROM enrol_token WHERE expires_us < ? AND uses = 0", "i",
			 clock_wall_us() - TOKEN_LIFE_MAX_S * 1000000LL);

	if (rc >= 0)
		rc = db_get_int(r->db, &n, e, "SELECT count(*) FROM enrol_token WHERE site_id = ?",
				"s", site_id);
	if (rc > 0 && n >= TOKENS_MAX)
		return err_set(e, FAULT_QUOTA, NULL,
			       "The site has %d enrolment tokens: delete some first.", TOKENS_MAX);
	return rc < 0 ? rc : 0;
}

static int token_insert(struct req *r, const struct new_token *t, const char *id,
			const char *secret, int64_t expires_us, struct err *e)
{
	char hash[65];
	int rc;

	sha256_hex(secret, strlen(secret), hash);
	rc = db_exec(r->db, e,
		     "INSERT INTO enrol_token (id, site_id, node_name, secret_sha256, expires_us, created_us, uses_max, for_node_id) "
		     "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		     "ssssiiis", id, t->site_id, t->node_name, hash, expires_us, clock_wall_us(),
		     t->uses, t->for_node_id);
	if (rc >= 0)
		rc = audit(r->db, t->for_node_id, "enrolment_token_made",
			   arena_printf(r->arena, "site/%s", t->site_id), e,
			   "%s made an enrolment token for %lld node(s) named %s", audit_who(r),
			   (long long)t->uses, t->node_name);
	return rc < 0 ? rc : 0;
}

int enrol_token_create(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *site = NULL;
	uint8_t secret_bytes[SECRET_SIZE];
	char secret[2 * SECRET_SIZE + 1], id[UUID_STR_SIZE];
	struct new_token t = { 0 };
	int64_t expires;
	const char *text;
	int rc = rest_need(r, &site_resource, req_param(r, "id"), &site, e);

	t.site_id = rc < 0 ? NULL : json_str(site, "id");
	if (rc == 0)
		rc = token_body(r, &t, e);
	if (rc == 0)
		rc = tokens_tidy(r, t.site_id, e);
	if (rc < 0)
		return rc;
	random_bytes(secret_bytes, sizeof(secret_bytes));
	hex_of(secret_bytes, sizeof(secret_bytes), secret);
	expires = clock_wall_us() + t.life_s * 1000000;
	text = token_text(r, secret);
	if (!text)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	rc = token_insert(r, &t, uuid_format(uuid_random(), id), secret, expires, e);
	if (rc == 0)
		req_reply(r, json_pack("{s:{s:s, s:s, s:s, s:s, s:s, s:I, s:o}}", "enrolment_token",
				       "id", id, "site_id", t.site_id, "node_name", t.node_name,
				       "token", text, "url",
				       arena_printf(r->arena, "%s/demarc/v1/enrol#%s",
						    r->hub->public_url, text),
				       "uses", (json_int_t)t.uses, "expires_at", site_time(expires)));
	return rc;
}

static const char *token_state(struct db_rows *q, int64_t now)
{
	if (db_int(q, 6) >= db_int(q, 7))
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
			      "SELECT id, node_name, expires_us, used_us, node_id, created_us, uses, uses_max FROM enrol_token "
			      "WHERE site_id = ? ORDER BY created_us",
			      "s", json_str(site, "id"));
	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		(void)json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:o, s:o, s:s?, s:o, s:I, s:I}", "id",
					db_text(q, 0), "node_name", db_text(q, 1), "state",
					token_state(q, now), "expires_at", site_time(db_int(q, 2)),
					"used_at", site_time(db_int(q, 3)), "node_id",
					db_text(q, 4), "created_at", site_time(db_int(q, 5)), "used",
					(json_int_t)db_int(q, 6), "uses", (json_int_t)db_int(q, 7)));
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
	const char *claimed_id; /* a node that comes back says who it is; or NULL */
	const json_t *inventory;
	char csr_hash[65];
	/* of the token */
	const char *token_id, *site_id, *token_name, *for_node_id;
	int64_t expires_us, uses, uses_max;
	/* of the node */
	const char *node_name, *node_id;
	bool repeated; /* the same request again: the answer was lost */
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
	n->claimed_id = json_str(r->body, "node_id");
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
		      "SELECT t.id, t.site_id, t.node_name, t.expires_us, t.uses, t.uses_max, t.for_node_id, u.node_id, o.name FROM enrol_token t "
		      "LEFT JOIN enrol_use u ON u.token_id = t.id AND u.csr_sha256 = ? LEFT JOIN node o ON o.id = u.node_id "
		      "WHERE t.secret_sha256 = ?",
		      "ss", n->csr_hash, hash);
	if (rc >= 0)
		rc = db_step(q, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, FAULT_UNAUTHENTICATED, "secret", "The enrolment token is not valid.");
	n->token_id = arena_strdup(r->arena, db_text(q, 0));
	n->site_id = arena_strdup(r->arena, db_text(q, 1));
	n->token_name = arena_strdup(r->arena, db_text(q, 2));
	n->expires_us = db_int(q, 3);
	n->uses = db_int(q, 4);
	n->uses_max = db_int(q, 5);
	n->for_node_id = arena_strdup(r->arena, db_text(q, 6));
	n->node_id = arena_strdup(r->arena, db_text(q, 7));
	n->node_name = arena_strdup(r->arena, db_text(q, 8));
	n->repeated = n->node_id != NULL;
	return 0;
}

static int token_check(const struct enrolment *n, struct err *e)
{
	if (!n->repeated && n->uses >= n->uses_max)
		return err_set(e, FAULT_CONFLICT, "secret",
			       "The enrolment token was used already: ask for a new one.");
	if (n->expires_us < clock_wall_us())
		return err_set(e, FAULT_GONE, "secret",
			       "The enrolment token has expired: ask for a new one.");
	if (n->claimed_id && (!n->for_node_id || strcmp(n->claimed_id, n->for_node_id) != 0))
		return err_set(e, FAULT_CONFLICT, "node_id",
			       "The enrolment token is not for the node that this one was.");
	if (n->repeated && !n->node_name)
		return err_set(e, FAULT_GONE, "secret", "The node was deleted.");
	return 0;
}

/* Of many: the next number that is free. Names that operators chose meanwhile are passed. */
static int choose_name(struct req *r, struct enrolment *n, struct err *e)
{
	int64_t one;
	int rc = 1;

	n->node_name = n->token_name;
	for (int64_t i = n->uses + 1; n->uses_max > 1 && rc > 0 && i <= 2 * USES_MAX; i++) {
		n->node_name = arena_printf(r->arena, "%s-%lld", n->token_name, (long long)i);
		rc = db_get_int(r->db, &one, e, "SELECT 1 FROM node WHERE name = ?", "s", n->node_name);
	}
	if (n->uses_max == 1)
		rc = db_get_int(r->db, &one, e, "SELECT 1 FROM node WHERE name = ?", "s", n->node_name);
	return rc > 0 ? err_set(e, FAULT_CONFLICT, "secret", "A node named %s is enrolled already.",
				n->node_name) :
			rc;
}

static int node_insert(struct req *r, struct enrolment *n, struct err *e)
{
	int64_t now = clock_wall_us();
	CLEANUP(json_freep) json_t *nothing = json_object();
	char id[UUID_STR_SIZE];
	int rc = choose_name(r, n, e);

	if (rc < 0)
		return rc;
	n->node_id = arena_strdup(r->arena, uuid_format(uuid_random(), id));
	rc = db_exec(r->db, e,
		     "INSERT INTO node (id, name, site_id, inventory, created_us, updated_us) VALUES (?, ?, ?, ?, ?, ?)",
		     "sssjii", id, n->node_name, n->site_id, n->inventory ? n->inventory : nothing,
		     now, now);
	return rc < 0 ? rc : 0;
}

/* The node that the token names: what it had before is refused, itself is welcome. */
static int node_return(struct req *r, struct enrolment *n, struct err *e)
{
	int rc;

	n->node_id = n->for_node_id;
	rc = db_get_text(r->db, r->arena, &n->node_name, e, "SELECT name FROM node WHERE id = ?",
			 "s", n->node_id);
	if (rc == 0 || (rc > 0 && !n->node_name))
		return err_set(e, FAULT_GONE, "secret", "The node was deleted.");
	if (rc > 0)
		rc = node_refuse_serials(r, n->node_id, e);
	if (rc >= 0)
		rc = db_exec(r->db, e, "UPDATE node SET revoked = 0 WHERE id = ?", "s", n->node_id);
	if (rc >= 0)
		rc = node_allow(r, n->node_id, e);
	return rc < 0 ? rc : 0;
}

static int use_token(struct req *r, struct enrolment *n, struct err *e)
{
	int64_t now = clock_wall_us();
	int rc = n->for_node_id ? node_return(r, n, e) : node_insert(r, n, e);

	if (rc == 0)
		rc = db_exec(r->db, e,
			     "UPDATE enrol_token SET used_us = ?, node_id = ?, csr_sha256 = ?, uses = uses + 1 WHERE id = ?",
			     "isss", now, n->node_id, n->csr_hash, n->token_id);
	if (rc >= 0)
		rc = db_exec(r->db, e,
			     "INSERT INTO enrol_use (token_id, csr_sha256, node_id, used_us) VALUES (?, ?, ?, ?)",
			     "sssi", n->token_id, n->csr_hash, n->node_id, now);
	if (rc >= 0)
		rc = audit(r->db, n->node_id, "node_enrolled",
			   arena_printf(r->arena, "node/%s", n->node_id), e, "%s %s from " STR_FMT,
			   n->node_name, n->for_node_id ? "was enrolled again" : "was enrolled",
			   STR_ARG(r->http->peer));
	return rc < 0 ? rc : 0;
}

static json_t *answer_of(struct req *r, const struct enrolment *n, const char *certificate)
{
	CLEANUP(trust_done) struct trust t = { 0 };
	json_t *urls = json_array();

	if (certs_trust(r->hub, &t) < 0) {
		json_decref(urls);
		return NULL;
	}
	for (size_t i = 0; i < t.n_urls; i++)
		(void)json_array_append_new(urls, json_string(t.urls[i]));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "node_id", n->node_id, "site_id",
			 n->site_id, "name", n->node_name, "certificate", certificate, "ca", t.ca,
			 "trust", t.digest, "hub_urls", urls);
}

static int sign(struct req *r, const struct enrolment *n, json_t **ret, struct err *e)
{
	struct certificate c = { 0 };
	int rc = certs_sign(r->hub, n->node_id, str_of(n->csr), &c, e);

	if (rc >= 0)
		rc = db_exec(r->db, e,
			     "UPDATE node SET cert_serial = ?1, cert_expires_us = ?2, cert_renew_us = ?3, cert_offer_us = ?3, "
			     "cert_ca = ?4, cert_next_serial = NULL, cert_next_expires_us = NULL, cert_next_renew_us = NULL, "
			     "cert_next_ca = NULL WHERE id = ?5 AND revoked = 0",
			     "siiss", c.serial, c.expires_us, c.renew_us, c.ca, n->node_id);
	if (rc == 0) /* the same request again must not undo it */
		rc = err_set(e, FAULT_FORBIDDEN, NULL, "The node is revoked.");
	if (rc >= 0) {
		*ret = answer_of(r, n, c.pem);
		rc = *ret ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	}
	free(c.pem);
	return rc;
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
	if (rc == 0 && !n.repeated)
		rc = use_token(r, &n, e);
	if (rc == 0)
		rc = sign(r, &n, &answer, e);
	if (rc == 0)
		req_reply(r, answer);
	return rc;
}

/* What a phone shows that read the QR code: the token is behind the '#', and so never sent to us. */
int enrol_page(struct req *r, struct err *e)
{
	static const char page[] =
		"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
		"content=\"width=device-width\"><title>demarc: enrol a node</title><h1>Enrol a node</h1>"
		"<p>On the node, as root:</p><pre id=\"c\" style=\"white-space:pre-wrap;word-break:break-all\">"
		"demarc-node enrol TOKEN</pre><script>if(location.hash.startsWith('#demarc1.'))"
		"document.getElementById('c').textContent='demarc-node enrol '+location.hash.slice(1)</script></html>\n";

	r->out.body = STR(page);
	r->out.content_type = "text/html; charset=utf-8";
	return 0;
}
