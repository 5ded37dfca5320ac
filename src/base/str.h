/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_BASE_STR_H
#define DEMARC_BASE_STR_H

/*
 * `struct str`: a view of bytes that somebody else owns, by value, not NUL-terminated.
 * `struct strbuf`: a growing NUL-terminated buffer with a sticky error (check once, at the end).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"

struct str {
	const char *ptr;
	size_t len; /* bytes */
};

#define STR(lit) ((struct str){ (lit), sizeof(lit) - 1 })
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).len, (s).ptr

static inline struct str str_of(const char *s) /* NULL gives the empty view */
{
	return (struct str){ s ? s : "", s ? strlen(s) : 0 };
}
bool str_eq(struct str a, struct str b);
bool str_eq_c(struct str a, const char *b);
bool str_eq_nocase(struct str a, struct str b); /* ASCII */
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
struct str str_trim(struct str s); /* spaces and tabs, both ends */
/* Cuts s at the first `sep`: returns what is before, leaves what is after in *rest. Without `sep`
 * returns all and leaves the empty view. */
struct str str_cut(struct str s, char sep, struct str *rest);
bool str_is_utf8(struct str s); /* RFC 3629, no NUL, no surrogates */
/* Replaces each byte that is part of no UTF-8 character by '?', in place. */
void str_scrub_utf8(char *s);

/* Whole-string number parsers: decimal, no sign for u64, no spaces. -EINVAL or -ERANGE. */
WARN_UNUSED int str_to_u64(struct str s, uint64_t max, uint64_t *ret);
WARN_UNUSED int str_to_i64(struct str s, int64_t *ret);
/* hex: exactly 2 * size digits, either case. -EINVAL. */
WARN_UNUSED int str_from_hex(struct str s, void *ret_bytes, size_t size);
void hex_of(const void *bytes, size_t size, char *ret); /* ret holds 2 * size + 1 */

/* Copies at most size - 1 bytes and terminates. Returns 0, or -ENAMETOOLONG when cut. */
int str_copy(char *dst, size_t size, struct str src);

struct strbuf {
	char *ptr; /* NULL or NUL-terminated */
	size_t len, cap;
	size_t limit_bytes; /* 0: no limit beyond memory */
	int error;	    /* 0, -ENOMEM or -EMSGSIZE: sticky, later calls do nothing */
};

void strbuf_done(struct strbuf *b); /* frees; for CLEANUP(strbuf_done) */
void strbuf_add(struct strbuf *b, const void *bytes, size_t size);
void strbuf_addc(struct strbuf *b, char c);
void strbuf_adds(struct strbuf *b, const char *s);
void strbuf_addf(struct strbuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *strbuf_cstr(const struct strbuf *b); /* "" when empty */
char *strbuf_take(struct strbuf *b);		 /* caller frees; NULL on sticky error */

#endif
