/* SPDX-License-Identifier: Apache-2.0 */
#include "node/image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "node/oci.h"

#define CHUNK_BYTES (64u << 10)	  /* a control message of the hub waits behind one at most */
#define CHUNKS_AHEAD 8		  /* requests under way, of one image at a time */
#define ANSWER_NS (60 * NS_PER_S) /* a hub with many nodes lets each wait for its turn */
#define RETRY_FIRST_NS NS_PER_S
#define RETRY_MAX_NS (60 * NS_PER_S)
#define SHA512_HEX 129
#define PEER_WORTH_BYTES (2 * CHUNK_BYTES) /* less is here before two nodes know each other */

struct image {
	struct image *next;
	struct images *owner;
	char sha512[SHA512_HEX];
	char id[64];	/* by which the hub is asked; several images may have these bytes */
	char other[64]; /* since images_mark(): another one that is named, "": none */
	uint64_t size, limit;
	enum image_state state;
	bool marked, named, working; /* named: a server uses `id` itself */
	int fd;			     /* .part, while fetching */
	uint64_t have, asked;	     /* bytes: written; requested up to */
	int64_t heard_ns, retry_ns, backoff_ns;
	/* Another node was asked for it, once; gives it now; is never asked again, because one gave wrong bytes. */
	bool peer_tried, by_peer, no_peer;
	uint64_t peer_from; /* have, when it began */
	char peer[40];	    /* who gave some of it; "": nobody */
	char dir[PATH_MAX];
	char error[ERR_MSG_SIZE];
	uv_work_t work;
	struct err job_err; /* of the worker */
	int job_r;
};

struct images {
	uv_loop_t *loop;
	char dir[PATH_MAX - 160];
	struct images_ops ops;
	void *ctx;
	const struct images_peer_ops *peers; /* NULL: none */
	void *peers_ctx;
	struct image *first;
};

static void path_of(const struct images *im, const char *sha512, const char *suffix,
		    char ret[static PATH_MAX])
{
	(void)snprintf(ret, PATH_MAX, "%.3800s/%.200s%s", im->dir, sha512, suffix);
}

static void fetch_next(struct images *im);

static void fail(struct image *i, const char *text)
{
	bool was_fetching = i->state == IMAGE_FETCHING;

	i->backoff_ns = i->backoff_ns ? MIN_OF(2 * i->backoff_ns, RETRY_MAX_NS) : RETRY_FIRST_NS;
	i->retry_ns = clock_mono_ns() + i->backoff_ns;
	i->state = IMAGE_FAILED;
	(void)str_copy(i->error, sizeof(i->error), str_of(text));
	close_fdp(&i->fd);
	i->fd = -1;
	i->owner->ops.changed(i->owner->ctx);
	if (was_fetching)
		fetch_next(i->owner);
}

/* ---- worker: hash, unpack ---- */

static int hash_file(const char *path, char ret[static SHA512_HEX], struct err *e)
{
	CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
	CLEANUP(free_charp) char *buf = malloc(1 << 17);
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	ssize_t n = -1;
	bool ok = fd >= 0 && buf && md && EVP_DigestInit_ex(md, EVP_sha512(), NULL) == 1;

	while (ok && (n = read(fd, buf, 1 << 17)) > 0)
		ok = EVP_DigestUpdate(md, buf, (size_t)n) == 1;
	ok = ok && n == 0 && EVP_DigestFinal_ex(md, sum, &size) == 1;
	EVP_MD_CTX_free(md);
	if (!ok)
		return err_errno(e, errno ? errno : EIO, "hash of %s", path);
	hex_of(sum, size, ret);
	return 0;
}

/* What was unpacked is on disk before its name says that it is complete. */
static int finish(const char *tmp, const char *dir, const json_t *config, struct err *e)
{
	CLEANUP(close_fdp) int fd = open(tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(free_charp) char *text = json_text(config);
	char path[PATH_MAX];
	int r;

	if (!text || snprintf(path, sizeof(path), "%s/config.json", tmp) >= (int)sizeof(path))
		return err_set(e, FAULT_NO_MEMORY, NULL, "config of the image");
	r = file_write_atomic(path, 0600, str_of(text), e);
	if (r < 0)
		return r;
	if (fd < 0 || syncfs(fd) < 0 || rename(tmp, dir) < 0)
		return err_errno(e, errno, "%s", dir);
	return 0;
}

static int unpack(const struct image *i, struct err *e)
{
	char part[PATH_MAX], tmp[PATH_MAX], scratch[PATH_MAX], rootfs[PATH_MAX], hex[SHA512_HEX];
	CLEANUP(json_freep) json_t *config = NULL;
	int r;

	path_of(i->owner, i->sha512, ".part", part);
	path_of(i->owner, i->sha512, ".tmp", tmp);
	path_of(i->owner, i->sha512, ".tmp/scratch", scratch);
	path_of(i->owner, i->sha512, ".tmp/rootfs", rootfs);
	r = hash_file(part, hex, e);
	if (r < 0)
		return r;
	if (strcmp(hex, i->sha512) != 0)
		return err_set(e, FAULT_PRECONDITION, NULL,
			       "image came damaged: its SHA-512 is not the one announced");
	r = tree_remove(tmp, e);
	if (r == 0)
		r = dir_make(tmp, 0700, e);
	if (r == 0)
		r = oci_unpack(part, scratch, rootfs, i->limit, &config, e);
	if (r == 0)
		r = finish(tmp, i->dir, config, e);
	if (r < 0)
		(void)!tree_remove(tmp, NULL);
	return r;
}

static void on_work(uv_work_t *w)
{
	struct image *i = CONTAINER_OF(w, struct image, work);

	i->job_r = unpack(i, &i->job_err);
}

static void on_work_done(uv_work_t *w, int status)
{
	struct image *i = CONTAINER_OF(w, struct image, work);
	struct images *im = i->owner;
	char part[PATH_MAX], packed[PATH_MAX];

	(void)status;
	i->working = false;
	path_of(im, i->sha512, ".part", part);
	path_of(im, i->sha512, ".packed", packed);
	if (i->job_r == 0) {
		if (!im->peers || rename(part, packed) < 0)
			(void)unlink(part);
		i->state = IMAGE_READY;
		i->error[0] = '\0';
		i->backoff_ns = 0;
		im->ops.changed(im->ctx);
		return;
	}
	if (i->job_err.fault == FAULT_PRECONDITION) { /* damaged on the way: get it again */
		(void)unlink(part);
		i->no_peer = true;
		if (*i->peer && im->peers)
			im->peers->was_bad(im->peers_ctx, i->peer);
		i->peer[0] = '\0';
		im->ops.event(im->ctx, "image_corrupt", "error", i->id, i->job_err.msg);
	}
	fail(i, i->job_err.msg);
}

static void check_start(struct image *i)
{
	close_fdp(&i->fd);
	i->fd = -1;
	i->state = IMAGE_CHECKING;
	memset(&i->job_err, 0, sizeof(i->job_err));
	i->working = uv_queue_work(i->owner->loop, &i->work, on_work, on_work_done) == 0;
	if (!i->working)
		fail(i, "no worker for unpacking");
	fetch_next(i->owner);
}

/* ---- fetching ---- */

/* One after the other: the first one is whole sooner, and the hub is asked for little at a time. */
static bool is_its_turn(const struct image *i)
{
	const struct image *first = i->owner->first;

	while (first && first->state != IMAGE_FETCHING)
		first = first->next;
	return first == i;
}

/* How far it is: what another node gives is written by a process of its own. */
static void peer_look(struct image *i)
{
	struct stat st;

	if (!i->by_peer || fstat(i->fd, &st) < 0)
		return;
	i->have = i->asked = MIN_OF((uint64_t)st.st_size, i->size);
	i->heard_ns = clock_mono_ns();
}

/* Before the hub is asked for anything: another node of the site may have it. */
static bool peer_begins(struct image *i)
{
	const struct images *im = i->owner;
	const struct image_part part = { i->id, i->sha512, i->fd, i->have, i->size };
	int r;

	if (!im->peers || i->peer_tried || i->asked > i->have ||
	    i->size - i->have < PEER_WORTH_BYTES || lseek(i->fd, (off_t)i->have, SEEK_SET) < 0)
		return false;
	r = im->peers->take(im->peers_ctx, &part);
	i->peer_tried = r != -ENOTCONN;
	i->by_peer = r == 0;
	i->peer_from = i->have;
	return i->by_peer;
}

static void ask_more(struct image *i)
{
	struct images *im = i->owner;

	if (i->by_peer || (is_its_turn(i) && peer_begins(i)))
		return;
	while (is_its_turn(i) && i->asked < i->size && i->asked < i->have + CHUNKS_AHEAD * CHUNK_BYTES) {
		uint32_t size = (uint32_t)MIN_OF((uint64_t)CHUNK_BYTES, i->size - i->asked);

		if (im->ops.ask(im->ctx, i->id, i->asked, size) < 0)
			return; /* images_link_up() or the tick comes back to it */
		i->asked += size;
	}
}

/* Begins what waited for its turn; for the one that is at it, nothing. */
static void fetch_next(struct images *im)
{
	struct image *i = im->first;

	while (i && i->state != IMAGE_FETCHING)
		i = i->next;
	if (!i || i->asked > i->have)
		return;
	i->heard_ns = clock_mono_ns();
	ask_more(i);
}

static void fetch_start(struct image *i)
{
	char part[PATH_MAX];
	struct stat st;

	path_of(i->owner, i->sha512, ".part", part);
	close_fdp(&i->fd);
	i->fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (i->fd < 0 || fstat(i->fd, &st) < 0) {
		fail(i, strerror(errno));
		return;
	}
	i->have = (uint64_t)st.st_size;
	if (i->have > i->size && ftruncate(i->fd, 0) == 0)
		i->have = 0;
	i->asked = i->have;
	i->peer_tried = i->no_peer;
	i->state = IMAGE_FETCHING;
	i->heard_ns = clock_mono_ns();
	if (i->have == i->size)
		check_start(i);
	else
		ask_more(i);
}

static void start(struct image *i)
{
	char config[PATH_MAX];

	(void)snprintf(config, sizeof(config), "%.*s/config.json", PATH_MAX - 16, i->dir);
	if (access(config, R_OK) != 0) {
		fetch_start(i);
		return;
	}
	i->state = IMAGE_READY;
	path_of(i->owner, i->sha512, ".packed", config);
	if (!i->owner->peers)
		(void)unlink(config); /* kept for other nodes by an agent before this one */
}

static int write_chunk(struct image *i, const ProtobufCBinaryData *d, struct err *e)
{
	size_t done = 0;

	while (done < d->len) {
		ssize_t n = pwrite(i->fd, d->data + done, d->len - done, (off_t)(i->have + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, errno, "storing the image");
		done += (size_t)n;
	}
	return 0;
}

static void take_chunk(struct image *i, const Demarc__V1__Chunk *c)
{
	struct images *im = i->owner;
	struct err e = { 0 };

	if (i->by_peer)
		return; /* late */
	if (*c->error) {
		fail(i, c->error);
		return;
	}
	if (c->offset != i->have || c->data.len == 0 || c->data.len > CHUNK_BYTES ||
	    c->data.len > i->asked - i->have)
		return; /* late, early, too much or never asked for: the time-out asks again */
	if (write_chunk(i, &c->data, &e) < 0) {
		if (e.fault == FAULT_NO_SPACE)
			im->ops.event(im->ctx, "disk_full", "error", i->id, e.msg);
		fail(i, e.msg);
		return;
	}
	i->have += c->data.len;
	i->heard_ns = clock_mono_ns();
	if (i->have == i->size)
		check_start(i);
	else
		ask_more(i);
}

void images_chunk(struct images *im, const Demarc__V1__Chunk *c)
{
	for (struct image *i = im->first; i; i = i->next)
		if (i->state == IMAGE_FETCHING && strcmp(i->id, c->image_id) == 0)
			take_chunk(i, c);
}

void images_peer_end(struct images *im, const char *sha512, const char *node_id)
{
	struct image *i = im->first;

	while (i && (!i->by_peer || strcmp(i->sha512, sha512) != 0))
		i = i->next;
	if (!i)
		return;
	peer_look(i);
	i->by_peer = false;
	if (i->have > i->peer_from)
		(void)str_copy(i->peer, sizeof(i->peer), str_of(node_id));
	if (i->have == i->size)
		check_start(i);
	else
		ask_more(i);
}

void images_link_up(struct images *im)
{
	for (struct image *i = im->first; i; i = i->next)
		if (i->state == IMAGE_FETCHING) {
			i->asked = i->have;
			ask_more(i);
		}
}

void images_tick(struct images *im)
{
	int64_t now = clock_mono_ns();

	for (struct image *i = im->first; i; i = i->next) {
		if (i->state == IMAGE_FAILED && now >= i->retry_ns)
			start(i);
		peer_look(i);
		if (is_its_turn(i) && now - i->heard_ns > ANSWER_NS) {
			i->heard_ns = now;
			i->asked = i->have;
			ask_more(i);
		}
	}
}

/* ---- the set of images ---- */

static struct image *image_new(struct images *im, const Demarc__V1__Image *pb, uint64_t limit)
{
	struct image *i = calloc(1, sizeof(*i)), **end = &im->first;

	if (!i)
		return NULL;
	while (*end)
		end = &(*end)->next;
	i->owner = im;
	i->fd = -1;
	(void)str_copy(i->sha512, sizeof(i->sha512), str_of(pb->sha512));
	(void)str_copy(i->id, sizeof(i->id), str_of(pb->id));
	i->size = pb->size_bytes;
	i->limit = limit;
	path_of(im, i->sha512, "", i->dir);
	*end = i;
	start(i);
	return i;
}

void images_want(struct images *im, const Demarc__V1__Image *pb, uint64_t limit, struct image_view *ret)
{
	struct image *i = im->first;

	while (i && strcmp(i->sha512, pb->sha512) != 0)
		i = i->next;
	if (!i)
		i = image_new(im, pb, limit);
	*ret = (struct image_view){ .state = IMAGE_FAILED, .error = "out of memory" };
	if (!i)
		return;
	i->marked = true;
	if (strcmp(i->id, pb->id) == 0)
		i->named = true;
	else
		(void)str_copy(i->other, sizeof(i->other), str_of(pb->id));
	i->limit = MAX_OF(i->limit, limit);
	*ret = (struct image_view){ .state = i->state, .dir = i->dir, .error = i->error };
	ret->percent = i->size ? (unsigned)(i->have * 100 / i->size) : 0;
}

void images_mark(struct images *im)
{
	for (struct image *i = im->first; i; i = i->next) {
		i->marked = i->working;
		i->named = false;
		i->other[0] = '\0';
	}
}

/* No server uses the image any more by whose id it was asked for, and the hub refuses that: another one has the same bytes. */
static void ask_by_other(struct image *i)
{
	(void)str_copy(i->id, sizeof(i->id), str_of(i->other));
	if (i->state == IMAGE_FETCHING) {
		i->asked = i->have;
		i->heard_ns = clock_mono_ns();
		ask_more(i);
	} else if (i->state == IMAGE_FAILED) {
		i->backoff_ns = 0;
		start(i);
	}
}

static bool in_use(const struct images *im, const char *file)
{
	for (struct image *i = im->first; i; i = i->next)
		if (strncmp(file, i->sha512, SHA512_HEX - 1) == 0)
			return true;
	return false;
}

void images_sweep(struct images *im)
{
	DIR *d;
	struct dirent *de;

	for (struct image **p = &im->first; *p;) {
		struct image *i = *p;

		if (i->marked) {
			if (!i->named && *i->other)
				ask_by_other(i);
			p = &i->next;
			continue;
		}
		*p = i->next;
		if (i->by_peer)
			im->peers->stop(im->peers_ctx);
		close_fdp(&i->fd);
		free(i);
	}
	fetch_next(im); /* what went may have been at it */
	d = opendir(im->dir);
	while (d && (de = readdir(d))) {
		char path[PATH_MAX];

		if (de->d_name[0] == '.' || in_use(im, de->d_name))
			continue;
		path_of(im, de->d_name, "", path);
		(void)!tree_remove(path, NULL);
	}
	if (d)
		(void)closedir(d);
}

int images_open(uv_loop_t *loop, const char *state_dir, const struct images_ops *ops, void *ctx,
		struct images **ret, struct err *e)
{
	struct images *im = calloc(1, sizeof(*im));
	int r;

	if (!im)
		return err_set(e, FAULT_NO_MEMORY, NULL, "images");
	im->loop = loop;
	im->ops = *ops;
	im->ctx = ctx;
	(void)snprintf(im->dir, sizeof(im->dir), "%.3800s/images", state_dir);
	r = dir_make(im->dir, 0700, e);
	if (r < 0) {
		free(im);
		return r;
	}
	*ret = im;
	return 0;
}

void images_peers(struct images *im, const struct images_peer_ops *ops, void *ctx)
{
	im->peers = ops;
	im->peers_ctx = ctx;
}

int images_packed(const struct images *im, const char *sha512, uint64_t *ret_size)
{
	const struct image *i = im->first;
	char path[PATH_MAX];
	int fd;

	while (i && (i->state != IMAGE_READY || strcmp(i->sha512, sha512) != 0))
		i = i->next;
	if (!i)
		return -ENOENT;
	path_of(im, i->sha512, ".packed", path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	*ret_size = i->size;
	return fd < 0 ? -ENOENT : fd;
}

void images_close(struct images *im)
{
	struct image *next;

	if (!im)
		return;
	for (struct image *i = im->first; i; i = next) {
		next = i->next;
		while (i->working) /* the loop gives the result back; a worker cannot be left with freed memory */
			(void)uv_run(im->loop, UV_RUN_ONCE);
		close_fdp(&i->fd);
		free(i);
	}
	free(im);
}
