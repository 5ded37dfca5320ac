/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Real TCP/IP stacks on both sides of the datapath: segmentation offload, checksums and neighbour discovery
 * are the kernel's, and so are the functions (a router; bridges).
 *
 *   wired:    a --- network 1 --- [eth0 router eth1] --- network 2 --- b
 *   steered:  a --- network 1 --- [bridge] --- [bridge] --- network 1 --- b
 *   tunnels:  a --- network 1 --- [w0] ========= [w1] --- network 2 --- b
 */

#include "lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SG 3
#define TCP_PORT 5001
#define BULK (16 << 20)
#define W0 70100 /* the wire between tunnels */
#define W1 70101

static const uint8_t mac[8][6] = { { 2, 0, 0, 0, 9, 0 }, { 2, 0, 0, 0, 9, 1 }, { 2, 0, 0, 0, 9, 2 },
				   { 2, 0, 0, 0, 9, 3 }, { 2, 0, 0, 0, 9, 4 }, { 2, 0, 0, 0, 9, 5 },
				   { 2, 0, 0, 0, 9, 6 }, { 2, 0, 0, 0, 9, 7 } };

static struct lab lab;
static struct tport port[8];
static int n_ports;

/* Runs ip(8) with words split at blanks, in the namespace; fails the test when it fails. */
static void ip(int ns, const char *words)
{
	char name[] = "ip", buf[256], *argv[24] = { name };
	int n = 1, status;
	pid_t pid;

	snprintf(buf, sizeof(buf), "%s", words);
	for (char *w = buf; *w && n < 23;) {
		argv[n++] = w;
		w += strcspn(w, " ");
		if (*w)
			*w++ = 0;
	}
	ns_enter(ns);
	assert_int_equal(posix_spawnp(&pid, "ip", NULL, NULL, argv, environ), 0);
	ns_home();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status)
		fail_msg("ip %s: status %d", words, status);
}

static void sysctl_one(int ns, const char *path)
{
	int fd;

	ns_enter(ns);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ns_home();
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "1", 1), 1);
	close(fd);
}

/* The interface stops being the test's and becomes the stack's. */
static struct tport *add_port(int ns, const char *name)
{
	struct tport *p = &port[n_ports];

	tport_make(p, 70000 + n_ports, mac[n_ports], ns, name);
	close(p->sock);
	p->sock = -1;
	n_ports++;
	ip(p->ns, "link set lo up");
	return p;
}

/* Addresses of both families: 10.0.NET.HOST and fd00:NET::HOST. */
static void addresses(struct tport *p, const char *dev, int net, int host)
{
	char s[128], path[128];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", dev);
	ns_enter(p->ns);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ns_home();
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "0", 1), 1);
	close(fd);
	snprintf(s, sizeof(s), "addr add 10.0.%d.%d/24 dev %s", net, host, dev);
	ip(p->ns, s);
	snprintf(s, sizeof(s), "addr add fd00:%d::%d/64 dev %s nodad", net, host, dev);
	ip(p->ns, s);
}

static void route(struct tport *p, int net, int gw_net, int gw)
{
	char s[128];

	snprintf(s, sizeof(s), "route add 10.0.%d.0/24 via 10.0.%d.%d", net, gw_net, gw);
	ip(p->ns, s);
	snprintf(s, sizeof(s), "-6 route add fd00:%d::/64 via fd00:%d::%d", net, gw_net, gw);
	ip(p->ns, s);
}

static int setup(void **state)
{
	struct dp_sg_rule all[4] = { { .egress = true, .family = IP_V4 },
				     { .egress = true, .family = IP_V6 },
				     { .family = IP_V4 },
				     { .family = IP_V6 } };

	lab_open(&lab);
	n_ports = 0;
	OK(dp_sg_set(lab.dp, SG, all, 4, NULL, 0, &lab_err));
	return 0;
}

static int teardown(void **state)
{
	if (if_nametoindex("w0"))
		link_del(W0); /* and the other end */
	for (int i = 0; i < n_ports; i++) {
		link_del(port[i].host);
		tport_free(&port[i]);
	}
	lab_close(&lab);
	return 0;
}

/* ---- one TCP transfer ---- */

struct transfer {
	struct tport *from, *to;
	const char *addr; /* of `to` */
	_Atomic size_t got;
	_Atomic bool bad;
	int listener;
	pthread_t rx, tx;
};

static struct sockaddr_storage address(const char *text, socklen_t *size)
{
	struct sockaddr_storage ss = { 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ss;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(TCP_PORT);
		*size = sizeof(*v4);
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(TCP_PORT);
		*size = sizeof(*v6);
	}
	return ss;
}

static void *receive(void *arg)
{
	struct transfer *t = arg;
	int fd = accept(t->listener, NULL, NULL);
	uint8_t buf[65536];
	size_t at = 0;
	ssize_t n;

	while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i += 997)
			if (buf[i] != (uint8_t)((at + (size_t)i) * 31))
				t->bad = true;
		at += (size_t)n;
		t->got = at;
	}
	close(fd);
	return NULL;
}

static void *transmit(void *arg)
{
	struct transfer *t = arg;
	socklen_t size;
	struct sockaddr_storage to = address(t->addr, &size);
	struct timeval limit = { 20, 0 };
	uint8_t buf[65536];
	int fd;

	ns_enter(t->from->ns); /* of this thread only */
	fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&to, size)) {
		t->bad = true;
		shutdown(t->listener, SHUT_RDWR);
	}
	for (size_t at = 0; at < BULK && !t->bad; at += sizeof(buf)) {
		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = (uint8_t)((at + i) * 31);
		if (write(fd, buf, sizeof(buf)) != (ssize_t)sizeof(buf))
			t->bad = true;
	}
	close(fd);
	return NULL;
}

static void transfer_start(struct transfer *t, struct tport *from, struct tport *to, const char *addr)
{
	socklen_t size;
	struct sockaddr_storage ss = address(addr, &size);
	int one = 1;

	*t = (struct transfer){ .from = from, .to = to, .addr = addr };
	ns_enter(to->ns);
	t->listener = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ns_home();
	assert_true(t->listener >= 0);
	(void)setsockopt(t->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(t->listener, (struct sockaddr *)&ss, size), 0);
	assert_int_equal(listen(t->listener, 1), 0);
	assert_int_equal(pthread_create(&t->rx, NULL, receive, t), 0);
	assert_int_equal(pthread_create(&t->tx, NULL, transmit, t), 0);
}

static void transfer_wait(struct transfer *t)
{
	pthread_join(t->tx, NULL);
	pthread_join(t->rx, NULL);
	close(t->listener);
	assert_false(t->bad);
	assert_int_equal(t->got, BULK);
}

/* ---- the two styles ---- */

static void test_wired(void **state)
{
	COVERS_UNSEEN(V4 | V6, F_BULK);
	struct tport *a = add_port(-1, "eth0"), *r0 = add_port(-1, "eth0"),
		     *r1 = add_port(r0->ns, "eth1"), *b = add_port(-1, "eth0");
	static const char *const addr[] = { "10.0.2.2", "fd00:2::2" };
	struct transfer t;

	addresses(a, "eth0", 1, 2);
	addresses(r0, "eth0", 1, 1);
	addresses(r1, "eth1", 2, 1);
	addresses(b, "eth0", 2, 2);
	route(a, 2, 1, 1);
	route(b, 1, 2, 1);
	sysctl_one(r0->ns, "/proc/sys/net/ipv4/ip_forward");
	sysctl_one(r0->ns, "/proc/sys/net/ipv6/conf/all/forwarding");
	lab_port(&lab, a, 1, DP_PORT_SECURITY, SG, "10.0.1.2/24", "fd00:1::2/64", NULL);
	lab_port(&lab, r0, 1, 0, 0, "10.0.1.1/24", "fd00:1::1/64", NULL);
	lab_port(&lab, r1, 2, 0, 0, "10.0.2.1/24", "fd00:2::1/64", NULL);
	lab_port(&lab, b, 2, DP_PORT_SECURITY, SG, "10.0.2.2/24", "fd00:2::2/64", NULL);
	for (int i = 0; i < 2; i++) {
		transfer_start(&t, a, b, addr[i]);
		transfer_wait(&t);
	}
	assert_int_equal(lab_dropped(&lab, DROP_SG_INGRESS), 0);
	assert_int_equal(lab_dropped(&lab, DROP_CT_INVALID), 0);
}

static void make_bridge(struct tport *in)
{
	ip(in->ns, "link add br0 type bridge");
	ip(in->ns, "link set eth0 master br0");
	ip(in->ns, "link set eth1 master br0");
	ip(in->ns, "link set br0 up");
}

static void set_chain(const char *hops, struct tport *const fn[2][2], struct tport *a,
		      struct tport *b, enum dp_flip_mode mode)
{
	struct dp_path p = { .chain = 1, .symmetric = true, .n_hops = strlen(hops), .n_classifiers = 1 };

	for (size_t i = 0; i < p.n_hops; i++) {
		p.hops[i].n_pairs = 1;
		p.hops[i].pairs[0] = (struct dp_pair){
			{ fn[hops[i] - '0'][0]->host }, { fn[hops[i] - '0'][1]->host }, 1, true
		};
	}
	p.classifiers[0] = (struct dp_classifier){ .src_port = { a->host }, .dst_port = { b->host } };
	OK(dp_chain_set(lab.dp, &p, mode, NULL, &lab_err));
}

static void test_steered(void **state)
{
	COVERS_UNSEEN(V4 | V6, F_BULK);
	struct tport *a = add_port(-1, "eth0"), *b = add_port(-1, "eth0");
	struct tport *f0 = add_port(-1, "eth0"), *f1 = add_port(f0->ns, "eth1");
	struct tport *g0 = add_port(-1, "eth0"), *g1 = add_port(g0->ns, "eth1");
	struct tport *const fn[2][2] = { { f0, f1 }, { g0, g1 } };
	static const char *const order[] = { "01", "1", "10", "", "0", "01" };
	struct dp_port_stats in;
	struct timespec tick = { 0, 2000000 };
	struct transfer t;

	addresses(a, "eth0", 1, 2);
	addresses(b, "eth0", 1, 3);
	make_bridge(f0);
	make_bridge(g0);
	lab_port(&lab, a, 1, DP_PORT_SECURITY, SG, "10.0.1.2/24", "fd00:1::2/64", NULL);
	lab_port(&lab, b, 1, DP_PORT_SECURITY, SG, "10.0.1.3/24", "fd00:1::3/64", NULL);
	for (int i = 0; i < 2; i++)
		for (int j = 0; j < 2; j++)
			lab_port(&lab, fn[i][j], 1, 0, 0, NULL);
	set_chain("01", fn, a, b, DP_FLIP_MOVE);
	for (int i = 0; i < 2; i++) {
		transfer_start(&t, a, b, i ? "fd00:1::3" : "10.0.1.3");
		for (size_t j = 0; t.got < BULK && !t.bad && j < 5000; j++) {
			set_chain(order[j % ARRAY_LEN(order)], fn, a, b,
				  j & 8 ? DP_FLIP_KEEP : DP_FLIP_MOVE);
			nanosleep(&tick, NULL); /* between two changes */
		}
		transfer_wait(&t);
	}
	OK(dp_port_stats(lab.dp, (ifindex){ f0->host }, &in, &lab_err));
	assert_true(in.tx_bytes > 1 << 20); /* the stream did go through the bridge */
}

/* ---- tunnels between two interfaces of this node ---- */

static void tunnel(int index, int from, int to, enum dp_tunnel_type type, bool v6)
{
	struct dp_tunnel t = { .port = { DP_PSEUDO_PORT + index },
			       .net = (uint16_t)index,
			       .type = type,
			       .id = 4242,
			       .underlay = { from },
			       .underlay_vlan = { v6 ? 5 : 0 },
			       .underlay_mtu = 1500,
			       .smac = { { 2, 0, 0, 0, 9, (uint8_t)from } },
			       .dmac = { { 2, 0, 0, 0, 9, (uint8_t)to } },
			       .nsh_path = 7,
			       .nsh_index = 255 };
	char addr[32];

	snprintf(addr, sizeof(addr), v6 ? "2001:db8::%d" : "192.0.2.%d", from & 255);
	t.local = ip_of(addr);
	snprintf(addr, sizeof(addr), v6 ? "2001:db8::%d" : "192.0.2.%d", to & 255);
	t.remote = ip_of(addr);
	OK(dp_tunnel_set(lab.dp, &t, &lab_err));
}

/* a and b on two networks, and the two ends of the wire between them. */
static void tunnel_ends(struct tport *a, struct tport *b)
{
	struct tport w0 = { .host = W0 }, w1 = { .host = W1 };

	addresses(a, "eth0", 1, 2);
	addresses(b, "eth0", 1, 3);
	lab_ip("link add w0 index 70100 address 02:00:00:00:09:d4 type veth peer w1 index 70101 address 02:00:00:00:09:d5");
	lab_ip("link set w0 up");
	lab_ip("link set w1 up");
	lab_port(&lab, a, 1, 0, 0, "10.0.1.2/24", "fd00:1::2/64", NULL);
	lab_port(&lab, b, 2, 0, 0, "10.0.1.3/24", "fd00:1::3/64", NULL);
	lab_uplink(&lab, &w0, 8, 0);
	lab_uplink(&lab, &w1, 9, 0);
}

/* Segmentation offload packets go in whole and come out whole, whatever is in front of them. */
static void test_tunnels(void **state)
{
	COVERS_UNSEEN(V4 | V6, F_OFFLOAD);

	struct tport *a = add_port(-1, "eth0"), *b = add_port(-1, "eth0");
	struct transfer t;

	tunnel_ends(a, b);
	for (enum dp_tunnel_type type = DP_TUNNEL_VXLAN; type <= DP_TUNNEL_MPLS; type++)
		for (int v6 = 0; v6 < 2; v6++) {
			tunnel(1, W0, W1, type, v6);
			tunnel(2, W1, W0, type, v6);
			for (int i = 0; i < 2; i++) {
				transfer_start(&t, a, b, i ? "fd00:1::3" : "10.0.1.3");
				transfer_wait(&t);
			}
		}
	assert_int_equal(lab_dropped(&lab, DROP_TUNNEL), 0);
	assert_int_equal(lab_dropped(&lab, DROP_TUNNEL_UNKNOWN), 0);
	assert_int_equal(lab_dropped(&lab, DROP_MTU), 0);
}

/* ---- a way that takes less than the wire ---- */

#define WAY_MTU 1400 /* IPv6 inside wants 1280 */

static const uint8_t near_mac[6] = { 2, 0, 0, 0, 9, 0xd4 }, far_mac[6] = { 2, 0, 0, 0, 9, 0xd5 };

/* What comes by the wire, as it is there: before the tunnel's end has taken it. */
static int wire_socket(void)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = W1 };
	struct timeval limit = { 0, 100000 };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1;

	assert_true(fd >= 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/* Bytes of the outer IP packet; 0: none came. */
static size_t wire_next(int fd, struct frame *f)
{
	ssize_t n = recv(fd, f->b, sizeof(f->b), MSG_TRUNC);

	return n > 14 ? (size_t)n - 14 : 0;
}

/* A router says that `sent` was too large for it. */
static void router_says(int fd, const struct frame *sent, bool v6)
{
	struct desc d = { .smac = far_mac,
			  .dmac = near_mac,
			  .src = v6 ? "2001:db8:9::1" : "198.51.100.9",
			  .dst = v6 ? "2001:db8::212" : "192.0.2.212",
			  .proto = v6 ? 58 : 1,
			  .type = v6 ? 2 : 3,
			  .code = v6 ? 0 : 4,
			  .payload = v6 ? 48 : 28 };
	size_t at = v6 ? 54 : 34;
	struct frame f;

	frame_build(&f, &d);
	memcpy(f.b + at + 8, sent->b + 14, d.payload);
	f.b[at + 6] = WAY_MTU >> 8;
	f.b[at + 7] = WAY_MTU & 255;
	if (v6)
		frame_tag(&f, 0x8100, 5);
	assert_int_equal(send(fd, f.b, f.len, 0), f.len);
}

/* Once the tunnel takes less, nothing larger is on the wire, and the stream goes on. */
static void stream_obeys(struct tport *a, struct tport *b, bool outer6, const char *to)
{
	size_t size, n_small = 0;
	struct transfer t;
	struct frame f;
	int fd = wire_socket();

	transfer_start(&t, a, b, to);
	while ((size = wire_next(fd, &f)) <= WAY_MTU)
		assert_false(t.bad);
	do {
		lab_next_jiffy(); /* one is read in each */
		router_says(fd, &f, outer6);
	} while (!lab_dropped(&lab, DROP_MTU) && t.got < BULK);
	lab_next_jiffy();
	close(fd); /* with what was under way */
	fd = wire_socket();
	while (t.got < BULK && !t.bad)
		if ((size = wire_next(fd, &f))) {
			assert_in_range(size, 1, WAY_MTU);
			n_small++;
		}
	transfer_wait(&t);
	assert_true(n_small > 100);
	close(fd);
}

/* Large packets of a stack that leaves cutting to others, over a way that a router finds too narrow while they are under way. */
static void test_narrow_way(void **state)
{
	COVERS_UNSEEN(V4 | V6, F_UNDERLAY, F_OFFLOAD);

	static const enum dp_tunnel_type types[] = { DP_TUNNEL_VXLAN, DP_TUNNEL_GENEVE };
	struct tport *a = add_port(-1, "eth0"), *b = add_port(-1, "eth0");

	tunnel_ends(a, b);
	net_offload("w0", ETHTOOL_STSO, 0); /* a wire has no whole ones */
	for (int i = 0; i < 8; i++) {
		bool v6 = i & 1;

		tunnel(1, W0, W1, types[i >> 2], v6);
		tunnel(2, W1, W0, types[i >> 2], v6);
		stream_obeys(a, b, v6, i & 2 ? "fd00:1::3" : "10.0.1.3");
		ip(a->ns, "route flush cache"); /* what it was told */
		ip(a->ns, "-6 route flush cache");
		OK(dp_tunnel_del(lab.dp, (ifindex){ DP_PSEUDO_PORT + 1 }, &lab_err));
		OK(dp_tunnel_del(lab.dp, (ifindex){ DP_PSEUDO_PORT + 2 }, &lab_err));
	}
}

/* ---- UDP segmentation offload ---- */

#define DATAGRAMS 8

static int udp_socket(struct tport *at)
{
	int fd;

	ns_enter(at->ns);
	fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ns_home();
	assert_true(fd >= 0);
	return fd;
}

/* Mapped: one socket is for both families. */
static struct sockaddr_in6 mapped(const char *text)
{
	struct sockaddr_in6 ret = { .sin6_family = AF_INET6, .sin6_port = htons(TCP_PORT) };
	char buf[64];

	snprintf(buf, sizeof(buf), "%s%s", strchr(text, ':') ? "" : "::ffff:", text);
	assert_int_equal(inet_pton(AF_INET6, buf, &ret.sin6_addr), 1);
	return ret;
}

/* DATAGRAMS of `size` bytes in one call. False: the kernel says that they are too large. */
static bool send_datagrams(int fd, const char *to, uint16_t size)
{
	static uint8_t buf[DATAGRAMS * 1500];
	struct sockaddr_in6 sin = mapped(to);
	union {
		struct cmsghdr head;
		uint8_t b[CMSG_SPACE(sizeof(uint16_t))];
	} control = { 0 };
	struct iovec iov = { buf, (size_t)size * DATAGRAMS };
	struct msghdr m = { .msg_name = &sin,
			    .msg_namelen = sizeof(sin),
			    .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };

	for (int i = 0; i < DATAGRAMS; i++)
		memset(buf + i * size, 'a' + i, size);
	control.head = (struct cmsghdr){ CMSG_LEN(sizeof(size)), SOL_UDP, UDP_SEGMENT };
	memcpy(CMSG_DATA(&control.head), &size, sizeof(size));
	if (sendmsg(fd, &m, 0) == (ssize_t)iov.iov_len)
		return true;
	assert_true(errno == EMSGSIZE || errno == EINVAL); /* since 6.12 */
	return false;
}

static int count_datagrams(int fd, uint16_t size)
{
	uint8_t buf[2048];
	int n = 0;

	while (n < DATAGRAMS && recv(fd, buf, sizeof(buf), 0) == size && buf[0] == 'a' + n &&
	       buf[size - 1] == 'a' + n)
		n++;
	return n;
}

/* A wire carries no offload packets: segments are cut before. */
static void wire_only(void)
{
	char cmd[] = "ethtool", k[] = "-K", dev[] = "w0", tx[] = "tx", off[] = "off",
	     *argv[] = { cmd, k, dev, tx, off, NULL };

	lab_spawn(argv);
}

/* Datagrams as large as the tunnel's network takes (QUIC), cut when they are on their way. */
static void test_datagrams(void **state)
{
	COVERS_UNSEEN(V4 | V6, F_OFFLOAD);

	static const char *const addr[] = { "10.0.1.3", "fd00:1::3" };
	static const uint16_t size[] = { 1200, 1400 - 48, 1400 - 28 };
	struct tport *a = add_port(-1, "eth0"), *b = add_port(-1, "eth0");
	struct timeval limit = { 2, 0 };
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(TCP_PORT) };
	int tx = udp_socket(a), rx = udp_socket(b), got;

	(void)setsockopt(rx, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(bind(rx, (struct sockaddr *)&any, sizeof(any)), 0);
	tunnel_ends(a, b);
	ip(a->ns, "link set eth0 mtu 1400"); /* all types have room for that */
	wire_only();
	for (enum dp_tunnel_type type = DP_TUNNEL_VXLAN; type <= DP_TUNNEL_MPLS; type++)
		for (int v6 = 0; v6 < 2; v6++) {
			tunnel(1, W0, W1, type, v6);
			tunnel(2, W1, W0, type, v6);
			for (int i = 0; i < 6; i++) {
				if (i % 2 && size[i / 2] > 1400 - 48)
					continue;
				assert_true(send_datagrams(tx, addr[i % 2], size[i / 2]));
				got = count_datagrams(rx, size[i / 2]);
				if (got != DATAGRAMS)
					fail_msg("type %d over IPv%d to %s: %d of %d datagrams of %d bytes",
						 (int)type, v6 ? 6 : 4, addr[i % 2], got, DATAGRAMS,
						 size[i / 2]);
			}
		}
	assert_int_equal(lab_dropped(&lab, DROP_MTU), 0);
	assert_int_equal(lab_dropped(&lab, DROP_REDIRECT), 0);
	close(tx);
	close(rx);
}

/*
 * On an underlay that hands over whole offload packets, a veth's, those in UDP cannot be cut any more, and are counted; GRE's and MPLS's can.
 */
static void test_whole_datagrams(void **state)
{
	COVERS_UNSEEN(V4 | V6, F_OFFLOAD);

	struct tport *a = add_port(-1, "eth0"), *b = add_port(-1, "eth0");
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(TCP_PORT) };
	int tx = udp_socket(a), rx = udp_socket(b);
	struct timeval limit = { 2, 0 };

	(void)setsockopt(rx, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(bind(rx, (struct sockaddr *)&any, sizeof(any)), 0);
	tunnel_ends(a, b);
	for (enum dp_tunnel_type type = DP_TUNNEL_VXLAN; type <= DP_TUNNEL_MPLS; type++) {
		tunnel(1, W0, W1, type, false);
		tunnel(2, W1, W0, type, false);
		assert_true(send_datagrams(tx, "10.0.1.3", 1200));
		if (type == DP_TUNNEL_GRE || type == DP_TUNNEL_NVGRE || type >= DP_TUNNEL_MPLS_GRE)
			assert_int_equal(count_datagrams(rx, 1200), DATAGRAMS);
		else
			assert_dropped(&lab, REDIRECT);
	}
	assert_int_equal(lab_dropped(&lab, DROP_REDIRECT), 0);
	close(tx);
	close(rx);
}

/* Nobody can make them smaller but who sends them: who is told so. */
static void test_large_datagrams(void **state)
{
	COVERS_UNSEEN(V4 | V6, F_OFFLOAD);
	static const char *const addr[] = { "10.0.1.3", "fd00:1::3" };
	struct tport *a = add_port(-1, "eth0"), *b = add_port(-1, "eth0");
	int tx = udp_socket(a), rx = udp_socket(b), discover = IPV6_PMTUDISC_DO;
	struct timespec tick = { 0, 2000000 };

	(void)setsockopt(tx, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &discover, sizeof(discover));
	discover = IP_PMTUDISC_DO;
	(void)setsockopt(tx, IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof(discover));
	tunnel_ends(a, b);
	tunnel(1, W0, W1, DP_TUNNEL_VXLAN, false);
	tunnel(2, W1, W0, DP_TUNNEL_VXLAN, false);
	for (int i = 0; i < 2; i++) {
		int n = 0;

		while (n < 1000 && send_datagrams(tx, addr[i], 1430)) {
			nanosleep(&tick, NULL); /* until the answer has come */
			n++;
		}
		assert_in_range(n, 1, 999);
		assert_true(lab_dropped(&lab, DROP_MTU) > 0);
	}
	assert_int_equal(lab_dropped(&lab, DROP_REDIRECT), 0);
	close(tx);
	close(rx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_wired, setup, teardown),
		cmocka_unit_test_setup_teardown(test_steered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tunnels, setup, teardown),
		cmocka_unit_test_setup_teardown(test_narrow_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_datagrams, setup, teardown),
		cmocka_unit_test_setup_teardown(test_whole_datagrams, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_datagrams, setup, teardown),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
