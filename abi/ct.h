/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_ABI_CT_H
#define DEMARC_ABI_CT_H

/* Settings of connection tracking: the one value of map `ct_conf`. */

#include "maps.h"

#define CT_SLOTS 16 /* a power of two, so that a mask bounds the index in the verifier's eyes */
_Static_assert(CT_N <= CT_SLOTS, "more states than slots");

enum ct_flag {
	CT_LIBERAL = 1 << 0, /* TCP windows are not checked */
	CT_STRICT = 1 << 1,  /* TCP connections that are under way are not picked up */
};

/*
 * A table that is nearly full of living connections lets idle ones go earlier: beyond CT_PRESSURE sixteenths of its room,
 * idle times shrink linearly, to CT_SCALE_MIN parts of CT_SCALE when it is full.
 */
#define CT_PRESSURE 15
#define CT_SCALE 256
#define CT_SCALE_MIN 16

struct ct_conf {
	__u32 flags;		   /* enum ct_flag */
	__u32 scale4, scale6;	   /* of idle times, for the next walk; 0: CT_SCALE */
	__u32 timeout_s[CT_SLOTS]; /* by enum ct_state; 0: the default */
	__u32 spare;
	__u64 n_early; /* records that went before their time */
};
ABI_SIZE(struct ct_conf, 88);

#endif
