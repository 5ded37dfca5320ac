/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HTTP_WS_FRAME_H
#define DEMARC_HTTP_WS_FRAME_H

/*
 * WebSocket frames, server side: reads what a client sends (masked), writes what a server sends (not masked). Binary messages only.
 * Pure; any thread. Source: RFC 6455 sections 5 and 7.
 *
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +-+-+-+-+-------+-+-------------+-------------------------------+
 *  |F|R|R|R| opcode|M| length (7)  | extended length (16 or 64),   |
 *  |I|S|S|S|  (4)  |A|             | when length is 126 or 127     |
 *  |N|V|V|V|       |S|             | then 4 bytes of masking key   |
 *  +-+-+-+-+-------+-+-------------+-------------------------------+
 */

#include "base/str.h"

enum ws_opcode { WS_CONT = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

/* Status codes, RFC 6455 section 7.4.1. */
enum ws_code {
	WS_NORMAL = 1000,
	WS_GOING_AWAY = 1001,
	WS_PROTOCOL = 1002,
	WS_UNSUPPORTED = 1003,
	WS_NO_CODE = 1005,
	WS_POLICY = 1008,
	WS_TOO_BIG = 1009,
	WS_INTERNAL = 1011
};

#define WS_CONTROL_MAX 125 /* bytes of a control frame's payload */
#define WS_HEADER_MAX 14

struct ws_reader {
	size_t max_message_bytes;
	uint8_t header[WS_HEADER_MAX];
	size_t n_header;
	bool in_payload, in_message;
	uint64_t left; /* payload bytes of this frame still to come */
	uint64_t mask_at;
	uint8_t control[WS_CONTROL_MAX];
	size_t n_control;
	struct strbuf message;
};

enum ws_event { WS_EV_MORE, WS_EV_MESSAGE, WS_EV_PING, WS_EV_PONG, WS_EV_CLOSE, WS_EV_ERROR };

void ws_reader_init(struct ws_reader *r, size_t max_message_bytes);
void ws_reader_done(struct ws_reader *r);
/*
 * Takes bytes from the front of *in up to the next event. MORE: *in is used up. *ret_payload (of MESSAGE, PING, PONG, CLOSE) is
 * valid until the next call. ERROR: *ret_code is the status to close with; the reader is then of no further use.
 */
enum ws_event ws_reader_next(struct ws_reader *r, struct str *in, struct str *ret_payload,
			     enum ws_code *ret_code);

/* Appends one unmasked, final frame. */
void ws_frame_add(struct strbuf *out, enum ws_opcode op, const void *payload, size_t size);
size_t ws_frame_overhead(size_t size); /* bytes of the header that ws_frame_add() writes */

#endif
