/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_REPORT_H
#define DEMARC_NODE_REPORT_H

/*
 * What the hub is told. Statuses are levels: only the newest counts, and what the hub may not have stored is sent again after a
 * reconnect. Events happened once: they stay in a file until the hub has stored them (node/event_log.h).
 * Thread: the loop's.
 */

#include "node/node.h"

WARN_UNUSED int reports_open(struct node *n, struct err *e);
void reports_close(struct node *n);
/* Sends what changed since the last time; without a link nothing. */
void reports_flush(struct node *n);
/* A connection is up: report_seq is the last report that the hub stored. Everything is sent again. */
void reports_link_up(struct node *n, uint64_t report_seq);
void reports_ack(struct node *n, uint64_t seq);
void reports_event(struct node *n, const char *kind, const char *severity, const char *resource,
		   const char *text);
void reports_server_gone(struct node *n, const char *id);
uint64_t reports_last_seq(const struct node *n);
size_t reports_n_events(const struct node *n); /* not yet acknowledged */

#endif
