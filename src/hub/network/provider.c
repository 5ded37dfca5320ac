/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/provider.h"

#include "base/json.h"
#include "hub/hub.h"
#include "hub/network/net.h"

#define UNDERLAY_MTU 1500 /* Neutron's global_physnet_mtu */
#define TYPE "provider:network_type"
#define NIC "provider:physical_network"
#define NUMBER "provider:segmentation_id"
#define OUTER "demarc:outer_segmentation_id"
#define NSH_PATH "demarc:nsh_path"
#define NSH_INDEX "demarc:nsh_index"
#define NSH_MD_TYPE "demarc:nsh_md_type"
#define NSH_CONTEXT "demarc:nsh_context"
#define NSH_TLVS "demarc:nsh_tlvs"

const char *const provider_types[] = { "local", "flat", "vlan",
#define X(id, name, min, max, size, flags) name,
				       OVERLAY_TABLE(X)
#undef X
					       NULL };

const struct overlay_type *provider_overlay(const json_t *row)
{
	return overlay_type_find(json_str(row, TYPE));
}

static bool is_given(const json_t *row, const char *name)
{
	const json_t *v = json_object_get(row, name);

	return v && !json_is_null(v);
}

static bool is_type(const json_t *row, const char *type)
{
	const char *is = json_str(row, TYPE);

	return strcmp(is ? is : "local", type) == 0;
}

static int wrong(struct err *e, const char *field, const char *what)
{
	return neutron_err(e, NEUTRON_INVALID_INPUT, field, what);
}

/* ---- what goes with a type ---- */

/* Attributes that say nothing about the type, and may not be there. */
static int check_foreign(const json_t *row, struct err *e)
{
	static const char *const nsh[] = { NSH_PATH, NSH_INDEX, NSH_MD_TYPE, NSH_CONTEXT, NSH_TLVS };
	const struct overlay_type *t = provider_overlay(row);

	if (is_given(row, OUTER) && !is_type(row, "vlan"))
		return wrong(e, OUTER,
			     OUTER " is the service tag around the tag of a vlan network: give "
				   "provider:network_type vlan");
	for (size_t i = 0; i < ARRAY_LEN(nsh); i++)
		if (is_given(row, nsh[i]) && !(t && (t->flags & OVERLAY_NSH)))
			return wrong(e, nsh[i],
				     "a service path is of a network of provider:network_type vxlan-gpe");
	return 0;
}

static bool is_tlvs(const json_t *row)
{
	return json_int(row, NSH_MD_TYPE, 1) == 2;
}

/* RFC 8300: type 1 has a context of a fixed size, type 2 a list of TLVs. */
static int check_context(struct req *r, const json_t *row, struct err *e)
{
	const char *context = json_str(row, NSH_CONTEXT);
	const json_t *tlvs = json_object_get(row, NSH_TLVS);
	uint8_t bytes[NSH_CONTEXT_MAX];
	struct err why = { 0 };

	if (context && is_tlvs(row))
		return wrong(e, NSH_CONTEXT,
			     NSH_CONTEXT " is metadata of type 1: give " NSH_TLVS " with type 2");
	if (context && nsh_fixed(str_of(context), bytes) < 0)
		return wrong(e, NSH_CONTEXT, NSH_CONTEXT " is 16 bytes: give 32 hexadecimal digits");
	if (json_array_size(tlvs) && !is_tlvs(row))
		return wrong(e, NSH_TLVS,
			     NSH_TLVS " are metadata of type 2: give " NSH_MD_TYPE " 2 beside them");
	if (nsh_tlvs(tlvs, bytes, &why) < 0)
		return wrong(e, NSH_TLVS, arena_printf(r->arena, NSH_TLVS "%s: %s", why.field, why.msg));
	return 0;
}

int provider_id_check(struct req *r, const struct overlay_type *t, int64_t id, const char *field,
		      struct err *e)
{
	if (id >= t->id_min && id <= t->id_max)
		return 0;
	return wrong(e, field,
		     arena_printf(r->arena, "%s of type %s is %u to %u, not %lld", field, t->name,
				  t->id_min, t->id_max, (long long)id));
}

static int check_tunnel(struct req *r, const struct overlay_type *t, const json_t *row, struct err *e)
{
	if (json_str(row, NIC))
		return wrong(e, NIC, NIC " specified for a tunnel network");
	if (!is_given(row, NUMBER))
		return 0;
	return provider_id_check(r, t, json_int(row, NUMBER, 0), NUMBER, e);
}

static int check_nic(const json_t *row, struct err *e)
{
	const char *phys = json_str(row, NIC);
	int64_t segment = json_int(row, NUMBER, 0);

	if (!phys || !*phys)
		return wrong(e, NIC, "physical_network required for this provider network");
	if (is_type(row, "flat") && segment)
		return wrong(e, NUMBER, "segmentation_id prohibited for flat provider network");
	if (is_type(row, "vlan") && !segment)
		return wrong(e, NUMBER, "segmentation_id required for VLAN provider network");
	if (segment > PROVIDER_VLAN_MAX)
		return wrong(e, NUMBER, "segmentation_id of a VLAN provider network is 1 to 4094");
	return 0;
}

static int check_type(struct req *r, const json_t *row, struct err *e)
{
	const char *phys = json_str(row, NIC);
	int rc = check_foreign(row, e);

	if (rc == 0)
		rc = check_context(r, row, e);
	if (rc < 0)
		return rc;
	if (provider_overlay(row))
		return check_tunnel(r, provider_overlay(row), row, e);
	if (!is_type(row, "local"))
		return check_nic(row, e);
	if (phys || is_given(row, NUMBER))
		return wrong(e, phys ? NIC : NUMBER,
			     "provider:physical_network and provider:segmentation_id need "
			     "a provider:network_type other than local");
	return 0;
}

static int mtu_of(const json_t *row)
{
	const struct overlay_type *t = provider_overlay(row);
	uint8_t bytes[NSH_CONTEXT_MAX];
	int context = NSH_FIXED_SIZE;

	if (is_tlvs(row))
		context = nsh_tlvs(json_object_get(row, NSH_TLVS), bytes, NULL);
	return UNDERLAY_MTU - (t ? overlay_overhead(t, (unsigned)MAX_OF(context, 0)) : 0);
}

static int check_mtu(struct req *r, const json_t *row, struct err *e)
{
	if (!provider_overlay(row) || json_int(row, "mtu", 0) <= mtu_of(row))
		return 0;
	return wrong(e, "mtu",
		     arena_printf(r->arena, "Requested MTU is too big, maximum is %d", mtu_of(row)));
}

/* ---- numbers ---- */

/* A tunnel's number is one network's, whoever has it; except_id: the network itself. */
static int check_tunnel_free(struct req *r, const json_t *row, const char *except_id, struct err *e)
{
	int64_t segment = json_int(row, NUMBER, 0), other;
	int rc = db_get_int(r->db, &other, e,
			    "SELECT 1 FROM network WHERE physical_network IS NULL AND network_type = ? AND "
			    "segmentation_id = ? AND id <> ?",
			    "sis", json_str(row, TYPE), segment, except_id);

	return rc > 0 ? neutron_err(e, NEUTRON_TUNNEL_IN_USE, NUMBER,
				    arena_printf(r->arena, "%lld", (long long)segment)) :
			rc;
}

static int check_nic_free(struct req *r, const json_t *row, const char *except_id, struct err *e)
{
	const char *phys = json_str(row, NIC), *vlan;
	int64_t segment = json_int(row, NUMBER, 0), outer = json_int(row, OUTER, 0), other;
	int rc = db_get_int(
		r->db, &other, e,
		"SELECT 1 FROM network WHERE project_id = ? AND physical_network = ? AND "
		"coalesce(segmentation_id, 0) = ? AND coalesce(outer_segmentation_id, 0) = ? AND id <> ?",
		"ssiis", json_str(row, "project_id"), phys, segment, outer, except_id);

	if (rc <= 0)
		return rc;
	if (!segment)
		return neutron_err(e, NEUTRON_FLAT_IN_USE, NIC, phys);
	vlan = outer ? arena_printf(r->arena, "%lld.%lld", (long long)outer, (long long)segment) :
		       arena_printf(r->arena, "%lld", (long long)segment);
	return neutron_err(e, NEUTRON_VLAN_IN_USE, NUMBER, vlan, phys);
}

static int check_free(struct req *r, const json_t *row, const char *except_id, struct err *e)
{
	if (provider_overlay(row))
		return check_tunnel_free(r, row, except_id, e);
	return json_str(row, NIC) ? check_nic_free(r, row, except_id, e) : 0;
}

/* The lowest free number of the range, from the index. */
static int choose_number(struct req *r, const struct overlay_type *t, json_t *row, struct err *e)
{
	const struct hub_config *c = r->hub->config;
	int64_t min = MAX_OF(c->tunnel_id_min, t->id_min),
		max = MIN_OF(c->tunnel_id_max, t->id_max), id;
	int rc = db_get_int(
		r->db, &id, e,
		"WITH used AS NOT MATERIALIZED (SELECT segmentation_id AS id FROM network WHERE physical_network IS NULL "
		"AND network_type = ?1) SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM used WHERE id = ?2) THEN ?2 ELSE (SELECT min(a.id) + 1 FROM used a "
		"WHERE a.id >= ?2 AND NOT EXISTS (SELECT 1 FROM used b WHERE b.id = a.id + 1)) END",
		"si", t->name, min);

	if (rc < 0)
		return rc;
	if (rc == 0 || id > max)
		return neutron_err(e, NEUTRON_NO_NETWORK_LEFT, NULL);
	return json_object_set_new(row, NUMBER, json_integer(id));
}

static void fill(json_t *row, const char *name, int64_t value)
{
	if (!is_given(row, name))
		(void)json_object_set_new(row, name, json_integer(value));
}

static int complete(struct req *r, json_t *row, struct err *e)
{
	const struct overlay_type *t = provider_overlay(row);

	if (t && (t->flags & OVERLAY_NSH))
		fill(row, NSH_MD_TYPE, 1);
	fill(row, "mtu", mtu_of(row));
	if (check_mtu(r, row, e) < 0)
		return -e->num;
	if (t && !is_given(row, NUMBER) && choose_number(r, t, row, e) < 0)
		return -e->num;
	if (t && (t->flags & OVERLAY_NSH)) {
		fill(row, NSH_PATH, json_int(row, NUMBER, 0));
		fill(row, NSH_INDEX, OVERLAY_NSH_INDEX_MAX);
	}
	return 0;
}

int provider_create(struct req *r, json_t *row, struct err *e)
{
	int rc = check_type(r, row, e);

	if (rc < 0)
		return rc;
	if (!is_given(row, TYPE))
		(void)json_object_set_new(row, TYPE, json_string(r->hub->config->tenant_network_type));
	rc = complete(r, row, e);
	return rc < 0 ? rc : check_free(r, row, "", e);
}

int provider_update(struct req *r, const json_t *now, struct err *e)
{
	int rc = check_type(r, now, e);

	if (rc == 0 && provider_overlay(now) && !is_given(now, NUMBER))
		rc = wrong(e, NUMBER, "a tunnel network keeps a number: give one, or leave it out");
	if (rc == 0)
		rc = check_mtu(r, now, e);
	return rc < 0 ? rc : check_free(r, now, json_str(now, "id"), e);
}
