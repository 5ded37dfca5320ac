/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_TESTS_BPF_CHAIN_LAB_H
#define DEMARC_TESTS_BPF_CHAIN_LAB_H

/*
 * A transparent chain between two uplinks of one network, the functions played by the test:
 *
 *   x --- lan [L]      [F1.in F1.out]  [F2.in F2.out]  [F3.in F3.out]      [W] wan --- y
 *
 * A function forwards what it gets on one port out of the other when the test says so (pump), so that a
 * change can be made while packets are inside functions.
 */

#include "lab.h"

#define N_FN 4
#define CHAIN 5

struct fn {
	struct tport in, out;
	unsigned int n_forward, n_reverse; /* frames since the last fn_reset() */
	void (*change)(struct frame *f, bool forward);
};

extern const uint8_t mac_x[6], mac_y[6];
extern struct lab lab;
extern struct tport lan, wan;
extern struct fn fn[N_FN];

int chain_setup(void **state);
int chain_teardown(void **state);
void introduce_one(const uint8_t *mac, struct tport *p);
void fn_reset(void);
void pump(void);
struct dp_path path_of(const char *hops, bool transparent);
struct dp_flip_result set_chain(const char *hops, enum dp_flip_mode mode);
/* UDP from x to y (`up`) or back; `port` is x's. */
void packet(struct frame *f, bool v6, bool up, uint16_t port, uint32_t seq);
void expect_path(bool v6, bool up, uint16_t port, const char *hops);
void expect_both(uint16_t port, const char *hops);

#endif
