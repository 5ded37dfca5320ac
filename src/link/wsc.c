/* SPDX-License-Identifier: Apache-2.0 */
#include "link/wsc.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/types.h"

#define KEEP_MESSAGE_BYTES 4096 /* a larger buffer is given back after its message */

/* ---- handshake ---- */

void wsc_request(struct strbuf *out, const struct url *u, const char *path, const char *protocol,
		 char key[static WSC_KEY_SIZE])
{
	unsigned char nonce[16];
	char authority[272];

	random_bytes(nonce, sizeof(nonce));
	EVP_EncodeBlock((unsigned char *)key, nonce, sizeof(nonce));
	strbuf_addf(out,
		    "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		    "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: %s\r\n"
		    "User-Agent: demarc-node/" DEMARC_VERSION "\r\n\r\n",
		    path, url_authority(u, authority), key, protocol);
}

/* RFC 6455 section 4.2.2, item 4: base64(SHA-1(key + GUID)). */
static bool accept_is_right(struct str value, const char *key)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	char text[80], want[32];
	unsigned n = 0;
	struct strbuf b = { 0 };

	strbuf_adds(&b, key);
	strbuf_adds(&b, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	(void)str_copy(text, sizeof(text), str_of(strbuf_cstr(&b)));
	strbuf_done(&b);
	if (EVP_Digest(text, strlen(text), sum, &n, EVP_sha1(), NULL) != 1 || n != 20)
		return false;
	EVP_EncodeBlock((unsigned char *)want, sum, 20);
	return str_eq_c(value, want);
}

/* Value of a header field, the empty view when absent. */
static struct str head_field(struct str head, struct str name)
{
	while (head.len) {
		struct str value, line = str_cut(head, '\n', &head);
		struct str field = str_cut(line, ':', &value);

		if (!str_eq_nocase(field, name))
			continue;
		if (str_ends(value, STR("\r")))
			value.len--;
		return str_trim(value);
	}
	return STR("");
}

int wsc_check_answer(struct str head, const char key[static WSC_KEY_SIZE], const char *protocol,
		     struct err *e)
{
	struct str rest, line = str_cut(head, '\r', &rest);

	if (!str_starts(line, STR("HTTP/1.1 101")))
		return err_set(e, FAULT_PROTOCOL, NULL, "the hub refuses the channel: \"" STR_FMT "\"",
			       (int)MIN_OF(line.len, (size_t)128), line.ptr);
	if (!str_eq_nocase(head_field(rest, STR("upgrade")), STR("websocket")) ||
	    !accept_is_right(head_field(rest, STR("sec-websocket-accept")), key) ||
	    !str_eq_c(head_field(rest, STR("sec-websocket-protocol")), protocol))
		return err_set(e, FAULT_PROTOCOL, NULL, "the peer answers, but not as a hub would");
	if (head_field(rest, STR("sec-websocket-extensions")).len)
		return err_set(e, FAULT_PROTOCOL, NULL,
			       "the hub chose an extension that was not offered");
	return 0;
}

uint32_t wsc_retry_after_ms(struct str head)
{
	struct str rest;
	uint64_t n;

	if (!str_starts(head, STR("HTTP/1.1 503")))
		return 0;
	(void)str_cut(head, '\n', &rest);
	if (str_to_u64(head_field(rest, STR("x-retry-after-ms")), UINT32_MAX, &n) == 0)
		return (uint32_t)MIN_OF(n, (uint64_t)WSC_RETRY_MAX_MS);
	if (str_to_u64(head_field(rest, STR("retry-after")), UINT32_MAX, &n) == 0)
		return (uint32_t)MIN_OF(n * 1000, (uint64_t)WSC_RETRY_MAX_MS);
	return 0;
}

/* ---- frames out ---- */

void wsc_frame_add(struct strbuf *out, enum wsc_opcode op, const void *payload, size_t size)
{
	uint8_t head[14] = { (uint8_t)(0x80 | op) }, mask[4];
	size_t n_length = size < 126 ? 0 : size <= UINT16_MAX ? 2 : 8, at;

	random_bytes(mask, sizeof(mask));
	head[1] = 0x80 | (uint8_t)(n_length == 0 ? size : n_length == 2 ? 126 : 127);
	for (size_t i = 0; i < n_length; i++)
		head[2 + i] = (uint8_t)((uint64_t)size >> (8 * (n_length - 1 - i)));
	memcpy(head + 2 + n_length, mask, sizeof(mask));
	strbuf_add(out, head, 2 + n_length + sizeof(mask));
	at = out->len;
	strbuf_add(out, payload, size);
	for (size_t i = 0; !out->error && i < size; i++)
		out->ptr[at + i] = (char)((uint8_t)out->ptr[at + i] ^ mask[i & 3]);
}

/* ---- frames in ---- */

void wsc_reader_init(struct wsc_reader *r, size_t max_message_bytes)
{
	*r = (struct wsc_reader){ .max_message_bytes = max_message_bytes, .need_head = 2 };
}

void wsc_reader_done(struct wsc_reader *r)
{
	strbuf_done(&r->message);
}

static unsigned op_of(const struct wsc_reader *r)
{
	return r->head[0] & 0x0f;
}

static bool op_is_control(unsigned op)
{
	return op & 8;
}

static bool head_is_valid(struct wsc_reader *r)
{
	unsigned op = op_of(r);
	bool fin = r->head[0] & 0x80;

	if (op_is_control(op)) {
		r->n_control = 0;
		return op <= WSC_PONG && fin && r->left <= WSC_CONTROL_MAX;
	}
	if (op == WSC_TEXT || op > WSC_BINARY || (op == WSC_CONT) != r->in_message)
		return false;
	if (r->left > r->max_message_bytes - r->message.len)
		return false;
	r->in_message = true;
	return true;
}

/* Collects header bytes; false when the frame is not acceptable. */
static bool feed_head(struct wsc_reader *r, struct str *in)
{
	while (in->len && r->n_head < r->need_head) {
		r->head[r->n_head++] = (uint8_t)in->ptr[0];
		*in = (struct str){ in->ptr + 1, in->len - 1 };
		if (r->n_head != 2)
			continue;
		if ((r->head[0] & 0x70) || (r->head[1] & 0x80))
			return false; /* no extension was agreed; a server must not mask */
		r->need_head = r->head[1] == 126 ? 4 : r->head[1] == 127 ? 10 : 2;
	}
	if (r->n_head < r->need_head)
		return true;
	r->left = 0;
	for (size_t i = 2; i < r->n_head; i++)
		r->left = r->left << 8 | r->head[i];
	if (r->need_head == 2)
		r->left = r->head[1];
	r->in_payload = true;
	return head_is_valid(r);
}

static bool feed_payload(struct wsc_reader *r, struct str *in)
{
	size_t n = (size_t)MIN_OF((uint64_t)in->len, r->left);

	if (op_is_control(op_of(r))) {
		memcpy(r->control + r->n_control, in->ptr, n);
		r->n_control += n;
	} else {
		strbuf_add(&r->message, in->ptr, n);
	}
	r->left -= n;
	*in = (struct str){ in->ptr + n, in->len - n };
	return !r->message.error;
}

static enum wsc_event end_frame(struct wsc_reader *r, struct str *ret_payload)
{
	unsigned op = op_of(r);

	r->in_payload = false;
	r->n_head = 0;
	r->need_head = 2;
	if (op_is_control(op)) {
		*ret_payload = (struct str){ (const char *)r->control, r->n_control };
		return op == WSC_CLOSE ? WSC_EV_CLOSE : op == WSC_PING ? WSC_EV_PING : WSC_EV_PONG;
	}
	if (!(r->head[0] & 0x80))
		return WSC_EV_MORE;
	r->in_message = false;
	*ret_payload = (struct str){ strbuf_cstr(&r->message), r->message.len };
	return WSC_EV_MESSAGE;
}

/* The message handed out by the call before is used: make room. */
static void drop_message(struct wsc_reader *r)
{
	if (r->in_message)
		return;
	if (r->message.cap > KEEP_MESSAGE_BYTES)
		strbuf_done(&r->message);
	r->message.len = 0;
}

enum wsc_event wsc_reader_next(struct wsc_reader *r, struct str *in, struct str *ret_payload)
{
	drop_message(r);
	while (in->len || (r->in_payload && r->left == 0)) {
		if (!(r->in_payload ? feed_payload(r, in) : feed_head(r, in)))
			return WSC_EV_ERROR;
		if (!r->in_payload || r->left)
			continue;
		enum wsc_event ev = end_frame(r, ret_payload);
		if (ev != WSC_EV_MORE)
			return ev;
	}
	return WSC_EV_MORE;
}
