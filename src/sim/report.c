/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"
#include "sim/scenario.h"

/* What came of it: a text, a JSON file, a page with plots that needs nothing else. */

struct row {
	const char *key, *text, *unit;
	double value;
	bool shown;
};
#define ROWS_MAX 64

/* Long because it is a table: a row for each figure. */
static size_t rows_of(const struct sim *s, const struct outcome *o, struct row *r)
{
	double ratio = o->bare_s > 0 ? o->steady_s / o->bare_s : 0;
	bool event = o->steady_s != 0;
	const struct row rows[] = {
		{ "nodes", "nodes", "", s->o.n_nodes, true },
		{ "steady_s", "all steady again after", "s", o->steady_s, event },
		{ "steady_p50_s", "half of the nodes after", "s", o->p50_s, event },
		{ "steady_p99_s", "99 in 100 after", "s", o->p99_s, event },
		{ "returns", "connections that were made again", "", o->n_returns, o->n_returns > 0 },
		{ "resumed", "of these by a ticket, the others by a full handshake", "",
		  o->n_resumed, o->n_returns > 0 },
		{ "bare_handshakes_s", "as many bare mutual TLS handshakes take", "s", o->bare_s,
		  o->bare_s > 0 },
		{ "bare_ratio", "ratio to that", "x", ratio, o->bare_s > 0 },
		{ "hub_cpu_s", "CPU of the hub", "s", o->hub_cpu_s, true },
		{ "bare_server_cpu_s", "CPU of the bare server", "s", o->bare_cpu_s, o->bare_s > 0 },
		{ "sim_cpu_s", "CPU of the simulator", "s", o->sim_cpu_s, true },
		{ "hub_kb_per_node", "memory of the hub per node", "KB", o->hub_rss_kb_node, true },
		{ "show_p50_ms", "API: show a server, half within", "ms", o->show_p50_ms, o->n_show > 0 },
		{ "show_p99_ms", "API: show a server, 99 in 100 within", "ms", o->show_p99_ms,
		  o->n_show > 0 },
		{ "show_max_ms", "API: show a server, all within", "ms", o->show_max_ms, o->n_show > 0 },
		{ "fresh_p50_ms", "API on a new TLS connection: half within", "ms", o->fresh_p50_ms,
		  o->n_fresh > 0 },
		{ "fresh_p99_ms", "API on a new TLS connection: 99 in 100 within", "ms",
		  o->fresh_p99_ms, o->n_fresh > 0 },
		{ "fresh_max_ms", "API on a new TLS connection: all within", "ms", o->fresh_max_ms,
		  o->n_fresh > 0 },
		{ "show_failed", "API: requests that failed", "", o->n_show_failed, true },
		{ "changes", "changes acknowledged", "", o->n_changes, true },
		{ "changes_failed", "changes refused or unanswered", "", o->n_changes_failed, true },
		{ "change_p50_ms", "a change is acknowledged, half within", "ms", o->change_p50_ms,
		  o->n_changes > 0 },
		{ "confirm_p50_ms", "its node holds it after the request, half within", "ms",
		  o->confirm_p50_ms, o->confirm_max_ms > 0 },
		{ "confirm_p99_ms", "its node holds it, 99 in 100 within", "ms", o->confirm_p99_ms,
		  o->confirm_max_ms > 0 },
		{ "confirm_max_ms", "its node holds it, all within", "ms", o->confirm_max_ms,
		  o->confirm_max_ms > 0 },
		{ "all_change_s", "a change of all nodes: the last one holds it after", "s",
		  o->all_s, o->all_s != 0 },
		{ "all_change_p50_s", "a change of all nodes: half of them hold it after", "s",
		  o->all_p50_s, o->all_s > 0 },
		{ "confirm_before_p50_ms", "the same while no node was slow: half within", "ms",
		  o->before_p50_ms, o->before_p50_ms > 0 },
		{ "confirm_before_p99_ms", "the same while no node was slow: 99 in 100 within",
		  "ms", o->before_p99_ms, o->before_p50_ms > 0 },
		{ "refused_no_space", "changes refused because the disk is full", "", o->n_no_space,
		  o->space_back_s != 0 },
		{ "refused_after_start", "of these by the hub that was started so", "",
		  o->full_after_start, o->space_back_s != 0 },
		{ "space_back_s", "a change works, once there is space, after", "s",
		  o->space_back_s, o->space_back_s != 0 },
		{ "reports_waiting", "nodes whose report waits for space, while there is none", "",
		  o->n_waiting, o->space_back_s != 0 },
		{ "reports_unstored", "nodes whose report is not stored at the end", "",
		  o->n_unstored, o->space_back_s != 0 },
		{ "nodes_behind", "nodes that are behind meanwhile, at most", "", o->n_behind,
		  o->caught_up_s != 0 },
		{ "caught_up_s", "all hold everything, once none is slow, after", "s",
		  o->caught_up_s, o->caught_up_s != 0 },
		{ "hub_growth_mb", "growth of the hub meanwhile, at most", "MB", o->hub_growth_mb,
		  o->before_p50_ms > 0 },
		{ "nodes_unlike", "nodes that are slow or of other releases", "", o->n_unlike,
		  o->n_unlike > 0 },
		{ "resyncs", "nodes that were sent their whole intent again", "", o->n_resyncs,
		  o->n_unlike > 0 },
		{ "healed_s", "all functions are well, all chains whole again, after", "s",
		  o->healed_s, o->healed_s != 0 },
		{ "renewed_s", "all nodes are back with a new certificate after", "s", o->renewed_s,
		  o->renewed_s != 0 },
		{ "renewed", "new certificates in use", "", o->n_renewed, o->n_renewed > 0 },
		{ "starts", "containers started", "", o->n_starts, o->n_starts > 0 },
		{ "deaths", "containers that ended by themselves", "", o->n_deaths, o->n_deaths > 0 },
		{ "steps_failed", "steps with containers that failed", "", o->n_steps_failed,
		  o->n_starts + o->n_steps_failed > 0 },
		{ "not_whole", "nodes with a function or chain that is not well at the end", "",
		  o->n_not_whole, true },
		{ "confirm_late", "not held within 5 s by a node that is there", "", o->n_late,
		  o->confirm_max_ms > 0 },
		{ "lost", "acknowledged changes that the node does not hold", "", o->n_lost, true },
		{ "not_steady", "nodes that are not steady at the end", "", o->n_not_steady, true },
		{ "refused", "intents that nodes refused", "", o->n_refused, true },
	};

	memcpy(r, rows, sizeof(rows));
	return ARRAY_LEN(rows);
}

void outcome_print(const struct sim *s, const struct outcome *o)
{
	struct row rows[ROWS_MAX];
	size_t n = rows_of(s, o, rows);

	printf("%s%s\n", s->o.scenario,
	       o->interrupted ? " (interrupted: what there was until then)" : "");
	for (size_t i = 0; i < n; i++)
		if (rows[i].shown)
			printf("  %-52s %10.*f %s\n", rows[i].text, *rows[i].unit ? 2 : 0,
			       rows[i].value, rows[i].unit);
}

static json_t *points_of(const struct outcome *o)
{
	json_t *list = json_array();

	for (size_t i = 0; i < o->n_points; i++) {
		const struct point *p = &o->points[i];

		json_array_append_new(list,
				      json_pack("{s:f, s:i, s:f, s:f, s:f}", "t_s", p->t_s,
						"steady", (int)p->steady, "hub_cpu_s", p->hub_cpu_s,
						"sim_cpu_s", p->sim_cpu_s, "hub_mb", p->rss_mb));
	}
	return list;
}

static int write_text(const char *path, struct strbuf *b, struct err *e)
{
	if (b->error)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for the report");
	return file_write_atomic(path, 0644, (struct str){ strbuf_cstr(b), b->len }, e);
}

int outcome_json(const struct sim *s, const struct outcome *o, const char *path, struct err *e)
{
	CLEANUP(json_freep)
	json_t *j = json_pack("{s:s, s:b, s:o}", "scenario", s->o.scenario, "interrupted",
			      o->interrupted, "points", points_of(o));
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	CLEANUP(free_charp) char *text = NULL;
	struct row rows[ROWS_MAX];
	size_t n = rows_of(s, o, rows);

	for (size_t i = 0; j && i < n; i++)
		json_object_set_new(j, rows[i].key,
				    rows[i].shown ? json_real(rows[i].value) : json_null());
	text = j ? json_text(j) : NULL;
	strbuf_adds(&b, text ? text : "");
	strbuf_adds(&b, "\n");
	if (strcmp(path, "-") == 0) {
		fputs(strbuf_cstr(&b), stdout);
		return 0;
	}
	return write_text(path, &b, e);
}

/* ---- the page ---- */

static double value_of(const struct outcome *o, size_t i, int which)
{
	const struct point *p = &o->points[i], *q = i ? &o->points[i - 1] : p;
	double dt = p->t_s - q->t_s;

	switch (which) {
	case 0:
		return p->steady;
	case 1:
		return dt > 0 && p->hub_cpu_s >= q->hub_cpu_s ? (p->hub_cpu_s - q->hub_cpu_s) / dt : 0;
	case 2:
		return dt > 0 ? (p->sim_cpu_s - q->sim_cpu_s) / dt : 0;
	default:
		return p->rss_mb;
	}
}

static void plot(struct strbuf *b, const struct outcome *o, const char *title, int which)
{
	double top = 1e-9, end = o->n_points ? MAX_OF(o->points[o->n_points - 1].t_s, 1.0) : 1;

	for (size_t i = 0; i < o->n_points; i++)
		top = MAX_OF(top, value_of(o, i, which));
	strbuf_addf(b,
		    "<figure><figcaption>%s (up to %.1f, %.0f s)</figcaption><svg viewBox='0 0 640 180' "
		    "role='img' aria-label='%s'><path d='M40 10V160H630' class='axis'/><polyline points='",
		    title, top, end, title);
	for (size_t i = 0; i < o->n_points; i++)
		strbuf_addf(b, "%.1f,%.1f ", 40 + 590 * o->points[i].t_s / end,
			    160 - 145 * value_of(o, i, which) / top);
	strbuf_adds(b, "'/></svg></figure>\n");
}

int outcome_html(const struct sim *s, const struct outcome *o, const char *path, struct err *e)
{
	static const char *const titles[] = { "nodes steady", "CPU of the hub, processors",
					      "CPU of the simulator, processors",
					      "memory of the hub, MB" };
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	struct row rows[ROWS_MAX];
	size_t n = rows_of(s, o, rows);

	strbuf_addf(&b,
		    "<!doctype html><html lang='en'><meta charset='utf-8'><title>demarc-sim %s</title><style>"
		    "body{font:16px/1.5 sans-serif;max-width:50em;margin:2em auto;padding:0 1em}"
		    "td{padding:.1em 1em .1em 0}td+td{text-align:right;font-variant-numeric:tabular-nums}"
		    "svg{width:100%%}.axis{fill:none;stroke:#888}polyline{fill:none;stroke:#06c;stroke-width:2}"
		    "figure{margin:1em 0}</style><h1>demarc-sim %s</h1><table>",
		    s->o.scenario, s->o.scenario);
	for (size_t i = 0; i < n; i++)
		if (rows[i].shown)
			strbuf_addf(&b, "<tr><td>%s</td><td>%.*f %s</td></tr>\n", rows[i].text,
				    *rows[i].unit ? 2 : 0, rows[i].value, rows[i].unit);
	strbuf_adds(&b, "</table>\n");
	for (size_t i = 0; i < ARRAY_LEN(titles); i++)
		plot(&b, o, titles[i], (int)i);
	strbuf_adds(&b, "</html>\n");
	return write_text(path, &b, e);
}
