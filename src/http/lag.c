/* SPDX-License-Identifier: Apache-2.0 */
#include "http/lag.h"

#include "base/cleanup.h"
#include "base/clock.h"

#define OVER_NS (1 * NS_PER_S)	 /* the past that counts */
#define GOOD_NS (20 * NS_PER_MS) /* twice what the shares of a turn add up to */

static double share_of(int64_t ns)
{
	return (double)MIN_OF(MAX_OF(ns, (int64_t)0), OVER_NS) / (double)OVER_NS;
}

void lag_init(struct lag *l)
{
	*l = (struct lag){ .at_ns = clock_mono_ns() };
}

void lag_turn(struct lag *l, int64_t took_ns)
{
	int64_t now = clock_mono_ns();

	l->ns -= l->ns * share_of(now - took_ns - l->at_ns); /* asleep */
	l->ns += ((double)took_ns - l->ns) * share_of(took_ns);
	l->at_ns = now;
}

double lag_strain(const struct lag *l)
{
	double strain = l->ns / (double)GOOD_NS;

	return MIN_OF(MAX_OF(strain, 1.0), LAG_STRAIN_MAX);
}
