/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_METASRV_H
#define DEMARC_NODE_METASRV_H

/*
 * The metadata service of one function: a listening socket inside the function's namespace, reached at 169.254.169.254:80
 * without taking port 80 from the function (bpf/metadata.bpf.c), served by the agent's loop. Nothing listens in the node's own namespace.
 * Thread: the loop's.
 */

#include <uv.h>

#include "base/err.h"
#include "node/meta.h"

struct metasrv;

/* Called for each request: fills the documents of the moment; the service frees them. */
typedef int (*metasrv_docs_fn)(void *ctx, struct meta_docs *ret);

WARN_UNUSED int metasrv_start(uv_loop_t *loop, int netns_fd, metasrv_docs_fn docs, void *ctx,
			      struct metasrv **ret, struct err *e);
void metasrv_stop(struct metasrv *m); /* closes all connections; takes NULL */

#endif
