/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Numbered traffic through a chain while it is changed, functions and ends running in threads of their own.
 * Every change happens between two counts of the sender, so that packets are under way when it is made.
 *
 *   sender -> [lan] => F0 .. F2 in the order of the chain => [wan] -> receiver, and back
 */

#include "lab.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N_FN 3
#define CHAIN 9
#define N_FLOWS 8
#define BURST 32 /* packets, then a pause: about 10,000 packets/s each way */
#define PAUSE_NS 3000000
#define CHANGES 40
#define PER_CHANGE 256 /* packets between two changes */
#define MAX_SEQ (CHANGES * PER_CHANGE * 4)

static const uint8_t mac_x[6] = { 2, 0, 0, 0, 0, 0x11 }, mac_y[6] = { 2, 0, 0, 0, 0, 0x22 },
		     mac_l[6] = { 2, 0, 0, 0, 0, 1 }, mac_w[6] = { 2, 0, 0, 0, 0, 2 };

struct fn {
	struct tport in, out;
	pthread_t thread[2];
};

/* One direction of the stream. */
struct stream {
	struct tport *from, *to;
	bool up, v6;
	_Atomic uint32_t sent;
	uint32_t got, dup, reordered, last[N_FLOWS];
	uint8_t seen[MAX_SEQ];
	pthread_t tx, rx;
};

static struct lab lab;
static struct tport lan, wan;
static struct fn fn[N_FN];
static struct stream up, down;
static _Atomic bool stop_tx, stop_rx;

struct pipe_end {
	struct tport *from, *to;
};
static struct pipe_end ends[N_FN][2];

static void *fn_run(void *arg)
{
	struct pipe_end *p = arg;
	struct frame f;

	while (!stop_rx)
		if (tport_recv(p->from, &f, 50))
			tport_send(p->to, &f);
	return NULL;
}

static void stream_frame(const struct stream *s, uint32_t seq, struct frame *f)
{
	struct desc d = { .smac = s->up ? mac_x : mac_y,
			  .dmac = s->up ? mac_y : mac_x,
			  .proto = 17,
			  .payload = 30,
			  .seq = seq };
	uint16_t port = (uint16_t)(1000 + seq % N_FLOWS);

	d.sport = s->up ? port : 80;
	d.dport = s->up ? 80 : port;
	d.src = s->v6 ? (s->up ? "fd00::11" : "fd00::22") : (s->up ? "10.0.0.11" : "10.0.0.22");
	d.dst = s->v6 ? (s->up ? "fd00::22" : "fd00::11") : (s->up ? "10.0.0.22" : "10.0.0.11");
	frame_build(f, &d);
}

static void *tx_run(void *arg)
{
	struct stream *s = arg;
	struct timespec pause = { 0, PAUSE_NS };
	struct frame f;

	while (!stop_tx && s->sent < MAX_SEQ) {
		for (int i = 0; i < BURST && s->sent < MAX_SEQ; i++) {
			stream_frame(s, s->sent, &f);
			tport_send(s->from, &f);
			s->sent++;
		}
		nanosleep(&pause, NULL); /* the rate of the stream */
	}
	return NULL;
}

static void *rx_run(void *arg)
{
	struct stream *s = arg;
	struct frame f;

	while (!stop_rx) {
		uint32_t seq;

		if (!tport_recv(s->to, &f, 50))
			continue;
		seq = frame_seq(&f);
		if (seq >= MAX_SEQ)
			continue;
		s->got++;
		s->dup += s->seen[seq]++ != 0;
		if (seq < s->last[seq % N_FLOWS])
			s->reordered++;
		else
			s->last[seq % N_FLOWS] = seq;
	}
	return NULL;
}

static void fn_make(int i)
{
	uint8_t in[6] = { 2, 0, 0, 1, (uint8_t)i, 1 }, out[6] = { 2, 0, 0, 1, (uint8_t)i, 2 };
	int ns = ns_new();

	tport_make(&fn[i].in, 65600 + 2 * i, in, ns, "eth0");
	tport_make(&fn[i].out, 65601 + 2 * i, out, ns, "eth1");
	lab_port(&lab, &fn[i].in, 1, 0, 0, NULL);
	lab_port(&lab, &fn[i].out, 1, 0, 0, NULL);
	ends[i][0] = (struct pipe_end){ &fn[i].in, &fn[i].out };
	ends[i][1] = (struct pipe_end){ &fn[i].out, &fn[i].in };
}

/* Who is behind which uplink; without it the first packets would be flooded. */
static void introduce(const uint8_t *mac, const char *ip, struct tport *p)
{
	static const uint8_t bcast[6] = { 255, 255, 255, 255, 255, 255 };
	struct frame f;

	frame_arp(&f, mac, bcast, 1, mac, ip, "10.0.0.200");
	tport_send(p, &f);
}

static int setup(void **state)
{
	lab_open(&lab);
	tport_make(&lan, 101, mac_l, -1, "eth0");
	tport_make(&wan, 102, mac_w, -1, "eth0");
	lab_uplink(&lab, &lan, 1, 0);
	lab_uplink(&lab, &wan, 1, 0);
	introduce(mac_x, "10.0.0.11", &lan);
	introduce(mac_y, "10.0.0.22", &wan);
	for (int i = 0; i < N_FN; i++)
		fn_make(i);
	tport_drain(&lan);
	tport_drain(&wan);
	return 0;
}

static int teardown(void **state)
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

static void set_chain(const char *hops, enum dp_flip_mode mode)
{
	struct dp_path p = {
		.chain = CHAIN, .symmetric = true, .n_hops = strlen(hops), .n_classifiers = 1
	};
	struct dp_flip_result r;

	for (size_t i = 0; i < p.n_hops; i++) {
		struct fn *f = &fn[hops[i] - '0'];

		p.hops[i].n_pairs = 1;
		p.hops[i].pairs[0] = (struct dp_pair){ { f->in.host }, { f->out.host }, 1, true };
	}
	p.classifiers[0] = (struct dp_classifier){ .src_port = { lan.host }, .dst_port = { wan.host } };
	OK(dp_chain_set(lab.dp, &p, mode, &r, &lab_err));
}

static void start(bool v6)
{
	memset(&up, 0, sizeof(up));
	memset(&down, 0, sizeof(down));
	up.from = down.to = &lan;
	up.to = down.from = &wan;
	up.up = true;
	up.v6 = down.v6 = v6;
	stop_tx = stop_rx = false;
	for (int i = 0; i < N_FN; i++)
		for (int j = 0; j < 2; j++)
			assert_int_equal(pthread_create(&fn[i].thread[j], NULL, fn_run, &ends[i][j]), 0);
	assert_int_equal(pthread_create(&up.rx, NULL, rx_run, &up), 0);
	assert_int_equal(pthread_create(&down.rx, NULL, rx_run, &down), 0);
	assert_int_equal(pthread_create(&up.tx, NULL, tx_run, &up), 0);
	assert_int_equal(pthread_create(&down.tx, NULL, tx_run, &down), 0);
}

/* Waits until both directions have sent `n` packets more. */
static void more(uint32_t n)
{
	uint32_t a = up.sent + n, b = down.sent + n;
	struct timespec tick = { 0, 200000 };

	for (int i = 0; i < 100000 && (up.sent < a || down.sent < b); i++)
		nanosleep(&tick, NULL); /* a condition with a deadline of 20 s */
	assert_true(up.sent >= a && down.sent >= b);
}

static bool all_in(void)
{
	return up.got >= up.sent && down.got >= down.sent;
}

static void stop(void)
{
	struct timespec tick = { 0, 1000000 };

	stop_tx = true;
	pthread_join(up.tx, NULL);
	pthread_join(down.tx, NULL);
	for (int i = 0; i < 5000 && !all_in(); i++)
		nanosleep(&tick, NULL);
	stop_rx = true;
	pthread_join(up.rx, NULL);
	pthread_join(down.rx, NULL);
	for (int i = 0; i < N_FN; i++)
		for (int j = 0; j < 2; j++)
			pthread_join(fn[i].thread[j], NULL);
}

static void report(const char *what)
{
	print_message("# %s: sent %u + %u, lost %u, duplicated %u, reordered %u\n", what, up.sent,
		      down.sent, up.sent - up.got + down.sent - down.got, up.dup + down.dup,
		      up.reordered + down.reordered);
	for (int i = 1; i < DROP_N; i++) {
		uint64_t n = lab_dropped(&lab, (enum drop_reason)i);

		if (n)
			print_message("# dropped as %s: %lu\n", dp_drop_reason_name((size_t)i),
				      (unsigned long)n);
	}
}

static void expect_nothing_lost(void)
{
	assert_int_equal(up.got, up.sent);
	assert_int_equal(down.got, down.sent);
	assert_int_equal(up.dup + down.dup, 0);
}

static const char *const order[] = { "0", "01", "021", "21", "12", "1", "", "2", "012", "10" };

static void change(bool v6, enum dp_flip_mode mode)
{
	set_chain("02", mode);
	start(v6);
	more(PER_CHANGE);
	for (size_t i = 0; i < CHANGES; i++) {
		set_chain(order[i % ARRAY_LEN(order)], mode);
		more(PER_CHANGE);
	}
	stop();
	report(mode == DP_FLIP_KEEP ? "established flows stay" : "all flows move");
	expect_nothing_lost();
}

static void test_keep(void **state)
{
	change(false, DP_FLIP_KEEP);
	assert_int_equal(up.reordered + down.reordered, 0);
	change(true, DP_FLIP_KEEP);
	assert_int_equal(up.reordered + down.reordered, 0);
}

static void test_move(void **state)
{
	change(false, DP_FLIP_MOVE);
	change(true, DP_FLIP_MOVE);
}

/* The agent goes, comes back with newly loaded programs, repeats everything it wants, and sweeps. */
static void test_restart(void **state)
{
	set_chain("01", DP_FLIP_MOVE);
	start(false);
	for (int i = 0; i < 5; i++) {
		more(PER_CHANGE);
		dp_close(lab.dp);
		lab.dp = NULL;
		more(PER_CHANGE);
		lab_reopen(&lab);
		dp_mark(lab.dp);
		lab_uplink(&lab, &lan, 1, 0);
		lab_uplink(&lab, &wan, 1, 0);
		for (int j = 0; j < N_FN; j++) {
			lab_port(&lab, &fn[j].in, 1, 0, 0, NULL);
			lab_port(&lab, &fn[j].out, 1, 0, 0, NULL);
		}
		set_chain("01", DP_FLIP_MOVE);
		OK(dp_sweep(lab.dp, &lab_err));
		OK(dp_age(lab.dp, &lab_err));
	}
	stop();
	report("agent restarted");
	expect_nothing_lost();
	assert_int_equal(up.reordered + down.reordered, 0);
}

/*
 * Wired: F1 is put between F0 and the WAN, and taken out again, by re-wiring one port of F0. F0 and F1 bridge.
 *
 *   [lan] -1- in F0 out -2- [wan]          [lan] -1- in F0 out -3- in F1 out -2- [wan]
 */
static void test_rewire(void **state)
{
	static const uint16_t net[2] = { 2, 3 };

	lab_uplink(&lab, &wan, 2, 0);
	lab_port(&lab, &fn[0].out, 2, 0, 0, NULL);
	lab_port(&lab, &fn[1].in, 3, 0, 0, NULL);
	lab_port(&lab, &fn[1].out, 2, 0, 0, NULL);
	lab_port(&lab, &fn[2].in, 4, 0, 0, NULL);
	lab_port(&lab, &fn[2].out, 4, 0, 0, NULL);
	start(false);
	more(PER_CHANGE);
	for (size_t i = 0; i < CHANGES / 2; i++) {
		lab_port(&lab, &fn[0].out, net[(i + 1) % 2], 0, 0, NULL);
		more(2 * PER_CHANGE);
	}
	stop();
	report("re-wired");
	expect_nothing_lost();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_keep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_move, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rewire, setup, teardown),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
