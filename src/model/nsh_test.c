/* SPDX-License-Identifier: Apache-2.0 */
#include "model/nsh.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/json.h"

static void a_fixed_context_is_16_bytes(void **state)
{
	uint8_t b[NSH_FIXED_SIZE];

	(void)state;
	assert_int_equal(nsh_fixed(STR("000102030405060708090a0b0c0d0eFF"), b), 0);
	assert_int_equal(b[1], 1);
	assert_int_equal(b[15], 255);
	assert_true(nsh_fixed(STR(""), b) < 0);
	assert_true(nsh_fixed(STR("000102030405060708090a0b0c0d0e"), b) < 0);
	assert_true(nsh_fixed(STR("000102030405060708090a0b0c0d0e0g"), b) < 0);
	assert_true(nsh_fixed(STR("000102030405060708090a0b0c0d0e0f00"), b) < 0);
}

static int tlvs(const char *text, uint8_t ret[static NSH_CONTEXT_MAX], struct err *e)
{
	CLEANUP(json_freep) json_t *list = json_loads(text, 0, NULL);

	assert_non_null(list);
	return nsh_tlvs(list, ret, e);
}

/* RFC 8300 figure 6: class, type, a bit of 0 and 7 of length; padded to 4 bytes, which the length does not count. */
static void tlvs_have_headers_and_padding(void **state)
{
	static const uint8_t want[] = { 0xff, 0xf6, 7, 5, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0xff, 0 };
	uint8_t b[NSH_CONTEXT_MAX];

	(void)state;
	assert_int_equal(tlvs("[]", b, NULL), 0);
	assert_int_equal(tlvs("[{\"class\": 65526, \"type\": 7, \"value\": \"0102030405\"}, "
			      "{\"class\": 0, \"type\": 255, \"value\": \"\"}]",
			      b, NULL),
			 sizeof(want));
	assert_memory_equal(b, want, sizeof(want));
}

/* 60 bytes of value, given once or with another TLV before. */
#define TEN "00112233445566778899"
#define SIXTY TEN TEN TEN TEN TEN TEN

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *text, *field, *says;
	} rows[] = {
		{ "[5]", "[0]", "give class" },
		{ "[{\"class\": 1, \"type\": 1}]", "[0]", "give class" },
		{ "[{\"class\": 1, \"type\": 1, \"value\": 5}]", "[0]", "give class" },
		{ "[{\"class\": 1, \"type\": 1, \"value\": \"\", \"x\": 1}]", "[0]", "give class" },
		{ "[{\"class\": 65535, \"type\": 1, \"value\": \"\"}]", "class", "65534" },
		{ "[{\"class\": \"1\", \"type\": 1, \"value\": \"\"}]", "class", "65534" },
		{ "[{\"class\": 1, \"type\": 256, \"value\": \"\"}]", "type", "255" },
		{ "[{\"class\": 1, \"type\": -1, \"value\": \"\"}]", "type", "255" },
		{ "[{\"class\": 1, \"type\": 1, \"value\": \"0\"}]", "value", "digits" },
		{ "[{\"class\": 1, \"type\": 1, \"value\": \"0g\"}]", "value", "digits" },
		{ "[{\"class\": 1, \"type\": 1, \"value\": \"" SIXTY "00\"}]", "value", "64 bytes" },
		{ "[{\"class\": 1, \"type\": 1, \"value\": \"\"}, {\"class\": 1, \"type\": 1, \"value\": \"" SIXTY
		  "\"}]",
		  "[1]", "64 bytes" },
	};
	uint8_t b[NSH_CONTEXT_MAX];

	(void)state;
	assert_int_equal(tlvs("[{\"class\": 1, \"type\": 1, \"value\": \"" SIXTY "\"}]", b, NULL), 64);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = { 0 };

		assert_true(tlvs(rows[i].text, b, &e) < 0);
		assert_int_equal(e.fault, FAULT_BAD_REQUEST);
		assert_non_null(strstr(e.field, rows[i].field));
		assert_non_null(strstr(e.msg, rows[i].says));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fixed_context_is_16_bytes),
		cmocka_unit_test(tlvs_have_headers_and_padding),
		cmocka_unit_test(what_is_wrong_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
