/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_ROOTFS_H
#define DEMARC_NODE_ROOTFS_H

/*
 * Puts the layers of an image on top of each other in a directory. Every path of an archive is resolved by the kernel
 * inside that directory (openat2 with RESOLVE_IN_ROOT), so that no link, old or new, leads out of it.
 * Blocks: call it from a worker.
 */

#include "base/err.h"
#include "node/layer.h"

/* dir_fd: the root. first: nothing is below, whiteouts mean nothing. Else the layer is
 * read twice, as whiteouts act on lower layers only, wherever they stand in the archive. */
WARN_UNUSED int rootfs_add_layer(int dir_fd, bool first, const char *blob_path,
				 struct layer_budget *budget, struct err *e);
/* Opens `path` for reading inside the root; regular files only. NOT_FOUND, BAD_REQUEST. */
WARN_UNUSED int rootfs_open(int dir_fd, const char *path, int *ret_fd, struct err *e);

#endif
