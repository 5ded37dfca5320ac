/* SPDX-License-Identifier: Apache-2.0 */
/* Ends of tunnels that are no nodes. */
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"

#define VTEPS "/v2.0/remote-vteps"

static const struct column columns[] = {
	{ "NAME", "name" },
	{ "ADDRESS", "ip_address" },
	{ "TYPE", "tunnel_type" },
	{ "NUMBER", "segmentation_id" },
	{ "FLOOD", "flood" },
	{ "MACS", "mac_addresses" },
	{ "NETWORK", "network_id" },
	{ "ID", "id" },
	{ NULL, NULL },
};

static int vtep_list(struct cli *c, struct err *e)
{
	json_t *answer CLEANUP(json_freep) = NULL;
	const json_t *rows;
	int rc = client_call(c->client, "GET", "network", VTEPS, NULL, &answer, e);

	if (rc < 0)
		return rc;
	rows = json_object_get(answer, "remote_vteps");
	if (c->json)
		print_json(rows);
	else if (json_array_size(rows))
		print_table(rows, columns);
	else
		printf("none\n");
	return 0;
}

static int vtep_add(struct cli *c, struct err *e)
{
	const char *type = cli_option(c, "type"), *name = cli_option(c, "name"),
		   *macs = cli_option(c, "macs");
	json_t *network CLEANUP(json_freep) = NULL;
	json_t *answer CLEANUP(json_freep) = NULL;
	json_t *body CLEANUP(json_freep) = NULL;
	long long number = 0;
	json_t *row;
	int rc = cli_number(c, "number", 0, UINT32_MAX, &number, e);

	if (rc == 0)
		rc = client_find(c->client, "network", "/v2.0/networks", "networks", "network",
				 c->positionals[0], &network, e);
	if (rc < 0)
		return rc;
	row = json_pack("{s:s, s:s, s:b, s:s*, s:s*}", "network_id", json_str(network, "id"),
			"ip_address", c->positionals[1], "flood", cli_option(c, "no-flood") == NULL,
			"tunnel_type", type, "name", name);
	if (number)
		json_object_set_new(row, "segmentation_id", json_integer(number));
	if (macs)
		json_object_set_new(row, "mac_addresses", cli_list(macs));
	body = json_pack("{s:o}", "remote_vtep", row);
	rc = client_call(c->client, "POST", "network", VTEPS, body, &answer, e);
	if (rc < 0)
		return rc;
	if (c->json)
		print_json(json_object_get(answer, "remote_vtep"));
	else
		print_fields(json_object_get(answer, "remote_vtep"), columns);
	return 0;
}

static int vtep_delete(struct cli *c, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *row CLEANUP(json_freep) = NULL;
	int rc = client_find(c->client, "network", VTEPS, "remote_vteps", "remote_vtep",
			     c->positionals[0], &row, e);

	if (rc < 0)
		return rc;
	strbuf_addf(&url, VTEPS "/%s", json_str(row, "id"));
	return client_call(c->client, "DELETE", "network", strbuf_cstr(&url), NULL, NULL, e);
}

static const struct cli_option add_options[] = {
	{ "type", "TYPE", "vxlan, geneve, gre ... (the network's)" },
	{ "number", "N", "VNI, key or label (the network's)" },
	{ "macs", "MAC,...", "MACs behind it that are known; others are learned" },
	{ "no-flood", NULL, "only frames to these MACs go there" },
	{ "name", "NAME", "its name" },
	{ NULL, NULL, NULL },
};

const struct command vtep_commands[] = {
	{ "vtep list", "", "List the ends of tunnels that are no nodes", vtep_list, NULL, false },
	{ "vtep add", "NETWORK ADDRESS", "Let the tunnels of a network end at a router or gateway, too",
	  vtep_add, add_options, false },
	{ "vtep delete", "VTEP", "Let no tunnel end there", vtep_delete, NULL, false },
	{ NULL, NULL, NULL, NULL, NULL, false },
};
