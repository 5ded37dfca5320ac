/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/json.h"
#include "hub/cert.h"
#include "hub/session.h"
#include "hub/site/site.h"

/*
 * Revocation. In this order: the rows, with the commit; the set that the handshake asks; the connection. So nobody comes in between.
 */

#define FOR_EVER_US (INT64_MAX / 2)

static void refuse_now(struct hub *h, void *arg)
{
	certs_refuse(h, arg);
	session_drop(h, arg, "revoked");
}

static void allow_now(struct hub *h, void *arg)
{
	certs_allow(h, arg);
}

static void refuse_serial(struct hub *h, void *arg)
{
	certs_refuse(h, arg);
	certs_pending(h, arg, false);
}

static int no_memory(struct err *e)
{
	return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
}

int node_refuse(struct req *r, const char *node_id, struct err *e)
{
	int rc = certs_refuse_row(r->db, node_id, FOR_EVER_US, e);

	if (rc == 0 && req_after_commit(r, refuse_now, arena_strdup(r->arena, node_id)) < 0)
		rc = no_memory(e);
	return rc;
}

int node_refuse_serials(struct req *r, const char *node_id, struct err *e)
{
	static const char *const sql[] = { "SELECT cert_serial FROM node WHERE id = ?",
					   "SELECT cert_next_serial FROM node WHERE id = ?" };
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(sql); i++) {
		const char *serial = NULL;

		rc = db_get_text(r->db, r->arena, &serial, e, sql[i], "s", node_id);
		if (rc < 0 || !serial)
			continue;
		/* Longer than any certificate lives. */
		rc = certs_refuse_row(r->db, serial, FOR_EVER_US, e);
		if (rc == 0 && req_after_commit(r, refuse_serial, (void *)(uintptr_t)serial) < 0)
			rc = no_memory(e);
	}
	return rc < 0 ? rc : 0;
}

int node_allow(struct req *r, const char *node_id, struct err *e)
{
	int rc = certs_allow_row(r->db, node_id, e);

	if (rc == 0 && req_after_commit(r, allow_now, arena_strdup(r->arena, node_id)) < 0)
		rc = no_memory(e);
	return rc;
}

const char *audit_who(const struct req *r)
{
	return r->auth.user_name ? r->auth.user_name : r->auth.user_id ? r->auth.user_id : "nobody";
}

/* POST /nodes/{id}/revoke: at once, and until a token lets it come back. What runs at its site runs on. */
int node_revoke(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *node = NULL;
	int rc = rest_need(r, &node_resource, req_param(r, "id"), &node, e);
	const char *id = rc < 0 ? NULL : json_str(node, "id");

	if (rc >= 0)
		rc = db_exec(r->db, e, "UPDATE node SET revoked = 1, updated_us = ? WHERE id = ?",
			     "is", clock_wall_us(), id);
	if (rc >= 0)
		rc = node_refuse(r, id, e);
	if (rc >= 0)
		rc = audit(r->db, id, "node_revoked", arena_printf(r->arena, "node/%s", id), e,
			   "%s revoked the node %s", audit_who(r), json_str(node, "name"));
	return rc < 0 ? rc : 0;
}
