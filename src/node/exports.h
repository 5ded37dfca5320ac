/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_EXPORTS_H
#define DEMARC_NODE_EXPORTS_H

/*
 * IPFIX exporter: flows that end, and long-lived ones each active timeout, to the collectors of the site. UDP, connected, nothing is ever
 * received. What cannot be sent is counted, and nothing waits for it. Thread: the loop's.
 */

#include "model/endpoint.h"
#include "node/node.h"

#define EXPORT_COLLECTORS_MAX 4
#define EXPORT_ACTIVE_S 60 /* default active timeout */
#define EXPORT_ACTIVE_MAX_S 3600

struct export_spec {
	size_t n;
	struct endpoint collectors[EXPORT_COLLECTORS_MAX];
	unsigned int active_s; /* 0: EXPORT_ACTIVE_S */
};

/* "192.0.2.1:4739", "[2001:db8::1]", several with commas; a port of its own is 4739. */
WARN_UNUSED int export_spec_parse(const char *text, struct export_spec *ret, struct err *e);

WARN_UNUSED int exports_open(struct node *n, struct err *e); /* with the collectors of the configuration */
void exports_close(struct node *n);
/* The intent may name other collectors now. */
void exports_intent(struct node *n);
void exports_tick(struct node *n); /* about once a second, after dp_age(): templates, figures, what is in hand */

struct export_figures {
	uint64_t messages, records, octets; /* over all collectors */
	uint64_t unsent;		    /* records of messages that the socket refused */
	/* Ended flows that were not reported: the datapath's ring had no room, or they are older than the exporter. */
	uint64_t lost_flows;
	uint64_t held; /* active flows that wait for their end, because too many are remembered */
};
void exports_figures(struct node *n, struct export_figures *ret);

#endif
