/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_FLOWS_H
#define DEMARC_NODE_FLOWS_H

/* Questions about live flows and packets, asked by the hub for a person. Answers are bounded. Thread: the loop's. */

#include "demarc.pb-c.h"
#include "model/sniff.h"
#include "node/node.h"

/* Each fills what the answer needs and calls send() once, while that lives. */
typedef void (*flows_send_fn)(struct node *n, uint64_t request, Demarc__V1__CallResult *r);

WARN_UNUSED int flows_list(struct node *n, uint64_t request, const Demarc__V1__FlowsCall *c,
			   flows_send_fn send, struct err *e);
WARN_UNUSED int flows_volumes(struct node *n, uint64_t request, const Demarc__V1__VolumesCall *c,
			      flows_send_fn send, struct err *e);
WARN_UNUSED int flows_watch(struct node *n, uint64_t request, const Demarc__V1__WatchCall *c,
			    flows_send_fn send, struct err *e);
/* What of a filter a single frame shows. */
WARN_UNUSED int flows_frame_filter(const Demarc__V1__FlowFilter *f, struct sniff_filter *ret,
				   struct err *e);
void flows_poll(struct node *n); /* takes what the datapath tells of packets */
/* About once a second: takes what the datapath tells, and stops it when nobody asks any more. */
void flows_tick(struct node *n);
void flows_close(struct node *n);

#endif
