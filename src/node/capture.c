/* SPDX-License-Identifier: Apache-2.0 */
#include "node/capture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/pcapng.h"
#include "model/sniff.h"
#include "node/fabric.h"
#include "node/flows.h"

#define WAITING_MAX (512u << 10) /* bytes that wait for the stream's credit */
#define POLL_MS 10u	 /* between two looks at the datapath's ring, which holds 500 frames */
#define LOST_NS NS_PER_S /* between two counts of what was lost */

struct capture {
	struct node *n;
	uv_timer_t timer;
	void (*more)(void *ctx);
	void *ctx;
	struct sniff_filter filter;
	struct strbuf waiting;
	uint64_t lost; /* for want of room here */
	uint64_t dp_lost_before, told_lost;
	int64_t told_ns;
};

/* ---- frames ---- */

void capture_packet(struct node *n, const struct dp_packet *p)
{
	struct capture *c = n->capture;
	struct sniffed s;

	if (!c)
		return;
	sniff(p->head, p->head_len, &s);
	if (!sniff_matches(&c->filter, &s))
		return;
	if (c->waiting.len + PCAPNG_BLOCK_MAX > WAITING_MAX) {
		c->lost++;
		return;
	}
	pcapng_add_frame(&c->waiting,
			 &(struct pcapng_frame){ .time_us = clock_wall_us() -
							    (clock_mono_ns() - p->now_ns) / NS_PER_US,
						 .to_interface = p->to_port,
						 .vlan = p->vlan.id,
						 .size = p->len,
						 .head = { (const char *)p->head, p->head_len } });
}

static uint64_t dp_lost(struct node *n)
{
	struct dp_losses lost;

	dp_losses(n->dp, &lost);
	return lost.packets;
}

/* Told soon after it changed. */
static void tell_lost(struct capture *c)
{
	uint64_t lost = c->lost + dp_lost(c->n) - c->dp_lost_before;
	int64_t now = clock_mono_ns();

	if (lost == c->told_lost || now - c->told_ns < LOST_NS ||
	    c->waiting.len + PCAPNG_BLOCK_MAX > WAITING_MAX)
		return;
	c->told_lost = lost;
	c->told_ns = now;
	pcapng_add_lost(&c->waiting, clock_wall_us(), lost);
}

static void on_timer(uv_timer_t *t)
{
	struct capture *c = t->data;

	flows_poll(c->n);
	tell_lost(c);
	if (c->waiting.len)
		c->more(c->ctx);
}

/* ---- for the stream ---- */

struct str capture_waiting(const struct node *n)
{
	return n->capture ? (struct str){ n->capture->waiting.ptr, n->capture->waiting.len } :
			    (struct str){ "", 0 };
}

void capture_sent(struct node *n, size_t size)
{
	struct strbuf *b = &n->capture->waiting;

	b->len -= size;
	memmove(b->ptr, b->ptr + size, b->len);
}

int capture_open(struct node *n, const Demarc__V1__CaptureStream *m, void (*more)(void *ctx),
		 void *ctx, struct err *e)
{
	struct sniff_filter filter = { 0 };
	struct capture *c;
	ifindex port;
	vlan_id vlan;
	int rc = 0;

	if (n->capture)
		return err_set(e, FAULT_CONFLICT, NULL,
			       "a capture is running on this node: one at a time");
	if (!fabric_port_place(n, m->port_id, &port, &vlan))
		return err_set(e, FAULT_NOT_FOUND, "port", "port %.60s is not on this node", m->port_id);
	if (m->filter)
		rc = flows_frame_filter(m->filter, &filter, e);
	if (rc < 0)
		return rc;
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	*c = (struct capture){ .n = n, .more = more, .ctx = ctx, .filter = filter };
	c->dp_lost_before = dp_lost(n);
	pcapng_add_header(&c->waiting, m->port_id);
	(void)uv_timer_init(n->loop, &c->timer); /* cannot fail, as the next */
	c->timer.data = c;
	(void)uv_timer_start(&c->timer, on_timer, 0, POLL_MS);
	n->capture = c;
	dp_capture(n->dp, port, MAX_OF(m->every, 1U));
	return 0;
}

static void on_closed(uv_handle_t *h)
{
	struct capture *c = h->data;

	strbuf_done(&c->waiting);
	free(c);
}

void capture_close(struct node *n)
{
	struct capture *c = n->capture;

	if (!c)
		return;
	n->capture = NULL;
	if (n->dp)
		dp_capture(n->dp, (ifindex){ 0 }, 0);
	uv_close((uv_handle_t *)&c->timer, on_closed);
}
