/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_BASE_WHEEL_H
#define DEMARC_BASE_WHEEL_H

/*
 * Time-outs of many things at the price of a few: a wheel of slots, each a list. Setting and clearing one costs the same
 * whether ten or a hundred thousand wait. A time-out is never early, and late by at most one slot.
 * A time-out that moves to a later time stays where it is until its old slot comes up: most are only ever put off.
 * Thread: one at a time per wheel.
 */

#include <stdbool.h>
#include <stdint.h>

#define WHEEL_SLOTS 256u

struct wheel_node {
	struct wheel_node *prev, *next; /* NULL: in no slot */
	uint64_t at_ms;			/* due; 0: not set */
	uint64_t slot;			/* where it waits */
};

struct wheel {
	unsigned slot_ms;
	uint64_t done; /* slots up to here have been looked at */
	struct wheel_node slots[WHEEL_SLOTS];
	struct wheel_node due; /* their slot has come; not yet looked at */
};

/* slot_ms: width of a slot, > 0. The caller's clock is any that does not go back. */
void wheel_init(struct wheel *w, unsigned slot_ms, uint64_t now_ms);
/* The node is zeroed before its first use. at_ms > 0. */
void wheel_set(struct wheel *w, struct wheel_node *n, uint64_t at_ms);
/* Also for nodes that are not set; the node may be freed afterwards. */
void wheel_clear(struct wheel_node *n);
static inline bool wheel_is_set(const struct wheel_node *n)
{
	return n->at_ms != 0;
}
/*
 * Calls fn for each node that is due, after clearing it: fn may set it again, and may clear or free any other. When fn says false, that
 * was enough for now: the rest is first in the next turn. Returns whether there is a rest.
 */
bool wheel_turn(struct wheel *w, uint64_t now_ms, bool (*fn)(struct wheel_node *n, void *ctx),
		void *ctx);

#endif
