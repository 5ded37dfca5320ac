/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "hub/hub.h"
#include "hub/network/net.h"
#include "hub/network/provider.h"
#include "hub/network/qos.h"

/*
 * Networks. One network is one L2 domain per site: the name of a physical network ("lan", "wan") is a NIC's logical
 * name and exists at every site, so two projects may both have a network on it. Within one project, a second network on the
 * same (physical network, segment) could never be told from the first by a frame, and is refused.
 */

#define MTU_MIN 68 /* RFC 791 */
#define MTU_MAX 65535

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
	PROVIDER_ATTRS,
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

static int check_create(struct req *r, json_t *row, struct err *e)
{
	int rc = provider_create(r, row, e);

	return rc < 0 ? rc : qos_default(r, row, e);
}

static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	CLEANUP(json_freep) json_t *now = json_copy((json_t *)old);
	int rc = net_begin(r, old, "update_network", e);

	if (rc < 0)
		return rc;
	if (json_object_update(now, changes) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	rc = provider_update(r, now, e);
	return rc < 0 ? rc : qos_check(r, changes, e);
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
