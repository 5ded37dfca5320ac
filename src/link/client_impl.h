/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_CLIENT_IMPL_H
#define DEMARC_LINK_CLIENT_IMPL_H

/*
 * Inside of the link client: client.c decides, client_child.c keeps the child process and the hints of the kernel.
 *
 *   WAITING --dial_at--> DIALLING --PIPE_UP--> UP
 *      ^                     | PIPE_DOWN        | PIPE_DOWN, silence, the child's death
 *      +---------------------+------------------+
 */

#include <uv.h>

#include "link/backoff.h"
#include "link/frame.h"
#include "link/intent_parts.h"
#include "link/link.h"
#include "link/pipe_msg.h"
#include "link/url.h"

#define CLIENT_QUEUE_MAX (4u << 20)  /* bytes that wait for the child */
#define CLIENT_PROBE_MS 2000	     /* for a pong */
#define CLIENT_HELLO_MS 15000	     /* for HubHello */
#define CLIENT_DIAL_MS 40000	     /* for an attempt: the resolver alone may take its 30 s */
#define CLIENT_RETRY_MAX_MS 120000u  /* what a busy hub may ask for before it is known */
#define CLIENT_HEARTBEAT_MIN_MS 500u /* whatever the hub says */
#define CLIENT_HEARTBEAT_MAX_MS 60000u

enum link_state { LINK_STOPPED, LINK_WAITING, LINK_DIALLING, LINK_UP };

struct link_client {
	uv_loop_t *loop;
	struct link_client_ops ops;
	void *ctx;
	char **hubs;
	size_t n_hubs, hub, n_tried;
	char *config;	   /* JSON for the child, with the key */
	bool config_stale; /* the child that runs has another one: it goes with its connection */

	enum link_state state;
	uint32_t gen;
	int64_t since_ns; /* of the state DIALLING or UP; the last attempt while WAITING */
	int64_t dial_at_ns, rx_ns, ping_ns, hint_ns;
	unsigned n_unanswered;
	bool said_hello;
	uint32_t heartbeat_ms, retry_after_ms;
	struct backoff backoff;
	struct intent_parts parts;

	uv_process_t process;
	uv_pipe_t pipe;
	bool child_running, process_open, pipe_open;
	struct strbuf in;
	size_t queued_bytes;

	uv_timer_t timer;
	uv_poll_t netlink;
	int netlink_fd;
	unsigned n_handles; /* open uv handles; the last one to close frees */
};

/* client.c */
WARN_UNUSED int client_tell(struct link_client *l, enum pipe_kind kind, struct str payload);
void client_take(struct link_client *l, const struct pipe_head *h, struct str payload);
void client_lost(struct link_client *l, const char *reason);
void client_hint(struct link_client *l);
void client_rearm(struct link_client *l);
void client_handle_closed(struct link_client *l);

/* client_child.c */
WARN_UNUSED int client_spawn(struct link_client *l);
void client_kill(struct link_client *l);
void client_watch_netlink(struct link_client *l); /* only helps: no error */

#endif
