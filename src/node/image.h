/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_IMAGE_H
#define DEMARC_NODE_IMAGE_H

/*
 * Images of this node: fetched in chunks, checked, unpacked once, kept while a server names them.
 *
 *   images/<sha512>.part       what has come so far, in order; survives everything
 *   images/<sha512>.tmp/       being unpacked; removed at start
 *   images/<sha512>.packed     as it came, while nodes of the site may take it from here
 *   images/<sha512>/rootfs/    the file system, read-only below each function's overlay
 *   images/<sha512>/config.json  what the image says to run; its presence means complete
 *
 * Thread: the loop's; hashing and unpacking run in a worker.
 */

#include <jansson.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "demarc.pb-c.h"

struct images;

struct images_ops {
	/* Sends a ChunkRequest; < 0: not now (no link). */
	int (*ask)(void *ctx, const char *image_id, uint64_t offset, uint32_t size);
	/* Something changed: a server may go on. */
	void (*changed)(void *ctx);
	/* For the event log: an image was damaged, the disk is full ... */
	void (*event)(void *ctx, const char *kind, const char *severity, const char *image_id,
		      const char *text);
};

/* What is missing of an image, for another node of the site to give. Borrowed for the call. */
struct image_part {
	const char *id, *sha512;
	int fd; /* what there is of it; bytes are to be added at its place, which is the end */
	uint64_t have, size;
};
struct images_peer_ops {
	/* 0: images_peer_end() follows, not from inside of the call, and the hub is not asked before. -ENOTCONN: not now; other < 0: no. */
	int (*take)(void *ctx, const struct image_part *p);
	void (*stop)(void *ctx); /* what is taken is not wanted any more; images_peer_end() may follow */
	void (*was_bad)(void *ctx, const char *node_id); /* some of its bytes were in an image with another hash */
};

enum image_state { IMAGE_FETCHING, IMAGE_CHECKING, IMAGE_READY, IMAGE_FAILED };
struct image_view {
	enum image_state state;
	unsigned percent;  /* while fetching */
	const char *dir;   /* images/<sha512>, while ready */
	const char *error; /* while failed; also the last error while it is retried */
};

WARN_UNUSED int images_open(uv_loop_t *loop, const char *state_dir, const struct images_ops *ops,
			    void *ctx, struct images **ret, struct err *e);
/* Other nodes are asked before the hub, and images are kept as they came, for them. Before the first images_want(). */
void images_peers(struct images *im, const struct images_peer_ops *ops, void *ctx);
/* No byte comes any more from the node. node_id: borrowed; "": nobody gave any. */
void images_peer_end(struct images *im, const char *sha512, const char *node_id);
/* A descriptor to read the image from as it came, and its size; -ENOENT: it is not here, or was not checked. */
WARN_UNUSED int images_packed(const struct images *im, const char *sha512, uint64_t *ret_size);
/* Waits for a running worker. */
void images_close(struct images *im);

/* Makes sure the image is here or on its way. limit_bytes: how much it may unpack to. The view is valid until the next
 * call into this module. */
void images_want(struct images *im, const Demarc__V1__Image *image, uint64_t limit_bytes,
		 struct image_view *ret);
/* Between these two, images_want() names every image in use; the rest is deleted. Of several with the same bytes, the hub is asked for one
 * that is in use. */
void images_mark(struct images *im);
void images_sweep(struct images *im);
/* A chunk has come. What was not asked for is ignored. */
void images_chunk(struct images *im, const Demarc__V1__Chunk *c);
/* The link is up (again): ask for what is missing. */
void images_link_up(struct images *im);
/* Time-outs and retries; call about once a second. */
void images_tick(struct images *im);

#endif
