/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_NETWORK_PORT_GUARD_H
#define DEMARC_HUB_NETWORK_PORT_GUARD_H

/*
 * Attributes of ports that Neutron has no word for:
 *   demarc:guards             list of "ra", "dhcp", "source": first-hop security for foreign hosts behind the port
 *   demarc:helpers            list of "ftp", "tftp", "sip": transfers that the port's control connections announce pass its rules
 *   demarc:storm_pps          broadcast, multicast and unknown unicast from the port, packets a second; 0: not limited
 *   demarc:connection_limits  {"half_open", "source_half_open", "source_rate": N, "syn_cookies": true|false}
 */

#include <jansson.h>

#include "base/err.h"
#include "hub/rest.h"

#define PORT_GUARD_STORM_MAX 100000000 /* packets a second */
#define PORT_GUARD_ATTRS                                                                           \
	{ "demarc:guards", "guards", ATTR_LIST, ATTR_RW | ATTR_NULLABLE, .max = 8 },               \
		{ "demarc:helpers", "helpers", ATTR_LIST, ATTR_RW | ATTR_NULLABLE, .max = 8 },     \
		{ "demarc:storm_pps",	"storm_pps", ATTR_INT, ATTR_RW, 0,                         \
		  PORT_GUARD_STORM_MAX, .dflt = "0" },                                             \
	{                                                                                          \
		"demarc:connection_limits", "connection_limits", ATTR_OBJ,                         \
			ATTR_RW | ATTR_NULLABLE, .max = 8                                          \
	}

/* row: of a create, or the changes of an update. null becomes empty. BAD_REQUEST names the attribute. */
WARN_UNUSED int port_guard_check(struct req *r, json_t *row, struct err *e);

#endif
