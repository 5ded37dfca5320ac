/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/json.h"
#include "demarc.pb-c.h"
#include "hub/site/site.h"
#include "model/frame.h"
#include "model/sniff.h"

/*
 * Live flows, volumes and packets of a node, asked of the node itself: the hub checks the question, and puts names where the node has ids.
 * No transaction is open while the node is asked.
 */

#define FLOWS_TIMEOUT_MS 10000
#define FLOWS_MAX 1000
#define WATCH_MAX 2048
#define EVERY_MAX 1000000
#define HEAD_MAX 1024

static void frame_free(Demarc__V1__Frame *f)
{
	demarc__v1__frame__free_unpacked(f, NULL);
}
DEFINE_CLEANUP(Demarc__V1__Frame *, frame_free)

/* ---- the question ---- */

static int take_number(struct req *r, const char *name, uint64_t max, uint64_t *ret, struct err *e)
{
	const char *text = req_query(r, name);

	if (text && str_to_u64(str_of(text), max, ret) < 0)
		return err_set(e, FAULT_BAD_REQUEST, name, "%s is a number from 0 to %llu.", name,
			       (unsigned long long)max);
	return 0;
}

static int take_u32(struct req *r, const char *name, uint32_t max, uint32_t *ret, struct err *e)
{
	uint64_t v = *ret;
	int rc = take_number(r, name, max, &v, e);

	*ret = (uint32_t)v;
	return rc;
}

static int take_flag(struct req *r, const char *name, protobuf_c_boolean *ret, struct err *e)
{
	const char *text = req_query(r, name);

	*ret = text && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0);
	if (text && !*ret && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
		return err_set(e, FAULT_BAD_REQUEST, name, "%s is true or false.", name);
	return 0;
}

static char *take_text(struct req *r, const char *name)
{
	const char *text = req_query(r, name);

	return arena_strdup(r->arena, text ? text : "");
}

/* By id or unique name, as everywhere. */
static int take_ref(struct req *r, const char *name, const struct resource *res, char **ret,
		    struct err *e)
{
	CLEANUP(json_freep) json_t *row = NULL;
	const char *text = req_query(r, name);
	int rc = text ? rest_need(r, res, text, &row, e) : 0;

	if (rc == 0)
		*ret = arena_strdup(r->arena, row ? json_str(row, "id") : "");
	return rc;
}

static int take_filter(struct req *r, Demarc__V1__FlowFilter *f, struct err *e)
{
	const char *proto = req_query(r, "protocol");
	l4_proto p = { 0 };
	int rc = 0;

	demarc__v1__flow_filter__init(f);
	if (proto && l4_proto_parse(str_of(proto), &p) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "protocol",
			       "protocol is a name as tcp, or a number from 1 to 255.");
	f->protocol = p.num;
	f->address = take_text(r, "address");
	f->source = take_text(r, "source");
	f->destination = take_text(r, "destination");
	f->state = take_text(r, "state");
	rc = take_u32(r, "family", 6, &f->family, e);
	if (rc == 0)
		rc = take_u32(r, "port", 65535, &f->port, e);
	if (rc == 0)
		rc = take_flag(r, "dropped", &f->dropped, e);
	if (rc == 0)
		rc = take_flag(r, "all_segments", &f->all_segments, e);
	if (rc == 0)
		rc = take_ref(r, "port_id", &port_resource, &f->port_id, e);
	if (rc == 0)
		rc = take_ref(r, "chain", &port_chain_resource, &f->chain_id, e);
	return rc;
}

static int check_names(struct req *r, const char *const *names, struct err *e)
{
	struct str rest = r->http->query;

	while (rest.len) {
		struct str value, name = str_cut(str_cut(rest, '&', &rest), '=', &value);
		const char *const *n = names;

		while (*n && !str_eq_c(name, *n))
			n++;
		if (!*n && name.len)
			return err_set(e, FAULT_BAD_REQUEST, "query",
				       "Unrecognized parameter '" STR_FMT "'.",
				       (int)MIN_OF(name.len, (size_t)60), name.ptr);
	}
	return 0;
}

static const char *const filter_names[] = { "family",	   "protocol", "address",      "source",
					    "destination", "port",     "state",	       "chain",
					    "port_id",	   "dropped",  "all_segments", "sort",
					    "limit",	   NULL };
static const char *const watch_names[] = { "after", "every", "limit", NULL };

struct question {
	Demarc__V1__FlowFilter filter;
	const char *node_id;
};

static int prepare(struct req *r, struct question *q, const char *const *names, struct err *e)
{
	CLEANUP(json_freep) json_t *node = NULL;
	int rc = db_begin(r->db, DB_READ, e);

	if (rc == 0)
		rc = rest_need(r, &node_resource, req_param(r, "id"), &node, e);
	if (rc == 0)
		q->node_id = arena_strdup(r->arena, json_str(node, "id"));
	if (rc == 0)
		rc = check_names(r, names, e);
	if (rc == 0 && names != watch_names)
		rc = take_filter(r, &q->filter, e);
	db_rollback(r->db);
	return rc;
}

/* ---- answers ---- */

static json_t *totals_json(const Demarc__V1__FlowTotals *t)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "records", t ? (json_int_t)t->records : 0,
			 "matched", t ? (json_int_t)t->matched : 0, "packets",
			 t ? (json_int_t)t->packets : 0, "bytes", t ? (json_int_t)t->bytes : 0);
}

static json_t *name_or_null(const char *s)
{
	return s && *s ? json_string(s) : json_null();
}

static json_t *flow_json(struct req *r, const Demarc__V1__Flow *f, struct err *e)
{
	const char *proto = l4_proto_name((l4_proto){ (uint8_t)f->protocol });
	json_t *o = json_pack(
		"{s:s, s:s, s:I, s:s?, s:I, s:I, s:s?, s:s?, s:I, s:s, s:b, s:b}", "source",
		f->source, "destination", f->destination, "protocol", (json_int_t)f->protocol,
		"protocol_name", proto, "source_port", (json_int_t)f->source_port, "destination_port",
		(json_int_t)f->destination_port, "in", node_port_name(r, f->in_port_id, e), "out",
		node_port_name(r, f->out_port_id, e), "vlan", (json_int_t)f->vlan, "state",
		f->state, "initiator", (int)f->initiator, "dropped", (int)f->dropped);
	json_t *more = json_pack(
		"{s:o, s:o, s:o, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:o, s:o}",
		"in_port_id", name_or_null(f->in_port_id), "out_port_id",
		name_or_null(f->out_port_id), "reason", name_or_null(f->reason), "rule",
		(json_int_t)f->rule, "chain_id", name_or_null(f->chain_id), "path",
		(json_int_t)f->path, "segment", (json_int_t)f->segment, "packets",
		(json_int_t)f->packets, "bytes", (json_int_t)f->bytes, "age_ms",
		(json_int_t)f->age_ms, "idle_ms", (json_int_t)f->idle_ms, "rtt_us",
		f->rtt_us ? json_integer(f->rtt_us) : json_null(), "retransmits",
		(json_int_t)f->retransmits, "tcp_flags", (json_int_t)f->tcp_flags, "nat_source",
		name_or_null(f->nat_source), "nat_destination", name_or_null(f->nat_destination));

	(void)json_object_set_new(more, "rule_id", name_or_null(f->rule_id));
	json_object_update(o, more);
	json_decref(more);
	return o;
}

static json_t *flows_json(struct req *r, const Demarc__V1__FlowsResult *f, struct err *e)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->n_flows && i < FLOWS_MAX; i++)
		(void)json_array_append_new(list, flow_json(r, f->flows[i], e));
	return json_pack("{s:o, s:o, s:b}", "flows", list, "totals", totals_json(f->totals), "cut",
			 (int)f->cut);
}

static json_t *volume_list(Demarc__V1__Volume **v, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n && i < FLOWS_MAX; i++)
		(void)json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I}", "name", v[i]->name,
							    "flows", (json_int_t)v[i]->flows,
							    "packets", (json_int_t)v[i]->packets,
							    "bytes", (json_int_t)v[i]->bytes));
	return list;
}

static void add_sniffed(json_t *o, const Demarc__V1__Packet *p)
{
	const char *proto;
	char ip[IP_STR_SIZE];
	struct sniffed s;

	sniff(p->head.data, p->head.len, &s);
	proto = l4_proto_name((l4_proto){ s.proto });
	json_object_set_new(o, "ethertype", json_integer(s.ethertype));
	if (!s.src.family)
		return;
	json_object_set_new(o, "source", json_string(ip_format(s.src, ip)));
	json_object_set_new(o, "destination", json_string(ip_format(s.dst, ip)));
	json_object_set_new(o, "protocol", json_integer(s.proto));
	json_object_set_new(o, "protocol_name", proto ? json_string(proto) : json_null());
	if (s.has_ports) {
		json_object_set_new(o, "source_port", json_integer(s.sport));
		json_object_set_new(o, "destination_port", json_integer(s.dport));
		json_object_set_new(o, "tcp_flags", json_integer(s.tcp_flags));
	}
	if (s.has_icmp) {
		json_object_set_new(o, "icmp_type", json_integer(s.icmp_type));
		json_object_set_new(o, "icmp_code", json_integer(s.icmp_code));
	}
}

static json_t *packet_json(struct req *r, const Demarc__V1__Packet *p, struct err *e)
{
	char hex[2 * HEAD_MAX + 1], time[TIME_STR_SIZE];
	size_t head = MIN_OF(p->head.len, (size_t)HEAD_MAX);
	json_t *o;

	hex_of(p->head.data, head, hex);
	o = json_pack("{s:I, s:s, s:I, s:o, s:s?, s:I, s:I, s:b, s:o, s:o, s:I, s:s}", "seq",
		      (json_int_t)p->seq, "time", time_format_us(p->time_us, time), "time_us",
		      (json_int_t)p->time_us, "port_id", name_or_null(p->port_id), "port",
		      node_port_name(r, p->port_id, e), "vlan", (json_int_t)p->vlan, "size",
		      (json_int_t)p->size, "to_port", (int)p->to_port, "reason",
		      name_or_null(p->reason), "text", name_or_null(p->text), "rule",
		      (json_int_t)p->rule, "head", hex);
	(void)json_object_set_new(o, "rule_id", name_or_null(p->rule_id));
	add_sniffed(o, p);
	return o;
}

static json_t *watch_json(struct req *r, const Demarc__V1__WatchResult *w, struct err *e)
{
	json_t *list = json_array();

	for (size_t i = 0; i < w->n_packets && i < WATCH_MAX; i++)
		(void)json_array_append_new(list, packet_json(r, w->packets[i], e));
	return json_pack("{s:o, s:I, s:I}", "packets", list, "last", (json_int_t)w->last, "lost",
			 (json_int_t)w->lost);
}

static json_t *answer_json(struct req *r, const Demarc__V1__CallResult *a, struct err *e)
{
	if (a->body_case == DEMARC__V1__CALL_RESULT__BODY_FLOWS)
		return flows_json(r, a->flows, e);
	if (a->body_case == DEMARC__V1__CALL_RESULT__BODY_WATCH)
		return watch_json(r, a->watch, e);
	if (a->body_case == DEMARC__V1__CALL_RESULT__BODY_VOLUMES)
		return json_pack("{s:o, s:o, s:o, s:I}", "applications",
				 volume_list(a->volumes->applications, a->volumes->n_applications),
				 "talkers", volume_list(a->volumes->talkers, a->volumes->n_talkers),
				 "totals", totals_json(a->volumes->totals), "crowded",
				 (json_int_t)a->volumes->crowded);
	return NULL;
}

static int ask_and_reply(struct req *r, const struct question *q, const Demarc__V1__Call *call,
			 struct err *e)
{
	CLEANUP(frame_freep) Demarc__V1__Frame *answer = NULL;
	json_t *body;
	int rc = node_ask(r, q->node_id, call, FLOWS_TIMEOUT_MS, &answer, e);

	if (rc == 0)
		rc = db_begin(r->db, DB_READ, e);
	if (rc < 0)
		return rc;
	body = answer_json(r, answer->call_result, e);
	db_rollback(r->db);
	if (!body)
		return err_set(e, FAULT_INTERNAL, NULL, "the node answered something else");
	req_reply(r, body);
	return 0;
}

/* ---- routes ---- */

int node_flows(struct req *r, struct err *e)
{
	Demarc__V1__FlowsCall flows = DEMARC__V1__FLOWS_CALL__INIT;
	Demarc__V1__Call call = DEMARC__V1__CALL__INIT;
	struct question q = { 0 };
	int rc = prepare(r, &q, filter_names, e);

	flows.filter = &q.filter;
	flows.sort = take_text(r, "sort");
	if (rc == 0)
		rc = take_u32(r, "limit", FLOWS_MAX, &flows.limit, e);
	call.body_case = DEMARC__V1__CALL__BODY_FLOWS;
	call.flows = &flows;
	return rc < 0 ? rc : ask_and_reply(r, &q, &call, e);
}

int node_volumes(struct req *r, struct err *e)
{
	Demarc__V1__VolumesCall volumes = DEMARC__V1__VOLUMES_CALL__INIT;
	Demarc__V1__Call call = DEMARC__V1__CALL__INIT;
	struct question q = { 0 };
	int rc = prepare(r, &q, filter_names, e);

	volumes.filter = &q.filter;
	call.body_case = DEMARC__V1__CALL__BODY_VOLUMES;
	call.volumes = &volumes;
	return rc < 0 ? rc : ask_and_reply(r, &q, &call, e);
}

int node_watch(struct req *r, struct err *e)
{
	Demarc__V1__WatchCall watch = DEMARC__V1__WATCH_CALL__INIT;
	Demarc__V1__Call call = DEMARC__V1__CALL__INIT;
	struct question q = { 0 };
	int rc = prepare(r, &q, watch_names, e);

	if (rc == 0)
		rc = take_number(r, "after", INT64_MAX, &watch.after, e);
	if (rc == 0)
		rc = take_u32(r, "every", EVERY_MAX, &watch.every, e);
	if (rc == 0)
		rc = take_u32(r, "limit", WATCH_MAX, &watch.limit, e);
	call.body_case = DEMARC__V1__CALL__BODY_WATCH;
	call.watch = &watch;
	return rc < 0 ? rc : ask_and_reply(r, &q, &call, e);
}
