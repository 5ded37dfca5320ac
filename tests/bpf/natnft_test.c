/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Address translation beside the kernel's: the same connections through a router whose nftables translate, and through the datapath. Each
 * packet passes both or neither, and comes out as the same bytes, but for MACs, hop limit, and the port that is chosen when the own one is
 * taken: that must be another one on both sides. Sequences are made from seeds.
 *
 *	10.0.1.1..3, fd00:1::1..3 inside --- 10.0.2.254, fd00:2::254 --- 10.0.2.1, fd00:2::1 outside
 *
 * Where both differ on purpose. The generator does not make these packets.
 *
 * | packet | nftables | here | why |
 * | --- | --- | --- | --- |
 * | from a source that got another port, to a second destination | that port again, if free | its own port, if free | RFC 4787 section 4.1 cannot be kept by either; no list of sources is kept |
 * | a segment that connection tracking calls invalid, without a firewall | leaves untranslated | translated, or dropped | inside addresses are not told outside |
 * | fragments | put together, cut again | translated one by one | no packet is stored |
 * | SCTP whose port is taken | another port | dropped, `nat_ports` | its checksum covers the whole packet |
 */

#include "lab.h"
#include "router.h"

#include <linux/pkt_cls.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define SEEDS 200
#define STEPS 80
#define CPORT 69641 /* host sides: the router's ... */
#define VPORT 69642
#define APORT 69643 /* ... and the datapath's */
#define UPORT 69644
#define LIST 9
#define SG_A 71

static const uint8_t mac_c[6] = { 2, 0, 0, 0, 8, 1 }, mac_v[6] = { 2, 0, 0, 0, 8, 2 },
		     mac_a[6] = { 2, 0, 0, 0, 8, 3 }, mac_u[6] = { 2, 0, 0, 0, 8, 4 },
		     mac_w[6] = { 2, 0, 0, 0, 8, 5 }, mac_e[6] = { 2, 0, 0, 0, 8, 6 };

static struct lab lab;
static struct tport a, u;
static struct router router;

static const char rules[] =
	"table inet t {\n"
	"chain raw { type filter hook prerouting priority raw\n udp dport 9 notrack\n}\n"
	"chain own { type filter hook input priority filter; iifname p69642 drop; iifname p69641 drop\n}\n"
	"chain said { type filter hook output priority filter; meta l4proto { icmp, icmpv6 } drop\n}\n"
	"chain pre { type nat hook prerouting priority dstnat\n"
	"iifname p69642 ip daddr 10.0.2.254 tcp dport 8080 dnat ip to 10.0.1.1:80\n"
	"iifname p69642 ip6 daddr fd00:2::254 tcp dport 8080 dnat ip6 to [fd00:1::1]:80\n"
	"iifname p69642 ip daddr 10.0.2.254 udp dport 5300 dnat ip to 10.0.1.2:53\n"
	"iifname p69642 ip6 daddr fd00:2::254 udp dport 5300 dnat ip6 to [fd00:1::2]:53\n"
	"}\n"
	"chain post { type nat hook postrouting priority srcnat\n"
	"oifname p69642 ip saddr 10.0.1.0/24 snat ip to 10.0.2.254\n"
	"oifname p69642 ip6 saddr fd00:1::/64 snat ip6 to fd00:2::254\n"
	"}\n}\n";

static const char *inside(bool v6, int host)
{
	static const char *const text[2][3] = { { "10.0.1.1", "10.0.1.2", "10.0.1.3" },
						{ "fd00:1::1", "fd00:1::2", "fd00:1::3" } };

	return text[v6][host];
}

static const char *remote(bool v6)
{
	return v6 ? "fd00:2::1" : "10.0.2.1";
}

static const char *ours(bool v6)
{
	return v6 ? "fd00:2::254" : "10.0.2.254";
}

static void rules_here(void)
{
	struct dp_nat_rule r[6] = { 0 };

	for (int v6 = 0; v6 < 2; v6++) {
		struct dp_nat_rule *of = r + 3 * v6;

		of[0].to = ip_of(ours(v6));
		of[0].src = cidr_of(v6 ? "fd00:1::/64" : "10.0.1.0/24");
		for (int i = 1; i < 3; i++) {
			of[i].destination = true;
			of[i].dst = cidr_of(v6 ? "fd00:2::254/128" : "10.0.2.254/32");
			of[i].proto = i == 1 ? 6 : 17;
			of[i].has_dport = true;
			of[i].dport_min = of[i].dport_max = i == 1 ? 8080 : 5300;
			of[i].to = ip_of(inside(v6, i - 1));
			of[i].to_min = i == 1 ? 80 : 53;
		}
	}
	OK(dp_nat_set(lab.dp, LIST, r, 6, &lab_err));
}

static int setup(void **state)
{
	struct dp_net n = { .net = 1, .mtu = 1500, .uplink = { UPORT } };
	struct dp_port d = { .ifindex = { UPORT }, .net = 1, .flags = DP_PORT_UPLINK, .nat = LIST };
	static const struct dp_sg_rule any[4] = { { .family = IP_V4 },
						  { .family = IP_V6 },
						  { .family = IP_V4, .egress = true },
						  { .family = IP_V6, .egress = true } };
	struct frame f;

	lab_open(&lab);
	OK(dp_sg_set(lab.dp, SG_A, any, 4, NULL, 0, &lab_err));
	tport_make(&a, APORT, mac_a, -1, "eth0");
	tport_make(&u, UPORT, mac_u, -1, "eth0");
	lab_port(&lab, &a, 1, DP_PORT_SECURITY, SG_A, "10.0.1.1/24", "fd00:1::1/64", "10.0.1.2/24",
		 "fd00:1::2/64", "10.0.1.3/24", "fd00:1::3/64", NULL);
	OK(dp_net_set(lab.dp, &n, &lab_err));
	OK(dp_port_set(lab.dp, &d, &lab_err));
	rules_here();
	frame_arp(&f, mac_w, mac_e, 1, mac_w, "10.0.2.1", "10.0.2.254"); /* who is behind the uplink */
	(void)lab_run(&lab, UPORT, &f, NULL);
	router = (struct router){ .client.hosts = { "10.0.1.1", "10.0.1.2", "10.0.1.3", NULL },
				  .server.hosts = { "10.0.2.1", "fd00:2::1" } };
	router_make(&router, CPORT, mac_c, VPORT, mac_v, rules);
	for (int i = 0; i < 3; i++) {
		char words[96];

		snprintf(words, sizeof(words),
			 "neigh add %s lladdr 02:00:00:00:08:01 dev p69641 nud permanent",
			 inside(true, i));
		lab_ip(words);
	}
	return 0;
}

static int teardown(void **state)
{
	link_del(APORT);
	link_del(UPORT);
	router_free(&router);
	tport_free(&a);
	tport_free(&u);
	lab_close(&lab);
	return 0;
}

/* ---- one packet through both ---- */

static bool datapath_passes(bool out, struct frame *f, struct frame *ret)
{
	int verdict;

	memcpy(f->b, out ? mac_w : mac_e, 6);
	memcpy(f->b + 6, out ? mac_a : mac_w, 6);
	verdict = lab_run(&lab, out ? APORT : UPORT, f, ret);
	assert_true(verdict == TC_ACT_SHOT || verdict == TC_ACT_REDIRECT);
	return verdict == TC_ACT_REDIRECT;
}

/* The router has forwarded: one hop more, which the datapath is not. */
static void hop_back(struct frame *f)
{
	bool v6 = f->b[12] == 0x86;
	uint32_t sum;

	if (v6) {
		f->b[21]++;
		return;
	}
	f->b[22]++;
	sum = (uint32_t)(uint16_t) ~(f->b[24] << 8 | f->b[25]) + 0x100;
	sum = ~((sum & 0xffff) + (sum >> 16));
	f->b[24] = (uint8_t)(sum >> 8);
	f->b[25] = (uint8_t)sum;
}

static void dump(const char *who, const struct frame *f)
{
	char text[3 * 160 + 1] = "";

	for (size_t i = 14; i < f->len && i < 160; i++)
		snprintf(text + 3 * (i - 14), 4, "%02x ", f->b[i]);
	print_message("# %s: %s\n", who, text);
}

static void assert_same(const struct frame *there, const struct frame *here)
{
	if (there->len == here->len && !memcmp(there->b + 12, here->b + 12, here->len - 12))
		return;
	dump("nftables", there);
	dump("here    ", here);
	fail_msg("differs");
}

/* ---- sequences ---- */

static uint32_t seed;

static uint32_t any(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(seed >> 4) * n >> 28);
}

/* A connection as its opener knows it, and the outside port that each side gave it. */
struct conn {
	bool v6, from_outside;
	int host;
	uint8_t proto; /* 1 stands for both kinds of ICMP */
	uint16_t sport, dport;
	int phase; /* 0: nothing was sent, 1: opened, 2: answered */
	uint16_t there, here;
	struct frame sent_there, sent_here; /* the last packet as it left */
	bool sent_out;
};

#define N_CONNS 24

static void conns_new(struct conn *c, bool v6, uint16_t base)
{
	static const uint8_t protos[3] = { 17, 6, 1 };

	memset(c, 0, N_CONNS * sizeof(*c));
	for (int i = 0; i < N_CONNS; i++) {
		c[i].v6 = v6;
		c[i].host = i % 3;
		c[i].proto = protos[i / 3 % 3];
		c[i].sport = (uint16_t)(base + i / 9); /* three hosts want the same port */
		c[i].dport = c[i].proto == 17 ? 53 : 80;
		if (i < 18)
			continue;
		c[i].from_outside = true;
		c[i].proto = i & 1 ? 6 : 17;
		c[i].sport = (uint16_t)(base + 1000 + i);
		c[i].host = i & 1 ? 0 : 1;
		c[i].dport = i & 1 ? 80 : 53;
	}
}

static bool is_icmp(const struct conn *c)
{
	return c->proto == 1;
}

/* `out`: to the outside. `port`: what the connection has there. */
static void build(const struct conn *c, bool out, uint16_t port, struct frame *f)
{
	bool opens = out != c->from_outside;
	uint16_t forwarded = c->proto == 6 ? 8080 : 5300;
	struct desc d = {
		.smac = mac_w, .dmac = mac_w, .proto = c->proto, .payload = 12 + c->host, .seq = seed
	};

	d.src = out ? inside(c->v6, c->host) : remote(c->v6);
	d.dst = out ? remote(c->v6) : ours(c->v6);
	if (is_icmp(c)) {
		d.proto = c->v6 ? 58 : 1;
		d.type = opens ? (c->v6 ? 128 : 8) : (c->v6 ? 129 : 0);
		d.sport = opens ? c->sport : port;
	} else if (c->from_outside) {
		d.sport = out ? c->dport : c->sport;
		d.dport = out ? c->sport : forwarded;
	} else {
		d.sport = out ? c->sport : c->dport;
		d.dport = out ? c->dport : port;
	}
	if (c->proto == 6) {
		d.flags = !opens       ? (c->phase < 2 ? TCP_SYN | TCP_ACK : TCP_ACK) :
			  c->phase < 2 ? TCP_SYN :
					 TCP_ACK;
		d.tcp_seq = (opens ? 100u : 900u) + !(d.flags & TCP_SYN);
		d.tcp_ack = d.flags & TCP_ACK ? (opens ? 901 : 101) : 0;
		d.tcp_win = 8000;
		d.payload = 0;
	}
	frame_build(f, &d);
}

static uint16_t *port_of(struct frame *f, const struct conn *c)
{
	return (uint16_t *)(void *)(f->b + (c->v6 ? 54 : 34) + (is_icmp(c) ? 4 : 0));
}

/* The port that each chose stands for the same; the checksum with it. */
static void same_port(const struct conn *c, struct frame *there, const struct frame *here)
{
	size_t sum = (c->v6 ? 54u : 34u) + (is_icmp(c) ? 2 : c->proto == 6 ? 16 : 6);

	memcpy(port_of(there, c), port_of((struct frame *)(uintptr_t)here, c), 2);
	memcpy(there->b + sum, here->b + sum, 2);
}

static uint16_t host16(const uint16_t *at)
{
	const uint8_t *b = (const uint8_t *)at;

	return (uint16_t)(b[0] << 8 | b[1]);
}

/* Ports that a side has given to hosts: index of the host + 1, by family and protocol. */
typedef uint8_t owners[2][3][65536];
static owners taken_there, taken_here;

/* The own port, unless another host has it; never one that another host has. */
static void note_port(owners *taken, const struct conn *c, uint16_t port)
{
	uint8_t(*of)[65536] = &(*taken)[c->v6][c->proto == 17 ? 0 : c->proto == 6 ? 1 : 2];

	if (port != c->sport && !(*of)[c->sport])
		fail_msg("port %u becomes %u, and nobody has it", c->sport, port);
	if ((*of)[port] && (*of)[port] != c->host + 1)
		fail_msg("port %u of host %d is that of host %d", port, c->host, (*of)[port] - 1);
	(*of)[port] = (uint8_t)(c->host + 1);
}

static bool sums_ok(const struct frame *f, const struct conn *c)
{
	return (is_icmp(c) && !c->v6) || frame_sums_ok(f);
}

/* False when neither passes it; else what comes out. */
static bool both_pass(bool out, struct frame *to_nft, struct frame *to_us, struct frame *there,
		      struct frame *here)
{
	bool there_passes = router_passes(&router, out, to_nft, there);
	bool here_passes = datapath_passes(out, to_us, here);

	assert_int_equal(there_passes, here_passes);
	if (here_passes)
		hop_back(there);
	return here_passes;
}

static void step_send(struct conn *c, bool out)
{
	bool opens = out != c->from_outside;
	struct frame to_nft, to_us, there, here;

	build(c, out, c->there, &to_nft);
	build(c, out, c->here, &to_us);
	if (!both_pass(out, &to_nft, &to_us, &there, &here))
		return;
	c->sent_there = there;
	c->sent_here = here;
	c->sent_out = out;
	if (opens && out) {
		c->there = host16(port_of(&there, c));
		c->here = host16(port_of(&here, c));
		note_port(&taken_there, c, c->there);
		note_port(&taken_here, c, c->here);
		assert_true(sums_ok(&here, c));
		same_port(c, &there, &here);
	}
	assert_same(&there, &here);
	if (c->phase < (opens ? 1 : 2))
		c->phase++;
}

static int n_errors;

/* About the last packet of the connection, by who got it or by somebody on the way. */
static void step_error(struct conn *c)
{
	bool out = !c->sent_out;
	bool v6 = c->v6, on_the_way = any(2);
	const char *src = out ? inside(v6, on_the_way ? 2 : c->host) :
			  v6  ? "fd00:2::7" :
				"10.0.2.7";
	const char *dst = out ? remote(v6) : ours(v6);
	struct frame to_nft, to_us, there, here;

	if (!c->phase)
		return;
	if (!out && !on_the_way)
		src = remote(v6);
	frame_icmp_error(&to_nft, mac_w, mac_w, src, dst, &c->sent_there);
	frame_icmp_error(&to_us, mac_w, mac_w, src, dst, &c->sent_here);
	if (!both_pass(out, &to_nft, &to_us, &there, &here))
		return;
	if (out && !c->from_outside) { /* it quotes what came to the chosen port: see same_port() */
		size_t l4 = v6 ? 14 + 40 + 8 + 40 : 14 + 20 + 8 + 20;
		size_t sum = l4 + (is_icmp(c) ? 2 : c->proto == 6 ? 16 : 6);

		memcpy(there.b + l4 + (is_icmp(c) ? 4 : 2), here.b + l4 + (is_icmp(c) ? 4 : 2), 2);
		memcpy(there.b + sum, here.b + sum, 2);
	}
	assert_same(&there, &here);
	n_errors++;
}

/* Nobody opened it. */
static void step_stray(bool v6)
{
	struct conn c = { .v6 = v6, .proto = any(2) ? 17 : 6, .dport = 54, .phase = 2 };
	struct frame to_nft, to_us;

	build(&c, false, (uint16_t)(40000 + any(1000)), &to_nft);
	to_us = to_nft;
	assert_false(router_passes(&router, false, &to_nft, NULL));
	assert_false(datapath_passes(false, &to_us, NULL));
}

static void step(struct conn *c)
{
	switch (any(8)) {
	case 0:
		step_stray(c->v6);
		return;
	case 1:
	case 2:
		step_error(c);
		return;
	case 3:
	case 4:
	case 5:
		if (c->phase) {
			step_send(c, c->from_outside);
			return;
		}
	}
	step_send(c, !c->from_outside);
}

static void test_connections(void **state)
{
	COVERS(V4 | V6, F_NFT, F_NAT, F_NAT_ERRORS);

	static struct conn c[N_CONNS];
	int n_moved = 0;

	for (uint32_t i = 0; i < SEEDS; i++) {
		seed = i + 1;
		conns_new(c, i & 1, (uint16_t)(2000 + 4 * i));
		for (int n = 0; n < STEPS; n++)
			step(&c[any(N_CONNS)]);
		for (int n = 0; n < N_CONNS; n++)
			n_moved += c[n].phase && !c[n].from_outside && c[n].here != c[n].sport;
	}
	assert_true(n_moved > 300 && n_errors > 1000); /* of what is to be compared there was enough */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_connections, setup, teardown),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
