/* SPDX-License-Identifier: Apache-2.0 */
/* Sites, nodes, enrolment, health and events. */
#include <stdio.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"

static const struct column site_columns[] = {
	{ "NAME", "name" },
	{ "NODES", "n_nodes" },
	{ "LOCATION", "location" },
	{ "IPFIX", "ipfix_collectors" },
	{ "ID", "id" },
	{ NULL, NULL },
};
static const struct column node_columns[] = {
	{ "NAME", "name" },	  { "SITE", "site_name" },  { "STATE", "state" },
	{ "ENABLED", "enabled" }, { "RELEASE", "release" }, { "LAST SEEN", "last_seen_at" },
	{ "ID", "id" },		  { NULL, NULL },
};
static const struct column node_fields[] = {
	{ "name", "name" },
	{ "id", "id" },
	{ "site", "site_name" },
	{ "state", "state" },
	{ "enabled", "enabled" },
	{ "address", "address" },
	{ "tunnels end at", "vtep" },
	{ "release", "release" },
	{ "last seen", "last_seen_at" },
	{ "intent revision", "intent_revision" },
	{ "held by the node", "acked_revision" },
	{ "vCPUs", "inventory.vcpus" },
	{ "memory MB", "inventory.memory_mb" },
	{ "NICs", "inventory.nics" },
	{ "kernel", "inventory.kernel" },
	{ "runtime", "inventory.container_runtime" },
	{ "functions running", "status.running_functions" },
	{ "certificate until", "certificate_expires_at" },
	{ NULL, NULL },
};
static const struct column nic_columns[] = {
	{ "NIC", "name" },  { "DEVICE", "device" },	{ "DRIVER", "driver" },
	{ "HOOK", "hook" }, { "FEATURES", "features" }, { "WHY NOT XDP", "reason" },
	{ NULL, NULL },
};
static const struct column event_columns[] = {
	{ "TIME", "time" },	    { "SEVERITY", "severity" }, { "KIND", "kind" },
	{ "RESOURCE", "resource" }, { "TEXT", "text" },		{ NULL, NULL },
};

static int list(struct cli *c, const char *path, const char *plural, const struct column *columns,
		struct err *e)
{
	json_t *rows CLEANUP(json_freep) = NULL;
	int rc = cli_get(c, path, plural, &rows, e);

	if (rc < 0)
		return rc;
	if (c->json)
		print_json(rows);
	else if (json_array_size(rows))
		print_table(rows, columns);
	else
		printf("none\n");
	return 0;
}

/* more: prints what is no field; may be NULL. */
static int show(struct cli *c, const char *path, const char *plural, const char *singular,
		const struct column *fields, void (*more)(const json_t *row), struct err *e)
{
	json_t *row CLEANUP(json_freep) = NULL;
	int rc = client_find(c->client, "demarc", path, plural, singular, c->positionals[0], &row, e);

	if (rc < 0)
		return rc;
	if (c->json) {
		print_json(row);
		return 0;
	}
	print_fields(row, fields);
	if (more)
		more(row);
	return 0;
}

static int remove_found(struct cli *c, const char *path, const char *plural, const char *singular,
			const char *done, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *row CLEANUP(json_freep) = NULL;
	int rc = client_find(c->client, "demarc", path, plural, singular, c->positionals[0], &row, e);

	if (rc < 0)
		return rc;
	strbuf_addf(&url, "%s/%s", path, json_str(row, "id"));
	rc = client_call(c->client, "DELETE", "demarc", strbuf_cstr(&url), NULL, NULL, e);
	if (rc == 0 && !c->json)
		printf("%s %s %s\n", singular, json_str(row, "name"), done);
	return rc;
}

static int site_list(struct cli *c, struct err *e)
{
	return list(c, "/v1/sites", "sites", site_columns, e);
}

static int site_show(struct cli *c, struct err *e)
{
	return show(c, "/v1/sites", "sites", "site", site_columns, NULL, e);
}

static int site_create(struct cli *c, struct err *e)
{
	const char *description = cli_option(c, "description"), *location = cli_option(c, "location");
	json_t *body CLEANUP(json_freep) =
		json_pack("{s:{s:s, s:s, s:s}}", "site", "name", c->positionals[0], "description",
			  description ? description : "", "location", location ? location : "");
	json_t *answer CLEANUP(json_freep) = NULL;
	int rc = client_call(c->client, "POST", "demarc", "/v1/sites", body, &answer, e);

	if (rc < 0)
		return rc;
	if (c->json)
		print_json(json_object_get(answer, "site"));
	else
		printf("site %s created; enrol a node with: demarc enrol %s NODE-NAME\n",
		       c->positionals[0], c->positionals[0]);
	return 0;
}

static int site_delete(struct cli *c, struct err *e)
{
	return remove_found(c, "/v1/sites", "sites", "site", "deleted", e);
}

static int node_list(struct cli *c, struct err *e)
{
	return list(c, "/v1/nodes", "nodes", node_columns, e);
}

static void show_nics(const json_t *row)
{
	const json_t *nics = json_object_get(json_object_get(row, "status"), "nics");

	if (json_array_size(nics) == 0)
		return;
	putchar('\n');
	print_table(nics, nic_columns);
}

static int node_show(struct cli *c, struct err *e)
{
	return show(c, "/v1/nodes", "nodes", "node", node_fields, show_nics, e);
}

static int node_delete(struct cli *c, struct err *e)
{
	return remove_found(c, "/v1/nodes", "nodes", "node",
			    "revoked: its certificate is refused from now on", e);
}

/* "A,B" as a list; the empty text is the empty list. */
json_t *cli_list(const char *text)
{
	struct str rest = str_of(text);
	json_t *list = json_array();

	while (rest.len) {
		struct str one = str_trim(str_cut(rest, ',', &rest));

		json_array_append_new(list, json_stringn(one.ptr, one.len));
	}
	return list;
}

static int site_set(struct cli *c, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *row CLEANUP(json_freep) = NULL;
	json_t *changes = json_object();
	json_t *body CLEANUP(json_freep) = json_pack("{s:o}", "site", changes);
	const char *collectors = cli_option(c, "ipfix");
	long long active = 0;
	int rc = cli_number(c, "ipfix-active", 60, 3600, &active, e);

	if (rc == 0)
		rc = client_find(c->client, "demarc", "/v1/sites", "sites", "site",
				 c->positionals[0], &row, e);
	if (rc < 0)
		return rc;
	if (collectors)
		json_object_set_new(changes, "ipfix_collectors", cli_list(collectors));
	if (cli_option(c, "ipfix-active"))
		json_object_set_new(changes, "ipfix_active_s", json_integer(active));
	if (json_object_size(changes) == 0)
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "nothing to set: give --ipfix or --ipfix-active");
	strbuf_addf(&url, "/v1/sites/%s", json_str(row, "id"));
	return client_call(c->client, "PUT", "demarc", strbuf_cstr(&url), body, NULL, e);
}

static int node_set(struct cli *c, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *row CLEANUP(json_freep) = NULL;
	json_t *changes = json_object();
	json_t *body CLEANUP(json_freep) = json_pack("{s:o}", "node", changes);
	int rc = client_find(c->client, "demarc", "/v1/nodes", "nodes", "node", c->positionals[0],
			     &row, e);

	if (rc < 0)
		return rc;
	if (cli_option(c, "enable") || cli_option(c, "disable"))
		json_object_set_new(changes, "enabled", json_boolean(cli_option(c, "enable") != NULL));
	if (cli_option(c, "name"))
		json_object_set_new(changes, "name", json_string(cli_option(c, "name")));
	if (cli_option(c, "vtep"))
		json_object_set_new(changes, "vtep",
				    strcmp(cli_option(c, "vtep"), "none") == 0 ?
					    json_null() :
					    json_string(cli_option(c, "vtep")));
	if (json_object_size(changes) == 0)
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "nothing to set: give --enable, --disable, --name or --vtep");
	strbuf_addf(&url, "/v1/nodes/%s", json_str(row, "id"));
	return client_call(c->client, "PUT", "demarc", strbuf_cstr(&url), body, NULL, e);
}

static int node_status(struct cli *c, struct err *e)
{
	static const struct column counters[] = { { "COUNTER", "name" },
						  { "VALUE", "value" },
						  { NULL, NULL } };
	static const struct column paths[] = {
		{ "PATH", "path" },   { "CHAIN", "chain_id" }, { "CURRENT", "current" },
		{ "FLOWS", "flows" }, { NULL, NULL },
	};
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *row CLEANUP(json_freep) = NULL;
	json_t *status CLEANUP(json_freep) = NULL;
	int rc = client_find(c->client, "demarc", "/v1/nodes", "nodes", "node", c->positionals[0],
			     &row, e);

	if (rc < 0)
		return rc;
	strbuf_addf(&url, "/v1/nodes/%s/status", json_str(row, "id"));
	rc = cli_get(c, strbuf_cstr(&url), "status", &status, e);
	if (rc < 0)
		return rc;
	if (c->json) {
		print_json(status);
		return 0;
	}
	print_table(json_object_get(status, "counters"), counters);
	printf("\n");
	print_table(json_object_get(status, "paths"), paths);
	return 0;
}

static int status(struct cli *c, struct err *e)
{
	static const struct column health[] = {
		{ "hub", "status" },  { "release", "release" }, { "up for (s)", "uptime_s" },
		{ "store", "store" }, { NULL, NULL },
	};
	json_t *h CLEANUP(json_freep) = NULL;
	json_t *nodes CLEANUP(json_freep) = NULL;
	json_t *both CLEANUP(json_freep) = NULL;
	int rc = cli_get(c, "/v1/health", "health", &h, e);

	if (rc == 0)
		rc = cli_get(c, "/v1/nodes", "nodes", &nodes, e);
	if (rc < 0)
		return rc;
	if (c->json) {
		both = json_pack("{s:O, s:O}", "health", h, "nodes", nodes);
		print_json(both);
		return 0;
	}
	print_fields(h, health);
	printf("\n");
	print_table(nodes, node_columns);
	return 0;
}

static int events(struct cli *c, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	long long limit = 0;
	int rc = cli_number(c, "limit", 50, 1000, &limit, e);

	if (rc < 0)
		return rc;
	strbuf_addf(&url, "/v1/events?limit=%lld", limit);
	return list(c, strbuf_cstr(&url), "events", event_columns, e);
}

static const struct cli_option create_options[] = {
	{ "description", "TEXT", "what the site is" },
	{ "location", "TEXT", "where it is" },
	{ NULL, NULL, NULL },
};
static const struct cli_option site_options[] = {
	{ "ipfix", "ADDR[:PORT],...", "collectors, 4 at most; UDP port 4739; \"\" for none" },
	{ "ipfix-active", "SECONDS", "report a flow that goes on this often (60)" },
	{ NULL, NULL, NULL },
};
static const struct cli_option set_options[] = {
	{ "enable", NULL, "take new functions again" },
	{ "disable", NULL, "take no new functions" },
	{ "vtep", "ADDRESS", "where tunnels of overlay networks end; none: nowhere" },
	{ "name", "NAME", "new name" },
	{ NULL, NULL, NULL },
};
static const struct cli_option event_options[] = {
	{ "limit", "N", "how many, newest first (50)" },
	{ NULL, NULL, NULL },
};

const struct command site_commands[] = {
	{ "status", "", "Show the hub's health and every node's state", status, NULL, false },
	{ "site list", "", "List the sites", site_list, NULL, false },
	{ "site show", "SITE", "Show a site", site_show, NULL, false },
	{ "site create", "SITE", "Create a site: an availability zone to the openstack client",
	  site_create, create_options, false },
	{ "site set", "SITE", "Say where the nodes of a site send flow records (IPFIX)", site_set,
	  site_options, false },
	{ "site delete", "SITE", "Delete a site that has no nodes", site_delete, NULL, false },
	{ "events", "", "Show what happened at the sites", events, event_options, false },
	{ NULL, NULL, NULL, NULL, NULL, false },
};
const struct command node_commands[] = {
	{ "node list", "", "List the nodes and their state", node_list, NULL, false },
	{ "node show", "NODE", "Show a node", node_show, NULL, false },
	{ "node status", "NODE", "Ask a node for its drop counters and chain paths", node_status,
	  NULL, false },
	{ "node set", "NODE", "Rename a node, or stop placing functions on it", node_set,
	  set_options, false },
	{ "node delete", "NODE", "Revoke a node's certificate and forget it", node_delete, NULL, false },
	{ NULL, NULL, NULL, NULL, NULL, false },
};
