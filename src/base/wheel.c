/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wheel.h"

#include "base/cleanup.h"

static void list_init(struct wheel_node *head)
{
	head->prev = head->next = head;
}

static void unlink_node(struct wheel_node *n)
{
	if (!n->next)
		return;
	n->prev->next = n->next;
	n->next->prev = n->prev;
	n->prev = n->next = NULL;
}

static void link_node(struct wheel_node *head, struct wheel_node *n)
{
	n->prev = head->prev;
	n->next = head;
	head->prev->next = n;
	head->prev = n;
}

void wheel_init(struct wheel *w, unsigned slot_ms, uint64_t now_ms)
{
	w->slot_ms = slot_ms;
	w->done = now_ms / slot_ms;
	list_init(&w->due);
	for (unsigned i = 0; i < WHEEL_SLOTS; i++)
		list_init(&w->slots[i]);
}

/* The first slot that begins when the node is due, or later, and has not been looked at. */
static uint64_t slot_of(const struct wheel *w, uint64_t at_ms)
{
	return MAX_OF((at_ms + w->slot_ms - 1) / w->slot_ms, w->done + 1);
}

static void place(struct wheel *w, struct wheel_node *n)
{
	n->slot = slot_of(w, n->at_ms);
	link_node(&w->slots[n->slot % WHEEL_SLOTS], n);
}

void wheel_set(struct wheel *w, struct wheel_node *n, uint64_t at_ms)
{
	n->at_ms = at_ms;
	if (n->next && n->slot <= slot_of(w, at_ms))
		return; /* looked at early enough where it is */
	unlink_node(n);
	place(w, n);
}

void wheel_clear(struct wheel_node *n)
{
	unlink_node(n);
	n->at_ms = 0;
}

/* All of a slot, in its order, behind what is left of earlier ones. */
static void take_slot(struct wheel *w, struct wheel_node *slot)
{
	if (slot->next == slot)
		return;
	slot->next->prev = w->due.prev;
	w->due.prev->next = slot->next;
	slot->prev->next = &w->due;
	w->due.prev = slot->prev;
	list_init(slot);
}

bool wheel_turn(struct wheel *w, uint64_t now_ms, bool (*fn)(struct wheel_node *n, void *ctx), void *ctx)
{
	uint64_t now = now_ms / w->slot_ms;
	bool go_on = true;

	/* After a pause of more than a round each slot is looked at once. */
	if (now > w->done + WHEEL_SLOTS)
		w->done = now - WHEEL_SLOTS;
	while (w->done < now)
		take_slot(w, &w->slots[++w->done % WHEEL_SLOTS]);
	while (go_on && w->due.next != &w->due) {
		struct wheel_node *n = w->due.next;

		unlink_node(n);
		if (n->at_ms > now_ms) { /* a later round's, or put off meanwhile */
			place(w, n);
			continue;
		}
		n->at_ms = 0;
		go_on = fn(n, ctx);
	}
	return w->due.next != &w->due;
}
