/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_MODEL_CHAIN_H
#define DEMARC_MODEL_CHAIN_H

/* What two versions of a chain differ in, and when two flow classifiers want the same packet. Pure. Thread: any. */

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"
#include "base/types.h"

#define CHAIN_HOPS_MAX 16
#define CHAIN_CLASSIFIERS_MAX 16
#define CHAIN_PAIRS_MAX 16 /* port pairs of one group */

struct chain_hop {
	const char *id;	  /* of the port pair group */
	const char *name; /* for people */
};

/* Appends one sentence: "inserted accel after router", "removed accel", "replaced fw1 by fw2", "reordered: a, b, c",
 * "created: a, b", "changed to: a, b", or "" when the order is the same. */
void chain_diff(struct strbuf *out, const struct chain_hop *old, size_t n_old,
		const struct chain_hop *now, size_t n_now);

struct port_range {
	uint16_t min, max; /* host order; 0..65535: any */
};

/* A networking-sfc flow classifier. Source: networking-sfc API, flow_classifiers. */
struct classifier {
	uint8_t family; /* 4 or 6 */
	l4_proto proto; /* 0: any */
	struct port_range sport, dport;
	struct ip_cidr src, dst;	 /* addr.family 0: any */
	const char *src_port, *dst_port; /* logical port ids; NULL: any */
};

/* True when a packet exists that both match. */
bool classifier_conflicts(const struct classifier *a, const struct classifier *b);

#endif
