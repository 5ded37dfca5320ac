/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_COMPUTE_INPUT_H
#define DEMARC_HUB_COMPUTE_INPUT_H

/*
 * Request bodies, read the way Nova's and Glance's schemas read them: every member is known, has the right type and
 * stays inside its bounds, or the request fails with a BAD_REQUEST that names it. Also the small helpers that build
 * answers. All values are borrowed from the body. Any thread.
 * Source: Nova API reference, "Faults"; nova/api/validation error texts as users know them.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "hub/rest.h"

/* A member that an object may have; ends with a NULL name. */
struct input_key {
	const char *name;
	uint16_t since; /* first microversion minor that takes it; 0: always */
};

/* BAD_REQUEST "Invalid input for field/attribute <field>. Value: <value>. <why>". value may be NULL. */
WARN_UNUSED int input_bad(struct err *e, const char *field, const json_t *value, const char *why, ...)
	PRINTF_LIKE(4, 5);
/* The object under `name` in the body, which must be an object. */
WARN_UNUSED int input_body(const struct req *r, const char *name, json_t **ret, struct err *e);
/* Refuses members that keys does not list, or that the microversion does not know yet. */
WARN_UNUSED int input_only(const json_t *obj, const char *path, const struct input_key *keys,
			   uint16_t micro, struct err *e);

/* Absent: *ret keeps its value and 0 is returned; there: 1. min and max in bytes. */
WARN_UNUSED int input_str(const json_t *obj, const char *key, size_t min, size_t max,
			  const char **ret, struct err *e);
/* Like input_str(), null means NULL. */
WARN_UNUSED int input_str_null(const json_t *obj, const char *key, size_t max, const char **ret,
			       struct err *e);
/* A number, or a string of decimal digits. */
WARN_UNUSED int input_int(const json_t *obj, const char *key, int64_t min, int64_t max,
			  int64_t *ret, struct err *e);
/* true, false, or one of Nova's words for them ("True", "1", "yes", "off" …). */
WARN_UNUSED int input_bool(const json_t *obj, const char *key, bool *ret, struct err *e);
/* Member must be there. */
WARN_UNUSED int input_need(const json_t *obj, const char *key, struct err *e);
/* A UUID in either form, written to the arena in the dashed form; BAD_REQUEST names the field. */
WARN_UNUSED int input_uuid(struct arena *a, const char *field, const char *text, const char **ret,
			   struct err *e);
bool input_is_uuid(const char *text);
/* name -> string pairs: keys 1..255 bytes, values up to max_value bytes, at most max_items. */
WARN_UNUSED int input_strings(const json_t *obj, const char *path, size_t max_value,
			      size_t max_items, struct err *e);
/* A list of at most max_items distinct strings of 1..max_len bytes without ',' and '/'. */
WARN_UNUSED int input_tags(const json_t *list, const char *path, size_t max_len, size_t max_items,
			   struct err *e);

/* "2026-01-31T12:34:56[.ffffff][Z|+00:00]" to microseconds since 1970. -EINVAL. */
WARN_UNUSED int input_time(const char *text, int64_t *ret_us);

/* Answers: NULL text becomes null. */
void put_str(json_t *obj, const char *key, const char *value);
void put_int(json_t *obj, const char *key, int64_t value);
void put_bool(json_t *obj, const char *key, bool value);
void put_time(json_t *obj, const char *key, int64_t us); /* "…Z" in seconds; 0: null */

#endif
