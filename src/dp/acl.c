/* SPDX-License-Identifier: Apache-2.0 */

/* Stateless lists of rules, and named groups of addresses. */

#include "dp/tables.h"

#include <stdlib.h>

#include "base/cleanup.h"

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMPV6 58
#define PROTO_SCTP 132

static bool is_icmp(uint8_t proto)
{
	return proto == PROTO_ICMP || proto == PROTO_ICMPV6;
}

static int check_number(uint32_t id, const char *what, struct err *e)
{
	if (id && id <= POLICY_NUMBER_MAX)
		return 0;
	return err_set(e, FAULT_BAD_REQUEST, "id", "%s %u is not 1..%u", what, id, POLICY_NUMBER_MAX);
}

static bool has_ports(uint8_t proto)
{
	return proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_SCTP;
}

static const char *wrong_side(const struct ip_cidr *c, uint32_t group)
{
	if (group && c->addr.family)
		return "names an address and a group";
	if (group > POLICY_NUMBER_MAX)
		return "names a group with too large a number";
	if (c->addr.family && c->addr.family != IP_V4 && c->addr.family != IP_V6)
		return "has an address of no family";
	if (c->addr.family && c->prefix_len > ip_max_prefix(&c->addr))
		return "has a prefix longer than its address";
	return NULL;
}

/* What is wrong with the rule; NULL: nothing. */
static const char *wrong_rule(const struct dp_acl_rule *r)
{
	const char *side = wrong_side(&r->src, r->src_group);

	if (!side)
		side = wrong_side(&r->dst, r->dst_group);
	if (side)
		return side;
	if (r->family && r->family != IP_V4 && r->family != IP_V6)
		return "is of no family";
	if ((r->has_sport || r->has_dport) && !has_ports(r->proto))
		return "has ports, and a protocol without them";
	if ((r->has_sport && r->sport_min > r->sport_max) ||
	    (r->has_dport && r->dport_min > r->dport_max))
		return "has a port range that ends before it begins";
	if (r->tcp_flags_mask && r->proto != PROTO_TCP)
		return "has TCP flags, and is not of TCP";
	if ((r->has_icmp && !is_icmp(r->proto)) || (r->has_icmp_code && !r->has_icmp))
		return "has an ICMP type or code, and is not of ICMP, or has no type";
	if (r->dscp > 63 || r->vlan.id > 4094)
		return "has a DSCP above 63 or a VLAN above 4094";
	return NULL;
}

static int check_rule(const struct dp_acl_rule *r, size_t i, struct err *e)
{
	const char *wrong = wrong_rule(r);

	return wrong ? err_set(e, FAULT_BAD_REQUEST, "rules", "rule %zu %s", i, wrong) : 0;
}

static void rule_of(const struct dp_acl_rule *from, uint32_t list, struct rule *ret)
{
	*ret = (struct rule){ .id = from->id,
			      .of = list,
			      .deny = from->reject ? POLICY_REJECTS : from->deny,
			      .family = from->family,
			      .proto = from->proto,
			      .src = from->src,
			      .dst = from->dst,
			      .src_group = from->src_group,
			      .dst_group = from->dst_group,
			      .has_sport = from->has_sport,
			      .sport_min = from->sport_min,
			      .sport_max = from->sport_max,
			      .has_dport = from->has_dport,
			      .dport_min = from->dport_min,
			      .dport_max = from->dport_max,
			      .vlan = from->vlan.id,
			      .flags_mask = from->tcp_flags_mask,
			      .flags_value = from->tcp_flags,
			      .has_dscp = from->has_dscp,
			      .dscp = from->dscp };
	if (!is_icmp(from->proto) || !from->has_icmp)
		return;
	ret->has_dport = true;
	ret->dport_min = (uint16_t)(from->icmp_type << 8 | (from->has_icmp_code ? from->icmp_code : 0));
	ret->dport_max =
		(uint16_t)(from->icmp_type << 8 | (from->has_icmp_code ? from->icmp_code : 255));
}

int dp_acl_set(struct dp *dp, uint32_t id, const struct dp_acl_rule *rules, size_t n, struct err *e)
{
	CLEANUP(free_voidp) struct rule *v = NULL;
	int r = check_number(id, "list", e);

	if (!r && n > DP_ACL_RULES_MAX)
		r = err_set(e, FAULT_TOO_LARGE, "rules", "list %u has more than %d rules", id,
			    DP_ACL_RULES_MAX);
	for (size_t i = 0; i < n && !r; i++)
		r = check_rule(&rules[i], i, e);
	if (!r)
		r = names_add(&dp->names, NAME_ACL, id, 0, e);
	if (r)
		return r;
	v = calloc(n + 1, sizeof(*v));
	if (!v)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	for (size_t i = 0; i < n; i++)
		rule_of(&rules[i], id, &v[i]);
	return policy_table_set(dp, POLICY_ACL(id), v, n, e);
}

int dp_acl_del(struct dp *dp, uint32_t id, struct err *e)
{
	int r = check_number(id, "list", e);

	if (!r)
		policy_table_del(dp, POLICY_ACL(id));
	return r;
}

int dp_addr_group_set(struct dp *dp, uint32_t id, const struct ip_cidr *v, size_t n, struct err *e)
{
	int r = check_number(id, "address group", e);

	if (!r && n > DP_ADDR_GROUP_MAX)
		r = err_set(e, FAULT_TOO_LARGE, "addresses",
			    "address group %u has more than %d addresses", id, DP_ADDR_GROUP_MAX);
	for (size_t i = 0; i < n && !r; i++)
		if (!v[i].addr.family || wrong_side(&v[i], 0))
			r = err_set(e, FAULT_BAD_REQUEST, "addresses",
				    "address %zu of group %u is none, or has too long a prefix", i, id);
	if (!r)
		r = names_add(&dp->names, NAME_ADDR_GROUP, id, 0, e);
	return r ? r : policy_group_set(dp, id, v, n, e);
}

int dp_addr_group_del(struct dp *dp, uint32_t id, struct err *e)
{
	int r = check_number(id, "address group", e);

	if (!r)
		policy_group_del(dp, id);
	return r;
}
