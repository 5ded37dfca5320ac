/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>

#include "base/clock.h"
#include "hub/site/site.h"

/* The demarc service: sites, nodes, enrolment, verified bindings, chain status, trace, events, health. */

static atomic_llong started_ns;

static int bootstrap(struct hub *h, struct db *db, struct err *e)
{
	atomic_store(&started_ns, clock_mono_ns());
	return 0;
}

/* Says nothing that needs a token: it is what a load balancer or a person asks first. */
static int health(struct req *r, struct err *e)
{
	int64_t one;
	int rc = db_begin(r->db, DB_READ, e);

	if (rc == 0)
		rc = db_get_int(r->db, &one, e, "SELECT count(*) FROM site", "");
	db_rollback(r->db);
	if (rc < 0)
		r->status = 503;
	req_reply(r, json_pack("{s:s, s:s, s:s, s:I}", "status", rc < 0 ? "degraded" : "ok", "release",
			       DEMARC_VERSION, "store", rc < 0 ? "unreadable" : "ok", "uptime_s",
			       (json_int_t)((clock_mono_ns() - atomic_load(&started_ns)) / NS_PER_S)));
	return 0;
}

static const struct route routes[] = {
	{ HTTP_GET, "/health", health, 200, "demarc:health", ROUTE_PUBLIC | ROUTE_NO_TX },
	{ HTTP_GET, "/sites", rest_list, 200, .resource = &site_resource },
	{ HTTP_POST, "/sites", rest_create, 201, .resource = &site_resource },
	{ HTTP_GET, "/sites/{id}", rest_show, 200, .resource = &site_resource },
	{ HTTP_PUT, "/sites/{id}", rest_update, 200, .resource = &site_resource },
	{ HTTP_DELETE, "/sites/{id}", rest_delete, 204, .resource = &site_resource },
	{ HTTP_GET, "/sites/{id}/enrolment_tokens", enrol_token_list, 200, "demarc:enrolment" },
	{ HTTP_POST, "/sites/{id}/enrolment_tokens", enrol_token_create, 201, "demarc:enrolment" },
	{ HTTP_DELETE, "/sites/{id}/enrolment_tokens/{token}", enrol_token_delete, 204,
	  "demarc:enrolment" },
	{ HTTP_GET, "/enrol", enrol_page, 200, "demarc:enrol", ROUTE_PUBLIC | ROUTE_NO_TX },
	{ HTTP_POST, "/enrol", enrol_node, 201, "demarc:enrol", ROUTE_PUBLIC },
	{ HTTP_GET, "/nodes", rest_list, 200, .resource = &node_resource },
	{ HTTP_GET, "/nodes/{id}", rest_show, 200, .resource = &node_resource },
	{ HTTP_PUT, "/nodes/{id}", rest_update, 200, .resource = &node_resource },
	{ HTTP_DELETE, "/nodes/{id}", rest_delete, 204, .resource = &node_resource },
	{ HTTP_POST, "/nodes/{id}/revoke", node_revoke, 204, "demarc:node:revoke", ROUTE_NO_BODY },
	{ HTTP_POST, "/nodes/{id}/shell", node_shell, 201, "demarc:node:shell", ROUTE_NO_TX },
	{ HTTP_POST, "/nodes/{id}/capture", node_capture, 201, "demarc:node:capture", ROUTE_NO_TX },
	{ HTTP_POST, "/servers/{id}/shell", server_shell, 201, "demarc:server:shell", ROUTE_NO_TX },
	{ HTTP_POST, "/servers/{id}/log", server_log, 201, "demarc:server:log", ROUTE_NO_TX },
	{ HTTP_GET, "/streams/{id}", stream_get, 200, "demarc:stream", ROUTE_NO_TX },
	{ HTTP_POST, "/streams/{id}", stream_post, 200, "demarc:stream", ROUTE_NO_TX },
	{ HTTP_DELETE, "/streams/{id}", stream_delete, 204, "demarc:stream", ROUTE_NO_TX },
	{ HTTP_GET, "/ca", ca_show, 200, "demarc:ca" },
	{ HTTP_POST, "/ca/rotate", ca_start_rotation, 200, "demarc:ca", ROUTE_NO_BODY },
	{ HTTP_POST, "/ca/retire", ca_end_rotation, 200, "demarc:ca", ROUTE_BODY_OPTIONAL },
	{ HTTP_POST, "/nodes/{id}/trace", node_trace, 200, "demarc:trace", ROUTE_NO_TX },
	{ HTTP_GET, "/nodes/{id}/status", node_status, 200, "demarc:node:status", ROUTE_NO_TX },
	{ HTTP_GET, "/nodes/{id}/flows", node_flows, 200, "demarc:node:flows", ROUTE_NO_TX },
	{ HTTP_GET, "/nodes/{id}/volumes", node_volumes, 200, "demarc:node:flows", ROUTE_NO_TX },
	{ HTTP_GET, "/nodes/{id}/watch", node_watch, 200, "demarc:node:watch", ROUTE_NO_TX },
	{ HTTP_GET, "/metrics", metrics, 200, "demarc:metrics" },
	{ HTTP_GET, "/ports/{id}/binding", binding_of_port, 200, "demarc:binding" },
	{ HTTP_GET, "/servers/{id}/bindings", bindings_of_server, 200, "demarc:binding" },
	{ HTTP_GET, "/chains", chain_status_list, 200, "demarc:chain" },
	{ HTTP_GET, "/chains/{id}", chain_status_show, 200, "demarc:chain" },
	{ HTTP_GET, "/chains/{id}/changes", chain_change_list, 200, "demarc:chain" },
	{ HTTP_GET, "/changes/{id}", chain_change_show, 200, "demarc:chain" },
	{ HTTP_GET, "/events", event_list, 200, "demarc:event" },
	{ 0 },
};

static const struct policy_rule policy[] = {
	{ "demarc:health", WHO_ANYONE },
	{ "demarc:enrol", WHO_ANYONE },
	{ "demarc:enrolment", WHO_ADMIN },
	{ "demarc:site:*", WHO_ADMIN },
	{ "demarc:site:list", WHO_READER },
	{ "demarc:site:show", WHO_READER },
	{ "demarc:node:*", WHO_ADMIN },
	{ "demarc:ca", WHO_ADMIN },
	{ "demarc:server:shell", WHO_ADMIN },
	{ "demarc:server:log", WHO_MEMBER }, /* of what it sees */
	{ "demarc:stream", WHO_USER },	     /* who opened it */
	{ "demarc:trace", WHO_ADMIN },
	{ "demarc:metrics", WHO_ADMIN },
	{ "demarc:binding", WHO_READER },
	{ "demarc:chain", WHO_READER },
	{ "demarc:event", WHO_READER },
	{ 0 },
};

const struct module site_module = {
	.service = "demarc",
	.type = "demarc",
	.prefix = "/demarc/v1",
	.catalog_path = "/demarc",
	.routes = routes,
	.policy = policy,
	.bootstrap = bootstrap,
};
