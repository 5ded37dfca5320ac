/* SPDX-License-Identifier: Apache-2.0 */
#include "link/wire.h"

#include <errno.h>
#include <string.h>

#include "link/link.h"
#include "link/pipe_msg.h"

#define READ_BYTES 16384u

static int fail(struct wire *w, const char *reason)
{
	w->reason = reason;
	return -EPIPE;
}

void wire_begin(struct wire *w, struct dial *d, const struct url *u)
{
	w->dial = d;
	w->open = false;
	w->reason = "";
	wsc_reader_init(&w->reader, LINK_FRAME_MAX);
	wsc_request(&w->out, u, LINK_PATH, LINK_PROTOCOL, w->key);
}

void wire_close(struct wire *w)
{
	if (!w->dial)
		return;
	dial_close(MOVE_PTR(w->dial));
	wsc_reader_done(&w->reader);
	strbuf_done(&w->head);
	strbuf_done(&w->out);
	w->open = false;
}

void wire_send(struct wire *w, struct str message)
{
	wsc_frame_add(&w->out, WSC_BINARY, message.ptr, message.len);
}

/* ---- in ---- */

/* 1: the answer is whole and right; 0: more has to come. What follows it in *in is the first frame. */
static int take_head(struct wire *w, struct str *in)
{
	struct err e = { 0 };

	while (in->len) {
		struct str head;

		strbuf_add(&w->head, in->ptr, 1);
		*in = (struct str){ in->ptr + 1, in->len - 1 };
		head = (struct str){ strbuf_cstr(&w->head), w->head.len };
		if (str_ends(head, STR("\r\n\r\n"))) {
			if (wsc_retry_after_ms(head))
				w->ops->retry(w->ctx, wsc_retry_after_ms(head));
			if (wsc_check_answer(head, w->key, LINK_PROTOCOL, &e) == 0)
				return 1;
			(void)str_copy(w->text, sizeof(w->text), str_of(e.msg));
			return fail(w, w->text);
		}
		if (head.len == WSC_HEAD_MAX)
			return fail(w, "the hub's answer is too long");
	}
	return 0;
}

static int take_event(struct wire *w, enum wsc_event ev, struct str payload)
{
	switch (ev) {
	case WSC_EV_MESSAGE:
		w->ops->message(w->ctx, payload);
		return 0;
	case WSC_EV_PING:
		if (w->out.len < WIRE_PONGS_MAX)
			wsc_frame_add(&w->out, WSC_PONG, payload.ptr, payload.len);
		return 0;
	case WSC_EV_CLOSE:
		return fail(w, "the hub closed the channel");
	case WSC_EV_ERROR:
		return fail(w, "the hub's messages do not follow the protocol");
	case WSC_EV_PONG:
	case WSC_EV_MORE:
		return 0;
	}
	return 0;
}

int wire_take(struct wire *w, struct str in)
{
	struct str payload = { 0 };
	enum wsc_event ev;
	int rc = w->open ? 1 : take_head(w, &in);

	if (rc <= 0)
		return rc;
	if (!w->open) {
		w->open = true;
		strbuf_done(&w->head);
		w->ops->up(w->ctx);
	}
	/* Whoever gets a message may close the connection. */
	while (w->dial) {
		ev = wsc_reader_next(&w->reader, &in, &payload);
		rc = take_event(w, ev, payload);
		if (rc < 0 || ev == WSC_EV_MORE)
			return rc;
	}
	return 0;
}

static int broken(struct wire *w, ssize_t n)
{
	return fail(w, n ? strerror((int)-n) : "the hub closed the connection");
}

int wire_read(struct wire *w)
{
	char buf[READ_BYTES];
	ssize_t n = dial_read(w->dial, buf, sizeof(buf));
	int rc;

	if (n == -EAGAIN)
		return 0;
	if (n <= 0)
		return broken(w, n);
	rc = wire_take(w, (struct str){ buf, (size_t)n });
	return rc < 0 ? rc : 1;
}

/* ---- out ---- */

int wire_write(struct wire *w)
{
	size_t done = 0;

	while (done < w->out.len) {
		ssize_t n = dial_write(w->dial, w->out.ptr + done, w->out.len - done);

		if (n == -EAGAIN)
			break;
		if (n <= 0)
			return broken(w, n);
		done += (size_t)n;
	}
	pipe_buf_consume(&w->out, done);
	return w->out.error ? fail(w, "no memory for what waits") : 0;
}
