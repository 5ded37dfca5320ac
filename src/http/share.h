/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HTTP_SHARE_H
#define DEMARC_HTTP_SHARE_H

/*
 * What one node's messages may take of its front's time: a tenth over the long run, with a fifth of a second in advance. A node that works takes
 * a thousandth; one that says thousands of tiny messages a second is broken or hostile, and is heard no faster than that.
 */

#include <stdbool.h>
#include <stdint.h>

struct share {
	int64_t at_ns;
	int64_t spent_ns; /* of what it may, then */
};

void share_take(struct share *s, int64_t now_ns, int64_t took_ns);
bool share_is_spent(const struct share *s, int64_t now_ns);

#define SHARE_PART 10 /* of the front's time */
#define SHARE_ADVANCE_NS (200 * NS_PER_MS)

#endif
