/* SPDX-License-Identifier: Apache-2.0 */
#include "dp/internal.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dp_mark(struct dp *dp)
{
	names_start(&dp->names);
}

static int sweep_chains(struct dp *dp, struct err *e)
{
	int r = 0;

	for (uint16_t c = 1; c < ABI_CHAINS && !r; c++)
		if (dp->chains[c].path && !names_has(&dp->names, NAME_CHAIN, c, 0))
			r = dp_chain_del(dp, c, e);
	return r;
}

static int sweep_ports(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_PORTS, sizeof(struct port_key), &keys, e), r = 0;

	for (int i = 0; i < n && !r; i++) {
		struct port_key *k = (struct port_key *)keys + i;

		if (!names_has(&dp->names, NAME_PORT, k->ifindex, k->vlan))
			r = port_del_key(dp, k, e);
	}
	return n < 0 ? n : r;
}

static bool port_is_named(struct dp *dp, __u32 ifx)
{
	for (size_t i = 0; i < dp->names.len; i++)
		if (dp->names.v[i].kind == NAME_PORT && dp->names.v[i].a == ifx)
			return true;
	return false;
}

/* Interfaces none of whose ports was named lose their filter. */
static int sweep_attached(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_ATTACHED, sizeof(__u32), &keys, e), r = 0;

	for (int i = 0; i < n && !r; i++) {
		__u32 ifx = ((__u32 *)keys)[i];

		if (!port_is_named(dp, ifx))
			r = dp_port_del(dp, (ifindex){ (int)ifx }, e);
	}
	return n < 0 ? n : r;
}

static int sweep_nets(struct dp *dp, struct err *e)
{
	CLEANUP(free_voidp) void *keys = NULL;
	int n = dp_keys(dp, M_NETS, sizeof(__u32), &keys, e);

	for (int i = 0; i < n; i++)
		if (!names_has(&dp->names, NAME_NET, ((__u32 *)keys)[i], 0))
			dp_unset(dp, M_NETS, (__u32 *)keys + i);
	return n < 0 ? n : 0;
}

/* A datapath of another ABI left its pins; its filters have been replaced by ours, port by port. */
static void sweep_abi(struct dp *dp)
{
	DIR *d = opendir(dp->pin_dir);
	struct dirent *f;
	char path[DP_PATH_SIZE * 2], dir[DP_PATH_SIZE];

	while (d && (f = readdir(d))) {
		DIR *old;
		struct dirent *pin;

		snprintf(dir, sizeof(dir), "%s/%.16s", dp->pin_dir, f->d_name);
		if (f->d_name[0] != 'v' || !strcmp(dir, dp->dir))
			continue;
		old = opendir(dir);
		while (old && (pin = readdir(old))) {
			snprintf(path, sizeof(path), "%s/%s", dir, pin->d_name);
			(void)remove(path);
		}
		if (old)
			closedir(old);
		(void)remove(dir);
	}
	if (d)
		closedir(d);
}

int dp_sweep(struct dp *dp, struct err *e)
{
	int r;

	if (!dp->names.on)
		return err_set(e, FAULT_INTERNAL, NULL, "dp_sweep() without dp_mark()");
	r = sweep_chains(dp, e);
	if (!r)
		r = sweep_ports(dp, e);
	if (!r)
		r = sweep_attached(dp, e);
	xdp_sweep(dp);
	if (!r)
		r = sweep_nets(dp, e);
	if (!r)
		r = port_sweep(dp, e);
	if (!r)
		r = policy_sweep(dp, e);
	if (!r)
		r = nat_sweep(dp, e);
	if (!r)
		r = chain_sweep(dp, e);
	if (!r)
		r = meter_sweep(dp, e);
	if (!r)
		r = mirror_sweep(dp, e);
	if (!r)
		r = tunnel_sweep(dp, e);
	if (r)
		return r;
	stack_sweep(dp);
	sweep_abi(dp);
	if (!dp->swept)
		dp_gen_bump(dp); /* a process that was killed may have changed something and not come to say so */
	dp->swept = true;
	dp->names.on = false;
	dp->names.len = 0;
	return 0;
}
