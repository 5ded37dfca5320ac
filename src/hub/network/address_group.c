/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/address_group.h"

#include "base/clock.h"
#include "base/json.h"
#include "hub/session.h"

#define SHOWN_MAX 8 /* addresses that an error names */

static const struct attr attrs[] = {
	NET_ATTR_ID,
	NET_ATTR_NAME,
	NET_ATTR_DESCRIPTION,
	NET_ATTR_PROJECT,
	{ "shared", NULL, ATTR_ANY, 0 },
	{ "addresses", NULL, ATTR_LIST, ATTR_CREATE, .max = ADDRESS_GROUP_MAX, .dflt = "[]" },
	NET_ATTR_REVISION,
	NET_ATTR_TIMES,
	{ 0 },
};

/* An address is a network of one. Host bits are cut, so that what is equal is equal as text. */
static int address_parse(const json_t *v, char ret[static CIDR_STR_SIZE])
{
	struct str s = str_of(json_string_value(v));
	struct ip_cidr c;

	if (cidr_parse(s, &c) < 0) {
		if (ip_parse(s, &c.addr) < 0)
			return -1;
		c.prefix_len = ip_max_prefix(&c.addr);
	}
	c.addr = cidr_network(c);
	(void)cidr_format(c, ret);
	return 0;
}

/* A canonical copy of the list. */
static int addresses_check(struct req *r, const json_t *list, json_t **ret, struct err *e)
{
	CLEANUP(json_freep) json_t *out = json_array();
	json_t *v;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) > ADDRESS_GROUP_MAX)
		return neutron_err(e, NEUTRON_INVALID_FOR, "addresses", "addresses",
				   "it must be a list of at most 10000 addresses");
	json_array_foreach(list, i, v) {
		char text[CIDR_STR_SIZE];

		if (address_parse(v, text) < 0)
			return neutron_err(e, NEUTRON_INVALID_FOR, "addresses", "addresses",
					   arena_printf(r->arena, "'%.80s' is not a valid IP subnet",
							net_json_text(r, v)));
		if (json_array_append_new(out, json_string_nocheck(text)) < 0)
			return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for addresses");
	}
	*ret = MOVE_PTR(out);
	return 0;
}

static int addresses_store(struct req *r, const char *id, const json_t *list, struct err *e)
{
	int64_t n = 0;
	int rc = db_exec(r->db, e,
			 "INSERT OR IGNORE INTO address_group_address (address_group_id, address) "
			 "SELECT ?, value FROM json_each(?)",
			 "sj", id, list);

	if (rc >= 0)
		rc = db_get_int(r->db, &n, e,
				"SELECT count(*) FROM address_group_address WHERE address_group_id = ?",
				"s", id);
	if (rc >= 0 && n > ADDRESS_GROUP_MAX)
		return err_set(e, FAULT_QUOTA, "addresses",
			       "Quota exceeded for resources: ['addresses']: a group has at most %d.",
			       ADDRESS_GROUP_MAX);
	return rc < 0 ? rc : 0;
}

static int check_create(struct req *r, json_t *row, struct err *e)
{
	json_t *checked = NULL;
	int rc = addresses_check(r, json_object_get(row, "addresses"), &checked, e);

	return rc < 0 ? rc : json_object_set_new(row, "addresses", checked);
}

static int created(struct req *r, json_t *row, struct err *e)
{
	return addresses_store(r, json_str(row, "id"), json_object_get(row, "addresses"), e);
}

static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	return net_begin(r, old, "update_address_group", e);
}

static int deleting(struct req *r, const json_t *row, struct err *e)
{
	const char *id = json_str(row, "id"), *user;
	int rc = net_begin(r, row, "delete_address_group", e);

	if (rc == 0)
		rc = db_get_text(
			r->db, r->arena, &user, e,
			"SELECT id FROM security_group_rule WHERE remote_address_group_id = ? UNION ALL "
			"SELECT id FROM firewall_rule WHERE source_address_group_id = ? OR destination_address_group_id = ? LIMIT 1",
			"sss", id, id, id);
	return rc > 0 ? neutron_err(e, NEUTRON_ADDRESS_GROUP_IN_USE, NULL, id, user) : rc;
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
		(void)json_object_set_new(row, "shared", json_false());
		(void)json_object_set_new(row, "addresses", json_array());
	}
	rc = db_query(r->db, &q, e,
		      "SELECT address_group_id, address FROM address_group_address "
		      "WHERE address_group_id IN (SELECT value FROM json_each(?)) ORDER BY address_group_id, address",
		      "j", ids);
	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		row = net_page_row(&p, db_text(q, 0));
		(void)json_array_append_new(json_object_get(row, "addresses"),
					    json_string_nocheck(db_text(q, 1)));
	}
	net_page_done(&p);
	return rc;
}

static const struct rest_filter filters[] = {
	{ "addresses", "id IN (SELECT address_group_id FROM address_group_address WHERE address = ?)" },
	{ 0 },
};

const struct resource address_group_resource = {
	.service = "network",
	.singular = "address_group",
	.plural = "address_groups",
	.table = "address_group",
	.policy = "network:address_group",
	.attrs = attrs,
	.dflt_sort = "created_us,id",
	.not_found = "Address group %s could not be found.",
	.check_create = check_create,
	.created = created,
	.check_update = check_update,
	.deleting = deleting,
	.expand_page = expand_page,
	.filters = filters,
};

/* ---- actions ---- */

/* Clients send the list bare; the envelope is taken as well. */
static const json_t *action_list(const struct req *r)
{
	const json_t *inner = json_object_get(r->body, "address_group");

	return json_object_get(inner ? inner : r->body, "addresses");
}

/* Addresses of the list that are (or are not) in the group: "a, b". *ret NULL: none. */
static int find_some(struct req *r, const char *id, const json_t *list, bool there,
		     const char **ret, struct err *e)
{
	*ret = NULL;
	return db_get_text(
		r->db, r->arena, ret, e,
		"SELECT group_concat(value, ', ') FROM (SELECT value FROM json_each(?) WHERE (value IN "
		"(SELECT address FROM address_group_address WHERE address_group_id = ?)) = ? LIMIT ?)",
		"jsbi", list, id, (int)there, (int64_t)SHOWN_MAX);
}

static int begin_action(struct req *r, const char *rule, json_t **ret_list, struct err *e)
{
	CLEANUP(json_freep) json_t *group = NULL;
	int rc = rest_need(r, &address_group_resource, req_param(r, "id"), &group, e);

	if (rc == 0)
		rc = net_begin(r, group, rule, e);
	return rc < 0 ? rc : addresses_check(r, action_list(r), ret_list, e);
}

static int end_action(struct req *r, struct err *e)
{
	const char *id = req_param(r, "id");
	int rc = db_exec(r->db, e,
			 "UPDATE address_group SET revision_number = revision_number + 1, updated_us = ? WHERE id = ?",
			 "is", clock_wall_us(), id);

	if (rc >= 0)
		rc = intent_nodes_of_addresses(r->db, id, net_touch, r, e);
	return rc < 0 ? rc : rest_show(r, e);
}

int address_group_add(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *list = NULL;
	const char *id = req_param(r, "id"), *some = NULL;
	int rc = begin_action(r, "add_addresses", &list, e);

	if (rc == 0)
		rc = find_some(r, id, list, true, &some, e);
	if (rc >= 0 && some)
		return neutron_err(e, NEUTRON_ADDRESSES_EXIST, "addresses", some, id);
	if (rc >= 0)
		rc = addresses_store(r, id, list, e);
	return rc < 0 ? rc : end_action(r, e);
}

int address_group_remove(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *list = NULL;
	const char *id = req_param(r, "id"), *some = NULL;
	int rc = begin_action(r, "remove_addresses", &list, e);

	if (rc == 0)
		rc = find_some(r, id, list, false, &some, e);
	if (rc >= 0 && some)
		return neutron_err(e, NEUTRON_ADDRESSES_NOT_FOUND, "addresses", some, id);
	if (rc >= 0)
		rc = db_exec(r->db, e,
			     "DELETE FROM address_group_address WHERE address_group_id = ? AND address IN "
			     "(SELECT value FROM json_each(?))",
			     "sj", id, list);
	return rc < 0 ? rc : end_action(r, e);
}
