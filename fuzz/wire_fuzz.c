/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that a hub sends a node inside TLS: its answer to the opening, then messages, which are decoded, and intents put together. The first byte
 * says whether the opening is over, the second cuts the rest into pieces.
 */
#include "fuzz.h"

#include <string.h>

#include "base/cleanup.h"
#include "link/intent_parts.h"
#include "link/link.h"
#include "link/wire.h"

struct node {
	struct intent_parts parts;
	unsigned int n_up;
};

static void on_up(void *ctx)
{
	((struct node *)ctx)->n_up++;
}

static void on_message(void *ctx, struct str bytes)
{
	CLEANUP(frame_freep) Demarc__V1__Frame *f = NULL;
	CLEANUP(frame_freep) Demarc__V1__Frame *whole = NULL;
	struct node *n = ctx;
	struct err e;
	int rc;

	FUZZ_CHECK(n->n_up == 1 && bytes.len <= LINK_FRAME_MAX);
	if (frame_decode(FRAME_FROM_HUB, (const uint8_t *)bytes.ptr, bytes.len, &f, &e) < 0)
		return;
	if (f->body_case != DEMARC__V1__FRAME__BODY_INTENT)
		return;
	rc = intent_parts_add(&n->parts, &f, &whole);
	FUZZ_CHECK(!f && (rc == 1) == (whole != NULL));
	FUZZ_CHECK(rc == 0 ? n->parts.whole != NULL : !n->parts.whole);
	if (whole)
		FUZZ_CHECK(!whole->intent->more && whole->intent->n_objects <= INTENT_PARTS_OBJECTS_MAX);
}

static void on_retry(void *ctx, uint32_t ms)
{
	(void)ctx;
	FUZZ_CHECK(ms > 0 && ms <= WSC_RETRY_MAX_MS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct wire_ops ops = { on_up, on_message, on_retry };
	static const struct url hub = { .host = "hub", .port = "443" };
	struct str all = { (const char *)data, size };
	struct node n = { 0 };
	struct wire w = { .ops = &ops, .ctx = &n };
	size_t step;
	int rc = 0;

	if (size < 3)
		return 0;
	wire_begin(&w, (struct dial *)&n, &hub); /* never looked into: nothing is read or written here */
	memcpy(w.key, "dGhlIHNhbXBsZSBub25jZQ==", WSC_KEY_SIZE);
	w.open = data[0] & 1;
	n.n_up = w.open;
	step = data[1] + 1u;
	for (size_t at = 2; at < all.len && rc >= 0; at += step)
		rc = wire_take(&w, (struct str){ all.ptr + at, MIN_OF(step, all.len - at) });
	FUZZ_CHECK(rc >= 0 || *w.reason);
	FUZZ_CHECK(w.head.len <= WSC_HEAD_MAX);
	(void)wsc_retry_after_ms((struct str){ all.ptr + 2, all.len - 2 }); /* in the clear, before TLS */
	intent_parts_clear(&n.parts);
	w.dial = NULL;
	wsc_reader_done(&w.reader);
	strbuf_done(&w.head);
	strbuf_done(&w.out);
	return 0;
}
