/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Lists of translations. What a rule matches is a rule of a table (tables.c) like any other; what it does is a target beside it, under a
 * number made from its content. So a list that changes finds the targets that it keeps, and the kernel never sees a rule with
 * another one's target: what is new is written first, what is old removed last.
 */

#include "nat.h"
#include "dp/tables.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

_Static_assert(DP_NAT_RULES_MAX == ABI_NAT_RULES, "limits differ");

#define PROTO_TCP 6
#define PROTO_UDP 17

/* ---- what is wrong with a rule ---- */

static const char *wrong_match(const struct ip_cidr *c, uint32_t group, uint8_t family)
{
	if (group && c->addr.family)
		return "names an address and a group";
	if (group > POLICY_NUMBER_MAX)
		return "names a group with too large a number";
	if (c->addr.family && c->addr.family != family)
		return "matches an address of another family than the new one";
	if (c->addr.family && c->prefix_len > ip_max_prefix(&c->addr))
		return "has a prefix longer than its address";
	return NULL;
}

static const char *wrong_ports(const struct dp_nat_rule *r)
{
	bool of_ports = r->proto == PROTO_TCP || r->proto == PROTO_UDP;

	if (r->has_dport && !of_ports)
		return "has ports, and is not of TCP or UDP";
	if (r->has_dport && r->dport_min > r->dport_max)
		return "has a port range that ends before it begins";
	if (!r->to_min && r->to_max)
		return "has a new port range without a beginning";
	if (!r->to_min)
		return NULL;
	if (r->keep)
		return "has new ports, and translates nothing";
	if (!r->destination)
		return r->to_max < r->to_min ? "has a new port range that ends before it begins" : NULL;
	if (!r->has_dport)
		return "has a new destination port, and none that it stands for";
	if (r->to_max)
		return "has a range of new destination ports: it is as long as the one it matches";
	return r->to_min + (r->dport_max - r->dport_min) > 65535 ? "has new ports above 65535" : NULL;
}

/* NULL: nothing is. */
static const char *wrong_rule(const struct dp_nat_rule *r)
{
	uint8_t family = r->keep ? r->family : r->to.family;
	const char *wrong;

	if (family != IP_V4 && family != IP_V6)
		return r->keep ? "is of no family" : "has no new address";
	if (r->family && r->family != family)
		return "has a new address of another family";
	wrong = wrong_match(&r->src, r->src_group, family);
	if (!wrong)
		wrong = wrong_match(&r->dst, r->dst_group, family);
	return wrong ? wrong : wrong_ports(r);
}

static int check(uint32_t id, const struct dp_nat_rule *rules, size_t n, struct err *e)
{
	if (!id || id > DP_NAT_LISTS_MAX)
		return err_set(e, FAULT_BAD_REQUEST, "id", "list of translations %u is not 1..%d",
			       id, DP_NAT_LISTS_MAX);
	if (n > DP_NAT_RULES_MAX)
		return err_set(e, FAULT_TOO_LARGE, "rules",
			       "list of translations %u has more than %d rules", id, DP_NAT_RULES_MAX);
	for (size_t i = 0; i < n; i++) {
		const char *wrong = wrong_rule(&rules[i]);

		if (wrong)
			return err_set(e, FAULT_BAD_REQUEST, "rules", "rule %zu %s", i, wrong);
	}
	return 0;
}

/* ---- targets ---- */

static void target_of(const struct dp_nat_rule *r, struct nat_target *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->rule = r->id;
	if (r->keep) {
		ret->flags = NAT_KEEP;
		return;
	}
	ip_words(&r->to, ret->addr);
	if (!r->to_min)
		return;
	ret->flags = NAT_PORTS;
	ret->min = r->to_min;
	ret->max = r->to_max;
	ret->base = r->dport_min;
}

static uint32_t target_hash(const struct nat_target *t)
{
	const unsigned char *b = (const unsigned char *)t;
	uint32_t h = 0x811c9dc5;

	for (size_t i = 0; i < sizeof(*t); i++)
		h = (h ^ b[i]) * 0x01000193;
	return h;
}

/* Writes the target under the first number from its hash on that is free, or has the same content. */
static int target_put(struct dp *dp, uint32_t table, const struct nat_target *t, uint32_t *ret,
		      struct err *e)
{
	struct nat_target_key k = { .number = target_hash(t), .table = table };
	struct nat_target had;

	while (!dp_get(dp, M_NAT_TARGETS, &k, &had)) {
		if (!memcmp(&had, t, sizeof(had))) {
			*ret = k.number;
			return 0;
		}
		k.number++;
	}
	*ret = k.number;
	return dp_put(dp, M_NAT_TARGETS, &k, t, e);
}

static int u32_cmp(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Removes the targets of a table but those with one of n numbers. */
static int targets_drop(struct dp *dp, uint32_t table, uint32_t *numbers, size_t n, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n_keys = dp_keys(dp, M_NAT_TARGETS, sizeof(struct nat_target_key), &keys, e);

	if (n_keys < 0)
		return n_keys;
	if (n)
		qsort(numbers, n, sizeof(*numbers), u32_cmp);
	for (int i = 0; i < n_keys; i++) {
		struct nat_target_key *k = (struct nat_target_key *)keys + i;

		if (k->table == table &&
		    !(n && bsearch(&k->number, numbers, n, sizeof(*numbers), u32_cmp)))
			dp_unset(dp, M_NAT_TARGETS, k);
	}
	return 0;
}

/* ---- lists ---- */

static void rule_of(const struct dp_nat_rule *r, uint32_t table, uint32_t number, struct rule *ret)
{
	*ret = (struct rule){ .id = number,
			      .of = table,
			      .family = r->keep ? r->family : r->to.family,
			      .proto = r->proto,
			      .src = r->src,
			      .dst = r->dst,
			      .src_group = r->src_group,
			      .dst_group = r->dst_group,
			      .has_dport = r->has_dport,
			      .dport_min = r->dport_min,
			      .dport_max = r->dport_max };
}

static int half_set(struct dp *dp, uint32_t id, bool destination, const struct dp_nat_rule *rules,
		    size_t n, struct err *e)
{
	CLEANUP(free_voidp) struct rule *v = calloc(n + 1, sizeof(*v));
	CLEANUP(free_voidp) uint32_t *numbers = calloc(n + 1, sizeof(*numbers));
	uint32_t table = NAT_TABLE(id, destination);
	struct nat_target t;
	size_t len = 0;
	int r = 0;

	if (!v || !numbers)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	for (size_t i = 0; i < n && !r; i++) {
		if (rules[i].destination != destination)
			continue;
		target_of(&rules[i], &t);
		r = target_put(dp, table, &t, &numbers[len], e);
		if (!r)
			rule_of(&rules[i], table, numbers[len], &v[len]);
		len++;
	}
	if (!r)
		r = policy_table_set(dp, POLICY_NAT(id, destination), v, len, e);
	return r ? r : targets_drop(dp, table, numbers, len, e);
}

int dp_nat_set(struct dp *dp, uint32_t id, const struct dp_nat_rule *rules, size_t n, struct err *e)
{
	int r = check(id, rules, n, e);

	if (!r)
		r = names_add(&dp->names, NAME_NAT, id, 0, e);
	if (!r)
		r = half_set(dp, id, true, rules, n, e);
	return r ? r : half_set(dp, id, false, rules, n, e);
}

int dp_nat_del(struct dp *dp, uint32_t id, struct err *e)
{
	int r = check(id, NULL, 0, e);

	for (int destination = 0; destination < 2 && !r; destination++) {
		policy_table_del(dp, POLICY_NAT(id, destination));
		r = targets_drop(dp, NAT_TABLE(id, destination), NULL, 0, e);
	}
	return r;
}

/* Targets of lists that nobody named; their tables are policy_sweep()'s. */
int nat_sweep(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_NAT_TARGETS, sizeof(struct nat_target_key), &keys, e);

	for (int i = 0; i < n; i++) {
		struct nat_target_key *k = (struct nat_target_key *)keys + i;

		if (!names_has(&dp->names, NAME_NAT, k->table >> 1, 0))
			dp_unset(dp, M_NAT_TARGETS, k);
	}
	return n < 0 ? n : 0;
}
