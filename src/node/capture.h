/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_CAPTURE_H
#define DEMARC_NODE_CAPTURE_H

/*
 * The frames of one port as pcapng, for a stream (node/stream.c): one capture of a node at a time. What waits for the stream's credit is bounded;
 * frames beyond it are counted, and the count is told in the capture itself. Thread: the loop's.
 */

#include "demarc.pb-c.h"
#include "dp/observe.h"
#include "node/node.h"

struct capture;

/* more(ctx): there is something in capture_waiting(). Faults: NOT_FOUND (port), CONFLICT (one is running), BAD_REQUEST (filter). */
WARN_UNUSED int capture_open(struct node *n, const Demarc__V1__CaptureStream *m,
			     void (*more)(void *ctx), void *ctx, struct err *e);
struct str capture_waiting(const struct node *n);
void capture_sent(struct node *n, size_t size);
void capture_close(struct node *n); /* nothing, when there is none */

/* A packet that the datapath told as captured. */
void capture_packet(struct node *n, const struct dp_packet *p);

#endif
