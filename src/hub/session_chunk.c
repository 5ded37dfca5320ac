/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "base/types.h"
#include "hub/image/image.h"
#include "link/link.h"

/*
 * The bulk thread: pieces of image files. One request at a time, in the order they came; a node has at most
 * SESSION_CHUNKS_MAX waiting, so that a hundred nodes share the disk evenly. A node may read only images of its own servers.
 */

static int may_read(struct db *db, const char *node_id, const char *image_id, struct err *e)
{
	int64_t one;
	int rc = db_get_int(db, &one, e,
			    "SELECT 1 FROM server WHERE node_id = ? AND image_id = ? LIMIT 1", "ss",
			    node_id, image_id);

	return rc != 0 ? rc :
			 err_set(e, FAULT_NOT_FOUND, NULL, "no server of this node uses the image");
}

static int read_at(int fd, void *buf, size_t size, uint64_t offset, struct err *e)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (char *)buf + done, size - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, errno, "cannot read the image");
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (int)done;
}

static int fill(struct job_thread *t, const struct job *j, Demarc__V1__Chunk *c, struct err *e)
{
	const Demarc__V1__ChunkRequest *r = j->frame->chunk_request;
	CLEANUP(close_fdp) int fd = -1;
	uint64_t file_bytes = 0;
	struct uuid id;
	int rc;

	if (uuid_parse(str_of(r->image_id), &id) < 0 || r->size == 0 || r->size > LINK_CHUNK_MAX ||
	    r->offset > INT64_MAX / 2)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "not a valid request for a chunk");
	rc = may_read(t->db, j->node_id, r->image_id, e);
	if (rc < 0)
		return rc;
	rc = image_open(t->sessions->hub, t->db, r->image_id, &fd, &file_bytes, e);
	if (rc < 0)
		return rc;
	c->data.data = malloc(r->size);
	if (!c->data.data)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a chunk");
	rc = read_at(fd, c->data.data, r->size, r->offset, e);
	if (rc < 0)
		return rc;
	c->data.len = (size_t)rc;
	c->last = r->offset + c->data.len >= file_bytes;
	return 0;
}

static void run_chunk(struct job_thread *t, const struct job *j)
{
	const Demarc__V1__ChunkRequest *r = j->frame->chunk_request;
	Demarc__V1__Chunk c = DEMARC__V1__CHUNK__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	struct err e = { 0 };

	c.image_id = r->image_id;
	c.offset = r->offset;
	if (fill(t, j, &c, &e) < 0) {
		log_limited(LOG_WARN_, "chunk_refused", "node=%s image=%s reason=%s", j->node_id,
			    LOGQ(r->image_id), LOGQ(e.msg));
		c.error = e.msg;
		c.data.len = 0;
	}
	f.request = j->frame->request;
	f.body_case = DEMARC__V1__FRAME__BODY_CHUNK;
	f.chunk = &c;
	session_post_frame(t->sessions, j->serial, POST_CHUNK, &f);
	free(c.data.data);
}

void session_bulk_run(struct job_thread *t, struct job *list)
{
	for (struct job *j = list, *next; j; j = next) {
		next = j->next;
		run_chunk(t, j);
		job_free(j);
	}
}
