/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_FUZZ_SCRIPT_H
#define DEMARC_FUZZ_SCRIPT_H

/*
 * Inputs of targets that drive a state machine: a text of steps, a letter each, with arguments of a character each. Blanks and line ends between
 * steps mean nothing, so that seeds can be read and written by hand; what is no step is skipped.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct script {
	const uint8_t *at, *end;
};

static inline bool script_is_over(const struct script *s)
{
	return s->at == s->end;
}

static inline uint8_t script_char(struct script *s)
{
	return script_is_over(s) ? (uint8_t)'0' : *s->at++;
}

/* '0' to '9', 'a' for 10 and so on; any other byte stands for itself. */
static inline unsigned script_number(struct script *s)
{
	uint8_t c = script_char(s);

	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'z' ? c - 'a' + 10u : c;
}

/* One of the values that matter, such as the ones beside a limit. */
static inline uint64_t script_pick(struct script *s, const uint64_t *values, size_t n)
{
	return values[script_number(s) % n];
}

/* Thousands of small allocations an input: without this, most of the time goes to the pages that ASan sets aside. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=8:malloc_context_size=6";
}

#endif
