/* SPDX-License-Identifier: Apache-2.0 */

/* Settings of connection tracking: limits of what may be half open. */

#include "dp/internal.h"

#include <bpf/bpf.h>

bool limits_any(const struct dp_limits *l)
{
	return l->half_open || l->source_half_open || l->source_rate;
}

/* The counters of a row that is there stay. */
int limits_put(struct dp *dp, const struct port_key *k, const struct dp_limits *l, struct err *e)
{
	struct limit_rec rec = { 0 }, old;

	if (!limits_any(l)) {
		dp_unset(dp, M_LIMITS, k);
		return 0;
	}
	if (!dp_get(dp, M_LIMITS, k, &old))
		rec = old;
	rec.half_open = l->half_open;
	rec.source_half_open = l->source_half_open;
	rec.source_rate = l->source_rate;
	rec.flags = l->syn_cookies ? LIMIT_COOKIES : 0;
	return dp_put(dp, M_LIMITS, k, &rec, e);
}
