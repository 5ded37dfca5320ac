/* SPDX-License-Identifier: Apache-2.0 */
/* A parsed network survives text, contains its bounds, and not the address after its last. */
#include "fuzz.h"

#include "base/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = { (const char *)data, size };
	struct ip_addr next;
	struct ip_cidr c, d;
	char text[CIDR_STR_SIZE];

	if (cidr_parse(s, &c) < 0)
		return 0;
	FUZZ_CHECK(cidr_parse(str_of(cidr_format(c, text)), &d) == 0);
	FUZZ_CHECK(ip_eq(c.addr, d.addr) && c.prefix_len == d.prefix_len);
	FUZZ_CHECK(cidr_contains(c, c.addr) && cidr_overlaps(c, d));
	FUZZ_CHECK(cidr_contains(c, cidr_network(c)) && cidr_contains(c, cidr_last(c)));
	FUZZ_CHECK(ip_cmp(cidr_network(c), cidr_last(c)) <= 0);
	next = cidr_last(c);
	FUZZ_CHECK(!ip_add(&next, 1) || !cidr_contains(c, next));
	return 0;
}
