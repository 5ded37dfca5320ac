/* SPDX-License-Identifier: Apache-2.0 */
#include "node/status.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "dp/observe.h"
#include "node/chains.h"
#include "node/exports.h"
#include "node/fabric.h"
#include "node/server.h"

static char empty[] = "";

/* protobuf-c's strings are not const; nothing here writes to them. */
static char *text(const char *s)
{
	return s ? (char *)(uintptr_t)s : empty;
}

struct emit {
	status_fn fn;
	void *ctx;
};

static void emit(const struct emit *em, enum status_kind kind, const char *id,
		 const ProtobufCMessage *m, const ProtobufCMessage *stable)
{
	size_t size = protobuf_c_message_get_packed_size(m),
	       stable_size = protobuf_c_message_get_packed_size(stable);
	CLEANUP(free_voidp) uint8_t *a = malloc(size + 1);
	CLEANUP(free_voidp) uint8_t *b = malloc(stable_size + 1);

	if (!a || !b)
		return;
	protobuf_c_message_pack(m, a);
	protobuf_c_message_pack(stable, b);
	em->fn(em->ctx, kind, id, (struct str){ (char *)b, stable_size },
	       (struct str){ (char *)a, size });
}

/* ---- servers ---- */

static Demarc__V1__ServerState state_of(const struct server *s, const Demarc__V1__Server *pb)
{
	if (s->phase == SERVER_UP)
		return DEMARC__V1__SERVER_STATE__SERVER_RUNNING;
	if (pb->power != DEMARC__V1__POWER__POWER_RUNNING)
		return s->job || s->residue ? DEMARC__V1__SERVER_STATE__SERVER_RUNNING :
					      DEMARC__V1__SERVER_STATE__SERVER_STOPPED;
	if (s->ended_well)
		return DEMARC__V1__SERVER_STATE__SERVER_STOPPED;
	if (s->failed_for_good)
		return DEMARC__V1__SERVER_STATE__SERVER_FAILED;
	if (s->started_us)
		return DEMARC__V1__SERVER_STATE__SERVER_RESTARTING;
	return *s->fault && !s->job ? DEMARC__V1__SERVER_STATE__SERVER_FAILED :
				      DEMARC__V1__SERVER_STATE__SERVER_BUILDING;
}

static void emit_server(struct node *n, const struct server *s, const struct emit *em)
{
	Demarc__V1__ServerStatus m = DEMARC__V1__SERVER_STATUS__INIT;
	const Demarc__V1__Server *pb = intent_server(n->intent, s->id);
	const char *reboot = local_note(n->local, "reboot", s->id);
	char why[sizeof(s->fault)] = "";
	uint64_t done = 0;

	m.id = text(s->id);
	m.state = state_of(s, pb);
	m.healthy = server_healthy(s, why, sizeof(why));
	m.fault = text(*s->fault ? s->fault : s->phase == SERVER_UP ? why : "");
	m.version = intent_version(n->intent, "server", s->id);
	if (reboot && str_to_u64(str_of(reboot), UINT64_MAX, &done) == 0)
		m.reboot_generation = done;
	m.n_restarts = s->n_restarts;
	m.started_us = s->phase == SERVER_UP ? s->started_us : 0;
	m.task = text(s->task);
	emit(em, STATUS_SERVER, s->id, &m.base, &m.base);
}

/* ---- ports ---- */

#define DIFFS_MAX VNIC_DIFFS_MAX

static void emit_port(struct node *n, const struct server *s, size_t slot, const struct emit *em)
{
	const struct vnic *v = &s->want.slot[slot];
	const struct vnic_observed *o = s->seen && (s->entered || s->native) ? &s->seen[slot] : NULL;
	Demarc__V1__PortStatus m = DEMARC__V1__PORT_STATUS__INIT, stable;
	Demarc__V1__Observed seen = DEMARC__V1__OBSERVED__INIT;
	Demarc__V1__Difference diffs[DIFFS_MAX], *diff_ptrs[DIFFS_MAX];
	char mac[MAC_STR_SIZE], cidrs[VNIC_ADDRS_MAX][CIDR_STR_SIZE];
	char *cidr_ptrs[VNIC_ADDRS_MAX];

	m.id = text(v->port_id);
	m.version = intent_version(n->intent, "port", v->port_id);
	m.checked_us = s->checked_us;
	for (size_t i = 0; o && i < o->n_diffs; i++) {
		demarc__v1__difference__init(&diffs[i]);
		diffs[i].attribute = text(o->diffs[i].attribute);
		diffs[i].wanted = text(o->diffs[i].wanted);
		diffs[i].found = text(o->diffs[i].found);
		diff_ptrs[m.n_differences++] = &diffs[i];
	}
	m.differences = diff_ptrs;
	if (o && o->found) {
		seen.name = text(o->name);
		seen.mac = text(mac_format(o->mac, mac));
		seen.ifindex = (uint32_t)o->index.num;
		for (size_t i = 0; i < o->n_addrs; i++)
			cidr_ptrs[seen.n_addresses++] = text(cidr_format(o->addrs[i], cidrs[i]));
		seen.addresses = cidr_ptrs;
		seen.network_id = text(fabric_network_of(n, v->port_id));
		seen.link_up = o->link_up;
		m.observed = &seen;
		m.verified = o->n_diffs == 0 && s->phase == SERVER_UP;
	}
	stable = m;
	stable.checked_us = 0;
	emit(em, STATUS_PORT, v->port_id, &m.base, &stable.base);
}

/* ---- chains ---- */

static void emit_chain(struct node *n, const struct chain_rec *c, const struct emit *em)
{
	Demarc__V1__ChainStatus m = DEMARC__V1__CHAIN_STATUS__INIT;
	Demarc__V1__HopStatus hops[CHAIN_HOPS_MAX], *hop_ptrs[CHAIN_HOPS_MAX];
	char *pairs[CHAIN_HOPS_MAX][CHAIN_PAIRS_MAX];

	m.id = text(c->id);
	m.change_id = text(c->in_force ? c->in_force->chain->change_id : "");
	m.held_change_id = text(c->held_change);
	m.state = c->state;
	m.reason = text(c->reason);
	m.path = c->path;
	m.flipped_us = c->flipped_us;
	m.build_us = c->build_us;
	m.flows_moved = c->n_moved;
	m.flows_kept = c->n_kept;
	m.flows_draining = c->n_draining;
	m.version = c->in_force ? c->in_force->version : 0;
	for (size_t i = 0; i < c->n_hops; i++) {
		const struct chain_hop_status *h = &c->hops[i];

		demarc__v1__hop_status__init(&hops[i]);
		hops[i].group_id = text(h->group_id);
		hops[i].name = text(h->name);
		hops[i].in_path = h->in_path;
		hops[i].reason = text(h->reason);
		for (size_t k = 0; k < h->n_healthy; k++)
			pairs[i][hops[i].n_healthy_pairs++] = text(h->healthy[k]);
		hops[i].healthy_pairs = pairs[i];
		hop_ptrs[m.n_hops++] = &hops[i];
	}
	m.hops = hop_ptrs;
	emit(em, STATUS_CHAIN, c->id, &m.base, &m.base);
}

void status_each(struct node *n, status_fn fn, void *ctx)
{
	const struct emit em = { fn, ctx };

	for (const struct server *s = n->servers; s; s = s->next) {
		if (!intent_server(n->intent, s->id))
			continue; /* on its way out: the last word on it is SERVER_GONE */
		emit_server(n, s, &em);
		for (size_t i = 0; s->want_known && i < s->want.n; i++)
			if (s->want.slot[i].present)
				emit_port(n, s, i, &em);
	}
	for (const struct chain_rec *c = chains_first(n); c; c = c->next)
		emit_chain(n, c, &em);
}

size_t status_node(struct node *n, Demarc__V1__NodeStatus *ret, Demarc__V1__Counter *drops, size_t max)
{
	uint64_t totals[128] = { 0 };
	size_t count = MIN_OF(MIN_OF(dp_n_drop_reasons(), ARRAY_LEN(totals)), max), n_drops = 0;

	demarc__v1__node_status__init(ret);
	ret->memory_used_mb = (uint64_t)(sysconf(_SC_PHYS_PAGES) - sysconf(_SC_AVPHYS_PAGES)) *
				      (uint64_t)sysconf(_SC_PAGESIZE) >>
			      20;
	ret->uptime_s = (uint64_t)((clock_mono_ns() - n->started_ns) / NS_PER_S);
	for (const struct server *s = n->servers; s; s = s->next)
		ret->running_functions += s->phase == SERVER_UP;
	if (dp_drop_totals(n->dp, totals, count, NULL) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (!totals[i])
			continue;
		demarc__v1__counter__init(&drops[n_drops]);
		drops[n_drops].name = text(dp_drop_reason_name(i));
		drops[n_drops++].value = totals[i];
	}
	return n_drops;
}

size_t status_counters(struct node *n, Demarc__V1__Counter *ret, size_t max)
{
	struct dp_table_figures t;
	struct dp_port_stats p = { 0 };
	struct export_figures x;
	struct dp_losses lost;
	uint64_t n_xdp = 0;

	dp_table_figures(n->dp, &t);
	exports_figures(n, &x);
	dp_losses(n->dp, &lost);
	for (size_t i = 0; i < n->cfg.n_nics; i++)
		n_xdp += fabric_nic(n, i) && fabric_nic(n, i)->xdp;
	if (dp_totals(n->dp, &p, NULL) < 0)
		memset(&p, 0, sizeof(p));
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{ "port_rx_packets", p.rx_pkts },
		{ "port_rx_bytes", p.rx_bytes },
		{ "port_tx_packets", p.tx_pkts },
		{ "port_tx_bytes", p.tx_bytes },
		{ "flows_made", t.made },
		{ "flows_shed", t.shed },
		{ "flows_full", t.full },
		{ "flows_early", t.early },
		{ "flow_records", t.records },
		{ "flow_records_max", t.capacity },
		{ "ipfix_messages", x.messages },
		{ "ipfix_records", x.records },
		{ "ipfix_bytes", x.octets },
		{ "ipfix_unsent_records", x.unsent },
		{ "ipfix_held_flows", x.held },
		{ "flow_events_lost", lost.flows },
		{ "packet_events_lost", lost.packets },
		{ "nics_xdp", n_xdp },
	};
	size_t len = MIN_OF(max, ARRAY_LEN(rows));

	for (size_t i = 0; i < len; i++) {
		demarc__v1__counter__init(&ret[i]);
		ret[i].name = text(rows[i].name);
		ret[i].value = rows[i].value;
	}
	return len;
}

/* ---- NICs ---- */

static size_t nic_features(const struct dp_nic *nic, char *ret[static STATUS_NIC_FEATURES_MAX])
{
	const struct {
		const char *name;
		uint32_t on;
	} rows[] = {
		{ "xdp", nic->xdp_features & DP_NIC_XDP },
		{ "xdp-out", nic->xdp_features & DP_NIC_XDP_OUT },
		{ "xdp-offload", nic->xdp_features & DP_NIC_XDP_HW },
		{ "hint-timestamp", nic->hints & DP_NIC_HINT_TIMESTAMP },
		{ "hint-hash", nic->hints & DP_NIC_HINT_HASH },
		{ "hint-vlan", nic->hints & DP_NIC_HINT_VLAN },
	};
	size_t n = 0;

	_Static_assert(ARRAY_LEN(rows) <= STATUS_NIC_FEATURES_MAX, "room for every feature");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].on)
			ret[n++] = text(rows[i].name);
	return n;
}

size_t status_nics(struct node *n, struct status_nics *ret)
{
	size_t len = 0;

	for (size_t i = 0; i < n->cfg.n_nics; i++) {
		const struct dp_nic *nic = fabric_nic(n, i);
		Demarc__V1__NicStatus *m = &ret->row[len];

		if (!nic)
			continue;
		demarc__v1__nic_status__init(m);
		m->name = n->cfg.nics[i].name;
		m->device = n->cfg.nics[i].device;
		m->driver = text(nic->driver);
		m->hook = text(nic->xdp ? "xdp" : "tc");
		m->reason = text(nic->reason);
		m->features = ret->features[len];
		m->n_features = nic_features(nic, m->features);
		ret->ptr[len++] = m;
	}
	return len;
}
