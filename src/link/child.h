/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_CHILD_H
#define DEMARC_LINK_CHILD_H

/* The process without privileges that holds the TLS connection. Declared for main() in link/link.h. */

#include "link/link.h"

#define CHILD_FD 3 /* the socketpair to the agent */

#endif
