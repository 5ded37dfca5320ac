/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_RESYNC_H
#define DEMARC_NODE_RESYNC_H

/*
 * What a node does when it has to refuse an intent, so that one hello answers many refusals and the hub is not asked without end:
 *
 *   a change of a revision that it does not hold      says what it holds, at once       -> the hub sends what is missing
 *   again, or a change that is not valid              asks for everything, once         -> the hub sends all
 *   that too, or no room for it                       raises an alarm, and asks again after RESYNC_MIN_MS, twice that, ... RESYNC_MAX_MS
 *
 * Of an intent with objects that are not valid the others are taken meanwhile (intent_apply_rest()).
 *
 * While a question is not answered, changes that were on their way are refused without a word. A change that comes during a pause says that the hub
 * has something new: the pause ends sooner, but no question follows another within RESYNC_MIN_MS. Pure.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define RESYNC_MIN_MS 5000
#define RESYNC_MAX_MS 300000

enum resync_ask {
	RESYNC_NOTHING, /* an answer is on its way, or a pause lasts */
	RESYNC_CHANGES, /* a hello with what is held */
	RESYNC_WHOLE,	/* a hello that says that nothing is */
};

struct resync {
	bool waits; /* a hello is not answered */
	bool expects; /* it is, and what the hub sends for it is not there: it is no news when that is refused */
	bool said, whole; /* both since the last success, or on this connection */
	bool alarmed;	  /* ... and not accepted anything since */
	int64_t pause_ms; /* 0: none */
	int64_t asked_ns, next_ns;
};

/* *ret_alarm: the node is to tell people, once. */
enum resync_ask resync_refused(struct resync *r, enum fault why, int64_t now_ns, bool *ret_alarm);
/* True: what was alarmed of is over. */
bool resync_accepted(struct resync *r);
enum resync_ask resync_tick(struct resync *r, int64_t now_ns); /* while the channel is up */
void resync_said(struct resync *r, int64_t now_ns);	       /* a hello was sent */
void resync_answered(struct resync *r);
void resync_connected(struct resync *r); /* before its hello */

#endif
