/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/slow.h"

#include "base/clock.h"
#include "link/link.h"

/* What a slow node does. Each way stays below what the agent takes for a dead connection (two pings of 2 s): they are slow, not gone. */

#define STALL_NS (3 * NS_PER_S) /* neither reads nor writes */
#define AWAKE_NS (NS_PER_S / 2)
#define ANSWER_NS (2 * NS_PER_S) /* what it says leaves it once in this time */
#define WINDOW_NS (NS_PER_S / 10)
#define SIP_BYTES 2048		  /* the kernel takes no more for it */
#define SIP_TURNS 10u		  /* and it looks every so many turns */
#define APART_NS (37 * NS_PER_MS) /* they are not slow at the same time */

enum way { WAY_STALLS, WAY_ANSWERS_LATE, WAY_SIPS, N_WAYS };

static void pace(struct sim_node *s, bool no_read, bool no_write, int rcvbuf)
{
	if (s->pace.no_read == no_read && s->pace.no_write == no_write && s->pace.rcvbuf == rcvbuf)
		return;
	s->pace = (struct link_pace){ no_read, no_write, rcvbuf };
	if (s->n.link)
		link_client_paced(s->n.link);
}

void slow_set(struct sim_node *s, bool slow)
{
	s->slot->slow = slow;
	if (!slow)
		pace(s, false, false, 0);
}

void slow_turn(struct sim_node *s, int64_t now)
{
	int64_t t = now + s->index * APART_NS;
	bool stalls = t % (STALL_NS + AWAKE_NS) < STALL_NS;

	if (!s->slot->slow)
		return;
	switch ((enum way)(s->index % N_WAYS)) {
	case WAY_STALLS:
		pace(s, stalls, stalls, 0);
		return;
	case WAY_ANSWERS_LATE:
		pace(s, false, t % ANSWER_NS >= WINDOW_NS, 0);
		return;
	case WAY_SIPS:
		pace(s, ++s->n_turns % SIP_TURNS != 0, false, SIP_BYTES);
		return;
	case N_WAYS:
		return;
	}
}
