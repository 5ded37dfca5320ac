/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/compute/probe.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "hub/compute/input.h"

static int check_probe(const char *key, const json_t *value, struct err *e)
{
	const char *text = json_string_value(value);
	struct str rest, kind;
	uint64_t port;

	if (!text)
		return input_bad(e, key, value, "It is not of type 'string'");
	kind = str_cut(str_of(text), ':', &rest);
	if (strcmp(text, "process") == 0)
		return 0;
	if (str_eq_c(kind, "tcp") && str_to_u64(rest, 65535, &port) == 0 && port > 0)
		return 0;
	if (str_eq_c(kind, "exec") && str_trim(rest).len > 0)
		return 0;
	return input_bad(e, key, value,
			 "A probe is 'process', 'tcp:PORT' with a port from 1 to 65535, or "
			 "'exec:COMMAND'");
}

static int check_restart(const char *key, const json_t *value, struct err *e)
{
	static const char *const policies[] = { "always", "on-failure", "never" };
	const char *text = json_string_value(value);

	for (size_t i = 0; text && i < ARRAY_LEN(policies); i++)
		if (strcmp(text, policies[i]) == 0)
			return 0;
	return input_bad(e, key, value, "A restart policy is 'always', 'on-failure' or 'never'");
}

static int check_mirror(const char *key, const json_t *value, struct err *e)
{
	struct uuid id;

	if (json_is_string(value) && uuid_parse(str_of(json_string_value(value)), &id) == 0)
		return 0;
	return input_bad(e, key, value, "The target of a native mirror is the id of a port");
}

int probe_check(const json_t *props, struct err *e)
{
	static const struct {
		const char *key;
		int (*check)(const char *key, const json_t *value, struct err *e);
	} rules[] = {
		{ "demarc:probe", check_probe },      { "demarc_probe", check_probe },
		{ "demarc:restart", check_restart },  { "demarc_restart", check_restart },
		{ "demarc:mirror_to", check_mirror },
	};

	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		const json_t *v = json_object_get(props, rules[i].key);

		if (v && rules[i].check(rules[i].key, v, e) < 0)
			return -EINVAL;
	}
	return 0;
}
