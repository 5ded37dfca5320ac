/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_HUB_H
#define DEMARC_HUB_HUB_H

/* The hub process: what lives as long as it does, and who may touch it from which thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "http/server.h"
#include "store/db.h"

struct sessions; /* hub/session.h: connected nodes */
struct rest;	 /* hub/rest_impl.h: routes and the workers' store connections */
struct streams;	 /* hub/stream.h: shells and logs of nodes */
struct certs;	 /* hub/cert.h: certificates of nodes, and who is refused */
struct auth;	 /* hub/identity/auth.h: who may use a token */
struct module;

struct hub_config {
	const char *data_dir;	 /* default /var/lib/demarc-hub */
	const char *listen_addr; /* NULL: all */
	uint16_t port;		 /* default 8443 */
	const char *const *public_names; /* "hub.example", "192.0.2.1": certificate SANs; the first one is in the catalog */
	size_t n_public_names;
	unsigned n_workers;
	unsigned n_fronts;	      /* loops that hold connections */
	unsigned cert_days;	      /* life of a node's certificate */
	const char *const *more_hubs; /* URLs of other hubs, told to nodes after our own */
	size_t n_more_hubs;
	unsigned heartbeat_s; /* 0: by the number of nodes */
	unsigned image_rate_mb,
		image_node_rate_mb; /* MB/s of image data to all nodes, to each; 0: no limit */
	const char *tenant_network_type; /* of a network that does not say: "local", "vxlan", "gre", "geneve" */
	uint32_t tunnel_id_min, tunnel_id_max; /* numbers given to networks of a tunnel type */
};

struct hub {
	const struct hub_config *config; /* constant after start */
	struct store *store;		 /* any thread opens its own db */
	uv_loop_t *loop;		 /* main thread only: the first front's */
	struct http_server *http;	 /* main thread only, but for a reload */
	struct sessions *sessions;	 /* thread-safe entry points in hub/session.h */
	struct streams *streams;	 /* thread-safe */
	struct certs *certs;		 /* thread-safe */
	struct token_keys *token_keys;	 /* constant after start */
	char *ca_cert, *ca_key, *server_cert, *server_key, *image_dir; /* paths; constant after start */
	char *public_url;					       /* "https://name:port" */
	struct rest *rest;					       /* constant after start */
	struct auth *auth;					       /* thread-safe */
	const char *const *names; /* every name and address of the certificate; constant after start */
	size_t n_names;
};

/* The API framework (hub/rest_pipeline.c): http_config.handle and .wants_stream, with the hub as ctx. */
WARN_UNUSED int rest_new(struct hub *h, const struct module *const *modules, size_t n,
			 unsigned n_workers, struct rest **ret, struct err *e);
void rest_free(struct rest *rest); /* after the last request; takes NULL */
void rest_handle(void *ctx, unsigned worker, struct http_request *http, struct http_reply *reply);
bool rest_wants_stream(void *ctx, enum http_method method, struct str path);

#endif
