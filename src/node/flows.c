/* SPDX-License-Identifier: Apache-2.0 */
#include "node/flows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "dp/observe.h"
#include "node/capture.h"
#include "node/chains.h"
#include "node/fabric.h"
#include "node/policy.h"

#define LIMIT_DFLT 50
#define ENDPOINT_SIZE (IP_STR_SIZE + 8)
#define WATCH_LEASE_NS (10 * NS_PER_S)
#define WATCH_KEPT 2048		/* packets that wait to be asked for */
#define WATCH_BYTES (512 << 10) /* of one answer: with its frame below LINK_FRAME_MAX */

static char *text(const char *s)
{
	static char empty[] = "";

	return s ? (char *)(uintptr_t)s : empty;
}

/* ---- the question ---- */

static int take_cidr(const char *field, const char *s, struct ip_cidr *ret, struct err *e)
{
	struct ip_addr one;

	if (!*s || cidr_parse(str_of(s), ret) == 0)
		return 0;
	if (ip_parse(str_of(s), &one) < 0)
		return err_set(e, FAULT_BAD_REQUEST, field, "'%.60s' is not an address or CIDR", s);
	*ret = (struct ip_cidr){ .addr = one, .prefix_len = ip_max_prefix(&one) };
	return 0;
}

static int take_place(struct node *n, const Demarc__V1__FlowFilter *f, struct dp_flow_query *q,
		      struct err *e)
{
	vlan_id vlan;

	if (*f->port_id && !fabric_port_place(n, f->port_id, &q->port_index, &vlan))
		return err_set(e, FAULT_NOT_FOUND, "port_id", "port %.60s is not on this node",
			       f->port_id);
	if (!*f->chain_id)
		return 0;
	for (uint16_t c = 1; c < 1024 && !q->chain; c++)
		if (chain_of_number(n, c) && strcmp(chain_of_number(n, c), f->chain_id) == 0)
			q->chain = c;
	return q->chain ? 0 :
			  err_set(e, FAULT_NOT_FOUND, "chain_id", "chain %.60s is not on this node",
				  f->chain_id);
}

int flows_frame_filter(const Demarc__V1__FlowFilter *f, struct sniff_filter *ret, struct err *e)
{
	int r;

	if (f->family && f->family != 4 && f->family != 6)
		return err_set(e, FAULT_BAD_REQUEST, "family", "4 or 6");
	if (f->protocol > 255 || f->port > 65535)
		return err_set(e, FAULT_BAD_REQUEST, f->port > 65535 ? "port" : "protocol",
			       "it is out of range");
	ret->family = (uint8_t)f->family;
	ret->proto = (uint8_t)f->protocol;
	ret->port = (uint16_t)f->port;
	r = take_cidr("address", f->address, &ret->addr, e);
	if (r == 0)
		r = take_cidr("source", f->source, &ret->src, e);
	if (r == 0)
		r = take_cidr("destination", f->destination, &ret->dst, e);
	return r;
}

static int take_filter(struct node *n, const Demarc__V1__FlowFilter *f, struct dp_flow_query *q,
		       struct err *e)
{
	struct sniff_filter frame = { 0 };
	int r = f ? flows_frame_filter(f, &frame, e) : 0;

	if (!f || r < 0)
		return r;
	q->family = frame.family;
	q->proto = frame.proto;
	q->port = frame.port;
	q->addr = frame.addr;
	q->src = frame.src;
	q->dst = frame.dst;
	q->state = *f->state ? f->state : NULL;
	q->dropped = f->dropped;
	q->all_segments = f->all_segments;
	return take_place(n, f, q, e);
}

static int take_order(const char *s, enum dp_flow_order *ret, struct err *e)
{
	static const char *const names[] = {
		[DP_BY_BYTES] = "bytes", [DP_BY_PKTS] = "packets", [DP_BY_RTT] = "rtt", [DP_BY_RETRANS] = "retransmits", [DP_BY_NEWEST] = "newest"
	};

	*ret = DP_BY_BYTES;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(s, names[i]) == 0) {
			*ret = (enum dp_flow_order)i;
			return 0;
		}
	return *s ? err_set(e, FAULT_BAD_REQUEST, "sort",
			    "'%.20s' is not bytes, packets, rtt, retransmits or newest", s) :
		    0;
}

/* ---- live flows ---- */

/* One row, with the texts it points to. */
struct row {
	Demarc__V1__Flow pb;
	char src[IP_STR_SIZE], dst[IP_STR_SIZE];
	char nat_src[ENDPOINT_SIZE], nat_dst[ENDPOINT_SIZE];
	char rule_id[UUID_STR_SIZE];
};

static char *endpoint(char buf[static ENDPOINT_SIZE], bool is, struct ip_addr addr, uint16_t port)
{
	char ip[IP_STR_SIZE];

	(void)ip_format(addr, ip);
	(void)snprintf(buf, ENDPOINT_SIZE, addr.family == IP_V6 ? "[%s]:%u" : "%s:%u", ip, port);
	return is ? buf : text("");
}

static uint64_t ms_since(int64_t now_ns, int64_t then_ns)
{
	return now_ns > then_ns ? (uint64_t)((now_ns - then_ns) / NS_PER_MS) : 0;
}

static void row_fill(struct node *n, const struct dp_flow *f, struct row *r)
{
	Demarc__V1__Flow *p = &r->pb;

	demarc__v1__flow__init(p);
	p->source = text(ip_format(f->src, r->src));
	p->destination = text(ip_format(f->dst, r->dst));
	p->protocol = f->proto;
	p->source_port = f->sport;
	p->destination_port = f->dport;
	p->in_port_id = text(fabric_port_at(n, f->in));
	p->out_port_id = text(f->out.num ? fabric_port_at(n, f->out) : NULL);
	p->vlan = f->vlan.id;
	p->state = text(f->state);
	p->initiator = f->opener;
	p->dropped = f->dropped;
	p->reason = text(f->dropped ? dp_drop_reason_name(f->reason) : NULL);
	p->rule = f->rule;
	p->rule_id = policy_rule_id(n, f->rule, r->rule_id);
	p->chain_id = text(f->chain ? chain_of_number(n, f->chain) : NULL);
	p->path = f->path;
	p->segment = f->hop;
	p->packets = f->pkts;
	p->bytes = f->bytes;
	p->age_ms = ms_since(f->now_ns, f->created_ns);
	p->idle_ms = ms_since(f->now_ns, f->last_ns);
	p->rtt_us = f->rtt_us;
	p->retransmits = f->retrans;
	p->tcp_flags = f->tcp_flags;
	p->nat_source = endpoint(r->nat_src, f->nat_src, f->post_src, f->post_sport);
	p->nat_destination = endpoint(r->nat_dst, f->nat_dst, f->post_dst, f->post_dport);
}

static Demarc__V1__FlowTotals totals_of(const struct dp_flow_totals *t)
{
	Demarc__V1__FlowTotals m = DEMARC__V1__FLOW_TOTALS__INIT;

	m.records = t->records;
	m.matched = t->matched;
	m.packets = t->pkts;
	m.bytes = t->bytes;
	return m;
}

int flows_list(struct node *n, uint64_t request, const Demarc__V1__FlowsCall *c, flows_send_fn send,
	       struct err *e)
{
	struct dp_flow_query q = { .limit = c->limit ? MIN_OF((size_t)c->limit, (size_t)DP_FLOWS_MAX) :
						       LIMIT_DFLT };
	CLEANUP(free_voidp) struct dp_flow *flows = calloc(q.limit, sizeof(*flows));
	CLEANUP(free_voidp) struct row *rows = calloc(q.limit, sizeof(*rows));
	CLEANUP(free_voidp) Demarc__V1__Flow **ptrs = calloc(q.limit, sizeof(*ptrs));
	Demarc__V1__CallResult r = DEMARC__V1__CALL_RESULT__INIT;
	Demarc__V1__FlowsResult result = DEMARC__V1__FLOWS_RESULT__INIT;
	Demarc__V1__FlowTotals pb;
	struct dp_flow_totals totals;
	int len;

	if (!flows || !rows || !ptrs)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	len = take_filter(n, c->filter, &q, e);
	if (len == 0)
		len = take_order(c->sort, &q.order, e);
	if (len == 0)
		len = dp_flows(n->dp, &q, flows, &totals, e);
	if (len < 0)
		return len;
	for (int i = 0; i < len; i++) {
		row_fill(n, &flows[i], &rows[i]);
		ptrs[i] = &rows[i].pb;
	}
	pb = totals_of(&totals);
	result.n_flows = (size_t)len;
	result.flows = ptrs;
	result.totals = &pb;
	result.cut = totals.cut;
	r.body_case = DEMARC__V1__CALL_RESULT__BODY_FLOWS;
	r.flows = &result;
	send(n, request, &r);
	return 0;
}

/* ---- volumes ---- */

struct volume_row {
	Demarc__V1__Volume pb;
	char name[IP_STR_SIZE];
};

static size_t volume_rows(const struct dp_volume *v, size_t len, struct volume_row *rows,
			  Demarc__V1__Volume **ptrs)
{
	for (size_t i = 0; i < len; i++) {
		Demarc__V1__Volume *m = &rows[i].pb;

		demarc__v1__volume__init(m);
		if (*v[i].name)
			(void)str_copy(rows[i].name, sizeof(rows[i].name), str_of(v[i].name));
		else
			(void)ip_format(v[i].ip, rows[i].name);
		m->name = rows[i].name;
		m->flows = v[i].flows;
		m->packets = v[i].pkts;
		m->bytes = v[i].bytes;
		ptrs[i] = m;
	}
	return len;
}

int flows_volumes(struct node *n, uint64_t request, const Demarc__V1__VolumesCall *c,
		  flows_send_fn send, struct err *e)
{
	CLEANUP(free_voidp) struct dp_volumes *v = calloc(1, sizeof(*v));
	struct volume_row apps[ARRAY_LEN(v->apps)], talkers[ARRAY_LEN(v->talkers)];
	Demarc__V1__Volume *app_ptrs[ARRAY_LEN(v->apps)], *talker_ptrs[ARRAY_LEN(v->talkers)];
	Demarc__V1__CallResult r = DEMARC__V1__CALL_RESULT__INIT;
	Demarc__V1__VolumesResult result = DEMARC__V1__VOLUMES_RESULT__INIT;
	Demarc__V1__FlowTotals pb;
	struct dp_flow_query q = { 0 };
	int rc = v ? take_filter(n, c->filter, &q, e) :
		     err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");

	if (rc == 0)
		rc = dp_volumes(n->dp, &q, v, e);
	if (rc < 0)
		return rc;
	pb = totals_of(&v->totals);
	result.n_applications = volume_rows(v->apps, v->n_apps, apps, app_ptrs);
	result.applications = app_ptrs;
	result.n_talkers = volume_rows(v->talkers, v->n_talkers, talkers, talker_ptrs);
	result.talkers = talker_ptrs;
	result.totals = &pb;
	result.crowded = v->n_crowded;
	r.body_case = DEMARC__V1__CALL_RESULT__BODY_VOLUMES;
	r.volumes = &result;
	send(n, request, &r);
	return 0;
}

/* ---- packets ---- */

struct kept {
	Demarc__V1__Packet pb; /* owns port_id and head */
	char rule_id[UUID_STR_SIZE];
};

/* Drops: what was asked for last. */
struct watching {
	int64_t until_ns;
	unsigned int every;
	uint64_t seq;
	uint64_t lost_before; /* of the datapath, when it began */
	size_t len, first;
	struct kept kept[WATCH_KEPT];
};

static void kept_free(struct kept *k)
{
	if (k->pb.head.data)
		free(k->pb.port_id);
	free(k->pb.head.data);
	k->pb.head.data = NULL;
}

static void on_packet(void *ctx, const struct dp_packet *p)
{
	struct node *n = ctx;
	struct watching *w = n->watching;
	const char *port;
	Demarc__V1__Packet *m;
	struct kept *slot;
	char *id;
	uint8_t *head;

	if (p->captured)
		capture_packet(n, p);
	if (p->captured || !w)
		return;
	port = fabric_port_at(n, p->port);
	id = strdup(port ? port : "");
	head = malloc(p->head_len + 1);
	if (!id || !head) {
		free(id);
		free(head);
		return;
	}
	if (w->len == WATCH_KEPT) {
		kept_free(&w->kept[w->first]);
		w->first = (w->first + 1) % WATCH_KEPT;
		w->len--;
	}
	slot = &w->kept[(w->first + w->len++) % WATCH_KEPT];
	m = &slot->pb;
	demarc__v1__packet__init(m);
	m->seq = ++w->seq;
	m->time_us = clock_wall_us() - (clock_mono_ns() - p->now_ns) / NS_PER_US;
	m->port_id = id;
	m->vlan = p->vlan.id;
	m->size = p->len;
	m->head.data = memcpy(head, p->head, p->head_len);
	m->head.len = p->head_len;
	m->reason = text(dp_drop_reason_name(p->reason));
	m->text = text(dp_drop_reason_text(p->reason));
	m->rule = p->rule;
	m->rule_id = policy_rule_id(n, p->rule, slot->rule_id);
}

void flows_poll(struct node *n)
{
	dp_packets_poll(n->dp, on_packet, n);
}

static void watch_stop(struct node *n)
{
	struct watching *w = n->watching;

	if (!w)
		return;
	dp_drops_watch(n->dp, 0);
	for (size_t i = 0; i < w->len; i++)
		kept_free(&w->kept[(w->first + i) % WATCH_KEPT]);
	free(w);
	n->watching = NULL;
}

static uint64_t lost_now(struct node *n)
{
	struct dp_losses lost;

	dp_losses(n->dp, &lost);
	return lost.packets;
}

static int watch_start(struct node *n, const Demarc__V1__WatchCall *c, struct err *e)
{
	struct watching *w = calloc(1, sizeof(*w));

	if (!w)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	/* The numbers of another watch are not taken for this one's. */
	w->seq = (uint64_t)clock_wall_us();
	w->every = MAX_OF(c->every, 1U);
	w->lost_before = lost_now(n);
	n->watching = w;
	dp_drops_watch(n->dp, w->every);
	return 0;
}

static size_t packets_after(struct watching *w, const Demarc__V1__WatchCall *c, Demarc__V1__Packet **ptrs)
{
	size_t max = c->limit ? MIN_OF((size_t)c->limit, (size_t)WATCH_KEPT) : WATCH_KEPT;
	size_t n = 0, bytes = 0;

	for (size_t i = 0; i < w->len && n < max && bytes < WATCH_BYTES; i++) {
		Demarc__V1__Packet *m = &w->kept[(w->first + i) % WATCH_KEPT].pb;

		if (m->seq <= c->after)
			continue;
		bytes += m->head.len + 256;
		ptrs[n++] = m;
	}
	return n;
}

int flows_watch(struct node *n, uint64_t request, const Demarc__V1__WatchCall *c,
		flows_send_fn send, struct err *e)
{
	CLEANUP(free_voidp) Demarc__V1__Packet **ptrs = calloc(WATCH_KEPT, sizeof(*ptrs));
	Demarc__V1__CallResult r = DEMARC__V1__CALL_RESULT__INIT;
	Demarc__V1__WatchResult result = DEMARC__V1__WATCH_RESULT__INIT;
	struct watching *w = n->watching;
	int rc = 0;

	if (!ptrs)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	if (*c->capture_port_id)
		return err_set(e, FAULT_NOT_IMPLEMENTED, "capture", "a capture is a stream");
	if (w && w->every != MAX_OF(c->every, 1U))
		return err_set(e, FAULT_CONFLICT, NULL,
			       "this node is watched for drops already, otherwise than asked: one at a time");
	if (!w)
		rc = watch_start(n, c, e);
	if (rc < 0)
		return rc;
	w = n->watching;
	w->until_ns = clock_mono_ns() + WATCH_LEASE_NS;
	flows_poll(n);
	result.n_packets = packets_after(w, c, ptrs);
	result.packets = ptrs;
	result.last = result.n_packets ? ptrs[result.n_packets - 1]->seq : MAX_OF(c->after, 1UL);
	result.lost = lost_now(n) - w->lost_before;
	r.body_case = DEMARC__V1__CALL_RESULT__BODY_WATCH;
	r.watch = &result;
	send(n, request, &r);
	return 0;
}

void flows_tick(struct node *n)
{
	if (!n->watching)
		return;
	flows_poll(n);
	if (clock_mono_ns() > n->watching->until_ns)
		watch_stop(n);
}

void flows_close(struct node *n)
{
	if (n->dp)
		watch_stop(n);
}
