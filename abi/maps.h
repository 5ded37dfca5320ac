/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_ABI_MAPS_H
#define DEMARC_ABI_MAPS_H

/*
 * Keys and values of the pinned maps, seen alike by the programs in bpf/ and the writers in src/dp/.
 * Addresses and L4 ports are in network byte order, everything else in the machine's. All padding is
 * explicit and zero, because keys are hashed as bytes.
 */

#include <linux/types.h>

#include "bounds.h"

#define ABI_SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " changed its size")

/* ---- globals: the one value that every packet reads ---- */

struct dp_globals {
	__u32 gen;	   /* a flow record of another generation is evaluated again; never 0 */
	__u32 trace_token; /* skb->mark of a trace; 0: no trace is running */
	__u32 abi;
	__u32 next_path;      /* last path id given out */
	__u64 last_move_ns;   /* last generation bump because a MAC moved */
	__u32 hz;	      /* jiffies per second of this kernel */
	__u32 move_pending;   /* a MAC moved within the hold time: dp_age() bumps */
	__u32 slots4, slots6; /* of the rings of connections */
	__u32 analytics;      /* enum analytics_flag */
	__u32 active_s; /* a flow is reported each time it has lived this long; 0: at its end only */
	__u32 drop_every, capture_every, capture_port;
	__u32 expects_until;	       /* seconds of jiffies; later nothing is expected */
	__u32 policy_slot, policy_vec; /* last numbers given out */
	__u32 n_tunnels;	       /* other than 0: look for tunnels */
	__u32 chained;		       /* there was a classifier or a chain's port: look for them */
	__u64 prefix_lens;	       /* bit n: some prefix of n + 1 bits was bound */
	__u32 bindings_max;	       /* of a port; 0: BINDINGS_DEFAULT */
	__u32 writes;		       /* counts what was replaced or removed: bpf/held.h */
	__u32 spare[8];
	/* Written by every new connection: lines of their own. */
	__u64 next4, next6;
	__u64 n_made;				 /* connections */
	__u64 n_shed;				 /* of them, displaced by newer ones */
	__u64 n_full;				 /* without a record, because there was no room */
	__u64 lost_flows, lost_pkts, lost_bytes; /* ended, and the reader had no room */
	__u64 lost_drops;			 /* dropped or captured packets, likewise */
	__u64 spare2[7];
};
ABI_SIZE(struct dp_globals, 256);

/* ---- flow records ---- */

/* IPv4 uses addr[0] (source) and addr[1], and the first 20 bytes are the key; IPv6 uses all. */
struct flow_key {
	__u32 ifindex; /* ingress */
	__u16 vlan;
	__u8 proto;
	__u8 family;	    /* 4 or 6 */
	__u16 sport, dport; /* ICMP query: identifier and type << 8, its reply: turned round; other ICMP: 0 and type << 8 | code */
	__u32 addr[8];	    /* source, then destination */
};
ABI_SIZE(struct flow_key, 44);
#define FLOW_KEY4_SIZE 20
#define FLOW_KEY6_SIZE 44

enum flow_flag {
	FLOW_DROP = 1 << 0,	/* policy said no: `reason`, `rule` */
	FLOW_PEER = 1 << 1,	/* redirect to the veth peer; else egress of the interface */
	FLOW_TO_HOST = 1 << 2,	/* destination MAC is the output port's own */
	FLOW_SET_DMAC = 1 << 3, /* rewrite to out_mac */
	FLOW_PUSH_VLAN = 1 << 4,
	FLOW_TCP = 1 << 5,   /* mind flags, states before ESTABLISHED, and the window */
	FLOW_XDP = 1 << 6,   /* an XDP program can serve it by itself */
	FLOW_METER = 1 << 7, /* meters[] */
	FLOW_MIRROR = 1 << 8,
	FLOW_NAT_SRC = 1 << 9,	/* source becomes nat_addr, nat_port */
	FLOW_NAT_DST = 1 << 10, /* destination does */
	FLOW_SEQ = 1 << 11,	/* sequence numbers are translated by seq_add */
	FLOW_ENCAP = 1 << 12,	/* `encap` is put in front */
	FLOW_HELPER = 1 << 13,	/* control connection: its payload announces others */
	FLOW_DSCP = 1 << 15,
	FLOW_VARIES = 1 << 14, /* a rule about TCP flags, DSCP or VLAN decided: valid for `fact` only */
};
/* What costs more than a redirect: one branch for all of it. */
#define FLOW_EXTRA                                                                                 \
	(FLOW_METER | FLOW_MIRROR | FLOW_NAT_SRC | FLOW_NAT_DST | FLOW_SEQ | FLOW_ENCAP |          \
	 FLOW_HELPER | FLOW_DSCP)

/* What only the tc program does. A record with one of these never has FLOW_XDP's effect. */
#define FLOW_NOT_XDP (FLOW_MIRROR | FLOW_SEQ | FLOW_HELPER | FLOW_VARIES)

enum conn_flag {
	CONN_OPENER = 1 << 0,	/* this direction opened the connection */
	CONN_REPLIED = 1 << 1,	/* both directions were seen */
	CONN_RESERVED = 1 << 2, /* made for the partner, no packet yet */
	CONN_ENTRY = 1 << 3, /* first segment of a connection in a chain: the one that is counted */
	CONN_RELATED = 1 << 5, /* a control connection announced it */
	CONN_FIRST = 1 << 4,   /* the same, in both directions */
	CONN_LONE = 1 << 6,    /* of an opener: its partner is made when it is needed, bpf/lone.h */
};

enum tcp_bits {
	TCPW_KNOWN = 1 << 0,   /* seq_end and win are from segments of this direction */
	TCPW_LIBERAL = 1 << 1, /* picked up under way, or windows cannot be known: not checked */
	TCPW_SCALED = 1 << 2,  /* its SYN had the scale option; after the handshake: both had */
	TCPW_ACKED = 1 << 3,   /* ack and room are known */
	TCPW_FREE = 1 << 4,    /* no firewall between the two ports: nothing is invalid */
	TCPW_COOKIE = 1 << 6, /* opened by a SYN cookie, the server has not answered; the opener's seq_add is the cookie */
	TCPW_COUNTED = 1 << 7, /* counts as half open toward its destination */
	TCPW_RESYN = 1 << 5,   /* a SYN came on a living connection: RFC 9293 section 3.10.7.4 */
};

#define FLOW_METERS 4

/* What a record counted up to is already in the port counters: packets << 37 | bytes, the low bits of both. A walk comes before 2^27 packets or 128 GiB. */
#define FLOW_DONE_SHIFT 37
#define FLOW_DONE_BYTES ((1ULL << FLOW_DONE_SHIFT) - 1)

/*
 * Value of 152 bytes: a hash element is 48 bytes of header, 24 of IPv4 key and this, 224 in all (IPv6: 248). What each packet reads and
 * writes is in the first 56.
 */
struct flow_rec {
	__u64 pkts;	 /*   0 that arrived, also those of a drop */
	__u64 bytes;	 /*   8 of their frames */
	__u32 last;	 /*  16 jiffies, low bits: an inlined load, where a clock costs a call */
	__u32 gen;	 /*  20 it holds for this generation only; 0: reserved */
	__u32 out;	 /*  24 ifindex, or pseudo port */
	__u32 timeout;	 /*  28 jiffies of idleness, below 2^31 */
	__u8 dmac[6];	 /*  32 as in the frame: one 64-bit and one 32-bit compare */
	__u8 smac[6];	 /*  38 likewise */
	__u16 flags;	 /*  44 enum flow_flag */
	__u8 state;	 /*  46 enum ct_state */
	__u8 reason;	 /*  47 enum drop_reason */
	__u8 out_mac[6]; /*  48 becomes the destination */
	__u16 out_vlan;	 /*  54 tag that is pushed */
	__u32 seq_end;	 /*  56 after the last byte that this direction has sent; host order */
	__u32 seq_max; /*  60 how far it may send: the partner's `ack` and `room`, as last looked up */
	__u32 ack_max; /*  64 what it may acknowledge: the partner's seq_end, as last looked up */
	__u16 win;     /*  68 its largest window, in units of 1 << wscale */
	__u16 room;    /*  70 beyond `ack`, in units of 1 << wscale */
	__u8 wscale;   /*  72 its window scale */
	__u8 tcp_bits; /*  73 enum tcp_bits */
	__u16 encap;   /*  74 slot of `encaps` */
	__u16 meters[FLOW_METERS]; /* 76 token buckets; 0: none */
	__u16 mirror;		   /*  84 slot of `mirrors` */
	__u16 nat_port;		   /*  86 network order */
	__u32 nat_addr[4]; /*  88 likewise; IPv4, both ends: source, destination, its port */
	__u32 seq_add;	   /* 104 to sequence numbers: SYN cookies */
	__u32 ack;	   /* 108 its highest acknowledgement */
	__u64 created_ns;  /* 112 of the connection */
	__u64 done;	   /* 120 already in the port counters: FLOW_DONE_SHIFT */
	__u32 path;	   /* 128 0: not in a chain */
	__u16 chain;	   /* 132 of the path */
	__u16 net;	   /* 134 network of the ingress port */
	__u8 hop;	   /* 136 segment of the path */
	__u8 dscp;	   /* 137 that is written */
	__u8 dir;	   /* 138 enum chain_dir */
	__u8 conn;	   /* 139 enum conn_flag */
	__u32 rule;	   /* 140 that decided; 0: none did */
	__u32 rtt_us;  /* 144 of the handshake, as seen from here to the far end; 0: not known */
	__u16 retrans; /* 148 segments seen again */
	__u8 tcp_seen; /* 150 flags of all segments */
	__u8 fact;     /* 151 FLOW_VARIES: what the deciding rules looked at */
};
ABI_SIZE(struct flow_rec, 152);

/* Where a connection stands in the ring of its family: bpf/table.h. */
struct conn_slot4 {
	__u8 key[FLOW_KEY4_SIZE]; /* of the packet that opened it */
	__u32 conn;		  /* conn_id() of its records; 0: empty */
};
ABI_SIZE(struct conn_slot4, 24);
struct conn_slot6 {
	struct flow_key key;
	__u32 conn;
};
ABI_SIZE(struct conn_slot6, 48);

/* Row: constant, name, idle timeout in seconds. The names and times are those of Linux conntrack. */
#define CT_TABLE(X)                                                                                \
	X(NONE, "NONE", 30)                                                                        \
	X(SYN_SENT, "SYN_SENT", 120)                                                               \
	X(SYN_RECV, "SYN_RECV", 60)                                                                \
	X(ESTABLISHED, "ESTABLISHED", 432000)                                                      \
	X(FIN_WAIT, "FIN_WAIT", 120)                                                               \
	X(CLOSE_WAIT, "CLOSE_WAIT", 60)                                                            \
	X(LAST_ACK, "LAST_ACK", 30)                                                                \
	X(TIME_WAIT, "TIME_WAIT", 120)                                                             \
	X(CLOSE, "CLOSE", 10)                                                                      \
	X(UDP_NEW, "UDP_NEW", 30)                                                                  \
	X(UDP_REPLIED, "UDP_REPLIED", 120)                                                         \
	X(ICMP, "ICMP", 30)                                                                        \
	X(GENERIC, "GENERIC", 600)                                                                 \
	X(DENIED, "DENIED", 1)

enum ct_state {
#define X(name, text, seconds) CT_##name,
	CT_TABLE(X)
#undef X
		CT_N
};

/* ---- ports and networks ---- */

struct port_key {
	__u32 ifindex;
	__u16 vlan;
	__u16 pad;
};

enum port_flag { /* the values of enum dp_port_flag */
		 PORT_SECURITY = 1 << 0,
		 PORT_UPLINK = 1 << 1,
		 PORT_ADMIN_DOWN = 1 << 2,
		 PORT_NO_PEER = 1 << 3,
		 PORT_TUNNEL = 1 << 4,	     /* a pseudo port: frames leave and come encapsulated */
		 PORT_XDP = 1 << 5,	     /* an XDP program is in front of the tc program */
		 PORT_XDP_OUT = 1 << 13,     /* it takes frames from the XDP programs of others */
		 PORT_TCP_LIBERAL = 1 << 11, /* windows of its connections are not checked */
		 PORT_HELP_FTP = 1 << 8,     /* control connections of the port are read */
		 PORT_HELP_TFTP = 1 << 9,
		 PORT_HELP_SIP = 1 << 10,
		 PORT_LIMITED = 1 << 7,	  /* `limits` has a row for it */
		 PORT_NAT = 1 << 12,	  /* `nat` names a list */
		 PORT_NATIVE = 1 << 6,	  /* a pseudo port: of a function in the datapath itself */
		 PORT_ACL_FROM = 1 << 14, /* acl_from names a list */
		 PORT_ACL_TO = 1 << 15,
};

struct port_addr {
	__u32 ip[4];
	__u32 mask[4];
	__u8 mac[6];
	__u8 family;
	__u8 own;
};

#define PORT_DSCP_SET 0x80

struct port_rec {
	__u64 moved_ns; /* when it left prev_net; monotonic */
	__u16 prev_net;
	__u16 net;
	__u16 flags;
	__u8 mac[6];
	__u8 n_addrs;
	__u8 n_sgs;
	__u8 dscp;		    /* PORT_DSCP_SET | value: marks what the port sends */
	__u8 guards;		    /* enum guard_flag */
	__u16 meter_from, meter_to; /* from and to the port; 0: none */
	__u16 mirror;		    /* slot of `mirrors`; 0: none */
	__u16 storm;		    /* meter of what it floods */
	__u16 acl_from[ABI_PORT_ACLS],
		acl_to[ABI_PORT_ACLS]; /* lists for what comes from and goes to it; 0: none */
	__u16 encap;		       /* tunnel: slot of `encaps` */
	__u16 nat;		       /* list of translations; 0: none */
	__u16 pad3[2];
	__u32 sgs[ABI_PORT_SGS];
	struct port_addr addrs[ABI_PORT_ADDRS];
};
ABI_SIZE(struct port_rec, 56 + 32 + 40 * ABI_PORT_ADDRS);

/* Interfaces that carry our tc filter. */
struct attach_rec {
	__u32 flags; /* enum port_flag: only PORT_UPLINK, PORT_XDP and PORT_XDP_OUT */
};

struct member {
	__u32 ifindex;
	__u16 vlan;
	__u16 flags; /* enum port_flag */
};
struct net_rec {
	__u16 net;
	__u16 mtu;
	__u32 uplink;
	__u16 uplink_vlan;
	__u16 n_members;
	struct member members[ABI_NET_MEMBERS];
};

struct fdb_key {
	__u16 net;
	__u8 mac[6];
};
struct fdb_rec {
	__u32 ifindex;
	__u16 vlan;
	__u16 fixed; /* 1: dp_fdb_set() said so, it does not follow from a port; learned: fdb_tag() of its key */
	__u64 last_ns; /* learned: last slow-path packet; in the future: nobody else may claim it yet */
};

/* A learned entry says whose it is, in the 8 bytes that say where: bpf/held.h. Never 0, which is what an older program wrote. */
static __inline__ __u16 fdb_tag(const struct fdb_key *k)
{
	__u32 h = k->net * 0x9e3779b1u;

	for (int i = 0; i < 6; i++)
		h = (h ^ k->mac[i]) * 0x01000193u; /* FNV-1a */
	return (__u16)(h >> 16 | 1);
}

struct addr_key {
	__u16 net;
	__u16 family;
	__u32 ip[4];
};
struct addr_rec {
	__u32 ifindex;
	__u8 mac[6];
	__u16 pad;
};

struct frag_key {
	__u32 ifindex;
	__u32 id;
	__u16 vlan;
	__u8 proto; /* IPv6: 0, because later fragments need not name what the first one carries */
	__u8 family;
	__u32 addr[8];
};

#define FRAG_PIECES 8
enum frag_flag {
	FRAG_DEAD = 1 << 0,  /* an overlap was seen: nothing of the datagram passes any more */
	FRAG_TOTAL = 1 << 1, /* the last fragment was seen: `total` is known */
};
/* A datagram whose first fragment has passed. Bytes count from the end of the unfragmentable headers. */
struct frag_rec {
	__u64 seen_ns; /* the first fragment */
	__u16 sport, dport;
	__u8 icmp_type, icmp_code; /* TCP: its flags */
	__u8 proto;
	__u8 flags; /* enum frag_flag */
	__u16 total;
	__u16 n; /* pieces */
	__u16 last_from, last_to;
	struct {
		__u16 from, to; /* first byte, and the one after the last */
	} piece[FRAG_PIECES];
};
ABI_SIZE(struct frag_rec, 56);

/* ---- chains ---- */

enum chain_dir { DIR_FORWARD, DIR_REVERSE };
enum hop_side { SIDE_IN, SIDE_OUT, SIDE_BOTH };

/* Eight bytes, stored at once through the mapped array: the flip. */
union chain_ptr {
	struct {
		__u32 path;  /* current; 0: no chain */
		__u32 floor; /* flows of older paths move */
	};
	__u64 word;
};
ABI_SIZE(union chain_ptr, 8);

struct path_rec {
	__u16 chain;
	__u8 n_hops;
	__u8 symmetric;
	__u32 prev;	    /* the path it replaced */
	__u64 content_hash; /* of everything dp_chain_set() was given */
	__u64 replaced_ns;  /* 0: current */
};

/* Functions that are stages of the datapath. Row: constant, name. */
#define NATIVE_TABLE(X)                                                                            \
	X(ACL, "acl")                                                                              \
	X(FIREWALL, "firewall")                                                                    \
	X(POLICER, "policer")                                                                      \
	X(MIRROR, "mirror")

enum native_kind {
	NATIVE_NONE,
#define X(name, text) NATIVE_##name,
	NATIVE_TABLE(X)
#undef X
		NATIVE_N
};

struct path_hop_key {
	__u32 path;
	__u32 hop;
};
struct hop_pair {
	__u32 in, out;
	__u16 weight;
	__u8 transparent;
	__u8 native; /* enum native_kind; 0: in and out are interfaces */
	__u8 in_mac[6], out_mac[6];
};
struct path_hop {
	__u16 n_pairs;
	__u16 drop;

	struct hop_pair pairs[ABI_HOP_PAIRS];
};
ABI_SIZE(struct path_hop, 4 + 24 * ABI_HOP_PAIRS);

struct path_port_key {
	__u32 path;
	__u32 ifindex;
};
struct path_port {
	__u16 hop;
	__u16 side; /* enum hop_side */
};
struct port_chain {
	__u32 last_path; /* last one that contains the port */
	__u16 chain;
	__u16 transparent;
};

struct classifier {
	__u16 chain;
	__u8 dir; /* enum chain_dir: where a match enters the chain */
	__u8 index;
	__u8 family; /* 0: both */
	__u8 proto;  /* 0: any */
	__u8 has_sport, has_dport;
	__u16 sport_min, sport_max, dport_min, dport_max; /* host order */
	__u32 src[4], src_mask[4], dst[4], dst_mask[4];
};
ABI_SIZE(struct classifier, 80);
struct port_classifiers {
	__u32 n;
	struct classifier c[ABI_PORT_CLASSIFIERS];
};

/* ---- counters and trace ---- */

struct port_count {
	__u64 rx_pkts, rx_bytes, tx_pkts, tx_bytes, drop_pkts;
};

struct trace_step {
	__u32 event; /* enum trace_event */
	__u32 arg[3];
};
struct trace_buf {
	__u32 n;
	__u32 spare[3];
	struct trace_step steps[ABI_TRACE_STEPS];
};

/* Arguments of the walk program (BPF_PROG_TEST_RUN of a syscall program). */
enum walk_op {
	WALK_AGE,   /* delete idle records, count flows per path, bring port counters up to date */
	WALK_CLOCK, /* only n_conns := jiffies, n_records := monotonic ns */
	WALK_COUNT, /* connections of `chain` that were made before `before_ns` */
};
struct walk_args {
	__u32 op;
	__u32 chain;
	__u64 before_ns;
	__u64 n_conns;	  /* out */
	__u64 n_records;  /* out */
	__u64 n_deleted;  /* out */
	__u64 n_deferred; /* out: idle ones that stay, because the ring of events is full */
	__u64 now_ns;	  /* out: monotonic; the next walk's before_ns */
};

#endif
