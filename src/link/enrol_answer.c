/* SPDX-License-Identifier: Apache-2.0 */
#include "link/enrol_answer.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "link/identity.h"
#include "link/url.h"

/* The message of an error body, whatever the envelope's name: {"error": {"message"}} or {"message"}. */
static const char *error_message(const json_t *o)
{
	const char *key, *text = json_str(o, "message");
	json_t *v;

	json_object_foreach((json_t *)o, key, v)
		if (!text && json_is_object(v))
			text = json_str(v, "message");
	return text ? text : "no reason was given";
}

int enrol_answer_parse(struct str answer, json_t **ret, struct err *e)
{
	CLEANUP(json_freep) json_t *o = NULL;
	bool is_http = str_starts(answer, STR("HTTP/1.1 ")),
	     ok = str_starts(answer, STR("HTTP/1.1 2"));
	const char *end = is_http ? memmem(answer.ptr, answer.len, "\r\n\r\n", 4) : NULL;
	struct str body = { 0 };

	if (!end)
		return err_set(e, FAULT_PROTOCOL, NULL, "the hub's answer is cut or not HTTP");
	body = (struct str){ end + 4, answer.len - (size_t)(end + 4 - answer.ptr) };
	if (json_parse(body, &o, NULL) < 0)
		return err_set(e, FAULT_PROTOCOL, NULL, "the hub's answer (%.12s) is not JSON",
			       answer.ptr);
	if (!ok)
		return err_set(e, FAULT_FORBIDDEN, "token", "the hub refuses (%.3s): %s",
			       answer.ptr + 9, error_message(o));
	*ret = MOVE_PTR(o);
	return 0;
}

json_t *enrol_answer_hubs(const json_t *answer, const char *url)
{
	json_t *list = json_array(), *given = json_object_get(answer, "hub_urls"), *v;
	size_t i;
	struct url u;

	json_array_append_new(list, json_string(url)); /* the one that just worked */
	json_array_foreach(given, i, v) {
		const char *text = json_string_value(v);
		if (text && strcmp(text, url) != 0 && url_parse(str_of(text), &u, NULL) == 0 &&
		    json_array_size(list) < IDENTITY_HUBS_MAX)
			json_array_append(list, v);
	}
	return list;
}
