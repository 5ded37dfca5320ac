/* SPDX-License-Identifier: Apache-2.0 */

/* A server in a secured port, clients behind an uplink: limits of what is half open, and SYN cookies. */

#include "lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "limit.h"

static const uint8_t mac_s[6] = { 2, 0, 0, 0, 4, 0xa }, mac_w[6] = { 2, 0, 0, 0, 4, 0xf },
		     mac_u[6] = { 2, 0, 0, 0, 4, 0xe };
#define SG_S 41
#define SERVER 68537
#define UPLINK 68538
#define CLIENT 68539

static struct lab lab;
static struct tport s, u;
static bool v6;

static void protect(const struct dp_limits *l, uint16_t nat)
{
	struct dp_port p = { .ifindex = { s.host },
			     .net = 1,
			     .flags = DP_PORT_SECURITY,
			     .n_addrs = 2,
			     .n_sgs = 1,
			     .sgs = { SG_S },
			     .limits = *l,
			     .nat = nat };

	memcpy(p.mac.b, mac_s, 6);
	p.addrs[0] = (struct dp_addr){ cidr_of("10.0.0.1/24"), p.mac, true };
	p.addrs[1] = (struct dp_addr){ cidr_of("fd00::1/64"), p.mac, true };
	OK(dp_port_set(lab.dp, &p, &lab_err));
}

static int setup(void **state)
{
	static const struct dp_sg_rule in[] = {
		{ .family = IP_V4, .proto = 6, .has_ports = true, .port_min = 80, .port_max = 80 },
		{ .family = IP_V6, .proto = 6, .has_ports = true, .port_min = 80, .port_max = 80 },
		{ .family = IP_V4, .proto = 17 },
		{ .family = IP_V6, .proto = 17 },
	};

	lab_open(&lab);
	tport_make(&s, SERVER, mac_s, -1, "eth0");
	tport_make(&u, UPLINK, mac_u, -1, "eth0");
	lab_uplink(&lab, &u, 1, 0);
	OK(dp_sg_set(lab.dp, SG_S, in, 4, NULL, 0, &lab_err));
	return 0;
}

static int teardown(void **state)
{
	link_del(SERVER);
	link_del(UPLINK);
	tport_free(&s);
	tport_free(&u);
	lab_close(&lab);
	return 0;
}

/* A segment between client number `who` and the server. */
struct seg {
	int who;
	uint8_t flags;
	uint32_t seq, ack;
	size_t size;
	uint16_t win;
	const uint8_t *opts;
};

static void build(struct frame *f, bool client, uint8_t proto, const struct seg *g)
{
	char name[40];
	struct desc d = { .smac = client ? mac_w : mac_s,
			  .dmac = client ? mac_s : mac_w,
			  .proto = proto,
			  .sport = client ? 4000 : 80,
			  .dport = client ? 80 : 4000,
			  .flags = g->flags,
			  .tcp_seq = g->seq,
			  .tcp_ack = g->ack,
			  .tcp_win = g->win ? g->win : 5000,
			  .opts = g->opts,
			  .n_opts = g->opts ? 12 : 0,
			  .payload = g->size };

	snprintf(name, sizeof(name), v6 ? "fd00:%x::9" : "10.0.1.%d", g->who);
	d.src = client ? name : v6 ? "fd00::1" : "10.0.0.1";
	d.dst = client ? (v6 ? "fd00::1" : "10.0.0.1") : name;
	frame_build(f, &d);
}

static int run_seg(bool client, struct seg g, struct frame *out)
{
	struct frame f;

	build(&f, client, 6, &g);
	return lab_run(&lab, client ? u.host : s.host, &f, out);
}

#define client(out, ...) run_seg(true, (struct seg){ __VA_ARGS__ }, out)
#define server(out, ...) run_seg(false, (struct seg){ __VA_ARGS__ }, out)
#define assert_refused(call, why)                                                                  \
	do {                                                                                       \
		assert_int_equal(call, TC_ACT_SHOT);                                               \
		assert_dropped(&lab, why);                                                         \
	} while (0)

static bool has_record(int who, struct flow_rec *r)
{
	struct frame f;

	build(&f, true, 6, &(struct seg){ .who = who });
	return lab_record(&lab, u.host, &f, r);
}

static uint32_t get32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* The frame is this segment, whole, with right checksums; options and sequence are not looked at when they are NULL, 0. */
static void expect(const struct frame *got, bool from_client, struct seg want, size_t header)
{
	size_t l4 = v6 ? 54 : 34;
	struct frame f;

	build(&f, from_client, 6, &want);
	assert_true(frame_sums_ok(got));
	assert_int_equal(got->len, l4 + header + want.size);
	assert_memory_equal(got->b, f.b, 14);
	assert_memory_equal(got->b + (v6 ? 22 : 26), f.b + (v6 ? 22 : 26), v6 ? 32 : 8);
	assert_memory_equal(got->b + l4, f.b + l4, 4);
	assert_int_equal(got->b[l4 + 12] >> 4, header / 4);
	assert_int_equal(got->b[l4 + 13], want.flags);
	if (want.seq)
		assert_int_equal(get32(got->b + l4 + 4), want.seq);
	assert_int_equal(get32(got->b + l4 + 8), want.ack);
}

static uint16_t window(const struct frame *f)
{
	size_t at = (v6 ? 54 : 34) + 14;

	return (uint16_t)(f->b[at] << 8 | f->b[at + 1]);
}

static const uint8_t syn_opts[12] = { 2, 4, 0x05, 0xb4, 1, 3, 3, 7, 4, 2, 1, 1 };

static void flood(int n)
{
	for (int i = 0; i < n; i++) {
		assert_int_equal(client(NULL, 100 + i, TCP_SYN, 1), TC_ACT_REDIRECT);
		assert_true(has_record(100 + i, &(struct flow_rec){ 0 }));
	}
}

/* Long because it is one connection, from the cookie to its end. */
static void test_cookie(void **state)
{
	COVERS(V4 | V6, F_SYN_COOKIES);

	struct frame got, other;
	struct flow_rec r;
	uint32_t cookie;

	protect(&(struct dp_limits){ .half_open = 4, .syn_cookies = true }, 0);
	for (v6 = false;; v6 = true) {
		flood(v6 ? 0 : 4);
		tport_drain(&s);
		/* The fifth is answered, and forgotten. */
		assert_int_equal(client(&got, 1, TCP_SYN, 70000, 0, 0, 0, syn_opts), TC_ACT_REDIRECT);
		expect(&got, false, (struct seg){ 1, TCP_SYN | TCP_ACK, 0, 70001 }, 24);
		assert_int_equal(window(&got), 0);
		assert_false(has_record(1, &r));
		cookie = get32(got.b + (v6 ? 54 : 34) + 4);
		assert_refused(client(NULL, 1, TCP_ACK, 70001, cookie + 1000), SYN_COOKIE);
		assert_refused(client(NULL, 2, TCP_ACK, 70001, cookie + 1), SYN_COOKIE);
		assert_false(has_record(1, &r));
		/* Its answer opens the connection to the server; again, as often as it takes. */
		for (int i = 0; i < 2; i++) {
			assert_int_equal(client(&got, 1, TCP_ACK, 70001, cookie + 1, 0, 5000),
					 TC_ACT_REDIRECT);
			expect(&got, true, (struct seg){ 1, TCP_SYN, 70000, 0 }, 24);
			assert_int_equal(get32(got.b + (v6 ? 74 : 54)), 0x02040000 + (v6 ? 1440 : 1460));
			assert_int_equal(window(&got), 5000);
		}
		assert_true(has_record(1, &r));
		assert_int_equal(r.state, CT_SYN_SENT);
		assert_refused(client(NULL, 1, TCP_ACK | TCP_FIN, 70001, cookie + 1), CT_INVALID);
		assert_refused(server(NULL, 1, TCP_SYN | TCP_ACK, 900, 70002), CT_INVALID);
		/* The server's: an ACK for it, a window for the client. */
		tport_drain(&s);
		assert_int_equal(server(&got, 1, TCP_SYN | TCP_ACK, 900, 70001, 0, 3000, syn_opts),
				 TC_ACT_REDIRECT);
		expect(&got, false, (struct seg){ 1, TCP_ACK, cookie + 1, 70001 }, 20);
		assert_int_equal(window(&got), 3000);
		assert_true(tport_recv(&s, &other, 1000));
		expect(&other, true, (struct seg){ 1, TCP_ACK, 70001, 901 }, 20);
		assert_int_equal(window(&other), 5000);
		/* From here on both sides talk, each in its own numbers. */
		assert_int_equal(client(&got, 1, TCP_ACK, 70001, cookie + 1, 10), TC_ACT_REDIRECT);
		expect(&got, true, (struct seg){ 1, TCP_ACK, 70001, 901, 10 }, 20);
		assert_int_equal(server(&got, 1, TCP_ACK, 901, 70011, 20), TC_ACT_REDIRECT);
		expect(&got, false, (struct seg){ 1, TCP_ACK, cookie + 1, 70011, 20 }, 20);
		assert_int_equal(client(&got, 1, TCP_ACK, 70011, cookie + 21), TC_ACT_REDIRECT);
		expect(&got, true, (struct seg){ 1, TCP_ACK, 70011, 921 }, 20);
		assert_refused(client(NULL, 1, TCP_ACK, 70011, cookie + 22), CT_INVALID);
		assert_refused(server(NULL, 1, TCP_ACK, 90921, 70011, 5), CT_INVALID);
		/* Also when the flow is evaluated again, and to its end. */
		protect(&(struct dp_limits){ .half_open = v6 ? 4 : 5, .syn_cookies = true }, 0);
		protect(&(struct dp_limits){ .half_open = 4, .syn_cookies = true }, 0);
		OK(dp_sg_set(lab.dp, 77, NULL, 0, NULL, 0, &lab_err));
		assert_int_equal(server(&got, 1, TCP_ACK | TCP_FIN, 921, 70011), TC_ACT_REDIRECT);
		expect(&got, false, (struct seg){ 1, TCP_ACK | TCP_FIN, cookie + 21, 70011 }, 20);
		assert_int_equal(client(&got, 1, TCP_ACK | TCP_FIN, 70011, cookie + 22),
				 TC_ACT_REDIRECT);
		expect(&got, true, (struct seg){ 1, TCP_ACK | TCP_FIN, 70011, 922 }, 20);
		assert_int_equal(server(&got, 1, TCP_ACK, 922, 70012), TC_ACT_REDIRECT);
		expect(&got, false, (struct seg){ 1, TCP_ACK, cookie + 22, 70012 }, 20);
		assert_true(has_record(1, &r));
		assert_int_equal(r.state, CT_TIME_WAIT);
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

/* The server does not want it: the client hears so in its own numbers. */
static void test_refused(void **state)
{
	COVERS(V4 | V6, F_SYN_COOKIES);

	struct frame got;
	struct flow_rec r;
	uint32_t cookie;

	protect(&(struct dp_limits){ .half_open = 1, .syn_cookies = true }, 0);
	for (v6 = false;; v6 = true) {
		flood(v6 ? 0 : 1);
		assert_int_equal(client(&got, 1, TCP_SYN, 5, 0, 0, 0, syn_opts), TC_ACT_REDIRECT);
		cookie = get32(got.b + (v6 ? 54 : 34) + 4);
		assert_int_equal(client(&got, 1, TCP_ACK, 6, cookie + 1), TC_ACT_REDIRECT);
		assert_int_equal(server(&got, 1, TCP_RST | TCP_ACK, 0, 6), TC_ACT_REDIRECT);
		expect(&got, false, (struct seg){ 1, TCP_RST | TCP_ACK, cookie + 1, 6 }, 20);
		assert_true(has_record(1, &r));
		assert_int_equal(r.state, CT_CLOSE);
		if (v6)
			break;
	}
}

static void test_half_open(void **state)
{
	COVERS(V4 | V6, F_HALF_OPEN);
	protect(&(struct dp_limits){ .half_open = 4 }, 0);
	for (v6 = false;; v6 = true) {
		flood(4);
		assert_refused(client(NULL, 1, TCP_SYN, 1), HALF_OPEN);
		/* Who completes makes room, also who is refused. */
		assert_int_equal(server(NULL, 100, TCP_SYN | TCP_ACK, 7, 2), TC_ACT_REDIRECT);
		assert_refused(client(NULL, 1, TCP_SYN, 1), HALF_OPEN);
		assert_int_equal(client(NULL, 100, TCP_ACK, 2, 8), TC_ACT_REDIRECT);
		assert_int_equal(client(NULL, 1, TCP_SYN, 1), TC_ACT_REDIRECT);
		assert_refused(client(NULL, 2, TCP_SYN, 1), HALF_OPEN);
		assert_int_equal(server(NULL, 101, TCP_RST | TCP_ACK, 0, 2), TC_ACT_REDIRECT);
		assert_int_equal(client(NULL, 2, TCP_SYN, 1), TC_ACT_REDIRECT);
		assert_refused(client(NULL, 3, TCP_SYN, 1), HALF_OPEN);
		if (v6)
			break;
		for (int i = 0; i < 4; i++) /* none is left */
			assert_int_equal(server(NULL, (int[]){ 1, 2, 102, 103 }[i],
						TCP_RST | TCP_ACK, 0, 2),
					 TC_ACT_REDIRECT);
	}
	/* Without a limit all pass. */
	protect(&(struct dp_limits){ 0 }, 0);
	assert_int_equal(client(NULL, 3, TCP_SYN, 1), TC_ACT_REDIRECT);
	assert_int_equal(lab_entries(&lab, "limits"), 0);
	assert_not_dropped(&lab);
}

/* `host`: another address of the client's network. */
static int from_port_of(int who, uint8_t host, uint8_t proto, uint16_t port)
{
	struct frame f;
	size_t l4 = v6 ? 54 : 34;

	build(&f, true, proto, &(struct seg){ who, TCP_SYN, 1 });
	if (v6)
		f.b[30] = host; /* within the /64 */
	f.b[l4] = (uint8_t)(port >> 8);
	f.b[l4 + 1] = (uint8_t)port;
	return lab_run(&lab, u.host, &f, NULL);
}

static int from_port(int who, uint8_t proto, uint16_t port)
{
	return from_port_of(who, 0, proto, port);
}

/* Who has a whole /64 is one source; the next /64 is another. */
static void test_one_prefix(void **state)
{
	COVERS(V6, F_SOURCE_LIMIT);
	v6 = true;
	protect(&(struct dp_limits){ .source_half_open = 3 }, 0);
	for (uint16_t i = 0; i < 3; i++)
		assert_int_equal(from_port_of(1, (uint8_t)i, 6, 1000), TC_ACT_REDIRECT);
	assert_refused(from_port_of(1, 3, 6, 1000), HALF_OPEN);
	assert_int_equal(from_port_of(2, 3, 6, 1000), TC_ACT_REDIRECT);
	assert_not_dropped(&lab);
}

static void test_one_source(void **state)
{
	COVERS(V4 | V6, F_SOURCE_LIMIT);
	protect(&(struct dp_limits){ .source_half_open = 3 }, 0);
	for (v6 = false;; v6 = true) {
		for (uint16_t i = 0; i < 3; i++)
			assert_int_equal(from_port(1, 6, 1000 + i), TC_ACT_REDIRECT);
		assert_refused(from_port(1, 6, 2000), HALF_OPEN);
		assert_int_equal(from_port(2, 6, 2000), TC_ACT_REDIRECT); /* others are not concerned */
		assert_int_equal(from_port(1, 17, 2000), TC_ACT_REDIRECT);
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

static void test_rate(void **state)
{
	COVERS(V4 | V6, F_SOURCE_LIMIT);

	int passed = 0, dropped = 0;

	protect(&(struct dp_limits){ .source_rate = 10 }, 0);
	for (v6 = false;; v6 = true) {
		for (uint16_t i = 0; i < 40; i++)
			passed += from_port(1, i & 1 ? 6 : 17, 1000 + i) == TC_ACT_REDIRECT;
		dropped = (int)lab_dropped(&lab, DROP_SOURCE_RATE);
		assert_int_equal(passed + dropped, 40);
		assert_in_range(passed, 10, 30); /* ten in each second that the loop was in */
		assert_int_equal(from_port(2, 6, 2000), TC_ACT_REDIRECT);
		passed = 0;
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

/* One round trip of the connection that was there before. */
static void goes_on(uint32_t n)
{
	assert_int_equal(client(NULL, 1, TCP_ACK, 2 + n, 2, 1, 60000), TC_ACT_REDIRECT);
	assert_int_equal(server(NULL, 1, TCP_ACK, 2, 3 + n, 0, 60000), TC_ACT_REDIRECT);
}

/* A flood from everywhere: cookies are out, no record is made, and who is connected loses nothing. */
static void test_flood(void **state)
{
	COVERS(V4 | V6, F_SYN_FLOOD, F_SYN_COOKIES);

	struct frame f, got;
	uint64_t before;

	protect(&(struct dp_limits){ .half_open = 64, .syn_cookies = true }, 0);
	for (v6 = false;; v6 = true) {
		const char *map = v6 ? "flow6" : "flow4";
		size_t at = v6 ? 24 : 27; /* two bytes of the source */

		assert_int_equal(client(NULL, 1, TCP_SYN, 1, 0, 0, 60000), TC_ACT_REDIRECT);
		assert_int_equal(server(NULL, 1, TCP_SYN | TCP_ACK, 1, 2, 0, 60000), TC_ACT_REDIRECT);
		assert_int_equal(client(NULL, 1, TCP_ACK, 2, 2, 0, 60000), TC_ACT_REDIRECT);
		before = lab_entries(&lab, map);
		for (int i = 0; i < 10000; i++) {
			build(&f, true, 6, &(struct seg){ 2, TCP_SYN, (uint32_t)i });
			f.b[at] = (uint8_t)(0x40 | i >> 8);
			f.b[at + 1] = (uint8_t)i;
			assert_int_equal(lab_run(&lab, u.host, &f, &got), TC_ACT_REDIRECT);
			if (!(i % 100))
				goes_on((uint32_t)i / 100);
		}
		assert_true(lab_entries(&lab, map) <=
			    before + 2 * 64 * 4); /* a few epochs' worth, if the loop was slow */
		if (v6)
			break;
		lab_idle(&lab); /* what is half open is not, for the other family */
		protect(&(struct dp_limits){ 0 }, 0);
		protect(&(struct dp_limits){ .half_open = 64, .syn_cookies = true }, 0);
	}
	assert_not_dropped(&lab);
}

static uint64_t given(void)
{
	struct port_key k = { .ifindex = SERVER };
	struct limit_rec l;
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/v%d/limits", lab.pin, ABI_VERSION);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &k, &l), 0);
	close(fd);
	return l.n_cookies;
}

/* ---- the kernel's own TCP on both sides ---- */

static void address(struct tport *p, int host)
{
	char words[96];
	int fd;

	ns_enter(p->ns);
	fd = open("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "0", 1), 1);
	close(fd);
	snprintf(words, sizeof(words), "addr add 10.0.0.%d/24 dev eth0", host);
	lab_ip(words);
	snprintf(words, sizeof(words), "addr add fd00::%d/64 dev eth0 nodad", host);
	lab_ip(words);
	lab_ip("link set lo up");
	ns_home();
}

static socklen_t address_of(const char *text, struct sockaddr_storage *ret)
{
	struct sockaddr_in *a4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, text, &a4->sin_addr) == 1) {
		a4->sin_family = AF_INET;
		a4->sin_port = htons(80);
		return sizeof(*a4);
	}
	assert_int_equal(inet_pton(AF_INET6, text, &a6->sin6_addr), 1);
	a6->sin6_family = AF_INET6;
	a6->sin6_port = htons(80);
	return sizeof(*a6);
}

static int tcp_socket(int ns, int family)
{
	struct timeval t = { .tv_sec = 10 };
	int fd;

	ns_enter(ns);
	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ns_home();
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)), 0);
	return fd;
}

/* Through and back again; both kernels check what they get. */
static void exchange(int from, int to)
{
	static char out[60000], in[60000];

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 7 + i / 256);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(send(from, out, sizeof(out), 0), sizeof(out));
		assert_int_equal(recv(to, in, sizeof(in), MSG_WAITALL), sizeof(in));
		assert_memory_equal(in, out, sizeof(in));
	}
}

static void one_connection(struct tport *c, const char *to, bool server_first)
{
	struct sockaddr_storage a;
	socklen_t n = address_of(to, &a);
	int l = tcp_socket(s.ns, a.ss_family), fd = tcp_socket(c->ns, a.ss_family), got, one = 1;

	assert_int_equal(setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(l, (struct sockaddr *)&a, n), 0);
	assert_int_equal(listen(l, 4), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, n), 0);
	if (!server_first)
		assert_int_equal(send(fd, "x", 1, 0), 1);
	got = accept(l, NULL, NULL);
	assert_true(got >= 0);
	if (!server_first)
		assert_int_equal(recv(got, &one, 1, 0), 1);
	exchange(got, fd);
	exchange(fd, got);
	close(got);
	close(fd);
	close(l);
}

/* Checksums that are left to the hardware, offloaded segments, a window of none: a client behind another port of the node. */
static void test_real_stacks(void **state)
{
	COVERS_UNSEEN(V4 | V6, F_SYN_COOKIES);

	static const uint8_t mac[6] = { 2, 0, 0, 0, 4, 0xc };
	struct tport c;

	tport_make(&c, CLIENT, mac, -1, "eth0");
	lab_port(&lab, &c, 1, 0, 0, "10.0.0.3/24", "fd00::3/64", NULL);
	protect(&(struct dp_limits){ .half_open = 1, .syn_cookies = true }, 0);
	address(&s, 1);
	address(&c, 3);
	for (int i = 0; i < 4; i++) {
		uint64_t cookies = given();

		v6 = i & 1;
		if (!cookies)
			flood(1);
		else
			assert_int_equal(client(NULL, 200 + i, TCP_SYN, 1), TC_ACT_REDIRECT);
		cookies = given();
		one_connection(&c, v6 ? "fd00::1" : "10.0.0.1", i & 2);
		assert_int_equal(given(), cookies + 1);
	}
	link_del(CLIENT);
	tport_free(&c);
	assert_int_equal(lab_dropped(&lab, DROP_REDIRECT), 0);
}

/* A process that sends `n` times 256 KiB and says that this was all. */
static pid_t sender(int fd, int n)
{
	static char buf[1 << 18];
	pid_t pid = fork();

	if (pid)
		return pid;
	for (int i = 0; i < n; i++)
		if (send(fd, buf, sizeof(buf), MSG_NOSIGNAL) < 0)
			_exit(1);
	_exit(shutdown(fd, SHUT_WR) ? 1 : 0);
}

static size_t received(int fd)
{
	static char buf[1 << 18];
	size_t sum = 0;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		sum += (size_t)n;
	assert_int_equal(n, 0);
	return sum;
}

static void ended(pid_t pid)
{
	int status;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static bool is_from(int fd, const char *text)
{
	struct sockaddr_storage a, wanted;
	socklen_t n = sizeof(a);

	address_of(text, &wanted);
	assert_int_equal(getpeername(fd, (struct sockaddr *)&a, &n), 0);
	if (a.ss_family == AF_INET)
		return ((struct sockaddr_in *)&a)->sin_addr.s_addr ==
		       ((struct sockaddr_in *)&wanted)->sin_addr.s_addr;
	return !memcmp(&((struct sockaddr_in6 *)&a)->sin6_addr,
		       &((struct sockaddr_in6 *)&wanted)->sin6_addr, 16);
}

/* Both ways at once, from a client that the server knows by these addresses. */
static void bulk(const char *from4, const char *from6)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 4, 0xc };
	struct tport c;

	tport_make(&c, CLIENT, mac, -1, "eth0");
	lab_port(&lab, &c, 1, 0, 0, "10.0.0.3/24", "fd00::3/64", "10.0.0.77/24", "fd00::77/64", NULL);
	address(&s, 1);
	address(&c, 3);
	for (int i = 0; i < 2; i++) {
		struct sockaddr_storage a;
		socklen_t n = address_of(i ? "fd00::1" : "10.0.0.1", &a);
		int l = tcp_socket(s.ns, a.ss_family), fd = tcp_socket(c.ns, a.ss_family), got;
		pid_t pid[2];

		assert_int_equal(bind(l, (struct sockaddr *)&a, n), 0);
		assert_int_equal(listen(l, 4), 0);
		assert_int_equal(connect(fd, (struct sockaddr *)&a, n), 0);
		got = accept(l, NULL, NULL);
		assert_true(got >= 0);
		assert_true(is_from(got, i ? from6 : from4));
		pid[0] = sender(fd, 256);
		pid[1] = sender(got, 8); /* read when the other is through */
		assert_int_equal(received(got), 256 << 18);
		assert_int_equal(received(fd), 8 << 18);
		ended(pid[0]);
		ended(pid[1]);
		close(got);
		close(fd);
		close(l);
	}
	link_del(CLIENT);
	tport_free(&c);
	assert_int_equal(lab_dropped(&lab, DROP_CT_INVALID), 0);
}

/* Offloaded segments, scaled windows: nothing that a real stack sends is invalid. */
static void test_bulk(void **state)
{
	COVERS_UNSEEN(V4 | V6, F_TCP_WINDOW);
	protect(&(struct dp_limits){ 0 }, 0);
	bulk("10.0.0.3", "fd00::3");
}

/* The same from behind a translation: segments are cut and checksums completed after it. */
static void test_bulk_translated(void **state)
{
	COVERS_UNSEEN(V4 | V6, F_NAT, F_OFFLOAD);

	struct dp_nat_rule r[2] = { { .to = ip_of("10.0.0.77") }, { .to = ip_of("fd00::77") } };

	OK(dp_nat_set(lab.dp, 1, r, 2, &lab_err));
	protect(&(struct dp_limits){ 0 }, 1);
	bulk("10.0.0.77", "fd00::77");
}

static void test_settings(void **state)
{
	struct dp_port p = { .ifindex = { s.host }, .net = 1, .limits = { .syn_cookies = true } };

	assert_int_equal(dp_port_set(lab.dp, &p, &lab_err), -EINVAL);
	assert_string_equal(lab_err.field, "syn_cookies");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_cookie, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_open, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_source, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_prefix, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
		cmocka_unit_test_setup_teardown(test_real_stacks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bulk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bulk_translated, setup, teardown),
		cmocka_unit_test_setup_teardown(test_settings, setup, teardown),
	};

	return lab_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
