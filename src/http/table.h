/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HTTP_TABLE_H
#define DEMARC_HTTP_TABLE_H

/*
 * Descriptor tables. RLIMIT_NOFILE counts per table, and a thread may have one of its own (unshare(2), CLONE_FILES; no privilege is
 * needed). Then the same number means another file in each: what one thread opens, another can not use unless it is passed.
 * POSIX locks belong to a table, too: a thread with its own must stay away from the database.
 */

#include <stddef.h>

#include "base/err.h"

/* The calling thread's table becomes its own, with the `n` descriptors of `keep` in it and nothing else; sorts keep. -errno: as before. */
WARN_UNUSED int table_take_own(int *keep, size_t n);

/* Two ends of a way for descriptors between tables. */
WARN_UNUSED int table_way_open(int *ret_from, int *ret_to);
WARN_UNUSED int table_send(int way, int fd); /* the sender still has fd. Never waits: -EAGAIN */
WARN_UNUSED int table_receive(int way); /* the descriptor, in the order of sending, or -errno */

#endif
