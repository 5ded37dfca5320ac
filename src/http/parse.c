/* SPDX-License-Identifier: Apache-2.0 */
#include "http/parse.h"

/* RFC 9110 section 5.6.2: tchar. */
static bool is_token_char(unsigned char c)
{
	static const bool table[256] = {
		['0' ... '9'] = true, ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['!'] = true,
		['#'] = true,	      ['$'] = true,	    ['%'] = true,	  ['&'] = true,
		['\''] = true,	      ['*'] = true,	    ['+'] = true,	  ['-'] = true,
		['.'] = true,	      ['^'] = true,	    ['_'] = true,	  ['`'] = true,
		['|'] = true,	      ['~'] = true,
	};

	return table[c];
}

static bool is_token(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_token_char((unsigned char)s.ptr[i]))
			return false;
	return s.len > 0;
}

/* Field content: visible, space, tab, and bytes above ASCII (obs-text). */
static bool is_field_value(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static bool is_target(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		if (c <= ' ' || c == 0x7f)
			return false;
	}
	return s.len > 0;
}

size_t http_head_end(struct str in, size_t *scanned)
{
	static const char end[] = "\r\n\r\n";
	size_t from = *scanned > 3 ? *scanned - 3 : 0;
	const char *at = in.len > from ? memmem(in.ptr + from, in.len - from, end, 4) : NULL;

	*scanned = in.len;
	return at ? (size_t)(at - in.ptr) + 4 : 0;
}

struct str http_field_find(const struct http_field *fields, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq_c(fields[i].name, name))
			return fields[i].value;
	return str_of("");
}

bool http_list_has(struct str list, const char *token)
{
	while (list.len) {
		struct str item = str_trim(str_cut(list, ',', &list));
		if (str_eq_nocase(item, str_of(token)))
			return true;
	}
	return false;
}

static enum http_method method_of(struct str s)
{
	static const char *const names[] = {
		[HTTP_GET] = "GET",	    [HTTP_HEAD] = "HEAD",   [HTTP_POST] = "POST",
		[HTTP_PUT] = "PUT",	    [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE",
		[HTTP_OPTIONS] = "OPTIONS",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq_c(s, names[i]))
			return (enum http_method)i;
	return HTTP_OTHER;
}

/* RFC 9112 section 3.2.2: a server accepts the absolute form as well; its authority is ignored in favour of Host. */
static int parse_target(struct str s, struct http_head *h)
{
	static const struct str schemes[] = { { "https://", 8 }, { "http://", 7 } };

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		if (!str_starts(s, schemes[i]))
			continue;
		size_t at = schemes[i].len;
		while (at < s.len && s.ptr[at] != '/')
			at++;
		s = at < s.len ? (struct str){ s.ptr + at, s.len - at } : str_of("/");
		break;
	}
	bool asterisk = h->method == HTTP_OPTIONS && str_eq_c(s, "*");
	if (s.ptr[0] != '/' && !asterisk)
		return 400;
	h->target = s;
	h->path = str_cut(s, '?', &h->query);
	return 0;
}

static int parse_version(struct str s, struct http_head *h)
{
	if (s.len != 8 || memcmp(s.ptr, "HTTP/", 5) != 0 || s.ptr[6] != '.')
		return 400;
	if (s.ptr[5] != '1' || s.ptr[7] < '0' || s.ptr[7] > '9')
		return 505;
	h->minor = s.ptr[7] == '0' ? 0 : 1;
	return 0;
}

static int parse_request_line(struct str line, struct http_head *h)
{
	struct str rest, version;

	h->method_text = str_cut(line, ' ', &rest);
	struct str target = str_cut(rest, ' ', &version);
	if (!is_token(h->method_text) || h->method_text.len > 32)
		return 400;
	if (target.len > HTTP_TARGET_MAX)
		return 414;
	if (!is_target(target))
		return 400;
	h->method = method_of(h->method_text);
	int status = parse_version(version, h);
	return status ? status : parse_target(target, h);
}

static int on_host(struct http_head *h, struct str value)
{
	if (h->host.ptr)
		return 400;
	h->host = value;
	return 0;
}

static int on_length(struct http_head *h, struct str value)
{
	if (h->has_length || str_to_u64(value, INT64_MAX, &h->length) < 0)
		return 400;
	h->has_length = true;
	return 0;
}

static int on_coding(struct http_head *h, struct str value)
{
	if (h->chunked)
		return 400;
	if (!str_eq_nocase(value, STR("chunked")))
		return 501;
	h->chunked = true;
	return 0;
}

static int on_connection(struct http_head *h, struct str value)
{
	if (http_list_has(value, "close"))
		h->keep_alive = false;
	else if (http_list_has(value, "keep-alive"))
		h->keep_alive = true;
	h->upgrade |= http_list_has(value, "upgrade");
	return 0;
}

static int on_expect(struct http_head *h, struct str value)
{
	if (!str_eq_nocase(value, STR("100-continue")))
		return 417;
	h->expect_continue = true;
	return 0;
}

/* The fields that frame the message or steer the connection. */
static const struct {
	const char *name;
	int (*on)(struct http_head *h, struct str value);
} framing[] = {
	{ "host", on_host },
	{ "content-length", on_length },
	{ "transfer-encoding", on_coding },
	{ "connection", on_connection },
	{ "expect", on_expect },
};

static int parse_field(struct str line, char *bytes, struct http_head *h)
{
	struct str value, name = str_cut(line, ':', &value);

	if (name.len == line.len || !is_token(name) || !is_field_value(value))
		return 400;
	if (h->n_fields == HTTP_FIELDS_MAX)
		return 431;
	for (size_t i = 0; i < name.len; i++)
		if (bytes[i] >= 'A' && bytes[i] <= 'Z')
			bytes[i] = (char)(bytes[i] + ('a' - 'A'));
	value = str_trim(value);
	h->fields[h->n_fields++] = (struct http_field){ name, value };
	for (size_t i = 0; i < ARRAY_LEN(framing); i++)
		if (str_eq_c(name, framing[i].name))
			return framing[i].on(h, value);
	return 0;
}

/* RFC 9112 section 6.3: what would let two servers see different messages is refused. */
static int check_framing(const struct http_head *h)
{
	if (h->chunked && (h->has_length || h->minor == 0))
		return 400;
	if (!h->host.ptr && h->minor > 0)
		return 400;
	return 0;
}

int http_head_parse(char *head, size_t size, struct http_head *ret)
{
	char *at = head, *end = head + size - 2; /* without the last, empty line */
	int status = 0;

	*ret = (struct http_head){ .keep_alive = true };
	for (bool first = true; !status && at < end; first = false) {
		char *eol = memmem(at, (size_t)(end - at), "\r\n", 2);
		if (!eol)
			return 400;
		struct str line = { at, (size_t)(eol - at) };
		if (first) {
			status = parse_request_line(line, ret);
			ret->keep_alive = ret->minor > 0;
		} else {
			status = parse_field(line, at, ret);
		}
		at = eol + 2;
	}
	if (!status && !ret->path.len)
		return 400;
	return status ? status : check_framing(ret);
}

enum chunk_state {
	SIZE,
	EXTENSION,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER,
	TRAILER_LINE,
	TRAILER_LF,
	END_LF,
	END,
	BAD
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum chunk_state on_size(struct http_chunked *c, char b)
{
	int digit = hex_digit(b);

	if (digit >= 0) {
		c->left = c->left << 4 | (unsigned)digit;
		return ++c->n_digits <= 15 ? SIZE : BAD;
	}
	if (!c->n_digits)
		return BAD;
	if (b == '\r')
		return SIZE_LF;
	return b == ';' || b == ' ' || b == '\t' ? EXTENSION : BAD;
}

static enum chunk_state on_line(struct http_chunked *c, char b, enum chunk_state same,
				enum chunk_state after_cr)
{
	if (++c->n_extra > HTTP_TRAILER_MAX || b == '\n')
		return BAD;
	return b == '\r' ? after_cr : same;
}

static enum chunk_state on_size_lf(struct http_chunked *c, char b)
{
	c->n_digits = 0;
	if (b != '\n')
		return BAD;
	return c->left ? DATA : TRAILER;
}

/* One byte outside of chunk data. */
static enum chunk_state on_byte(struct http_chunked *c, char b)
{
	switch ((enum chunk_state)c->state) {
	case SIZE:
		return on_size(c, b);
	case EXTENSION:
		return on_line(c, b, EXTENSION, SIZE_LF);
	case SIZE_LF:
		return on_size_lf(c, b);
	case DATA_CR:
		return b == '\r' ? DATA_LF : BAD;
	case DATA_LF:
		return b == '\n' ? SIZE : BAD;
	case TRAILER:
		return b == '\r' ? END_LF : on_line(c, b, TRAILER_LINE, BAD);
	case TRAILER_LINE:
		return on_line(c, b, TRAILER_LINE, TRAILER_LF);
	case TRAILER_LF:
		return b == '\n' ? TRAILER : BAD;
	case END_LF:
		return b == '\n' ? END : BAD;
	case DATA:
	case END:
	case BAD:
		break;
	}
	return BAD;
}

enum http_chunk_event http_chunked_next(struct http_chunked *c, struct str *in, struct str *ret_data)
{
	while (c->state != END && c->state != BAD) {
		if (!in->len)
			return HTTP_CHUNK_MORE;
		if (c->state == DATA) {
			size_t n = MIN_OF((uint64_t)in->len, c->left);
			*ret_data = (struct str){ in->ptr, n };
			*in = (struct str){ in->ptr + n, in->len - n };
			c->left -= n;
			if (!c->left)
				c->state = DATA_CR;
			return HTTP_CHUNK_DATA;
		}
		c->state = (int)on_byte(c, in->ptr[0]);
		*in = (struct str){ in->ptr + 1, in->len - 1 };
	}
	return c->state == END ? HTTP_CHUNK_END : HTTP_CHUNK_BAD;
}
