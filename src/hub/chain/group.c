/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "hub/chain/chain.h"
#include "model/chain.h"

static const char *const on_failure[] = { "drop", "bypass", NULL };

static const struct attr attrs[] = {
	NET_ATTR_ID,
	NET_ATTR_NAME,
	NET_ATTR_DESCRIPTION,
	NET_ATTR_PROJECT,
	{ "group_id", "serial", ATTR_INT, ATTR_FILTER },
	{ "port_pairs", NULL, ATTR_LIST, ATTR_RW | ATTR_NULLABLE },
	{ "port_pair_group_parameters", "port_pair_group_parameters", ATTR_OBJ,
	  ATTR_CREATE | ATTR_NULLABLE, .max = 8 },
	{ "tap_enabled", "tap_enabled", ATTR_BOOL, ATTR_CREATE | ATTR_FILTER, .dflt = "false" },
	{ "demarc:on_failure", "on_failure", ATTR_ENUM, ATTR_RW | ATTR_FILTER,
	  .choices = on_failure, .dflt = "\"drop\"" },
	{ 0 },
};

static const char *const lb_fields[] = { "eth_src", "eth_dst", "ip_src",  "ip_dst",
					 "tcp_src", "tcp_dst", "udp_src", "udp_dst" };

static int check_lb_fields(struct req *r, const json_t *list, struct err *e)
{
	json_t *item;
	size_t i;

	if (!json_is_array(list))
		return neutron_err(e, NEUTRON_INVALID_FOR, "port_pair_group_parameters",
				   "port_pair_group_parameters", "'lb_fields' is not a list");
	json_array_foreach(list, i, item) {
		const char *s = json_string_value(item);
		bool known = false;

		for (size_t k = 0; s && k < ARRAY_LEN(lb_fields); k++)
			known |= strcmp(s, lb_fields[k]) == 0;
		if (!known)
			return neutron_err(e, NEUTRON_INVALID_FOR, "port_pair_group_parameters",
					   "port_pair_group_parameters",
					   arena_printf(r->arena, "Illegal values in a list: %s",
							net_json_text(r, item)));
	}
	return 0;
}

/* Flows have affinity to a pair by their whole five-tuple; lb_fields is kept for clients. */
static int check_params(struct req *r, json_t *row, struct err *e)
{
	json_t *params = json_object_get(row, "port_pair_group_parameters"), *mapping;

	if (!json_is_object(params)) {
		(void)json_object_set_new(row, "port_pair_group_parameters", json_object());
		params = json_object_get(row, "port_pair_group_parameters");
	}
	if (!json_object_get(params, "lb_fields"))
		(void)json_object_set_new(params, "lb_fields", json_array());
	mapping = json_object_get(params, "ppg_n_tuple_mapping");
	if (!mapping)
		(void)json_object_set_new(params, "ppg_n_tuple_mapping",
					  json_pack("{s:{}, s:{}}", "ingress_n_tuple", "egress_n_tuple"));
	if (json_object_size(params) != 2)
		return neutron_err(e, NEUTRON_INVALID_FOR, "port_pair_group_parameters",
				   "port_pair_group_parameters",
				   "only lb_fields and ppg_n_tuple_mapping are known");
	return check_lb_fields(r, json_object_get(params, "lb_fields"), e);
}

static int check_create(struct req *r, json_t *row, struct err *e)
{
	int64_t serial = 0;
	int rc = check_params(r, row, e);

	if (rc == 0)
		rc = db_get_int(r->db, &serial, e,
				"SELECT coalesce(max(serial), 0) FROM sfc_port_pair_group", "");
	if (rc < 0)
		return rc;
	if (json_bool(row, "tap_enabled", false))
		return neutron_err(e, NEUTRON_INVALID_INPUT, "tap_enabled",
				   "passive taps are not supported");
	return json_object_set_new(row, "group_id", json_integer(serial + 1));
}

/* Correlation of all pairs of a group is the same. Source: networking-sfc, InconsistentCorrelations. */
static int check_correlation(const json_t *pair, const json_t **first, struct err *e)
{
	const json_t *mine =
		json_object_get(json_object_get(pair, "service_function_parameters"), "correlation");

	if (*first && !json_equal(*first, mine))
		return neutron_err(e, NEUTRON_PPG_CORRELATION, "port_pairs");
	*first = mine;
	return 0;
}

static int take_pair(struct req *r, const char *group_id, const char *pair_id, size_t ord,
		     json_t **ret, struct err *e)
{
	const char *in;
	int rc = rest_need(r, &port_pair_resource, pair_id, ret, e);

	if (rc == 0)
		rc = net_own(r, *ret, "create_port_pair_group", e);
	if (rc < 0)
		return rc;
	in = json_str(*ret, "group_id");
	if (in && strcmp(in, group_id) != 0)
		return neutron_err(e, NEUTRON_PAIR_IN_USE, "port_pairs", pair_id);
	rc = db_exec(r->db, e, "UPDATE sfc_port_pair SET group_id = ?, ord = ? WHERE id = ?", "sis",
		     group_id, (int64_t)ord, pair_id);
	return rc < 0 ? rc : 0;
}

static int set_pairs(struct req *r, const char *group_id, const json_t *list, struct err *e)
{
	CLEANUP(json_freep) json_t *held = json_array(); /* keeps what `first` points into */
	const json_t *first = NULL;
	json_t *item;
	size_t i;
	int rc;

	if (json_array_size(list) > CHAIN_PAIRS_MAX)
		return neutron_err(e, NEUTRON_INVALID_INPUT, "port_pairs",
				   "a port pair group has at most 16 port pairs");
	json_array_foreach(list, i, item)
		if (!json_is_string(item))
			return neutron_err(e, NEUTRON_INVALID_FOR, "port_pairs", "port_pairs",
					   arena_printf(r->arena, "'%s' is not a valid UUID",
							net_json_text(r, item)));
	/* A pair that stays is taken again below, by the same group. */
	rc = db_exec(r->db, e, "UPDATE sfc_port_pair SET group_id = NULL, ord = 0 WHERE group_id = ?",
		     "s", group_id);
	json_array_foreach(list, i, item) {
		json_t *pair = NULL;

		if (rc >= 0)
			rc = take_pair(r, group_id, json_string_value(item), i, &pair, e);
		if (rc >= 0)
			rc = check_correlation(pair, &first, e);
		if (pair)
			(void)json_array_append_new(held, pair);
	}
	return rc < 0 ? rc : 0;
}

static int created(struct req *r, json_t *row, struct err *e)
{
	const json_t *list = json_object_get(row, "port_pairs");

	return json_is_array(list) ? set_pairs(r, json_str(row, "id"), list, e) : 0;
}

/* Pair ids of the group, in order. */
static int pairs_of(struct req *r, const char *group_id, json_t *ret, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e,
			  "SELECT id FROM sfc_port_pair WHERE group_id = ? ORDER BY ord, id", "s",
			  group_id);

	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		(void)json_array_append_new(ret, json_string(db_text(q, 0)));
	return rc;
}

static const char *pairs_sentence(struct req *r, const char *name, size_t n_old, size_t n_new)
{
	const char *verb = n_new > n_old ? "added to" :
			   n_new < n_old ? "removed from" :
					   "replaced in";
	size_t n = n_new > n_old ? n_new - n_old : n_new < n_old ? n_old - n_new : n_new;

	return arena_printf(r->arena, "%zu port pair%s %s %s", n, n == 1 ? "" : "s", verb, name);
}

/* Pairs are set before the row changes, so that the chain's change sees them. *ret_what: NULL when nothing matters to a chain. */
static int update_pairs(struct req *r, const json_t *old, const json_t *changes,
			const char **ret_what, struct err *e)
{
	const json_t *list = json_object_get(changes, "port_pairs");
	CLEANUP(json_freep) json_t *before = json_array(), *after = json_array();
	const char *id = json_str(old, "id"), *failure = json_str(changes, "demarc:on_failure");
	int rc = pairs_of(r, id, before, e);

	*ret_what = NULL;
	if (rc == 0 && list)
		rc = set_pairs(r, id, list, e);
	if (rc == 0)
		rc = pairs_of(r, id, after, e);
	if (rc < 0)
		return rc;
	if (!json_equal(before, after))
		*ret_what = pairs_sentence(r, json_str(old, "name"), json_array_size(before),
					   json_array_size(after));
	else if (failure && strcmp(failure, json_str(old, "demarc:on_failure")) != 0)
		*ret_what = arena_printf(r->arena, "%s: on failure %s", json_str(old, "name"), failure);
	return 0;
}

static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	const char *what = NULL, *chain;
	int rc = net_own(r, old, "update_port_pair_group", e);

	if (rc == 0)
		rc = update_pairs(r, old, changes, &what, e);
	if (rc == 0)
		rc = chain_of_group(r, json_str(old, "id"), &chain, e);
	if (rc <= 0)
		return rc;
	return what ? chain_changed(r, chain, what, e) : chain_touch(r, chain, e);
}

static int deleting(struct req *r, const json_t *row, struct err *e)
{
	const char *id = json_str(row, "id"), *chain;
	int rc = net_own(r, row, "delete_port_pair_group", e);

	if (rc == 0)
		rc = chain_of_group(r, id, &chain, e);
	if (rc > 0)
		return neutron_err(e, NEUTRON_PPG_IN_USE, NULL, id);
	if (rc == 0)
		rc = db_exec(r->db, e,
			     "UPDATE sfc_port_pair SET group_id = NULL, ord = 0 WHERE group_id = ?",
			     "s", id);
	return rc < 0 ? rc : 0;
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
	json_array_foreach(rows, i, row)
		json_object_set_new(row, "port_pairs", json_array());
	rc = db_query(r->db, &q, e,
		      "SELECT group_id, id FROM sfc_port_pair WHERE group_id IN (SELECT value FROM json_each(?)) ORDER BY ord, id",
		      "j", ids);
	while (rc >= 0 && (rc = db_step(q, e)) == 1) {
		row = net_page_row(&p, db_text(q, 0));
		if (row)
			(void)json_array_append_new(json_object_get(row, "port_pairs"),
						    json_string(db_text(q, 1)));
	}
	net_page_done(&p);
	return rc;
}

const struct resource port_pair_group_resource = {
	.service = "network",
	.singular = "port_pair_group",
	.plural = "port_pair_groups",
	.table = "sfc_port_pair_group",
	.policy = "network:port_pair_group",
	.attrs = attrs,
	.dflt_sort = "serial",
	.not_found = "Port Pair Group %s not found.",
	.check_create = check_create,
	.created = created,
	.check_update = check_update,
	.deleting = deleting,
	.expand_page = expand_page,
};
