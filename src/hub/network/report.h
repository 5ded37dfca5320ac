/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_REPORT_H
#define DEMARC_HUB_NETWORK_REPORT_H

#include "base/err.h"
#include "demarc.pb-c.h"
#include "store/db.h"

/* Stores what a node observed of a port's vNIC: the binding's verification, and ACTIVE or DOWN. A report about a port that
 * is not (or no longer) on that node changes nothing. Runs in the open write transaction of the batch. Returns 1 when it was stored. */
WARN_UNUSED int port_report(struct db *db, const char *node_id, const Demarc__V1__PortStatus *s,
			    struct err *e);

#endif
