/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_WSC_H
#define DEMARC_LINK_WSC_H

/*
 * The client's side of a WebSocket: handshake text, masked frames out, unmasked frames in. Binary messages only.
 * Pure, but for the random key and masks. Source: RFC 6455 sections 4.1, 5 and 7.
 */

#include "base/str.h"
#include "link/url.h"

enum wsc_opcode {
	WSC_CONT = 0,
	WSC_TEXT = 1,
	WSC_BINARY = 2,
	WSC_CLOSE = 8,
	WSC_PING = 9,
	WSC_PONG = 10
};

#define WSC_KEY_SIZE 25	    /* base64 of 16 bytes and NUL */
#define WSC_CONTROL_MAX 125 /* bytes of a control frame's payload */
#define WSC_HEAD_MAX 8192   /* bytes of the server's answer */

/* Appends the request; key receives Sec-WebSocket-Key. */
void wsc_request(struct strbuf *out, const struct url *u, const char *path, const char *protocol,
		 char key[static WSC_KEY_SIZE]);
/* head: everything up to and with the empty line. 0, or PROTOCOL with the server's words. */
WARN_UNUSED int wsc_check_answer(struct str head, const char key[static WSC_KEY_SIZE],
				 const char *protocol, struct err *e);
/* When a head that refuses with 503 says to come back (X-Retry-After-Ms, else Retry-After in seconds), at most an hour;
 * 0: another answer, or it does not say. Also for what a busy hub says in the clear instead of TLS: pure, bounded, trusts nothing. */
#define WSC_RETRY_MAX_MS 3600000u
uint32_t wsc_retry_after_ms(struct str head);
/* Appends one masked, final frame. */
void wsc_frame_add(struct strbuf *out, enum wsc_opcode op, const void *payload, size_t size);

struct wsc_reader {
	size_t max_message_bytes;
	uint8_t head[10];
	size_t n_head, need_head;
	bool in_payload, in_message;
	uint64_t left;
	uint8_t control[WSC_CONTROL_MAX];
	size_t n_control;
	struct strbuf message;
};
enum wsc_event {
	WSC_EV_MORE,
	WSC_EV_MESSAGE,
	WSC_EV_PING,
	WSC_EV_PONG,
	WSC_EV_CLOSE,
	WSC_EV_ERROR
};

void wsc_reader_init(struct wsc_reader *r, size_t max_message_bytes);
void wsc_reader_done(struct wsc_reader *r);
/* Takes bytes from the front of *in up to the next event. MORE: *in is used up. The payload is valid until the next call.
 * ERROR: the peer breaks the protocol, the reader is of no further use. */
enum wsc_event wsc_reader_next(struct wsc_reader *r, struct str *in, struct str *ret_payload);

#endif
