/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_BUNDLE_H
#define DEMARC_NODE_BUNDLE_H

/*
 * The OCI runtime bundle of a function: its config.json.
 * Source: OCI runtime-spec v1.0.2, config.md and config-linux.md.
 */

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct bundle_spec {
	const json_t *image_config; /* as of oci_config_parse() */
	const char *rootfs;	    /* mounted, absolute */
	const char *netns;	    /* path of the named namespace */
	const char *hostname;
	const char *cgroup;	  /* "/demarc-xxxxxxxx/<server id>" */
	const char *config_drive; /* host directory, or NULL */
	const char *resolv_conf;  /* host file, or NULL */
	uint32_t vcpus;		  /* 0: no limit */
	uint32_t memory_mb;	  /* 0: no limit */
};

/* Writes <dir>/config.json. BAD_REQUEST: the image does not say what to run, or names an unknown user. */
WARN_UNUSED int bundle_write(const char *dir, const struct bundle_spec *s, struct err *e);
/* Finds "user", "user:group", "1000:1000" in the image's passwd and group files. Reads the root file system. */
WARN_UNUSED int bundle_user(const char *rootfs, const char *user, uint32_t *ret_uid,
			    uint32_t *ret_gid, struct err *e);

#endif
