/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include "model/endpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = { (const char *)data, size };
	struct endpoint a, b;
	char ip[IP_STR_SIZE], text[IP_STR_SIZE + 16];

	if (endpoint_parse(s, 1, &a) < 0)
		return 0;
	FUZZ_CHECK(a.port != 0);
	(void)snprintf(text, sizeof(text), a.ip.family == IP_V6 ? "[%s]:%u" : "%s:%u",
		       ip_format(a.ip, ip), a.port);
	FUZZ_CHECK(endpoint_parse(str_of(text), 2, &b) == 0);
	FUZZ_CHECK(ip_eq(a.ip, b.ip) && a.port == b.port);
	return 0;
}
