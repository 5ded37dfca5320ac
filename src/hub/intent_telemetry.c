/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/intent_build.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/json.h"

/* Where the site wants its flow records: one object, when there are collectors. */

static int telemetry_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	CLEANUP(json_freep) json_t *list = db_json(q, 0);
	Demarc__V1__Telemetry *t = ARENA_NEW(b->arena, Demarc__V1__Telemetry);
	Demarc__V1__Object *o;
	json_t *v;
	size_t i;

	(void)ctx;
	(void)e;
	if (!json_array_size(list))
		return 0;
	o = intent_object_add(b, "telemetry", b->site_id);
	if (!o || !t)
		return -ENOMEM;
	demarc__v1__telemetry__init(t);
	t->ipfix_active_s = (uint32_t)db_int(q, 1);
	json_array_foreach(list, i, v) {
		if (INTENT_APPEND(b, t->n_ipfix_collectors, t->ipfix_collectors,
				  intent_dup(b, json_string_value(v))) < 0)
			return -ENOMEM;
	}
	o->body_case = DEMARC__V1__OBJECT__BODY_TELEMETRY;
	o->telemetry = t;
	return arena_failed(b->arena) ? -ENOMEM : 0;
}

int intent_build_telemetry(struct intent_build *b, struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(b->db, &q, e, "SELECT ipfix_collectors, ipfix_active_s FROM site WHERE id = ?",
			  "s", b->site_id);

	return rc < 0 ? rc : intent_each(b, q, telemetry_row, NULL, e);
}
