/* SPDX-License-Identifier: Apache-2.0 */
#include "node/layer.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

#define READ_BLOCK 65536
#define ENTRY_COST 512 /* bytes of the budget that an entry takes beside its content */
#define WHITEOUT ".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"

struct walk {
	struct archive *a;
	struct layer_budget *budget;
	const struct layer_ops *ops;
	void *ctx;
	char path[LAYER_PATH_MAX], target[LAYER_PATH_MAX];
};

static void archive_freep(struct archive **a)
{
	if (*a)
		(void)archive_read_free(*a);
}

static int hostile(struct err *e, const char *path, const char *why)
{
	return err_set(e, FAULT_BAD_REQUEST, NULL, "archive entry '%.200s': %s", path, why);
}

int layer_path_clean(const char *path, char ret[static LAYER_PATH_MAX], struct err *e)
{
	struct str rest = str_of(path);
	size_t n = 0, depth = 0;

	if (rest.len > 0 && rest.ptr[0] == '/')
		return hostile(e, path, "absolute path");
	while (rest.len > 0) {
		struct str part = str_cut(rest, '/', &rest);

		if (part.len == 0 || str_eq_c(part, "."))
			continue;
		if (str_eq_c(part, ".."))
			return hostile(e, path, "leaves its directory");
		if (part.len > 255 || n + part.len + 2 > LAYER_PATH_MAX || ++depth > LAYER_DEPTH_MAX)
			return hostile(e, path, "path is too long");
		if (n)
			ret[n++] = '/';
		memcpy(ret + n, part.ptr, part.len);
		n += part.len;
	}
	ret[n] = '\0';
	return 0;
}

/* Turns ".wh.name" and ".wh..wh..opq" into what they mean. w->path is changed in place. */
static int whiteout(struct walk *w, struct layer_entry *en, struct err *e)
{
	char *base = strrchr(w->path, '/');

	base = base ? base + 1 : w->path;
	if (strcmp(base, WHITEOUT_OPAQUE) == 0) {
		en->type = LAYER_OPAQUE;
		*(base == w->path ? base : base - 1) = '\0';
		return 0;
	}
	if (strncmp(base, WHITEOUT, strlen(WHITEOUT)) != 0)
		return 0;
	if (strncmp(base, WHITEOUT WHITEOUT, 2 * strlen(WHITEOUT)) == 0)
		return 1; /* other marks of union file systems: nothing to do */
	en->type = LAYER_WHITEOUT;
	memmove(base, base + strlen(WHITEOUT), strlen(base + strlen(WHITEOUT)) + 1);
	if (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
		return hostile(e, w->path, "whiteout of nothing");
	return 0;
}

static int link_target(struct walk *w, struct archive_entry *ae, struct layer_entry *en, struct err *e)
{
	const char *hard = archive_entry_hardlink(ae);
	const char *soft = archive_entry_symlink(ae);

	if (hard) {
		en->type = LAYER_HARDLINK;
		en->target = w->target;
		if (layer_path_clean(hard, w->target, e) < 0)
			return -EINVAL;
		return *w->target ? 0 : hostile(e, w->path, "hard link to nothing");
	}
	if (!soft || !*soft || strlen(soft) >= LAYER_PATH_MAX)
		return hostile(e, w->path, "symbolic link without a usable target");
	en->type = LAYER_SYMLINK;
	en->target = soft;
	return 0;
}

/* Returns 0, 1 to leave the entry out, or < 0. */
static int classify(struct walk *w, struct archive_entry *ae, struct layer_entry *en, struct err *e)
{
	if (archive_entry_hardlink(ae))
		return link_target(w, ae, en, e);
	switch (archive_entry_filetype(ae)) {
	case AE_IFREG:
		en->type = LAYER_FILE;
		if (archive_entry_size(ae) < 0)
			return hostile(e, w->path, "negative size");
		en->size = (uint64_t)archive_entry_size(ae);
		return whiteout(w, en, e);
	case AE_IFDIR:
		en->type = LAYER_DIR;
		return 0;
	case AE_IFLNK:
		return link_target(w, ae, en, e);
	case AE_IFIFO:
		en->type = LAYER_FIFO;
		return 0;
	default:
		return 1;
	}
}

static int spend(struct walk *w, uint64_t bytes, struct err *e)
{
	if (bytes > w->budget->bytes)
		return err_set(e, FAULT_TOO_LARGE, NULL,
			       "archive unpacks to more than is allowed, at '%.200s'", w->path);
	w->budget->bytes -= bytes;
	return 0;
}

static int read_error(struct walk *w, struct err *e)
{
	const char *text = archive_error_string(w->a);

	return err_set(e, FAULT_BAD_REQUEST, NULL, "not a readable archive: %.200s",
		       text ? text : "damaged");
}

static int content(struct walk *w, const struct layer_entry *en, struct err *e)
{
	const void *block;
	size_t size;
	la_int64_t offset;
	int r;

	while ((r = archive_read_data_block(w->a, &block, &size, &offset)) == ARCHIVE_OK) {
		/* The header's size was paid for; nothing may lie beyond it. */
		if (offset < 0 || (uint64_t)offset + size > en->size)
			return hostile(e, w->path, "more content than its size says");
		if (w->ops->data && w->ops->data(w->ctx, block, size, (uint64_t)offset, e) < 0)
			return -EIO;
	}
	if (r != ARCHIVE_EOF)
		return read_error(w, e);
	return w->ops->end ? w->ops->end(w->ctx, e) : 0;
}

static int one_entry(struct walk *w, struct archive_entry *ae, struct err *e)
{
	struct layer_entry en = { .path = w->path };
	const char *raw = archive_entry_pathname(ae);
	int r;

	if (!raw || archive_entry_is_data_encrypted(ae))
		return hostile(e, "", "no readable path");
	r = layer_path_clean(raw, w->path, e);
	if (r == 0 && !*w->path)
		return 0; /* the root itself */
	if (r == 0)
		r = classify(w, ae, &en, e);
	if (r != 0)
		return r < 0 ? r : 0;
	en.mode = archive_entry_perm(ae) & 01777;
	en.uid = (uid_t)archive_entry_uid(ae);
	en.gid = (gid_t)archive_entry_gid(ae);
	en.mtime_s = archive_entry_mtime(ae);
	if (archive_entry_uid(ae) < 0 || archive_entry_uid(ae) >= UINT32_MAX ||
	    archive_entry_gid(ae) < 0 || archive_entry_gid(ae) >= UINT32_MAX)
		return hostile(e, w->path, "owner is out of range");
	r = spend(w, ENTRY_COST, e);
	if (r == 0)
		r = spend(w, en.size, e);
	if (r == 0 && w->ops->entry)
		r = w->ops->entry(w->ctx, &en, e);
	if (r == 0 && en.type == LAYER_FILE)
		r = content(w, &en, e);
	return r;
}

static int open_source(struct walk *w, const struct layer_source *src, struct err *e)
{
	int r;

	if (archive_read_support_format_tar(w->a) != ARCHIVE_OK ||
	    archive_read_support_filter_gzip(w->a) < ARCHIVE_WARN ||
	    archive_read_support_filter_zstd(w->a) < ARCHIVE_WARN)
		return err_set(e, FAULT_INTERNAL, NULL, "archive library without tar, gzip or zstd");
	if (src->mem.ptr)
		r = archive_read_open_memory(w->a, src->mem.ptr, src->mem.len);
	else
		r = archive_read_open_fd(w->a, src->fd, READ_BLOCK);
	return r == ARCHIVE_OK ? 0 : read_error(w, e);
}

int layer_walk(const struct layer_source *src, struct layer_budget *budget,
	       const struct layer_ops *ops, void *ctx, struct err *e)
{
	CLEANUP(archive_freep) struct archive *a = archive_read_new();
	struct walk w = { .a = a, .budget = budget, .ops = ops, .ctx = ctx };
	int r;

	if (!a)
		return err_set(e, FAULT_NO_MEMORY, NULL, "archive reader");
	r = open_source(&w, src, e);
	while (r == 0) {
		struct archive_entry *ae;
		int got = archive_read_next_header(a, &ae);

		if (got == ARCHIVE_EOF)
			break;
		if (got != ARCHIVE_OK && got != ARCHIVE_WARN)
			return read_error(&w, e);
		if (budget->entries == 0)
			return err_set(e, FAULT_TOO_LARGE, NULL, "archive has too many entries");
		budget->entries--;
		r = one_entry(&w, ae, e);
	}
	return r;
}
