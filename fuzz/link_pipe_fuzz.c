/* SPDX-License-Identifier: Apache-2.0 */
/* What the network process, once an attacker owns it, may write to the agent. */
#include "fuzz.h"

#include "base/cleanup.h"
#include "link/pipe_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(strbuf_done) struct strbuf in = { 0 };
	struct pipe_head h;
	struct str payload;
	size_t at = 0, before = 0;

	strbuf_add(&in, data, size);
	while (in.len && pipe_msg_next(&in, &at, &h, &payload) == 1) {
		FUZZ_CHECK(payload.len == h.size && at > before && at <= in.len);
		before = at;
	}
	pipe_buf_consume(&in, at);
	return 0;
}
