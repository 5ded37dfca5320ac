/* SPDX-License-Identifier: Apache-2.0 */
#include "node/node.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
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

#define FULL_PASS_MS                                                                               \
	30000u /* between passes that write everything, whether or not anything changed */

/* ---- passes ---- */

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
	node_save(n);
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

	if (n->stopping)
		return;
	(void)!dp_age(n->dp, NULL);
	exports_tick(n);
	flows_tick(n);
	chains_collect(n);
	lease_tick(n);
	overlay_tick(n);
	images_tick(n->images);
	peers_tick(n);
	servers_rotate_consoles(n);
	ticket_tick(n);
	channel_tick(n);
	if (n->full_ms <= n->machine->tick_ms) {
		n->full_ms = FULL_PASS_MS;
		node_kick_fabric(n);
	} else {
		n->full_ms -= n->machine->tick_ms;
		reports_flush(n);
	}
}

static int intent_taken(struct node *n, const Demarc__V1__Intent *m, int64_t at_ns)
{
	n->intent_ns = at_ns;
	/* What is not known because it could not be taken must not be deleted as if nobody wanted it. */
	if (m->full && !intent_left_out(n->intent))
		n->frozen = false;
	/* At once: a chain change is in force, and reported, before this returns; the rest may wait for the disk. */
	n->fabric_dirty = true;
	pass_traffic(n);
	exports_intent(n);
	reports_flush(n);
	node_kick(n);
	return 0;
}

int node_intent(struct node *n, const Demarc__V1__Intent *m, struct err *e)
{
	int64_t now = clock_mono_ns();
	int r = intent_apply(n->intent, m, e);

	return r < 0 ? r : intent_taken(n, m, now);
}

int node_intent_rest(struct node *n, const Demarc__V1__Intent *m, struct err *e)
{
	int64_t now = clock_mono_ns();
	int r = intent_apply_rest(n->intent, m, e);

	return r < 0 ? r : intent_taken(n, m, now);
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

/* ---- the beginning ---- */

void node_init(struct node *n, uv_loop_t *loop, const struct machine *m, const char *node_id)
{
	n->loop = loop;
	n->machine = m;
	n->lock_fd = -1;
	n->fabric_dirty = true;
	n->started_ns = clock_mono_ns();
	n->full_ms = FULL_PASS_MS;
	(void)str_copy(n->id, sizeof(n->id), str_of(node_id));
	(void)uuid_format(uuid_random(), n->run_id);
	(void)uv_timer_init(loop, &n->pass_timer); /* cannot fail, as the next */
	(void)uv_timer_init(loop, &n->tick_timer);
	n->pass_timer.data = n->tick_timer.data = n;
}

int node_open_state(struct node *n, struct err *e)
{
	static const struct images_ops ops = { ask_chunk, on_image_changed, on_image_event };
	int r = intent_open(n->cfg.state_dir, &n->intent, &n->frozen, e);

	if (r == 0)
		r = local_open(n->cfg.state_dir, &n->local, e);
	if (r == 0)
		r = reports_open(n, e);
	if (r == 0)
		r = images_open(n->loop, n->cfg.state_dir, &ops, n, &n->images, e);
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

void node_begin(struct node *n, unsigned after_ms)
{
	(void)uv_timer_start(&n->tick_timer, on_tick, after_ms, n->machine->tick_ms);
	node_kick_fabric(n);
}

void node_save(struct node *n)
{
	struct err e = { 0 };

	if (local_save(n->local, &e) < 0)
		log_limited(LOG_ERROR_, "state_unsaved", "error=\"%s\"", e.msg);
}
