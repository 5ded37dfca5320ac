/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_QOS_H
#define DEMARC_HUB_NETWORK_QOS_H

/*
 * QoS policies and their rules: bandwidth and packet rate limits, DSCP marking. Directions are as the function sees them: egress is
 * what comes from its port. Worker threads. Source: Neutron API, "QoS".
 */

#include "hub/network/net.h"

extern const struct resource qos_policy_resource, qos_bandwidth_limit_resource,
	qos_packet_rate_limit_resource, qos_dscp_marking_resource;

/* Rules below /qos/policies/{policy_id}; the route's resource says of which kind. */
WARN_UNUSED int qos_rule_list(struct req *r, struct err *e);
WARN_UNUSED int qos_rule_show(struct req *r, struct err *e);
WARN_UNUSED int qos_rule_create(struct req *r, struct err *e);
WARN_UNUSED int qos_rule_update(struct req *r, struct err *e);
WARN_UNUSED int qos_rule_delete(struct req *r, struct err *e);
WARN_UNUSED int qos_types_list(struct req *r, struct err *e);
WARN_UNUSED int qos_type_show(struct req *r, struct err *e);

/* `row` of a network or port names no policy, or one that the caller sees. */
WARN_UNUSED int qos_check(struct req *r, const json_t *row, struct err *e);
/* Gives the row of a new network the project's default policy when it names none. */
WARN_UNUSED int qos_default(struct req *r, json_t *row, struct err *e);

#endif
