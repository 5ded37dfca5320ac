/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include "base/pcapng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = { (const char *)data, size };
	struct pcapng_block b;

	while (pcapng_next(rest, &b) > 0) {
		FUZZ_CHECK(b.size >= 12 && b.size <= PCAPNG_BLOCK_MAX && b.size <= rest.len);
		FUZZ_CHECK(!b.lost || b.kind == PCAPNG_STATISTICS);
		rest = (struct str){ rest.ptr + b.size, rest.len - b.size };
	}
	return 0;
}
