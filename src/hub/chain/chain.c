/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/chain/chain.h"

#include "base/json.h"
#include "hub/chain/classifier.h"
#include "model/chain.h"

/*
 * Port chains. Extension attributes: demarc:mode says what a change does with established flows ("move" or "keep") and may be
 * given with every update, demarc:change_id names the last change, demarc:status is what the node last said.
 */

#define CHAIN_SERIAL_MAX 65535 /* networking-sfc's MAX_CHAIN_ID */

static const char *const modes[] = { "move", "keep", NULL };

static const struct attr attrs[] = {
	NET_ATTR_ID,
	NET_ATTR_NAME,
	NET_ATTR_DESCRIPTION,
	NET_ATTR_PROJECT,
	{ "chain_id", "chain_serial", ATTR_INT, ATTR_CREATE | ATTR_FILTER, 0, CHAIN_SERIAL_MAX,
	  .dflt = "0" },
	{ "port_pair_groups", NULL, ATTR_LIST, ATTR_REQUIRED | ATTR_RW },
	{ "flow_classifiers", NULL, ATTR_LIST, ATTR_RW | ATTR_NULLABLE },
	{ "chain_parameters", "chain_parameters", ATTR_OBJ, ATTR_CREATE | ATTR_NULLABLE, .max = 8 },
	{ "demarc:mode", "mode", ATTR_ENUM, ATTR_RW | ATTR_FILTER, .choices = modes, .dflt = "\"move\"" },
	{ "demarc:change_id", "change_id", ATTR_STR, 0 },
	{ "demarc:status", "status", ATTR_OBJ, 0 },
	{ "node_id", "node_id", ATTR_STR, ATTR_HIDDEN },
	{ 0 },
};

static int check_symmetric(struct req *r, json_t *params, struct err *e)
{
	const json_t *v = json_object_get(params, "symmetric");
	const char *s = json_string_value(v);

	if (!v)
		return json_object_set_new(params, "symmetric", json_false());
	if (s && (str_eq_nocase(str_of(s), STR("true")) || strcmp(s, "1") == 0))
		return json_object_set_new(params, "symmetric", json_true());
	if (s && (str_eq_nocase(str_of(s), STR("false")) || strcmp(s, "0") == 0))
		return json_object_set_new(params, "symmetric", json_false());
	if (json_is_boolean(v))
		return 0;
	return neutron_err(e, NEUTRON_INVALID_FOR, "chain_parameters", "chain_parameters",
			   arena_printf(r->arena, "'%s' cannot be converted to boolean",
					net_json_text(r, v)));
}

static int check_params(struct req *r, json_t *row, struct err *e)
{
	json_t *params = json_object_get(row, "chain_parameters");
	int rc;

	if (!json_is_object(params)) {
		(void)json_object_set_new(row, "chain_parameters", json_object());
		params = json_object_get(row, "chain_parameters");
	}
	rc = chain_check_correlation(r, params, "chain_parameters", "mpls", e);
	if (rc == 0)
		rc = check_symmetric(r, params, e);
	if (rc == 0 && json_object_size(params) != 2)
		return neutron_err(e, NEUTRON_INVALID_FOR, "chain_parameters", "chain_parameters",
				   "only correlation and symmetric are known");
	return rc;
}

/* 0 asks for a free one. */
static int check_serial(struct req *r, json_t *row, struct err *e)
{
	int64_t serial = json_int(row, "chain_id", 0), next = 0;
	const char *other;
	int rc;

	if (serial) {
		rc = db_get_text(r->db, r->arena, &other, e,
				 "SELECT id FROM sfc_port_chain WHERE chain_serial = ?", "i", serial);
		return rc > 0 ? neutron_err(e, NEUTRON_CHAIN_ID, "chain_id",
					    net_json_text(r, json_object_get(row, "chain_id")), other) :
				rc;
	}
	rc = db_get_int(r->db, &next, e,
			"SELECT coalesce(max(chain_serial), 0) + 1 FROM sfc_port_chain", "");
	if (rc >= 0 && next > CHAIN_SERIAL_MAX) /* a gap is looked for among all of them, so not before it must be */
		rc = db_get_int(r->db, &next, e,
				"SELECT min(s) FROM (SELECT 1 AS s UNION ALL SELECT chain_serial + 1 FROM sfc_port_chain) "
				"WHERE s NOT IN (SELECT chain_serial FROM sfc_port_chain)",
				"");
	if (rc >= 0 && next > CHAIN_SERIAL_MAX)
		return err_set(e, FAULT_CONFLICT, "chain_id", "No chain id is left.");
	return rc < 0 ? rc : json_object_set_new(row, "chain_id", json_integer(next));
}

static int check_create(struct req *r, json_t *row, struct err *e)
{
	int rc = check_params(r, row, e);

	return rc < 0 ? rc : check_serial(r, row, e);
}

/* ---- groups and classifiers of a chain ---- */

static int take_group(struct req *r, const char *chain_id, const char *id, size_t ord, struct err *e)
{
	CLEANUP(json_freep) json_t *group = NULL;
	const char *other;
	int rc = rest_need(r, &port_pair_group_resource, id, &group, e);

	if (rc == 0)
		rc = net_own(r, group, "create_port_chain", e);
	if (rc == 0)
		rc = chain_of_group(r, id, &other, e);
	if (rc > 0)
		return neutron_err(e, NEUTRON_PPG_IN_CHAIN, "port_pair_groups", id, other);
	if (rc == 0)
		rc = db_exec(r->db, e,
			     "INSERT INTO sfc_chain_group (chain_id, ord, group_id) VALUES (?, ?, ?)",
			     "sis", chain_id, (int64_t)ord, id);
	return rc < 0 ? rc : 0;
}

static int check_ids(struct req *r, const json_t *list, const char *field, size_t max, struct err *e)
{
	json_t *item;
	size_t i;

	if (json_array_size(list) > max)
		return neutron_err(e, NEUTRON_INVALID_FOR, field, field,
				   "a chain has at most 16 of them");
	json_array_foreach(list, i, item)
		if (!json_is_string(item))
			return neutron_err(e, NEUTRON_INVALID_FOR, field, field,
					   arena_printf(r->arena, "'%s' is not a valid UUID",
							net_json_text(r, item)));
	return 0;
}

static int set_groups(struct req *r, const char *chain_id, const json_t *list, struct err *e)
{
	json_t *item;
	size_t i;
	int rc = check_ids(r, list, "port_pair_groups", CHAIN_HOPS_MAX, e);

	if (rc == 0 && json_array_size(list) == 0)
		return neutron_err(e, NEUTRON_PPG_NONE, "port_pair_groups");
	if (rc == 0)
		rc = db_exec(r->db, e, "DELETE FROM sfc_chain_group WHERE chain_id = ?", "s", chain_id);
	json_array_foreach(list, i, item) {
		if (rc >= 0)
			rc = take_group(r, chain_id, json_string_value(item), i, e);
	}
	return rc < 0 ? rc : 0;
}

static int take_classifier(struct req *r, const char *chain_id, const char *id, size_t ord,
			   struct err *e)
{
	CLEANUP(json_freep) json_t *row = NULL;
	const char *in;
	int rc = rest_need(r, &flow_classifier_resource, id, &row, e);

	if (rc == 0)
		rc = net_own(r, row, "create_port_chain", e);
	if (rc < 0)
		return rc;
	in = json_str(row, "chain_id");
	if (in && strcmp(in, chain_id) != 0)
		return neutron_err(e, NEUTRON_CLASSIFIER_IN_USE, "flow_classifiers", id);
	/* Without a port it would take other projects' packets as well. */
	if (!r->auth.is_admin && !json_str(row, "logical_source_port"))
		return neutron_err(e, NEUTRON_CLASSIFIER_NEEDS_PORT, "flow_classifiers", id);
	rc = classifier_chain_conflict(r, row, chain_id, e);
	if (rc == 0)
		rc = db_exec(r->db, e,
			     "UPDATE sfc_flow_classifier SET chain_id = ?, ord = ? WHERE id = ?",
			     "sis", chain_id, (int64_t)ord, id);
	return rc < 0 ? rc : 0;
}

static int set_classifiers(struct req *r, const char *chain_id, const json_t *list, struct err *e)
{
	json_t *item;
	size_t i;
	int rc = check_ids(r, list, "flow_classifiers", CHAIN_CLASSIFIERS_MAX, e);

	if (rc == 0)
		rc = db_exec(r->db, e,
			     "UPDATE sfc_flow_classifier SET chain_id = NULL, ord = 0 WHERE chain_id = ?",
			     "s", chain_id);
	json_array_foreach(list, i, item) {
		if (rc >= 0)
			rc = take_classifier(r, chain_id, json_string_value(item), i, e);
	}
	return rc < 0 ? rc : 0;
}

struct members {
	struct chain_hop hops[CHAIN_HOPS_MAX];
	size_t n_hops;
	const char *classifiers; /* ids joined by ',' in order; "" without */
};

static int members_load(struct req *r, const char *chain_id, struct members *m, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e,
			  "SELECT g.id, g.name FROM sfc_chain_group c JOIN sfc_port_pair_group g ON g.id = c.group_id "
			  "WHERE c.chain_id = ? ORDER BY c.ord",
			  "s", chain_id);

	*m = (struct members){ 0 };
	while (rc >= 0 && m->n_hops < CHAIN_HOPS_MAX && (rc = db_step(q, e)) == 1) {
		struct chain_hop *h = &m->hops[m->n_hops++];
		const char *name = db_text(q, 1);

		h->id = arena_strdup(r->arena, db_text(q, 0));
		h->name = name && *name ? arena_strdup(r->arena, name) : h->id;
	}
	if (rc >= 0)
		rc = db_get_text(r->db, r->arena, &m->classifiers, e,
				 "SELECT coalesce(group_concat(id), '') FROM (SELECT id FROM sfc_flow_classifier WHERE chain_id = ? "
				 "ORDER BY ord)",
				 "s", chain_id);
	return rc < 0 ? rc : 0;
}

static const char *sentence(struct req *r, const struct members *old, const struct members *now)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };

	chain_diff(&b, old->hops, old->n_hops, now->hops, now->n_hops);
	if (old->n_hops && strcmp(old->classifiers, now->classifiers) != 0)
		strbuf_addf(&b, "%schanged flow classifiers", b.len ? "; " : "");
	return b.len ? arena_strdup(r->arena, strbuf_cstr(&b)) : NULL;
}

static int created(struct req *r, json_t *row, struct err *e)
{
	const char *id = json_str(row, "id");
	const json_t *classifiers = json_object_get(row, "flow_classifiers");
	struct members none = { .classifiers = "" }, now;
	const char *what;
	int rc = set_groups(r, id, json_object_get(row, "port_pair_groups"), e);

	if (rc == 0 && json_is_array(classifiers))
		rc = set_classifiers(r, id, classifiers, e);
	if (rc == 0)
		rc = members_load(r, id, &now, e);
	if (rc < 0)
		return rc;
	what = sentence(r, &none, &now);
	return chain_changed(r, id, what ? what : "created", e);
}

/* Stores the new members, and says in *ret_what how they differ; NULL: not at all. */
static int update_members(struct req *r, const char *id, const json_t *changes,
			  const char **ret_what, struct err *e)
{
	const json_t *groups = json_object_get(changes, "port_pair_groups"),
		     *classifiers = json_object_get(changes, "flow_classifiers");
	struct members old, now;
	int rc = members_load(r, id, &old, e);

	if (rc == 0 && groups)
		rc = set_groups(r, id, groups, e);
	if (rc == 0 && classifiers)
		rc = set_classifiers(r, id, classifiers, e);
	if (rc == 0)
		rc = members_load(r, id, &now, e);
	if (rc == 0)
		*ret_what = sentence(r, &old, &now);
	return rc;
}

/* The mode is stored first, as the change takes it from the chain's row. */
static int check_update(struct req *r, const json_t *old, json_t *changes, struct err *e)
{
	const char *id = json_str(old, "id"), *mode = json_str(changes, "demarc:mode"), *what = NULL;
	int rc = net_own(r, old, "update_port_chain", e);

	if (rc == 0 && mode)
		rc = db_exec(r->db, e, "UPDATE sfc_port_chain SET mode = ? WHERE id = ?", "ss",
			     mode, id);
	if (rc >= 0)
		rc = update_members(r, id, changes, &what, e);
	if (rc < 0)
		return rc;
	return what ? chain_changed(r, id, what, e) : chain_touch(r, id, e);
}

static int deleting(struct req *r, const json_t *row, struct err *e)
{
	static const char *const sql[] = {
		"UPDATE sfc_flow_classifier SET chain_id = NULL, ord = 0 WHERE chain_id = ?",
		"DELETE FROM sfc_chain_group WHERE chain_id = ?",
		"DELETE FROM chain_change WHERE chain_id = ?",
	};
	const char *id = json_str(row, "id");
	int rc = net_own(r, row, "delete_port_chain", e);

	if (rc == 0)
		rc = chain_touch(r, id, e);
	for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(sql); i++)
		rc = db_exec(r->db, e, sql[i], "s", id);
	return rc < 0 ? rc : 0;
}

static int append_ids(struct req *r, const struct net_page *p, const char *attr, const char *sql,
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
		json_object_set_new(row, "port_pair_groups", json_array());
		json_object_set_new(row, "flow_classifiers", json_array());
	}
	rc = append_ids(r, &p, "port_pair_groups",
			"SELECT chain_id, group_id FROM sfc_chain_group WHERE chain_id IN (SELECT value FROM json_each(?)) ORDER BY ord",
			e);
	if (rc == 0)
		rc = append_ids(r, &p, "flow_classifiers",
				"SELECT chain_id, id FROM sfc_flow_classifier WHERE chain_id IN (SELECT value FROM json_each(?)) "
				"ORDER BY ord",
				e);
	net_page_done(&p);
	return rc;
}

const struct resource port_chain_resource = {
	.service = "network",
	.singular = "port_chain",
	.plural = "port_chains",
	.table = "sfc_port_chain",
	.policy = "network:port_chain",
	.attrs = attrs,
	.dflt_sort = "chain_serial",
	.not_found = "Port Chain %s not found.",
	.check_create = check_create,
	.created = created,
	.check_update = check_update,
	.deleting = deleting,
	.expand_page = expand_page,
};
