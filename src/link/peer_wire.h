/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_PEER_WIRE_H
#define DEMARC_LINK_PEER_WIRE_H

/*
 * What two nodes of a site say to each other inside of TLS, while one takes an image from the other. Integers are big-endian.
 *
 *   request    sha512 64 | offset 8 | size 4       the taker's; up to PEER_AHEAD of them wait for their answers
 *   answer     offset 8 | size 4 | the bytes       the giver's, one to each request, in their order
 *
 * There is no refusal: who does not like what it reads closes the connection. Pure.
 */

#include <stdint.h>

#include "base/err.h"

#define PEER_SHA512_SIZE 64
#define PEER_REQUEST_SIZE 76
#define PEER_ANSWER_SIZE 12 /* without the bytes */
#define PEER_PIECE_MAX (64u << 10)
#define PEER_AHEAD                                                                                 \
	16u /* requests; few enough for the socket's buffers, so that nobody waits to write one */

struct peer_piece {
	uint64_t offset;
	uint32_t size;
};

void peer_request_put(const uint8_t sha512[static PEER_SHA512_SIZE], struct peer_piece p,
		      uint8_t ret[static PEER_REQUEST_SIZE]);
/* -ENOENT: of another image than this one; -EPROTO: not a piece of its image_size bytes. */
WARN_UNUSED int peer_request_get(const uint8_t data[static PEER_REQUEST_SIZE],
				 const uint8_t sha512[static PEER_SHA512_SIZE], uint64_t image_size,
				 struct peer_piece *ret);
void peer_answer_put(struct peer_piece p, uint8_t ret[static PEER_ANSWER_SIZE]);
/* -EPROTO: not the piece that was asked for. */
WARN_UNUSED int peer_answer_get(const uint8_t data[static PEER_ANSWER_SIZE], struct peer_piece asked);
/* The piece of an image that begins at offset, or nothing when that is its end. */
struct peer_piece peer_piece_at(uint64_t offset, uint64_t image_size);

#endif
