/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include "model/sniff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sniffed s;

	sniff(data, size, &s);
	FUZZ_CHECK(!s.has_ports || !s.has_icmp);
	FUZZ_CHECK(s.src.family == s.dst.family);
	FUZZ_CHECK(!s.tcp_flags || (s.has_ports && s.proto == 6));
	FUZZ_CHECK(size >= 14 || !s.ethertype);
	FUZZ_CHECK(!s.has_ports || s.src.family);
	return 0;
}
