/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_META_H
#define DEMARC_NODE_META_H

/*
 * The documents that tell a function who it is: OpenStack and EC2 metadata, user data. The same ones are served at
 * 169.254.169.254 and written to the config drive. Pure.
 * Source: Nova user guide, "Metadata" (meta_data.json, network_data.json; versions up to 2018-08-27).
 */

#include <stddef.h>

#include "base/err.h"
#include "base/str.h"
#include "demarc.pb-c.h"

#define META_DOCS_MAX 32
#define META_OPENSTACK_VERSION "2018-08-27"

struct meta_nic {
	const char *id, *tag; /* port; NULL id: an empty slot */
	const Demarc__V1__Port *port;
	const Demarc__V1__Network *network; /* may be NULL */
};

struct meta_doc {
	char path[96]; /* "openstack/latest/meta_data.json", "ec2/latest/meta-data/hostname" */
	char *content;
	size_t size;
};
struct meta_docs {
	size_t n;
	struct meta_doc doc[META_DOCS_MAX];
};

WARN_UNUSED int meta_build(const char *server_id, const Demarc__V1__Server *s,
			   const struct meta_nic *nics, size_t n_nics, struct meta_docs *ret,
			   struct err *e);
void meta_done(struct meta_docs *d); /* for CLEANUP */

/* The answer to a path of the metadata service ("/openstack/latest/", "/latest/meta-data/hostname"): a document or the
 * listing of a directory, appended to `out`. Returns the HTTP status; *ret_type the media type. */
int meta_lookup(const struct meta_docs *d, const char *path, struct strbuf *out, const char **ret_type);

/* Writes the documents below `dir` (replaced) as a config drive. */
WARN_UNUSED int meta_write_drive(const struct meta_docs *d, const char *dir, struct err *e);

#endif
