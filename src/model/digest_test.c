/* SPDX-License-Identifier: Apache-2.0 */
#include "model/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_empty(void **state)
{
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	digest_take(digest_new(), hex);
	assert_string_equal(hex, "");
	digest_take(NULL, hex);
	assert_string_equal(hex, "");
}

static void test_known_value(void **state)
{
	char hex[DIGEST_HEX_SIZE];
	struct digest *d = digest_new();

	(void)state;
	digest_add(d, "network", "a", 1);
	digest_add(d, "port", "b", 18446744073709551615ULL);
	digest_take(d, hex);
	/* printf 'network a 1\nport b 18446744073709551615\n' | sha256sum */
	assert_string_equal(hex, "ff2f4a5c106b15459d4c20d4bcdab36a51a6e35c848aac7c97120358777af42d");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_empty),
					    cmocka_unit_test(test_known_value) };

	return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
