/* SPDX-License-Identifier: Apache-2.0 */
#include "base/yaml_tree.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"

static void gives(const char *yaml, const char *json)
{
	struct err e = { 0 };
	json_t *got CLEANUP(json_freep) = NULL;
	char *text CLEANUP(free_charp) = NULL;
	int rc = yaml_parse(str_of(yaml), &got, &e);

	if (rc < 0)
		fail_msg("%s: %s", yaml, e.msg);
	text = json_dumps(got, JSON_COMPACT | JSON_ENCODE_ANY);
	assert_string_equal(text, json);
}

static void refuses(const char *yaml, const char *why)
{
	struct err e = { 0 };
	json_t *got = NULL;

	assert_int_equal(yaml_parse(str_of(yaml), &got, &e), -EINVAL);
	if (!strstr(e.msg, why))
		fail_msg("%s: \"%s\" does not say \"%s\"", yaml, e.msg, why);
}

static void takes_what_configuration_uses(void **state)
{
	gives("", "null");
	gives("a: 1\nb: [x, 'true', true]\nc:\n  - d: ~\n",
	      "{\"a\":1,\"b\":[\"x\",\"true\",true],\"c\":[{\"d\":null}]}");
	gives("clouds:\n  demarc:\n    verify: no\n", "{\"clouds\":{\"demarc\":{\"verify\":false}}}");
	gives("a: 1.5\nb: 0x10\nc: -3", "{\"a\":\"1.5\",\"b\":\"0x10\",\"c\":-3}");
}

static void refuses_what_can_hurt(void **state)
{
	struct strbuf deep CLEANUP(strbuf_done) = { 0 };

	refuses("a: 1\na: 2\n", "line 2 column 1: the same key");
	refuses("a: &x [1]\nb: *x\n", "aliases");
	refuses("a: [1", "YAML line");
	refuses("[a]: 1", "key must be");
	for (int i = 0; i < 100; i++)
		strbuf_addc(&deep, '[');
	refuses(strbuf_cstr(&deep), "too deep");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_configuration_uses),
		cmocka_unit_test(refuses_what_can_hurt),
	};

	return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
