/* SPDX-License-Identifier: Apache-2.0 */
/* demarc chain …: whole changes of a service chain, each with one summary. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/chain.h"
#include "cli/function.h"

#define DRAIN_TIMEOUT_S 600
#define DRAIN_POLL_MS 200

static void chain_donep(struct chain *ch)
{
	chain_done(ch);
}

static void function_donep(struct function *f)
{
	function_done(f);
}

/* ---- looking ---- */

static int chain_list(struct cli *c, struct err *e)
{
	static const struct column columns[] = {
		{ "NAME", "name" }, { "STATE", "state" }, { "HOPS", "hop_names" },
		{ "MODE", "mode" }, { "ID", "id" },	  { NULL, NULL },
	};
	json_t *chains CLEANUP(json_freep) = NULL;
	int rc = cli_get(c, "/v1/chains", "chains", &chains, e);

	if (rc < 0)
		return rc;
	if (c->json)
		print_json(chains);
	else if (json_array_size(chains))
		print_table(chains, columns);
	else
		printf("none\n");
	return 0;
}

static void print_hops(const json_t *status)
{
	static const struct column columns[] = {
		{ "#", "number" },
		{ "HOP", "name" },
		{ "IN PATH", "in_path" },
		{ "FUNCTIONS", "servers" },
		{ "ON FAILURE", "on_failure" },
		{ "WHY", "reason" },
		{ NULL, NULL },
	};

	print_table(json_object_get(status, "hops"), columns);
}

static int chain_show(struct cli *c, struct err *e)
{
	static const struct column fields[] = {
		{ "chain", "name" },
		{ "id", "id" },
		{ "state", "state" },
		{ "reason", "reason" },
		{ "node", "node_name" },
		{ "mode", "mode" },
		{ "symmetric", "symmetric" },
		{ "path", "path" },
		{ "last change", "change_id" },
		{ "waiting change", "held_change_id" },
		{ "flows draining", "flows_draining" },
		{ NULL, NULL },
	};
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *chain CLEANUP(json_freep) = NULL;
	json_t *status CLEANUP(json_freep) = NULL;
	int rc = client_find(c->client, "network", "/v2.0/sfc/port_chains", "port_chains",
			     "port_chain", c->positionals[0], &chain, e);

	if (rc < 0)
		return rc;
	strbuf_addf(&url, "/v1/chains/%s", json_str(chain, "id"));
	rc = cli_get(c, strbuf_cstr(&url), "chain", &status, e);
	if (rc < 0)
		return rc;
	if (c->json) {
		print_json(status);
		return 0;
	}
	print_fields(status, fields);
	printf("\n");
	print_hops(status);
	return 0;
}

static int chain_changes(struct cli *c, struct err *e)
{
	static const struct column columns[] = {
		{ "REQUESTED", "requested_at" },
		{ "CHANGE", "what" },
		{ "MODE", "mode" },
		{ "STATUS", "status" },
		{ "MS", "duration_ms" },
		{ "MOVED", "flows_moved" },
		{ "KEPT", "flows_kept" },
		{ "ID", "id" },
		{ NULL, NULL },
	};
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *chain CLEANUP(json_freep) = NULL;
	json_t *changes CLEANUP(json_freep) = NULL;
	int rc = client_find(c->client, "network", "/v2.0/sfc/port_chains", "port_chains",
			     "port_chain", c->positionals[0], &chain, e);

	if (rc < 0)
		return rc;
	strbuf_addf(&url, "/v1/chains/%s/changes", json_str(chain, "id"));
	rc = cli_get(c, strbuf_cstr(&url), "changes", &changes, e);
	if (rc < 0)
		return rc;
	if (c->json)
		print_json(changes);
	else
		print_table(changes, columns);
	return 0;
}

/* ---- changing ---- */

static const char *id_at(const struct chain *ch, size_t i)
{
	return json_str(ch->groups[i], "id");
}

static int get_network(struct cli *c, const char *path, const char *id, const char *inner,
		       json_t **ret, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *answer CLEANUP(json_freep) = NULL;
	int rc;

	strbuf_addf(&url, "%s/%s", path, id);
	rc = client_call(c->client, "GET", "network", strbuf_cstr(&url), NULL, &answer, e);
	if (rc == 0)
		*ret = json_incref(json_object_get(answer, inner));
	return rc;
}

/* The port at the side of a hop where the new function goes: out of `after`, or into the first. *ret: the port, new reference. */
static int neighbour_port(struct cli *c, const struct chain *ch, size_t hop, bool egress,
			  json_t **ret, struct err *e)
{
	const json_t *pairs = json_object_get(ch->groups[hop], "port_pairs");
	json_t *pair CLEANUP(json_freep) = NULL;
	int rc;

	if (json_array_size(pairs) == 0)
		return err_set(e, FAULT_CONFLICT, NULL,
			       "hop %s has no port pair: say where the function goes with --network and --node",
			       json_str(ch->groups[hop], "name"));
	rc = get_network(c, "/v2.0/sfc/port_pairs", json_string_value(json_array_get(pairs, 0)),
			 "port_pair", &pair, e);
	if (rc < 0)
		return rc;
	return get_network(c, "/v2.0/ports", json_str(pair, egress ? "egress" : "ingress"), "port",
			   ret, e);
}

/* The zone "site:node" that puts a server beside the one that owns the port. */
static int zone_of_port(struct cli *c, const json_t *port, struct strbuf *ret, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *answer CLEANUP(json_freep) = NULL;
	const json_t *server;
	const char *zone, *host;
	int rc;

	if (!json_str(port, "device_id") || !*json_str(port, "device_id"))
		return 0;
	strbuf_addf(&url, "/v2.1/servers/%s", json_str(port, "device_id"));
	rc = client_call(c->client, "GET", "compute", strbuf_cstr(&url), NULL, &answer, e);
	if (rc < 0)
		return rc;
	server = json_object_get(answer, "server");
	zone = json_str(server, "OS-EXT-AZ:availability_zone");
	host = json_str(server, "OS-EXT-SRV-ATTR:host");
	if (zone)
		strbuf_addf(ret, "%s%s%s", zone, host ? ":" : "", host ? host : "");
	return 0;
}

static int find_place(struct cli *c, const struct chain *ch, size_t hop, bool egress,
		      struct strbuf *zone, json_t **ret_network, struct err *e)
{
	const char *named = cli_option(c, "network"), *node = cli_option(c, "node");
	json_t *port CLEANUP(json_freep) = NULL;
	int rc = ch->n_hops ? neighbour_port(c, ch, hop, egress, &port, e) : 0;

	if (rc == 0 && node)
		strbuf_adds(zone, node);
	else if (rc == 0 && port)
		rc = zone_of_port(c, port, zone, e);
	if (rc < 0)
		return rc;
	if (named)
		return client_find(c->client, "network", "/v2.0/networks", "networks", "network",
				   named, ret_network, e);
	if (!port)
		return err_set(e, FAULT_BAD_REQUEST, "network",
			       "the chain has no hop yet: say where its ports go with --network");
	return get_network(c, "/v2.0/networks", json_str(port, "network_id"), "network", ret_network, e);
}

/* Makes the function and takes it back when the rest of the change fails. `groups` is complete but for slot `at`. */
static int with_new_function(struct cli *c, struct chain *ch, const char *image, size_t beside,
			     bool egress, const char **groups, size_t n, size_t at, struct err *e)
{
	struct function f CLEANUP(function_donep) = { 0 };
	struct strbuf zone CLEANUP(strbuf_done) = { 0 };
	json_t *network CLEANUP(json_freep) = NULL;
	json_t *change CLEANUP(json_freep) = NULL;
	struct err later = { 0 };
	int rc = find_place(c, ch, beside, egress, &zone, &network, e);

	if (rc < 0)
		return rc;
	rc = function_make(c, image,
			   &(struct place){ json_str(network, "id"),
					    zone.len ? strbuf_cstr(&zone) : NULL },
			   &f, e);
	if (rc == 0) {
		groups[at] = f.group;
		rc = chain_change(c, ch, groups, n, &change, e);
	}
	if (rc == 0) {
		chain_print_change(c, change);
		return 0;
	}
	progress_begin(&c->progress, "take back what was made");
	progress_end(&c->progress, function_unmake(c, &f, &later) < 0 ? later.msg : "ok");
	return rc;
}

static int chain_insert(struct cli *c, struct err *e)
{
	const char *after = cli_option(c, "after"), *groups[HOPS_MAX + 1];
	struct chain ch CLEANUP(chain_donep) = { 0 };
	size_t at = 0, n = 0;
	int rc;

	if (!after == !cli_option(c, "first"))
		return err_set(e, FAULT_BAD_REQUEST, "after", "say where: --after HOP or --first");
	rc = chain_load(c, c->positionals[0], &ch, e);
	if (rc == 0 && after)
		rc = chain_hop(&ch, after, &at, e);
	if (rc < 0)
		return rc;
	if (ch.n_hops == HOPS_MAX)
		return err_set(e, FAULT_TOO_LARGE, NULL, "the chain has %d hops already", HOPS_MAX);
	for (size_t i = 0; i < ch.n_hops; i++) {
		if (!after && i == 0)
			n++;
		groups[n++] = id_at(&ch, i);
		if (after && i == at)
			n++;
	}
	if (ch.n_hops == 0)
		n = 1;
	return with_new_function(c, &ch, c->positionals[1], at, after != NULL, groups, n,
				 after ? at + 1 : 0, e);
}

/* Waits until no flow uses an older path of the chain. */
static int wait_drained(struct cli *c, const struct chain *ch, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	long long timeout_s = 0;
	int64_t end;
	int rc = cli_number(c, "drain-timeout", DRAIN_TIMEOUT_S, 86400, &timeout_s, e);

	if (rc < 0)
		return rc;
	strbuf_addf(&url, "/v1/chains/%s", json_str(ch->chain, "id"));
	for (end = clock_mono_ns() + timeout_s * NS_PER_S; clock_mono_ns() < end;
	     cli_pause_ms(DRAIN_POLL_MS)) {
		json_t *status CLEANUP(json_freep) = NULL;
		char detail[64];

		if (cli_interrupted())
			return err_set(e, FAULT_UNAVAILABLE, NULL,
				       "interrupted: the function is out of the path but still running");
		rc = cli_get(c, strbuf_cstr(&url), "chain", &status, e);
		if (rc < 0)
			return rc;
		if (json_int(status, "flows_draining", 0) == 0)
			return 0;
		snprintf(detail, sizeof(detail), "%lld flows left",
			 (long long)json_int(status, "flows_draining", 0));
		progress_tick(&c->progress, detail);
	}
	return err_set(e, FAULT_TIMEOUT, "drain-timeout",
		       "flows are left on the old path after %lld s: the function still runs",
		       timeout_s);
}

/* After a change that took a hop out: its flows end, then it goes. */
static int retire(struct cli *c, const struct chain *ch, size_t hop, struct err *e)
{
	struct function f CLEANUP(function_donep) = { 0 };
	int rc;

	if (cli_option(c, "keep-function"))
		return 0;
	progress_begin(&c->progress, "wait for flows on the old path to end");
	rc = wait_drained(c, ch, e);
	progress_end(&c->progress, rc < 0 ? "failed" : "ok");
	if (rc < 0)
		return rc;
	progress_begin(&c->progress, "delete the function");
	rc = function_of_group(c, ch->groups[hop], &f, e);
	if (rc == 0)
		rc = function_unmake(c, &f, e);
	progress_end(&c->progress, rc < 0 ? "failed" : "ok");
	return rc;
}

static int chain_remove(struct cli *c, struct err *e)
{
	struct chain ch CLEANUP(chain_donep) = { 0 };
	json_t *change CLEANUP(json_freep) = NULL;
	const char *groups[HOPS_MAX];
	size_t at = 0, n = 0;
	int rc = chain_load(c, c->positionals[0], &ch, e);

	if (rc == 0)
		rc = chain_hop(&ch, c->positionals[1], &at, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ch.n_hops; i++)
		if (i != at)
			groups[n++] = id_at(&ch, i);
	rc = chain_change(c, &ch, groups, n, &change, e);
	if (rc < 0)
		return rc;
	chain_print_change(c, change);
	return retire(c, &ch, at, e);
}

static int chain_reorder(struct cli *c, struct err *e)
{
	struct chain ch CLEANUP(chain_donep) = { 0 };
	json_t *change CLEANUP(json_freep) = NULL;
	const char *groups[HOPS_MAX];
	bool used[HOPS_MAX] = { false };
	int rc = chain_load(c, c->positionals[0], &ch, e);

	if (rc < 0)
		return rc;
	if (c->n_positionals - 1 != ch.n_hops)
		return err_set(e, FAULT_BAD_REQUEST, "HOP", "name all %zu hops in their new order",
			       ch.n_hops);
	for (size_t i = 0; i < ch.n_hops; i++) {
		size_t at = 0;

		rc = chain_hop(&ch, c->positionals[i + 1], &at, e);
		if (rc < 0)
			return rc;
		if (used[at])
			return err_set(e, FAULT_BAD_REQUEST, "HOP", "hop %s is named twice",
				       c->positionals[i + 1]);
		used[at] = true;
		groups[i] = id_at(&ch, at);
	}
	rc = chain_change(c, &ch, groups, ch.n_hops, &change, e);
	if (rc == 0)
		chain_print_change(c, change);
	return rc;
}

static int chain_replace(struct cli *c, struct err *e)
{
	struct chain ch CLEANUP(chain_donep) = { 0 };
	const char *groups[HOPS_MAX];
	size_t at = 0;
	int rc = chain_load(c, c->positionals[0], &ch, e);

	if (rc == 0)
		rc = chain_hop(&ch, c->positionals[1], &at, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ch.n_hops; i++)
		groups[i] = id_at(&ch, i);
	rc = with_new_function(c, &ch, c->positionals[2], at, true, groups, ch.n_hops, at, e);
	return rc < 0 ? rc : retire(c, &ch, at, e);
}

#define CHANGE_OPTIONS                                                                             \
	{ "mode", "move|keep",                                                                     \
	  "all flows take the new path now, or established ones stay (the chain's own)" },         \
	{                                                                                          \
		"timeout", "SECONDS", "how long to wait for each step (60, the change 30)"         \
	}
#define FUNCTION_OPTIONS                                                                               \
	{ "name", "NAME", "name of the function and of its hop (the image's)" },                       \
		{ "flavor", "FLAVOR", "size (m1.tiny)" },                                              \
		{ "network", "NET", "where its ports go (the neighbour's network)" },                  \
		{ "node", "SITE[:NODE]", "where it runs (the neighbour's node)" },                     \
		{ "in-ip", "IP", "address of eth0, LAN-ward (next free)" },                            \
		{ "out-ip", "IP", "address of eth1, WAN-ward (next free)" },                           \
		{ "transparent", NULL, "no addresses: the function forwards frames as they are" },     \
		{ "security-group", "GROUP", "of a native function's ports (the project's default)" }, \
		{ "user-data", "FILE", "configuration for the function" },                             \
		{ "probe", "PROBE",                                                                    \
		  "process, tcp:PORT or exec:COMMAND: when it is healthy (the image's)" },             \
	{                                                                                              \
		"on-failure", "drop|bypass", "what the chain does when it dies (drop)"                 \
	}
#define RETIRE_OPTIONS                                                                             \
	{ "keep-function", NULL, "leave the server and its ports" },                               \
	{                                                                                          \
		"drain-timeout", "SECONDS", "how long flows on the old path may take to end (600)" \
	}

static const struct cli_option insert_options[] = {
	{ "after", "HOP", "behind this hop: its name, id or number" },
	{ "first", NULL, "in front of the first hop" },
	FUNCTION_OPTIONS,
	CHANGE_OPTIONS,
	{ NULL, NULL, NULL },
};
static const struct cli_option remove_options[] = { CHANGE_OPTIONS, RETIRE_OPTIONS, { NULL, NULL, NULL } };
static const struct cli_option reorder_options[] = { CHANGE_OPTIONS, { NULL, NULL, NULL } };
static const struct cli_option replace_options[] = { FUNCTION_OPTIONS,
						     CHANGE_OPTIONS,
						     RETIRE_OPTIONS,
						     { NULL, NULL, NULL } };

const struct command chain_commands[] = {
	{ "chain list", "", "List the port chains and their state", chain_list, NULL, false },
	{ "chain show", "CHAIN", "Show a chain: its hops, who is in path, and why not", chain_show,
	  NULL, false },
	{ "chain insert", "CHAIN IMAGE", "Start a function and put it in a live chain",
	  chain_insert, insert_options, false },
	{ "chain remove", "CHAIN HOP", "Take a hop out of a live chain and delete its function",
	  chain_remove, remove_options, false },
	{ "chain reorder", "CHAIN HOP...", "Change the order of a live chain's hops", chain_reorder,
	  reorder_options, false },
	{ "chain replace", "CHAIN HOP IMAGE", "Put a new function in the place of a hop",
	  chain_replace, replace_options, false },
	{ "chain changes", "CHAIN", "List the changes of a chain and their reports", chain_changes,
	  NULL, false },
	{ NULL, NULL, NULL, NULL, NULL, false },
};
