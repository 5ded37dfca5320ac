/* SPDX-License-Identifier: Apache-2.0 */
/* The chunked coding: however the bytes are cut into pieces, the body, the verdict and the end are the same. */
#include "fuzz.h"

#include "http/parse.h"

struct result {
	enum http_chunk_event ev;
	size_t used;
	struct strbuf body;
};

static void decode(const uint8_t *data, size_t size, size_t step, struct result *r)
{
	struct http_chunked c = { 0 };

	*r = (struct result){ .ev = HTTP_CHUNK_MORE };
	while (r->ev == HTTP_CHUNK_MORE && r->used < size) {
		struct str piece = { 0 },
			   in = { (const char *)data + r->used, MIN_OF(step, size - r->used) };
		size_t offered = in.len;
		while ((r->ev = http_chunked_next(&c, &in, &piece)) == HTTP_CHUNK_DATA) {
			FUZZ_CHECK(piece.len > 0);
			strbuf_add(&r->body, piece.ptr, piece.len);
		}
		r->used += offered - in.len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct result whole, cut;

	decode(data, size, size, &whole);
	decode(data, size, 1 + size % 5, &cut);
	FUZZ_CHECK(whole.ev == cut.ev && whole.used == cut.used && whole.body.len == cut.body.len);
	FUZZ_CHECK(!whole.body.len || memcmp(whole.body.ptr, cut.body.ptr, whole.body.len) == 0);
	FUZZ_CHECK(whole.body.len <= size);
	strbuf_done(&whole.body);
	strbuf_done(&cut.body);
	return 0;
}
