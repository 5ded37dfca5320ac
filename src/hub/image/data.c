/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of images. An upload goes to "<id>.part" in the image directory, is hashed on the way, synced, renamed, and only
 * then does its row become active: whatever happens at any instant, a row that says active has its whole file. Source: Glance
 * API reference, "Image data".
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/types.h"
#include "hub/compute/input.h"
#include "hub/hub.h"
#include "hub/image/image.h"

#define COPY_SIZE (256u << 10)		   /* bytes read at a time */
#define SPACE_CHECK_BYTES (16u << 20)	   /* how often free space is looked at */
#define SPACE_RESERVE_BYTES (128ull << 20) /* left for the store, which may share the disk */
#define PART_SUFFIX ".part"

struct upload {
	struct req *r;
	char path[4096], part[4096];
	int fd, dir_fd;
	EVP_MD_CTX *md5, *sha512;
	char md5_hex[2 * EVP_MAX_MD_SIZE + 1], sha512_hex[2 * EVP_MAX_MD_SIZE + 1];
	uint64_t size;
};

static void upload_done(struct upload *u)
{
	close_fdp(&u->fd);
	EVP_MD_CTX_free(u->md5);
	EVP_MD_CTX_free(u->sha512);
	if (u->part[0])
		unlink(u->part);
}

/* ---- receiving ---- */

static int no_space(struct err *e)
{
	return err_set(e, FAULT_TOO_LARGE, NULL,
		       "Image storage media is full: There is not enough disk space on the image "
		       "storage media.");
}

static int upload_open(struct upload *u, struct req *r, const char *id, struct err *e)
{
	*u = (struct upload){ .r = r, .fd = -1 };
	if (dir_make(r->hub->image_dir, 0700, e) < 0)
		return -e->num;
	snprintf(u->path, sizeof(u->path), "%s/%s", r->hub->image_dir, id);
	snprintf(u->part, sizeof(u->part), "%s/%s" PART_SUFFIX, r->hub->image_dir, id);
	u->md5 = EVP_MD_CTX_new();
	u->sha512 = EVP_MD_CTX_new();
	if (!u->md5 || !u->sha512 || EVP_DigestInit_ex(u->md5, EVP_md5(), NULL) != 1 ||
	    EVP_DigestInit_ex(u->sha512, EVP_sha512(), NULL) != 1)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	u->fd = open(u->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (u->fd < 0)
		return errno == ENOSPC ? no_space(e) : err_errno(e, errno, "cannot store the image");
	return 0;
}

static int check_space(const struct upload *u, struct err *e)
{
	struct statvfs v;

	if (u->size > IMAGE_SIZE_MAX)
		return err_set(e, FAULT_TOO_LARGE, NULL,
			       "Denying attempt to upload image larger than %llu bytes.",
			       (unsigned long long)IMAGE_SIZE_MAX);
	if (fstatvfs(u->fd, &v) == 0 && (unsigned long long)v.f_bavail * v.f_frsize < SPACE_RESERVE_BYTES)
		return no_space(e);
	return 0;
}

static int write_all(int fd, const unsigned char *p, size_t size, struct err *e)
{
	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ?
				       no_space(e) :
				       err_errno(e, errno, "cannot store the image");
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

static int lost(ssize_t rc, struct err *e)
{
	if (rc == -ETIMEDOUT)
		return err_set(e, FAULT_TIMEOUT, NULL, "The client sent nothing for too long.");
	return err_set(e, FAULT_BAD_REQUEST, NULL,
		       "The upload ended before the declared end of its data.");
}

static int receive(struct upload *u, struct err *e)
{
	unsigned char *buf = arena_alloc(u->r->arena, COPY_SIZE);
	uint64_t checked = 0;
	ssize_t n;

	if (!buf)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	if (check_space(u, e) < 0)
		return -e->num;
	while ((n = http_read(u->r->http, buf, COPY_SIZE)) > 0) {
		EVP_DigestUpdate(u->md5, buf, (size_t)n);
		EVP_DigestUpdate(u->sha512, buf, (size_t)n);
		if (write_all(u->fd, buf, (size_t)n, e) < 0)
			return -e->num;
		u->size += (uint64_t)n;
		if (u->size - checked < SPACE_CHECK_BYTES)
			continue;
		checked = u->size;
		if (check_space(u, e) < 0)
			return -e->num;
	}
	return n < 0 ? lost(n, e) : 0;
}

static void finish_hash(EVP_MD_CTX *ctx, char *ret_hex)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	EVP_DigestFinal_ex(ctx, md, &n);
	hex_of(md, n, ret_hex);
}

static int check_size(const struct upload *u, const char *header, struct err *e)
{
	struct str text = str_trim(http_header(u->r->http, header));
	uint64_t want;

	if (text.len == 0)
		return 0;
	if (str_to_u64(text, INT64_MAX, &want) < 0 || want != u->size)
		return err_set(e, FAULT_BAD_REQUEST, header,
			       "The data has %llu bytes; header %s declares " STR_FMT ".",
			       (unsigned long long)u->size, header,
			       (int)MIN_OF(text.len, (size_t)32), text.ptr);
	return 0;
}

static int check_hash(const struct upload *u, const char *header, const char *hex, struct err *e)
{
	struct str text = str_trim(http_header(u->r->http, header));

	if (text.len == 0 || str_eq_nocase(text, str_of(hex)))
		return 0;
	return err_set(e, FAULT_BAD_REQUEST, header,
		       "The data's checksum is %s; header %s declares " STR_FMT ".", hex, header,
		       (int)MIN_OF(text.len, (size_t)128), text.ptr);
}

/* RFC 1864: Content-MD5 is base64; some clients send hex. */
static int check_content_md5(const struct upload *u, struct err *e)
{
	struct str text = str_trim(http_header(u->r->http, "content-md5"));
	unsigned char md[16], b64[32];

	if (text.len == 0 || text.len == 32)
		return check_hash(u, "content-md5", u->md5_hex, e);
	if (str_from_hex(str_of(u->md5_hex), md, sizeof(md)) < 0)
		return err_set(e, FAULT_INTERNAL, NULL, "no checksum");
	EVP_EncodeBlock(b64, md, sizeof(md));
	return check_hash(u, "content-md5", (const char *)b64, e);
}

static int check_declared(const struct upload *u, struct err *e)
{
	if (check_size(u, "content-length", e) < 0 || check_size(u, "x-image-meta-size", e) < 0 ||
	    check_size(u, "x-openstack-image-size", e) < 0 || check_content_md5(u, e) < 0 ||
	    check_hash(u, "x-image-meta-checksum", u->md5_hex, e) < 0 ||
	    check_hash(u, "x-image-meta-os_hash_value", u->sha512_hex, e) < 0)
		return -e->num;
	return 0;
}

static int sync_dir(const char *path, struct err *e)
{
	CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_errno(e, errno, "cannot sync %s", path);
	return 0;
}

static int publish(struct upload *u, struct err *e)
{
	if (fsync(u->fd) < 0)
		return errno == ENOSPC || errno == EDQUOT ?
			       no_space(e) :
			       err_errno(e, errno, "cannot sync the image");
	if (rename(u->part, u->path) < 0)
		return err_errno(e, errno, "cannot rename the image's file");
	u->part[0] = '\0';
	return sync_dir(u->r->hub->image_dir, e);
}

/* ---- the row's side ---- */

/* One upload at a time: queued becomes saving in a transaction of its own. */
static int claim(struct req *r, struct image *i, struct err *e)
{
	int rc = db_begin(r->db, DB_WRITE, e);

	if (rc < 0)
		return rc;
	rc = image_need(r, true, i, e);
	if (rc == 0 && strcmp(i->status, "queued") != 0)
		rc = err_set(e, FAULT_CONFLICT, NULL,
			     "Image status transition from %s to saving is not allowed", i->status);
	if (rc == 0 && (!i->disk_format || !i->container_format))
		rc = err_set(e, FAULT_BAD_REQUEST, "disk_format",
			     "Properties disk_format, container_format must be set prior to saving "
			     "data.");
	if (rc == 0)
		rc = db_exec(r->db, e, "UPDATE image SET status = 'saving' WHERE id = ?", "s", i->id);
	if (rc >= 0)
		rc = db_commit(r->db, e);
	if (rc < 0)
		db_rollback(r->db);
	return MIN_OF(rc, 0);
}

/* Back to queued after a failure. When even that fails, the next start does it. */
static void release(struct req *r, const char *id)
{
	struct err e;

	if (db_begin(r->db, DB_WRITE, &e) == 0 &&
	    db_exec(r->db, &e, "UPDATE image SET status = 'queued' WHERE id = ? AND status = 'saving'",
		    "s", id) >= 0 &&
	    db_commit(r->db, &e) == 0)
		return;
	db_rollback(r->db);
	log_limited(LOG_WARN_, "image_release_failed", "image=%s reason=%s", id, LOGQ(e.msg));
}

static int activate(struct req *r, const struct upload *u, const char *id, struct err *e)
{
	int rc = db_begin(r->db, DB_WRITE, e);

	if (rc == 0)
		rc = db_exec(r->db, e,
			     "UPDATE image SET status = 'active', size = ?, checksum = ?, "
			     "os_hash_algo = 'sha512', os_hash_value = ?, updated_us = ? "
			     "WHERE id = ? AND status = 'saving'",
			     "issis", (int64_t)u->size, u->md5_hex, u->sha512_hex, clock_wall_us(), id);
	if (rc == 0)
		rc = err_set(e, FAULT_GONE, NULL,
			     "Image %s could not be found after upload. The image may have been deleted "
			     "during the upload.",
			     id);
	if (rc > 0)
		rc = db_commit(r->db, e);
	if (rc < 0) {
		db_rollback(r->db);
		unlink(u->path);
	}
	return rc;
}

static int check_type(struct req *r, struct err *e)
{
	struct str rest, type = str_cut(http_header(r->http, "content-type"), ';', &rest);

	if (str_eq_nocase(str_trim(type), STR("application/octet-stream")))
		return 0;
	return err_set(e, FAULT_MEDIA_TYPE, NULL,
		       "Image data is sent with Content-Type application/octet-stream.");
}

static bool is_native(const struct image *i)
{
	return i->container_format && strcmp(i->container_format, "native") == 0;
}

/* Clients that always upload send nothing here. */
static int no_data(struct req *r, struct err *e)
{
	unsigned char byte;
	ssize_t n = http_read(r->http, &byte, 1);

	if (n > 0)
		return err_set(e, FAULT_BAD_REQUEST, "container_format",
			       "An image of container format 'native' is a function of the datapath: "
			       "it has no data.");
	return n < 0 ? lost(n, e) : 0;
}

int image_upload(struct req *r, struct err *e)
{
	CLEANUP(upload_done) struct upload u = { .fd = -1 };
	struct image i;
	int rc = check_type(r, e);

	if (rc == 0)
		rc = image_need(r, true, &i, e);
	if (rc == 0 && is_native(&i))
		return no_data(r, e);
	if (rc == 0)
		rc = claim(r, &i, e);
	if (rc < 0)
		return rc;
	rc = upload_open(&u, r, i.id, e);
	if (rc == 0)
		rc = receive(&u, e);
	if (rc == 0) {
		finish_hash(u.md5, u.md5_hex);
		finish_hash(u.sha512, u.sha512_hex);
		rc = check_declared(&u, e);
	}
	if (rc == 0)
		rc = publish(&u, e);
	if (rc == 0)
		rc = activate(r, &u, i.id, e);
	if (rc < 0)
		release(r, i.id);
	return rc;
}

/* ---- sending ---- */

int image_open(struct hub *h, struct db *db, const char *image_id, int *ret_fd, uint64_t *ret_size,
	       struct err *e)
{
	CLEANUP(close_fdp) int fd = -1;
	char path[4096];
	int64_t size;
	int rc;

	if (!input_is_uuid(image_id))
		return err_set(e, FAULT_BAD_REQUEST, "image_id", "An image's id is a UUID.");
	rc = db_get_int(db, &size, e,
			"SELECT size FROM image WHERE id = ? AND status IN ('active', 'deactivated') "
			"AND container_format <> 'native'",
			"s", image_id);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, NULL, "Image %s has no data.", image_id);
	snprintf(path, sizeof(path), "%s/%s", h->image_dir, image_id);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_errno(e, errno, "cannot open the data of image %s", image_id);
	*ret_fd = MOVE_FD(fd);
	*ret_size = (uint64_t)size;
	return 0;
}

/* "bytes=FIRST-", "bytes=FIRST-LAST" or "bytes=-COUNT" (RFC 9110 section 14). 1: *first and *count are set; 0: no range. */
static int read_range(struct str text, uint64_t size, uint64_t *first, uint64_t *count, struct err *e)
{
	struct str from, to;
	uint64_t last = size ? size - 1 : 0, n;

	if (!str_starts(text, STR("bytes=")) || memchr(text.ptr, ',', text.len))
		return 0;
	from = str_cut((struct str){ text.ptr + 6, text.len - 6 }, '-', &to);
	if (from.len == 0 && str_to_u64(to, UINT64_MAX, &n) == 0 && n > 0 && size > 0) {
		*count = MIN_OF(n, size);
		*first = size - *count;
		return 1;
	}
	if (str_to_u64(from, UINT64_MAX, first) < 0 ||
	    (to.len && str_to_u64(to, UINT64_MAX, &last) < 0) || *first >= size || last < *first)
		return err_set(e, FAULT_BAD_REQUEST, "range",
			       "Range request for the image cannot be satisfied.");
	last = MIN_OF(last, size - 1);
	*count = last - *first + 1;
	return 1;
}

static int send_data(struct req *r, const struct image *i, struct err *e)
{
	uint64_t size = 0, first = 0, count;
	int fd = -1, rc = image_open(r->hub, r->db, i->id, &fd, &size, e);

	if (rc < 0)
		return rc;
	count = size;
	r->out.body_fd = fd; /* from here on the pipeline's to close */
	rc = read_range(str_trim(http_header(r->http, "range")), size, &first, &count, e);
	if (rc < 0)
		return rc;
	r->out.body_fd_offset = first;
	r->out.body_fd_size = count;
	r->out.content_type = "application/octet-stream";
	if (rc == 1) {
		r->status = 206;
		http_reply_header(r->http, &r->out, "Content-Range",
				  arena_printf(r->arena, "bytes %llu-%llu/%llu", (unsigned long long)first,
					       (unsigned long long)(first + count - 1),
					       (unsigned long long)size));
	} else if (i->checksum) {
		http_reply_header(r->http, &r->out, "Content-MD5", i->checksum);
	}
	return 0;
}

int image_download(struct req *r, struct err *e)
{
	struct image i;
	int rc = image_need(r, false, &i, e);

	if (rc < 0)
		return rc;
	if (strcmp(i.status, "deactivated") == 0 && !r->auth.is_admin)
		return err_set(e, FAULT_FORBIDDEN, NULL,
			       "The requested image has been deactivated. Image data download is "
			       "forbidden.");
	if (is_native(&i) || (strcmp(i.status, "active") != 0 && strcmp(i.status, "deactivated") != 0)) {
		r->status = 204;
		return 0;
	}
	return send_data(r, &i, e);
}

/* ---- start ---- */

static int wanted(struct db *db, const char *name, struct err *e)
{
	int64_t there;

	if (!input_is_uuid(name))
		return 0;
	return db_get_int(db, &there, e,
			  "SELECT 1 FROM image WHERE id = ? AND status IN ('active', 'deactivated')",
			  "s", name);
}

static bool is_ours(const char *name)
{
	char id[UUID_STR_SIZE];

	if (str_copy(id, sizeof(id), str_of(name)) < 0 && strcmp(name + strlen(id), PART_SUFFIX) != 0)
		return false;
	return input_is_uuid(id);
}

static int sweep(struct db *db, DIR *dir, struct err *e)
{
	struct dirent *d;

	while ((d = readdir(dir))) {
		int rc;

		if (!is_ours(d->d_name))
			continue;
		rc = wanted(db, d->d_name, e);
		if (rc < 0)
			return rc;
		if (rc == 0 && unlinkat(dirfd(dir), d->d_name, 0) == 0)
			log_info("image_orphan_removed", "file=%s", d->d_name);
	}
	return 0;
}

int image_bootstrap(struct hub *h, struct db *db, struct err *e)
{
	int rc = db_exec(db, e, "UPDATE image SET status = 'queued' WHERE status = 'saving'", "");
	DIR *dir;

	if (rc < 0 || dir_make(h->image_dir, 0700, e) < 0)
		return -e->num;
	dir = opendir(h->image_dir);
	if (!dir)
		return err_errno(e, errno, "cannot open %s", h->image_dir);
	rc = sweep(db, dir, e);
	closedir(dir);
	return rc;
}
