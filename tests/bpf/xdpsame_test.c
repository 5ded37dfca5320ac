/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The same packets through the tc program alone, and through the XDP program with the tc program behind it, for whatever a record can order:
 * verdicts, bytes, drops, counters and records are the same, and what XDP passes on is as it came.
 *
 *   x 10.0.0.1 fd00::1 --- [ U ]  network 1  [ W ] --- y 10.0.0.2 fd00::2
 *
 * A scene sets the ports up, and says under which addresses x and y know each other.
 */

#include "tunnel_lab.h"

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "ct.h"
#include "dp/encap.h"
#include "limit.h"
#include "meter.h"

#define U 65637
#define W 65638
#define LIST 5
#define TUNNEL (DP_PSEUDO_PORT + 7)
#define N_PACKETS 1000
#define CLIENTS 3
#define RECORDS_MAX 4096

static const uint8_t mac_x[6] = { 2, 0, 0, 0, 3, 0xa }, mac_y[6] = { 2, 0, 0, 0, 3, 0xb },
		     mac_u[6] = { 2, 0, 0, 0, 3, 0xe }, mac_w[6] = { 2, 0, 0, 0, 3, 0xf };

/* How one host is known to itself, and to the other one. */
struct who {
	const char *own[2], *known[2]; /* by family */
	uint16_t own_port, known_port; /* of a server */
};

struct scene {
	const char *name;
	void (*ports)(void);
	struct who x, y;
	unsigned int vlan_u, vlan_w;
	unsigned int outer_u, outer_w; /* service tags around those; 0: none */
	enum dp_tunnel_type tunnel;    /* behind W; 0: none */
	bool outer6;
	unsigned int xdp_share; /* percent of the packets, at least, that XDP sends by itself; 0: none is */
	void (*frame)(struct frame *f, unsigned int *seed, bool *x);
	unsigned int drop_share;   /* percent of the packets, at least, that XDP drops */
	unsigned int answer_share; /* percent of the cookies, that it gives but for the first ones */
};

static struct lab lab;
static struct tport u, w;
static const struct scene *scene;
static int n_packets = N_PACKETS;
static struct encap_rec far_header; /* of the far end of the tunnel */
static int i_packet;

/* A SYN that got a cookie. */
struct given {
	struct desc syn;
	char src[40];
	uint32_t cookie;
};
#define GIVEN_MAX 16
static struct given given[GIVEN_MAX], last_syn;
static unsigned int n_given;

/* ---- the ports ---- */

static int map_open(const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/v%d/%s", lab.pin, ABI_VERSION, name);
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	return fd;
}

/* As a NIC whose driver sends nothing for other NICs' programs. */
static void sends_none(int index)
{
	struct attach_rec a;
	int fd = map_open("attached");

	assert_int_equal(bpf_map_lookup_elem(fd, &index, &a), 0);
	a.flags &= ~(uint32_t)PORT_XDP_OUT;
	assert_int_equal(bpf_map_update_elem(fd, &index, &a, BPF_EXIST), 0);
	close(fd);
}

static void open_all(void)
{
	lab_open(&lab);
	lab_nic(&lab, &u, U, mac_u);
	lab_nic(&lab, &w, W, mac_w);
	scene->ports();
}

static void close_all(void)
{
	link_del(U);
	link_del(W);
	tport_free(&u);
	tport_free(&w);
	lab_close(&lab);
}

static struct dp_port uplink(int index)
{
	struct dp_port d = { .ifindex = { index }, .net = 1, .flags = DP_PORT_UPLINK };

	return d;
}

static void set(struct dp_port d)
{
	struct dp_net n = { .net = d.net, .mtu = 1500 };

	OK(dp_net_set(lab.dp, &n, &lab_err));
	OK(dp_port_set(lab.dp, &d, &lab_err));
}

static void plain(void)
{
	set(uplink(U));
	set(uplink(W));
}

static void deny_some(void)
{
	struct dp_acl_rule rules[] = {
		{ .id = 1, .deny = true, .proto = 17, .has_dport = true, .dport_min = 80, .dport_max = 80 },
		{ .id = 2 }
	};
	struct dp_port d = uplink(U);

	d.acl_from[0] = LIST;
	OK(dp_acl_set(lab.dp, LIST, rules, ARRAY_LEN(rules), &lab_err));
	set(d);
	set(uplink(W));
}

/* `port`: that all connections get; 0: they keep theirs. */
static void source_rules(uint16_t port)
{
	struct dp_nat_rule r[2] = { { .id = 1, .to_min = port, .to_max = port },
				    { .id = 2, .to_min = port, .to_max = port } };

	r[0].src = cidr_of("10.0.0.1/32");
	r[0].to = ip_of("198.51.100.1");
	r[1].src = cidr_of("fd00::1/128");
	r[1].to = ip_of("2001:db8:1::1");
	OK(dp_nat_set(lab.dp, LIST, r, 2, &lab_err));
}

static void source_nat(void)
{
	struct dp_port d = uplink(W);

	source_rules(0);
	d.nat = LIST;
	set(uplink(U));
	set(d);
}

static void source_ports(void)
{
	source_nat();
	source_rules(40000);
}

static void dest_rules(uint32_t list)
{
	struct dp_nat_rule r[4] = {
		{ .id = 1, .dst = cidr_of("198.51.100.2/32"), .to = ip_of("10.0.0.2") },
		{ .id = 2, .dst = cidr_of("2001:db8:1::2/128"), .to = ip_of("fd00::2") },
	};

	for (int i = 2; i < 4; i++)
		r[i] = r[i - 2];
	for (int i = 0; i < 2; i++) {
		r[i].destination = r[i + 2].destination = true;
		r[i].has_dport = true;
		r[i].proto = 0;
		r[i].dport_min = r[i].dport_max = 8080;
		r[i].to_min = 80;
	}
	r[0].proto = r[1].proto = 6;
	OK(dp_nat_set(lab.dp, list, r, 4, &lab_err));
}

static void destination_nat(void)
{
	struct dp_port d = uplink(U);

	dest_rules(LIST);
	d.nat = LIST;
	set(d);
	set(uplink(W));
}

static void both_nat(void)
{
	struct dp_port d = uplink(U);

	source_nat();
	dest_rules(LIST + 1);
	d.nat = LIST + 1;
	set(d);
}

static void marked(void)
{
	struct dp_port a = uplink(U), b = uplink(W);

	a.has_dscp = b.has_dscp = true;
	a.dscp = 46;
	b.dscp = 0;
	set(a);
	set(b);
}

static void metered(void)
{
	struct dp_meter m = { .id = 3, .rate_pps = 10000000, .burst_pkts = 10000000 };
	struct dp_port d = uplink(U);

	OK(dp_meter_set(lab.dp, &m, &lab_err));
	d.meter_from = 3;
	set(d);
	set(uplink(W));
}

static void all_but_mirror(void)
{
	struct dp_meter m = { .id = 3, .rate_pps = 10000000, .burst_pkts = 10000000 };
	struct dp_port d = uplink(U);

	source_nat();
	OK(dp_meter_set(lab.dp, &m, &lab_err));
	d.meter_from = 3;
	d.has_dscp = true;
	d.dscp = 10;
	set(d);
}

static void mirrored(void)
{
	struct dp_port d = uplink(U);

	d.mirror_to = (ifindex){ U };
	set(d);
	set(uplink(W));
}

static struct dp_port uplink_tagged(int index)
{
	struct dp_port d = uplink(index);

	d.vlan = (vlan_id){ (uint16_t)(index == U ? scene->vlan_u : scene->vlan_w) };
	d.outer_vlan = (vlan_id){ (uint16_t)(index == U ? scene->outer_u : scene->outer_w) };
	return d;
}

static void tagged(void)
{
	set(uplink_tagged(U));
	set(uplink_tagged(W));
}

static void tagged_nat(void)
{
	struct dp_port a = uplink_tagged(U), b = uplink_tagged(W);

	source_rules(0);
	b.nat = LIST;
	a.has_dscp = true;
	a.dscp = 12;
	set(a);
	set(b);
}

static struct mac mac_of(const uint8_t *b)
{
	struct mac m;

	memcpy(m.b, b, 6);
	return m;
}

/* The NIC's own. */
static struct mac mac_near(int index)
{
	struct mac m;

	link_mac(index, m.b);
	return m;
}

static struct dp_tunnel tunnel(bool far)
{
	struct dp_tunnel t = { .port = { TUNNEL },
			       .net = 1,
			       .type = scene->tunnel,
			       .id = 4242,
			       .underlay = { W },
			       .underlay_vlan = { (uint16_t)scene->vlan_w },
			       .underlay_mtu = 1500 };
	struct ip_addr one = ip_of(scene->outer6 ? "2001:db8::1" : "192.0.2.1");
	struct ip_addr two = ip_of(scene->outer6 ? "2001:db8::2" : "192.0.2.2");

	t.local = far ? two : one;
	t.remote = far ? one : two;
	t.smac = far ? mac_of(mac_w) : mac_near(W);
	t.dmac = far ? mac_near(W) : mac_of(mac_w);
	if (t.type == DP_TUNNEL_VXLAN_GPE) {
		t.nsh_path = 77;
		t.nsh_index = 254;
	}
	return t;
}

static void tunnelled(void)
{
	struct dp_tunnel near = tunnel(false), far = tunnel(true);
	struct dp_port b = uplink_tagged(W);

	b.net = 2;
	set(uplink_tagged(U));
	set(b);
	OK(encap_build(&far, &far_header, &lab_err));
	OK(dp_tunnel_set(lab.dp, &near, &lab_err));
}

static void tunnelled_nat(void)
{
	struct dp_tunnel t = tunnel(false);
	struct dp_port a = uplink(U);

	tunnelled();
	source_rules(0);
	a.has_dscp = true;
	a.dscp = 12;
	set(a);
	t.nat = LIST;
	OK(dp_tunnel_set(lab.dp, &t, &lab_err));
}

/* A bit of the outer header, or where the frame ends. Linux 6.18 runs no program on less than an IP header. */
static void damage(struct frame *f, unsigned int *seed)
{
	size_t least = scene->outer6 ? 54 : 34;

	if (rand_r(seed) % 4)
		f->b[(unsigned int)rand_r(seed) % far_header.size] ^= (uint8_t)(1U << rand_r(seed) % 8);
	else
		f->len = least + (unsigned int)rand_r(seed) % (f->len - least);
}

/* ---- floods ---- */

#define STORM_FROM 100 /* packet from which on the meter is empty */

/* Seconds that last a day: what is counted for each of them does not depend on how fast the test is. */
static void stop_seconds(void)
{
	struct dp_ct c = { .timeout_s = { [CT_ESTABLISHED] = 100, [CT_GENERIC] = 100 } };
	struct dp_globals g;
	uint32_t zero = 0;
	int fd = map_open("globals");

	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &g), 0);
	g.hz = 1U << 24;
	assert_int_equal(bpf_map_update_elem(fd, &zero, &g, 0), 0);
	close(fd);
	OK(dp_ct_set(lab.dp, &c, &lab_err));
}

static void flood_port(struct dp_port *d)
{
	static const struct dp_acl_rule some = { .id = 3 };
	struct dp_acl_rule rules[3] = {
		{ .id = 1, .deny = true, .proto = 6 },
		{ .id = 2, .deny = true, .proto = 17, .has_dport = true, .dport_min = 53, .dport_max = 53 },
		some
	};

	rules[0].src = cidr_of("10.1.192.0/18");
	d->vlan = (vlan_id){ (uint16_t)scene->vlan_w };
	d->acl_to[0] = LIST;
	OK(dp_acl_set(lab.dp, LIST, rules, ARRAY_LEN(rules), &lab_err));
}

static void flood_ports(struct dp_limits l)
{
	struct dp_port a = uplink(U), b = uplink(W);

	stop_seconds();
	flood_port(&b);
	a.vlan = (vlan_id){ (uint16_t)scene->vlan_u };
	b.limits = l;
	set(a);
	set(b);
}

static void cookies(void)
{
	flood_ports((struct dp_limits){ .half_open = 20, .syn_cookies = true });
}

static void cookies_of_sources(void)
{
	flood_ports((struct dp_limits){
		.half_open = 60, .source_half_open = 2, .source_rate = 40, .syn_cookies = true });
}

static void no_cookies(void)
{
	flood_ports((struct dp_limits){ .half_open = 60, .source_half_open = 2, .source_rate = 5 });
}

static void cookies_translated(void)
{
	struct dp_port a = uplink(U);

	cookies();
	dest_rules(LIST + 1);
	a.nat = LIST + 1;
	set(a);
}

/* A server's port: port security, groups, cookies. The NIC takes no frames from XDP programs of others. */
static void cookies_secured(void)
{
	static const struct dp_sg_rule rules[] = {
		{ .family = IP_V4, .proto = 6, .has_ports = true, .port_min = 80, .port_max = 80 },
		{ .family = IP_V6, .proto = 6, .has_ports = true, .port_min = 80, .port_max = 80 },
		{ .egress = true, .family = IP_V4 },
		{ .egress = true, .family = IP_V6 },
	};
	struct dp_port b = { .ifindex = { W },
			     .net = 1,
			     .flags = DP_PORT_SECURITY,
			     .mac = mac_of(mac_y),
			     .n_addrs = 2,
			     .n_sgs = 1,
			     .sgs = { 41 } };

	sends_none(U); /* answers leave by XDP_TX */
	cookies();
	OK(dp_sg_set(lab.dp, 41, rules, ARRAY_LEN(rules), NULL, 0, &lab_err));
	b.addrs[0] = (struct dp_addr){ cidr_of("10.0.0.2/24"), b.mac, true };
	b.addrs[1] = (struct dp_addr){ cidr_of("fd00::2/64"), b.mac, true };
	b.limits = (struct dp_limits){ .half_open = 20, .syn_cookies = true };
	flood_port(&b);
	set(b);
}

/* Hosts of a LAN: strangers' addresses, and more broadcast than is allowed. */
static void guarded(void)
{
	struct dp_meter m = { .id = 3, .rate_pps = 10000000, .burst_pkts = 10000000 };
	struct dp_port a = uplink(U);

	stop_seconds();
	OK(dp_meter_set(lab.dp, &m, &lab_err));
	a.vlan = (vlan_id){ (uint16_t)scene->vlan_u };
	a.guards = DP_GUARD_SOURCE | DP_GUARD_RA | DP_GUARD_DHCP;
	a.storm_meter = 3;
	a.n_addrs = 2;
	a.addrs[0] = (struct dp_addr){ cidr_of("10.0.0.1/32"), mac_of(mac_x), false };
	a.addrs[1] = (struct dp_addr){ cidr_of("fd00::1/128"), mac_of(mac_x), false };
	set(a);
	set(uplink(W));
}

/* ---- frames of tunnels ---- */

/* What the far end makes of a frame. Nobody looks at the outer checksum. */
static void wrap(struct frame *f, unsigned int *seed)
{
	size_t head = far_header.size, l4 = scene->outer6 ? 54 : 34;
	unsigned int total;

	if (f->b[12] == 0x86) /* what has no checksum to be wrong then */
		f->b[15] |= (uint8_t)(rand_r(seed) % 4 << 4);
	memmove(f->b + head, f->b, f->len);
	memcpy(f->b, far_header.hdr, head);
	f->len += head;
	total = (unsigned int)f->len - 14;
	if (far_header.family && scene->outer6)
		total -= 40;
	if (far_header.family) {
		f->b[scene->outer6 ? 18 : 16] = (uint8_t)(total >> 8);
		f->b[scene->outer6 ? 19 : 17] = (uint8_t)total;
		if (!(rand_r(seed) % 8)) /* marked on the way, or congested */
			f->b[15] |= (uint8_t)((1 + rand_r(seed) % 3) << (scene->outer6 ? 4 : 0));
	}
	if (far_header.flags & ENCAP_UDP) {
		f->b[l4 + 4] = (uint8_t)((f->len - l4) >> 8);
		f->b[l4 + 5] = (uint8_t)(f->len - l4);
	}
	if (!(rand_r(seed) % 8))
		damage(f, seed);
	if (scene->vlan_w)
		frame_tag(f, 0x8100, scene->vlan_w);
}

/* IEEE 802.1Q-2018 table 9-1: a port behind one tag takes either type. */
static void retag(struct frame *f, unsigned int outer, unsigned int *seed)
{
	if (outer)
		frame_tag(f, rand_r(seed) % 4 ? 0x88a8 : 0x8100, outer);
	else if (!(rand_r(seed) % 8))
		memcpy(f->b + 12, "\x88\xa8", 2);
	if (!(rand_r(seed) % 64))
		frame_tag(f, 0x8100, 5); /* one too many */
}

/* The source port and the flow label are the connection's own: they come of when it began. The NIC's MAC is made anew. */
static void unlabel(struct frame *f)
{
	bool v6 = f->b[12] == 0x86;
	size_t l4 = v6 ? 54 : 34;

	if (memcmp(f->b, mac_w, 6) != 0)
		return; /* it has left its tunnel */
	memset(f->b + 6, 0, 6);
	if (v6)
		f->b[16] = f->b[17] = 0;
	if (f->b[12] != 0x88 && f->b[v6 ? 20 : 23] == 17)
		f->b[l4] = f->b[l4 + 1] = 0;
}

/* ---- the packets ---- */

/* From one host, as it knows itself and the other one. */
static void ends(struct desc *d, bool x, bool v6, uint16_t client)
{
	const struct who *from = x ? &scene->x : &scene->y, *to = x ? &scene->y : &scene->x;

	d->smac = x ? mac_x : mac_y;
	d->dmac = x ? mac_y : mac_x;
	d->src = from->own[v6];
	d->dst = to->known[v6];
	d->sport = x ? client : scene->y.own_port;
	d->dport = x ? scene->y.known_port : client;
	d->vlan = (int)(x ? scene->vlan_u : scene->tunnel ? 0 : scene->vlan_w);
}

static void tcp(struct desc *d, unsigned int *seed, bool x)
{
	static const uint8_t rare[] = { TCP_SYN, TCP_SYN | TCP_ACK, TCP_FIN | TCP_ACK, TCP_RST, 0 };

	d->proto = 6;
	d->flags = rand_r(seed) % 24 ? TCP_ACK | (rand_r(seed) & TCP_PSH) :
				       rare[(unsigned int)rand_r(seed) % sizeof(rare)];
	d->tcp_seq = (uint32_t)(x ? 101 : 501) + (uint32_t)(rand_r(seed) % 40);
	d->tcp_ack = (uint32_t)(x ? 501 : 101) + (uint32_t)(rand_r(seed) % 40);
	d->tcp_win = (uint16_t)(1000 + rand_r(seed) % 3);
}

static void echo(struct desc *d, bool x, bool v6)
{
	d->proto = v6 ? 58 : 1;
	d->type = v6 ? (x ? 128 : 129) : (x ? 8 : 0);
	if (!x)
		d->sport = d->dport; /* the identifier is the client's */
}

/* What few packets are. */
static void odd(struct frame *f, const struct desc *d, unsigned int *seed)
{
	size_t l3 = d->vlan ? 18 : 14; /* of two tags, one is not on yet */
	struct frame about;
	struct desc back;

	switch (rand_r(seed) % 7) {
	case 0:
		f->len -= (size_t)rand_r(seed) % 12;
		return;
	case 1:
		if (f->b[l3] == 0x45)
			f->b[l3 + 6] = (uint8_t)(rand_r(seed) & 1 ? 0x20 : 0); /* more follow */
		return;
	case 2:
		f->b[l3] ^= (uint8_t)(1U << rand_r(seed) % 8);
		return;
	case 3:
		f->b[11] ^= 0x40; /* somebody else's */
		return;
	case 4:
		f->b[f->len - 1] ^= 1; /* a wrong checksum stays wrong */
		return;
	case 5:
		f->b[l3 + 1] ^= 3; /* ECN; its checksum is wrong now */
		return;
	default:
		if (d->proto != 17 || d->vlan)
			return;
		back = *d;
		back.src = d->dst;
		back.dst = d->src;
		back.sport = d->dport;
		back.dport = d->sport;
		frame_build(&about, &back);
		frame_icmp_error(f, d->smac, d->dmac, d->src, d->dst, &about);
	}
}

static void any_frame(struct frame *f, unsigned int *seed, bool *x)
{
	unsigned int kind = (unsigned int)rand_r(seed) % 16;
	bool v6 = rand_r(seed) & 1;
	struct desc d = { .payload = (size_t)(rand_r(seed) % 60), .seq = (uint32_t)rand_r(seed) };

	*x = rand_r(seed) & 1;
	ends(&d, *x, v6, (uint16_t)(1000 + rand_r(seed) % CLIENTS));
	d.proto = 17;
	if (kind < 8)
		tcp(&d, seed, *x);
	else if (kind < 10)
		echo(&d, *x, v6);
	frame_build(f, &d);
	if (kind == 10 && !v6 && !d.vlan && d.proto == 17)
		f->b[40] = f->b[41] = 0; /* RFC 768: no checksum */
	if (kind == 15)
		odd(f, &d, seed);
	if (scene->tunnel && !*x)
		wrap(f, seed);
	else if (d.vlan)
		retag(f, *x ? scene->outer_u : scene->outer_w, seed);
}

/* From somewhere to the server. `few`: of so many hosts. */
static void from_anywhere(struct desc *d, char src[40], unsigned int *seed, bool v6, int few)
{
	unsigned int who = (unsigned int)(rand_r(seed) % (few ? few : 65536));

	*d = (struct desc){ .proto = 6, .flags = TCP_SYN, .tcp_win = 5000 };
	ends(d, true, v6, (uint16_t)(1024 + rand_r(seed) % 60000));
	snprintf(src, 40, v6 ? "fd01:%x::9" : "10.1.%u.%u", v6 ? who : who >> 8, who & 255);
	d->src = src;
	d->tcp_seq = (uint32_t)rand_r(seed);
}

/* Options as they should be, and as they should not. */
static void syn_options(struct desc *d, unsigned int *seed)
{
	static const uint8_t all[] = { 2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7 },
			     small[] = { 2, 4, 2, 24 }, cut[] = { 1, 1, 1, 2 },
			     none[] = { 2, 0, 5, 180 }, far[] = { 3, 3, 7, 2, 200, 5, 180, 0 },
			     end[] = { 0, 2, 4, 5 };
	static const struct {
		const uint8_t *b;
		size_t n;
	} of[] = { { all, 20 }, { all, 8 }, { small, 4 }, { cut, 4 },
		   { none, 4 }, { far, 8 }, { end, 4 },	  { NULL, 0 } };
	unsigned int i = (unsigned int)rand_r(seed) % (2 * ARRAY_LEN(of));

	i = i < ARRAY_LEN(of) ? i : 0;
	d->opts = of[i].b;
	d->n_opts = of[i].n;
}

/* What a cookie that was given brings back, and what it should not. */
static bool bring_back(struct desc *d, unsigned int *seed)
{
	struct given *g = &given[(unsigned int)rand_r(seed) % GIVEN_MAX];
	int wrong = rand_r(seed) % 8;

	if (!g->cookie)
		return false;
	*d = g->syn;
	d->flags = wrong == 7 ? TCP_ACK | TCP_PSH : TCP_ACK;
	d->tcp_seq = g->syn.tcp_seq + 1 + (uint32_t)(wrong == 1);
	d->tcp_ack = g->cookie + 1 + (uint32_t)(wrong == 2 ? 1U << 24 : wrong == 3 ? 9 : 0);
	d->dport = (uint16_t)(d->dport + (wrong == 4));
	d->payload = wrong == 5 ? 12 : 0;
	d->n_opts = 0;
	return true;
}

static void ip_options(struct frame *f, const struct desc *d)
{
	size_t l3 = d->vlan ? 18 : 14;

	if (f->b[l3] != 0x45)
		return;
	memmove(f->b + l3 + 24, f->b + l3 + 20, f->len - l3 - 20);
	memset(f->b + l3 + 20, 1, 4);
	f->b[l3] = 0x46;
	f->b[l3 + 3] = (uint8_t)(f->b[l3 + 3] + 4);
	f->len += 4;
}

static void syn_frame(struct frame *f, unsigned int *seed, bool *x)
{
	unsigned int kind = (unsigned int)rand_r(seed) % 16;
	bool v6 = rand_r(seed) & 1;
	struct desc d;

	memset(&last_syn, 0, sizeof(last_syn));
	if (kind >= 13) {
		any_frame(f, seed, x);
		return;
	}
	*x = true;
	from_anywhere(&d, last_syn.src, seed, v6, kind < 2 ? 3 : 0);
	syn_options(&d, seed);
	if (kind == 3)
		d.flags = (uint8_t)(rand_r(seed) & 0x3f);
	if (kind == 4)
		d.payload = 20;
	if (kind == 5)
		d.flags = TCP_ACK;
	if (kind == 6) {
		d.proto = 17;
		d.dport = 53;
		d.opts = NULL;
	}
	if (kind == 7 && scene->vlan_u)
		d.vlan = (int)scene->vlan_u | 0x2000; /* a priority is kept */
	if (kind >= 10 && bring_back(&d, seed)) {
		frame_build(f, &d);
		return;
	}
	frame_build(f, &d);
	last_syn.syn = d;
	if (kind == 8)
		ip_options(f, &d);
	if (kind == 9)
		odd(f, &d, seed);
}

static void stranger_frame(struct frame *f, unsigned int *seed, bool *x)
{
	static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
			     group[6] = { 1, 0, 0x5e, 1, 2, 3 };
	unsigned int kind = (unsigned int)rand_r(seed) % 12;
	bool v6 = rand_r(seed) & 1;
	char src[40];
	struct desc d;

	if (kind >= 8) {
		any_frame(f, seed, x);
		return;
	}
	*x = true;
	from_anywhere(&d, src, seed, v6, 0);
	d.proto = kind & 1 ? 6 : 17;
	if (kind == 4 || kind == 5) {
		d.src = v6 ? "fd00::1" : "10.0.0.1";
		d.proto = 17;
		d.dmac = kind == 4 ? all : group;
	}
	if (kind == 3) {
		d.proto = 17;
		d.sport = v6 ? 547 : 67;
	}
	frame_build(f, &d);
	if (kind == 6) {
		frame_arp(f, mac_x, all, 1, mac_x, "10.0.0.1", "10.0.0.2");
		if (scene->vlan_u)
			frame_tag(f, 0x8100, scene->vlan_u);
	}
}

/* From STORM_FROM on the storm meter holds nothing, and will not for years. */
static void storm_begins(void)
{
	uint32_t id = 3;
	struct meter_rec m;
	int fd;

	if (scene->ports != guarded || i_packet != STORM_FROM)
		return;
	fd = map_open("meters");
	assert_int_equal(bpf_map_lookup_elem(fd, &id, &m), 0);
	m.pkts = -(1LL << 60);
	m.pkt_rate = 1;
	assert_int_equal(bpf_map_update_elem(fd, &id, &m, 0), 0);
	close(fd);
}

/* ---- both ways ---- */

struct outcome {
	int verdict; /* of tc */
	struct frame f;
};

struct result {
	struct outcome o[N_PACKETS];
	uint64_t drops[DROP_N];
	struct flow_key keys[RECORDS_MAX];
	struct flow_rec recs[RECORDS_MAX];
	size_t n;
	unsigned int n_sent, n_known;	    /* by XDP; packets that were forwarded */
	unsigned int n_from[2];		    /* by XDP, from W, from U */
	unsigned int n_dropped, n_answered; /* by XDP */
	struct port_count ports[2];
	struct limit_rec limit;
	struct meter_rec meter;
	uint64_t sources, source_new;
	int64_t source_open;
};

static void tagged_as(const struct frame *f, unsigned int outer, unsigned int vlan)
{
	size_t at = outer ? 16 : 12;

	assert_int_equal(f->b[12] == 0x88 && f->b[13] == 0xa8, outer != 0);
	if (outer)
		assert_int_equal(f->b[14] << 8 | f->b[15], outer);
	assert_int_equal(f->b[at] == 0x81 && !f->b[at + 1], vlan != 0);
	if (vlan)
		assert_int_equal((f->b[at + 2] & 0xf) << 8 | f->b[at + 3], vlan);
}

/* As the kernel does it: what XDP passes, tc gets. */
static void through(int port, const struct frame *f, bool xdp, struct result *r, int i)
{
	struct outcome *o = &r->o[i];
	int v = xdp ? lab_run_xdp(&lab, port, f, &o->f) : XDP_PASS;

	assert_true(v == XDP_PASS || v == XDP_DROP || v == XDP_REDIRECT || v == XDP_TX);
	r->n_dropped += v == XDP_DROP;
	if (v == XDP_TX || (v == XDP_REDIRECT && !memcmp(o->f.b, f->b + 6, 6))) {
		r->n_answered++;
		assert_int_equal(v == XDP_TX, scene->ports == cookies_secured);
		tagged_as(&o->f, 0, port == U ? scene->vlan_u : scene->vlan_w);
		o->verdict = TC_ACT_REDIRECT;
	} else if (v == XDP_REDIRECT) {
		r->n_sent++;
		r->n_from[port == U]++;
		tagged_as(&o->f, port == U ? scene->outer_w : scene->outer_u,
			  port == U ? scene->vlan_w : scene->vlan_u);
		o->verdict = TC_ACT_REDIRECT;
	} else if (v == XDP_DROP) {
		o->verdict = TC_ACT_SHOT;
	} else {
		if (xdp) {
			assert_int_equal(o->f.len, f->len);
			assert_memory_equal(o->f.b, f->b, f->len);
		}
		o->verdict = lab_run(&lab, port, f, &o->f);
	}
	r->n_known += o->verdict == TC_ACT_REDIRECT;
}

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct flow_key));
}

static void records_in(struct result *r, const char *map)
{
	size_t first = r->n;
	int fd = map_open(map);

	while (!bpf_map_get_next_key(fd, r->n > first ? &r->keys[r->n - 1] : NULL, &r->keys[r->n]))
		assert_true(++r->n < RECORDS_MAX);
	memset((uint8_t *)&r->keys[r->n], 0, sizeof(r->keys[0]));
	qsort(r->keys + first, r->n - first, sizeof(r->keys[0]), by_key);
	for (size_t i = first; i < r->n; i++)
		assert_int_equal(bpf_map_lookup_elem(fd, &r->keys[i], &r->recs[i]), 0);
	close(fd);
}

/* Clocks and what depends on them: a handshake's times are in ack_max for a while. */
static void timeless(struct flow_rec *f)
{
	f->created_ns = f->done = 0;
	f->last = f->rtt_us = f->gen = f->ack_max = 0;
	if (f->tcp_bits & TCPW_COOKIE)
		f->seq_add = 0;
}

static int icmp_type(const struct frame *f, size_t l3)
{
	return f->b[l3] >> 4 == 4 ? f->b[l3 + 9] : f->b[l3 + 6];
}

/* BPF_PROG_TEST_RUN shows no tag that tc has put on: bpf-xdp compares those, live. */
static void untag(struct frame *f)
{
	while (f->b[12] == 0x81 || (f->b[12] == 0x88 && f->b[13] == 0xa8)) {
		memmove(f->b + 12, f->b + 16, f->len - 16);
		f->len -= 4;
	}
}

/* 1: a SYN-ACK of ours, whose number is a cookie: nobody else's window is 0. */
static bool is_cookie(const struct frame *f)
{
	size_t l4 = f->b[12] == 0x86 ? 54 : 34;

	return f->len == l4 + 24 && f->b[l4 + 13] == (TCP_SYN | TCP_ACK) && !f->b[l4 + 14] &&
	       !f->b[l4 + 15] && icmp_type(f, 14) == 6;
}

/* The kernel's cookies of two runs differ by the minute. */
static void keep_cookie(const struct frame *out)
{
	struct frame f = *out;
	size_t l4 = f.b[12] == 0x86 ? 54 : 34;
	struct given *g = &given[n_given % GIVEN_MAX];

	untag(&f);
	l4 = f.b[12] == 0x86 ? 54 : 34;
	if (!is_cookie(&f) || !last_syn.syn.src)
		return;
	*g = last_syn;
	g->syn.src = g->src;
	g->cookie = (uint32_t)f.b[l4 + 4] << 24 | (uint32_t)f.b[l4 + 5] << 16 |
		    (uint32_t)f.b[l4 + 6] << 8 | f.b[l4 + 7];
	n_given++;
}

static void uncookie(struct frame *f)
{
	size_t l4 = f->b[12] == 0x86 ? 54 : 34;

	if (!is_cookie(f))
		return;
	memset(f->b + l4 + 4, 0, 4);
	memset(f->b + l4 + 16, 0, 2);
}

/* Of both ports, of what is limited, and of the meter; not when. */
static void counted(struct result *r)
{
	struct port_key limited = { .ifindex = W, .vlan = (uint16_t)scene->vlan_w };
	struct port_count per_cpu[256];
	uint32_t ifx[] = { U, W }, id = 3;
	struct source_key at, *key = NULL;
	int fd = map_open("port_counts"), n = libbpf_num_possible_cpus();

	assert_in_range(n, 1, 256);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(bpf_map_lookup_elem(fd, &ifx[i], per_cpu), 0);
		for (int c = 0; c < n; c++) {
			r->ports[i].rx_pkts += per_cpu[c].rx_pkts;
			r->ports[i].rx_bytes += per_cpu[c].rx_bytes;
			r->ports[i].tx_pkts += per_cpu[c].tx_pkts;
			r->ports[i].tx_bytes += per_cpu[c].tx_bytes;
			r->ports[i].drop_pkts += per_cpu[c].drop_pkts;
		}
	}
	close(fd);
	fd = map_open("limits");
	(void)bpf_map_lookup_elem(fd, &limited, &r->limit);
	r->limit.count.epoch = r->limit.cookie_last = 0;
	close(fd);
	fd = map_open("meters");
	assert_int_equal(bpf_map_lookup_elem(fd, &id, &r->meter), 0);
	r->meter.last = 0;
	r->meter.pkts = r->meter.bytes = 0; /* of some jiffies more or less */
	close(fd);
	fd = map_open("sources");
	while (!bpf_map_get_next_key(fd, key, &at)) {
		struct source_rec s;

		key = &at;
		assert_int_equal(bpf_map_lookup_elem(fd, &at, &s), 0);
		r->sources++;
		r->source_new += s.n_new;
		r->source_open += s.count.now + s.count.before;
	}
	close(fd);
}

static void run_scene(bool xdp, struct result *r)
{
	unsigned int seed = 11;

	memset(r, 0, sizeof(*r));
	memset(given, 0, sizeof(given));
	n_given = 0;
	open_all();
	for (i_packet = 0; i_packet < n_packets; i_packet++) {
		struct outcome *o = &r->o[i_packet];
		struct frame f;
		bool x;

		storm_begins();
		(scene->frame ? scene->frame : any_frame)(&f, &seed, &x);
		through(x ? U : W, &f, xdp, r, i_packet);
		if (scene->frame == syn_frame && o->verdict == TC_ACT_REDIRECT)
			keep_cookie(&o->f);
	}
	OK(dp_drop_totals(lab.dp, r->drops, DROP_N, &lab_err));
	counted(r);
	records_in(r, "flow4");
	records_in(r, "flow6");
	close_all();
}

static void same_frames(struct outcome *tc, struct outcome *xdp, int i)
{
	if (tc->verdict != xdp->verdict)
		fail_msg("%s, packet %d: verdict %d, with XDP %d", scene->name, i, tc->verdict,
			 xdp->verdict);
	if (tc->verdict != TC_ACT_REDIRECT)
		return;
	untag(&tc->f);
	untag(&xdp->f);
	if (is_cookie(&tc->f) && is_cookie(&xdp->f)) {
		assert_int_equal(frame_sums_ok(&tc->f), frame_sums_ok(&xdp->f)); /* a wrong one stays wrong */
		uncookie(&tc->f);
		uncookie(&xdp->f);
	}
	if (scene->tunnel) {
		unlabel(&tc->f);
		unlabel(&xdp->f);
	}
	if (tc->f.len != xdp->f.len)
		fail_msg("%s, packet %d: %zu bytes, with XDP %zu", scene->name, i, tc->f.len,
			 xdp->f.len);
	for (size_t at = 0; at < tc->f.len; at++)
		if (tc->f.b[at] != xdp->f.b[at])
			fail_msg("%s, packet %d (protocol %d): byte %zu is %02x, with XDP %02x",
				 scene->name, i, icmp_type(&tc->f, 14), at, tc->f.b[at], xdp->f.b[at]);
}

/* How many reasons differ. */
static int same_drops(const struct result *tc, const struct result *xdp)
{
	int n = 0;

	for (int i = 0; i < DROP_N; i++) {
		if (tc->drops[i] == xdp->drops[i])
			continue;
		print_error("%s: %d drops by %s, with XDP %d\n", scene->name, (int)tc->drops[i],
			    dp_drop_reason_name((size_t)i), (int)xdp->drops[i]);
		n++;
	}
	return n;
}

static void compare(const struct scene *s)
{
	struct result *tc = calloc(1, sizeof(*tc)), *xdp = calloc(1, sizeof(*xdp));
	int n;

	assert_true(tc && xdp);
	scene = s;
	run_scene(false, tc);
	run_scene(true, xdp);
	n = same_drops(tc, xdp);
	for (int i = 0; i < n_packets; i++)
		same_frames(&tc->o[i], &xdp->o[i], i);
	assert_int_equal(n, 0);
	assert_int_equal(tc->n, xdp->n);
	assert_memory_equal(tc->keys, xdp->keys, tc->n * sizeof(tc->keys[0]));
	for (size_t i = 0; i < tc->n; i++) {
		timeless(&tc->recs[i]);
		timeless(&xdp->recs[i]);
		assert_memory_equal(&tc->recs[i], &xdp->recs[i], sizeof(tc->recs[i]));
	}
	assert_memory_equal(tc->ports, xdp->ports, sizeof(tc->ports));
	assert_memory_equal(&tc->limit, &xdp->limit, sizeof(tc->limit));
	assert_memory_equal(&tc->meter, &xdp->meter, sizeof(tc->meter));
	assert_int_equal(tc->sources, xdp->sources);
	assert_int_equal(tc->source_new, xdp->source_new);
	assert_int_equal(tc->source_open, xdp->source_open);
	print_message("# %s: %u forwarded, %u of them by XDP, which dropped %u and answered %u; %u cookies, %u came back\n",
		      s->name, xdp->n_known, xdp->n_sent, xdp->n_dropped, xdp->n_answered,
		      (unsigned int)xdp->limit.n_cookies, (unsigned int)xdp->limit.n_opened);
	assert_true(xdp->n_dropped * 100 >= s->drop_share * (unsigned int)n_packets);
	/* The tc program gives FLOOD_FROM for each of the first ones. */
	assert_true((xdp->n_answered + 32) * 100 >= s->answer_share * xdp->limit.n_cookies);
	if (n_packets == N_PACKETS && s->answer_share)
		assert_true(xdp->limit.n_opened > 0);
	assert_true(xdp->n_known > (unsigned int)n_packets / 4);
	assert_true(xdp->n_sent * 100 >=
		    s->xdp_share * xdp->n_known * (unsigned int)n_packets / N_PACKETS);
	for (int i = 0; i < 2; i++)
		assert_true((xdp->n_from[i] * 4 > xdp->n_sent) == (s->xdp_share > 0));
	free(tc);
	free(xdp);
}

/* ---- the scenes ---- */

#define X_SELF                                                                                     \
	{                                                                                          \
		.own = { "10.0.0.1", "fd00::1" }, .known = { "10.0.0.1", "fd00::1" }               \
	}
#define X_HIDDEN                                                                                   \
	{                                                                                          \
		.own = { "10.0.0.1", "fd00::1" }, .known = { "198.51.100.1", "2001:db8:1::1" }     \
	}
#define Y_SELF                                                                                     \
	{                                                                                          \
		.own = { "10.0.0.2", "fd00::2" }, .known = { "10.0.0.2", "fd00::2" },              \
		.own_port = 80, .known_port = 80                                                   \
	}
#define Y_HIDDEN                                                                                   \
	{                                                                                          \
		.own = { "10.0.0.2", "fd00::2" }, .known = { "198.51.100.2", "2001:db8:1::2" },    \
		.own_port = 80, .known_port = 8080                                                 \
	}

static const struct scene scenes[] = {
	{ "plain", plain, X_SELF, Y_SELF, .xdp_share = 60 },
	{ "denied", deny_some, X_SELF, Y_SELF, .xdp_share = 40 },
	{ "metered", metered, X_SELF, Y_SELF, .xdp_share = 60 },
	{ "mirrored", mirrored, X_SELF, Y_SELF },
	{ "source translated", source_nat, X_HIDDEN, Y_SELF, .xdp_share = 60 },
	{ "destination translated", destination_nat, X_SELF, Y_HIDDEN, .xdp_share = 30 },
	{ "both translated", both_nat, X_HIDDEN, Y_HIDDEN, .xdp_share = 20 },
	{ "source and port translated", source_ports, X_HIDDEN, Y_SELF, .xdp_share = 20 },
	{ "marked", marked, X_SELF, Y_SELF, .xdp_share = 60 },
	{ "translated, marked, metered", all_but_mirror, X_HIDDEN, Y_SELF, .xdp_share = 60 },
	{ "from a VLAN to a VLAN", tagged, X_SELF, Y_SELF, 7, 9, .xdp_share = 45 },
	{ "out of a VLAN", tagged, X_SELF, Y_SELF, 7, 0, .xdp_share = 45 },
	{ "into a VLAN", tagged, X_SELF, Y_SELF, 0, 9, .xdp_share = 45 },
	{ "VXLAN over IPv4", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_VXLAN, .outer6 = false,
	  .xdp_share = 45 },
	{ "VXLAN over IPv6", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_VXLAN, .outer6 = true,
	  .xdp_share = 45 },
	{ "VXLAN_GPE over IPv4", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_VXLAN_GPE,
	  .outer6 = false, .xdp_share = 45 },
	{ "VXLAN_GPE over IPv6", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_VXLAN_GPE,
	  .outer6 = true, .xdp_share = 45 },
	{ "GRE over IPv4", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_GRE, .outer6 = false,
	  .xdp_share = 45 },
	{ "GRE over IPv6", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_GRE, .outer6 = true,
	  .xdp_share = 45 },
	{ "NVGRE over IPv4", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_NVGRE, .outer6 = false,
	  .xdp_share = 45 },
	{ "NVGRE over IPv6", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_NVGRE, .outer6 = true,
	  .xdp_share = 45 },
	{ "GENEVE over IPv4", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_GENEVE,
	  .outer6 = false, .xdp_share = 45 },
	{ "GENEVE over IPv6", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_GENEVE, .outer6 = true,
	  .xdp_share = 45 },
	{ "MPLS_UDP over IPv4", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_MPLS_UDP,
	  .outer6 = false, .xdp_share = 45 },
	{ "MPLS_UDP over IPv6", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_MPLS_UDP,
	  .outer6 = true, .xdp_share = 45 },
	{ "MPLS_GRE over IPv4", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_MPLS_GRE,
	  .outer6 = false, .xdp_share = 45 },
	{ "MPLS_GRE over IPv6", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_MPLS_GRE,
	  .outer6 = true, .xdp_share = 45 },
	{ "MPLS", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_MPLS, .xdp_share = 45 },
	{ "VXLAN, translated and marked", tunnelled_nat, X_HIDDEN, Y_SELF,
	  .tunnel = DP_TUNNEL_VXLAN, .xdp_share = 45 },
	{ "Geneve out of a VLAN", tunnelled, X_SELF, Y_SELF, 7, 0, .tunnel = DP_TUNNEL_GENEVE,
	  .outer6 = true, .xdp_share = 45 },
	{ "two tags and none", tagged, X_SELF, Y_SELF, 7, 0, 100, 0, .xdp_share = 45 },
	{ "two tags and two others", tagged, X_SELF, Y_SELF, 7, 7, 100, 200, .xdp_share = 45 },
	{ "one tag and two", tagged, X_SELF, Y_SELF, 100, 7, 0, 100, .xdp_share = 45 },
	{ "two tags, translated and marked", tagged_nat, X_HIDDEN, Y_SELF, 7, 9, 100, 200,
	  .xdp_share = 45 },
	{ "two tags and VXLAN", tunnelled, X_SELF, Y_SELF, 7, 0, 100, 0, DP_TUNNEL_VXLAN,
	  .xdp_share = 45 },
	{ "VLANs, translated and marked", tagged_nat, X_HIDDEN, Y_SELF, 7, 9, .xdp_share = 45 },
};

static const struct scene floods[] = {
	{ "SYN cookies", cookies, X_SELF, Y_SELF, .frame = syn_frame, .xdp_share = 1,
	  .drop_share = 20, .answer_share = 80 },
	{ "SYN cookies in a VLAN", cookies, X_SELF, Y_SELF, 7, 9, .frame = syn_frame,
	  .xdp_share = 1, .drop_share = 20, .answer_share = 80 },
	{ "SYN cookies of sources", cookies_of_sources, X_SELF, Y_SELF, .frame = syn_frame,
	  .xdp_share = 1, .drop_share = 15, .answer_share = 80 },
	{ "limits without cookies", no_cookies, X_SELF, Y_SELF, .frame = syn_frame, .xdp_share = 1,
	  .drop_share = 40 },
	{ "SYN cookies, translated", cookies_translated, X_SELF, Y_HIDDEN, .frame = syn_frame,
	  .xdp_share = 1, .drop_share = 20, .answer_share = 80 },
	{ "SYN cookies of a secured port", cookies_secured, X_SELF, Y_SELF, .frame = syn_frame,
	  .drop_share = 20, .answer_share = 80 },
	{ "strangers and storms", guarded, X_SELF, Y_SELF, .frame = stranger_frame, .xdp_share = 1,
	  .drop_share = 20 },
	{ "strangers and storms in a VLAN", guarded, X_SELF, Y_SELF, 7, 0, .frame = stranger_frame,
	  .xdp_share = 1, .drop_share = 20 },
};

static void test_scenes(void **state)
{
	COVERS(V4 | V6, F_RECORD, F_VERDICT, F_METER, F_NAT, F_DSCP_MARK, F_VLAN_TAG, F_QINQ, F_VXLAN,
	       F_NSH, F_GRE, F_NVGRE, F_GENEVE, F_MPLS_UDP, F_MPLS_GRE, F_MPLS_ETH, F_OUTER, F_ECN,
	       F_TUNNEL_REFUSED, F_TCP_WINDOW, F_TCP_STATES, F_UDP_STATES, F_ICMP_ECHO, F_ICMP_ERRORS);
	for (size_t i = 0; i < ARRAY_LEN(scenes); i += n_packets < N_PACKETS ? 6 : 1)
		compare(&scenes[i]);
}

/* What is refused in great number ends under XDP, and is the same. */
static void test_floods(void **state)
{
	COVERS(V4 | V6, F_HALF_OPEN, F_SOURCE_LIMIT, F_SYN_COOKIES, F_SYN_FLOOD, F_STORM,
	       F_SOURCE_GUARD, F_NAT, F_VERDICT);

	bool slow = n_packets < N_PACKETS;

	n_packets = slow ? N_PACKETS / 5 : N_PACKETS / 2;
	for (size_t i = 0; i < ARRAY_LEN(floods); i += slow ? ARRAY_LEN(floods) : 1)
		compare(&floods[i]);
	n_packets = slow ? N_PACKETS / 10 : N_PACKETS;
}

/* What does not fit is answered by the tc program, and counted once. */
static void test_too_big_for_the_tunnel(void **state)
{
	COVERS(V4 | V6, F_PMTUD);

	static const struct scene s = { "too big", tunnelled, X_SELF, Y_SELF, .tunnel = DP_TUNNEL_VXLAN };
	struct flow_rec r, after;
	struct frame f, got;
	struct desc d;

	scene = &s;
	open_all();
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t over = 0; over < 2; over++) {
			bool fits = !over;

			d = (struct desc){ .proto = 17, .payload = 1450 - (v6 ? 48 : 28) + over };
			ends(&d, true, v6, 1000);
			frame_build(&f, &d);
			(void)lab_run(&lab, U, &f, NULL); /* its record */
			assert_true(lab_record(&lab, U, &f, &r));
			assert_int_equal(r.flags & (FLOW_XDP | FLOW_ENCAP), FLOW_XDP | FLOW_ENCAP);
			assert_int_equal(lab_run_xdp(&lab, U, &f, &got), fits ? XDP_REDIRECT : XDP_PASS);
			assert_int_equal(got.len, fits ? f.len + 50 : f.len);
			assert_memory_equal(got.b + (fits ? 50 : 0), f.b, f.len);
			assert_true(lab_record(&lab, U, &f, &after));
			assert_int_equal(after.pkts, r.pkts + fits);
		}
	close_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scenes),
		cmocka_unit_test(test_floods),
		cmocka_unit_test(test_too_big_for_the_tunnel),
	};

	lab_need_root();
	if (getenv("DEMARC_VM")) /* each run of an XDP program waits for a grace period: slow there, so it is some of them */
		n_packets = N_PACKETS / 10;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
