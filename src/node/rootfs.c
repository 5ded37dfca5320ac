/* SPDX-License-Identifier: Apache-2.0 */
#include "node/rootfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

struct rootfs {
	int root; /* borrowed */
	int file; /* being written, or -1 */
	int64_t mtime_s;
};

/* Source: openat2(2). */
static int open_in(int root, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC),
				.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
}

static int failed(struct err *e, const char *path)
{
	int num = errno;

	/* What a hostile layer can provoke is the image's fault, not this node's. */
	if (num == ELOOP || num == ENOTDIR || num == EXDEV || num == ENAMETOOLONG)
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "archive entry '%.200s' has no place in the image: %s", path,
			       strerror(num));
	return err_errno(e, num, "unpacking '%.200s'", path);
}

/* mkdir -p inside the root; returns a descriptor of the directory. */
static int open_dir_making(int root, const char *dir)
{
	char part[LAYER_PATH_MAX];
	int fd = open_in(root, dir, O_PATH | O_DIRECTORY);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	for (const char *p = strchr(dir, '/');; p = strchr(p + 1, '/')) {
		size_t n = p ? (size_t)(p - dir) : strlen(dir);
		CLEANUP(close_fdp) int up = -1;
		char *base;

		memcpy(part, dir, n);
		part[n] = '\0';
		fd = open_in(root, part, O_PATH | O_DIRECTORY);
		if (fd < 0 && errno == ENOENT) {
			base = strrchr(part, '/');
			if (base)
				*base++ = '\0';
			up = open_in(root, base ? part : ".", O_PATH | O_DIRECTORY);
			if (up < 0 || mkdirat(up, base ? base : part, 0755) < 0 ||
			    fchmodat(up, base ? base : part, 0755, 0) < 0)
				return -1;
		} else if (fd < 0) {
			return -1;
		}
		close_fdp(&fd);
		if (!p)
			break;
	}
	return open_in(root, dir, O_PATH | O_DIRECTORY);
}

/* Descriptor of the parent; *ret_name: the last part. */
static int open_parent(int root, const char *path, bool make, const char **ret_name)
{
	char dir[LAYER_PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	memcpy(dir, path, n);
	dir[n] = '\0';
	*ret_name = slash ? slash + 1 : path;
	if (n == 0)
		return open_in(root, ".", O_PATH | O_DIRECTORY);
	return make ? open_dir_making(root, dir) : open_in(root, dir, O_PATH | O_DIRECTORY);
}

/* rm -rf of one name below an open directory. */
static int remove_below(int dir, const char *name, struct err *e)
{
	char path[300];

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%.255s", dir, name);
	return tree_remove(path, e);
}

/* ---- first pass: what the layer hides ---- */

static int hide_all(int root, const char *path, struct err *e)
{
	int fd = open_in(root, path, O_RDONLY | O_DIRECTORY);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	int r = 0;

	if (!d) {
		close_fdp(&fd);
		return 0; /* nothing there to hide */
	}
	while (r == 0 && (de = readdir(d)))
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			r = remove_below(dirfd(d), de->d_name, e);
	(void)closedir(d);
	return r;
}

static int hide_entry(void *ctx, const struct layer_entry *en, struct err *e)
{
	struct rootfs *fs = ctx;
	const char *name;

	if (en->type == LAYER_OPAQUE)
		return hide_all(fs->root, en->path, e);
	if (en->type == LAYER_WHITEOUT) {
		CLEANUP(close_fdp) int dir = open_parent(fs->root, en->path, false, &name);

		return dir < 0 ? 0 : remove_below(dir, name, e);
	}
	return 0;
}

/* ---- second pass: what the layer adds ---- */

static int add_dir(int dir, const char *name, const struct layer_entry *en, struct err *e)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode)) {
		int r = remove_below(dir, name, e);

		if (r < 0)
			return r;
	}
	if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
		return failed(e, en->path);
	return 0;
}

static int add_hardlink(struct rootfs *fs, int dir, const char *name, const struct layer_entry *en,
			struct err *e)
{
	const char *target_name;
	CLEANUP(close_fdp) int from = open_parent(fs->root, en->target, false, &target_name);
	struct stat st;

	if (from < 0 || fstatat(from, target_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(e, en->path);
	if (S_ISDIR(st.st_mode))
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "archive entry '%.200s': hard link to a directory", en->path);
	if (linkat(from, target_name, dir, name, 0) < 0)
		return failed(e, en->path);
	return 0;
}

static int add_file(struct rootfs *fs, int dir, const char *name, const struct layer_entry *en,
		    struct err *e)
{
	fs->file = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	fs->mtime_s = en->mtime_s;
	return fs->file < 0 ? failed(e, en->path) : 0;
}

static int set_owner(int dir, const char *name, const struct layer_entry *en, struct err *e)
{
	if (fchownat(dir, name, en->uid, en->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(e, en->path);
	if (en->type != LAYER_SYMLINK && fchmodat(dir, name, en->mode, 0) < 0)
		return failed(e, en->path);
	return 0;
}

static int add_entry(void *ctx, const struct layer_entry *en, struct err *e)
{
	struct rootfs *fs = ctx;
	const char *name;
	CLEANUP(close_fdp) int dir = -1;
	int r = 0;

	if (en->type == LAYER_WHITEOUT || en->type == LAYER_OPAQUE)
		return 0;
	dir = open_parent(fs->root, en->path, true, &name);
	if (dir < 0)
		return failed(e, en->path);
	if (en->type != LAYER_DIR)
		r = remove_below(dir, name, e);
	if (r < 0)
		return r;
	switch (en->type) {
	case LAYER_FILE:
		r = add_file(fs, dir, name, en, e);
		break;
	case LAYER_DIR:
		r = add_dir(dir, name, en, e);
		break;
	case LAYER_SYMLINK:
		r = symlinkat(en->target, dir, name) < 0 ? failed(e, en->path) : 0;
		break;
	case LAYER_FIFO:
		r = mkfifoat(dir, name, 0600) < 0 ? failed(e, en->path) : 0;
		break;
	case LAYER_HARDLINK:
		return add_hardlink(fs, dir, name, en, e);
	case LAYER_WHITEOUT:
	case LAYER_OPAQUE:
		return 0;
	}
	return r < 0 ? r : set_owner(dir, name, en, e);
}

static int add_data(void *ctx, const void *bytes, size_t size, uint64_t offset, struct err *e)
{
	struct rootfs *fs = ctx;
	const char *p = bytes;

	while (size > 0) {
		ssize_t n = pwrite(fs->file, p, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, errno, "unpacking the image");
		p += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

static int end_data(void *ctx, struct err *e)
{
	struct rootfs *fs = ctx;
	const struct timespec times[2] = { { .tv_sec = fs->mtime_s }, { .tv_sec = fs->mtime_s } };

	(void)e;
	(void)futimens(fs->file, times); /* a time that the file system cannot hold is no reason to fail */
	close_fdp(&fs->file);
	fs->file = -1;
	return 0;
}

static int pass(struct rootfs *fs, const char *blob, struct layer_budget *budget,
		const struct layer_ops *ops, struct err *e)
{
	CLEANUP(close_fdp) int fd = open(blob, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct layer_source src = { .fd = fd };
	int r;

	if (fd < 0)
		return err_errno(e, errno, "%s", blob);
	r = layer_walk(&src, budget, ops, fs, e);
	close_fdp(&fs->file);
	fs->file = -1;
	return r;
}

int rootfs_add_layer(int dir_fd, bool first, const char *blob_path, struct layer_budget *budget,
		     struct err *e)
{
	static const struct layer_ops hide = { .entry = hide_entry };
	static const struct layer_ops add = { .entry = add_entry, .data = add_data, .end = end_data };
	struct rootfs fs = { .root = dir_fd, .file = -1 };
	struct layer_budget scan = *budget; /* the first pass writes nothing */
	int r = first ? 0 : pass(&fs, blob_path, &scan, &hide, e);

	return r < 0 ? r : pass(&fs, blob_path, budget, &add, e);
}

int rootfs_open(int dir_fd, const char *path, int *ret_fd, struct err *e)
{
	CLEANUP(close_fdp) int fd = open_in(dir_fd, path, O_RDONLY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ?
			       err_set(e, FAULT_NOT_FOUND, NULL, "no %s in the image", path) :
			       failed(e, path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, FAULT_BAD_REQUEST, NULL, "%s in the image is not a file", path);
	*ret_fd = MOVE_FD(fd);
	return 0;
}
