/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_CLI_FUNCTION_H
#define DEMARC_CLI_FUNCTION_H

/* A network function with all that makes it a hop: two ports, a server, a port pair, a port pair group. */

#include "cli/cli.h"

struct function {
	char *name, *in_port, *out_port, *server, *pair, *group; /* ids; NULL: not made */
};

/* Where it goes: taken from a hop that is there already. Strings borrowed. */
struct place {
	const char *network_id;	       /* of its two ports */
	const char *availability_zone; /* "site:node" of its neighbours */
};

/*
 * Makes all of it from an image and the command's options (--name --flavor --in-ip --out-ip --transparent --security-group --user-data --probe
 * --on-failure), waits until the node has verified it (--timeout), with progress. On failure or interrupt *f tells what was made:
 * function_unmake() takes it back.
 */
WARN_UNUSED int function_make(struct cli *c, const char *image, const struct place *at,
			      struct function *f, struct err *e);
/* Deletes what there is of it, last made first; goes on after failures and returns the first. */
WARN_UNUSED int function_unmake(struct cli *c, struct function *f, struct err *e);
/* The function behind a port pair group that has one pair: for remove and replace. */
WARN_UNUSED int function_of_group(struct cli *c, const json_t *group, struct function *f, struct err *e);
void function_done(struct function *f);

#endif
