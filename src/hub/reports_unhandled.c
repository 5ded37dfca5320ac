/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session.h"

/* What a node reports about a service that this hub does not have is dropped. The service's own function replaces these. */

#define UNHANDLED(name, type)                                                                      \
	__attribute__((weak)) int name(struct db *db, const char *node_id, const type *report,     \
				       struct err *e);                                             \
	int name(struct db *db, const char *node_id, const type *report, struct err *e)            \
	{                                                                                          \
		return 0;                                                                          \
	}

UNHANDLED(compute_report, Demarc__V1__ServerStatus)
UNHANDLED(port_report, Demarc__V1__PortStatus)
UNHANDLED(chain_report, Demarc__V1__ChainStatus)
