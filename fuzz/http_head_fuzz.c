/* SPDX-License-Identifier: Apache-2.0 */
/* A request's head: every view lies in the input, and what was accepted can be framed in one way only. */
#include "fuzz.h"

#include "http/parse.h"

static void check_view(struct str s, const char *bytes, size_t size)
{
	if (s.len)
		FUZZ_CHECK(s.ptr >= bytes && s.ptr + s.len <= bytes + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char copy[HTTP_HEAD_MAX];
	struct http_head h;
	size_t scanned = 0, end = 0;

	if (size > sizeof(copy))
		return 0;
	memcpy(copy, data, size);
	/* Arriving in two pieces finds the same end. */
	struct str in = { copy, size };
	size_t whole = http_head_end(in, &scanned);
	scanned = 0;
	end = http_head_end((struct str){ copy, size / 2 }, &scanned);
	if (!end)
		end = http_head_end(in, &scanned);
	FUZZ_CHECK(end == whole);
	if (!end)
		return 0;
	int status = http_head_parse(copy, end, &h);
	FUZZ_CHECK(status == 0 || (status >= 400 && status <= 505));
	if (status)
		return 0;
	FUZZ_CHECK(h.path.len && (h.path.ptr[0] == '/' || h.method == HTTP_OPTIONS));
	FUZZ_CHECK(!(h.chunked && h.has_length));
	check_view(h.host, copy, end);
	check_view(h.query, copy, end);
	for (size_t i = 0; i < h.n_fields; i++) {
		check_view(h.fields[i].name, copy, end);
		check_view(h.fields[i].value, copy, end);
		FUZZ_CHECK(!memchr(h.fields[i].value.ptr, '\n', h.fields[i].value.len));
	}
	return 0;
}
