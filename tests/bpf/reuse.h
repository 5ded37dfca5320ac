/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_TESTS_BPF_REUSE_H
#define DEMARC_TESTS_BPF_REUSE_H

/* What reuse.bpf.c does, and when. */

#include <linux/types.h>

enum reuse_map { REUSE_NONE, REUSE_PORTS, REUSE_NETS, REUSE_FDB, REUSE_LEARNED, REUSE_ADDRS };

struct reuse_step {
	__u8 key[24];
	__u8 value[1400];
	__u32 remove;
	__u32 counted; /* as dp_put() does it */
};
struct reuse_script {
	__u64 first; /* bytes of the key */
	__u32 map;   /* enum reuse_map */
	__u32 armed; /* at the lookup of this number of the first step's key; 0: never */
	struct reuse_step step[2];
};

#endif
