/* SPDX-License-Identifier: Apache-2.0 */
#include "node/httpreq.h"

#include <string.h>

#define BAD (-400)

/* A line up to LF, CR taken off (RFC 9112 section 2.2 allows a bare LF). False: none yet. */
static bool take_line(struct str *in, struct str *ret)
{
	const char *lf = memchr(in->ptr, '\n', in->len);
	size_t n;

	if (!lf)
		return false;
	n = (size_t)(lf - in->ptr);
	*ret = (struct str){ in->ptr, n > 0 && in->ptr[n - 1] == '\r' ? n - 1 : n };
	*in = (struct str){ lf + 1, in->len - n - 1 };
	return true;
}

static int decode(struct str *in, char *ret)
{
	unsigned char byte;

	if (in->ptr[0] != '%') {
		*ret = in->ptr[0];
		*in = (struct str){ in->ptr + 1, in->len - 1 };
	} else {
		if (in->len < 3 || str_from_hex((struct str){ in->ptr + 1, 2 }, &byte, 1) < 0)
			return BAD;
		*ret = (char)byte;
		*in = (struct str){ in->ptr + 3, in->len - 3 };
	}
	return (unsigned char)*ret < 0x20 || *ret == 0x7f ? BAD : 0;
}

/* Origin form ("/path?query") or absolute form ("http://host/path"). */
static int parse_target(struct str target, struct httpreq *ret)
{
	size_t n = 0;

	if (str_starts(target, STR("http://"))) {
		struct str rest = { target.ptr + 7, target.len - 7 };
		const char *slash = memchr(rest.ptr, '/', rest.len);

		target = slash ? (struct str){ slash, (size_t)(rest.ptr + rest.len - slash) } :
				 STR("/");
	}
	if (target.len == 0 || target.ptr[0] != '/')
		return BAD;
	while (target.len > 0 && target.ptr[0] != '?' && target.ptr[0] != '#') {
		char c;

		if (decode(&target, &c) < 0)
			return BAD;
		if (c == '/' && n > 0 && ret->path[n - 1] == '/')
			continue;
		if (n + 1 >= sizeof(ret->path))
			return -414;
		ret->path[n++] = c;
	}
	ret->path[n] = '\0';
	return strstr(ret->path, "/../") || strstr(ret->path, "/./") ||
			       str_ends(str_of(ret->path), STR("/..")) ?
		       BAD :
		       0;
}

static int parse_request_line(struct str line, struct httpreq *ret)
{
	struct str rest, method = str_cut(line, ' ', &rest);
	struct str target = str_cut(rest, ' ', &rest);
	int r;

	ret->head_only = str_eq(method, STR("HEAD"));
	if (method.len == 0 || target.len == 0)
		return BAD;
	r = parse_target(target, ret);
	if (r < 0)
		return r;
	if (!str_eq(rest, STR("HTTP/1.1")) && !str_eq(rest, STR("HTTP/1.0")))
		return str_starts(rest, STR("HTTP/")) ? -505 : BAD;
	ret->keep_alive = str_eq(rest, STR("HTTP/1.1"));
	return ret->head_only || str_eq(method, STR("GET")) ? 0 : -405;
}

static int parse_field(struct str line, struct httpreq *ret)
{
	struct str value, name = str_cut(line, ':', &value);

	if (name.len == 0 || name.len == line.len || name.ptr[0] == ' ' || name.ptr[0] == '\t')
		return BAD;
	value = str_trim(value);
	if (str_eq_nocase(name, STR("connection")))
		ret->keep_alive = str_eq_nocase(value, STR("keep-alive")) ||
				  (ret->keep_alive && !str_eq_nocase(value, STR("close")));
	/* A request with a body is none that this service answers; taking it wrongly would be request smuggling. */
	if (str_eq_nocase(name, STR("transfer-encoding")))
		return BAD;
	if (str_eq_nocase(name, STR("content-length")) && !str_eq(value, STR("0")))
		return -413;
	return 0;
}

int httpreq_parse(struct str in, struct httpreq *ret)
{
	const char *start = in.ptr;
	size_t size = in.len;
	struct str line;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (in.len > HTTPREQ_HEAD_MAX)
		in.len = HTTPREQ_HEAD_MAX;
	if (!take_line(&in, &line))
		return size > HTTPREQ_HEAD_MAX ? -431 : 0;
	if (memchr(line.ptr, '\0', line.len))
		return BAD;
	r = parse_request_line(line, ret);
	while (r == 0) {
		if (!take_line(&in, &line))
			return size > HTTPREQ_HEAD_MAX ? -431 : 0;
		if (line.len == 0)
			return (int)(in.ptr - start);
		r = parse_field(line, ret);
	}
	return r;
}
