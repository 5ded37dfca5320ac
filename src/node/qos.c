/* SPDX-License-Identifier: Apache-2.0 */
#include "node/qos.h"

#include "base/log.h"
#include "node/guard.h"
#include "node/native.h"

#define KILO 1000

static bool is_limit(const Demarc__V1__Limit *l)
{
	return l && (l->kbps || l->pps);
}

static bool is_limited(const Demarc__V1__Port *p)
{
	return is_limit(p->limit_from) || is_limit(p->limit_to);
}

/* Returns the id of the meter, 0: none. */
static uint16_t set_meter(struct node *n, uint32_t id, const Demarc__V1__Limit *l, struct err *e)
{
	struct dp_meter m;

	if (!is_limit(l))
		return 0;
	m = (struct dp_meter){ .id = (uint16_t)id,
			       .rate_bps = l->kbps * KILO,
			       .burst_bytes = l->burst_kbit * KILO / 8,
			       .rate_pps = l->pps,
			       .burst_pkts = l->burst_packets };
	return dp_meter_set(n->dp, &m, e) < 0 ? 0 : m.id;
}

bool qos_port(struct node *n, const char *port_id, const Demarc__V1__Port *p, struct dp_port *d)
{
	struct err e = { 0 };
	uint32_t number;

	d->has_dscp = p->has_dscp;
	d->dscp = (uint8_t)p->dscp;
	if (!is_limited(p))
		return true;
	number = local_number(n->local, LOCAL_METER, port_id);
	if (number) {
		d->meter_from = set_meter(n, 2 * number - 1, p->limit_from, &e);
		d->meter_to = set_meter(n, 2 * number, p->limit_to, &e);
		if (!d->meter_from == !is_limit(p->limit_from) && !d->meter_to == !is_limit(p->limit_to))
			return true;
	}
	log_limited(LOG_WARN_, "limit_refused", "port=%s error=\"%s\"", port_id,
		    number ? e.msg : "more ports with limits than the datapath has meters for");
	return false;
}

static bool keep_meter(void *ctx, const char *id)
{
	struct node *n = ctx;
	const Demarc__V1__Port *p = intent_port(n->intent, id);

	if (guard_keeps_meter(n, id))
		return true;
	return p && (is_limited(p) || native_kind_of_port(n, id) == DP_NATIVE_POLICER);
}

void qos_prune(struct node *n)
{
	local_prune(n->local, LOCAL_METER, keep_meter, n);
}
