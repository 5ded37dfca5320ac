/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_WATCH_H
#define DEMARC_NODE_WATCH_H

/* A descriptor in the loop, freed whenever the loop is done with it. Thread: the loop's. */

#include <uv.h>

struct watch;

/* fn(ctx) runs each time fd is readable, until watch_stop(). NULL: no memory, or fd cannot be watched. */
struct watch *watch_start(uv_loop_t *loop, int fd, void (*fn)(void *ctx), void *ctx);
/* After this fn does not run any more and fd may be closed. Takes NULL. */
void watch_stop(struct watch *w);

#endif
