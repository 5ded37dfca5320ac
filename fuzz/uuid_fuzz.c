/* SPDX-License-Identifier: Apache-2.0 */
/* Both texts of a parsed UUID give it back. */
#include "fuzz.h"

#include "base/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = { (const char *)data, size };
	char text[UUID_STR_SIZE], hex[UUID_HEX_SIZE];
	struct uuid a, b;

	if (uuid_parse(s, &a) < 0)
		return 0;
	FUZZ_CHECK(uuid_parse(str_of(uuid_format(a, text)), &b) == 0 && uuid_eq(a, b));
	FUZZ_CHECK(uuid_parse(str_of(uuid_format_hex(a, hex)), &b) == 0 && uuid_eq(a, b));
	return 0;
}
