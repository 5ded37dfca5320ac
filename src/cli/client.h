/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_CLI_CLIENT_H
#define DEMARC_CLI_CLIENT_H

/*
 * The operator's connection to a hub: where it is and who asks come from clouds.yaml and OS_* variables, as for the openstack client;
 * the token and the endpoints come from identity v3. Blocking; one thread.
 */

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"

struct client;

struct client_options {
	const char *cloud;  /* --os-cloud; NULL: OS_CLOUD, or the only cloud of the file */
	const char *cacert; /* --os-cacert; NULL: from the file or OS_CACERT */
};

/*
 * Reads the configuration and gets a token. Environment wins over the file, options over both. Files are looked for as the openstack client
 * does: OS_CLIENT_CONFIG_FILE, ./clouds.yaml, ~/.config/openstack/clouds.yaml, /etc/openstack/clouds.yaml.
 * Source: openstacksdk, "Configuring OpenStack SDK Applications".
 */
WARN_UNUSED int client_open(const struct client_options *o, struct client **ret, struct err *e);
void client_close(struct client *c);
void client_closep(struct client **c);

/* From now on each request is made on a connection of its own, with a whole TLS handshake; or no more. */
void client_set_fresh(struct client *c, bool fresh);

/*
 * One request to a service of the catalog ("network", "compute", "image", "demarc"). `path` starts below the service's endpoint and has its
 * version where the catalog has none ("/v2.0/ports"). body is borrowed, NULL for none. *ret (may be NULL) takes a new reference, or NULL for an empty answer.
 * Faults follow the HTTP status; the message is the service's own.
 */
WARN_UNUSED int client_call(struct client *c, const char *method, const char *service,
			    const char *path, const json_t *body, json_t **ret, struct err *e);

/* PUT of bytes that are no JSON: the file of an image. As client_call() otherwise. */
WARN_UNUSED int client_upload(struct client *c, const char *service, const char *path,
			      struct str bytes, struct err *e);

/*
 * Finds one object by name or id in a collection: GET path?name=WHAT, then GET path/WHAT. `plural` and `singular` are the envelopes. NOT_FOUND and CONFLICT (more than
 * one of that name) say what was looked for. New reference.
 */
WARN_UNUSED int client_find(struct client *c, const char *service, const char *path, const char *plural,
			    const char *singular, const char *what, json_t **ret, struct err *e);

#endif
