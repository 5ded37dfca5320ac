/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_BASE_JSON_H
#define DEMARC_BASE_JSON_H

/* Small helpers over jansson: ownership, bounded parsing, lookups that name the field on failure. */

#include <jansson.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

void json_freep(json_t **j); /* json_decref(*j) for CLEANUP */

/* RFC 8259 text to a tree. Bounds: size by the caller, depth by jansson, no duplicate keys, no NUL.
 * Fault BAD_REQUEST with line and column. Caller owns the result. */
WARN_UNUSED int json_parse(struct str text, json_t **ret, struct err *e);
char *json_text(const json_t *j); /* compact, keys in insertion order; caller frees; NULL: no memory */

/* NULL when absent or of another type. Borrowed. */
const char *json_str(const json_t *obj, const char *key);
int64_t json_int(const json_t *obj, const char *key, int64_t dflt);
bool json_bool(const json_t *obj, const char *key, bool dflt);
/* Must be there with the type, else BAD_REQUEST naming `key`. */
WARN_UNUSED int json_need_str(const json_t *obj, const char *key, const char **ret, struct err *e);
WARN_UNUSED int json_need_obj(const json_t *obj, const char *key, json_t **ret, struct err *e);
WARN_UNUSED int json_need_list(const json_t *obj, const char *key, json_t **ret, struct err *e);

#ifdef __clang_analyzer__
#define json_parse(...) err_or_zero_(json_parse(__VA_ARGS__))
#define json_need_str(...) err_or_zero_(json_need_str(__VA_ARGS__))
#define json_need_obj(...) err_or_zero_(json_need_obj(__VA_ARGS__))
#define json_need_list(...) err_or_zero_(json_need_list(__VA_ARGS__))
#endif

#endif
