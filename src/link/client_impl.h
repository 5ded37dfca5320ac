/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_CLIENT_IMPL_H
#define DEMARC_LINK_CLIENT_IMPL_H

/*
 * Inside of the link client: client.c decides; what carries its words is client_child.c, which keeps the child process and hears the
 * kernel's hints, or client_here.c, which does all in the loop.
 *
 *   WAITING --dial_at--> DIALLING --PIPE_UP--> UP
 *      ^                     | PIPE_DOWN        | PIPE_DOWN, silence, the child's death
 *      +---------------------+------------------+
 */

#include <jansson.h>
#include <uv.h>

#include "link/backoff.h"
#include "link/frame.h"
#include "link/intent_parts.h"
#include "link/link.h"
#include "link/pipe_msg.h"
#include "link/url.h"

#define CLIENT_QUEUE_MAX (4u << 20) /* bytes that wait for the child */
#define CLIENT_BULK_MAX (4u << 20)  /* bytes of streams that wait here */
#define CLIENT_BULK_AHEAD                                                                          \
	(16u << 10) /* so many of them wait in the child: what a control frame is behind at most */
#define CLIENT_PROBE_MS 2000	     /* for a pong */
#define CLIENT_HELLO_MS 15000	     /* for HubHello */
#define CLIENT_DIAL_MS 40000	     /* for an attempt: the resolver alone may take its 30 s */
#define CLIENT_RETRY_MAX_MS 120000u  /* what a busy hub may ask for before it is known */
#define CLIENT_HEARTBEAT_MIN_MS 500u /* whatever the hub says */
#define CLIENT_HEARTBEAT_MAX_MS 60000u

enum link_state { LINK_STOPPED, LINK_WAITING, LINK_DIALLING, LINK_UP };

/* Does what it is told (PIPE_DIAL, PIPE_FRAME, PIPE_BULK, PIPE_HANGUP of connection l->gen), and answers through client_take(). */
struct link_carrier {
	int (*start)(struct link_client *l); /* before a dial; -EBUSY: not yet again */
	int (*tell)(struct link_client *l, enum pipe_kind kind, struct str payload);
	void (*kill)(struct link_client *l); /* at once, without a word */
	void (*free)(struct link_client *l); /* for good */
};
extern const struct link_carrier carrier_child, carrier_here;

/* A frame of a stream that waits. */
struct bulk {
	struct bulk *next;
	size_t size;
	uint8_t bytes[];
};

struct link_client {
	const struct link_carrier *carrier;
	struct here *here;
	uv_loop_t *loop;
	struct link_client_ops ops;
	void *ctx;
	int (*encode)(void *ctx, const Demarc__V1__Frame *f, uint8_t **ret, size_t *ret_size);
	char **hubs;
	size_t n_hubs, hub, n_tried;
	char *config;	   /* JSON for the child, with the key */
	bool config_stale; /* the child that runs has another one: it goes with its connection */
	uint8_t binding[LINK_BINDING_SIZE];	  /* of config and hubs */
	uint8_t child_binding[LINK_BINDING_SIZE]; /* of what the child that runs was started with */
	struct link_ticket ticket;		  /* the newest; session.ptr is owned, NULL: none */
	int64_t full_ns, full_due_ns; /* the last full handshake that is known of, the next one; due 0: none is */
	bool doing_full; /* the child is not to have the ticket */
	bool fresh_child; /* it was started without one, and has not been up: it will be by a full handshake */

	enum link_state state;
	uint32_t gen;
	int64_t since_ns; /* of the state DIALLING or UP; the last attempt while WAITING */
	int64_t dial_at_ns, rx_ns, ping_ns, hint_ns, wrote_ns;
	unsigned n_unanswered;
	bool said_hello, told_to_wait; /* dial_at_ns is when the hub wants us back */
	uint32_t heartbeat_ms, retry_after_ms;
	struct backoff backoff;
	struct intent_parts parts;

	uv_process_t process;
	uv_pipe_t pipe;
	bool child_running, process_open, pipe_open;
	struct strbuf in;
	size_t queued_bytes;
	struct bulk *bulk, **bulk_end; /* the end is valid while there is one */
	size_t bulk_bytes, bulk_ahead;

	uv_timer_t timer;
	uv_poll_t netlink;
	int netlink_fd;
	unsigned n_handles; /* open uv handles; the last one to close frees */
};

/* client.c */
void client_take(struct link_client *l, const struct pipe_head *h, struct str payload);
void client_lost(struct link_client *l, const char *reason);
void client_hint(struct link_client *l);
void client_rearm(struct link_client *l);
void client_handle_closed(struct link_client *l);

/* client_ticket.c */
void client_bind(struct link_client *l, const json_t *config); /* and the hubs */
/* A child was started with l->config: what it says belongs to that. Gives it the ticket, when it is of use. */
WARN_UNUSED int client_child_started(struct link_client *l);
WARN_UNUSED int client_ticket_take(struct link_client *l, struct str payload); /* PIPE_TICKET. -EPROTO */
WARN_UNUSED int client_ticket_keep(struct link_client *l, const struct link_ticket *t); /* a copy. -ENOMEM */
void client_ticket_clear(struct link_client *l);
void client_full_up(struct link_client *l);   /* the connection is up */
void client_full_lost(struct link_client *l); /* an attempt has failed */
/* The child that runs is to end, because it has had a ticket for long enough. */
WARN_UNUSED bool client_full_begins(struct link_client *l);

/* client_here.c */
WARN_UNUSED int client_here_new(struct link_client *l, const struct link_here *h, struct err *e);
WARN_UNUSED int client_here_reload(struct link_client *l, const struct link_client_config *c,
				   struct err *e);

/* client_child.c */
void client_watch_netlink(struct link_client *l); /* only helps: no error */

#endif
