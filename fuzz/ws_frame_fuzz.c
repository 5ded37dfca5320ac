/* SPDX-License-Identifier: Apache-2.0 */
/* WebSocket frames: cut into any pieces they give the same events; no message is longer than the limit. */
#include "fuzz.h"

#include "http/ws_frame.h"

#define MAX_MESSAGE 300

static void read_all(const uint8_t *data, size_t size, size_t step, struct strbuf *log)
{
	struct ws_reader r;
	enum ws_event ev = WS_EV_MORE;
	enum ws_code code = WS_NORMAL;

	ws_reader_init(&r, MAX_MESSAGE);
	for (size_t at = 0; at < size && ev != WS_EV_ERROR && ev != WS_EV_CLOSE; at += step) {
		struct str payload = { 0 }, in = { (const char *)data + at, MIN_OF(step, size - at) };
		while ((ev = ws_reader_next(&r, &in, &payload, &code)) != WS_EV_MORE) {
			strbuf_addf(log, "%d:", (int)ev);
			if (ev == WS_EV_ERROR)
				break;
			FUZZ_CHECK(payload.len <= (ev == WS_EV_MESSAGE ? MAX_MESSAGE : WS_CONTROL_MAX));
			strbuf_add(log, payload.ptr, payload.len);
			if (ev == WS_EV_CLOSE)
				break;
		}
	}
	if (ev == WS_EV_ERROR)
		strbuf_addf(log, "%d", (int)code);
	ws_reader_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(strbuf_done) struct strbuf whole = { 0 };
	CLEANUP(strbuf_done) struct strbuf cut = { 0 };

	read_all(data, size, size ? size : 1, &whole);
	read_all(data, size, 1 + size % 7, &cut);
	FUZZ_CHECK(whole.len == cut.len);
	FUZZ_CHECK(!whole.len || memcmp(whole.ptr, cut.ptr, whole.len) == 0);
	return 0;
}
