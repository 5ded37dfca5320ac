/* SPDX-License-Identifier: Apache-2.0 */
#include "link/peer_wire.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/types.h"

static void piece_put(struct peer_piece p, uint8_t *ret)
{
	uint64_t offset = htobe64(p.offset);
	uint32_t size = htobe32(p.size);

	memcpy(ret, &offset, sizeof(offset));
	memcpy(ret + sizeof(offset), &size, sizeof(size));
}

static struct peer_piece piece_get(const uint8_t *data)
{
	uint64_t offset;
	uint32_t size;

	memcpy(&offset, data, sizeof(offset));
	memcpy(&size, data + sizeof(offset), sizeof(size));
	return (struct peer_piece){ be64toh(offset), be32toh(size) };
}

void peer_request_put(const uint8_t sha512[static PEER_SHA512_SIZE], struct peer_piece p,
		      uint8_t ret[static PEER_REQUEST_SIZE])
{
	memcpy(ret, sha512, PEER_SHA512_SIZE);
	piece_put(p, ret + PEER_SHA512_SIZE);
}

int peer_request_get(const uint8_t data[static PEER_REQUEST_SIZE],
		     const uint8_t sha512[static PEER_SHA512_SIZE], uint64_t image_size,
		     struct peer_piece *ret)
{
	struct peer_piece p = piece_get(data + PEER_SHA512_SIZE);

	if (memcmp(data, sha512, PEER_SHA512_SIZE) != 0)
		return -ENOENT;
	if (p.size == 0 || p.size > PEER_PIECE_MAX || p.size > image_size ||
	    p.offset > image_size - p.size)
		return -EPROTO;
	*ret = p;
	return 0;
}

void peer_answer_put(struct peer_piece p, uint8_t ret[static PEER_ANSWER_SIZE])
{
	piece_put(p, ret);
}

int peer_answer_get(const uint8_t data[static PEER_ANSWER_SIZE], struct peer_piece asked)
{
	struct peer_piece p = piece_get(data);

	return p.offset == asked.offset && p.size == asked.size ? 0 : -EPROTO;
}

struct peer_piece peer_piece_at(uint64_t offset, uint64_t image_size)
{
	uint64_t left = offset < image_size ? image_size - offset : 0;

	return (struct peer_piece){ offset, (uint32_t)MIN_OF(left, (uint64_t)PEER_PIECE_MAX) };
}
