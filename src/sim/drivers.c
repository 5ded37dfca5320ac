/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/drivers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "node/calls.h"
#include "node/cert.h"
#include "node/chain.h"
#include "node/report.h"
#include "node/status.h"
#include "node/stream.h"
#include "sim/group.h"

#define START_MS_MAX                                                                               \
	400 /* a native function is there at once, a container in some hundred milliseconds */

static char *text(const char *s)
{
	static char empty[] = "";

	return s ? (char *)(uintptr_t)s : empty;
}

static struct sim_node *of(struct node *n)
{
	return CONTAINER_OF(n, struct sim_node, n);
}

/* ---- functions ---- */

static struct sim_function *function_find(const struct sim_node *s, const char *id)
{
	for (size_t i = 0; i < s->n_functions; i++)
		if (strcmp(s->functions[i].id, id) == 0)
			return &s->functions[i];
	return NULL;
}

static bool is_up(const struct sim_function *f)
{
	return f && clock_mono_ns() >= f->up_at_ns;
}

static struct sim_function *function_new(struct sim_node *s, const char *id)
{
	struct sim_function *f;
	uint16_t random;

	if (s->n_functions == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 8;
		struct sim_function *grown = realloc(s->functions, cap * sizeof(*grown));

		if (!grown)
			return NULL;
		s->functions = grown;
		s->cap = cap;
	}
	random_bytes(&random, sizeof(random));
	f = &s->functions[s->n_functions++];
	*f = (struct sim_function){ .up_at_ns = clock_mono_ns() + random % START_MS_MAX * NS_PER_MS,
				    .started_us = clock_wall_us() };
	(void)str_copy(f->id, sizeof(f->id), str_of(id));
	return f;
}

void drivers_intent(struct sim_node *s)
{
	const intent_object *o;

	for (size_t i = 0; i < s->n_functions; i++)
		s->functions[i].seen = false;
	for (size_t pos = 0; (o = intent_next(s->n.intent, "server", &pos));) {
		struct sim_function *f = function_find(s, o->id);

		if (!f)
			f = function_new(s, o->id);
		if (f)
			f->seen = true;
	}
	for (size_t i = 0; i < s->n_functions;) {
		if (s->functions[i].seen) {
			i++;
			continue;
		}
		reports_server_gone(&s->n, s->functions[i].id);
		s->functions[i] = s->functions[--s->n_functions];
	}
}

int64_t drivers_next_ns(const struct sim_node *s)
{
	int64_t next = INT64_MAX, now = clock_mono_ns();

	for (size_t i = 0; i < s->n_functions; i++)
		if (s->functions[i].up_at_ns > now)
			next = MIN_OF(next, s->functions[i].up_at_ns);
	return next;
}

/* ---- statuses ---- */

struct emit {
	status_fn fn;
	void *ctx;
};

static void emit(const struct emit *em, enum status_kind kind, const char *id, const ProtobufCMessage *m)
{
	size_t size = protobuf_c_message_get_packed_size(m);
	CLEANUP(free_voidp) uint8_t *buf = malloc(size + 1);
	struct str bytes = { (const char *)buf, size };

	if (!buf)
		return;
	protobuf_c_message_pack(m, buf);
	em->fn(em->ctx, kind, id, bytes, bytes);
}

static void emit_server(const struct sim_node *s, const intent_object *o, const struct emit *em)
{
	Demarc__V1__ServerStatus m = DEMARC__V1__SERVER_STATUS__INIT;
	const struct sim_function *f = function_find(s, o->id);
	bool runs = o->server->power == DEMARC__V1__POWER__POWER_RUNNING;

	m.id = o->id;
	m.state = !runs	   ? DEMARC__V1__SERVER_STATE__SERVER_STOPPED :
		  is_up(f) ? DEMARC__V1__SERVER_STATE__SERVER_RUNNING :
			     DEMARC__V1__SERVER_STATE__SERVER_BUILDING;
	m.healthy = runs && is_up(f);
	m.version = o->version;
	m.reboot_generation = o->server->reboot_generation;
	m.started_us = m.healthy ? f->started_us : 0;
	emit(em, STATUS_SERVER, o->id, &m.base);
}

static void emit_port(const struct sim_node *s, const intent_object *o, const struct emit *em)
{
	Demarc__V1__PortStatus m = DEMARC__V1__PORT_STATUS__INIT;
	Demarc__V1__Observed seen = DEMARC__V1__OBSERVED__INIT;
	char mac[] = "00:00:00:00:00:00";

	if (!*o->port->server_id || !is_up(function_find(s, o->port->server_id)))
		return;
	(void)str_copy(mac, sizeof(mac), str_of(o->port->mac));
	seen.name = text("eth0");
	seen.mac = mac;
	seen.ifindex = 2;
	seen.network_id = o->port->network_id;
	seen.link_up = true;
	m.id = o->id;
	m.version = o->version;
	m.verified = true;
	m.observed = &seen;
	emit(em, STATUS_PORT, o->id, &m.base);
}

static bool pair_healthy(void *ctx, const Demarc__V1__Pair *pair, char *ret_why, size_t size)
{
	struct sim_node *s = ctx;
	const char *const ports[] = { pair->ingress_port_id, pair->egress_port_id };

	for (size_t i = 0; i < ARRAY_LEN(ports); i++) {
		const Demarc__V1__Port *p = intent_port(s->n.intent, ports[i]);

		if (p && is_up(function_find(s, p->server_id)))
			continue;
		(void)snprintf(ret_why, size, "the function of port %s does not run", ports[i]);
		return false;
	}
	return true;
}

static void emit_chain(struct sim_node *s, const intent_object *o, const struct emit *em)
{
	Demarc__V1__ChainStatus m = DEMARC__V1__CHAIN_STATUS__INIT;
	Demarc__V1__HopStatus hops[CHAIN_HOPS_MAX], *ptrs[CHAIN_HOPS_MAX];
	struct chain_view v;

	chain_evaluate(o->chain, NULL, pair_healthy, s, &v);
	m.id = o->id;
	m.change_id = o->chain->change_id;
	m.version = o->version;
	m.path = 1;
	m.state = v.degraded ? DEMARC__V1__CHAIN_STATE__CHAIN_DEGRADED :
			       DEMARC__V1__CHAIN_STATE__CHAIN_ACTIVE;
	for (size_t i = 0; i < v.n_hops; i++) {
		demarc__v1__hop_status__init(&hops[i]);
		hops[i].group_id = v.hops[i].hop->group_id;
		hops[i].name = v.hops[i].hop->name;
		hops[i].in_path = v.hops[i].in_path && !v.hops[i].drop;
		hops[i].reason = v.hops[i].reason;
		ptrs[m.n_hops++] = &hops[i];
	}
	m.hops = ptrs;
	emit(em, STATUS_CHAIN, o->id, &m.base);
}

void status_each(struct node *n, status_fn fn, void *ctx)
{
	const struct emit em = { fn, ctx };
	const intent_object *o;

	for (size_t i = 0; (o = intent_at(n->intent, i)); i++) {
		if (o->body_case == DEMARC__V1__OBJECT__BODY_SERVER)
			emit_server(of(n), o, &em);
		else if (o->body_case == DEMARC__V1__OBJECT__BODY_PORT)
			emit_port(of(n), o, &em);
		else if (o->body_case == DEMARC__V1__OBJECT__BODY_CHAIN)
			emit_chain(of(n), o, &em);
	}
}

size_t status_counters(struct node *n, Demarc__V1__Counter *ret, size_t max)
{
	(void)n;
	if (max == 0)
		return 0;
	demarc__v1__counter__init(ret);
	ret->name = text("port_rx_packets");
	ret->value = (uint64_t)clock_mono_ns() >> 10;
	return 1;
}

size_t status_node(struct node *n, Demarc__V1__NodeStatus *ret, Demarc__V1__Counter *drops, size_t max)
{
	(void)drops;
	(void)max;
	demarc__v1__node_status__init(ret);
	ret->uptime_s = (uint64_t)((clock_mono_ns() - n->started_ns) / NS_PER_S);
	ret->running_functions = (uint32_t)of(n)->n_functions;
	ret->memory_used_mb = 200;
	return 0;
}

/* ---- the rest of the agent, as channel.c knows it ---- */

/* Which change the watched port shows: its name ends with the change's number. */
static uint32_t change_of(const struct sim_node *s)
{
	const Demarc__V1__Port *p = intent_port(s->n.intent, s->who->port);
	const char *dash = p ? strrchr(p->name, '-') : NULL;
	uint64_t number = 0;

	return dash && str_to_u64(str_of(dash + 1), UINT32_MAX, &number) == 0 ? (uint32_t)number : 0;
}

void sim_note(struct sim_node *s)
{
	struct sim_slot *slot = s->slot;
	uint32_t held = change_of(s);
	bool agrees = s->n.link && link_client_is_up(s->n.link) && s->n.said_hello &&
		      intent_revision(s->n.intent) >= s->hub_revision;

	if (held != slot->held) {
		slot->held_ns = clock_mono_ns();
		slot->held = held;
	}
	slot->revision = intent_revision(s->n.intent);
	if (agrees && slot->state != SIM_STEADY)
		slot->steady_ns = clock_mono_ns();
	slot->state = agrees ? SIM_STEADY : s->n.said_hello ? SIM_CONNECTED : SIM_DOWN;
}

int node_intent(struct node *n, const Demarc__V1__Intent *m, struct err *e)
{
	struct sim_node *s = of(n);
	int r = intent_apply(n->intent, m, e);

	if (r < 0) {
		s->slot->n_refused++;
		return r;
	}
	s->slot->n_intents++;
	n->intent_ns = clock_mono_ns();
	if (m->full)
		n->frozen = false;
	s->hub_revision = MAX_OF(s->hub_revision, intent_revision(n->intent));
	drivers_intent(s);
	group_note(s->shared, n->intent, s->slot);
	sim_note(s);
	s->next_flush_ns = 0;
	return 0;
}

void node_kick(struct node *n)
{
	of(n)->next_flush_ns = 0;
}

void runtime_version(const struct runtime *rt, char *ret, size_t size)
{
	(void)rt;
	(void)snprintf(ret, size, "simulated");
}

void images_link_up(struct images *im)
{
	(void)im;
}

void images_chunk(struct images *im, const Demarc__V1__Chunk *c)
{
	(void)im;
	(void)c;
}

void cert_link_up(struct node *n)
{
	(void)n;
}

void cert_link_down(struct node *n)
{
	(void)n;
}

/* Kept as a name only: what the hub says is not stored, and certificates outlive a simulation. */
void cert_trust(struct node *n, const Demarc__V1__Trust *m)
{
	(void)str_copy(n->identity->trust_digest, sizeof(n->identity->trust_digest), str_of(m->digest));
}

void cert_issued(struct node *n, const Demarc__V1__CertIssued *m)
{
	(void)n;
	(void)m;
}

void calls_answer(struct node *n, uint64_t request, const Demarc__V1__Call *call)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__CallResult r = DEMARC__V1__CALL_RESULT__INIT;

	(void)call;
	r.error = text("a simulated node has no console and no packets");
	r.fault = text("NOT_IMPLEMENTED");
	f.request = request;
	f.body_case = DEMARC__V1__FRAME__BODY_CALL_RESULT;
	f.call_result = &r;
	(void)!link_client_send(n->link, &f);
}

void streams_link_down(struct node *n)
{
	(void)n;
}

void streams_frame(struct node *n, const Demarc__V1__Frame *f)
{
	(void)n;
	(void)f;
}

size_t status_nics(struct node *n, struct status_nics *ret)
{
	(void)n;
	(void)ret;
	return 0;
}
