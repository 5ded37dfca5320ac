/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_VALIDATE_H
#define DEMARC_NODE_VALIDATE_H

/*
 * Whether an object of the intent can be relied on. What passes here needs no second look by the rest of the node:
 * ids are UUIDs, addresses parse, counts and strings are bounded, kind and body agree. Pure.
 */

#include "base/err.h"
#include "demarc.pb-c.h"

/* BAD_REQUEST naming the field. An unknown kind passes: a newer hub may send it and this release leaves it alone. */
WARN_UNUSED int validate_object(const Demarc__V1__Object *o, struct err *e);

#endif
