/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_HTTPREQ_H
#define DEMARC_NODE_HTTPREQ_H

/*
 * The requests of the metadata service: GET and HEAD of HTTP/1.0 and 1.1, no body. Everything else is refused.
 * Pure and bounded: it reads what a function sent. Source: RFC 9112 sections 2 and 3.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

#define HTTPREQ_HEAD_MAX 8192 /* bytes, request line and fields */
#define HTTPREQ_PATH_MAX 512

struct httpreq {
	bool head_only;		     /* HEAD */
	bool keep_alive;	     /* the connection may stay */
	char path[HTTPREQ_PATH_MAX]; /* decoded, without query, one '/' between parts, no "." or ".." */
};

/* Returns bytes taken (> 0), 0 when more is needed, or minus the HTTP status to answer before closing. */
WARN_UNUSED int httpreq_parse(struct str in, struct httpreq *ret);

#endif
