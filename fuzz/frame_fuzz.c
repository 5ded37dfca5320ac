/* SPDX-License-Identifier: Apache-2.0 */
/* The datapath's own parser, compiled for user space: a frame is parsed or refused, in bounds, and the tuple
 * of what it accepts reverses to itself. */
#include "fuzz.h"

#include <string.h>

#include "parse.h"

static void check_key(const struct flow_key *k)
{
	struct flow_key there = { 0 }, back = { 0 };

	FUZZ_CHECK(k->family == 4 || k->family == 6);
	key_reverse(&there, k);
	key_reverse(&back, &there);
	back.ifindex = k->ifindex;
	back.vlan = k->vlan;
	FUZZ_CHECK(!memcmp(&back, k, sizeof(back)));
	for (int i = 2; k->family == 4 && i < 8; i++)
		FUZZ_CHECK(!k->addr[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ctx_t c = { data, (__u32)size };
	struct pkt p = { .key = { .ifindex = 7, .vlan = 42 } };
	int v;

	if (size > 65535)
		return 0;
	v = parse_packet(&c, &p);
	FUZZ_CHECK(v == STAGE_NEXT || v == -DROP_MALFORMED);
	if (v)
		return 0;
	FUZZ_CHECK(size >= ETH_SIZE && !(p.smac[0] & 1));
	if (p.kind != PKT_IP)
		return 0;
	FUZZ_CHECK(p.l4_off > p.l3_off && p.l4_off <= size);
	FUZZ_CHECK(!(p.flow && p.multicast));
	check_key(&p.key);
	if (p.icmp == ICMP_ERROR && p.frag != FRAG_LATER)
		check_key(&p.inner);
	return 0;
}
