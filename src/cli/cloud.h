/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_CLI_CLOUD_H
#define DEMARC_CLI_CLOUD_H

/* What clouds.yaml and OS_* say about one cloud. */

#include "base/err.h"

struct cloud {
	char *auth_url, *username, *password, *project_name, *project_id, *user_domain,
		*project_domain, *cacert;
	bool insecure;
};

/* name NULL: OS_CLOUD, or the only one. NOT_FOUND and BAD_REQUEST name the file and the key. */
WARN_UNUSED int cloud_load(const char *name, struct cloud *ret, struct err *e);
void cloud_done(struct cloud *c);

#endif
