/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_FUZZ_FUZZ_H
#define DEMARC_FUZZ_FUZZ_H

/* What a fuzz target defines, and the one assertion it uses. */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* One input. Returns 0 always; a finding is a crash, a sanitizer report or a failed FUZZ_CHECK(). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert(), there in every build. */
#define FUZZ_CHECK(cond)                                                                              \
	do {                                                                                          \
		if (!(cond)) {                                                                        \
			fprintf(stderr, "%s:%d: FUZZ_CHECK(%s) failed\n", __FILE__, __LINE__, #cond); \
			abort();                                                                      \
		}                                                                                     \
	} while (0)

#endif
