/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_SETUP_CLOUDS_H
#define DEMARC_HUB_SETUP_CLOUDS_H

/* clouds.yaml: what the openstack client needs to be the admin. Mode 0600: it holds the password. */

#include "base/err.h"

WARN_UNUSED int clouds_write(const char *path, const char *url, const char *ca_cert,
			     const char *password, struct err *e);
/* The URL of a file made by clouds_write(), when it has changed; a file that was moved away is left so. */
WARN_UNUSED int clouds_update(const char *path, const char *url, struct err *e);

#endif
