/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <string.h>

/*
 * Jobs that wait, in their order: for space on a full disk, and figures for each other (session_store.c). What nodes report and acknowledge
 * waits for space instead of ending their connections: each would come back, report all it has, and be sent away again. A node's figures are
 * said again and again: of those only the newest wait, and they are the first that are given up. A report is acknowledged with all before it, so
 * what is passed over is acknowledged with what waits before it.
 */

bool job_figures_only(const struct job *j)
{
	const Demarc__V1__Report *r = j->kind == JOB_REPORT ? j->frame->report : NULL;

	return r && r->n_servers + r->n_ports + r->n_chains + r->n_events == 0;
}

static struct job **bucket_of(struct store_waiting *w, uint64_t serial)
{
	return &w->newest[serial / HTTP_FRONTS_MAX % WAIT_BUCKETS];
}

/* The newest report of the session that waits. */
static struct job *newest_of(struct store_waiting *w, uint64_t serial)
{
	struct job *j = *bucket_of(w, serial);

	while (j && j->serial != serial)
		j = j->wait_next;
	return j;
}

static void append(struct store_waiting *w, struct job *j)
{
	j->rc = 0;
	j->err = (struct err){ 0 };
	j->next = NULL;
	if (w->head)
		w->last->next = j;
	else
		w->head = j;
	w->last = j;
	w->n++;
	w->bytes += j->n_bytes;
	if (j->kind == JOB_REPORT) {
		struct job **bucket = bucket_of(w, j->serial);

		j->wait_next = *bucket;
		*bucket = j;
	}
}

/* The older one takes the newer one's place in the order: nothing of this node is between them. */
static void replace_figures(struct store_waiting *w, struct job *old, struct job *j)
{
	struct job older = *old;

	w->bytes += j->n_bytes;
	w->bytes -= old->n_bytes;
	old->frame = j->frame;
	old->n_bytes = j->n_bytes;
	old->now_us = j->now_us;
	j->frame = older.frame;
	j->n_bytes = older.n_bytes;
}

enum wait_what store_wait(struct store_waiting *w, struct job *j)
{
	bool full = w->n >= w->n_max || w->bytes + j->n_bytes > w->bytes_max;
	struct job *before;

	if (!job_figures_only(j)) {
		if (full)
			return WAIT_REFUSED;
		append(w, j);
		return WAIT_KEPT;
	}
	before = newest_of(w, j->serial);
	if (before && job_figures_only(before) &&
	    w->bytes + j->n_bytes - before->n_bytes <= w->bytes_max) {
		replace_figures(w, before, j);
		return WAIT_MERGED;
	}
	if (!full) {
		append(w, j);
		return WAIT_KEPT;
	}
	if (!before)
		return WAIT_PASSED;
	before->ack_seq = j->frame->report->seq;
	return WAIT_MERGED;
}

bool store_wait_has(struct store_waiting *w, uint64_t serial)
{
	return newest_of(w, serial) != NULL;
}

struct job *store_wait_take(struct store_waiting *w)
{
	struct job *list = w->head;

	w->head = w->last = NULL;
	w->n = 0;
	w->bytes = 0;
	memset(w->newest, 0, sizeof(w->newest));
	return list;
}
