/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_DP_CLASSIFY_H
#define DEMARC_DP_CLASSIFY_H

/*
 * Compiles an ordered list of rules into the sets that bpf/classify.h looks up. Pure: no I/O, no clock; the same rules give
 * the same output, byte for byte.
 *
 * Each dimension of the rules cuts its values into pieces within which the same rules match. A piece becomes prefixes in the trie, with
 * the set of its rules; equal sets of large tables are stored once.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/types.h"

#include <linux/types.h>

#include "policy.h"

/* One rule, of one family or both. */
struct rule {
	uint32_t id, of;	       /* handed back with the verdict */
	uint8_t deny;		       /* enum policy_deny */
	uint8_t family;		       /* 0: both */
	uint8_t proto;		       /* 0: any */
	struct ip_cidr src, dst;       /* family 0: any */
	uint32_t src_group, dst_group; /* 0: none */
	bool has_sport, has_dport;
	uint16_t sport_min, sport_max;
	uint16_t dport_min, dport_max; /* ICMP: type << 8 | code */
	uint16_t vlan;		       /* 0: any */
	uint8_t flags_mask, flags_value;
	bool has_dscp;
	uint8_t dscp;
};

struct compiled_entry {
	struct policy_key key; /* owner: only the dimension, in host order; the writer adds the table */
	struct policy_set set; /* vec: 1 + index in vecs, or 0 */
};

struct compiled {
	struct policy_table head;
	size_t n_entries, n_vecs;
	struct compiled_entry *entries;
	struct policy_vec *vecs;
	struct policy_rule *rules; /* head.n_rules of them */
};

/* Rules of `family` among `rules`, in their order. Faults: TOO_LARGE (limits in abi/policy.h), NO_MEMORY. */
WARN_UNUSED int classify_compile(const struct rule *rules, size_t n, enum ip_family family,
				 struct compiled *ret, struct err *e);
void compiled_done(struct compiled *c);

/* Does the rule match? What the compiled form is tested against. `v` is in host order, addresses in network order. */
struct rule_view {
	struct ip_addr src, dst;
	uint16_t sport, dport, vlan;
	uint8_t proto, flags, dscp;
};
bool rule_matches(const struct rule *r, const struct rule_view *v, bool in_src_group, bool in_dst_group);

/* Says whether an address is in a group; `of` is the caller's. */
typedef bool group_has_fn(const void *of, uint32_t group, const struct ip_addr *a);
/*
 * The lookup of bpf/classify.h, in user space: index in c->rules of the rule that decides, head.n_rules when none does. *ret_varies: whether
 * TCP flags or DSCP, which are in no flow's key, may have had a say.
 */
size_t compiled_find(const struct compiled *c, const struct rule_view *v, group_has_fn *has,
		     const void *of, bool *ret_varies);

#endif
