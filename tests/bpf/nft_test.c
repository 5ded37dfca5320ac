/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The datapath beside the kernel's own firewall: the same packets, valid and invalid, through a router with nftables and through
 * the datapath's programs; each must pass both or neither. Sequences are made from seeds, so that what was found once is found
 * again.
 *
 *	[ c ]---10.0.1.0/24--- node: nftables, forwarding ---10.0.2.0/24---[ v ]	the server is 10.0.2.1
 *	[ u ]----------------- node: datapath, one network --------------[ s ]		the same addresses
 */

#include "lab.h"
#include "router.h"

#include <linux/pkt_cls.h>
#include <stdio.h>
#include <string.h>

/*
 * Where both differ on purpose. The generator does not make these packets.
 *
 * | packet | nftables | here | why |
 * | --- | --- | --- | --- |
 * | a fragment before the first one | is kept and reassembled | dropped | no packet is stored |
 * | wrong TCP or UDP checksum | invalid | passes | the receiver checks; a frame of this node has none yet |
 * | SYN of the replier in TIME_WAIT or CLOSE | invalid | a new connection, if rules allow it | RFC 9293 section 3.6.1 knows no opener |
 * | RST, FIN, SYN-ACK of a tuple without connection | invalid | `ct_invalid` | the same, under its own name |
 * | RST with wrong numbers, after a FIN or with ACK | may pass | `ct_invalid` | RFC 5961 section 3.2 |
 * | after a SYN on a living connection that nobody answers | last segment counts | limits count | both guess |
 * | SACK blocks | widen bounds I and III | do not | RFC 2018 section 8: they say nothing about the window |
 */

#define SEEDS 100
#define STEPS 150
#define CPORT 69541 /* host sides: the router's ... */
#define VPORT 69542
#define SPORT 69543 /* ... and the datapath's */
#define UPORT 69544
#define SG_S 51

static const uint8_t mac_c[6] = { 2, 0, 0, 0, 5, 1 }, mac_v[6] = { 2, 0, 0, 0, 5, 2 },
		     mac_s[6] = { 2, 0, 0, 0, 5, 3 }, mac_u[6] = { 2, 0, 0, 0, 5, 4 },
		     mac_w[6] = { 2, 0, 0, 0, 5, 5 };

static struct lab lab;
static struct tport s, u;
static struct router router;

static const char rules[] =
	"table inet t {\n"
	"chain raw { type filter hook prerouting priority raw\n udp dport 9 notrack\n}\n"
	"chain f { type filter hook forward priority filter; policy drop\n"
	"udp dport 9 accept\n"
	"ct state established,related accept\n"
	"ct state invalid drop\n"
	"iifname p69541 tcp dport 80 accept\n"
	"iifname p69541 udp dport 53 accept\n"
	"iifname p69541 icmp type echo-request accept\n"
	"iifname p69541 icmpv6 type echo-request accept\n"
	"}\n}\n";

static int setup(void **state)
{
	static const struct dp_sg_rule in[] = {
		{ .family = IP_V4, .proto = 6, .has_ports = true, .port_min = 80, .port_max = 80 },
		{ .family = IP_V6, .proto = 6, .has_ports = true, .port_min = 80, .port_max = 80 },
		{ .family = IP_V4, .proto = 17, .has_ports = true, .port_min = 53, .port_max = 53 },
		{ .family = IP_V6, .proto = 17, .has_ports = true, .port_min = 53, .port_max = 53 },
		{ .family = IP_V4, .proto = 1, .has_ports = true, .port_min = 8, .port_max = 256 },
		{ .family = IP_V6, .proto = 58, .has_ports = true, .port_min = 128, .port_max = 256 },
	};

	lab_open(&lab);
	tport_make(&s, SPORT, mac_s, -1, "eth0");
	tport_make(&u, UPORT, mac_u, -1, "eth0");
	lab_port(&lab, &s, 1, DP_PORT_SECURITY, SG_S, "10.0.2.1/24", "fd00:2::1/64", NULL);
	lab_uplink(&lab, &u, 1, 0);
	OK(dp_sg_set(lab.dp, SG_S, in, 6, NULL, 0, &lab_err));
	router = (struct router){ .client.hosts = { "10.0.1.9", "fd00:1::9" },
				  .server.hosts = { "10.0.2.1", "fd00:2::1" } };
	router_make(&router, CPORT, mac_c, VPORT, mac_v, rules);
	return 0;
}

static int teardown(void **state)
{
	link_del(SPORT);
	link_del(UPORT);
	router_free(&router);
	tport_free(&s);
	tport_free(&u);
	lab_close(&lab);
	return 0;
}

/* ---- one packet through both ---- */

static bool datapath_passes(bool client, struct frame *f, enum drop_reason *why)
{
	uint64_t before[DROP_N], after[DROP_N];
	int verdict;

	memcpy(f->b, client ? mac_s : mac_w, 6);
	memcpy(f->b + 6, client ? mac_w : mac_s, 6);
	*why = DROP_NONE;
	OK(dp_drop_totals(lab.dp, before, DROP_N, &lab_err));
	verdict = lab_run(&lab, client ? u.host : s.host, f, NULL);
	assert_true(verdict == TC_ACT_SHOT || verdict == TC_ACT_REDIRECT);
	OK(dp_drop_totals(lab.dp, after, DROP_N, &lab_err));
	for (int i = 0; i < DROP_N; i++)
		if (after[i] != before[i])
			*why = (enum drop_reason)i;
	return verdict == TC_ACT_REDIRECT;
}

/* What was sent so far, in words, and by the client's port. */
static struct {
	uint16_t port;
	char line[200];
} said[STEPS];
static int n_said;

static void history_print(uint16_t port)
{
	for (int i = 0; i < n_said; i++)
		if (said[i].port == port)
			print_message("# %s\n", said[i].line);
}

/* True when both pass it or neither does. */
static bool same_verdict(bool client, const struct desc *d, struct frame *f, bool *passed)
{
	enum drop_reason why;
	bool linux_says = router_passes(&router, client, f, NULL),
	     we_say = datapath_passes(client, f, &why);

	assert_true(n_said < STEPS);
	said[n_said].port = client ? d->sport : d->dport;
	snprintf(said[n_said].line, sizeof(said[n_said].line),
		 "%s %s>%s proto %u port %u>%u flags %02x seq %u ack %u win %u size %zu type %u: nft %d, here %d %s",
		 client ? "C" : "S", d->src, d->dst, d->proto, d->sport, d->dport, d->flags,
		 d->tcp_seq, d->tcp_ack, d->tcp_win, d->payload, d->type, linux_says, we_say,
		 dp_drop_reason_name(why));
	n_said++;
	*passed = linux_says;
	if (linux_says == we_say)
		return true;
	history_print(said[n_said - 1].port);
	return false;
}

/* ---- sequences ---- */

static uint32_t seed;

static uint32_t any(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(seed >> 4) * n >> 28);
}

struct end {
	uint32_t next, acked; /* to send; of the other side */
	uint16_t win;
};
struct conn {
	bool v6;
	uint16_t port;
	int phase;	   /* 0 closed, 1 SYN, 2 SYN-ACK, 3 open */
	uint8_t fin;	   /* bit 0 of the client, bit 1 of the server */
	struct end end[2]; /* client, server */
};

static const uint8_t opt_scale[4] = { 1, 3, 3, 2 };
static uint16_t next_port = 1024;

static void conn_new(struct conn *n, bool v6)
{
	memset(n, 0, sizeof(*n));
	n->v6 = v6;
	n->port = ++next_port;
	for (int i = 0; i < 2; i++) {
		n->end[i].next = any(3) ? any(1u << 28) * 16 : 0xffffff00u + any(512);
		n->end[i].win = (uint16_t)(500 + any(6000));
	}
}

static void describe(const struct conn *n, bool client, struct desc *d)
{
	*d = (struct desc){ .smac = mac_w, .dmac = mac_w, .proto = 6 };
	d->src = n->v6 ? (client ? "fd00:1::9" : "fd00:2::1") : (client ? "10.0.1.9" : "10.0.2.1");
	d->dst = n->v6 ? (client ? "fd00:2::1" : "fd00:1::9") : (client ? "10.0.2.1" : "10.0.1.9");
	d->sport = client ? n->port : 80;
	d->dport = client ? 80 : n->port;
	d->tcp_seq = n->end[!client].next;
	d->tcp_ack = n->end[!client].acked;
	d->tcp_win = n->end[!client].win;
}

/* What a well-behaved end would send now. */
static bool proper(struct conn *n, struct desc *d)
{
	bool client = n->phase == 0 || n->phase == 2 || (n->phase == 3 && any(2));

	describe(n, client, d);
	if (n->phase < 2) {
		d->flags = n->phase ? TCP_SYN | TCP_ACK : TCP_SYN;
		if (any(2)) {
			d->opts = opt_scale;
			d->n_opts = 4;
		}
		return client;
	}
	d->flags = TCP_ACK;
	if (n->phase == 3)
		d->payload = any(3) ? 4 * any(100) : 0;
	if (n->phase == 3 && !any(8))
		d->flags |= TCP_FIN;
	if (n->phase == 3 && !any(30))
		d->flags = any(2) ? TCP_RST : TCP_RST | TCP_ACK;
	return client;
}

/* It was sent and arrived. */
static void happened(struct conn *n, bool client, const struct desc *d)
{
	struct end *me = &n->end[!client], *other = &n->end[client];
	uint32_t len = (uint32_t)d->payload + !!(d->flags & TCP_SYN) + !!(d->flags & TCP_FIN);

	me->next += len;
	other->acked = me->next;
	if (n->phase < 3)
		n->phase++;
	if (d->flags & TCP_FIN)
		n->fin |= client ? 1 : 2;
	if ((d->flags & TCP_RST) || (n->fin == 3 && any(2)))
		conn_new(n, n->v6);
}

static uint32_t shift(void)
{
	static const uint32_t by[] = {
		1,	    (uint32_t)-1,     700,    (uint32_t)-700,	 3000,
		30000,	    (uint32_t)-30000, 100000, (uint32_t)-100000, 0x40000000,
		0x80000000, 0xc0000000
	};

	return by[any(sizeof(by) / sizeof(*by))];
}

static void mutate(struct desc *d)
{
	switch (any(5)) {
	case 0:
		d->tcp_seq += shift();
		break;
	case 1:
		d->tcp_ack += shift();
		break;
	case 2:
		d->flags = (uint8_t)any(64);
		break;
	case 3:
		d->flags = any(2) ? TCP_RST : TCP_RST | TCP_ACK;
		d->tcp_seq += any(2) ? shift() : 0;
		break;
	case 4:
		d->flags = any(2) ? TCP_SYN : TCP_SYN | TCP_ACK;
		break;
	}
}

/* Leaves out what the table above says. */
static void tame(const struct conn *n, bool client, struct desc *d)
{
	if ((d->flags & TCP_RST) && (n->fin || n->phase == 2 || (d->flags & TCP_ACK)))
		d->flags = TCP_ACK;
	if (n->phase >= 2 || (!client && n->phase != 1))
		d->flags &= (uint8_t)~TCP_SYN;
}

static bool tcp_step(struct conn *n)
{
	struct desc d;
	struct frame f;
	bool bad = !any(3), client = proper(n, &d), passed;

	if (bad && any(2)) { /* from the other one */
		client = !client;
		describe(n, client, &d);
		d.flags = TCP_ACK;
	}
	if (bad) {
		mutate(&d);
		tame(n, client, &d);
	}
	frame_build(&f, &d);
	if (!same_verdict(client, &d, &f, &passed))
		return false;
	if (!bad || (d.flags & TCP_RST))
		happened(n, client, &d);
	else if (d.flags & TCP_FIN)
		n->fin |= 4;
	if (bad && passed && !n->phase) /* picked up under way: another sequence */
		conn_new(n, n->v6);
	return true;
}

static void test_tcp(void **state)
{
	COVERS(V4 | V6, F_NFT);

	struct conn n[3];
	int bad = 0;

	for (uint32_t i = 0; i < SEEDS; i++) {
		seed = i + 1;
		n_said = 0;
		for (int j = 0; j < 3; j++)
			conn_new(&n[j], i & 1);
		for (int step = 0; step < STEPS; step++) {
			if (tcp_step(&n[any(3)]))
				continue;
			print_message("# seed %u step %d differs\n", i + 1, step);
			bad++;
			break;
		}
	}
	assert_int_equal(bad, 0);
}

/* Datagrams, echoes, and errors about them, some about nothing that was ever sent. */
static void other_step(bool v6, bool client)
{
	struct desc d = { .smac = mac_w, .dmac = mac_w, .payload = 16 };
	struct frame f, about;
	bool passed;

	d.src = v6 ? (client ? "fd00:1::9" : "fd00:2::1") : (client ? "10.0.1.9" : "10.0.2.1");
	d.dst = v6 ? (client ? "fd00:2::1" : "fd00:1::9") : (client ? "10.0.2.1" : "10.0.1.9");
	if (any(2)) {
		d.proto = 17;
		d.sport = (uint16_t)(client ? 100 + any(8) : any(4) ? 53 : 54);
		d.dport = (uint16_t)(client ? (any(4) ? 53 : 54) : 100 + any(8));
	} else {
		d.proto = v6 ? 58 : 1;
		d.type = (uint8_t)(any(2) ? (v6 ? 128 : 8) : (v6 ? 129 : 0));
		d.sport = (uint16_t)any(6);
	}
	frame_build(&f, &d);
	if (!any(4)) { /* the same, turned round, inside an error */
		about = f;
		frame_icmp_error(&f, mac_w, mac_w, d.dst, d.src, &about);
		client = !client;
	}
	if (!same_verdict(client, &d, &f, &passed))
		fail_msg("differs");
}

static void test_others(void **state)
{
	COVERS(V4 | V6, F_NFT);
	for (uint32_t i = 0; i < 1500; i++) {
		seed = i + 1000;
		n_said = 0;
		any(2);
		other_step(i & 1, any(2));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tcp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_others, setup, teardown),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
