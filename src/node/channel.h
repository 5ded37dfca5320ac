/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_CHANNEL_H
#define DEMARC_NODE_CHANNEL_H

/* What goes over the link and what it means. Thread: the loop's. */

#include "node/node.h"

/* Dials the hub as the identity says; cfg.hub overrides the URLs. */
WARN_UNUSED int channel_start(struct node *n, struct link_identity *id, struct err *e);
/* What the link is started with; ctx is the node. */
extern const struct link_client_ops channel_ops;
/* The next connection uses what the identity says now. */
WARN_UNUSED int channel_reload(struct node *n, struct err *e);
void channel_stop(struct node *n);
/* Once a second: what was refused is asked for again when it is time. */
void channel_tick(struct node *n);
/* Sends a ChunkRequest. -ENOTCONN: no link. */
WARN_UNUSED int channel_ask_chunk(struct node *n, const char *image_id, uint64_t offset, uint32_t size);

#endif
