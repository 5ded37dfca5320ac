/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/about.h"

#include "base/clock.h"
#include "base/json.h"
#include "hub/network/net.h"
#include "hub/session.h"

/* ---- extensions: only what is there ---- */

static const struct {
	const char *alias, *name, *description;
} extensions[] = {
	{ "address-group", "Address group", "Support address group" },
	{ "agent", "agent", "The agent management extension: nodes are agents." },
	{ "allowed-address-pairs", "Allowed Address Pairs", "Provides allowed address pairs" },
	{ "availability_zone", "Availability Zone", "The availability zone extension: sites are zones." },
	{ "binding", "Port Binding", "Expose port bindings of a virtual port to external application" },
	{ "demarc-encapsulations", "Encapsulations of demarc",
	  "provider:network_type vxlan-gpe, nvgre, mpls-udp, mpls-gre, mpls; demarc:outer_segmentation_id of a vlan network; "
	  "demarc:nsh_path, demarc:nsh_index, demarc:nsh_md_type, demarc:nsh_context, demarc:nsh_tlvs of vxlan-gpe." },
	{ "demarc-remote-vteps", "Remote VTEPs of demarc",
	  "remote-vteps: ends of a network's tunnels that are no nodes." },
	{ "dns-integration", "DNS Integration", "Provides integration with DNS." },
	{ "external-net", "Neutron external network",
	  "Adds external network attribute to network resource." },
	{ "extra_dhcp_opt", "Neutron Extra DHCP options", "Extra options configuration for DHCP." },
	{ "flow_classifier", "Flow Classifier", "Flow Classifier Extension." },
	{ "fwaas_v2", "Firewall service v2", "Provides ordered, stateless rules for ports" },
	{ "net-mtu", "Network MTU", "Provides MTU attribute for a network resource." },
	{ "net-mtu-writable", "Network MTU (writable)",
	  "Provides a writable MTU attribute for a network resource." },
	{ "network_availability_zone", "Network Availability Zone",
	  "Availability zone support for network." },
	{ "port-network-update", "Port re-wiring",
	  "network_id of a port may be updated in place; the vNIC and its MAC stay." },
	{ "port-security", "Port Security", "Provides port security" },
	{ "project-id", "project_id field enabled",
	  "Extension that indicates that project_id field is enabled." },
	{ "provider", "Provider Network", "Expose mapping of virtual networks to physical networks" },
	{ "qos", "Quality of Service", "The Quality of Service extension." },
	{ "qos-bw-limit-direction", "Direction for QoS bandwidth limit rule",
	  "Allow to configure QoS bandwidth limit rule with specific direction: ingress or egress" },
	{ "qos-default", "QoS default policy", "Expose the QoS default policy per project" },
	{ "qos-pps", "QoS packet rate limit", "Rules that limit packets per second" },
	{ "qos-rule-type-details", "Details of QoS rule types",
	  "Expose details about QoS rule types supported by loaded backend drivers" },
	{ "quotas", "Quota management support", "Expose functions for quotas management per project" },
	{ "quota_details", "Quota details management support",
	  "Expose functions for quotas usage statistics per project" },
	{ "revision-if-match", "If-Match constraints based on revision_number",
	  "Constrains updates and deletes by revision." },
	{ "security-group", "security-group", "The security groups extension." },
	{ "security-groups-remote-address-group", "Remote address group id field for security group rules",
	  "Add new field of remote address group id in SG rules" },
	{ "sfc", "Service Function Chaining", "Service Function Chain extension." },
	{ "shared-resources", "Networks and subnets shared between projects",
	  "An admin shares a network with all projects." },
	{ "sorting", "Sorting support", "Extension that indicates that sorting is supported." },
	{ "pagination", "Pagination support", "Extension that indicates that pagination is enabled." },
	{ "standard-attr-description", "standard-attr-description",
	  "Extension to add descriptions to standard attributes" },
	{ "standard-attr-revisions", "Resource revision numbers",
	  "Shows the revision number of resources with standard attributes." },
	{ "standard-attr-tag", "Tag support for resources with standard attribute",
	  "Enables to set tag on resources." },
	{ "standard-attr-timestamp", "Resource timestamps",
	  "Adds created_at and updated_at to resources with standard attributes." },
	{ "stateful-security-group", "Stateful security group",
	  "Indicates if the security group is stateful or not" },
};

static json_t *extension_json(size_t i)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:[]}", "alias", extensions[i].alias, "name",
			 extensions[i].name, "description", extensions[i].description, "updated",
			 "2026-01-01T00:00:00-00:00", "links");
}

int extensions_list(struct req *r, struct err *e)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_LEN(extensions); i++)
		(void)json_array_append_new(list, extension_json(i));
	req_reply(r, json_pack("{s:o}", "extensions", list));
	return 0;
}

int extension_show(struct req *r, struct err *e)
{
	const char *alias = req_param(r, "alias");

	for (size_t i = 0; i < ARRAY_LEN(extensions); i++) {
		if (strcmp(extensions[i].alias, alias) == 0) {
			req_reply(r, json_pack("{s:o}", "extension", extension_json(i)));
			return 0;
		}
	}
	return neutron_err(e, NEUTRON_EXTENSION_NOT_FOUND, NULL, alias);
}

/* ---- quotas: no limit, and what is used ---- */

static const struct {
	const char *name, *sql;
} quotas[] = {
	{ "network", "SELECT count(*) FROM network WHERE project_id = ?" },
	{ "subnet", "SELECT count(*) FROM subnet WHERE project_id = ?" },
	{ "port", "SELECT count(*) FROM port WHERE project_id = ?" },
	{ "security_group", "SELECT count(*) FROM security_group WHERE project_id = ?" },
	{ "security_group_rule", "SELECT count(*) FROM security_group_rule WHERE project_id = ?" },
	{ "address_group", "SELECT count(*) FROM address_group WHERE project_id = ?" },
	{ "firewall_rule", "SELECT count(*) FROM firewall_rule WHERE project_id = ?" },
	{ "firewall_policy", "SELECT count(*) FROM firewall_policy WHERE project_id = ?" },
	{ "firewall_group", "SELECT count(*) FROM firewall_group WHERE project_id = ?" },
	{ "remote_vtep", "SELECT count(*) FROM remote_vtep WHERE project_id = ?" },
	{ "port_pair", "SELECT count(*) FROM sfc_port_pair WHERE project_id = ?" },
	{ "port_pair_group", "SELECT count(*) FROM sfc_port_pair_group WHERE project_id = ?" },
	{ "flow_classifier", "SELECT count(*) FROM sfc_flow_classifier WHERE project_id = ?" },
	{ "port_chain", "SELECT count(*) FROM sfc_port_chain WHERE project_id = ?" },
};

/* Projects have no quota of their own, so the list of those that do is empty. */
int quotas_list(struct req *r, struct err *e)
{
	req_reply(r, json_pack("{s:[]}", "quotas"));
	return 0;
}

static int quota_project(struct req *r, const char **ret, struct err *e)
{
	*ret = req_param(r, "project_id");
	if (r->auth.is_admin || (r->auth.project_id && strcmp(*ret, r->auth.project_id) == 0))
		return 0;
	return neutron_err(e, NEUTRON_NOT_ALLOWED, NULL, "get_quota");
}

int quota_show(struct req *r, struct err *e)
{
	const char *project;
	json_t *quota = json_object();
	int rc = quota_project(r, &project, e);

	for (size_t i = 0; i < ARRAY_LEN(quotas); i++)
		(void)json_object_set_new(quota, quotas[i].name, json_integer(-1));
	req_reply(r, json_pack("{s:o}", "quota", quota));
	return rc;
}

int quota_details(struct req *r, struct err *e)
{
	const char *project;
	CLEANUP(json_freep) json_t *quota = json_object();
	int rc = quota_project(r, &project, e);

	for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(quotas); i++) {
		int64_t used = 0;

		rc = db_get_int(r->db, &used, e, quotas[i].sql, "s", project);
		(void)json_object_set_new(quota, quotas[i].name,
					  json_pack("{s:i, s:I, s:i}", "limit", -1, "used",
						    (json_int_t)used, "reserved", 0));
	}
	if (rc >= 0)
		req_reply(r, json_pack("{s:O}", "quota", quota));
	return rc < 0 ? rc : 0;
}

/* ---- availability zones: sites ---- */

int zones_list(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *list = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e, "SELECT name FROM site ORDER BY name", "");

	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		(void)json_array_append_new(list,
					    json_pack("{s:s, s:s, s:s}", "name", db_text(q, 0),
						      "resource", "network", "state", "available"));
	if (rc == 0)
		req_reply(r, json_pack("{s:O}", "availability_zones", list));
	return rc;
}

/* ---- agents: nodes ---- */

#define AGENT_SQL                                                                                                     \
	"SELECT n.id, n.name, s.name, n.enabled, n.created_us, n.last_seen_us, n.updated_us FROM node n JOIN site s " \
	"ON s.id = n.site_id WHERE n.revoked = 0 "

static json_t *agent_json(struct req *r, struct db_rows *q)
{
	char created[TIME_STR_SIZE], seen[TIME_STR_SIZE];

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:s, s:s, s:s, s:s, s:s, s:s*, s:{}}",
			 "id", db_text(q, 0), "agent_type", "demarc node", "binary", "demarc-node",
			 "host", db_text(q, 1), "topic", "N/A", "alive",
			 (int)session_is_up(r->hub, db_text(q, 0)), "admin_state_up",
			 (int)(db_int(q, 3) != 0), "availability_zone", db_text(q, 2), "created_at",
			 time_format_s(db_int(q, 4), created), "started_at", created,
			 "heartbeat_timestamp",
			 time_format_s(db_int(q, db_is_null(q, 5) ? 4 : 5), seen), "description",
			 "", "resources_synced", NULL, "configurations");
}

int agents_list(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *list = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	const char *host = req_query(r, "host");
	int rc = db_query(r->db, &q, e, AGENT_SQL "AND (?1 IS NULL OR n.name = ?1) ORDER BY n.name",
			  "s", host);

	while (rc >= 0 && (rc = db_step(q, e)) == 1)
		(void)json_array_append_new(list, agent_json(r, q));
	if (rc == 0)
		req_reply(r, json_pack("{s:O}", "agents", list));
	return rc;
}

int agent_show(struct req *r, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	const char *id = req_param(r, "id");
	int rc = db_query(r->db, &q, e, AGENT_SQL "AND n.id = ?", "s", id);

	if (rc >= 0)
		rc = db_step(q, e);
	if (rc == 0)
		return neutron_err(e, NEUTRON_AGENT_NOT_FOUND, NULL, id);
	if (rc == 1)
		req_reply(r, json_pack("{s:o}", "agent", agent_json(r, q)));
	return rc < 0 ? rc : 0;
}
