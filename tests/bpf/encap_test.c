/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Tunnels: every type over both families, both ways, ECN, MTU, and headers that must be refused. With an argument, writes one frame
 * of each kind into that pcap file, for other dissectors to read.
 */

#include "tunnel_lab.h"

#include <linux/ethtool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"

#include "tunnel.h"

#define SHOT 2
#define REDIRECT 7
#define NET 1
#define NIC_NET 2

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 1, 1 }, mac_nic[6] = { 2, 0, 0, 0, 1, 2 };
static const uint8_t mac_far[6] = { 2, 0, 0, 0, 9, 1 }, bcast[6] = { 255, 255, 255, 255, 255, 255 };
static const ifindex tun = { DP_PSEUDO_PORT + 500 };

static struct lab lab;
static struct tport a, nic;
static struct tunnel_ends ends;

static int setup(void **state)
{
	lab_open(&lab);
	tport_make(&a, 101, mac_a, -1, "eth0");
	tport_make(&nic, 102, mac_nic, -1, "eth0");
	lab_port(&lab, &a, NET, 0, 0, NULL);
	lab_uplink(&lab, &nic, NIC_NET, 0);
	ends = (struct tunnel_ends){ .port = tun, .nic = { nic.host } };
	link_mac(nic.host, ends.near);
	memcpy(ends.far, mac_nic, 6);
	return 0;
}

static int teardown(void **state)
{
	OK(dp_tunnel_del(lab.dp, tun, &lab_err));
	assert_int_equal(lab_entries(&lab, "tunnels"), 0);
	link_del(101);
	link_del(102);
	tport_free(&a);
	tport_free(&nic);
	lab_close(&lab);
	return 0;
}

static struct dp_tunnel make(enum dp_tunnel_type type, bool v6)
{
	return tunnel_of(&ends, NET, type, v6);
}

static struct frame inner(bool v6, bool up, size_t payload, uint8_t tos)
{
	struct desc d = { .smac = up ? mac_a : mac_far,
			  .dmac = up ? mac_far : mac_a,
			  .proto = 17,
			  .sport = up ? 1000 : 80,
			  .dport = up ? 80 : 1000,
			  .payload = payload,
			  .seq = 7 };
	struct frame f;

	d.src = v6 ? (up ? "fd00::11" : "fd00::22") : (up ? "10.0.0.11" : "10.0.0.22");
	d.dst = v6 ? (up ? "fd00::22" : "fd00::11") : (up ? "10.0.0.22" : "10.0.0.11");
	frame_build(&f, &d);
	if (v6) {
		f.b[14] |= tos >> 4;
		f.b[15] |= (uint8_t)(tos << 4);
	} else {
		f.b[15] = tos;
		f.b[25] = (uint8_t)(f.b[25] - tos); /* as long as it does not borrow */
	}
	return f;
}

static unsigned int sum(const uint8_t *b, size_t n)
{
	unsigned int s = 0;

	for (size_t i = 0; i < n; i += 2)
		s += (unsigned int)(b[i] << 8 | b[i + 1]);
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

static void expect_outer(const struct frame *out, size_t head, bool v6, uint8_t tos)
{
	assert_memory_equal(out->b, mac_nic, 6);
	assert_memory_equal(out->b + 6, ends.near, 6);
	assert_true(out->len > head);
	if (out->b[12] == 0x88)
		return;
	if (v6) {
		assert_int_equal((out->b[14] << 8 | out->b[15]) >> 4 & 0xff, tos);
		assert_int_equal(out->b[18] << 8 | out->b[19], out->len - 54);
	} else {
		assert_int_equal(out->b[15], tos);
		assert_int_equal(out->b[16] << 8 | out->b[17], out->len - 14);
		assert_int_equal(sum(out->b + 14, 20), 0xffff);
	}
	if (out->b[v6 ? 20 : 23] == 17) {
		const uint8_t *udp = out->b + (v6 ? 54 : 34);

		assert_true(udp[0] >= 0xc0); /* RFC 6335: the dynamic range */
		assert_int_equal(udp[4] << 8 | udp[5], out->len - (v6 ? 54 : 34));
	}
}

/* Up and down again, twice: the first packet of the flow and a known one. */
static void round_trip(enum dp_tunnel_type type, bool v6, bool in6)
{
	size_t head = tunnel_head(type, v6);
	struct frame up = inner(in6, true, 40, 0x28), out, down = inner(in6, false, 10, 0), wire, got;

	for (int n = 0; n < 2; n++) {
		assert_true(lab_passes(&a, &up, &nic, &out));
		assert_int_equal(out.len, up.len + head);
		assert_memory_equal(out.b + head, up.b, up.len);
		expect_outer(&out, head, v6, 0x28);
		if (!n)
			lab_pcap(&out);
		wire = tunnel_answer(&ends, &out, head, &down, v6);
		assert_true(lab_passes(&nic, &wire, &a, &got));
		assert_int_equal(got.len, down.len);
		assert_memory_equal(got.b, down.b, down.len);
	}
}

static void test_types(void **state)
{
	COVERS(V4 | V6, F_VXLAN, F_NSH, F_GRE, F_NVGRE, F_GENEVE, F_MPLS_UDP, F_MPLS_GRE,
	       F_MPLS_ETH, F_OUTER, F_ECN);
	for (enum dp_tunnel_type type = DP_TUNNEL_VXLAN; type <= DP_TUNNEL_MPLS; type++)
		for (int v6 = 0; v6 < 2; v6++) {
			struct dp_tunnel t = make(type, v6);

			OK(dp_tunnel_set(lab.dp, &t, &lab_err));
			round_trip(type, v6, false);
			round_trip(type, v6, true);
			OK(dp_tunnel_del(lab.dp, tun, &lab_err));
		}
	assert_not_dropped(&lab);
}

/* ARP is no IP packet: it goes by copies, and comes back through small frames. */
static void test_broadcast(void **state)
{
	COVERS(V4 | V6, F_VXLAN, F_MULTICAST);

	struct frame arp, out, wire, got;

	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_tunnel t = make(DP_TUNNEL_VXLAN, v6);
		size_t head = tunnel_head(t.type, v6);

		OK(dp_tunnel_set(lab.dp, &t, &lab_err));
		frame_arp(&arp, mac_a, bcast, 1, mac_a, "10.0.0.11", "10.0.0.22");
		assert_true(lab_passes(&a, &arp, &nic, &out));
		assert_int_equal(out.len, arp.len + head);
		assert_memory_equal(out.b + head, arp.b, arp.len);
		frame_arp(&arp, mac_far, mac_a, 2, mac_far, "10.0.0.22", "10.0.0.11");
		wire = tunnel_answer(&ends, &out, head, &arp, v6);
		assert_true(lab_passes(&nic, &wire, &a, &got));
		assert_int_equal(got.len, arp.len);
		assert_memory_equal(got.b, arp.b, arp.len);
	}
	assert_not_dropped(&lab);
}

/* Who asks for a fixed IP from behind a tunnel is answered there, by the datapath itself. */
static void test_answers(void **state)
{
	COVERS(V4 | V6, F_NEIGHBOURS);

	static const enum dp_tunnel_type types[] = { DP_TUNNEL_VXLAN, DP_TUNNEL_GRE, DP_TUNNEL_MPLS };
	static const uint8_t group[6] = { 0x33, 0x33, 0xff, 0, 0, 0x11 };

	lab_port(&lab, &a, NET, 0, 0, "10.0.0.11/24", "fd00::11/64", NULL);
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		for (int v6 = 0; v6 < 2; v6++) {
			struct dp_tunnel t = make(types[i], v6);
			size_t head = tunnel_head(t.type, v6);
			struct frame up = inner(false, true, 40, 0), out, wire, ask, got;

			OK(dp_tunnel_set(lab.dp, &t, &lab_err));
			assert_true(lab_passes(&a, &up, &nic, &out));
			frame_arp(&ask, mac_far, bcast, 1, mac_far, "10.0.0.22", "10.0.0.11");
			wire = tunnel_answer(&ends, &out, head, &ask, v6);
			assert_true(lab_passes(&nic, &wire, &nic, &got));
			expect_outer(&got, head, v6, 0);
			frame_arp(&ask, mac_a, mac_far, 2, mac_a, "10.0.0.11", "10.0.0.22");
			memcpy(ask.b + 32, mac_far, 6); /* the target: who asked */
			assert_int_equal(got.len, head + ask.len);
			assert_memory_equal(got.b + head, ask.b, ask.len);
			frame_nd(&ask, mac_far, group, "fd00::22", "ff02::1:ff00:11", 135,
				 "fd00::11", mac_far);
			wire = tunnel_answer(&ends, &out, head, &ask, v6);
			assert_true(lab_passes(&nic, &wire, &nic, &got));
			assert_memory_equal(got.b + head, mac_far, 6);
			assert_memory_equal(got.b + head + 6, mac_a, 6);
			assert_int_equal(got.b[head + 54], 136);
			OK(dp_tunnel_del(lab.dp, tun, &lab_err));
		}
	assert_not_dropped(&lab);
}

/* Metadata of type 2: a longer header, and a service path that must fit. The first ones are the last frames in the file. */
static void nsh_of_type_2(bool v6)
{
	struct dp_tunnel t = make(DP_TUNNEL_VXLAN_GPE, v6);
	struct frame up = inner(v6, true, 40, 0), out, wire, down = inner(v6, false, 40, 0);
	size_t nsh = 14 + (v6 ? 40 : 20) + 16, head = nsh + 8 + 12;

	t.nsh_md_type = 2;
	t.nsh_context_len = sizeof(tunnel_tlv);
	memcpy(t.nsh_context, tunnel_tlv, sizeof(tunnel_tlv));
	OK(dp_tunnel_set(lab.dp, &t, &lab_err));
	assert_true(lab_passes(&a, &up, &nic, &out));
	lab_pcap(&out);
	assert_int_equal(out.len, up.len + head);
	assert_int_equal(out.b[nsh + 1] & 0x3f, 5); /* words */
	assert_int_equal(out.b[nsh + 2], 2);
	assert_int_equal(out.b[nsh + 3], 3);
	assert_int_equal(out.b[nsh + 6], 77);
	assert_int_equal(out.b[nsh + 7], 254);
	assert_memory_equal(out.b + nsh + 8, tunnel_tlv, sizeof(tunnel_tlv));
	wire = tunnel_answer(&ends, &out, head, &down, v6);
	assert_true(lab_passes(&nic, &wire, &a, NULL));
	wire.b[nsh + 7] = 253; /* another index, which is another place of the path */
	assert_int_equal(lab_run(&lab, nic.host, &wire, NULL), SHOT);
	assert_dropped(&lab, TUNNEL_UNKNOWN);
	wire.b[nsh + 7] = 0; /* RFC 8300 section 2.3: an index of 0 */
	assert_int_equal(lab_run(&lab, nic.host, &wire, NULL), SHOT);
	assert_dropped(&lab, TUNNEL);
	wire.b[nsh + 7] = 254;
	wire.b[nsh + 1] = (uint8_t)((wire.b[nsh + 1] & 0xc0) | 1); /* shorter than its own header */
	assert_int_equal(lab_run(&lab, nic.host, &wire, NULL), SHOT);
	assert_dropped(&lab, TUNNEL);
	t.nsh_context_len = sizeof(t.nsh_context); /* as much as there may be */
	memset(t.nsh_context + sizeof(tunnel_tlv), 0x5a, sizeof(t.nsh_context) - sizeof(tunnel_tlv));
	OK(dp_tunnel_set(lab.dp, &t, &lab_err));
	assert_true(lab_passes(&a, &up, &nic, &out));
	assert_memory_equal(out.b + nsh + 8, t.nsh_context, sizeof(t.nsh_context));
	wire = tunnel_answer(&ends, &out, nsh + 8 + sizeof(t.nsh_context), &down, v6);
	assert_true(lab_passes(&nic, &wire, &a, NULL));
	OK(dp_tunnel_del(lab.dp, tun, &lab_err));
}

static void test_nsh(void **state)
{
	COVERS(V4 | V6, F_NSH_2, F_OUTER);
	nsh_of_type_2(false);
	nsh_of_type_2(true);
	assert_not_dropped(&lab);
}

/* RFC 8300 section 2.3: a frame of another service path, of a flow that is known, is not the tunnel's. */
static void test_nsh_path(void **state)
{
	COVERS(V4, F_NSH);

	static const struct {
		uint32_t path_in;
		uint8_t index_in;
		uint8_t path, index; /* of the frame */
		bool passes;
	} row[] = {
		{ 0, 0, 77, 254, true },     { 0, 0, 78, 254, false },	 { 0, 0, 77, 255, false },
		{ 90, 3, 90, 3, true },	     { 90, 3, 77, 254, false },	 { 90, 3, 90, 254, false },
		{ 90, 254, 77, 254, false }, { 77, 253, 77, 253, true },
	};
	size_t head = tunnel_head(DP_TUNNEL_VXLAN_GPE, false), nsh = 14 + 20 + 16;

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct dp_tunnel t = make(DP_TUNNEL_VXLAN_GPE, false);
		struct frame up = inner(false, true, 40, 0), out, wire,
			     down = inner(false, false, 40, 0);

		t.nsh_path_in = row[i].path_in;
		t.nsh_index_in = row[i].index_in;
		OK(dp_tunnel_set(lab.dp, &t, &lab_err));
		assert_true(lab_passes(&a, &up, &nic, &out));
		assert_int_equal(out.b[nsh + 6], 77); /* what is sent is another matter */
		assert_int_equal(out.b[nsh + 7], 254);
		wire = tunnel_answer(&ends, &out, head, &down, false);
		wire.b[nsh + 6] = row[i].path;
		wire.b[nsh + 7] = row[i].index;
		if (row[i].passes) {
			assert_true(lab_passes(&nic, &wire, &a, NULL));
			assert_true(lab_passes(&nic, &wire, &a, NULL));
		} else {
			assert_int_equal(lab_run(&lab, nic.host, &wire, NULL), SHOT);
			assert_dropped(&lab, TUNNEL_UNKNOWN);
		}
	}
	assert_not_dropped(&lab);
}

/* OVN's option is critical, and in each of its frames: it is sent, it is taken, and no other one is. */
static void test_ovn(void **state)
{
	COVERS(V4 | V6, F_GENEVE_OVN, F_OUTER);

	static const uint8_t option[] = { 1, 2, 0x80, 1, 0x12, 0x34, 0xab, 0xcd };
	static const struct {
		size_t at; /* from Geneve's header on */
		uint8_t value;
	} bad[] = { { 0, 1 }, { 0, 3 }, { 8, 2 }, { 9, 3 }, { 10, 0x81 }, { 11, 0 }, { 11, 2 } };

	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_tunnel t = make(DP_TUNNEL_GENEVE, v6);
		size_t head = tunnel_head(t.type, v6) + sizeof(option), geneve = head - 16;
		struct frame up = inner(false, true, 40, 0), out, wire,
			     down = inner(false, false, 40, 0);

		t.ovn_in_port = 0x1234;
		t.ovn_out_port = 0xabcd;
		OK(dp_tunnel_set(lab.dp, &t, &lab_err));
		assert_true(lab_passes(&a, &up, &nic, &out));
		assert_int_equal(out.len, up.len + head);
		assert_memory_equal(out.b + geneve, "\x02\x40\x65\x58", 4);
		assert_memory_equal(out.b + geneve + 8, option, sizeof(option));
		assert_memory_equal(out.b + head, up.b, up.len);
		wire = tunnel_answer(&ends, &out, head, &down, v6);
		assert_true(lab_passes(&nic, &wire, &a, &out));
		assert_int_equal(out.len, down.len);
		assert_memory_equal(out.b, down.b, down.len);
		for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
			struct frame f = wire;

			f.b[geneve + bad[i].at] = bad[i].value;
			assert_int_equal(lab_run(&lab, nic.host, &f, NULL), SHOT);
			assert_dropped(&lab, TUNNEL);
		}
	}
	assert_not_dropped(&lab);
}

/*
 * A hypervisor of OVN hands a frame to the port of its key. So a port has a tunnel of its own beside the one for all others: with its key to its MAC, and
 * for what its key comes with.
 */
static void test_ovn_ports(void **state)
{
	COVERS(V4 | V6, F_GENEVE_OVN, F_OUTER);

	const ifindex own_port = { tun.num + 1 };
	const struct mac far = { { 2, 0, 0, 0, 9, 1 } };

	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_tunnel t = make(DP_TUNNEL_GENEVE, v6), own = t;
		size_t head = tunnel_head(t.type, v6) + 8, ports = head - 4;
		struct frame up = inner(v6, true, 40, 0), out, wire, down = inner(v6, false, 40, 0);

		t.ovn_in_port = own.ovn_in_port = 7;
		t.ovn_out_port = 0x8000;
		own.port = own_port;
		own.ovn_from = own.ovn_out_port = 9;
		own.no_flood = true;
		OK(dp_tunnel_set(lab.dp, &t, &lab_err));
		assert_true(lab_passes(&a, &up, &nic, &out));
		assert_memory_equal(out.b + ports, "\x00\x07\x80\x00", 4);
		OK(dp_tunnel_set(lab.dp, &own, &lab_err));
		OK(dp_fdb_set(lab.dp, NET, &far, own_port, &lab_err));
		assert_true(lab_passes(&a, &up, &nic, &out));
		assert_memory_equal(out.b + ports, "\x00\x07\x00\x09", 4);
		wire = tunnel_answer(&ends, &out, head, &down, v6);
		wire.b[ports + 1] = 9;
		assert_true(lab_passes(&nic, &wire, &a, &out));
		assert_memory_equal(out.b, down.b, down.len);
		wire.b[ports + 1] = 10; /* another one is not believed to have this MAC */
		down.b[14 + (v6 ? 40 : 20)] ^= 1;
		memcpy(wire.b + head, down.b, down.len);
		assert_int_equal(lab_run(&lab, nic.host, &wire, NULL), SHOT);
		assert_dropped(&lab, L2_LOOP);
		wire.b[head + 11] ^= 1; /* its own MAC */
		assert_true(lab_passes(&nic, &wire, &a, NULL));
		dp_fdb_del(lab.dp, NET, &far);
		OK(dp_tunnel_del(lab.dp, own_port, &lab_err));
		assert_int_equal(lab_entries(&lab, "tunnels"), 1);
		OK(dp_tunnel_del(lab.dp, tun, &lab_err));
	}
	assert_not_dropped(&lab);
}

/* Type of service, or traffic class. */
static unsigned int class_of(const struct frame *f)
{
	const uint8_t *b = f->b;

	return b[12] == 0x86 ? (unsigned int)(b[14] << 8 | b[15]) >> 4 & 0xff : b[15];
}

/* RFC 6040 figure 3: ECN is copied out. Figure 4: rows are what the packet inside has, columns what the outer header says. */
static void test_ecn(void **state)
{
	COVERS(V4 | V6, F_ECN, F_OUTER);

	enum { NOT_ECT, ECT_1, ECT_0, CE, DROPPED };
	static const uint8_t becomes[4][4] = {
		[NOT_ECT] = { NOT_ECT, NOT_ECT, NOT_ECT, DROPPED },
		[ECT_1] = { ECT_1, ECT_1, ECT_1, CE },
		[ECT_0] = { ECT_0, ECT_1, ECT_0, CE },
		[CE] = { CE, CE, CE, CE },
	};
	for (int i = 0; i < 2 * 2 * 4 * 4; i++) {
		bool v6 = i / 16 % 2, outer6 = i / 32;
		uint8_t ecn = i / 4 % 4, outer = i % 4, dscp = 0x48;
		size_t head = tunnel_head(DP_TUNNEL_GENEVE, outer6);
		struct dp_tunnel t = make(DP_TUNNEL_GENEVE, outer6);
		struct frame f = inner(v6, true, 40, ecn), out, wire, got;

		if (!(i % 32))
			OK(dp_tunnel_del(lab.dp, tun, &lab_err));
		OK(dp_tunnel_set(lab.dp, &t, &lab_err));
		assert_true(lab_passes(&a, &f, &nic, &out));
		assert_int_equal(class_of(&out), ecn);
		f = inner(v6, false, 40, dscp | ecn);
		wire = tunnel_answer(&ends, &out, head, &f, outer6);
		if (outer6)
			wire.b[15] = (uint8_t)((wire.b[15] & 0xf) | outer << 4);
		else
			wire.b[15] = outer; /* the outer checksum is not looked at */
		if (becomes[ecn][outer] == DROPPED) {
			assert_int_equal(lab_run(&lab, nic.host, &wire, NULL), SHOT);
			assert_dropped(&lab, ECN);
			continue;
		}
		assert_true(lab_passes(&nic, &wire, &a, &got));
		assert_int_equal(class_of(&got), dscp | becomes[ecn][outer]);
		if (!v6)
			assert_int_equal(sum(got.b + 14, 20), 0xffff);
	}
	assert_not_dropped(&lab);
}

/* RFC 1191, RFC 4443: who sends too much is told how much fits. */
static void too_big(bool outer6)
{
	struct dp_tunnel t = make(DP_TUNNEL_VXLAN, outer6);
	size_t room = outer6 ? 1430 : 1450;
	struct frame f, got;

	OK(dp_tunnel_set(lab.dp, &t, &lab_err));
	f = inner(false, true, room - 28, 0);
	assert_true(lab_passes(&a, &f, &nic, NULL));
	f = inner(true, true, room - 48, 0);
	assert_true(lab_passes(&a, &f, &nic, NULL));
	f = inner(false, true, room + 1 - 28, 0);
	f.b[20] = 0x40; /* do not fragment */
	f.b[24] = (uint8_t)(f.b[24] - 0x40);
	for (int i = 0; i < 1000 && !lab_passes(&a, &f, &a, &got); i++) /* one answer a jiffy */
		;
	assert_true(lab_dropped(&lab, DROP_MTU) >= 1);
	assert_memory_equal(got.b, mac_a, 6);
	assert_int_equal(got.b[34], 3);
	assert_int_equal(got.b[35], 4);
	assert_int_equal(got.b[40] << 8 | got.b[41], room);
	assert_int_equal(sum(got.b + 14, 20), 0xffff);
	assert_int_equal(sum(got.b + 34, got.len - 34), 0xffff);
	assert_memory_equal(got.b + 42, f.b + 14, 28);
	f = inner(true, true, room + 1 - 48, 0);
	for (int i = 0; i < 1000 && !lab_passes(&a, &f, &a, &got); i++)
		;
	assert_true(lab_dropped(&lab, DROP_MTU) >= 1);
	assert_int_equal(got.b[54], 2);
	assert_int_equal(got.b[60] << 8 | got.b[61], room);
	assert_true(frame_icmp6_ok(&got));
	OK(dp_tunnel_del(lab.dp, tun, &lab_err));
}

static void test_mtu(void **state)
{
	COVERS(V4 | V6, F_PMTUD, F_OUTER);
	too_big(false);
	too_big(true);
}

static uint16_t partial_mtu(const struct desc *d)
{
	bool v6 = strchr(d->src, ':') != NULL;
	size_t icmp = v6 ? 54 : 34, quote = v6 ? 96 : 28;
	struct frame f, got;

	frame_build(&f, d);
	if (!v6) {
		f.b[20] = 0x40;
		f.b[24] = (uint8_t)(f.b[24] - 0x40);
	}
	frame_unfinish(&f);
	do /* one answer a jiffy */
		tport_send_partial(&a, &f, (uint16_t)icmp, d->proto == 6 ? 16 : 6);
	while (!tport_recv(&a, &got, 100));
	assert_int_equal(got.len, icmp + 8 + quote);
	assert_memory_equal(got.b + icmp + 8, f.b + 14, quote);
	if (v6)
		assert_true(frame_icmp6_ok(&got));
	else
		assert_int_equal(sum(got.b + 34, got.len - 34), 0xffff);
	return (uint16_t)(got.b[icmp + 6] << 8 | got.b[icmp + 7]);
}

/* The sender left its checksum to the hardware; what finishes checksums on the way back leaves the answer alone. */
static void test_mtu_of_unfinished(void **state)
{
	struct dp_tunnel t = make(DP_TUNNEL_VXLAN, false);
	struct desc d = { .smac = mac_a, .dmac = mac_far, .sport = 1000, .dport = 80, .flags = TCP_ACK };

	OK(dp_tunnel_set(lab.dp, &t, &lab_err));
	lab_uplink(&lab, &a, NET, 0);
	net_offload("p101", ETHTOOL_STXCSUM, 0);
	for (int i = 0; i < 4; i++) {
		d.src = i & 1 ? "fd00::11" : "10.0.0.11";
		d.dst = i & 1 ? "fd00::22" : "10.0.0.22";
		d.proto = i & 2 ? 6 : 17;
		d.payload = 1451 - (i & 1 ? 40 : 20) - (i & 2 ? 20 : 8);
		assert_int_equal(partial_mtu(&d), 1450);
	}
}

/* ---- what routers on the way say: RFC 1191, RFC 8201 ---- */

/* An error about `sent`, which left with the outer header, of which `quote` bytes are repeated. */
static struct frame told(const struct frame *sent, bool v6, uint32_t mtu, size_t quote)
{
	struct desc d = { .smac = mac_nic,
			  .dmac = ends.near,
			  .src = v6 ? "2001:db8:9::1" : "198.51.100.9",
			  .dst = v6 ? "2001:db8::1" : "192.0.2.1",
			  .proto = v6 ? 58 : 1,
			  .type = v6 ? 2 : 3,
			  .code = v6 ? 0 : 4,
			  .payload = quote };
	size_t at = v6 ? 54 : 34;
	struct frame f;

	frame_build(&f, &d);
	memcpy(f.b + at + 8, sent->b + 14, quote);
	f.b[at + 4] = (uint8_t)(mtu >> 24);
	f.b[at + 5] = (uint8_t)(mtu >> 16);
	f.b[at + 6] = (uint8_t)(mtu >> 8);
	f.b[at + 7] = (uint8_t)mtu;
	return f;
}

/* One error is read in each jiffy. */
static void tell(const struct frame *f)
{
	struct frame in = *f;

	lab_next_jiffy();
	tport_send(&nic, &in);
}

/* A frame of the size that the tunnel takes, as it leaves; len 0: it does not. */
static struct frame sent_of(bool v6, size_t size)
{
	struct frame f = inner(v6, true, size - (v6 ? 48 : 28), 0), out = { .len = 0 };

	tport_drain(&nic);
	if (!lab_passes(&a, &f, &nic, &out))
		out.len = 0;
	(void)lab_dropped(&lab, DROP_MTU);
	return out;
}

static unsigned int encap_slot(struct encap_rec *ret)
{
	char path[128];
	unsigned int slot = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/v%d/encaps", lab.pin, ABI_VERSION);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	do
		assert_int_equal(bpf_map_lookup_elem(fd, &(unsigned int){ ++slot }, ret), 0);
	while (!ret->ifindex);
	close(fd);
	return slot;
}

static void encap_store(unsigned int slot, const struct encap_rec *e)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/v%d/encaps", lab.pin, ABI_VERSION);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_map_update_elem(fd, &slot, e, BPF_ANY), 0);
	close(fd);
}

static unsigned int tunnel_mtu(void)
{
	struct encap_rec e;

	encap_slot(&e);
	return e.mtu;
}

/* Every type of both families: what a router says lowers what the tunnel takes, the inside hears of it, and after ten minutes it is forgotten. */
static void test_told(void **state)
{
	COVERS(V4 | V6, F_UNDERLAY);
	for (enum dp_tunnel_type type = DP_TUNNEL_VXLAN; type < DP_TUNNEL_MPLS; type++)
		for (int v6 = 0; v6 < 2; v6++) {
			struct dp_tunnel t = make(type, v6);
			struct frame f, got, out;
			struct encap_rec e;
			unsigned int slot, full, low;

			OK(dp_tunnel_set(lab.dp, &t, &lab_err));
			slot = encap_slot(&e);
			full = e.mtu;
			low = 1400 - e.size;
			out = sent_of(false, full);
			assert_int_not_equal(out.len, 0);
			f = told(&out, v6, 1400, v6 ? 48 : 28); /* as little as RFC 792 has */
			tell(&f);
			assert_int_equal(tunnel_mtu(), low);
			assert_int_not_equal(sent_of(false, low).len, 0);
			f = inner(false, true, low + 1 - 28, 0);
			f.b[20] = 0x40;
			f.b[24] = (uint8_t)(f.b[24] - 0x40);
			lab_next_jiffy();
			assert_true(lab_passes(&a, &f, &a, &got));
			assert_dropped(&lab, MTU);
			assert_int_equal(got.b[40] << 8 | got.b[41], low);
			OK(dp_tunnel_set(lab.dp, &t, &lab_err)); /* the agent's passes leave it */
			assert_int_equal(tunnel_mtu(), low);
			encap_slot(&e);
			e.lowered -= 601 * 1000; /* jiffies: at most 1000 a second */
			encap_store(slot, &e);
			assert_int_not_equal(sent_of(false, full).len, 0);
			assert_int_equal(tunnel_mtu(), full);
			OK(dp_tunnel_del(lab.dp, tun, &lab_err));
		}
}

/* No lower than what every link carries; of a router that names no size, the next one of RFC 1191 section 7.1. */
static void test_told_too_little(void **state)
{
	COVERS(V4 | V6, F_UNDERLAY);
	static const struct {
		bool v6;
		uint32_t says, is;
	} v[] = { { false, 68, 576 }, { false, 0, 1492 }, { true, 576, 1280 }, { true, 0, 1280 } };

	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct dp_tunnel t = make(DP_TUNNEL_VXLAN, v[i].v6);
		struct frame out, f;
		struct encap_rec e;

		OK(dp_tunnel_set(lab.dp, &t, &lab_err));
		encap_slot(&e);
		out = sent_of(false, e.mtu);
		f = told(&out, v[i].v6, v[i].says, 64);
		tell(&f);
		assert_int_equal(tunnel_mtu(), v[i].is - e.size);
		OK(dp_tunnel_del(lab.dp, tun, &lab_err));
	}
}

/* An error that is about no packet of ours is nobody's; who sends it has to know more than the addresses. */
static void test_told_lies(void **state)
{
	COVERS(V4 | V6, F_UNDERLAY);
	static const struct {
		int at; /* from the quoted IP header on */
		uint8_t value4, value6;
	} wrong[] = {
		{ 0, 0x55, 0x50 },		 /* version */
		{ 9, 6, 0 },			 /* IPv4: TCP */
		{ 6, 0x20, 6 },			 /* a fragment; IPv6: TCP */
		{ 15, 77, 0 },			 /* another source */
		{ 19, 77, 0 },			 /* another far end */
		{ 23, 0, 77 },			 /* IPv6: another source */
		{ 39, 0, 77 },			 /* another far end */
		{ 2, 1, 0 },			 /* shorter than what it says would fit */
		{ 2, 0x20, 0 },			 /* longer than what we send */
		{ 4, 0, 1 },			 /* the same of IPv6 */
		{ 20, 0x10, 0 },		 /* a port that tunnels do not send from */
		{ 40, 0, 0x10 },   { 22, 1, 0 }, /* another destination port */
		{ 42, 0, 1 },	   { 26, 1, 0 }, /* with a checksum */
		{ 46, 0, 1 },
	};

	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_tunnel t = make(DP_TUNNEL_VXLAN, v6);
		struct frame out, f;
		struct encap_rec e;

		OK(dp_tunnel_set(lab.dp, &t, &lab_err));
		encap_slot(&e);
		out = sent_of(false, e.mtu);
		for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
			uint8_t value = v6 ? wrong[i].value6 : wrong[i].value4;

			if (!value)
				continue;
			f = told(&out, v6, 1400, 64);
			f.b[(v6 ? 62 : 42) + wrong[i].at] = value;
			tell(&f);
			if (tunnel_mtu() != e.mtu)
				fail_msg("IPv%d: byte %d was not looked at", v6 ? 6 : 4, wrong[i].at);
		}
		f = told(&out, v6, 1400, 64);
		f.b[v6 ? 54 : 35] = 1; /* another error */
		tell(&f);
		f = told(&out, v6, 1400, v6 ? 44 : 24); /* cut */
		tell(&f);
		f = told(&out, v6, 1400, 64);
		f.b[v6 ? 53 : 33] = 77; /* to an address that ends no tunnel */
		tell(&f);
		f = told(&out, v6, v6 ? 0x10578 : 1500, 64); /* it would fit */
		tell(&f);
		assert_int_equal(tunnel_mtu(), e.mtu);
		f = told(&out, v6, 1400, 64);
		tell(&f);
		assert_int_equal(tunnel_mtu(), 1400 - e.size);
		OK(dp_tunnel_del(lab.dp, tun, &lab_err));
	}
}

/* What goes through a tunnel over IPv6 is 20 bytes less. */
static void test_mss(void **state)
{
	COVERS(V4 | V6, F_MSS, F_OUTER);

	static const uint8_t mss[4] = { 2, 4, 0x05, 0xb4 }; /* 1460 */

	for (int i = 0; i < 4; i++) {
		bool v6 = i & 1, outer6 = i & 2;
		struct dp_tunnel t = make(DP_TUNNEL_VXLAN, outer6);
		struct desc d = { .smac = mac_a,
				  .dmac = mac_far,
				  .src = v6 ? "fd00::11" : "10.0.0.11",
				  .dst = v6 ? "fd00::22" : "10.0.0.22",
				  .proto = 6,
				  .sport = 5,
				  .dport = 80,
				  .flags = TCP_SYN,
				  .opts = mss,
				  .n_opts = sizeof(mss) };
		size_t head = tunnel_head(t.type, outer6), at = v6 ? 74 : 54;
		struct frame f, out;

		OK(dp_tunnel_set(lab.dp, &t, &lab_err));
		frame_build(&f, &d);
		assert_true(lab_passes(&a, &f, &nic, &out));
		memmove(out.b, out.b + head, out.len - head);
		out.len -= head;
		assert_memory_equal(out.b + at, mss, 2);
		assert_int_equal(out.b[at + 2] << 8 | out.b[at + 3],
				 (outer6 ? 1430 : 1450) - (v6 ? 60 : 40));
		assert_true(frame_sums_ok(&out));
		OK(dp_tunnel_del(lab.dp, tun, &lab_err));
	}
}

static void test_refused(void **state)
{
	COVERS(V4 | V6, F_TUNNEL_REFUSED, F_OUTER);
	for (size_t i = 0; i < n_tunnel_wrongs; i++)
		for (int v6 = 0; v6 < 2; v6++) {
			const struct tunnel_wrong *w = &tunnel_wrongs[i];
			struct dp_tunnel t = make(w->type, v6);
			struct frame up = inner(false, true, 40, 0), out, wire,
				     down = inner(false, false, 40, 0);

			OK(dp_tunnel_set(lab.dp, &t, &lab_err));
			assert_true(lab_passes(&a, &up, &nic, &out));
			wire = tunnel_answer(&ends, &out, tunnel_head(t.type, v6), &down, v6);
			tunnel_spoil(&wire, w, v6);
			if (lab_run(&lab, nic.host, &wire, NULL) != SHOT ||
			    lab_dropped(&lab, w->reason) != 1)
				fail_msg("%s (IPv%d): accepted, or dropped for another reason",
					 w->what, v6 ? 6 : 4);
			OK(dp_tunnel_del(lab.dp, tun, &lab_err));
		}
	assert_not_dropped(&lab);
}

/* A label stack without a bottom, truncated headers, an unknown far end, somebody else's address. */
static void test_strangers(void **state)
{
	COVERS(V4, F_TUNNEL_REFUSED);

	struct dp_tunnel t = make(DP_TUNNEL_MPLS_UDP, false);
	struct frame up = inner(false, true, 40, 0), out, wire, down = inner(false, false, 40, 0), cut;

	OK(dp_tunnel_set(lab.dp, &t, &lab_err));
	assert_true(lab_passes(&a, &up, &nic, &out));
	wire = tunnel_answer(&ends, &out, tunnel_head(t.type, false), &down, false);
	for (int i = 0; i < 8; i++)
		memcpy(wire.b + 42 + 4 * i, "\0\x3e\x80\x40", 4);
	assert_int_equal(lab_run(&lab, nic.host, &wire, NULL), SHOT);
	assert_dropped(&lab, TUNNEL);
	wire = tunnel_answer(&ends, &out, tunnel_head(t.type, false), &down, false);
	wire.b[29] = 77; /* source */
	assert_int_equal(lab_run(&lab, nic.host, &wire, NULL), SHOT);
	assert_dropped(&lab, TUNNEL_UNKNOWN);
	wire = tunnel_answer(&ends, &out, tunnel_head(t.type, false), &down, false);
	wire.b[33] = 77; /* destination: not ours, so it is the host's business */
	assert_int_not_equal(lab_run(&lab, nic.host, &wire, NULL), SHOT);
	wire = tunnel_answer(&ends, &out, tunnel_head(t.type, false), &down, false);
	for (size_t n = 43; n < tunnel_head(t.type, false) + 14; n++) {
		cut = wire;
		cut.len = n;
		cut.b[16] = 0;
		cut.b[17] = (uint8_t)(n - 14);
		assert_int_equal(lab_run(&lab, nic.host, &cut, NULL), SHOT);
	}
	assert_true(lab_dropped(&lab, DROP_TUNNEL) + lab_dropped(&lab, DROP_MALFORMED) > 10);
	/* A function that sends what looks like a tunnel's frame reaches nobody by it. */
	memcpy(wire.b + 6, mac_a, 6);
	(void)lab_run(&lab, a.host, &wire, NULL);
	assert_false(tport_recv(&a, &cut, 0));
	(void)lab_dropped(&lab, DROP_TUNNEL_UNKNOWN);
}

/* A tunnel in a tunnel is a payload like any other. */
static void test_nested(void **state)
{
	COVERS(V4 | V6, F_BAD_NESTED, F_OUTER);

	for (int outer6 = 0; outer6 < 2; outer6++) {
		struct dp_tunnel t = make(DP_TUNNEL_VXLAN, outer6);
		size_t head = tunnel_head(t.type, outer6);
		struct frame f = inner(outer6, true, 100, 0), out, nested, wire, got;

		OK(dp_tunnel_set(lab.dp, &t, &lab_err));
		assert_true(lab_passes(&a, &f, &nic, &out));
		nested = out;
		memcpy(nested.b, mac_a, 6);
		memcpy(nested.b + 6, mac_far, 6);
		wire = tunnel_answer(&ends, &out, head, &nested, outer6);
		assert_true(lab_passes(&nic, &wire, &a, &got));
		assert_int_equal(got.len, nested.len);
		assert_memory_equal(got.b, nested.b, nested.len);
		OK(dp_tunnel_del(lab.dp, tun, &lab_err));
	}
}

/* A changed header reaches flows that are under way; the agent may have been replaced in between. */
static void test_change(void **state)
{
	COVERS(V4, F_GENERATION);

	struct dp_tunnel t = make(DP_TUNNEL_VXLAN, false);
	struct frame f = inner(false, true, 40, 0), out;

	OK(dp_tunnel_set(lab.dp, &t, &lab_err));
	assert_true(lab_passes(&a, &f, &nic, &out));
	lab_reopen(&lab);
	t.dmac.b[5] = 0x77;
	OK(dp_tunnel_set(lab.dp, &t, &lab_err));
	assert_true(lab_passes(&a, &f, &nic, &out));
	assert_int_equal(out.b[5], 0x77);
	dp_mark(lab.dp);
	lab_port(&lab, &a, NET, 0, 0, NULL);
	lab_uplink(&lab, &nic, NIC_NET, 0);
	OK(dp_sweep(lab.dp, &lab_err));
	assert_int_equal(lab_entries(&lab, "tunnels"), 0);
	assert_int_equal(lab_entries(&lab, "vteps"), 0);
}

static bool leaves_by_tunnel(const struct frame *f)
{
	return lab_passes(&a, f, &nic, NULL);
}

/* MACs that are known before they were heard: sent to their tunnel, not claimed by anyone else, gone with the sweep. */
static void test_fixed_macs(void **state)
{
	struct dp_tunnel t = make(DP_TUNNEL_VXLAN, false), other = t;
	struct mac far, own, many = { { 1, 0, 0, 0, 0, 1 } };
	struct frame f = inner(false, true, 40, 0), out, from;

	memcpy(far.b, mac_far, 6);
	memcpy(own.b, mac_a, 6);
	other.port.num++;
	other.id++;
	OK(dp_tunnel_set(lab.dp, &t, &lab_err));
	OK(dp_tunnel_set(lab.dp, &other, &lab_err));
	OK(dp_fdb_set(lab.dp, NET, &far, t.port, &lab_err));
	assert_true(lab_passes(&a, &f, &nic, &out)); /* one copy, to the right one */
	assert_int_equal(out.b[14 + 20 + 8 + 6], 4242 & 0xff);
	assert_false(tport_recv(&nic, &out, 0));
	/* Heard from another tunnel: not believed. */
	OK(dp_fdb_set(lab.dp, NET, &far, other.port, &lab_err));
	assert_true(lab_passes(&a, &f, &nic, &out));
	from = inner(false, false, 40, 0);
	out = tunnel_answer(&ends, &out, tunnel_head(DP_TUNNEL_VXLAN, false), &from, false);
	assert_true(lab_passes(&nic, &out, &a, NULL));
	OK(dp_fdb_set(lab.dp, NET, &far, t.port, &lab_err));
	assert_false(lab_passes(&nic, &out, &a, NULL));
	assert_dropped(&lab, L2_LOOP);
	assert_true(dp_fdb_set(lab.dp, NET, &own, t.port, &lab_err) < 0);
	assert_int_equal(lab_err.fault, FAULT_CONFLICT);
	assert_true(dp_fdb_set(lab.dp, NET, &many, t.port, &lab_err) < 0);
	assert_string_equal(lab_err.field, "mac");
	assert_true(dp_fdb_set(lab.dp, NIC_NET, &far, t.port, &lab_err) < 0);
	assert_string_equal(lab_err.field, "port");
	OK(dp_tunnel_del(lab.dp, other.port, &lab_err));
	/* The sweep takes what was not named again. */
	dp_mark(lab.dp);
	lab_port(&lab, &a, NET, 0, 0, NULL);
	lab_uplink(&lab, &nic, NIC_NET, 0);
	OK(dp_tunnel_set(lab.dp, &t, &lab_err));
	OK(dp_fdb_set(lab.dp, NET, &far, t.port, &lab_err));
	OK(dp_sweep(lab.dp, &lab_err));
	assert_int_equal(lab_entries(&lab, "fdb"), 2); /* a's and this one */
	assert_true(leaves_by_tunnel(&f));
	dp_fdb_del(lab.dp, NET, &far);
	assert_int_equal(lab_entries(&lab, "fdb"), 1);
}

static void refuses(struct dp_tunnel t, const char *field)
{
	assert_true(dp_tunnel_set(lab.dp, &t, &lab_err) < 0);
	assert_string_equal(lab_err.field, field);
}

static void test_bad_tunnels(void **state)
{
	struct dp_tunnel t = make(DP_TUNNEL_VXLAN, false);

	t.id = 1 << 24;
	refuses(t, "id");
	t = make(DP_TUNNEL_MPLS_UDP, false);
	t.id = 3; /* implicit null */
	refuses(t, "id");
	t = make(DP_TUNNEL_VXLAN, false);
	t.remote = ip_of("2001:db8::2");
	refuses(t, "remote");
	t = make(DP_TUNNEL_VXLAN_GPE, false);
	t.nsh_index = 0;
	refuses(t, "nsh_index");
	t.nsh_index = 1;
	t.nsh_index_in = 1;
	refuses(t, "nsh_index_in");
	t.nsh_index_in = 0;
	t.nsh_md_type = 2;
	t.nsh_context_len = 6;
	refuses(t, "nsh_context");
	t.nsh_context_len = 68;
	refuses(t, "nsh_context");
	t = make(DP_TUNNEL_VXLAN, false);
	t.ovn_out_port = 1;
	refuses(t, "ovn_out_port");
	t = make(DP_TUNNEL_GENEVE, false);
	t.ovn_in_port = 0x8000;
	refuses(t, "ovn_in_port");
	t.ovn_in_port = 1;
	t.ovn_from = 1;
	refuses(t, "ovn_from");
	t.ovn_out_port = 1;
	t.ovn_from = 0x8000;
	refuses(t, "ovn_from");
	t = make(DP_TUNNEL_VXLAN, false);
	t.port = (ifindex){ 5 };
	refuses(t, "port");
	t = make(DP_TUNNEL_VXLAN, false);
	OK(dp_tunnel_set(lab.dp, &t, &lab_err));
	t.port.num++;
	refuses(t, "id");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_types, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broadcast, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nsh, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nsh_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ovn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ovn_ports, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ecn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mtu, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mtu_of_unfinished, setup, teardown),
		cmocka_unit_test_setup_teardown(test_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_told_too_little, setup, teardown),
		cmocka_unit_test_setup_teardown(test_told_lies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mss, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strangers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nested, setup, teardown),
		cmocka_unit_test_setup_teardown(test_change, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fixed_macs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_tunnels, setup, teardown),
	};

	return lab_main(argc, argv, tests, ARRAY_LEN(tests));
}
