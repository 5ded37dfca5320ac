/* SPDX-License-Identifier: Apache-2.0 */
#include "link/backoff.h"

#include "base/cleanup.h"

#define RETRY_AFTER_MAX_MS 3600000u /* one hour: a hub that asks for more is asking by mistake */

static uint32_t uniform(uint32_t random, uint64_t low, uint64_t high)
{
	return (uint32_t)(low + (((high - low + 1) * random) >> 32));
}

uint32_t backoff_next_ms(struct backoff *b, uint32_t random, uint32_t retry_after_ms)
{
	uint64_t prev = b->prev_ms ? b->prev_ms : BACKOFF_MIN_MS;

	if (retry_after_ms) {
		uint64_t low = MIN_OF(retry_after_ms, RETRY_AFTER_MAX_MS);
		return uniform(random, low, low + low / 8);
	}
	b->prev_ms = MIN_OF(uniform(random, BACKOFF_MIN_MS, prev * 3), BACKOFF_MAX_MS);
	return b->prev_ms;
}

void backoff_reset(struct backoff *b)
{
	b->prev_ms = 0;
}
