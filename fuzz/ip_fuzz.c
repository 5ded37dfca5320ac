/* SPDX-License-Identifier: Apache-2.0 */
/* What parses formats to text that parses to the same address. */
#include "fuzz.h"

#include "base/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = { (const char *)data, size };
	struct ip_addr a, b;
	char text[IP_STR_SIZE];

	if (ip_parse(s, &a) < 0)
		return 0;
	FUZZ_CHECK(a.family == IP_V4 || a.family == IP_V6);
	FUZZ_CHECK(ip_parse(str_of(ip_format(a, text)), &b) == 0);
	FUZZ_CHECK(ip_eq(a, b));
	return 0;
}
