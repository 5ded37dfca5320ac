/* SPDX-License-Identifier: Apache-2.0 */
#include "model/chain.h"

static bool same(const struct chain_hop *a, const struct chain_hop *b)
{
	return strcmp(a->id, b->id) == 0;
}

static bool has(const struct chain_hop *hops, size_t n, const struct chain_hop *h)
{
	for (size_t i = 0; i < n; i++)
		if (same(&hops[i], h))
			return true;
	return false;
}

static void add_names(struct strbuf *out, const char *verb, const struct chain_hop *hops, size_t n)
{
	strbuf_addf(out, "%s: ", verb);
	for (size_t i = 0; i < n; i++)
		strbuf_addf(out, "%s%s", i ? ", " : "", hops[i].name);
}

/* longer = shorter with one hop more: its position, or -1. */
static int extra_hop(const struct chain_hop *longer, size_t n_longer, const struct chain_hop *shorter)
{
	size_t at = 0;

	while (at + 1 < n_longer && same(&longer[at], &shorter[at]))
		at++;
	for (size_t i = at; i + 1 < n_longer; i++)
		if (!same(&longer[i + 1], &shorter[i]))
			return -1;
	return (int)at;
}

static bool diff_length(struct strbuf *out, const struct chain_hop *old, size_t n_old,
			const struct chain_hop *now, size_t n_now)
{
	int at;

	if (n_now == n_old + 1 && (at = extra_hop(now, n_now, old)) >= 0) {
		if (at == 0)
			strbuf_addf(out, "inserted %s first", now[0].name);
		else
			strbuf_addf(out, "inserted %s after %s", now[at].name, now[at - 1].name);
		return true;
	}
	if (n_old == n_now + 1 && (at = extra_hop(old, n_old, now)) >= 0) {
		strbuf_addf(out, "removed %s", old[at].name);
		return true;
	}
	return false;
}

/* Same length: one other hop, or another order. */
static bool diff_order(struct strbuf *out, const struct chain_hop *old, const struct chain_hop *now,
		       size_t n)
{
	size_t n_other = 0, n_unknown = 0, at = 0;

	for (size_t i = 0; i < n; i++) {
		if (same(&old[i], &now[i]))
			continue;
		at = i;
		n_other++;
		n_unknown += !has(old, n, &now[i]);
	}
	if (n_other == 0)
		return true;
	if (n_unknown == 0)
		add_names(out, "reordered", now, n);
	else if (n_other == 1)
		strbuf_addf(out, "replaced %s by %s", old[at].name, now[at].name);
	return n_unknown == 0 || n_other == 1;
}

void chain_diff(struct strbuf *out, const struct chain_hop *old, size_t n_old,
		const struct chain_hop *now, size_t n_now)
{
	if (n_old == 0 && n_now > 0)
		add_names(out, "created", now, n_now);
	else if (n_old == n_now ? !diff_order(out, old, now, n_now) :
				  !diff_length(out, old, n_old, now, n_now))
		add_names(out, "changed to", now, n_now);
}

static bool ranges_meet(struct port_range a, struct port_range b)
{
	return a.min <= b.max && b.min <= a.max;
}

static bool prefixes_meet(struct ip_cidr a, struct ip_cidr b)
{
	return !a.addr.family || !b.addr.family || cidr_overlaps(a, b);
}

static bool ports_meet(const char *a, const char *b)
{
	return !a || !b || strcmp(a, b) == 0;
}

bool classifier_conflicts(const struct classifier *a, const struct classifier *b)
{
	return a->family == b->family &&
	       (!a->proto.num || !b->proto.num || a->proto.num == b->proto.num) &&
	       ranges_meet(a->sport, b->sport) && ranges_meet(a->dport, b->dport) &&
	       prefixes_meet(a->src, b->src) && prefixes_meet(a->dst, b->dst) &&
	       ports_meet(a->src_port, b->src_port) && ports_meet(a->dst_port, b->dst_port);
}
