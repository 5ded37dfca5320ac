/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_SIM_SLOW_H
#define DEMARC_SIM_SLOW_H

/* Nodes that are not as the hub would like them: too slow, or of another release. Thread: the worker's loop. */

#include "sim/node.h"

/* From now on, or no longer. Which of three ways to be slow goes by the node's number. */
void slow_set(struct sim_node *s, bool slow);
void slow_turn(struct sim_node *s, int64_t now); /* every few milliseconds */

/* For link_here.encode: `ctx` is the node's struct node. Which of three releases goes by the node's number. */
int release_encode(void *ctx, const Demarc__V1__Frame *f, uint8_t **ret, size_t *ret_size);
/* What a later release says besides, once it is connected. */
void release_up(struct sim_node *s);

#endif
