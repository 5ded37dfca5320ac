/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/intent_build.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

/* Limits and marks of ports: their own QoS policy, else that of their network. */

enum { BANDWIDTH, PACKETS, DSCP };

#define KILO 1000 /* Neutron's "kpps" */

/* An uplink has its own policy only: its network's means the functions there. */
#define POLICIES                                                                                                           \
	"WITH has AS MATERIALIZED (SELECT p.id AS port, CASE WHEN p.device_owner = 'network:uplink' THEN p.qos_policy_id " \
	"ELSE coalesce(p.qos_policy_id, n.qos_policy_id) END AS policy FROM port p JOIN network n ON n.id = p.network_id " \
	"WHERE p.node_id = ?) "

static Demarc__V1__Limit *limit_of(struct intent_build *b, Demarc__V1__Limit **slot)
{
	Demarc__V1__Limit *l = *slot ? *slot : ARENA_NEW(b->arena, Demarc__V1__Limit);

	if (l && l != *slot)
		demarc__v1__limit__init(l);
	*slot = l;
	return l;
}

static int limit_fill(struct intent_build *b, struct db_rows *q, Demarc__V1__Limit **slot)
{
	Demarc__V1__Limit *l = limit_of(b, slot);

	if (!l)
		return -ENOMEM;
	if (db_int(q, 1) == BANDWIDTH) {
		l->kbps = (uint64_t)db_int(q, 2);
		l->burst_kbit = (uint64_t)db_int(q, 3);
	} else {
		l->pps = KILO * (uint64_t)db_int(q, 2);
		l->burst_packets = KILO * (uint64_t)db_int(q, 3);
	}
	return 0;
}

static int rule_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	Demarc__V1__Object *o = intent_find(&b->objects, *(const size_t *)ctx, db_text(q, 0));
	const char *direction = db_text(q, 4);
	int rc = 0;

	(void)e;
	if (!o)
		return 0;
	if (db_int(q, 1) == DSCP) {
		o->port->has_dscp = true;
		o->port->dscp = (uint32_t)db_int(q, 2);
		return 0;
	}
	if (strcmp(direction, "ingress") != 0)
		rc = limit_fill(b, q, &o->port->limit_from);
	if (rc == 0 && strcmp(direction, "egress") != 0)
		rc = limit_fill(b, q, &o->port->limit_to);
	return rc;
}

int intent_build_port_qos(struct intent_build *b, size_t first, struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(
		b->db, &q, e,
		POLICIES
		"SELECT port, 0, max_kbps, max_burst_kbps, direction FROM has JOIN qos_bandwidth_limit_rule r ON r.policy_id = policy "
		"UNION ALL SELECT port, 1, max_kpps, max_burst_kpps, direction FROM has JOIN qos_packet_rate_limit_rule r "
		"ON r.policy_id = policy "
		"UNION ALL SELECT port, 2, dscp_mark, 0, '' FROM has JOIN qos_dscp_marking_rule r ON r.policy_id = policy",
		"s", b->node_id);

	return rc < 0 ? rc : intent_each(b, q, rule_row, &first, e);
}
