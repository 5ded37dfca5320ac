/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include "base/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = { (const char *)data, size };
	struct mac a, b;
	char text[MAC_STR_SIZE];

	if (mac_parse(s, &a) < 0)
		return 0;
	FUZZ_CHECK(mac_parse(str_of(mac_format(a, text)), &b) == 0);
	FUZZ_CHECK(mac_eq(a, b));
	FUZZ_CHECK(!mac_is_zero(a) || !mac_is_multicast(a));
	return 0;
}
