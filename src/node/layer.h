/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_LAYER_H
#define DEMARC_NODE_LAYER_H

/*
 * Walk of an archive that nobody vouches for: an image file or one of its layers.
 *
 * layer_walk() decides what an entry is and whether it may be; what it passes to `entry` has a relative path without
 * "." and ".." parts and is within the limits. Where symbolic links lead is not its concern: rootfs.c resolves
 * every path inside the root. Formats: tar; plain, gzip or zstd.
 * Source: OCI image-spec v1.0, layer.md (whiteouts).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

#define LAYER_PATH_MAX 1024 /* bytes */
#define LAYER_DEPTH_MAX 64
#define LAYER_ENTRIES_MAX 400000

enum layer_type {
	LAYER_FILE,
	LAYER_DIR,
	LAYER_SYMLINK,
	LAYER_HARDLINK,
	LAYER_FIFO,
	LAYER_WHITEOUT,
	LAYER_OPAQUE
};

struct layer_entry {
	enum layer_type type;
	const char *path; /* "usr/bin/x", never empty; of a whiteout: what it hides; of an opaque: the directory, may be "" */
	const char *target; /* link: as in the archive (symlink), checked like path (hardlink) */
	mode_t mode;	    /* permission and sticky bits; set-id bits are taken off */
	uid_t uid;
	gid_t gid;
	int64_t mtime_s;
	uint64_t size; /* file */
};

struct layer_budget {
	uint64_t bytes;	  /* still allowed: file contents, plus 512 for each entry */
	uint64_t entries; /* still allowed */
};

struct layer_ops {
	/* An entry. For a file, data() follows with its content, in order, then end(). Any may be NULL. < 0 stops. */
	int (*entry)(void *ctx, const struct layer_entry *en, struct err *e);
	int (*data)(void *ctx, const void *bytes, size_t size, uint64_t offset, struct err *e);
	int (*end)(void *ctx, struct err *e);
};

/* Where the archive comes from: a file descriptor (borrowed, read from where it stands) or memory. */
struct layer_source {
	int fd; /* used when mem.ptr is NULL */
	struct str mem;
};

/* Faults: BAD_REQUEST (not an archive, hostile entry: the message names it), TOO_LARGE (budget), or what ops return.
 * Device nodes and sockets are left out: the runtime makes /dev itself. */
WARN_UNUSED int layer_walk(const struct layer_source *src, struct layer_budget *budget,
			   const struct layer_ops *ops, void *ctx, struct err *e);

/* Writes the cleaned form of an archive's path ("./a//b/" -> "a/b", "." -> ""). BAD_REQUEST: absolute, "..", too long
 * or too deep. */
WARN_UNUSED int layer_path_clean(const char *path, char ret[static LAYER_PATH_MAX], struct err *e);

#endif
