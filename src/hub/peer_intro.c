/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/peer_intro.h"

#include "base/clock.h"

static bool is_over(const struct peer_intro *i, int64_t now_ns)
{
	return i->id == 0 || now_ns - i->since_ns >= PEER_INTRO_MS * NS_PER_MS;
}

uint64_t peer_intro_add(struct peer_intros *t, const struct peer_intro *i, int64_t now_ns)
{
	struct peer_intro *row = t->rows;

	while (row < t->rows + PEER_INTROS_MAX && !is_over(row, now_ns))
		row++;
	if (row == t->rows + PEER_INTROS_MAX)
		return 0;
	*row = *i;
	row->id = t->next_id += 2;
	row->since_ns = now_ns;
	return row->id;
}

bool peer_intro_take(struct peer_intros *t, uint64_t id, uint64_t giver, int64_t now_ns,
		     struct peer_intro *ret)
{
	for (struct peer_intro *row = t->rows; id && row < t->rows + PEER_INTROS_MAX; row++) {
		if (row->id != id || row->giver != giver || is_over(row, now_ns))
			continue;
		*ret = *row;
		row->id = 0;
		return true;
	}
	return false;
}
