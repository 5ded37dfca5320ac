/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/json.h"
#include "hub/cert.h"
#include "hub/site/site.h"

/* Rotation of the CA. The steps are in hub/ca.c; what waits for it is counted here. */

/* Nodes that are not revoked, and whose certificate in use another CA signed. */
static int count_waiting(struct req *r, int64_t *ret, struct err *e)
{
	char issuer[65];
	int rc = ca_issuer(r->hub, issuer, e);

	*ret = 0;
	if (rc == 0)
		rc = db_get_int(r->db, ret, e,
				"SELECT count(*) FROM node WHERE revoked = 0 AND cert_serial IS NOT NULL AND cert_ca IS NOT ?",
				"s", issuer);
	return rc < 0 ? rc : 0;
}

static int reply(struct req *r, struct err *e)
{
	json_t *list = NULL;
	int64_t n;
	int rc = ca_list(r->hub, &list, e);

	if (rc < 0)
		return rc;
	if (json_array_size(list) < 2)
		n = 0;
	else
		rc = count_waiting(r, &n, e);
	if (rc < 0) {
		json_decref(list);
		return rc;
	}
	req_reply(r, json_pack("{s:{s:b, s:o, s:I}}", "ca", "rotating", json_array_size(list) > 1,
			       "certificates", list, "nodes_waiting", (json_int_t)n));
	return 0;
}

int ca_show(struct req *r, struct err *e)
{
	return reply(r, e);
}

/* Every node is asked to renew: what it gets is signed by the new CA, and comes with the bundle. */
int ca_start_rotation(struct req *r, struct err *e)
{
	int64_t now = clock_wall_us();
	int rc = audit(r->db, NULL, "ca_rotated", "ca", e, "%s began to replace the CA", audit_who(r));

	if (rc == 0)
		rc = ca_rotate(r->hub, e);
	if (rc == 0)
		rc = db_exec(r->db, e,
			     "UPDATE node SET cert_renew_us = ?1, cert_offer_us = ?1 WHERE cert_serial IS NOT NULL",
			     "i", now);
	return rc < 0 ? rc : reply(r, e);
}

int ca_end_rotation(struct req *r, struct err *e)
{
	const json_t *force = json_object_get(r->body, "force");
	int64_t n;
	int rc = count_waiting(r, &n, e);

	if (rc == 0 && force && !json_is_boolean(force))
		rc = err_set(e, FAULT_BAD_REQUEST, "force", "force is true or false.");
	if (rc == 0 && n && !json_is_true(force))
		rc = err_set(e, FAULT_IN_USE, NULL,
			     "%lld node(s) still use a certificate of the old CA. With force, they must be enrolled again.",
			     (long long)n);
	if (rc == 0)
		rc = audit(r->db, NULL, "ca_retired", "ca", e, "%s retired the old CA%s",
			   audit_who(r), n ? " while nodes used it" : "");
	if (rc == 0)
		rc = ca_retire(r->hub, e);
	return rc < 0 ? rc : reply(r, e);
}
