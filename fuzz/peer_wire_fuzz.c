/* SPDX-License-Identifier: Apache-2.0 */
/* What another node of the site says: what passes as a request is a piece of the image, what passes as an answer is the one that was asked for. */
#include "fuzz.h"

#include <string.h>

#include "base/cleanup.h"
#include "link/peer_wire.h"

static void answer(const uint8_t data[static PEER_ANSWER_SIZE])
{
	const struct peer_piece asked =
		peer_piece_at(data[11] * (uint64_t)PEER_PIECE_MAX, 100 * PEER_PIECE_MAX - 3);
	uint8_t again[PEER_ANSWER_SIZE];

	FUZZ_CHECK(asked.size <= PEER_PIECE_MAX);
	if (peer_answer_get(data, asked) < 0)
		return;
	peer_answer_put(asked, again);
	FUZZ_CHECK(memcmp(again, data, sizeof(again)) == 0);
}

/* The first 8 bytes are the image's size. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t none[PEER_SHA512_SIZE];
	uint8_t again[PEER_REQUEST_SIZE];
	uint64_t image;
	struct peer_piece p;

	if (size < sizeof(image) + PEER_REQUEST_SIZE)
		return 0;
	memcpy(&image, data, sizeof(image));
	data += sizeof(image);
	answer(data + PEER_SHA512_SIZE);
	if (peer_request_get(data, none, image, &p) < 0 && peer_request_get(data, data, image, &p) < 0)
		return 0;
	FUZZ_CHECK(p.size && p.size <= PEER_PIECE_MAX && p.size <= image && p.offset <= image - p.size);
	peer_request_put(data, p, again);
	FUZZ_CHECK(memcmp(again, data, sizeof(again)) == 0);
	return 0;
}
