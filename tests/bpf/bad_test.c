/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Frames that nobody should send, each test with the text that decides. A frame is tried when its flow is unknown and again when a
 * record exists, because the fast path reads less. Elsewhere: fragments (frag_test.c), TCP flags (ct_test.c), stacks of tags
 * (vlan_test.c), headers of tunnels and a tunnel in a tunnel (encap_test.c).
 */

#include "lab.h"

#include <linux/pkt_cls.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 7, 0xa }, mac_b[6] = { 2, 0, 0, 0, 7, 0xb };
#define SG_UDP 71
#define SG_ANY 72
#define SPORT 1000
#define DPORT 2000
#define ETH 14

static struct lab lab;
static struct tport a, b;
static bool v6;

static int setup(void **state)
{
	static const struct dp_sg_rule udp[] = { { .egress = true, .family = IP_V4, .proto = 17 },
						 { .egress = true, .family = IP_V6, .proto = 17 },
						 { .egress = true, .family = IP_V4, .proto = 6 },
						 { .egress = true, .family = IP_V6, .proto = 6 },
						 { .egress = true, .family = IP_V4, .proto = 1 },
						 { .egress = true, .family = IP_V6, .proto = 58 } };

	lab_open(&lab);
	tport_make(&a, 65701, mac_a, -1, "eth0");
	tport_make(&b, 65702, mac_b, -1, "eth0");
	OK(dp_sg_set(lab.dp, SG_UDP, udp, ARRAY_LEN(udp), NULL, 0, &lab_err));
	lab_port(&lab, &a, 1, DP_PORT_SECURITY, SG_UDP, "10.0.0.1/24", "fd00::1/64", NULL);
	lab_port(&lab, &b, 1, 0, 0, "10.0.0.2/24", "fd00::2/64", NULL);
	v6 = false;
	return 0;
}

static int teardown(void **state)
{
	link_del(65701);
	link_del(65702);
	tport_free(&a);
	tport_free(&b);
	lab_close(&lab);
	return 0;
}

static struct frame frame_of(uint8_t proto, size_t payload)
{
	struct desc d = { .smac = mac_a,
			  .dmac = mac_b,
			  .src = v6 ? "fd00::1" : "10.0.0.1",
			  .dst = v6 ? "fd00::2" : "10.0.0.2",
			  .proto = proto,
			  .sport = SPORT,
			  .dport = DPORT,
			  .flags = TCP_SYN,
			  .tcp_win = 1000,
			  .type = v6 ? 128 : 8,
			  .payload = payload };
	struct frame f;

	frame_build(&f, &d);
	return f;
}

static size_t l4(void)
{
	return v6 ? 54 : 34;
}

static void passes(const struct frame *f)
{
	struct frame out;

	assert_int_equal(lab_run(&lab, a.host, f, &out), TC_ACT_REDIRECT);
	assert_int_equal(out.len, f->len);
	assert_memory_equal(out.b, f->b, f->len);
	lab_no_drops(&lab);
}

/* BPF_PROG_TEST_RUN takes no IP frame without a whole header; such a one is sent, and the counter tells. */
static int verdict_of(const struct frame *f)
{
	if (f->len >= l4())
		return lab_run(&lab, a.host, f, NULL);
	tport_send(&a, f);
	return TC_ACT_SHOT;
}

#define refused(f, reason) refused_for(f, DROP_##reason, __LINE__)
static void refused_for(const struct frame *f, enum drop_reason reason, int line)
{
	int verdict = verdict_of(f);
	uint64_t n = lab_dropped(&lab, reason);

	if (verdict == TC_ACT_SHOT && n == 1)
		return;
	for (int i = 0; i < DROP_N; i++)
		if (lab_dropped(&lab, (enum drop_reason)i))
			print_error("dropped: %s\n", dp_drop_reason_name((size_t)i));
	fail_msg("line %d, IPv%d, %zu bytes: verdict %d, not dropped as %s", line, v6 ? 6 : 4,
		 f->len, verdict, dp_drop_reason_name(reason));
}

/* Twice: as a first packet, and as one of a flow that `good` has opened. */
#define never_passes(bad, good)                                                                    \
	do {                                                                                       \
		refused(bad, MALFORMED);                                                           \
		passes(good);                                                                      \
		refused(bad, MALFORMED);                                                           \
	} while (0)

#define BOTH_FAMILIES for (int family = 0; v6 = family == 1, family < 2; family++)

/* The header says which version it is, whatever the ethertype says: RFC 791 section 3.1, RFC 8200 section 3. */
static void test_ip_version(void **state)
{
	COVERS(V4 | V6, F_BAD_HEADERS);
	BOTH_FAMILIES
	{
		struct frame good = frame_of(17, 30), bad = good;

		for (int version = 0; version < 16; version++) {
			if (version == (v6 ? 6 : 4))
				continue;
			bad.b[ETH] = (uint8_t)(version << 4 | (good.b[ETH] & 15));
			never_passes(&bad, &good);
		}
	}
}

/* RFC 791 section 3.1: at least five words, and within the packet. */
static void test_ipv4_header_length(void **state)
{
	COVERS(V4, F_BAD_HEADERS, F_BAD_EXTENSIONS);

	struct frame good = frame_of(17, 2), bad = good;

	for (uint8_t words = 0; words < 16; words++) {
		bad.b[ETH] = 0x40 | words;
		if (words < 5 || words > 7) /* with 6 and 7, what is read as the UDP header fits */
			never_passes(&bad, &good);
	}
}

static void put_length(struct frame *f, size_t n)
{
	f->b[v6 ? 18 : 16] = (uint8_t)(n >> 8);
	f->b[v6 ? 19 : 17] = (uint8_t)n;
}

/* RFC 791 section 3.1, RFC 8200 section 3; what follows the packet is padding: RFC 894, RFC 2464 section 3. */
static void test_ip_length(void **state)
{
	COVERS(V4 | V6, F_BAD_HEADERS);

	static const uint8_t protos[] = { 17, 6 };

	BOTH_FAMILIES for (size_t i = 0; i < sizeof(protos); i++)
	{
		struct frame good = frame_of(protos[i], 30), bad = good;
		size_t right = good.len - ETH - (v6 ? 40 : 0), least = right - 30;

		for (size_t n = 0; n < 0x10000; n += n < 200 ? 1 : 997) {
			put_length(&bad, n);
			if (n > right || n < least)
				refused(&bad, MALFORMED);
		}
		passes(&good);
		for (size_t n = 0; n < 0x10000; n += n < 200 ? 1 : 997) {
			put_length(&bad, n);
			if (n > right || n < least)
				refused(&bad, MALFORMED);
		}
		bad = good;
		bad.len += 10;
		passes(&bad);
	}
}

/* Every header, cut at every byte. RFC 1122 section 3.2.1: what is not whole is silently discarded. */
static void test_truncated(void **state)
{
	COVERS(V4 | V6, F_BAD_HEADERS);

	static const uint8_t protos[] = { 17, 6, 1 };

	BOTH_FAMILIES for (size_t i = 0; i < sizeof(protos); i++)
	{
		struct frame good = frame_of(v6 && protos[i] == 1 ? 58 : protos[i], 12), cut = good;

		for (int known = 0; known < 2; known++) {
			for (cut.len = ETH + 1; cut.len < good.len; cut.len++)
				refused(&cut, MALFORMED);
			passes(&good);
		}
		/* The IP header is right, and there is too little behind it. */
		for (size_t n = 0; n < (protos[i] == 6 ? 20 : 8); n++) {
			cut.len = l4() + n;
			put_length(&cut, cut.len - ETH - (v6 ? 40 : 0));
			refused(&cut, MALFORMED);
		}
	}
}

/* RFC 768: the header and the data, within the packet; RFC 2675 section 4: 0 is of a jumbogram. */
static void test_udp_length(void **state)
{
	COVERS(V4 | V6, F_BAD_HEADERS);
	BOTH_FAMILIES
	{
		struct frame good = frame_of(17, 30), bad = good;

		for (unsigned int n = 0; n < 0x10000; n += n < 60 ? 1 : 997) {
			bad.b[l4() + 4] = (uint8_t)(n >> 8);
			bad.b[l4() + 5] = (uint8_t)n;
			if (n < 8 || n > 38)
				never_passes(&bad, &good);
			else
				passes(&bad); /* what follows is not the datagram's: RFC 1122 section 4.1 does not forbid it */
		}
	}
}

/* RFC 9293 section 3.1: the data offset is at least five words, and within the segment. */
static void test_tcp_offset(void **state)
{
	COVERS(V4 | V6, F_BAD_HEADERS);
	BOTH_FAMILIES
	{
		struct frame good = frame_of(6, 8), bad = good;

		for (uint8_t words = 0; words < 16; words++) {
			bad.b[l4() + 12] = (uint8_t)(words << 4);
			if (words < 5 || words > 7)
				never_passes(&bad, &good);
		}
	}
}

/* RFC 9293 section 3.1 (MUST-7): an illegal option length, 0 for example, is survived. The ends decide about it. */
static void test_tcp_options(void **state)
{
	COVERS(V4 | V6, F_BAD_HEADERS);

	static const uint8_t options[][8] = {
		{ 3, 0, 7, 0, 0, 0, 0, 0 },   { 3, 1, 7, 0, 0, 0, 0, 0 },
		{ 2, 255, 5, 5, 1, 1, 1, 0 }, { 8, 8, 8, 8, 8, 8, 8, 8 },
		{ 1, 1, 1, 1, 1, 1, 1, 3 },   { 255, 2, 255, 0, 2, 4, 5, 180 }
	};

	BOTH_FAMILIES for (size_t i = 0; i < ARRAY_LEN(options); i++)
	{
		struct desc d = { .smac = mac_a,
				  .dmac = mac_b,
				  .src = v6 ? "fd00::1" : "10.0.0.1",
				  .dst = v6 ? "fd00::2" : "10.0.0.2",
				  .proto = 6,
				  .sport = (uint16_t)(SPORT + i),
				  .dport = DPORT,
				  .flags = TCP_SYN,
				  .opts = options[i],
				  .n_opts = 8 };
		struct flow_rec r;
		struct frame f;

		frame_build(&f, &d);
		passes(&f);
		assert_true(lab_record(&lab, a.host, &f, &r));
		assert_int_equal(r.wscale, 0);
		assert_int_equal(r.tcp_bits & TCPW_SCALED, 0);
	}
}

/* RFC 791 section 3.1: the first flag is zero. Whoever sets it gets the packet where it goes, as a bridge has no part in it. */
static void test_ipv4_reserved_flag(void **state)
{
	struct frame f = frame_of(17, 30);

	f.b[ETH + 6] = 0x80;
	passes(&f);
	passes(&f);
	f.b[ETH + 6] = 0xc0; /* and "do not fragment" */
	passes(&f);
}

/* ---- IPv6 extension headers ---- */

enum ext { HOP = 0, ROUTING = 43, FRAGMENT = 44, AUTH = 51, OPTIONS = 60 };
static const enum ext exts[] = { HOP, ROUTING, FRAGMENT, AUTH, OPTIONS };

/* A header of 8 bytes (AUTH: 16, a payload of two words) that says `next`. Returns its size. */
static size_t put_ext(uint8_t *at, enum ext e, uint8_t next)
{
	size_t n = e == AUTH ? 16 : 8;

	memset(at, 0, n);
	at[0] = next;
	if (e == AUTH)
		at[1] = 2; /* RFC 4302 section 2.2: words less two */
	else if (e == HOP || e == OPTIONS)
		memcpy(at + 2, (uint8_t[]){ 1, 4 }, 2); /* PadN */
	else if (e == ROUTING)
		at[2] = 4; /* segments left: 0 */
	return n;
}

/* UDP behind the n headers of `chain`. */
static struct frame chained(const enum ext *chain, size_t n, uint8_t last)
{
	struct frame plain = frame_of(17, 30), f = plain;
	size_t at = 54;

	for (size_t i = 0; i < n; i++) {
		if (!i)
			f.b[20] = (uint8_t)chain[0];
		at += put_ext(f.b + at, chain[i], i + 1 < n ? (uint8_t)chain[i + 1] : last);
	}
	memcpy(f.b + at, plain.b + 54, plain.len - 54);
	f.len = plain.len + at - 54;
	put_length(&f, f.len - 54);
	return f;
}

/* A record of the datagram behind the headers exists, under its ports. */
static bool found_ports(void)
{
	struct frame plain = frame_of(17, 30);
	struct flow_rec r;

	return lab_record(&lab, a.host, &plain, &r) && r.state == CT_UDP_NEW;
}

/*
 * RFC 8200 section 4: any order and number, except for the hop-by-hop options, which come first or not at all. All chains of up to
 * three headers.
 */
static void test_extension_chains(void **state)
{
	COVERS(V6, F_BAD_EXTENSIONS);

	enum ext c[3] = { HOP };

	v6 = true;
	for (int i = 0; i < 1 + 5 + 25 + 125; i++) {
		size_t n = i < 1 ? 0 : i < 6 ? 1 : i < 31 ? 2 : 3;
		int code = i - (n == 0 ? 0 : n == 1 ? 1 : n == 2 ? 6 : 31);
		bool late_hop = false;
		struct frame f;

		for (size_t k = 0; k < n; k++, code /= 5) {
			c[k] = exts[code % 5];
			late_hop |= k > 0 && c[k] == HOP;
		}
		f = chained(c, n, 17);
		if (late_hop) {
			refused(&f, MALFORMED);
		} else {
			passes(&f);
			assert_true(found_ports());
		}
	}
}

/* RFC 8504 section 5.3: a node may bound their number. Ours is eight. */
static void test_extension_count(void **state)
{
	COVERS(V6, F_BAD_EXTENSIONS);

	enum ext c[16];
	struct frame f;

	v6 = true;
	for (size_t i = 0; i < 16; i++)
		c[i] = OPTIONS;
	f = chained(c, ABI_IPV6_EXT - 1, 17);
	passes(&f);
	assert_true(found_ports());
	f = chained(c, ABI_IPV6_EXT + 1, 17);
	refused(&f, MALFORMED);
	f = chained(c, 16, 17);
	refused(&f, MALFORMED);
}

/* RFC 8200 sections 4.3 to 4.6, RFC 4302: a header ends within the packet, and so does each of its bytes. */
static void test_extension_lengths(void **state)
{
	COVERS(V6, F_BAD_EXTENSIONS);
	v6 = true;
	for (size_t i = 0; i < ARRAY_LEN(exts); i++) {
		enum ext c[] = { exts[i] };
		struct frame f = chained(c, 1, 17), cut = f;

		for (size_t n = 54; n < f.len; n++) {
			cut.len = n; /* shorter than the IP header says */
			refused(&cut, MALFORMED);
		}
		if (exts[i] == FRAGMENT)
			continue;
		cut = f;
		for (unsigned int words = 12; words < 256; words += 27) {
			cut.b[55] = (uint8_t)words;
			refused(&cut, MALFORMED);
		}
	}
}

/* What cannot be read is that protocol, and no more: a rule for UDP does not let it pass. RFC 4303, 6275, 7401, 5533, 8200 section 4.7. */
static void test_opaque_headers(void **state)
{
	COVERS(V6, F_BAD_EXTENSIONS);

	static const uint8_t opaque[] = { 50, 59, 135, 139, 140, 253, 4, 41 };

	v6 = true;
	for (size_t i = 0; i < sizeof(opaque); i++) {
		enum ext c[] = { OPTIONS };
		struct frame direct = chained(c, 0, 17), behind = chained(c, 1, opaque[i]);

		direct.b[20] = opaque[i];
		refused(&direct, SG_EGRESS);
		lab_dropped(&lab, DROP_SG_EGRESS);
		refused(&behind, SG_EGRESS);
		assert_false(found_ports());
	}
}

/* RFC 5095: type 0 with segments left is not sent on; the other types are not blocked with it (section 4.2). */
static void test_routing_header(void **state)
{
	COVERS(V6, F_BAD_EXTENSIONS);

	enum ext c[] = { ROUTING };
	struct frame f;

	v6 = true;
	f = chained(c, 1, 17);
	f.b[56] = 0; /* type */
	passes(&f);  /* segments left: none */
	f.b[57] = 1;
	refused(&f, ROUTING_HEADER);
	for (uint8_t type = 1; type < 6; type++) {
		f.b[56] = type;
		passes(&f);
	}
}

/* ---- nested packets ---- */

/* RFC 1122 section 3.2.2, RFC 4443 section 2.4: no error about an error; and the packet inside is a packet. */
static void test_nested_errors(void **state)
{
	COVERS(V4 | V6, F_BAD_NESTED);
	BOTH_FAMILIES
	{
		struct frame about = frame_of(17, 30), error, nested, cut;
		const char *from = v6 ? "fd00::1" : "10.0.0.1", *to = v6 ? "fd00::2" : "10.0.0.2";
		size_t inside = l4() + 8;

		frame_icmp_error(&error, mac_a, mac_b, from, to, &about);
		frame_icmp_error(&nested, mac_a, mac_b, from, to, &error);
		refused(&nested, MALFORMED);
		cut = error;
		cut.b[inside] = 0x50; /* version */
		refused(&cut, MALFORMED);
		cut = error;
		for (size_t n = inside; n < inside + (v6 ? 40 : 20) + 8; n++) {
			cut.len = n;
			put_length(&cut, n - ETH - (v6 ? 40 : 0));
			refused(&cut, MALFORMED);
		}
	}
}

/* RFC 2003, RFC 2473: a packet in a packet has the outer one's addresses and protocol, so that rules for UDP do not open it. */
static void test_packet_in_packet(void **state)
{
	COVERS(V4 | V6, F_BAD_NESTED);
	BOTH_FAMILIES for (int depth = 1; depth < 5; depth++)
	{
		struct frame f = frame_of(17, 30);
		size_t head = v6 ? 40 : 20;

		for (int i = 0; i < depth; i++) {
			memmove(f.b + ETH + head, f.b + ETH, f.len - ETH);
			f.len += head;
			f.b[v6 ? 20 : 23] = v6 ? 41 : 4;
			put_length(&f, f.len - ETH - (v6 ? 40 : 0));
		}
		refused(&f, SG_EGRESS);
		lab_dropped(&lab, DROP_SG_EGRESS);
	}
}

/* ---- checksums ---- */

/*
 * They are the ends' business (RFC 1122 sections 3.2.1.2, 4.1.3.4; RFC 9293 section 3.1): a bridge forwards what it gets, and a
 * checksum that was wrong stays wrong when a field is rewritten (RFC 1624).
 */
static void test_checksums(void **state)
{
	COVERS(V4 | V6, F_BAD_HEADERS);

	static const uint8_t protos[] = { 17, 6, 1 };

	BOTH_FAMILIES for (size_t i = 0; i < sizeof(protos); i++)
	{
		struct frame bad = frame_of(v6 && protos[i] == 1 ? 58 : protos[i], 30);

		bad.b[l4() + (protos[i] == 17 ? 6 : protos[i] == 6 ? 16 : 2)] ^= 0x5a;
		passes(&bad);
		passes(&bad);
		if (v6)
			continue;
		bad.b[ETH + 10] ^= 0x33;
		passes(&bad);
	}
}

static uint16_t ipv4_sum(const struct frame *f)
{
	uint32_t sum = 0;

	for (int i = ETH; i < ETH + 20; i += 2)
		sum += (uint32_t)(f->b[i] << 8 | f->b[i + 1]);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static void test_checksum_of_a_marked_packet(void **state)
{
	struct dp_port d = { .ifindex = { a.host }, .net = 1, .has_dscp = true, .dscp = 46 };
	struct frame good = frame_of(17, 30), bad = good, out;

	memcpy(d.mac.b, mac_a, 6);
	OK(dp_port_set(lab.dp, &d, &lab_err));
	assert_int_equal(lab_run(&lab, a.host, &good, &out), TC_ACT_REDIRECT);
	assert_int_equal(out.b[ETH + 1], 46 << 2);
	assert_int_equal(ipv4_sum(&out), 0xffff);
	bad.b[ETH + 10] ^= 0x33;
	assert_int_equal(lab_run(&lab, a.host, &bad, &out), TC_ACT_REDIRECT);
	assert_int_equal(out.b[ETH + 1], 46 << 2);
	assert_int_not_equal(ipv4_sum(&out), 0xffff);
}

/* ---- frames ---- */

/* IEEE 802-2014 section 8.2.2: a group is no source. */
static void test_group_source(void **state)
{
	COVERS(V4 | V6, F_BAD_HEADERS);
	BOTH_FAMILIES
	{
		struct frame good = frame_of(17, 30), bad = good;

		bad.b[6] |= 1;
		never_passes(&bad, &good);
	}
}

/* IEEE 802.3 section 4.2.3.3, RFC 826: 64 bytes with the FCS. A virtual wire pads nothing, so that whole packets in short frames are good. */
static void test_runts(void **state)
{
	struct frame f, got;

	for (int arp = 0; arp < 2; arp++) {
		if (arp)
			frame_arp(&f, mac_a, mac_b, 2, mac_a, "10.0.0.1", "10.0.0.2");
		else
			f = frame_of(17, 0);
		assert_true(f.len < 60);
		assert_true(lab_passes(&a, &f, &b, &got));
		assert_int_equal(got.len, f.len);
		assert_not_dropped(&lab);
		for (size_t n = f.len - 1; n > ETH; n--) {
			f.len = n;
			refused(&f, MALFORMED);
		}
	}
}

static void set_mtu(struct tport *p, const char *mtu)
{
	char words[64];

	snprintf(words, sizeof(words), "link set p%d mtu %s", p->host, mtu);
	lab_ip(words);
	ns_enter(p->ns);
	snprintf(words, sizeof(words), "link set eth0 mtu %s", mtu);
	lab_ip(words);
	ns_home();
}

#define JUMBO_MTU 9000
#define JUMBO_SIZE (ETH + JUMBO_MTU)

/* A datagram that fills the link: more than a page, so that the program sees its first bytes only. Checksums are the ends' business. */
static void jumbo_of(uint8_t big[JUMBO_SIZE])
{
	struct frame f = frame_of(17, 1900);
	size_t udp = JUMBO_SIZE - l4();

	put_length(&f, JUMBO_MTU - (v6 ? 40 : 0));
	f.b[l4() + 4] = (uint8_t)(udp >> 8);
	f.b[l4() + 5] = (uint8_t)udp;
	memcpy(big, f.b, f.len);
	for (size_t i = f.len; i < JUMBO_SIZE; i++)
		big[i] = (uint8_t)(i * 7);
}

static void jumbo_passes(void)
{
	uint8_t big[JUMBO_SIZE], got[JUMBO_SIZE + 1];
	struct pollfd fd = { .fd = b.sock, .events = POLLIN };

	jumbo_of(big);
	assert_int_equal(send(a.sock, big, sizeof(big), 0), sizeof(big));
	assert_int_equal(poll(&fd, 1, 1000), 1);
	assert_int_equal(recv(b.sock, got, sizeof(got), 0), sizeof(big));
	assert_memory_equal(got, big, sizeof(big));
}

/* RFC 894, RFC 2464 section 2: 1500 bytes, or what the link was configured for. The kernel sends none that is longer. */
static void test_jumbo(void **state)
{
	set_mtu(&a, "9000");
	set_mtu(&b, "9000");
	BOTH_FAMILIES
	{
		struct frame f = frame_of(17, 1900), got;

		for (int known = 0; known < 2; known++) {
			assert_true(lab_passes(&a, &f, &b, &got));
			assert_int_equal(got.len, f.len);
			assert_memory_equal(got.b, f.b, f.len);
			jumbo_passes();
		}
	}
	set_mtu(&b, "1500");
	lab_port(&lab, &b, 1, DP_PORT_NO_PEER, 0, "10.0.0.2/24", "fd00::2/64", NULL);
	BOTH_FAMILIES
	{
		struct frame f = frame_of(17, 1900), small = frame_of(17, 1400), got;

		tport_send(&a, &f);
		assert_true(lab_passes(&a, &small, &b, &got));
		assert_int_equal(got.len, small.len);
	}
	assert_not_dropped(&lab);
}

/* IEEE 802.3 section 3.2.6: below 0x600 it is a length. A port with security sends IP and ARP only. */
static void test_length_fields(void **state)
{
	struct frame f = frame_of(17, 30);

	for (unsigned int type = 0; type < 0x600; type += 0x55) {
		f.b[12] = (uint8_t)(type >> 8);
		f.b[13] = (uint8_t)type;
		refused(&f, ETHERTYPE);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ip_version, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ipv4_header_length, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ip_length, setup, teardown),
		cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),
		cmocka_unit_test_setup_teardown(test_udp_length, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tcp_offset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tcp_options, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ipv4_reserved_flag, setup, teardown),
		cmocka_unit_test_setup_teardown(test_extension_chains, setup, teardown),
		cmocka_unit_test_setup_teardown(test_extension_count, setup, teardown),
		cmocka_unit_test_setup_teardown(test_extension_lengths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_opaque_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_routing_header, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nested_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packet_in_packet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_checksums, setup, teardown),
		cmocka_unit_test_setup_teardown(test_checksum_of_a_marked_packet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_group_source, setup, teardown),
		cmocka_unit_test_setup_teardown(test_runts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_jumbo, setup, teardown),
		cmocka_unit_test_setup_teardown(test_length_fields, setup, teardown),
	};

	return lab_main(argc, argv, tests, ARRAY_LEN(tests));
}
