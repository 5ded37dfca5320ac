/* SPDX-License-Identifier: Apache-2.0 */
/* A frame that one side would take encodes again, within bounds, and stays of its kind. */
#include "fuzz.h"

#include "link/frame.h"

static void check(enum frame_from from, const uint8_t *data, size_t size)
{
	CLEANUP(frame_freep) Demarc__V1__Frame *a = NULL;
	CLEANUP(frame_freep) Demarc__V1__Frame *b = NULL;
	CLEANUP(free_voidp) uint8_t *again = NULL;
	struct err e = { 0 };
	size_t again_size;

	if (frame_decode(from, data, size, &a, &e) < 0) {
		FUZZ_CHECK(e.num != 0 && e.msg[0] != '\0');
		return;
	}
	FUZZ_CHECK(frame_kind_name(a) != NULL);
	if (frame_encode(a, &again, &again_size) < 0)
		return;
	/* protobuf-c takes an unknown field 0 in its two-byte form only, and keeps it in its one-byte form. */
	if (frame_decode(from, again, again_size, &b, &e) == 0)
		FUZZ_CHECK(a->body_case == b->body_case && a->request == b->request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check(FRAME_FROM_NODE, data, size);
	check(FRAME_FROM_HUB, data, size);
	return 0;
}
