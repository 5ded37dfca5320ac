/* SPDX-License-Identifier: Apache-2.0 */

/* TCP between a secured function (the client) and the world behind an uplink (the server): what is valid and what is not. */

#include "lab.h"

#include "ct.h"
#include "dp/observe.h"

#include <errno.h>
#include <linux/pkt_cls.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

static const uint8_t mac_a[6] = { 2, 0, 0, 0, 2, 0xa }, mac_b[6] = { 2, 0, 0, 0, 2, 0xb },
		     mac_w[6] = { 2, 0, 0, 0, 2, 0xf }, mac_u[6] = { 2, 0, 0, 0, 2, 0xe };
static const uint8_t scale_7[4] = { 1, 3, 3, 7 }, scale_2[4] = { 1, 3, 3, 2 };
#define SG_A 21
#define ISN_C 0xfffffff0u /* wraps early */
#define ISN_S 0x7ffffff0u

static struct lab lab;
static struct tport a, b, u;
static bool v6;
static uint16_t cport;

struct seg {
	uint8_t flags;
	uint32_t seq, ack; /* beyond the direction's first number */
	size_t size;
	uint16_t win;
	const uint8_t *opts;
};

static void build(struct frame *f, bool client, const struct seg *s)
{
	struct desc d = {
		.smac = client ? mac_a : mac_w,
		.dmac = client ? mac_w : mac_a,
		.src = v6 ? (client ? "fd00::1" : "fd00::9") : (client ? "10.0.0.1" : "10.0.0.9"),
		.dst = v6 ? (client ? "fd00::9" : "fd00::1") : (client ? "10.0.0.9" : "10.0.0.1"),
		.proto = 6,
		.sport = client ? cport : 80,
		.dport = client ? 80 : cport,
		.flags = s->flags,
		.tcp_seq = (client ? ISN_C : ISN_S) + s->seq,
		.tcp_ack = s->flags & TCP_ACK ? (client ? ISN_S : ISN_C) + s->ack : 0,
		.tcp_win = s->win ? s->win : 1000,
		.opts = s->opts,
		.n_opts = s->opts ? 4 : 0,
		.payload = s->size
	};

	frame_build(f, &d);
}

static bool passes(bool client, struct seg s)
{
	struct frame f, out;
	int v;

	build(&f, client, &s);
	v = lab_run(&lab, client ? a.host : u.host, &f, &out);
	if (v == TC_ACT_SHOT)
		return false;
	assert_int_equal(v, TC_ACT_REDIRECT);
	assert_int_equal(out.len, f.len);
	assert_memory_equal(out.b, f.b, f.len);
	return true;
}

#define client(...) passes(true, (struct seg){ __VA_ARGS__ })
#define server(...) passes(false, (struct seg){ __VA_ARGS__ })
#define assert_invalid(call)                                                                       \
	do {                                                                                       \
		assert_false(call);                                                                \
		assert_dropped(&lab, CT_INVALID);                                                  \
	} while (0)

static int setup(void **state)
{
	static const struct dp_sg_rule out[2] = { { .egress = true, .family = IP_V4 },
						  { .egress = true, .family = IP_V6 } };

	lab_open(&lab);
	tport_make(&a, 66537, mac_a, -1, "eth0");
	tport_make(&b, 66538, mac_b, -1, "eth0");
	tport_make(&u, 66539, mac_u, -1, "eth0");
	lab_port(&lab, &a, 1, DP_PORT_SECURITY, SG_A, "10.0.0.1/24", "fd00::1/64", NULL);
	lab_port(&lab, &b, 1, 0, 0, "10.0.0.2/24", "fd00::2/64", NULL);
	lab_uplink(&lab, &u, 1, 0);
	OK(dp_sg_set(lab.dp, SG_A, out, 2, NULL, 0, &lab_err));
	cport = 1000;
	v6 = false;
	assert_false(server(TCP_ACK, 1, 1)); /* who is behind the uplink */
	assert_dropped(&lab, SG_INGRESS);
	return 0;
}

static int teardown(void **state)
{
	link_del(66537);
	link_del(66538);
	link_del(66539);
	tport_free(&a);
	tport_free(&b);
	tport_free(&u);
	lab_close(&lab);
	return 0;
}

static struct flow_rec record(bool from_client)
{
	struct flow_rec r;
	struct frame f;

	build(&f, from_client, &(struct seg){ 0 });
	assert_true(lab_record(&lab, from_client ? a.host : u.host, &f, &r));
	return r;
}

/* A new connection; both may send 1000 bytes (times the scale). */
static void handshake(const uint8_t *copt, const uint8_t *sopt)
{
	cport++;
	assert_true(client(TCP_SYN, 0, 0, 0, 1000, copt));
	assert_int_equal(record(true).state, CT_SYN_SENT);
	assert_true(server(TCP_SYN | TCP_ACK, 0, 1, 0, 1000, sopt));
	assert_int_equal(record(true).state, CT_SYN_RECV);
	assert_true(client(TCP_ACK, 1, 1));
	assert_int_equal(record(true).state, CT_ESTABLISHED);
	assert_int_equal(record(false).state, CT_ESTABLISHED);
}

static void test_window(void **state)
{
	COVERS(V4 | V6, F_TCP_WINDOW);
	for (v6 = false;; v6 = true) {
		handshake(NULL, NULL);
		assert_true(server(TCP_ACK, 1, 1));
		for (uint32_t at = 1; at < 501; at += 100)
			assert_true(client(TCP_ACK, at, 1, 100));
		/* I: the server has said that it has room up to 1001. */
		assert_true(client(TCP_ACK, 1001, 1, 10));
		assert_invalid(client(TCP_ACK, 5000, 1, 10));
		assert_invalid(client(TCP_ACK, 0x7fff0000, 1, 10));
		/* III: the client has sent up to 1011. */
		assert_true(server(TCP_ACK, 1, 1011));
		assert_invalid(server(TCP_ACK, 1, 1012));
		assert_invalid(server(TCP_ACK, 1, 0x7fff0000));
		/* Now there is room up to 2011. */
		assert_true(client(TCP_ACK, 1011, 1, 1000));
		assert_invalid(client(TCP_ACK, 4000, 1, 100));
		/* II, IV: old segments pass and change nothing. */
		assert_true(client(TCP_ACK, (uint32_t)-20000, 1, 10));
		assert_true(server(TCP_ACK, 1, (uint32_t)-100000, 10));
		assert_true(server(TCP_ACK, 1, 2011, 10));
		assert_true(client(TCP_ACK, 2011, 11));
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

static void test_scale(void **state)
{
	COVERS(V4 | V6, F_TCP_WINDOW);
	for (v6 = false;; v6 = true) {
		handshake(scale_7, scale_2); /* 128000 and 4000 bytes */
		assert_int_equal(record(true).wscale, 7);
		assert_int_equal(record(false).wscale, 2);
		assert_true(server(TCP_ACK, 1, 1, 0, 1000));
		for (uint32_t at = 1; at < 3900; at += 1000)
			assert_true(client(TCP_ACK, at, 1, 1000));
		assert_invalid(client(TCP_ACK, 12000, 1, 10));
		for (uint32_t at = 1; at < 127000; at += 1000)
			assert_true(server(TCP_ACK, at, 4001, 1000));
		assert_invalid(server(TCP_ACK, 400000, 4001, 10));
		handshake(scale_7, NULL); /* one alone does not scale: RFC 7323 section 1.3 */
		assert_int_equal(record(true).wscale, 0);
		assert_true(server(TCP_ACK, 1, 1));
		assert_invalid(server(TCP_ACK, 3000, 1, 10));
		if (v6)
			break;
	}
}

static void test_reset(void **state)
{
	COVERS(V4 | V6, F_TCP_WINDOW, F_TCP_STATES);
	for (v6 = false;; v6 = true) {
		handshake(NULL, NULL);
		assert_true(server(TCP_ACK, 1, 1, 100));
		assert_true(client(TCP_ACK, 1, 101));
		assert_invalid(server(TCP_RST, 50)); /* before what the client has acknowledged */
		assert_invalid(server(TCP_RST, 0x7fff0000));
		assert_true(server(TCP_RST, 300)); /* in the window: the client answers with a challenge */
		assert_int_equal(record(true).state, CT_ESTABLISHED);
		assert_true(server(TCP_RST, 101));
		assert_int_equal(record(true).state, CT_CLOSE);
		/* The answer to a SYN has to acknowledge it. */
		cport++;
		assert_true(client(TCP_SYN, 0));
		assert_invalid(server(TCP_RST | TCP_ACK, 0, 77));
		assert_int_equal(record(true).state, CT_SYN_SENT);
		assert_true(server(TCP_RST | TCP_ACK, 0, 1));
		assert_int_equal(record(true).state, CT_CLOSE);
		assert_true(client(TCP_SYN, 90000)); /* again, from the same port */
		assert_int_equal(record(true).state, CT_SYN_SENT);
		assert_true(server(TCP_SYN | TCP_ACK, 500, 90001));
		assert_true(client(TCP_ACK, 90001, 501));
		assert_int_equal(record(true).state, CT_ESTABLISHED);
		assert_true(client(TCP_ACK, 90001, 501, 10));
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

static bool flags_legal(unsigned int f)
{
	unsigned int m = f & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK);

	if (m == TCP_SYN || m == TCP_ACK || m == (TCP_FIN | TCP_ACK))
		return true;
	return !(f & TCP_URG) && (m == (TCP_SYN | TCP_ACK) || m == TCP_RST || m == (TCP_RST | TCP_ACK));
}

/* Null, Xmas, SYN and FIN together, and all the others: on a connection, and as its first segment. */
static void test_flags(void **state)
{
	COVERS(V4 | V6, F_TCP_FLAGS);
	for (v6 = false;; v6 = true) {
		handshake(NULL, NULL);
		assert_true(server(TCP_ACK, 1, 1));
		for (unsigned int f = 0; f < 64; f++)
			if (!flags_legal(f))
				assert_invalid(client((uint8_t)f, 1, 1));
		assert_int_equal(record(true).state, CT_ESTABLISHED);
		for (unsigned int f = 0; f < 64; f++) {
			bool opens = flags_legal(f) && !(f & (TCP_FIN | TCP_RST)) &&
				     (f & (TCP_SYN | TCP_ACK)) != (TCP_SYN | TCP_ACK);

			cport++;
			if (opens)
				assert_true(client((uint8_t)f, 1, 1));
			else
				assert_invalid(client((uint8_t)f, 1, 1));
		}
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

/* Older than the datapath: its windows are unknown, its resets are still checked. */
static void test_pick_up(void **state)
{
	COVERS(V4 | V6, F_TCP_PICK_UP);
	for (v6 = false;; v6 = true) {
		cport++;
		assert_true(client(TCP_ACK, 5000, 70000, 100));
		assert_int_equal(record(true).state, CT_ESTABLISHED);
		assert_true(record(true).tcp_bits & TCPW_LIBERAL);
		assert_true(server(TCP_ACK, 70000, 5100, 100));
		assert_true(server(TCP_ACK, 170000, 5100, 100));
		assert_true(client(TCP_ACK, 5100, 170100, 100));
		assert_invalid(server(TCP_RST, 100));
		assert_invalid(client(0, 5200, 170100));
		assert_true(client(TCP_FIN | TCP_ACK, 5200, 170100));
		assert_int_equal(record(false).state, CT_FIN_WAIT);
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

static void test_states(void **state)
{
	COVERS(V4 | V6, F_TCP_STATES);
	for (v6 = false;; v6 = true) {
		handshake(NULL, NULL);
		assert_true(server(TCP_SYN | TCP_ACK, 0, 1)); /* again: passes, is ignored */
		assert_int_equal(record(true).state, CT_ESTABLISHED);
		assert_true(client(TCP_FIN | TCP_ACK, 1, 1));
		assert_int_equal(record(false).state, CT_FIN_WAIT);
		assert_true(server(TCP_ACK, 1, 2, 500)); /* half closed: the server still sends */
		assert_int_equal(record(false).state, CT_CLOSE_WAIT);
		assert_invalid(server(TCP_ACK, 9000, 2, 500));
		assert_true(server(TCP_FIN | TCP_ACK, 501, 2));
		assert_int_equal(record(true).state, CT_LAST_ACK);
		assert_true(client(TCP_ACK, 2, 502));
		assert_int_equal(record(true).state, CT_TIME_WAIT);
		cport++; /* both open at once: RFC 9293 figure 7 */
		assert_true(client(TCP_SYN, 0));
		assert_invalid(client(TCP_SYN | TCP_ACK, 0, 1));
		assert_true(server(TCP_SYN, 0));
		assert_true(client(TCP_SYN | TCP_ACK, 0, 1));
		assert_true(server(TCP_SYN | TCP_ACK, 0, 1));
		assert_true(client(TCP_ACK, 1, 1));
		assert_int_equal(record(true).state, CT_ESTABLISHED);
		assert_true(client(TCP_ACK, 1, 1, 10));
		cport++; /* nothing but the SYN-ACK may follow a SYN */
		assert_true(client(TCP_SYN, 0));
		assert_invalid(client(TCP_ACK, 1, 1));
		assert_invalid(server(TCP_FIN | TCP_ACK, 0, 1));
		assert_invalid(server(TCP_SYN | TCP_ACK, 0, 2));
		assert_int_equal(record(true).state, CT_SYN_SENT);
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

/* A client that lost its memory opens a connection that we hold for alive. */
static void test_restarted_client(void **state)
{
	COVERS(V4 | V6, F_TCP_STATES);
	for (v6 = false;; v6 = true) {
		handshake(NULL, NULL);
		assert_true(client(TCP_SYN, 0x40000000));
		assert_int_equal(record(true).state, CT_ESTABLISHED);
		assert_true(server(TCP_SYN | TCP_ACK, 0x30000000, 0x40000001));
		assert_true(client(TCP_ACK, 0x40000001, 0x30000001));
		assert_int_equal(record(true).state, CT_ESTABLISHED);
		assert_true(client(TCP_ACK, 0x40000001, 0x30000001, 100));
		assert_true(server(TCP_ACK, 0x30000001, 0x40000065, 100));
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

static void test_measures(void **state)
{
	COVERS(V4 | V6, F_RTT);
	for (v6 = false;; v6 = true) {
		handshake(NULL, NULL);
		assert_true(record(true).rtt_us > 0);
		assert_true(record(false).rtt_us > 0);
		assert_true(record(true).rtt_us < 10000000);
		assert_true(client(TCP_ACK | TCP_PSH, 1, 1, 100));
		assert_true(client(TCP_ACK, 101, 1, 100));
		assert_int_equal(record(true).retrans, 0);
		assert_true(client(TCP_ACK, 1, 1, 100));
		assert_true(client(TCP_ACK, 101, 1, 100));
		assert_true(client(TCP_ACK, 201, 1));
		assert_int_equal(record(true).retrans, 2);
		assert_int_equal(record(false).retrans, 0);
		assert_int_equal(record(true).tcp_seen, TCP_SYN | TCP_ACK | TCP_PSH);
		if (v6)
			break;
	}
}

/* Without a firewall on either side nothing is invalid. */
static void test_unsecured(void **state)
{
	struct desc d = { .smac = mac_b,
			  .dmac = mac_w,
			  .src = "10.0.0.2",
			  .dst = "10.0.0.9",
			  .proto = 6,
			  .sport = 1,
			  .dport = 2 };
	struct frame f;

	for (unsigned int flags = 0; flags < 64; flags++) {
		d.flags = (uint8_t)flags;
		d.tcp_seq = flags * 0x10000000u;
		frame_build(&f, &d);
		assert_int_equal(lab_run(&lab, b.host, &f, NULL), TC_ACT_REDIRECT);
	}
	assert_not_dropped(&lab);
}

/* A trace shows the verdict and leaves the connection as it was. */
static void test_trace(void **state)
{
	struct dp_trace_step step[32];
	struct frame f;
	int n;

	v6 = false;
	handshake(NULL, NULL);
	build(&f, true, &(struct seg){ TCP_ACK, 9000, 1, 10 });
	n = OK(dp_trace(lab.dp, (ifindex){ a.host }, (vlan_id){ 0 }, f.b, f.len, step, 32, &lab_err));
	assert_true(n > 0 && step[n - 1].drop);
	build(&f, true, &(struct seg){ TCP_FIN | TCP_ACK, 1, 1 });
	n = OK(dp_trace(lab.dp, (ifindex){ a.host }, (vlan_id){ 0 }, f.b, f.len, step, 32, &lab_err));
	assert_true(n > 0 && !step[n - 1].drop);
	assert_int_equal(record(true).state, CT_ESTABLISHED);
	assert_int_equal(record(true).seq_end, ISN_C + 1);
	assert_not_dropped(&lab);
}

static void test_settings(void **state)
{
	COVERS(V4 | V6, F_AGEING, F_TCP_PICK_UP);

	struct dp_ct c = { .tcp_liberal = true };

	for (v6 = false;; v6 = true) {
		c = (struct dp_ct){ .tcp_liberal = true };
		OK(dp_ct_set(lab.dp, &c, &lab_err));
		handshake(NULL, NULL);
		assert_true(client(TCP_ACK, 90000, 1, 10));
		assert_invalid(client(TCP_SYN | TCP_FIN, 1, 1));
		c = (struct dp_ct){ .tcp_strict = true };
		OK(dp_ct_set(lab.dp, &c, &lab_err));
		cport++;
		assert_invalid(client(TCP_ACK, 1, 1));
		handshake(NULL, NULL);
		assert_true(server(TCP_ACK, 1, 1));
		assert_invalid(client(TCP_ACK, 90000, 1, 10));
		c = (struct dp_ct){ .timeout_s[CT_ESTABLISHED] = 100 };
		OK(dp_ct_set(lab.dp, &c, &lab_err));
		handshake(NULL, NULL);
		assert_true(record(true).timeout >= 100 * 100 && record(true).timeout <= 100 * 1000);
		c = (struct dp_ct){ 0 };
		OK(dp_ct_set(lab.dp, &c, &lab_err));
		lab_port(&lab, &a, 1, DP_PORT_SECURITY | DP_PORT_TCP_LIBERAL, SG_A, "10.0.0.1/24",
			 "fd00::1/64", NULL);
		handshake(NULL, NULL);
		assert_true(client(TCP_ACK, 90000, 1, 10));
		lab_port(&lab, &a, 1, DP_PORT_SECURITY, SG_A, "10.0.0.1/24", "fd00::1/64", NULL);
		if (v6)
			break;
	}
	c.timeout_s[CT_UDP_NEW] = 3000000;
	assert_int_equal(dp_ct_set(lab.dp, &c, &lab_err), -EINVAL);
	assert_string_equal(lab_err.field, "UDP_NEW");
	assert_not_dropped(&lab);
}

static struct ct_conf settings(void)
{
	struct ct_conf c;
	char path[128];
	uint32_t zero = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/v%d/ct_conf", lab.pin, ABI_VERSION);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &c), 0);
	close(fd);
	return c;
}

/* Datagrams both ways over n flows. */
static void talk(uint16_t n)
{
	struct desc out = { .smac = mac_a,
			    .dmac = mac_w,
			    .src = "10.0.0.1",
			    .dst = "10.0.0.9",
			    .proto = 17,
			    .dport = 53 },
		    in = { .smac = mac_w,
			   .dmac = mac_a,
			   .src = "10.0.0.9",
			   .dst = "10.0.0.1",
			   .proto = 17,
			   .sport = 53 };
	struct frame f;

	for (uint16_t i = 0; i < n; i++) {
		out.sport = in.dport = (uint16_t)(10000 + i);
		frame_build(&f, &out);
		assert_int_equal(lab_run(&lab, a.host, &f, NULL), TC_ACT_REDIRECT);
		frame_build(&f, &in);
		assert_int_equal(lab_run(&lab, u.host, &f, NULL), TC_ACT_REDIRECT);
	}
}

/* A table of 3584 connections, almost all of them alive: idle ones go before their time, until there is room again. */
static void test_pressure(void **state)
{
	COVERS(V4, F_AGEING);

	struct dp_ct c = { .timeout_s[CT_UDP_REPLIED] = 20 };
	struct dp_table_figures figures;
	struct frame got;
	uint64_t before;

	OK(dp_ct_set(lab.dp, &c, &lab_err));
	talk(3000);
	OK(dp_age(lab.dp, &lab_err));
	assert_int_equal(settings().scale4, CT_SCALE);
	talk(3580);
	before = lab_entries(&lab, "flow4");
	assert_true(before > 7000);
	while (settings().scale4 == CT_SCALE) { /* where walks take long, there is a pause between them */
		(void)tport_recv(&u, &got, 20);
		OK(dp_age(lab.dp, &lab_err));
	}
	assert_in_range(settings().scale4, CT_SCALE_MIN, CT_SCALE / 4);
	/* A few seconds at most, where 20 were asked for. */
	while (!settings().n_early) {
		(void)tport_recv(&u, &got, 20); /* nothing comes: a pause */
		OK(dp_age(lab.dp, &lab_err));
	}
	assert_true(lab_entries(&lab, "flow4") < before);
	dp_table_figures(lab.dp, &figures); /* as the node's status and metrics have it */
	assert_int_equal(figures.early, settings().n_early);
	assert_int_equal(settings().scale6, CT_SCALE);
}

/* ---- what each state is worth ---- */

/* Of other protocols, between the client and the server. */
static struct flow_rec other(uint8_t proto, bool reply)
{
	struct desc d = {
		.smac = reply ? mac_w : mac_a,
		.dmac = reply ? mac_a : mac_w,
		.src = v6 ? (reply ? "fd00::9" : "fd00::1") : (reply ? "10.0.0.9" : "10.0.0.1"),
		.dst = v6 ? (reply ? "fd00::1" : "fd00::9") : (reply ? "10.0.0.1" : "10.0.0.9"),
		.proto = proto,
		.sport = reply ? 53 : 999,
		.dport = reply ? 999 : 53,
		.type = v6 ? 128 : 8,
		.payload = 20
	};
	struct flow_rec r;
	struct frame f;

	frame_build(&f, &d);
	assert_int_equal(lab_run(&lab, reply ? u.host : a.host, &f, NULL), TC_ACT_REDIRECT);
	assert_true(lab_record(&lab, reply ? u.host : a.host, &f, &r));
	return r;
}

/* Jiffies of a second, by a state whose time is known. */
static uint32_t hz(void)
{
	uint32_t timeout;

	handshake(NULL, NULL);
	timeout = record(true).timeout;
	assert_int_equal(timeout % 432000, 0);
	assert_in_range(timeout / 432000, 100, 1000);
	return timeout / 432000;
}

#define assert_lives(rec, what, seconds)                                                           \
	do {                                                                                       \
		struct flow_rec lives = rec;                                                       \
		assert_int_equal(lives.state, CT_##what);                                          \
		assert_int_equal(lives.timeout, (seconds)*second);                                 \
	} while (0)

/* nf_conntrack_*_timeout of Linux, by default. */
static void test_timeouts(void **state)
{
	COVERS(V4 | V6, F_AGEING);
	for (v6 = false;; v6 = true) {
		uint32_t second = hz();

		assert_true(client(TCP_FIN | TCP_ACK, 1, 1));
		assert_lives(record(false), FIN_WAIT, 120);
		assert_true(server(TCP_ACK, 1, 2));
		assert_lives(record(false), CLOSE_WAIT, 60);
		assert_true(server(TCP_FIN | TCP_ACK, 1, 2));
		assert_lives(record(true), LAST_ACK, 30);
		assert_true(client(TCP_ACK, 2, 2));
		assert_lives(record(true), TIME_WAIT, 120);
		handshake(NULL, NULL);
		assert_true(client(TCP_RST, 1));
		assert_lives(record(true), CLOSE, 10);
		cport++;
		assert_true(client(TCP_SYN, 0));
		assert_lives(record(true), SYN_SENT, 120);
		assert_true(server(TCP_SYN | TCP_ACK, 0, 1));
		assert_lives(record(true), SYN_RECV, 60);
		cport++;
		assert_false(server(TCP_SYN, 0));
		assert_dropped(&lab, SG_INGRESS);
		assert_lives(record(false), DENIED, 1);
		assert_lives(other(17, false), UDP_NEW, 30);
		assert_lives(other(17, true), UDP_REPLIED, 120);
		assert_lives(other(v6 ? 58 : 1, false), ICMP, 30);
		assert_lives(other(132, false), GENERIC, 600);
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

enum kind { KIND_EMBRYO, KIND_CLOSING, KIND_ANSWERED };

static void open_as(enum kind kind)
{
	cport++;
	assert_true(client(TCP_SYN, 0));
	if (kind == KIND_EMBRYO)
		return;
	assert_true(server(TCP_SYN | TCP_ACK, 0, 1));
	assert_true(client(TCP_ACK, 1, 1));
	if (kind == KIND_CLOSING)
		assert_true(client(TCP_FIN | TCP_ACK, 1, 1));
}

/* Every record has been silent for so many jiffies; 0: is gone. */
static void silent(uint32_t jiffies)
{
	static struct flow_key keys[8192];
	struct flow_rec r;
	char path[128];
	size_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/v%d/%s", lab.pin, ABI_VERSION, v6 ? "flow6" : "flow4");
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	while (!bpf_map_get_next_key(fd, n ? &keys[n - 1] : NULL, &keys[n]))
		assert_true(++n < sizeof(keys) / sizeof(keys[0]));
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(bpf_map_lookup_elem(fd, &keys[i], &r), 0);
		r.last -= jiffies;
		if (jiffies)
			assert_int_equal(bpf_map_update_elem(fd, &keys[i], &r, BPF_EXIST), 0);
		else
			assert_int_equal(bpf_map_delete_elem(fd, &keys[i]), 0);
	}
	close(fd);
}

/* How many of the table's connections, whose kinds took turns, are gone. */
static void count_gone(uint16_t first, size_t n, const enum kind *kinds, size_t n_kinds, size_t *gone)
{
	struct flow_rec r;
	struct frame f;

	for (size_t i = 0; i < n; i++) {
		cport = (uint16_t)(first + i);
		build(&f, true, &(struct seg){ 0 });
		if (!lab_record(&lab, a.host, &f, &r))
			gone[kinds[i % n_kinds]]++;
	}
}

/* A full table of such connections; 100 more come, and `least` is what has to go for them. */
static void sheds(const enum kind *kinds, size_t n_kinds, enum kind least)
{
	size_t n = v6 ? 1792 : 3584, gone[3] = { 0 };
	uint32_t second = hz();
	uint16_t first;

	silent(0);
	first = (uint16_t)(cport + 1);
	for (size_t i = 0; i < n; i++)
		open_as(kinds[i % n_kinds]);
	silent(20 * second);
	for (int i = 0; i < 100; i++)
		open_as(KIND_EMBRYO);
	count_gone(first, n, kinds, n_kinds, gone);
	for (int k = 0; k < 3; k++)
		assert_in_range(gone[k], k == (int)least ? 99 : 0, k == (int)least ? 101 : 0);
	cport = (uint16_t)(first + n + 200);
}

static void test_what_is_shed(void **state)
{
	COVERS(V4 | V6, F_SHEDDING);

	static const enum kind all[] = { KIND_ANSWERED, KIND_CLOSING, KIND_EMBRYO },
			       no_embryo[] = { KIND_ANSWERED, KIND_CLOSING },
			       answered[] = { KIND_ANSWERED };

	for (v6 = false;; v6 = true) {
		sheds(all, 3, KIND_EMBRYO);
		sheds(no_embryo, 2, KIND_CLOSING);
		sheds(answered, 1, KIND_ANSWERED);
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

static unsigned int cost_ns(const struct frame *f)
{
	struct __sk_buff ctx = { .ifindex = (uint32_t)a.host };
	unsigned int best = ~0u;

	for (int i = 0; i < 20; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = f->b, .data_size_in = (uint32_t)f->len,
			    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = 20000);

		assert_int_equal(bpf_prog_test_run_opts(lab.prog, &o), 0);
		assert_int_equal(o.retval, TC_ACT_REDIRECT);
		if (o.duration < best)
			best = o.duration;
	}
	return best;
}

/* An established segment must cost about what a datagram does; the bound leaves room for a busy machine. */
static void test_cost(void **state)
{
	struct desc d = { .smac = mac_a, .dmac = mac_w, .proto = 17, .sport = 5, .dport = 6, .payload = 22 };
	struct frame f;
	unsigned int udp, tcp;

	for (v6 = false;; v6 = true) {
		d.src = v6 ? "fd00::1" : "10.0.0.1";
		d.dst = v6 ? "fd00::9" : "10.0.0.9";
		frame_build(&f, &d);
		udp = cost_ns(&f);
		handshake(scale_7, scale_7);
		assert_true(server(TCP_ACK, 1, 1));
		build(&f, true, &(struct seg){ TCP_ACK, 1, 1, 10, 1000 });
		tcp = cost_ns(&f);
		print_message("# IPv%d: UDP %u ns, TCP %u ns\n", v6 ? 6 : 4, udp, tcp);
		/* An emulated CPU (tests/vm/run) has times of its own, and those of its host. */
		assert_true(tcp < udp + 60 || getenv("DEMARC_VM"));
		if (v6)
			break;
	}
}

/* ---- one flow, two processors ---- */

#define RACES 200

struct racer {
	int cpu;
	atomic_uint *there; /* how often a racer came to a start: they run when both have */
	const struct frame *frames;
	unsigned int passed;
};

static void *race(void *arg)
{
	struct racer *r = arg;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(r->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set); /* on one processor the test means less, but holds */
	for (unsigned int i = 0; i < RACES; i++) {
		atomic_fetch_add(r->there, 1);
		while (atomic_load(r->there) < 2 * (i + 1))
			;
		r->passed += lab_run(&lab, a.host, &r->frames[i], NULL) == TC_ACT_REDIRECT;
	}
	return NULL;
}

static void race_on_two_processors(void)
{
	struct frame *frames = calloc(RACES, sizeof(*frames));
	atomic_uint there = 0;
	struct racer r[2] = { { .cpu = 0, .there = &there, .frames = frames },
			      { .cpu = 1, .there = &there, .frames = frames } };
	struct dp_table_figures before, after;
	pthread_t thread;

	assert_non_null(frames);
	dp_table_figures(lab.dp, &before);
	for (unsigned int i = 0; i < RACES; i++) {
		cport = (uint16_t)(1024 + i);
		build(&frames[i], true, &(struct seg){ .flags = TCP_SYN });
	}
	assert_int_equal(pthread_create(&thread, NULL, race, &r[1]), 0);
	race(&r[0]);
	pthread_join(thread, NULL);
	assert_int_equal(r[0].passed + r[1].passed, 2 * RACES);
	dp_table_figures(lab.dp, &after);
	assert_int_equal(after.made - before.made, RACES);
	for (unsigned int i = 0; i < RACES; i++) {
		struct flow_rec f;

		assert_true(lab_record(&lab, a.host, &frames[i], &f));
		assert_int_equal(f.pkts, 2);
		assert_int_equal(f.bytes, 2 * frames[i].len);
		assert_int_equal(f.state, CT_SYN_SENT);
	}
	lab_no_drops(&lab);
	free(frames);
}

/* First packets of one flow at the same time: one record, that counts both, and one connection. */
static void test_two_processors(void **state)
{
	COVERS(V4 | V6, F_RECORD_CPUS);
	for (v6 = false;; v6 = true) {
		race_on_two_processors();
		if (v6)
			break;
	}
}

#define SEGMENTS 10000

static void meet(atomic_uint *there, unsigned int *met)
{
	atomic_fetch_add(there, 1);
	*met += 2;
	while (atomic_load(there) < *met)
		;
}

/* The first or the second segment of each pair; who sends the first ones plays the server as well. */
static void *send_half(void *arg)
{
	struct racer *r = arg;
	unsigned int met = 0;
	struct frame f;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(r->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (uint32_t i = 0; i < SEGMENTS; i++) {
		build(&f, true, &(struct seg){ TCP_ACK, 1 + 20 * i + 10 * (uint32_t)r->cpu, 1, 10 });
		meet(r->there, &met);
		assert_int_equal(lab_run(&lab, a.host, &f, NULL), TC_ACT_REDIRECT);
		meet(r->there, &met);
		if (!r->cpu)
			r->passed += server(TCP_ACK, 1, 1 + 20 * (i + 1), 0, 60000);
		meet(r->there, &met);
	}
	return NULL;
}

/* Two segments of one direction at the same time: both have been sent, so both may be acknowledged. */
static void test_segments_on_two_processors(void **state)
{
	COVERS(V4 | V6, F_RECORD_CPUS, F_TCP_WINDOW);
	for (v6 = false;; v6 = true) {
		atomic_uint there = 0;
		struct racer r[2] = { { .cpu = 0, .there = &there }, { .cpu = 1, .there = &there } };
		pthread_t thread;

		handshake(scale_7, scale_7);
		assert_true(server(TCP_ACK, 1, 1, 0, 60000));
		assert_int_equal(pthread_create(&thread, NULL, send_half, &r[1]), 0);
		send_half(&r[0]);
		pthread_join(thread, NULL);
		assert_int_equal(r[0].passed, SEGMENTS);
		if (v6)
			break;
	}
	assert_not_dropped(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_window, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scale, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flags, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pick_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_states, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restarted_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_measures, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unsecured, setup, teardown),
		cmocka_unit_test_setup_teardown(test_trace, setup, teardown),
		cmocka_unit_test_setup_teardown(test_settings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_processors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_segments_on_two_processors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pressure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timeouts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_shed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cost, setup, teardown),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
