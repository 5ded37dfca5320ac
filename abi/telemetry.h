/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_ABI_TELEMETRY_H
#define DEMARC_ABI_TELEMETRY_H

/*
 * What the datapath tells about flows and drops, through ring buffers that belong to the process that reads them. dp_globals.analytics says
 * what is wanted: nothing costs anything while its bit is clear.
 */

#include "maps.h"

enum analytics_flag {
	ANALYTICS_FLOWS = 1 << 0,   /* flows that end or live long */
	ANALYTICS_DROPS = 1 << 1,   /* one dropped packet in `drop_every` */
	ANALYTICS_CAPTURE = 1 << 2, /* one packet in `capture_every` of port `capture_port` */
};

#define ABI_FLOW_RING (2 << 20) /* bytes: 8,700 flows between two walks */
#define ABI_PACKET_RING (512 << 10)
#define ABI_DROP_HEAD 64 /* bytes of a dropped frame */
#define ABI_CAPTURE 1024 /* bytes of a captured one */

enum flow_event_kind {
	FLOW_EVENT_LISTED, /* found by dp_list */
	FLOW_EVENT_NEW,	   /* a translated connection opens */
	FLOW_EVENT_ACTIVE, /* past another active timeout */
	FLOW_EVENT_IDLE,   /* the others: its record is gone */
	FLOW_EVENT_END,	   /* closed */
	FLOW_EVENT_SHED,   /* made room for a newer one */
	FLOW_EVENT_FORCED, /* policy cut it; the record goes on, as a drop */
	FLOW_EVENT_REPLACED, /* closed, and the same addresses and ports opened a new one in the same record */
};

struct flow_event {
	__u32 kind;
	__u32 pad;
	__u64 now_ns;  /* monotonic */
	__u64 last_ns; /* of the last packet */
	struct flow_key key;
	__u32 pad2;
	struct flow_rec rec;
};
ABI_SIZE(struct flow_event, 224);

enum packet_event_kind { PACKET_DROPPED, PACKET_CAPTURED };
enum packet_direction { PACKET_FROM_PORT, PACKET_TO_PORT };

struct packet_event {
	__u64 now_ns;
	__u32 ifindex;
	__u32 rule; /* that decided; 0: none */
	__u32 len;  /* of the frame */
	__u16 head; /* bytes of it that follow */
	__u16 vlan;
	__u8 kind;
	__u8 reason; /* enum drop_reason */
	__u8 direction;
	__u8 pad[5];
};
ABI_SIZE(struct packet_event, 32);
struct drop_event {
	struct packet_event e;
	__u8 head[ABI_DROP_HEAD];
};
struct capture_event {
	struct packet_event e;
	__u8 frame[ABI_CAPTURE];
};

/* ---- the live table ---- */

enum list_order { LIST_BYTES, LIST_PKTS, LIST_RTT, LIST_RETRANS, LIST_NEWEST, LIST_N };
enum list_filter {
	LIST_BY_FAMILY = 1 << 0,
	LIST_BY_PROTO = 1 << 1,
	LIST_BY_PORT = 1 << 2, /* L4, either end */
	LIST_BY_ADDR = 1 << 3, /* either end */
	LIST_BY_SRC = 1 << 4,
	LIST_BY_DST = 1 << 5,
	LIST_BY_STATE = 1 << 6,
	LIST_BY_CHAIN = 1 << 7,
	LIST_BY_IFINDEX = 1 << 8, /* in or out */
	LIST_DROPPED = 1 << 9,
	LIST_ALL_SEGMENTS = 1 << 10, /* else each connection of a chain counts once */
};
enum list_op {
	LIST_SCAN, /* counts, and fills the histogram */
	LIST_EMIT, /* sends flows of bucket `least` and above, `room` of them at most */
};

#define ABI_LIST_BUCKETS 256 /* of the histogram: four for each power of two */
#define ABI_APPS 64
#define ABI_TALKERS 8192

struct list_args {
	__u32 op, filter, order, least;
	__u32 room;
	__u32 ifindex;
	__u32 addr[4], addr_mask[4], src[4], src_mask[4], dst[4], dst_mask[4];
	__u16 port; /* network order */
	__u16 chain;
	__u8 family, proto, state;
	__u8 aggregate; /* with LIST_SCAN: fill `apps` and `talkers` */
	/* out */
	__u64 n_records, n_matched, pkts, bytes, n_emitted, n_crowded;
};

struct volume {
	__u64 pkts, bytes, flows;
};
struct app_key {
	__u16 port; /* network order; 0: any */
	__u8 proto;
	__u8 pad;
};
struct talker_key {
	__u32 ip[4];
	__u32 family;
};

#endif
