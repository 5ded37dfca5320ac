/* SPDX-License-Identifier: Apache-2.0 */
/* Is each vNIC where it was declared to be? */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"

/* One binding as a row: what it is, and the first thing that differs. */
static json_t *binding_row(const json_t *b)
{
	const json_t *seen = json_object_get(b, "observed");
	json_t *row = json_object();
	struct strbuf text CLEANUP(strbuf_done) = { 0 };
	size_t i;
	json_t *d;

	json_array_foreach(json_object_get(b, "differences"), i, d)
		strbuf_addf(&text, "%s%s is %s, wanted %s", i ? "; " : "", json_str(d, "attribute"),
			    json_str(d, "found"), json_str(d, "wanted"));
	json_object_set(row, "server", json_object_get(b, "server_name"));
	json_object_set(row, "vnic", json_object_get(json_object_get(b, "wanted"), "name"));
	json_object_set(row, "mac", json_object_get(seen, "mac"));
	json_object_set(row, "addresses", json_object_get(seen, "addresses"));
	json_object_set(row, "network", json_object_get(b, "network_name"));
	json_object_set(row, "port", json_object_get(b, "port_name"));
	if (json_is_null(json_object_get(b, "verified")) || !json_object_get(b, "verified"))
		strbuf_adds(&text, "not reported yet");
	json_object_set_new(row, "state",
			    json_string(json_bool(b, "verified", false) ? "verified" :
									  strbuf_cstr(&text)));
	return row;
}

static int print_bindings(struct cli *c, const json_t *list, struct err *e)
{
	static const struct column columns[] = {
		{ "SERVER", "server" },	      { "VNIC", "vnic" },	{ "MAC", "mac" },
		{ "ADDRESSES", "addresses" }, { "NETWORK", "network" }, { "PORT", "port" },
		{ "BINDING", "state" },	      { NULL, NULL },
	};
	json_t *rows CLEANUP(json_freep) = json_array();
	size_t i, n_bad = 0;
	json_t *b;

	json_array_foreach(list, i, b) {
		json_array_append_new(rows, binding_row(b));
		n_bad += !json_bool(b, "verified", false);
	}
	if (c->json)
		print_json(list);
	else if (json_array_size(rows))
		print_table(rows, columns);
	else
		printf("no bound ports\n");
	return n_bad ? 1 : 0;
}

static int add_server_bindings(struct cli *c, const char *server_id, json_t *list, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *found CLEANUP(json_freep) = NULL;
	int rc;

	strbuf_addf(&url, "/v1/servers/%s/bindings", server_id);
	rc = cli_get(c, strbuf_cstr(&url), "bindings", &found, e);
	if (rc == 0)
		json_array_extend(list, found);
	return rc;
}

static int all_servers(struct cli *c, json_t *list, struct err *e)
{
	json_t *answer CLEANUP(json_freep) = NULL;
	size_t i;
	json_t *s;
	int rc = client_call(c->client, "GET", "compute", "/v2.1/servers", NULL, &answer, e);

	if (rc < 0)
		return rc;
	json_array_foreach(json_object_get(answer, "servers"), i, s) {
		rc = add_server_bindings(c, json_str(s, "id"), list, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int one_port(struct cli *c, const char *what, json_t *list, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *port CLEANUP(json_freep) = NULL;
	json_t *binding CLEANUP(json_freep) = NULL;
	int rc = client_find(c->client, "network", "/v2.0/ports", "ports", "port", what, &port, e);

	if (rc < 0)
		return rc;
	strbuf_addf(&url, "/v1/ports/%s/binding", json_str(port, "id"));
	rc = cli_get(c, strbuf_cstr(&url), "binding", &binding, e);
	if (rc == 0)
		json_array_append(list, binding);
	return rc;
}

/* Exit status 1 when a binding is not verified, so that scripts can ask. */
static int port_verify(struct cli *c, struct err *e)
{
	json_t *list CLEANUP(json_freep) = json_array();
	json_t *server CLEANUP(json_freep) = NULL;
	const char *name = cli_option(c, "server");
	int rc = 0;

	if (name) {
		rc = client_find(c->client, "compute", "/v2.1/servers", "servers", "server", name,
				 &server, e);
		if (rc == 0)
			rc = add_server_bindings(c, json_str(server, "id"), list, e);
	} else if (c->n_positionals == 0) {
		rc = all_servers(c, list, e);
	}
	for (size_t i = 0; i < c->n_positionals && rc == 0; i++)
		rc = one_port(c, c->positionals[i], list, e);
	return rc < 0 ? rc : print_bindings(c, list, e);
}

static const struct cli_option verify_options[] = {
	{ "server", "SERVER", "all ports of this server" },
	{ NULL, NULL, NULL },
};

const struct command port_commands[] = {
	{ "port verify", "[PORT]...",
	  "Compare what each function really has with what was declared (all ports without arguments)",
	  port_verify, verify_options, false },
	{ NULL, NULL, NULL, NULL, NULL, false },
};
