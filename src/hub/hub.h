/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_HUB_H
#define DEMARC_HUB_HUB_H

/* The hub process: what lives as long as it does, and who may touch it from which thread. */

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "http/server.h"
#include "store/db.h"

struct sessions; /* hub/session.h: connected nodes */

struct hub_config {
	const char *data_dir;	 /* default /var/lib/demarc-hub */
	const char *listen_addr; /* NULL: all */
	uint16_t port;		 /* default 8443 */
	const char *const *public_names; /* "hub.example", "192.0.2.1": certificate SANs; the first one is in the catalog */
	size_t n_public_names;
	unsigned n_workers;
};

struct hub {
	const struct hub_config *config; /* constant after start */
	struct store *store;		 /* any thread opens its own db */
	uv_loop_t *loop;		 /* loop thread only */
	struct http_server *http;	 /* loop thread only */
	struct sessions *sessions;	 /* thread-safe entry points in hub/session.h */
	struct token_keys *token_keys;	 /* constant after start */
	char *ca_cert, *ca_key, *server_cert, *server_key, *image_dir; /* paths; constant after start */
	char ca_fingerprint[65];	 /* hex sha256 */
	char *public_url;		 /* "https://name:port" */
};

#endif
