/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal and hexadecimal: a parsed number prints as the digits it came from. */
#include "fuzz.h"

#include <inttypes.h>

#include "base/str.h"

static struct str without_zeros(struct str s)
{
	while (s.len > 1 && s.ptr[0] == '0')
		s = (struct str){ s.ptr + 1, s.len - 1 };
	return s;
}

static void check_i64(struct str s)
{
	char text[32];
	int64_t v;

	if (str_to_i64(s, &v) < 0)
		return;
	if (s.ptr[0] == '-')
		s = (struct str){ s.ptr + 1, s.len - 1 };
	snprintf(text, sizeof(text), "%" PRId64, v);
	FUZZ_CHECK(str_eq_c(without_zeros(s), text[0] == '-' ? text + 1 : text));
}

static void check_hex(struct str s)
{
	uint8_t bytes[64];
	char text[2 * sizeof(bytes) + 1];

	if (s.len / 2 > sizeof(bytes) || str_from_hex(s, bytes, s.len / 2) < 0)
		return;
	hex_of(bytes, s.len / 2, text);
	FUZZ_CHECK(str_eq_nocase(s, str_of(text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = { (const char *)data, size };
	char text[32];
	uint64_t v;

	if (str_to_u64(s, UINT64_MAX, &v) == 0) {
		snprintf(text, sizeof(text), "%" PRIu64, v);
		FUZZ_CHECK(str_eq_c(without_zeros(s), text));
	}
	check_i64(s);
	check_hex(s);
	return 0;
}
