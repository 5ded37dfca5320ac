/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_PROBE_H
#define DEMARC_NODE_PROBE_H

/*
 * Whether a function works: "" or "process" (it runs, nothing to ask), "tcp:PORT" (it accepts a connection, made inside
 * its own namespace), "exec:COMMAND" (a program run inside ends with status 0).
 * Every 200 ms until the first success, then every 500 ms; two failures in a row make it unhealthy.
 * Thread: the loop's.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"
#include "base/types.h"
#include "node/runtime.h"

struct probe;

struct probe_spec {
	const char *what;	  /* as above; copied */
	const struct runtime *rt; /* borrowed */
	const char *id;		  /* of the container; copied */
	int netns_fd;		  /* borrowed while the probe lives */
	bool assume_healthy; /* until two failures: a function that an agent before this one had in path */
	struct ip_addr addr; /* fixed IP to try when nothing answers on the loopback; family 0: none */
};

WARN_UNUSED int probe_start(uv_loop_t *loop, const struct probe_spec *s, void (*changed)(void *ctx),
			    void *ctx, struct probe **ret, struct err *e);
void probe_stop(struct probe *p); /* takes NULL */
bool probe_healthy(const struct probe *p);
const char *probe_what(const struct probe *p);
const char *probe_reason(const struct probe *p); /* why not healthy; "" */

#endif
