/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_IDENTITY_H
#define DEMARC_LINK_IDENTITY_H

/* Where enrolment keeps what it got. link_identity_load() in link/link.h reads it. */

#include "base/err.h"

#define IDENTITY_HUBS_MAX 8
#define IDENTITY_PATH_SIZE 1024

struct identity_paths {
	char identity[IDENTITY_PATH_SIZE]; /* JSON: node_id, site_id, hub_urls; there only once enrolment is complete */
	char ca[IDENTITY_PATH_SIZE], cert[IDENTITY_PATH_SIZE], key[IDENTITY_PATH_SIZE],
		csr[IDENTITY_PATH_SIZE];
	char current[IDENTITY_PATH_SIZE], next[IDENTITY_PATH_SIZE], renew_key[IDENTITY_PATH_SIZE],
		renew_csr[IDENTITY_PATH_SIZE]; /* link/renew.h */
};
/* Fault BAD_REQUEST: state_dir is too long. */
WARN_UNUSED int identity_paths(const char *state_dir, struct identity_paths *ret, struct err *e);

#endif
