/* SPDX-License-Identifier: Apache-2.0 */

/* Address translation together with chains, tunnels, SYN cookies and helpers. */

#include "chain_lab.h"

#include <linux/pkt_cls.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nat.h"

static const uint8_t mac_e[6] = { 2, 0, 0, 0, 9, 0xe }; /* who answers for the address outside */
#define LIST 2
#define SG 81

static const char *const outside[2] = { "198.51.100.1", "2001:db8:1::1" };

static struct frame udp(const uint8_t *smac, const uint8_t *dmac, const char *src, uint16_t sport,
			const char *dst, uint16_t dport, size_t size)
{
	struct desc d = { .smac = smac,
			  .dmac = dmac,
			  .src = src,
			  .dst = dst,
			  .proto = 17,
			  .sport = sport,
			  .dport = dport,
			  .payload = size };
	struct frame f;

	frame_build(&f, &d);
	return f;
}

static void assert_same(const struct frame *got, const struct frame *want, size_t from)
{
	assert_int_equal(got->len, want->len + from);
	assert_memory_equal(got->b + from, want->b, want->len);
}

static void masquerade(void)
{
	struct dp_nat_rule r[2] = { { .id = 1 }, { .id = 2 } };

	for (int i = 0; i < 2; i++)
		r[i].to = ip_of(outside[i]);
	OK(dp_nat_set(lab.dp, LIST, r, 2, &lab_err));
}

static void uplink(struct tport *p, uint16_t net, uint16_t nat)
{
	struct dp_port d = { .ifindex = { p->host }, .net = net, .flags = DP_PORT_UPLINK, .nat = nat };

	OK(dp_port_set(lab.dp, &d, &lab_err));
}

/* ---- chains ---- */

/* Functions see who it is from, on the way out and back; the wire behind the last one does not. */
static void test_chain(void **state)
{
	struct frame f, got;

	masquerade();
	uplink(&wan, 1, LIST);
	set_chain("02", DP_FLIP_MOVE);
	for (int i = 0; i < 2; i++) {
		const char *x = i ? "fd00::11" : "10.0.0.11", *y = i ? "fd00::22" : "10.0.0.22";

		for (int n = 0; n < 3; n++) {
			fn_reset();
			f = udp(mac_x, mac_y, x, 1234, y, 80, 30);
			tport_send(&lan, &f);
			assert_true(tport_recv(&fn[0].in, &got, 200));
			assert_same(&got, &f, 0);
			tport_send(&fn[0].out, &got);
			pump();
			assert_true(tport_recv(&wan, &got, 200));
			f = udp(mac_x, mac_y, outside[i], 1234, y, 80, 30);
			assert_same(&got, &f, 0);
			assert_int_equal(fn[2].n_forward, 1);
			f = udp(mac_y, mac_e, y, 80, outside[i], 1234, 30);
			tport_send(&wan, &f);
			assert_true(tport_recv(&fn[2].out, &got, 200));
			f = udp(mac_y, mac_x, y, 80, x, 1234, 30);
			assert_same(&got, &f, 0);
			tport_send(&fn[2].in, &got);
			pump();
			assert_true(tport_recv(&lan, &got, 200));
			assert_same(&got, &f, 0);
			assert_int_equal(fn[0].n_reverse, 1);
			if (n == 1) /* the path may change under it */
				set_chain(i ? "02" : "012", DP_FLIP_KEEP);
		}
	}
}

/* ---- tunnels ---- */

#define VXLAN_OUTER (14 + 20 + 8 + 8)

static void mac_of(int index, uint8_t ret[6])
{
	struct ifreq r = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_non_null(if_indextoname((unsigned int)index, r.ifr_name));
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &r), 0);
	close(fd);
	memcpy(ret, r.ifr_hwaddr.sa_data, 6);
}

/* A frame through the tunnel, as the far end would send it: `out` is one that we sent. */
static struct frame from_far(const struct frame *out, const struct frame *in)
{
	struct frame f = *out;
	size_t ip = 20 + 8 + 8 + in->len;

	memcpy(f.b, out->b + 6, 6);
	memcpy(f.b + 6, out->b, 6);
	memcpy(f.b + 26, out->b + 30, 4);
	memcpy(f.b + 30, out->b + 26, 4);
	f.b[16] = (uint8_t)(ip >> 8);
	f.b[17] = (uint8_t)ip;
	f.b[38] = (uint8_t)((ip - 20) >> 8);
	f.b[39] = (uint8_t)(ip - 20);
	memcpy(f.b + VXLAN_OUTER, in->b, in->len);
	f.len = VXLAN_OUTER + in->len;
	return f;
}

/* The outside is behind a tunnel: translated before it is encapsulated, and after it was taken out. */
static void test_tunnel(void **state)
{
	struct dp_tunnel t = { .port = { DP_PSEUDO_PORT + 600 },
			       .net = 1,
			       .type = DP_TUNNEL_VXLAN,
			       .id = 77,
			       .underlay = { wan.host },
			       .underlay_mtu = 1500,
			       .nat = LIST };
	static const uint8_t bcast[6] = { 255, 255, 255, 255, 255, 255 };
	struct dp_net n = { .net = 9, .mtu = 1500 };
	struct frame f, got, in, out;

	masquerade();
	OK(dp_net_set(lab.dp, &n, &lab_err));
	uplink(&wan, 9, 0);
	t.local = ip_of("192.0.2.1");
	t.remote = ip_of("192.0.2.2");
	mac_of(wan.host, t.smac.b);
	memcpy(t.dmac.b, mac_y, 6);
	OK(dp_tunnel_set(lab.dp, &t, &lab_err));
	frame_arp(&in, mac_y, bcast, 1, mac_y, "10.0.0.22", "10.0.0.200"); /* who is behind the tunnel */
	introduce_one(mac_x, &lan);
	assert_true(tport_recv(&wan, &out, 200));
	in = from_far(&out, &in);
	(void)lab_run(&lab, wan.host, &in, NULL);
	for (int i = 0; i < 2; i++) {
		const char *x = i ? "fd00::11" : "10.0.0.11", *y = i ? "fd00::22" : "10.0.0.22";

		f = udp(mac_x, mac_y, x, 1234, y, 80, 30);
		assert_int_equal(lab_run(&lab, lan.host, &f, &out), TC_ACT_REDIRECT);
		f = udp(mac_x, mac_y, outside[i], 1234, y, 80, 30);
		assert_same(&out, &f, VXLAN_OUTER);
		in = udp(mac_y, mac_e, y, 80, outside[i], 1234, 44);
		in = from_far(&out, &in);
		for (int again = 0; again < 2; again++) {
			assert_int_equal(lab_run(&lab, wan.host, &in, &got), TC_ACT_REDIRECT);
			f = udp(mac_y, mac_x, y, 80, x, 1234, 44);
			assert_same(&got, &f, 0);
		}
		/* What does not fit is told to its sender in the sender's own words. */
		f = udp(mac_x, mac_y, x, 1234, y, 80, 1440);
		f.b[20] |= i ? 0 : 0x40;
		if (!i)
			f.b[24] -= 0x40;
		for (int tries = 0; lab_run(&lab, lan.host, &f, &got) != TC_ACT_REDIRECT; tries++)
			assert_true(tries < 1000000); /* one answer for each jiffy */
		assert_memory_equal(got.b + (i ? 38 : 30), f.b + (i ? 22 : 26), i ? 16 : 4);
		assert_memory_equal(got.b + (i ? 62 : 42), f.b + 14, 28);
		lab_dropped(&lab, DROP_MTU);
	}
	OK(dp_tunnel_del(lab.dp, t.port, &lab_err));
}

/* ---- SYN cookies ---- */

static int tcp(bool in, uint16_t host, uint8_t flags, uint32_t seq, uint32_t ack, struct frame *ret)
{
	struct desc d = { .smac = in ? mac_y : mac_x,
			  .dmac = in ? mac_e : mac_y,
			  .src = in ? "192.0.2.9" : "10.0.0.11",
			  .dst = in ? "198.51.100.1" : "192.0.2.9",
			  .proto = 6,
			  .sport = in ? host : 80,
			  .dport = in ? 8080 : host,
			  .flags = flags,
			  .tcp_seq = seq,
			  .tcp_ack = ack,
			  .tcp_win = 5000 };
	struct frame f;

	frame_build(&f, &d);
	return lab_run(&lab, in ? wan.host : lan.host, &f, ret);
}

static uint32_t get32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void assert_tcp(const struct frame *f, const char *src, uint16_t sport, const char *dst,
		       uint16_t dport, uint8_t flags)
{
	struct ip_addr s = ip_of(src), d = ip_of(dst);

	assert_true(frame_sums_ok(f));
	assert_memory_equal(f->b + 26, s.b, 4);
	assert_memory_equal(f->b + 30, d.b, 4);
	assert_int_equal(get32(f->b + 34), (uint32_t)sport << 16 | dport);
	assert_int_equal(f->b[47], flags);
}

/* A forwarded port under a flood: the cookie is given from the outside address, its connection goes inside. */
static void test_cookies(void **state)
{
	static const struct dp_sg_rule any[1] = { { .family = IP_V4 } };
	struct dp_nat_rule r = { .destination = true, .proto = 6, .has_dport = true };
	struct dp_port p = { .ifindex = { lan.host },
			     .net = 1,
			     .flags = DP_PORT_SECURITY,
			     .n_sgs = 1,
			     .sgs = { SG },
			     .n_addrs = 1,
			     .limits = { .half_open = 2, .syn_cookies = true } };
	struct frame got;
	uint32_t cookie;

	r.dst = cidr_of("198.51.100.1/32");
	r.dport_min = r.dport_max = 8080;
	r.to = ip_of("10.0.0.11");
	r.to_min = 80;
	OK(dp_nat_set(lab.dp, LIST, &r, 1, &lab_err));
	OK(dp_sg_set(lab.dp, SG, any, 1, NULL, 0, &lab_err));
	memcpy(p.mac.b, mac_x, 6);
	p.addrs[0] = (struct dp_addr){ cidr_of("10.0.0.11/32"), p.mac, true };
	OK(dp_port_set(lab.dp, &p, &lab_err));
	uplink(&wan, 1, LIST);
	for (uint16_t i = 0; i < 2; i++)
		assert_int_equal(tcp(true, 100 + i, TCP_SYN, 1, 0, NULL), TC_ACT_REDIRECT);
	assert_int_equal(tcp(true, 200, TCP_SYN, 70000, 0, &got), TC_ACT_REDIRECT);
	assert_tcp(&got, "198.51.100.1", 8080, "192.0.2.9", 200, TCP_SYN | TCP_ACK);
	cookie = get32(got.b + 38);
	assert_int_equal(tcp(true, 200, TCP_ACK, 70001, cookie + 1, &got), TC_ACT_REDIRECT);
	assert_tcp(&got, "192.0.2.9", 200, "10.0.0.11", 80, TCP_SYN);
	assert_int_equal(tcp(false, 200, TCP_SYN | TCP_ACK, 9000, 70001, &got), TC_ACT_REDIRECT);
	assert_tcp(&got, "198.51.100.1", 8080, "192.0.2.9", 200, TCP_ACK);
	assert_int_equal(get32(got.b + 38), cookie + 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(tcp(true, 200, TCP_ACK, 70001, cookie + 1, &got), TC_ACT_REDIRECT);
		assert_tcp(&got, "192.0.2.9", 200, "10.0.0.11", 80, TCP_ACK);
		assert_int_equal(get32(got.b + 42), 9001);
		assert_int_equal(tcp(false, 200, TCP_ACK, 9001, 70001, &got), TC_ACT_REDIRECT);
		assert_tcp(&got, "198.51.100.1", 8080, "192.0.2.9", 200, TCP_ACK);
		assert_int_equal(get32(got.b + 38), cookie + 1);
	}
}

/* ---- helpers ---- */

/* A segment of the client to port `to` of the server, or back; the client's port is the same outside. */
static int ftp(bool out, uint16_t port, uint16_t to, uint8_t flags, const char *text)
{
	static uint32_t seq = 1;
	struct desc d = { .smac = out ? mac_x : mac_y,
			  .dmac = out ? mac_y : mac_e,
			  .src = out ? "10.0.0.11" : "192.0.2.9",
			  .dst = out ? "192.0.2.9" : "198.51.100.1",
			  .proto = 6,
			  .sport = out ? port : to,
			  .dport = out ? to : port,
			  .flags = flags,
			  .tcp_seq = seq,
			  .tcp_win = 500,
			  .payload = strlen(text) };
	struct frame f;

	frame_build(&f, &d);
	memcpy(f.b + f.len - d.payload, text, d.payload);
	return lab_run(&lab, out ? lan.host : wan.host, &f, NULL);
}

/* Passive: the server announces a port of its own, to whom it knows as the outside address. */
static void test_passive_ftp(void **state)
{
	static const struct dp_sg_rule control[1] = {
		{ .egress = true, .family = IP_V4, .proto = 6, .has_ports = true, .port_min = 21, .port_max = 21 }
	};
	struct dp_port p = { .ifindex = { lan.host },
			     .net = 1,
			     .flags = DP_PORT_SECURITY | DP_PORT_HELP_FTP,
			     .n_sgs = 1,
			     .sgs = { SG },
			     .n_addrs = 1 };

	masquerade();
	OK(dp_sg_set(lab.dp, SG, control, 1, NULL, 0, &lab_err));
	memcpy(p.mac.b, mac_x, 6);
	p.addrs[0] = (struct dp_addr){ cidr_of("10.0.0.11/32"), p.mac, true };
	OK(dp_port_set(lab.dp, &p, &lab_err));
	uplink(&wan, 1, LIST);
	assert_int_equal(ftp(true, 4000, 21, TCP_ACK, "PASV\r\n"), TC_ACT_REDIRECT);
	assert_int_equal(ftp(false, 4000, 21, TCP_ACK, "200 ok\r\n"), TC_ACT_REDIRECT);
	assert_int_equal(ftp(true, 4001, 5001, TCP_SYN, ""), TC_ACT_SHOT);
	assert_dropped(&lab, SG_EGRESS);
	assert_int_equal(ftp(false, 4000, 21, TCP_ACK, "227 Entering (192,0,2,9,19,137)\r\n"),
			 TC_ACT_REDIRECT);
	assert_int_equal(ftp(true, 4002, 5001, TCP_SYN, ""), TC_ACT_REDIRECT);
	assert_int_equal(ftp(false, 4002, 5001, TCP_SYN | TCP_ACK, ""), TC_ACT_REDIRECT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, chain_setup, chain_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_chain),
		TEST(test_tunnel),
		TEST(test_cookies),
		TEST(test_passive_ftp),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
