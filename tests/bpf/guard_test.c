/* SPDX-License-Identifier: Apache-2.0 */

/* First-hop security of a LAN port with foreign hosts behind it; the router and DHCP server are behind another. */

#include "lab.h"

#include "guard.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"

#define SHOT 2	   /* TC_ACT_SHOT */
#define REDIRECT 7 /* TC_ACT_REDIRECT */
#define STORM_METER 9

static const uint8_t mac_lan[6] = { 2, 0, 0, 0, 1, 1 }, mac_wan[6] = { 2, 0, 0, 0, 1, 2 },
		     mac_lan2[6] = { 2, 0, 0, 0, 1, 3 }, mac_mirror[6] = { 2, 0, 0, 0, 1, 4 };
static const uint8_t host[6] = { 2, 0, 0, 0, 2, 1 }, thief[6] = { 2, 0, 0, 0, 2, 2 },
		     router[6] = { 2, 0, 0, 0, 3, 1 };
static const uint8_t bcast[6] = { 255, 255, 255, 255, 255, 255 };
static const uint8_t mcast6[6] = { 0x33, 0x33, 0, 0, 0, 1 };

static struct lab lab;
static struct tport lan, lan2, wan;

static void lan_port(uint8_t guards, uint16_t storm)
{
	struct dp_port p = { .ifindex = { lan.host },
			     .net = 1,
			     .flags = DP_PORT_UPLINK,
			     .guards = guards,
			     .storm_meter = storm };

	OK(dp_port_set(lab.dp, &p, &lab_err));
}

static void guarded(struct tport *t)
{
	struct dp_port p = { .ifindex = { t->host },
			     .net = 1,
			     .flags = DP_PORT_UPLINK,
			     .guards = DP_GUARD_RA | DP_GUARD_DHCP | DP_GUARD_SOURCE };

	OK(dp_port_set(lab.dp, &p, &lab_err));
}

static int setup(void **state)
{
	lab_open(&lab);
	tport_make(&lan, 101, mac_lan, -1, "eth0");
	tport_make(&wan, 102, mac_wan, -1, "eth0");
	tport_make(&lan2, 103, mac_lan2, -1, "eth0");
	lab_uplink(&lab, &lan, 1, 0);
	lab_uplink(&lab, &wan, 1, 0);
	lan_port(DP_GUARD_RA | DP_GUARD_DHCP | DP_GUARD_SOURCE, 0);
	guarded(&lan2);
	return 0;
}

static int teardown(void **state)
{
	link_del(101);
	link_del(102);
	link_del(103);
	tport_free(&lan);
	tport_free(&lan2);
	tport_free(&wan);
	lab_close(&lab);
	return 0;
}

static struct frame udp(const uint8_t *smac, const uint8_t *dmac, const char *src, const char *dst,
			uint16_t sport, uint16_t dport, size_t payload)
{
	struct desc d = { .smac = smac,
			  .dmac = dmac,
			  .src = src,
			  .dst = dst,
			  .proto = 17,
			  .sport = sport,
			  .dport = dport,
			  .payload = payload };
	struct frame f;

	frame_build(&f, &d);
	return f;
}

/* Verdict of a frame, with its drop reason (DROP_NONE: none). */
static void expect(struct tport *at, const struct frame *f, enum drop_reason reason)
{
	int verdict = lab_run(&lab, at->host, f, NULL);

	if (reason != DROP_NONE) {
		assert_int_equal(verdict, SHOT);
		assert_int_equal(lab_dropped(&lab, reason), 1);
	}
	lab_no_drops(&lab);
	if (reason == DROP_NONE)
		assert_int_not_equal(verdict, SHOT);
}

/* A DHCP message for the host with MAC `who`: RFC 2131 figure 1. */
static struct frame dhcp4(bool reply, uint8_t type, const uint8_t *who, const char *ip, uint32_t lease)
{
	struct frame f = udp(reply ? router : who, reply ? bcast : router, reply ? "10.0.0.1" : ip,
			     reply ? "255.255.255.255" : "10.0.0.1", reply ? 67 : 68,
			     reply ? 68 : 67, 300);
	uint8_t *b = f.b + 42;

	memset(b, 0, 300);
	b[0] = reply ? 2 : 1;
	b[1] = 1;
	b[2] = 6;
	inet_pton(AF_INET, ip, b + (reply ? 16 : 12));
	memcpy(b + 28, who, 6);
	memcpy(b + 236, "\x63\x82\x53\x63", 4);
	memcpy(b + 240, "\0\x35\x01", 3); /* a pad option first */
	b[243] = type;
	b[244] = 51;
	b[245] = 4;
	lease = htonl(lease);
	memcpy(b + 246, &lease, 4);
	b[250] = 255;
	return f;
}

/* DHCPDECLINE: the address is an option, the client has none: RFC 2131 table 5. */
static struct frame dhcp4_decline(const uint8_t *who, const char *ip)
{
	struct frame f = dhcp4(false, 4, who, "0.0.0.0", 0);

	memset(f.b + 30, 255, 4);
	memcpy(f.b, bcast, 6);
	f.b[42 + 244] = 50;
	inet_pton(AF_INET, ip, f.b + 42 + 246);
	return f;
}

/* REPLY with one IA_PD that holds a prefix: RFC 8415 sections 21.21, 21.22. */
static struct frame dhcp6_delegates(uint8_t type, const uint8_t *who, const char *prefix,
				    uint8_t len, uint32_t valid)
{
	bool reply = type == 7;
	struct frame f = udp(reply ? router : who, reply ? who : router, reply ? "fe80::1" : "fe80::2",
			     reply ? "fe80::2" : "fe80::1", reply ? 547 : 546, reply ? 546 : 547, 60);
	uint8_t *b = f.b + 62;

	memset(b, 0, 60);
	b[0] = type;
	memcpy(b + 4, "\0\x19\0\x29", 4); /* IA_PD of 41 bytes: 12, prefix */
	memcpy(b + 20, "\0\x1a\0\x19", 4);
	valid = htonl(valid);
	memcpy(b + 28, &valid, 4);
	b[32] = len;
	inet_pton(AF_INET6, prefix, b + 33);
	return f;
}

/* REPLY with one IA_NA that holds a status code and an address: RFC 8415 section 21. */
static struct frame dhcp6_reply(const uint8_t *who, const char *ip, uint32_t valid)
{
	struct frame f = udp(router, who, "fe80::1", "fe80::2", 547, 546, 70);
	uint8_t *b = f.b + 62;

	memset(b, 0, 70);
	b[0] = 7;
	memcpy(b + 4, "\0\x01\0\x02zz", 6);    /* client id */
	memcpy(b + 10, "\0\x03\0\x2e", 4);     /* IA_NA of 46 bytes: 12, status code, address */
	memcpy(b + 26, "\0\x0d\0\x02\0\0", 6); /* status code: success */
	memcpy(b + 32, "\0\x05\0\x18", 4);
	inet_pton(AF_INET6, ip, b + 36);
	valid = htonl(valid);
	memcpy(b + 56, &valid, 4);
	return f;
}

static void test_rogue_servers(void **state)
{
	COVERS(V4 | V6, F_DHCP_SNOOPING);

	struct frame f = dhcp4(true, 5, host, "10.0.0.9", 3600);

	expect(&lan, &f, DROP_DHCP_SERVER);
	f = dhcp6_reply(host, "fd00::9", 3600);
	expect(&lan, &f, DROP_DHCP_SERVER);
	frame_nd(&f, thief, mcast6, "fe80::ff:fe00:202", "ff02::1", 134, "fd00::", NULL);
	expect(&lan, &f, DROP_RA);
	frame_nd(&f, thief, mcast6, "fe80::ff:fe00:202", "ff02::1", 137, "fd00::", NULL);
	expect(&lan, &f, DROP_RA);
	frame_nd(&f, router, mcast6, "fe80::1", "ff02::1", 134, "fd00::", NULL);
	expect(&wan, &f, DROP_NONE);
}

/* RFC 7113: an extension header in front hides nothing; RFC 6980: a fragment of ND is none. */
static void test_hidden_ra(void **state)
{
	COVERS(V6, F_RA_GUARD);

	struct frame f, hidden;

	frame_nd(&f, thief, mcast6, "fe80::ff:fe00:202", "ff02::1", 134, "fd00::", NULL);
	hidden = f;
	memmove(hidden.b + 62, f.b + 54, f.len - 54);
	memset(hidden.b + 54, 0, 8);
	hidden.b[54] = 58;
	hidden.b[20] = 60; /* destination options */
	hidden.b[19] = (uint8_t)(f.b[19] + 8);
	hidden.len += 8;
	expect(&lan, &hidden, DROP_RA);
	hidden.b[20] = 44; /* fragment header, more to come */
	hidden.b[57] = 1;
	expect(&lan, &hidden, DROP_ND_FRAGMENT);
}

static void introduce(const uint8_t *mac)
{
	struct frame f = udp(mac, bcast, "0.0.0.0", "255.255.255.255", 68, 67, 300);

	expect(&lan, &f, DROP_NONE);
}

static void test_dhcp4(void **state)
{
	COVERS(V4, F_DHCP_SNOOPING, F_SOURCE_GUARD, F_INSPECTION);

	struct frame f = udp(host, router, "10.0.0.9", "10.0.0.1", 1000, 80, 10), ack;

	introduce(host);
	introduce(thief);
	expect(&lan, &f, DROP_SOURCE_GUARD);
	ack = dhcp4(true, 5, host, "10.0.0.9", 3600);
	expect(&wan, &ack, DROP_NONE);
	expect(&lan, &f, DROP_NONE);
	expect(&lan, &f, DROP_NONE);
	f = udp(thief, router, "10.0.0.9", "10.0.0.1", 1000, 80, 10);
	expect(&lan, &f, DROP_SOURCE_GUARD);
	frame_arp(&f, host, bcast, 1, host, "10.0.0.9", "10.0.0.77");
	expect(&lan, &f, DROP_NONE);
	frame_arp(&f, thief, bcast, 1, thief, "10.0.0.9", "10.0.0.77");
	expect(&lan, &f, DROP_SOURCE_GUARD);
	frame_arp(&f, thief, bcast, 1, host, "10.0.0.9", "10.0.0.77");
	expect(&lan, &f, DROP_SPOOF_ARP);
	/* Only the holder gives it back; then it is nobody's, also for the flow that was established. */
	f = dhcp4(false, 7, thief, "10.0.0.9", 0);
	expect(&lan, &f, DROP_SOURCE_GUARD);
	f = dhcp4(false, 7, host, "10.0.0.9", 0);
	expect(&lan, &f, DROP_NONE);
	f = udp(host, router, "10.0.0.9", "10.0.0.1", 1000, 80, 10);
	expect(&lan, &f, DROP_SOURCE_GUARD);
}

/* A renewal is unicast and would be a known flow: it is seen all the same. */
static void test_renewal(void **state)
{
	COVERS(V4, F_DHCP_SNOOPING);

	struct frame f, ack = dhcp4(true, 5, host, "10.0.0.9", 3600);

	introduce(host);
	memcpy(ack.b, host, 6);
	expect(&wan, &ack, DROP_NONE);
	assert_int_equal(lab_entries(&lab, "flow4"), 0);
	ack = dhcp4(true, 5, host, "10.0.0.10", 3600);
	memcpy(ack.b, host, 6);
	expect(&wan, &ack, DROP_NONE);
	f = udp(host, router, "10.0.0.10", "10.0.0.1", 1000, 80, 10);
	expect(&lan, &f, DROP_NONE);
}

static void test_dhcp6(void **state)
{
	COVERS(V6, F_DHCP_SNOOPING, F_SOURCE_GUARD);

	struct frame f = udp(host, router, "fd00::9", "fd00::1", 1000, 80, 10), reply;

	introduce(host);
	expect(&lan, &f, DROP_SOURCE_GUARD);
	reply = dhcp6_reply(host, "fd00::9", 3600);
	expect(&wan, &reply, DROP_NONE);
	expect(&lan, &f, DROP_NONE);
	f = udp(thief, router, "fd00::9", "fd00::1", 1000, 80, 10);
	expect(&lan, &f, DROP_SOURCE_GUARD);
	reply = dhcp6_reply(host, "fd00::9", 0); /* no longer valid */
	expect(&wan, &reply, DROP_NONE);
	f = udp(host, router, "fd00::9", "fd00::1", 1001, 80, 10);
	expect(&lan, &f, DROP_SOURCE_GUARD);
}

static void test_first_come(void **state)
{
	COVERS(V6, F_SOURCE_GUARD, F_INSPECTION);

	struct frame f;

	frame_nd(&f, host, mcast6, "::", "ff02::1:ff00:5", 135, "fd00::5", NULL);
	expect(&lan, &f, DROP_NONE);
	f = udp(host, router, "fd00::5", "fd00::1", 1000, 80, 10);
	expect(&lan, &f, DROP_NONE);
	frame_nd(&f, thief, mcast6, "::", "ff02::1:ff00:5", 135, "fd00::5", NULL);
	expect(&lan, &f, DROP_SOURCE_GUARD);
	frame_nd(&f, thief, mcast6, "fd00::5", "ff02::1", 136, "fd00::5", thief);
	expect(&lan, &f, DROP_SOURCE_GUARD);
	frame_nd(&f, host, mcast6, "fd00::5", "ff02::1", 136, "fd00::5", host);
	expect(&lan, &f, DROP_NONE);
	frame_nd(&f, host, mcast6, "fd00::5", "ff02::1", 136, "fd00::5", thief);
	expect(&lan, &f, DROP_SPOOF_ND);
}

/* `n` nonces (RFC 3971 section 5.3.2) and then the sender's MAC, behind the fixed part of a message. */
static struct frame options(int type, size_t fixed, int n, const uint8_t *mac)
{
	struct desc d = { .smac = host,
			  .dmac = mcast6,
			  .src = "fd00::5",
			  .dst = "ff02::1",
			  .proto = 58,
			  .type = (uint8_t)type,
			  .payload = fixed + 8 * ((size_t)n + 1),
			  .ttl = 255 };
	struct frame f;
	uint8_t *o;

	frame_build(&f, &d);
	memset(f.b + 62, 0, d.payload);
	inet_pton(AF_INET6, "fd00::5", f.b + 62);
	o = f.b + 62 + fixed;
	for (int i = 0; i < n; i++, o += 8)
		memcpy(o, "\x0e\x01noncen", 8);
	o[0] = type == 136 ? 2 : 1;
	o[1] = 1;
	memcpy(o + 2, mac, 6);
	return f;
}

/* RFC 4861 section 4: an address of another is found wherever it stands among the options; too many options are not believed. */
static void test_forged_options(void **state)
{
	COVERS(V6, F_INSPECTION);

	static const int types[] = { 133, 135, 136 };
	struct frame f;

	frame_nd(&f, host, mcast6, "::", "ff02::1:ff00:5", 135, "fd00::5", NULL);
	expect(&lan, &f, DROP_NONE);
	for (size_t t = 0; t < 3; t++) {
		size_t fixed = types[t] == 133 ? 0 : 16;

		for (int n = 0; n < 8; n++) {
			f = options(types[t], fixed, n, host);
			expect(&lan, &f, DROP_NONE);
			f = options(types[t], fixed, n, thief);
			expect(&lan, &f, DROP_SPOOF_ND);
		}
		f = options(types[t], fixed, 8, host);
		expect(&lan, &f, DROP_SPOOF_ND);
	}
}

/* A host that opens connections keeps the address that it made itself. */
static void test_claim_lasts(void **state)
{
	COVERS(V6, F_SOURCE_GUARD);

	struct binding b;
	struct addr_key k = { .net = 1, .family = 6 };
	struct frame f;
	char path[128];
	int fd;

	inet_pton(AF_INET6, "fd00::5", k.ip);
	frame_nd(&f, host, mcast6, "::", "ff02::1:ff00:5", 135, "fd00::5", NULL);
	expect(&lan, &f, DROP_NONE);
	snprintf(path, sizeof(path), "%s/v%d/bindings", lab.pin, ABI_VERSION);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &k, &b), 0);
	assert_int_equal(b.flags, BINDING_CLAIMED);
	uint64_t first = b.until_ns;
	b.until_ns -= 3600 * 1000000000ULL; /* as an hour later */
	assert_int_equal(bpf_map_update_elem(fd, &k, &b, BPF_ANY), 0);
	f = udp(host, router, "fd00::5", "fd00::1", 1000, 80, 10);
	expect(&lan, &f, DROP_NONE);
	assert_int_equal(bpf_map_lookup_elem(fd, &k, &b), 0);
	assert_true(b.until_ns >= first);
	b.until_ns = 1; /* long ago */
	assert_int_equal(bpf_map_update_elem(fd, &k, &b, BPF_ANY), 0);
	f = udp(host, router, "fd00::5", "fd00::1", 1001, 80, 10);
	expect(&lan, &f, DROP_SOURCE_GUARD);
	close(fd);
}

/* Garbage in a DHCP message is nobody's address, and does not stop the message. */
static void test_bad_dhcp(void **state)
{
	COVERS(V4, F_DHCP_SNOOPING);
	struct frame f = udp(host, router, "10.0.0.9", "10.0.0.1", 1000, 80, 10), ack;

	introduce(host);
	ack = dhcp4(true, 5, host, "10.0.0.9", 3600);
	ack.b[42 + 236] = 0; /* magic cookie */
	expect(&wan, &ack, DROP_NONE);
	ack = dhcp4(true, 5, host, "10.0.0.9", 3600);
	ack.b[42 + 245] = 250; /* the lease option runs past the end */
	expect(&wan, &ack, DROP_NONE);
	ack = dhcp4(true, 6, host, "10.0.0.9", 3600); /* NAK */
	expect(&wan, &ack, DROP_NONE);
	expect(&lan, &f, DROP_SOURCE_GUARD);
	assert_int_equal(lab_entries(&lab, "bindings"), 0);
}

/* RFC 2131 section 4.3.3, RFC 8415 section 18.2.8: somebody else has the address. Only its holder may say so. */
static void test_decline(void **state)
{
	COVERS(V4, F_BINDINGS);
	struct frame ack = dhcp4(true, 5, host, "10.0.0.9", 3600), f;

	introduce(host);
	introduce(thief);
	expect(&wan, &ack, DROP_NONE);
	f = dhcp4_decline(thief, "10.0.0.9");
	expect(&lan, &f, DROP_NONE);
	f = udp(host, router, "10.0.0.9", "10.0.0.1", 1000, 80, 10);
	expect(&lan, &f, DROP_NONE);
	f = dhcp4_decline(host, "10.0.0.8");
	expect(&lan, &f, DROP_NONE);
	f = udp(host, router, "10.0.0.9", "10.0.0.1", 1000, 80, 10);
	expect(&lan, &f, DROP_NONE);
	f = dhcp4_decline(host, "10.0.0.9");
	expect(&lan, &f, DROP_NONE);
	f = udp(host, router, "10.0.0.9", "10.0.0.1", 1000, 80, 10);
	expect(&lan, &f, DROP_SOURCE_GUARD);
	assert_int_equal(lab_entries(&lab, "bindings"), 0);
}

static void from_prefix(const uint8_t *mac, const char *src, enum drop_reason reason)
{
	static uint16_t sport = 1000;
	struct frame f = udp(mac, router, src, "fd00::1", sport++, 80, 10);

	expect(&lan, &f, reason);
}

/* What was delegated to a router behind the port are sources of its MAC, and of no other's. */
static void test_delegated_prefix(void **state)
{
	COVERS(V6, F_DELEGATED);
	static const struct {
		uint8_t len;
		const char *prefix, *first, *last, *before, *after;
	} v[] = {
		{ 56, "fd00:1:2:300::", "fd00:1:2:300::", "fd00:1:2:3ff:ffff:ffff:ffff:ffff",
		  "fd00:1:2:2ff::1", "fd00:1:2:400::1" },
		{ 64, "fd00:1:3:4::", "fd00:1:3:4::1",
		  "fd00:1:3:4:ffff::", "fd00:1:3:3:ffff::", "fd00:1:3:5::" },
		{ 32, "fd10:1::", "fd10:1::1", "fd10:1:ffff::1", "fd10:0:ffff::1", "fd10:2::" },
		{ 29, "fd20:8::", "fd20:8::1", "fd20:f:ffff::1", "fd20:7:ffff::1", "fd20:10::1" },
	};
	struct frame f;

	introduce(host);
	introduce(thief);
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		from_prefix(host, v[i].first, DROP_SOURCE_GUARD);
		f = dhcp6_delegates(7, host, v[i].prefix, v[i].len, 3600);
		expect(&wan, &f, DROP_NONE);
	}
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		from_prefix(host, v[i].first, DROP_NONE);
		from_prefix(host, v[i].last, DROP_NONE);
		from_prefix(host, v[i].before, DROP_SOURCE_GUARD);
		from_prefix(host, v[i].after, DROP_SOURCE_GUARD);
		from_prefix(thief, v[i].first, DROP_SOURCE_GUARD);
	}
	f = dhcp6_delegates(7, host, "::", 0, 3600); /* of no length, of more than is read */
	expect(&wan, &f, DROP_NONE);
	f = dhcp6_delegates(7, host, "fd33::", 65, 3600);
	expect(&wan, &f, DROP_NONE);
	from_prefix(host, "fd33::1", DROP_SOURCE_GUARD);
	f = dhcp6_delegates(7, host, v[0].prefix, v[0].len, 0); /* no longer valid */
	expect(&wan, &f, DROP_NONE);
	from_prefix(host, v[0].first, DROP_SOURCE_GUARD);
	from_prefix(host, v[1].first, DROP_NONE);
}

/* A host's MAC is believed where it has an address, whoever else sends with it from a guarded port. */
static void test_held_mac(void **state)
{
	COVERS(V4 | V6, F_HELD_MAC);
	struct frame ack = dhcp4(true, 5, host, "10.0.0.9", 3600), f;

	introduce(host);
	expect(&wan, &ack, DROP_NONE);
	f = udp(host, bcast, "0.0.0.0", "255.255.255.255", 68, 67, 300);
	expect(&lan2, &f, DROP_SPOOF_MAC);
	frame_arp(&f, host, bcast, 1, host, "0.0.0.0", "10.0.0.77");
	expect(&lan2, &f, DROP_SPOOF_MAC);
	frame_nd(&f, host, mcast6, "::", "ff02::1:ff00:5", 135, "fd00::5", NULL);
	expect(&lan2, &f, DROP_SPOOF_MAC);
	f = udp(router, host, "10.0.0.1", "10.0.0.9", 80, 1000, 10);
	for (int i = 0; !lab_passes(&wan, &f, &lan, NULL); i++)
		assert_in_range(i, 0, 50); /* until the link is up */
	/* From where nobody is guarded it may come: that is trusted here, too. */
	f = udp(host, bcast, "10.0.0.9", "255.255.255.255", 1000, 9, 10);
	expect(&wan, &f, DROP_NONE);
	f = udp(host, router, "10.0.0.9", "10.0.0.1", 1001, 80, 10);
	expect(&lan, &f, DROP_NONE);
	/* Who gives the address back may go elsewhere. */
	f = dhcp4(false, 7, host, "10.0.0.9", 0);
	expect(&lan, &f, DROP_NONE);
	f = udp(host, bcast, "0.0.0.0", "255.255.255.255", 68, 67, 300);
	expect(&lan2, &f, DROP_NONE);
}

static void claim(struct tport *at, const uint8_t *mac, unsigned int n, enum drop_reason reason)
{
	char target[32];
	struct frame f;

	snprintf(target, sizeof(target), "fd00::%x", n);
	frame_nd(&f, mac, mcast6, "::", "ff02::1:ff00:5", 135, target, NULL);
	expect(at, &f, reason);
}

/* The hosts behind one port cannot take all the room that there is for addresses. */
static void test_quota(void **state)
{
	COVERS(V4 | V6, F_QUOTA);
	struct frame ack = dhcp4(true, 5, host, "10.0.0.9", 3600), f;
	int verdict = SHOT;

	OK(dp_bindings_limit(lab.dp, 4, &lab_err));
	assert_true(dp_bindings_limit(lab.dp, DP_BINDINGS_MAX + 1, &lab_err) < 0);
	introduce(host);
	for (unsigned int i = 0; i < 4; i++)
		claim(&lan, host, 16 + i, DROP_NONE);
	claim(&lan, host, 32, DROP_BINDING_QUOTA);
	claim(&lan, host, 16, DROP_NONE); /* which it has */
	expect(&wan, &ack, DROP_BINDING_QUOTA);
	f = dhcp6_delegates(7, host, "fd01::", 48, 3600);
	expect(&wan, &f, DROP_BINDING_QUOTA);
	claim(&lan2, thief, 33, DROP_NONE); /* another port has its own */
	/* What the server takes away is found out within a second. */
	f = dhcp6_reply(host, "fd00::10", 0);
	expect(&wan, &f, DROP_NONE);
	for (int i = 0; i < 3000 && verdict == SHOT; i++) {
		verdict = lab_run(&lab, wan.host, &ack, NULL);
		lab_next_jiffy();
	}
	assert_int_not_equal(verdict, SHOT);
	f = udp(host, router, "10.0.0.9", "10.0.0.1", 1000, 80, 10);
	assert_int_equal(lab_run(&lab, lan.host, &f, NULL), REDIRECT);
	OK(dp_bindings_limit(lab.dp, 0, &lab_err));
}

static const struct dp_binding *binding_of(const struct dp_binding *v, int n, const char *addr)
{
	for (int i = 0; i < n; i++) {
		char text[CIDR_STR_SIZE];

		if (!strcmp(cidr_format(v[i].addr, text), addr))
			return &v[i];
	}
	fail_msg("no binding of %s", addr);
	return NULL;
}

/* As at a reboot: they are read out, the maps are new, they are put back with the time that was left. */
static void test_restored(void **state)
{
	COVERS(V4 | V6, F_BINDINGS);
	struct frame ack = dhcp4(true, 5, host, "10.0.0.9", 3600), f;
	const struct dp_binding *b;
	struct dp_binding *v, wrong;
	int n;

	introduce(host);
	expect(&wan, &ack, DROP_NONE);
	f = dhcp6_delegates(7, host, "fd00:1:2:300::", 56, UINT32_MAX);
	expect(&wan, &f, DROP_NONE);
	claim(&lan, host, 5, DROP_NONE);
	n = OK(dp_bindings(lab.dp, &v, &lab_err));
	assert_int_equal(n, 3);
	b = binding_of(v, n, "10.0.0.9/32");
	assert_in_range(b->left_s, 3500, 3600);
	assert_int_equal(b->port.num, lan.host);
	assert_int_equal(b->net, 1);
	assert_memory_equal(b->mac.b, host, 6);
	assert_false(b->claimed);
	assert_int_equal(binding_of(v, n, "fd00:1:2:300::/56")->left_s, DP_BINDING_FOR_EVER);
	assert_true(binding_of(v, n, "fd00::5/128")->claimed);
	(void)teardown(state);
	(void)setup(state);
	from_prefix(host, "fd00:1:2:300::1", DROP_SOURCE_GUARD);
	for (int i = 0; i < n; i++)
		OK(dp_binding_restore(lab.dp, &v[i], &lab_err));
	f = udp(host, router, "10.0.0.9", "10.0.0.1", 1000, 80, 10);
	expect(&lan, &f, DROP_NONE);
	from_prefix(host, "fd00:1:2:300::1", DROP_NONE);
	from_prefix(host, "fd00::5", DROP_NONE);
	from_prefix(thief, "fd00::5", DROP_SOURCE_GUARD);
	frame_arp(&f, host, bcast, 1, host, "0.0.0.0", "10.0.0.77");
	expect(&lan2, &f, DROP_SPOOF_MAC); /* although it was not seen yet */
	/* What is there already is newer. */
	wrong = *binding_of(v, n, "10.0.0.9/32");
	memcpy(wrong.mac.b, thief, 6);
	OK(dp_binding_restore(lab.dp, &wrong, &lab_err));
	f = udp(thief, router, "10.0.0.9", "10.0.0.1", 1000, 80, 10);
	expect(&lan, &f, DROP_SOURCE_GUARD);
	wrong.addr = cidr_of("10.0.0.0/24");
	assert_true(dp_binding_restore(lab.dp, &wrong, &lab_err) < 0);
	free(v);
}

/* A port's limit holds for what is flooded, too. */
static void limit_of_floods(const struct frame *f)
{
	struct dp_meter m = { .id = STORM_METER, .rate_pps = 1, .burst_pkts = 5 };
	struct dp_port p = {
		.ifindex = { lan.host }, .net = 1, .flags = DP_PORT_UPLINK, .meter_from = STORM_METER
	};
	uint64_t drops, before;
	int passed = 0;

	OK(dp_meter_set(lab.dp, &m, &lab_err));
	OK(dp_port_set(lab.dp, &p, &lab_err));
	for (int i = 0; i < 10; i++)
		passed += lab_run(&lab, lan.host, f, NULL) != SHOT;
	assert_in_range(passed, 5, 6);
	assert_in_range(lab_dropped(&lab, DROP_METER), 4, 5);
	p.meter_from = 0;
	p.meter_to = STORM_METER;
	OK(dp_port_set(lab.dp, &p, &lab_err));
	OK(dp_meter_drops(lab.dp, STORM_METER, &before, &lab_err));
	for (int i = 0; i < 10; i++)
		expect(&wan, f, DROP_NONE);
	OK(dp_meter_drops(lab.dp, STORM_METER, &drops, &lab_err));
	assert_in_range(drops - before, 8, 10); /* the bucket was empty */
	p.meter_to = 0;
	OK(dp_port_set(lab.dp, &p, &lab_err));
	OK(dp_meter_del(lab.dp, STORM_METER, &lab_err));
}

static void test_limit_of_floods(void **state)
{
	COVERS(V4 | V6, F_METER);

	struct frame f = udp(host, bcast, "10.0.0.9", "10.0.0.255", 1000, 9, 10);

	limit_of_floods(&f);
	f = udp(host, mcast6, "fd00::9", "ff02::1", 1000, 9, 10);
	limit_of_floods(&f);
}

static void count_marked(struct tport *t, const struct frame *f, int dscp, int n)
{
	bool v6 = f->b[12] == 0x86;
	struct frame got;

	for (int i = 0; i < n; i++) {
		assert_true(tport_recv(t, &got, 2000));
		assert_int_equal(got.len, f->len);
		assert_int_equal(v6 ? (got.b[14] << 8 | got.b[15]) >> 6 & 63 : got.b[15] >> 2, dscp);
		assert_true(frame_sums_ok(&got));
	}
	assert_false(tport_recv(t, &got, 0));
}

/* A link that was just made loses frames until the kernel has seen that its far end is up. */
static void links_are_up(struct tport *const to[], int n)
{
	struct frame f = udp(host, bcast, "10.0.0.9", "10.0.0.255", 1000, 9, 10), got;

	for (int i = 0; i < n; i++) {
		int tries = 0;

		do
			tport_send(&lan, &f);
		while (!tport_recv(to[i], &got, 20) && ++tries < 500);
		assert_in_range(tries, 0, 499);
	}
	for (int i = 0; i < n; i++)
		tport_drain(to[i]);
}

/* What is flooded is marked, and its port's mirror gets it once as it came; so does a mirror that two receivers have, and their sender's as well. */
static void test_mirror_and_mark_of_floods(void **state)
{
	COVERS(V4 | V6, F_DSCP_MARK);
	struct dp_port p = { .ifindex = { lan.host },
			     .net = 1,
			     .flags = DP_PORT_UPLINK,
			     .has_dscp = true,
			     .dscp = 46,
			     .mirror_to = { 104 } },
		       q = { .net = 1, .flags = DP_PORT_UPLINK, .mirror_to = { 104 } };
	struct tport watcher;

	tport_make(&watcher, 104, mac_mirror, -1, "eth0");
	OK(dp_port_set(lab.dp, &p, &lab_err));
	links_are_up((struct tport *[]){ &wan, &lan2, &watcher }, 3);
	for (int i = 0; i < 6; i++) {
		struct frame f = i & 1 ? udp(host, mcast6, "fd00::9", "ff02::1", 1000, 9, 10) :
					 udp(host, bcast, "10.0.0.9", "10.0.0.255", 1000, 9, 10);

		p.mirror_to.num = i / 2 == 1 ? 0 : 104;
		q.mirror_to.num = i / 2 == 0 ? 0 : 104;
		OK(dp_port_set(lab.dp, &p, &lab_err));
		q.ifindex.num = wan.host;
		OK(dp_port_set(lab.dp, &q, &lab_err));
		q.ifindex.num = lan2.host;
		OK(dp_port_set(lab.dp, &q, &lab_err));
		tport_send(&lan, &f);
		count_marked(&wan, &f, 46, 1);
		count_marked(&lan2, &f, 46, 1);
		count_marked(&watcher, &f, p.mirror_to.num ? 0 : 46, 1);
	}
	lab_no_drops(&lab);
	link_del(104);
	tport_free(&watcher);
}

/* Broadcast, multicast that everybody gets, and what is for a MAC that nobody has; known unicast is not flooded, so it is not limited. */
static void storm(const struct frame *all, const struct frame *from_router, const struct frame *unicast)
{
	struct dp_meter m = { .id = STORM_METER, .rate_pps = 1, .burst_pkts = 5 };
	int passed = 0;

	OK(dp_meter_set(lab.dp, &m, &lab_err));
	lan_port(0, STORM_METER);
	for (int i = 0; i < 10; i++)
		passed += lab_run(&lab, lan.host, all, NULL) != SHOT;
	assert_in_range(passed, 5, 6);
	assert_in_range(lab_dropped(&lab, DROP_STORM), 4, 5);
	expect(&wan, from_router, DROP_NONE);
	for (int i = 0; i < 10; i++)
		assert_int_equal(lab_run(&lab, lan.host, unicast, NULL), REDIRECT);
	lan_port(0, 0);
	OK(dp_meter_del(lab.dp, STORM_METER, &lab_err));
}

static void test_storm(void **state)
{
	COVERS(V4 | V6, F_STORM);

	static const uint8_t nobody[6] = { 2, 0, 0, 0, 9, 0x99 };
	struct frame all, from_router, unicast;

	frame_arp(&all, host, bcast, 1, host, "10.0.0.9", "10.0.0.77");
	frame_arp(&from_router, router, bcast, 1, router, "10.0.0.1", "10.0.0.78");
	unicast = udp(host, router, "10.0.0.9", "10.0.0.1", 1000, 80, 10);
	storm(&all, &from_router, &unicast);
	all = udp(host, nobody, "10.0.0.9", "10.0.0.99", 1000, 9, 10);
	storm(&all, &from_router, &unicast);
	frame_nd(&all, host, mcast6, "fd00::9", "ff02::1:ff00:77", 135, "fd00::77", host);
	frame_nd(&from_router, router, mcast6, "fd00::1", "ff02::1:ff00:78", 135, "fd00::78", router);
	unicast = udp(host, router, "fd00::9", "fd00::1", 1000, 80, 10);
	storm(&all, &from_router, &unicast);
	all = udp(host, mcast6, "fd00::9", "ff02::1", 1000, 9, 10);
	storm(&all, &from_router, &unicast);
	all = udp(host, nobody, "fd00::9", "fd00::99", 1000, 9, 10);
	storm(&all, &from_router, &unicast);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rogue_servers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hidden_ra, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dhcp4, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renewal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dhcp6, setup, teardown),
		cmocka_unit_test_setup_teardown(test_first_come, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_dhcp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_storm, setup, teardown),
		cmocka_unit_test_setup_teardown(test_decline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mirror_and_mark_of_floods, setup, teardown),
		cmocka_unit_test_setup_teardown(test_delegated_prefix, setup, teardown),
		cmocka_unit_test_setup_teardown(test_held_mac, setup, teardown),
		cmocka_unit_test_setup_teardown(test_quota, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restored, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forged_options, setup, teardown),
		cmocka_unit_test_setup_teardown(test_claim_lasts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit_of_floods, setup, teardown),
	};

	return lab_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
