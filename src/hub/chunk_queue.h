/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_CHUNK_QUEUE_H
#define DEMARC_HUB_CHUNK_QUEUE_H

/*
 * Whose piece of an image is sent next, and when. What a node asks for waits here as a few bytes; a piece is read when its turn has come:
 * nodes by turns, one piece of a node under way at a time, at most CHUNKS_UNDER_WAY_MAX bytes of all nodes, and not faster than the two rates
 * allow. So neither memory nor the lines grow with the number of nodes that want the same image. Pure; the caller has the lock and the clock.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CHUNKS_WAITING_MAX 16 /* of one node */
#define CHUNKS_UNDER_WAY_MAX                                                                       \
	(16u << 20) /* bytes of all nodes, from reading until the socket has taken them */
#define CHUNK_UNDER_WAY_MS 120000 /* a node that takes longer for one is told to come back later */
#define CHUNKS_BURST_MS 10	  /* what a rate that was not used may be exceeded by */

struct chunk_wanted {
	struct chunk_wanted *next;
	uint64_t request, offset;
	uint32_t size;
	char image_id[40];
};

/* A node's place; zeroed before its first use, and but for the two names the queue's. */
struct chunk_place {
	uint64_t serial;
	const char *node_id;

	struct chunk_place *prev, *next;
	struct chunk_list *in; /* NULL: nothing waits, nothing is under way */
	struct chunk_wanted *first, **last;
	unsigned n_waiting;
	size_t under_way; /* bytes */
	int64_t since_ns; /* under way */
	int64_t ready_ns; /* its own rate allows the next one from here on */
};

struct chunk_list {
	struct chunk_place *first, *last;
};

struct chunk_queue {
	uint64_t rate, node_rate; /* bytes a second; 0: any */
	int64_t ready_ns;	  /* the rate of all allows the next one from here on */
	size_t under_way;	  /* bytes */
	struct chunk_list turns, later,
		sent; /* may go; wait for their rate, soonest first; under way, oldest first */
};

void chunk_queue_init(struct chunk_queue *q, uint64_t rate, uint64_t node_rate);
/* -EEXIST: the same waits already, and once is enough; -ENOBUFS: the node has too many waiting. */
WARN_UNUSED int chunk_queue_add(struct chunk_queue *q, struct chunk_place *p,
				const struct chunk_wanted *w, int64_t now_ns);
/* The next one, which counts as under way from now on; owned by the caller. NULL: none before *ret_until_ns (INT64_MAX: until something changes). */
struct chunk_wanted *chunk_queue_next(struct chunk_queue *q, int64_t now_ns,
				      const struct chunk_place **ret_place, int64_t *ret_until_ns);
/* The socket has taken what was under way. */
void chunk_queue_taken(struct chunk_queue *q, struct chunk_place *p, int64_t now_ns);
/* The serial of a node that takes too long; again when it has taken as long once more. 0: none. */
uint64_t chunk_queue_stuck(struct chunk_queue *q, int64_t now_ns);
void chunk_queue_leave(struct chunk_queue *q, struct chunk_place *p);

#endif
