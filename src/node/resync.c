/* SPDX-License-Identifier: Apache-2.0 */
#include "node/resync.h"

#include "base/cleanup.h"
#include "base/clock.h"

/* The node's own trouble: all of it again would need no less. */
static bool is_own(enum fault why)
{
	return why == FAULT_NO_SPACE || why == FAULT_NO_MEMORY || why == FAULT_INTERNAL;
}

static void pause_for(struct resync *r, int64_t ms, int64_t now_ns)
{
	r->pause_ms = MIN_OF(ms, (int64_t)RESYNC_MAX_MS);
	r->next_ns = now_ns + r->pause_ms * NS_PER_MS;
}

enum resync_ask resync_refused(struct resync *r, enum fault why, int64_t now_ns, bool *ret_alarm)
{
	*ret_alarm = false;
	if (r->waits)
		return RESYNC_NOTHING;
	if (r->pause_ms) {
		if (!r->expects)
			r->next_ns = MIN_OF(r->next_ns, r->asked_ns + RESYNC_MIN_MS * NS_PER_MS);
		r->expects = false;
		return RESYNC_NOTHING;
	}
	if (why == FAULT_PRECONDITION && !r->said) {
		r->said = true;
		return RESYNC_CHANGES;
	}
	if (!is_own(why) && !r->whole) {
		r->whole = true;
		return RESYNC_WHOLE;
	}
	pause_for(r, RESYNC_MIN_MS, now_ns);
	*ret_alarm = !r->alarmed;
	r->alarmed = true;
	return RESYNC_NOTHING;
}

bool resync_accepted(struct resync *r)
{
	bool over = r->alarmed;

	*r = (struct resync){ .waits = r->waits, .asked_ns = r->asked_ns };
	return over;
}

enum resync_ask resync_tick(struct resync *r, int64_t now_ns)
{
	if (r->pause_ms == 0 || r->waits || now_ns < r->next_ns)
		return RESYNC_NOTHING;
	pause_for(r, 2 * r->pause_ms, now_ns);
	return RESYNC_CHANGES;
}

void resync_said(struct resync *r, int64_t now_ns)
{
	r->waits = true;
	r->expects = false;
	r->asked_ns = now_ns;
}

void resync_answered(struct resync *r)
{
	r->expects = r->waits && r->pause_ms;
	r->waits = false;
}

void resync_connected(struct resync *r)
{
	*r = (struct resync){ .alarmed = r->alarmed };
}
