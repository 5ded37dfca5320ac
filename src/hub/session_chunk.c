/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "base/types.h"
#include "hub/image/image.h"
#include "link/link.h"

/*
 * The bulk thread: pieces of image files, when their turn has come (hub/chunk_queue.h). A node may read only images of its own servers.
 * A piece is under way until the node's socket has taken it.
 */

int session_may_read(struct db *db, const char *node_id, const char *image_id, struct err *e)
{
	int64_t one;
	int rc = db_get_int(db, &one, e,
			    /* by the node's few servers, not by the many of an image */
			    "SELECT 1 FROM server WHERE node_id = ? AND +image_id = ? LIMIT 1",
			    "ss", node_id, image_id);

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

/* What was copied under the lock: the place may be gone meanwhile. */
struct turn {
	struct chunk_wanted *wanted; /* owned */
	struct peer_ask *ask;	     /* owned */
	uint64_t serial, stuck;	     /* stuck: of a session that is to be closed */
	char node_id[40];
};

static int fill(struct bulk *b, const struct turn *t, Demarc__V1__Chunk *c, struct err *e)
{
	const struct chunk_wanted *r = t->wanted;
	CLEANUP(close_fdp) int fd = -1;
	uint64_t file_bytes = 0;
	struct uuid id;
	int rc;

	if (uuid_parse(str_of(r->image_id), &id) < 0 || r->size == 0 || r->size > LINK_CHUNK_MAX ||
	    r->offset > INT64_MAX / 2)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "not a valid request for a chunk");
	rc = session_may_read(b->db, t->node_id, r->image_id, e);
	if (rc < 0)
		return rc;
	rc = image_open(b->sessions->hub, b->db, r->image_id, &fd, &file_bytes, e);
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

static void send_chunk(struct bulk *b, const struct turn *t)
{
	Demarc__V1__Chunk c = DEMARC__V1__CHUNK__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT;
	struct err e = { 0 };

	c.image_id = t->wanted->image_id;
	c.offset = t->wanted->offset;
	if (fill(b, t, &c, &e) < 0) {
		log_limited(LOG_WARN_, "chunk_refused", "node=%s image=%s reason=%s", t->node_id,
			    LOGQ(t->wanted->image_id), LOGQ(e.msg));
		c.error = e.msg;
		c.data.len = 0;
	}
	f.request = t->wanted->request;
	f.body_case = DEMARC__V1__FRAME__BODY_CHUNK;
	f.chunk = &c;
	session_post_frame(b->sessions, t->serial, POST_CHUNK, &f);
	free(c.data.data);
}

/* Under the lock. */
static void sleep_until(struct bulk *b, int64_t until_ns)
{
	const struct timespec t = { until_ns / NS_PER_S, until_ns % NS_PER_S };

	if (until_ns == INT64_MAX)
		pthread_cond_wait(&b->cond, &b->lock);
	else
		pthread_cond_timedwait(&b->cond, &b->lock, &t);
}

/* Blocks; false at the end. */
static bool wait_turn(struct bulk *b, struct turn *ret)
{
	const struct chunk_place *p = NULL;
	int64_t until_ns;

	*ret = (struct turn){ 0 };
	pthread_mutex_lock(&b->lock);
	while (!b->stop) {
		ret->stuck = chunk_queue_stuck(&b->queue, clock_mono_ns());
		ret->ask = peer_ask_next(b);
		if (ret->stuck || ret->ask)
			break;
		ret->wanted = chunk_queue_next(&b->queue, clock_mono_ns(), &p, &until_ns);
		if (ret->wanted)
			break;
		sleep_until(b, until_ns);
	}
	if (p) {
		ret->serial = p->serial;
		(void)str_copy(ret->node_id, sizeof(ret->node_id), str_of(p->node_id));
	}
	pthread_mutex_unlock(&b->lock);
	return ret->stuck || ret->ask || ret->wanted;
}

static void *bulk_main(void *arg)
{
	struct bulk *b = arg;
	struct turn t;

	while (wait_turn(b, &t)) {
		if (t.stuck)
			session_post_close(b->sessions, t.stuck,
					   "the node does not take what it asked for",
					   SESSION_STUCK_RETRY_MS);
		if (t.ask)
			session_peer_introduce(b, t.ask);
		if (t.wanted)
			send_chunk(b, &t);
		peer_ask_free(t.ask);
		free(t.wanted);
	}
	return NULL;
}

int bulk_start(struct bulk *b, struct sessions *s, struct err *e)
{
	const struct hub_config *c = s->hub->config;
	pthread_condattr_t attr;
	int rc;

	b->sessions = s;
	chunk_queue_init(&b->queue, c->image_rate_mb * 1000000ull, c->image_node_rate_mb * 1000000ull);
	pthread_mutex_init(&b->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&b->cond, &attr);
	pthread_condattr_destroy(&attr);
	b->has_lock = true;
	rc = db_open(s->hub->store, &b->db, e);
	if (rc < 0)
		return rc;
	rc = pthread_create(&b->thread, NULL, bulk_main, b);
	if (rc)
		return err_errno(e, rc, "cannot start a thread for images");
	b->running = true;
	return 0;
}

void bulk_stop(struct bulk *b)
{
	if (b->running) {
		pthread_mutex_lock(&b->lock);
		b->stop = true;
		pthread_cond_signal(&b->cond);
		pthread_mutex_unlock(&b->lock);
		pthread_join(b->thread, NULL);
	}
	if (b->db)
		db_close(b->db);
	for (struct peer_ask *a = peer_ask_next(b); a; a = peer_ask_next(b))
		peer_ask_free(a);
	if (b->has_lock) {
		pthread_mutex_destroy(&b->lock);
		pthread_cond_destroy(&b->cond);
	}
	*b = (struct bulk){ 0 };
}

/* ---- the fronts' side ---- */

int session_chunk_want(struct session *x, const Demarc__V1__Frame *f)
{
	const Demarc__V1__ChunkRequest *r = f->chunk_request;
	struct bulk *b = &x->front->sessions->bulk;
	struct chunk_wanted w = { .request = f->request, .offset = r->offset, .size = r->size };
	int rc;

	if (str_copy(w.image_id, sizeof(w.image_id), str_of(r->image_id)) < 0)
		w.image_id[0] = '\0'; /* no image has such an id: the answer says so */
	pthread_mutex_lock(&b->lock);
	x->place.serial = x->serial;
	x->place.node_id = x->node_id;
	rc = chunk_queue_add(&b->queue, &x->place, &w, clock_mono_ns());
	pthread_cond_signal(&b->cond);
	pthread_mutex_unlock(&b->lock);
	return rc == -EEXIST ? 0 : rc;
}

void session_chunk_taken(struct session *x)
{
	struct bulk *b = &x->front->sessions->bulk;

	pthread_mutex_lock(&b->lock);
	chunk_queue_taken(&b->queue, &x->place, clock_mono_ns());
	pthread_cond_signal(&b->cond);
	pthread_mutex_unlock(&b->lock);
}

void session_chunk_leave(struct session *x)
{
	struct bulk *b = &x->front->sessions->bulk;

	pthread_mutex_lock(&b->lock);
	chunk_queue_leave(&b->queue, &x->place);
	pthread_cond_signal(&b->cond);
	pthread_mutex_unlock(&b->lock);
}
