/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/intent_build.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/types.h"
#include "hub/session.h"
#include "model/nsh.h"
#include "model/overlay.h"

/*
 * Networks of a tunnel type: this node's end, the ends of the other nodes that have ports on them, the MACs behind each, and the ends that are
 * no nodes.
 */

#define OVERLAYS_HERE                                                                              \
	"(SELECT p.network_id FROM port p JOIN overlay_network o ON o.id = p.network_id WHERE p.node_id = ?1)"

/* Was checked when it came (check_context()). */
static int nsh_context(struct intent_build *b, struct db_rows *q, ProtobufCBinaryData *ret)
{
	CLEANUP(json_freep) json_t *tlvs = db_json(q, 8);
	int size = 0;

	ret->data = arena_alloc(b->arena, NSH_CONTEXT_MAX);
	if (!ret->data)
		return -ENOMEM;
	if (db_int(q, 6) == 2)
		size = nsh_tlvs(tlvs, ret->data, NULL);
	else if (!db_is_null(q, 7) && nsh_fixed(str_of(db_text(q, 7)), ret->data) == 0)
		size = NSH_FIXED_SIZE;
	ret->len = (size_t)MAX_OF(size, 0);
	return 0;
}

static int nsh_fill(struct intent_build *b, struct db_rows *q, Demarc__V1__Overlay *v)
{
	if (db_is_null(q, 4) && db_is_null(q, 5) && db_is_null(q, 6))
		return 0;
	v->nsh = ARENA_NEW(b->arena, Demarc__V1__Nsh);
	if (!v->nsh)
		return -ENOMEM;
	demarc__v1__nsh__init(v->nsh);
	v->nsh->path = (uint32_t)db_int(q, 4);
	v->nsh->index = (uint32_t)db_int(q, 5);
	v->nsh->md_type = (uint32_t)db_int(q, 6);
	return nsh_context(b, q, &v->nsh->context);
}

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
	if (nsh_fill(b, q, v) < 0)
		return -ENOMEM;
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

/* A list of MACs as text, in its order. */
static int foreign_macs(struct intent_build *b, const json_t *list, Demarc__V1__Vtep *t)
{
	struct mac mac;
	json_t *m;
	size_t i;

	t->macs.data = arena_alloc(b->arena, (json_array_size(list) + 1) * sizeof(mac));
	if (!t->macs.data)
		return -ENOMEM;
	json_array_foreach(list, i, m) {
		if (!json_is_string(m) || mac_parse(str_of(json_string_value(m)), &mac) < 0)
			continue;
		memcpy(t->macs.data + t->macs.len, mac.b, sizeof(mac.b));
		t->macs.len += sizeof(mac.b);
	}
	return 0;
}

static int foreign_labels(struct intent_build *b, const json_t *list, Demarc__V1__ForeignVtep *f)
{
	json_t *label;
	size_t i;

	f->labels = arena_alloc(b->arena, (json_array_size(list) + 1) * sizeof(*f->labels));
	if (!f->labels)
		return -ENOMEM;
	json_array_foreach(list, i, label)
		f->labels[f->n_labels++] = (uint32_t)json_integer_value(label);
	return 0;
}

/* MAC and key of each; a port with two MACs is there twice. */
static int foreign_ovn_ports(struct intent_build *b, const json_t *list, Demarc__V1__ForeignVtep *f)
{
	struct mac mac;
	json_t *row;
	size_t i;

	json_array_foreach(list, i, row) {
		Demarc__V1__OvnPort *p = ARENA_NEW(b->arena, Demarc__V1__OvnPort);
		const char *text = json_str(row, "mac_address");

		if (!text || mac_parse(str_of(text), &mac) < 0)
			continue;
		if (!p)
			return -ENOMEM;
		demarc__v1__ovn_port__init(p);
		p->key = (uint32_t)json_int(row, "tunnel_key", 0);
		p->macs.data = arena_alloc(b->arena, sizeof(mac));
		if (!p->macs.data)
			return -ENOMEM;
		p->macs.len = sizeof(mac);
		memcpy(p->macs.data, mac.b, sizeof(mac));
		if (INTENT_APPEND(b, f->n_ovn_ports, f->ovn_ports, p) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int foreign_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	Demarc__V1__Object *o = intent_find(&b->objects, *(const size_t *)ctx, db_text(q, 0));
	Demarc__V1__ForeignVtep *f = ARENA_NEW(b->arena, Demarc__V1__ForeignVtep);
	Demarc__V1__Vtep *at = ARENA_NEW(b->arena, Demarc__V1__Vtep);
	CLEANUP(json_freep) json_t *macs = db_json(q, 5);
	CLEANUP(json_freep) json_t *labels = db_json(q, 6);
	CLEANUP(json_freep) json_t *ports = db_json(q, 9);

	(void)e;
	if (!f || !at)
		return -ENOMEM;
	if (!o || !o->network->overlay)
		return 0;
	demarc__v1__foreign_vtep__init(f);
	demarc__v1__vtep__init(at);
	f->at = at;
	at->address = intent_text(b, q, 1);
	f->type = intent_text(b, q, 2);
	f->id = (uint32_t)db_int(q, 3);
	f->no_flood = !db_int(q, 4);
	f->ovn_ingress_port = (uint32_t)db_int(q, 7);
	f->ovn_egress_port = (uint32_t)db_int(q, 8);
	if (foreign_macs(b, macs, at) < 0 || foreign_labels(b, labels, f) < 0 ||
	    foreign_ovn_ports(b, ports, f) < 0)
		return -ENOMEM;
	return INTENT_APPEND(b, o->network->overlay->n_foreign, o->network->overlay->foreign, f);
}

static int build_foreign(struct intent_build *b, size_t first, struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(
		b->db, &q, e,
		"SELECT network_id, ip_address, tunnel_type, segmentation_id, flood, mac_addresses, mpls_labels, "
		"ovn_ingress_port, ovn_egress_port, ovn_ports FROM remote_vtep WHERE network_id IN " OVERLAYS_HERE
		" ORDER BY network_id, ip_address",
		"s", b->node_id);

	return rc < 0 ? rc : intent_each(b, q, foreign_row, &first, e);
}

int intent_build_overlays(struct intent_build *b, size_t first, struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(b->db, &q, e,
			  "SELECT w.id, w.network_type, w.segmentation_id, coalesce(n.vtep, ''), w.nsh_path, w.nsh_index, w.nsh_md_type, w.nsh_context, w.nsh_tlvs "
			  "FROM network w, node n "
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
	if (rc >= 0)
		rc = intent_each(b, q, remote_row, &first, e);
	return rc < 0 ? rc : build_foreign(b, first, e);
}

/* ---- nodes of earlier releases ---- */

#define TOLD_KIND "encapsulation_unsupported"
#define TOLD_AGAIN 1000 /* events until the same one is told again */
#define SQL_UUID                                                                                   \
	"lower(printf('%s-%s-4%s-8%s-%s', hex(randomblob(4)), hex(randomblob(2)), "                \
	"substr(hex(randomblob(2)), 2), substr(hex(randomblob(2)), 2), hex(randomblob(6))))"

int intent_tell_unsupported(struct db *db, const char *node_id, const char *network_id, struct err *e)
{
	int rc = db_exec(
		db, e,
		"INSERT INTO event (id, time_us, node_id, site_id, project_id, kind, severity, resource, text) "
		"SELECT " SQL_UUID ", ?1, n.id, n.site_id, w.project_id, '" TOLD_KIND
		"', 'warning', 'network/' || w.id, "
		"printf('release %s of the node %s has no %s, which the network %s needs: update the node', n.release, n.name, "
		"CASE WHEN w.outer_segmentation_id IS NOT NULL THEN 'pairs of VLAN tags' "
		"WHEN EXISTS (SELECT 1 FROM remote_vtep WHERE network_id = w.id) THEN 'remote VTEPs' "
		"ELSE 'tunnels of type ' || w.network_type END, iif(w.name = '', w.id, w.name)) FROM node n, network w "
		"WHERE n.id = ?2 AND n.release <> '' AND w.id IN (SELECT network_id FROM port WHERE node_id = ?2) "
		"AND (?3 IS NULL OR w.id = ?3) "
		"AND NOT EXISTS (SELECT 1 FROM json_each(n.features) WHERE value = '" OVERLAY_FEATURE "') "
		"AND (w.network_type NOT IN ('local', 'flat', 'vlan', 'vxlan', 'gre', 'geneve') " /* what the first nodes made */
		"OR w.outer_segmentation_id IS NOT NULL OR EXISTS (SELECT 1 FROM remote_vtep WHERE network_id = w.id)) "
		"AND NOT EXISTS (SELECT 1 FROM event v WHERE v.seq > (SELECT max(seq) FROM event) - ?4 AND v.node_id = n.id "
		"AND v.kind = '" TOLD_KIND "' AND v.resource = 'network/' || w.id)",
		"issi", clock_wall_us(), node_id, network_id, (int64_t)TOLD_AGAIN);

	return rc < 0 ? rc : 0;
}
