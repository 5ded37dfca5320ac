/* SPDX-License-Identifier: Apache-2.0 */
/* Which flows are there now, and what do they carry? */
#include "cli/flows.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

/* Row: option, query parameter; flags have the value "true". `plural`: a name of the network service, sent as its id. */
static const struct filter {
	const char *option, *parameter;
	const char *path, *plural, *singular;
} filters[] = {
	{ "address", "address" },
	{ "src", "source" },
	{ "dst", "destination" },
	{ "port", "port" },
	{ "proto", "protocol" },
	{ "state", "state" },
	{ "family", "family" },
	{ "dropped", "dropped" },
	{ "all-segments", "all_segments" },
	{ "sort", "sort" },
	{ "limit", "limit" },
	{ "interface", "port_id", "/v2.0/ports", "ports", "port" },
	{ "chain", "chain", "/v2.0/sfc/port_chains", "port_chains", "port_chain" },
};

static void add_escaped(struct strbuf *b, const char *s)
{
	for (; *s; s++) {
		if (isalnum((unsigned char)*s) || strchr("-._~", *s))
			strbuf_addc(b, *s);
		else
			strbuf_addf(b, "%%%02X", (unsigned char)*s);
	}
}

static int add_filters(struct cli *c, struct strbuf *url, struct err *e)
{
	char sep = '?';

	for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
		const struct filter *f = &filters[i];
		json_t *row CLEANUP(json_freep) = NULL;
		const char *v = cli_option(c, f->option);
		int rc = v && f->path ? client_find(c->client, "network", f->path, f->plural,
						    f->singular, v, &row, e) :
					0;

		if (rc < 0)
			return rc;
		if (!v)
			continue;
		strbuf_addf(url, "%c%s=", sep, f->parameter);
		add_escaped(url, row ? json_str(row, "id") : *v ? v : "true");
		sep = '&';
	}
	return 0;
}

int flows_nodes(struct cli *c, const char *what, json_t **ret, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *one CLEANUP(json_freep) = NULL;
	int rc = client_find(c->client, "demarc", "/v1/nodes", "nodes", "node", what, &one, e);

	if (rc == 0) {
		*ret = json_pack("[O]", one);
		return 0;
	}
	if (e->fault != FAULT_NOT_FOUND)
		return rc;
	rc = client_find(c->client, "demarc", "/v1/sites", "sites", "site", what, &one, e);
	if (rc < 0)
		return e->fault == FAULT_NOT_FOUND ? err_set(e, FAULT_NOT_FOUND, NULL,
							     "no node and no site is named %s", what) :
						     rc;
	strbuf_addf(&url, "/v1/nodes?site_id=%s", json_str(one, "id"));
	return cli_get(c, strbuf_cstr(&url), "nodes", ret, e);
}

const char *flows_endpoint(const json_t *o, const char *addr, const char *port, char *buf, size_t size)
{
	const char *ip = json_str(o, addr);
	json_int_t num = json_int(o, port, 0);

	if (!ip || !num)
		return ip ? ip : "-";
	(void)snprintf(buf, size, strchr(ip, ':') ? "[%s]:%lld" : "%s:%lld", ip, (long long)num);
	return buf;
}

const char *flows_protocol(const json_t *o, char buf[static 8])
{
	const char *name = json_str(o, "protocol_name");

	(void)snprintf(buf, 8, "%lld", (long long)json_int(o, "protocol", 0));
	return name ? name : buf;
}

const char *flows_tcp_flags(json_int_t flags, char buf[static 8])
{
	static const char letters[] = "FSRPAU";
	size_t n = 0;

	for (size_t i = 0; i < sizeof(letters) - 1; i++)
		if (flags >> i & 1)
			buf[n++] = letters[i];
	buf[n] = '\0';
	return buf;
}

/* ---- flows ---- */

/* Adds one node's answer to the whole: rows, and sums of the totals. */
static int add_node(struct cli *c, const json_t *node, const char *what, json_t *all, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *answer CLEANUP(json_freep) = NULL;
	const char *key;
	json_t *v, *row;
	size_t i;
	int rc;

	strbuf_addf(&url, "/v1/nodes/%s/%s", json_str(node, "id"), what);
	rc = add_filters(c, &url, e);
	if (rc == 0)
		rc = client_call(c->client, "GET", "demarc", strbuf_cstr(&url), NULL, &answer, e);
	if (rc < 0)
		return rc;
	json_object_foreach(answer, key, v) {
		json_t *mine = json_object_get(all, key);

		if (json_is_array(v))
			json_array_foreach(v, i, row)
				json_object_set(row, "node", json_object_get(node, "name"));
		if (json_is_array(v) && mine)
			json_array_extend(mine, v);
		else if (!mine)
			json_object_set(all, key, v);
	}
	if (json_object_get(all, "totals") == json_object_get(answer, "totals"))
		return 0;
	json_object_foreach(json_object_get(answer, "totals"), key, v)
		json_object_set_new(json_object_get(all, "totals"), key,
				    json_integer(json_integer_value(v) +
						 json_int(json_object_get(all, "totals"), key, 0)));
	return 0;
}

static int gather(struct cli *c, const char *what, json_t **ret, struct err *e)
{
	json_t *nodes CLEANUP(json_freep) = NULL;
	json_t *node;
	size_t i;
	int rc = flows_nodes(c, c->positionals[0], &nodes, e);

	*ret = json_object();
	json_array_foreach(nodes, i, node) {
		if (rc == 0)
			rc = add_node(c, node, what, *ret, e);
	}
	if (rc == 0 && !json_array_size(nodes))
		rc = err_set(e, FAULT_NOT_FOUND, NULL, "site %s has no nodes", c->positionals[0]);
	return rc;
}

#define SIDE_SIZE 160 /* two endpoints and what is between them */

/* "10.0.0.1:5000 => 192.0.2.1:40000" of a translated end. */
static const char *side(const json_t *f, const char *addr, const char *port, const char *nat,
			char buf[static SIDE_SIZE])
{
	const char *now = json_str(f, nat);
	char was[64];

	(void)snprintf(buf, SIDE_SIZE, now ? "%s => %s" : "%s",
		       flows_endpoint(f, addr, port, was, sizeof(was)), now);
	return buf;
}

static json_t *flow_row(const json_t *f)
{
	char src[SIDE_SIZE], dst[SIDE_SIZE], proto[8], rtt[24] = "-", idle[24];
	const char *reason = json_str(f, "reason");
	json_int_t rtt_us = json_int(f, "rtt_us", 0);

	if (rtt_us)
		(void)snprintf(rtt, sizeof(rtt), "%.2f", (double)rtt_us / 1000);
	(void)snprintf(idle, sizeof(idle), "%.1f", (double)json_int(f, "idle_ms", 0) / 1000);
	return json_pack("{s:s, s:s, s:s, s:s, s:O*, s:O*, s:O*, s:O*, s:s, s:O*, s:s}", "proto",
			 flows_protocol(f, proto), "source",
			 side(f, "source", "source_port", "nat_source", src), "destination",
			 side(f, "destination", "destination_port", "nat_destination", dst),
			 "state", reason ? reason : json_str(f, "state"), "in",
			 json_object_get(f, "in"), "out", json_object_get(f, "out"), "packets",
			 json_object_get(f, "packets"), "bytes", json_object_get(f, "bytes"), "rtt",
			 rtt, "retransmits", json_object_get(f, "retransmits"), "idle", idle);
}

static int flows(struct cli *c, struct err *e)
{
	static const struct column columns[] = {
		{ "PROTO", "proto" },	   { "SOURCE", "source" }, { "DESTINATION", "destination" },
		{ "STATE", "state" },	   { "IN", "in" },	   { "OUT", "out" },
		{ "PACKETS", "packets" },  { "BYTES", "bytes" },   { "RTT MS", "rtt" },
		{ "RETR", "retransmits" }, { "IDLE S", "idle" },   { NULL, NULL },
	};
	json_t *all CLEANUP(json_freep) = NULL;
	json_t *rows CLEANUP(json_freep) = json_array();
	json_t *f, *totals;
	size_t i;
	int rc = gather(c, "flows", &all, e);

	if (rc < 0)
		return rc;
	if (c->json) {
		print_json(all);
		return 0;
	}
	json_array_foreach(json_object_get(all, "flows"), i, f)
		json_array_append_new(rows, flow_row(f));
	totals = json_object_get(all, "totals");
	if (json_array_size(rows))
		print_table(rows, columns);
	printf("%zu of %lld flows that match: %lld packets, %lld bytes%s\n", json_array_size(rows),
	       (long long)json_int(totals, "matched", 0), (long long)json_int(totals, "packets", 0),
	       (long long)json_int(totals, "bytes", 0),
	       json_bool(all, "cut", false) ? "; more are as large as the last ones" : "");
	return 0;
}

/* ---- volumes ---- */

static void print_volumes(const char *title, const json_t *rows)
{
	struct column columns[] = {
		{ title, "name" },    { "FLOWS", "flows" }, { "PACKETS", "packets" },
		{ "BYTES", "bytes" }, { "NODE", "node" },   { NULL, NULL },
	};

	if (json_array_size(rows))
		print_table(rows, columns);
	else
		printf("no flows\n");
}

static int top(struct cli *c, struct err *e)
{
	json_t *all CLEANUP(json_freep) = NULL;
	json_t *talkers;
	long long limit = 10;
	int rc = cli_number(c, "limit", 10, 100, &limit, e);

	if (rc == 0)
		rc = gather(c, "volumes", &all, e);
	if (rc < 0)
		return rc;
	if (c->json) {
		print_json(all);
		return 0;
	}
	print_volumes("APPLICATION", json_object_get(all, "applications"));
	printf("\n");
	talkers = json_object_get(all, "talkers");
	while ((long long)json_array_size(talkers) > limit)
		json_array_remove(talkers, json_array_size(talkers) - 1);
	print_volumes("FROM ADDRESS", talkers);
	return 0;
}

#define FILTER_OPTIONS                                                                             \
	{ "address", "IP[/LEN]", "from or to this address or prefix" },                            \
		{ "src", "IP[/LEN]", "from it" }, { "dst", "IP[/LEN]", "to it" },                  \
		{ "port", "PORT", "TCP or UDP port, on either side" },                             \
		{ "proto", "NAME", "tcp, udp, icmp or a number" },                                 \
		{ "family", "4|6", "IPv4 or IPv6 only" },                                          \
		{ "state", "STATE", "as in ESTABLISHED, SYN_SENT, UDP_REPLIED" },                  \
		{ "chain", "CHAIN", "steered through this chain" },                                \
		{ "interface", "PORT", "in or out by this port (name or id)" },                    \
	{                                                                                          \
		"all-segments", NULL, "flows between the functions of chains, too"                 \
	}

static const struct cli_option flows_options[] = {
	FILTER_OPTIONS,
	{ "dropped", NULL, "only flows that policy drops" },
	{ "sort", "BY", "bytes, packets, rtt, retransmits or newest (bytes)" },
	{ "limit", "N", "how many of each node, 1000 at most (50)" },
	{ NULL, NULL, NULL },
};
static const struct cli_option top_options[] = {
	FILTER_OPTIONS,
	{ "limit", "N", "how many addresses (10)" },
	{ NULL, NULL, NULL },
};

const struct command flow_commands[] = {
	{ "flows", "NODE|SITE",
	  "List live flows: state, counters, estimated round-trip time, retransmissions", flows,
	  flows_options, false },
	{ "top", "NODE|SITE", "Show what live flows carry, by application and by source address",
	  top, top_options, false },
	{ "watch", "NODE|SITE", "Show packets as they are dropped, and why, until interrupted",
	  watch_run, watch_options, false },
	{ "capture", "PORT", "Write frames from and to a port to a file, or to Wireshark",
	  capture_run, capture_options, false },
	{ NULL, NULL, NULL, NULL, NULL, false },
};
