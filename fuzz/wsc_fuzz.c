/* SPDX-License-Identifier: Apache-2.0 */
/* What a hub sends a node on the WebSocket: the first byte cuts the rest into pieces; the same bytes give the same events. */
#include "fuzz.h"

#include "base/cleanup.h"
#include "link/wsc.h"

#define MESSAGE_MAX 1000

/* Events and their payload sizes as one number. */
static uint64_t read_all(struct str all, size_t step)
{
	struct wsc_reader r;
	uint64_t sum = 14695981039346656037u;
	enum wsc_event ev = WSC_EV_MORE;

	wsc_reader_init(&r, MESSAGE_MAX);
	for (size_t at = 0; at < all.len && ev != WSC_EV_ERROR; at += step) {
		struct str in = { all.ptr + at, MIN_OF(step, all.len - at) }, payload = { 0 };

		while ((ev = wsc_reader_next(&r, &in, &payload)) != WSC_EV_MORE && ev != WSC_EV_ERROR) {
			FUZZ_CHECK(payload.len <= MESSAGE_MAX);
			sum = (sum ^ (unsigned)ev) * 1099511628211u;
			for (size_t i = 0; i < payload.len; i++)
				sum = (sum ^ (uint8_t)payload.ptr[i]) * 1099511628211u;
		}
	}
	wsc_reader_done(&r);
	return ev == WSC_EV_ERROR ? sum + 1 : sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char key[WSC_KEY_SIZE] = "dGhlIHNhbXBsZSBub25jZQ==";
	struct str all = { (const char *)data, size };
	struct err e;

	if (size < 2)
		return 0;
	(void)!wsc_check_answer(all, key, "chat", &e);
	all = (struct str){ all.ptr + 1, all.len - 1 };
	FUZZ_CHECK(read_all(all, data[0] + 1u) == read_all(all, all.len));
	return 0;
}
