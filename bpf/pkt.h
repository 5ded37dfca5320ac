/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_PKT_H
#define DEMARC_BPF_PKT_H

/* What the stages of the slow path know about the packet in hand; one per CPU, see pkt_get(). */

#include "ctx.h"
#include "drop.h"
#include "expect.h"
#include "guard.h"
#include "limit.h"
#include "maps.h"
#include "nat.h"
#include "qinq.h"
#include "stage.h"
#include "tunnel.h"

#define ETH_SIZE 14
#define WIRE_ONE (1ULL << 32) /* one packet: wire.h */
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_IPV6 0x86dd

/* A longer frame is a segmentation offload packet, whose IP header says 0 for its length (Linux "BIG TCP", RFC 2675). */
#define IP_BIG 65535

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMPV6 58
#define PROTO_SCTP 132

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define TCP_URG 0x20
#define TCP_PART                                                                                   \
	0x100 /* in struct tcp_seg: first fragment, the rest of the payload is not counted */

enum pkt_kind { PKT_OTHER, PKT_ARP, PKT_IP };
enum pkt_frag { FRAG_NONE, FRAG_FIRST, FRAG_LATER };
enum pkt_icmp {
	ICMP_NOT,
	ICMP_QUERY,   /* has an identifier and a reply */
	ICMP_ERROR,   /* has the start of a packet in it */
	ICMP_CONTROL, /* neighbour discovery, MLD: stays in its network */
	ICMP_REST,
};

/* A TCP header, host order. */
struct tcp_seg {
	__u32 seq, ack;
	__u32 len; /* of the payload; of a segmentation offload packet: all of it */
	__u16 win;
	__u16 flags;
	__u8 off;	     /* size of the header */
	__u8 scaled, wscale; /* SYN: has the window scale option; its value */
	__u8 sack_ok;
	__u16 mss; /* SYN: 0 without the option */
	__u16 pad;
};

enum cookie_step { COOKIE_NONE, COOKIE_SYN, COOKIE_SPLICE };

/* What an outer header says. */
struct tunnel_frame {
	struct tunnel_key key;
	__u32 inner; /* offset of the frame inside */
	__u32 path;  /* NSH: service path and index; OVN: the logical port it is from */
	__u16 l4;
	__u8 proto, tos;
};

struct native_visit {
	__u32 enter, leave; /* pseudo ports */
	__u32 kind;
};

/*
 * What the packet gets, as a record holds it, in place of its source (FLOW_NAT_SRC) or destination (FLOW_NAT_DST). IPv4 has room for
 * both: then addr[0] and `port` are the source, addr[1] and addr[2] the destination.
 */
struct nat_to {
	__u32 addr[4];
	__u16 port; /* network order; ICMP: as in the key */
	__u16 flags;
};

#define WAYS 16 /* of a CPU */
enum way_use {
	WAY_NONE,
	WAY_BEGUN, /* it stands for the port's record */
	WAY_LED,   /* and for the output */
};

/* From a port to another: bpf/way.h. */
struct way {
	__u32 gen;    /* 0: none */
	__u32 wanted; /* way_short() of the last one that was not there */
	__u32 taken;  /* jiffies when it was written, low bits */
	struct port_key in;
	__u32 family;
	__u8 dmac[6], smac[6]; /* aligned as in a packet */
	__u16 net, port_flags;
	__u32 src[4];
	__u16 nat_in, nat_out;
	__u16 meters_of[2], mirrors_of[2];
	__u32 out;
	__u16 out_vlan, out_flags, out_encap;
	__u8 out_port_mac[6];
	__u8 guards, marks;
	__u8 n_sgs[2];
	__u32 sgs[2][ABI_PORT_SGS];
	/* The last connection that these groups allowed. */
	__u8 allowed; /* its family; 0: none */
	__u8 proto;
	__u16 looks; /* 1 << enum policy_dim: what they looked at */
	__u16 sport, dport;
	__u32 addr[8];
	__u32 rule, rule_of;
};

struct pkt {
	struct flow_key key; /* as received */
	__u8 dmac[6], smac[6];
	__u32 len;  /* of the frame as it is here */
	__u64 wire; /* what is counted: wire.h */
	__u16 ethertype;
	__u8 kind;	/* enum pkt_kind */
	__u8 multicast; /* or broadcast */
	__u16 l3_off, l4_off;
	__u32 frag_id;
	__u32 frag_from, frag_to; /* bytes of the datagram's payload */
	__u8 frag_more;
	struct tcp_seg seg;
	__u8 frag; /* enum pkt_frag */
	__u8 tcp_flags;
	__u8 icmp; /* enum pkt_icmp */
	__u8 icmp_type, icmp_code;
	__u8 hop_limit;
	__u8 trace; /* report, change nothing */
	__u8 flow;  /* a record may be kept for it */
	__u64 now;  /* monotonic ns */
	__u64 jiffies;

	/* stage_port */
	__u32 gen;    /* before anything that it stands for was read */
	__u32 writes; /* likewise: bpf/held.h */
	__u16 net, port_flags;
	__u8 guards;	   /* of the port */
	__u8 unrecorded;   /* no record is made */
	__u8 way;	   /* enum way_use */
	__u8 like_allowed; /* the groups of the way allowed one like it */
	__u16 looks;	   /* what tables of rules looked at: as in struct policy_table */
	__u8 dhcp_type;
	__u32 dhcp_lease; /* s */
	__u32 dhcp_ip;	  /* that the client asks for or declines; network order */
	__u8 dhcp_over;	  /* no more addresses for that port */
	__u16 out_flags;  /* of the output port */
	__u16 out_encap;
	__u8 out_port_mac[6];
	__u16 meters_of[2], mirrors_of[2]; /* of the ingress port, of the output port; 0: none */
	__u8 marks;			   /* of the ingress port: PORT_DSCP_SET | value */
	__u8 native_firewall;		   /* one is on the way */
	__u8 cookie;			   /* enum cookie_step */
	__u8 liberal, strict;		   /* settings of connection tracking */
	__u8 allowed;			   /* by rules and limits */
	__u8 midway;			   /* no connection, and not the start of one */
	__u8 related;			   /* announced by a control connection */
	__u8 counted;			   /* as half open */
	__u16 peer_win;			   /* what the client said */
	__u32 seq_add;			   /* of the record */
	__u8 stateful;			   /* some firewall is: what is invalid is dropped */

	/* stage_flow: the record as it was */
	__u8 absent; /* there is none: somebody looked */
	__u8 seen;   /* there is a record, whatever it is worth */
	__u8 had;    /* it is alive, and not a drop */
	__u8 had_conn, had_dir, had_state;
	__u32 had_out, had_path;
	__u16 had_chain, had_hop;
	__u16 had_vlan;
	__u8 had_set_mac; /* to had_mac */
	__u8 had_mac[6];
	__u64 created_ns;

	/* chain, l2 */
	__u32 out;
	__u16 out_vlan;
	__u8 set_mac;
	__u8 dir;
	__u8 mac[6];
	__u16 chain;
	__u32 path;
	__u16 hop;
	__u8 entry;
	__u8 one_way; /* the chain is not symmetric: answers may go past it */
	__u8 sole;
	__u8 steered; /* the port is a chain's, or a classifier of it matches */

	/* What the record will carry beside its output: stages add to it. */
	__u16 rec_flags; /* enum flow_flag */
	__u16 meters[FLOW_METERS];
	__u16 n_meters;
	__u16 mirror, encap;
	__u32 rule, rule_of; /* that decided, and its group or list */
	__u8 reject;	     /* by answering; when it is dropped: it is answered */
	__u8 dscp_seen;	     /* in the packet */
	__u8 flags_seen;     /* TCP; of a later fragment: those of the first one */
	__u8 fact;	     /* FLOW_VARIES: fact_of() both */
	__u8 dscp;

	/* nat: lists of rules of both ports, and what is decided */
	__u16 nat_in, nat_out;
	struct nat_to nat;
	__u8 nat_stale;		   /* the tuple was that of a connection which has ended */
	__u64 nat_was_ns;	   /* that one's creation */
	__u32 nat_diff, nat_grown; /* sums of what was changed: in all, by the last step */
	__u16 inner_l4;		   /* ICMP error: offset of the inner L4 header; 0: it has none */

	/* Native functions on the way to the output, in order. */
	__u32 n_natives;

	/* conntrack, security group */
	__u8 reply; /* travels against the direction that opened the connection */
	__u8 known; /* a connection exists */
	__u8 state;
	__u8 partner; /* the partner's record is of this connection */
	__u8 stored;  /* p->rec is what stage_store() wrote */
	__u8 rseen;   /* there is a record for the partner's key */
	__u8 rlooked; /* it was looked for at the output port */
	__u8 checked; /* the partner was evaluated under this generation, over the same ports and path */

	__u8 n_sgs[2]; /* of the ingress port, of the output port */

	struct port_key in;
	struct port_key outk;
	struct fdb_key fdb;
	struct addr_key addr, held;

	/* From here on nothing is cleared for a new packet: written before it is read. */
	__u8 scratch[0];
	__u32 sgs[2][ABI_PORT_SGS];
	struct flow_key view; /* what rules and classifiers see: the key, its destination translated */
	struct flow_key rkey; /* the other direction, as it would be received from the output port */
	struct flow_key vkey, wkey; /* records looked at to make room, bpf/table.h */
	struct flow_key inner;	    /* ICMP error: the reply to the packet inside it */
	struct native_visit natives[ABI_CHAIN_HOPS];
	struct fdb_rec learned;
	struct frag_key fragk;
	struct flow_rec rec, prec; /* the packet's, its partner's */
	struct source_key source;
	struct expect_key expect;
	struct way ways[WAYS];
	struct tcp_seg nseg; /* what a segment of ours will have */
	struct tunnel_frame tunnel;
	__u8 outer[ABI_ENCAP_MAX];
	struct binding binding;
	__u64 ptb_jiffies;  /* of the last "packet too big" */
	__u64 told_jiffies; /* of the last one that came about a tunnel */
	__u8 buf[128];	    /* replies are built here */
	__s32 act;	    /* what the program returns when a stage is done */
	__u8 asked;	    /* twice, since something was written meanwhile */
};

/* A stage returns STAGE_NEXT, STAGE_DONE (p->act is set) or -enum drop_reason. */
#define STAGE_NEXT 0
#define STAGE_DONE 1
#define STAGE_SENT 2  /* under XDP: the frame has become an answer */
#define STAGE_AGAIN 3 /* run_stages(): what was read is not to be believed */

static __always_inline __u32 key_words(__u8 family)
{
	return family == 6 ? 4 : 1;
}

/* to := the tuple of `from` with both ends exchanged; ifindex and VLAN are the caller's. */
static __always_inline void key_reverse(struct flow_key *to, const struct flow_key *from)
{
	to->proto = from->proto;
	to->family = from->family;
	to->sport = from->dport;
	to->dport = from->sport;
	if (from->family == 6) {
		for (int i = 0; i < 4; i++) {
			to->addr[i] = from->addr[i + 4];
			to->addr[i + 4] = from->addr[i];
		}
		return;
	}
	to->addr[0] = from->addr[1];
	to->addr[1] = from->addr[0];
	for (int i = 2; i < 8; i++)
		to->addr[i] = 0;
}

static __always_inline int mac_same(const __u8 *a, const __u8 *b)
{
	__u8 diff = 0;

	for (int i = 0; i < 6; i++)
		diff |= a[i] ^ b[i];
	return !diff;
}

static __always_inline void mac_copy(__u8 *to, const __u8 *from)
{
	for (int i = 0; i < 6; i++)
		to[i] = from[i];
}

/* The security groups of the ingress port (side 0), or of the output port. */
static __always_inline void port_groups(struct pkt *p, const struct port_rec *port, __u32 side)
{
	p->n_sgs[side] = port->n_sgs;
	for (int i = 0; i < ABI_PORT_SGS; i++)
		p->sgs[side][i] = port->sgs[i];
}

/* What the stages after this need to know of the output port. */
static __always_inline void port_output(struct pkt *p, const struct port_rec *port)
{
	p->out_flags = port->flags;
	p->out_encap = port->encap;
	mac_copy(p->out_port_mac, port->mac);
	p->meters_of[1] = port->meter_to;
	p->mirrors_of[1] = port->mirror;
	port_groups(p, port, 1);
}

#endif
