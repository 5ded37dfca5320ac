/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_IPFIX_H
#define DEMARC_NODE_IPFIX_H

/*
 * Encoder of IPFIX messages (RFC 7011) for flows, drops, NAT events (RFC 8158), the exporter's own figures, names of interfaces and why packets are dropped. Pure:
 * bytes go to a function. Templates are tables; only information elements of IANA's registry are used (RFC 7012).
 *
 *      0               2               4               8              12            16
 *      | version = 10  | length        | export time   | sequence     | domain      | sets ...
 *      set: | id | length | records ...       ids from 256 on are templates
 *
 * Thread: that of the owner.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/types.h"

#define IPFIX_PORT 4739
#define IPFIX_MESSAGE_MIN 512  /* RFC 7011 section 10.3.3: while the path MTU is not known */
#define IPFIX_MESSAGE_MAX 1452 /* 1500 less IPv6 and UDP headers */
#define IPFIX_NAME_SIZE 64

/* flowEndReason, IE 136 */
enum ipfix_end {
	IPFIX_END_IDLE = 1,
	IPFIX_END_ACTIVE = 2,
	IPFIX_END_OF_FLOW = 3,
	IPFIX_END_FORCED = 4,
	IPFIX_END_RESOURCES = 5,
};

/* forwardingStatus, IE 89: two bits of status, six of reason (RFC 7270 section 4.12) */
enum ipfix_forwarding {
	IPFIX_FORWARDED = 64,
	IPFIX_DROPPED = 128,
	IPFIX_DROPPED_ACL = 129,
	IPFIX_DROPPED_UNROUTABLE = 131,
	IPFIX_DROPPED_ADJACENCY = 132,
	IPFIX_DROPPED_TOO_BIG = 133,
	IPFIX_DROPPED_LENGTH = 136,
	IPFIX_DROPPED_POLICER = 138,
	IPFIX_DROPPED_RPF = 140,
	IPFIX_DROPPED_OUTPUT = 142,
};

/* natEvent, IE 230 */
enum ipfix_nat_event {
	IPFIX_NAT_NONE,
	IPFIX_NAT_CREATE = 1,
	IPFIX_NAT_DELETE = 2,
	IPFIX_NAT44_CREATE = 4,
	IPFIX_NAT44_DELETE = 5,
};

/* One direction of a connection, and what was counted since it was reported last. Numbers in host order. */
struct ipfix_flow {
	struct ip_addr src, dst;	   /* of one family */
	struct ip_addr post_src, post_dst; /* after NAT, when `nat` */
	uint16_t sport, dport, post_sport, post_dport;
	uint16_t vlan;
	uint16_t tcp_flags;
	uint8_t protocol;
	uint8_t end;	    /* enum ipfix_end */
	uint8_t forwarding; /* enum ipfix_forwarding: DROPPED and above is a drop record */
	uint8_t biflow;	    /* IE 239: 1 from the initiator, 2 to it */
	uint8_t firewall;   /* IE 233: 3 denied */
	bool nat;
	uint64_t octets, pkts;	   /* octets from the IP header on */
	uint64_t start_ms, end_ms; /* since 1970 */
	uint32_t in, out;	   /* interfaces; 0: none */
	struct mac smac, dmac;
};

struct ipfix_nat {
	struct ip_addr src, dst, post_src, post_dst; /* of one family */
	uint16_t sport, dport, post_sport, post_dport;
	uint8_t protocol;
	uint8_t event; /* enum ipfix_nat_event */
	uint64_t time_ms;
};

/* Since the exporter started; RFC 7011 section 4.1 and 4.3. */
struct ipfix_stats {
	uint32_t process; /* id of the exporting process */
	uint64_t messages, records, octets;
	uint64_t lost_flows, lost_pkts, lost_octets; /* observed and not sent */
};

struct ipfix_interface {
	uint32_t index;
	char name[IPFIX_NAME_SIZE], description[IPFIX_NAME_SIZE]; /* UTF-8 */
};

/* Packets dropped for one reason since the datapath was set up: also what has no flow record. Scope: process and name of the reason. */
struct ipfix_drops {
	uint32_t process;
	char reason[IPFIX_NAME_SIZE]; /* of abi/drop.h */
	uint8_t forwarding;	      /* as in flows */
	uint64_t pkts;
};

/* A transport session with one collector. */
struct ipfix {
	void (*send)(void *ctx, const uint8_t *message, size_t size, size_t n_records);
	void *ctx;
	uint32_t domain;     /* observation domain */
	uint32_t sequence;   /* data records sent, modulo 2^32 */
	size_t max;	     /* bytes of a message */
	size_t size, set_at; /* of the message in hand; 0: no open set */
	size_t n_records;
	uint16_t set_id;
	uint32_t now_s; /* seconds since 1970: export time */
	uint8_t buf[IPFIX_MESSAGE_MAX];
};

/* max: bytes of a message, brought into IPFIX_MESSAGE_MIN .. IPFIX_MESSAGE_MAX. send() gets whole messages. */
void ipfix_open(struct ipfix *x, uint32_t domain, size_t max,
		void (*send)(void *ctx, const uint8_t *message, size_t size, size_t n_records),
		void *ctx);
void ipfix_resize(struct ipfix *x, size_t max); /* sends what is in hand */
/* All templates: first, and again from time to time, because UDP may lose them (RFC 7011 section 8.4). */
void ipfix_templates(struct ipfix *x);
void ipfix_flow(struct ipfix *x, const struct ipfix_flow *f);
void ipfix_nat(struct ipfix *x, const struct ipfix_nat *n);
void ipfix_drops(struct ipfix *x, const struct ipfix_drops *d);
void ipfix_stats(struct ipfix *x, const struct ipfix_stats *s);
void ipfix_interface(struct ipfix *x, const struct ipfix_interface *i);
void ipfix_flush(struct ipfix *x); /* sends what is in hand */

#endif
