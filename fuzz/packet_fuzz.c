/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a packet's description, and any description into a frame of bounded size. */
#include "fuzz.h"

#include <string.h>

#include "model/frame.h"

static struct ip_addr address(const uint8_t *data)
{
	struct ip_addr a = { .family = data[0] % 3 == 0 ? 0 : data[0] % 3 == 1 ? IP_V4 : IP_V6 };

	memcpy(a.b, data + 1, a.family == IP_V6 ? 16 : 4);
	return a;
}

static void check_frame(const uint8_t *data)
{
	struct frame_spec f = {
		.src = address(data),
		.dst = address(data + 17),
		.arp = data[34] & 1,
		.proto = { data[35] },
		.sport = data[36],
		.dport = data[37],
		.tcp_flags = data[38],
		.payload_size = data[39] % 33,
	};
	uint8_t frame[FRAME_SIZE_MAX];
	int n = frame_build(&f, frame, NULL);

	FUZZ_CHECK(n <= FRAME_SIZE_MAX);
	FUZZ_CHECK(n < 0 || n >= 14);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = { (const char *)data, size };
	l4_proto proto, again;
	uint8_t flags;

	if (l4_proto_parse(s, &proto) == 0 && l4_proto_name(proto))
		FUZZ_CHECK(l4_proto_parse(str_of(l4_proto_name(proto)), &again) == 0 &&
			   again.num == proto.num);
	if (frame_tcp_flags(s, &flags) == 0)
		FUZZ_CHECK(size > 0);
	if (size >= 40)
		check_frame(data);
	return 0;
}
