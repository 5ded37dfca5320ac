/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a condition on TCP flags: refused, or one that prints and parses back to the same. */
#include "fuzz.h"

#include "model/tcp_flags.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr" };
	struct strbuf b = { 0 };
	uint8_t mask = 0, value = 0, mask2, value2;
	int r = tcp_flags_parse((struct str){ (const char *)data, size }, &mask, &value);

	if (r < 0) {
		FUZZ_CHECK(mask == 0 && value == 0);
		return 0;
	}
	FUZZ_CHECK(mask != 0 && (value & ~mask) == 0);
	for (int i = 0; i < 8; i++)
		if (mask & 1 << i)
			strbuf_addf(&b, "%s%s%s", b.len ? "," : "", value & 1 << i ? "" : "!",
				    names[i]);
	FUZZ_CHECK(tcp_flags_parse((struct str){ b.ptr, b.len }, &mask2, &value2) == 0);
	FUZZ_CHECK(mask2 == mask && value2 == value);
	strbuf_done(&b);
	return 0;
}
