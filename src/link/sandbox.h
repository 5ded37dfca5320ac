/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_SANDBOX_H
#define DEMARC_LINK_SANDBOX_H

/*
 * Takes away from the calling process what dialling does not need: uid and groups of root, capabilities, new privileges,
 * writing files, making processes, listening. For good. As another user than root it keeps its uid and takes the rest.
 * To be called before anything of the network is read, with every other descriptor closed.
 */

#include "base/err.h"

/* user: name to become; NULL: "nobody". Faults: NOT_FOUND (no such user), INTERNAL. */
WARN_UNUSED int sandbox_enter(const char *user, struct err *e);

#endif
