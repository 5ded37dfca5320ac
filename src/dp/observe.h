/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_DP_OBSERVE_H
#define DEMARC_DP_OBSERVE_H

/*
 * What the datapath tells: flows as they end and while they live, the live table through a filter, dropped and captured packets. Nothing
 * here ever holds a packet back: what finds no room is counted. Thread: the reconciler's.
 */

#include "dp/dp.h"

/* ---- flows ---- */

enum dp_flow_kind {
	DP_FLOW_LISTED,
	DP_FLOW_NEW,	/* a translated connection opens */
	DP_FLOW_ACTIVE, /* has lived another active timeout */
	DP_FLOW_IDLE,	/* ended by silence */
	DP_FLOW_END,	/* closed */
	DP_FLOW_SHED,	/* ended because the table had no room */
	DP_FLOW_FORCED, /* cut by policy; its counters go on in the flow that is dropped from now on */
	DP_FLOW_REPLACED, /* closed; its counters go on in a new connection with the same addresses and ports */
};

/* One direction of a connection over one segment. */
struct dp_flow {
	uint8_t kind; /* enum dp_flow_kind */
	uint8_t proto;
	uint8_t tcp_flags; /* of all segments */
	uint8_t reason;	   /* of a drop: row of dp_drop_reason_name() */
	bool dropped, opener, replied;
	bool nat_src, nat_dst; /* translated */
	const char *state;     /* "ESTABLISHED": as Linux conntrack names it */
	struct ip_addr src, dst;
	uint16_t sport, dport;		   /* host order; ICMP: identifier */
	struct ip_addr post_src, post_dst; /* as it leaves: the same, unless translated */
	uint16_t post_sport, post_dport;
	ifindex in, out;
	vlan_id vlan;
	struct mac smac, dmac;
	uint16_t net, chain;
	uint32_t path;
	uint8_t hop;	      /* segment of the path */
	uint64_t pkts, bytes; /* Ethernet frames, since the record was made */
	int64_t created_ns, last_ns,
		now_ns;	 /* CLOCK_MONOTONIC: of the connection, of the last packet, of this event */
	uint32_t rule;	 /* that decided; 0: none did */
	uint32_t rtt_us; /* 0: not known */
	uint16_t retrans;
};
typedef void (*dp_flow_fn)(void *ctx, const struct dp_flow *f);

/*
 * From now on fn(ctx) gets each flow that ends, from within dp_age() and whatever else walks the table; active_s > 0: and each that
 * has lived a multiple of it. fn NULL: no more. In a chain only the first segment of a connection is told.
 */
void dp_flows_tell(struct dp *dp, unsigned int active_s, dp_flow_fn fn, void *ctx);

struct dp_losses {
	uint64_t flows, pkts, bytes; /* of flows that ended untold */
	uint64_t packets;	     /* dropped or captured ones, untold */
};
void dp_losses(struct dp *dp, struct dp_losses *ret);

struct dp_table_figures {
	uint64_t made, shed, full; /* connections: opened, displaced by newer ones, without a record */
	uint64_t early;	   /* records that went before their idle time: the table was nearly full */
	uint64_t records;  /* at the last walk */
	uint64_t capacity; /* of both tables */
};
void dp_table_figures(struct dp *dp, struct dp_table_figures *ret);

#define DP_FLOWS_MAX 1000
enum dp_flow_order { DP_BY_BYTES, DP_BY_PKTS, DP_BY_RTT, DP_BY_RETRANS, DP_BY_NEWEST };

struct dp_flow_query {
	uint8_t family, proto;	       /* 0: any */
	struct ip_cidr addr, src, dst; /* family 0: any; addr: either end */
	uint16_t port;		       /* of L4, either end; 0: any */
	const char *state;	       /* NULL: any */
	uint16_t chain;		       /* 0: any */
	ifindex port_index;	       /* in or out; 0: any */
	bool dropped;		       /* only what policy drops */
	bool all_segments;	       /* of chains */
	enum dp_flow_order order;
	size_t limit; /* 1..DP_FLOWS_MAX */
};
struct dp_flow_totals {
	uint64_t records;	       /* looked at */
	uint64_t matched, pkts, bytes; /* of what matches */
	bool cut; /* more flows were in the last place than fit: these are some of them */
};
/* The flows at the top of the order, best first. Two walks in the kernel; what does not match is not copied. Returns how many. */
WARN_UNUSED int dp_flows(struct dp *dp, const struct dp_flow_query *q, struct dp_flow *ret,
			 struct dp_flow_totals *totals, struct err *e);

struct dp_volume {
	char name[24]; /* application; "" for talkers */
	struct ip_addr ip;
	uint64_t flows, pkts, bytes;
};
#define DP_APPS_MAX 64
struct dp_volumes {
	struct dp_flow_totals totals;
	size_t n_apps, n_talkers;
	struct dp_volume apps[DP_APPS_MAX]; /* by well-known port of either end; largest first */
	struct dp_volume talkers[100];	    /* by source address; largest first */
	uint64_t n_crowded; /* flows of sources beyond the 8192 that are counted apart */
};
/* Sums over the live flows that match (limit, order and dropped do not matter). */
WARN_UNUSED int dp_volumes(struct dp *dp, const struct dp_flow_query *q, struct dp_volumes *ret,
			   struct err *e);

/* The sentence of abi/drop.h's table. */
const char *dp_drop_reason_text(size_t reason);
/* forwardingStatus (IPFIX IE 89) that fits a drop reason: 128 and above. */
uint8_t dp_drop_forwarding(size_t reason);

/* Row of the table of flow states; NULL: none. */
const char *dp_state_name(size_t state);

/* ---- packets ---- */

struct dp_packet {
	bool captured; /* else dropped */
	bool to_port;  /* captured: on its way to the port */
	uint8_t reason;
	uint32_t rule;
	ifindex port; /* where it came in; captured: the port */
	vlan_id vlan;
	int64_t now_ns; /* CLOCK_MONOTONIC */
	uint32_t len;	/* of the frame */
	size_t head_len;
	const uint8_t *head; /* its first bytes; borrowed */
};
typedef void (*dp_packet_fn)(void *ctx, const struct dp_packet *p);

#define DP_DROP_HEAD 64
#define DP_CAPTURE_HEAD 1024
/* One dropped packet in `every` is told to dp_packets_poll(); 0: none. */
void dp_drops_watch(struct dp *dp, unsigned int every);
/* One packet in `every` of those that come from or go to the port; port 0: none. */
void dp_capture(struct dp *dp, ifindex port, unsigned int every);
/* Gives what has come since the last call to fn. */
void dp_packets_poll(struct dp *dp, dp_packet_fn fn, void *ctx);

#endif
