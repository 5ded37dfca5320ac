/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_COMPUTE_SCHEDULE_H
#define DEMARC_HUB_COMPUTE_SCHEDULE_H

/* Which node runs a server. */

#include "hub/compute/flavor.h"
#include "hub/rest.h"

struct placement_want {
	const char *zone;     /* site name; NULL: any */
	const char *host;     /* node name; NULL: any */
	const char *bound_to; /* node that the server's ports are bound to; NULL: none is */
	const struct flavor *flavor;
};

struct placement {
	const char *node_id, *node_name, *site_name; /* NULL: no node fits */
	const char *reason; /* why none does: "No valid host was found. …" */
};

/*
 * Among enabled nodes of the zone (or the named host, or where the ports are bound) that have room for the flavor: connected ones
 * first, then the one with most free memory. Room is Nova's: memory times 1.5, vCPUs times 16, less the flavors of the
 * servers already placed. A node that was never connected has unknown size and takes anything, after all others.
 * Returns 0 also when no node fits; the strings live in the request's arena. Worker thread, in the transaction.
 */
WARN_UNUSED int schedule(struct req *r, const struct placement_want *want, struct placement *ret,
			 struct err *e);
/* "site" or "site:node", checked against the rows; BAD_REQUEST with Nova's text. Sets want->zone and want->host. */
WARN_UNUSED int schedule_zone(struct req *r, const char *text, struct placement_want *want,
			      struct err *e);

#endif
