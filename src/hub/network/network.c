/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "hub/hub.h"
#include "hub/network/net.h"
#include "hub/network/qos.h"

/*
 * Networks. One network is one L2 domain per site: the name of a physical network ("lan", "wan") is a NIC's logical
 * name and exists at every site, so two projects may both have a network on it. Within one project, a second network on the
 * same (physical network, segment) could never be told from the first by a frame, and is refused.
 */

#define MTU_MIN 68 /* RFC 791 */
#define MTU_MAX 65535
#define UNDERLAY_MTU 1500      /* Neutron's global_physnet_mtu */
#define VLAN_MAX 4094	       /* IEEE 802.1Q */
#define SEGMENT_MAX 4294967295 /* RFC 2890: a GRE key */

static const char *const network_types[] = { "local", "flat", "vlan", "vxlan", "gre", "geneve", NULL };

/* Types whose frames travel from node to node in tunnels. Overhead: what of the underlay's MTU the inner IP packet lacks, over IPv4. */
static const struct tunnel_type {
	const char *name;
	int64_t max;  /* segmentation ids are 1..max */
	int overhead; /* bytes: inner Ethernet, tunnel, UDP, IPv4 */
} tunnel_types[] = {
	{ "vxlan", 0xffffff, 14 + 8 + 8 + 20 },	 /* RFC 7348 */
	{ "geneve", 0xffffff, 14 + 8 + 8 + 20 }, /* RFC 8926, without options */
	{ "gre", SEGMENT_MAX, 14 + 8 + 20 },	 /* RFC 2890, with a key */
};

static const struct attr attrs[] = {
	NET_ATTR_ID,
	NET_ATTR_NAME,
	NET_ATTR_DESCRIPTION,
	NET_ATTR_PROJECT,
	{ "admin_state_up", "admin_state_up", ATTR_BOOL, ATTR_RW | ATTR_FILTER, .dflt = "true" },
	{ "shared", "shared", ATTR_BOOL, ATTR_RW | ATTR_FILTER | ATTR_ADMIN, .dflt = "false" },
	{ "router:external", "external", ATTR_BOOL, ATTR_RW | ATTR_FILTER | ATTR_ADMIN, .dflt = "false" },
	{ "mtu", "mtu", ATTR_INT, ATTR_RW | ATTR_FILTER, MTU_MIN, MTU_MAX },
	{ "port_security_enabled", "port_security_enabled", ATTR_BOOL, ATTR_RW | ATTR_FILTER,
	  .dflt = "true" },
	{ "provider:network_type", "network_type", ATTR_ENUM,
	  ATTR_CREATE | ATTR_FILTER | ATTR_ADMIN | ATTR_ADMIN_SEE, .choices = network_types },
	{ "provider:physical_network", "physical_network", ATTR_STR,
	  ATTR_CREATE | ATTR_FILTER | ATTR_ADMIN | ATTR_ADMIN_SEE | ATTR_NULLABLE, .max = 15 },
	{ "provider:segmentation_id", "segmentation_id", ATTR_INT,
	  ATTR_RW | ATTR_FILTER | ATTR_ADMIN | ATTR_ADMIN_SEE | ATTR_NULLABLE, 1, SEGMENT_MAX },
	{ "qos_policy_id", "qos_policy_id", ATTR_UUID, ATTR_RW | ATTR_FILTER | ATTR_NULLABLE },
	{ "status", NULL, ATTR_STR, 0 },
	{ "subnets", NULL, ATTR_ANY, 0 },
	{ "availability_zones", NULL, ATTR_ANY, 0 },
	{ "availability_zone_hints", NULL, ATTR_ANY, 0 },
	{ "ipv4_address_scope", NULL, ATTR_ANY, 0 },
	{ "ipv6_address_scope", NULL, ATTR_ANY, 0 },
	NET_ATTR_TAGS,
	NET_ATTR_REVISION,
	NET_ATTR_TIMES,
	{ 0 },
};

static const struct tunnel_type *tunnel_type(const json_t *row)
{
	const char *type = json_str(row, "provider:network_type");

	for (size_t i = 0; type && i < ARRAY_LEN(tunnel_types); i++)
		if (strcmp(tunnel_types[i].name, type) == 0)
			return &tunnel_types[i];
	return NULL;
}

static int check_tunnel(const struct tunnel_type *t, const json_t *row, struct err *e)
{
	if (json_str(row, "provider:physical_network"))
		return neutron_err(e, NEUTRON_INVALID_INPUT, "provider:physical_network",
				   "provider:physical_network specified for a tunnel network");
	if (json_int(row, "provider:segmentation_id", 1) > t->max)
		return neutron_err(e, NEUTRON_INVALID_INPUT, "provider:segmentation_id",
				   "provider:segmentation_id is larger than a tunnel ID of this "
				   "network type");
	return 0;
}

static int check_provider(const json_t *row, struct err *e)
{
	const char *type = json_str(row, "provider:network_type"),
		   *phys = json_str(row, "provider:physical_network");
	int64_t segment = json_int(row, "provider:segmentation_id", 0);

	if (tunnel_type(row))
		return check_tunnel(tunnel_type(row), row, e);
	if (!type || strcmp(type, "local") == 0) {
		if (phys || segment)
			return neutron_err(e, NEUTRON_INVALID_INPUT,
					   phys ? "provider:physical_network" : "provider:segmentation_id",
					   "provider:physical_network and provider:segmentation_id need "
					   "a provider:network_type other than local");
		return 0;
	}
	if (!phys || !*phys)
		return neutron_err(e, NEUTRON_INVALID_INPUT, "provider:physical_network",
				   "physical_network required for this provider network");
	if (strcmp(type, "flat") == 0 && segment)
		return neutron_err(e, NEUTRON_INVALID_INPUT, "provider:segmentation_id",
				   "segmentation_id prohibited for flat provider network");
	if (strcmp(type, "vlan") == 0 && !segment)
		return neutron_err(e, NEUTRON_INVALID_INPUT, "provider:segmentation_id",
				   "segmentation_id required for VLAN provider network");
	if (segment > VLAN_MAX)
		return neutron_err(e, NEUTRON_INVALID_INPUT, "provider:segmentation_id",
				   "segmentation_id of a VLAN provider network is 1 to 4094");
	return 0;
}

/* A tunnel's number is one network's, whoever has it; except_id: the network itself. */
static int check_tunnel_free(struct req *r, const json_t *row, const char *except_id, struct err *e)
{
	int64_t segment = json_int(row, "provider:segmentation_id", 0), other;
	int rc = db_get_int(r->db, &other, e,
			    "SELECT 1 FROM network WHERE network_type = ? AND segmentation_id = ? AND id <> ?",
			    "sis", json_str(row, "provider:network_type"), segment, except_id);

	return rc > 0 ? neutron_err(e, NEUTRON_TUNNEL_IN_USE, "provider:segmentation_id",
				    arena_printf(r->arena, "%lld", (long long)segment)) :
			rc;
}

/* The lowest free number of the range, from the index. */
static int choose_segment(struct req *r, const struct tunnel_type *t, json_t *row, struct err *e)
{
	const struct hub_config *c = r->hub->config;
	int64_t max = MIN_OF((int64_t)c->tunnel_id_max, t->max), id;
	int rc = db_get_int(
		r->db, &id, e,
		"SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM network WHERE network_type = ?1 AND segmentation_id = ?2) "
		"THEN ?2 ELSE (SELECT min(a.segmentation_id) + 1 FROM network a WHERE a.network_type = ?1 AND "
		"a.segmentation_id >= ?2 AND NOT EXISTS (SELECT 1 FROM network b WHERE b.network_type = ?1 AND "
		"b.segmentation_id = a.segmentation_id + 1)) END",
		"si", t->name, (int64_t)c->tunnel_id_min);

	if (rc < 0)
		return rc;
	if (rc == 0 || id > max)
		return neutron_err(e, NEUTRON_NO_NETWORK_LEFT, NULL);
	return json_object_set_new(row, "provider:segmentation_id", json_integer(id));
}

static bool is_given(const json_t *row, const char *name)
{
	const json_t *v = json_object_get(row, name);

	return v && !json_is_null(v);
}

static int mtu_of(const json_t *row)
{
	const struct tunnel_type *t = tunnel_type(row);

	return UNDERLAY_MTU - (t ? t->overhead : 0);
}

static int check_mtu(struct req *r, const json_t *row, struct err *e)
{
	if (!tunnel_type(row) || json_int(row, "mtu", 0) <= mtu_of(row))
		return 0;
	return neutron_err(e, NEUTRON_INVALID_INPUT, "mtu",
			   arena_printf(r->arena, "Requested MTU is too big, maximum is %d",
					mtu_of(row)));
}

/* Type, number and MTU that a request leaves to us. */
static int complete(struct req *r, json_t *row, struct err *e)
{
	const struct tunnel_type *t;

	if (!is_given(row, "provider:network_type"))
		(void)json_object_set_new(row, "provider:network_type",
					  json_string(r->hub->config->tenant_network_type));
	t = tunnel_type(row);
	if (!is_given(row, "mtu"))
		(void)json_object_set_new(row, "mtu", json_integer(mtu_of(row)));
	if (check_mtu(r, row, e) < 0)
		return -e->num;
	return t && !is_given(row, "provider:segmentation_id") ? choose_segment(r, t, row, e) : 0;
}

/* row: all provider attributes; except_id: the network itself, in update. */
static int check_segment_free(struct req *r, const json_t *row, const char *except_id, struct err *e)
{
	const char *phys = json_str(row, "provider:physical_network"), *vlan;
	int64_t segment = json_int(row, "provider:segmentation_id", 0), other;
	int rc;

	if (tunnel_type(row))
		return check_tunnel_free(r, row, except_id, e);
	if (!phys)
		return 0;
	rc = db_get_int(r->db, &other, e,
			"SELECT 1 FROM network WHERE project_id = ? AND physical_network = ? AND "
			"coalesce(segmentation_id, 0) = ? AND id <> ?",
			"ssis", json_str(row, "project_id"), phys, segment, except_id);
	if (rc <= 0)
		return rc;
	if (!segment)
		return neutron_err(e, NEUTRON_FLAT_IN_USE, "provider:physical_network", phys);
	vlan = arena_printf(r->arena, "%lld", (long long)segment);
	return neutron_err(e, NEUTRON_VLAN_IN_USE, "provider:segmentation_id", vlan, phys);
}

static int check_create(struct req *r, json_t *row, struct err *e)
{
	int rc = check_provider(row, e);

	if (rc == 0)
		rc = complete(r, row, e);
	if (rc == 0)
		rc = qos_default(r, row, e);
	return rc < 0 ? rc : check_segment_free(r, row, "", e);
}

static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	CLEANUP(json_freep) json_t *now = json_copy((json_t *)old);
	int rc = net_begin(r, old, "update_network", e);

	if (rc < 0)
		return rc;
	if (json_object_update(now, changes) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	rc = check_provider(now, e);
	if (rc == 0)
		rc = check_mtu(r, now, e);
	if (rc == 0)
		rc = qos_check(r, changes, e);
	return rc < 0 ? rc : check_segment_free(r, now, json_str(old, "id"), e);
}

static int updated(struct req *r, const json_t *old, json_t *row, struct err *e)
{
	return net_touch_network(r, json_str(row, "id"), e);
}

/* Its subnets go with a network that has no ports. */
static int deleting(struct req *r, const json_t *row, struct err *e)
{
	const char *id = json_str(row, "id");
	int64_t port;
	int rc = net_begin(r, row, "delete_network", e);

	if (rc == 0)
		rc = db_get_int(r->db, &port, e, "SELECT 1 FROM port WHERE network_id = ? LIMIT 1",
				"s", id);
	if (rc > 0)
		return neutron_err(e, NEUTRON_NETWORK_IN_USE, NULL, id);
	if (rc == 0)
		rc = net_touch_network(r, id, e);
	return rc < 0 ? rc : db_exec(r->db, e, "DELETE FROM subnet WHERE network_id = ?", "s", id);
}

/* Appends the second column of each row to list `attr` of the page's row named by the first. */
static int append_column(struct req *r, const struct net_page *p, const char *attr, const char *sql,
			 struct err *e)
{
	CLEANUP(json_freep) json_t *ids = net_ids(p->rows);
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e, sql, "j", ids);

	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		json_t *row = net_page_row(p, db_text(q, 0));

		if (row)
			(void)json_array_append_new(json_object_get(row, attr),
						    json_string(db_text(q, 1)));
	}
	return rc;
}

static int expand_page(struct req *r, json_t *rows, struct err *e)
{
	struct net_page p;
	json_t *row;
	size_t i;
	int rc = net_page_begin(&p, rows, e);

	if (rc < 0)
		return rc;
	json_array_foreach(rows, i, row) {
		json_object_set_new(row, "status", json_string("ACTIVE"));
		json_object_set_new(row, "subnets", json_array());
		json_object_set_new(row, "availability_zones", json_array());
		json_object_set_new(row, "availability_zone_hints", json_array());
		json_object_set_new(row, "ipv4_address_scope", json_null());
		json_object_set_new(row, "ipv6_address_scope", json_null());
	}
	rc = append_column(r, &p, "subnets",
			   "SELECT network_id, id FROM subnet WHERE network_id IN (SELECT value FROM json_each(?)) "
			   "ORDER BY created_us, id",
			   e);
	if (rc == 0)
		rc = append_column(
			r, &p, "availability_zones",
			"SELECT DISTINCT p.network_id, s.name FROM port p JOIN node n ON n.id = p.node_id "
			"JOIN site s ON s.id = n.site_id "
			"WHERE p.network_id IN (SELECT value FROM json_each(?)) ORDER BY s.name",
			e);
	net_page_done(&p);
	return rc;
}

static const struct rest_filter filters[] = {
	{ "tags", NET_TAGS_SQL("network") },
	{ 0 },
};

const struct resource network_resource = {
	.service = "network",
	.singular = "network",
	.plural = "networks",
	.table = "network",
	.policy = "network:network",
	.attrs = attrs,
	.dflt_sort = "created_us,id",
	.visible_sql = "project_id = :project OR shared = 1 OR external = 1",
	.not_found = "Network %s could not be found.",
	.check_create = check_create,
	.check_update = check_update,
	.updated = updated,
	.deleting = deleting,
	.expand_page = expand_page,
	.filters = filters,
};
