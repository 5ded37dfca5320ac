/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_SITE_SITE_H
#define DEMARC_HUB_SITE_SITE_H

/* Route handlers of the demarc service: what OpenStack has no word for. Worker threads. */

#include "demarc.pb-c.h"
#include "hub/audit.h"
#include "hub/rest.h"

/* enrol.c */
int enrol_token_create(struct req *r, struct err *e);
int enrol_token_list(struct req *r, struct err *e);
int enrol_token_delete(struct req *r, struct err *e);
int enrol_node(struct req *r, struct err *e);
int enrol_page(struct req *r, struct err *e);
/* revoke.c */
int node_revoke(struct req *r, struct err *e);
/* The node, or the certificates that it has, are refused from the commit on; the node may come back. */
WARN_UNUSED int node_refuse(struct req *r, const char *node_id, struct err *e);
WARN_UNUSED int node_refuse_serials(struct req *r, const char *node_id, struct err *e);
WARN_UNUSED int node_allow(struct req *r, const char *node_id, struct err *e);
/* ca_routes.c */
int ca_show(struct req *r, struct err *e);
int ca_start_rotation(struct req *r, struct err *e);
int ca_end_rotation(struct req *r, struct err *e);
/* The name of who asks, for audit(). */
const char *audit_who(const struct req *r);
/* stream_routes.c */
int server_shell(struct req *r, struct err *e);
int node_shell(struct req *r, struct err *e);
int node_capture(struct req *r, struct err *e);
int server_log(struct req *r, struct err *e);
int stream_get(struct req *r, struct err *e);
int stream_post(struct req *r, struct err *e);
int stream_delete(struct req *r, struct err *e);
/* binding.c */
int binding_of_port(struct req *r, struct err *e);
int bindings_of_server(struct req *r, struct err *e);
/* chain_status.c */
int chain_status_list(struct req *r, struct err *e);
int chain_status_show(struct req *r, struct err *e);
int chain_change_list(struct req *r, struct err *e);
int chain_change_show(struct req *r, struct err *e);
/* trace.c */
int node_trace(struct req *r, struct err *e);
int node_status(struct req *r, struct err *e);
/* Asks a node; the answer is a call's result without error. The caller frees *ret, also on failure. */
WARN_UNUSED int node_ask(struct req *r, const char *node_id, const Demarc__V1__Call *call,
			 unsigned timeout_ms, Demarc__V1__Frame **ret, struct err *e);
/* A port for a person: its server and name; the id when it has none; NULL for "". In a transaction. */
const char *node_port_name(struct req *r, const char *id, struct err *e);
/* flows.c */
int node_flows(struct req *r, struct err *e);
int node_volumes(struct req *r, struct err *e);
int node_watch(struct req *r, struct err *e);
/* metrics.c */
int metrics(struct req *r, struct err *e);
/* event.c */
int event_list(struct req *r, struct err *e);

/* A time of the store as "2026-01-31T12:34:56.123456Z", or null for 0. New reference. */
json_t *site_time(int64_t us);

#endif
