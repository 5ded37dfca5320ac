/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "node/chains.h"
#include "node/channel.h"
#include "node/exports.h"
#include "node/fabric.h"
#include "node/flows.h"
#include "node/lease.h"
#include "node/machine.h"
#include "node/overlay.h"
#include "node/peer.h"
#include "node/report.h"
#include "node/server.h"
#include "node/stream.h"

/* The agent's node on its machine: directories, kernel, what an agent before this one has left; and the end of it. */

#define MAX_FLOWS (64 << 20) /* 16 GB of records */

void node_pin_dir(const struct config *cfg, const char *node_id, char *ret, size_t size)
{
	if (*cfg->pin_dir)
		(void)str_copy(ret, size, str_of(cfg->pin_dir));
	else
		(void)snprintf(ret, size, "/sys/fs/bpf/demarc/%s", node_id);
}

static void read_boot_id(char ret[static UUID_STR_SIZE])
{
	CLEANUP(free_charp) char *text = NULL;
	size_t size = 0;

	if (file_read("/proc/sys/kernel/random/boot_id", 64, &text, &size, NULL) == 0)
		(void)str_copy(ret, UUID_STR_SIZE, str_of(text)); /* cuts the newline off */
}

/* Relative directories would mean another place to a mount or to the runtime. */
static int absolute(char *path, size_t size, struct err *e)
{
	char real[PATH_MAX];

	if (dir_make(path, 0700, e) < 0)
		return -EIO;
	if (!realpath(path, real))
		return err_errno(e, errno, "%s", path);
	if (strpbrk(real, ":,\\"))
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "'%s': a directory of the node has no ':', ',' or '\\'", real);
	if (str_copy(path, size, str_of(real)) < 0)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "'%s' is too long", real);
	return 0;
}

static int open_dirs(struct node *n, struct err *e)
{
	static const char *const in_run[] = { "netns", "rootfs", "bundle", "runc" };
	char path[PATH_MAX];
	int r = absolute(n->cfg.state_dir, sizeof(n->cfg.state_dir), e);

	(void)snprintf(path, sizeof(path), "%.4000s/lock", n->cfg.state_dir);
	if (r == 0)
		r = file_lock(path, "node agent", &n->lock_fd, e);
	if (r == 0)
		r = absolute(n->cfg.run_dir, sizeof(n->cfg.run_dir), e);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(in_run); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", n->cfg.run_dir, in_run[i]);
		r = dir_make(path, 0700, e);
	}
	n->rt.command = n->cfg.runtime;
	(void)snprintf(n->rt.root, sizeof(n->rt.root), "%s/runc", n->cfg.run_dir);
	return r;
}

/* A NIC came, went or changed; our own veths too. */
static void on_links(void *ctx)
{
	struct node *n = ctx;

	if (nl_drain(n->nl_watch) > 0)
		node_kick_fabric(n);
}

static int open_kernel(struct node *n, struct err *e)
{
	char pin_dir[PATH_MAX];
	struct dp_config dc = { .pin_dir = pin_dir };
	uint64_t max_flows = 0, max_bindings = 0;
	int r;

	if (*n->cfg.max_flows && str_to_u64(str_of(n->cfg.max_flows), MAX_FLOWS, &max_flows) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "max_flows", "'%s' is not a number up to %d",
			       n->cfg.max_flows, MAX_FLOWS);
	if (*n->cfg.max_bindings &&
	    str_to_u64(str_of(n->cfg.max_bindings), DP_BINDINGS_MAX, &max_bindings) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "max_bindings", "'%s' is not a number up to %d",
			       n->cfg.max_bindings, DP_BINDINGS_MAX);
	dc.max_flows = (uint32_t)max_flows;
	node_pin_dir(&n->cfg, n->id, pin_dir, sizeof(pin_dir));
	r = dp_open(&dc, &n->dp, e);
	if (r == 0)
		r = dp_ct_set(n->dp, &n->cfg.conntrack, e);
	if (r == 0)
		r = dp_bindings_limit(n->dp, (uint32_t)max_bindings, e);
	if (r == 0)
		r = nl_open(&n->nl, e);
	if (r == 0)
		r = nl_open(&n->nl_watch, e);
	if (r == 0)
		r = nl_watch(n->nl_watch, e);
	if (r == 0) {
		n->link_watch = watch_start(n->loop, nl_fd(n->nl_watch), on_links, n);
		r = n->link_watch ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "watch of links");
	}
	if (r == 0)
		r = overlay_open(n, e);
	return r < 0 ? r : lease_open(n, e);
}

static uv_loop_t loop; /* of this process' only node */

int node_open(struct node *n, const struct config *cfg, const char *node_id, struct err *e)
{
	int r;

	memset(n, 0, sizeof(*n));
	n->loop = &loop; /* node_close() runs it, however far this came */
	n->lock_fd = -1;
	if (uv_loop_init(&loop) < 0)
		return err_set(e, FAULT_INTERNAL, NULL, "event loop");
	node_init(n, &loop, &machine_local, node_id);
	n->cfg = *cfg;
	read_boot_id(n->boot_id);
	/* The end of a function whose starter has ended becomes known here, with its status. */
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	r = open_dirs(n, e);
	if (r == 0)
		r = node_open_state(n, e);
	if (r == 0)
		r = peers_open(n, e);
	if (r == 0)
		r = open_kernel(n, e);
	if (r == 0)
		r = exports_open(n, e);
	if (r == 0)
		r = servers_adopt(n, e);
	if (r == 0)
		node_begin(n, n->machine->tick_ms);
	return r;
}

/* The parts have closed what is theirs; a child process of a probe closes its own handle when it has ended. */
static void close_handle(uv_handle_t *h, void *ctx)
{
	(void)ctx;
	if (!uv_is_closing(h) && (h->type == UV_TIMER || h->type == UV_SIGNAL))
		uv_close(h, NULL);
}

void node_close(struct node *n)
{
	n->stopping = true;
	channel_stop(n);
	servers_close(n);
	peers_close(n);
	images_close(n->images);
	watch_stop(n->link_watch);
	if (n->chains)
		chains_close(n);
	flows_close(n);
	streams_close(n);
	exports_close(n);
	fabric_close(n);
	overlay_close(n);
	lease_close(n);
	reports_close(n);
	if (n->local)
		node_save(n);
	local_close(n->local);
	intent_close(n->intent);
	nl_close(n->nl);
	nl_close(n->nl_watch);
	if (n->dp)
		dp_close(n->dp);
	uv_walk(n->loop, close_handle, NULL);
	(void)uv_run(n->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(n->loop);
	close_fdp(&n->lock_fd);
}
