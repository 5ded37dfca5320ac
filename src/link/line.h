/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_LINE_H
#define DEMARC_LINK_LINE_H

#include <stdbool.h>

/*
 * Whether streams may write to this TCP connection now: the other end has all but what it takes in a quarter of a second, within the
 * bounds of line.c. So long does a frame of another kind wait on the line, however long the queues of a slow one are.
 */
bool line_takes_bulk(int fd);

#endif
