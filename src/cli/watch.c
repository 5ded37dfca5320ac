/* SPDX-License-Identifier: Apache-2.0 */
/* Packets as they are dropped. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/flows.h"

#define POLL_MS 500
#define NODES_MAX 64

struct poll {
	const char *node_id;
	json_int_t after;
	json_int_t lost; /* as the node said last */
	long long every;
};

static int poll_once(struct cli *c, struct poll *p, json_t **ret, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	int rc;

	strbuf_addf(&url, "/v1/nodes/%s/watch?after=%lld&every=%lld", p->node_id,
		    (long long)p->after, p->every);
	rc = client_call(c->client, "GET", "demarc", strbuf_cstr(&url), NULL, ret, e);
	if (rc < 0)
		return rc;
	p->after = json_int(*ret, "last", p->after);
	p->lost = json_int(*ret, "lost", 0);
	return 0;
}

int bounds_take(struct cli *c, long long dflt_count, struct bounds *ret, struct err *e)
{
	int rc = cli_number(c, "count", dflt_count, 1000000, &ret->count, e);

	if (rc == 0)
		rc = cli_number(c, "seconds", 0, 86400, &ret->seconds, e);
	if (rc == 0)
		rc = cli_number(c, "every", 1, 1000000, &ret->every, e);
	ret->end_ns = clock_mono_ns() + ret->seconds * NS_PER_S;
	ret->n = 0;
	return rc;
}

bool bounds_are_over(const struct bounds *b)
{
	return cli_interrupted() || (b->count && b->n >= b->count) ||
	       (b->seconds && clock_mono_ns() >= b->end_ns);
}

/* ---- drops ---- */

static void print_drop(const json_t *p)
{
	char src[64], dst[64], proto[8], flags[8];
	const char *time = json_str(p, "time"), *port = json_str(p, "port");
	json_int_t rule = json_int(p, "rule", 0);

	printf("%.26s %-14s %s", time ? time : "", json_str(p, "reason"), port ? port : "-");
	if (json_str(p, "source"))
		printf(" %s %s > %s", flows_protocol(p, proto),
		       flows_endpoint(p, "source", "source_port", src, sizeof(src)),
		       flows_endpoint(p, "destination", "destination_port", dst, sizeof(dst)));
	else
		printf(" ethertype 0x%04llx", (long long)json_int(p, "ethertype", 0));
	if (json_int(p, "tcp_flags", 0))
		printf(" %s", flows_tcp_flags(json_int(p, "tcp_flags", 0), flags));
	if (json_object_get(p, "icmp_type"))
		printf(" type %lld code %lld", (long long)json_int(p, "icmp_type", 0),
		       (long long)json_int(p, "icmp_code", 0));
	printf(" %lld bytes", (long long)json_int(p, "size", 0));
	if (json_int(p, "vlan", 0))
		printf(" VLAN %lld", (long long)json_int(p, "vlan", 0));
	if (json_str(p, "rule_id"))
		printf(" rule %s", json_str(p, "rule_id"));
	else if (rule)
		printf(" rule %lld", (long long)rule);
	printf(": %s\n", json_str(p, "text") ? json_str(p, "text") : "");
}

static void print_drops(struct cli *c, const json_t *packets, struct bounds *b)
{
	json_t *p;
	size_t i;

	json_array_foreach(packets, i, p) {
		if (b->count && b->n == b->count)
			return;
		b->n++;
		if (c->json) {
			json_dumpf(p, stdout, JSON_COMPACT);
			putchar('\n');
		} else {
			print_drop(p);
		}
	}
	(void)fflush(stdout);
}

static int watch_nodes(struct cli *c, struct poll *polls, size_t n, struct bounds *b, struct err *e)
{
	while (!bounds_are_over(b)) {
		for (size_t i = 0; i < n && !bounds_are_over(b); i++) {
			json_t *answer CLEANUP(json_freep) = NULL;
			json_int_t lost = polls[i].lost;
			int rc = poll_once(c, &polls[i], &answer, e);

			if (rc < 0)
				return cli_interrupted() ? 0 : rc;
			print_drops(c, json_object_get(answer, "packets"), b);
			if (polls[i].lost > lost)
				fprintf(stderr,
					"demarc: %lld more were dropped than could be told; try --every\n",
					(long long)(polls[i].lost - lost));
		}
		if (!bounds_are_over(b))
			cli_pause_ms(POLL_MS);
	}
	return 0;
}

int watch_run(struct cli *c, struct err *e)
{
	json_t *nodes CLEANUP(json_freep) = NULL;
	struct poll polls[NODES_MAX] = { 0 };
	struct bounds b;
	json_t *node;
	size_t i, n = 0;
	int rc = bounds_take(c, 0, &b, e);

	if (rc == 0 && !cli_option(c, "drops"))
		return err_set(e, FAULT_BAD_REQUEST, NULL, "say what to watch: --drops");
	if (rc == 0)
		rc = flows_nodes(c, c->positionals[0], &nodes, e);
	if (rc < 0)
		return rc;
	json_array_foreach(nodes, i, node) {
		if (n < NODES_MAX)
			polls[n++] = (struct poll){ .node_id = json_str(node, "id"), .every = b.every };
	}
	return watch_nodes(c, polls, n, &b, e);
}

const struct cli_option watch_options[] = {
	{ "drops", NULL, "packets that the datapath drops" },
	{ "every", "N", "one in N, when there are many (1)" },
	{ "count", "N", "stop after so many" },
	{ "seconds", "S", "stop after so long" },
	{ NULL, NULL, NULL },
};
