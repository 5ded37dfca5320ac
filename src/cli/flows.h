/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_CLI_FLOWS_H
#define DEMARC_CLI_FLOWS_H

/* Live flows and packets: what flows.c, watch.c and capture.c share. */

#include <stdint.h>

#include "cli/cli.h"

/* The node of this name or id, or all nodes of the site: an array of objects. New reference. */
WARN_UNUSED int flows_nodes(struct cli *c, const char *what, json_t **ret, struct err *e);
/* "10.0.0.1:80", "[fd00::1]:80", or the address alone; of a flow or packet. */
const char *flows_endpoint(const json_t *o, const char *addr, const char *port, char *buf, size_t size);
const char *flows_protocol(const json_t *o, char buf[static 8]);
const char *flows_tcp_flags(json_int_t flags, char buf[static 8]); /* "SA" */

/* How long: both bounds are given by options; 0: none. */
struct bounds {
	long long count, seconds, every;
	int64_t end_ns;
	long long n;
};
WARN_UNUSED int bounds_take(struct cli *c, long long dflt_count, struct bounds *ret, struct err *e);
bool bounds_are_over(const struct bounds *b);

int watch_run(struct cli *c, struct err *e);
int capture_run(struct cli *c, struct err *e);
extern const struct cli_option watch_options[], capture_options[];

#endif
