/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/chunk_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "link/link.h"

void chunk_queue_init(struct chunk_queue *q, uint64_t rate, uint64_t node_rate)
{
	*q = (struct chunk_queue){ .rate = rate, .node_rate = node_rate };
}

/* ---- lists ---- */

static void list_insert_after(struct chunk_list *l, struct chunk_place *at, struct chunk_place *p)
{
	p->in = l;
	p->prev = at;
	p->next = at ? at->next : l->first;
	if (p->prev)
		p->prev->next = p;
	else
		l->first = p;
	if (p->next)
		p->next->prev = p;
	else
		l->last = p;
}

static void list_remove(struct chunk_place *p)
{
	struct chunk_list *l = p->in;

	if (!l)
		return;
	if (p->prev)
		p->prev->next = p->next;
	else
		l->first = p->next;
	if (p->next)
		p->next->prev = p->prev;
	else
		l->last = p->prev;
	p->prev = p->next = NULL;
	p->in = NULL;
}

/* What was charged last is due last, nearly always: the search from the end is short. */
static void list_add_by_time(struct chunk_list *l, struct chunk_place *p)
{
	struct chunk_place *at = l->last;

	while (at && at->ready_ns > p->ready_ns)
		at = at->prev;
	list_insert_after(l, at, p);
}

static void line_up(struct chunk_queue *q, struct chunk_place *p, int64_t now_ns)
{
	if (p->in || !p->first)
		return;
	if (p->ready_ns > now_ns)
		list_add_by_time(&q->later, p);
	else
		list_insert_after(&q->turns, q->turns.last, p);
}

/* ---- */

int chunk_queue_add(struct chunk_queue *q, struct chunk_place *p, const struct chunk_wanted *w,
		    int64_t now_ns)
{
	struct chunk_wanted *copy;

	for (const struct chunk_wanted *x = p->first; x; x = x->next)
		if (x->offset == w->offset && strcmp(x->image_id, w->image_id) == 0)
			return -EEXIST;
	if (p->n_waiting >= CHUNKS_WAITING_MAX)
		return -ENOBUFS;
	copy = malloc(sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	*copy = *w;
	copy->next = NULL;
	if (p->first)
		*p->last = copy;
	else
		p->first = copy;
	p->last = &copy->next;
	p->n_waiting++;
	line_up(q, p, now_ns);
	return 0;
}

/* A clock that runs ahead by what was sent: the next one may go when it is not ahead of now. */
static int64_t charge(int64_t ready_ns, int64_t now_ns, uint64_t rate, size_t size)
{
	if (!rate)
		return 0;
	return MAX_OF(ready_ns, now_ns - CHUNKS_BURST_MS * NS_PER_MS) +
	       (int64_t)(size * (uint64_t)NS_PER_S / rate);
}

struct chunk_wanted *chunk_queue_next(struct chunk_queue *q, int64_t now_ns,
				      const struct chunk_place **ret_place, int64_t *ret_until_ns)
{
	struct chunk_place *p;
	struct chunk_wanted *w;

	*ret_until_ns = q->sent.first ? q->sent.first->since_ns + CHUNK_UNDER_WAY_MS * NS_PER_MS :
					INT64_MAX;
	while (q->later.first && q->later.first->ready_ns <= now_ns) {
		p = q->later.first;
		list_remove(p);
		list_insert_after(&q->turns, q->turns.last, p);
	}
	p = q->turns.first;
	if (!p && q->later.first)
		*ret_until_ns = MIN_OF(*ret_until_ns, q->later.first->ready_ns);
	if (p && q->ready_ns > now_ns)
		*ret_until_ns = MIN_OF(*ret_until_ns, q->ready_ns);
	if (!p || q->ready_ns > now_ns || q->under_way >= CHUNKS_UNDER_WAY_MAX)
		return NULL;
	w = p->first;
	p->first = w->next;
	p->n_waiting--;
	p->under_way = MIN_OF((size_t)w->size, (size_t)LINK_CHUNK_MAX);
	p->since_ns = now_ns;
	p->ready_ns = charge(p->ready_ns, now_ns, q->node_rate, p->under_way);
	q->ready_ns = charge(q->ready_ns, now_ns, q->rate, p->under_way);
	q->under_way += p->under_way;
	list_remove(p);
	list_insert_after(&q->sent, q->sent.last, p);
	*ret_place = p;
	return w;
}

void chunk_queue_taken(struct chunk_queue *q, struct chunk_place *p, int64_t now_ns)
{
	if (p->in != &q->sent)
		return;
	q->under_way -= p->under_way;
	p->under_way = 0;
	list_remove(p);
	line_up(q, p, now_ns);
}

uint64_t chunk_queue_stuck(struct chunk_queue *q, int64_t now_ns)
{
	struct chunk_place *p = q->sent.first;

	if (!p || now_ns - p->since_ns < CHUNK_UNDER_WAY_MS * NS_PER_MS)
		return 0;
	list_remove(p); /* to the end of the line: its bytes count until it has left */
	list_insert_after(&q->sent, q->sent.last, p);
	p->since_ns = now_ns;
	return p->serial;
}

void chunk_queue_leave(struct chunk_queue *q, struct chunk_place *p)
{
	q->under_way -= p->under_way;
	p->under_way = 0;
	list_remove(p);
	for (struct chunk_wanted *w = p->first, *next; w; w = next) {
		next = w->next;
		free(w);
	}
	p->first = NULL;
	p->n_waiting = 0;
}
