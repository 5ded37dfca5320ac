/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_START_H
#define DEMARC_NODE_START_H

/*
 * Which function starts next. Those of a chain start in its order: one starts when those in front of it run. The order is soft: one that
 * failed, waits for its image or is switched off holds nobody back, nor does any for longer than START_WAIT_NS. Their namespaces and
 * interfaces are made ahead of their turn. Functions that are in no chain come last.
 * Whether a probe passes is not waited for: a chain carries traffic when all of its hops are well, and probes side by side are sooner done.
 */

#include "base/clock.h"
#include "node/server.h"

/* Jobs under way that prepare or start a function. One of the four threads of libuv is left for what ends functions or unpacks images. */
#define STARTS_MAX 3
#define START_WAIT_NS (30 * NS_PER_S)

/* Looks at the chains of the intent and at what is due: once in a pass, before the next. */
void starts_order(struct node *n);
/* The one to be prepared (OFF) or started (PREPARED) now; NULL: none, or too many are under way. */
struct server *starts_next(struct node *n);

#endif
