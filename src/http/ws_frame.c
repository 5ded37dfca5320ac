/* SPDX-License-Identifier: Apache-2.0 */
#include "http/ws_frame.h"

#define KEEP_MESSAGE_BYTES 4096 /* a larger buffer is given back after its message */

void ws_reader_init(struct ws_reader *r, size_t max_message_bytes)
{
	*r = (struct ws_reader){ .max_message_bytes = max_message_bytes };
}

void ws_reader_done(struct ws_reader *r)
{
	strbuf_done(&r->message);
}

static uint64_t read_be(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static size_t length_bytes(uint8_t second)
{
	switch (second & 0x7f) {
	case 126:
		return 2;
	case 127:
		return 8;
	default:
		return 0;
	}
}

static enum ws_opcode frame_op(const struct ws_reader *r)
{
	return (enum ws_opcode)(r->header[0] & 0x0f);
}

static bool frame_fin(const struct ws_reader *r)
{
	return r->header[0] & 0x80;
}

static bool op_is_control(enum ws_opcode op)
{
	return op & 8;
}

/* Looks at a complete header. Returns 0 or the code to close with. */
static int check_header(struct ws_reader *r)
{
	enum ws_opcode op = frame_op(r);
	size_t n_len = length_bytes(r->header[1]);

	r->left = n_len ? read_be(r->header + 2, n_len) : r->header[1] & 0x7f;
	r->mask_at = 0;
	if (op == WS_TEXT)
		return WS_UNSUPPORTED;
	if (op_is_control(op)) {
		r->n_control = 0;
		return op > WS_PONG || !frame_fin(r) || r->left > WS_CONTROL_MAX ? WS_PROTOCOL : 0;
	}
	if (op > WS_BINARY || (op == WS_CONT) != r->in_message)
		return WS_PROTOCOL;
	if (r->left > r->max_message_bytes - r->message.len)
		return WS_TOO_BIG;
	r->in_message = true;
	return 0;
}

/* Collects header bytes. Returns 0 (more to come, or complete: in_payload) or the code to close with. */
static int feed_header(struct ws_reader *r, struct str *in)
{
	while (in->len) {
		r->header[r->n_header++] = (uint8_t)in->ptr[0];
		*in = (struct str){ in->ptr + 1, in->len - 1 };
		if (r->header[0] & 0x70 || (r->n_header >= 2 && !(r->header[1] & 0x80)))
			return WS_PROTOCOL; /* no extension was agreed; a client must mask */
		if (r->n_header >= 2 && r->n_header == 2 + length_bytes(r->header[1]) + 4) {
			r->in_payload = true;
			return check_header(r);
		}
	}
	return 0;
}

static void unmask(struct ws_reader *r, char *p, size_t n)
{
	const uint8_t *key = r->header + r->n_header - 4;

	for (size_t i = 0; i < n; i++)
		p[i] = (char)((uint8_t)p[i] ^ key[(r->mask_at + i) & 3]);
	r->mask_at += n;
}

static int feed_payload(struct ws_reader *r, struct str *in)
{
	size_t n = MIN_OF((uint64_t)in->len, r->left);

	if (op_is_control(frame_op(r))) {
		memcpy(r->control + r->n_control, in->ptr, n);
		unmask(r, (char *)r->control + r->n_control, n);
		r->n_control += n;
	} else if (n) {
		size_t at = r->message.len;
		strbuf_add(&r->message, in->ptr, n);
		if (r->message.error)
			return WS_INTERNAL;
		unmask(r, r->message.ptr + at, n);
	}
	r->left -= n;
	*in = (struct str){ in->ptr + n, in->len - n };
	return 0;
}

/* A frame is complete. MORE: it was a fragment. */
static enum ws_event end_frame(struct ws_reader *r, struct str *ret_payload)
{
	enum ws_opcode op = frame_op(r);

	r->in_payload = false;
	r->n_header = 0;
	if (op_is_control(op)) {
		*ret_payload = (struct str){ (const char *)r->control, r->n_control };
		return op == WS_CLOSE ? WS_EV_CLOSE : op == WS_PING ? WS_EV_PING : WS_EV_PONG;
	}
	if (!frame_fin(r))
		return WS_EV_MORE;
	r->in_message = false;
	*ret_payload = (struct str){ strbuf_cstr(&r->message), r->message.len };
	return WS_EV_MESSAGE;
}

/* The message handed out by the call before is used: make room. */
static void drop_message(struct ws_reader *r)
{
	if (r->in_message)
		return;
	if (r->message.cap > KEEP_MESSAGE_BYTES)
		strbuf_done(&r->message);
	r->message.len = 0;
}

enum ws_event ws_reader_next(struct ws_reader *r, struct str *in, struct str *ret_payload,
			     enum ws_code *ret_code)
{
	drop_message(r);
	while (in->len || (r->in_payload && !r->left)) {
		int code = r->in_payload ? feed_payload(r, in) : feed_header(r, in);
		if (code) {
			*ret_code = (enum ws_code)code;
			return WS_EV_ERROR;
		}
		if (!r->in_payload || r->left)
			continue;
		enum ws_event ev = end_frame(r, ret_payload);
		if (ev != WS_EV_MORE)
			return ev;
	}
	return WS_EV_MORE;
}

size_t ws_frame_overhead(size_t size)
{
	return size < 126 ? 2 : size <= UINT16_MAX ? 4 : 10;
}

void ws_frame_add(struct strbuf *out, enum ws_opcode op, const void *payload, size_t size)
{
	uint8_t header[10] = { (uint8_t)(0x80 | op) };
	size_t n = ws_frame_overhead(size);

	header[1] = n == 2 ? (uint8_t)size : n == 4 ? 126 : 127;
	for (size_t i = 2; i < n; i++)
		header[i] = (uint8_t)((uint64_t)size >> 8 * (n - 1 - i));
	strbuf_add(out, header, n);
	strbuf_add(out, payload, size);
}
