/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_COMPUTE_PROBE_H
#define DEMARC_HUB_COMPUTE_PROBE_H

/*
 * What a function's owner may say about its health, in server metadata or image properties:
 *   demarc:probe    "process", "tcp:PORT" (1..65535), "exec:COMMAND": healthy enough to be put in path
 *   demarc:restart  "always", "on-failure", "never"
 *   demarc:mirror_to  id of the port that gets the copies of a native mirror
 * Image properties may also spell them demarc_probe and demarc_restart. The server's word wins over its image's.
 */

#include <jansson.h>

#include "base/err.h"

/* Checks every demarc:* member of `props`, an object of strings. BAD_REQUEST names the member. Any thread. */
WARN_UNUSED int probe_check(const json_t *props, struct err *e);

#endif
