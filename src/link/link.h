/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_LINK_H
#define DEMARC_LINK_LINK_H

/*
 * The node's end of the channel: one outbound WebSocket over mutual TLS to the hub's only port.
 *
 * The TLS and WebSocket code runs in a child process without privileges (its own user, no capabilities, no_new_privs,
 * seccomp): it only dials, and passes whole binary messages over a socketpair. This side checks each message (size,
 * protobuf decoding, allowed kinds) before anybody sees it. The child is restarted when it dies.
 * Reconnects: decorrelated jitter between 0.2 s and 30 s, or the hub's own retry_after_ms. Addresses are resolved
 * again at each attempt; the hub list is tried in order.
 * Frames of streams wait in a queue of their own, of which the child gets little at a time: all others pass them.
 * Thread: the loop's.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/err.h"
#include "base/str.h"
#include "demarc.pb-c.h"

#define LINK_FRAME_MAX (1u << 20) /* bytes of one encoded Frame */
#define LINK_CHUNK_MAX (256u << 10)
#define LINK_PATH "/demarc/v1/channel"
#define LINK_PROTOCOL "demarc-node"

/*
 * The newest session of TLS with its ticket: the next connection needs no certificates (RFC 8446 section 2.2). Who has it is this node to
 * the hub, and the hub to this node, so it is kept as the key is.
 */
#define LINK_TICKET_MAX 16384u	       /* bytes of a session */
#define LINK_TICKET_LIFE_S (24 * 3600) /* the hub opens none that is older (http/tickets.h) */
#define LINK_BINDING_SIZE 32
/*
 * A resumption gives the next ticket, so who has stolen one and is in the way could be the hub for good. A full handshake ends that: in the last
 * of these days, at a time that is drawn, so that nodes which came together do not do it together.
 */
#define LINK_FULL_S (7 * 24 * 3600)
struct link_ticket {
	uint8_t binding[LINK_BINDING_SIZE]; /* SHA-256 of the CA, certificate, key and hubs that it came with: of use with no others */
	struct str session; /* as OpenSSL writes it; only the child looks inside */
	bool resumed; /* the connection that it came over was resumed itself: the one before is as good for now */
	int64_t full_ns; /* clock_mono_ns() of the full handshake that it comes from; before this process, perhaps, and then < 0 */
};

struct link_client;

/* Instead of a child process: the connection is the loop's own, for programs that are many nodes (demarc-sim). The same protocol, states
 * and times; no other user, no system call filter, no proxy, one address of the hub. */
struct dial_tls;
struct link_client_config;
/* How a peer that is too slow behaves once its WebSocket is asked for. */
struct link_pace {
	bool no_read, no_write; /* for now */
	int rcvbuf; /* bytes that the kernel takes for it, SO_RCVBUF; 0: as many as it likes */
};
struct link_here {
	/* What the next connection uses; asked when nothing of the one before is left. Borrowed until it is asked again. ctx is the client's. */
	struct dial_tls *(*tls)(void *ctx);
	/* link_client_reload(): what tls() gives is of these files from now on. */
	int (*reload)(void *ctx, const struct link_client_config *c, struct err *e);
	const struct sockaddr *hub;    /* copied, as is the next */
	const struct sockaddr *source; /* NULL: the kernel chooses */
	size_t size;		       /* of both */
	const struct link_pace *pace; /* borrowed; link_client_paced() after a change. NULL: not slow */
	/* In place of frame_encode(): what a node of another release says. NULL: as this release does. */
	int (*encode)(void *ctx, const Demarc__V1__Frame *f, uint8_t **ret, size_t *ret_size);
};

struct link_client_config {
	const char *const *hub_urls; /* "https://hub.example:8443", tried in order */
	size_t n_hub_urls;
	const char *ca_file, *cert_file, *key_file; /* PEM */
	const char *user;			    /* user the child becomes; NULL: "nobody" */
	const char *proxy;		  /* "host:port" of an HTTP CONNECT proxy; NULL: none */
	const struct link_here *here;	  /* NULL: a child process, with the files above */
	const struct link_ticket *ticket; /* of an earlier process; copied. NULL: none */
};

struct link_client_ops {
	/* The TLS connection and WebSocket are up: send NodeHello now. */
	void (*up)(void *ctx);
	/* A decoded frame; borrowed for the call. HubHello comes first. Ping and Pong are answered here and not shown; the
	 * parts of a split Intent come as one. */
	void (*frame)(void *ctx, const Demarc__V1__Frame *f);
	void (*down)(void *ctx, const char *reason);
	/* A ticket came; borrowed for the call. As often as an owned child likes. NULL: not kept. */
	void (*ticket)(void *ctx, const struct link_ticket *t);
	/* Somebody would miss the connection: what can wait does. NULL: nobody ever does. */
	bool (*busy)(void *ctx);
};

WARN_UNUSED int link_client_start(uv_loop_t *loop, const struct link_client_config *c,
				  const struct link_client_ops *ops, void *ctx,
				  struct link_client **ret, struct err *e);
/* Encodes and queues. -ENOTCONN while down (the caller resends after up: everything is level-triggered), -ENOBUFS
 * when 4 MiB wait (of streams, or of all others), -EMSGSIZE past LINK_FRAME_MAX. */
WARN_UNUSED int link_client_send(struct link_client *l, const Demarc__V1__Frame *f);
/* What the next connection uses; the one that is there goes on. */
WARN_UNUSED int link_client_reload(struct link_client *l, const struct link_client_config *c,
				   struct err *e);
/* Ends the connection; the next attempt follows. */
void link_client_hang_up(struct link_client *l, const char *reason);
/* What here->pace points to has changed. */
void link_client_paced(struct link_client *l);
/* The hub that is dialled or connected. */
const char *link_client_hub(const struct link_client *l);
bool link_client_is_up(const struct link_client *l);
/* The next connection may be offered as a resumption: the client has a ticket, which came with what it uses now and is not from too far back. */
bool link_client_has_ticket(const struct link_client *l);
const struct link_ticket *link_client_ticket(const struct link_client *l); /* the newest; borrowed, NULL: none */
uint32_t link_client_heartbeat_ms(const struct link_client *l); /* as the hub said last */
void link_client_stop(struct link_client *l);			/* ends the child, by pid; frees */

/*
 * The child's whole life: `main(argc, argv)` of a program that uses link_client_start() begins with
 *	if (argc == 2 && strcmp(argv[1], LINK_CHILD_ARG) == 0)
 *		return link_child_main();
 * because the client starts the running program again with that one argument. Returns an exit status.
 */
#define LINK_CHILD_ARG "--link-child"
int link_child_main(void);

/*
 * Enrolment (blocking, for `demarc-node enrol`): checks the hub's CA against the fingerprint in the token, makes
 * key and CSR in state_dir, POSTs them to /demarc/v1/enrol, stores certificate, CA and hub list (0600, atomically).
 * Request {"secret", "csr"}, answer {"node_id", "site_id", "certificate", "ca", "hub_urls": [...]}.
 * The token is "demarc1.<base64url JSON {url, ca_sha256, secret}>". Repeating it after a crash is safe until the
 * certificate has been stored; a used or expired token fails with the hub's message.
 */
WARN_UNUSED int link_enrol(const char *state_dir, const char *token, const char *hub_url_override,
			   struct err *e);

/* The same with all its choices. A token may also be given as the URL that `demarc enrol` prints. */
struct link_enrolment {
	const char *state_dir, *token;
	const char *hub_url; /* instead of the token's; NULL: none */
	const char *proxy;   /* "host:port" of an HTTP CONNECT proxy; NULL: none */
	bool again; /* the node is enrolled, and gets a certificate for the identity that it has */
};
WARN_UNUSED int link_enrol_as(const struct link_enrolment *n, struct err *e);

/* What enrolment stored: read by the node at start. Strings belong to the struct. */
struct link_identity {
	char node_id[40];
	char site_id[40];
	char *hub_urls[8];
	size_t n_hub_urls;
	char *ca_file, *cert_file, *key_file;
	char *next_file; /* a certificate with its key that has not been used yet; NULL: none */
	char trust_digest[65]; /* "": none */
};
WARN_UNUSED int link_identity_load(const char *state_dir, struct link_identity *ret, struct err *e);
void link_identity_done(struct link_identity *id);

#endif
