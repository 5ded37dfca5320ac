/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HTTP_SERVER_H
#define DEMARC_HTTP_SERVER_H

/*
 * The one port: HTTPS (HTTP/1.1) for the APIs and one WebSocket path for nodes, on OpenSSL over
 * libuv loops. The first loop is the caller's; with n_fronts > 1 the server runs more of them, each in a thread of its own, and
 * the kernel spreads the connections. Each thread has a descriptor table of its own, so that the limit of open files is one per front:
 * nothing that is called on a front's thread may use a descriptor of the process, and so no database. A connection stays on its loop, which does its I/O and TLS. Each HTTP request is handed to
 * a worker thread, where a plain sequential function answers it.
 *
 * Bounds: header block 32 KiB, request target 8 KiB, buffered body `max_body_bytes`, a body that is
 * streamed waits in a bounded pipe (256 KiB), n_conns connections, idle time-outs; each has a clear
 * HTTP error (431, 414, 413, 503, 408).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct http_server;
struct http_ws;

enum http_method {
	HTTP_GET,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_PUT,
	HTTP_PATCH,
	HTTP_DELETE,
	HTTP_OPTIONS,
	HTTP_OTHER
};

/* A request as the worker sees it. Memory lives in `arena` until the reply has been sent. */
struct http_request {
	struct arena *arena;
	enum http_method method;
	struct str target; /* path and query as sent, e.g. "/network/v2.0/ports?limit=2" */
	struct str path;   /* target before '?', not yet percent-decoded */
	struct str query;  /* after '?'; empty without */
	struct str peer;   /* "192.0.2.1" */
	struct str host;   /* Host header */
	bool has_client_cert;
	struct str client_cn; /* CN of a verified client certificate; empty without */
	struct str body;      /* buffered body; empty when streaming */
	void *impl;	      /* the server's */
};

/* Header by lower-case name without colon; the empty view when absent. Unknown headers are kept too. */
struct str http_header(const struct http_request *r, const char *name);

/* Streamed upload: blocks the worker until bytes are there. Returns the count, 0 at the end of the body,
 * or -errno (-ECONNRESET: the client went away before the end; -ETIMEDOUT). */
ssize_t http_read(struct http_request *r, void *buf, size_t size);

/* Reply status of a handler that found what it needs taken: the request goes to the end of the queue and is handled again, as if
 * new. Not for streamed bodies. */
#define HTTP_AGAIN (-1) /* not 0: that is a handler that forgot, and answered with 500 */
#define HTTP_REPLY_HEADERS_MAX 24
struct http_header_row {
	const char *name, *value;
}; /* name with its usual capitals, no colon */

struct http_reply {
	int status;
	const char *content_type; /* NULL: "application/json" when there is a body */
	struct http_header_row headers[HTTP_REPLY_HEADERS_MAX];
	size_t n_headers;
	struct str body; /* in the request's arena, or */
	int body_fd;	 /* >= 0: file sent in constant memory, closed by the server; else -1 */
	uint64_t body_fd_offset, body_fd_size; /* bytes */
};
/* Copies name and value into the arena. Silently bounded: more than HTTP_REPLY_HEADERS_MAX is a programmer error (assert). */
void http_reply_header(struct http_request *r, struct http_reply *reply, const char *name,
		       const char *value);

/* WebSocket events, on the thread of the connection's front. */
struct http_ws_ops {
	/* A client finished the handshake on ws_path with a verified certificate. Returns 0 to keep it, < 0 to close. */
	int (*open)(void *ctx, struct http_ws *ws, struct str client_cn, struct str peer,
		    void **ret_user);
	/* One whole binary message, at most max_message_bytes (longer ones close the connection with 1009). < 0 closes. */
	int (*message)(void *ctx, struct http_ws *ws, void *user, const void *data, size_t size);
	void (*close)(void *ctx, struct http_ws *ws, void *user); /* last call for ws */
	/* Everything that was queued has left. May be NULL. */
	void (*room)(void *ctx, struct http_ws *ws, void *user);
};
/* Queues one binary message; copies it. On the front's thread only. -ENOBUFS when more than max_queue_bytes wait
 * (the caller decides: drop or close). */
WARN_UNUSED int http_ws_send(struct http_ws *ws, const void *data, size_t size);
size_t http_ws_queued_bytes(const struct http_ws *ws);
void http_ws_close(struct http_ws *ws, uint16_t code, const char *reason);
/* How far its front is behind: 1.0 is not at all, 2.0 is turns of twice the length that they may have (http/lag.h). Front's thread. */
double http_ws_strain(const struct http_ws *ws);
unsigned http_ws_front(const struct http_ws *ws); /* 0..n_fronts-1; valid in open() */
/* Of the client's certificate, in hex. Valid in open(). */
WARN_UNUSED bool http_ws_client_serial(const struct http_ws *ws, char *ret, size_t size);
bool http_ws_resumed(const struct http_ws *ws); /* its TLS began with a ticket; until it is closed */

#define HTTP_FRONTS_MAX 16u

struct http_config {
	const char *listen_addr;	  /* NULL: all addresses, IPv4 and IPv6 */
	uint16_t port;			  /* 0: the kernel chooses; see http_server_port() */
	const char *cert_file, *key_file; /* PEM; server certificate chain and key */
	const char *client_ca_file; /* PEM; client certificates are verified when given, never required */
	const char *ticket_file; /* keeps session tickets good over a restart; NULL: they end with the server */
	unsigned n_fronts;  /* loops, 0: 1; at most HTTP_FRONTS_MAX */
	unsigned n_workers; /* 0: 8 */
	unsigned n_conns;   /* in each descriptor table; 0: as many as RLIMIT_NOFILE leaves */
	unsigned n_queue; /* requests that wait for a worker, 0: 512; one more gets 503 with Retry-After */
	unsigned n_handshakes; /* in TLS at a time, per front, nodes and others each; 0: 1024. Each has buffers of 40 KiB */
	unsigned queue_ms; /* of handshakes that may wait, 0: 1500; a node beyond it is given a time to come back */
	size_t max_body_bytes; /* 0: 1 MiB */
	/* A front's loop, before it runs: for the caller's own handles on it. And on its thread when it ends: they are to be closed.
	 * The first front's loop is the caller's. May be NULL. */
	int (*front_starts)(void *ctx, unsigned front, uv_loop_t *loop, struct err *e);
	void (*front_ends)(void *ctx, unsigned front);
	/* Called on a front's thread before the body arrives: true when the body is to be streamed (http_read). Must be cheap. */
	bool (*wants_stream)(void *ctx, enum http_method method, struct str path);
	/* Called on a worker; fills *reply. worker is 0..n_workers-1, for per-worker store connections. */
	void (*handle)(void *ctx, unsigned worker, struct http_request *r, struct http_reply *reply);
	const char *ws_path;	 /* e.g. "/demarc/v1/channel" */
	const char *ws_protocol; /* e.g. "demarc-node" */
	const struct http_ws_ops *ws;
	size_t ws_max_message_bytes, ws_max_queue_bytes;
	/* Asked on a front's thread for each client certificate after chain verification: true when revoked. May be NULL. */
	bool (*is_revoked)(void *ctx, struct str cn, struct str serial_hex);
	void *ctx;
	/* Time-outs in milliseconds; 0: the default in brackets. */
	unsigned handshake_ms; /* TCP accept to end of the TLS handshake [15 s] */
	unsigned head_ms;      /* first to last byte of a request's head [30 s]: 408 */
	unsigned body_ms; /* between two pieces of a body, and of a reply that the client does not take [60 s]: 408 */
	unsigned keep_alive_ms; /* between two requests [75 s] */
	unsigned quiet_ms; /* nobody has waited for a handshake for so long: nodes get their tickets [2 s] */
	unsigned ticket_renew_ms; /* a node that stays gets another ticket after it [6 h, a quarter of a ticket's life] */
	unsigned ws_ping_ms; /* a silent node is pinged after this and dropped after three times this [30 s] */
};

/* First front's thread, as all below. The process ignores SIGPIPE from here on, unless it handles it. */
WARN_UNUSED int http_server_start(uv_loop_t *loop, const struct http_config *c,
				  struct http_server **ret, struct err *e);
uint16_t http_server_port(const struct http_server *s);
/* Certificate, key and client CAs are read again; connections that are there keep theirs, tickets end. Any thread. On an error
 * everything stays as it was. */
WARN_UNUSED int http_server_reload(struct http_server *s, struct err *e);
/* Stops accepting, lets requests in progress finish (at most grace_ms), closes all. Loop thread. */
void http_server_stop(struct http_server *s, unsigned grace_ms, void (*stopped)(void *ctx), void *ctx);
void http_server_free(struct http_server *s);

#endif
