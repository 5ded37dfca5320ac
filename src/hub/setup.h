/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_SETUP_H
#define DEMARC_HUB_SETUP_H

/*
 * The data directory. The first start makes everything in it under the marker file `setup-unfinished`, which goes last: a crash on the way
 * makes the next start begin again. Without the marker, nothing is ever made anew: a missing file is an error that names it.
 *
 *   lock             held by the running hub
 *   ca.crt ca.key (ca-next.crt ca-next.key ca-retiring: hub/cert.h) server.crt server.key server.names token-keys hub.db images/ clouds.yaml port
 */

#include "base/err.h"
#include "hub/hub.h"

#define ADMIN_PASSWORD_SIZE 33 /* and NUL */

struct setup {
	int lock_fd;
	bool first;				  /* nothing was there: this is the first start */
	char admin_password[ADMIN_PASSWORD_SIZE]; /* of a first start, to be written into clouds.yaml */
};

/* Directory, lock, certificates; fills h's paths and names. */
WARN_UNUSED int setup_files(struct hub *h, struct setup *s, struct err *e);
/* Rows that must exist: every module's bootstrap in one write transaction, the admin on a first start. */
WARN_UNUSED int setup_rows(struct hub *h, struct setup *s, const struct module *const *modules,
			   size_t n, struct err *e);
/* With the port known: public_url, clouds.yaml, the file `port`; ends a first start. *ret_clouds: path, caller frees. */
WARN_UNUSED int setup_finish(struct hub *h, struct setup *s, uint16_t port, char **ret_clouds,
			     struct err *e);
/* The hub's own certificate anew, by the anchor CA (hub/cert.h). */
WARN_UNUSED int setup_server_cert(struct hub *h, struct err *e);
void setup_done(struct hub *h, struct setup *s);

/* identity/bootstrap.c: roles, the default domain; on a first start the admin user and its project. */
WARN_UNUSED int identity_bootstrap_admin(struct db *db, const char *password, struct err *e);
WARN_UNUSED int identity_bootstrap(struct hub *h, struct db *db, struct err *e);

#endif
