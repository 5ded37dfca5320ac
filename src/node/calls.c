/* SPDX-License-Identifier: Apache-2.0 */
#include "node/calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "node/chains.h"
#include "node/fabric.h"
#include "node/flows.h"
#include "node/overlay.h"
#include "node/policy.h"
#include "node/server.h"
#include "node/status.h"

#define CONSOLE_MAX (512u << 10) /* bytes: with its frame it stays well below LINK_FRAME_MAX */
#define TRACE_STEPS_MAX 64	 /* of one segment */
#define TRACE_SEGMENTS_MAX 32
#define TRACE_BYTES_MAX (512u << 10) /* of all steps, encoded: names are long */
#define STEP_HEAD 6		     /* what encodes a step's kind and size */
#define FRAME_MIN 14
#define FRAME_MAX 9216
#define COUNTERS_MAX 128
#define PATHS_MAX 256

static char *text(const char *s)
{
	static char empty[] = "";

	return s ? (char *)(uintptr_t)s : empty;
}

static void reply(struct node *n, uint64_t request, Demarc__V1__CallResult *result)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;

	f.request = request;
	f.body_case = DEMARC__V1__FRAME__BODY_CALL_RESULT;
	f.call_result = result;
	if (n->link)
		(void)!link_client_send(n->link, &f); /* the asker's own time-out covers a lost answer */
}

static void reply_error(struct node *n, uint64_t request, const struct err *e)
{
	Demarc__V1__CallResult r = DEMARC__V1__CALL_RESULT__INIT;

	r.error = text(e->msg);
	r.fault = text(fault_name(e->fault));
	reply(n, request, &r);
}

/* ---- console log ---- */

static void console_log(struct node *n, uint64_t request, const Demarc__V1__ConsoleLogCall *c)
{
	Demarc__V1__CallResult r = DEMARC__V1__CALL_RESULT__INIT;
	Demarc__V1__ConsoleLogResult log = DEMARC__V1__CONSOLE_LOG_RESULT__INIT;
	CLEANUP(free_charp) char *data = NULL;
	size_t size = 0, max = c->max_bytes && c->max_bytes < CONSOLE_MAX ? c->max_bytes : CONSOLE_MAX;
	struct err e = { 0 };

	if (server_console(n, c->server_id, max, &data, &size, &e) < 0) {
		reply_error(n, request, &e);
		return;
	}
	log.data.data = (uint8_t *)data;
	log.data.len = size;
	r.body_case = DEMARC__V1__CALL_RESULT__BODY_CONSOLE_LOG;
	r.console_log = &log;
	reply(n, request, &r);
}

/* ---- trace ---- */

struct trace {
	size_t n, cap, bytes;
	bool truncated;
	Demarc__V1__TraceStep **steps; /* owned */
};

static void trace_done(struct trace *t)
{
	for (size_t i = 0; i < t->n; i++)
		demarc__v1__trace_step__free_unpacked(t->steps[i], NULL);
	free(t->steps);
}

static const char *name_of_server(struct node *n, const Demarc__V1__Port *p)
{
	const Demarc__V1__Server *s = intent_server(n->intent, p->server_id);

	return s ? s->name : "";
}

/* With the rule's id in the API, which its number is made of, and the native function that decides. */
static char *step_text(struct node *n, const struct dp_trace_step *s)
{
	const char *port = s->native.num ? fabric_port_at(n, s->native) : NULL;
	const Demarc__V1__Port *native = port ? intent_port(n->intent, port) : NULL;
	char id[UUID_STR_SIZE];
	struct strbuf b = { 0 };

	strbuf_adds(&b, s->text);
	if (native)
		strbuf_addf(&b, " [server %s %s]", native->server_id, name_of_server(n, native));
	if (overlay_remote_at(n, s->out))
		strbuf_addf(&b, " [tunnel to %s]", overlay_remote_at(n, s->out));
	if (*policy_rule_id(n, s->rule, id))
		strbuf_addf(&b, " [%s]", id);
	return strbuf_take(&b);
}

static Demarc__V1__TraceStep *step_new(struct node *n, const struct dp_trace_step *s, const char *at)
{
	Demarc__V1__TraceStep *step = malloc(sizeof(*step));

	if (!step)
		return NULL;
	demarc__v1__trace_step__init(step);
	step->stage = strdup(s->stage);
	step->text = step_text(n, s);
	step->drop = s->drop;
	step->at_port_id = strdup(at);
	step->out_port_id =
		strdup(s->out.num && fabric_port_at(n, s->out) ? fabric_port_at(n, s->out) : "");
	return step;
}

/* Whole steps from the first on; what does not fit is left out, and so is all that follows it. */
static void trace_add(struct node *n, struct trace *t, const struct dp_trace_step *s, const char *at)
{
	Demarc__V1__TraceStep *step = t->truncated ? NULL : step_new(n, s, at);
	size_t size = step ? demarc__v1__trace_step__get_packed_size(step) + STEP_HEAD : 0;

	if (step && t->n == t->cap && t->bytes + size <= TRACE_BYTES_MAX) {
		size_t cap = t->cap ? 2 * t->cap : 32;
		Demarc__V1__TraceStep **p = realloc(t->steps, cap * sizeof(*p));

		t->steps = p ? p : t->steps;
		t->cap = p ? cap : t->cap;
	}
	if (!step || t->n == t->cap || t->bytes + size > TRACE_BYTES_MAX) {
		t->truncated = true;
		if (step)
			demarc__v1__trace_step__free_unpacked(step, NULL);
		return;
	}
	t->bytes += size;
	t->steps[t->n++] = step;
}

/* One run through the datapath. Returns the port it left by, or NULL. */
static const char *trace_segment(struct node *n, struct trace *t, const char *at, vlan_id vlan,
				 const Demarc__V1__TraceCall *c, struct err *e)
{
	struct dp_trace_step steps[TRACE_STEPS_MAX];
	ifindex in;
	vlan_id own;
	const char *out = NULL;
	int count;

	if (!fabric_port_place(n, at, &in, &own)) {
		(void)!err_set(e, FAULT_NOT_FOUND, "port_id", "port %s is not on this node", at);
		return NULL;
	}
	count = dp_trace(n->dp, in, vlan.id ? vlan : own, c->frame.data, c->frame.len, steps,
			 TRACE_STEPS_MAX, e);
	for (int i = 0; i < count; i++) {
		trace_add(n, t, &steps[i], at);
		if (steps[i].out.num)
			out = fabric_port_at(n, steps[i].out);
	}
	return out;
}

static void trace(struct node *n, uint64_t request, const Demarc__V1__TraceCall *c)
{
	CLEANUP(trace_done) struct trace t = { 0 };
	Demarc__V1__CallResult r = DEMARC__V1__CALL_RESULT__INIT;
	Demarc__V1__TraceResult result = DEMARC__V1__TRACE_RESULT__INIT;
	struct err e = { 0 };
	const char *at = c->port_id;

	if (c->frame.len < FRAME_MIN || c->frame.len > FRAME_MAX || c->vlan > 4094) {
		(void)!err_set(&e, FAULT_BAD_REQUEST, "frame", "not an Ethernet frame");
		at = NULL;
	}
	for (int i = 0; at && !t.truncated && i < TRACE_SEGMENTS_MAX; i++) {
		const char *out = trace_segment(
			n, &t, at, (vlan_id){ i == 0 ? (uint16_t)c->vlan : (uint16_t)0 }, c, &e);

		at = out && c->follow ? chains_pair_partner(n, out) : NULL;
	}
	if (e.num && t.n == 0) {
		reply_error(n, request, &e);
		return;
	}
	result.n_steps = t.n;
	result.truncated = t.truncated || at; /* at: the chain goes on */
	result.steps = t.steps;
	r.body_case = DEMARC__V1__CALL_RESULT__BODY_TRACE;
	r.trace = &result;
	reply(n, request, &r);
}

/* ---- status ---- */

static size_t path_rows(struct node *n, Demarc__V1__PathStatus *rows, Demarc__V1__PathStatus **ptrs)
{
	CLEANUP(free_voidp) struct dp_path_info *info = calloc(PATHS_MAX, sizeof(*info));
	int count = info ? dp_path_collect(n->dp, info, PATHS_MAX, NULL) : 0;

	for (int i = 0; i < count; i++) {
		demarc__v1__path_status__init(&rows[i]);
		rows[i].path = info[i].path;
		rows[i].chain_id = text(chain_of_number(n, info[i].chain));
		rows[i].current = info[i].current;
		rows[i].flows = info[i].n_flows;
		ptrs[i] = &rows[i];
	}
	return count > 0 ? (size_t)count : 0;
}

static void status(struct node *n, uint64_t request)
{
	Demarc__V1__CallResult r = DEMARC__V1__CALL_RESULT__INIT;
	Demarc__V1__StatusResult result = DEMARC__V1__STATUS_RESULT__INIT;
	Demarc__V1__NodeStatus node;
	Demarc__V1__Counter counters[COUNTERS_MAX], *ptrs[COUNTERS_MAX];
	CLEANUP(free_voidp) Demarc__V1__PathStatus *paths = calloc(PATHS_MAX, sizeof(*paths));
	CLEANUP(free_voidp)
	Demarc__V1__PathStatus **path_ptrs = calloc(PATHS_MAX, sizeof(*path_ptrs));

	if (!paths || !path_ptrs)
		return;
	result.n_counters = status_node(n, &node, counters, COUNTERS_MAX);
	result.n_counters +=
		status_counters(n, counters + result.n_counters, COUNTERS_MAX - result.n_counters);
	for (size_t i = 0; i < result.n_counters; i++)
		ptrs[i] = &counters[i];
	result.counters = ptrs;
	result.n_paths = path_rows(n, paths, path_ptrs);
	result.paths = path_ptrs;
	r.body_case = DEMARC__V1__CALL_RESULT__BODY_STATUS;
	r.status = &result;
	reply(n, request, &r);
}

void calls_answer(struct node *n, uint64_t request, const Demarc__V1__Call *call)
{
	struct err e = { 0 };
	int r = 0;

	switch (call->body_case) {
	case DEMARC__V1__CALL__BODY_CONSOLE_LOG:
		console_log(n, request, call->console_log);
		return;
	case DEMARC__V1__CALL__BODY_TRACE:
		trace(n, request, call->trace);
		return;
	case DEMARC__V1__CALL__BODY_STATUS:
		status(n, request);
		return;
	case DEMARC__V1__CALL__BODY_FLOWS:
		r = flows_list(n, request, call->flows, reply, &e);
		break;
	case DEMARC__V1__CALL__BODY_VOLUMES:
		r = flows_volumes(n, request, call->volumes, reply, &e);
		break;
	case DEMARC__V1__CALL__BODY_WATCH:
		r = flows_watch(n, request, call->watch, reply, &e);
		break;
	case DEMARC__V1__CALL__BODY__NOT_SET:
	case _DEMARC__V1__CALL__BODY__CASE_IS_INT_SIZE:
		r = err_set(&e, FAULT_NOT_IMPLEMENTED, NULL, "this node does not know that question");
		break;
	}
	if (r < 0)
		reply_error(n, request, &e);
}
