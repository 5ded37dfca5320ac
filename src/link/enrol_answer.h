/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_ENROL_ANSWER_H
#define DEMARC_LINK_ENROL_ANSWER_H

/* What a hub answers to an enrolment: one HTTP/1.1 answer, read until the hub closed. Pure. */

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"

/* Faults: PROTOCOL (cut, not HTTP, not JSON), FORBIDDEN with the hub's words. The caller's reference. */
WARN_UNUSED int enrol_answer_parse(struct str answer, json_t **ret, struct err *e);
/* `url`, which answered, and what else the answer names and is a URL: at most IDENTITY_HUBS_MAX. NULL: no memory. */
json_t *enrol_answer_hubs(const json_t *answer, const char *url);

#endif
