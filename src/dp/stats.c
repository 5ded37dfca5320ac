/* SPDX-License-Identifier: Apache-2.0 */
#include "dp/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"
#include "base/clock.h"

/* A walk looks at the whole flow table; port counters may be this old. */
#define WALK_FRESH_NS (100 * NS_PER_MS)
#define AGE_WALKS 8 /* at most, to get told of all flows that ended */
/*
 * A walk over few records is done whenever it is asked for. One that takes longer is followed by a pause of that many times its length,
 * so that a million connections do not take more of a processor than a thousand; half the shortest idle time of a connection at most.
 */
#define WALK_CHEAP_NS (5 * NS_PER_MS)
#define WALK_PAUSE 24
#define WALK_PAUSE_MAX_NS (15 * NS_PER_S)

static const char *const drop_name[DROP_N] = {
#define X(name, id, text) id,
	DROP_TABLE(X)
#undef X
};

int dp_walk_run(struct dp *dp, struct walk_args *a, struct err *e)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .ctx_in = a, .ctx_size_in = sizeof(*a));

	if (bpf_prog_test_run_opts(dp->walk_fd, &o))
		return err_errno(e, errno, "walk over the flow records");
	if (a->op == WALK_AGE)
		dp->walked_ns = clock_mono_ns();
	return 0;
}

static int walk_once(struct dp *dp, struct walk_args *a, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_PATH_FLOWS, sizeof(__u32), &keys, e);

	for (int i = 0; i < n; i++)
		dp_unset(dp, M_PATH_FLOWS, (__u32 *)keys + i);
	*a = (struct walk_args){ .op = WALK_AGE, .before_ns = dp->aged_ns };
	return n < 0 ? n : dp_walk_run(dp, a, e);
}

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static bool walk_pauses(const struct dp *dp)
{
	int64_t pause = WALK_PAUSE * dp->walk_cost_ns;

	if (!dp->walked_ns || dp->walk_cost_ns < WALK_CHEAP_NS)
		return false;
	return clock_mono_ns() - dp->walked_ns < MIN_OF(pause, WALK_PAUSE_MAX_NS);
}

/* Again when the ring of ended flows was too small for one pass. */
static int walk_age(struct dp *dp, struct err *e)
{
	int64_t began = cpu_ns();
	struct walk_args a;
	int r, left = AGE_WALKS;

	if (walk_pauses(dp)) {
		observe_consume(dp);
		return 0;
	}

	do {
		r = walk_once(dp, &a, e);
		if (r)
			return r;
		dp->aged_ns = a.now_ns;
		observe_consume(dp);
	} while (a.n_deferred && --left);
	dp->walk_cost_ns = cpu_ns() - began;
	observe_walked(dp, a.n_records - a.n_deleted);
	return 0;
}

int dp_walk_fresh(struct dp *dp, int64_t max_age_ns, struct err *e)
{
	if (dp->walked_ns && clock_mono_ns() - dp->walked_ns < max_age_ns)
		return 0;
	return walk_age(dp, e);
}

int dp_age(struct dp *dp, struct err *e)
{
	if (__atomic_exchange_n(&dp->g->move_pending, 0, __ATOMIC_SEQ_CST))
		dp_gen_bump(dp);
	return walk_age(dp, e);
}

/* Adds what all CPUs counted for a port. v: room for one count a CPU. */
static int add_port(struct dp *dp, __u32 port, struct port_count *v, struct dp_port_stats *sum)
{
	if (dp_get(dp, M_PORT_COUNTS, &port, v))
		return -ENOENT;
	for (int i = 0; i < dp->n_cpus; i++) {
		sum->rx_pkts += v[i].rx_pkts;
		sum->rx_bytes += v[i].rx_bytes;
		sum->tx_pkts += v[i].tx_pkts;
		sum->tx_bytes += v[i].tx_bytes;
		sum->drop_pkts += v[i].drop_pkts;
	}
	return 0;
}

int dp_port_stats(struct dp *dp, ifindex port, struct dp_port_stats *ret, struct err *e)
{
	CLEANUP(free_voidp) struct port_count *v = calloc((size_t)dp->n_cpus, sizeof(*v));
	struct dp_port_stats sum = { 0 };
	int r;

	if (!v)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	r = dp_walk_fresh(dp, WALK_FRESH_NS, e);
	if (r)
		return r;
	if (add_port(dp, (__u32)port.num, v, &sum))
		return err_set(e, FAULT_NOT_FOUND, NULL, "interface %d is no port", port.num);
	*ret = sum;
	return 0;
}

int dp_totals(struct dp *dp, struct dp_port_stats *ret, struct err *e)
{
	CLEANUP(free_voidp) struct port_count *v = calloc((size_t)dp->n_cpus, sizeof(*v));
	CLEANUP(free_voidp) void *keys = NULL;
	struct dp_port_stats sum = { 0 };
	int n = dp_keys(dp, M_PORT_COUNTS, sizeof(__u32), &keys, e);

	if (!v)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	for (int i = 0; i < n; i++)
		(void)add_port(dp, ((__u32 *)keys)[i], v, &sum); /* one that has just gone counts no more */
	*ret = sum;
	return n < 0 ? n : 0;
}

size_t dp_n_drop_reasons(void)
{
	return DROP_N;
}

const char *dp_drop_reason_name(size_t reason)
{
	return reason < DROP_N ? drop_name[reason] : "unknown";
}

int dp_drop_totals(struct dp *dp, uint64_t *ret, size_t n, struct err *e)
{
	CLEANUP(free_voidp) uint64_t *v = calloc((size_t)dp->n_cpus, sizeof(*v));

	if (!v)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	for (__u32 i = 0; i < n && i < DROP_N; i++) {
		int r = dp_get(dp, M_DROP_COUNTS, &i, v);

		if (r)
			return err_errno(e, r, "drop counters");
		ret[i] = 0;
		for (int c = 0; c < dp->n_cpus; c++)
			ret[i] += v[c];
	}
	return 0;
}

/* Arrays have no entries to leak; the chain pointers are counted by being set. */
static uint64_t map_count(struct dp *dp, enum dp_map m)
{
	char a[64], b[64];
	void *prev = NULL, *next = a;
	uint64_t n = 0;

	if (m == M_CHAINS) {
		for (int c = 0; c < ABI_CHAINS; c++)
			n += dp->chains[c].path != 0;
		return n;
	}
	while (n < 1 << 22 && !bpf_map_get_next_key(dp->map[m], prev, next)) {
		prev = next;
		next = next == a ? b : a;
		n++;
	}
	return n;
}

int dp_map_counts(struct dp *dp, struct dp_map_count *ret, size_t max, struct err *e)
{
	static const char *const name[M_N] = {
#define X(map, id) [M_##map] = #id,
		DP_MAP_TABLE(X)
#undef X
	};
	size_t len = 0;

	for (enum dp_map m = 0; m < M_N && len < max; m++) {
		if (m == M_DROP_COUNTS || m == M_CONNS4 || m == M_CONNS6 || m == M_METERS ||
		    m == M_ENCAPS || m == M_MIRRORS || m == M_CT_CONF || m == M_POLICY_FACTS)
			continue;
		(void)str_copy(ret[len].name, sizeof(ret[len].name), str_of(name[m]));
		ret[len++].n_entries = map_count(dp, m);
	}
	return (int)len;
}
