/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_INTENT_PARTS_H
#define DEMARC_LINK_INTENT_PARTS_H

/* Puts an Intent that came in parts (Intent.more) together again. Pure. */

#include "base/err.h"
#include "link/frame.h"

#define INTENT_PARTS_OBJECTS_MAX 100000u /* objects of one intent */
/* Of them, encoded: twice what a node stores, so that it refuses by itself what is a little too much. */
#define INTENT_PARTS_BYTES_MAX (64u << 20)

struct intent_parts {
	Demarc__V1__Frame *whole; /* what was gathered; NULL: nothing */
	size_t n_bytes;		  /* of its parts, encoded */
};

/* Takes *f over. 1: *ret is the whole intent, the caller's; 0: more to come; < 0: the parts contradict each other
 * (-EPROTO) or are too many (-EMSGSIZE, -ENOMEM): everything is dropped. */
WARN_UNUSED int intent_parts_add(struct intent_parts *p, Demarc__V1__Frame **f, Demarc__V1__Frame **ret);
void intent_parts_clear(struct intent_parts *p);

#endif
