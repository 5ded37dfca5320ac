/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_STREAM_H
#define DEMARC_NODE_STREAM_H

/*
 * What a person does here through the hub: a shell in a function (or on the node, when its configuration says `shell: yes`), and
 * following a function's log. Bounds: 8 streams, 64 KiB of input each, output only as far as the hub has granted; each ends after
 * its idle and total time, and with the connection. Thread: the loop's.
 */

#include "node/node.h"

/* Of any kind; others are ignored. Unknown ids are closed, or ignored when they were. */
void streams_frame(struct node *n, const Demarc__V1__Frame *f);
bool streams_open(const struct node *n); /* somebody looks */
/* The connection is gone: nobody looks any more. */
void streams_link_down(struct node *n);
void streams_close(struct node *n);

#endif
