/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/compute/input.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "base/types.h"

#define SHOWN_VALUE_MAX 80 /* bytes of a refused value that its error repeats */

int input_bad(struct err *e, const char *field, const json_t *value, const char *why, ...)
{
	char text[256], shown[SHOWN_VALUE_MAX + 4] = "";
	va_list ap;

	va_start(ap, why);
	vsnprintf(text, sizeof(text), why, ap);
	va_end(ap);
	if (!value)
		return err_set(e, FAULT_BAD_REQUEST, field,
			       "Invalid input for field/attribute %s. %s", field, text);
	CLEANUP(free_charp) char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
	if (dump && str_copy(shown, SHOWN_VALUE_MAX, str_of(dump)) < 0)
		memcpy(shown + strlen(shown), "...", 4);
	return err_set(e, FAULT_BAD_REQUEST, field,
		       "Invalid input for field/attribute %s. Value: %s. %s", field, shown, text);
}

int input_body(const struct req *r, const char *name, json_t **ret, struct err *e)
{
	json_t *obj;

	if (!json_is_object(r->body))
		return err_set(e, FAULT_BAD_REQUEST, NULL, "The request body must be a JSON object.");
	obj = json_object_get(r->body, name);
	if (!obj)
		return err_set(e, FAULT_BAD_REQUEST, name,
			       "Invalid input for field/attribute body. '%s' is a required property",
			       name);
	if (!json_is_object(obj))
		return input_bad(e, name, obj, "It is not of type 'object'");
	*ret = obj;
	return 0;
}

static bool key_known(const struct input_key *keys, const char *name, uint16_t micro)
{
	for (const struct input_key *k = keys; k->name; k++)
		if (strcmp(k->name, name) == 0)
			return k->since <= micro;
	return false;
}

int input_only(const json_t *obj, const char *path, const struct input_key *keys, uint16_t micro,
	       struct err *e)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)obj, name, value) {
		if (key_known(keys, name, micro))
			continue;
		return err_set(e, FAULT_BAD_REQUEST, name,
			       "Invalid input for field/attribute %s. Additional properties are not "
			       "allowed ('%.64s' was unexpected)",
			       path, name);
	}
	return 0;
}

int input_need(const json_t *obj, const char *key, struct err *e)
{
	if (json_object_get(obj, key))
		return 0;
	return err_set(e, FAULT_BAD_REQUEST, key, "'%s' is a required property", key);
}

static int str_bounds(const json_t *v, const char *key, size_t min, size_t max, struct err *e)
{
	size_t len = json_string_length(v);

	if (len < min)
		return input_bad(e, key, v, "The value is too short");
	if (len > max)
		return input_bad(e, key, v, "The value is too long (at most %zu bytes)", max);
	if (!str_is_utf8((struct str){ json_string_value(v), len }))
		return input_bad(e, key, NULL, "The value is not valid UTF-8 text");
	return 1;
}

int input_str(const json_t *obj, const char *key, size_t min, size_t max, const char **ret,
	      struct err *e)
{
	const json_t *v = json_object_get(obj, key);
	int rc;

	if (!v)
		return 0;
	if (!json_is_string(v))
		return input_bad(e, key, v, "It is not of type 'string'");
	rc = str_bounds(v, key, min, max, e);
	if (rc > 0)
		*ret = json_string_value(v);
	return rc;
}

int input_str_null(const json_t *obj, const char *key, size_t max, const char **ret, struct err *e)
{
	if (json_is_null(json_object_get(obj, key))) {
		*ret = NULL;
		return 1;
	}
	return input_str(obj, key, 0, max, ret, e);
}

int input_int(const json_t *obj, const char *key, int64_t min, int64_t max, int64_t *ret, struct err *e)
{
	const json_t *v = json_object_get(obj, key);
	int64_t n;

	if (!v)
		return 0;
	if (json_is_integer(v))
		n = json_integer_value(v);
	else if (!json_is_string(v) || str_to_i64(str_of(json_string_value(v)), &n) < 0)
		return input_bad(e, key, v, "It is not of type 'integer'");
	if (n < min)
		return input_bad(e, key, v, "It is less than the minimum of %" PRId64, min);
	if (n > max)
		return input_bad(e, key, v, "It is greater than the maximum of %" PRId64, max);
	*ret = n;
	return 1;
}

static int bool_word(const char *s)
{
	static const char *const words[2][10] = {
		{ "false", "False", "FALSE", "0", "off", "OFF", "no", "No", "NO", "Off" },
		{ "true", "True", "TRUE", "1", "on", "ON", "yes", "Yes", "YES", "On" },
	};

	for (int v = 0; v < 2; v++)
		for (size_t i = 0; i < ARRAY_LEN(words[v]); i++)
			if (strcmp(words[v][i], s) == 0)
				return v;
	return -EINVAL;
}

int input_bool(const json_t *obj, const char *key, bool *ret, struct err *e)
{
	const json_t *v = json_object_get(obj, key);
	int word;

	if (!v)
		return 0;
	if (json_is_boolean(v)) {
		*ret = json_is_true(v);
		return 1;
	}
	word = json_is_string(v) ? bool_word(json_string_value(v)) : -EINVAL;
	if (word < 0)
		return input_bad(e, key, v, "It is not of type 'boolean'");
	*ret = word;
	return 1;
}

bool input_is_uuid(const char *text)
{
	struct uuid u;

	return text && uuid_parse(str_of(text), &u) == 0;
}

int input_uuid(struct arena *a, const char *field, const char *text, const char **ret, struct err *e)
{
	char buf[UUID_STR_SIZE];
	struct uuid u;

	if (uuid_parse(str_of(text), &u) < 0)
		return err_set(e, FAULT_BAD_REQUEST, field,
			       "Invalid input for field/attribute %s. Value: %.64s. '%.64s' is not a "
			       "'uuid'",
			       field, text, text);
	*ret = arena_strdup(a, uuid_format(u, buf));
	return *ret ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
}

int input_strings(const json_t *obj, const char *path, size_t max_value, size_t max_items, struct err *e)
{
	const char *name;
	json_t *value;

	if (!json_is_object(obj))
		return input_bad(e, path, obj, "It is not of type 'object'");
	if (json_object_size(obj) > max_items)
		return err_set(e, FAULT_FORBIDDEN, path, "Maximum number of %s items exceeds %zu",
			       path, max_items);
	json_object_foreach((json_t *)obj, name, value) {
		if (!*name || strlen(name) > 255)
			return input_bad(e, path, NULL, "A key must have 1 to 255 bytes");
		if (!json_is_string(value))
			return input_bad(e, name, value, "It is not of type 'string'");
		if (str_bounds(value, name, 0, max_value, e) < 0)
			return err_in(e, path);
	}
	return 0;
}

int input_tags(const json_t *list, const char *path, size_t max_len, size_t max_items, struct err *e)
{
	const json_t *tag;
	size_t i;

	if (!json_is_array(list))
		return input_bad(e, path, list, "It is not of type 'array'");
	if (json_array_size(list) > max_items)
		return err_set(e, FAULT_BAD_REQUEST, path,
			       "The number of tags exceeded the per-resource limit %zu", max_items);
	json_array_foreach(list, i, tag) {
		if (!json_is_string(tag))
			return input_bad(e, path, tag, "It is not of type 'string'");
		if (str_bounds(tag, path, 1, max_len, e) < 0)
			return -e->num;
		if (strpbrk(json_string_value(tag), ",/"))
			return input_bad(e, path, tag, "A tag may not hold ',' or '/'");
		for (size_t k = 0; k < i; k++)
			if (json_equal(json_array_get(list, k), tag))
				return input_bad(e, path, tag, "It has non-unique elements");
	}
	return 0;
}

int input_time(const char *text, int64_t *ret_us)
{
	struct tm tm = { 0 };
	const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t us = 0, scale = 100000;

	if (!p) {
		memset(&tm, 0, sizeof(tm));
		p = strptime(text, "%Y-%m-%d", &tm);
	}
	if (!p)
		return -EINVAL;
	if (*p == '.')
		for (p++; *p >= '0' && *p <= '9'; p++, scale /= 10)
			us += (*p - '0') * scale;
	if (*p && strcmp(p, "Z") != 0 && strcmp(p, "+00:00") != 0 && strcmp(p, " 00:00") != 0)
		return -EINVAL;
	*ret_us = (int64_t)timegm(&tm) * 1000000 + us;
	return 0;
}

void put_str(json_t *obj, const char *key, const char *value)
{
	json_object_set_new(obj, key, value ? json_string(value) : json_null());
}

void put_int(json_t *obj, const char *key, int64_t value)
{
	json_object_set_new(obj, key, json_integer(value));
}

void put_bool(json_t *obj, const char *key, bool value)
{
	json_object_set_new(obj, key, json_boolean(value));
}

void put_time(json_t *obj, const char *key, int64_t us)
{
	char buf[TIME_STR_SIZE];

	put_str(obj, key, us ? time_format_s(us, buf) : NULL);
}
