/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_TESTS_BPF_LAB_H
#define DEMARC_TESTS_BPF_LAB_H

/* A datapath with its own pins in a node of its own, and short ways to say what a test expects. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

/* Needs those three. */
#include <cmocka.h>

#include "covered.h"
#include "dp/dp.h"
#include "drop.h"
#include "frame.h"
#include "maps.h"
#include "net.h"

struct lab {
	struct dp *dp;
	char pin[64];
	int prog, xdp;
	uint64_t drops[DROP_N];
};

/* Ends the process with TAP's "skip all" and a reason when the tests cannot run here. */
void lab_need_root(void);
void lab_open(struct lab *l);
void lab_reopen(struct lab *l); /* as a new agent process would */
void lab_close(struct lab *l);	/* fails the test when a pin is left */

#define OK(call) lab_ok((call), &lab_err, #call, __FILE__, __LINE__)
extern struct err lab_err;
int lab_ok(int r, struct err *e, const char *what, const char *file, int line);

/* A port with addresses as text; `own` fixed IPs with the port's MAC. Ends with NULL. */
void lab_port(struct lab *l, struct tport *p, uint16_t net, uint16_t flags, uint32_t sg, ...);
void lab_uplink(struct lab *l, struct tport *p, uint16_t net, uint16_t vlan);
/* A veth that stands for a NIC: XDP on it, and it takes frames from the XDP programs of others. */
void lab_nic(struct lab *l, struct tport *p, int index, const uint8_t mac[6]);
/* Offloads of the far end, as ethtool -K sets them. */
void lab_far_end(struct tport *p, uint32_t command, uint32_t value);
struct ip_addr ip_of(const char *text);
struct ip_cidr cidr_of(const char *text);

/*
 * BPF_PROG_TEST_RUN of the pinned program: verdict of tc, the frame after it in *out (may be NULL). With DEMARC_HOOK=xdp in the environment every
 * port is one that runs XDP programs and takes frames from others, and has the XDP program in front, here and for what is sent to it: it forwards or
 * drops the frame, or passes it on to the tc program unchanged.
 */
int lab_run(struct lab *l, int port, const struct frame *f, struct frame *out);
/* The XDP program of NICs, loaded when it is first asked for. */
int lab_xdp(struct lab *l);
/* lab_run() with that; a VLAN tag is in the frame. */
int lab_run_xdp(struct lab *l, int port, const struct frame *f, struct frame *out);
/* How often the kernel has run a program, while it counts (bpf_enable_stats()). */
uint64_t lab_runs(int prog);
/* Drops of `reason` since the last call with it. */
uint64_t lab_dropped(struct lab *l, enum drop_reason reason);
#define assert_dropped(l, reason) assert_int_equal(lab_dropped(l, DROP_##reason), 1)
#define assert_not_dropped(l) lab_no_drops(l)
void lab_no_drops(struct lab *l);

/* The flow record of a frame that enters at `port`. */
bool lab_record(struct lab *l, int port, const struct frame *f, struct flow_rec *ret);
uint64_t lab_entries(struct lab *l, const char *map);
/* Every flow record has been silent since boot. */
void lab_idle(struct lab *l);
void lab_next_jiffy(void); /* a whole one passes */

/*
 * First statement of a test: what it covers, with packets of which families. Before the lab is closed a packet of each must have been
 * sent or run. COVERS_UNSEEN(): nobody here counts them, because they are those of the kernel's own stacks, or the lab is closed in between.
 */
enum { V4 = 1, V6 = 2 };
#define COVERS_UNSEEN(families, ...) (void)((const enum feature[]){ __VA_ARGS__ })
#define COVERS(families, ...)                                                                      \
	do {                                                                                       \
		COVERS_UNSEEN(families, __VA_ARGS__);                                              \
		lab_claims(families);                                                              \
	} while (0)
void lab_claims(unsigned int families);
void lab_saw(const struct frame *f);

/* Runs a program, or ip(8) with words split at blanks, in the current namespace; fails the test when it fails. */
void lab_spawn(char *const argv[]);
void lab_ip(const char *words);

/*
 * Runs the tests as root. With an argument, lab_pcap() writes frames into that file, for other people's dissectors; with a second one, only
 * the tests of those names run, which commas are between.
 */
int lab_main(int argc, char **argv, const struct CMUnitTest *tests, size_t n);
void lab_pcap(const struct frame *f);

/* Frame sent at one port arrives at another, unchanged unless the caller looks; true when it did. */
bool lab_passes(struct tport *from, const struct frame *f, struct tport *to, struct frame *got);

#endif
