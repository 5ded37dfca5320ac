/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/security_group.h"

#include "base/clock.h"
#include "base/json.h"

static const struct attr attrs[] = {
	NET_ATTR_ID,
	NET_ATTR_NAME,
	NET_ATTR_DESCRIPTION,
	NET_ATTR_PROJECT,
	{ "stateful", "stateful", ATTR_BOOL, ATTR_RW | ATTR_FILTER, .dflt = "true" },
	{ "shared", NULL, ATTR_ANY, 0 },
	{ "security_group_rules", NULL, ATTR_ANY, 0 },
	NET_ATTR_TAGS,
	NET_ATTR_REVISION,
	NET_ATTR_TIMES,
	{ 0 },
};

/* Egress of both families to anywhere; in the default group also ingress from the group itself. */
static int insert_rules(struct req *r, const char *group_id, const char *project_id,
			bool is_default, struct err *e)
{
	static const char *const ethertypes[] = { "IPv4", "IPv6" };
	int64_t now = clock_wall_us();

	for (size_t i = 0; i < 2 * ARRAY_LEN(ethertypes); i++) {
		bool ingress = i >= ARRAY_LEN(ethertypes);
		char id[UUID_STR_SIZE];
		int rc;

		if (ingress && !is_default)
			break;
		rc = db_exec(r->db, e,
			     "INSERT INTO security_group_rule (id, project_id, security_group_id, direction, ethertype, "
			     "remote_group_id, created_us, updated_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			     "ssssssii", uuid_format(uuid_random(), id), project_id, group_id,
			     ingress ? "ingress" : "egress", ethertypes[i % 2],
			     ingress ? group_id : NULL, now, now);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int default_group(struct req *r, const char *project_id, const char **ret_id, struct err *e)
{
	int64_t now = clock_wall_us();
	char id[UUID_STR_SIZE];
	int rc = db_get_text(r->db, r->arena, ret_id, e,
			     "SELECT id FROM security_group WHERE project_id = ? AND name = 'default'",
			     "s", project_id);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	*ret_id = arena_strdup(r->arena, uuid_format(uuid_random(), id));
	rc = db_exec(r->db, e,
		     "INSERT INTO security_group (id, name, description, project_id, created_us, updated_us) "
		     "VALUES (?, 'default', 'Default security group', ?, ?, ?)",
		     "ssii", id, project_id, now, now);
	return rc < 0 ? rc : insert_rules(r, id, project_id, true, e);
}

/* The default group is there before the project's first own one, as Neutron does it. */
static int check_create(struct req *r, json_t *row, struct err *e)
{
	const char *name = json_str(row, "name"), *project = json_str(row, "project_id"), *id;

	if (name && strcmp(name, "default") == 0)
		return neutron_err(e, NEUTRON_GROUP_DEFAULT_EXISTS, "name");
	return project ? default_group(r, project, &id, e) : 0;
}

static int created(struct req *r, json_t *row, struct err *e)
{
	return insert_rules(r, json_str(row, "id"), json_str(row, "project_id"), false, e);
}

static bool is_default(const json_t *row)
{
	const char *name = json_str(row, "name");

	return name && strcmp(name, "default") == 0;
}

/* A group keeps its kind while ports have it. */
static int check_stateful(struct req *r, const json_t *old, const json_t *changes, struct err *e)
{
	bool was = json_bool(old, "stateful", true);
	const char *id = json_str(old, "id");
	int64_t one;
	int rc;

	if (json_bool(changes, "stateful", was) == was)
		return 0;
	rc = db_get_int(r->db, &one, e,
			"SELECT 1 FROM port_security_group WHERE security_group_id = ? LIMIT 1",
			"s", id);
	return rc > 0 ? neutron_err(e, NEUTRON_GROUP_IN_USE, "stateful", id) : rc;
}

static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	int rc = net_begin(r, old, "update_security_group", e);

	if (rc < 0)
		return rc;
	if (is_default(old) && json_object_get(changes, "name") && !is_default(changes))
		return neutron_err(e, NEUTRON_GROUP_DEFAULT_UPDATE, "name");
	if (!is_default(old) && is_default(changes))
		return neutron_err(e, NEUTRON_GROUP_DEFAULT_EXISTS, "name");
	return check_stateful(r, old, changes, e);
}

static int updated(struct req *r, const json_t *old, json_t *row, struct err *e)
{
	return net_touch_group(r, json_str(row, "id"), e);
}

static int deleting(struct req *r, const json_t *row, struct err *e)
{
	const char *id = json_str(row, "id");
	int64_t one;
	int rc = net_begin(r, row, "delete_security_group", e);

	if (rc < 0)
		return rc;
	if (is_default(row) && !r->auth.is_admin)
		return neutron_err(e, NEUTRON_GROUP_DEFAULT_REMOVE, NULL);
	rc = db_get_int(r->db, &one, e,
			"SELECT 1 FROM port_security_group WHERE security_group_id = ? LIMIT 1",
			"s", id);
	if (rc > 0)
		return neutron_err(e, NEUTRON_GROUP_IN_USE, NULL, id);
	/* Rules of other groups that name this one as remote go with it. */
	return rc < 0 ? rc : net_touch_remote(r, id, e);
}

static int expand_page(struct req *r, json_t *rows, struct err *e)
{
	CLEANUP(json_freep) json_t *ids = net_ids(rows);
	CLEANUP(db_donep) struct db_rows *q = NULL;
	struct net_page p;
	json_t *row;
	size_t i;
	int rc = net_page_begin(&p, rows, e);

	if (rc < 0)
		return rc;
	json_array_foreach(rows, i, row) {
		json_object_set_new(row, "security_group_rules", json_array());
		json_object_set_new(row, "shared", json_false());
	}
	rc = db_query(
		r->db, &q, e,
		"SELECT security_group_id, json_object('id', id, 'description', description, 'project_id', project_id, "
		"'tenant_id', project_id, 'security_group_id', security_group_id, 'direction', direction, "
		"'ethertype', ethertype, 'protocol', protocol, 'port_range_min', port_range_min, 'port_range_max', "
		"port_range_max, 'remote_ip_prefix', remote_ip_prefix, 'remote_group_id', remote_group_id, "
		"'remote_address_group_id', remote_address_group_id, 'revision_number', revision_number, "
		"'created_at', strftime('%Y-%m-%dT%H:%M:%SZ', created_us / 1000000, 'unixepoch'), "
		"'updated_at', strftime('%Y-%m-%dT%H:%M:%SZ', updated_us / 1000000, 'unixepoch'), "
		"'tags', json_array()) "
		"FROM security_group_rule WHERE security_group_id IN (SELECT value FROM json_each(?)) ORDER BY created_us, id",
		"j", ids);
	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		row = net_page_row(&p, db_text(q, 0));
		if (row)
			(void)json_array_append_new(json_object_get(row, "security_group_rules"),
						    db_json(q, 1));
	}
	net_page_done(&p);
	return rc;
}

static const struct rest_filter filters[] = {
	{ "tags", NET_TAGS_SQL("security_group") },
	{ 0 },
};

const struct resource security_group_resource = {
	.service = "network",
	.singular = "security_group",
	.plural = "security_groups",
	.table = "security_group",
	.policy = "network:security_group",
	.attrs = attrs,
	.dflt_sort = "created_us,id",
	.not_found = "Security group %s does not exist",
	.check_create = check_create,
	.created = created,
	.check_update = check_update,
	.updated = updated,
	.deleting = deleting,
	.expand_page = expand_page,
	.filters = filters,
};
