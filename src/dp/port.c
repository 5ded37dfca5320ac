/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Networks and ports. The `ports` map is what was asked for; members, fdb and addrs are derived from it, and
 * what a change makes stale is found by comparing with the port's old value, so that no state is kept here.
 */

#include "dp/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "dp/nic.h"
#include "tunnel.h"

_Static_assert((int)DP_PORT_SECURITY == PORT_SECURITY && (int)DP_PORT_UPLINK == PORT_UPLINK &&
		       (int)DP_PORT_ADMIN_DOWN == PORT_ADMIN_DOWN && (int)DP_PORT_NO_PEER == PORT_NO_PEER,
	       "port flags differ");
_Static_assert((int)DP_PORT_HELP_FTP == PORT_HELP_FTP && (int)DP_PORT_HELP_TFTP == PORT_HELP_TFTP &&
		       (int)DP_PORT_HELP_SIP == PORT_HELP_SIP &&
		       (int)DP_PORT_TCP_LIBERAL == PORT_TCP_LIBERAL,
	       "port flags differ");
_Static_assert(DP_PORT_ADDRS_MAX == ABI_PORT_ADDRS && DP_PORT_SGS_MAX == ABI_PORT_SGS, "limits differ");

#define REWIRE_HOLD_NS 1000000000ULL

/* ---- networks ---- */

int dp_net_set(struct dp *dp, const struct dp_net *n, struct err *e)
{
	struct net_rec rec = { 0 }, old;
	__u32 id = n->net;
	int r;

	if (!n->net)
		return err_set(e, FAULT_BAD_REQUEST, "net", "network number is 0");
	r = names_add(&dp->names, NAME_NET, id, 0, e);
	if (r)
		return r;
	if (!dp_get(dp, M_NETS, &id, &old))
		rec = old;
	else
		memset(&old, 0, sizeof(old));
	rec.net = n->net;
	rec.mtu = n->mtu;
	rec.uplink = (__u32)n->uplink.num;
	rec.uplink_vlan = n->uplink_vlan.id;
	if (!memcmp(&rec, &old, sizeof(rec)))
		return 0;
	return dp_put(dp, M_NETS, &id, &rec, e);
}

static bool member_is(const struct member *m, const struct port_key *k)
{
	return m->ifindex == k->ifindex && m->vlan == k->vlan;
}

static void member_remove(struct net_rec *n, const struct port_key *k)
{
	for (int i = 0; i < n->n_members; i++) {
		if (!member_is(&n->members[i], k))
			continue;
		n->members[i] = n->members[--n->n_members];
		memset(&n->members[n->n_members], 0, sizeof(n->members[0]));
		return;
	}
}

static int member_put(struct dp *dp, const struct port_key *k, const struct port_rec *p, struct err *e)
{
	struct net_rec n;
	__u32 id = p->net;
	int i;

	if (dp_get(dp, M_NETS, &id, &n)) {
		memset(&n, 0, sizeof(n));
		n.net = p->net;
	}
	for (i = 0; i < n.n_members && !member_is(&n.members[i], k); i++)
		;
	if (i == ABI_NET_MEMBERS)
		return err_set(e, FAULT_QUOTA, "net", "network %u has more than %d ports here", id,
			       ABI_NET_MEMBERS);
	n.members[i] = (struct member){ .ifindex = k->ifindex, .vlan = k->vlan, .flags = p->flags };
	if (i == n.n_members)
		n.n_members++;
	return dp_put(dp, M_NETS, &id, &n, e);
}

/* True: it was one. */
static bool member_drop(struct dp *dp, const struct port_key *k, __u16 net)
{
	struct net_rec n, now;
	__u32 id = net;
	struct err e;

	if (dp_get(dp, M_NETS, &id, &n))
		return false;
	now = n;
	member_remove(&now, k);
	return now.n_members != n.n_members && dp_put(dp, M_NETS, &id, &now, &e) == 0;
}

/* ---- what other ports look up: MACs and addresses ---- */

static struct fdb_key fdb_key_of(__u16 net, const __u8 mac[6])
{
	struct fdb_key k = { .net = net };

	memcpy(k.mac, mac, 6);
	return k;
}

static struct addr_key addr_key_of(__u16 net, const struct port_addr *a)
{
	struct addr_key k = { .net = net, .family = a->family };

	memcpy(k.ip, a->ip, sizeof(k.ip));
	return k;
}

static bool mac_is_set(const __u8 mac[6])
{
	return mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5];
}

/* *ret_moved: another port had the MAC, or none. */
static int fdb_put(struct dp *dp, const struct port_key *k, __u16 net, const __u8 mac[6],
		   bool *ret_moved, struct err *e)
{
	struct fdb_key fk = fdb_key_of(net, mac);
	struct fdb_rec rec = { .ifindex = k->ifindex, .vlan = k->vlan }, old;

	if (!mac_is_set(mac) || (!dp_get(dp, M_FDB, &fk, &old) && !memcmp(&old, &rec, sizeof(rec))))
		return 0;
	*ret_moved = true;
	return dp_put(dp, M_FDB, &fk, &rec, e);
}

static int derived_put(struct dp *dp, const struct port_key *k, const struct port_rec *p,
		       bool flooded, bool *ret_moved, struct err *e)
{
	int r;

	if (p->flags & PORT_NATIVE) /* nobody sends to it */
		return 0;
	r = fdb_put(dp, k, p->net, p->mac, ret_moved, e);

	for (int i = 0; i < p->n_addrs && !r; i++) {
		const struct port_addr *a = &p->addrs[i];
		struct addr_key ak = addr_key_of(p->net, a);
		struct addr_rec rec = { .ifindex = k->ifindex };

		memcpy(rec.mac, a->mac, 6);
		r = fdb_put(dp, k, p->net, a->mac, ret_moved, e);
		if (!r && a->own)
			r = dp_put(dp, M_ADDRS, &ak, &rec, e);
	}
	if (r || flooded)
		return r ? r : member_put(dp, k, p, e);
	if (member_drop(dp, k, p->net))
		dp_gen_bump(dp);
	return 0;
}

static bool has_mac(const struct port_rec *p, __u16 net, const __u8 mac[6])
{
	if (!p || p->net != net)
		return false;
	for (int i = 0; i < p->n_addrs; i++)
		if (!memcmp(p->addrs[i].mac, mac, 6))
			return true;
	return !memcmp(p->mac, mac, 6);
}

static bool has_own(const struct port_rec *p, __u16 net, const struct port_addr *a)
{
	if (!p || p->net != net)
		return false;
	for (int i = 0; i < p->n_addrs; i++)
		if (p->addrs[i].own && p->addrs[i].family == a->family &&
		    !memcmp(p->addrs[i].ip, a->ip, sizeof(a->ip)))
			return true;
	return false;
}

static void fdb_drop(struct dp *dp, const struct port_key *k, __u16 net, const __u8 mac[6])
{
	struct fdb_key fk = fdb_key_of(net, mac);
	struct fdb_rec rec;

	if (!dp_get(dp, M_FDB, &fk, &rec) && rec.ifindex == k->ifindex)
		dp_unset(dp, M_FDB, &fk);
}

/* Removes what `old` implied and `now` (NULL: nothing) does not. */
static void derived_drop(struct dp *dp, const struct port_key *k, const struct port_rec *old,
			 const struct port_rec *now)
{
	if (!has_mac(now, old->net, old->mac))
		fdb_drop(dp, k, old->net, old->mac);
	for (int i = 0; i < old->n_addrs; i++) {
		const struct port_addr *a = &old->addrs[i];
		struct addr_key ak = addr_key_of(old->net, a);
		struct addr_rec rec;

		if (!has_mac(now, old->net, a->mac))
			fdb_drop(dp, k, old->net, a->mac);
		if (a->own && !has_own(now, old->net, a) && !dp_get(dp, M_ADDRS, &ak, &rec) &&
		    rec.ifindex == k->ifindex)
			dp_unset(dp, M_ADDRS, &ak);
	}
	if (!now || now->net != old->net)
		(void)member_drop(dp, k, old->net);
}

/*
 * Who was learned behind a port goes with it to its new network (0: is forgotten). For a moment nobody else may
 * claim these MACs: frames that were inside a function may still come out of it.
 */
static void learned_follow(struct dp *dp, const struct port_key *k, __u16 net)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_FDB_LEARNED, sizeof(struct fdb_key), &keys, NULL);
	struct err e;

	for (int i = 0; i < n; i++) {
		struct fdb_key *fk = (struct fdb_key *)keys + i, to = *fk;
		struct fdb_rec rec;

		if (dp_get(dp, M_FDB_LEARNED, fk, &rec) || rec.ifindex != k->ifindex ||
		    rec.vlan != k->vlan || fk->net == net)
			continue;
		to.net = net;
		rec.fixed = fdb_tag(&to);
		rec.last_ns = kernel_ns() + REWIRE_HOLD_NS;
		if (net)
			(void)!dp_put(dp, M_FDB_LEARNED, &to, &rec, &e);
		dp_unset(dp, M_FDB_LEARNED, fk);
	}
}

/* ---- ports ---- */

static int port_check(const struct dp_port *p, struct err *e)
{
	if (p->ifindex.num <= 0)
		return err_set(e, FAULT_BAD_REQUEST, "ifindex", "port has no interface");
	if (!p->net)
		return err_set(e, FAULT_BAD_REQUEST, "net", "port has no network");
	if (p->vlan.id > 4094 || (p->vlan.id && !(p->flags & DP_PORT_UPLINK)))
		return err_set(e, FAULT_BAD_REQUEST, "vlan",
			       "VLAN %u is not of an uplink or not 1..4094", p->vlan.id);
	if (p->outer_vlan.id > 4094 || (p->outer_vlan.id && !p->vlan.id))
		return err_set(e, FAULT_BAD_REQUEST, "outer_vlan",
			       "outer VLAN %u is not 1..4094 around an inner one", p->outer_vlan.id);
	if (port_is_pseudo((__u32)p->ifindex.num) != !!(p->flags & (DP_PORT_NATIVE | DP_PORT_TUNNEL)))
		return err_set(e, FAULT_BAD_REQUEST, "ifindex",
			       "port %d: only tunnels and ports of native functions have numbers from %d on",
			       p->ifindex.num, DP_PSEUDO_PORT);
	if (p->has_dscp && p->dscp > 63)
		return err_set(e, FAULT_BAD_REQUEST, "dscp", "DSCP %u is not 0..63", p->dscp);
	if (p->meter_from > DP_METERS_MAX || p->meter_to > DP_METERS_MAX || p->storm_meter > DP_METERS_MAX)
		return err_set(e, FAULT_BAD_REQUEST, "meter", "meters are 1..%d", DP_METERS_MAX);
	if (p->limits.syn_cookies && !p->limits.half_open && !p->limits.source_half_open)
		return err_set(e, FAULT_BAD_REQUEST, "syn_cookies",
			       "SYN cookies need a limit of half-open connections");
	if (p->n_addrs > DP_PORT_ADDRS_MAX || p->n_sgs > DP_PORT_SGS_MAX)
		return err_set(e, FAULT_TOO_LARGE, NULL, "port has more than %d addresses or %d groups",
			       DP_PORT_ADDRS_MAX, DP_PORT_SGS_MAX);
	return 0;
}

static void port_rec_of(const struct dp_port *p, struct port_rec *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->net = p->net;
	ret->flags = p->flags;
	memcpy(ret->mac, p->mac.b, 6);
	ret->n_addrs = (__u8)p->n_addrs;
	ret->n_sgs = (__u8)p->n_sgs;
	memcpy(ret->sgs, p->sgs, p->n_sgs * sizeof(p->sgs[0]));
	for (int i = 0; i < DP_PORT_ACLS_MAX; i++) {
		ret->acl_from[i] = p->acl_from[i];
		ret->acl_to[i] = p->acl_to[i];
	}
	ret->nat = p->nat;
	ret->flags |= (__u16)(p->nat ? PORT_NAT : 0);
	ret->flags |= (__u16)((p->acl_from[0] ? PORT_ACL_FROM : 0) | (p->acl_to[0] ? PORT_ACL_TO : 0));
	ret->meter_from = p->meter_from;
	ret->storm = p->storm_meter;
	ret->guards = p->guards;
	if (limits_any(&p->limits))
		ret->flags |= PORT_LIMITED;
	ret->meter_to = p->meter_to;
	ret->dscp = p->has_dscp ? PORT_DSCP_SET | p->dscp : 0;
	for (size_t i = 0; i < p->n_addrs; i++) {
		struct port_addr *a = &ret->addrs[i];
		struct ip_cidr c = p->addrs[i].ip;

		if (p->addrs[i].own) /* a fixed IP is one address, whatever prefix it is configured with */
			c.prefix_len = c.addr.family == IP_V6 ? 128 : 32;
		cidr_words(&c, a->ip, a->mask);
		memcpy(a->mac, p->addrs[i].mac.b, 6);
		if (!mac_is_set(a->mac))
			memcpy(a->mac, p->mac.b, 6);
		a->family = p->addrs[i].ip.addr.family;
		a->own = p->addrs[i].own;
	}
}

/* Where it was before, for packets that are still on their way there. */
static void port_rec_inherit(struct port_rec *now, const struct port_rec *old)
{
	now->prev_net = old->prev_net;
	now->moved_ns = old->moved_ns;
	if (now->net == old->net)
		return;
	now->prev_net = old->net;
	now->moved_ns = kernel_ns();
}

static int port_attach(struct dp *dp, const struct port_key *k, __u16 flags, struct err *e)
{
	struct attach_rec a = { .flags = flags & PORT_UPLINK ?
						 flags & (PORT_UPLINK | PORT_XDP | PORT_XDP_OUT) :
						 0 };
	struct port_count *zero;
	int r = dp_put(dp, M_ATTACHED, &k->ifindex, &a, e);

	if (r)
		return r;
	zero = calloc((size_t)dp->n_cpus, sizeof(*zero));
	if (!zero)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	(void)bpf_map_update_elem(dp->map[M_PORT_COUNTS], &k->ifindex, zero, BPF_NOEXIST);
	free(zero);
	if (port_is_pseudo(k->ifindex) || tc_is_attached(dp, (int)k->ifindex))
		return 0;
	return tc_attach(dp, (int)k->ifindex, e);
}

/* Frames for a tunnel leave by its NIC, and come by it. */
static __u16 tunnel_hook_flags(struct dp *dp, __u16 encap)
{
	struct encap_rec head;
	struct attach_rec a;
	__u32 slot = encap;

	if (dp_get(dp, M_ENCAPS, &slot, &head) || dp_get(dp, M_ATTACHED, &head.ifindex, &a))
		return 0;
	return (__u16)(a.flags & (PORT_XDP | PORT_XDP_OUT));
}

/* Of a NIC as dp_nic_hook() has it; of a function as it is asked for and possible. */
static __u16 hook_flags(struct dp *dp, const struct dp_port *p, __u16 encap)
{
	__u32 ifx = (__u32)p->ifindex.num;
	struct attach_rec a;
	struct dp_nic n;
	struct err e;

	if (encap)
		return tunnel_hook_flags(dp, encap);
	if (p->flags & DP_PORT_UPLINK)
		return dp_get(dp, M_ATTACHED, &ifx, &a) ?
			       0 :
			       (__u16)(a.flags & (PORT_XDP | PORT_XDP_OUT));
	if (!(p->flags & DP_PORT_XDP_OUT) || port_is_pseudo(ifx) || nic_probe(p->ifindex, &n, &e))
		return 0;
	return nic_takes_xdp(&n) ? PORT_XDP_OUT : 0;
}

int port_set(struct dp *dp, const struct dp_port *p, __u16 encap, struct err *e)
{
	struct port_key k = { .ifindex = (__u32)p->ifindex.num };
	struct port_rec now, old;
	bool had, moved = false;
	int r = port_check(p, e);

	if (!r)
		r = stack_vlan(dp, p, &k.vlan, e);
	if (!r)
		r = names_add(&dp->names, NAME_PORT, k.ifindex, k.vlan, e);
	if (r)
		return r;
	port_rec_of(p, &now);
	now.flags = (__u16)((now.flags & ~PORT_XDP_OUT) | hook_flags(dp, p, encap));
	now.encap = encap;
	r = mirror_slot(dp, p->mirror_to, &now.mirror, e);
	if (!r)
		r = limits_put(dp, &k, &p->limits, e);
	if (r)
		return r;
	had = !dp_get(dp, M_PORTS, &k, &old);
	if (had)
		port_rec_inherit(&now, &old);
	r = derived_put(dp, &k, &now, !p->no_flood, &moved, e);
	if (r)
		return r;
	if (had && !memcmp(&now, &old, sizeof(now))) {
		if (moved)
			dp_gen_bump(dp);
		return port_attach(dp, &k, now.flags, e);
	}
	/* Gone from the old network before it speaks in the new one: no frame of its own is taken for a loop. */
	if (had)
		derived_drop(dp, &k, &old, &now);
	if (had && old.net != now.net)
		learned_follow(dp, &k, now.flags & PORT_SECURITY ? 0 : now.net);
	r = dp_put(dp, M_PORTS, &k, &now, e);
	if (r)
		return r;
	dp_gen_bump(dp);
	return port_attach(dp, &k, now.flags, e);
}

int dp_port_set(struct dp *dp, const struct dp_port *p, struct err *e)
{
	if (p->flags & DP_PORT_TUNNEL)
		return err_set(e, FAULT_BAD_REQUEST, "flags",
			       "a tunnel's port is made by dp_tunnel_set()");
	return port_set(dp, p, 0, e);
}

int port_del_key(struct dp *dp, const struct port_key *k, struct err *e)
{
	struct port_rec old;

	if (dp_get(dp, M_PORTS, k, &old))
		return 0;
	dp_unset(dp, M_PORTS, k);
	derived_drop(dp, k, &old, NULL);
	learned_follow(dp, k, 0);
	dp_unset(dp, M_PORT_CLASS, k);
	dp_unset(dp, M_LIMITS, k);
	stack_drop(dp, k->vlan);
	dp_gen_bump(dp);
	return 0;
}

uint16_t dp_port_net(struct dp *dp, ifindex port)
{
	struct port_key k = { .ifindex = (__u32)port.num };
	struct port_rec rec;

	return dp_get(dp, M_PORTS, &k, &rec) ? 0 : rec.net;
}

int dp_port_del(struct dp *dp, ifindex port, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	__u32 ifx = (__u32)port.num;
	struct attach_rec a;
	int n, r = 0;

	if (dp_get(dp, M_ATTACHED, &ifx, &a))
		return 0;
	n = dp_keys(dp, M_PORTS, sizeof(struct port_key), &keys, e);
	for (int i = 0; i < n && !r; i++) {
		struct port_key *k = (struct port_key *)keys + i;

		if (k->ifindex == ifx)
			r = port_del_key(dp, k, e);
	}
	if (n < 0 || r)
		return n < 0 ? n : r;
	if (!port_is_pseudo(ifx)) {
		xdp_detach(dp, port.num);
		tc_detach(port.num);
	}
	dp_unset(dp, M_PORT_CHAIN, &ifx);
	dp_unset(dp, M_PORT_COUNTS, &ifx);
	dp_unset(dp, M_ATTACHED, &ifx);
	return 0;
}

/* ---- MACs behind tunnels ---- */

static uint64_t fdb_name(const struct fdb_key *k)
{
	uint64_t name = k->net;

	for (int i = 0; i < 6; i++)
		name = name << 8 | k->mac[i];
	return name;
}

int dp_fdb_set(struct dp *dp, uint16_t net, const struct mac *mac, ifindex port, struct err *e)
{
	struct fdb_key k = fdb_key_of(net, mac->b);
	struct fdb_rec old, now = { .ifindex = (__u32)port.num, .fixed = 1 };
	uint64_t name = fdb_name(&k);
	bool had = !dp_get(dp, M_FDB, &k, &old);
	int r;

	if (!mac_is_set(mac->b) || (mac->b[0] & 1))
		return err_set(e, FAULT_BAD_REQUEST, "mac", "not the MAC of one station");
	if (!net || dp_port_net(dp, port) != net)
		return err_set(e, FAULT_BAD_REQUEST, "port", "port %d is not in network %u",
			       port.num, net);
	if (had && !old.fixed)
		return err_set(e, FAULT_CONFLICT, "mac", "a port of this node has this MAC");
	r = names_add(&dp->names, NAME_FDB, (uint32_t)(name >> 32), (uint32_t)name, e);
	if (r || (had && !memcmp(&old, &now, sizeof(now))))
		return r;
	r = dp_put(dp, M_FDB, &k, &now, e);
	if (!r)
		dp_gen_bump(dp);
	return r;
}

void dp_fdb_del(struct dp *dp, uint16_t net, const struct mac *mac)
{
	struct fdb_key k = fdb_key_of(net, mac->b);
	struct fdb_rec old;

	if (dp_get(dp, M_FDB, &k, &old) || !old.fixed)
		return;
	dp_unset(dp, M_FDB, &k);
	dp_gen_bump(dp);
}

/* ---- what a killed process left half done ---- */

static bool rec_at(struct dp *dp, __u32 ifx, __u16 vlan, struct port_rec *ret)
{
	struct port_key k = { .ifindex = ifx, .vlan = vlan };

	return !dp_get(dp, M_PORTS, &k, ret);
}

static bool fdb_is_named(struct dp *dp, const struct fdb_key *k)
{
	uint64_t name = fdb_name(k);

	return names_has(&dp->names, NAME_FDB, (uint32_t)(name >> 32), (uint32_t)name);
}

/* What follows from no port, and was not asked for by itself either. */
static bool fdb_is_left(struct dp *dp, const struct fdb_key *k, const struct fdb_rec *rec)
{
	struct port_rec p;

	if (!rec_at(dp, rec->ifindex, rec->vlan, &p) || p.net != k->net)
		return true;
	return rec->fixed ? !fdb_is_named(dp, k) : !has_mac(&p, k->net, k->mac);
}

static int sweep_fdb(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_FDB, sizeof(struct fdb_key), &keys, e);
	bool left = false;

	for (int i = 0; i < n; i++) {
		struct fdb_key *k = (struct fdb_key *)keys + i;
		struct fdb_rec rec;

		if (dp_get(dp, M_FDB, k, &rec) || !fdb_is_left(dp, k, &rec))
			continue;
		dp_unset(dp, M_FDB, k);
		left = true;
	}
	if (left)
		dp_gen_bump(dp);
	return n < 0 ? n : 0;
}

/* Fixed IPs are of functions, whose VLAN is 0. */
static int sweep_addrs(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_ADDRS, sizeof(struct addr_key), &keys, e);

	for (int i = 0; i < n; i++) {
		struct addr_key *k = (struct addr_key *)keys + i;
		struct port_addr a = { .family = (__u8)k->family };
		struct port_rec p;
		struct addr_rec rec;

		memcpy(a.ip, k->ip, sizeof(a.ip));
		if (!dp_get(dp, M_ADDRS, k, &rec) &&
		    !(rec_at(dp, rec.ifindex, 0, &p) && has_own(&p, k->net, &a)))
			dp_unset(dp, M_ADDRS, k);
	}
	return n < 0 ? n : 0;
}

static int sweep_members_of(struct dp *dp, __u32 id, struct err *e)
{
	struct net_rec n, now;

	if (dp_get(dp, M_NETS, &id, &n))
		return 0;
	now = n;
	for (int i = 0; i < n.n_members; i++) {
		struct port_key k = { .ifindex = n.members[i].ifindex, .vlan = n.members[i].vlan };
		struct port_rec p;

		if (dp_get(dp, M_PORTS, &k, &p) || p.net != n.net)
			member_remove(&now, &k);
	}
	return now.n_members == n.n_members ? 0 : dp_put(dp, M_NETS, &id, &now, e);
}

int port_sweep(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n, r = sweep_fdb(dp, e);

	if (!r)
		r = sweep_addrs(dp, e);
	if (r)
		return r;
	n = dp_keys(dp, M_NETS, sizeof(__u32), &keys, e);
	for (int i = 0; i < n && !r; i++)
		r = sweep_members_of(dp, ((__u32 *)keys)[i], e);
	return n < 0 ? n : r;
}
