/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_CHAIN_REPORT_H
#define DEMARC_HUB_CHAIN_REPORT_H

#include "base/err.h"
#include "demarc.pb-c.h"
#include "store/db.h"

/* Stores what a node says of a chain and completes its changes: the one in force is confirmed, older ones that waited are
 * superseded, one that waits for a hop is held. A repeat changes only counts. A report about a chain that is not on that node
 * changes nothing. Runs in the open write transaction of the batch. Returns 1 when it was stored. */
WARN_UNUSED int chain_report(struct db *db, const char *node_id, const Demarc__V1__ChainStatus *s,
			     struct err *e);

#endif
