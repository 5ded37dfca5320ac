/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_BACKOFF_H
#define DEMARC_LINK_BACKOFF_H

/*
 * Decorrelated jitter: next = min(max, uniform(min, 3 * previous)). Ten thousand nodes that lost their hub at the same instant
 * spread out after the first attempt, and a single node that lost a packet is back in a fifth of a second.
 * Pure: time and randomness are the caller's.
 */

#include <stdint.h>

#define BACKOFF_MIN_MS 200u
#define BACKOFF_MAX_MS 30000u

struct backoff {
	uint32_t prev_ms; /* 0: none since the last success */
};

/* Delay before the next attempt. `random`: uniform over the whole range of the type. `retry_after_ms`: what the peer asked
 * for, 0 for nothing: the delay then lies in [retry_after, 1.125 * retry_after], bounded by an hour. A hub under load draws these
 * times itself, one for each node, so little is added. */
uint32_t backoff_next_ms(struct backoff *b, uint32_t random, uint32_t retry_after_ms);
void backoff_reset(struct backoff *b); /* after a success */

#endif
