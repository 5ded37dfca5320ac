/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/network/port_guard.h"

#include <string.h>

#include "base/json.h"
#include "hub/network/net.h"

#define LIMIT_MAX 10000000 /* connections; a second, for the rate */

static int bad(struct req *r, const char *name, const json_t *v, const char *allowed, struct err *e)
{
	return neutron_err(e, NEUTRON_INVALID_FOR, name, name,
			   arena_printf(r->arena, "'%.100s' is not %s", net_json_text(r, v), allowed));
}

static bool is_word(const json_t *v, const char *const *words)
{
	for (; json_is_string(v) && *words; words++)
		if (strcmp(json_string_value(v), *words) == 0)
			return true;
	return false;
}

static int check_list(struct req *r, json_t *row, const char *name, const char *const *words,
		      const char *allowed, struct err *e)
{
	const json_t *list = json_object_get(row, name), *v;
	size_t i;

	if (json_is_null(list))
		return json_object_set_new(row, name, json_array());
	json_array_foreach(list, i, v)
		if (!is_word(v, words))
			return bad(r, name, v, allowed, e);
	return 0;
}

static int check_limit(struct req *r, const char *key, const json_t *v, struct err *e)
{
	static const char *const numbers[] = { "half_open", "source_half_open", "source_rate" };

	if (strcmp(key, "syn_cookies") == 0)
		return json_is_boolean(v) ?
			       0 :
			       bad(r, "demarc:connection_limits", v, "a boolean for syn_cookies", e);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		if (strcmp(numbers[i], key) == 0)
			return json_is_integer(v) && json_integer_value(v) >= 0 &&
					       json_integer_value(v) <= LIMIT_MAX ?
				       0 :
				       bad(r, "demarc:connection_limits", v,
					   "a number from 0 to 10000000", e);
	return neutron_err(e, NEUTRON_INVALID_FOR, "demarc:connection_limits",
			   "demarc:connection_limits",
			   arena_printf(r->arena, "unknown key '%.64s'", key));
}

static int check_limits(struct req *r, json_t *row, struct err *e)
{
	static const char name[] = "demarc:connection_limits";
	json_t *limits = json_object_get(row, name), *v;
	const char *key;

	if (json_is_null(limits))
		return json_object_set_new(row, name, json_object());
	json_object_foreach(limits, key, v)
		if (check_limit(r, key, v, e) < 0)
			return -e->num;
	if (json_bool(limits, "syn_cookies", false) && !json_int(limits, "half_open", 0) &&
	    !json_int(limits, "source_half_open", 0))
		return bad(r, name, limits,
			   "complete: syn_cookies needs half_open or source_half_open", e);
	return 0;
}

int port_guard_check(struct req *r, json_t *row, struct err *e)
{
	static const char *const guards[] = { "ra", "dhcp", "source", NULL };
	static const char *const helpers[] = { "ftp", "tftp", "sip", NULL };

	if (check_list(r, row, "demarc:guards", guards, "one of ra, dhcp, source", e) < 0 ||
	    check_list(r, row, "demarc:helpers", helpers, "one of ftp, tftp, sip", e) < 0 ||
	    check_limits(r, row, e) < 0)
		return -e->num;
	return 0;
}
