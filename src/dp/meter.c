/* SPDX-License-Identifier: Apache-2.0 */

/* Token buckets and mirror targets. */

#include "dp/internal.h"

#include <string.h>

_Static_assert(DP_METERS_MAX == ABI_METERS - 1, "limits differ");

#define BURST_BYTES_MIN 65536 /* one segmentation offload packet */
#define BURST_PKTS_MIN 32
#define BPS_MAX 4000000000000ULL /* keeps METER_REFILL_MAX jiffies of tokens within 63 bits */

/* Tokens per jiffy of a rate per second, rounded up: a rate is never 0 by rounding. */
static __u64 per_jiffy(const struct dp *dp, __u64 per_second)
{
	return (per_second * METER_UNIT + dp->g->hz - 1) / dp->g->hz;
}

static __u64 burst_of(__u64 wanted, __u64 per_second, __u64 min)
{
	__u64 tenth = per_second / 10;

	if (!wanted)
		wanted = tenth > min ? tenth : min;
	return wanted * METER_UNIT;
}

int dp_meter_set(struct dp *dp, const struct dp_meter *m, struct err *e)
{
	struct meter_rec now = { 0 }, old;
	__u32 id = m->id;
	int r;

	if (!id || id > DP_METERS_MAX)
		return err_set(e, FAULT_BAD_REQUEST, "id", "meter %u is not 1..%d", id, DP_METERS_MAX);
	if (m->rate_bps > BPS_MAX || m->rate_pps > BPS_MAX || m->burst_bytes > BPS_MAX ||
	    m->burst_pkts > BPS_MAX)
		return err_set(e, FAULT_TOO_LARGE, "rate",
			       "meter %u: a rate or burst is above %llu", id, BPS_MAX);
	r = names_add(&dp->names, NAME_METER, id, 0, e);
	if (r)
		return r;
	now.byte_rate = per_jiffy(dp, m->rate_bps / 8);
	now.pkt_rate = per_jiffy(dp, m->rate_pps);
	now.byte_burst = burst_of(m->burst_bytes, m->rate_bps / 8, BURST_BYTES_MIN);
	now.pkt_burst = burst_of(m->burst_pkts, m->rate_pps, BURST_PKTS_MIN);
	if (!dp_get(dp, M_METERS, &id, &old) && old.byte_rate == now.byte_rate &&
	    old.pkt_rate == now.pkt_rate && old.byte_burst == now.byte_burst &&
	    old.pkt_burst == now.pkt_burst)
		return 0;
	now.bytes = (__s64)now.byte_burst;
	now.pkts = (__s64)now.pkt_burst;
	return dp_put(dp, M_METERS, &id, &now, e);
}

int dp_meter_del(struct dp *dp, uint16_t id, struct err *e)
{
	struct meter_rec none = { 0 };
	__u32 k = id;

	return k && k <= DP_METERS_MAX ? dp_put(dp, M_METERS, &k, &none, e) : 0;
}

int dp_meter_drops(struct dp *dp, uint16_t id, uint64_t *ret, struct err *e)
{
	struct meter_rec m;
	__u32 k = id;

	if (!k || dp_get(dp, M_METERS, &k, &m))
		return err_set(e, FAULT_NOT_FOUND, "id", "there is no meter %u", k);
	*ret = m.n_dropped;
	return 0;
}

int meter_sweep(struct dp *dp, struct err *e)
{
	struct meter_rec m;
	int r = 0;

	for (__u32 id = 1; id <= DP_METERS_MAX && !r; id++)
		if (!dp_get(dp, M_METERS, &id, &m) && (m.byte_burst || m.pkt_burst) &&
		    !names_has(&dp->names, NAME_METER, id, 0))
			r = dp_meter_del(dp, (uint16_t)id, e);
	return r;
}

/* ---- mirrors ---- */

int mirror_slot(struct dp *dp, ifindex to, __u16 *ret, struct err *e)
{
	struct mirror_rec m = { 0 };
	__u32 unused = 0;

	*ret = 0;
	if (!to.num)
		return 0;
	for (__u32 i = 1; i < ABI_MIRRORS; i++) {
		if (dp_get(dp, M_MIRRORS, &i, &m))
			break;
		if (m.ifindex == (__u32)to.num) {
			*ret = (__u16)i;
			return 0;
		}
		if (!m.ifindex && !unused)
			unused = i;
	}
	if (!unused)
		return err_set(e, FAULT_QUOTA, "mirror_to",
			       "ports are mirrored to more than %d others", ABI_MIRRORS - 1);
	m.ifindex = (__u32)to.num;
	*ret = (__u16)unused;
	return dp_put(dp, M_MIRRORS, &unused, &m, e);
}

/* Slots that no port names any more. */
int mirror_sweep(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	bool used[ABI_MIRRORS] = { false };
	struct mirror_rec none = { 0 }, m;
	int n = dp_keys(dp, M_PORTS, sizeof(struct port_key), &keys, e), r = 0;

	for (int i = 0; i < n; i++) {
		struct port_rec p;

		if (!dp_get(dp, M_PORTS, (struct port_key *)keys + i, &p) && p.mirror < ABI_MIRRORS)
			used[p.mirror] = true;
	}
	for (__u32 i = 1; n >= 0 && i < ABI_MIRRORS && !r; i++)
		if (!used[i] && !dp_get(dp, M_MIRRORS, &i, &m) && m.ifindex)
			r = dp_put(dp, M_MIRRORS, &i, &none, e);
	return n < 0 ? n : r;
}
