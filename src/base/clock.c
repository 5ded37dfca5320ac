/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#define US_PER_S 1000000LL
/* 1000-01-01 and 9999-12-31T23:59:59: what four digits of year can say. */
#define WALL_MIN_S (-30610224000LL)
#define WALL_MAX_S 253402300799LL

static atomic_bool frozen;
static _Atomic int64_t frozen_mono_ns, frozen_wall_us, warped_ns;

static int64_t read_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t clock_mono_ns(void)
{
	return frozen ? frozen_mono_ns + warped_ns : read_ns(CLOCK_MONOTONIC);
}

int64_t clock_wall_us(void)
{
	return frozen ? frozen_wall_us + warped_ns / NS_PER_US : read_ns(CLOCK_REALTIME) / NS_PER_US;
}

void clock_freeze(int64_t mono_ns, int64_t wall_us)
{
	frozen_mono_ns = mono_ns;
	frozen_wall_us = wall_us;
	warped_ns = 0;
	frozen = true;
}

void clock_warp(int64_t add_ns)
{
	warped_ns += add_ns;
}

/* Splits into calendar fields and the microseconds of the second. */
static int split(int64_t wall_us, struct tm *ret_tm)
{
	time_t s = (time_t)(wall_us / US_PER_S);
	int us = (int)(wall_us % US_PER_S);

	if (us < 0) { /* before 1970 */
		us += (int)US_PER_S;
		s--;
	}
	if (s < WALL_MIN_S)
		s = WALL_MIN_S;
	if (s > WALL_MAX_S)
		s = WALL_MAX_S;
	gmtime_r(&s, ret_tm);
	return us;
}

const char *time_format_s(int64_t wall_us, char buf[static TIME_STR_SIZE])
{
	struct tm tm;

	split(wall_us, &tm);
	if (strftime(buf, TIME_STR_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		buf[0] = '\0';
	return buf;
}

const char *time_format_us(int64_t wall_us, char buf[static TIME_STR_SIZE])
{
	char date[24];
	struct tm tm;
	int us = split(wall_us, &tm);

	if (strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		date[0] = '\0';
	snprintf(buf, TIME_STR_SIZE, "%.19s.%06uZ", date, (unsigned)us % 1000000u);
	return buf;
}
