/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_ACL_H
#define DEMARC_BPF_ACL_H

/* Stateless lists of rules: of the port that a packet comes from, and of the one it goes to. */

#include "classify.h"
#include "maps_def.h"
#include "sg.h"

/*
 * The lists of a port, each of which must permit the packet: for what comes `from` it, or goes to it. A list without a rule
 * that matches denies.
 */
__noinline int acl_port_allows(__u32 ifindex, __u32 vlan, __u32 from)
{
	struct port_key k = { .ifindex = ifindex, .vlan = (__u16)vlan };
	struct port_rec *port = bpf_map_lookup_elem(&ports, &k);
	struct policy_scratch *s = policy_get();
	struct pkt *p = pkt_get();

	if (!port || !s || !p)
		return 0;
	for (int i = 0; i < ABI_PORT_ACLS; i++) {
		__u16 id = from ? port->acl_from[i] : port->acl_to[i];

		if (!id)
			return 1;
		p->rule = p->reject = 0;
		policy_view(p, s, 0);
		if (policy_verdict(POLICY_ACL(id), p->key.family == 6) != POLICY_PERMIT) {
			if (p->reject)
				TRACE3(p, ACL_REJECT, p->rule, id, ifindex);
			else
				TRACE3(p, ACL_DENY, p->rule, id, ifindex);
			return 0;
		}
		TRACE3(p, ACL_PERMIT, p->rule, id, ifindex);
	}
	return 1;
}

__noinline int stage_acl(ctx_t *ctx)
{
	struct pkt *p = stage_begin(ctx);

	if (!p)
		return -DROP_INTERNAL;
	if (sg_exempt(p))
		return STAGE_NEXT;
	if ((p->port_flags & PORT_ACL_FROM) && !acl_port_allows(p->in.ifindex, p->in.vlan, 1))
		return -DROP_ACL;
	if ((p->out_flags & PORT_ACL_TO) && !acl_port_allows(p->out, p->out_vlan, 0))
		return -DROP_ACL;
	return STAGE_NEXT;
}

#endif
