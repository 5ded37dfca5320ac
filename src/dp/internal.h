/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_DP_INTERNAL_H
#define DEMARC_DP_INTERNAL_H

/* What the files of src/dp share. */

#include "dp/dp.h"

#include <linux/types.h>

#include "ct.h"
#include "drop.h"
#include "expect.h"
#include "guard.h"
#include "limit.h"
#include "maps.h"
#include "meter.h"
#include "policy.h"
#include "qinq.h"
#include "stage.h"

/* Pinned maps. Row: constant, name of the map and of its pin. */
#define DP_MAP_TABLE(X)                                                                            \
	X(FLOW4, flow4)                                                                            \
	X(FLOW6, flow6)                                                                            \
	X(CONNS4, conns4)                                                                          \
	X(CONNS6, conns6)                                                                          \
	X(PORTS, ports)                                                                            \
	X(ATTACHED, attached)                                                                      \
	X(NETS, nets)                                                                              \
	X(FDB, fdb)                                                                                \
	X(FDB_LEARNED, fdb_learned)                                                                \
	X(ADDRS, addrs)                                                                            \
	X(FRAGS, frags)                                                                            \
	X(POLICY_TABLES, policy_tables)                                                            \
	X(POLICY_TRIE, policy_trie)                                                                \
	X(POLICY_VECS, policy_vecs)                                                                \
	X(POLICY_RULES, policy_rules)                                                              \
	X(POLICY_FACTS, policy_facts)                                                              \
	X(POLICY_GROUPS, policy_groups)                                                            \
	X(PATHS, paths)                                                                            \
	X(PATH_HOPS, path_hops)                                                                    \
	X(PATH_PORTS, path_ports)                                                                  \
	X(PATH_FLOWS, path_flows)                                                                  \
	X(PORT_CHAIN, port_chain)                                                                  \
	X(PORT_CLASS, port_class)                                                                  \
	X(PORT_COUNTS, port_counts)                                                                \
	X(DROP_COUNTS, drop_counts)                                                                \
	X(CHAINS, chains)                                                                          \
	X(BINDINGS, bindings)                                                                      \
	X(BINDING_COUNTS, binding_counts)                                                          \
	X(ENCAPS, encaps)                                                                          \
	X(TUNNELS, tunnels)                                                                        \
	X(VTEPS, vteps)                                                                            \
	X(METERS, meters)                                                                          \
	X(NAT_TARGETS, nat_targets)                                                                \
	X(MIRRORS, mirrors)                                                                        \
	X(LIMITS, limits)                                                                          \
	X(SOURCES, sources)                                                                        \
	X(REJECTS, rejects)                                                                        \
	X(EXPECTS, expects)                                                                        \
	X(CT_CONF, ct_conf)                                                                        \
	X(STACKS, stacks)                                                                          \
	X(STACK_TAGS, stack_tags)

enum dp_map {
#define X(name, id) M_##name,
	DP_MAP_TABLE(X)
#undef X
		M_N
};

/* What was named since dp_mark(): kind and key, sorted when it is searched. */
enum name_kind {
	NAME_NET,
	NAME_PORT,
	NAME_SG,
	NAME_CHAIN,
	NAME_METER,
	NAME_ACL,
	NAME_ADDR_GROUP,
	NAME_NAT,
	NAME_FDB
};
struct name {
	uint32_t kind, a, b;
};
struct names {
	struct name *v;
	size_t len, cap;
	bool on, sorted;
};
WARN_UNUSED int names_add(struct names *n, enum name_kind kind, uint32_t a, uint32_t b, struct err *e);
bool names_has(struct names *n, enum name_kind kind, uint32_t a, uint32_t b);
void names_start(struct names *n);
void names_done(struct names *n);

#define DP_PATH_SIZE 320

struct bpf_map;
struct bpf_object;
struct dp_bpf;
struct xdp_bpf;
struct observe;
struct policy;
struct table_facts {
	uint32_t table;
	struct policy_facts facts;
};
struct facts {
	struct table_facts *v; /* of tables with rules about TCP flags or DSCP */
	size_t n;
};
struct dp {
	char pin_dir[DP_PATH_SIZE - 64];
	char dir[DP_PATH_SIZE - 32]; /* of this ABI, in pin_dir */
	struct dp_bpf *skel;
	int map[M_N];	      /* owned by skel */
	int prog_fd, walk_fd; /* owned by skel */
	uint32_t prog_id;
	struct xdp_bpf *xdp;
	unsigned xdp_loads;
	int xdp_fd;	  /* owned by xdp; see xdp_program() */
	char xdp_why[96]; /* the last load failed */
	uint32_t xdp_id;
	struct dp_globals *g;	 /* the pinned map, mapped */
	union chain_ptr *chains; /* the pinned map, mapped */
	int n_cpus;
	int64_t walked_ns;
	int64_t walk_cost_ns; /* processor time that the last one took */
	uint64_t aged_ns;     /* instant of the last ageing walk, as the kernel read it */
	struct observe *observe;
	struct names names;
	struct policy *policy;
	struct facts facts;
	bool swept; /* once by this process */
	__u32 encap_next;
};

static inline bool port_is_pseudo(__u32 ifx)
{
	return ifx >= ABI_PSEUDO_PORT;
}

bool limits_any(const struct dp_limits *l);
/* Before the port's record says that it has limits. */
WARN_UNUSED int limits_put(struct dp *dp, const struct port_key *k, const struct dp_limits *l,
			   struct err *e);

void dp_gen_bump(struct dp *dp);
uint64_t kernel_ns(void);

/* Map operations with errors that name the map. */
WARN_UNUSED int dp_put(struct dp *dp, enum dp_map m, const void *key, const void *value, struct err *e);
int dp_get(struct dp *dp, enum dp_map m, const void *key, void *ret_value); /* -ENOENT */
void dp_unset(struct dp *dp, enum dp_map m, const void *key);		    /* absent is fine */
/* Copies all keys of a map to a new array of n keys; caller frees *ret. Returns n. */
WARN_UNUSED int dp_keys(struct dp *dp, enum dp_map m, size_t key_size, void **ret, struct err *e);

/* tc filters. Absent interfaces are -ENODEV. */
WARN_UNUSED int tc_attach(struct dp *dp, int ifx, struct err *e);
bool tc_is_attached(struct dp *dp, int ifx);
void tc_detach(int ifx);

/* Replaces the pin in one step, so that there is a program at every instant. */
WARN_UNUSED int pin_prog(struct dp *dp, int fd, const char *name, struct err *e);

/* The XDP program of NICs; xdp.c. */
WARN_UNUSED int xdp_program(struct dp *dp); /* loads it when there is none; < 0: not now, xdp_why says why */
void xdp_close(struct dp *dp);
WARN_UNUSED int xdp_attach(const struct dp *dp, int ifx); /* or brings it up to date; -errno */
void xdp_detach(const struct dp *dp, int ifx);		  /* absent is fine */
void xdp_sweep(struct dp *dp);
void xdp_remove_all(const char *pin_dir);

/* Ages, and brings all counters up to date, unless that was done less than max_age_ns ago, or would be done too often (dp_age()). */
WARN_UNUSED int dp_walk_fresh(struct dp *dp, int64_t max_age_ns, struct err *e);
/* Runs the walk program. */
WARN_UNUSED int dp_walk_run(struct dp *dp, struct walk_args *a, struct err *e);

/* The slot of `mirrors` that names this interface, taken when there is none. 0 for interface 0. */
WARN_UNUSED int mirror_slot(struct dp *dp, ifindex to, __u16 *ret, struct err *e);
WARN_UNUSED int mirror_sweep(struct dp *dp, struct err *e);
WARN_UNUSED int meter_sweep(struct dp *dp, struct err *e);

/* Entries that only a killed process can have left. */
WARN_UNUSED int port_sweep(struct dp *dp, struct err *e);
WARN_UNUSED int policy_sweep(struct dp *dp, struct err *e);
WARN_UNUSED int nat_sweep(struct dp *dp, struct err *e);
WARN_UNUSED int chain_sweep(struct dp *dp, struct err *e);

/* Readers of the rings of events. */
WARN_UNUSED int observe_open(struct dp *dp, struct err *e);
void observe_close(struct dp *dp);
void observe_consume(struct dp *dp);
void observe_walked(struct dp *dp, uint64_t n_records);
WARN_UNUSED int observe_apps(int map_fd, struct err *e);
const char *observe_app_name(uint32_t index); /* volume of `apps` */

/* `encap`: slot of a tunnel's header, 0 for other ports. */
WARN_UNUSED int port_set(struct dp *dp, const struct dp_port *p, __u16 encap, struct err *e);
WARN_UNUSED int tunnel_sweep(struct dp *dp, struct err *e);
/* Where the port is in `ports` and in records: its VLAN, or the number of its pair of tags, taken when it has none. */
WARN_UNUSED int stack_vlan(struct dp *dp, const struct dp_port *p, __u16 *ret, struct err *e);
bool stack_tags(struct dp *dp, __u16 vlan, struct stack_rec *ret); /* false: not a pair */
void stack_drop(struct dp *dp, __u16 vlan);			   /* of a port that is gone */
__u16 stack_outer(struct dp *dp, __u16 vlan); /* the VLAN id that the network outside knows; 0: none */
void stack_sweep(struct dp *dp);
WARN_UNUSED int port_del_key(struct dp *dp, const struct port_key *k, struct err *e);
void ip_words(const struct ip_addr *a, __u32 ret[4]);
void cidr_words(const struct ip_cidr *c, __u32 ret_ip[4], __u32 ret_mask[4]);

#endif
