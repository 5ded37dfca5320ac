/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HTTP_LAG_H
#define DEMARC_HTTP_LAG_H

/*
 * How long what comes to a loop waits for its turn: the mean, over about the last second, of the turn that a moment falls into. A loop that sleeps
 * makes nobody wait. Turns are short by design (admit.c has a time for each kind of work): one that is strained has more messages than processor.
 */

#include <stdint.h>

struct lag {
	int64_t at_ns; /* end of the last turn */
	double ns;
};

void lag_init(struct lag *l);
void lag_turn(struct lag *l, int64_t took_ns); /* a turn that took so long is over */
/* 1.0: turns are as they should be; 2.0: twice as long; ... LAG_STRAIN_MAX. */
double lag_strain(const struct lag *l);

#define LAG_STRAIN_MAX 8.0

#endif
