/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_CLI_CHAIN_H
#define DEMARC_CLI_CHAIN_H

/* A port chain as the commands see it: its groups in order, and a change that is waited for. */

#include "cli/cli.h"

#define HOPS_MAX 64

struct chain {
	json_t *chain;		  /* port_chain */
	json_t *groups[HOPS_MAX]; /* port_pair_group of each hop, in order */
	size_t n_hops;
};

WARN_UNUSED int chain_load(struct cli *c, const char *what, struct chain *ret, struct err *e);
void chain_done(struct chain *ch);
/* Index of a hop named by its group's name or id, or by its number from 1. NOT_FOUND lists the hops. */
WARN_UNUSED int chain_hop(const struct chain *ch, const char *what, size_t *ret, struct err *e);

/*
 * Updates the chain to these groups (ids) in the mode of --mode, and waits for the node's report. *ret_change: the finished change.
 * A change that the node holds back because a function is not healthy, or that is not confirmed in time, is put back to the groups before: the
 * error tells the node's reason.
 */
WARN_UNUSED int chain_change(struct cli *c, const struct chain *ch, const char *const *groups,
			     size_t n_groups, json_t **ret_change, struct err *e);
/* One summary of a finished change. */
void chain_print_change(struct cli *c, const json_t *change);

#endif
