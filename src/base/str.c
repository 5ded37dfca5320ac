/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool str_eq(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_eq_c(struct str a, const char *b)
{
	return str_eq(a, str_of(b));
}

/* The C library's tolower() depends on the locale; protocols do not. */
static unsigned char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : (unsigned char)c;
}

bool str_eq_nocase(struct str a, struct str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i]))
			return false;
	return true;
}

bool str_starts(struct str s, struct str prefix)
{
	return s.len >= prefix.len && str_eq((struct str){ s.ptr, prefix.len }, prefix);
}

bool str_ends(struct str s, struct str suffix)
{
	return s.len >= suffix.len &&
	       (suffix.len == 0 || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
	while (s.len && is_blank(s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	while (s.len && is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

struct str str_cut(struct str s, char sep, struct str *rest)
{
	const char *at = s.len ? memchr(s.ptr, sep, s.len) : NULL;
	size_t before = at ? (size_t)(at - s.ptr) : s.len;

	if (rest)
		*rest = at ? (struct str){ at + 1, s.len - before - 1 } : (struct str){ "", 0 };
	return (struct str){ s.ptr, before };
}

/*
 * RFC 3629 section 4, the UTF8-char grammar as a table: lead byte range, number of continuation
 * bytes, and the range of the first of them (which is what excludes overlong forms and surrogates).
 */
static const struct {
	unsigned char lead_min, lead_max, n_tail, tail_min, tail_max;
} utf8_forms[] = {
	{ 0x01, 0x7f, 0, 0, 0 },       { 0xc2, 0xdf, 1, 0x80, 0xbf }, { 0xe0, 0xe0, 2, 0xa0, 0xbf },
	{ 0xe1, 0xec, 2, 0x80, 0xbf }, { 0xed, 0xed, 2, 0x80, 0x9f }, { 0xee, 0xef, 2, 0x80, 0xbf },
	{ 0xf0, 0xf0, 3, 0x90, 0xbf }, { 0xf1, 0xf3, 3, 0x80, 0xbf }, { 0xf4, 0xf4, 3, 0x80, 0x8f },
};

/* Length in bytes of the character that starts at p, or 0 when it is none. */
static size_t utf8_char_size(const unsigned char *p, size_t left)
{
	for (size_t i = 0; i < ARRAY_LEN(utf8_forms); i++) {
		__auto_type f = &utf8_forms[i];

		if (p[0] < f->lead_min || p[0] > f->lead_max)
			continue;
		if (left <= f->n_tail)
			return 0;
		if (f->n_tail && (p[1] < f->tail_min || p[1] > f->tail_max))
			return 0;
		for (size_t k = 2; k <= f->n_tail; k++)
			if ((p[k] & 0xc0) != 0x80)
				return 0;
		return 1u + f->n_tail;
	}
	return 0;
}

bool str_is_utf8(struct str s)
{
	for (size_t i = 0; i < s.len;) {
		size_t size = utf8_char_size((const unsigned char *)s.ptr + i, s.len - i);

		if (size == 0)
			return false;
		i += size;
	}
	return true;
}

void str_scrub_utf8(char *s)
{
	size_t left = strlen(s);

	while (left) {
		size_t size = utf8_char_size((const unsigned char *)s, left);

		if (size == 0) {
			*s = '?';
			size = 1;
		}
		s += size;
		left -= size;
	}
}

int str_to_u64(struct str s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	bool over = false;

	if (s.len == 0)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return -EINVAL;
		over |= __builtin_mul_overflow(v, 10u, &v);
		over |= __builtin_add_overflow(v, (unsigned)(s.ptr[i] - '0'), &v);
	}
	if (over || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int str_to_i64(struct str s, int64_t *ret)
{
	bool negative = s.len > 0 && s.ptr[0] == '-';
	uint64_t v;
	int r;

	if (negative)
		s = (struct str){ s.ptr + 1, s.len - 1 };
	r = str_to_u64(s, (uint64_t)INT64_MAX + negative, &v);
	if (r < 0)
		return r;
	*ret = negative ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int str_from_hex(struct str s, void *ret_bytes, size_t size)
{
	unsigned char *out = ret_bytes;

	if (s.len % 2 != 0 || s.len / 2 != size)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++)
		if (hex_digit(s.ptr[i]) < 0)
			return -EINVAL;
	for (size_t i = 0; i < size; i++)
		out[i] = (unsigned char)((unsigned)hex_digit(s.ptr[2 * i]) << 4 |
					 (unsigned)hex_digit(s.ptr[2 * i + 1]));
	return 0;
}

void hex_of(const void *bytes, size_t size, char *ret)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *in = bytes;

	for (size_t i = 0; i < size; i++) {
		ret[2 * i] = digits[in[i] >> 4];
		ret[2 * i + 1] = digits[in[i] & 15];
	}
	ret[2 * size] = '\0';
}

int str_copy(char *dst, size_t size, struct str src)
{
	size_t n;

	if (size == 0)
		return -ENAMETOOLONG;
	n = MIN_OF(src.len, size - 1);
	if (n)
		memcpy(dst, src.ptr, n);
	dst[n] = '\0';
	return n < src.len ? -ENAMETOOLONG : 0;
}

void strbuf_done(struct strbuf *b)
{
	free(b->ptr);
	*b = (struct strbuf){ .limit_bytes = b->limit_bytes };
}

/* Room for `more` bytes and the NUL; false, and the error sticks, when there is none. */
static bool strbuf_room(struct strbuf *b, size_t more)
{
	size_t limit = b->limit_bytes ? b->limit_bytes : SIZE_MAX / 4;
	size_t cap = b->cap ? b->cap : 64;
	char *p;

	if (b->error)
		return false;
	if (more > limit || b->len > limit - more) {
		b->error = -EMSGSIZE;
		return false;
	}
	if (b->len + more < b->cap)
		return true;
	while (cap <= b->len + more)
		cap *= 2;
	p = realloc(b->ptr, cap);
	if (!p) {
		b->error = -ENOMEM;
		return false;
	}
	b->ptr = p;
	b->cap = cap;
	return true;
}

void strbuf_add(struct strbuf *b, const void *bytes, size_t size)
{
	if (!strbuf_room(b, size))
		return;
	if (size)
		memcpy(b->ptr + b->len, bytes, size);
	b->len += size;
	b->ptr[b->len] = '\0';
}

void strbuf_addc(struct strbuf *b, char c)
{
	strbuf_add(b, &c, 1);
}

void strbuf_adds(struct strbuf *b, const char *s)
{
	strbuf_add(b, s, strlen(s));
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (n < 0) {
		b->error = b->error ? b->error : -EMSGSIZE;
		return;
	}
	if (!strbuf_room(b, (size_t)n))
		return;
	va_start(args, fmt);
	vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, args);
	va_end(args);
	b->len += (size_t)n;
}

const char *strbuf_cstr(const struct strbuf *b)
{
	return b->ptr ? b->ptr : "";
}

char *strbuf_take(struct strbuf *b)
{
	char *text = NULL;

	strbuf_add(b, "", 0); /* an empty buffer is a string too */
	if (!b->error)
		text = MOVE_PTR(b->ptr);
	strbuf_done(b);
	return text;
}
