/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "demarc.pb-c.h"
#include "hub/network/port.h"
#include "hub/session.h"
#include "hub/site/site.h"
#include "model/frame.h"

/*
 * Questions to a node: where would this packet go, and what do its counters say. The answer comes from the loaded programs of the
 * node itself; the hub only builds the frame, and puts names where the node has ids. No transaction is open while the node is asked.
 */

#define TRACE_TIMEOUT_MS 10000
#define STATUS_TIMEOUT_MS 5000
#define VLAN_MAX 4094
#define DSCP_MAX 63

/* A host beyond an uplink whose MAC was not given: locally administered, not anybody's. */
static const struct mac outside = { { 0x02, 0, 0, 0, 0, 0xfe } };

static int bad(struct err *e, const char *field, const char *what)
{
	return err_set(e, FAULT_BAD_REQUEST, field, "Invalid input for trace.%s: %s.", field, what);
}

/* ---- asking ---- */

/* The node's own fault names are ours; an unknown one (a newer node's) is INTERNAL. */
static int call_error(const Demarc__V1__CallResult *res, struct err *e)
{
	static const enum fault known[] = { FAULT_NOT_FOUND,	   FAULT_BAD_REQUEST,
					    FAULT_UNAVAILABLE,	   FAULT_CONFLICT,
					    FAULT_NOT_IMPLEMENTED, FAULT_TIMEOUT };

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(fault_name(known[i]), res->fault) == 0)
			return err_set(e, known[i], NULL, "%s", res->error);
	return err_set(e, FAULT_INTERNAL, NULL, "the node failed: %s", res->error);
}

static void frame_free(Demarc__V1__Frame *f)
{
	demarc__v1__frame__free_unpacked(f, NULL);
}
DEFINE_CLEANUP(Demarc__V1__Frame *, frame_free)

int node_ask(struct req *r, const char *node_id, const Demarc__V1__Call *call, unsigned timeout_ms,
	     Demarc__V1__Frame **ret, struct err *e)
{
	int rc = session_call(r->hub, node_id, call, timeout_ms, ret, e);

	if (rc < 0)
		return rc;
	if ((*ret)->body_case != DEMARC__V1__FRAME__BODY_CALL_RESULT)
		return err_set(e, FAULT_INTERNAL, NULL, "the node answered something else");
	return (*ret)->call_result->error[0] ? call_error((*ret)->call_result, e) : 0;
}

/* ---- the packet ---- */

static int take_ip(const json_t *t, const char *name, struct ip_addr *ret, struct err *e)
{
	const char *s = json_str(t, name);

	if (json_object_get(t, name) && (!s || ip_parse(str_of(s), ret) < 0))
		return bad(e, name, "it is not an IP address");
	return 0;
}

static int take_mac(const json_t *t, const char *name, struct mac *ret, struct err *e)
{
	const char *s = json_str(t, name);

	if (json_object_get(t, name) && (!s || mac_parse(str_of(s), ret) < 0))
		return bad(e, name, "it is not a MAC address");
	return 0;
}

static int take_number(const json_t *t, const char *name, int64_t max, int64_t *ret, struct err *e)
{
	const json_t *v = json_object_get(t, name);

	if (!v)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > max)
		return bad(e, name, "it is out of range");
	*ret = json_integer_value(v);
	return 0;
}

static int take_protocol(const json_t *t, struct frame_spec *f, struct err *e)
{
	const json_t *v = json_object_get(t, "protocol");
	const char *s = json_string_value(v);

	f->proto.num = 6;
	if (json_is_integer(v) && json_integer_value(v) > 0 && json_integer_value(v) < 256) {
		f->proto.num = (uint8_t)json_integer_value(v);
		return 0;
	}
	if (s && strcmp(s, "arp") == 0) {
		f->arp = true;
		return 0;
	}
	if (v && (!s || l4_proto_parse(str_of(s), &f->proto) < 0))
		return bad(e, "protocol", "it is not a protocol's name or number");
	if (f->proto.num == 1 && f->src.family == IP_V6)
		f->proto.num = 58;
	return 0;
}

static int take_icmp(const json_t *t, struct frame_spec *f, struct err *e)
{
	int64_t type = f->src.family == IP_V6 ? 128 : 8, code = 0;
	const char *first = json_object_get(t, "icmp_type") ? "icmp_type" : "icmp_code";
	int rc = take_number(t, "icmp_type", 255, &type, e);

	if (rc == 0)
		rc = take_number(t, "icmp_code", 255, &code, e);
	if (rc < 0 || !json_object_get(t, first))
		return rc;
	if (f->arp || (f->proto.num != 1 && f->proto.num != 58))
		return bad(e, first, "it is of ICMP, so say protocol icmp");
	f->has_icmp = true;
	f->icmp_type = (uint8_t)type;
	f->icmp_code = (uint8_t)code;
	return 0;
}

/* What else the IP header, and those behind it, say. */
static int take_l3(const json_t *t, struct frame_spec *f, struct err *e)
{
	const json_t *v = json_object_get(t, "ipv6_extensions");
	const char *names = json_string_value(v);
	int64_t dscp = 0;
	int rc = take_number(t, "dscp", DSCP_MAX, &dscp, e);

	if (rc < 0)
		return rc;
	f->dscp = (uint8_t)dscp;
	if (v && (!names || frame_extensions(str_of(names), f) < 0))
		return bad(e, "ipv6_extensions",
			   "it is a list of 4 at most of hopopt, ipv6-opts, ipv6-route, ipv6-frag");
	if (v && f->src.family != IP_V6)
		return bad(e, "ipv6_extensions", "only packets of IPv6 have them");
	return take_icmp(t, f, e);
}

static int take_l4(const json_t *t, struct frame_spec *f, struct err *e)
{
	int64_t sport = f->proto.num == 6 || f->proto.num == 17 ? 40000 : 0,
		dport = f->proto.num == 6 ? 80 : 0;
	const char *flags = json_str(t, "tcp_flags");
	int rc = take_number(t, "src_port", 65535, &sport, e);

	if (rc == 0)
		rc = take_number(t, "dst_port", 65535, &dport, e);
	if (rc < 0)
		return rc;
	f->sport = (uint16_t)sport;
	f->dport = (uint16_t)dport;
	f->tcp_flags = 2;
	if (json_object_get(t, "tcp_flags") &&
	    (!flags || frame_tcp_flags(str_of(flags), &f->tcp_flags) < 0))
		return bad(e, "tcp_flags", "it is not a list of syn, ack, fin, rst, psh, urg");
	return 0;
}

/* The sender's own address of the destination's family where none is given. */
static int dflt_source(struct req *r, const json_t *port, struct frame_spec *f, struct err *e)
{
	bool v6 = f->dst.family == IP_V6;
	const char *ip;
	int rc;

	if (f->src.family)
		return 0;
	rc = db_get_text(r->db, r->arena, &ip, e,
			 "SELECT ip FROM port_ip WHERE port_id = ? AND (instr(ip, ':') > 0) = ? ORDER BY ord LIMIT 1",
			 "si", json_str(port, "id"), (int64_t)v6);
	if (rc < 0)
		return rc;
	if (rc == 0 || ip_parse(str_of(ip), &f->src) < 0)
		return bad(e, "src_ip",
			   v6 ? "the port has no IPv6 address of its own, so say which one" :
				"the port has no IPv4 address of its own, so say which one");
	return 0;
}

/* Where a host on that network would send it: the port with the address, else the gateway's port, else any router's. */
static int dflt_dst_mac(struct req *r, const json_t *port, struct frame_spec *f, struct err *e)
{
	char dst[IP_STR_SIZE];
	const char *mac;
	int rc = db_get_text(
		r->db, r->arena, &mac, e,
		"SELECT p.mac_address FROM port p JOIN port_ip i ON i.port_id = p.id LEFT JOIN subnet s ON s.id = i.subnet_id "
		"WHERE p.network_id = ?1 AND p.id <> ?2 ORDER BY i.ip = ?3 DESC, i.ip = s.gateway_ip DESC, p.id LIMIT 1",
		"sss", json_str(port, "network_id"), json_str(port, "id"), ip_format(f->dst, dst));

	f->dst_mac = outside;
	if (rc > 0 && mac_parse(str_of(mac), &f->dst_mac) < 0)
		f->dst_mac = outside;
	return rc < 0 ? rc : 0;
}

static int describe(struct req *r, const json_t *t, const json_t *port, struct frame_spec *f,
		    struct err *e)
{
	const char *owner = json_str(port, "device_owner");
	int rc;

	f->src_mac = outside;
	if (!owner || strcmp(owner, PORT_OWNER_UPLINK) != 0)
		(void)!mac_parse(str_of(json_str(port, "mac_address")), &f->src_mac);
	rc = take_ip(t, "src_ip", &f->src, e);
	if (rc == 0)
		rc = take_ip(t, "dst_ip", &f->dst, e);
	if (rc == 0 && !f->dst.family)
		return bad(e, "dst_ip", "it is required");
	if (rc == 0)
		rc = dflt_source(r, port, f, e);
	if (rc == 0)
		rc = dflt_dst_mac(r, port, f, e);
	if (rc == 0)
		rc = take_mac(t, "src_mac", &f->src_mac, e);
	if (rc == 0)
		rc = take_mac(t, "dst_mac", &f->dst_mac, e);
	if (rc == 0)
		rc = take_protocol(t, f, e);
	if (rc == 0)
		rc = take_l3(t, f, e);
	return rc < 0 ? rc : take_l4(t, f, e);
}

struct question {
	const char *node_id, *port_id;
	struct frame_spec frame;
	int64_t vlan;
	bool follow;
};

static int check_names(const json_t *t, struct err *e)
{
	static const char *const names[] = { "port",	  "src_ip",	     "dst_ip",	"protocol",
					     "src_port",  "dst_port",	     "src_mac", "dst_mac",
					     "vlan",	  "tcp_flags",	     "dscp",	"icmp_type",
					     "icmp_code", "ipv6_extensions", "follow" };
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)t, key, v) {
		bool known = false;

		for (size_t i = 0; i < ARRAY_LEN(names); i++)
			known |= strcmp(key, names[i]) == 0;
		if (!known)
			return err_set(e, FAULT_BAD_REQUEST, "trace",
				       "Unrecognized attribute '%.60s' in trace.", key);
	}
	return 0;
}

/* A tagged provider network's frames carry its VLAN on the NIC; a pair of tags is the node's to know. */
static int dflt_vlan(struct req *r, const json_t *port, int64_t *ret, struct err *e)
{
	const char *owner = json_str(port, "device_owner");
	int rc;

	*ret = 0;
	if (!owner || strcmp(owner, PORT_OWNER_UPLINK) != 0)
		return 0;
	rc = db_get_int(r->db, ret, e,
			"SELECT iif(outer_segmentation_id IS NULL, coalesce(segmentation_id, 0), 0) FROM network WHERE id = ?",
			"s", json_str(port, "network_id"));
	return rc < 0 ? rc : 0;
}

static int prepare(struct req *r, struct question *q, struct err *e)
{
	CLEANUP(json_freep) json_t *node = NULL, *port = NULL;
	json_t *t = json_object_get(r->body, "trace");
	const char *port_id, *on;
	int rc = rest_need(r, &node_resource, req_param(r, "id"), &node, e);

	if (rc == 0 && !json_is_object(t))
		return err_set(e, FAULT_BAD_REQUEST, "trace",
			       "Invalid request body: 'trace' is a required object.");
	if (rc == 0)
		rc = check_names(t, e);
	if (rc == 0)
		rc = json_need_str(t, "port", &port_id, e);
	if (rc == 0)
		rc = rest_need(r, &port_resource, port_id, &port, e);
	if (rc < 0)
		return rc;
	on = json_str(port, "node_id");
	if (!on || strcmp(on, json_str(node, "id")) != 0)
		return bad(e, "port", "the port is not on this node");
	q->node_id = arena_strdup(r->arena, on);
	q->port_id = arena_strdup(r->arena, port_id);
	q->follow = json_bool(t, "follow", true);
	rc = dflt_vlan(r, port, &q->vlan, e);
	if (rc == 0)
		rc = take_number(t, "vlan", VLAN_MAX, &q->vlan, e);
	return rc < 0 ? rc : describe(r, t, port, &q->frame, e);
}

/* ---- the answer ---- */

/* "firewall (port fw-in)", "port uplink-lan", or the id. */
const char *node_port_name(struct req *r, const char *id, struct err *e)
{
	const char *name = NULL;
	int rc = *id ? db_get_text(r->db, r->arena, &name, e,
				   "SELECT CASE WHEN s.name IS NULL THEN 'port ' || iif(p.name = '', p.id, p.name) ELSE s.name || ' (port ' "
				   "|| iif(p.name = '', p.id, p.name) || ')' END FROM port p LEFT JOIN server s ON s.id = p.device_id "
				   "WHERE p.id = ?",
				   "s", id) :
		       0;

	return rc > 0 && name ? name : *id ? id : NULL;
}

static json_t *step_json(struct req *r, const Demarc__V1__TraceStep *s, struct err *e)
{
	return json_pack("{s:s, s:s, s:b, s:s?, s:s?, s:s?, s:s?}", "stage", s->stage, "text", s->text,
			 "drop", (int)s->drop, "at_port_id", *s->at_port_id ? s->at_port_id : NULL,
			 "at", node_port_name(r, s->at_port_id, e), "out_port_id",
			 *s->out_port_id ? s->out_port_id : NULL, "out",
			 node_port_name(r, s->out_port_id, e));
}

static int trace_reply(struct req *r, const Demarc__V1__TraceResult *t, struct err *e)
{
	json_t *steps = json_array();

	for (size_t i = 0; t && i < t->n_steps; i++)
		(void)json_array_append_new(steps, step_json(r, t->steps[i], e));
	req_reply(r, json_pack("{s:o, s:b}", "steps", steps, "truncated", t && t->truncated));
	return 0;
}

/* Reads in a transaction of its own, which ends before anybody waits. */
static int in_read(struct req *r, int (*fn)(struct req *r, struct question *q, struct err *e),
		   struct question *q, struct err *e)
{
	int rc = db_begin(r->db, DB_READ, e);

	if (rc < 0)
		return rc;
	rc = fn(r, q, e);
	db_rollback(r->db);
	return rc;
}

int node_trace(struct req *r, struct err *e)
{
	Demarc__V1__TraceCall trace = DEMARC__V1__TRACE_CALL__INIT;
	Demarc__V1__Call call = DEMARC__V1__CALL__INIT;
	CLEANUP(frame_freep) Demarc__V1__Frame *answer = NULL;
	uint8_t frame[FRAME_SIZE_MAX];
	struct question q = { 0 };
	int rc = in_read(r, prepare, &q, e), size = 0;

	if (rc == 0)
		rc = size = frame_build(&q.frame, frame, e);
	if (rc < 0)
		return rc;
	trace.port_id = (char *)q.port_id;
	trace.frame = (ProtobufCBinaryData){ (size_t)size, frame };
	trace.vlan = (uint32_t)q.vlan;
	trace.follow = q.follow;
	call.body_case = DEMARC__V1__CALL__BODY_TRACE;
	call.trace = &trace;
	rc = node_ask(r, q.node_id, &call, TRACE_TIMEOUT_MS, &answer, e);
	if (rc == 0)
		rc = db_begin(r->db, DB_READ, e);
	if (rc < 0)
		return rc;
	rc = trace_reply(r,
			 answer->call_result->body_case == DEMARC__V1__CALL_RESULT__BODY_TRACE ?
				 answer->call_result->trace :
				 NULL,
			 e);
	db_rollback(r->db);
	return rc;
}

static int find_node(struct req *r, struct question *q, struct err *e)
{
	CLEANUP(json_freep) json_t *node = NULL;
	int rc = rest_need(r, &node_resource, req_param(r, "id"), &node, e);

	if (rc == 0)
		q->node_id = arena_strdup(r->arena, json_str(node, "id"));
	return rc;
}

static json_t *status_json(const Demarc__V1__StatusResult *s)
{
	json_t *counters = json_array(), *paths = json_array();

	for (size_t i = 0; s && i < s->n_counters; i++)
		(void)json_array_append_new(counters,
					    json_pack("{s:s, s:I}", "name", s->counters[i]->name,
						      "value", (json_int_t)s->counters[i]->value));
	for (size_t i = 0; s && i < s->n_paths; i++)
		(void)json_array_append_new(paths, json_pack("{s:I, s:s, s:b, s:I}", "path",
							     (json_int_t)s->paths[i]->path, "chain_id",
							     s->paths[i]->chain_id, "current",
							     (int)s->paths[i]->current, "flows",
							     (json_int_t)s->paths[i]->flows));
	return json_pack("{s:o, s:o}", "counters", counters, "paths", paths);
}

int node_status(struct req *r, struct err *e)
{
	Demarc__V1__StatusCall status = DEMARC__V1__STATUS_CALL__INIT;
	Demarc__V1__Call call = DEMARC__V1__CALL__INIT;
	CLEANUP(frame_freep) Demarc__V1__Frame *answer = NULL;
	struct question q = { 0 };
	int rc = in_read(r, find_node, &q, e);

	call.body_case = DEMARC__V1__CALL__BODY_STATUS;
	call.status = &status;
	if (rc == 0)
		rc = node_ask(r, q.node_id, &call, STATUS_TIMEOUT_MS, &answer, e);
	if (rc == 0)
		req_reply(r, json_pack("{s:o}", "status",
				       status_json(answer->call_result->body_case ==
								   DEMARC__V1__CALL_RESULT__BODY_STATUS ?
							   answer->call_result->status :
							   NULL)));
	return rc;
}
