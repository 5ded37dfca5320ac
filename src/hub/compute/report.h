/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_COMPUTE_REPORT_H
#define DEMARC_HUB_COMPUTE_REPORT_H

#include "base/err.h"
#include "demarc.pb-c.h"
#include "store/db.h"

/*
 * Applies what a node says about one server to its row, in the caller's write transaction. Returns 1 when the row
 * changed, 0 when not: also for a server that is not there any more or belongs to another node.
 *
 * Level-triggered: a report may be late, repeated or reordered. While the API waits for something (task_state is set), a
 * state that belongs to an older version of the intent object, or that is the state to be left, changes nothing.
 */
WARN_UNUSED int compute_report(struct db *db, const char *node_id,
			       const Demarc__V1__ServerStatus *s, struct err *e);

#endif
