/* SPDX-License-Identifier: Apache-2.0 */

/* Security groups: a table of the rules of each direction, and the addresses of the group's ports. */

#include "dp/tables.h"

#include <stdlib.h>

#include "base/cleanup.h"

_Static_assert(DP_SG_RULES_MAX == ABI_SG_RULES, "limits differ");

#define PROTO_ICMP 1
#define PROTO_ICMPV6 58

/* Code 256 and above: any. A type above 255 is none. */
static void rule_ports(const struct dp_sg_rule *r, struct rule *ret)
{
	bool icmp = ret->proto == PROTO_ICMP || ret->proto == PROTO_ICMPV6;

	ret->has_dport = r->has_ports;
	ret->dport_min = r->port_min;
	ret->dport_max = r->port_max;
	if (!icmp)
		return;
	ret->dport_min = (uint16_t)(r->port_min << 8 | (r->port_max < 256 ? r->port_max : 0));
	ret->dport_max = (uint16_t)(r->port_min << 8 | (r->port_max < 256 ? r->port_max : 255));
	if (r->port_min > 255) {
		ret->dport_min = 1;
		ret->dport_max = 0;
	}
}

/* The remote end is the destination of what leaves the port, the source of what comes to it. */
static void rule_of(const struct dp_sg_rule *r, uint32_t sg, size_t index, struct rule *ret)
{
	uint32_t group = r->remote_sg ? POLICY_GROUP_SG(r->remote_sg) : r->remote_group;

	*ret = (struct rule){
		.id = r->id ? r->id : (uint32_t)index, .of = sg, .family = r->family, .proto = r->proto
	};
	if (r->family == IP_V6 && r->proto == PROTO_ICMP) /* "icmp" of an IPv6 rule means ICMPv6 */
		ret->proto = PROTO_ICMPV6;
	rule_ports(r, ret);
	if (r->egress) {
		ret->dst = r->remote;
		ret->dst_group = group;
	} else {
		ret->src = r->remote;
		ret->src_group = group;
	}
}

static int check(uint32_t sg, const struct dp_sg_rule *rules, size_t n, struct err *e)
{
	if (!sg || sg > POLICY_NUMBER_MAX)
		return err_set(e, FAULT_BAD_REQUEST, "id", "security group %u is not 1..%u", sg,
			       POLICY_NUMBER_MAX);
	if (n > DP_SG_RULES_MAX)
		return err_set(e, FAULT_TOO_LARGE, "rules",
			       "security group %u has more than %d rules", sg, DP_SG_RULES_MAX);
	for (size_t i = 0; i < n; i++) {
		const struct dp_sg_rule *r = &rules[i];

		if (r->remote_sg > POLICY_NUMBER_MAX || r->remote_group > POLICY_NUMBER_MAX)
			return err_set(e, FAULT_BAD_REQUEST, "rules",
				       "rule %zu names a group above %u", i, POLICY_NUMBER_MAX);
		if (!!r->remote_sg + !!r->remote_group + !!r->remote.addr.family > 1)
			return err_set(e, FAULT_BAD_REQUEST, "rules",
				       "rule %zu has more than one remote", i);
		if (r->remote.addr.family && r->remote.prefix_len > ip_max_prefix(&r->remote.addr))
			return err_set(e, FAULT_BAD_REQUEST, "rules",
				       "rule %zu has a prefix longer than its address", i);
	}
	return 0;
}

static int table_set(struct dp *dp, uint32_t sg, bool egress, const struct dp_sg_rule *rules,
		     size_t n, struct err *e)
{
	CLEANUP(free_voidp) struct rule *v = calloc(n + 1, sizeof(*v));
	size_t len = 0;

	if (!v)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	for (size_t i = 0; i < n; i++)
		if (rules[i].egress == egress)
			rule_of(&rules[i], sg, i, &v[len++]);
	return policy_table_set(dp, POLICY_SG(sg, egress), v, len, e);
}

static int members_set(struct dp *dp, uint32_t sg, const struct ip_addr *members, size_t n,
		       struct err *e)
{
	CLEANUP(free_voidp) struct ip_cidr *v = calloc(n + 1, sizeof(*v));

	if (!v)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	for (size_t i = 0; i < n; i++)
		v[i] = (struct ip_cidr){ .addr = members[i], .prefix_len = ip_max_prefix(&members[i]) };
	return policy_group_set(dp, POLICY_GROUP_SG(sg), v, n, e);
}

int dp_sg_set(struct dp *dp, uint32_t sg, const struct dp_sg_rule *rules, size_t n_rules,
	      const struct ip_addr *members, size_t n_members, struct err *e)
{
	int r = check(sg, rules, n_rules, e);

	if (!r)
		r = names_add(&dp->names, NAME_SG, sg, 0, e);
	if (!r)
		r = members_set(dp, sg, members, n_members, e);
	if (!r)
		r = table_set(dp, sg, true, rules, n_rules, e);
	return r ? r : table_set(dp, sg, false, rules, n_rules, e);
}

int dp_sg_del(struct dp *dp, uint32_t sg, struct err *e)
{
	int r = check(sg, NULL, 0, e);

	if (r)
		return r;
	policy_table_del(dp, POLICY_SG(sg, true));
	policy_table_del(dp, POLICY_SG(sg, false));
	policy_group_del(dp, POLICY_GROUP_SG(sg));
	return 0;
}
