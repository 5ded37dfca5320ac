/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session.h"

#include "base/cleanup.h"

/* "Which nodes hold this?": one query each, answered from indices. */

typedef void (*node_fn)(void *ctx, const char *node_id);

static int each_node(struct db_rows *take, node_fn fn, void *ctx, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = take;
	int rc;

	while ((rc = db_step(q, e)) == 1)
		fn(ctx, db_text(q, 0));
	return rc;
}

int intent_nodes_of_network(struct db *db, const char *network_id, node_fn fn, void *ctx, struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(db, &q, e,
			  "SELECT DISTINCT node_id FROM port WHERE network_id = ? AND node_id IS NOT NULL",
			  "s", network_id);

	return rc < 0 ? rc : each_node(q, fn, ctx, e);
}

/* Nodes with a port in the group, and nodes with a port in a group whose rules name it as remote group. */
int intent_nodes_of_group(struct db *db, const char *security_group_id, node_fn fn, void *ctx,
			  struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(
		db, &q, e,
		"SELECT DISTINCT p.node_id FROM port_security_group g JOIN port p ON p.id = g.port_id "
		"WHERE p.node_id IS NOT NULL AND (g.security_group_id = ? OR g.security_group_id IN "
		"(SELECT security_group_id FROM security_group_rule WHERE remote_group_id = ?))",
		"ss", security_group_id, security_group_id);

	return rc < 0 ? rc : each_node(q, fn, ctx, e);
}

/*
 * A port's addresses are members of its groups at its site, and on the nodes of its network when that is an overlay: the mirror of WITHIN_REACH in
 * intent_group.c. Where the port is, is the caller's word: it asks before and after it is moved.
 */
int intent_nodes_of_member(struct db *db, const char *port_id, const char *node_id,
			   const char *network_id, node_fn fn, void *ctx, struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(
		db, &q, e,
		"SELECT DISTINCT p.node_id FROM port_security_group m "
		"JOIN security_group_rule s ON s.remote_group_id = m.security_group_id "
		"JOIN port_security_group g ON g.security_group_id = s.security_group_id JOIN port p ON p.id = g.port_id "
		"WHERE m.port_id = ?1 AND p.node_id IS NOT NULL AND ((?3 IN (SELECT id FROM overlay_network) AND "
		"p.node_id IN (SELECT node_id FROM port WHERE network_id = ?3)) OR "
		"p.node_id IN (SELECT id FROM node WHERE site_id = (SELECT site_id FROM node WHERE id = ?2)))",
		"sss", port_id, node_id, network_id);

	return rc < 0 ? rc : each_node(q, fn, ctx, e);
}

/* Nodes with a port in a firewall group that has the policy. */
int intent_nodes_of_policy(struct db *db, const char *firewall_policy_id, node_fn fn, void *ctx,
			   struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(db, &q, e,
			  "SELECT DISTINCT p.node_id FROM firewall_group g JOIN firewall_group_port m ON m.group_id = g.id "
			  "JOIN port p ON p.id = m.port_id WHERE p.node_id IS NOT NULL AND "
			  "(g.ingress_policy_id = ?1 OR g.egress_policy_id = ?1)",
			  "s", firewall_policy_id);

	return rc < 0 ? rc : each_node(q, fn, ctx, e);
}

/* Nodes with a port in a security group, or in a firewall group, of which a rule names the address group. */
int intent_nodes_of_addresses(struct db *db, const char *address_group_id, node_fn fn, void *ctx,
			      struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(
		db, &q, e,
		"SELECT p.node_id FROM security_group_rule r JOIN port_security_group m ON m.security_group_id = "
		"r.security_group_id JOIN port p ON p.id = m.port_id "
		"WHERE r.remote_address_group_id = ?1 AND p.node_id IS NOT NULL "
		"UNION SELECT p.node_id FROM firewall_rule f JOIN firewall_policy_rule o ON o.rule_id = f.id "
		"JOIN firewall_group g ON g.ingress_policy_id = o.policy_id OR g.egress_policy_id = o.policy_id "
		"JOIN firewall_group_port m ON m.group_id = g.id JOIN port p ON p.id = m.port_id "
		"WHERE (f.source_address_group_id = ?1 OR f.destination_address_group_id = ?1) AND p.node_id IS NOT NULL",
		"s", address_group_id);

	return rc < 0 ? rc : each_node(q, fn, ctx, e);
}

/* Nodes with a port that has the QoS policy, or is on a network that has it. */
int intent_nodes_of_qos(struct db *db, const char *qos_policy_id, node_fn fn, void *ctx, struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(db, &q, e,
			  "SELECT node_id FROM port WHERE qos_policy_id = ?1 AND node_id IS NOT NULL UNION "
			  "SELECT p.node_id FROM network n JOIN port p ON p.network_id = n.id "
			  "WHERE n.qos_policy_id = ?1 AND p.node_id IS NOT NULL",
			  "s", qos_policy_id);

	return rc < 0 ? rc : each_node(q, fn, ctx, e);
}

/* Nodes of the chains in which the port is a hop's ingress or egress or a classifier's logical port. */
int intent_nodes_of_chain_port(struct db *db, const char *port_id, node_fn fn, void *ctx, struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(
		db, &q, e,
		"WITH chains AS (SELECT c.chain_id AS id FROM sfc_port_pair x JOIN sfc_chain_group c "
		"ON c.group_id = x.group_id WHERE x.ingress = ? OR x.egress = ? "
		"UNION SELECT chain_id FROM sfc_flow_classifier "
		"WHERE chain_id IS NOT NULL AND (logical_source_port = ? OR logical_destination_port = ?)) "
		"SELECT p.node_id FROM sfc_chain_group c JOIN sfc_port_pair x ON x.group_id = c.group_id "
		"JOIN port p ON p.id = x.ingress WHERE c.chain_id IN (SELECT id FROM chains) AND p.node_id IS NOT NULL "
		"UNION SELECT node_id FROM sfc_port_chain WHERE id IN (SELECT id FROM chains) AND node_id IS NOT NULL",
		"ssss", port_id, port_id, port_id, port_id);

	return rc < 0 ? rc : each_node(q, fn, ctx, e);
}

int intent_nodes_of_overlays(struct db *db, node_fn fn, void *ctx, struct err *e)
{
	struct db_rows *q = NULL;
	int64_t any;
	int rc = db_get_int(db, &any, e, "SELECT 1 FROM overlay_changed LIMIT 1", "");

	if (rc <= 0)
		return rc;
	rc = db_query(db, &q, e,
		      "SELECT DISTINCT p.node_id FROM overlay_changed c JOIN port p ON p.network_id = c.network_id "
		      "WHERE p.node_id IS NOT NULL",
		      "");
	if (rc >= 0)
		rc = each_node(q, fn, ctx, e);
	return rc < 0 ? rc : MIN_OF(db_exec(db, e, "DELETE FROM overlay_changed", ""), 0);
}
