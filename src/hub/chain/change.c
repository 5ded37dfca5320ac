/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/json.h"
#include "hub/chain/chain.h"

#define CHANGES_KEPT 256 /* newest rows of chain_change for each chain */

/* Ports of a chain: of its groups' pairs, and the logical ports of its classifiers. One '?': the chain, twice. */
#define CHAIN_PORTS_SQL                                                                                                          \
	"SELECT p.id, p.node_id, n.name, p.name FROM port p JOIN node n ON n.id = p.node_id WHERE p.id IN ("                     \
	"SELECT pp.ingress FROM sfc_chain_group g JOIN sfc_port_pair pp ON pp.group_id = g.group_id WHERE g.chain_id = ?1 "      \
	"UNION SELECT pp.egress FROM sfc_chain_group g JOIN sfc_port_pair pp ON pp.group_id = g.group_id WHERE g.chain_id = ?1 " \
	"UNION SELECT logical_source_port FROM sfc_flow_classifier WHERE chain_id = ?1 "                                         \
	"UNION SELECT logical_destination_port FROM sfc_flow_classifier WHERE chain_id = ?1) ORDER BY p.id"

struct place {
	const char *node;     /* NULL: none of its ports is bound */
	const char *conflict; /* "port a is on node1 and port b on node2"; NULL: all on one */
};

static int chain_place(struct req *r, const char *chain_id, struct place *ret, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	const char *port = NULL, *name = NULL;
	int rc = db_query(r->db, &q, e, CHAIN_PORTS_SQL, "s", chain_id);

	*ret = (struct place){ 0 };
	while (rc >= 0 && !ret->conflict && (rc = db_step(q, e)) == 1) {
		if (!ret->node) {
			port = arena_strdup(r->arena, db_text(q, 0));
			name = arena_strdup(r->arena, db_text(q, 2));
			ret->node = arena_strdup(r->arena, db_text(q, 1));
		} else if (strcmp(ret->node, db_text(q, 1)) != 0) {
			ret->conflict = arena_printf(r->arena,
						     "port %s is on node %s and port %s on node %s",
						     port, name, db_text(q, 0), db_text(q, 2));
		}
	}
	return rc < 0 ? rc : 0;
}

int chain_touch(struct req *r, const char *chain_id, struct err *e)
{
	const char *node = NULL;
	int rc = db_get_text(r->db, r->arena, &node, e,
			     "SELECT node_id FROM sfc_port_chain WHERE id = ?", "s", chain_id);

	if (rc > 0 && node)
		req_touch_node(r, node);
	return rc < 0 ? rc : 0;
}

/* The old node is touched as well: it has to forget the chain. */
static int chain_set_node(struct req *r, const char *chain_id, const char *node, struct err *e)
{
	int rc = chain_touch(r, chain_id, e);

	if (rc == 0)
		rc = db_exec(r->db, e, "UPDATE sfc_port_chain SET node_id = ? WHERE id = ?", "ss",
			     node, chain_id);
	if (rc >= 0 && node)
		req_touch_node(r, node);
	return rc < 0 ? rc : 0;
}

static int wanted_hops(struct req *r, const char *chain_id, json_t *hops, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e,
			  "SELECT g.id, g.name FROM sfc_chain_group c JOIN sfc_port_pair_group g ON g.id = c.group_id "
			  "WHERE c.chain_id = ? ORDER BY c.ord",
			  "s", chain_id);

	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		(void)json_array_append_new(hops, json_pack("{s:s, s:s}", "group_id", db_text(q, 0),
							    "name", db_text(q, 1)));
	return rc;
}

static int insert_change(struct req *r, const char *chain_id, const char *change_id,
			 const char *what, struct err *e)
{
	CLEANUP(json_freep) json_t *hops = json_array();
	int rc = wanted_hops(r, chain_id, hops, e);

	if (rc == 0)
		rc = db_exec(r->db, e,
			     "INSERT INTO chain_change (id, chain_id, project_id, what, mode, requested_us, hops) "
			     "SELECT ?, id, project_id, ?, mode, ?, ? FROM sfc_port_chain WHERE id = ?",
			     "ssijs", change_id, what, clock_wall_us(), hops, chain_id);
	if (rc >= 0)
		rc = db_exec(r->db, e, "UPDATE sfc_port_chain SET change_id = ? WHERE id = ?", "ss",
			     change_id, chain_id);
	if (rc >= 0)
		rc = db_exec(r->db, e,
			     "DELETE FROM chain_change WHERE chain_id = ?1 AND requested_us < (SELECT requested_us FROM chain_change "
			     "WHERE chain_id = ?1 ORDER BY requested_us DESC LIMIT 1 OFFSET ?2)",
			     "si", chain_id, (int64_t)CHANGES_KEPT);
	return rc < 0 ? rc : 0;
}

int chain_changed(struct req *r, const char *chain_id, const char *what, struct err *e)
{
	char change_id[UUID_STR_SIZE];
	struct place place;
	int rc = chain_place(r, chain_id, &place, e);

	if (rc == 0 && place.conflict)
		return neutron_err(e, NEUTRON_CHAIN_NODES, "port_pair_groups", chain_id, place.conflict);
	if (rc == 0)
		rc = chain_set_node(r, chain_id, place.node, e);
	if (rc == 0)
		rc = insert_change(r, chain_id, uuid_format(uuid_random(), change_id), what, e);
	if (rc == 0)
		http_reply_header(r->http, &r->out, "X-Demarc-Change-Id", change_id);
	return rc;
}

int chain_of_group(struct req *r, const char *group_id, const char **ret_id, struct err *e)
{
	*ret_id = NULL;
	return db_get_text(r->db, r->arena, ret_id, e,
			   "SELECT chain_id FROM sfc_chain_group WHERE group_id = ?", "s", group_id);
}

#define PORT_CHAINS_MAX 16 /* a pair's port is in one chain, a logical port may be in several */

int chain_port_moved(struct req *r, const char *port_id, struct err *e)
{
	const char *ids[PORT_CHAINS_MAX];
	size_t n = 0;
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(
		r->db, &q, e,
		"SELECT g.chain_id FROM sfc_port_pair pp JOIN sfc_chain_group g ON g.group_id = pp.group_id "
		"WHERE pp.ingress = ?1 OR pp.egress = ?1 UNION SELECT chain_id FROM sfc_flow_classifier "
		"WHERE (logical_source_port = ?1 OR logical_destination_port = ?1) AND chain_id IS NOT NULL",
		"s", port_id);

	while (rc >= 0 && n < PORT_CHAINS_MAX && (rc = db_step(q, e)) == 1)
		ids[n++] = arena_strdup(r->arena, db_text(q, 0));
	for (size_t i = 0; rc >= 0 && i < n; i++) {
		struct place place;

		/* A server may be placed elsewhere than the rest of its chain: the chain stays, and its next change says so. */
		rc = chain_place(r, ids[i], &place, e);
		if (rc == 0)
			rc = place.conflict ? chain_touch(r, ids[i], e) :
					      chain_set_node(r, ids[i], place.node, e);
	}
	return rc < 0 ? rc : 0;
}
