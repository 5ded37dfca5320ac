/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_EVENT_LOG_H
#define DEMARC_NODE_EVENT_LOG_H

/*
 * Events that wait for the hub, in memory and in a file beside it: at most EVENT_LOG_MAX, in their order. When there is no room, the oldest
 * go, and an event of kind EVENT_LOST_KIND stands where they stood and says how many. The file is written at its end and made anew when it is
 * more than twice what is kept. Thread: the loop's.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "demarc.pb-c.h"

#define EVENT_LOG_MAX 2000
#define EVENT_LOST_KIND "events_lost"

struct event_log;

/* Takes up what the file at `path` holds, which need not be there. */
WARN_UNUSED int event_log_open(const char *path, struct event_log **ret, struct err *e);
/* NULL is ignored. */
void event_log_close(struct event_log *l);
void event_log_add(struct event_log *l, const char *kind, const char *severity,
		   const char *resource, const char *text);
size_t event_log_n(const struct event_log *l);
/* Event i, the oldest is 0. */
const Demarc__V1__Event *event_log_at(const struct event_log *l, size_t i);
/* Number of the report that carries event i; 0: none yet. */
uint64_t event_log_seq(const struct event_log *l, size_t i);
void event_log_mark(struct event_log *l, size_t i, uint64_t seq);
/* What reports from that one on have carried is in none of them. */
void event_log_unmark(struct event_log *l, uint64_t seq);
/* The hub has stored the reports up to that one. */
void event_log_ack(struct event_log *l, uint64_t seq);

#endif
