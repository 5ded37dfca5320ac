/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_BASE_FILE_H
#define DEMARC_BASE_FILE_H

/* Files that must not be half written. All take paths; errors name the path. */

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

/* Whole file into memory (NUL added, not counted). Fault TOO_LARGE past max_bytes. Caller frees. */
WARN_UNUSED int file_read(const char *path, size_t max_bytes, char **ret, size_t *ret_size,
			  struct err *e);
/* Temporary file in the same directory, fsync, rename, fsync of the directory. */
WARN_UNUSED int file_write_atomic(const char *path, mode_t mode, struct str content, struct err *e);
/* mkdir -p with `mode` for what it creates. */
WARN_UNUSED int dir_make(const char *path, mode_t mode, struct err *e);
/* rm -rf that never follows a link and never leaves the tree (openat, O_NOFOLLOW). Absent is success. */
WARN_UNUSED int tree_remove(const char *path, struct err *e);

/*
 * Takes an exclusive lock on `path` (made 0600 when absent) that goes with the process, never waiting. *ret_fd keeps it; the
 * caller closes it to let go. Fault IN_USE when another process has it: `what` ("node agent") is named in the message.
 * Source: flock(2).
 */
WARN_UNUSED int file_lock(const char *path, const char *what, int *ret_fd, struct err *e);

#endif
