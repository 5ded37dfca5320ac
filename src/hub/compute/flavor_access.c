/* SPDX-License-Identifier: Apache-2.0 */
/* Which projects may use a private flavor. Source: Nova API reference, "Flavors access". */
#include <string.h>

#include "base/json.h"
#include "hub/compute/flavor.h"
#include "hub/compute/input.h"

static int reply_access(struct req *r, const char *flavor_id, struct err *e)
{
	CLEANUP(json_freep) json_t *out = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e,
			  "SELECT project_id FROM flavor_access WHERE flavor_id = ? ORDER BY project_id",
			  "s", flavor_id);

	while (rc == 0 && (rc = db_step(q, e)) == 1) {
		rc = 0;
		json_array_append_new(out, json_pack("{s:s, s:s}", "flavor_id", flavor_id,
						     "tenant_id", db_text(q, 0)));
	}
	if (rc == 0)
		req_reply(r, json_pack("{s:O}", "flavor_access", out));
	return rc;
}

int flavor_access_list(struct req *r, struct err *e)
{
	struct flavor f;
	int rc = flavor_need(r, req_param(r, "id"), FAULT_NOT_FOUND, &f, e);

	if (rc < 0)
		return rc;
	if (f.is_public)
		return err_set(e, FAULT_NOT_FOUND, NULL,
			       "Access list not available for public flavors.");
	return reply_access(r, f.id, e);
}

static int add(struct req *r, const struct flavor *f, const char *project, struct err *e)
{
	int64_t there;
	int rc;

	if (f->is_public)
		return err_set(e, FAULT_CONFLICT, NULL,
			       "Can not add access to a public flavor: everyone has it.");
	rc = db_get_int(r->db, &there, e,
			"SELECT 1 FROM flavor_access WHERE flavor_id = ? AND project_id = ?", "ss",
			f->id, project);
	if (rc > 0)
		return err_set(e, FAULT_CONFLICT, "tenant",
			       "Flavor access already exists for flavor %s and project %.64s "
			       "combination.",
			       f->id, project);
	if (rc == 0)
		rc = db_exec(r->db, e, "INSERT INTO flavor_access (flavor_id, project_id) VALUES (?, ?)",
			     "ss", f->id, project);
	return MIN_OF(rc, 0);
}

static int drop(struct req *r, const struct flavor *f, const char *project, struct err *e)
{
	int rc = db_exec(r->db, e, "DELETE FROM flavor_access WHERE flavor_id = ? AND project_id = ?",
			 "ss", f->id, project);

	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, "tenant",
			       "Flavor access not found for %s / %.64s combination.", f->id, project);
	return MIN_OF(rc, 0);
}

int flavor_action(struct req *r, struct err *e)
{
	static const struct {
		const char *name;
		int (*fn)(struct req *r, const struct flavor *f, const char *project, struct err *e);
	} actions[] = { { "addTenantAccess", add }, { "removeTenantAccess", drop } };
	const char *project = NULL;
	struct flavor f;
	int rc = flavor_need(r, req_param(r, "id"), FAULT_NOT_FOUND, &f, e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		const json_t *arg = json_object_get(r->body, actions[i].name);

		if (!arg)
			continue;
		if (input_need(arg, "tenant", e) < 0 ||
		    input_str(arg, "tenant", 1, 255, &project, e) < 0 ||
		    actions[i].fn(r, &f, project, e) < 0)
			return -e->num;
		return reply_access(r, f.id, e);
	}
	return err_set(e, FAULT_BAD_REQUEST, NULL, "There is no such action.");
}
