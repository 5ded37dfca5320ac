/* SPDX-License-Identifier: Apache-2.0 */
/* What would happen to this packet? */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/cli.h"

/* Row: option, attribute of the request, largest number (0: text). */
static const struct packet_option {
	const char *option, *attribute;
	long long max;
} packet_options[] = {
	{ "src", "src_ip", 0 },
	{ "dst", "dst_ip", 0 },
	{ "proto", "protocol", 0 },
	{ "sport", "src_port", 65535 },
	{ "dport", "dst_port", 65535 },
	{ "src-mac", "src_mac", 0 },
	{ "dst-mac", "dst_mac", 0 },
	{ "vlan", "vlan", 4094 },
	{ "flags", "tcp_flags", 0 },
	{ "dscp", "dscp", 63 },
	{ "icmp-type", "icmp_type", 255 },
	{ "icmp-code", "icmp_code", 255 },
	{ "ipv6-ext", "ipv6_extensions", 0 },
};

static int describe(struct cli *c, const char *port_id, json_t **ret, struct err *e)
{
	json_t *packet CLEANUP(json_freep) = json_object();

	for (size_t i = 0; i < ARRAY_LEN(packet_options); i++) {
		const struct packet_option *o = &packet_options[i];
		const char *text = cli_option(c, o->option);
		long long num = 0;
		int rc;

		if (!text)
			continue;
		if (!o->max) {
			json_object_set_new(packet, o->attribute, json_string(text));
			continue;
		}
		rc = cli_number(c, o->option, 0, o->max, &num, e);
		if (rc < 0)
			return rc;
		json_object_set_new(packet, o->attribute, json_integer(num));
	}
	json_object_set_new(packet, "port", json_string(port_id));
	json_object_set_new(packet, "follow", json_boolean(!cli_option(c, "no-follow")));
	*ret = json_pack("{s:O}", "trace", packet);
	return 0;
}

static void print_steps(const json_t *steps)
{
	const char *at = "";
	size_t i;
	json_t *s;

	json_array_foreach(steps, i, s) {
		const char *here = json_str(s, "at") ? json_str(s, "at") : "";

		if (strcmp(here, at) != 0)
			printf("%s%s\n", i ? "\n" : "", here);
		at = here;
		printf("  %-16s %s\n", json_str(s, "stage"), json_str(s, "text"));
	}
}

static void print_answer(const json_t *answer)
{
	print_steps(json_object_get(answer, "steps"));
	if (json_bool(answer, "truncated", false))
		puts("  ... the answer ends here: the rest did not fit");
}

static int trace(struct cli *c, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *port CLEANUP(json_freep) = NULL;
	json_t *body CLEANUP(json_freep) = NULL;
	json_t *answer CLEANUP(json_freep) = NULL;
	const char *node;
	int rc = client_find(c->client, "network", "/v2.0/ports", "ports", "port",
			     c->positionals[0], &port, e);

	if (rc < 0)
		return rc;
	node = json_str(port, "binding:host_id");
	if (!node || !*node)
		return err_set(e, FAULT_BAD_REQUEST, "PORT", "port %s is bound to no node",
			       c->positionals[0]);
	rc = describe(c, json_str(port, "id"), &body, e);
	if (rc < 0)
		return rc;
	strbuf_addf(&url, "/v1/nodes/%s/trace", node);
	rc = client_call(c->client, "POST", "demarc", strbuf_cstr(&url), body, &answer, e);
	if (rc < 0)
		return rc;
	if (c->json)
		print_json(answer);
	else
		print_answer(answer);
	return 0;
}

static const struct cli_option trace_options[] = {
	{ "src", "IP", "source address" },
	{ "dst", "IP", "destination address" },
	{ "proto", "NAME", "tcp, udp, icmp or a number (tcp)" },
	{ "sport", "PORT", "source port" },
	{ "dport", "PORT", "destination port" },
	{ "src-mac", "MAC", "source MAC (the port's own)" },
	{ "dst-mac", "MAC",
	  "destination MAC (that of the port with the destination address, or of the gateway)" },
	{ "vlan", "ID", "VLAN tag" },
	{ "flags", "FLAGS", "TCP flags, as in \"syn\" or \"syn,ack\" (syn)" },
	{ "dscp", "NUMBER", "0 to 63, as it stands in the IP header (0)" },
	{ "icmp-type", "NUMBER", "of ICMP (echo request)" },
	{ "icmp-code", "NUMBER", "of ICMP (0)" },
	{ "ipv6-ext", "LIST",
	  "extension headers in order: hopopt, ipv6-opts, ipv6-route, ipv6-frag, with commas between" },
	{ "no-follow", NULL,
	  "stop at the first function instead of assuming that each forwards the packet as it is" },
	{ NULL, NULL, NULL },
};

const struct command trace_commands[] = {
	{ "trace", "PORT",
	  "Run a described packet, sent by PORT, through the node's loaded programs, stage by stage",
	  trace, trace_options, false },
	{ NULL, NULL, NULL, NULL, NULL, false },
};
