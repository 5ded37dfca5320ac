/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include "node/calls.h"
#include "node/exports.h"
#include "node/flows.h"
#include "node/lease.h"
#include "node/overlay.h"
#include "node/peer.h"
#include "node/server.h"
#include "node/stream.h"
#include "sim/node.h"

/* What the agent has and a simulated node has not. */

static char *text(const char *s)
{
	return (char *)(uintptr_t)s; /* protobuf-c's strings are not const; nothing here writes to them */
}

void runtime_version(const struct runtime *rt, char *ret, size_t size)
{
	(void)rt;
	(void)snprintf(ret, size, "simulated");
}

/* ---- images: every one is there ---- */

int images_open(uv_loop_t *loop, const char *state_dir, const struct images_ops *ops, void *ctx,
		struct images **ret, struct err *e)
{
	(void)loop;
	(void)state_dir;
	(void)ops;
	(void)ctx;
	(void)e;
	*ret = NULL;
	return 0;
}

void images_want(struct images *im, const Demarc__V1__Image *image, uint64_t limit_bytes,
		 struct image_view *ret)
{
	(void)im;
	(void)image;
	(void)limit_bytes;
	*ret = (struct image_view){ .state = IMAGE_READY, .dir = "" };
}

void images_mark(struct images *im)
{
	(void)im;
}

void images_sweep(struct images *im)
{
	(void)im;
}

void images_chunk(struct images *im, const Demarc__V1__Chunk *c)
{
	(void)im;
	(void)c;
}

void images_link_up(struct images *im)
{
	(void)im;
}

void images_tick(struct images *im)
{
	(void)im;
}

bool peers_are_on(const struct node *n)
{
	(void)n;
	return false;
}

void peers_link_up(struct node *n, const Demarc__V1__HubHello *h)
{
	(void)n;
	(void)h;
}

void peers_frame(struct node *n, const Demarc__V1__Frame *f)
{
	(void)n;
	(void)f;
}

void peers_tick(struct node *n)
{
	(void)n;
}

void servers_rotate_consoles(struct node *n)
{
	(void)n;
}

/* ---- the node's own namespace: no interface in it ---- */

bool config_wants_xdp(const struct config *c)
{
	(void)c;
	return false;
}

const char *config_nic_device(const struct config *c, const char *name)
{
	(void)c;
	(void)name;
	return NULL;
}

int nl_links(struct nl *nl, struct nl_link **ret, struct err *e)
{
	(void)nl;
	(void)ret;
	(void)e;
	return 0;
}

int nl_link_flags(struct nl *nl, ifindex index, unsigned flags, unsigned change, struct err *e)
{
	(void)nl;
	(void)index;
	(void)flags;
	(void)change;
	return err_set(e, FAULT_NOT_FOUND, NULL, "a simulated node has no interfaces");
}

int nl_link_del(struct nl *nl, ifindex index, struct err *e)
{
	(void)nl;
	(void)index;
	(void)e;
	return 0;
}

bool overlay_pass(struct node *n)
{
	(void)n;
	return true;
}

void overlay_prune(struct node *n)
{
	(void)n;
}

void lease_pass(struct node *n)
{
	(void)n;
}

void lease_tick(struct node *n)
{
	(void)n;
}

void overlay_tick(struct node *n)
{
	(void)n;
}

bool overlay_keeps_network(struct node *n, const char *id)
{
	(void)n;
	(void)id;
	return false;
}

/* ---- flows: there are none ---- */

void exports_intent(struct node *n)
{
	(void)n;
}

void exports_tick(struct node *n)
{
	(void)n;
}

void exports_figures(struct node *n, struct export_figures *ret)
{
	(void)n;
	*ret = (struct export_figures){ 0 };
}

void flows_tick(struct node *n)
{
	(void)n;
}

/* ---- what people ask a node ---- */

void calls_answer(struct node *n, uint64_t request, const Demarc__V1__Call *call)
{
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	Demarc__V1__CallResult r = DEMARC__V1__CALL_RESULT__INIT;

	(void)call;
	r.error = text("a simulated node has no console and no packets");
	r.fault = text("NOT_IMPLEMENTED");
	f.request = request;
	f.body_case = DEMARC__V1__FRAME__BODY_CALL_RESULT;
	f.call_result = &r;
	(void)!link_client_send(n->link, &f);
}

bool streams_open(const struct node *n)
{
	(void)n;
	return false;
}

void streams_link_down(struct node *n)
{
	(void)n;
}

void streams_frame(struct node *n, const Demarc__V1__Frame *f)
{
	(void)n;
	(void)f;
}
