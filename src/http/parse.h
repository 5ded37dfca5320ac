/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HTTP_PARSE_H
#define DEMARC_HTTP_PARSE_H

/*
 * HTTP/1.1 requests as bytes: the head (request line and header fields) and the chunked transfer coding. Strict where
 * leniency lets two parsers on one path disagree (request smuggling): no bare LF, no folded fields, no second length. Pure; any thread.
 * Source: RFC 9110, RFC 9112.
 */

#include "http/server.h"

#define HTTP_HEAD_MAX (32u << 10)  /* bytes, including the empty line */
#define HTTP_TARGET_MAX (8u << 10) /* bytes */
#define HTTP_FIELDS_MAX 100
#define HTTP_TRAILER_MAX (4u << 10) /* bytes of chunk extensions and trailer fields in one body */

struct http_field {
	struct str name;  /* lower case */
	struct str value; /* without surrounding white space */
};

struct http_head {
	enum http_method method;
	struct str method_text, target, path, query, host;
	unsigned minor; /* HTTP/1.minor */
	struct http_field fields[HTTP_FIELDS_MAX];
	size_t n_fields;
	bool has_length, chunked, expect_continue, keep_alive, upgrade;
	uint64_t length; /* Content-Length, when has_length */
};

/* Length of the head in bytes (with its empty line) when it is complete in `in`, else 0. *scanned carries on between calls
 * with more bytes; starts at 0. */
size_t http_head_end(struct str in, size_t *scanned);
/* Parses a complete head. Writes to `head`'s bytes (field names become lower case); `ret` points into them.
 * Returns 0, or the HTTP status that refuses it: 400, 414, 417, 431, 501, 505. */
WARN_UNUSED int http_head_parse(char *head, size_t size, struct http_head *ret);
/* The field's value, or the empty view. `name` in lower case. */
struct str http_field_find(const struct http_field *fields, size_t n, const char *name);
/* Does the comma-separated list hold `token` (ASCII case ignored)? */
bool http_list_has(struct str list, const char *token);

struct http_chunked {
	int state; /* private; 0 at the start */
	uint64_t left;
	unsigned n_digits;
	size_t n_extra; /* bytes of extensions and trailer */
};

enum http_chunk_event { HTTP_CHUNK_MORE, HTTP_CHUNK_DATA, HTTP_CHUNK_END, HTTP_CHUNK_BAD };
/* Takes bytes from the front of *in. DATA: *ret_data is the next piece of the body; call again. MORE: *in is used up.
 * END: the body is complete; *in holds what follows it. */
enum http_chunk_event http_chunked_next(struct http_chunked *c, struct str *in, struct str *ret_data);

#endif
