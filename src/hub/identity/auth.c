/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/identity/auth.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define CACHE_SLOTS 2048 /* direct mapped: a collision costs one SQL lookup */
#define REVOCATION_BUCKETS 256

struct subject {
	struct token key; /* user_id, scope, scope_id */
	uint64_t generation;
	char user_name[256], user_domain_id[TOKEN_ID_SIZE];
	char project_name[256], domain_id[TOKEN_ID_SIZE];
	unsigned roles;
};

struct revocation {
	struct revocation *next;
	enum revocation_kind kind;
	int64_t before_us, expires_us;
	char id[TOKEN_ID_SIZE];
};

struct auth {
	pthread_mutex_t lock;
	struct subject *cache[CACHE_SLOTS];
	struct revocation *revoked[REVOCATION_BUCKETS];
	_Atomic uint64_t generation;
};

static const char *const kind_names[] = {
	[REVOKE_AUDIT] = "audit",
	[REVOKE_USER] = "user",
	[REVOKE_PROJECT] = "project",
};

static uint32_t hash_text(uint32_t h, const char *s)
{
	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619u; /* FNV-1a */
	return h;
}

/* ---- revocations ---- */

static struct revocation **revocation_bucket(struct auth *a, enum revocation_kind kind, const char *id)
{
	return &a->revoked[hash_text(2166136261u + (uint32_t)kind, id) % REVOCATION_BUCKETS];
}

/* Under the lock. Drops what has expired on the way. */
static bool revocation_add(struct auth *a, enum revocation_kind kind, const char *id,
			   int64_t before_us, int64_t expires_us)
{
	struct revocation **at = revocation_bucket(a, kind, id), *fresh;
	int64_t now = clock_wall_us();

	while (*at) {
		struct revocation *old = *at;

		if (old->expires_us > now) {
			at = &old->next;
			continue;
		}
		*at = old->next;
		free(old);
	}
	fresh = calloc(1, sizeof(*fresh));
	if (!fresh)
		return false;
	fresh->kind = kind;
	fresh->before_us = before_us;
	fresh->expires_us = expires_us;
	str_copy(fresh->id, sizeof(fresh->id), str_of(id));
	fresh->next = *revocation_bucket(a, kind, id);
	*revocation_bucket(a, kind, id) = fresh;
	return true;
}

/* Under the lock. */
static bool is_revoked_by(struct auth *a, enum revocation_kind kind, const char *id, int64_t issued_us)
{
	for (struct revocation *v = *revocation_bucket(a, kind, id); v; v = v->next)
		if (v->kind == kind && issued_us <= v->before_us && strcmp(v->id, id) == 0)
			return true;
	return false;
}

static bool is_revoked(struct auth *a, const struct token *t)
{
	char audit[AUDIT_ID_SIZE];

	return is_revoked_by(a, REVOKE_AUDIT, audit_id_format(t->audit_id, audit), t->issued_us) ||
	       is_revoked_by(a, REVOKE_USER, t->user_id, t->issued_us) ||
	       (t->scope == SCOPE_PROJECT &&
		is_revoked_by(a, REVOKE_PROJECT, t->scope_id, t->issued_us));
}

static int load_revocations(struct auth *a, struct db *db, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(db, &q, e,
			  "SELECT kind, id, before_us, expires_us FROM revocation WHERE expires_us > ?",
			  "i", clock_wall_us());

	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		for (size_t k = 0; k < ARRAY_LEN(kind_names); k++)
			if (strcmp(kind_names[k], db_text(q, 0)) == 0 &&
			    !revocation_add(a, (enum revocation_kind)k, db_text(q, 1), db_int(q, 2),
					    db_int(q, 3)))
				return err_set(e, FAULT_NO_MEMORY, NULL,
					       "no memory for the revocations");
	return rc;
}

int auth_new(struct db *db, struct auth **ret, struct err *e)
{
	struct auth *a = calloc(1, sizeof(*a));
	int rc;

	if (!a)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the token cache");
	pthread_mutex_init(&a->lock, NULL);
	rc = load_revocations(a, db, e);
	if (rc < 0) {
		auth_free(a);
		return rc;
	}
	*ret = a;
	return 0;
}

void auth_free(struct auth *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < CACHE_SLOTS; i++)
		free(a->cache[i]);
	for (size_t i = 0; i < REVOCATION_BUCKETS; i++)
		while (a->revoked[i]) {
			struct revocation *v = a->revoked[i];

			a->revoked[i] = v->next;
			free(v);
		}
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* ---- after a commit ---- */

static void forget(struct hub *h, void *arg)
{
	(void)arg;
	atomic_fetch_add(&h->auth->generation, 1);
}

int auth_changed(struct req *r, struct err *e)
{
	return req_after_commit(r, forget, NULL) < 0 ?
		       err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a change") :
		       0;
}

static void revoke_now(struct hub *h, void *arg)
{
	struct revocation *v = arg;

	pthread_mutex_lock(&h->auth->lock);
	revocation_add(h->auth, v->kind, v->id, v->before_us, v->expires_us);
	pthread_mutex_unlock(&h->auth->lock);
	atomic_fetch_add(&h->auth->generation, 1);
}

int auth_revoke(struct req *r, enum revocation_kind kind, const char *id, struct err *e)
{
	struct revocation *v = ARENA_NEW(r->arena, struct revocation);
	int64_t now = clock_wall_us();
	int rc;

	if (!v)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a revocation");
	v->kind = kind;
	v->before_us = now;
	v->expires_us = now + TOKEN_LIFE_US;
	str_copy(v->id, sizeof(v->id), str_of(id));
	rc = db_exec(r->db, e, "DELETE FROM revocation WHERE expires_us < ?", "i", now);
	if (rc >= 0)
		rc = db_exec(r->db, e,
			     "INSERT OR REPLACE INTO revocation (kind, id, before_us, expires_us) VALUES (?, ?, ?, ?)",
			     "ssii", kind_names[kind], id, v->before_us, v->expires_us);
	if (rc >= 0 && req_after_commit(r, revoke_now, v) < 0)
		rc = err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a revocation");
	return rc < 0 ? rc : 0;
}

/* ---- subjects ---- */

static int unauthenticated(struct err *e)
{
	return err_set(e, FAULT_UNAUTHENTICATED, NULL,
		       "The request you have made requires authentication.");
}

static int load_user(struct req *r, struct subject *s, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e,
			  "SELECT u.name, u.domain_id FROM user u JOIN domain d ON d.id = u.domain_id"
			  " WHERE u.id = ? AND u.enabled = 1 AND d.enabled = 1",
			  "s", s->key.user_id);

	if (rc >= 0)
		rc = db_step(q, e);
	if (rc <= 0)
		return rc < 0 ? rc : unauthenticated(e);
	str_copy(s->user_name, sizeof(s->user_name), str_of(db_text(q, 0)));
	str_copy(s->user_domain_id, sizeof(s->user_domain_id), str_of(db_text(q, 1)));
	return 0;
}

static int load_scope(struct req *r, struct subject *s, struct err *e)
{
	static const char project_sql[] =
		"SELECT p.name, p.domain_id FROM project p JOIN domain d ON d.id = p.domain_id"
		" WHERE p.id = ? AND p.enabled = 1 AND d.enabled = 1";
	static const char domain_sql[] = "SELECT name, id FROM domain WHERE id = ? AND enabled = 1";
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc;

	if (s->key.scope == SCOPE_NONE || s->key.scope == SCOPE_SYSTEM)
		return 0;
	rc = db_query(r->db, &q, e, s->key.scope == SCOPE_PROJECT ? project_sql : domain_sql, "s",
		      s->key.scope_id);
	if (rc >= 0)
		rc = db_step(q, e);
	if (rc <= 0)
		return rc < 0 ? rc : unauthenticated(e);
	str_copy(s->project_name, sizeof(s->project_name), str_of(db_text(q, 0)));
	str_copy(s->domain_id, sizeof(s->domain_id), str_of(db_text(q, 1)));
	return 0;
}

static unsigned role_bit(const char *name)
{
	return strcmp(name, "admin") == 0  ? ROLE_BIT_ADMIN :
	       strcmp(name, "member") == 0 ? ROLE_BIT_MEMBER :
	       strcmp(name, "reader") == 0 ? ROLE_BIT_READER :
					     0;
}

static int load_roles(struct req *r, struct subject *s, struct err *e)
{
	static const char *const kinds[] = {
		[SCOPE_NONE] = "", [SCOPE_PROJECT] = "project", [SCOPE_DOMAIN] = "domain", [SCOPE_SYSTEM] = "system"
	};
	CLEANUP(db_donep) struct db_rows *q = NULL;
	bool any = s->key.scope == SCOPE_NONE;
	int rc;

	if (any)
		return 0;
	rc = db_query(r->db, &q, e,
		      "SELECT r.name FROM assignment a JOIN role r ON r.id = a.role_id"
		      " WHERE a.user_id = ? AND a.target_kind = ? AND a.target_id = ?",
		      "sss", s->key.user_id, kinds[s->key.scope], s->key.scope_id);
	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		s->roles |= role_bit(db_text(q, 0));
		any = true;
	}
	return rc < 0 ? rc : any ? 0 : unauthenticated(e);
}

static bool same_key(const struct token *a, const struct token *b)
{
	return a->scope == b->scope && strcmp(a->user_id, b->user_id) == 0 &&
	       strcmp(a->scope_id, b->scope_id) == 0;
}

static void export_subject(struct req *r, const struct subject *s, struct req_auth *ret)
{
	struct arena *a = r->arena;
	bool project = s->key.scope == SCOPE_PROJECT;

	ret->roles = s->roles;
	ret->is_admin = s->roles & ROLE_BIT_ADMIN;
	ret->user_id = arena_strdup(a, s->key.user_id);
	ret->user_name = arena_strdup(a, s->user_name);
	ret->user_domain_id = arena_strdup(a, s->user_domain_id);
	ret->project_id = project ? arena_strdup(a, s->key.scope_id) : NULL;
	ret->project_name = project ? arena_strdup(a, s->project_name) : NULL;
	ret->domain_id = s->domain_id[0] ? arena_strdup(a, s->domain_id) : NULL;
}

static struct subject **slot_of(struct auth *a, const struct token *t)
{
	uint32_t h = hash_text(hash_text(2166136261u + (uint32_t)t->scope, t->user_id), t->scope_id);

	return &a->cache[h % CACHE_SLOTS];
}

static bool subject_cached(struct req *r, struct auth *a, const struct token *t, struct req_auth *ret)
{
	struct subject *s;
	bool hit;

	pthread_mutex_lock(&a->lock);
	s = *slot_of(a, t);
	hit = s && s->generation == atomic_load(&a->generation) && same_key(&s->key, t);
	if (hit)
		export_subject(r, s, ret);
	pthread_mutex_unlock(&a->lock);
	return hit;
}

int auth_subject(struct req *r, const struct token *t, struct req_auth *ret, struct err *e)
{
	struct auth *a = r->hub->auth;
	struct subject *s, *old;
	int rc;

	if (subject_cached(r, a, t, ret))
		return 0;
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a token");
	s->key = *t;
	/* Read before the rows: a change in between makes this entry stale, never the other way round. */
	s->generation = atomic_load(&a->generation);
	rc = load_user(r, s, e);
	if (rc == 0)
		rc = load_scope(r, s, e);
	if (rc == 0)
		rc = load_roles(r, s, e);
	if (rc < 0) {
		free(s);
		return rc;
	}
	export_subject(r, s, ret);
	pthread_mutex_lock(&a->lock);
	old = *slot_of(a, t);
	*slot_of(a, t) = s;
	pthread_mutex_unlock(&a->lock);
	free(old);
	return 0;
}

int auth_check_token(struct req *r, struct str text, struct token *ret_token, struct req_auth *ret,
		     struct err *e)
{
	struct auth *a = r->hub->auth;
	char audit[AUDIT_ID_SIZE];
	bool revoked;
	int rc;

	if (text.len == 0)
		return unauthenticated(e);
	rc = token_verify(r->hub->token_keys, text, clock_wall_us(), ret_token, e);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&a->lock);
	revoked = is_revoked(a, ret_token);
	pthread_mutex_unlock(&a->lock);
	if (revoked)
		return unauthenticated(e);
	rc = auth_subject(r, ret_token, ret, e);
	if (rc < 0)
		return rc;
	ret->audit_id = arena_strdup(r->arena, audit_id_format(ret_token->audit_id, audit));
	ret->issued_us = ret_token->issued_us;
	ret->expires_us = ret_token->expires_us;
	return 0;
}

int auth_check(struct req *r, struct err *e)
{
	struct token t;

	return auth_check_token(r, str_trim(http_header(r->http, "x-auth-token")), &t, &r->auth, e);
}
