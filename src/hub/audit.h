/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_AUDIT_H
#define DEMARC_HUB_AUDIT_H

/* What people and nodes did that matters to security, as events: who, what, where. */

#include "base/err.h"
#include "store/db.h"

/* An event of the hub's own, in the open transaction. node_id and resource may be NULL. */
WARN_UNUSED int audit(struct db *db, const char *node_id, const char *kind, const char *resource,
		      struct err *e, const char *fmt, ...) PRINTF_LIKE(6, 7);

#endif
