/* SPDX-License-Identifier: Apache-2.0 */

/* Numbers of pairs of VLAN tags: abi/qinq.h. A pair keeps its number as long as its port exists, so that records stay valid. */

#include "dp/internal.h"

static int number_find(struct dp *dp, __u32 *ret, struct err *e)
{
	struct stack_rec rec;

	for (__u32 i = 1; i < ABI_STACKS; i++) {
		if (dp_get(dp, M_STACK_TAGS, &i, &rec) || rec.k.ifindex)
			continue;
		*ret = i;
		return 0;
	}
	return err_set(e, FAULT_QUOTA, "outer_vlan", "there are more than %d pairs of VLAN tags",
		       ABI_STACKS - 1);
}

int stack_vlan(struct dp *dp, const struct dp_port *p, __u16 *ret, struct err *e)
{
	struct stack_rec rec = { { (__u32)p->ifindex.num, p->outer_vlan.id, p->vlan.id } };
	__u32 number;
	int r = 0;

	*ret = p->vlan.id;
	if (!p->outer_vlan.id)
		return 0;
	if (dp_get(dp, M_STACKS, &rec.k, &number)) {
		r = number_find(dp, &number, e);
		/* First what is sent: frames that come must find an answer. */
		if (!r)
			r = dp_put(dp, M_STACK_TAGS, &number, &rec, e);
		if (!r)
			r = dp_put(dp, M_STACKS, &rec.k, &number, e);
	}
	*ret = (__u16)(VLAN_STACK | number);
	return r;
}

vlan_id dp_pair_vlan(struct dp *dp, ifindex nic, vlan_id outer, vlan_id inner)
{
	struct stack_key k = { (__u32)nic.num, outer.id, inner.id };
	__u32 number;

	return (vlan_id){ dp_get(dp, M_STACKS, &k, &number) ? 0 : (uint16_t)(VLAN_STACK | number) };
}

bool stack_tags(struct dp *dp, __u16 vlan, struct stack_rec *ret)
{
	__u32 number = vlan & (__u32)~VLAN_STACK;

	return (vlan & VLAN_STACK) && !dp_get(dp, M_STACK_TAGS, &number, ret) && ret->k.ifindex;
}

void stack_drop(struct dp *dp, __u16 vlan)
{
	static const struct stack_rec none;
	__u32 number = vlan & (__u32)~VLAN_STACK;
	struct stack_rec rec;

	if (!stack_tags(dp, vlan, &rec))
		return;
	dp_unset(dp, M_STACKS, &rec.k);
	(void)!dp_put(dp, M_STACK_TAGS, &number, &none, NULL);
}

__u16 stack_outer(struct dp *dp, __u16 vlan)
{
	struct stack_rec rec;

	return vlan & VLAN_STACK ? stack_tags(dp, vlan, &rec) ? rec.k.outer : 0 : vlan;
}

void stack_sweep(struct dp *dp)
{
	for (__u32 i = 1; i < ABI_STACKS; i++) {
		struct port_key k = { .vlan = (__u16)(VLAN_STACK | i) };
		struct stack_rec rec;
		struct port_rec port;

		if (!stack_tags(dp, k.vlan, &rec))
			continue;
		k.ifindex = rec.k.ifindex;
		if (dp_get(dp, M_PORTS, &k, &port))
			stack_drop(dp, k.vlan);
	}
}
