/* SPDX-License-Identifier: Apache-2.0 */
#include "model/tcp_flags.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void flags_and_their_absence(void **state)
{
	static const struct {
		const char *text;
		uint8_t mask, value;
	} rows[] = {
		{ "syn", 0x02, 0x02 },
		{ "syn,!ack", 0x12, 0x02 },
		{ "!FIN,!syn,!rst", 0x07, 0 },
		{ "fin,syn,rst,psh,ack,urg,ece,cwr", 0xff, 0xff },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t mask = 0, value = 0;

		assert_int_equal(tcp_flags_parse(str_of(rows[i].text), &mask, &value), 0);
		assert_int_equal(mask, rows[i].mask);
		assert_int_equal(value, rows[i].value);
	}
}

static void what_is_no_condition(void **state)
{
	static const char *const rows[] = { "",		",",	  "syn,",    ",syn",	"syn,syn",
					    "syn,!syn", "sy",	  "syn ack", "!",	"!!syn",
					    "syn, ack", "synfin", "0x12",    "syn,,ack" };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t mask = 7, value = 7;

		assert_int_equal(tcp_flags_parse(str_of(rows[i]), &mask, &value), -EINVAL);
		assert_int_equal(mask, 7);
		assert_int_equal(value, 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_and_their_absence),
		cmocka_unit_test(what_is_no_condition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
