/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_IDENTITY_AUTH_H
#define DEMARC_HUB_IDENTITY_AUTH_H

/*
 * Who a request is: token -> user, project, roles. The common case needs no SQL: the token's signature, the set of
 * revocations in memory, and a cache of (user, scope) that every change of identity rows invalidates as a whole.
 */

#include "hub/hub.h"
#include "hub/identity/token.h"
#include "hub/rest.h"

enum { ROLE_BIT_ADMIN = 1, ROLE_BIT_MEMBER = 2, ROLE_BIT_READER = 4 };

/* Loads the revocations. The caller frees with auth_free(). */
WARN_UNUSED int auth_new(struct db *db, struct auth **ret, struct err *e);
void auth_free(struct auth *a);

/* The pipeline's step: X-Auth-Token into r->auth. Fault UNAUTHENTICATED. Worker threads. */
WARN_UNUSED int auth_check(struct req *r, struct err *e);
/* Any token text (X-Subject-Token): who it is. Strings in *ret live in the request's arena. */
WARN_UNUSED int auth_check_token(struct req *r, struct str text, struct token *ret_token,
				 struct req_auth *ret, struct err *e);
/* Fills *ret for a user and a scope, by the cache or by SQL. UNAUTHENTICATED when either is gone or disabled, or the user has no role
 * on a scope that it names. */
WARN_UNUSED int auth_subject(struct req *r, const struct token *t, struct req_auth *ret, struct err *e);

/* After a change of users, projects, domains, roles or assignments, in its transaction: forget what is cached once it commits. */
WARN_UNUSED int auth_changed(struct req *r, struct err *e);
enum revocation_kind { REVOKE_AUDIT, REVOKE_USER, REVOKE_PROJECT };
/* In the open write transaction: tokens of this audit id, user or project issued up to now are void once it commits. */
WARN_UNUSED int auth_revoke(struct req *r, enum revocation_kind kind, const char *id, struct err *e);

#endif
