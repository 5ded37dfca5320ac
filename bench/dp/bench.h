/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_BENCH_BENCH_H
#define DEMARC_BENCH_BENCH_H

/* What the commands of bench-dp share. Each takes the words after its name and returns an exit status. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/types.h"

int cmd_floor(int argc, char **argv);
int cmd_source(int argc, char **argv);
int cmd_ping(int argc, char **argv);
int cmd_pong(int argc, char **argv);
int cmd_tap_source(int argc, char **argv);
int cmd_tap_pump(int argc, char **argv);
int cmd_demarc(int argc, char **argv);

/* Ends the program: what, and errno's text unless it is 0. */
_Noreturn void fail(const char *what, const char *detail);
/* A whole number up to max, or the end of the program with the name of the option. */
uint64_t number(const char *name, const char *text, uint64_t max);
struct mac mac_arg(const char *name, const char *text);
uint32_t ipv4_arg(const char *name, const char *text); /* network byte order */
uint64_t now_ns(void);

/* Value of "--NAME VALUE" in the words, or `otherwise`; NULL there makes it required. */
const char *option(int argc, char **argv, const char *name, const char *otherwise);
bool has_flag(int argc, char **argv, const char *name);

/* ---- processor time ---- */

#define METERS_MAX 16
struct meter {
	int pid[METERS_MAX];
	size_t n;
	uint64_t wall_ns, own_ns, other_ns[METERS_MAX];
};
void meter_init(struct meter *m, const char *pids); /* "12,34"; "": only this process */
void meter_start(struct meter *m);
void meter_stop(struct meter *m); /* adds what was spent since the start */

/* ---- an IPv4 frame made in user space ---- */

struct frame_spec {
	struct mac smac, dmac;
	uint32_t saddr, daddr; /* network byte order */
	size_t size;	       /* bytes, Ethernet header included */
};
#define FRAME_BYTES_MAX 2048
/* UDP frame of flow i (source.h); `to` holds FRAME_BYTES_MAX. */
void frame_udp(uint8_t *to, const struct frame_spec *s, uint32_t i);

#endif
