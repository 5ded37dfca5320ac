/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/intent_build.h"

#include <errno.h>
#include <string.h>

#include "base/types.h"

/* Networks of a tunnel type: this node's end, the ends of the other nodes that have ports on them, and the MACs behind each. */

#define OVERLAYS_HERE                                                                              \
	"(SELECT p.network_id FROM port p JOIN overlay_network o ON o.id = p.network_id WHERE p.node_id = ?1)"

static int overlay_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	Demarc__V1__Object *o = intent_find(&b->objects, *(const size_t *)ctx, db_text(q, 0));
	Demarc__V1__Overlay *v = ARENA_NEW(b->arena, Demarc__V1__Overlay);

	(void)e;
	if (!v)
		return -ENOMEM;
	if (!o)
		return 0;
	demarc__v1__overlay__init(v);
	v->type = intent_text(b, q, 1);
	v->id = (uint32_t)db_int(q, 2);
	v->local = intent_text(b, q, 3);
	o->network->overlay = v;
	return arena_failed(b->arena) ? -ENOMEM : 0;
}

static Demarc__V1__Vtep *vtep_of(struct intent_build *b, Demarc__V1__Overlay *v, struct db_rows *q)
{
	Demarc__V1__Vtep *t = v->n_remotes ? v->remotes[v->n_remotes - 1] : NULL;

	if (t && strcmp(t->address, db_text(q, 1)) == 0)
		return t;
	t = ARENA_NEW(b->arena, Demarc__V1__Vtep);
	if (!t)
		return NULL;
	demarc__v1__vtep__init(t);
	t->address = intent_text(b, q, 1);
	t->macs.data = arena_alloc(b->arena, (size_t)db_int(q, 3) * sizeof(struct mac));
	if (!t->address || !t->macs.data || INTENT_APPEND(b, v->n_remotes, v->remotes, t) < 0)
		return NULL;
	return t;
}

/* Sorted by network, end and MAC; the fourth column says how many MACs the end has. */
static int remote_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	Demarc__V1__Object *o = intent_find(&b->objects, *(const size_t *)ctx, db_text(q, 0));
	Demarc__V1__Vtep *t;
	struct mac mac;

	if (!o || !o->network->overlay)
		return 0;
	t = vtep_of(b, o->network->overlay, q);
	if (!t)
		return -ENOMEM;
	if (mac_parse(str_of(db_text(q, 2)), &mac) < 0)
		return err_set(e, FAULT_INTERNAL, "mac_address", "'%.32s' is no MAC address",
			       db_text(q, 2));
	memcpy(t->macs.data + t->macs.len, mac.b, sizeof(mac.b));
	t->macs.len += sizeof(mac.b);
	return 0;
}

int intent_build_overlays(struct intent_build *b, size_t first, struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(b->db, &q, e,
			  "SELECT w.id, w.network_type, w.segmentation_id, coalesce(n.vtep, '') FROM network w, node n "
			  "WHERE n.id = ?1 AND w.id IN " OVERLAYS_HERE " ORDER BY w.id",
			  "s", b->node_id);

	if (rc >= 0)
		rc = intent_each(b, q, overlay_row, &first, e);
	if (rc < 0)
		return rc;
	rc = db_query(b->db, &q, e,
		      "SELECT p.network_id, n.vtep, p.mac_address, count(*) OVER (PARTITION BY p.network_id, n.vtep) "
		      "FROM port p JOIN node n ON n.id = p.node_id WHERE p.network_id IN " OVERLAYS_HERE
		      " AND n.id <> ?1 AND n.vtep IS NOT NULL AND p.device_owner <> 'network:uplink' "
		      "ORDER BY p.network_id, n.vtep, p.mac_address",
		      "s", b->node_id);
	return rc < 0 ? rc : intent_each(b, q, remote_row, &first, e);
}
