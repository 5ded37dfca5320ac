/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The XDP program in front of the tc program of a NIC. It is attached by a link that is pinned, outside of the directory of an ABI: a program of
 * the next ABI replaces this one in one step.
 */

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/str.h"
#include "dp/internal.h"
#include "dp/nic.h"

/* Need internal.h. */
#include "dp.skel.h"
#include "xdp.skel.h"

#define PIN_PREFIX "xdp_"

/* ---- the program ---- */

/* It works on the maps of the tc program; only constants are its own. */
static int share_maps(struct dp *dp)
{
	struct bpf_map *m;

	bpf_object__for_each_map(m, dp->xdp->obj)
	{
		const char *name = bpf_map__name(m);
		struct bpf_map *same = m == dp->xdp->maps.bss ?
					       dp->skel->maps.bss :
					       bpf_object__find_map_by_name(dp->skel->obj, name);
		int r;

		if (strstr(name, ".rodata"))
			continue;
		r = same ? bpf_map__reuse_fd(m, bpf_map__fd(same)) : -ENOENT;
		if (r)
			return r;
	}
	return 0;
}

static int load(struct dp *dp)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	struct err e = { 0 };
	int r, fd;

	dp->xdp = xdp_bpf__open();
	if (!dp->xdp)
		return -ENOMEM;
	r = share_maps(dp);
	if (!r)
		r = xdp_bpf__load(dp->xdp);
	if (r)
		return r;
	fd = bpf_program__fd(dp->xdp->progs.dp_xdp);
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	r = pin_prog(dp, fd, "xdp", &e);
	if (r)
		return r;
	dp->xdp_id = info.id;
	return fd;
}

#define LOADS_MAX                                                                                  \
	3 /* a kernel that has no memory now may have it later; one that refuses costs this much of the verifier */

/* A kernel without it still has the tc program: that is no error. Most nodes have no NIC for it, and it costs the verifier as much as that one. */
int xdp_program(struct dp *dp)
{
	if (dp->xdp || dp->xdp_loads >= LOADS_MAX)
		return dp->xdp_fd;
	dp->xdp_loads++;
	dp->xdp_fd = load(dp);
	if (dp->xdp_fd >= 0)
		return dp->xdp_fd;
	(void)snprintf(dp->xdp_why, sizeof(dp->xdp_why),
		       "the kernel does not take the XDP program: %s", strerror(-dp->xdp_fd));
	xdp_bpf__destroy(dp->xdp);
	dp->xdp = NULL;
	return dp->xdp_fd;
}

void xdp_close(struct dp *dp)
{
	if (dp->xdp)
		xdp_bpf__destroy(dp->xdp);
}

/* ---- links ---- */

static void link_path(const struct dp *dp, int ifx, char ret[static DP_PATH_SIZE])
{
	snprintf(ret, DP_PATH_SIZE, "%s/" PIN_PREFIX "%d", dp->pin_dir, ifx);
}

/* The link that is pinned for the interface; *ret_prog its program. -ENOENT: none, or that of one that is gone. */
static int link_open(const struct dp *dp, int ifx, __u32 *ret_prog)
{
	struct bpf_link_info info = { 0 };
	__u32 len = sizeof(info);
	char path[DP_PATH_SIZE];
	int fd;

	link_path(dp, ifx, path);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -ENOENT;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len) && info.type == BPF_LINK_TYPE_XDP &&
	    (int)info.xdp.ifindex == ifx) {
		*ret_prog = info.prog_id;
		return fd;
	}
	close(fd);
	(void)unlink(path);
	return -ENOENT;
}

/* At once: the kernel notices the end of a link's last reference later. */
static void pin_drop(const char *path)
{
	CLEANUP(close_fdp) int fd = bpf_obj_get(path);

	if (fd >= 0)
		(void)!bpf_link_detach(fd);
	(void)unlink(path);
}

void xdp_detach(const struct dp *dp, int ifx)
{
	char path[DP_PATH_SIZE];
	__u32 prog;
	CLEANUP(close_fdp) int fd = link_open(dp, ifx, &prog);

	if (fd < 0)
		return;
	link_path(dp, ifx, path);
	pin_drop(path);
}

/* In the driver: generic XDP copies the frame and gains nothing. */
int xdp_attach(const struct dp *dp, int ifx)
{
	DECLARE_LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	char path[DP_PATH_SIZE];
	__u32 prog = 0;
	CLEANUP(close_fdp) int fd = link_open(dp, ifx, &prog);

	if (fd >= 0)
		return prog == dp->xdp_id || !bpf_link_update(fd, dp->xdp_fd, NULL) ? 0 : -errno;
	fd = bpf_link_create(dp->xdp_fd, ifx, BPF_XDP, &opts);
	if (fd < 0)
		return -errno;
	link_path(dp, ifx, path);
	return bpf_obj_pin(fd, path) ? -errno : 0;
}

/* Interface of a pin; 0: it is none of a link. */
static int pin_ifindex(const char *name)
{
	size_t n = strlen(PIN_PREFIX);
	uint64_t ifx = 0;

	if (strncmp(name, PIN_PREFIX, n) != 0 || str_to_u64(str_of(name + n), INT_MAX, &ifx) < 0)
		return 0;
	return (int)ifx;
}

void xdp_remove_all(const char *pin_dir)
{
	DIR *d = opendir(pin_dir);
	char path[DP_PATH_SIZE];
	struct dirent *f;

	while (d && (f = readdir(d)))
		if (pin_ifindex(f->d_name)) {
			snprintf(path, sizeof(path), "%.250s/%.32s", pin_dir, f->d_name);
			pin_drop(path);
		}
	if (d)
		closedir(d);
}

/* Links of NICs that are no port any more. */
void xdp_sweep(struct dp *dp)
{
	DIR *d = opendir(dp->pin_dir);
	struct dirent *f;

	while (d && (f = readdir(d))) {
		__u32 ifx = (__u32)pin_ifindex(f->d_name);
		struct attach_rec a;

		if (ifx && (dp_get(dp, M_ATTACHED, &ifx, &a) || !(a.flags & PORT_XDP)))
			xdp_detach(dp, (int)ifx);
	}
	if (d)
		closedir(d);
}

/* ---- the choice ---- */

/* NULL: the program may be attached. */
static const char *why_not(struct dp *dp, ifindex nic, enum dp_hook want, const struct dp_nic *n)
{
	if (want == DP_HOOK_TC)
		return "tc was asked for";
	if (want == DP_HOOK_AUTO && !n->hardware)
		return "not a device on a bus: XDP would cost it segmentation offload";
	if (n->known && !(n->xdp_features & DP_NIC_XDP))
		return "its driver has no XDP";
	if (xdp_program(dp) < 0)
		return dp->xdp_why;
	if (!nic_keep_tags(nic))
		return "it takes VLAN tags out of frames and cannot be told not to (rxvlan)";
	return NULL;
}

static __u32 flags_of(const struct dp_nic *n)
{
	return !n->xdp ? 0 : nic_takes_xdp(n) ? PORT_XDP | PORT_XDP_OUT : PORT_XDP;
}

int dp_nic_hook(struct dp *dp, ifindex nic, enum dp_hook want, struct dp_nic *ret, struct err *e)
{
	__u32 ifx = (__u32)nic.num;
	struct attach_rec a = { .flags = PORT_UPLINK }, old = { 0 };
	const char *why;
	int r = nic_probe(nic, ret, e);

	if (r)
		return r;
	why = why_not(dp, nic, want, ret);
	if (!why) {
		r = xdp_attach(dp, nic.num);
		ret->xdp = !r;
		ret->xdp_features |= ret->xdp ? DP_NIC_XDP : 0U; /* older kernels do not say so before */
		why = !r			   ? "" :
		      r == -EBUSY		   ? "another XDP program is attached to it" :
		      r == -EOPNOTSUPP		   ? "its driver has no XDP" :
		      r == -EINVAL || r == -ERANGE ? "its driver refuses: MTU, queues or offloads" :
						     strerror(-r);
	}
	(void)str_copy(ret->reason, sizeof(ret->reason), str_of(why));
	if (!ret->xdp)
		xdp_detach(dp, nic.num);
	(void)!dp_get(dp, M_ATTACHED, &ifx, &old);
	a.flags |= flags_of(ret);
	return a.flags == old.flags ? 0 : dp_put(dp, M_ATTACHED, &ifx, &a, e);
}
