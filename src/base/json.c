/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <string.h>

#ifdef __clang_analyzer__
#undef json_parse
#undef json_need_str
#undef json_need_obj
#undef json_need_list
#endif

void json_freep(json_t **j)
{
	json_decref(*j);
}

int json_parse(struct str text, json_t **ret, struct err *e)
{
	json_error_t je;
	json_t *j;

	if (text.len == 0)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "line 1, column 0: JSON text expected");
	if (memchr(text.ptr, '\0', text.len)) /* jansson's reader skips them */
		return err_set(e, FAULT_BAD_REQUEST, NULL, "NUL byte in a JSON text");
	j = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
	if (!j && json_error_code(&je) == json_error_out_of_memory)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a JSON text");
	if (!j)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "line %d, column %d: %s", je.line,
			       je.column, je.text);
	*ret = j;
	return 0;
}

char *json_text(const json_t *j)
{
	return json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
}

const char *json_str(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

int64_t json_int(const json_t *obj, const char *key, int64_t dflt)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_integer(v) ? json_integer_value(v) : dflt;
}

bool json_bool(const json_t *obj, const char *key, bool dflt)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_boolean(v) ? json_is_true(v) : dflt;
}

static int need(const json_t *obj, const char *key, json_type type, const char *type_name,
		json_t **ret, struct err *e)
{
	json_t *v = json_object_get(obj, key);

	if (!v)
		return err_set(e, FAULT_BAD_REQUEST, key, "'%s' is required", key);
	if (json_typeof(v) != type)
		return err_set(e, FAULT_BAD_REQUEST, key, "'%s' must be %s", key, type_name);
	*ret = v;
	return 0;
}

int json_need_str(const json_t *obj, const char *key, const char **ret, struct err *e)
{
	json_t *v = NULL;
	int r = need(obj, key, JSON_STRING, "a string", &v, e);

	if (r < 0)
		return r;
	*ret = json_string_value(v);
	return 0;
}

int json_need_obj(const json_t *obj, const char *key, json_t **ret, struct err *e)
{
	return need(obj, key, JSON_OBJECT, "an object", ret, e);
}

int json_need_list(const json_t *obj, const char *key, json_t **ret, struct err *e)
{
	return need(obj, key, JSON_ARRAY, "a list", ret, e);
}
