/* SPDX-License-Identifier: Apache-2.0 */
#include "node/native.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "node/chains.h"
#include "node/fabric.h"
#include "node/machine.h"
#include "node/qos.h"
#include "node/server.h"
#include "node/server_spec.h"

static const char *const kinds[] = {
	[DP_NATIVE_ACL] = "acl",
	[DP_NATIVE_FIREWALL] = "firewall",
	[DP_NATIVE_POLICER] = "policer",
	[DP_NATIVE_MIRROR] = "mirror",
};

bool native_is(const Demarc__V1__Server *pb)
{
	return *pb->image->native_kind != '\0';
}

static uint8_t kind_of(const Demarc__V1__Server *pb)
{
	for (size_t i = 1; i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i], pb->image->native_kind) == 0)
			return (uint8_t)i;
	return DP_NATIVE_NONE;
}

/* The server of a port, when it is a native function. */
static const Demarc__V1__Server *native_of_port(struct node *n, const char *port_id)
{
	const Demarc__V1__Port *p = intent_port(n->intent, port_id);
	const Demarc__V1__Server *pb = p && *p->server_id ? intent_server(n->intent, p->server_id) :
							    NULL;

	return pb && native_is(pb) ? pb : NULL;
}

uint8_t native_kind_of_port(struct node *n, const char *port_id)
{
	const Demarc__V1__Server *pb = native_of_port(n, port_id);

	return pb ? kind_of(pb) : DP_NATIVE_NONE;
}

ifindex native_port_index(struct node *n, const char *port_id)
{
	ifindex index = local_port_index(n->local, port_id);

	if (index.num && native_of_port(n, port_id))
		index.num += DP_PSEUDO_PORT - LOCAL_PORT_BASE;
	return index;
}

/* ---- policy ---- */

static uint64_t tighter(uint64_t a, uint64_t b)
{
	return a && b ? MIN_OF(a, b) : a + b;
}

static void limit_add(Demarc__V1__Limit *sum, const Demarc__V1__Limit *l)
{
	if (!l)
		return;
	sum->kbps = tighter(sum->kbps, l->kbps);
	sum->burst_kbit = tighter(sum->burst_kbit, l->burst_kbit);
	sum->pps = tighter(sum->pps, l->pps);
	sum->burst_packets = tighter(sum->burst_packets, l->burst_packets);
}

/* What enters by this port leaves by the other one: one bucket is both limits. */
static bool set_policer(struct node *n, const char *port_id, const Demarc__V1__Port *p,
			struct dp_port *d)
{
	const char *other = chains_pair_partner(n, port_id);
	const Demarc__V1__Port *q = other ? intent_port(n->intent, other) : NULL;
	Demarc__V1__Limit sum = DEMARC__V1__LIMIT__INIT;
	Demarc__V1__Port one = *p;

	limit_add(&sum, p->limit_to);
	limit_add(&sum, q ? q->limit_from : NULL);
	one.limit_to = &sum;
	one.limit_from = NULL;
	return qos_port(n, port_id, &one, d);
}

static const char *mirror_target(const Demarc__V1__Server *pb)
{
	for (size_t i = 0; i < pb->n_metadata; i++)
		if (strcmp(pb->metadata[i]->key, NATIVE_MIRROR_KEY) == 0)
			return pb->metadata[i]->value;
	return "";
}

bool native_port(struct node *n, const char *port_id, const Demarc__V1__Port *p, struct dp_port *d)
{
	const Demarc__V1__Server *pb = native_of_port(n, port_id);
	vlan_id vlan;

	d->flags |= DP_PORT_NATIVE;
	switch ((enum dp_native_kind)(pb ? kind_of(pb) : DP_NATIVE_NONE)) {
	case DP_NATIVE_POLICER:
		return set_policer(n, port_id, p, d);
	case DP_NATIVE_MIRROR:
		if (!fabric_port_place(n, mirror_target(pb), &d->mirror_to, &vlan))
			d->mirror_to.num = 0; /* native_verify() says so */
		return true;
	case DP_NATIVE_NONE:
	case DP_NATIVE_ACL:
	case DP_NATIVE_FIREWALL:
		return true;
	}
	return true;
}

/* ---- up and down ---- */

static uint64_t reboots_done(struct server *s)
{
	const char *text = local_note(s->n->local, "reboot", s->id);
	uint64_t done = 0;

	return text && str_to_u64(str_of(text), UINT64_MAX, &done) == 0 ? done : 0;
}

static void started(struct server *s, const Demarc__V1__Server *pb)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)pb->reboot_generation);
	local_note_set(s->n->local, "reboot", s->id, text);
	s->native = true;
	s->phase = SERVER_UP;
	s->failed_for_good = s->ended_well = false;
	s->started_us = clock_wall_us();
	s->up_ns = clock_mono_ns();
	s->verify_due = true;
	log_info("function_started", "server=%s native=%s", s->id, pb->image->native_kind);
}

void native_down(struct server *s)
{
	if (!s->native)
		return;
	s->native = false;
	s->phase = SERVER_OFF;
	s->verified = false;
	s->fault[0] = s->task[0] = '\0';
	vnics_clear(&s->wired);
	node_kick_fabric(s->n);
}

void native_step(struct server *s, const Demarc__V1__Server *pb)
{
	s->want_known = server_spec_vnics(s->n, pb, &s->want, s->want_missing, sizeof(s->want_missing));
	if (pb->power != DEMARC__V1__POWER__POWER_RUNNING) {
		native_down(s);
		s->fault[0] = '\0';
		return;
	}
	if (!s->want_known) {
		(void)str_copy(s->fault, sizeof(s->fault), str_of(s->want_missing));
		s->verified = false;
		return;
	}
	for (size_t i = 0; i < s->want.n; i++)
		s->want.slot[i].host_index = native_port_index(s->n, s->want.slot[i].port_id);
	if (!vnics_equal(&s->wired, &s->want))
		node_kick_fabric(s->n);
	vnics_copy(&s->wired, &s->want);
	if (s->phase != SERVER_UP || pb->reboot_generation > reboots_done(s))
		started(s, pb);
}

/* ---- what is there ---- */

static bool port_is_there(struct server *s, const struct vnic *v, struct vnic_observed *o,
			  char *ret_why, size_t size)
{
	const Demarc__V1__Port *p = intent_port(s->n->intent, v->port_id);
	const char *found = fabric_network_of(s->n, v->port_id);

	*o = (struct vnic_observed){
		.found = *found != '\0', .mac = v->mac, .index = v->host_index, .link_up = v->up
	};
	if (!p || strcmp(found, p->network_id) != 0) {
		vnic_diff_add(o, "network", p ? p->network_id : "none", *found ? found : "none");
		(void)snprintf(ret_why, size, "port %s is not in the datapath as it is wanted",
			       v->port_id);
		return false;
	}
	if (!v->up)
		(void)snprintf(ret_why, size, "port %s is administratively down", v->port_id);
	return v->up;
}

static bool looks_right(struct server *s, const Demarc__V1__Server *pb, char *ret_why, size_t size)
{
	vlan_id vlan;
	ifindex to;
	bool good = true;

	for (size_t i = 0; i < s->wired.n; i++)
		if (s->wired.slot[i].present)
			good &= port_is_there(s, &s->wired.slot[i], &s->seen[i], ret_why, size);
	if (!kind_of(pb)) {
		(void)snprintf(ret_why, size, "this node knows no native function of kind '%.32s'",
			       pb->image->native_kind);
		return false;
	}
	if (kind_of(pb) == DP_NATIVE_MIRROR &&
	    (!fabric_port_place(s->n, mirror_target(pb), &to, &vlan) || to.num >= DP_PSEUDO_PORT)) {
		(void)snprintf(ret_why, size,
			       "metadata " NATIVE_MIRROR_KEY
			       ": '%.40s' is no port with an interface on this node",
			       mirror_target(pb));
		return false;
	}
	return good;
}

void native_verify(struct server *s)
{
	const Demarc__V1__Server *pb = intent_server(s->n->intent, s->id);
	char why[sizeof(s->fault)] = "";
	bool before = s->verified;

	if (!s->seen)
		s->seen = calloc(VNICS_MAX, sizeof(*s->seen));
	if (!pb || !s->seen || s->phase != SERVER_UP || !s->want_known)
		return;
	s->verified = looks_right(s, pb, why, sizeof(why));
	(void)str_copy(s->fault, sizeof(s->fault), str_of(why));
	s->verify_due = false;
	s->checked_us = clock_wall_us();
	s->recheck_ns = clock_mono_ns() + s->n->machine->verify_ms * NS_PER_MS;
	if (before && !s->verified) {
		node_event(s->n, "binding_differs", "error", "server", s->id,
			   "native function %s: %s", pb->name, why);
		node_kick_fabric(s->n);
	}
}

/* ---- all of them ---- */

void natives_pass(struct node *n)
{
	const intent_object *o;

	for (size_t pos = 0; (o = intent_next(n->intent, "server", &pos));) {
		struct server *s = server_find(n, o->id);

		if (!native_is(o->server) ||
		    (s && !s->native && (s->job || s->residue || s->disk || s->phase != SERVER_OFF)))
			continue;
		if (!s)
			s = server_new(n, o->id);
		if (s)
			native_step(s, o->server);
	}
}

void natives_verify(struct node *n)
{
	for (struct server *s = n->servers; s; s = s->next)
		if (s->native)
			native_verify(s);
}

char *native_console(const struct server *s)
{
	const Demarc__V1__Server *pb = intent_server(s->n->intent, s->id);
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	char since[TIME_STR_SIZE];

	strbuf_addf(&b, "native %s: a stage of the datapath since %s, without process or console\n",
		    pb ? pb->image->native_kind : "function", time_format_s(s->started_us, since));
	for (size_t i = 0; i < s->wired.n; i++)
		if (s->wired.slot[i].present)
			strbuf_addf(&b, "vNIC %zu: port %s, number %d\n", i,
				    s->wired.slot[i].port_id, s->wired.slot[i].host_index.num);
	if (*s->fault)
		strbuf_addf(&b, "%s\n", s->fault);
	return strbuf_take(&b);
}
