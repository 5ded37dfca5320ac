/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_LEASE_H
#define DEMARC_NODE_LEASE_H

/*
 * Which addresses the hosts behind ports were given, over a reboot: the datapath learns them from DHCP and DAD, and its maps end with the kernel. They are
 * written to state_dir/leases.json every LEASE_SAVE_S when something is different from what is in it, and put back when the maps are found empty, with what is
 * left of their time. Losing the file costs hosts a renewal of their leases. Thread: the loop's.
 */

#include <jansson.h>

#include "node/node.h"

#define LEASE_SAVE_S 10

WARN_UNUSED int lease_open(struct node *n, struct err *e);
/* The last state is written. */
void lease_close(struct node *n);
/* Before ports are written: what belongs to interfaces that are there now is put back. */
void lease_pass(struct node *n);
void lease_tick(struct node *n);

/* A row of the file: an address with `left` seconds of its time, -1: for ever. */
WARN_UNUSED json_t *lease_row(const char *network, const char *interface,
			      const struct dp_binding *b, int64_t left);
/* 1: rows in the file tell enough of what is now: an end may differ by what is not worth a write. Other than lists never are the same. */
bool lease_rows_same(const json_t *a, const json_t *b);

#endif
