/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_URL_H
#define DEMARC_LINK_URL_H

/* "https://host[:port][/]" and "host:port". Pure. Source: RFC 3986 section 3.2 (no user part, no path). */

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

struct url {
	char host[256]; /* name or address, an IPv6 one without brackets */
	char port[6];	/* decimal, 1..65535 */
	bool is_ip;
};

/* Default port 443. Fault BAD_REQUEST. */
WARN_UNUSED int url_parse(struct str text, struct url *ret, struct err *e);
/* The part after the scheme: "host:port" or "[v6]:port"; the port is required. */
WARN_UNUSED int url_parse_authority(struct str text, struct url *ret, struct err *e);
/* "host:port" or "[v6]:port". */
const char *url_authority(const struct url *u, char buf[static 272]);

#endif
