/* SPDX-License-Identifier: Apache-2.0 */

/* Tunnels: a slot for the outer header, the far end's key, and the port of the network that frames come from. */

#include "dp/encap.h"
#include "dp/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static int check(const struct dp_tunnel *t, struct err *e)
{
	if (t->port.num < DP_PSEUDO_PORT)
		return err_set(e, FAULT_BAD_REQUEST, "port",
			       "a tunnel's port is numbered from %d on", DP_PSEUDO_PORT);
	if (!t->net)
		return err_set(e, FAULT_BAD_REQUEST, "net", "a tunnel is a port of a network");
	return 0;
}

/* A free slot; the one in use is replaced by another, so that no packet meets half a header. */
static int slot_find(struct dp *dp, __u16 *ret, struct err *e)
{
	struct encap_rec rec;

	for (__u32 n = 0; n < ABI_ENCAPS - 1; n++) {
		__u32 i = 1 + (dp->encap_next + n) % (ABI_ENCAPS - 1);

		if (dp_get(dp, M_ENCAPS, &i, &rec) || rec.ifindex)
			continue;
		dp->encap_next = i;
		*ret = (__u16)i;
		return 0;
	}
	return err_set(e, FAULT_QUOTA, "port", "there are more than %d tunnels", ABI_ENCAPS - 1);
}

static void slot_free(struct dp *dp, __u16 slot)
{
	static const struct encap_rec none;
	__u32 i = slot;

	if (slot)
		(void)!dp_put(dp, M_ENCAPS, &i, &none, NULL);
}

/* Whatever routers say about its way. */
static bool same_header(struct dp *dp, __u16 slot, const struct encap_rec *now)
{
	struct encap_rec old;
	__u32 i = slot;

	if (!slot || dp_get(dp, M_ENCAPS, &i, &old))
		return false;
	old.mtu = old.mtu_link;
	old.lowered = 0;
	return !memcmp(&old, now, sizeof(old));
}

static int vtep_put(struct dp *dp, const struct dp_tunnel *t, struct err *e)
{
	struct dp_tunnel any = *t;
	struct addr_key k = { 0 };
	struct tunnel_key end;
	__u32 one = 1;

	any.ovn_from = 0;
	encap_key(&any, &end);
	k.family = end.family;
	memcpy(k.ip, end.local, sizeof(k.ip));
	return dp_put(dp, M_VTEPS, &k, &one, e);
}

static int far_end_put(struct dp *dp, const struct dp_tunnel *t, struct err *e)
{
	struct tunnel_rec rec = { .port = (__u32)t->port.num,
				  .underlay = (__u32)t->underlay.num,
				  .path = encap_path_in(t) };
	struct tunnel_rec old;
	struct tunnel_key k;

	memcpy(rec.mac, t->smac.b, sizeof(rec.mac));
	encap_key(t, &k);
	if (!dp_get(dp, M_TUNNELS, &k, &old) && old.port != rec.port)
		return err_set(e, FAULT_CONFLICT, "id", "another tunnel has the same ends and id");
	return dp_put(dp, M_TUNNELS, &k, &rec, e);
}

/* Keys of this port other than `keep`: what it was before. */
static void far_ends_drop(struct dp *dp, __u32 port, const struct tunnel_key *keep)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_TUNNELS, sizeof(struct tunnel_key), &keys, NULL);

	for (int i = 0; i < n; i++) {
		struct tunnel_key *k = (struct tunnel_key *)keys + i;
		struct tunnel_rec rec;

		if (!dp_get(dp, M_TUNNELS, k, &rec) && rec.port == port &&
		    !(keep && !memcmp(k, keep, sizeof(*k))))
			dp_unset(dp, M_TUNNELS, k);
	}
}

static __u16 slot_of(struct dp *dp, ifindex port)
{
	struct port_key k = { .ifindex = (__u32)port.num };
	struct port_rec rec;

	return dp_get(dp, M_PORTS, &k, &rec) ? 0 : rec.encap;
}

int dp_tunnel_set(struct dp *dp, const struct dp_tunnel *t, struct err *e)
{
	struct dp_port p = { .ifindex = t->port,
			     .net = t->net,
			     .flags = DP_PORT_TUNNEL,
			     .nat = t->nat,
			     .no_flood = t->no_flood };
	struct encap_rec head = { 0 };
	struct tunnel_key key;
	__u16 old = slot_of(dp, t->port), slot = old;
	int r = check(t, e);

	if (!r)
		r = encap_build(t, &head, e);
	if (r)
		return r;
	if (!same_header(dp, old, &head)) {
		r = slot_find(dp, &slot, e);
		if (!r)
			r = dp_put(dp, M_ENCAPS, &(__u32){ slot }, &head, e);
	}
	if (!r)
		r = vtep_put(dp, t, e);
	if (!r)
		r = far_end_put(dp, t, e);
	if (r)
		return r;
	r = port_set(dp, &p, slot, e);
	dp->g->n_tunnels = 1;
	if (r)
		return r;
	encap_key(t, &key);
	far_ends_drop(dp, (__u32)t->port.num, &key);
	if (old != slot)
		slot_free(dp, old);
	return 0;
}

int dp_tunnel_del(struct dp *dp, ifindex port, struct err *e)
{
	__u16 slot = slot_of(dp, port);
	int r;

	far_ends_drop(dp, (__u32)port.num, NULL);
	r = dp_port_del(dp, port, e);
	slot_free(dp, slot);
	return r;
}

/* Slots that no port names, ends of tunnels that are gone, addresses that end none. */
int tunnel_sweep(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) void *ports = NULL;
	CLEANUP(free_voidp) void *keys = NULL;
	CLEANUP(free_voidp) void *vteps = NULL;
	bool used[ABI_ENCAPS] = { false };
	int n = dp_keys(dp, M_PORTS, sizeof(struct port_key), &ports, e), n_tunnels, n_vteps;
	struct port_rec p;

	for (int i = 0; i < n; i++)
		if (!dp_get(dp, M_PORTS, (struct port_key *)ports + i, &p) && p.encap < ABI_ENCAPS)
			used[p.encap] = true;
	for (__u16 i = 1; n >= 0 && i < ABI_ENCAPS; i++)
		if (!used[i])
			slot_free(dp, i);
	n_tunnels = n < 0 ? n : dp_keys(dp, M_TUNNELS, sizeof(struct tunnel_key), &keys, e);
	n_vteps = n_tunnels < 0 ? n_tunnels : dp_keys(dp, M_VTEPS, sizeof(struct addr_key), &vteps, e);
	for (int i = 0; i < n_tunnels && n_vteps >= 0; i++) {
		struct tunnel_key *k = (struct tunnel_key *)keys + i;
		struct tunnel_rec rec;
		struct port_key at;

		if (dp_get(dp, M_TUNNELS, k, &rec))
			continue;
		at = (struct port_key){ .ifindex = rec.port };
		if (dp_get(dp, M_PORTS, &at, &p)) {
			dp_unset(dp, M_TUNNELS, k);
			k->type = TUNNEL_NONE;
		}
	}
	for (int i = 0; i < n_vteps; i++) {
		struct addr_key *v = (struct addr_key *)vteps + i;
		bool live = false;

		for (int j = 0; j < n_tunnels && !live; j++) {
			struct tunnel_key *k = (struct tunnel_key *)keys + j;

			live = k->type != TUNNEL_NONE && k->family == v->family &&
			       !memcmp(k->local, v->ip, sizeof(v->ip));
		}
		if (!live)
			dp_unset(dp, M_VTEPS, v);
	}
	return n_vteps < 0 ? n_vteps : 0;
}
