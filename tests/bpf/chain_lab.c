/* SPDX-License-Identifier: Apache-2.0 */
#include "chain_lab.h"

#include <stdlib.h>
#include <string.h>

const uint8_t mac_x[6] = { 2, 0, 0, 0, 0, 0x11 }, mac_y[6] = { 2, 0, 0, 0, 0, 0x22 },
	      mac_l[6] = { 2, 0, 0, 0, 0, 1 }, mac_w[6] = { 2, 0, 0, 0, 0, 2 };

struct lab lab;
struct tport lan, wan;
struct fn fn[N_FN];

static void fn_make(int i)
{
	uint8_t in[6] = { 2, 0, 0, 1, (uint8_t)i, 1 }, out[6] = { 2, 0, 0, 1, (uint8_t)i, 2 };
	int ns = ns_new();

	fn[i] = (struct fn){ 0 };
	tport_make(&fn[i].in, 65600 + 2 * i, in, ns, "eth0");
	tport_make(&fn[i].out, 65601 + 2 * i, out, ns, "eth1");
	lab_port(&lab, &fn[i].in, 1, 0, 0, NULL);
	lab_port(&lab, &fn[i].out, 1, 0, 0, NULL);
}

void introduce_one(const uint8_t *mac, struct tport *p)
{
	static const uint8_t bcast[6] = { 255, 255, 255, 255, 255, 255 };
	struct frame f;

	frame_arp(&f, mac, bcast, 1, mac, "10.0.0.11", "10.0.0.200");
	tport_send(p, &f);
}

/* Everybody learns where x and y are; what the functions send round on this occasion ends as a loop. */
static void introduce(void)
{
	introduce_one(mac_x, &lan);
	introduce_one(mac_y, &wan);
	pump();
	tport_drain(&lan);
	tport_drain(&wan);
	assert_true(lab_dropped(&lab, DROP_L2_LOOP) > 0 || getenv("DEMARC_VM")); /* a loop of seconds is none */
}

int chain_setup(void **state)
{
	lab_open(&lab);
	tport_make(&lan, 101, mac_l, -1, "eth0");
	tport_make(&wan, 102, mac_w, -1, "eth0");
	lab_uplink(&lab, &lan, 1, 0);
	lab_uplink(&lab, &wan, 1, 0);
	for (int i = 0; i < N_FN; i++)
		fn_make(i);
	introduce();
	return 0;
}

int chain_teardown(void **state)
{
	link_del(101);
	link_del(102);
	tport_free(&lan);
	tport_free(&wan);
	for (int i = 0; i < N_FN; i++) {
		link_del(fn[i].in.host);
		link_del(fn[i].out.host);
		tport_free(&fn[i].in);
		tport_free(&fn[i].out);
	}
	lab_close(&lab);
	return 0;
}

void fn_reset(void)
{
	for (int i = 0; i < N_FN; i++)
		fn[i].n_forward = fn[i].n_reverse = 0;
}

static bool fn_step(struct tport *from, struct tport *to, unsigned int *n, struct fn *f, bool forward)
{
	struct frame fr;

	if (!tport_recv(from, &fr, 0))
		return false;
	if (f->change)
		f->change(&fr, forward);
	(*n)++;
	tport_send(to, &fr);
	return true;
}

/* Runs the functions until nothing is inside them. */
void pump(void)
{
	bool busy = true;

	while (busy) {
		busy = false;
		for (int i = 0; i < N_FN; i++) {
			busy |= fn_step(&fn[i].in, &fn[i].out, &fn[i].n_forward, &fn[i], true);
			busy |= fn_step(&fn[i].out, &fn[i].in, &fn[i].n_reverse, &fn[i], false);
		}
	}
}

/* The chain over the functions of `hops` ("02": F0 then F2). */
struct dp_path path_of(const char *hops, bool transparent)
{
	struct dp_path p = {
		.chain = CHAIN, .symmetric = true, .n_hops = strlen(hops), .n_classifiers = 1
	};

	for (size_t i = 0; i < p.n_hops; i++) {
		struct fn *f = &fn[hops[i] - '0'];

		p.hops[i].n_pairs = 1;
		p.hops[i].pairs[0] = (struct dp_pair){ { f->in.host }, { f->out.host }, 1, transparent };
	}
	p.classifiers[0] = (struct dp_classifier){ .src_port = { lan.host }, .dst_port = { wan.host } };
	return p;
}

struct dp_flip_result set_chain(const char *hops, enum dp_flip_mode mode)
{
	struct dp_path p = path_of(hops, true);
	struct dp_flip_result r = { 0 };

	assert_int_equal(OK(dp_chain_set(lab.dp, &p, mode, &r, &lab_err)), 1);
	return r;
}

void packet(struct frame *f, bool v6, bool up, uint16_t port, uint32_t seq)
{
	struct desc d = { .smac = up ? mac_x : mac_y,
			  .dmac = up ? mac_y : mac_x,
			  .proto = 17,
			  .sport = up ? port : 80,
			  .dport = up ? 80 : port,
			  .payload = 30,
			  .seq = seq };

	d.src = v6 ? (up ? "fd00::11" : "fd00::22") : (up ? "10.0.0.11" : "10.0.0.22");
	d.dst = v6 ? (up ? "fd00::22" : "fd00::11") : (up ? "10.0.0.22" : "10.0.0.11");
	frame_build(f, &d);
}

/* One frame through everything: unchanged at the other end, once, over exactly the functions of `hops`. */
void expect_path(bool v6, bool up, uint16_t port, const char *hops)
{
	static uint32_t seq = 1000;
	struct frame f, got;

	fn_reset();
	packet(&f, v6, up, port, ++seq);
	tport_send(up ? &lan : &wan, &f);
	pump();
	if (!tport_recv(up ? &wan : &lan, &got, 200))
		fail_msg("frame of port %u lost, wanted over %s", port, hops);
	assert_int_equal(got.len, f.len);
	assert_memory_equal(got.b, f.b, f.len);
	assert_false(tport_recv(&wan, &got, 0));
	assert_false(tport_recv(&lan, &got, 0));
	for (int i = 0; i < N_FN; i++) {
		unsigned int want = strchr(hops, '0' + i) ? 1 : 0;

		if ((up ? fn[i].n_forward : fn[i].n_reverse) != want ||
		    (up ? fn[i].n_reverse : fn[i].n_forward))
			fail_msg("F%d saw %u forward, %u reverse; the path is %s", i,
				 fn[i].n_forward, fn[i].n_reverse, hops);
	}
}

void expect_both(uint16_t port, const char *hops)
{
	for (int v6 = 0; v6 < 2; v6++)
		for (int n = 0; n < 2; n++) {
			expect_path(v6, true, port, hops);
			expect_path(v6, false, port, hops);
		}
}
