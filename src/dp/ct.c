/* SPDX-License-Identifier: Apache-2.0 */

/* Settings of connection tracking, and limits of what may be half open. */

#include "dp/internal.h"

#include <bpf/bpf.h>

_Static_assert(DP_CT_STATES == CT_N, "states differ");

const char *dp_ct_state_name(size_t state)
{
	static const char *const name[CT_N] = {
#define X(id, text, seconds) [CT_##id] = text,
		CT_TABLE(X)
#undef X
	};

	return state < CT_N ? name[state] : NULL;
}

int dp_ct_set(struct dp *dp, const struct dp_ct *c, struct err *e)
{
	struct ct_conf conf;
	__u32 zero = 0;
	int r = dp_get(dp, M_CT_CONF, &zero, &conf);

	if (r)
		return err_errno(e, r, "settings of connection tracking");
	for (size_t i = 0; i < DP_CT_STATES; i++) {
		if (c->timeout_s[i] > DP_CT_TIMEOUT_MAX_S)
			return err_set(e, FAULT_BAD_REQUEST, dp_ct_state_name(i),
				       "idle time %u s is more than %d s", c->timeout_s[i],
				       DP_CT_TIMEOUT_MAX_S);
		conf.timeout_s[i] = c->timeout_s[i];
	}
	conf.flags = (c->tcp_liberal ? CT_LIBERAL : 0) | (c->tcp_strict ? CT_STRICT : 0);
	return dp_put(dp, M_CT_CONF, &zero, &conf, e);
}

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
