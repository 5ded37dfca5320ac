/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_ABI_POLICY_H
#define DEMARC_ABI_POLICY_H

/*
 * Compiled rules. A table is an ordered list of rules of one address family. Each dimension of a packet is looked up once and
 * gives the set of rules that its value satisfies, as a bit vector in the order of the rules; the first bit that is in all of them is
 * the rule that decides. So the number of lookups is that of the dimensions, whatever the number of rules.
 */

#include "maps.h"

#define ABI_POLICY_RULES 10240 /* of one table */
#define ABI_POLICY_WORDS (ABI_POLICY_RULES / 64)
#define ABI_POLICY_SMALL 4 /* words of a vector that stands in the trie itself: up to 256 rules */
#define ABI_POLICY_GROUPS                                                                          \
	8 /* address groups of one table and dimension that change without compiling it again */
#define ABI_POLICY_TABLES 4096
#define ABI_POLICY_LINES                                                                           \
	24 /* a table of so few rules is read line by line: cheaper than a lookup for each dimension */

/* What is compared. ICMP has type << 8 | code as its destination port. */
enum policy_dim {
	PDIM_SRC,
	PDIM_DST,
	PDIM_SPORT,
	PDIM_DPORT,
	PDIM_PROTO,
	PDIM_VLAN,
	PDIM_FLAGS, /* TCP flags */
	PDIM_DSCP,
	PDIM_N
};

/* Key of the trie of all values of all tables. `owner` is slot << 3 | dimension, or a group << 1 | family bit. */
struct policy_key {	  /* 24 bytes */
	__u32 prefix_len; /* 32 more than that of `data` */
	__u32 owner;	  /* big endian: compared bit by bit */
	__u8 data[16];
};
/* Numbers of tables: what they are of stands in the high bits. */
#define POLICY_SG(sg, egress) (0x20000000u | (__u32)(sg) << 1 | !!(egress))
/* Rules of a list of translations: of destinations, or of sources. */
#define POLICY_NAT(id, dst) (0x10000000u | (__u32)(id) << 1 | !!(dst))
#define POLICY_ACL(id) (0x40000000u | (__u32)(id))

#define POLICY_OWNER_GROUP 0x80000000u

/*
 * The rules that a value satisfies. Of a table with at most 256 rules: a bit each. Of a larger one: a bit for each word of the vector
 * `vec` that is not 0.
 */
struct policy_set {
	__u32 vec; /* key in `policy_vecs`; 0: there is none */
	__u32 pad;
	__u64 bits[ABI_POLICY_SMALL];
};
ABI_SIZE(struct policy_set, 40);

struct policy_vec {
	__u64 w[ABI_POLICY_WORDS];
};

struct policy_group {
	__u32 group;
	__u32 pad;
	struct policy_set set; /* rules that an address of the group satisfies */
};

/*
 * A rule as it stands in a short table. What it does not look at has a mask of 0, or all values. The 52 bytes that IPv4 needs are together; `line6`
 * has the rest of the addresses.
 */
struct policy_line {
	__u32 src, src_mask, dst, dst_mask; /* the first word of IPv6; network order */
	__u16 sport_min, sport_span;	    /* host order, span: last - first */
	__u16 dport_min, dport_span;
	__u16 vlan, vlan_mask;
	__u8 proto, proto_mask;
	__u8 flags, flags_mask;
	__u8 dscp, dscp_mask;
	__u8 deny;	 /* enum policy_deny */
	__u8 varies;	 /* looks at TCP flags or DSCP */
	__u32 groups[2]; /* the source's, the destination's; 0: none */
	__u32 id, of;	 /* as in struct policy_rule */
};
ABI_SIZE(struct policy_line, 52);
struct policy_line6 {
	__u32 src[3], src_mask[3], dst[3], dst_mask[3];
};

#define POLICY_LOOKS_KNOWN 0x8000

/* Key: table << 1 | family is 6. */
struct policy_table {
	__u64 hash; /* of what it was compiled from */
	__u32 slot; /* with family bit: what entries and rules are found under */
	__u32 first_vec, n_vecs;
	__u32 n_rules;
	__u16 dims;	  /* 1 << enum policy_dim: others are of no interest */
	__u8 big;	  /* vectors are in `policy_vecs` */
	__u8 n_groups[2]; /* source, destination */
	__u8 n_lines;	  /* other than 0: all that there is are `lines` */
	__u16 looks; /* POLICY_LOOKS_KNOWN | 1 << enum policy_dim that a rule looks at; 0: of an older writer */
	__u8 pad[4];
	__u64 varying[ABI_POLICY_SMALL]; /* rules, or words, that look at TCP flags or DSCP: not in a flow's key */
	struct policy_set any[PDIM_N]; /* of a value that no rule names */
	struct policy_group groups[2][ABI_POLICY_GROUPS];
	struct policy_line lines[ABI_POLICY_LINES];
	struct policy_line6 lines6[ABI_POLICY_LINES];
};

/*
 * TCP flags and DSCP are in no flow's key. Values that no rule of any table tells apart are one class; a record with FLOW_VARIES holds
 * for packets of the class that it was made for: flags | dscp << 4.
 */
#define POLICY_CLASSES 15
#define POLICY_NO_CLASS 15 /* told apart from all, because there are too many classes */
#define POLICY_NO_FACT 255 /* of a packet with such a value: each is judged by itself */
struct policy_facts {
	__u8 flags[256];
	__u8 dscp[64];
};

/* `deny` of a rule. */
enum policy_deny { POLICY_PERMITS, POLICY_DENIES, POLICY_REJECTS };

/* Key of what a rule says. */
struct policy_rule_key {
	__u32 slot;
	__u32 index;
};
struct policy_rule {
	__u32 id;   /* the caller's */
	__u32 of;   /* security group, or list */
	__u32 deny; /* enum policy_deny */
};

#endif
