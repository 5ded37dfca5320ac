/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "hub/session.h"
#include "hub/site/site.h"

/*
 * Counters for Prometheus (text format 0.0.4), from what the nodes reported last: nobody is asked. Source:
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */

#define CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Row: counter of the node's status, type, help. What a newer node reports beyond these is left out. */
static const struct metric {
	const char *name, *type, *help;
} metrics_table[] = {
	{ "port_rx_packets", "counter", "Packets that came from ports." },
	{ "port_rx_bytes", "counter", "Bytes that came from ports." },
	{ "port_tx_packets", "counter", "Packets sent to ports." },
	{ "port_tx_bytes", "counter", "Bytes sent to ports." },
	{ "flows_made", "counter", "Connections opened." },
	{ "flows_shed", "counter", "Connections displaced by newer ones." },
	{ "flows_full", "counter", "Connections without a record: the table was full." },
	{ "flows_early", "counter",
	  "Idle flow records that went before their time: the table was nearly full." },
	{ "flow_records", "gauge", "Flow records." },
	{ "flow_records_max", "gauge", "Flow records that fit." },
	{ "ipfix_messages", "counter", "IPFIX messages sent." },
	{ "ipfix_records", "counter", "IPFIX data records sent." },
	{ "ipfix_bytes", "counter", "Bytes of IPFIX messages sent." },
	{ "ipfix_unsent_records", "counter", "IPFIX data records that could not be sent." },
	{ "ipfix_held_flows", "counter", "Long-lived flows that are reported at their end only." },
	{ "flow_events_lost", "counter", "Flows that ended unreported." },
	{ "packet_events_lost", "counter", "Watched packets that were not told." },
};

/* Label values: \ " and newline are escaped. */
static void add_label(struct strbuf *b, const char *name, const char *value)
{
	strbuf_addf(b, "%s=\"", name);
	for (const char *p = value; *p; p++) {
		if (*p == '\n') {
			strbuf_adds(b, "\\n");
			continue;
		}
		if (*p == '\\' || *p == '"')
			strbuf_addc(b, '\\');
		strbuf_addc(b, *p);
	}
	strbuf_addc(b, '"');
}

struct node_row {
	const char *name, *site;
	bool up;
	json_t *status; /* owned; NULL: none yet */
};

static void add_sample(struct strbuf *b, const struct node_row *n, const char *metric,
		       const char *label, const char *label_value, json_int_t value)
{
	strbuf_addf(b, "demarc_%s{", metric);
	add_label(b, "site", n->site);
	strbuf_addc(b, ',');
	add_label(b, "node", n->name);
	if (label) {
		strbuf_addc(b, ',');
		add_label(b, label, label_value);
	}
	strbuf_addf(b, "} %lld\n", (long long)value);
}

static void add_head(struct strbuf *b, const char *name, const char *type, const char *help)
{
	strbuf_addf(b, "# HELP demarc_%s %s\n# TYPE demarc_%s %s\n", name, help, name, type);
}

static void add_counters(struct strbuf *b, const struct node_row *nodes, size_t n)
{
	for (size_t m = 0; m < ARRAY_LEN(metrics_table); m++) {
		const struct metric *t = &metrics_table[m];
		char name[64];

		(void)snprintf(name, sizeof(name), "%s%s", t->name, *t->type == 'c' ? "_total" : "");
		add_head(b, name, t->type, t->help);
		for (size_t i = 0; i < n; i++) {
			const json_t *v =
				json_object_get(json_object_get(nodes[i].status, "counters"), t->name);

			if (json_is_integer(v))
				add_sample(b, &nodes[i], name, NULL, NULL, json_integer_value(v));
		}
	}
}

static void add_drops(struct strbuf *b, const struct node_row *nodes, size_t n)
{
	add_head(b, "drops_total", "counter", "Packets dropped, by reason.");
	for (size_t i = 0; i < n; i++) {
		const char *reason;
		json_t *v;

		json_object_foreach(json_object_get(nodes[i].status, "drops"), reason, v)
			if (strcmp(reason, "none") != 0)
				add_sample(b, &nodes[i], "drops_total", "reason", reason,
					   json_integer_value(v));
	}
}

static void add_nodes(struct strbuf *b, const struct node_row *nodes, size_t n)
{
	static const char *const gauges[][2] = {
		{ "running_functions", "Functions that run." },
		{ "memory_used_mb", "Memory in use, MiB." },
		{ "uptime_s", "Seconds since the agent started." },
	};

	add_head(b, "node_up", "gauge", "1: the node is connected.");
	for (size_t i = 0; i < n; i++)
		add_sample(b, &nodes[i], "node_up", NULL, NULL, nodes[i].up);
	for (size_t g = 0; g < ARRAY_LEN(gauges); g++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "node_%s", gauges[g][0]);
		add_head(b, name, "gauge", gauges[g][1]);
		for (size_t i = 0; i < n; i++)
			if (nodes[i].status)
				add_sample(b, &nodes[i], name, NULL, NULL,
					   json_int(nodes[i].status, gauges[g][0], 0));
	}
}

static void free_status(void *json)
{
	json_decref(json);
}

/* Rows live in the request's arena. Returns how many, or < 0. */
static int load(struct req *r, struct node_row **ret, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int64_t count = 0;
	size_t n = 0;
	int rc = db_get_int(r->db, &count, e, "SELECT count(*) FROM node", "");

	if (rc >= 0)
		rc = db_query(r->db, &q, e,
			      "SELECT n.id, n.name, s.name, n.status FROM node n JOIN site s ON s.id = n.site_id "
			      "ORDER BY s.name, n.name",
			      "");
	if (rc < 0)
		return rc;
	*ret = arena_alloc(r->arena, (size_t)(count + 1) * sizeof(**ret));
	if (!*ret)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	while (n < (size_t)count && (rc = db_step(q, e)) == 1) {
		struct node_row *row = &(*ret)[n++];

		row->up = session_is_up(r->hub, db_text(q, 0));
		row->name = arena_strdup(r->arena, db_text(q, 1));
		row->site = arena_strdup(r->arena, db_text(q, 2));
		row->status = db_text(q, 3) ? json_loads(db_text(q, 3), 0, NULL) : NULL;
		if (row->status && arena_hook(r->arena, free_status, row->status) < 0)
			return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	}
	return rc < 0 ? rc : (int)n;
}

int metrics(struct req *r, struct err *e)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	struct node_row *nodes;
	char *text;
	int n = load(r, &nodes, e);

	if (n < 0)
		return n;
	add_nodes(&b, nodes, (size_t)n);
	add_counters(&b, nodes, (size_t)n);
	add_drops(&b, nodes, (size_t)n);
	text = strbuf_take(&b);
	if (!text || arena_hook(r->arena, free, text) < 0) {
		free(text);
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the metrics");
	}
	r->out.body = str_of(text);
	r->out.content_type = CONTENT_TYPE;
	return 0;
}
