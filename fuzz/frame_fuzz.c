/* SPDX-License-Identifier: Apache-2.0 */
/* The datapath's own parser, compiled for user space: a frame is parsed or refused, in bounds, and the tuple
 * of what it accepts reverses to itself. */
#include "fuzz.h"

#include <string.h>

#include "parse.h"
#include "tunnel_parse.h"

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

/* What RFC 791 and RFC 8200 forbid was not accepted: read again, in another way. */
static void check_ip(const uint8_t *ip, size_t size)
{
	if (ip[0] >> 4 == 4) {
		FUZZ_CHECK(size >= 20 && (ip[0] & 15) >= 5);
		FUZZ_CHECK((size_t)(ip[2] << 8 | ip[3]) <= size);
		FUZZ_CHECK((ip[2] << 8 | ip[3]) >= (ip[0] & 15) * 4);
		return;
	}
	FUZZ_CHECK(ip[0] >> 4 == 6 && size >= 40);
	FUZZ_CHECK((size_t)(ip[4] << 8 | ip[5]) + 40 <= size);
}

/* The frame inside begins after every header that was read, and ids fit their fields. */
static void check_tunnel(ctx_t *c, __u32 l3)
{
	struct tunnel_frame t = { 0 };
	int v = tunnel_outer(c, l3, &t);

	FUZZ_CHECK(v == 0 || v == 1);
	if (v)
		return;
	FUZZ_CHECK(t.l4 == l3 + (t.key.family == 4 ? 20 :
				 t.key.family == 6 ? 40 :
						     0) &&
		   t.l4 <= c->len);
	v = tunnel_inner(c, &t);
	FUZZ_CHECK(v == 0 || v == 1 || v == -DROP_TUNNEL);
	if (v)
		return;
	FUZZ_CHECK(t.key.type > TUNNEL_NONE && t.key.type < TUNNEL_N);
	FUZZ_CHECK(t.inner >= t.l4 + 4u && t.inner <= t.l4 + 16u + 256);
	if (t.key.type == TUNNEL_VXLAN_GPE)
		FUZZ_CHECK(t.path & 0xff);
	FUZZ_CHECK((t.key.type == TUNNEL_MPLS) == !t.key.family);
	if (t.key.type == TUNNEL_MPLS_UDP || t.key.type == TUNNEL_MPLS_GRE || t.key.type == TUNNEL_MPLS)
		FUZZ_CHECK(t.key.id <= 0xfffff && (c->data[t.inner - 2] & 1) && c->data[t.inner - 1]);
	else if (t.key.type != TUNNEL_GRE)
		FUZZ_CHECK(t.key.id <= 0xffffff);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ctx_t c = { data, (__u32)size };
	struct pkt p = { .key = { .ifindex = 7, .vlan = 42 } };
	int v;

	if (size > 65535)
		return 0;
	check_tunnel(&c, ETH_SIZE);
	check_tunnel(&c, ETH_SIZE + 4); /* XDP sees the tag */
	v = parse_packet(&c, &p);
	FUZZ_CHECK(v == STAGE_NEXT || v == -DROP_MALFORMED || v == -DROP_CT_INVALID ||
		   v == -DROP_FRAG_TINY || v == -DROP_ICMP_ERROR || v == -DROP_ROUTING_HEADER);
	if (v)
		return 0;
	FUZZ_CHECK(size >= ETH_SIZE && !(p.smac[0] & 1));
	if (p.kind != PKT_IP)
		return 0;
	check_ip(data + p.l3_off, size - p.l3_off);
	FUZZ_CHECK(p.l4_off > p.l3_off && p.l4_off <= size);
	FUZZ_CHECK(!(p.flow && p.multicast));
	check_key(&p.key);
	if (p.icmp == ICMP_ERROR && p.frag != FRAG_LATER)
		check_key(&p.inner);
	return 0;
}
