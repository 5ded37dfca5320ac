/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HTTP_PIPE_H
#define DEMARC_HTTP_PIPE_H

/* A bounded pipe of bytes from the loop thread (which never blocks) to one worker (which does). */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define HTTP_PIPE_BYTES (256u << 10)

struct http_pipe {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	char *ring; /* HTTP_PIPE_BYTES */
	size_t head, len;
	bool ended;
	int error;    /* negative errno, delivered after the bytes before it */
	bool starved; /* the writer waits for room */
	bool asked;   /* somebody has read, or tried to */
};

WARN_UNUSED int http_pipe_init(struct http_pipe *p); /* 0 or -ENOMEM */
void http_pipe_done(struct http_pipe *p);
/* Loop thread: bytes that fit now; 0 makes the reader give notice when there is room. */
size_t http_pipe_room(struct http_pipe *p);
/* Loop thread: takes what fits, returns the count. Less than size: wait for the reader's notice. */
size_t http_pipe_write(struct http_pipe *p, const void *bytes, size_t size);
/* Loop thread: no more bytes; error 0 is the proper end. The first call counts. */
void http_pipe_end(struct http_pipe *p, int error);
bool http_pipe_asked(struct http_pipe *p);
/*
 * Worker: blocks for the first byte. Returns the count, 0 at the end, or the error of http_pipe_end(). notice(arg) is called,
 * without the lock, when the loop thread should look: at the first read, and when there is room again.
 */
ssize_t http_pipe_read(struct http_pipe *p, void *buf, size_t size, void (*notice)(void *arg),
		       void *arg);

#endif
