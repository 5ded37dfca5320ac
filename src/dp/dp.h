/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_DP_DP_H
#define DEMARC_DP_DP_H

/*
 * The datapath as the node's reconciler sees it: pinned BPF programs and maps behind one handle.
 *
 * Every call is idempotent and writes a *wanted* state; the handle can be closed, or the process killed,
 * between any two calls, and the next dp_open() finds the pinned maps, reads them back and goes on.
 * dp_*_sweep() removes what the last pass did not name, so that nothing is orphaned.
 * Thread: all calls on one handle come from the reconciler's thread.
 *
 * A port is named by the ifindex of its host-side interface. The reconciler asks the kernel for that
 * ifindex when it makes the veth (IFLA index in RTM_NEWLINK), so that a port keeps its ifindex, hence its
 * flow records, when its function is restarted.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/types.h"

struct dp;

#define DP_PORT_ADDRS_MAX 32 /* fixed IPs + allowed address pairs of one port */
#define DP_PORT_SGS_MAX 8
#define DP_PORT_ACLS_MAX 4 /* lists of one port and direction */
#define DP_ACL_RULES_MAX 10240
#define DP_ADDR_GROUP_MAX 20480 /* addresses of one group */
#define DP_SG_RULES_MAX 256	/* rules of one security group, both directions */
#define DP_CHAIN_HOPS_MAX 16
#define DP_HOP_PAIRS_MAX 16
#define DP_CHAIN_CLASSIFIERS_MAX 16

struct dp_config {
	const char *pin_dir; /* e.g. "/sys/fs/bpf/demarc/<node id>"; made when absent */
	uint32_t max_flows;  /* flow records (a connection takes two per segment); 0: 262144 */
	uint32_t max_ports;  /* 0: 1024 */
};

/* Loads and pins, or takes over what is pinned. Replacing programs by newer ones keeps maps and loses no
 * packet. Faults: UNAVAILABLE when the kernel lacks a feature (message names it). */
WARN_UNUSED int dp_open(const struct dp_config *c, struct dp **ret, struct err *e);
void dp_close(struct dp *dp); /* leaves everything pinned and forwarding */
WARN_UNUSED int dp_remove(const char *pin_dir, struct err *e); /* detaches and unpins all (tests, purge) */

/* ---- networks and ports ---- */

/* net: small integer the reconciler keeps per network, 1..65535. */
struct dp_net {
	uint16_t net;
	uint16_t mtu;	     /* bytes, L3 */
	ifindex uplink;	     /* the NIC, 0: none */
	vlan_id uplink_vlan; /* 0: flat */
};

/* First-hop security of a port with foreign hosts behind it. Ports with DP_PORT_SECURITY have all of it by their rows. */
enum dp_guard {
	DP_GUARD_RA = 1 << 0,	/* drops router advertisements and redirects from the port */
	DP_GUARD_DHCP = 1 << 1, /* drops what DHCP servers send */
	DP_GUARD_SOURCE = 1 << 2, /* IP, ARP and ND only from addresses given by DHCP, claimed by DAD or in `addrs` */
};

#define DP_PSEUDO_PORT 0x40000000 /* ports with these numbers have no interface */

enum dp_port_flag {
	DP_PORT_SECURITY = 1 << 0, /* anti-spoofing and security groups apply */
	DP_PORT_UPLINK = 1 << 1, /* a NIC of the node; tc on a physical device, delivered by egress */
	DP_PORT_ADMIN_DOWN = 1 << 2, /* drops everything, counted */
	DP_PORT_NO_PEER = 1 << 3, /* a tap or a veth whose peer is in this namespace: egress, not redirect_peer */
	/* Connections that control connections of the port announce pass its rules: FTP on port 21, TFTP on 69, SIP on 5060. */
	DP_PORT_TCP_LIBERAL = 1 << 11, /* TCP windows of its connections are not checked */
	DP_PORT_HELP_FTP = 1 << 8,
	DP_PORT_HELP_TFTP = 1 << 9,
	DP_PORT_HELP_SIP = 1 << 10,
	/*
	 * Frames from a NIC with XDP come to the function by XDP, where its interface takes them (dp_take_xdp()): cheaper for small packets,
	 * dearer for bulk TCP, which loses the NIC's GRO.
	 */
	DP_PORT_XDP_OUT = 1 << 13,
	DP_PORT_TUNNEL = 1 << 4, /* as dp_tunnel_set() made it */
	DP_PORT_NATIVE = 1 << 6, /* of a native function: number from DP_PSEUDO_PORT on, no interface */
};

struct dp_addr {
	struct ip_cidr ip;
	struct mac mac;
	bool own; /* fixed IP (answered by ARP/ND), not a pair */
};

/*
 * Limits of connections that are opened toward a port; 0: none. Half open is what was neither completed nor refused in the last
 * 4 to 8 seconds. A source is an IPv4 address or an IPv6 /64.
 */
struct dp_limits {
	uint32_t half_open;	   /* of all sources */
	uint32_t source_half_open; /* of one */
	uint32_t source_rate;	   /* new connections of one, a second, of any protocol */
	bool syn_cookies; /* what is over a half-open limit gets a SYN cookie; else it is dropped */
};

struct dp_port {
	ifindex ifindex;
	uint16_t net;
	uint16_t flags; /* enum dp_port_flag */
	vlan_id vlan;	/* uplink only: the VLAN this (NIC, VLAN) pair carries; 0 flat */
	vlan_id outer_vlan; /* around `vlan`, as a service tag (IEEE 802.1ad); 0: none. Both types are taken, 0x88a8 is sent */
	struct mac mac; /* the function's own MAC; for an uplink: zero */
	size_t n_addrs;
	struct dp_addr addrs[DP_PORT_ADDRS_MAX];
	size_t n_sgs;
	uint32_t sgs[DP_PORT_SGS_MAX]; /* ids given to dp_sg_set() */
	/* Lists given to dp_acl_set(), for what comes from and goes to the port; all must permit. Ends with 0. */
	uint16_t acl_from[DP_PORT_ACLS_MAX], acl_to[DP_PORT_ACLS_MAX];
	uint16_t meter_from,
		meter_to; /* ids given to dp_meter_set(), for what comes from and goes to the port; 0: none */
	bool has_dscp;
	uint8_t dscp;	      /* 0..63, written into IP packets that come from the port */
	uint16_t storm_meter; /* of broadcast, multicast and unknown unicast from the port; 0: none */
	uint8_t guards;	      /* enum dp_guard */
	struct dp_limits limits;
	uint16_t nat; /* list given to dp_nat_set(), for what comes from and goes to the port; 0: none */
	ifindex mirror_to; /* gets a copy of what passes the port: of flows that have a record, and of what is flooded; 0: none */
	bool no_flood;	   /* of a tunnel: as that of dp_tunnel */
};

/* ---- NICs ---- */

/* What sees a frame first. The tc program is always there, and decides; XDP only does again what was decided. */
enum dp_hook {
	DP_HOOK_AUTO, /* XDP in the driver where the NIC is a device on a bus and can do it; else tc */
	DP_HOOK_TC,
	DP_HOOK_XDP, /* on any interface whose driver can. A veth's peers must not offload VLAN tags and checksums to it */
};

enum dp_nic_feature {
	DP_NIC_XDP = 1 << 0,
	DP_NIC_XDP_OUT = 1 << 2, /* sends frames that XDP programs of other NICs redirect to it */
	DP_NIC_XDP_HW = 1 << 4,	 /* runs XDP programs itself */
};
enum dp_nic_hint {
	DP_NIC_HINT_TIMESTAMP = 1 << 0,
	DP_NIC_HINT_HASH = 1 << 1,
	DP_NIC_HINT_VLAN = 1 << 2,
};

struct dp_nic {
	char driver[32]; /* "": it does not say */
	bool hardware;	 /* on a bus */
	bool known; /* the kernel tells the following two (6.3 and later); else they are what could be tried */
	uint32_t xdp_features; /* enum dp_nic_feature */
	uint32_t hints;	       /* enum dp_nic_hint */
	bool xdp;	       /* the XDP program is attached */
	char reason[96];       /* why not; "" */
};

/*
 * Chooses the hook of a NIC, before its ports are set and whenever they are: a port that was set before keeps its hook until then. That XDP is
 * not possible is no error. -ENODEV: no such interface. Turns off rxvlan of a NIC that gets XDP.
 */
WARN_UNUSED int dp_nic_hook(struct dp *dp, ifindex nic, enum dp_hook want, struct dp_nic *ret,
			    struct err *e);

/* Makes a function's interface, in the caller's network namespace, take frames from XDP programs: GRO on. -errno. */
WARN_UNUSED int dp_take_xdp(ifindex inside);

/* ---- tunnels ---- */

/* The values of enum tunnel_type, in the order of TUNNEL_TABLE (abi/tunnel.h). */
enum dp_tunnel_type {
	DP_TUNNEL_NONE,
	DP_TUNNEL_VXLAN,
	DP_TUNNEL_VXLAN_GPE,
	DP_TUNNEL_GRE,
	DP_TUNNEL_NVGRE,
	DP_TUNNEL_GENEVE,
	DP_TUNNEL_MPLS_UDP,
	DP_TUNNEL_MPLS_GRE,
	DP_TUNNEL_MPLS, /* over Ethernet: the ends are `smac` and `dmac`; the addresses must be there, and are not sent */
};

/* A port of a network whose frames travel to one far end. Frames between tunnels of one network are not forwarded. */
struct dp_tunnel {
	ifindex port; /* from DP_PSEUDO_PORT on */
	uint16_t net;
	enum dp_tunnel_type type;
	uint32_t id; /* VNI or virtual subnet (24 bits), GRE key (0: none), bottom label (20 bits) */
	struct ip_addr local, remote;
	ifindex underlay; /* the NIC; its port must be attached (DP_PORT_UPLINK) */
	vlan_id underlay_vlan;
	uint16_t underlay_mtu; /* bytes of an IP packet there */
	struct mac smac, dmac; /* the NIC's, the next hop's */
	uint8_t tos; /* DSCP << 2 of the outer header; 0: that of the inner one. ECN follows RFC 6040 */
	uint8_t ttl; /* 0: 64 */
	uint16_t udp_port; /* destination; 0: the type's own. Frames are only received on the type's own */
	size_t n_labels; /* MPLS: above the bottom one, outermost first */
	uint32_t labels[4];
	uint32_t nsh_path; /* VXLAN-GPE: service path, 24 bits */
	uint8_t nsh_index;
	uint8_t nsh_md_type;	 /* 0 or 1: fixed context of 16 bytes; 2: nsh_context_len bytes */
	uint8_t nsh_context_len; /* multiple of 4 */
	uint8_t nsh_context[64];
	/* What the far end sends; a path of 0: the same path and index. Frames with another one are dropped. */
	uint32_t nsh_path_in;
	uint8_t nsh_index_in;
	/* Geneve toward OVN: keys of its logical ports, sent in its option; an out port of 0: no option. */
	uint16_t ovn_in_port, ovn_out_port;
	/* Of a tunnel beside one with the same ends and id: the key of the logical port whose frames are this one's, not that one's. 0: all others. */
	uint16_t ovn_from;
	uint16_t nat;  /* as that of dp_port */
	bool no_flood; /* only frames to MACs that are known to be behind it leave by it */
};
/* Idempotent. A change reaches all packets at once: a new header beside the old one, then a new generation. */
WARN_UNUSED int dp_tunnel_set(struct dp *dp, const struct dp_tunnel *t, struct err *e);
WARN_UNUSED int dp_tunnel_del(struct dp *dp, ifindex port, struct err *e); /* absent is success */

/*
 * Frames to `mac` in `net` leave by `port` (a tunnel, usually) without having been learned first; swept when it is not named again. CONFLICT
 * when the MAC is of a port with its own dp_port_set().
 */
WARN_UNUSED int dp_fdb_set(struct dp *dp, uint16_t net, const struct mac *mac, ifindex port,
			   struct err *e);
void dp_fdb_del(struct dp *dp, uint16_t net, const struct mac *mac); /* absent is success */

/* ---- limits ---- */

#define DP_METERS_MAX 4095

/* A token bucket, shared by all flows of the ports that name it. A packet passes while the bucket holds anything. */
struct dp_meter {
	uint16_t id;	      /* 1..DP_METERS_MAX */
	uint64_t rate_bps;    /* bits of L2 frames a second; 0: not limited */
	uint64_t burst_bytes; /* 0: a tenth of a second's worth, at least 64 KiB */
	uint64_t rate_pps;    /* 0: not limited */
	uint64_t burst_pkts;  /* 0: a tenth of a second's worth, at least 32 */
};
WARN_UNUSED int dp_meter_set(struct dp *dp, const struct dp_meter *m, struct err *e);
WARN_UNUSED int dp_meter_del(struct dp *dp, uint16_t id, struct err *e); /* absent is success */
/* Packets that the meter has dropped since it was set. */
WARN_UNUSED int dp_meter_drops(struct dp *dp, uint16_t id, uint64_t *ret, struct err *e);

WARN_UNUSED int dp_net_set(struct dp *dp, const struct dp_net *n, struct err *e);
/* Attaches the tc programs when they are not attached, then writes the port. The interface must exist. */
WARN_UNUSED int dp_port_set(struct dp *dp, const struct dp_port *p, struct err *e);
WARN_UNUSED int dp_port_del(struct dp *dp, ifindex port, struct err *e); /* absent is success */
/* By which a port behind two tags is named wherever a VLAN is; 0: there is no such port. */
vlan_id dp_pair_vlan(struct dp *dp, ifindex nic, vlan_id outer, vlan_id inner);
/* Reads back the network that a port (of no VLAN) is in; 0: the datapath has no such port. */
uint16_t dp_port_net(struct dp *dp, ifindex port);

/* ---- addresses of the hosts behind ports: DHCP's leases, and what was claimed by DAD ---- */

#define DP_BINDINGS_MAX 16384
#define DP_BINDING_FOR_EVER UINT32_MAX

struct dp_binding {
	ifindex port;
	vlan_id vlan;
	uint16_t net;
	struct ip_cidr addr; /* of a host; or a prefix that was delegated to a router (RFC 8415) */
	struct mac mac;
	bool claimed;	 /* by its user (RFC 6620), not leased */
	uint32_t left_s; /* or DP_BINDING_FOR_EVER */
};
/* Living ones to a new array, which the caller frees. Returns how many. */
WARN_UNUSED int dp_bindings(struct dp *dp, struct dp_binding **ret, struct err *e);
/* What was known before a reboot; a living binding of the address stays instead. The port may come later. */
WARN_UNUSED int dp_binding_restore(struct dp *dp, const struct dp_binding *b, struct err *e);
/* How many the hosts behind one port may have, all ports alike; 0: 1024. */
WARN_UNUSED int dp_bindings_limit(struct dp *dp, uint32_t per_port, struct err *e);

/* ---- connection tracking ---- */

#define DP_CT_STATES 14
#define DP_CT_TIMEOUT_MAX_S 1728000 /* 20 days: records hold 32 bits of jiffies */

/* Settings of all ports. Idle times are those of Linux conntrack; when the flow table is nearly full, all of them shrink. */
struct dp_ct {
	bool tcp_liberal; /* windows are not checked (nf_conntrack_tcp_be_liberal) */
	bool tcp_strict;  /* connections under way are not picked up (nf_conntrack_tcp_loose = 0) */
	uint32_t timeout_s[DP_CT_STATES]; /* idle time by state; 0: default */
};
/* Takes effect at the next change of state of each connection. Faults: BAD_REQUEST names the state. */
WARN_UNUSED int dp_ct_set(struct dp *dp, const struct dp_ct *c, struct err *e);
/* "ESTABLISHED", "UDP_NEW" ...; NULL from DP_CT_STATES on. */
const char *dp_ct_state_name(size_t state);

/* ---- security groups ---- */

struct dp_sg_rule {
	bool egress;		     /* from the port; else to the port */
	uint8_t family;		     /* enum ip_family */
	uint8_t proto;		     /* IANA; 0: any */
	uint16_t port_min, port_max; /* host order; ICMP: type / code; 0..65535: any */
	bool has_ports; /* port range (or ICMP type, and code when port_max != 256) is given */
	struct ip_cidr remote; /* family 0: any */
	uint32_t remote_sg;    /* addresses of this group's ports; 0: none */
	uint32_t remote_group; /* given to dp_addr_group_set(); 0: none */
	uint32_t id; /* handed back by traces and flows; 0: the rule's place in the group */
};
/* Replaces the group's rules and members (addresses of its ports; used by rules with remote_sg). */
WARN_UNUSED int dp_sg_set(struct dp *dp, uint32_t sg, const struct dp_sg_rule *rules, size_t n_rules,
			  const struct ip_addr *members, size_t n_members, struct err *e);
WARN_UNUSED int dp_sg_del(struct dp *dp, uint32_t sg, struct err *e);

/* ---- stateless lists of rules ---- */

/* A list is looked at from its first rule on; the first one that matches decides, and when none does the packet is denied. */
struct dp_acl_rule {
	uint32_t id; /* handed back by traces and drops */
	bool deny;
	bool reject;		       /* deny, and say so to the sender */
	uint8_t family;		       /* 0: both */
	uint8_t proto;		       /* IANA; 0: any */
	struct ip_cidr src, dst;       /* family 0: any */
	uint32_t src_group, dst_group; /* given to dp_addr_group_set(), instead of an address; 0: none */
	bool has_sport, has_dport;
	uint16_t sport_min, sport_max, dport_min, dport_max; /* host order */
	bool has_icmp, has_icmp_code;
	uint8_t icmp_type, icmp_code;
	uint8_t tcp_flags_mask, tcp_flags; /* mask 0: any */
	bool has_dscp;
	uint8_t dscp;
	vlan_id vlan; /* of the ingress port; 0: any */
};
/* Both directions of a connection are looked at, each by itself. A changed list takes effect at once for all packets. */
WARN_UNUSED int dp_acl_set(struct dp *dp, uint32_t id, const struct dp_acl_rule *rules, size_t n,
			   struct err *e);
WARN_UNUSED int dp_acl_del(struct dp *dp, uint32_t id, struct err *e); /* absent is success */

/* ---- address translation ---- */

#define DP_NAT_RULES_MAX 1024
#define DP_NAT_LISTS_MAX 65535

/*
 * Of a list of translations, which is that of the port with the outside behind it (dp_port.nat). Rules of destinations are for what comes from
 * the port, those of sources for what goes to it; of each kind the first that matches decides, when a connection opens. One address for one
 * (a floating IP) is a rule of each kind, without ports. Addresses that are the node's own to answer for (ARP, ND) are the caller's care.
 */
struct dp_nat_rule {
	uint32_t id;	  /* handed back by traces */
	bool destination; /* else the source */
	bool keep;	  /* not translated, whatever rules follow */
	uint8_t family;	  /* 0: that of `to` */
	uint8_t proto;	  /* IANA; 0: any */
	/* As inside: the new destination is decided before the source. Family 0: any. */
	struct ip_cidr src, dst;
	uint32_t src_group, dst_group; /* given to dp_addr_group_set(), instead of an address; 0: none */
	bool has_dport;		       /* TCP, UDP */
	uint16_t dport_min, dport_max; /* host order */
	struct ip_addr to;
	/*
	 * Host order. Source: ports (ICMP: identifiers) to choose from, 0: those of the same kind, below 512, below 1024, or above; the
	 * connection's own when it is among them and free. Destination: what dport_min becomes, those above it follow; 0: kept.
	 */
	uint16_t to_min, to_max;
};
/*
 * A connection keeps what it was given when it opened, as long as it lives. Faults: BAD_REQUEST and TOO_LARGE name the rule. Payloads are
 * not looked into: what carries addresses in its text (FTP, SIP) keeps those inside.
 */
WARN_UNUSED int dp_nat_set(struct dp *dp, uint32_t id, const struct dp_nat_rule *rules, size_t n,
			   struct err *e);
WARN_UNUSED int dp_nat_del(struct dp *dp, uint32_t id, struct err *e); /* absent is success */

/* Costs one map operation for each address that comes or goes, whatever uses the group. */
WARN_UNUSED int dp_addr_group_set(struct dp *dp, uint32_t id, const struct ip_cidr *v, size_t n,
				  struct err *e);
WARN_UNUSED int dp_addr_group_del(struct dp *dp, uint32_t id, struct err *e); /* absent is success */

/* ---- chains ---- */

enum dp_native_kind {
	DP_NATIVE_NONE,
	DP_NATIVE_ACL,
	DP_NATIVE_FIREWALL,
	DP_NATIVE_POLICER,
	DP_NATIVE_MIRROR
};

struct dp_pair {
	ifindex in, out; /* ports of one function: LAN-ward, WAN-ward; in == out is allowed (one-armed) */
	uint16_t weight; /* >= 1 */
	bool transparent; /* no fixed IP: the frame's destination MAC is kept; else set to the port's MAC */
	/*
	 * Other than 0: a function in the datapath itself. `in` and `out` are ports with DP_PORT_NATIVE, whose policy is
	 * what the function does: their security groups (firewall), ACLs (acl), meter_to (policer), mirror_to (mirror). Who
	 * opens a connection goes to the port on his side and comes from the other.
	 */
	uint8_t native; /* enum dp_native_kind */
};
struct dp_hop {
	size_t n_pairs;
	struct dp_pair pairs[DP_HOP_PAIRS_MAX];
	bool drop; /* fail-closed and dead */
};

struct dp_classifier {
	uint8_t family; /* 0: both */
	uint8_t proto;	/* 0: any */
	bool has_sport, has_dport;
	uint16_t sport_min, sport_max, dport_min, dport_max; /* host order */
	struct ip_cidr src, dst;			     /* family 0: any */
	ifindex src_port;				     /* logical source port; 0: none */
	vlan_id src_vlan;				     /* when src_port is an uplink */
	ifindex dst_port; /* logical destination port: source of the reverse direction; 0: none */
	vlan_id dst_vlan;
};

enum dp_flip_mode {
	DP_FLIP_MOVE, /* all flows take the new path now */
	DP_FLIP_KEEP, /* established flows stay on their path, new ones take the new path */
};

struct dp_path {
	uint16_t chain; /* small integer the reconciler keeps per port chain, 1..1023 */
	bool symmetric;
	size_t n_hops;
	struct dp_hop hops[DP_CHAIN_HOPS_MAX];
	size_t n_classifiers;
	struct dp_classifier classifiers[DP_CHAIN_CLASSIFIERS_MAX];
};

struct dp_flip_result {
	uint32_t path;		  /* id of the path now current */
	uint64_t flip_ns;	  /* CLOCK_MONOTONIC of the pointer store */
	uint64_t n_moved, n_kept; /* connections that entered the chain before the flip */
};

/* Builds a new immutable path beside the old one, then stores one pointer. The same content as the
 * current path is no change (returns 0 and leaves *r with the current path id). Returns 1 when flipped. */
WARN_UNUSED int dp_chain_set(struct dp *dp, const struct dp_path *p, enum dp_flip_mode mode,
			     struct dp_flip_result *r, struct err *e);
WARN_UNUSED int dp_chain_del(struct dp *dp, uint16_t chain, struct err *e);

struct dp_path_info {
	uint32_t path;
	uint16_t chain;
	bool current;
	uint64_t n_flows;
};
/* Paths that are current or still carry flows; frees the ones that are neither. */
WARN_UNUSED int dp_path_collect(struct dp *dp, struct dp_path_info *ret, size_t max, struct err *e);

/* Removes whatever dp_*_set() has not named since dp_mark(): the end of a full reconcile pass. */
void dp_mark(struct dp *dp);
WARN_UNUSED int dp_sweep(struct dp *dp, struct err *e);

/*
 * Ages flow records and counts what they counted; call about once a second. Takes 4 % of a processor at most, unless a walk takes more than
 * half a second: with many records only some calls walk, one in 15 s at least, and counters of ports and paths are that old.
 */
WARN_UNUSED int dp_age(struct dp *dp, struct err *e);

/* ---- looking in ---- */

struct dp_port_stats {
	uint64_t rx_pkts, rx_bytes, tx_pkts, tx_bytes, drop_pkts;
}; /* rx: from the port */
WARN_UNUSED int dp_port_stats(struct dp *dp, ifindex port, struct dp_port_stats *ret, struct err *e);
/* Over all ports. */
WARN_UNUSED int dp_totals(struct dp *dp, struct dp_port_stats *ret, struct err *e);

/* Number of drop reasons, their names (abi/drop.h table) and totals over all CPUs. */
size_t dp_n_drop_reasons(void);
const char *dp_drop_reason_name(size_t reason);
WARN_UNUSED int dp_drop_totals(struct dp *dp, uint64_t *ret, size_t n, struct err *e);

/* Entries per map of this handle, for leak checks: name and count. Returns how many rows were written. */
struct dp_map_count {
	char name[32];
	uint64_t n_entries;
};
WARN_UNUSED int dp_map_counts(struct dp *dp, struct dp_map_count *ret, size_t max, struct err *e);

/*
 * Runs a frame through the *loaded* programs with BPF_PROG_TEST_RUN, without side effects on flows, and
 * returns the stages it met. One step is one line of `demarc trace`.
 */
struct dp_trace_step {
	const char *stage; /* "parse", "anti-spoof", "flow", "arp", "classify", "chain", "security group", "l2", "output" ... */
	char text[160]; /* what the stage decided, with names as ifindexes: "hop 2 of path 7 -> ifindex 65539" */
	bool drop;	/* the packet ends here; text gives the drop reason */
	ifindex out;	/* output stage: where to; 0 otherwise */
	ifindex native; /* native stage: the function's port by which the packet enters; 0 otherwise */
	uint32_t rule; /* id of the rule that the step is about; 0: none */
};
WARN_UNUSED int dp_trace(struct dp *dp, ifindex in, vlan_id vlan, const void *frame, size_t size,
			 struct dp_trace_step *ret, size_t max, struct err *e);

#endif
