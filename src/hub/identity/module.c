/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/identity/identity.h"
#include "hub/setup.h"

/* The identity API: every route and every rule of it. */

#define CRUD(path, res)                                                                            \
	{ HTTP_GET, path, rest_list, 200, .resource = &(res) },                                    \
		{ HTTP_POST, path, rest_create, 201, .resource = &(res) },                         \
		{ HTTP_GET, path "/{id}", rest_show, 200, .resource = &(res) },                    \
		{ HTTP_PATCH, path "/{id}", rest_update, 200, .resource = &(res) },                \
	{                                                                                          \
		HTTP_DELETE, path "/{id}", rest_delete, 204, .resource = &(res)                    \
	}

#define ASSIGNMENTS(path)                                                                               \
	{ HTTP_GET, path "/users/{user_id}/roles", assignment_roles, 200, "identity:assignment:list" }, \
		{ HTTP_PUT,                                                                             \
		  path "/users/{user_id}/roles/{role_id}",                                              \
		  assignment_put,                                                                       \
		  204,                                                                                  \
		  "identity:assignment:create",                                                         \
		  ROUTE_NO_BODY },                                                                      \
		{ HTTP_GET, path "/users/{user_id}/roles/{role_id}", assignment_check, 204,             \
		  "identity:assignment:list" },                                                         \
	{                                                                                               \
		HTTP_DELETE, path "/users/{user_id}/roles/{role_id}", assignment_delete, 204,           \
			"identity:assignment:delete"                                                    \
	}

static const struct route routes[] = {
	{ HTTP_POST, "/auth/tokens", token_create, 201, .flags = ROUTE_PUBLIC | ROUTE_NO_TX },
	{ HTTP_GET, "/auth/tokens", token_show, 200, "identity:token:show" },
	{ HTTP_DELETE, "/auth/tokens", token_revoke, 204, "identity:token:delete" },
	{ HTTP_GET, "/auth/catalog", auth_catalog, 200, "identity:auth:catalog" },
	{ HTTP_GET, "/auth/projects", auth_projects, 200, "identity:auth:projects" },
	{ HTTP_GET, "/auth/domains", auth_domains, 200, "identity:auth:domains" },
	{ HTTP_GET, "/auth/system", auth_system, 200, "identity:auth:system" },

	CRUD("/domains", domain_resource),
	CRUD("/projects", project_resource),
	CRUD("/users", user_resource),
	CRUD("/roles", role_resource),
	{ HTTP_POST, "/users/{user_id}/password", user_password, 204, "identity:user:password",
	  ROUTE_NO_TX },
	{ HTTP_GET, "/users/{user_id}/projects", user_projects, 200, "identity:user:projects" },
	{ HTTP_GET, "/users/{user_id}/groups", empty_groups, 200, "identity:user:groups" },
	{ HTTP_GET, "/groups", empty_groups, 200, "identity:group:list" },

	ASSIGNMENTS("/projects/{project_id}"),
	ASSIGNMENTS("/domains/{domain_id}"),
	ASSIGNMENTS("/system"),
	{ HTTP_GET, "/role_assignments", assignment_list, 200, "identity:assignment:list" },

	{ HTTP_GET, "/services", service_list, 200, "identity:service:list" },
	{ HTTP_GET, "/services/{id}", service_show, 200, "identity:service:show" },
	{ HTTP_GET, "/endpoints", endpoint_list, 200, "identity:endpoint:list" },
	{ HTTP_GET, "/endpoints/{id}", endpoint_show, 200, "identity:endpoint:show" },
	{ HTTP_GET, "/regions", region_list, 200, "identity:region:list" },
	{ HTTP_GET, "/regions/{id}", region_show, 200, "identity:region:show" },
	{ .path = NULL },
};

static const struct policy_rule policy[] = {
	{ "identity:token:*", WHO_USER }, /* and the handler: its own token, or an admin */
	{ "identity:auth:*", WHO_USER },
	{ "identity:domain:*", WHO_ADMIN },
	{ "identity:domain:show", WHO_USER },
	{ "identity:project:*", WHO_ADMIN },
	{ "identity:project:show", WHO_USER }, /* visible: the token's own */
	{ "identity:user:*", WHO_ADMIN },
	{ "identity:user:show", WHO_OWNER_OR_ADMIN },
	{ "identity:user:password", WHO_OWNER_OR_ADMIN },
	{ "identity:user:projects", WHO_OWNER_OR_ADMIN },
	{ "identity:user:groups", WHO_OWNER_OR_ADMIN },
	{ "identity:group:*", WHO_ADMIN },
	{ "identity:role:*", WHO_ADMIN },
	{ "identity:role:list", WHO_USER },
	{ "identity:role:show", WHO_USER },
	{ "identity:assignment:*", WHO_ADMIN },
	{ "identity:service:*", WHO_ADMIN },
	{ "identity:endpoint:*", WHO_ADMIN },
	{ "identity:region:*", WHO_ANYONE },
	{ NULL },
};

const struct module identity_module = {
	.service = "identity",
	.type = "identity",
	.prefix = "/identity/v3",
	.catalog_path = "/identity",
	.routes = routes,
	.policy = policy,
	.bootstrap = identity_bootstrap,
};
