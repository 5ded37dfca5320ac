/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/chain/chain.h"
#include "hub/network/about.h"
#include "hub/network/address_group.h"
#include "hub/network/fault.h"
#include "hub/network/firewall.h"
#include "hub/network/qos.h"
#include "hub/network/remote_vtep.h"
#include "hub/network/tags.h"
#include "hub/rest.h"

/* The network service: Neutron v2.0 with networking-sfc. Source: https://docs.openstack.org/api-ref/network/v2/ */

#define CRUD(path, res)                                                                            \
	{ HTTP_GET, path, rest_list, 200, .resource = &(res) },                                    \
		{ HTTP_POST, path, rest_create, 201, .resource = &(res) },                         \
		{ HTTP_GET, path "/{id}", rest_show, 200, .resource = &(res) },                    \
		{ HTTP_PUT, path "/{id}", rest_update, 200, .resource = &(res) },                  \
	{                                                                                          \
		HTTP_DELETE, path "/{id}", rest_delete, 204, .resource = &(res)                    \
	}

#define TAGS(path, res)                                                                            \
	{ HTTP_GET, path "/{id}/tags", tags_list, 200, "network:tags:show", .resource = &(res) },  \
		{ HTTP_PUT, path "/{id}/tags",	   tags_replace,                                   \
		  200,	    "network:tags:update", .resource = &(res) },                           \
		{ HTTP_DELETE, path "/{id}/tags",     tags_clear,                                  \
		  204,	       "network:tags:update", .resource = &(res) },                        \
		{ HTTP_GET, path "/{id}/tags/{tag}", tag_show,                                     \
		  204,	    "network:tags:show",     .resource = &(res) },                         \
		{ HTTP_PUT, path "/{id}/tags/{tag}", tag_add,                                      \
		  201,	    "network:tags:update",   ROUTE_NO_BODY,                                \
		  &(res) },                                                                        \
	{                                                                                          \
		HTTP_DELETE, path "/{id}/tags/{tag}", tag_remove, 204, "network:tags:update",      \
			.resource = &(res)                                                         \
	}

#define QOS_RULES(kind, res)                                                                       \
	{ HTTP_GET, "/qos/policies/{policy_id}/" kind, qos_rule_list,                              \
	  200,	    "network:qos_rule:list",	       .resource = &(res) },                       \
		{ HTTP_POST, "/qos/policies/{policy_id}/" kind, qos_rule_create,                   \
		  201,	     "network:qos_rule:create",		.resource = &(res) },              \
		{ HTTP_GET,                                                                        \
		  "/qos/policies/{policy_id}/" kind "/{id}",                                       \
		  qos_rule_show,                                                                   \
		  200,                                                                             \
		  "network:qos_rule:show",                                                         \
		  .resource = &(res) },                                                            \
		{ HTTP_PUT,                                                                        \
		  "/qos/policies/{policy_id}/" kind "/{id}",                                       \
		  qos_rule_update,                                                                 \
		  200,                                                                             \
		  "network:qos_rule:update",                                                       \
		  .resource = &(res) },                                                            \
	{                                                                                          \
		HTTP_DELETE, "/qos/policies/{policy_id}/" kind "/{id}", qos_rule_delete, 204,      \
			"network:qos_rule:delete", .resource = &(res)                              \
	}

static const struct route routes[] = {
	CRUD("/networks", network_resource),
	CRUD("/subnets", subnet_resource),
	CRUD("/ports", port_resource),
	CRUD("/security-groups", security_group_resource),
	{ HTTP_GET, "/security-group-rules", rest_list, 200, .resource = &security_group_rule_resource },
	{ HTTP_POST, "/security-group-rules", rest_create, 201,
	  .resource = &security_group_rule_resource },
	{ HTTP_GET, "/security-group-rules/{id}", rest_show, 200,
	  .resource = &security_group_rule_resource },
	{ HTTP_DELETE, "/security-group-rules/{id}", rest_delete, 204,
	  .resource = &security_group_rule_resource },
	TAGS("/networks", network_resource),
	TAGS("/subnets", subnet_resource),
	TAGS("/ports", port_resource),
	TAGS("/security-groups", security_group_resource),
	CRUD("/sfc/port_pairs", port_pair_resource),
	CRUD("/sfc/port_pair_groups", port_pair_group_resource),
	CRUD("/sfc/flow_classifiers", flow_classifier_resource),
	CRUD("/sfc/port_chains", port_chain_resource),
	CRUD("/remote-vteps", remote_vtep_resource),
	CRUD("/address-groups", address_group_resource),
	{ HTTP_PUT, "/address-groups/{id}/add_addresses", address_group_add, 200,
	  "network:address_group:update", .resource = &address_group_resource },
	{ HTTP_PUT, "/address-groups/{id}/remove_addresses", address_group_remove, 200,
	  "network:address_group:update", .resource = &address_group_resource },
	CRUD("/fwaas/firewall_rules", firewall_rule_resource),
	CRUD("/fwaas/firewall_policies", firewall_policy_resource),
	{ HTTP_PUT, "/fwaas/firewall_policies/{id}/insert_rule", firewall_policy_insert, 200,
	  "network:firewall_policy:update", .resource = &firewall_policy_resource },
	{ HTTP_PUT, "/fwaas/firewall_policies/{id}/remove_rule", firewall_policy_remove, 200,
	  "network:firewall_policy:update", .resource = &firewall_policy_resource },
	CRUD("/fwaas/firewall_groups", firewall_group_resource),
	CRUD("/qos/policies", qos_policy_resource),
	TAGS("/policies", qos_policy_resource),
	QOS_RULES("bandwidth_limit_rules", qos_bandwidth_limit_resource),
	QOS_RULES("packet_rate_limit_rules", qos_packet_rate_limit_resource),
	QOS_RULES("dscp_marking_rules", qos_dscp_marking_resource),
	{ HTTP_GET, "/qos/rule-types", qos_types_list, 200, "network:about" },
	{ HTTP_GET, "/qos/rule-types/{type}", qos_type_show, 200, "network:about" },
	{ HTTP_GET, "/extensions", extensions_list, 200, "network:about" },
	{ HTTP_GET, "/extensions/{alias}", extension_show, 200, "network:about" },
	{ HTTP_GET, "/quotas", quotas_list, 200, "network:quota:list" },
	{ HTTP_GET, "/quotas/{project_id}", quota_show, 200, "network:quota:show" },
	{ HTTP_GET, "/quotas/{project_id}/default", quota_show, 200, "network:quota:show" },
	{ HTTP_GET, "/quotas/{project_id}/details", quota_details, 200, "network:quota:show" },
	{ HTTP_GET, "/quotas/{project_id}/details.json", quota_details, 200, "network:quota:show" },
	{ HTTP_GET, "/availability_zones", zones_list, 200, "network:about" },
	{ HTTP_GET, "/agents", agents_list, 200, "network:agent:list" },
	{ HTTP_GET, "/agents/{id}", agent_show, 200, "network:agent:show" },
	{ 0 },
};

#define RULES(name)                                                                                \
	{ "network:" name ":*", WHO_MEMBER }, { "network:" name ":list", WHO_READER },             \
	{                                                                                          \
		"network:" name ":show", WHO_READER                                                \
	}

static const struct policy_rule policy[] = {
	RULES("network"),
	RULES("subnet"),
	RULES("port"),
	RULES("security_group"),
	RULES("security_group_rule"),
	RULES("address_group"),
	RULES("firewall_rule"),
	RULES("firewall_policy"),
	RULES("firewall_group"),
	RULES("port_pair"),
	RULES("port_pair_group"),
	RULES("flow_classifier"),
	RULES("port_chain"),
	RULES("tags"),
	/* As Neutron has it: who is limited does not write the limits. */
	{ "network:qos_policy:*", WHO_ADMIN },
	{ "network:qos_policy:list", WHO_READER },
	{ "network:qos_policy:show", WHO_READER },
	{ "network:qos_rule:*", WHO_ADMIN },
	{ "network:qos_rule:list", WHO_READER },
	{ "network:qos_rule:show", WHO_READER },
	/* The underlay is the operator's. */
	{ "network:remote_vtep:*", WHO_ADMIN },
	{ "network:about", WHO_USER },
	{ "network:quota:list", WHO_ADMIN },
	{ "network:quota:show", WHO_READER },
	{ "network:agent:*", WHO_ADMIN },
	{ 0 },
};

const struct module network_module = {
	.service = "network",
	.type = "network",
	.prefix = "/network/v2.0",
	.catalog_path = "/network",
	.routes = routes,
	.policy = policy,
	.error_body = neutron_error_body,
};
