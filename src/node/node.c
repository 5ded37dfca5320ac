/* SPDX-License-Identifier: Apache-2.0 */
#include "node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "node/chains.h"
#include "node/channel.h"
#include "node/exports.h"
#include "node/fabric.h"
#include "node/flows.h"
#include "node/overlay.h"
#include "node/report.h"
#include "node/server.h"
#include "node/stream.h"

#define TICK_MS 1000
#define MAX_FLOWS (64 << 20) /* 16 GB of records */
#define FULL_PASS_TICKS                                                                            \
	30 /* ticks between passes that write everything, whether or not anything changed */

/* ---- passes ---- */

static void save_local(struct node *n)
{
	struct err e = { 0 };

	if (local_save(n->local, &e) < 0)
		log_limited(LOG_ERROR_, "state_unsaved", "error=\"%s\"", e.msg);
}

static bool keep_server(void *ctx, const char *id)
{
	struct node *n = ctx;

	return intent_find(n->intent, "server", id) || server_find(n, id);
}

static void prune_notes(struct node *n)
{
	static const char *const topics[] = { "run", "image", "wiring", "reboot", "healthy" };

	for (size_t i = 0; i < ARRAY_LEN(topics); i++)
		local_note_prune(n->local, topics[i], keep_server, n);
}

static void plan_next(struct node *n);

static void pass_traffic(struct node *n)
{
	if (n->fabric_dirty) {
		n->fabric_dirty = false;
		fabric_pass(n); /* chains are part of it */
	} else {
		chains_apply(n);
	}
}

/* Traffic first, then functions, then papers. */
static void pass(struct node *n)
{
	if (n->stopping)
		return;
	pass_traffic(n);
	images_mark(n->images);
	servers_pass(n);
	if (!n->frozen) {
		if (!servers_busy(n)) /* the end of a job brings another pass */
			images_sweep(n->images);
		prune_notes(n);
	}
	save_local(n);
	reports_flush(n);
	plan_next(n);
}

static void on_pass(uv_timer_t *t)
{
	pass(t->data);
}

void node_kick(struct node *n)
{
	if (!n->stopping)
		(void)uv_timer_start(&n->pass_timer, on_pass, 0, 0);
}

void node_kick_fabric(struct node *n)
{
	n->fabric_dirty = true;
	node_kick(n);
}

/* A server may have a time of its own: the end of a back-off, the next look at its vNICs. */
static void plan_next(struct node *n)
{
	int64_t left = servers_next_ns(n) - clock_mono_ns();

	if (uv_is_active((uv_handle_t *)&n->pass_timer) || left > 3600 * NS_PER_S)
		return;
	(void)uv_timer_start(&n->pass_timer, on_pass,
			     left > 0 ? (uint64_t)(left / NS_PER_MS) + 1 : 1, 0);
}

static void on_tick(uv_timer_t *t)
{
	struct node *n = t->data;
	static unsigned n_ticks; /* of this process' only node */

	if (n->stopping)
		return;
	(void)!dp_age(n->dp, NULL);
	exports_tick(n);
	flows_tick(n);
	chains_collect(n);
	overlay_tick(n);
	images_tick(n->images);
	servers_rotate_consoles(n);
	ticket_tick(n);
	channel_tick(n);
	if (++n_ticks % FULL_PASS_TICKS == 0)
		node_kick_fabric(n);
	else
		reports_flush(n);
}

/* A NIC came, went or changed; our own veths too. */
static void on_links(void *ctx)
{
	struct node *n = ctx;

	if (nl_drain(n->nl_watch) > 0)
		node_kick_fabric(n);
}

int node_intent(struct node *n, const Demarc__V1__Intent *m, struct err *e)
{
	int64_t now = clock_mono_ns();
	int r = intent_apply(n->intent, m, e);

	if (r < 0)
		return r;
	n->intent_ns = now;
	if (m->full)
		n->frozen = false;
	/* At once: a chain change is in force, and reported, before this returns; the rest may wait for the disk. */
	n->fabric_dirty = true;
	pass_traffic(n);
	exports_intent(n);
	reports_flush(n);
	node_kick(n);
	return 0;
}

void node_event(struct node *n, const char *kind, const char *severity, const char *what,
		const char *id, const char *fmt, ...)
{
	char text[512], resource[64];
	va_list ap;

	(void)snprintf(resource, sizeof(resource), "%s/%.40s", what, id);
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_limited(LOG_INFO_, "event", "kind=%s resource=%s text=\"%s\"", kind, resource, text);
	reports_event(n, kind, severity, resource, text);
}

/* ---- images ---- */

static void on_image_changed(void *ctx)
{
	node_kick(ctx);
}

static void on_image_event(void *ctx, const char *kind, const char *severity, const char *image_id,
			   const char *text)
{
	node_event(ctx, kind, severity, "image", image_id, "%s", text);
}

static int ask_chunk(void *ctx, const char *image_id, uint64_t offset, uint32_t size)
{
	return channel_ask_chunk(ctx, image_id, offset, size);
}

/* ---- opening and closing ---- */

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

static int open_state(struct node *n, struct err *e)
{
	static const struct images_ops ops = { ask_chunk, on_image_changed, on_image_event };
	int r = intent_open(n->cfg.state_dir, &n->intent, &n->frozen, e);

	if (r == 0)
		r = local_open(n->cfg.state_dir, &n->local, e);
	if (r == 0)
		r = reports_open(n, e);
	if (r == 0)
		r = images_open(&n->loop, n->cfg.state_dir, &ops, n, &n->images, e);
	if (r == 0)
		r = fabric_open(n, e);
	if (r == 0)
		r = chains_open(n, e);
	if (r == 0 && n->frozen)
		log_error("intent_damaged",
			  "dir=%s action=\"nothing is removed until the hub has sent it again\"",
			  n->cfg.state_dir);
	return r;
}

static int open_kernel(struct node *n, struct err *e)
{
	char pin_dir[PATH_MAX];
	struct dp_config dc = { .pin_dir = pin_dir };
	uint64_t max_flows = 0;
	int r;

	if (*n->cfg.max_flows && str_to_u64(str_of(n->cfg.max_flows), MAX_FLOWS, &max_flows) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "max_flows", "'%s' is not a number up to %d",
			       n->cfg.max_flows, MAX_FLOWS);
	dc.max_flows = (uint32_t)max_flows;
	node_pin_dir(&n->cfg, n->id, pin_dir, sizeof(pin_dir));
	r = dp_open(&dc, &n->dp, e);
	if (r == 0)
		r = dp_ct_set(n->dp, &n->cfg.conntrack, e);
	if (r == 0)
		r = nl_open(&n->nl, e);
	if (r == 0)
		r = nl_open(&n->nl_watch, e);
	if (r == 0)
		r = nl_watch(n->nl_watch, e);
	if (r == 0) {
		n->link_watch = watch_start(&n->loop, nl_fd(n->nl_watch), on_links, n);
		r = n->link_watch ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "watch of links");
	}
	return r < 0 ? r : overlay_open(n, e);
}

int node_open(struct node *n, const struct config *cfg, const char *node_id, struct err *e)
{
	int r;

	memset(n, 0, sizeof(*n));
	n->cfg = *cfg;
	n->lock_fd = -1;
	n->fabric_dirty = true;
	n->started_ns = clock_mono_ns();
	(void)str_copy(n->id, sizeof(n->id), str_of(node_id));
	(void)uuid_format(uuid_random(), n->run_id);
	read_boot_id(n->boot_id);
	/* The end of a function whose starter has ended becomes known here, with its status. */
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (uv_loop_init(&n->loop) < 0)
		return err_set(e, FAULT_INTERNAL, NULL, "event loop");
	(void)uv_timer_init(&n->loop, &n->pass_timer);
	(void)uv_timer_init(&n->loop, &n->tick_timer);
	n->pass_timer.data = n->tick_timer.data = n;
	r = open_dirs(n, e);
	if (r == 0)
		r = open_state(n, e);
	if (r == 0)
		r = open_kernel(n, e);
	if (r == 0)
		r = exports_open(n, e);
	if (r == 0)
		r = servers_adopt(n, e);
	if (r == 0) {
		(void)uv_timer_start(&n->tick_timer, on_tick, TICK_MS, TICK_MS);
		node_kick_fabric(n);
	}
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
	images_close(n->images);
	watch_stop(n->link_watch);
	if (n->chains)
		chains_close(n);
	flows_close(n);
	streams_close(n);
	exports_close(n);
	fabric_close(n);
	overlay_close(n);
	reports_close(n);
	if (n->local)
		save_local(n);
	local_close(n->local);
	intent_close(n->intent);
	nl_close(n->nl);
	nl_close(n->nl_watch);
	if (n->dp)
		dp_close(n->dp);
	uv_walk(&n->loop, close_handle, NULL);
	(void)uv_run(&n->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&n->loop);
	close_fdp(&n->lock_fd);
}
