/* SPDX-License-Identifier: Apache-2.0 */
#include "link/pipe_msg.h"

#include <errno.h>

#define KEEP_BYTES 65536 /* a buffer that grew past it is given back once it is empty */

void pipe_msg_add(struct strbuf *out, enum pipe_kind kind, uint32_t gen, struct str payload)
{
	struct pipe_head h = { .size = (uint32_t)payload.len, .gen = gen, .kind = kind };

	strbuf_add(out, &h, sizeof(h));
	strbuf_add(out, payload.ptr, payload.len);
}

int pipe_msg_next(const struct strbuf *in, size_t *at, struct pipe_head *ret, struct str *ret_payload)
{
	struct pipe_head h;

	if (in->len - *at < sizeof(h))
		return 0;
	memcpy(&h, in->ptr + *at, sizeof(h));
	if (h.size > PIPE_SIZE_MAX)
		return -EPROTO;
	if (in->len - *at - sizeof(h) < h.size)
		return 0;
	*ret = h;
	*ret_payload = (struct str){ in->ptr + *at + sizeof(h), h.size };
	*at += sizeof(h) + h.size;
	return 1;
}

void pipe_buf_consume(struct strbuf *b, size_t n)
{
	if (n == 0)
		return;
	b->len -= n;
	if (b->len)
		memmove(b->ptr, b->ptr + n, b->len);
	else if (b->cap > KEEP_BYTES)
		strbuf_done(b);
}
