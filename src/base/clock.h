/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_BASE_CLOCK_H
#define DEMARC_BASE_CLOCK_H

/* Monotonic time for logic, wall time for people. Tests replace both with clock_warp(). */

#include <stdint.h>

#define NS_PER_US 1000LL
#define NS_PER_MS 1000000LL
#define NS_PER_S 1000000000LL
#define TIME_STR_SIZE 28 /* "2026-01-31T12:34:56.123456Z" and NUL */

int64_t clock_mono_ns(void); /* CLOCK_MONOTONIC, never goes back */
int64_t clock_wall_us(void); /* microseconds since 1970-01-01 UTC */
/* Test only: from now on both clocks read base + what was added by clock_warp(). */
void clock_freeze(int64_t mono_ns, int64_t wall_us);
void clock_warp(int64_t add_ns);

/* ISO 8601 UTC: "…Z" with seconds (compute, image) or with microseconds (identity). */
const char *time_format_s(int64_t wall_us, char buf[static TIME_STR_SIZE]);
const char *time_format_us(int64_t wall_us, char buf[static TIME_STR_SIZE]);

#endif
