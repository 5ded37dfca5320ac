/* SPDX-License-Identifier: Apache-2.0 */
#include "dp/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

_Static_assert(DP_SG_RULES_MAX == ABI_SG_RULES, "limits differ");

#define PROTO_ICMP 1
#define PROTO_ICMPV6 58

static void rule_of(const struct dp_sg_rule *r, struct sg_rule *ret)
{
	bool icmp;

	memset(ret, 0, sizeof(*ret));
	ret->flags = r->egress ? SG_RULE_EGRESS : 0;
	ret->family = r->family;
	ret->proto = r->proto;
	if (r->family == IP_V6 && r->proto == PROTO_ICMP) /* "icmp" of an IPv6 rule means ICMPv6 */
		ret->proto = PROTO_ICMPV6;
	icmp = ret->proto == PROTO_ICMP || ret->proto == PROTO_ICMPV6;
	ret->min = r->port_min;
	ret->max = r->port_max;
	if (r->has_ports && !icmp)
		ret->flags |= SG_RULE_PORTS;
	if (r->has_ports && icmp)
		ret->flags |= SG_RULE_TYPE | (r->port_max < 256 ? SG_RULE_CODE : 0);
	if (r->remote.addr.family) {
		ret->family = r->remote.addr.family;
		cidr_words(&r->remote, ret->ip, ret->mask);
	}
	ret->remote_sg = r->remote_sg;
}

static struct sg_member_key member_key(uint32_t sg, const struct ip_addr *a)
{
	struct sg_member_key k = { .sg = sg, .family = a->family };

	ip_words(a, k.ip);
	return k;
}

/* Order does not matter: the sum of one FNV-1a hash per address. */
static uint64_t members_hash(const struct ip_addr *v, size_t n)
{
	uint64_t sum = n;

	for (size_t i = 0; i < n; i++) {
		uint64_t h = 0xcbf29ce484222325ULL;

		for (size_t j = 0; j < sizeof(v[i].b); j++)
			h = (h ^ v[i].b[j]) * 0x100000001b3ULL;
		sum += (h ^ v[i].family) * 0x100000001b3ULL;
	}
	return sum;
}

static bool is_member(const struct sg_member_key *k, uint32_t sg, const struct ip_addr *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct sg_member_key m = member_key(sg, &v[i]);

		if (!memcmp(&m, k, sizeof(m)))
			return true;
	}
	return false;
}

static int members_drop(struct dp *dp, uint32_t sg, const struct ip_addr *keep, size_t n_keep,
			struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_SG_MEMBERS, sizeof(struct sg_member_key), &keys, e);

	for (int i = 0; i < n; i++) {
		struct sg_member_key *k = (struct sg_member_key *)keys + i;

		if (k->sg == sg && !is_member(k, sg, keep, n_keep))
			dp_unset(dp, M_SG_MEMBERS, k);
	}
	return n < 0 ? n : 0;
}

static int members_put(struct dp *dp, uint32_t sg, const struct ip_addr *v, size_t n, struct err *e)
{
	__u32 one = 1;
	int r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		struct sg_member_key k = member_key(sg, &v[i]);

		r = dp_put(dp, M_SG_MEMBERS, &k, &one, e);
	}
	return r;
}

int dp_sg_set(struct dp *dp, uint32_t sg, const struct dp_sg_rule *rules, size_t n_rules,
	      const struct ip_addr *members, size_t n_members, struct err *e)
{
	CLEANUP(free_voidp) struct sg_rec *rec = calloc(2, sizeof(*rec));
	struct sg_rec *old = rec ? rec + 1 : NULL;
	bool had, same_members;
	int r = 0;

	if (!rec)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	if (n_rules > DP_SG_RULES_MAX)
		return err_set(e, FAULT_TOO_LARGE, "rules",
			       "security group %u has more than %d rules", sg, DP_SG_RULES_MAX);
	r = names_add(&dp->names, NAME_SG, sg, 0, e);
	if (r)
		return r;
	rec->n_rules = (__u32)n_rules;
	rec->n_members = (__u32)n_members;
	rec->members_hash = members_hash(members, n_members);
	for (size_t i = 0; i < n_rules; i++)
		rule_of(&rules[i], &rec->rules[i]);
	had = !dp_get(dp, M_SGS, &sg, old);
	if (had && !memcmp(rec, old, sizeof(*rec)))
		return 0;
	same_members = had && old->members_hash == rec->members_hash && old->n_members == rec->n_members;
	if (!same_members)
		r = members_put(dp, sg, members, n_members, e);
	if (!r)
		r = dp_put(dp, M_SGS, &sg, rec, e);
	if (!r && !same_members)
		r = members_drop(dp, sg, members, n_members, e);
	dp_gen_bump(dp);
	return r;
}

int dp_sg_del(struct dp *dp, uint32_t sg, struct err *e)
{
	dp_unset(dp, M_SGS, &sg);
	dp_gen_bump(dp);
	return members_drop(dp, sg, NULL, 0, e);
}

/* Members of groups that are not there: a process was killed between the two. */
int sg_sweep(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) struct sg_rec *rec = malloc(sizeof(*rec));
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_SG_MEMBERS, sizeof(struct sg_member_key), &keys, e);

	if (!rec)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	for (int i = 0; i < n; i++) {
		struct sg_member_key *k = (struct sg_member_key *)keys + i;

		if (dp_get(dp, M_SGS, &k->sg, rec))
			dp_unset(dp, M_SG_MEMBERS, k);
	}
	return n < 0 ? n : 0;
}
