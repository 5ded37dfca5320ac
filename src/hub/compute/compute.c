/* SPDX-License-Identifier: Apache-2.0 */
/* compute v2.1: routes, policy and tables. Source: Nova API reference. */
#include "hub/compute/flavor.h"
#include "hub/compute/host.h"
#include "hub/compute/keypair.h"
#include "hub/compute/quota.h"
#include "hub/compute/server.h"
#include "hub/compute/server_update.h"
#include "hub/compute/vif.h"
#include "hub/rest.h"

/* Rows as other modules load them; the handlers of this service read their own columns. */
static const struct attr flavor_attrs[] = {
	{ "id", "id", ATTR_STR },
	{ "name", "name", ATTR_STR },
	{ "ram", "ram", ATTR_INT },
	{ "vcpus", "vcpus", ATTR_INT },
	{ "disk", "disk", ATTR_INT },
	{ "extra_specs", "extra_specs", ATTR_OBJ },
	{ NULL },
};

const struct resource flavor_resource = {
	.service = "compute",
	.singular = "flavor",
	.plural = "flavors",
	.table = "flavor",
	.policy = "compute:flavor",
	.attrs = flavor_attrs,
	.visible_sql = "is_public = 1 OR id IN (SELECT flavor_id FROM flavor_access WHERE project_id = "
		       ":project)",
	.not_found = "Flavor %s could not be found.",
};

static const struct attr server_attrs[] = {
	{ "id", "id", ATTR_UUID },
	{ "name", "name", ATTR_STR },
	{ "project_id", "project_id", ATTR_STR, .alias = "tenant_id" },
	{ "image_id", "image_id", ATTR_UUID },
	{ "node_id", "node_id", ATTR_STR },
	{ "vm_state", "vm_state", ATTR_STR },
	{ "metadata", "metadata", ATTR_OBJ },
	{ NULL },
};

const struct resource server_resource = {
	.service = "compute",
	.singular = "server",
	.plural = "servers",
	.table = "server",
	.policy = "compute:server",
	.attrs = server_attrs,
	.not_found = "Instance %s could not be found.",
};

#define FLAVOR .resource = &flavor_resource
#define SERVER .resource = &server_resource

static const struct route routes[] = {
	{ HTTP_GET, "/flavors", flavor_list, 200, "flavor:list", 0, FLAVOR },
	{ HTTP_GET, "/flavors/detail", flavor_list_detail, 200, "flavor:list", 0, FLAVOR },
	{ HTTP_POST, "/flavors", flavor_create, 200, "flavor:create", 0, FLAVOR },
	{ HTTP_GET, "/flavors/{id}", flavor_show, 200, "flavor:show", 0, FLAVOR },
	{ HTTP_PUT, "/flavors/{id}", flavor_update, 200, "flavor:update", 0, FLAVOR },
	{ HTTP_DELETE, "/flavors/{id}", flavor_delete, 202, "flavor:delete", 0, FLAVOR },
	{ HTTP_GET, "/flavors/{id}/os-extra_specs", flavor_specs_list, 200, "flavor:show", 0, FLAVOR },
	{ HTTP_POST, "/flavors/{id}/os-extra_specs", flavor_specs_add, 200, "flavor:update", 0, FLAVOR },
	{ HTTP_GET, "/flavors/{id}/os-extra_specs/{key}", flavor_spec_show, 200, "flavor:show", 0,
	  FLAVOR },
	{ HTTP_PUT, "/flavors/{id}/os-extra_specs/{key}", flavor_spec_set, 200, "flavor:update", 0,
	  FLAVOR },
	{ HTTP_DELETE, "/flavors/{id}/os-extra_specs/{key}", flavor_spec_delete, 200,
	  "flavor:update", 0, FLAVOR },
	{ HTTP_POST, "/flavors/{id}/action", flavor_action, 200, "flavor:access", 0, FLAVOR },
	{ HTTP_GET, "/flavors/{id}/os-flavor-access", flavor_access_list, 200, "flavor:access", 0,
	  FLAVOR },

	{ HTTP_GET, "/os-keypairs", keypair_list, 200, "keypair:list" },
	{ HTTP_POST, "/os-keypairs", keypair_create, 200, "keypair:create" },
	{ HTTP_GET, "/os-keypairs/{name}", keypair_show, 200, "keypair:show" },
	{ HTTP_DELETE, "/os-keypairs/{name}", keypair_delete, 202, "keypair:delete" },

	{ HTTP_GET, "/servers", server_list, 200, "server:list", 0, SERVER },
	{ HTTP_GET, "/servers/detail", server_list_detail, 200, "server:list", 0, SERVER },
	{ HTTP_POST, "/servers", server_create, 202, "server:create", 0, SERVER },
	{ HTTP_GET, "/servers/{id}", server_show, 200, "server:show", 0, SERVER },
	{ HTTP_PUT, "/servers/{id}", server_update, 200, "server:update", 0, SERVER },
	{ HTTP_DELETE, "/servers/{id}", server_delete, 204, "server:delete", 0, SERVER },
	/* No transaction: an action may have to ask the node. */
	{ HTTP_POST, "/servers/{id}/action", server_action, 202, "server:action", ROUTE_NO_TX, SERVER },
	{ HTTP_GET, "/servers/{id}/ips", server_ips, 200, "server:show", 0, SERVER },
	{ HTTP_GET, "/servers/{id}/ips/{network}", server_ips_of_network, 200, "server:show", 0, SERVER },
	{ HTTP_GET, "/servers/{id}/os-security-groups", server_groups_of_server, 200, "server:show",
	  0, SERVER },
	{ HTTP_GET, "/servers/{id}/os-volume_attachments", volume_attachment_list, 200,
	  "server:show", 0, SERVER },
	{ HTTP_GET, "/servers/{id}/os-instance-actions", instance_action_list, 200, "server:show",
	  0, SERVER },

	{ HTTP_GET, "/servers/{id}/metadata", server_meta_list, 200, "server:show", 0, SERVER },
	{ HTTP_POST, "/servers/{id}/metadata", server_meta_add, 200, "server:update", 0, SERVER },
	{ HTTP_PUT, "/servers/{id}/metadata", server_meta_replace, 200, "server:update", 0, SERVER },
	{ HTTP_GET, "/servers/{id}/metadata/{key}", server_meta_show, 200, "server:show", 0, SERVER },
	{ HTTP_PUT, "/servers/{id}/metadata/{key}", server_meta_set, 200, "server:update", 0, SERVER },
	{ HTTP_DELETE, "/servers/{id}/metadata/{key}", server_meta_delete, 204, "server:update", 0,
	  SERVER },
	{ HTTP_GET, "/servers/{id}/tags", server_tags_list, 200, "server:show", 0, SERVER },
	{ HTTP_PUT, "/servers/{id}/tags", server_tags_replace, 200, "server:update", 0, SERVER },
	{ HTTP_DELETE, "/servers/{id}/tags", server_tags_clear, 204, "server:update", 0, SERVER },
	{ HTTP_GET, "/servers/{id}/tags/{tag}", server_tag_show, 204, "server:show", 0, SERVER },
	{ HTTP_PUT, "/servers/{id}/tags/{tag}", server_tag_put, 204, "server:update", ROUTE_NO_BODY,
	  SERVER },
	{ HTTP_DELETE, "/servers/{id}/tags/{tag}", server_tag_delete, 204, "server:update", 0, SERVER },

	{ HTTP_GET, "/servers/{id}/os-interface", interface_list, 200, "server:show", 0, SERVER },
	{ HTTP_POST, "/servers/{id}/os-interface", interface_attach, 200, "server:update", 0, SERVER },
	{ HTTP_GET, "/servers/{id}/os-interface/{port_id}", interface_show, 200, "server:show", 0,
	  SERVER },
	{ HTTP_DELETE, "/servers/{id}/os-interface/{port_id}", interface_detach, 202,
	  "server:update", 0, SERVER },

	{ HTTP_GET, "/os-hypervisors", hypervisor_list, 200, "hypervisor:list" },
	{ HTTP_GET, "/os-hypervisors/detail", hypervisor_list_detail, 200, "hypervisor:list" },
	{ HTTP_GET, "/os-hypervisors/statistics", hypervisor_statistics, 200, "hypervisor:list" },
	{ HTTP_GET, "/os-hypervisors/{id}", hypervisor_show, 200, "hypervisor:show" },
	{ HTTP_GET, "/os-hypervisors/{id}/uptime", hypervisor_uptime, 200, "hypervisor:show" },
	{ HTTP_GET, "/os-hypervisors/{id}/search", hypervisor_search, 200, "hypervisor:list" },
	{ HTTP_GET, "/os-hypervisors/{id}/servers", hypervisor_servers, 200, "hypervisor:list" },
	{ HTTP_GET, "/os-services", compute_service_list, 200, "service:list" },
	{ HTTP_PUT, "/os-services/enable", compute_service_enable, 200, "service:update" },
	{ HTTP_PUT, "/os-services/disable", compute_service_disable, 200, "service:update" },
	{ HTTP_PUT, "/os-services/{id}", compute_service_update, 200, "service:update" },
	{ HTTP_GET, "/os-availability-zone", zone_list, 200, "zone:list" },
	{ HTTP_GET, "/os-availability-zone/detail", zone_list_detail, 200, "zone:detail" },

	{ HTTP_GET, "/limits", limits_show, 200, "limits:show" },
	{ HTTP_GET, "/os-quota-sets/{project}", compute_quota_show, 200, "quota:show" },
	{ HTTP_GET, "/os-quota-sets/{project}/defaults", compute_quota_defaults, 200, "quota:show" },
	{ HTTP_GET, "/os-quota-sets/{project}/detail", compute_quota_detail, 200, "quota:show" },
	{ HTTP_GET, "/extensions", extension_list, 200, "extension:list" },
	{ HTTP_GET, "/os-server-groups", server_group_list, 200, "server:list" },
	{ HTTP_GET, "/os-aggregates", aggregate_list, 200, "aggregate:list" },
	{ .path = NULL },
};

static const struct policy_rule policy[] = {
	{ "flavor:list", WHO_READER },	  { "flavor:show", WHO_READER },
	{ "flavor:*", WHO_ADMIN },	  { "keypair:*", WHO_USER },
	{ "server:list", WHO_READER },	  { "server:show", WHO_READER },
	{ "server:*", WHO_MEMBER },	  { "hypervisor:*", WHO_ADMIN },
	{ "service:*", WHO_ADMIN },	  { "aggregate:*", WHO_ADMIN },
	{ "zone:list", WHO_READER },	  { "zone:detail", WHO_ADMIN },
	{ "limits:show", WHO_READER },	  { "quota:show", WHO_READER },
	{ "extension:list", WHO_READER }, { NULL },
};

static int bootstrap(struct hub *h, struct db *db, struct err *e)
{
	return flavor_bootstrap(db, e);
}

const struct module compute_module = {
	.service = "compute",
	.type = "compute",
	.prefix = "/compute/v2.1",
	.catalog_path = "/compute/v2.1",
	.micro_name = "compute",
	.micro_min = 1,
	.micro_max = 90,
	.routes = routes,
	.policy = policy,
	.bootstrap = bootstrap,
};
